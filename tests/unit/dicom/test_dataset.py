"""Small data sets: there and back in every encoding, and what is refused."""

import io
import zlib
from struct import pack

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadglass.dicom.dataset import (
    DEPTH_MAX,
    ELEMENTS_MAX,
    LENGTH_BYTES_MAX,
    NUMBERS,
    DataSet,
    Element,
    decode_items,
    pad,
    split_terms,
    values_of,
    vr_of,
)
from leadglass.dicom.transfer_syntaxes import (
    DEFLATED_EXPLICIT_VR_LE,
    EXPLICIT_VR_BE,
    EXPLICIT_VR_LE,
    IMPLICIT_VR_LE,
    UNCOMPRESSED,
)
from leadglass.dicom.uids import UID
from leadglass.errors import BadData
from tests.unit.dicom.corpus import (
    ITEM,
    ITEM_END,
    SEQUENCE_END,
    UNDEFINED,
    element,
    implicit,
    syntax,
)

SYNTAXES = (*UNCOMPRESSED, DEFLATED_EXPLICIT_VR_LE)
PATIENT_NAME, PATIENT_ID, CHARSET = 0x0010_0010, 0x0010_0020, 0x0008_0005
REQUESTS = 0x0040_0275

# Tags with their VR, so that Implicit VR gives the same one back.
TAGS = {
    "LO": PATIENT_ID,
    "PN": PATIENT_NAME,
    "UI": 0x0020_000D,
    "DA": 0x0008_0020,
    "US": 0x0028_0010,
    "FD": 0x0018_9306,
    "UT": 0x0040_A160,
    "AT": 0x0028_0009,
    "OB": 0x0042_0011,
}
VALUES = st.binary(max_size=20).map(lambda raw: raw + b" " * (len(raw) % 2))


def data_sets(depth: int = 3) -> st.SearchStrategy[DataSet]:
    plain = st.sampled_from(sorted(TAGS)).flatmap(
        lambda vr: st.tuples(
            st.just(TAGS[vr]), VALUES.map(lambda raw: Element(vr, raw))
        )
    )
    entries = plain
    if depth:
        items = st.lists(data_sets(depth - 1), max_size=2)
        nested = items.map(lambda found: (REQUESTS, Element("SQ", tuple(found))))
        entries = plain | nested
    return st.lists(entries, max_size=5).map(lambda found: DataSet(dict(found)))


def reordered(data_set: DataSet) -> DataSet:
    """Return it as it is when it was read from big endian."""
    return DataSet(
        {
            tag: Element(vr, value)
            if isinstance(value, bytes)
            else Element(vr, tuple(reordered(item) for item in value))
            for tag, (vr, value) in data_set.elements.items()
        },
        is_little_endian=False,
    )


@given(data_sets(), st.sampled_from(SYNTAXES))
def test_there_and_back(data_set: DataSet, uid: UID) -> None:
    expected = reordered(data_set) if uid == EXPLICIT_VR_BE else data_set
    assert DataSet.decode(data_set.encode(uid), uid) == expected


@given(data_sets(), st.sampled_from(UNCOMPRESSED))
def test_elements_go_out_in_order(data_set: DataSet, uid: UID) -> None:
    tags = list(DataSet.decode(data_set.encode(uid), uid).elements)
    assert tags == sorted(tags)


def test_pydicom_reads_what_is_written() -> None:
    item = DataSet({0x0040_1001: Element("SH", b"RP7")})
    data_set = DataSet(
        {
            CHARSET: Element("CS", b"ISO_IR 192"),
            PATIENT_NAME: Element("PN", "Müller^Jörg".encode()),
            PATIENT_ID: Element("LO", b"P1"),
            REQUESTS: Element("SQ", (item,)),
        }
    )
    for uid, is_implicit in ((EXPLICIT_VR_LE, False), (IMPLICIT_VR_LE, True)):
        theirs = pydicom.filereader.read_dataset(
            io.BytesIO(data_set.encode(uid)), is_implicit, is_little_endian=True
        )
        assert theirs.PatientName == "Müller^Jörg"
        assert theirs.PatientID == "P1"
        assert theirs.RequestAttributesSequence[0].RequestedProcedureID == "RP7"


# --- values -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vr", "raw", "values"),
    [
        ("LO", b"a\\b ", ["a", "b"]),
        ("LO", b" a ", ["a"]),
        ("LO", b"\\b", ["", "b"]),
        ("LO", b"", []),
        ("LO", b"  ", []),
        ("UI", b"1.2\0", ["1.2"]),
        ("ST", b" a\\b ", [" a\\b"]),
        ("US", pack("<2H", 7, 65_535), ["7", "65535"]),
        ("US", b"\7\0\7", ["7"]),
        ("SL", pack("<i", -7), ["-7"]),
        ("FD", pack("<d", 0.5), ["0.5"]),
        ("AT", pack("<4H", 0x10, 0x20, 0x28, 0x10), ["00100020", "00280010"]),
    ],
)
def test_values(vr: str, raw: bytes, values: list[str]) -> None:
    assert values_of(vr, raw, ()) == values


