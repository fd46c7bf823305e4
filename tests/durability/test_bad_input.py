"""What an enrolled device may send that it should not: told, recorded, not stored.

Whatever it is, its sender hears what was wrong, the record keeps it, nothing is in the
vault afterwards, the node takes no memory for it, and others are served meanwhile.
"""

import random
import socket
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from leadglass.audit.codes import EventID, EventType, Outcome
from leadglass.audit.search import Record
from leadglass.dicom.transfer_syntaxes import (
    DEFLATED_EXPLICIT_VR_LE,
    EXPLICIT_VR_LE,
)
from leadglass.dicom.uids import UID, new_uid
from leadglass.wire.association import Aborted, Fragment
from leadglass.wire.dimse import CEchoRQ, CStoreRQ
from leadglass.wire.pdus import AbortReason, AbortSource
from tests.durability.clients import Client, Gone, associated, tls_socket
from tests.durability.instances import CT, MR, Instance, make_instance
from tests.support.node import Credentials, RunningNode, running

MiB = 1024 * 1024
OBJECT_BYTES_MAX = 16 * MiB
INFLATED_BYTES_MAX = 16 * MiB
HEADER_BYTES_MAX = MiB
SENT_BYTES = 3 * OBJECT_BYTES_MAX
# What the node may grow by, whatever it is sent: buffers of a few associations.
GROWTH_BYTES_MAX = 64 * MiB
SECRET = "Schweigsam"
PIECE = bytes(64 * 1024)
TOLD_WITHIN_S = 20
LOOK_S = 0.1

CANNOT_UNDERSTAND = 0xC000
DOES_NOT_MATCH = 0xA900
OUT_OF_RESOURCES = 0xA700
STORAGE = [
    (CT, EXPLICIT_VR_LE),
    (CT, DEFLATED_EXPLICIT_VR_LE),
    (MR, EXPLICIT_VR_LE),
]


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[RunningNode, Credentials]]:
    home = tmp_path_factory.mktemp("node") / "home"
    with running(
        home,
        limits__object_bytes_max=str(OBJECT_BYTES_MAX),
        limits__inflated_bytes_max=str(INFLATED_BYTES_MAX),
        limits__header_bytes_max=str(HEADER_BYTES_MAX),
    ) as node:
        device = node.enrol("CT1")
        node.stop()
        node.start()  # at once, and not within two seconds
        with associated(node, device) as to:  # what it takes when all is well
            for number in range(10):
                assert to.store(make_instance(number, pixel_bytes=MiB)).status == 0
        yield node, device


@pytest.fixture
def node(place: tuple[RunningNode, Credentials]) -> RunningNode:
    return place[0]


@pytest.fixture
def device(place: tuple[RunningNode, Credentials]) -> Credentials:
    return place[1]


def highest_memory(node: RunningNode) -> int:
    """Return the most memory that the node had so far, in bytes."""
    assert node.process is not None
    for line in Path(f"/proc/{node.process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError


def blobs(node: RunningNode) -> set[str]:
    """Return every file of the vault that is, or may become, a blob.

    Those that are empty were made ready for instances to come.
    """
    found = None
    while found is None or found != listed(node):  # one may be moving meanwhile
        found = listed(node)
    return found


def listed(node: RunningNode) -> set[str]:
    found = set()
    for each in (node.home / "vault").rglob("*"):
        with suppress(FileNotFoundError):
            is_blob = len(each.name.removesuffix(".part")) == 32 and each.is_file()
            if is_blob and each.stat().st_size:
                found.add(each.name)
    return found


def good() -> Instance:
    return make_instance(1, name=f"{SECRET}^Bad")


def tail_of(instance: Instance, data: bytes) -> Instance:
    return replace(instance, data_set=data)


def nested(depth: int) -> Instance:
    """Return an instance in which sequences are nested."""
    instance = good()
    sequence = struct.pack("<HH2sHI", 0x0008, 0x1111, b"SQ", 0, 0xFFFFFFFF)
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    ends = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack(
        "<HHI", 0xFFFE, 0xE0DD, 0
    )
    at = instance.data_set.index(struct.pack("<HH2s", 0x0010, 0x0010, b"PN"))
    middle = (sequence + item) * depth + ends * depth
    whole = instance.data_set
    return tail_of(instance, whole[:at] + middle + whole[at:])


def with_uid_of_another(instance: Instance) -> Instance:
    return replace(instance, uid=new_uid())


def long_value(length: int) -> bytes:
    return struct.pack("<HH2sHI", 0x0009, 0x1001, b"OB", 0, length)


def before_the_study(instance: Instance, what: bytes) -> bytes:
    """Return a data set with something before the element that names its study."""
    at = instance.data_set.index(struct.pack("<HH2s", 0x0010, 0x0010, b"PN"))
    return instance.data_set[:at] + what + instance.data_set[at:]


def with_pixels(instance: Instance, length: int) -> bytes:
    """Return a data set up to its pixels, which it says are so many bytes."""
    at = instance.data_set.index(struct.pack("<HH", 0x7FE0, 0x0010))
    header = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, length)
    return instance.data_set[:at] + header


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def bomb(instance: Instance) -> bytes:
    """Return a few kilobytes that are 64 MiB, before anything of use is said."""
    length = 4 * INFLATED_BYTES_MAX
    data = before_the_study(instance, long_value(length) + bytes(length))
    packed = deflated(data)
    assert len(packed) < MiB
    return packed


