"""C-GET and C-MOVE: what is sent, how it ends, and who may break it off."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from leadglass.access.policy import Kind, Subject
from leadglass.archive.fetch import InstanceLocation, Selection
from leadglass.dicom.aetitle import AETitle
from leadglass.dicom.attributes import BY_KEYWORD, Level
from leadglass.dicom.dataset import DataSet
from leadglass.dicom.sop_classes import STUDY_ROOT_GET, STUDY_ROOT_MOVE
from leadglass.dicom.transfer_syntaxes import EXPLICIT_VR_LE, IMPLICIT_VR_LE
from leadglass.dicom.uids import UID
from leadglass.errors import (
    BadData,
    Damaged,
    LeadglassError,
    NotFound,
    PeerError,
    Refused,
    Unavailable,
)
from leadglass.servers.dimse.connection import Connection
from leadglass.servers.dimse.retrieve import (
    FAILED_SOP_INSTANCES,
    GetService,
    MoveService,
    Outgoing,
    batches,
    selection_of,
    wishes_of,
)
from leadglass.servers.dimse.session import Gone, Session
from leadglass.wire.association import Aborted, Association, Requested
from leadglass.wire.dimse import (
    CCancelRQ,
    CEchoRQ,
    CGetRQ,
    CGetRSP,
    CMoveRQ,
    CMoveRSP,
    CStoreRQ,
    Message,
)
from leadglass.wire.negotiation import Context, Offer, Service, negotiate
from leadglass.wire.pdus import RoleSelection
from tests.unit.servers.rig import (
    PATIENT,
    WAIT_S,
    Remote,
    Running,
    asked,
    established,
    session,
)
from tests.unit.wire.rig import CT, CT_ID, ECHO_ID, GET_ID, LIMITS, MOVE_ID, MR

JPEG = UID("1.2.840.10008.1.2.4.50")
J2K = UID("1.2.840.10008.1.2.4.90")
MPEG4 = UID("1.2.840.10008.1.2.4.102")
GET_RQ = CGetRQ(message_id=7, affected_sop_class=STUDY_ROOT_GET)
MOVE_RQ = CMoveRQ(
    message_id=8,
    affected_sop_class=STUDY_ROOT_MOVE,
    move_destination=AETitle("WS1"),
)
ROLES = (RoleSelection(CT, is_scu=True, is_scp=True),)
SUCCESS, SOME_FAILED, ALL_FAILED, CANCEL, PENDING = 0, 0xB000, 0xA702, 0xFE00, 0xFF00


def identifier(level: str = "STUDY", **uids: bytes) -> DataSet:
    made = DataSet()
    made.set(0x0008_0052, "CS", level.encode())
    for keyword, value in (uids or {"StudyInstanceUID": b"1.2.3.1\0"}).items():
        made.set(BY_KEYWORD[keyword].tag, BY_KEYWORD[keyword].vr, value)
    return made


def location(
    number: int, syntax: UID = EXPLICIT_VR_LE, sop_class: UID = CT
) -> InstanceLocation:
    return InstanceLocation(
        study_uid="1.2.3.1",
        series_uid="1.2.3.1.1",
        instance_uid=f"1.2.3.1.1.{number}",
        sop_class_uid=sop_class,
        transfer_syntax_uid=syntax,
        blob=f"{number:032x}",
        digest=bytes(32),
        blob_bytes=100,
        data_set_offset=0,
        data_set_bytes=100,
    )


def data_of(number: int) -> bytes:
    return number.to_bytes(2, "big") * 100_000


@dataclass
class Retrieval:
    """Instances on their way out, some of which are bad."""

    locations: tuple[InstanceLocation, ...]
    bad: Mapping[int, LeadglassError] = field(default_factory=dict)
    bad_in_the_middle: frozenset[int] = frozenset()
    sent_: list[tuple[str, bool]] = field(default_factory=list)
    failed_: int = 0
    finished: list[bool] = field(default_factory=list)

    def data_set(self, location: InstanceLocation) -> Iterator[bytes | memoryview]:
        number = int(location.instance_uid.rpartition(".")[2])
        if number in self.bad:
            raise self.bad[number]
        yield memoryview(data_of(number))[:100_000]
        if number in self.bad_in_the_middle:
            raise Damaged("a segment does not verify")
        yield memoryview(data_of(number))[100_000:]

    def sent(self, location: InstanceLocation, *, with_warning: bool = False) -> None:
        self.sent_.append((location.instance_uid, with_warning))

    def failed(self) -> None:
        self.failed_ += 1

    def finish(self, *, was_cancelled: bool = False) -> None:
        self.finished.append(was_cancelled)


@dataclass
class Fetch:
    """Gives one retrieval, or refuses."""

    retrieval: Retrieval
    error: LeadglassError | None = None
    asked: list[Selection] = field(default_factory=list)

    def begin(
        self, caller: Any, right: Any, selection: Selection, service: Any, **_: Any
    ) -> Retrieval:
        if self.error is not None:
            raise self.error
        self.asked.append(selection)
        return self.retrieval


@dataclass
class Transcoder:
    """Says what it was asked to make of what."""

    done: list[tuple[UID, UID]] = field(default_factory=list)
    error: LeadglassError | None = None

    def transcode(
        self, source: Iterable[bytes], syntax: UID, target: UID
    ) -> Iterator[bytes]:
        self.done.append((syntax, target))
        if self.error is not None:
            raise self.error
        yield b"made of " + b"".join(source)[:4]


def getting(fetch: Fetch, transcoder: Transcoder | None = None) -> GetService:
    return GetService(fetch, transcoder or Transcoder())  # type: ignore[arg-type]


def retrieval(count: int = 2, **more: Any) -> Retrieval:
    return Retrieval(tuple(location(number) for number in range(1, count + 1)), **more)


@dataclass
class Got:
    """What a C-GET gave to a peer that answered with ``statuses``."""

    stored: dict[str, bytes]
    last: CGetRSP
    failed: list[str]


def get(
    service: GetService,
    statuses: Iterable[int] = (),
    wishes: Iterable[tuple[UID, Iterable[UID]]] | None = None,
    offer: Offer | None = None,
) -> Got:
    """Ask for everything, and answer each instance with the next status, or 0."""
    more = {} if wishes is None else {"wishes": wishes}
    offers = {} if offer is None else {"offer": offer}
    request = asked(roles=ROLES, **more)  # type: ignore[arg-type]
    with established(request=request, **offers) as (connection, remote):  # type: ignore[arg-type]
        served = Running(session(connection, {CGetRQ: service}).run)
        get_id = next(
            each.id
            for each in remote.association.contexts.values()
            if each.abstract_syntax == STUDY_ROOT_GET
        )
        remote.say(get_id, GET_RQ, identifier().encode())
        stored: dict[str, bytes] = {}
        answers = iter(statuses)
        while True:
            message, data = remote.hear()
            if isinstance(message, CStoreRQ):
                stored[message.affected_sop_instance] = data
                remote.say(context_of(remote), message.response(next(answers, 0)))
            elif isinstance(message, CGetRSP) and message.status != PENDING:
                break
        remote.release()
        served.result()
    failed = DataSet.decode(data)
    return Got(stored, message, failed.texts(FAILED_SOP_INSTANCES) if data else [])


def context_of(remote: Remote) -> int:
    return next(
        each.id
        for each in remote.association.contexts.values()
        if each.abstract_syntax == CT
    )


# --- how it ends -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("statuses", "status", "completed", "warning", "failed"),
    [
        ((0, 0, 0), SUCCESS, 3, 0, 0),
        ((0, 0xB000, 0xB007), SOME_FAILED, 1, 2, 0),
        ((0, 0xA700, 0), SOME_FAILED, 2, 0, 1),
        ((0xB000, 0xC000, 0xC000), SOME_FAILED, 0, 1, 2),
        ((0xA700, 0x0110, 0x0122), ALL_FAILED, 0, 0, 3),
    ],
)
def test_the_last_status_tells_how_it_went(
    statuses: tuple[int, ...], status: int, completed: int, warning: int, failed: int
) -> None:
    found = retrieval(3)
    got = get(getting(Fetch(found)), statuses)
    assert got.last.status == status
    counts = (got.last.completed, got.last.warning, got.last.failed)
    assert counts == (completed, warning, failed)
    assert got.last.remaining is None  # told only while there can be some
    assert len(got.failed) == failed
    assert len(found.sent_) == completed + warning
    assert found.failed_ == failed
    assert found.finished == [False]
    assert got.stored == {
        each.instance_uid: data_of(number)
        for number, each in enumerate(found.locations, 1)
    }


def test_nothing_found_is_success() -> None:
    got = get(getting(Fetch(retrieval(0))))
    assert (got.last.status, got.last.completed, got.stored) == (SUCCESS, 0, {})


@pytest.mark.parametrize("error", [Damaged(), NotFound(), Unavailable(), BadData()])
def test_an_instance_that_cannot_be_read_costs_itself_alone(
    error: LeadglassError,
) -> None:
    found = retrieval(3, bad={2: error})
    got = get(getting(Fetch(found)))
    assert got.last.status == SOME_FAILED
    assert got.failed == ["1.2.3.1.1.2"]
    assert set(got.stored) == {"1.2.3.1.1.1", "1.2.3.1.1.3"}


def test_an_instance_that_breaks_off_ends_the_association() -> None:
    found = retrieval(1, bad_in_the_middle=frozenset({1}))
    with getting_from(found) as (remote, served):
        remote.leave()
        assert remote.hear_all() == []
        assert any(isinstance(each, Aborted) for each in remote.events)
        with pytest.raises(PeerError):
            served.result()
        assert found.finished == [False]
        assert found.sent_ == []


@contextmanager
def getting_from(found: Retrieval) -> Iterator[tuple[Remote, Running]]:
    with established(request=asked(roles=ROLES)) as (connection, remote):
        made = session(connection, {CGetRQ: getting(Fetch(found))})

        def serve() -> None:
            try:
                made.run()
            finally:
                connection.close()

        served = Running(serve)
        remote.say(GET_ID, GET_RQ, identifier().encode())
        yield remote, served


@pytest.mark.parametrize("kind", ["left", "other response", "request", "garbage"])
def test_a_receiver_that_is_lost_gets_no_more(kind: str) -> None:
    found = retrieval(3)
    with getting_from(found) as (remote, served):
        message, _ = remote.hear()
        assert isinstance(message, CStoreRQ)
        if kind == "other response":
            other = CStoreRQ(
                message_id=message.message_id + 1,
                affected_sop_class=CT,
                affected_sop_instance=message.affected_sop_instance,
            )
            remote.say(CT_ID, other.response(0))
        elif kind == "request":
            remote.say(
                ECHO_ID, CEchoRQ(message_id=1, affected_sop_class=STUDY_ROOT_GET)
            )
        elif kind == "garbage":
            remote.send(b"\x99garbage")
        remote.leave()
        remote.hear_all()
        with pytest.raises(PeerError):
            served.result()
        assert found.sent_ == []
        assert found.finished == [False]


@pytest.mark.parametrize(("cancels", "is_cancelled"), [(7, True), (99, False)])
def test_a_cancel_ends_it_after_the_instance_under_way(
    cancels: int, is_cancelled: bool
) -> None:
    found = retrieval(3)
    with getting_from(found) as (remote, served):
        last: Message | None = None
        for number in range(3):
            message, _ = remote.hear()
            if not isinstance(message, CStoreRQ):
                last = message
                break
            if number == 0:
                remote.say(GET_ID, CCancelRQ(responds_to=cancels))
            remote.say(CT_ID, message.response(0))
        last = last or remote.hear()[0]
        assert isinstance(last, CGetRSP)
        assert last.status == (CANCEL if is_cancelled else SUCCESS)
        assert last.remaining == (2 if is_cancelled else None)
        assert last.completed == (1 if is_cancelled else 3)
        assert found.finished == [is_cancelled]
        remote.release()
        served.result()


@pytest.mark.parametrize(
    ("error", "status"), [(Refused("no"), 0x0124), (Unavailable("x"), 0xA700)]
)
def test_a_get_that_may_not_begin(error: LeadglassError, status: int) -> None:
    got = get(getting(Fetch(retrieval(), error)))
    assert got.last.status == status
    assert got.stored == {}


# --- over which context -----------------------------------------------------------


SERVICES = {
    CT: Service(
        frozenset({EXPLICIT_VR_LE, IMPLICIT_VR_LE, JPEG, J2K, MPEG4}),
        is_scp=True,
        is_scu=True,
    ),
    STUDY_ROOT_GET: Service(frozenset({EXPLICIT_VR_LE})),
}
ASKING = (STUDY_ROOT_GET, (EXPLICIT_VR_LE,))


@pytest.mark.parametrize(
    ("stored", "contexts", "made"),
    [
        # as it is stored, wherever a context is for that
        (EXPLICIT_VR_LE, [(EXPLICIT_VR_LE,)], []),
        (JPEG, [(IMPLICIT_VR_LE,), (JPEG,)], []),
        (MPEG4, [(EXPLICIT_VR_LE,), (MPEG4,)], []),
        # made uncompressed, explicit rather than implicit
        (JPEG, [(IMPLICIT_VR_LE,)], [IMPLICIT_VR_LE]),
        (JPEG, [(IMPLICIT_VR_LE,), (EXPLICIT_VR_LE,)], [EXPLICIT_VR_LE]),
        (J2K, [(JPEG,), (EXPLICIT_VR_LE,)], [EXPLICIT_VR_LE]),
        (EXPLICIT_VR_LE, [(IMPLICIT_VR_LE,)], [IMPLICIT_VR_LE]),
        # of several in one context, the proposer's first was agreed on
        (JPEG, [(EXPLICIT_VR_LE, JPEG)], [EXPLICIT_VR_LE]),
        (JPEG, [(JPEG, EXPLICIT_VR_LE)], []),
        (EXPLICIT_VR_LE, [(JPEG, EXPLICIT_VR_LE)], None),
        # what nobody can decode, or no context can take
        (MPEG4, [(EXPLICIT_VR_LE,)], None),
        (J2K, [(JPEG,)], None),
    ],
)
def test_the_choice_of_the_context(
    stored: UID, contexts: list[tuple[UID, ...]], made: list[UID] | None
) -> None:
    found = Retrieval((location(1, stored),))
    transcoder = Transcoder()
    wishes = [(CT, syntaxes) for syntaxes in contexts] + [ASKING]
    got = get(getting(Fetch(found), transcoder), (), wishes, Offer(SERVICES))
    if made is None:
        assert (got.last.status, got.failed) == (ALL_FAILED, ["1.2.3.1.1.1"])
        assert got.stored == {}
    else:
        assert got.last.status == SUCCESS
        assert transcoder.done == [(stored, target) for target in made]
        [data] = got.stored.values()
        assert data == (b"made of \0\1\0\1" if made else data_of(1))


@pytest.mark.parametrize("error", [BadData("no image"), Unavailable("no worker")])
def test_what_cannot_be_decoded_fails_alone(error: LeadglassError) -> None:
    found = Retrieval((location(1, JPEG), location(2)))
    wishes = [(CT, (EXPLICIT_VR_LE,)), ASKING]
    got = get(
        getting(Fetch(found), Transcoder(error=error)), (), wishes, Offer(SERVICES)
    )
    assert (got.last.status, got.failed) == (SOME_FAILED, ["1.2.3.1.1.1"])
    assert set(got.stored) == {"1.2.3.1.1.2"}


def test_who_does_not_play_the_receiver_is_sent_nothing() -> None:
    """No role was negotiated: every sub-operation fails, none is attempted."""
    with established() as (connection, remote):
        served = Running(session(connection, {CGetRQ: getting(Fetch(retrieval()))}).run)
        remote.say(GET_ID, GET_RQ, identifier().encode())
        message, _ = remote.hear()
        assert isinstance(message, CGetRSP)
        assert (message.status, message.failed) == (ALL_FAILED, 2)
        remote.release()
        served.result()


# --- what is asked for --------------------------------------------------------------


def test_a_selection_is_what_the_identifier_names() -> None:
    assert selection_of(
        identifier(
            "SERIES",
            PatientID=b"PAT-1 ",
            StudyInstanceUID=b"1.2.3\0",
            SeriesInstanceUID=b"1.2.3.1\\1.2.3.2\0",
            SOPInstanceUID=b"",
        )
    ) == Selection(
        level=Level.SERIES,
        patient_ids=("PAT-1",),
        study_uids=("1.2.3",),
        series_uids=("1.2.3.1", "1.2.3.2"),
    )


@pytest.mark.parametrize(
    "made",
    [
        DataSet(),
        identifier("STUDY", PatientID=b"PAT-1 "),
        identifier("SERIES", StudyInstanceUID=b"1.2.3\0"),
        identifier("IMAGE", SOPInstanceUID=b""),
        identifier("EVERYTHING", StudyInstanceUID=b"1.2.3\0"),
    ],
)
def test_what_names_nothing_selects_nothing(made: DataSet) -> None:
    with pytest.raises(BadData):
        selection_of(made)


# --- associations of our own ----------------------------------------------------------


def test_every_class_is_proposed_as_stored_and_uncompressed() -> None:
    wishes = wishes_of(
        [location(1), location(2, JPEG), location(3, JPEG), location(4, sop_class=MR)]
    )
    assert wishes == [
        (CT, (EXPLICIT_VR_LE,)),
        (CT, (IMPLICIT_VR_LE,)),
        (CT, (JPEG,)),
        (CT, (EXPLICIT_VR_LE, IMPLICIT_VR_LE)),
        (MR, (EXPLICIT_VR_LE,)),
        (MR, (IMPLICIT_VR_LE,)),
    ]
    assert wishes_of([location(1, IMPLICIT_VR_LE)]) == [
        (CT, (IMPLICIT_VR_LE,)),
        (CT, (EXPLICIT_VR_LE,)),
    ]


def many_pairs(count: int) -> list[InstanceLocation]:
    return [location(n, JPEG, UID(f"1.2.3.{n}")) for n in range(count)]


@pytest.mark.parametrize(
    ("locations", "lengths"),
    [
        ([], []),
        ([location(1)] * 1000, [1000]),
        (many_pairs(64), [64]),
        (many_pairs(65), [64, 1]),
        (many_pairs(64) * 2 + many_pairs(130)[64:], [128, 64, 2]),
    ],
)
def test_batches_fit_the_contexts_of_one_association(
    locations: list[InstanceLocation], lengths: list[int]
) -> None:
    cut = list(batches(locations))
    assert [len(part) for part in cut] == lengths
    assert [each for part in cut for each in part] == locations
    assert all(len(wishes_of(part)) <= 128 for part in cut)


@dataclass(frozen=True)
class Destination:
    host: str
    port: int


@dataclass(frozen=True)
class Device:
    """A device that is sent to in plaintext, by exception."""

    destination: Destination | None
    name: str = "ws1"
    is_sent_to_in_plaintext: bool = True

    @property
    def subject(self) -> Subject:
        return Subject(Kind.EXCEPTION, self.name)


@dataclass
class Doorkeeper:
    device: Device | None
    error: LeadglassError | None = None
    refused: list[AETitle] = field(default_factory=list)

    def receiver(self, title: AETitle) -> Device | None:
        return self.device

    def refuse_receiver(self, caller: Any, title: AETitle) -> None:
        self.refused.append(title)

    def check_receiver(self, device: Any, address: Any, certificate: Any) -> None:
        if self.error is not None:
            raise self.error


@dataclass
class Keeper:
    """The destination's storage."""

    statuses: Iterator[int]
    stored: list[CStoreRQ] = field(default_factory=list)
    before: Callable[[], None] = lambda: None

    def __call__(self, session: Session, context: Context, request: Message) -> None:
        assert isinstance(request, CStoreRQ)
        for _ in session.data_set():
            pass
        self.stored.append(request)
        self.before()
        response = request.response(next(self.statuses, 0))
        session.connection.association.send(context.id, response.encode())


