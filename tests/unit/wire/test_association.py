"""The association, byte by byte; no socket, no clock, no sleep."""

from dataclasses import replace
from itertools import cycle, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadglass.dicom.aetitle import AETitle
from leadglass.dicom.transfer_syntaxes import IMPLICIT_VR_LE
from leadglass.dicom.uids import UID
from leadglass.errors import PeerError
from leadglass.wire.association import (
    CONTROL_LENGTH_BYTES,
    INBOX_BYTES_MIN,
    Aborted,
    Accepted,
    Association,
    Event,
    Fragment,
    Limits,
    Rejected,
    Released,
    ReleaseRequested,
    Requested,
)
from leadglass.wire.fragments import SENT_PDU_LENGTH_BYTES_MAX
from leadglass.wire.negotiation import announcement, propose
from leadglass.wire.pdus import (
    Abort,
    AbortReason,
    AbortSource,
    AssociateAC,
    AssociateRJ,
    ContextAnswer,
    ContextResult,
    RejectReason,
    RejectResult,
    ReleaseRP,
    ReleaseRQ,
)
from leadglass.wire.states import State, Timer
from tests.unit.wire.rig import (
    CT,
    CT_ID,
    ECHO_ID,
    LIMITS,
    acceptor,
    answer,
    drain,
    feed,
    feed_in_place,
    fragments_of,
    pair,
    request,
    stands,
)

RELEASE_RQ = ReleaseRQ().encode()
RELEASE_RP = ReleaseRP().encode()
USER_ABORT = Abort(AbortSource.SERVICE_USER).encode()


def provider_abort(reason: AbortReason) -> bytes:
    return Abort(AbortSource.SERVICE_PROVIDER, reason).encode()


def pdv(context_id: int, control: int, data: bytes) -> bytes:
    return (len(data) + 2).to_bytes(4, "big") + bytes((context_id, control)) + data


def p_data(*values: bytes) -> bytes:
    body = b"".join(values)
    return b"\4\0" + len(body).to_bytes(4, "big") + body


# A command and data set in one PDU, a fragment over two PDUs, an empty last one.
DIALOGUE = (
    p_data(pdv(CT_ID, 3, b"command"), pdv(CT_ID, 0, b"da"))
    + p_data(pdv(CT_ID, 0, b"ta " * 50))
    + p_data(pdv(CT_ID, 0, b"set"), pdv(CT_ID, 2, b""), pdv(ECHO_ID, 0xFF, b"echo"))
    + RELEASE_RQ
)


def respond(association: Association, pieces: list[bytes]) -> list[Event]:
    """Feed a whole association and answer what must be answered."""
    events: list[Event] = []
    for piece in pieces:
        association.receive(piece)
        for event in association.events():
            if isinstance(event, Requested):
                association.accept(answer(event.request))
            if isinstance(event, ReleaseRequested):
                association.release()
            if isinstance(event, Fragment):
                event = event._replace(data=memoryview(bytes(event.data)))  # noqa: PLW2901
            events.append(event)
    return events


WHOLE = request().encode() + DIALOGUE


