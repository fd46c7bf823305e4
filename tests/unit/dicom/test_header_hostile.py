"""Headers from an enemy: memory and time stay bounded by what was sent."""

import time
import tracemalloc
from collections.abc import Iterable, Iterator

import pytest

from leadglass.dicom.attributes import ATTRIBUTES
from leadglass.dicom.header import DEPTH_MAX, VALUE_BYTES_MAX, HeaderReader
from leadglass.dicom.transfer_syntaxes import EXPLICIT_VR_LE, IMPLICIT_VR_LE
from leadglass.dicom.uids import UID
from leadglass.errors import BadData
from tests.unit.dicom.corpus import (
    IDENTITY,
    ITEM,
    ITEM_END,
    PIXELS,
    SEQUENCE_END,
    UNDEFINED,
    element,
    implicit,
    syntax,
)

REQUESTS = 0x0040_0275
KEPT_BYTES_MAX = 4 * 1024 * 1024
DEPTHS = [DEPTH_MAX, 100_000]


def fed(pieces: Iterable[bytes], uid: UID = EXPLICIT_VR_LE) -> HeaderReader:
    reader = HeaderReader(syntax(uid))
    for piece in pieces:
        reader.feed(piece)
    return reader


def opening(uid: UID, length: int) -> bytes:
    """Begin a sequence and an item, both of the same length or of none."""
    inner = length - 8 if length != UNDEFINED else UNDEFINED
    item = implicit(ITEM, b"", inner)
    if uid == IMPLICIT_VR_LE:
        return implicit(REQUESTS, b"", length) + item
    return element(REQUESTS, "SQ", b"", length) + item


@pytest.mark.parametrize("uid", [EXPLICIT_VR_LE, IMPLICIT_VR_LE])
@pytest.mark.parametrize("is_defined", [True, False])
@pytest.mark.parametrize("depth", DEPTHS)
def test_nesting_is_refused_without_recursion(
    uid: UID, is_defined: bool, depth: int
) -> None:
    def levels() -> Iterator[bytes]:
        step = len(opening(uid, 1_000))
        for level in range(depth):
            yield opening(uid, 2**31 - step * level if is_defined else UNDEFINED)

    with pytest.raises(BadData, match="too deeply"):
        fed(levels(), uid)


def test_unknown_in_unknown_is_nesting_too() -> None:
    with pytest.raises(BadData, match="too deeply"):
        fed(
            opening(IMPLICIT_VR_LE, UNDEFINED)
            if level
            else element(0x0009_1001, "UN", b"", UNDEFINED)
            + implicit(ITEM, b"", UNDEFINED)
            for level in range(1_000)
        )


@pytest.mark.parametrize("size", [1, 7, 16_384])
def test_tiny_pieces_do_not_cost_quadratic_time(size: int) -> None:
    """Twice the bytes take about twice the time: far from four times."""

    def taken(count: int) -> float:
        data = b"".join(
            element(0x0011_1001 + number, "UT", b"x" * 200) for number in range(count)
        )
        begin = time.process_time()
        fed(data[at : at + size] for at in range(0, len(data), size)).finish()
        return time.process_time() - begin

    count = 50 * size if size < 100 else 20_000
    once = min(taken(count) for _ in range(3))
    twice = min(taken(2 * count) for _ in range(3))
    assert twice < 3 * once + 0.01


def test_a_long_wanted_value_in_tiny_pieces_is_linear() -> None:
    value = element(0x0010_4000, "UT", b"x" * (VALUE_BYTES_MAX - 2))
    begin = time.process_time()
    fed(value[at : at + 1] for at in range(len(value))).finish()
    assert time.process_time() - begin < 2.0


def endless(piece: bytes, count: int = 4_000) -> Iterator[bytes]:
    for _ in range(count):
        yield piece


ITEMS = implicit(ITEM, b"", UNDEFINED) + implicit(ITEM_END)
ENDLESS = {
    "items": (element(REQUESTS, "SQ", b"", UNDEFINED), ITEMS * 8),
    "items with values": (
        element(REQUESTS, "SQ", b"", UNDEFINED),
        implicit(ITEM, element(0x0040_0007, "LO", b"x" * 1_000)),
    ),
    "fragments": (
        element(0x7FE0_0010, "OB", b"", UNDEFINED),
        implicit(ITEM, bytes(4_096)),
    ),
    "one value": (element(0x0009_1001, "OB", b"", UNDEFINED - 1), bytes(4_096)),
    "private elements": (b"", element(0x0009_1001, "LO", b"x" * 60)),
    "empty private elements": (b"", element(0x0009_1001, "LO") * 16),
}


