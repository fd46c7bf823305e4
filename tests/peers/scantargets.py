"""What the exposure scanner is proven on: servers of others, open and closed.

Each is started on loopback by the test that scans it, with invented data.
"""

import json
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from tests.peers.programs import FOLDER, run, spawned
from tests.peers.samples import instance, save

ORTHANC = "/usr/sbin/Orthanc"
LOOPBACK = "127.0.0.1"
# Invented, and never to be found in a report.
PATIENT = "Eulenspiegel^Till"
PATIENT_ID = "TEUL-4711-0815"
PHYSICIAN = "Faust^Heinrich"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def sample(folder: Path) -> Path:
    """Write one invented image to a file."""
    data_set = instance(
        PatientName=PATIENT,
        PatientID=PATIENT_ID,
        PatientBirthDate="13000401",
        ReferringPhysicianName=PHYSICIAN,
    )
    return save(data_set, folder / "sample.dcm")


@dataclass(frozen=True)
class Files:
    """A self-signed certificate."""

    cert: Path
    key: Path


def certificate(folder: Path, *, bits: int = 2048) -> Files:
    """Make one with a short life, for servers that are meant to be weak."""
    files = Files(folder / "cert.pem", folder / "key.pem")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", f"rsa:{bits}", "-nodes"),
            *("-keyout", files.key, "-out", files.cert, "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
        ],
        check=True,
        capture_output=True,
    )
    return files


@dataclass(frozen=True)
class Orthanc:
    dicom: int
    http: int


@contextmanager
def orthanc(folder: Path, **settings: Any) -> Iterator[Orthanc]:
    """Serve Debian's Orthanc with its defaults, but for ports and folders."""
    found = Orthanc(free_port(), free_port())
    told: dict[str, Any] = {
        "DicomPort": found.dicom,
        "HttpPort": found.http,
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "index"),
        "Plugins": [],
        **settings,
    }
    path = folder / "orthanc.json"
    path.write_text(json.dumps(told))
    with spawned([ORTHANC, path], found.dicom):
        yield found


def hardened(folder: Path) -> dict[str, Any]:
    """Return what Orthanc's book says about closing it.

    HTTPS is left to what stands in front: Debian's build of 1.10.1 ends at the first
    request over TLS, whoever asks.
    """
    files = certificate(folder)
    return {
        "AuthenticationEnabled": True,
        "RegisteredUsers": {"keeper": "4f0c-not-in-any-list"},
        "DicomCheckCalledAet": True,
        "DicomCheckModalityHost": True,
        "DicomAlwaysAllowEcho": False,
        "DicomAlwaysAllowStore": False,
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(files.cert),
        "DicomTlsPrivateKey": str(files.key),
        "DicomTlsTrustedCertificates": str(files.cert),
        "DicomTlsRemoteCertificateRequired": True,
    }


@contextmanager
def dcmqrscp(folder: Path, title: str = "ACME_STORE") -> Iterator[int]:
    """Serve DCMTK's archive with one AE whose peers are ANY."""
    port = free_port()
    area = folder / "area"
    area.mkdir()
    path = folder / "dcmqrscp.cfg"
    path.write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 16\n"
        "HostTable BEGIN\nHostTable END\nVendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\n{title} {area} RW (200, 1024mb) ANY\nAETable END\n"
    )
    with spawned([FOLDER / "dcmqrscp", "-c", path, str(port)], port):
        yield port


@contextmanager
def storescp(folder: Path, port: int = 0) -> Iterator[int]:
    """Serve DCMTK's receiver, which takes from anyone."""
    port = port or free_port()
    with spawned([FOLDER / "storescp", "-od", folder, str(port)], port):
        yield port


@contextmanager
def tiny_pacs(folder: Path) -> Iterator[int]:
    """Serve tiny-pacs with its defaults."""
    port = free_port()
    program = Path(sys.executable).with_name("tiny-pacs")
    with spawned([program, "run", "-p", str(port)], port):
        yield port


def stored(port: int, path: Path, called: str) -> None:
    """Send a file to one of them."""
    run("storescu", "-aec", called, LOOPBACK, str(port), path)


@contextmanager
def stunnel(folder: Path, inner: int) -> Iterator[int]:
    """Put TLS of old days before a listener: version 1.0, anything goes."""
    port, files = free_port(), certificate(folder, bits=1024)
    path = folder / "stunnel.conf"
    path.write_text(
        f"foreground = yes\npid =\nsyslog = no\noutput = {folder / 'stunnel.log'}\n"
        "[weak]\n"
        f"accept = {LOOPBACK}:{port}\nconnect = {LOOPBACK}:{inner}\n"
        f"cert = {files.cert}\nkey = {files.key}\n"
        "sslVersionMin = TLSv1\nciphers = ALL:eNULL:@SECLEVEL=0\nsecurityLevel = 0\n"
    )
    with spawned(["/usr/bin/stunnel4", path], port):
        yield port