BAD_DATA: dict[str, tuple[Callable[[], Instance], int]] = {
    "nothing": (lambda: tail_of(good(), b""), CANNOT_UNDERSTAND),
    "cut within the header": (
        lambda: tail_of(good(), good().data_set[:150]),
        CANNOT_UNDERSTAND,
    ),
    "cut within the pixels": (
        lambda: tail_of(x := good(), x.data_set[:-1000]),
        CANNOT_UNDERSTAND,
    ),
    "a byte too much": (
        lambda: tail_of(x := good(), x.data_set + b"\x01"),
        CANNOT_UNDERSTAND,
    ),
    "noise": (
        lambda: tail_of(good(), random.Random(1).randbytes(100_000)),
        CANNOT_UNDERSTAND,
    ),
    "zeros": (lambda: tail_of(good(), bytes(100_000)), CANNOT_UNDERSTAND),
    "nested a thousand times": (lambda: nested(1000), CANNOT_UNDERSTAND),
    "a length beyond the end": (
        lambda: tail_of(x := good(), before_the_study(x, long_value(0x7FFF_FFF0))),
        CANNOT_UNDERSTAND,
    ),
    "another transfer syntax": (
        lambda: tail_of(
            x := good(),
            struct.pack("<HHI", 0x0008, 0x0005, 10) + b"ISO_IR 100" + x.data_set[18:],
        ),
        CANNOT_UNDERSTAND,
    ),
    "a file, not a data set": (
        lambda: tail_of(x := good(), x.file),
        CANNOT_UNDERSTAND,
    ),
    "another instance": (lambda: with_uid_of_another(good()), DOES_NOT_MATCH),
    "another class in the data set": (
        lambda: replace(make_instance(1, SOPClassUID=MR), sop_class=CT),
        DOES_NOT_MATCH,
    ),
    "a header too long": (
        lambda: tail_of(
            x := good(),
            before_the_study(
                x, long_value(2 * HEADER_BYTES_MAX) + bytes(2 * HEADER_BYTES_MAX)
            ),
        ),
        OUT_OF_RESOURCES,
    ),
    "an object too large": (
        lambda: tail_of(
            x := good(), with_pixels(x, OBJECT_BYTES_MAX) + bytes(OBJECT_BYTES_MAX)
        ),
        OUT_OF_RESOURCES,
    ),
    "a deflated bomb": (
        lambda: replace(
            x := good(),
            data_set=bomb(x),
            transfer_syntax=DEFLATED_EXPLICIT_VR_LE,
        ),
        CANNOT_UNDERSTAND,
    ),
    "deflated noise": (
        lambda: replace(
            good(),
            data_set=random.Random(2).randbytes(50_000),
            transfer_syntax=DEFLATED_EXPLICIT_VR_LE,
        ),
        CANNOT_UNDERSTAND,
    ),
    "deflated and cut": (
        lambda: replace(
            x := good(),
            data_set=deflated(x.data_set)[:-20],
            transfer_syntax=DEFLATED_EXPLICIT_VR_LE,
        ),
        CANNOT_UNDERSTAND,
    ),
}


