"""Handing AuditEvents to a receiver of FHIR: HTTPS, verified, or not at all (ITI-20).

Each record is created by a ``POST`` of its own, and is the receiver's once that is
answered with success; any other answer is a failure, and the record goes again. One
that a receiver does not want is not left out: it waits, and what waits is told.

The answer is parsed by llhttp, and is bounded in bytes and, as a whole, in time.
Nothing that it says is repeated but its status; no redirect is followed and no proxy
is asked.
"""

import socket
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httptools

from leadglass.archive.forwarding import TooSlow
from leadglass.errors import Misconfigured, Unavailable
from leadglass.servers.syslog import Receiver, words
from leadglass.servers.tls import handshake_fault

_PORT: Final = 443
_READ_BYTES: Final = 16 * 1024
# An answer is empty, or the resource that was sent, or what was wrong with it.
ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
# What a token of RFC 6750 §2.1 is written with.
_TOKEN: Final = frozenset(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/="
)
# What is told of a status; another one is told by its number alone.
_TOLD: Final[Mapping[int, str]] = {
    HTTPStatus.BAD_REQUEST: "refuses a record",
    HTTPStatus.UNAUTHORIZED: "does not let us in",
    HTTPStatus.FORBIDDEN: "does not let us in",
    HTTPStatus.NOT_FOUND: "has no AuditEvent at this address",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "refuses a record",
    HTTPStatus.UNPROCESSABLE_ENTITY: "refuses a record",
    HTTPStatus.TOO_MANY_REQUESTS: "is busy",
    HTTPStatus.SERVICE_UNAVAILABLE: "is busy",
}