class OpenPacs(BaseHTTPRequestHandler):
    """A web PACS as careless as they come; every answer is one that was seen."""

    protocol_version = "HTTP/1.1"
    server_version = "MockPACS/1.2.3"
    sys_version = ""
    # Headers and body go out together: in two writes each answer takes 40 ms more.
    wbufsize = 64 * 1024
    is_careless = True
    STUDY: ClassVar = [
        {
            "0020000D": {"vr": "UI", "Value": ["1.2.3.4.5"]},
            "00100010": {"vr": "PN", "Value": [{"Alphabetic": PATIENT}]},
            "00100020": {"vr": "LO", "Value": [PATIENT_ID]},
        }
    ]
    JSON: ClassVar[dict[str, Any]] = {
        "/dicom-web/studies?limit=1": STUDY,
        "/pacs/rs/studies?limit=1": STUDY,
        "/dicom-web/workitems?limit=1": [{}],
        "/dcm4chee-arc/aets": [{"dicomAETitle": "DCM4CHEE"}],
        "/.well-known/openid-configuration": {
            "response_types_supported": ["code", "token"],
            "id_token_signing_alg_values_supported": ["none", "RS256"],
        },
    }
    TEXTS: ClassVar[dict[str, str]] = {
        "/": (
            "<a href='/show?patientId=TEUL-4711-0815'>open</a>"
            "<script src='/app.js'></script><script src='https://elsewhere/x.js'></script>"
        ),
        "/app.js": 'window.config={qidoRoot: "/pacs/rs", wadoRoot: "//elsewhere/rs"}',
        "/metrics": "# TYPE studies gauge\nstudies 1\n",
        "/storage/": "<title>Index of /storage/</title>",
        "/wado": "wado",
    }

    def do_GET(self) -> None:
        path = self.path
        if path in self.JSON:
            self._say(200, json.dumps(self.JSON[path]), "application/dicom+json")
        elif path in self.TEXTS:
            self._say(200, self.TEXTS[path], "text/html")
        elif path.startswith("/wado?"):
            self._say(404, "no such objectUID", "text/plain")
        elif "not-a-uid" in path:
            self._say(500, "at org.pacs.Store(Store.java:42)", "text/plain")
        elif path == "/tools/execute-script":
            self._say(405, "", "text/plain")
        elif path == "/system":
            sent = self.headers.get("Authorization", "")
            # demo:demo, and blank
            allowed = sent in {"Basic ZGVtbzpkZW1v", "Basic Og=="}
            self._say(200 if allowed else 401, "", "text/plain")
        else:
            self._say(404, "", "text/plain")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._say(400 if self.path.endswith("/studies") else 404, "", "text/plain")

    def _say(self, status: int, text: str, kind: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.is_careless:
            self.send_header("Set-Cookie", "session=1")
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
        if self.is_careless and (origin := self.headers.get("Origin")):
            self.send_header("Access-Control-Allow-Origin", origin)
            self.send_header("Access-Control-Allow-Credentials", "true")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class CatchAll(OpenPacs):
    """A web server that has nothing to do with images, and answers 200 to all."""

    def do_GET(self) -> None:
        self._say(200, "<h1>welcome</h1>", "text/html")

    is_careless = False

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._say(200, "<h1>welcome</h1>", "text/html")


class Plain(OpenPacs):
    """A web server with one page."""

    is_careless = False

    JSON: ClassVar[dict[str, Any]] = {}
    TEXTS: ClassVar[dict[str, str]] = {"/": "<h1>canteen</h1>"}

    def do_GET(self) -> None:
        if self.path == "/":
            self._say(200, "<h1>canteen</h1>", "text/html")
        else:
            self._say(404, "", "text/html")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._say(404, "", "text/html")


@contextmanager
def web(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """Serve one of these."""
    with ThreadingHTTPServer((LOOPBACK, 0), handler) as server, _threaded(server):
        yield int(server.server_address[1])


class _Banner(socketserver.BaseRequestHandler):
    banner: ClassVar[bytes] = b"SSH-2.0-OpenSSH_9.9\x1b[31m\r\n"

    def handle(self) -> None:
        self.request.settimeout(5)
        try:
            self.request.sendall(self.banner)
            self.request.recv(1024)
        except OSError:
            return


class _Flood(socketserver.BaseRequestHandler):
    """Sends what never ends, in PDUs that never begin."""

    def handle(self) -> None:
        until = time.monotonic() + 5
        try:
            while time.monotonic() < until:
                self.request.sendall(b"\x02\0\xff\xff\xff\xff" + b"A" * 60_000)
        except OSError:
            return


class _Drip(socketserver.BaseRequestHandler):
    """Sends one byte at a time, and is never done."""

    def handle(self) -> None:
        until = time.monotonic() + 30
        try:
            self.request.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            while time.monotonic() < until:
                self.request.sendall(b"a")
                time.sleep(0.02)
        except OSError:
            return


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


@contextmanager
def raw(kind: str) -> Iterator[int]:
    """Serve something that is no PACS: ``banner``, ``flood`` or ``drip``."""
    handlers = {"banner": _Banner, "flood": _Flood, "drip": _Drip}
    with _Server((LOOPBACK, 0), handlers[kind]) as server, _threaded(server):
        yield int(server.server_address[1])


@contextmanager
def _threaded(server: Any) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join(5)