def refusals(node: RunningNode) -> list[Record]:
    """Return the records of instances that were not taken."""
    return [
        record
        for record in node.records()
        if record.event.id is EventID.INSTANCES_TRANSFERRED
        and record.event.outcome is Outcome.SERIOUS_FAILURE
    ]


@pytest.mark.parametrize("case", BAD_DATA.values(), ids=list(BAD_DATA))
def test_bad_data_is_refused_with_a_reason_and_recorded(
    node: RunningNode, device: Credentials, case: tuple[Callable[[], Instance], int]
) -> None:
    make, status = case
    instance = make()
    before, told_before = blobs(node), len(refusals(node))
    memory = highest_memory(node)
    with (
        associated(node, device) as bystander,
        associated(node, device, storage=STORAGE) as to,
    ):
        response = to.store(instance)
        assert f"{response.status:04X}" == f"{status:04X}"
        assert response.error_comment
        assert SECRET not in response.error_comment
        assert instance.uid not in response.error_comment
        assert bystander.echo() == 0
        assert blobs(node) == before
        # The association goes on, and so does the node.
        after = make_instance(2)
        assert to.store(after).status == 0
    assert highest_memory(node) < memory + GROWTH_BYTES_MAX
    new = refusals(node)[told_before:]
    assert len(new) == 1
    assert new[0].event.outcome_description
    assert new[0].event.participants[0].user_id == "CT1"


def test_a_class_that_was_not_negotiated_is_refused(
    node: RunningNode, device: Credentials
) -> None:
    before = blobs(node)
    instance = make_instance(1, SOPClassUID=MR)
    with associated(node, device, storage=STORAGE) as to:
        response = to.store(
            instance, sop_class=MR, context=to.context(CT, EXPLICIT_VR_LE)
        )
        assert response.status == DOES_NOT_MATCH
        assert blobs(node) == before


