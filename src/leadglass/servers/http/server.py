"""The HTTPS listener: a thread for each connection, all of them counted.

A thread with a blocking socket costs less than half of what an event loop with threads
behind it does: nothing is handed over between reading a request, answering and sending
(ADR 2 has the same for associations). What threads cost is bounded by the number of
connections.
"""

import contextlib
import logging
import selectors
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final, Self

from leadglass.access.networks import plain
from leadglass.errors import Unavailable
from leadglass.servers.http.exchange import Exchange
from leadglass.servers.http.guard import Stranger, unheard
from leadglass.servers.http.incoming import Refused, Requests
from leadglass.servers.http.limits import HttpLimits
from leadglass.servers.http.secured import Ended, Secured, TooSlow
from leadglass.servers.tls import handshake_fault

_LOG = logging.getLogger(__name__)

# Connections that wait to be accepted.
_BACKLOG: Final = 128
# Who is told that it is over has this long to read why, and to say good-bye.
_LINGER_S: Final = 2.0
# How long those may take that were cut off; then they are left behind.
_CUT_OFF_S: Final = 3.0
# After a connection that could not be accepted (there are no descriptors left, say):
# it is still there, and the next try would be at once, and so on.
_PAUSE_S: Final = 0.1

# Answers one request; what it raises is ``Ended``, ``TooSlow`` or ``Refused``.
Application = Callable[[Exchange], None]


class Population:
    """Who is connected, by address; from before the handshake on."""

    def __init__(self, limits: HttpLimits) -> None:
        """Count nobody yet."""
        self._limits = limits
        self._lock = threading.Lock()
        self._total = 0
        self._by_address: Counter[str] = Counter()

    def enter(self, address: str) -> bool:
        """Count a connection; ``False`` if there are too many."""
        limits = self._limits
        with self._lock:
            if (
                self._total >= limits.connections_max
                or self._by_address[address] >= limits.connections_per_address_max
            ):
                return False
            self._total += 1
            self._by_address[address] += 1
            return True

    def leave(self, address: str) -> None:
        """Count it no more."""
        with self._lock:
            self._total -= 1
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]