@pytest.mark.parametrize("vr", sorted(NUMBERS))
def test_numbers_of_both_byte_orders(vr: str) -> None:
    little, big = pack("<" + NUMBERS[vr], 3), pack(">" + NUMBERS[vr], 3)
    assert values_of(vr, little, ()) == values_of(vr, big, (), is_little_endian=False)


def test_text_has_the_data_sets_own_character_set() -> None:
    raw = element(CHARSET, "CS", b"ISO_IR 144") + element(
        PATIENT_NAME, "PN", b"\xbb\xee"
    )
    data_set = DataSet.decode(raw)
    assert data_set.charsets == ("ISO_IR 144",)
    assert data_set.text(PATIENT_NAME) == "Лю"
    assert data_set.texts(PATIENT_NAME, ("ISO_IR 100",)) == ["»î"]


def test_what_is_absent_or_of_another_kind() -> None:
    data_set = DataSet()
    data_set.set(REQUESTS, "SQ", ())
    data_set.set(PATIENT_ID, "LO", b"P1")
    assert PATIENT_ID in data_set
    assert PATIENT_NAME not in data_set
    assert data_set.text(PATIENT_NAME) is None
    assert data_set.texts(REQUESTS) == []
    assert data_set.items(PATIENT_ID) == data_set.items(PATIENT_NAME) == ()
    assert data_set.charsets == ()


def test_terms_of_the_character_set() -> None:
    assert split_terms(b"\\ISO 2022 IR 87 ") == ("", "ISO 2022 IR 87")
    assert split_terms(b"") == ()


def test_padding() -> None:
    assert pad("LO", b"a") == b"a "
    assert pad("UI", b"1") == b"1\0"
    assert pad("UI", b"12") == b"12"


@pytest.mark.parametrize(
    ("tag", "vr"),
    [
        (PATIENT_ID, "LO"),
        (0x0028_0106, "US"),  # the dictionary leaves a choice
        (0x0008_0000, "UL"),
        (0x0009_1001, "UN"),
    ],
)
def test_the_dictionarys_representation(tag: int, vr: str) -> None:
    assert vr_of(tag) == vr


# --- structure ------------------------------------------------------------------------

INNER = element(0x0040_1001, "SH", b"RP")
SAME = {
    "defined": element(REQUESTS, "SQ", implicit(ITEM, INNER)),
    "undefined item": element(
        REQUESTS,
        "SQ",
        implicit(ITEM, b"", UNDEFINED) + INNER + implicit(ITEM_END),
    ),
    "undefined": element(REQUESTS, "SQ", b"", UNDEFINED)
    + implicit(ITEM, b"", UNDEFINED)
    + INNER
    + implicit(ITEM_END)
    + implicit(SEQUENCE_END),
}


SAME["delimiters that defined lengths make needless"] = element(
    REQUESTS, "SQ", implicit(ITEM, INNER + implicit(ITEM_END)) + implicit(SEQUENCE_END)
)


@pytest.mark.parametrize("raw", SAME.values(), ids=list(SAME))
def test_sequences_of_defined_and_undefined_length(raw: bytes) -> None:
    data_set = DataSet.decode(raw + element(0x0040_A043, "SQ"))
    (item,) = data_set.items(REQUESTS)
    assert item.text(0x0040_1001) == "RP"
    assert data_set.items(0x0040_A043) == ()


def test_unknown_of_undefined_length_is_in_implicit_vr() -> None:
    raw = (
        element(REQUESTS, "UN", b"", UNDEFINED)
        + implicit(ITEM, implicit(0x0040_1001, b"RP"))
        + implicit(SEQUENCE_END)
    )
    (item,) = DataSet.decode(raw).items(REQUESTS)
    assert item.text(0x0040_1001) == "RP"


def nested(depth: int, *, is_explicit: bool, is_defined: bool) -> bytes:
    raw = b""
    for _ in range(depth):
        if is_defined:
            raw = implicit(ITEM, raw)
            length = len(raw)
        else:
            raw = implicit(ITEM, raw + implicit(ITEM_END), UNDEFINED)
            raw, length = raw + implicit(SEQUENCE_END), UNDEFINED
        write = element if is_explicit else None
        raw = (
            write(REQUESTS, "SQ", raw, length)
            if write
            else implicit(REQUESTS, raw, length)
        )
    return raw