@contextmanager
def destination(keeper: Keeper | None, count: int = 1) -> Iterator[Device]:
    """Listen as a receiver that stores; without a keeper it rejects."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for _ in range(count):
            sock, _address = server.accept()
            with sock:
                connection = Connection(sock, Association.acceptor(LIMITS), PATIENT)
                receive(connection, keeper)
                connection.close()

    serving = Running(serve)
    with server:
        yield Device(Destination(*server.getsockname()))
        serving.result()


def receive(connection: Connection, keeper: Keeper | None) -> None:
    event = connection.event()
    if not isinstance(event, Requested):
        return
    if keeper is None:
        connection.association.reject()
        return
    offer = Offer({CT: Service(frozenset({EXPLICIT_VR_LE}))})
    connection.association.accept(
        negotiate(
            event.request, offer, pdu_length_bytes_max=LIMITS.pdu_length_bytes_max
        )
    )
    with suppress(PeerError):
        session(connection, {CStoreRQ: keeper}).run()


def moving(found: Retrieval, doorkeeper: Doorkeeper) -> MoveService:
    return MoveService(
        Fetch(found),  # type: ignore[arg-type]
        Transcoder(),  # type: ignore[arg-type]
        doorkeeper,  # type: ignore[arg-type]
        Outgoing(
            title=AETitle("LEADGLASS"),
            tls=lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            timeouts=PATIENT,
            connect_timeout_s=WAIT_S,
        ),
    )


@contextmanager
def moving_to(
    found: Retrieval, doorkeeper: Doorkeeper
) -> Iterator[tuple[Remote, Running]]:
    with established() as (connection, remote):
        service = moving(found, doorkeeper)
        served = Running(session(connection, {CMoveRQ: service}).run)
        remote.say(MOVE_ID, MOVE_RQ, identifier().encode())
        yield remote, served


def move(found: Retrieval, doorkeeper: Doorkeeper) -> tuple[CMoveRSP, list[str]]:
    with moving_to(found, doorkeeper) as (remote, served):
        message, data = remote.hear()
        assert isinstance(message, CMoveRSP)
        remote.release()
        served.result()
    failed = DataSet.decode(data).texts(FAILED_SOP_INSTANCES) if data else []
    return message, failed


def test_a_move_sends_to_the_destination_and_says_for_whom() -> None:
    keeper = Keeper(iter(()))
    found = retrieval(3)
    with destination(keeper) as device:
        last, failed = move(found, Doorkeeper(device))
    assert (last.status, last.completed, failed) == (SUCCESS, 3, [])
    assert found.finished == [False]
    assert [each.affected_sop_instance for each in keeper.stored] == [
        each.instance_uid for each in found.locations
    ]
    for each in keeper.stored:
        assert each.move_originator == AETitle("CT1")
        assert each.move_originator_message_id == MOVE_RQ.message_id


def test_a_move_counts_what_the_destination_refuses() -> None:
    with destination(Keeper(iter([0, 0xA700, 0xB000]))) as device:
        last, failed = move(retrieval(3), Doorkeeper(device))
    assert last.status == SOME_FAILED
    assert (last.completed, last.failed, last.warning) == (1, 1, 1)
    assert failed == ["1.2.3.1.1.2"]


def test_a_move_to_nowhere() -> None:
    for device in (None, Device(None)):
        keeper = Doorkeeper(device)
        last, _ = move(retrieval(), keeper)
        assert last.status == 0xA801
        assert len(keeper.refused) == 1


def test_a_destination_that_does_not_listen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        device = Device(Destination(*server.getsockname()))
    found = retrieval(2)
    last, failed = move(found, Doorkeeper(device))
    assert (last.status, last.failed, len(failed)) == (ALL_FAILED, 2, 2)
    assert found.finished == [False]


def test_a_destination_that_rejects() -> None:
    with destination(None) as device:
        last, _ = move(retrieval(2), Doorkeeper(device))
    assert (last.status, last.failed) == (ALL_FAILED, 2)


def test_a_destination_that_is_somebody_else_gets_nothing() -> None:
    keeper = Keeper(iter(()))
    with destination(keeper) as device:
        last, _ = move(retrieval(2), Doorkeeper(device, Refused("not the device")))
    assert (last.status, last.failed) == (ALL_FAILED, 2)
    assert keeper.stored == []


def test_a_destination_that_is_lost_in_the_middle_fails_the_rest() -> None:
    def leave() -> None:
        raise PeerError("the test's receiver has had enough")

    keeper = Keeper(iter(()))
    answers = iter([None, leave])

    def before() -> None:
        act = next(answers)
        if act is not None:
            act()

    keeper.before = before
    with destination(keeper) as device:
        last, failed = move(retrieval(4), Doorkeeper(device))
    assert (last.status, last.completed, last.failed) == (SOME_FAILED, 1, 3)
    assert failed == ["1.2.3.1.1.2", "1.2.3.1.1.3", "1.2.3.1.1.4"]


def test_a_cancel_of_a_move() -> None:
    asked_once, cancelled = threading.Event(), threading.Event()

    def before() -> None:
        asked_once.set()
        cancelled.wait(WAIT_S)

    found = retrieval(50)
    keeper = Keeper(iter(()), before=before)
    with (
        destination(keeper) as device,
        moving_to(found, Doorkeeper(device)) as (remote, served),
    ):
        assert asked_once.wait(WAIT_S)
        remote.say(MOVE_ID, CCancelRQ(responds_to=MOVE_RQ.message_id))
        cancelled.set()
        message, _ = remote.hear()
        assert isinstance(message, CMoveRSP)
        assert message.status == CANCEL
        assert message.completed == len(keeper.stored) < 50
        assert message.remaining == 50 - len(keeper.stored)
        remote.release()
        served.result()
    assert found.finished == [True]


@pytest.mark.parametrize("kind", ["left", "second operation", "garbage"])
def test_who_asked_for_a_move_and_breaks_the_protocol_ends_it(kind: str) -> None:
    asked_once, broken = threading.Event(), threading.Event()

    def before() -> None:
        asked_once.set()
        broken.wait(WAIT_S)

    found = retrieval(50)
    keeper = Keeper(iter(()), before=before)
    with (
        destination(keeper) as device,
        moving_to(found, Doorkeeper(device)) as (remote, served),
    ):
        assert asked_once.wait(WAIT_S)
        if kind == "second operation":
            remote.say(MOVE_ID, MOVE_RQ, identifier().encode())
        elif kind == "garbage":
            remote.send(b"\x99garbage")
        remote.leave()
        broken.set()
        with pytest.raises(Gone):
            served.result()
    assert found.finished == [False]
    assert len(keeper.stored) < 50