class _Stale(Exception):
    """A connection was ended before anything of an answer came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedReceiver:
    """Where to connect to, and how both sides prove themselves.

    Attributes:
        address: Of its FHIR interface, ``https://…`` without a slash at its end.
        ca_file: Whom to trust; ``None``: the authorities of this system.
        certificate_file: Our certificate and its chain; ``None``: we show none.
        key_file: The key of it.
        token: Gives the bearer token; ``None``: there is none.
        timeout_s: How long it may take to connect, to take something or to answer.
    """

    address: str
    ca_file: Path | None
    certificate_file: Path | None
    key_file: Path | None
    token: Callable[[], str] | None = field(repr=False)
    timeout_s: float

    def __post_init__(self) -> None:
        if not self.address.startswith("https://"):
            raise ValueError("a receiver of FHIR is reached by https alone")

    @property
    def place(self) -> Receiver:
        """Its host, port and files."""
        parts = urlsplit(self.address)
        return Receiver(
            host=parts.hostname or "",
            port=parts.port or _PORT,
            ca_file=self.ca_file,
            certificate_file=self.certificate_file,
            key_file=self.key_file,
            timeout_s=self.timeout_s,
            vanish_s=self.timeout_s,
            section="feed",
        )

    @property
    def trust(self) -> str:
        """What both certificates are known by: a digest of their files."""
        return self.place.trust

    def head(self) -> bytes:
        """Return the head of a request, but for the length of its body.

        Raises:
            Misconfigured: The token cannot be read or sent.
        """
        parts = urlsplit(self.address)
        lines = [
            f"POST {parts.path}/AuditEvent HTTP/1.1",
            f"Host: {parts.netloc}",
            "User-Agent: leadglass",
            "Content-Type: application/fhir+json",
            "Accept: application/fhir+json",
            "Prefer: return=minimal",
        ]
        if self.token is not None:
            token = self.token()
            if not set(token) <= _TOKEN:
                raise Misconfigured("feed.token_file: holds no bearer token")
            lines.append(f"Authorization: Bearer {token}")
        return "\r\n".join(lines).encode("ascii")

    def connect(self) -> "FeedLine":
        """Open a connection, with TLS.

        Raises:
            Unavailable: It cannot be reached, or is not the one it should be.
            Misconfigured: The files cannot be used.
        """
        line = FeedLine(self)
        line.open()
        return line

    def secured(self) -> ssl.SSLSocket:
        """Return a connection on which nothing was said yet.

        Raises:
            Unavailable: It cannot be reached, or is not the one it should be.
            Misconfigured: The files cannot be used.
        """
        place = self.place
        context = place.context()
        sock = place.reach()
        try:
            sock.settimeout(self.timeout_s)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return context.wrap_socket(sock, server_hostname=place.host)
        except OSError as error:
            sock.close()
            raise Unavailable(handshake_fault(error)) from None
        except BaseException:
            sock.close()
            raise

    def look(self) -> None:
        """Return when the receiver has proven itself; it gets nothing.

        Raises:
            Unavailable: It has not.
            Misconfigured: The files cannot be used.
        """
        self.head()
        self.connect().drop()


class FeedLine:
    """A connection that is opened anew when the receiver has ended it, as it may.

    For one thread, but for ``drop``.
    """

    def __init__(self, receiver: FeedReceiver) -> None:
        self._receiver = receiver
        self._head = b""
        self._sock: ssl.SSLSocket | None = None
        self._is_used = False
        self._is_dropped = False

    def open(self) -> None:
        """Connect.

        Raises:
            Unavailable: The receiver cannot be reached, or is another one.
            Misconfigured: The files cannot be used.
        """
        self._close()
        self._head = self._receiver.head()
        self._sock = self._receiver.secured()
        self._is_used = False
        if self._is_dropped:  # meanwhile, by another thread
            self.drop()

    def send(self, data: bytes) -> None:
        """Create a resource; return when the receiver has said that it is.

        Raises:
            Unavailable: It has not.
        """
        if self._sock is None:
            self.open()
        try:
            self._create(data)
        except _Stale:
            if not self._is_used or self._is_dropped:
                raise Unavailable("left without an answer") from None
            # It was quiet for too long; who may have taken it gets it twice.
            self.open()
            try:
                self._create(data)
            except _Stale:
                raise Unavailable("left without an answer") from None

    def look(self) -> None:
        """Do nothing: who ends a quiet connection has all that it acknowledged."""

    def finish(self) -> None:
        """End; everything was acknowledged."""
        self._close()

    def drop(self) -> None:
        """Let go, from any thread; a thread that waits in it is woken."""
        self._is_dropped = True
        sock = self._sock
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _close(self) -> None:
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()

    def _create(self, data: bytes) -> None:
        sock = self._sock
        if sock is None:
            raise _Stale
        ends_at = time.monotonic() + self._receiver.timeout_s
        answer = _Answer()
        try:
            sock.settimeout(self._receiver.timeout_s)
            sock.sendall(b"%b\r\nContent-Length: %d\r\n\r\n" % (self._head, len(data)))
            sock.sendall(data)
            while not answer.is_whole:
                sock.settimeout(_left_s(ends_at))
                answer.feed(sock.recv(_READ_BYTES))
        except OSError as error:
            self._close()
            if isinstance(error, TimeoutError):
                raise TooSlow("no answer in time") from None
            if isinstance(error, ssl.SSLError) and not self._is_used:
                raise Unavailable(handshake_fault(error)) from None
            if not answer.has_begun:
                raise _Stale from None
            raise Unavailable(f"the connection broke: {words(error)}") from None
        except BaseException:
            self._close()
            raise
        self._is_used = True
        if not answer.keeps_alive:
            self._close()
        answer.check()


def _left_s(ends_at: float) -> float:
    left_s = ends_at - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


class _Answer:
    """What a receiver answers, as it comes; only its status counts."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._bytes = 0
        self.status = 0
        self.is_whole = False
        self.keeps_alive = False

    @property
    def has_begun(self) -> bool:
        """Whether anything came."""
        return self._bytes > 0

    def feed(self, data: bytes) -> None:
        """Take what came.

        Raises:
            Unavailable: It is no answer, or has no end.
            _Stale: The receiver has ended the connection instead.
        """
        if not data and not self.has_begun:
            raise _Stale
        self._bytes += len(data)
        if not data or self._bytes > ANSWER_BYTES_MAX:
            raise Unavailable("its answer has no end")
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            raise Unavailable("what it answers is no HTTP") from None

    def on_headers_complete(self) -> None:
        """Take the status (called by the parser)."""
        if self.is_whole:
            raise ValueError("a second answer to one request")
        self.status = self._parser.get_status_code()
        self.keeps_alive = self._parser.should_keep_alive()

    def on_message_complete(self) -> None:
        """End, unless it was a provisional answer (called by the parser)."""
        self.is_whole = self.status >= HTTPStatus.OK

    def check(self) -> None:
        """Make sure that a resource was created.

        Raises:
            Unavailable: It was not.
        """
        if not HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES:
            told = _TOLD.get(self.status, "does not take a record")
            raise Unavailable(f"{told}: {self.status}")
