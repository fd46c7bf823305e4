"""A receiver of AuditEvents on loopback, in a process of its own that may be killed.

It writes each resource to a file and says so only then. As a program::

    python feed.py PORT CERT KEY OUT TOKEN
"""

import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from tests.support.openid import HOST, Authority

START_TIMEOUT_S: Final = 30
PATH: Final = "/fhir/AuditEvent"
TOKEN: Final = "a-token.of_the~test+/=="


def serve(port: int, cert: str, key: str, out: str, token: str) -> None:
    """Receive until killed."""
    lock = threading.Lock()
    file = Path(out).open("ab")  # noqa: SIM115  # as long as the process

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            resource = json.loads(body)
            is_right = (
                self.path == PATH
                and self.headers["authorization"] == f"Bearer {token}"
                and self.headers["content-type"] == "application/fhir+json"
                and resource["resourceType"] == "AuditEvent"
                and "id" not in resource
            )
            with lock:
                if is_right:
                    file.write(body + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
            self.send_response(201 if is_right else 400)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((HOST, port), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


def free_port() -> int:
    with socket.create_server((HOST, 0)) as server:
        port: int = server.getsockname()[1]
        return port


@dataclass
class Repository:
    """The receiver; it may be killed and started again."""

    folder: Path
    authority: Authority
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"https://{HOST}:{self.port}/fhir"

    @property
    def out(self) -> Path:
        return self.folder / "received"

    def start(self) -> None:
        cert, key = self.authority.issue()
        words = [sys.executable, "-m", "tests.support.feed", str(self.port)]
        words += [str(cert), str(key), str(self.out), TOKEN]
        self.process = subprocess.Popen(words, cwd=Path(__file__).parents[2])
        ends_at = time.monotonic() + START_TIMEOUT_S
        while True:
            with suppress(OSError), socket.create_connection((HOST, self.port), 1):
                return
            assert self.process.poll() is None
            assert time.monotonic() < ends_at
            time.sleep(0.02)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def received(self) -> list[dict[str, Any]]:
        """Return what was written, a last line that was cut off aside."""
        lines = self.out.read_bytes().split(b"\n")[:-1] if self.out.exists() else []
        found = []
        for line in lines:
            with suppress(ValueError):  # the process died in the middle of it
                found.append(json.loads(line))
        return found


@contextmanager
def repository(folder: Path) -> Iterator[Repository]:
    folder.mkdir()
    made = Repository(folder, Authority(folder / "ca"))
    made.start()
    try:
        yield made
    finally:
        made.kill()


def number(resource: dict[str, Any]) -> int:
    """Return the number of the record that a resource is."""
    details = resource["entity"][-1]["detail"]
    return int(
        next(each["valueString"] for each in details if each["type"] == "Record Number")
    )


@dataclass
class Scripted:
    """A receiver in this process that does what a test says.

    Attributes:
        port: Where it listens.
        authority: Who signed its certificate.
        requests: What came, heads and bodies.
    """

    port: int
    authority: Authority
    requests: list[bytes] = field(default_factory=list)


def read_request(sock: ssl.SSLSocket, made: Scripted) -> bool:
    """Take one request; tell whether there was one."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65536)
        if not piece:
            return False
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
    while len(body) < length:
        body += sock.recv(65536)
    made.requests.append(head + b"\r\n\r\n" + body)
    return True


@contextmanager
def scripted(
    folder: Path, behave: Callable[[ssl.SSLSocket, Scripted], None]
) -> Iterator[Scripted]:
    """Run a behaviour for each connection, one after the other."""
    authority = Authority(folder / "ca")
    cert, key = authority.issue()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    listener = socket.create_server((HOST, 0))
    made = Scripted(listener.getsockname()[1], authority)

    def run() -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            plain.settimeout(10)
            with suppress(OSError), context.wrap_socket(plain, server_side=True) as tls:
                behave(tls, made)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(15)


if __name__ == "__main__":
    serve(int(sys.argv[1]), *sys.argv[2:6])
