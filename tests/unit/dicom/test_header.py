"""What the header reader takes, refuses, keeps and leaves out."""

import tracemalloc
import zlib
from collections.abc import Callable
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadglass.dicom import header as module
from leadglass.dicom.attributes import Level
from leadglass.dicom.header import (
    DEFLATE_TRAILER_BYTES_MAX,
    DEPTH_MAX,
    INFLATED_BYTES_FREE,
    STUDY_INSTANCE_UID,
    VALUE_BYTES_MAX,
    HeaderReader,
)
from leadglass.dicom.transfer_syntaxes import (
    DEFLATED_EXPLICIT_VR_LE,
    EXPLICIT_VR_BE,
    EXPLICIT_VR_LE,
    IMPLICIT_VR_LE,
    TRANSFER_SYNTAXES,
)
from leadglass.dicom.uids import UID
from leadglass.errors import BadData
from tests.unit.dicom import corpus
from tests.unit.dicom.samples import (
    CODE,
    SMALL,
    STUDY,
    UNDEFINED,
    cut,
    deflated,
    encapsulated,
    explicit,
    implicit,
    item,
    outcome,
    read,
    sequence,
)

WHOLE = b"".join(SMALL)
UIDS = (
    explicit(0x0008_0016, "UI", b"1.2.840.10008.5.1.4.1.1.2\0")
    + explicit(0x0008_0018, "UI", b"1.2.3.4\0")
    + explicit(STUDY_INSTANCE_UID, "UI", STUDY.encode())
)
PATIENT_ID = 0x0010_0020
CODES = 0x0008_1032
REQUESTS = 0x0040_0275


def refused(data: bytes, match: str, syntax: UID = EXPLICIT_VR_LE) -> None:
    """Refused, with this reason, whole and in single bytes."""
    with pytest.raises(BadData, match=match):
        read([data], syntax)
    with pytest.raises(BadData, match=match):
        read(cut(data, range(len(data))), syntax)


# --- what is read ------------------------------------------------------------------


def test_a_small_data_set() -> None:
    header = read([WHOLE])
    assert header.charsets == ("ISO_IR 100",)
    assert header.uid(STUDY_INSTANCE_UID) == STUDY
    assert header.text("PatientName") == "Müller^Jörg"
    assert header.text(PATIENT_ID) == "P1"
    assert header.text("Rows") == "2"
    assert header.text("StudyDescription") == ""
    assert header.text("ProcedureCodeSequence") == ""
    assert [code.text(0x0008_0100) for code in header.items(CODES)] == ["24627-2"]
    assert header.items(PATIENT_ID) == header.items(0x0040_A043) == ()
    assert len(header.items(REQUESTS)) == 2
    assert header.length == len(WHOLE)
    assert header.pixel_data_offset == WHOLE.index(b"OW\0\0\x10\0\0\0") + 8
    assert header.pixel_data_length == 16


def test_the_json_model_of_each_level() -> None:
    header = read([WHOLE])
    assert header.json(Level.PATIENT) == {
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Müller^Jörg"}]},
        "00100020": {"vr": "LO", "Value": ["P1"]},
    }
    study = header.json(Level.STUDY)
    assert study["0020000D"] == {"vr": "UI", "Value": [STUDY]}
    assert study["00081032"]["Value"] == [
        {
            "00080100": {"vr": "SH", "Value": ["24627-2"]},
            "00080102": {"vr": "SH", "Value": ["LN"]},
        }
    ]
    assert header.json(Level.IMAGE)["00280010"] == {"vr": "US", "Value": [2]}
    assert "00290010" not in header.json(Level.SERIES)


def test_the_study_is_known_before_the_pixels_come() -> None:
    reader = HeaderReader(TRANSFER_SYNTAXES[EXPLICIT_VR_LE])
    seen = []
    for part in SMALL:
        reader.feed(part)
        seen.append((reader.study_uid, reader.is_done))
    at = next(n for n, part in enumerate(SMALL) if part[:4] == b"\x20\0\x0d\0")
    assert [uid for uid, _ in seen] == [None] * at + [STUDY] * (len(SMALL) - at)
    assert [done for _, done in seen] == [False] * (len(SMALL) - 2) + [True] * 2


