"""Two cores that talk in memory, and what the tests of this folder say to them."""

from collections.abc import Iterable, Iterator, Mapping

from leadglass.dicom.aetitle import AETitle
from leadglass.dicom.sop_classes import (
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
    VERIFICATION,
)
from leadglass.dicom.transfer_syntaxes import EXPLICIT_VR_LE, IMPLICIT_VR_LE
from leadglass.dicom.uids import UID
from leadglass.wire.association import (
    Association,
    Event,
    Fragment,
    Limits,
    ReleaseRequested,
    Requested,
)
from leadglass.wire.dimse import Command, DataSetBytes, Message, Messages
from leadglass.wire.negotiation import (
    Offer,
    QueryOptions,
    Service,
    negotiate,
    propose,
)
from leadglass.wire.pdus import AssociateAC, AssociateRQ, RoleSelection
from leadglass.wire.states import State

CT = UID("1.2.840.10008.5.1.4.1.1.2")
MR = UID("1.2.840.10008.5.1.4.1.1.4")
INSTANCE = UID("1.2.826.0.1.3680043.10.1588.1.1.1.1")
BOTH = (EXPLICIT_VR_LE, IMPLICIT_VR_LE)
ALL = frozenset(BOTH)
LIMITS = Limits(pdu_length_bytes_max=16 * 1024)
QUERY = QueryOptions(relational=True, combined_datetime=True, fuzzy=True)

SERVICES: Mapping[UID, Service] = {
    VERIFICATION: Service(ALL),
    CT: Service(ALL, is_scp=True, is_scu=True),
    STUDY_ROOT_FIND: Service(ALL, application_information=QUERY.encode_find()),
    STUDY_ROOT_GET: Service(ALL),
    STUDY_ROOT_MOVE: Service(ALL),
}
OFFER = Offer(services=SERVICES)
# Their context IDs are 1, 3, 5, 7, 9.
WISHES = tuple((uid, BOTH) for uid in SERVICES)
ECHO_ID, CT_ID, FIND_ID, GET_ID, MOVE_ID = 1, 3, 5, 7, 9


def request(
    *, limits: Limits = LIMITS, roles: Iterable[RoleSelection] = ()
) -> AssociateRQ:
    return propose(
        AETitle("LEADGLASS"),
        AETitle("CT1"),
        WISHES,
        pdu_length_bytes_max=limits.pdu_length_bytes_max,
        roles=roles,
    )


def drain(association: Association) -> list[Event]:
    """Return all events, with data that outlives the next read."""
    return [
        event._replace(data=memoryview(bytes(event.data)))
        if isinstance(event, Fragment)
        else event
        for event in association.events()
    ]


def feed(association: Association, data: bytes) -> list[Event]:
    association.receive(data)
    return drain(association)


def feed_in_place(association: Association, data: bytes) -> list[Event]:
    """Feed as a socket does, through ``space()``."""
    events: list[Event] = []
    rest = memoryview(data)
    while rest:
        space = association.space()
        count = min(len(space), len(rest))
        space[:count] = rest[:count]
        rest = rest[count:]
        if association.filled(count):
            events += drain(association)
    return events


def acceptor(
    *, limits: Limits = LIMITS, asked: AssociateRQ | None = None
) -> Association:
    """Return an established acceptor, its answer already taken."""
    association = Association.acceptor(limits)
    for event in feed(association, (asked or request(limits=limits)).encode()):
        assert isinstance(event, Requested)
        association.accept(answer(event.request, limits))
    association.outbox()
    return association


def answer(
    asked: AssociateRQ, limits: Limits = LIMITS, offer: Offer = OFFER
) -> AssociateAC:
    return negotiate(asked, offer, pdu_length_bytes_max=limits.pdu_length_bytes_max)


def pair(
    *, limits: Limits = LIMITS, roles: Iterable[RoleSelection] = ()
) -> tuple[Association, Association]:
    """Return (requestor, acceptor), both established."""
    asked = request(limits=limits, roles=roles)
    one = Association.requestor(asked, limits)
    other = Association.acceptor(limits)
    for event in feed(other, one.outbox()):
        assert isinstance(event, Requested)
        other.accept(answer(event.request, limits))
    feed(one, other.outbox())
    assert one.state is other.state is State.ESTABLISHED
    return one, other


def stands(association: Association) -> State:
    """Return the state, without mypy remembering what it was before."""
    return association.state


def fragments_of(events: Iterable[Event]) -> list[Fragment]:
    return [event for event in events if isinstance(event, Fragment)]


class Peer:
    """An association with its messages: what a shell is, without the socket."""

    def __init__(self, association: Association) -> None:
        self.association = association
        self.messages = Messages()
        self.others: list[Event] = []

    def hear(self, data: bytes) -> Iterator[Command | DataSetBytes]:
        for event in feed_in_place(self.association, data):
            if isinstance(event, Fragment):
                item = self.messages.take(event)
                if item is not None:
                    yield item
            else:
                self.others.append(event)
                if isinstance(event, ReleaseRequested):
                    self.association.release()

    def say(
        self, context_id: int, message: Message, data_set: bytes | None = None
    ) -> bytes:
        self.association.send(context_id, message.encode(), data_set)
        return self.association.outbox()

    def stream(self, context_id: int, message: Message, data_set: bytes) -> bytes:
        cut = [
            memoryview(data_set)[at : at + 7001] for at in range(0, len(data_set), 7001)
        ]
        buffers = self.association.stream(context_id, message.encode(), cut)
        return b"".join(bytes(buffer) for buffer in buffers)


def gathered(items: Iterable[Command | DataSetBytes]) -> tuple[Message, bytes]:
    """Return the one message among the items and its data set."""
    commands: list[Message] = []
    data = bytearray()
    ends = 0
    for item in items:
        if isinstance(item, Command):
            commands.append(item.message)
        else:
            data += item.data
            ends += item.is_last
    assert len(commands) == 1
    assert ends <= 1
    return commands[0], bytes(data)
