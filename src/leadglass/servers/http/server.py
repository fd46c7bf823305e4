"""The HTTPS listener: an event loop in a thread of its own, and its end."""

import asyncio
import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any, Final, Self

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import ServerState

from leadglass.errors import Unavailable
from leadglass.servers.http.limits import HttpLimits
from leadglass.servers.http.protocol import GuardedProtocol, Population

_LOG = logging.getLogger(__name__)

# Connections that wait for the event loop to take them.
_BACKLOG: Final = 128
# Who does not say good-bye is not waited for.
_TLS_GOOD_BYE_S: Final = 2.0
_START_S: Final = 30.0


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

    Raises:
        Unavailable: The address cannot be had.
    """

    def __init__(
        self,
        application: Callable[[tuple[str, int]], ASGIApp],
        context: Callable[[], ssl.SSLContext],
        address: tuple[str, int],
        limits: HttpLimits,
        grace_s: float = 10.0,
    ) -> None:
        self._limits = limits
        self._grace_s = grace_s
        self._context = context
        self._state = ServerState()
        self._population = Population(limits)
        try:
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
            self._socket = socket.create_server(
                address, family=family, backlog=_BACKLOG
            )
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
        """Take no more, finish what is at work within the grace, and end."""
        if self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # it has ended by itself
                self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    def _make(self) -> GuardedProtocol:
        return GuardedProtocol(self._config, self._state, self._population, self._loop)

    async def _serve(self) -> None:
        self._loop.set_exception_handler(_complain)
        server = await self._loop.create_server(
            self._make,
            sock=self._socket,
            ssl=self._door(),
            ssl_handshake_timeout=self._limits.head_s,
            ssl_shutdown_timeout=_TLS_GOOD_BYE_S,
        )
        self._listening.set()
        await self._stopping.wait()
        server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        tasks = set(self._state.tasks)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self._grace_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for connection in list(self._state.connections):
            if isinstance(connection, GuardedProtocol):
                connection.abort()
        await asyncio.sleep(0)  # let the transports tell their protocols
        await self._loop.shutdown_asyncgens()

    def _door(self) -> ssl.SSLContext:
        """Return the context of the listener, which hands over to the current one."""
        first = self._context()

        def choose(
            tls: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _: ssl.SSLContext
        ) -> int | None:
            try:
                tls.context = self._context()
            except Exception as error:  # noqa: BLE001  # a handshake has no other end
                _LOG.error("no TLS context: %s", type(error).__name__)
                return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
            return None

        first.sni_callback = choose
        return first


def _complain(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what no task has caught: strangers fail handshakes all day."""
    error = context.get("exception")
    if isinstance(error, ssl.SSLError | OSError):
        return
    _LOG.error("%s: %s", context.get("message"), type(error).__name__)
