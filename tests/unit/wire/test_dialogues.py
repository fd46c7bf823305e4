"""Whole dialogues: the acceptor's core against the requestor's, in memory."""

from typing import Any

from leadglass.dicom.aetitle import AETitle
from leadglass.dicom.sop_classes import (
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
    VERIFICATION,
)
from leadglass.wire.association import Limits, Released, ReleaseRequested
from leadglass.wire.dimse import (
    CCancelRQ,
    CEchoRQ,
    CFindRQ,
    CGetRQ,
    CMoveRQ,
    Command,
    CStoreRQ,
    SubOperations,
)
from leadglass.wire.pdus import RoleSelection
from leadglass.wire.states import State
from leadglass.wire.status import CANCEL, PENDING, SUCCESS
from tests.unit.wire.rig import (
    CT,
    CT_ID,
    ECHO_ID,
    FIND_ID,
    GET_ID,
    INSTANCE,
    LIMITS,
    MOVE_ID,
    Peer,
    gathered,
    pair,
)

GET_ROLES = (RoleSelection(CT, is_scu=False, is_scp=True),)
IMAGE = bytes(range(256)) * 2051  # 525 KB
STORE = CStoreRQ(message_id=1, affected_sop_class=CT, affected_sop_instance=INSTANCE)


def peers(**options: Any) -> tuple[Peer, Peer]:
    one, other = pair(**options)
    return Peer(one), Peer(other)


def part(scu: Peer, scp: Peer) -> None:
    """Release, and see that both know."""
    scu.association.release()
    assert list(scp.hear(scu.association.outbox())) == []
    assert scp.others == [ReleaseRequested()]
    assert list(scu.hear(scp.association.outbox())) == []
    assert scu.others == [Released()]
    assert scu.association.state is State.CLOSED


def test_c_echo() -> None:
    scu, scp = peers()
    echo = CEchoRQ(message_id=1, affected_sop_class=VERIFICATION)
    assert list(scp.hear(scu.say(ECHO_ID, echo))) == [Command(ECHO_ID, echo)]
    response = echo.response()
    assert list(scu.hear(scp.say(ECHO_ID, response))) == [Command(ECHO_ID, response)]
    part(scu, scp)


def test_c_store() -> None:
    for limits in (LIMITS, Limits(), Limits(pdu_length_bytes_max=4096)):
        scu, scp = peers(limits=limits)
        for _ in range(3):
            wire = scu.stream(CT_ID, STORE, IMAGE)
            assert gathered(scp.hear(wire)) == (STORE, IMAGE)
            response = STORE.response(SUCCESS)
            assert gathered(scu.hear(scp.say(CT_ID, response))) == (response, b"")
        part(scu, scp)


def test_c_find() -> None:
    scu, scp = peers()
    find = CFindRQ(message_id=5, affected_sop_class=STUDY_ROOT_FIND)
    keys = bytes(20_000)  # more than one PDU
    assert gathered(scp.hear(scu.say(FIND_ID, find, keys))) == (find, keys)
    match = find.response(PENDING, has_data_set=True)
    for number in range(100):  # gathered into one write
        scp.association.send(FIND_ID, match.encode(), b"match %d" % number)
    scp.association.send(FIND_ID, find.response(SUCCESS).encode())
    items = list(scu.hear(scp.association.outbox()))
    commands = [item.message for item in items if isinstance(item, Command)]
    found = [item.data for item in items if not isinstance(item, Command)]
    assert commands == [match] * 100 + [find.response(SUCCESS)]
    assert found == [b"match %d" % number for number in range(100)]
    part(scu, scp)


def test_c_find_cancelled() -> None:
    scu, scp = peers()
    find = CFindRQ(message_id=5, affected_sop_class=STUDY_ROOT_FIND)
    gathered(scp.hear(scu.say(FIND_ID, find, b"keys")))
    match = find.response(PENDING, has_data_set=True)
    gathered(scu.hear(scp.say(FIND_ID, match, b"one match")))
    cancel = CCancelRQ(responds_to=5)
    assert list(scp.hear(scu.say(FIND_ID, cancel))) == [Command(FIND_ID, cancel)]
    ended = find.response(CANCEL)
    assert gathered(scu.hear(scp.say(FIND_ID, ended))) == (ended, b"")
    part(scu, scp)


def test_c_get_with_a_cancel_amid_the_sub_operations() -> None:
    scu, scp = peers(roles=GET_ROLES)
    get = CGetRQ(message_id=9, affected_sop_class=STUDY_ROOT_GET)
    gathered(scp.hear(scu.say(GET_ID, get, b"keys")))
    context = scp.association.find(CT)
    assert context is not None
    assert scu.association.find(CT) is None  # it only asked to be given
    for completed in (1, 2):
        wire = scp.stream(context.id, STORE, IMAGE)
        assert gathered(scu.hear(wire)) == (STORE, IMAGE)
        stored = STORE.response(SUCCESS)
        answers = scu.say(CT_ID, stored)
        if completed == 2:
            answers += scu.say(GET_ID, CCancelRQ(responds_to=9))
        heard = [
            item.message for item in scp.hear(answers) if isinstance(item, Command)
        ]
        assert heard == [stored, CCancelRQ(responds_to=9)][:completed]
        counts = SubOperations(remaining=5 - completed, completed=completed)
        pending = get.response(PENDING, counts)
        assert gathered(scu.hear(scp.say(GET_ID, pending))) == (pending, b"")
    ended = get.response(CANCEL, counts, has_data_set=True)
    assert gathered(scu.hear(scp.say(GET_ID, ended, b"failed"))) == (ended, b"failed")
    part(scu, scp)


def test_c_move() -> None:
    scu, scp = peers()
    move = CMoveRQ(
        message_id=2, affected_sop_class=STUDY_ROOT_MOVE, move_destination=AETitle("WS")
    )
    assert gathered(scp.hear(scu.say(MOVE_ID, move, b"keys"))) == (move, b"keys")
    for response in (
        move.response(PENDING, SubOperations(remaining=1)),
        move.response(SUCCESS, SubOperations(completed=1)),
    ):
        assert gathered(scu.hear(scp.say(MOVE_ID, response))) == (response, b"")
    part(scu, scp)
