"""What is measured: Leadglass, Orthanc and storescp, each started fresh.

Each is a context manager that gives a running ``Node`` on an empty archive, and
leaves nothing behind.
"""

import json
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import certificates, dcmtk
from bench.certificates import Identity
from bench.process import (
    LOOPBACK,
    STARTED_WITHIN_S,
    BenchError,
    environment,
    free_port,
    run_together,
    server,
    stop,
)

ASSOCIATIONS_OF_FILL = 4


@dataclass(frozen=True, slots=True)
class Web:
    """How to talk DICOMweb to a server; without authority it is plaintext."""

    port: int
    authority: Path | None = None
    token: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """A running server and how to talk to it.

    ``identity`` is None where it is talked to without TLS. ``destination`` is the
    port and identity that a receiver of its C-MOVE has to use. ``web`` is None where
    there is no DICOMweb.
    """

    name: str
    ae_title: str
    pid: int
    port: int
    identity: Identity | None
    destination_port: int
    destination: Identity | None
    fill: Callable[[Path], None]
    web: Web | None = None


Start = Callable[[], AbstractContextManager[Node]]


@contextmanager
def _scratch(parent: Path, name: str) -> Iterator[Path]:
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def fill_by_store(
    ae_title: str, port: int, identity: Identity | None
) -> Callable[[Path], None]:
    """Return a way to send all files of a folder as fast as four clients can."""

    def fill(folder: Path) -> None:
        parts = sorted(folder.iterdir())
        run_together(
            [
                dcmtk.storescu(ae_title, port, identity, share)
                for k in range(ASSOCIATIONS_OF_FILL)
                if (share := parts[k::ASSOCIATIONS_OF_FILL])
            ],
            environment(nodelay=True),
        )

    return fill


# --- Orthanc ------------------------------------------------------------------


def orthanc_program() -> str:
    found = shutil.which("Orthanc", path="/usr/sbin:/usr/bin:/usr/local/bin")
    if found is None:
        message = "Orthanc is missing: make bench installs it"
        raise BenchError(message)
    return found


def orthanc_version() -> str:
    out = subprocess.run(
        [orthanc_program(), "--version"], capture_output=True, text=True, check=True
    ).stdout
    return out.split()[1]


# Where Debian's orthanc-dicomweb puts it.
ORTHANC_DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


def orthanc_dicomweb() -> Path:
    if not ORTHANC_DICOMWEB.exists():
        message = "Orthanc's DICOMweb plugin is missing: make bench installs it"
        raise BenchError(message)
    return ORTHANC_DICOMWEB.resolve()


def _web_settings(port: int) -> dict[str, object]:
    """Return what opens DICOMweb to everybody here, in plaintext."""
    return {
        "Plugins": [str(orthanc_dicomweb())],
        "HttpServerEnabled": True,
        "HttpPort": port,
        "AuthenticationEnabled": False,
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }


def _orthanc_configuration(
    folder: Path, port: int, destination_port: int, identity: Identity | None
) -> dict[str, object]:
    """Return Orthanc's defaults, but for what lets it run and answer here."""
    settings: dict[str, object] = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "index"),
        "Plugins": [],
        "HttpServerEnabled": False,
        "RemoteAccessAllowed": False,
        "DicomAet": "ORTHANC",
        "DicomPort": port,
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowMove": True,
        "DicomModalities": {
            "destination": [dcmtk.DESTINATION_AE_TITLE, LOOPBACK, destination_port]
        },
    }
    if identity is not None:
        settings |= {
            "DicomTlsEnabled": True,
            "DicomTlsCertificate": str(identity.certificate),
            "DicomTlsPrivateKey": str(identity.key),
            "DicomTlsTrustedCertificates": str(identity.authority),
            "DicomTlsRemoteCertificateRequired": True,
        }
    return settings


@contextmanager
def orthanc(
    parent: Path, *, nodelay: bool, is_secure: bool, with_web: bool = False
) -> Iterator[Node]:
    with _scratch(parent, "orthanc") as folder:
        port, destination_port = free_port(), free_port()
        own = client = None
        if is_secure:
            own, client = certificates.make(folder / "tls", "orthanc", "bench")
        configuration = folder / "orthanc.json"
        settings = _orthanc_configuration(folder, port, destination_port, own)
        web = Web(free_port()) if with_web else None
        if web is not None:
            settings |= _web_settings(web.port)
        configuration.write_text(json.dumps(settings))
        with server(
            [orthanc_program(), str(configuration)],
            environment(nodelay=nodelay),
            port,
            folder / "log",
        ) as pid:
            yield Node(
                name="Orthanc",
                ae_title="ORTHANC",
                pid=pid,
                port=port,
                identity=client,
                destination_port=destination_port,
                destination=None,
                fill=fill_by_store("ORTHANC", port, client),
                web=web,
            )