class TestCutting:
    @given(st.sets(st.integers(1, len(WHOLE) - 1)))
    def test_events_do_not_depend_on_how_the_bytes_were_cut(
        self, cuts: set[int]
    ) -> None:
        edges = [0, *sorted(cuts), len(WHOLE)]
        pieces = [WHOLE[a:b] for a, b in pairwise(edges)]
        one, other = Association.acceptor(LIMITS), Association.acceptor(LIMITS)
        assert respond(one, pieces) == respond(other, [WHOLE])
        assert one.outbox() == other.outbox()
        assert stands(one) is State.AWAITING_CLOSE

    @given(st.lists(st.integers(1, 20_000), min_size=1, max_size=6))
    def test_nor_through_the_inbox_itself(self, counts: list[int]) -> None:
        wire = DIALOGUE[: -len(RELEASE_RQ)] * 60
        association = acceptor()
        events: list[Event] = []
        rest = memoryview(wire)
        turns = cycle([*counts, 5000])
        while rest:
            space = association.space()
            count = min(len(rest), len(space), next(turns))
            space[:count] = rest[:count]
            rest = rest[count:]
            if association.filled(count):
                events += drain(association)
            else:
                assert drain(association) == []
        assert events == feed(acceptor(), wire)
        assert len(events) == 360

    def test_fragments_say_what_they_are(self) -> None:
        events = feed(acceptor(), DIALOGUE)
        shown = [tuple(event) for event in events if isinstance(event, Fragment)]
        assert shown == [
            (CT_ID, True, True, b"command"),
            (CT_ID, False, False, b"da"),
            (CT_ID, False, False, b"ta " * 50),
            (CT_ID, False, False, b"set"),
            (CT_ID, False, True, b""),
            (ECHO_ID, True, True, b"echo"),
        ]
        assert events[-1] == ReleaseRequested()


