"""Messages and how they come out of fragments."""

from dataclasses import MISSING, fields
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom import dimse_messages, dimse_primitives
from pynetdicom.pdu_primitives import P_DATA

from leadglass.dicom.aetitle import AETitle
from leadglass.dicom.sop_classes import STUDY_ROOT_GET, VERIFICATION
from leadglass.dicom.uids import UID
from leadglass.errors import PeerError
from leadglass.wire.association import Fragment
from leadglass.wire.dimse import (
    COMMAND_LENGTH_BYTES_MAX,
    CCancelRQ,
    CEchoRQ,
    CEchoRSP,
    CFindRQ,
    CFindRSP,
    CGetRQ,
    CGetRSP,
    CMoveRQ,
    CMoveRSP,
    Command,
    CStoreRQ,
    CStoreRSP,
    DataSetBytes,
    Message,
    Messages,
    OtherRQ,
    OtherRSP,
    SubOperations,
    decode_message,
)
from tests.unit.wire.rig import CT, INSTANCE

STORE = CStoreRQ(
    message_id=7,
    affected_sop_class=CT,
    affected_sop_instance=INSTANCE,
    move_originator=AETitle("WS1"),
    move_originator_message_id=3,
)
FIND = CFindRQ(message_id=1, affected_sop_class=CT)
MOVE = CMoveRQ(message_id=2, affected_sop_class=CT, move_destination=AETitle("WS"))
GET = CGetRQ(message_id=2, affected_sop_class=STUDY_ROOT_GET, priority=1)
ECHO = CEchoRQ(message_id=65535, affected_sop_class=VERIFICATION)
COUNTS = SubOperations(remaining=4, completed=3, failed=2, warning=1)
EXAMPLES: list[Message] = [
    ECHO,
    ECHO.response(),
    STORE,
    STORE.response(0xC000, error_comment="odd"),
    CStoreRSP(
        responds_to=1, status=0xA900, offending_elements=(0x00100010, 0x7FE00010)
    ),
    FIND,
    FIND.response(0xFF00, has_data_set=True),
    FIND.response(0),
    MOVE,
    MOVE.response(0xFF00, COUNTS),
    MOVE.response(0xB000, COUNTS, has_data_set=True),
    GET,
    GET.response(0xFF00, COUNTS),
    CCancelRQ(responds_to=2),
    OtherRQ(command_field=0x0130, message_id=9, has_data_set=True),
]
# How pynetdicom calls the classes and the fields.
FOREIGN = {
    CEchoRQ: "C_ECHO_RQ",
    CEchoRSP: "C_ECHO_RSP",
    CStoreRQ: "C_STORE_RQ",
    CStoreRSP: "C_STORE_RSP",
    CFindRQ: "C_FIND_RQ",
    CFindRSP: "C_FIND_RSP",
    CMoveRQ: "C_MOVE_RQ",
    CMoveRSP: "C_MOVE_RSP",
    CGetRQ: "C_GET_RQ",
    CGetRSP: "C_GET_RSP",
    CCancelRQ: "C_CANCEL_RQ",
}
KEYWORDS = {
    "message_id": "MessageID",
    "responds_to": "MessageIDBeingRespondedTo",
    "affected_sop_class": "AffectedSOPClassUID",
    "affected_sop_instance": "AffectedSOPInstanceUID",
    "priority": "Priority",
    "move_destination": "MoveDestination",
    "move_originator": "MoveOriginatorApplicationEntityTitle",
    "move_originator_message_id": "MoveOriginatorMessageID",
    "status": "Status",
    "offending_elements": "OffendingElement",
    "error_comment": "ErrorComment",
    "remaining": "NumberOfRemainingSuboperations",
    "completed": "NumberOfCompletedSuboperations",
    "failed": "NumberOfFailedSuboperations",
    "warning": "NumberOfWarningSuboperations",
}


def _name(message: Message) -> str:
    return type(message).__name__


def cut(
    data: bytes, *, is_command: bool, size: int, context_id: int = 1
) -> list[Fragment]:
    parts = [data[at : at + size] for at in range(0, len(data), size)] or [b""]
    return [
        Fragment(context_id, is_command, number == len(parts), memoryview(part))
        for number, part in enumerate(parts, 1)
    ]