@pytest.mark.parametrize("is_explicit", [True, False])
@pytest.mark.parametrize("is_defined", [True, False])
def test_nesting_has_a_bound(is_explicit: bool, is_defined: bool) -> None:
    uid = EXPLICIT_VR_LE if is_explicit else IMPLICIT_VR_LE
    fits = nested(DEPTH_MAX, is_explicit=is_explicit, is_defined=is_defined)
    assert DataSet.decode(fits, uid).items(REQUESTS)
    for depth in (DEPTH_MAX + 1, 2_000):
        raw = nested(depth, is_explicit=is_explicit, is_defined=is_defined)
        with pytest.raises(BadData, match="too deeply"):
            DataSet.decode(raw, uid)


REFUSED = {
    "cut short": element(PATIENT_ID, "LO", b"P1")[:-1],
    "cut in the header": element(PATIENT_ID, "LO", b"P1")[:6],
    "huge": element(PATIENT_ID, "UT", b"", 2**31),
    "no representation": implicit(PATIENT_ID, b"P1"),
    "unknown representation": element(PATIENT_ID, "ZZ", b"P1"),
    "twice": element(PATIENT_ID, "LO", b"P1") * 2,
    "no sequence": element(PATIENT_ID, "LO", b"P1") + implicit(SEQUENCE_END),
    "end of an item at the top": implicit(ITEM_END) + element(PATIENT_ID, "LO", b"P1"),
    "an item at the top": implicit(ITEM, INNER),
    "end of the sequence in an item": element(
        REQUESTS, "SQ", implicit(ITEM, INNER + implicit(SEQUENCE_END))
    ),
    "an item without end": element(REQUESTS, "SQ", implicit(ITEM, INNER, UNDEFINED)),
    "item overruns": element(REQUESTS, "SQ", implicit(ITEM, INNER, 100)),
    "no item": element(REQUESTS, "SQ", implicit(PATIENT_ID, b"P1")),
    "undefined, and no sequence": element(0x0042_0011, "OB", b"", UNDEFINED),
}


@pytest.mark.parametrize("raw", REFUSED.values(), ids=list(REFUSED))
def test_refused(raw: bytes) -> None:
    with pytest.raises(BadData):
        DataSet.decode(raw)


@pytest.mark.parametrize("cut", range(1, 30))
def test_an_undefined_end_that_never_comes_is_refused(cut: int) -> None:
    with pytest.raises(BadData):
        DataSet.decode(SAME["undefined"][:-cut])


def test_length_and_number_of_elements_have_bounds() -> None:
    with pytest.raises(BadData, match="more than"):
        DataSet.decode(bytes(LENGTH_BYTES_MAX + 2))
    many = b"".join(
        element(0x0011_0000 + number, "LO") for number in range(ELEMENTS_MAX + 1)
    )
    with pytest.raises(BadData, match="too many"):
        DataSet.decode(many)


def test_bombs_are_refused_before_they_are_inflated() -> None:
    deflater = zlib.compressobj(9, wbits=-15)
    bomb = deflater.compress(bytes(64 * LENGTH_BYTES_MAX)) + deflater.flush()
    with pytest.raises(BadData, match="more than"):
        DataSet.decode(bomb, DEFLATED_EXPLICIT_VR_LE)


@pytest.mark.parametrize("cut", [1, 3, 8])
def test_deflated_and_cut_short(cut: int) -> None:
    whole = DataSet({PATIENT_ID: Element("LO", b"P1")}).encode(DEFLATED_EXPLICIT_VR_LE)
    with pytest.raises(BadData):
        DataSet.decode(whole.rstrip(b"\0")[:-cut], DEFLATED_EXPLICIT_VR_LE)


def test_a_long_value_of_a_short_representation_cannot_be_written() -> None:
    data_set = DataSet({PATIENT_ID: Element("LO", bytes(0x1_0000))})
    with pytest.raises(BadData):
        data_set.encode(EXPLICIT_VR_LE)


@given(st.binary(max_size=120), st.sampled_from(SYNTAXES))
def test_noise_is_refused_or_read(raw: bytes, uid: UID) -> None:
    try:
        data_set = DataSet.decode(raw, uid)
    except BadData:
        return
    for tag in data_set:
        data_set.texts(tag)


@given(data_sets(), st.data(), st.sampled_from(UNCOMPRESSED))
def test_wrong_bytes_are_refused_or_read(
    data_set: DataSet, data: st.DataObject, uid: UID
) -> None:
    raw = bytearray(data_set.encode(uid) or b"\0")
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFE, 0xFF]))
    try:
        DataSet.decode(bytes(raw), uid)
    except BadData:
        return


def test_items_alone() -> None:
    (item,) = decode_items(implicit(ITEM, INNER), syntax())
    assert item.text(0x0040_1001) == "RP"