def test_an_endless_data_set_is_read_and_thrown_away(
    node: RunningNode, device: Credentials
) -> None:
    before, memory = blobs(node), highest_memory(node)
    instance = good()

    def endless() -> Iterator[bytes]:
        yield with_pixels(instance, 2**32 - 16)
        for number in range(SENT_BYTES // len(PIECE)):
            if number % 200 == 0:
                assert bystander.echo() == 0
            yield PIECE

    with associated(node, device) as bystander, associated(node, device) as to:
        response = to.store(instance, data_set=endless())
        assert response.status == OUT_OF_RESOURCES
        assert response.error_comment
    assert blobs(node) == before
    assert highest_memory(node) < memory + GROWTH_BYTES_MAX


# --- below the messages ---------------------------------------------------------------


def pdu(kind: int, body: bytes, length: int | None = None) -> bytes:
    return struct.pack(">BxI", kind, len(body) if length is None else length) + body


def pdv(context: int, control: int, data: bytes, length: int | None = None) -> bytes:
    size = len(data) + 2 if length is None else length
    return struct.pack(">IBB", size, context, control) + data


BEFORE = {
    "noise": b"\xa7" + random.Random(3).randbytes(99),
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
    "data": pdu(4, pdv(1, 3, b"abcd")),
    "a release": pdu(5, bytes(4)),
    "four gigabytes": pdu(1, b"", 0xFFFF_FFFF),
    "a request of zeros": pdu(1, bytes(200)),
    "a request too short": pdu(1, bytes(10)),
}


def answer(sock: socket.socket, size: int = 10) -> bytes:
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            break
        data += piece
    return data


@pytest.mark.parametrize("sent", BEFORE.values(), ids=list(BEFORE))
def test_who_does_not_speak_the_protocol_is_cut_off(
    node: RunningNode, device: Credentials, sent: bytes
) -> None:
    memory = highest_memory(node)
    with associated(node, device) as bystander, tls_socket(node, device) as sock:
        sock.sendall(sent)
        said = answer(sock)
        assert said[:6] == pdu(7, b"", 4)
        # Action AA-1 of PS3.8 Table 9-7: whatever comes where a request must.
        assert (said[8], said[9]) == (
            AbortSource.SERVICE_USER,
            AbortReason.NOT_SPECIFIED,
        )
        assert answer(sock) == b""
        assert bystander.echo() == 0
    assert highest_memory(node) < memory + GROWTH_BYTES_MAX


def echo_command(to: Client) -> bytes:
    return CEchoRQ(message_id=1, affected_sop_class=_verification(to)).encode()


def _verification(to: Client) -> UID:
    return to.association.contexts[1].abstract_syntax


def request_again(to: Client) -> bytes:
    assert to.association.request is not None
    return to.association.request.encode()


WITHIN: dict[str, tuple[Callable[[Client], bytes], AbortSource, AbortReason]] = {
    "an unknown PDU": (
        lambda _: pdu(9, bytes(4)),
        AbortSource.SERVICE_PROVIDER,
        AbortReason.UNRECOGNIZED_PDU,
    ),
    "a second request": (
        request_again,
        AbortSource.SERVICE_PROVIDER,
        AbortReason.UNEXPECTED_PDU,
    ),
    "a PDU of four gigabytes": (
        lambda _: pdu(4, b"", 0xFFFF_FFFF),
        AbortSource.SERVICE_PROVIDER,
        AbortReason.INVALID_PARAMETER_VALUE,
    ),
    "a PDV longer than its PDU": (
        lambda _: pdu(4, pdv(1, 3, b"abcd", 1000)),
        AbortSource.SERVICE_PROVIDER,
        AbortReason.INVALID_PARAMETER_VALUE,
    ),
    "a PDV without a header": (
        lambda _: pdu(4, pdv(1, 3, b"", 0)),
        AbortSource.SERVICE_PROVIDER,
        AbortReason.INVALID_PARAMETER_VALUE,
    ),
    "a context that was not agreed": (
        lambda to: pdu(4, pdv(201, 3, echo_command(to))),
        AbortSource.SERVICE_PROVIDER,
        AbortReason.INVALID_PARAMETER_VALUE,
    ),
    "data without a command": (
        lambda _: pdu(4, pdv(1, 2, bytes(100))),
        AbortSource.SERVICE_USER,
        AbortReason.NOT_SPECIFIED,
    ),
    "a command of noise": (
        lambda _: pdu(4, pdv(1, 3, random.Random(4).randbytes(500))),
        AbortSource.SERVICE_USER,
        AbortReason.NOT_SPECIFIED,
    ),
    "an empty command": (
        lambda _: pdu(4, pdv(1, 3, b"")),
        AbortSource.SERVICE_USER,
        AbortReason.NOT_SPECIFIED,
    ),
    "a command that is cut": (
        lambda to: pdu(4, pdv(1, 3, echo_command(to)[:-3])),
        AbortSource.SERVICE_USER,
        AbortReason.NOT_SPECIFIED,
    ),
    "a command of another service": (
        lambda to: pdu(4, pdv(3, 3, echo_command(to))),
        AbortSource.SERVICE_USER,
        AbortReason.NOT_SPECIFIED,
    ),
    "a command without an end": (
        lambda _: b"".join(pdu(4, pdv(1, 1, bytes(8192))) for _ in range(9)),
        AbortSource.SERVICE_USER,
        AbortReason.NOT_SPECIFIED,
    ),
    "a command in single bytes without an end": (
        lambda _: pdu(4, pdv(1, 1, b"\0") * 9_000) * 8,
        AbortSource.SERVICE_USER,
        AbortReason.NOT_SPECIFIED,
    ),
}


@pytest.mark.parametrize("case", WITHIN.values(), ids=list(WITHIN))
def test_who_breaks_the_protocol_is_told_how(
    node: RunningNode,
    device: Credentials,
    case: tuple[Callable[[Client], bytes], AbortSource, AbortReason],
) -> None:
    make, source, reason = case
    before, memory = blobs(node), highest_memory(node)
    with (
        associated(node, device) as bystander,
        suppress(Gone),
        associated(node, device) as to,
    ):
        with suppress(OSError):  # it may be cut off before all is sent
            to.connection._socket.sendall(make(to))
        event = to.connection.event()
        assert event == Aborted(source, reason)
        assert bystander.echo() == 0
        raise Gone  # there is nothing to release
    assert blobs(node) == before
    assert highest_memory(node) < memory + GROWTH_BYTES_MAX


def test_an_operation_that_nobody_knows_is_answered(
    node: RunningNode, device: Credentials
) -> None:
    with associated(node, device) as to:
        command = bytearray(echo_command(to))
        at = command.index(struct.pack("<HHI", 0x0000, 0x0100, 2)) + 8
        command[at : at + 2] = struct.pack("<H", 0x0140)  # N-CREATE-RQ
        to.connection._socket.sendall(pdu(4, pdv(1, 3, bytes(command))))
        event = to.connection.event()
        assert isinstance(event, Fragment)
        unrecognized = struct.pack("<HHIH", 0x0000, 0x0900, 2, 0x0211)
        assert unrecognized in bytes(event.data)
        assert to.echo() == 0


def test_an_instance_in_single_bytes_is_an_instance(
    node: RunningNode, device: Credentials
) -> None:
    """Slow and wasteful is no error; it must only not cost others their turn."""
    instance = make_instance(1, pixel_bytes=64)
    with associated(node, device) as bystander, associated(node, device) as to:
        sender = threading.Thread(
            target=_in_single_bytes, args=(to, instance), daemon=True
        )
        sender.start()
        while sender.is_alive():
            assert bystander.echo() == 0
            sender.join(LOOK_S)
        assert to._response().status == 0  # type: ignore[union-attr]


def _in_single_bytes(to: Client, instance: Instance) -> None:
    context = to.context(CT)
    command = CStoreRQ(
        message_id=9,
        affected_sop_class=CT,
        affected_sop_instance=instance.uid,
    ).encode()
    pieces = [(1, command), (0, instance.data_set)]
    out = bytearray()
    for control, data in pieces:
        for number in range(len(data)):
            is_last = number == len(data) - 1
            out += pdu(
                4, pdv(context, control | 2 * is_last, data[number : number + 1])
            )
    to.connection._socket.sendall(out)


def test_what_was_cut_off_is_on_record(node: RunningNode, device: Credentials) -> None:
    with suppress(Gone), associated(node, device) as to:
        to.connection._socket.sendall(pdu(9, bytes(4)))
        assert isinstance(to.connection.event(), Aborted)
        raise Gone
    deadline = threading.Event()
    for _ in range(int(TOLD_WITHIN_S / LOOK_S)):
        told = [
            record.event
            for record in node.records()
            if record.event.id is EventID.SECURITY_ALERT
            and EventType.NODE_AUTHENTICATION in record.event.types
            and record.event.outcome_description.startswith("aborted: ")
        ]
        if told:
            break
        deadline.wait(LOOK_S)
    assert told
    assert told[0].participants[0].access_point == "127.0.0.1"


def test_an_instance_whose_sender_leaves_is_not_stored(
    node: RunningNode, device: Credentials
) -> None:
    before = blobs(node)
    instance = make_instance(1, pixel_bytes=2 * MiB)

    def half() -> Iterator[bytes]:
        yield instance.data_set[: len(instance.data_set) // 2]
        raise Gone

    with suppress(Gone), associated(node, device) as to:
        to.store(instance, data_set=half())
    with associated(node, device) as to:
        assert to.find(t0020000D=instance.study) == []
    for _ in range(int(TOLD_WITHIN_S / LOOK_S)):
        if blobs(node) == before:
            break
        threading.Event().wait(LOOK_S)
    assert blobs(node) == before


def test_nothing_of_all_this_cost_memory_or_harmed_the_archive(
    node: RunningNode, device: Credentials
) -> None:
    with node.open() as opened:
        found = opened.verify(opened.operator)
        assert (found.damaged, found.orphans) == (0, 0)
        assert opened.audit.verify().findings == ()
