"""Connections to one host that is not trusted: paced, timed, bounded.

What answers may be a trap. Each conversation has an end in time and in bytes that no
trickle of single bytes can move.
"""

import errno
import selectors
import socket
import ssl
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from leadglass.assurance.exposure.pace import Pace
from leadglass.assurance.exposure.reach import Reach
from leadglass.errors import PeerError, Refused, Unavailable

# All that one conversation may send us: an image of DM-08 is the largest.
OCTETS_MAX: Final = 64 * 1024 * 1024
# A conversation takes at most so many time-outs, however slowly it drips.
CONVERSATION_TIMEOUTS: Final = 3
_READ_BYTES: Final = 64 * 1024
# As many half-open connections at once as a cheap router bears.
_CONNECTS_AT_ONCE: Final = 64
_LOOK_S: Final = 0.02


@dataclass(slots=True)
class Line:
    """The way to one host.

    Attributes:
        host: Its address.
        name: What it calls itself, for SNI and ``Host``; "" is the address.
        reach: From where it is reached.
        pace: When the next connection may be made.
        timeout_s: For each answer.
    """

    host: str
    name: str
    reach: Reach
    pace: Pace
    timeout_s: float

    def dial(self, port: int, tls: ssl.SSLContext | None = None) -> "Wire":
        """Return a connection.

        Raises:
            Unavailable: Nobody answers there.
            Refused: There was no TLS handshake.
        """
        self.pace.turn()
        until = time.monotonic() + CONVERSATION_TIMEOUTS * self.timeout_s
        try:
            sock = socket.create_connection((self.host, port), self.timeout_s)
        except OSError as error:
            raise Unavailable("nobody answers there") from error
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is None:
            return Wire(sock, until, self.timeout_s)
        try:
            wrapped = tls.wrap_socket(sock, server_hostname=self.name or self.host)
        except (OSError, ValueError) as error:
            sock.close()
            raise Refused("there was no TLS handshake") from error
        return Wire(wrapped, until, self.timeout_s)


@dataclass(slots=True)
class Wire:
    """One connection.

    Attributes:
        sock: The socket.
        until: When it ends, by the monotonic clock.
        timeout_s: For each answer.
        taken: Bytes that were read.
    """

    sock: socket.socket
    until: float
    timeout_s: float
    taken: int = field(default=0)

    def send(self, data: bytes) -> None:
        """Send all of it.

        Raises:
            PeerError: The other side went away.
            Unavailable: It does not read.
        """
        self._arm()
        try:
            self.sock.sendall(data)
        except TimeoutError as error:
            raise Unavailable("no answer in time") from error
        except OSError as error:
            raise PeerError("the peer went away") from error

    def read(self, count: int = _READ_BYTES) -> bytes:
        """Return what comes next; nothing when the other side ended.

        Raises:
            Unavailable: Nothing came in time.
            PeerError: It sent more than a conversation may have.
        """
        self._arm()
        try:
            data = self.sock.recv(count)
        except TimeoutError as error:
            raise Unavailable("no answer in time") from error
        except OSError:
            return b""
        self.taken += len(data)
        if self.taken > OCTETS_MAX:
            raise PeerError("more was sent than was asked for")
        return data

    def _arm(self) -> None:
        left = self.until - time.monotonic()
        if left <= 0:
            raise Unavailable("no answer in time")
        self.sock.settimeout(min(left, self.timeout_s))

    def close(self) -> None:
        """End it."""
        with suppress(OSError):
            self.sock.close()


def open_ports(line: Line, ports: Iterable[int]) -> list[int]:
    """Return which of these ports take a TCP connection (NET-01)."""
    waiting, found = list(dict.fromkeys(ports)), []
    with selectors.DefaultSelector() as selector:
        pending: dict[socket.socket, tuple[int, float]] = {}
        while waiting or pending:
            while waiting and len(pending) < _CONNECTS_AT_ONCE:
                line.pace.turn()
                port = waiting.pop(0)
                sock = _begin(line.host, port)
                if sock is not None:
                    selector.register(sock, selectors.EVENT_WRITE)
                    pending[sock] = port, time.monotonic() + line.timeout_s
            ready = {key.fileobj for key, _ in selector.select(_LOOK_S)}
            now = time.monotonic()
            for sock, (port, until) in list(pending.items()):
                if sock in ready:
                    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                        found.append(port)
                elif now < until:
                    continue
                selector.unregister(sock)
                sock.close()
                del pending[sock]
    return sorted(found)


def _begin(host: str, port: int) -> socket.socket | None:
    """Begin to connect; None where it is refused at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    if sock.connect_ex((host, port)) in {0, errno.EINPROGRESS}:
        return sock
    sock.close()
    return None