def test_big_endian() -> None:
    data = explicit(STUDY_INSTANCE_UID, "UI", STUDY.encode(), order=">")
    data += explicit(0x0028_0010, "US", b"\1\0", order=">")
    header = read([data], EXPLICIT_VR_BE)
    assert header.text("Rows") == "256"
    assert header.json(Level.IMAGE)["00280010"]["Value"] == [256]


def test_implicit_vr() -> None:
    data = implicit(CODES, item(implicit(0x0008_0100, b"A1"), is_defined=False))
    data += implicit(0x0009_1010, item(b"looks like an item"))  # private: bytes
    data += implicit(STUDY_INSTANCE_UID, STUDY.encode())
    data += implicit(0x7FE0_0010, bytes(8))
    header = read([data], IMPLICIT_VR_LE)
    assert header.items(CODES)[0].text(0x0008_0100) == "A1"
    assert header.pixel_data_length == 8
    assert read(cut(data, range(len(data))), IMPLICIT_VR_LE) == header


def test_deflated() -> None:
    packed = deflated(WHOLE)
    header = read([packed], DEFLATED_EXPLICIT_VR_LE)
    assert header.elements == read([WHOLE]).elements
    assert header.length == len(WHOLE)
    assert read(cut(packed, range(len(packed))), DEFLATED_EXPLICIT_VR_LE) == header


@pytest.mark.parametrize("size", [256 * 1024 - 6, 256 * 1024, 3 * 256 * 1024 + 1])
def test_what_deflate_holds_back_at_the_end_is_asked_for(size: int) -> None:
    data = UIDS + explicit(0x7FE0_0010, "OW", bytes(size))
    header = read([deflated(data)], DEFLATED_EXPLICIT_VR_LE)
    assert header.pixel_data_length == size


def test_encapsulated_pixel_data() -> None:
    data = UIDS + encapsulated(b"\xff\xd8" * 9, b"xy")
    header = read([data])
    assert header.pixel_data_length is None
    assert header.pixel_data_offset == len(UIDS) + 12
    refused(data[:-8], "cut short")
    refused(data[:-8] + explicit(0x0010_0010, "PN"), "something else than an item")
    refused(
        UIDS + encapsulated(b"")[:-8] + implicit(0xFFFE_E000, length=UNDEFINED),
        "a fragment of undefined length",
    )


def test_no_pixel_data() -> None:
    header = read([UIDS])
    assert header.pixel_data_offset is header.pixel_data_length is None


# --- what is tolerated -------------------------------------------------------------


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(explicit(0x0009_1010, "UN", bytes(7)), id="odd length"),
        pytest.param(explicit(0x0009_1010, "??", bytes(4)), id="?? as VR"),
        pytest.param(explicit(0x0008_0000, "UL", bytes(4)), id="group length"),
        pytest.param(implicit(0xFFFE_E0DD), id="stray end of sequence"),
        pytest.param(
            sequence(0x0009_1010, item(implicit(0x0008_0100, b"A1")), vr="UN"),
            id="UN that holds a sequence",
        ),
        pytest.param(
            sequence(
                0x0009_1010,
                item(implicit(0x0008_0100, b"A1"), is_defined=False),
                is_defined=False,
                vr="UN",
            ),
            id="UN of undefined length",
        ),
        pytest.param(
            sequence(0x0008_1110, item(CODE + implicit(0xFFFE_E00D))),
            id="end of item in an item of defined length",
        ),
        pytest.param(
            sequence(0x0008_1110, item(CODE), implicit(0xFFFE_E0DD)),
            id="end of sequence in a sequence of defined length",
        ),
        pytest.param(
            sequence(
                0x0008_1110,
                implicit(0xFFFE_E000, CODE, length=UNDEFINED)
                + implicit(0xFFFE_E00D, length=6),
                is_defined=False,
            ),
            id="end of item with a length",
        ),
        pytest.param(
            sequence(0x0088_0200, item(encapsulated(b"jpeg"))), id="icon in fragments"
        ),
        pytest.param(explicit(0x0008_0005, "CS"), id="later group first"),
        pytest.param(sequence(0x0009_1010), id="empty private sequence"),
    ],
)
def test_odd_but_readable(odd: bytes) -> None:
    data = UIDS + odd + explicit(0x0029_1010, "LO", b"after")
    header = read([data])
    assert header.length == len(data)
    assert read(cut(data, range(len(data)))) == header


