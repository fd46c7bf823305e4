"""Requests as they come on one connection: parsed by llhttp, judged byte by byte.

llhttp bounds neither the head of a request, nor the time it takes, nor what stands
between the chunks of a body; a client could fill memory before anybody is asked.
"""

import time
from collections import deque
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import httptools

from leadglass.servers.http.answers import Problem
from leadglass.servers.http.headers import Headers
from leadglass.servers.http.limits import HttpLimits
from leadglass.servers.http.secured import Ended, Secured, TooSlow

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_NEWEST: Final = "1.1"
_VERSIONS: Final = frozenset({"1.0", _NEWEST})


class Refused(Exception):
    """What came is no request, or more than is allowed: say so, and end."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


@dataclass(slots=True)
class Request:
    """One request; its body comes as it is read.

    Attributes:
        method: As it is written.
        url: As it came.
        headers: As they came, trailers aside.
        version: ``1.1`` or ``1.0``.
        keeps_alive: Whether the client wants another one on this connection.
    """

    method: str = ""
    url: bytes = field(default=b"", repr=False)
    raw: list[tuple[bytes, bytes]] = field(default_factory=list, repr=False)
    headers: Headers = field(default_factory=Headers, repr=False)
    version: str = _NEWEST
    keeps_alive: bool = True
    pieces: deque[bytes] = field(default_factory=deque, repr=False)
    has_head: bool = False
    is_whole: bool = False

    @property
    def length(self) -> int | None:
        """How long the body says that it is; ``None``: it says nothing."""
        text = self.headers.get("content-length")
        return int(text) if text else None  # llhttp: digits

    @property
    def has_body(self) -> bool:
        """Whether anything follows the head."""
        return bool(self.length) or "transfer-encoding" in self.headers


class Requests:
    """The requests of one connection, one after the other."""

    def __init__(self, secured: Secured, limits: HttpLimits) -> None:
        self._secured = secured
        self._limits = limits
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[Request] = deque()
        self._parsed = Request()
        self._is_in_head = True
        self._head_bytes = 0
        # Bytes since the parser last came to something that is counted elsewhere.
        self._unseen_bytes = 0
        self._refused: HTTPStatus | None = None
        self._is_upgrade = False
        self._is_broken = False
        self._count = 0  # that were given out

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing has come that was not given out."""
        return self._count > 0 and not self._waiting and not self._is_begun

    @property
    def _is_begun(self) -> bool:
        """Whether a part of a head has come; the first begins with the handshake."""
        return self._count == 0 or self._unseen_bytes > 0 or self._head_bytes > 0

    def next(self) -> Request | None:
        """Return the next request, once its head is here; ``None``: there is none.

        Raises:
            Refused: No request, too slow, or too much.
            Ended: The connection broke.
        """
        limits = self._limits
        began_s = time.monotonic()
        while not self._waiting:
            if self._is_broken:
                raise Refused(HTTPStatus.BAD_REQUEST)
            has_begun = self._is_begun
            within_s = limits.idle_s
            if has_begun:
                within_s = max(0.0, began_s + limits.head_s - time.monotonic())
            try:
                data = self._secured.receive(within_s)
            except TooSlow:
                if not has_begun:
                    return None
                raise Refused(HTTPStatus.REQUEST_TIMEOUT) from None
            if not data:
                return None
            if not has_begun:
                began_s = time.monotonic()
            self._feed(data)
        self._count += 1
        return self._waiting.popleft()

    def body_piece(self, request: Request, within_s: float) -> bytes | None:
        """Return the next piece of a body; ``None`` after the last one.

        Raises:
            Refused: It is none, or nothing but its framing comes.
            TooSlow, Ended: As ``Secured.receive``.
        """
        while not request.pieces:
            if request.is_whole:
                return None
            if request.headers.get("expect", "").lower() == "100-continue":
                request.headers = Headers(
                    pair for pair in request.raw if pair[0].lower() != b"expect"
                )
                if request.version == _NEWEST:
                    self._secured.send((_CONTINUE,), within_s)
            data = self._secured.receive(within_s)
            if not data:
                raise Ended
            self._feed(data)
        return request.pieces.popleft()

    def _feed(self, data: memoryview) -> None:
        """Parse what came.

        Raises:
            Refused: It is no request, or more than is allowed.
        """
        if self._is_upgrade:
            return  # what follows is of a protocol that is not spoken here
        if self._is_broken:
            raise Refused(HTTPStatus.BAD_REQUEST)
        self._unseen_bytes += len(data)
        before = self._unseen_bytes
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Answered as what it is without the wish; the connection ends then.
            self._is_upgrade = True
        except httptools.HttpParserError:
            self._is_broken = True
            # What came whole before it is answered first.
            are_whole = self._waiting and all(each.is_whole for each in self._waiting)
            if self._refused is not None or not are_whole:
                raise Refused(self._refused or HTTPStatus.BAD_REQUEST) from None
        # Nothing was come to: a head, a trailer, or a chunk size without an end.
        if before > self._limits.head_bytes_max and self._unseen_bytes == before:
            raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    # ── the parser's callbacks; what they raise ends in ``HttpParserError`` ──

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._parsed = Request()
        self._head_bytes = 0
        self._is_in_head = True

    def on_url(self, url: bytes) -> None:
        """Take a part of the request line."""
        self._parsed.url += url
        self._head_bytes += len(url)
        if len(self._parsed.url) > self._limits.url_bytes_max:
            self._refuse(HTTPStatus.REQUEST_URI_TOO_LONG)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer: which are not asked for and not kept."""
        if not self._is_in_head:
            return
        self._parsed.raw.append((name, value))
        self._head_bytes += len(name) + len(value)
        if (
            len(self._parsed.raw) > self._limits.headers_max
            or self._head_bytes > self._limits.head_bytes_max
        ):
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_headers_complete(self) -> None:
        """Take the head of a request, behind those that wait."""
        if len(self._waiting) > self._limits.pipelined_max:
            self._refuse(HTTPStatus.TOO_MANY_REQUESTS)
        request = self._parsed
        request.version = self._parser.get_http_version()
        if request.version not in _VERSIONS:
            self._refuse(HTTPStatus.BAD_REQUEST)
        request.method = self._parser.get_method().decode("ascii")
        request.headers = Headers(request.raw)
        request.keeps_alive = self._parser.should_keep_alive()
        if self._parser.should_upgrade():
            request.keeps_alive = False
        request.has_head = True
        self._waiting.append(request)
        self._unseen_bytes = 0
        self._head_bytes = 0
        self._is_in_head = False

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body; its length is judged by who reads it."""
        self._unseen_bytes = 0
        self._parsed.pieces.append(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._unseen_bytes = 0
        self._parsed.is_whole = True
        self._is_in_head = True

    def _refuse(self, status: HTTPStatus) -> None:
        self._refused = status
        raise Problem(status)
