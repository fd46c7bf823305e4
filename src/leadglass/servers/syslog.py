"""Handing messages to a receiver of syslog: TLS (RFC 5425), verified, or not at all.

The TLS is between two buffers in memory, so that the end is in our hand: we say that
this was all, and then wait until the receiver has read it and ended its side. A reset
instead of that means that something was not read.
"""

import logging
import socket
import ssl
import stat
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final, Protocol

from leadglass.archive.forwarding import TooSlow
from leadglass.errors import LeadglassError, Misconfigured, Unavailable
from leadglass.servers.tls import TLS12_SUITES, handshake_fault

_LOG = logging.getLogger(__name__)

# What the kernel keeps for a receiver that is slow; two or three full frames.
SEND_BUFFER_BYTES: Final = 128 * 1024
_READ_BYTES: Final = 16 * 1024
# Probes of a connection on which nothing is said (RFC 1122 §4.2.3.6).
_PROBES: Final = 2
# How long a stop waits for what is on its way; what is cut off is sent again.
_STOP_WAIT_S: Final = 2.0
_OTHERS: Final = 0o077


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """Where to connect to, and how both sides prove themselves.

    Attributes:
        host: Its name, as its certificate says it, or its address.
        port: Its port.
        ca_file: Whom to trust; ``None``: the authorities of this system.
        certificate_file: Our certificate and its chain; ``None``: we show none.
        key_file: The key of it.
        timeout_s: How long it may take to connect, or to take or end something.
        vanish_s: How long a machine may be gone before that is noticed.
        section: Of the settings that name the files, for the remedy.
    """

    host: str
    port: int
    ca_file: Path | None
    certificate_file: Path | None
    key_file: Path | None
    timeout_s: float
    vanish_s: float
    section: str = "syslog"

    def connect(self) -> "Line":
        """Open a connection, with TLS.

        Raises:
            Unavailable: It cannot be reached, or is not the one it should be.
            Misconfigured: The files cannot be used.
        """
        context = self.context()
        sock = self.reach()
        try:
            line = Line(sock, context, self.host, self.timeout_s)
            line.shake_hands()
        except BaseException:
            sock.close()
            raise
        return line

    def reach(self) -> socket.socket:
        """Open a connection, without TLS yet.

        Raises:
            Unavailable: It cannot be reached.
        """
        try:
            sock = socket.create_connection((self.host, self.port), self.timeout_s)
        except OSError as error:
            raise Unavailable(f"cannot be reached: {words(error)}") from None
        self._tune(sock)
        return sock

    def _tune(self, sock: socket.socket) -> None:
        """Bound what is buffered, and notice when the machine is gone."""
        step_s = max(int(self.vanish_s / (_PROBES + 1)), 1)
        for level, option, value in (
            (socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES),
            (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
            (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, step_s),
            (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, step_s),
            (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES),
            (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self.vanish_s * 1000)),
        ):
            with suppress(OSError):
                sock.setsockopt(level, option, value)

    def look(self) -> None:
        """Return when the receiver has let us in and ended in order; it gets nothing.

        Raises:
            Unavailable: It has not.
            Misconfigured: The files cannot be used.
        """
        line = self.connect()
        try:
            line.finish()
        finally:
            line.drop()

    def context(self) -> ssl.SSLContext:
        """Return what verifies the receiver; read anew, so files may change.

        Raises:
            Misconfigured: The files cannot be used.
        """
        try:
            context = ssl.create_default_context(
                cafile=None if self.ca_file is None else str(self.ca_file)
            )
        except OSError:
            raise Misconfigured(
                f"{self.section}.ca_file: cannot be read as PEM certificates; name "
                "such a file"
            ) from None
        context.minimum_version = ssl.TLSVersion.TLSv1_2  # BCP 195
        context.set_ciphers(":".join(TLS12_SUITES))
        if self.certificate_file is not None and self.key_file is not None:
            self._load(context, self.certificate_file, self.key_file)
        return context

    def _load(self, context: ssl.SSLContext, certificate: Path, key: Path) -> None:
        try:
            if stat.S_IMODE(key.stat().st_mode) & _OTHERS:
                raise Misconfigured(
                    f"{self.section}.key_file: open to others; chmod go-rwx"
                )
            # An empty password instead of a question at the terminal.
            context.load_cert_chain(certificate, key, password="")
        except OSError:
            raise Misconfigured(
                f"{self.section}.certificate_file: this or {self.section}.key_file "
                "cannot be read as PEM, or they do not belong together"
            ) from None

    @property
    def trust(self) -> str:
        """What both certificates are known by: a digest of their files."""
        digest = sha256()
        for path in (self.ca_file, self.certificate_file):
            try:
                data = b"none" if path is None else path.read_bytes()
            except OSError:
                data = b"cannot be read"
            digest.update(sha256(data).digest())
        return digest.hexdigest()


