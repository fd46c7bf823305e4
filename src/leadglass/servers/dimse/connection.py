"""The socket round an association: all the waiting, none of the protocol."""

import select
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, cast

from leadglass.errors import PeerError
from leadglass.wire.association import Association, Event, Fragment
from leadglass.wire.dimse import Command, DataSetBytes, Messages
from leadglass.wire.states import State, Timer

# Linux's value; the constant is missing from some builds of Python.
TCP_QUICKACK: Final = getattr(socket, "TCP_QUICKACK", 12)

# A peer that closes without reading our last PDU would reset the connection and
# take that PDU with it; this long, in all, we wait for it to close first.
LINGER_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long we wait for a peer, in seconds.

    Attributes:
        artim_s: For its request, and for it to close (ARTIM, PS3.8 §9.1.5).
        idle_s: For the next whole PDU of an established association.
    """

    artim_s: float
    idle_s: float


def tune(sock: socket.socket) -> None:
    """Send each write at once: a PDU that waits for an ACK waits 40 ms."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Connection:
    """One association over one connected socket, plain or TLS; for one thread.

    HOT: the data set bytes of a C-STORE go from here to the vault as views of the
    association's inbox.
    """

    def __init__(
        self,
        sock: socket.socket,
        association: Association,
        timeouts: Timeouts,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.association = association
        self._socket = sock
        self._timeouts = timeouts
        self._clock = clock
        self.is_busy = False  # with a request; the session says so
        self._messages = Messages()
        self._events = self._forever()
        # The short way into TLS; ``recv_into`` asks each time what it is given.
        self._read: Callable[[memoryview], int] = (
            partial(_read_tls, sock)
            if isinstance(sock, ssl.SSLSocket)
            else sock.recv_into
        )

    # --- in -------------------------------------------------------------------

    def event(self) -> Event | None:
        """Wait for the next event; ``None``: the association has ended.

        Raises:
            PeerError: The peer broke the protocol; it was told, and it is over.
        """
        return next(self._events, None)

    def message(self) -> Command | DataSetBytes | Event | None:
        """Wait for the next command or piece of a data set, or another event.

        Raises:
            PeerError: As ``event``; or messages that make no sense.
        """
        while (event := self.event()) is not None:
            if not isinstance(event, Fragment):
                return event
            try:
                part = self._messages.take(event)
            except PeerError:
                self.association.abort()
                self.flush()
                raise
            if part is not None:
                return part
        return None

    def has_news(self) -> bool:
        """Tell without waiting whether the peer has sent something (C-CANCEL)."""
        if self.association.has_unread:
            return True
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return True
        # Not select(): it fails for descriptors above 1023.
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    def _forever(self) -> Iterator[Event]:
        association = self.association
        deadline = 0.0
        is_new = True
        while True:
            try:
                for event in association.events():
                    is_new = True
                    yield event
            finally:
                # Also when the peer broke the protocol: it is told what it did.
                self.flush()
            if association.state is State.CLOSED:
                return
            if is_new:
                deadline = self._begin_waiting()
                is_new = False
            if not self._receive(deadline):
                lost = association.lost()
                if lost is not None:
                    yield lost
                return

    def _begin_waiting(self) -> float:
        """Return until when the next event must be here.

        A PDU that arrives a byte a minute does not count as life. Who is silent from
        just before the end gets as long again: a timeout for each read is a system
        call that is not worth it.
        """
        is_artim = self.association.timer() is Timer.ARTIM
        limit_s = self._timeouts.artim_s if is_artim else self._timeouts.idle_s
        self._socket.settimeout(limit_s)
        return self._clock() + limit_s

    def _receive(self, deadline: float) -> bool:
        """Wait for bytes; ``False``: the peer is gone, or was too slow."""
        sock = self._socket
        try:
            while space := self.association.space():
                # Must be armed again and again: the kernel drops it as it likes.
                sock.setsockopt(socket.IPPROTO_TCP, TCP_QUICKACK, 1)
                # HOT: TLS gives no more than a record of 16 KiB at a time.
                while space and (count := self._read(space)):
                    # Before the look at what came: whole PDUs that mean nothing
                    # (after a release, say) are no life either.
                    if self._clock() > deadline:
                        self._time_out()
                        return False
                    if self.association.filled(count):
                        return True  # a whole PDU is there
                    space = space[count:]
                if space:
                    return False
        except TimeoutError:
            self._time_out()
        except (ssl.SSLError, OSError):
            pass
        return False

    def _time_out(self) -> None:
        self.association.timed_out()
        self.flush()

    # --- out ------------------------------------------------------------------

    def flush(self) -> None:
        """Send what waits in the outbox; a peer that is gone is noticed later."""
        data = self.association.outbox()
        if data:
            self._send(data)

    def stream(
        self, context_id: int, command: bytes, chunks: Iterable[bytes | memoryview]
    ) -> None:
        """Send one large message as it is made.

        Raises:
            PeerError: The peer is gone or does not take it.
        """
        for buffer in self.association.stream(context_id, command, chunks):
            if not self._send(buffer):
                raise PeerError("the peer went away while it was sent to")

    def _send(self, data: bytes | memoryview) -> bool:
        try:
            self._socket.settimeout(self._timeouts.idle_s)
            self._socket.sendall(data)
        except (TimeoutError, ssl.SSLError, OSError):
            return False
        return True

    @property
    def is_idle(self) -> bool:
        """Nothing is under way: neither a request nor a part of one."""
        return self._messages.is_idle and not self.is_busy

    def interrupt(self) -> None:
        """End the association from another thread: its next wait finds it lost."""
        with suppress(OSError):  # it may have ended by itself
            # Not SSLSocket.shutdown, which takes TLS away under the other thread.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Abort if that is still due, and close the socket; never raises."""
        self.association.abort()
        self.flush()
        try:
            self._socket.settimeout(LINGER_S)
            self._socket.shutdown(socket.SHUT_WR)
            deadline = self._clock() + LINGER_S
            # Who goes on sending does not keep the thread, nor its place.
            while self._socket.recv(65536) and self._clock() < deadline:
                pass
        except (ssl.SSLError, OSError, ValueError):
            pass  # it is gone, which is what was wanted
        finally:
            self._socket.close()


def _read_tls(sock: ssl.SSLSocket, space: memoryview) -> int:
    """Receive what one TLS record has; 0: the peer has closed."""
    # With a buffer, ``read`` returns a number; its annotation knows of bytes only.
    return cast("int", sock.read(len(space), space))
