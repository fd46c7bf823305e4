"""Dispatch: which request may come over which context, and what becomes of others."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from leadglass.dicom.sop_classes import STUDY_ROOT_FIND, STUDY_ROOT_GET, VERIFICATION
from leadglass.dicom.uids import UID
from leadglass.errors import (
    BadData,
    Conflict,
    Damaged,
    LeadglassError,
    Misconfigured,
    NotFound,
    PeerError,
    Refused,
    Unavailable,
)
from leadglass.servers.dimse.session import KINDS, Failure, Gone, Service, Session
from leadglass.wire.association import Aborted
from leadglass.wire.dimse import (
    CCancelRQ,
    CEchoRQ,
    CFindRQ,
    CGetRQ,
    CMoveRQ,
    CStoreRQ,
    CStoreRSP,
    Message,
    OtherRQ,
    OtherRSP,
)
from leadglass.wire.negotiation import Context, QueryOptions
from leadglass.wire.pdus import RoleSelection
from leadglass.wire.status import PROCESSING_FAILURE, SUCCESS, UNRECOGNIZED_OPERATION
from tests.unit.servers.rig import Remote, asked, established, session
from tests.unit.wire.rig import CT, CT_ID, ECHO_ID, FIND_ID, GET_ID, INSTANCE, MOVE_ID

ECHO_RQ = CEchoRQ(message_id=1, affected_sop_class=VERIFICATION)
STORE_RQ = CStoreRQ(message_id=2, affected_sop_class=CT, affected_sop_instance=INSTANCE)
FIND_RQ = CFindRQ(message_id=3, affected_sop_class=STUDY_ROOT_FIND)
GET_RQ = CGetRQ(message_id=4, affected_sop_class=STUDY_ROOT_GET)
# N-GET, and N-EVENT-REPORT with a data set: of services that are not ours.
N_GET = OtherRQ(command_field=0x0110, message_id=9)
N_CREATE = OtherRQ(command_field=0x0140, message_id=10, has_data_set=True)


@dataclass
class Recorder:
    """A service that reads what there is to read, and says success."""

    calls: list[tuple[Message, bytes]] = field(default_factory=list)

    def __call__(self, session: Session, context: Context, request: Message) -> None:
        data = b"" if isinstance(request, CEchoRQ) else session.identifier()
        self.calls.append((request, data))
        assert isinstance(request, CEchoRQ | CStoreRQ | CFindRQ | CGetRQ)
        response = request.response(SUCCESS)
        session.connection.association.send(context.id, response.encode())


@contextmanager
def serving(
    **more: Service,
) -> Iterator[tuple[Session, Remote, Recorder]]:
    recorder = Recorder()
    services: Mapping[type[Message], Service] = {
        kind: more.get(kind.__name__, recorder)
        for kind in (CEchoRQ, CStoreRQ, CFindRQ, CGetRQ)
    }
    with established() as (connection, remote):
        yield session(connection, services), remote, recorder


def is_aborted(remote: Remote) -> bool:
    return any(isinstance(each, Aborted) for each in remote.events)


def test_each_kind_of_request_goes_to_its_service() -> None:
    with serving() as (session, remote, recorder):
        remote.say(ECHO_ID, ECHO_RQ)
        remote.say(CT_ID, STORE_RQ, b"pixels")
        remote.say(FIND_ID, FIND_RQ, b"keys")
        remote.say(GET_ID, GET_RQ, b"uids")
        remote.release()
        session.run()
        assert recorder.calls == [
            (ECHO_RQ, b""),
            (STORE_RQ, b"pixels"),
            (FIND_RQ, b"keys"),
            (GET_RQ, b"uids"),
        ]
        session.connection.close()
        answers = [message for message, _ in remote.hear_all()]
        assert answers == [
            ECHO_RQ.response(),
            STORE_RQ.response(SUCCESS),
            FIND_RQ.response(SUCCESS),
            GET_RQ.response(SUCCESS),
        ]
        assert not is_aborted(remote)


@pytest.mark.parametrize(
    ("context_id", "request_", "data"),
    [
        (ECHO_ID, STORE_RQ, b"12"),
        (ECHO_ID, FIND_RQ, b"12"),
        (CT_ID, ECHO_RQ, None),
        (CT_ID, FIND_RQ, b"12"),
        (CT_ID, GET_RQ, b"12"),
        (FIND_ID, STORE_RQ, b"12"),
        (FIND_ID, GET_RQ, b"12"),
        (GET_ID, STORE_RQ, b"12"),
        (MOVE_ID, GET_RQ, b"12"),
    ],
)
def test_a_request_over_the_wrong_context_is_served_to_nobody(
    context_id: int, request_: Message, data: bytes | None
) -> None:
    with serving() as (session, remote, recorder):
        remote.say(context_id, request_, data)
        remote.leave()
        with pytest.raises(PeerError):
            session.run()
        session.connection.close()
        assert remote.hear_all() == []
        assert is_aborted(remote)
        assert recorder.calls == []


def test_a_request_without_a_service_ends_the_association() -> None:
    """MOVE was agreed on here by mistake; nobody answers it."""
    move = CMoveRQ(
        message_id=1,
        affected_sop_class=UID("1.2.840.10008.5.1.4.1.2.2.2"),
        move_destination=asked().calling,
    )
    with serving() as (session, remote, _):
        remote.say(MOVE_ID, move, b"12")
        remote.leave()
        with pytest.raises(PeerError):
            session.run()


def test_who_is_to_be_sent_to_may_not_store() -> None:
    """The role of the context decides, not the right of the device."""
    roles = [RoleSelection(CT, is_scu=False, is_scp=True)]
    recorder = Recorder()
    with established(request=asked(roles=roles)) as (connection, remote):
        assert not connection.association.contexts[CT_ID].is_scp
        # The peer's own core would not send it: bytes of another association.
        remote.say(CT_ID, STORE_RQ, b"12")
        remote.leave()
        with pytest.raises(PeerError):
            session(connection, {CStoreRQ: recorder}).run()
        assert recorder.calls == []


@pytest.mark.parametrize(
    ("request_", "data"), [(N_GET, None), (N_CREATE, bytes(100_000))]
)
def test_other_services_are_told_that_nobody_knows_them(
    request_: OtherRQ, data: bytes | None
) -> None:
    with serving() as (session, remote, recorder):
        remote.say(ECHO_ID, request_, data)
        remote.say(ECHO_ID, ECHO_RQ)  # the association goes on
        remote.release()
        session.run()
        session.connection.close()
        refusal = OtherRSP(
            command_field=request_.command_field | 0x8000,
            responds_to=request_.message_id,
            status=UNRECOGNIZED_OPERATION,
        )
        assert UNRECOGNIZED_OPERATION == 0x0211
        # Bytes, since a core that never asks such a thing takes no answer to it.
        heard = remote.hear_bytes()
        assert (
            0 < heard.find(refusal.encode()) < heard.find(ECHO_RQ.response().encode())
        )
        assert [call[0] for call in recorder.calls] == [ECHO_RQ]


def test_a_cancel_that_comes_too_late_is_no_error() -> None:
    with serving() as (session, remote, _):
        remote.say(FIND_ID, CCancelRQ(responds_to=77))
        remote.say(ECHO_ID, ECHO_RQ)
        remote.release()
        session.run()
        session.connection.close()
        assert [message for message, _ in remote.hear_all()] == [ECHO_RQ.response()]


def test_a_response_to_nothing_ends_the_association() -> None:
    with serving() as (session, remote, _):
        remote.say(CT_ID, CStoreRSP(responds_to=1, status=0))
        remote.leave()
        with pytest.raises(PeerError):
            session.run()
        session.connection.close()
        remote.hear_all()
        assert is_aborted(remote)


def test_a_data_set_without_a_command() -> None:
    with serving() as (session, remote, recorder):
        remote.send(bytes.fromhex("0400 0000 0008 0000 0004 0302 0102"))
        remote.leave()
        with pytest.raises(PeerError):
            session.run()
        session.connection.close()
        remote.hear_all()
        assert is_aborted(remote)
        assert recorder.calls == []


def test_an_abort_ends_it_quietly() -> None:
    with serving() as (session, remote, _):
        remote.association.abort()
        remote.flush()
        session.run()


def test_busy_is_said_while_a_request_is_served() -> None:
    seen: list[bool] = []

    def look(session: Session, context: Context, request: Message) -> None:
        seen.append(session.connection.is_idle)

    with serving(CEchoRQ=look) as (session, remote, _):
        remote.say(ECHO_ID, ECHO_RQ)
        remote.release()
        session.run()
        assert seen == [False]
        assert session.connection.is_idle


# --- what services use -----------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        b"",  # nothing more
        bytes.fromhex("0700 0000 0004 0000 0000"),  # A-ABORT
        bytes.fromhex("0500 0000 0004 0000 0000"),  # A-RELEASE-RQ in the middle
        b"\x99garbage of no PDU",
        ECHO_RQ.encode(),
    ],
)
def test_an_end_in_the_middle_of_a_data_set(sent: bytes) -> None:
    """For the service all of it is one thing: there is nobody to answer."""
    with established() as (connection, remote):
        remote.association.send(FIND_ID, FIND_RQ.encode())
        remote.flush()
        found: list[BaseException] = []

        def find(session: Session, context: Context, request: Message) -> None:
            remote.send(sent)
            remote.leave()
            try:
                session.identifier()
            except Exception as error:
                found.append(error)
                raise

        with pytest.raises(Gone):
            session(connection, {CFindRQ: find}).run()
        assert [type(each) for each in found] == [Gone]


def cancelling(remote: Remote, act: Callable[[], None], answers: list[bool]) -> Service:
    def find(session: Session, context: Context, request: Message) -> None:
        session.identifier()
        assert not session.is_cancelled(FIND_RQ.message_id)
        act()
        while not session.connection.has_news():
            pass
        answers.append(session.is_cancelled(FIND_RQ.message_id))

    return find


@pytest.mark.parametrize(("cancels", "expected"), [(3, True), (4, False)])
def test_a_cancel_is_of_its_own_request(cancels: int, expected: bool) -> None:
    with established() as (connection, remote):
        answers: list[bool] = []
        cancel = CCancelRQ(responds_to=cancels)
        find = cancelling(remote, lambda: remote.say(FIND_ID, cancel), answers)
        remote.say(FIND_ID, FIND_RQ, b"12")

        def find_and_end(session: Session, context: Context, request: Message) -> None:
            find(session, context, request)
            remote.release()

        session(connection, {CFindRQ: find_and_end}).run()
        assert answers == [expected]


@pytest.mark.parametrize("kind", ["second operation", "release", "lost", "garbage"])
def test_nothing_else_may_come_in_the_middle_of_an_operation(kind: str) -> None:
    with established() as (connection, remote):
        act = {
            "second operation": lambda: remote.say(ECHO_ID, ECHO_RQ),
            "release": remote.release,
            "lost": remote.leave,
            "garbage": lambda: remote.send(b"\x99garbage"),
        }[kind]
        find = cancelling(remote, act, [])
        remote.say(FIND_ID, FIND_RQ, b"12")
        with pytest.raises(Gone):
            session(connection, {CFindRQ: find}).run()
        if kind != "lost":
            remote.leave_quietly()
        connection.close()
        remote.hear_all()
        assert remote.hear_all() == []


def test_what_extended_negotiation_agreed_on() -> None:
    agreed = QueryOptions(relational=True).encode_find()
    with established() as (connection, _):
        made = session(connection, {}, {STUDY_ROOT_FIND: agreed})
        assert made.application_information(STUDY_ROOT_FIND) == agreed
        assert made.application_information(STUDY_ROOT_GET) == b""


def test_every_query_class_has_its_kind_and_storage_is_all_else() -> None:
    assert KINDS[VERIFICATION] is CEchoRQ
    assert CT not in KINDS
    assert set(KINDS.values()) == {CEchoRQ, CFindRQ, CMoveRQ, CGetRQ}


# --- failures ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Refused("not authorized"), 0x0124),
        (PeerError("x"), 0x0110),
        (BadData("x"), 0xC000),
        (NotFound("x"), 0x0112),
        (Conflict("x"), 0x0111),
        (Damaged("x"), 0x0110),
        (Unavailable("x"), 0xA700),
        (Misconfigured("x"), 0x0110),
    ],
)
def test_an_error_says_what_the_peer_is_told(
    error: LeadglassError, status: int
) -> None:
    assert Failure.of(error) == Failure(status, str(error))


def test_a_bug_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    failure = Failure.of(KeyError("Doe^Jane"))
    assert failure == Failure(PROCESSING_FAILURE, "internal error")
    assert "KeyError" in caplog.text