def test_un_is_read_as_the_dictionary_says() -> None:
    inner = item(implicit(0x0008_0100, b"A1"))
    for codes in (
        explicit(CODES, "UN", inner),
        sequence(CODES, inner, is_defined=False, vr="UN"),
    ):
        data = codes + explicit(PATIENT_ID, "UN", b"P1") + UIDS
        header = read([data])
        assert header.text("PatientID") == "P1"
        assert header.items(CODES)[0].text(0x0008_0100) == "A1"
        assert read(cut(data, range(len(data)))) == header


def test_the_table_names_the_representation() -> None:
    """Whatever the sender calls it, searching sees one kind."""
    header = read([UIDS + explicit(0x0028_0008, "US", b"\7\0")])
    assert header.json(Level.IMAGE)["00280008"] == {"vr": "IS", "Value": [7]}


# --- what is refused ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "empty"),
        (explicit(0x0008_0018, "ZZ", b"1.2"), "known value representation"),
        (explicit(0x0008_0018, "ui", b"1.2"), "known value representation"),
        (UIDS + implicit(PATIENT_ID, b"P1P1"), "known value representation"),
        (UIDS + explicit(PATIENT_ID, "LO", b"P1") * 2, "stands twice"),
        (UIDS + UIDS, "stands twice"),
        (UIDS + sequence(CODES) * 2, "stands twice"),
        (UIDS + explicit(0x7FE0_0010, "OW", b"\0\0") * 2, "stands twice"),
        (explicit(0x0002_0010, "UI", b"1.2\0"), "command or file meta"),
        (explicit(0x0000_0002, "UI", b"1.2\0"), "command or file meta"),
        (UIDS + sequence(PATIENT_ID, item(CODE)), "in place of a value"),
        (UIDS + sequence(PATIENT_ID, vr="UN", is_defined=False), "in place of"),
        (UIDS + explicit(CODES, "LO", b"CODE"), "in place of a value"),
        (UIDS + explicit(0x0009_1010, "LO") + b"\1", "cut short"),
        (UIDS + explicit(0x0009_1010, "LO", b"ab", length=4), "cut short"),
        (UIDS + explicit(0x0009_1010, "UT", length=UNDEFINED), "no sequence"),
        (UIDS + sequence(CODES, CODE), "something else than an item"),
        (UIDS + implicit(0xFFFE_E00D), "delimiter"),
        (UIDS + implicit(0xFFFE_E000, CODE), "delimiter"),
        (UIDS + sequence(CODES, item(implicit(0xFFFE_E0DD))), "delimiter"),
        (UIDS + sequence(CODES, item(CODE))[:-2], "cut short"),
        (UIDS + sequence(CODES, item(CODE), is_defined=False)[:-8], "cut short"),
        (explicit(STUDY_INSTANCE_UID, "UI", b"not a UID "), "not a UID"),
    ],
)
def test_refused(data: bytes, match: str) -> None:
    refused(data, match)


@pytest.mark.parametrize(
    "inner",
    [
        implicit(0xFFFE_E000, CODE, length=len(CODE) + 2),
        item(explicit(0x0008_0100, "SH", b"A1", length=200)),
        item(sequence(CODES, item(CODE))[:-4]),
        implicit(0xFFFE_E000, CODE, length=UNDEFINED),
    ],
)
def test_nothing_is_longer_than_what_holds_it(inner: bytes) -> None:
    after = explicit(0x0029_1010, "LO", bytes(300))
    refused(UIDS + sequence(0x0008_1110, inner) + after, "longer than")


def nested(depth: int, *, is_defined: bool) -> bytes:
    data = CODE
    for _ in range(depth):
        data = sequence(CODES, item(data, is_defined=is_defined), is_defined=is_defined)
    return data


@pytest.mark.parametrize("is_defined", [True, False])
def test_nesting_has_a_bound(is_defined: bool) -> None:
    deepest = DEPTH_MAX // 2
    header = read([UIDS + nested(deepest, is_defined=is_defined)])
    assert header.items(CODES) == ()  # walked, but deeper than is searched
    refused(UIDS + nested(deepest + 1, is_defined=is_defined), "nested too deeply")
    endless = (sequence(CODES, is_defined=False)[:-8] + item(is_defined=False)[:8]) * 9
    with pytest.raises(BadData, match="cut short"):
        read([UIDS + endless])


def test_elements_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ELEMENTS_MAX", 100)
    many = explicit(0x0009_1010, "LO") * 98
    assert read([UIDS + many[: 97 * 8]])
    refused(UIDS + many, "too many elements")
    fragments = encapsulated(*[b""] * 100)
    refused(UIDS + fragments, "too many elements")