@dataclass(slots=True, eq=False)
class _Connection:
    """One client and its thread."""

    plain: socket.socket
    address: str
    secured: Secured | None = None
    thread: threading.Thread | None = None
    # Nobody waits for an answer: nothing of a request has come.
    is_idle: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


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
        application: Callable[[tuple[str, int]], Application],
        context: Callable[[], ssl.SSLContext],
        address: tuple[str, int],
        limits: HttpLimits,
        grace_s: float = 10.0,
        *,
        stranger: Stranger = unheard,
    ) -> None:
        self._limits = limits
        self._stranger = stranger
        self._grace_s = grace_s
        self._context = context
        self._population = Population(limits)
        self._lock = threading.Lock()
        self._connections: set[_Connection] = set()
        self._stopping = threading.Event()
        try:
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
            self._socket = socket.create_server(
                address, family=family, backlog=_BACKLOG
            )
            self._socket.setblocking(False)
            # Those that are accepted inherit it: without it the second of two writes
            # waits for an acknowledgement that the client delays by 40 ms.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            raise Unavailable(
                f"the HTTPS address cannot be had: {error.strerror}"
            ) from error
        host, port = self._socket.getsockname()[:2]
        self.address: tuple[str, int] = (host, port)
        self._application = application(self.address)
        self._bell, self._rope = socket.socketpair()
        self._thread = threading.Thread(target=self._accept, name="https", daemon=True)

    def start(self) -> Self:
        """Begin to listen; it does when this returns."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Take no more, finish what is at work within the grace, and end.

        It takes no longer than the grace and some seconds: what is still at work then
        is left to itself, and has nobody to answer to.
        """
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._rope.send(b"!")
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()
        with self._lock:
            connections = list(self._connections)
        for each in connections:
            with each.lock:
                if each.is_idle or each.secured is None:
                    _cut_off(each)
        _joined(connections, self._grace_s)
        for each in connections:
            _cut_off(each)
        if not _joined(connections, _CUT_OFF_S):
            _LOG.error("some requests do not end; they are left behind")
        self._bell.close()
        self._rope.close()

    # --- who comes in -----------------------------------------------------------------

    def _accept(self) -> None:
        """Give each connection its thread, or close it without a byte."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            selector.register(self._bell, selectors.EVENT_READ)
            while not self._stopping.is_set():
                selector.select()
                try:
                    sock, peer = self._socket.accept()
                except BlockingIOError:
                    continue  # the peer left again, or it is the bell
                except OSError as error:
                    _LOG.warning("cannot accept: %s", error.strerror)
                    self._stopping.wait(_PAUSE_S)
                    continue
                self._welcome(sock, peer[0])

    def _welcome(self, sock: socket.socket, address: str) -> None:
        if not self._population.enter(address):
            sock.close()
            self._turned_away(address, "more connections than are allowed")
            return
        connection = _Connection(sock, address)
        connection.thread = threading.Thread(
            target=self._converse, args=(connection,), name="https", daemon=True
        )
        with self._lock:
            self._connections.add(connection)
        try:
            connection.thread.start()
        except RuntimeError:  # the system has no more threads
            _LOG.error("no thread for a connection")
            self._forget(connection)

    def _converse(self, connection: _Connection) -> None:
        """Shake hands, answer, and let go."""
        try:
            secured = self._secured(connection)
            if secured is not None:
                self._answer_all(connection, secured)
        except Exception as error:  # noqa: BLE001  # its text may hold a request's
            _LOG.error("a connection failed: %s", type(error).__name__)
        finally:
            self._forget(connection)

    def _forget(self, connection: _Connection) -> None:
        connection.plain.close()
        with self._lock:
            self._connections.discard(connection)
        self._population.leave(connection.address)

    def _secured(self, connection: _Connection) -> Secured | None:
        """Shake hands; whoever cannot is counted, and has left."""
        try:
            context = self._context()
        except Exception as error:  # noqa: BLE001  # a handshake has no other end
            _LOG.error("no TLS context: %s", type(error).__name__)
            return None
        secured = Secured(connection.plain, context)
        try:
            secured.handshake(self._limits.head_s)
        except OSError as error:
            secured.drop()
            if not self._stopping.is_set():
                self._turned_away(connection.address, handshake_fault(error))
            return None
        with connection.lock:
            connection.secured = secured
        return secured

    def _answer_all(self, connection: _Connection, secured: Secured) -> None:
        """Answer request after request, until one of both ends it."""
        requests = Requests(secured, self._limits)
        try:
            while self._answer_next(connection, secured, requests):
                pass
        except Refused as refusal:
            status = refusal.status
            refused = (
                f"HTTP/1.1 {status.value} {status.phrase}\r\n"
                "content-length: 0\r\nconnection: close\r\n\r\n"
            )
            with contextlib.suppress(Ended, TooSlow):
                secured.send((refused.encode(),), _LINGER_S)
                secured.close(_LINGER_S)
        except (Ended, TooSlow):
            secured.drop()
        else:
            secured.close(_LINGER_S)

    def _answer_next(
        self, connection: _Connection, secured: Secured, requests: Requests
    ) -> bool:
        """Answer a request; tell whether another may come.

        Raises:
            Refused, Ended, TooSlow: It may not, and nothing more is to be said.
        """
        with connection.lock:
            connection.is_idle = requests.is_at_rest
        if self._stopping.is_set() and requests.is_at_rest:
            return False
        request = requests.next()
        with connection.lock:
            connection.is_idle = False
        if request is None:
            return False
        exchange = Exchange(
            request=request,
            address=connection.address,
            channel=secured.channel,
            certificate=secured.certificate,
            limits=self._limits,
            requests=requests,
            secured=secured,
            is_last=self._stopping.is_set(),
        )
        self._application(exchange)
        return exchange.keeps_alive

    def _turned_away(self, host: str, reason: str) -> None:
        self._stranger(plain(ip_address(host.partition("%")[0])), reason)


def _cut_off(connection: _Connection) -> None:
    """Wake whoever waits for a peer; what a handler does is not interrupted."""
    with contextlib.suppress(OSError):
        connection.plain.shutdown(socket.SHUT_RDWR)


def _joined(connections: list[_Connection], within_s: float) -> bool:
    """Wait for threads, but not for ever; tell whether all have ended."""
    until_s = time.monotonic() + within_s
    for each in connections:
        if each.thread is not None:
            each.thread.join(max(0.0, until_s - time.monotonic()))
    return not any(each.thread and each.thread.is_alive() for each in connections)
