"""One connection: what uvicorn's parser does not limit, and the caller's certificate.

uvicorn bounds neither the head of a request, nor the time it takes, nor what stands
between the chunks of a body; a client could fill memory before any application is
asked. Here that is judged as the bytes come.
"""

import asyncio
import contextlib
import logging
import ssl
from collections import Counter
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import (
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from leadglass.servers.http.limits import HttpLimits

_LOG = logging.getLogger(__name__)

# Where the application finds its ``Connection`` in the ASGI scope.
CONNECTION: Final = "leadglass.connection"


@dataclass(frozen=True, slots=True)
class Connection:
    """What the application knows of a connection.

    Attributes:
        channel: TLS version, as ``TLSv1.3``.
        certificate: DER of the client certificate, if one was shown. The handshake
            has verified chain, validity and revocation.
        abort: Ends it at once, without an answer.
    """

    channel: str
    certificate: bytes | None = field(repr=False)
    abort: Callable[[], None] = field(repr=False)


@dataclass(slots=True)
class Population:
    """Who is connected, by address; from before the handshake on."""

    limits: HttpLimits
    total: int = 0
    by_address: Counter[str] = field(default_factory=Counter)

    def enter(self, address: str) -> "Place | None":
        """Count a connection; ``None`` if there are too many."""
        if (
            self.total >= self.limits.connections_max
            or self.by_address[address] >= self.limits.connections_per_address_max
        ):
            return None
        self.total += 1
        self.by_address[address] += 1
        return Place(self, address)


@dataclass(slots=True)
class Place:
    """One connection's part of the population."""

    population: Population
    address: str
    _is_left: bool = False

    def leave(self) -> None:
        """Count it no more; harmless a second time."""
        if self._is_left:
            return
        self._is_left = True
        counts = self.population.by_address
        self.population.total -= 1
        counts[self.address] -= 1
        if not counts[self.address]:
            del counts[self.address]


class _Reticent(logging.LoggerAdapter[logging.Logger]):
    """Tells what uvicorn says, without the texts of errors and their traces.

    They may hold what a request held.
    """

    level = logging.WARNING  # uvicorn looks whether it is asked for more

    def process(
        self, msg: str, kwargs: MutableMapping[str, Any]
    ) -> tuple[str, MutableMapping[str, Any]]:
        """Leave the error out."""
        error = kwargs.pop("exc_info", None)
        return (msg.strip() if error is None else type(error).__name__), kwargs


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol behind limits."""

    def __init__(
        self,
        config: Config,
        state: ServerState,
        place: Place,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(config, state, {}, loop)
        # uvicorn's own tells paths, with UIDs, as soon as anybody listens to all logs.
        self.access_log = False
        self._place = place
        self._limits = place.population.limits
        self._about: Connection | None = None
        # Bytes since the parser last came to something that is counted elsewhere.
        self._unseen_bytes = 0
        self._head_bytes = 0
        self._is_in_head = True
        self._is_over = False
        self._deadline: asyncio.TimerHandle | None = None
        self._running: RequestResponseCycle | None = None  # whose answer is made
        self.logger = _Reticent(_LOG)  # type: ignore[assignment]  # what is asked of it

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection whose handshake is done."""
        super().connection_made(transport)  # type: ignore[arg-type]  # it is one
        tls = transport.get_extra_info("ssl_object")
        if not isinstance(tls, ssl.SSLObject):
            self._is_over = True
            self.abort()
            return
        self._about = Connection(tls.version() or "", tls.getpeercert(True), self.abort)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of a connection."""
        self._disarm()
        self._place.leave()
        self._leave_off()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Judge bytes before and after they are parsed."""
        if self._is_over:
            return
        self._unseen_bytes += len(data)
        if self._is_in_head and self._deadline is None:
            self._arm()
        before = self._unseen_bytes
        super().data_received(data)
        # Nothing was come to: a head, a trailer, or a chunk size without an end.
        if before > self._limits.head_bytes_max and self._unseen_bytes == before:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def abort(self) -> None:
        """End the connection without a word."""
        self._leave_off()
        # Python 3.11's TLS transport has forgotten its protocol once it is closed,
        # and does not look before it asks it to abort.
        with contextlib.suppress(AttributeError):
            self.transport.abort()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _leave_off(self) -> None:
        """Let what is answered come to nothing.

        uvicorn marks the last request that came; the one that is being answered may
        stand before it, and would write to what is closed.
        """
        for cycle in (self._running, self.cycle):
            if cycle is not None:
                cycle.disconnected = True
                cycle.message_event.set()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # uvicorn's
        """Answer what is no HTTP, or more than is allowed; then close."""
        if not self._is_over:
            self._refuse(HTTPStatus.BAD_REQUEST)

    def _refuse(self, status: HTTPStatus) -> None:
        """Say no and close; while an answer is on its way, close only."""
        if self._is_over:
            return
        self._is_over = True
        self._disarm()
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(
                f"HTTP/1.1 {status.value} {status.phrase}\r\n"
                "content-length: 0\r\nconnection: close\r\n\r\n".encode()
            )
            self.transport.close()
        else:
            self.abort()

    # --- the parser's callbacks; what they raise ends in ``send_400_response`` ---

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._head_bytes = 0
        self._is_in_head = True
        extensions: dict[str, Any] = {CONNECTION: self._about}
        self.scope["extensions"] = extensions

    def on_url(self, url: bytes) -> None:
        """Take a part of the request line."""
        super().on_url(url)
        if len(self.url) > self._limits.url_bytes_max:
            self._refuse(HTTPStatus.REQUEST_URI_TOO_LONG)
            raise ValueError("a request line above its limit")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer: which are not asked for and not kept."""
        if not self._is_in_head:
            return
        super().on_header(name, value)
        self._head_bytes += len(name) + len(value)
        if (
            len(self.headers) > self._limits.headers_max
            or self._head_bytes + len(self.url) > self._limits.head_bytes_max
        ):
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            raise ValueError("headers above their limit")

    def on_headers_complete(self) -> None:
        """Hand a request to the application, or put it behind others."""
        if len(self.pipeline) >= self._limits.pipelined_max:
            self._refuse(HTTPStatus.TOO_MANY_REQUESTS)
            raise ValueError("more requests at once than are allowed")
        self._unseen_bytes = 0
        self._is_in_head = False
        self._disarm()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body; its length is judged by the application."""
        self._unseen_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._unseen_bytes = 0
        self._is_in_head = True
        super().on_message_complete()

    # --- time ---

    def _arm(self) -> None:
        self._deadline = self.loop.call_later(self._limits.head_s, self._too_slow)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        self._refuse(HTTPStatus.REQUEST_TIMEOUT)
