"""Receivers of syslog over TLS on loopback: rsyslog, and one that misbehaves."""

import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.support.openid import HOST, Authority

RSYSLOGD: Final = Path("/usr/sbin/rsyslogd")
START_TIMEOUT_S: Final = 30
BOM: Final = "\ufeff"
CONFIGURATION: Final = """
global(
  workDirectory="{folder}"
  defaultNetstreamDriver="gtls"
  defaultNetstreamDriverCAFile="{ca}"
  defaultNetstreamDriverCertFile="{cert}"
  defaultNetstreamDriverKeyFile="{key}"
  maxMessageSize="1m"
)
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1"
  streamDriver.authMode="{mode}")
template(name="raw" type="string" string="%rawmsg%\\n")
ruleset(name="audit") {{
  action(type="omfile" file="{out}" template="raw" asyncWriting="off")
}}
input(type="imtcp" address="{host}" port="{port}" ruleset="audit")
"""


def split(stream: bytes) -> Iterator[bytes]:
    """Yield the messages of a stream with octet counting (RFC 5425 §4.3)."""
    while stream:
        count, _, stream = stream.partition(b" ")
        assert count.isdigit(), count
        assert not count.startswith(b"0"), count
        assert len(stream) >= int(count), "a frame is cut off"
        yield stream[: int(count)]
        stream = stream[int(count) :]


def until(is_so: Callable[[], object]) -> None:
    """Wait for something that a thread does."""
    ends_at = time.monotonic() + START_TIMEOUT_S
    while not is_so():
        assert time.monotonic() < ends_at
        time.sleep(0.01)


def free_port() -> int:
    with socket.create_server((HOST, 0)) as server:
        port: int = server.getsockname()[1]
        return port


@dataclass
class Rsyslog:
    """rsyslogd; it runs until the test ends it, and may be killed and started again."""

    folder: Path
    authority: Authority
    port: int
    mode: str = "anon"
    process: subprocess.Popen[bytes] | None = None

    @property
    def out(self) -> Path:
        return self.folder / "received"

    @property
    def place(self) -> str:
        return f"{HOST}:{self.port}"

    def start(self) -> None:
        # A copy: what a distribution forbids its own one (AppArmor) is not for this.
        program = self.folder / "rsyslogd"
        if not program.exists():
            shutil.copy2(RSYSLOGD, program)
        (self.folder / "pid").unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [
                *(str(program), "-n", "-f", str(self.folder / "rsyslog.conf")),
                *("-i", str(self.folder / "pid")),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        ends_at = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                socket.create_connection((HOST, self.port), 1).close()
            except OSError:
                assert self.process.poll() is None, "rsyslogd did not start"
                assert time.monotonic() < ends_at, "rsyslogd does not listen"
                time.sleep(0.02)
            else:
                return

    def kill(self) -> None:
        """End it with whatever it has not stored."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(START_TIMEOUT_S)
            self.process = None

    def messages(self) -> list[str]:
        """Return what it has stored; a line that a kill cut off does not count."""
        try:
            data = self.out.read_bytes()
        except FileNotFoundError:
            return []
        lines = data.decode("utf-8", "replace").split("\n")
        return [each for each in lines if each.endswith("</AuditMessage>")]


@contextmanager
def rsyslog(folder: Path, mode: str = "anon") -> Iterator[Rsyslog]:
    """Run rsyslogd; ``mode`` is how it judges our certificate."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = Authority(folder / "ca")
    cert, key = authority.issue()
    made = Rsyslog(folder, authority, free_port(), mode)
    (folder / "rsyslog.conf").write_text(
        CONFIGURATION.format(
            folder=folder,
            ca=authority.file,
            cert=cert,
            key=key,
            mode=mode,
            out=made.out,
            host=HOST,
            port=made.port,
        )
    )
    made.start()
    try:
        yield made
    finally:
        made.kill()


# What a receiver does with one connection, after the handshake.
Behaviour = Callable[[ssl.SSLSocket], None]


@dataclass
class Peer:
    """A receiver of our own, that does what a test says.

    Attributes:
        port: Where it listens.
        streams: What each connection gave, as bytes, in the order of their beginning.
        refused: How many handshakes failed.
    """

    authority: Authority
    port: int = 0
    streams: list[bytearray] = field(default_factory=list)
    refused: int = 0

    @property
    def place(self) -> str:
        return f"{HOST}:{self.port}"

    def take_all(self, sock: ssl.SSLSocket) -> None:
        """Read to the end, and end in order."""
        stream = bytearray()
        self.streams.append(stream)
        while data := sock.recv(65_536):
            stream += data
        with suppress(OSError, ValueError):
            sock.unwrap()


@contextmanager
def peer(
    folder: Path,
    behave: Callable[[Peer, ssl.SSLSocket], None] = Peer.take_all,
    context: Callable[[Authority], ssl.SSLContext] | None = None,
) -> Iterator[Peer]:
    """Serve connections one beside the other, each with a behaviour."""
    authority = Authority(folder)
    made = Peer(authority)
    tls = (context or server_context)(authority)
    server = socket.create_server((HOST, 0))
    made.port = server.getsockname()[1]
    open_ones: list[socket.socket] = []

    def serve(plain: socket.socket) -> None:
        open_ones.append(plain)
        try:
            sock = tls.wrap_socket(plain, server_side=True)
        except OSError:
            made.refused += 1
            plain.close()
            return
        open_ones.append(sock)
        with suppress(OSError):
            behave(made, sock)
        sock.close()

    def accept() -> None:
        while True:
            try:
                plain, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(plain,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()
        for each in open_ones:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        thread.join()


def server_context(authority: Authority) -> ssl.SSLContext:
    cert, key = authority.issue()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context
