"""The HTTPS listener: an event loop in a thread of its own, and its end."""

import asyncio
import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Any, Final, Self

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import ServerState

from leadglass.access.networks import plain
from leadglass.errors import Unavailable
from leadglass.servers.http.guard import Stranger, unheard
from leadglass.servers.http.limits import HttpLimits
from leadglass.servers.http.protocol import GuardedProtocol, Place, Population
from leadglass.servers.tls import handshake_fault

_LOG = logging.getLogger(__name__)

# Connections that wait for the event loop to take them.
_BACKLOG: Final = 128
# Who does not say good-bye is not waited for.
_TLS_GOOD_BYE_S: Final = 2.0
_START_S: Final = 30.0
# What was cancelled ends at its next step; what a thread of it does is not waited for.
_CANCELLED_S: Final = 3.0
_END_S: Final = 3 * _CANCELLED_S + 2.0
# After a connection that could not be accepted (there are no descriptors left, say):
# it is still there, and the next try would be at once, and so on.
_PAUSE_S: Final = 0.1


class HttpServer:
    """Listens until ``close``; TLS only.

    Args:
        application: Makes what answers, a ``Guard``, for the address that was had:
            its port is part of the names that clients know it by.
        context: Returns the TLS context as of now; asked at each handshake, so that
            a renewed certificate or a new revocation list holds at once.
        address: Host and port; port 0 for any.
        limits: Those of the guard.
        grace_s: How long requests at work may take once it closes.
        stranger: Hears of each handshake that failed, and why; must not wait.

    Raises:
        Unavailable: The address cannot be had.
    """

    def __init__(  # noqa: PLR0913  # the collaborators
        self,
        application: Callable[[tuple[str, int]], ASGIApp],
        context: Callable[[], ssl.SSLContext],
        address: tuple[str, int],
        limits: HttpLimits,
        grace_s: float = 10.0,
        *,
        stranger: Stranger = unheard,
    ) -> None:
        self._limits = limits
        self._stranger = stranger
        self._handshakes: set[asyncio.Task[None]] = set()
        self._grace_s = grace_s
        self._context = context
        self._state = ServerState()
        self._population = Population(limits)
        try:
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
            self._socket = socket.create_server(
                address, family=family, backlog=_BACKLOG
            )
            self._socket.setblocking(False)
            # Those that are accepted inherit it: without it the second of two writes
            # waits for an acknowledgement that the client delays by 40 ms. (asyncio
            # sets it only on sockets that were made with the protocol's number.)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            raise Unavailable(
                f"the HTTPS address cannot be had: {error.strerror}"
            ) from error
        host, port = self._socket.getsockname()[:2]
        self.address: tuple[str, int] = (host, port)
        self._config = Config(
            application(self.address),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,  # who is in front of us cannot be believed
            timeout_keep_alive=int(limits.idle_s),
        )
        self._config.load()
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._run, name="https", daemon=True)

    def start(self) -> Self:
        """Begin to listen; returns once it does."""
        self._thread.start()
        if not self._listening.wait(_START_S):
            raise Unavailable("the HTTPS listener does not start")
        return self

    def close(self) -> None:
        """Take no more, finish what is at work within the grace, and end.

        It takes no longer than the grace and some seconds: what is still at work then
        is left to itself, and has nobody to answer to.
        """
        if self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # it has ended by itself
                self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(self._grace_s + _END_S)
            if self._thread.is_alive():
                _LOG.error("the HTTPS listener does not end; it is left behind")
        self._socket.close()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        self._loop.set_exception_handler(_complain)
        accepting = self._loop.create_task(self._accept())
        self._listening.set()
        await self._stopping.wait()
        accepting.cancel()
        for connection in list(self._state.connections):
            connection.shutdown()
        # A request may yet come on a connection whose handshake is under way; it is
        # cut off with the others.
        await _ended(self._state.tasks, self._grace_s)
        for connection in list(self._state.connections):
            if isinstance(connection, GuardedProtocol):
                connection.abort()
        # Who is cancelled once waits for its thread yet; twice, it does no more.
        for _ in range(2):
            late = {*self._state.tasks, *self._handshakes}
            for task in late:
                task.cancel()
            await _ended(late, _CANCELLED_S)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._loop.shutdown_asyncgens(), _CANCELLED_S)

    # --- who comes in -----------------------------------------------------------------

    async def _accept(self) -> None:
        """Give each connection its place, or close it without a byte."""
        while True:
            try:
                sock, peer = await self._loop.sock_accept(self._socket)
            except OSError as error:  # the peer left again, or we have no descriptor
                _LOG.warning("cannot accept: %s", error.strerror)
                await asyncio.sleep(_PAUSE_S)
                continue
            place = self._population.enter(peer[0])
            if place is None:
                sock.close()
                self._turned_away(peer[0], "more connections than are allowed")
                continue
            task = self._loop.create_task(self._welcome(sock, place))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    async def _welcome(self, sock: socket.socket, place: Place) -> None:
        """Shake hands; whoever cannot is counted, and has left."""

        def protocol() -> GuardedProtocol:
            return GuardedProtocol(self._config, self._state, place, self._loop)

        try:
            context = self._context()
        except Exception as error:  # noqa: BLE001  # a handshake has no other end
            _LOG.error("no TLS context: %s", type(error).__name__)
            sock.close()
            place.leave()
            return
        try:
            await self._loop.connect_accepted_socket(
                protocol,
                sock,
                ssl=context,
                ssl_handshake_timeout=self._limits.head_s,
                ssl_shutdown_timeout=_TLS_GOOD_BYE_S,
            )
        except (OSError, TimeoutError) as error:
            place.leave()
            self._turned_away(place.address, handshake_fault(error))
        except BaseException:  # the listener ends
            place.leave()
            raise

    def _turned_away(self, host: str, reason: str) -> None:
        self._stranger(plain(ip_address(host.partition("%")[0])), reason)


async def _ended(tasks: Iterable[asyncio.Task[Any]], within_s: float) -> None:
    """Wait until tasks have ended, but not for ever."""
    waited = set(tasks)
    if waited:
        await asyncio.wait(waited, timeout=within_s)


def _complain(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what no task has caught: strangers fail handshakes all day."""
    error = context.get("exception")
    if isinstance(error, ssl.SSLError | OSError):
        return
    _LOG.error("%s: %s", context.get("message"), type(error).__name__)