def test_long_values_do_not_depend_on_where_they_are_cut() -> None:
    longest = UIDS + explicit(0x0010_4000, "UT", bytes(VALUE_BYTES_MAX))
    for data in (longest, UIDS + explicit(0x0010_4000, "UT", bytes(65538))):
        assert outcome([data]) == outcome(cut(data, range(0, len(data), 999)))
    assert outcome([longest]) is not None
    with pytest.raises(BadData, match="longer than its kind"):
        read([UIDS + explicit(0x0010_4000, "UT", bytes(VALUE_BYTES_MAX + 2))])


@pytest.mark.parametrize("vr", ["SQ", "UN"])
def test_long_sequences_are_walked_but_not_kept(vr: str) -> None:
    inner = explicit(0x0008_0104, "LO", bytes(60_000))
    codes = sequence(CODES, item(inner), item(inner), vr=vr)
    data = UIDS + codes + explicit(PATIENT_ID, "LO", b"P1")
    header = read([data])
    assert header.items(CODES) == ()
    assert header.text("PatientID") == "P1"
    assert read(cut(data, range(0, len(data), 997))) == header
    with pytest.raises(BadData, match="twice"):
        read([data, codes])


def test_missing_and_wrong_uids_are_told_without_their_value() -> None:
    header = read([explicit(0x0008_0018, "UI", b"secret")])
    with pytest.raises(BadData, match="no StudyInstanceUID"):
        header.uid(STUDY_INSTANCE_UID)
    with pytest.raises(BadData, match=r"^SOPInstanceUID is not a UID$"):
        header.uid(0x0008_0018)


# --- deflate -----------------------------------------------------------------------


def inflates(data: bytes) -> None:
    reader = HeaderReader(TRANSFER_SYNTAXES[DEFLATED_EXPLICIT_VR_LE])
    reader.feed(data)
    reader.finish()


def bomb(head: bytes, piece: bytes, count: int) -> bytes:
    deflater = zlib.compressobj(9, wbits=-15)
    parts = [deflater.compress(head)]
    parts += [deflater.compress(piece) for _ in range(count)]
    return b"".join(parts) + deflater.flush()


def test_bombs_are_refused() -> None:
    size = INFLATED_BYTES_FREE + 2**22
    head = UIDS + explicit(0x7FE0_0010, "OW", length=size)
    with pytest.raises(BadData, match="inflates beyond"):
        inflates(bomb(head, bytes(2**22), size // 2**22))


def test_bombs_of_elements_are_refused() -> None:
    elements = explicit(0x0009_1010, "LO") * 10_000
    with pytest.raises(BadData, match="too many elements"):
        inflates(bomb(UIDS, elements, 30))


def test_the_inflated_length_has_a_bound() -> None:
    reader = HeaderReader(
        TRANSFER_SYNTAXES[DEFLATED_EXPLICIT_VR_LE], inflated_bytes_max=len(WHOLE) - 1
    )
    with pytest.raises(BadData, match="inflates beyond"):
        reader.feed(deflated(WHOLE))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda packed: packed[:-9], "cut short"),
        (lambda packed: b"\xff" + packed[1:], "does not inflate"),
        (lambda _: b"", "cut short"),
        (lambda packed: packed + bytes(17), "something follows"),
    ],
)
def test_broken_deflate(change: Callable[[bytes], bytes], match: str) -> None:
    refused(change(deflated(WHOLE)), match, DEFLATED_EXPLICIT_VR_LE)


def test_a_short_trailer_is_padding() -> None:
    plain = zlib.compressobj(wbits=-15)
    packed = plain.compress(WHOLE) + plain.flush()
    trailer = b"\1" * DEFLATE_TRAILER_BYTES_MAX
    assert outcome([packed + trailer], DEFLATED_EXPLICIT_VR_LE)
    assert not outcome([packed + trailer, b"\1"], DEFLATED_EXPLICIT_VR_LE)


# --- properties --------------------------------------------------------------------


@given(st.lists(st.integers(0, len(WHOLE)), max_size=10))
def test_cut_anywhere(places: list[int]) -> None:
    assert read(cut(WHOLE, places)) == read([WHOLE])


