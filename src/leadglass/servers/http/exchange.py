"""One request and its answer on a connection."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from leadglass.servers.http.answers import Answer, Problem
from leadglass.servers.http.incoming import Request, Requests
from leadglass.servers.http.limits import HttpLimits
from leadglass.servers.http.secured import Secured, TooSlow

# What is sent at once: some dozens of records of TLS. Two of them for each of a
# hundred streams are no burden.
_GATHERED_BYTES: Final = 512 * 1024
# Statuses whose answers have no body, and say nothing of its length (RFC 9110 §8.6).
_BODILESS: Final = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
_NEWEST: Final = "1.1"
_LINE_END = re.compile(r"[\r\n\0]")


@dataclass(slots=True)
class Exchange:
    """What the guard has to do with.

    Attributes:
        request: The head of what is asked; its body comes by ``pieces``.
        address: Where from, as the socket says it.
        channel: TLS version, as ``TLSv1.3``.
        certificate: DER of the client certificate, if one was shown. The handshake
            has verified chain, validity and revocation.
        status: Of the answer, once it has begun; 0 before.
        sent_bytes: Of its body.
        keeps_alive: Whether another request may follow.
    """

    request: Request
    address: str
    channel: str
    certificate: bytes | None = field(repr=False)
    limits: HttpLimits = field(repr=False)
    requests: Requests = field(repr=False)
    secured: Secured = field(repr=False)
    is_last: bool = False
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    status: int = 0
    sent_bytes: int = 0
    keeps_alive: bool = False

    # ── the body of the request ──────────────────────────────────────────────

    @property
    def is_read(self) -> bool:
        """Whether nothing of the request is still to come."""
        request = self.request
        return not request.has_body or (request.is_whole and not request.pieces)

    def check(self, bytes_max: int) -> None:
        """Refuse a body by what it says of itself.

        Raises:
            Problem: 413, it is longer than the route takes, which may be nothing.
        """
        length = self.request.length
        too_long = length is not None and length > bytes_max
        if too_long or (not bytes_max and self.request.has_body):
            raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

    def pieces(self, bytes_max: int) -> Iterator[bytes]:
        """Yield the body as it comes.

        Raises:
            Problem: 408, it is too slow; 413, it is too long.
            Refused, Ended: As ``Requests.body_piece``.
        """
        limits = self.limits
        came, began_s = 0, self.clock()
        while True:
            try:
                piece = self.requests.body_piece(self.request, limits.receive_s)
            except TooSlow:
                raise Problem(HTTPStatus.REQUEST_TIMEOUT) from None
            if piece is None:
                return
            came += len(piece)
            if came > bytes_max:
                raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            took_s = self.clock() - began_s - limits.receive_s
            if took_s > 0 and came < took_s * limits.body_bytes_per_s_min:
                raise Problem(HTTPStatus.REQUEST_TIMEOUT)
            yield piece

    # ── the answer ───────────────────────────────────────────────────────────

    def answer(self, answer: Answer, headers: Mapping[str, str]) -> None:
        """Send an answer.

        Args:
            answer: Status and body.
            headers: All of them but those that frame the body.

        Raises:
            TooSlow: The client does not take it.
            Ended: The connection broke.
        """
        request, body = self.request, answer.body
        framing: dict[str, str] = {}
        length = len(body) if isinstance(body, bytes) else answer.length_bytes
        is_chunked = length is None and request.version == _NEWEST
        if answer.status not in _BODILESS:
            if length is not None:
                framing["content-length"] = str(length)
            elif is_chunked:
                framing["transfer-encoding"] = "chunked"
        # Without either its end is that of the connection (RFC 9112 §6.3).
        is_framed = bool(framing) or answer.status in _BODILESS
        keeps_alive = (
            request.keeps_alive and is_framed and self.is_read and not self.is_last
        )
        if not keeps_alive:
            framing["connection"] = "close"
        head = _head(answer.status, {**headers, **framing})
        self.status = answer.status
        if request.method == "HEAD" or answer.status in _BODILESS:
            self._send(head)
        elif isinstance(body, bytes):
            self._send(head, body)
            self.sent_bytes = len(body)
        else:
            self._send_pieces(head, body, length, is_chunked=is_chunked)
        # Only now: what broke off must not be taken for whole.
        self.keeps_alive = keeps_alive

    def _send_pieces(
        self,
        head: bytes,
        body: Iterator[bytes],
        length: int | None,
        *,
        is_chunked: bool,
    ) -> None:
        ahead: tuple[bytes, ...] = (head,)
        for piece in _gathered(body):
            self.sent_bytes += len(piece)
            if length is not None and self.sent_bytes > length:
                raise ValueError("a body is longer than was said")
            if is_chunked:
                self._send(*ahead, b"%x\r\n" % len(piece), piece, b"\r\n")
            else:
                self._send(*ahead, piece)
            ahead = ()
        if length is not None and self.sent_bytes != length:
            raise ValueError("a body is shorter than was said")
        if is_chunked or ahead:
            self._send(*ahead, b"0\r\n\r\n" if is_chunked else b"")

    def _send(self, *parts: bytes) -> None:
        self.secured.send(parts, self.limits.send_s)


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    """Return the head of an answer.

    Raises:
        ValueError: A header would end before its end.
    """
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if any(_LINE_END.search(line) for line in lines):
        raise ValueError("a header of an answer holds a line end")
    return "\r\n".join((*lines, "", "")).encode("latin-1")


def _gathered(source: Iterator[bytes]) -> Iterator[bytes]:
    """Yield pieces that are worth a write; none is empty."""
    pieces: list[bytes] = []
    length = 0
    for piece in source:
        if not piece:
            continue
        pieces.append(piece)
        length += len(piece)
        if length >= _GATHERED_BYTES:
            yield b"".join(pieces) if len(pieces) > 1 else piece
            pieces, length = [], 0
    if pieces:
        yield b"".join(pieces)