class TestInbox:
    def test_data_is_not_copied(self) -> None:
        association = acceptor()
        wire = p_data(pdv(CT_ID, 0, bytes(1000)))
        space = association.space()
        space[: len(wire)] = wire
        association.filled(len(wire))
        (event,) = association.events()
        assert isinstance(event, Fragment)
        space[500] = 7  # what is seen through the event is the inbox itself
        assert event.data[500 - 12] == 7

    @pytest.mark.parametrize("length", [4096, 16384, 131072])
    def test_data_is_never_moved(self, length: int) -> None:
        """A PDU that a read leaves incomplete fits where it began."""
        association = acceptor(limits=Limits(pdu_length_bytes_max=length))
        pdu = p_data(pdv(CT_ID, 0, bytes(length - 6)))
        rest = memoryview(pdu * (2**20 // len(pdu) + 2))
        end = 0  # how much data was seen
        base = association.space().obj
        while rest:
            space = association.space()
            assert space.obj is base
            count = min(len(space), len(rest))
            space[:count] = rest[:count]
            rest = rest[count:]
            association.filled(count)
            end += sum(len(e.data) for e in fragments_of(association.events()))
        assert end == (2**20 // len(pdu) + 2) * (length - 6)

    def test_space_is_bounded_by_what_we_announced(self) -> None:
        association = acceptor()
        assert len(association.space()) == LIMITS.read_ahead_bytes
        head = p_data(pdv(CT_ID, 0, bytes(16384 - 6)))[:20]
        feed(association, head)
        assert len(association.space()) == 16384 + 6 - 20

    def test_a_stranger_has_little_of_our_memory(self) -> None:
        association = Association.acceptor(LIMITS)
        assert len(association.space()) == INBOX_BYTES_MIN
        feed(association, b"\1\0" + (200_000).to_bytes(4, "big"))
        assert len(association.space()) == 200_000

    def test_a_long_request_is_read(self) -> None:
        name = UID("1.2.840.10008.1.2.4.100.1")
        wishes = [(CT, (name,) * 30)] * 128
        asked = propose(AETitle("A"), AETitle("B"), wishes, pdu_length_bytes_max=16384)
        encoded = asked.encode()
        assert len(encoded) > 100_000
        (event,) = feed_in_place(Association.acceptor(LIMITS), encoded)
        assert event == Requested(asked)

    def test_reading_on_before_the_events_is_a_mistake(self) -> None:
        association = acceptor()
        wire = p_data(pdv(CT_ID, 0, bytes(10)))
        feed(association, wire[:10])
        association.receive(wire[10:])
        with pytest.raises(RuntimeError, match="to their end"):
            association.space()

    def test_events_that_were_left_early_are_not_lost(self) -> None:
        association = acceptor()
        long, short = p_data(pdv(CT_ID, 0, bytes(5000))), p_data(pdv(CT_ID, 2, b"ok"))
        feed_in_place(association, long[:100])
        association.receive(long[100:])
        next(association.events())  # and no further
        space = association.space()
        space[: len(short)] = short
        assert association.filled(len(short))
        assert [e.data for e in fragments_of(association.events())] == [b"ok"]
        association.receive(long + short)
        next(association.events())
        with pytest.raises(RuntimeError, match="to their end"):
            association.space()

    def test_limits_check_themselves(self) -> None:
        for bad in (
            {"pdu_length_bytes_max": 100},
            {"pdu_length_bytes_max": 2**24},
            {"associate_length_bytes_max": 1},
            {"read_ahead_bytes": 0},
        ):
            with pytest.raises(ValueError, match="KiB"):
                Limits(**bad)


class TestRefusals:
    @pytest.mark.parametrize(
        ("wire", "reason"),
        [
            ("09 00 00000004", AbortReason.UNRECOGNIZED_PDU),
            ("00 00 00000000", AbortReason.UNRECOGNIZED_PDU),
            ("01 00 00000044", AbortReason.UNEXPECTED_PDU),
            ("02 00 FFFFFFFF", AbortReason.UNEXPECTED_PDU),
            ("03 00 00000004", AbortReason.UNEXPECTED_PDU),
            ("06 00 00000004", AbortReason.UNEXPECTED_PDU),
            ("04 00 00004001", AbortReason.INVALID_PARAMETER_VALUE),
            ("04 00 FFFFFFFF", AbortReason.INVALID_PARAMETER_VALUE),
            ("04 00 00000000", AbortReason.INVALID_PARAMETER_VALUE),
            ("05 00 00000005", AbortReason.INVALID_PARAMETER_VALUE),
            ("07 00 7FFFFFFF", AbortReason.INVALID_PARAMETER_VALUE),
            ("07 00 00000000", AbortReason.INVALID_PARAMETER_VALUE),
            # PDVs: cut short, too short, overrunning, of an unknown context
            ("04 00 00000003 000000", AbortReason.INVALID_PARAMETER_VALUE),
            ("04 00 00000006 00000001 01 03", AbortReason.INVALID_PARAMETER_VALUE),
            ("04 00 00000006 00000003 01 03", AbortReason.INVALID_PARAMETER_VALUE),
            ("04 00 00000006 FFFFFFFF 01 03", AbortReason.INVALID_PARAMETER_VALUE),
            ("04 00 00000006 00000002 63 03", AbortReason.INVALID_PARAMETER_VALUE),
        ],
    )
    def test_what_an_established_association_refuses(
        self, wire: str, reason: AbortReason
    ) -> None:
        association = acceptor()
        with pytest.raises(PeerError):
            feed(association, bytes.fromhex(wire))
        assert association.outbox() == provider_abort(reason)
        assert stands(association) is State.AWAITING_CLOSE
        assert association.timer() is Timer.ARTIM
        # Nothing that follows is looked at, however much it is.
        assert feed_in_place(association, DIALOGUE * 2000) == []
        assert association.outbox() == b""

    @pytest.mark.parametrize(
        "wire",
        ["04 00 00000006", "47 45 54 20 2F 20", "01 00 00040001", "16 03 01 02 00 01"],
    )
    def test_before_the_request_a_stranger_is_cut_off_at_six_bytes(
        self, wire: str
    ) -> None:
        association = Association.acceptor(LIMITS)
        with pytest.raises(PeerError):
            feed(association, bytes.fromhex(wire))
        assert association.outbox() == USER_ABORT  # AA-1: as service user
        assert stands(association) is State.AWAITING_CLOSE

    def test_good_values_before_a_bad_one_are_handed_on(self) -> None:
        association = acceptor()
        events: list[Event] = []
        association.receive(p_data(pdv(CT_ID, 3, b"ok"), b"\0\0\0\x09\1\3"))
        with pytest.raises(PeerError):
            events.extend(association.events())
        assert [event.data for event in fragments_of(events)] == [b"ok"]

    @given(st.binary(max_size=200), st.booleans(), st.booleans())
    def test_no_input_does_worse_than_a_peer_error(
        self, noise: bytes, is_new: bool, is_data: bool
    ) -> None:
        association = Association.acceptor(LIMITS) if is_new else acceptor()
        head = b"\4\0" + len(noise).to_bytes(4, "big") if is_data else b""
        try:
            respond(association, [head + noise])
        except PeerError:
            assert association.outbox()[-10] == 7  # A-ABORT
            assert stands(association) is State.AWAITING_CLOSE

    @given(st.data())
    def test_nor_does_a_changed_association(self, data: st.DataObject) -> None:
        whole = bytearray(WHOLE)
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, len(whole) - 1))
            whole[at] = data.draw(st.integers(0, 255))
        try:
            respond(Association.acceptor(LIMITS), [bytes(whole)])
        except PeerError as error:
            refusal = str(error)
        else:
            return
        assert "1.2" not in refusal  # no UID in what is logged


class TestAcceptor:
    def test_request_and_answer(self) -> None:
        association = Association.acceptor(LIMITS)
        assert association.timer() is Timer.ARTIM
        assert feed(association, request().encode()) == [Requested(request())]
        assert stands(association) is State.DECIDING
        assert association.timer() is None
        accept = answer(request())
        association.accept(accept)
        assert association.outbox() == accept.encode()
        assert stands(association) is State.ESTABLISHED
        assert association.timer() is Timer.IDLE
        assert association.contexts[CT_ID].abstract_syntax == CT

    def test_reject(self) -> None:
        association = Association.acceptor(LIMITS)
        feed(association, request().encode())
        association.reject(RejectReason.LOCAL_LIMIT_EXCEEDED, RejectResult.TRANSIENT)
        assert association.outbox() == bytes.fromhex("0300 00000004 00 02 03 02")
        assert stands(association) is State.AWAITING_CLOSE

    def test_reject_tells_nothing_by_default(self) -> None:
        association = Association.acceptor(LIMITS)
        feed(association, request().encode())
        association.reject()
        assert association.outbox() == bytes.fromhex("0300 00000004 00 01 01 01")

    @pytest.mark.parametrize(
        ("change", "verdict"),
        [
            ({"protocol_version": 2}, "00 01 02 02"),
            ({"application_context": UID("1.2.3")}, "00 01 01 02"),
        ],
    )
    def test_what_the_provider_itself_rejects(
        self, change: dict[str, Any], verdict: str
    ) -> None:
        association = Association.acceptor(LIMITS)
        with pytest.raises(PeerError):
            feed(association, replace(request(), **change).encode())
        assert association.outbox() == bytes.fromhex("0300 00000004" + verdict)
        assert stands(association) is State.AWAITING_CLOSE

    def test_a_peer_that_takes_next_to_nothing(self) -> None:
        asked = replace(request(), user=announcement(100))
        association = Association.acceptor(LIMITS)
        with pytest.raises(PeerError, match="small"):
            feed(association, asked.encode())
        assert association.outbox() == USER_ABORT

    @pytest.mark.parametrize(
        ("announced", "sent"),
        [(0, SENT_PDU_LENGTH_BYTES_MAX), (16384, 16384), (2**32 - 1, 131072)],
    )
    def test_maximum_length_of_the_peer(self, announced: int, sent: int) -> None:
        association = acceptor(asked=replace(request(), user=announcement(announced)))
        wire = b"".join(
            bytes(b) for b in association.stream(CT_ID, b"c", [bytes(600_000)])
        )
        lengths = []
        while wire:
            lengths.append(int.from_bytes(wire[2:6], "big"))
            wire = wire[6 + lengths[-1] :]
        assert max(lengths) == sent

    def test_an_answer_must_announce_what_is_enforced(self) -> None:
        association = Association.acceptor(LIMITS)
        feed(association, request().encode())
        with pytest.raises(ValueError, match="announce"):
            association.accept(answer(request(), Limits()))

    def test_accepting_twice_is_a_mistake(self) -> None:
        with pytest.raises(RuntimeError, match="ACCEPT when ESTABLISHED"):
            acceptor().accept(answer(request()))


class TestRequestor:
    def test_request_goes_first(self) -> None:
        association = Association.requestor(request(), LIMITS)
        assert stands(association) is State.AWAITING_ANSWER
        assert association.timer() is Timer.IDLE
        assert association.outbox() == request().encode()
        assert association.outbox() == b""
        accept = answer(request())
        assert feed(association, accept.encode()) == [Accepted(accept)]
        context = association.find(CT)
        assert context is not None
        assert context.id == CT_ID
        assert association.find(CT, IMPLICIT_VR_LE) is None
        assert association.find(UID("1.2.3")) is None

    def test_rejected(self) -> None:
        association = Association.requestor(request(), LIMITS)
        reject = AssociateRJ(RejectResult.PERMANENT, RejectReason.NO_REASON)
        assert feed(association, reject.encode()) == [Rejected(reject)]
        assert stands(association) is State.CLOSED

    def test_an_answer_to_what_was_not_asked(self) -> None:
        association = Association.requestor(request(), LIMITS)
        association.outbox()
        accept = AssociateAC(
            (ContextAnswer(99, ContextResult.ACCEPTANCE, IMPLICIT_VR_LE),)
        )
        with pytest.raises(PeerError, match="not proposed"):
            feed(association, accept.encode())
        assert association.outbox() == provider_abort(
            AbortReason.INVALID_PARAMETER_VALUE
        )

    def test_it_announces_what_it_enforces(self) -> None:
        with pytest.raises(ValueError, match="announce"):
            Association.requestor(request(), Limits())


class TestRelease:
    def test_the_requestor_asks(self) -> None:
        one, other = pair()
        one.release()
        assert stands(one) is State.AWAITING_RELEASE
        assert feed(other, one.outbox()) == [ReleaseRequested()]
        assert other.timer() is None
        other.send(ECHO_ID, b"a late answer")  # AR-7: allowed until we agree
        other.release()
        events = feed(one, other.outbox())
        assert [type(event) for event in events] == [Fragment, Released]
        assert stands(one) is State.CLOSED
        assert stands(other) is State.AWAITING_CLOSE
        assert other.lost() is None
        assert stands(other) is State.CLOSED

    def test_both_ask_at_once(self) -> None:
        one, other = pair()
        one.release()
        other.release()
        mine, theirs = one.outbox(), other.outbox()
        assert feed(one, theirs) == [ReleaseRequested()]
        assert feed(other, mine) == [ReleaseRequested()]
        assert stands(one) is State.COLLISION_REQUESTOR_RELEASING
        assert stands(other) is State.COLLISION_ACCEPTOR_AWAITING
        other.release()  # agreed, but the requestor answers first
        assert other.outbox() == b""
        one.release()
        assert stands(one) is State.COLLISION_REQUESTOR_AWAITING
        assert feed(other, one.outbox()) == [Released()]
        assert stands(other) is State.AWAITING_CLOSE
        assert feed(one, other.outbox()) == [Released()]
        assert stands(one) is State.CLOSED

    def test_the_acceptor_may_agree_later(self) -> None:
        one, other = pair()
        one.release()
        other.release()
        mine, theirs = one.outbox(), other.outbox()
        feed(one, theirs)
        feed(other, mine)
        one.release()
        feed(other, one.outbox())
        assert stands(other) is State.COLLISION_ACCEPTOR_RELEASING
        other.release()
        assert feed(one, other.outbox()) == [Released()]

    def test_data_after_asking_is_an_error(self) -> None:
        one, other = pair()
        one.release()
        feed(other, one.outbox())
        with pytest.raises(PeerError, match="P_DATA_TF when RELEASING"):
            feed(other, p_data(pdv(CT_ID, 3, b"x")))


class TestEnd:
    def test_abort_of_the_peer(self) -> None:
        wire = provider_abort(AbortReason.UNEXPECTED_PDU)
        association = acceptor()
        assert feed(association, wire + DIALOGUE) == [
            Aborted(AbortSource.SERVICE_PROVIDER, AbortReason.UNEXPECTED_PDU)
        ]
        assert stands(association) is State.CLOSED
        assert association.timer() is None

    def test_abort_of_ours(self) -> None:
        association = acceptor()
        association.abort()
        assert association.outbox() == USER_ABORT
        assert stands(association) is State.AWAITING_CLOSE
        association.abort()
        assert association.outbox() == b""
        # The peer had not heard of it yet; then it closes.
        assert feed_in_place(association, DIALOGUE * 2000) == []
        assert association.lost() is None

    def test_abort_amid_a_pdu_stops_the_events(self) -> None:
        association = acceptor()
        association.receive(DIALOGUE)
        events = association.events()
        next(events)
        association.abort()
        assert list(events) == []
        assert len(association.space()) == LIMITS.read_ahead_bytes

    def test_abort_before_the_request_says_nothing(self) -> None:
        association = Association.acceptor(LIMITS)
        association.abort()
        assert association.outbox() == b""
        assert stands(association) is State.CLOSED

    def test_a_request_after_the_end_is_told_once(self) -> None:
        association = Association.acceptor(LIMITS)
        feed(association, request().encode())
        association.reject()
        association.outbox()
        assert feed(association, RELEASE_RQ + request().encode() * 2) == []
        assert association.outbox() == provider_abort(AbortReason.UNEXPECTED_PDU)

    def test_the_connection_breaks(self) -> None:
        association = acceptor()
        aborted = association.lost()
        assert aborted == Aborted(
            AbortSource.SERVICE_PROVIDER, AbortReason.NOT_SPECIFIED
        )
        assert association.lost() is None
        assert Association.acceptor(LIMITS).lost() is None

    def test_artim(self) -> None:
        association = Association.acceptor(LIMITS)
        association.timed_out()
        assert stands(association) is State.CLOSED
        assert association.outbox() == b""

    def test_idle(self) -> None:
        association = acceptor()
        association.timed_out()
        assert association.outbox() == USER_ABORT
        assert association.timer() is Timer.ARTIM
        association.timed_out()
        assert stands(association) is State.CLOSED

    def test_sending_after_the_end_is_a_mistake(self) -> None:
        association = acceptor()
        with pytest.raises(RuntimeError, match="context"):
            association.send(99, b"")
        association.abort()
        with pytest.raises(RuntimeError, match="SEND_DATA"):
            association.send(ECHO_ID, b"")
        with pytest.raises(RuntimeError, match="SEND_DATA"):
            association.stream(ECHO_ID, b"", [])


class TestSending:
    def test_small_messages_share_a_write(self) -> None:
        one, other = pair()
        for _ in range(3):
            one.send(ECHO_ID, b"co", b"data")
        assert one.outbox_bytes == 3 * (12 + 2 + 12 + 4)
        assert len(feed(other, one.outbox())) == 6
        assert one.outbox_bytes == 0

    def test_a_stream_takes_the_outbox_along_first(self) -> None:
        one, other = pair()
        one.send(ECHO_ID, b"first")
        wire = b"".join(bytes(b) for b in one.stream(CT_ID, b"second", [b"third"]))
        events = feed(other, wire)
        assert [bytes(e.data) for e in events if isinstance(e, Fragment)] == [
            b"first",
            b"second",
            b"third",
        ]

    def test_control_pdus_are_as_long_as_the_limit_says(self) -> None:
        assert len(RELEASE_RQ) == len(RELEASE_RP) == len(USER_ABORT)
        assert len(RELEASE_RQ) == 6 + CONTROL_LENGTH_BYTES