class TestCommandSets:
    @pytest.mark.parametrize("message", EXAMPLES, ids=_name)
    def test_they_survive(self, message: Message) -> None:
        assert decode_message(message.encode()) == message

    @pytest.mark.parametrize("message", EXAMPLES, ids=_name)
    def test_they_are_as_strict_as_the_standard(self, message: Message) -> None:
        data = message.encode()
        assert data[:8] == bytes.fromhex("0000 0000 04000000")
        assert int.from_bytes(data[8:12], "little") == len(data) - 12
        at, numbers = 0, []
        while at < len(data):
            length = int.from_bytes(data[at + 4 : at + 8], "little")
            assert length % 2 == 0
            numbers.append(int.from_bytes(data[at + 2 : at + 4], "little"))
            at += 8 + length
        assert numbers == sorted(set(numbers))

    @pytest.mark.parametrize("message", EXAMPLES[:-1], ids=_name)
    def test_pynetdicom_reads_them(self, message: Message) -> None:
        primitive = P_DATA()
        primitive.presentation_data_value_list = [[1, b"\3" + message.encode()]]
        foreign = dimse_messages.DIMSEMessage()
        foreign.decode_msg(primitive)
        assert type(foreign).__name__ == FOREIGN[type(message)]
        for field in fields(message):
            value = getattr(message, field.name)
            if field.name in KEYWORDS and value is not None:
                read = foreign.command_set[KEYWORDS[field.name]].value
                expected = getattr(value, "text", value)
                if field.name == "offending_elements":
                    read, expected = list(read), list(value)
                assert read == expected

    def test_pynetdicom_writes_them(self) -> None:
        store = dimse_primitives.C_STORE()
        store.MessageID, store.Priority = 7, 0
        store.AffectedSOPClassUID, store.AffectedSOPInstanceUID = CT, INSTANCE
        store.MoveOriginatorApplicationEntityTitle = "WS1"
        store.MoveOriginatorMessageID = 3
        store.DataSet = BytesIO(bytes(100_001))
        foreign = dimse_messages.C_STORE_RQ()
        foreign.primitive_to_message(store)
        messages = Messages()
        items = []
        for primitive in foreign.encode_msg(5, 16382):
            for context_id, value in primitive.presentation_data_value_list:
                control = value[0]
                items.append(
                    messages.take(
                        Fragment(
                            context_id,
                            bool(control & 1),
                            bool(control & 2),
                            memoryview(value)[1:],
                        )
                    )
                )
        assert items[0] == Command(5, STORE)
        data = [item for item in items[1:] if isinstance(item, DataSetBytes)]
        assert sum(len(item.data) for item in data) == 100_001
        assert [item.is_last for item in data] == [False] * (len(data) - 1) + [True]

    @pytest.mark.parametrize("message", EXAMPLES, ids=_name)
    def test_what_must_be_there_must_be_there(self, message: Message) -> None:
        required = {f.name for f in fields(message) if f.default is MISSING}
        data, at = message.encode(), 12
        while at < len(data):
            end = at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")
            number = int.from_bytes(data[at + 2 : at + 4], "little")
            at, without = end, data[:at] + data[end:]
            keyword = {0x110: "message_id", 0x120: "responds_to", 0x900: "status"}
            if number in {0x0100, 0x0800} or keyword.get(number) in required:
                with pytest.raises(PeerError):
                    decode_message(without)

    def test_a_group_length_is_not_needed(self) -> None:
        assert decode_message(ECHO.encode()[12:]) == ECHO

    @pytest.mark.parametrize(
        ("data", "text"),
        [
            ("0000 0000 04", "cut short"),
            ("0800 0000 00000000", "another group"),
            ("0000 0001 03000000 3000", "overruns"),
            ("0000 0001 02000000 3000 0000 0001 02000000 3000", "twice"),
            ("0000 0001 04000000 30000000", "16-bit"),
            ("", "16-bit"),
        ],
    )
    def test_malformed(self, data: str, text: str) -> None:
        with pytest.raises(PeerError, match=text):
            decode_message(bytes.fromhex(data))

    def test_data_set_against_the_kind(self) -> None:
        swapped = STORE.encode().replace(b"\1\0" + b"\x00\x00\x00\x10", b"", 0)
        at = swapped.index(bytes.fromhex("0000 0008 02000000"))
        with pytest.raises(PeerError, match="CStoreRQ"):
            decode_message(swapped[: at + 8] + b"\1\1" + swapped[at + 10 :])
        echo = ECHO.encode()
        with pytest.raises(PeerError, match="CEchoRQ"):
            decode_message(echo[:-2] + b"\0\0")

    def test_offending_elements_are_tags(self) -> None:
        message = CStoreRSP(responds_to=1, status=0, offending_elements=(0x00100010,))
        data = message.encode()
        at = data.index(bytes.fromhex("10001000"))
        bad = data[: at - 4] + b"\2\0\0\0" + data[at : at + 2]
        with pytest.raises(PeerError, match="tags"):
            decode_message(bad)

    def test_a_comment_is_short_and_ascii(self) -> None:
        message = STORE.response(0x0110, error_comment="ü" * 100)
        decoded = decode_message(message.encode())
        assert isinstance(decoded, CStoreRSP)
        assert decoded.error_comment == "?" * 64

    @given(st.binary(max_size=200))
    def test_no_bytes_do_worse_than_a_peer_error(self, noise: bytes) -> None:
        for data in (noise, ECHO.encode()[:40] + noise):
            try:
                decode_message(data)
            except PeerError:
                continue