def test_truncated_anywhere() -> None:
    """A data set that ends between two elements is one; any other is refused."""
    whole = read([WHOLE])
    ends = set(accumulate(map(len, SMALL)))
    for end in range(len(WHOLE) + 1):
        header = outcome([WHOLE[:end]])
        assert (header is not None) == (end in ends)
        if header is not None:
            assert header.elements.items() <= whole.elements.items()


TAGS = st.sampled_from(
    [
        *(0x0008_0005, CODES, PATIENT_ID, STUDY_INSTANCE_UID, 0x0009_1010, REQUESTS),
        *(0xFFFE_E000, 0xFFFE_E00D, 0xFFFE_E0DD, 0x7FE0_0010, 0x0028_0010, 0x0002_0010),
    ]
)
VALUES = st.sampled_from([b"", b"1.2", b"1.2.3.", bytes(8), CODE, item(CODE)])
LENGTHS = st.sampled_from([None, 0, 8, 16, 40, UNDEFINED & 0xFFFF, UNDEFINED])


@st.composite
def tokens(draw: st.DrawFn) -> bytes:
    """Something that looks like an element, with a length that may lie."""
    tag, value, length = draw(TAGS), draw(VALUES), draw(LENGTHS)
    if tag >> 16 == 0xFFFE or draw(st.integers(0, 9)) == 0:
        return implicit(tag, value, length=length)
    vr = draw(st.sampled_from(["LO", "UI", "SQ", "UN", "OB", "US", "??", "PN"]))
    if vr not in {"SQ", "UN", "OB"} and length is not None:
        length &= 0xFFFF
    return explicit(tag, vr, value, length=length)


@given(
    st.lists(tokens(), max_size=12).map(b"".join),
    st.lists(st.integers(0, 400), max_size=6),
    st.sampled_from([EXPLICIT_VR_LE, IMPLICIT_VR_LE, EXPLICIT_VR_BE]),
)
def test_hostile_structures(data: bytes, places: list[int], syntax: UID) -> None:
    whole = outcome([data], syntax)
    assert outcome(cut(data, places), syntax) == whole
    assert outcome(cut(data, range(len(data))), syntax) == whole
    if whole is not None:
        assert whole.length == len(data)
        for level in Level:
            whole.json(level)


SMALL_FILES = sorted(corpus.accepted(corpus.SMALL_BYTES_MAX).values())


@given(st.data())
def test_mutated_files_read_alike_wherever_they_are_cut(data: st.DataObject) -> None:
    instance = corpus.read(data.draw(st.sampled_from(SMALL_FILES)))
    changed, uid = bytearray(instance.data), instance.syntax.uid
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(changed)))
        new = data.draw(st.binary(max_size=8) | st.just(b"\xff\xff\xff\xff"))
        changed[at : at + data.draw(st.sampled_from([0, len(new), 8]))] = new
    whole = outcome([bytes(changed)], uid)
    places = data.draw(st.lists(st.integers(0, len(changed)), max_size=6))
    assert outcome(cut(bytes(changed), places), uid) == whole
    assert outcome(cut(bytes(changed), range(0, len(changed), 5)), uid) == whole


@given(st.binary(max_size=200), st.sampled_from(sorted(TRANSFER_SYNTAXES)))
def test_noise_is_refused_or_read(data: bytes, syntax: UID) -> None:
    outcome([data], syntax)


# --- cost --------------------------------------------------------------------------


def test_what_nobody_wants_costs_no_memory() -> None:
    piece = bytes(256 * 1024)
    head = UIDS + explicit(0x0009_1010, "OB", length=64 * len(piece))
    reader = HeaderReader(TRANSFER_SYNTAXES[EXPLICIT_VR_LE])
    tracemalloc.start()
    try:
        reader.feed(head)
        for _ in range(64):
            reader.feed(piece)
        reader.feed(explicit(0x7FE0_0010, "OW", length=64 * len(piece)))
        for _ in range(64):
            reader.feed(piece)
        header = reader.finish()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert header.length == len(head) + 12 + 128 * len(piece)
    assert peak < 64 * 1024


def test_a_sender_of_endless_wanted_values_is_bounded() -> None:
    reader = HeaderReader(TRANSFER_SYNTAXES[EXPLICIT_VR_LE])
    reader.feed(sequence(CODES, is_defined=False)[:-8] + item(is_defined=False)[:8])
    tracemalloc.start()
    try:
        for _ in range(100):
            reader.feed(explicit(0x0008_0104, "LO", bytes(50_000)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * VALUE_BYTES_MAX
