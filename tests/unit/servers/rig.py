"""Two ends of one TCP connection: our shell, and a wire core that plays the peer."""

import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from threading import Thread

from leadglass.access.policy import Kind, Subject
from leadglass.archive.caller import Caller
from leadglass.dicom.aetitle import AETitle
from leadglass.dicom.uids import UID
from leadglass.servers.dimse.connection import Connection, Timeouts
from leadglass.servers.dimse.session import Service, Session
from leadglass.wire.association import Association, Event, Limits, Requested
from leadglass.wire.dimse import Command, DataSet, Message
from leadglass.wire.negotiation import Offer, negotiate, propose
from leadglass.wire.pdus import AssociateRQ, ReleaseRQ, RoleSelection
from leadglass.wire.states import State
from tests.unit.wire.rig import LIMITS, OFFER, WISHES, Peer

# Longer than any test needs: what waits so long is a bug, and fails.
WAIT_S = 20.0
PATIENT = Timeouts(artim_s=WAIT_S, idle_s=WAIT_S)
CALLER = Caller(
    Subject(Kind.DEVICE, "ct1"), ip_address("127.0.0.1"), "CT1", channel="TLSv1.3"
)
RELEASE = ReleaseRQ().encode()


class Clock:
    """A monotonic clock that goes on by a step whenever it is read."""

    def __init__(self, step_s: float) -> None:
        self.now_s = 1000.0
        self.step_s = step_s

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Return both ends of a connection over loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = socket.create_connection(server.getsockname(), WAIT_S)
        other, _ = server.accept()
    for sock in (one, other):
        sock.settimeout(WAIT_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return one, other


class Remote:
    """The peer: reads and writes when a test says so."""

    def __init__(self, sock: socket.socket, association: Association) -> None:
        self.sock = sock
        self.association = association
        self._peer = Peer(association)
        self._heard: deque[tuple[Message, bytes]] = deque()
        self._message: Message | None = None
        self._data = bytearray()

    @property
    def events(self) -> list[Event]:
        """What it heard that is no message."""
        return self._peer.others

    def send(self, data: bytes | memoryview) -> None:
        self.sock.sendall(data)

    def flush(self) -> None:
        self.send(self.association.outbox())

    def say(
        self, context_id: int, message: Message, data_set: bytes | None = None
    ) -> None:
        self.send(self._peer.say(context_id, message, data_set))

    def hear(self) -> tuple[Message, bytes]:
        """Wait for the next whole message and its data set."""
        while not self._heard:
            assert self._read(), "the connection ended before a message"
        return self._heard.popleft()

    def hear_all(self) -> list[tuple[Message, bytes]]:
        """Return everything until the connection ends."""
        while self._read():
            pass
        heard = list(self._heard)
        self._heard.clear()
        return heard

    def hear_bytes(self) -> bytes:
        """Return everything until the connection ends, as it is."""
        heard = bytearray()
        while data := self.sock.recv(65536):
            heard += data
        return bytes(heard)

    def hear_event(self) -> Event:
        while not self.events:
            assert self._read(), "the connection ended before an event"
        return self.events.pop(0)

    def _read(self) -> bool:
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            return False
        for item in self._peer.hear(data):
            if isinstance(item, Command):
                self._take_whole()
                self._message = item.message
                if not _has_data_set(item.message):
                    self._take_whole()
            else:
                self._data += item.data
                if item.is_last:
                    self._take_whole()
        return bool(data)

    def _take_whole(self) -> None:
        if self._message is not None:
            self._heard.append((self._message, bytes(self._data)))
        self._message = None
        self._data.clear()

    def leave(self) -> None:
        """Say no more; what was sent is still read."""
        self.sock.shutdown(socket.SHUT_WR)

    def leave_quietly(self) -> None:
        """As ``leave``; also when the connection is gone already."""
        with suppress(OSError):
            self.leave()

    def release(self) -> None:
        """Ask for the end, and say no more."""
        self.association.release()
        self.flush()
        self.leave()


def _has_data_set(message: Message) -> bool:
    if message.DATA_SET is DataSet.SOMETIMES:
        return bool(getattr(message, "has_data_set", False))
    return message.DATA_SET is DataSet.ALWAYS


def asked(
    wishes: Iterable[tuple[UID, Iterable[UID]]] = WISHES,
    *,
    limits: Limits = LIMITS,
    roles: Iterable[RoleSelection] = (),
) -> AssociateRQ:
    return propose(
        AETitle("LEADGLASS"),
        AETitle("CT1"),
        wishes,
        pdu_length_bytes_max=limits.pdu_length_bytes_max,
        roles=roles,
    )


@contextmanager
def connected(
    *,
    timeouts: Timeouts = PATIENT,
    clock: Callable[[], float] | None = None,
    limits: Limits = LIMITS,
    request: AssociateRQ | None = None,
) -> Iterator[tuple[Connection, Remote]]:
    """Give both ends; the peer's request is not sent yet."""
    one, other = tcp_pair()
    with one, other:
        extra = {} if clock is None else {"clock": clock}
        connection = Connection(one, Association.acceptor(limits), timeouts, **extra)
        requestor = Association.requestor(request or asked(limits=limits), limits)
        yield connection, Remote(other, requestor)


def establish(connection: Connection, remote: Remote, offer: Offer = OFFER) -> None:
    """Let the association begin."""
    remote.flush()
    event = connection.event()
    assert isinstance(event, Requested)
    connection.association.accept(
        negotiate(
            event.request,
            offer,
            pdu_length_bytes_max=event.request.user.pdu_length_bytes_max,
        )
    )
    connection.flush()
    remote.hear_event()
    assert remote.association.state is State.ESTABLISHED


@contextmanager
def established(
    *,
    timeouts: Timeouts = PATIENT,
    limits: Limits = LIMITS,
    request: AssociateRQ | None = None,
    offer: Offer = OFFER,
) -> Iterator[tuple[Connection, Remote]]:
    """Give both ends of an established association."""
    with connected(timeouts=timeouts, limits=limits, request=request) as ends:
        establish(*ends, offer)
        yield ends


class Running(Thread):
    """Something of ours that serves while the test plays the peer."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001  # ``result`` raises it
            self._error = error

    def result(self) -> None:
        """Wait for its end; raise what it raised."""
        self.join(WAIT_S)
        assert not self.is_alive(), "it did not end"
        if self._error is not None:
            raise self._error


def session(
    connection: Connection,
    services: Mapping[type[Message], Service],
    extended: Mapping[UID, bytes] | None = None,
    caller: Caller = CALLER,
) -> Session:
    return Session(connection, caller, services, extended or {})