class TestResponses:
    def test_remaining_is_told_only_while_something_can_remain(self) -> None:
        assert GET.response(0xFF00, COUNTS).remaining == 4
        assert GET.response(0xFE00, COUNTS).remaining == 4
        assert MOVE.response(0, COUNTS).remaining is None
        assert MOVE.response(0, COUNTS).completed == 3

    def test_numbers_saturate(self) -> None:
        many = SubOperations(100_000, 100_000, 100_000, 100_000)
        response = decode_message(GET.response(0xFF00, many).encode())
        assert isinstance(response, CGetRSP)
        assert response.remaining == response.warning == 0xFFFF

    def test_a_service_that_is_not_ours(self) -> None:
        asked = OtherRQ(command_field=0x0130, message_id=9)
        response = asked.response()
        assert response == OtherRSP(command_field=0x8130, responds_to=9, status=0x0211)
        with pytest.raises(PeerError, match="never sent"):
            decode_message(response.encode())


class TestMessages:
    @given(size=st.integers(1, 300), data_size=st.integers(1, 300))
    def test_fragments_of_any_size(self, size: int, data_size: int) -> None:
        messages = Messages()
        data = bytes(range(200)) * 2
        items = [
            messages.take(fragment)
            for fragment in (
                *cut(STORE.encode(), is_command=True, size=size),
                *cut(data, is_command=False, size=data_size),
            )
        ]
        commands = [item for item in items if isinstance(item, Command)]
        pieces = [item for item in items if isinstance(item, DataSetBytes)]
        assert commands == [Command(1, STORE)]
        assert b"".join(piece.data for piece in pieces) == data
        assert messages.is_idle

    def test_an_identifier_comes_whole_and_stays(self) -> None:
        messages = Messages()
        messages.take(*cut(FIND.encode(), is_command=True, size=1000))
        assert not messages.is_idle
        buffer = bytearray(b"identifier")
        first = Fragment(1, False, False, memoryview(buffer)[:5])
        last = Fragment(1, False, True, memoryview(buffer)[5:])
        assert messages.take(first) is None
        item = messages.take(last)
        buffer[:] = bytes(10)
        assert item == DataSetBytes(1, memoryview(b"identifier"), is_last=True)

    def test_a_cancel_between_two_messages(self) -> None:
        messages = Messages()
        cancel = CCancelRQ(responds_to=7)
        for message in (cancel, STORE.response(0), cancel):
            (fragment,) = cut(message.encode(), is_command=True, size=1000)
            assert messages.take(fragment) == Command(1, message)

    def test_an_identifier_has_a_limit(self) -> None:
        messages = Messages(identifier_length_bytes_max=10)
        messages.take(*cut(FIND.encode(), is_command=True, size=1000))
        with pytest.raises(PeerError, match="more than 10 bytes"):
            messages.take(*cut(bytes(11), is_command=False, size=11))

    def test_a_command_has_a_limit(self) -> None:
        messages = Messages()
        part = Fragment(1, True, False, memoryview(bytes(COMMAND_LENGTH_BYTES_MAX)))
        messages.take(part)
        with pytest.raises(PeerError, match="command of more than"):
            messages.take(part)

    @pytest.mark.parametrize(
        "fragments",
        [
            cut(b"data", is_command=False, size=9),
            [
                *cut(STORE.encode(), is_command=True, size=999),
                *cut(b"data", is_command=False, size=9, context_id=3),
            ],
            [
                *cut(STORE.encode(), is_command=True, size=999),
                *cut(ECHO.encode(), is_command=True, size=999),
            ],
            [
                *cut(STORE.encode(), is_command=True, size=99)[:1],
                *cut(b"data", is_command=False, size=9),
            ],
            [
                *cut(STORE.encode(), is_command=True, size=99)[:1],
                *cut(ECHO.encode(), is_command=True, size=999, context_id=3),
            ],
            [
                *cut(ECHO.encode(), is_command=True, size=999),
                *cut(b"data", is_command=False, size=9),
            ],
        ],
    )
    def test_what_is_out_of_order(self, fragments: list[Fragment]) -> None:
        messages = Messages()
        for fragment in fragments[:-1]:
            messages.take(fragment)
        with pytest.raises(PeerError):
            messages.take(fragments[-1])


def test_a_uid_is_padded_with_a_null_and_read_without() -> None:
    message = CEchoRQ(message_id=1, affected_sop_class=UID("1.2.3"))
    assert b"1.2.3\0" in message.encode()
    assert decode_message(message.encode()) == message