@pytest.mark.parametrize(("head", "piece"), ENDLESS.values(), ids=list(ENDLESS))
def test_what_never_ends_takes_no_memory(head: bytes, piece: bytes) -> None:
    reader = HeaderReader(syntax())
    reader.feed(IDENTITY + head)
    tracemalloc.start()
    try:
        for each in endless(piece):
            reader.feed(each)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < KEPT_BYTES_MAX


def _feed(reader: HeaderReader, pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        reader.feed(piece)


@pytest.mark.parametrize(
    "claim",
    [
        element(0x0010_4000, "UT", b"", 2**32 - 2),
        element(0x0009_1001, "OB", b"", 2**32 - 2),
        element(0x7FE0_0010, "OW", b"", 2**32 - 2),
        element(REQUESTS, "SQ", b"", 2**32 - 2),
        element(REQUESTS, "SQ", implicit(ITEM, b"", 2**31), 2**31 + 8),
    ],
)
def test_a_claimed_length_takes_no_memory_and_must_come_true(claim: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(BadData):
            fed([IDENTITY, claim, bytes(0)]).finish()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1024 * 1024


WANTED = [each for each in ATTRIBUTES if not each.computed and each.tag != 0x0008_0005]


@pytest.mark.parametrize("attribute", WANTED, ids=lambda each: each.keyword)
def test_what_is_wanted_may_not_stand_twice(attribute: object) -> None:
    tag, vr = attribute.tag, attribute.vr  # type: ignore[attr-defined]
    value = b"1.2\0" if vr == "UI" else b""
    twice = element(tag, vr, value) * 2
    with pytest.raises(BadData, match="twice"):
        fed([twice]).finish()
    reader = HeaderReader(syntax())
    with pytest.raises(BadData, match="twice"):
        _feed(reader, (twice[at : at + 1] for at in range(len(twice))))


def test_a_sequence_that_is_too_long_to_keep_may_not_stand_twice() -> None:
    filler = element(0x0040_0007, "UT", b"x" * (VALUE_BYTES_MAX + 2))
    long = element(REQUESTS, "SQ", implicit(ITEM, filler))
    assert fed([IDENTITY, long]).finish().items(REQUESTS) == ()
    with pytest.raises(BadData, match="twice"):
        fed([IDENTITY, long, element(REQUESTS, "SQ")]).finish()


@pytest.mark.parametrize("tag", [0x0000_0002, 0x0002_0010, 0x0002_0000])
@pytest.mark.parametrize("rest", [b"", PIXELS])
def test_what_tells_of_the_message_or_file_may_not_stand_within(
    tag: int, rest: bytes
) -> None:
    for before in (b"", IDENTITY):
        with pytest.raises(BadData, match="command or file meta"):
            fed([before + element(tag, "UI", b"1.2\0") + rest]).finish()


def test_implicit_vr_is_taken_for_explicit_at_the_very_beginning_only() -> None:
    first = implicit(0x0008_0005, b"ISO_IR 100")
    then = implicit(0x0010_0020, b"P1")
    header = fed([first + then]).finish()
    assert header.text("PatientID") == "P1"
    assert header.transfer_syntax.implicit_vr
    with pytest.raises(BadData, match="representation"):
        fed([element(0x0008_0005, "CS", b"ISO_IR 100") + then]).finish()
    with pytest.raises(BadData, match="representation"):
        fed([then]).finish()
    cut = (bytes([byte]) for byte in first + then)
    assert fed(cut).finish() == header


def test_after_the_end_of_a_sequence_nothing_is_read_as_within() -> None:
    """A delimiter too many must not let what follows hide from other readers."""
    data = element(REQUESTS, "SQ", b"", UNDEFINED) + ITEMS + implicit(SEQUENCE_END)
    header = fed([data + implicit(SEQUENCE_END) + IDENTITY]).finish()
    assert header.text("PatientID") == "P1"
    with pytest.raises(BadData, match="delimiter"):
        fed([data + implicit(ITEM_END) + IDENTITY]).finish()
