"""The listening socket: who may connect at all, and how many at once.

An address that no enrolled device may come from is closed before TLS: it learns
that a port is open, and nothing else. Each accepted connection is one thread.
"""

import logging
import select
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from leadglass.errors import Unavailable
from leadglass.servers.dimse.connection import tune

_LOG = logging.getLogger(__name__)

Address = IPv4Address | IPv6Address

# Connections that the kernel keeps for us while all threads are busy.
BACKLOG: Final = 128
# After a connection that could not be accepted (there are no descriptors left, say):
# it is still there, and the next try would be at once, and so on.
_PAUSE_S: Final = 0.1
# The Python frames of a session are few; the default of 8 MiB is address space
# that a node with many associations would have to account for.
STACK_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Ceilings:
    """How many connections there may be at once, in all and from one address."""

    total: int
    per_address: int


class Presence:
    """Who is connected now, over all listeners that share it."""

    def __init__(self, ceilings: Ceilings) -> None:
        self._ceilings = ceilings
        self._present: Counter[Address] = Counter()
        self._lock = threading.Lock()

    @property
    def count(self) -> int:
        """How many connections there are."""
        with self._lock:
            return self._present.total()

    def enter(self, address: Address) -> bool:
        """Count one more, unless that were too many; ``leave`` must follow."""
        with self._lock:
            if (
                self._present.total() >= self._ceilings.total
                or self._present[address] >= self._ceilings.per_address
            ):
                return False
            self._present[address] += 1
            return True

    def leave(self, address: Address) -> None:
        """Count one less."""
        with self._lock:
            self._present[address] -= 1
            self._present += Counter()  # forget who has left


@dataclass(frozen=True, slots=True)
class Visitor:
    """An accepted connection before it has said anything."""

    sock: socket.socket
    address: Address


class Listener:
    """Accepts connections on one address and gives each a thread.

    Args:
        address: Host and port to listen on; port 0 takes a free one.
        presence: Counts who is there, and how many may be.
        is_welcome: Whether any device may come from an address. A refusal is
            counted by whoever answers this.
        serve: Serves one connection to its end and closes it.
    """

    def __init__(
        self,
        address: tuple[str, int],
        presence: Presence,
        is_welcome: Callable[[Address], bool],
        serve: Callable[[Visitor], None],
    ) -> None:
        self._presence = presence
        self._is_welcome = is_welcome
        self._serve = serve
        self._socket = _listen(address)
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(
            target=self._accept_all, name="dimse-listener", daemon=True
        )

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens: host and port."""
        host, port, *_ = self._socket.getsockname()
        return str(host), int(port)

    def start(self) -> None:
        """Begin to accept."""
        self._thread.start()

    def stop(self) -> None:
        """Accept no more; those present go on."""
        self._wake.close()
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()
        self._woken.close()

    def _accept_all(self) -> None:
        while True:
            ready, _, _ = select.select([self._socket, self._woken], [], [])
            if self._woken in ready:
                return
            try:
                sock, peer = self._socket.accept()
            except OSError as error:  # the peer left again, or we have no descriptor
                _LOG.warning("cannot accept: %s", error.strerror)
                select.select([self._woken], [], [], _PAUSE_S)
                continue
            try:
                self._admit(sock, _plain(peer[0]))
            except Exception:  # noqa: BLE001  # one connection's bug is not the node's
                sock.close()
                _LOG.exception("a connection was refused by a mistake of ours")

    def _admit(self, sock: socket.socket, address: Address) -> None:
        """Give the connection a thread, or close it without a byte."""
        if not self._is_welcome(address) or not self._presence.enter(address):
            sock.close()
            return
        thread = threading.Thread(
            target=self._run, args=(Visitor(sock, address),), name="association"
        )
        thread.daemon = True
        try:
            thread.start()
        except RuntimeError:  # no more threads to be had
            self._presence.leave(address)
            sock.close()
            _LOG.error("no thread for a connection")

    def _run(self, visitor: Visitor) -> None:
        try:
            tune(visitor.sock)
            self._serve(visitor)
        except Exception:  # noqa: BLE001  # one association's bug is not the node's
            _LOG.exception("an association ended by a mistake of ours")
        finally:
            visitor.sock.close()
            self._presence.leave(visitor.address)


def _listen(address: tuple[str, int]) -> socket.socket:
    """Return a listening socket.

    Raises:
        Unavailable: The address cannot be had.
    """
    host, port = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise Unavailable(f"cannot listen on port {port}: {error.strerror}") from error
    return sock


def _plain(host: str) -> Address:
    """Return an address without the zone of a link-local one."""
    return ip_address(host.partition("%")[0])


def secure(
    visitor: Visitor, context: ssl.SSLContext, timeout_s: float
) -> ssl.SSLSocket:
    """Do the TLS handshake within a time.

    Raises:
        OSError: It failed (``ssl.SSLError``) or took too long (``TimeoutError``).
    """
    visitor.sock.settimeout(timeout_s)
    return context.wrap_socket(visitor.sock, server_side=True)