# --- storescp -----------------------------------------------------------------


@contextmanager
def storescp(parent: Path, *, nodelay: bool, is_secure: bool) -> Iterator[Node]:
    """DCMTK's plain receiver: files as received, no index, nothing synced."""
    with _scratch(parent, "storescp") as folder:
        port = free_port()
        own = client = None
        if is_secure:
            own, client = certificates.make(folder / "tls", "storescp", "bench")
        received = folder / "received"
        received.mkdir()
        with server(
            dcmtk.storescp(port, own, received, is_forking=True),
            environment(nodelay=nodelay),
            port,
            folder / "log",
        ) as pid:
            yield Node(
                name="storescp",
                ae_title="STORESCP",
                pid=pid,
                port=port,
                identity=client,
                destination_port=0,
                destination=None,
                fill=fill_by_store("STORESCP", port, client),
            )


# --- Leadglass ----------------------------------------------------------------

LEADGLASS = str(Path(sys.executable).parent / "leadglass")


def _leadglass(env: dict[str, str], *arguments: str) -> None:
    run_together([[LEADGLASS, *arguments]], env)


def _token(env: dict[str, str]) -> str:
    """Return the token of a program that may do what the rows do."""
    out = subprocess.run(
        [
            *(LEADGLASS, "tokens", "add", "bench", "--role", "service"),
            *("--from", "127.0.0.0/8", "--json"),
        ],
        env=env,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return str(json.loads(out)["token"])


def _enrol(
    env: dict[str, str], out: Path, title: str, rights: Sequence[str], *more: str
) -> Identity:
    may = [word for right in rights for word in ("--may", right)]
    _leadglass(
        env,
        *("devices", "enrol", title.lower(), "--ae", title),
        *("--from", "127.0.0.0/8", *may, *more),
        *("--out", str(out), "--json"),
    )
    return Identity.in_folder(out)


def _ready_line(process: subprocess.Popen[bytes]) -> str:
    """Return the first line that the node prints.

    Raises:
        BenchError: it ended, or said nothing in STARTED_WITHIN_S.
    """
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], STARTED_WITHIN_S)
    line = process.stdout.readline().decode() if ready else ""
    try:
        event = json.loads(line)["event"]
    except (ValueError, KeyError, TypeError):
        event = None
    if event != "ready":
        message = f"leadglass serve did not say that it is ready, but: {line!r}"
        raise BenchError(message)
    return line


@contextmanager
def leadglass(parent: Path) -> Iterator[Node]:
    """Leadglass as it comes: nothing is switched off, nothing is tuned."""
    with _scratch(parent, "leadglass") as folder:
        home = folder / "home"
        home.mkdir()
        data = folder / "data"
        env = environment(HOME=str(home), LEADGLASS_HOME=str(data))
        for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
            env.pop(name, None)
        port, destination_port = free_port(), free_port()
        _leadglass(env, "init", "--json")
        rights = ("echo", "store", "find", "move", "get")
        client = _enrol(env, folder / "bench", dcmtk.OWN_AE_TITLE, rights)
        destination = _enrol(
            env,
            folder / "destination",
            dcmtk.DESTINATION_AE_TITLE,
            ("store",),
            *("--to", f"{LOOPBACK}:{destination_port}"),
        )
        web = Web(free_port(), client.authority, _token(env))
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [
                    *(LEADGLASS, "serve", "--dimse", f"{LOOPBACK}:{port}"),
                    *("--https", f"{LOOPBACK}:{web.port}", "--json"),
                ],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        try:
            _ready_line(process)
            yield Node(
                name="Leadglass",
                ae_title="LEADGLASS",
                pid=process.pid,
                port=port,
                identity=client,
                destination_port=destination_port,
                destination=destination,
                fill=lambda source: _leadglass(env, "import", str(source), "--json"),
                web=web,
            )
        finally:
            code = stop(process)
        if code:
            message = f"leadglass serve ended with {code}"
            raise BenchError(message)