def words(error: OSError) -> str:
    """Say what went wrong in words that the other side does not choose."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return error.strerror or type(error).__name__


def _broke(error: OSError) -> Unavailable:
    kind = TooSlow if isinstance(error, TimeoutError) else Unavailable
    return kind(f"the connection broke: {words(error)}")


class Line:
    """One connection; for one thread, but for ``drop``."""

    def __init__(
        self, sock: socket.socket, context: ssl.SSLContext, host: str, timeout_s: float
    ) -> None:
        self._sock = sock
        self._timeout_s = timeout_s
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=host)

    def shake_hands(self) -> None:
        """Begin TLS.

        Raises:
            Unavailable: The receiver is not the one it should be, or left.
        """
        ends_at = time.monotonic() + self._timeout_s
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                if not self._receive(ends_at):
                    raise Unavailable("left during the TLS handshake") from None
            except OSError as error:  # also SSLError
                with suppress(Unavailable):
                    self._flush()  # our alert
                raise Unavailable(handshake_fault(error)) from None
            else:
                return self._flush()

    def send(self, data: bytes) -> None:
        """Hand bytes over to the kernel.

        Raises:
            Unavailable: The receiver takes nothing, or left.
        """
        try:
            self._tls.write(data)
        except OSError as error:
            raise _broke(error) from None
        self._flush()

    def look(self) -> None:
        """Make sure that the receiver has not left, and take what TLS itself says.

        Raises:
            Unavailable: It has left.
        """
        while True:
            try:
                self._sock.settimeout(0)
                data = self._sock.recv(_READ_BYTES)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                raise _broke(error) from None
            if not data:
                raise Unavailable("left before everything was sent")
            self._in.write(data)
            self._listen()

    def _listen(self) -> None:
        """Let TLS act on what has come: tickets, new keys, alerts."""
        try:
            while self._tls.read(_READ_BYTES):
                pass  # nobody has to say anything to us
            raise Unavailable("left before everything was sent")
        except ssl.SSLWantReadError:
            self._flush()
        except OSError as error:
            raise Unavailable(handshake_fault(error)) from None

    def finish(self) -> None:
        """Say that this was all, and wait until the receiver has ended in order.

        Raises:
            Unavailable: It broke, or did not end in time: something may not be read.
        """
        self.look()
        self._close_tls()
        self._flush()
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise _broke(error) from None
        ends_at = time.monotonic() + self._timeout_s
        # Some end TLS too, some end TCP alone (rsyslog with GnuTLS does).
        while self._receive(ends_at):
            self._close_tls()

    def _close_tls(self) -> None:
        try:
            self._tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        except OSError as error:
            raise Unavailable(handshake_fault(error)) from None

    def drop(self) -> None:
        """Let go, from any thread; a thread that waits in it is woken."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    def _receive(self, ends_at: float) -> bool:
        """Take in what comes; False at the end of what the receiver says."""
        left = ends_at - time.monotonic()
        if left <= 0:
            raise TooSlow("no answer in time")
        self._sock.settimeout(left)
        try:
            data = self._sock.recv(_READ_BYTES)
        except OSError as error:
            raise _broke(error) from None
        self._in.write(data)
        return bool(data)

    def _flush(self) -> None:
        """Give to the kernel what TLS has made of what was written."""
        waiting = memoryview(self._out.read())
        self._sock.settimeout(self._timeout_s)  # for each part of it
        while waiting:
            try:
                waiting = waiting[self._sock.send(waiting) :]
            except OSError as error:
                raise _broke(error) from None


class Steps(Protocol):
    """Something that is done step by step."""

    def step(self) -> float:
        """Do what is to be done; return in how many seconds to come again."""

    def drop(self) -> None:
        """Give up what is waited for, from any thread."""


class Courier:
    """Takes steps in a thread of its own, so that nobody waits for a receiver."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)

    def start(self) -> None:
        """Begin, at once."""
        self._thread.start()

    def stop(self) -> None:
        """End, without waiting long for a receiver."""
        self._stopping.set()
        with suppress(RuntimeError):  # it was never started
            self._thread.join(_STOP_WAIT_S)
        self._steps.drop()
        with suppress(RuntimeError):
            self._thread.join(_STOP_WAIT_S)

    @property
    def is_running(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._stopping.wait(self._taken())

    def _taken(self) -> float:
        try:
            return self._steps.step()
        except LeadglassError as error:
            _LOG.warning("audit records: %s", error)
        except Exception as error:  # noqa: BLE001  # a bug must not end it
            _LOG.error("sending audit records failed: %s", type(error).__name__)
            self._steps.drop()
        return _PAUSE_S


# After what should not have happened.
_PAUSE_S: Final = 30.0
