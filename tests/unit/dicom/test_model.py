"""Whole data sets as JSON and XML: against pydicom for every real file, and back."""

import json
import warnings
from base64 import b64decode
from pathlib import Path
from struct import pack
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.filewriter import correct_ambiguous_vr

from leadglass.dicom.model.encode import (
    DEPTH_MAX,
    JSON_MARKS_MAX,
    Bulk,
    data_set_pieces,
    entries_of_json,
    no_bulk,
)
from leadglass.dicom.model.json import json_pieces
from leadglass.dicom.model.sources import Bytes, Inflated, Source, pieces
from leadglass.dicom.model.values import swapped
from leadglass.dicom.model.walk import Bounds, Value, locate, walk
from leadglass.dicom.model.xml import NAMESPACE, entries_of_xml, xml_pieces
from leadglass.dicom.transfer_syntaxes import (
    EXPLICIT_VR_BE,
    IMPLICIT_VR_LE,
    TRANSFER_SYNTAXES,
    TransferSyntax,
)
from leadglass.errors import BadData
from tests.unit.dicom import corpus
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

INLINE = Bounds(inline_bytes_max=2**32, text_bytes_max=2**32)
# Where the whole file is compared; larger ones add time, not kinds of values.
SIZE_MAX = 3 * 1024 * 1024
FILES = corpus.accepted(SIZE_MAX)

# pydicom cannot write these, and why.
THEIRS_FAILS = {"badVR.dcm": "an IS that is no number; ours stays text (Table F.2.3-1)"}
# UN of a defined length whose content is not in Implicit VR (against PS3.5 §6.2.2):
# pydicom guesses that it is a sequence, here it stays what it says it is.
OPAQUE = {"300C0002"}


def uri(value: Value) -> str:
    return f"bulk/{value.path}"


def source_of(instance: corpus.Instance) -> Source:
    plain = Bytes(instance.data)
    return Inflated(plain) if instance.syntax.deflated else plain


def to_json(
    data: bytes, syntax: TransferSyntax, bounds: Bounds | None = None
) -> dict[str, Any]:
    found = walk(Bytes(data), syntax, len(data), bounds)
    made: dict[str, Any] = json.loads(b"".join(json_pieces(found, uri)))
    return made


def ours_of(instance: corpus.Instance, bounds: Bounds = INLINE) -> dict[str, Any]:
    found = walk(source_of(instance), instance.syntax, len(instance.data), bounds)
    made: dict[str, Any] = json.loads(b"".join(json_pieces(found, uri)))
    return made


def theirs_of(path: Path) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data_set = dcmread(path, force=True)
        correct_ambiguous_vr(data_set, data_set.original_encoding[1] or False)
        made: dict[str, Any] = data_set.to_json_dict()
    return made


# What differs on purpose, and nothing else:
# - group lengths are left out (PS3.18 §F.2.2)
# - empty values are null (§F.2.5), and padding at the end of each value is none
# - binary values are little endian (§F.2.7)
# - encapsulated pixel data is bulk data
def normal(entries: dict[str, Any], *, is_little_endian: bool = True) -> dict[str, Any]:
    return {
        tag: _normal(entry, is_little_endian=is_little_endian)
        for tag, entry in entries.items()
        if not tag.endswith("0000")
    }


def _normal(entry: dict[str, Any], *, is_little_endian: bool) -> dict[str, Any]:
    vr = entry["vr"]
    if vr == "SQ":
        items = entry.get("Value", [])
        return {
            "vr": vr,
            "Value": [
                normal(each, is_little_endian=is_little_endian) for each in items
            ],
        }
    if "InlineBinary" in entry and not is_little_endian and vr == "OW":
        return {"vr": vr, "InlineBinary": swapped(b64decode(entry["InlineBinary"]), 2)}
    if "InlineBinary" in entry:
        return {"vr": vr, "InlineBinary": b64decode(entry["InlineBinary"])}
    values = [_value(each) for each in entry.get("Value", [])]
    return (
        {"vr": vr, "Value": values}
        if any(v is not None for v in values)
        else {"vr": vr}
    )


def _value(value: Any) -> Any:
    if isinstance(value, str):
        return value.rstrip(" \0") or None
    if isinstance(value, dict):
        return {group: text for group, text in value.items() if text} or None
    return value


@pytest.mark.parametrize("name", FILES)
def test_every_real_file_has_the_values_that_pydicom_finds(name: str) -> None:
    if FILES[name].name in THEIRS_FAILS:
        with pytest.raises(ValueError, match="invalid literal"):
            theirs_of(FILES[name])
        assert ours_of(corpus.read(FILES[name]))
        return
    instance = corpus.read(FILES[name])
    ours, theirs = ours_of(instance), theirs_of(FILES[name])
    for tag in [tag for tag, entry in ours.items() if "BulkDataURI" in entry]:
        event = locate(
            source_of(instance), instance.syntax, len(instance.data), tag, INLINE
        )
        assert event is not None
        assert event.is_encapsulated
        found = b"".join(pieces(source_of(instance), event.offset, event.length))
        entry = theirs.pop(tag)
        assert b64decode(entry["InlineBinary"]) == found
        assert ours.pop(tag) == {"vr": entry["vr"], "BulkDataURI": f"bulk/{tag}"}
    for tag in OPAQUE:
        if ours.get(tag, {}).get("vr") == "UN":
            del ours[tag], theirs[tag]
    little = instance.syntax.little_endian
    assert normal(ours) == normal(theirs, is_little_endian=little)


def _comparable(entries: dict[str, Any]) -> Any:
    """Leave out what the way back writes anew: character sets and pixel fragments."""
    return {
        tag: [_comparable(each) for each in entry["Value"]]
        if entry["vr"] == "SQ"
        else _normal(entry, is_little_endian=True)
        for tag, entry in entries.items()
        if tag != "00080005" and "BulkDataURI" not in entry
    }


@pytest.mark.parametrize("name", [n for n in FILES if FILES[n].stat().st_size < 2**17])
def test_every_real_file_comes_back_from_json_and_xml(name: str) -> None:
    instance = corpus.read(FILES[name])
    if "Double Nested SQ" in str(instance.data) or name.endswith(
        "meta_missing_tsyntax.dcm"
    ):
        return_odd(instance)
        return
    first = ours_of(instance)
    explicit = syntax()

    def bulk(_: str) -> Bulk:
        return Bulk((b"one", b"more"), is_encapsulated=True)

    written = json.dumps(first).encode()
    [entries] = entries_of_json(written)
    back = b"".join(data_set_pieces(entries, bulk))
    assert _comparable(to_json(back, explicit, INLINE)) == _comparable(first)
    events = walk(source_of(instance), instance.syntax, len(instance.data), INLINE)
    document = b"".join(xml_pieces(events, uri))
    back = b"".join(data_set_pieces(entries_of_xml(document), bulk))
    assert _no_carets(_comparable(to_json(back, explicit, INLINE))) == _no_carets(
        _comparable(first)
    )


def return_odd(instance: corpus.Instance) -> None:
    """Values of odd length, which PS3.5 §7.1.1 forbids, come back padded."""
    [entries] = entries_of_json(json.dumps(ours_of(instance)).encode())
    back = b"".join(data_set_pieces(entries, no_bulk))
    assert to_json(back, syntax(), INLINE).keys() == entries.keys()


def _no_carets(found: Any) -> Any:
    """Take empty components off the end of names, which XML does not keep."""
    if isinstance(found, dict):
        made = {
            key: value.rstrip("^") if key == "Alphabetic" else _no_carets(value)
            for key, value in found.items()
        }
        if made.get("vr") == "PN" and made.get("Value") == [{"Alphabetic": ""}]:
            del made["Value"]
        return made
    return [_no_carets(each) for each in found] if isinstance(found, list) else found


# --- bulk data ------------------------------------------------------------------------


class Watched:
    """A source that notes what was read."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.read_bytes = 0

    def read(self, at: int, count: int) -> bytes:
        piece = self.data[at : at + count]
        self.read_bytes += len(piece)
        return piece


def test_pixels_are_not_read_for_metadata() -> None:
    pixels = element(0x7FE0_0010, "OW", bytes(10_000_000))
    data = IDENTITY + pixels + element(0xFFFC_FFFC, "OB", b"\0\0")
    source = Watched(data)
    found = list(walk(source, syntax(), len(data)))
    last, padding = found[-2:]
    assert isinstance(last, Value)
    assert (last.raw, last.length, last.path) == (None, 10_000_000, "7FE00010")
    assert last.offset == len(IDENTITY) + 12
    assert isinstance(padding, Value)
    assert padding.raw == b"\0\0"
    assert source.read_bytes < 100_000


def test_a_path_tells_bulk_data_in_sequences_apart() -> None:
    def item(value: bytes) -> bytes:
        inner = element(0x0028_3006, "OW", value)
        return implicit(ITEM, inner)

    items = item(b"a" * 2000) + item(b"b" * 2000)
    data = IDENTITY + element(0x0028_3010, "SQ", items)
    found = to_json(data, syntax())
    uris = [each["00283006"]["BulkDataURI"] for each in found["00283010"]["Value"]]
    assert uris == ["bulk/00283010/1/00283006", "bulk/00283010/2/00283006"]
    second = locate(Bytes(data), syntax(), len(data), "00283010/2/00283006")
    assert second is not None
    assert data[second.offset : second.offset + second.length] == b"b" * 2000
    assert locate(Bytes(data), syntax(), len(data), "00283010/3/00283006") is None


def test_a_deflated_data_set_is_read_forwards_in_bounded_memory() -> None:
    instance = corpus.read(corpus.FILES["data/test_files/image_dfl.dcm"])
    source = Inflated(Bytes(instance.data))
    found = list(walk(source, instance.syntax, len(instance.data)))
    assert any(isinstance(each, Value) and each.tag == 0x7FE00010 for each in found)
    assert len(source._held) < 512 * 1024
    with pytest.raises(ValueError, match="forwards"):
        source.read(0, 1)
    with pytest.raises(BadData, match="inflates beyond"):
        list(
            walk(
                Inflated(Bytes(instance.data), inflated_bytes_max=1000),
                instance.syntax,
                len(instance.data),
            )
        )
    with pytest.raises(BadData):
        list(
            walk(
                Inflated(Bytes(instance.data[:-2000])),
                instance.syntax,
                len(instance.data),
            )
        )


# --- values ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vr", "raw", "values"),
    [
        (
            "FD",
            pack("<3d", 1.5, float("nan"), float("-inf")),
            [1.5, "NaN", "-Infinity"],
        ),
        ("UV", pack("<2Q", 7, 2**64 - 1), [7, str(2**64 - 1)]),
        ("SV", pack("<q", -(2**63)), [str(-(2**63))]),
        ("IS", b"99999999999999999999", ["99999999999999999999"]),
        ("IS", b"1_000", ["1_000"]),
        ("DS", b"1e999 ", ["1e999"]),
        ("DS", b"1.5\\\\2", [1.5, None, 2.0]),
        ("US", b"\1\0\2", [1]),
        ("UT", b"a\\b ", ["a\\b"]),
        ("LO", b" a \\ ", [" a", None]),
        ("CS", b" A\\B ", ["A", "B"]),
        ("PN", b"=\xc4^B", [{"Ideographic": "\xc4^B"}]),
        ("AT", b"\x10\0\x20\0", ["00100020"]),
        ("LO", b"  ", None),
    ],
)
def test_values(vr: str, raw: bytes, values: list[Any] | None) -> None:
    data = element(0x0009_1001, vr, raw)
    expected = {"vr": vr} if values is None else {"vr": vr, "Value": values}
    assert to_json(data, syntax()) == {"00091001": expected}


def test_a_value_of_words_is_little_endian_whatever_it_was() -> None:
    big = pack(">HH2sHI", 0x0028, 0x3006, b"OW", 0, 4) + b"\1\2\3\4"
    made = to_json(big, TRANSFER_SYNTAXES[EXPLICIT_VR_BE])
    assert b64decode(made["00283006"]["InlineBinary"]) == b"\2\1\4\3"


def test_implicit_vr_is_told_by_dictionary_pixels_and_private_creator() -> None:
    data = (
        implicit(0x0008_0016, b"1.2\0")
        + implicit(0x0009_0010, b"SPI-P Release 1 ")
        + implicit(0x0009_1000, b"text")
        + implicit(0x0009_1199, b"none")
        + implicit(0x0028_0103, b"\1\0")
        + implicit(0x0028_0106, b"\xff\xff")
    )
    made = to_json(data, TRANSFER_SYNTAXES[IMPLICIT_VR_LE])
    assert made["00280106"] == {"vr": "SS", "Value": [-1]}
    assert made["00091000"]["vr"] == "LT"
    assert made["00091199"]["vr"] == "UN"


# --- hostile data sets ----------------------------------------------------------------


def _nested(depth: int) -> bytes:
    begin = element(0x0040_A730, "SQ", b"", UNDEFINED) + implicit(ITEM, b"", UNDEFINED)
    end = implicit(ITEM_END) + implicit(SEQUENCE_END)
    return begin * depth + end * depth


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (_nested(40), "nested too deeply"),
        (element(0x0008_0016, "UI", b"1.2", 400), "longer than what holds"),
        (element(0x0008_0016, "UI", b"1.2\0")[:-2], "longer than what holds"),
        (element(0x0008_0016, "UI", b"1.2\0")[:6], "cut short"),
        (IDENTITY + b"\x08\0\x60\0ZZ\2\0CT", "without a known value"),
        (element(0x0008_0060, "CS", b"CT", UNDEFINED & 0xFFFF), "longer than what"),
        (element(0x0040_A730, "SQ", implicit(0x0008_0060, b"CT")), "else than an item"),
        (element(0x0040_A730, "SQ", implicit(ITEM, b"", 99)), "longer than its"),
        (implicit(ITEM_END), "a delimiter where"),
        (element(0x0040_A730, "SQ", b"", UNDEFINED), "cut short"),
        (element(0x7FE0_0010, "OB", b"", UNDEFINED), "cut short"),
        (
            element(0x7FE0_0010, "OB", b"", UNDEFINED) + implicit(ITEM, b"", UNDEFINED),
            "else than a fragment",
        ),
        (element(0x0010_0010, "UT", b"", UNDEFINED), "that is no sequence"),
    ],
)
def test_what_is_no_data_set_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(BadData, match=message):
        list(walk(Bytes(data), syntax(), len(data)))


def test_delimiters_without_end_need_no_stack() -> None:
    stray = implicit(SEQUENCE_END) * 5000
    data = element(0x0040_A730, "SQ", stray)
    assert to_json(data, syntax()) == {"0040A730": {"vr": "SQ", "Value": []}}
    with pytest.raises(BadData, match="too many"):
        list(walk(Bytes(data), syntax(), len(data), Bounds(elements_max=100)))


@settings(max_examples=50)
@given(st.data())
def test_any_flipped_byte_gives_events_or_bad_data(data: st.DataObject) -> None:
    whole = bytearray(IDENTITY + _nested(3) + PIXELS)
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    try:
        made = to_json(bytes(whole), syntax())
    except BadData:
        return
    assert isinstance(made, dict)


# --- the way back: hostile metadata ---------------------------------------------------


def encoded(entries: dict[str, Any]) -> bytes:
    [found] = entries_of_json(json.dumps(entries).encode())
    return b"".join(data_set_pieces(found))


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{",
        b"\xff",
        b"3",
        b"[3]",
        b"[" * 100_000,
        b'{"00100010":' * 100_000,
        b'{"00280010": {"vr": "US", "Value": [' + b"9" * 10_000 + b"]}}",
        b'{"00280010": {"vr": "FD", "Value": [NaN]}}',
        b"[" + b"{}," * JSON_MARKS_MAX + b"{}]",
        b'{"00100020": {"vr": "LO"}, "00100020": {"vr": "LO"}}',
    ],
)
def test_what_is_no_json_model_is_refused(document: bytes) -> None:
    with pytest.raises(BadData) as caught:
        entries_of_json(document)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "entries",
    [
        {"PatientID": {"vr": "LO", "Value": ["1"]}},
        {"00020010": {"vr": "UI", "Value": ["1.2"]}},
        {"00000002": {"vr": "UI", "Value": ["1.2"]}},
        {"FFFEE000": {"vr": "UN"}},
        {"00100020": 3},
        {"00100020": {"vr": "XX"}},
        {"00100020": {"vr": ["LO"]}},
        {"00100020": {"Value": ["1"]}},
        {"00100020": {"vr": "LO", "Value": "1"}},
        {"00100020": {"vr": "LO", "Value": ["a\\b"]}},
        {"00100020": {"vr": "LO", "Value": [{"a": 1}]}},
        {"00100020": {"vr": "LO", "Value": [True]}},
        {"00100020": {"vr": "LO", "Value": ["\ud800"]}},
        {"00100020": {"vr": "LO", "Value": ["x" * 70_000]}},
        {"00100020": {"vr": "LO", "Value": ["1"], "InlineBinary": "AAAA"}},
        {"00104000": {"vr": "LT", "Value": ["a", "b"]}},
        {"00280010": {"vr": "US", "Value": [65536]}},
        {"00280010": {"vr": "US", "Value": [-1]}},
        {"00280010": {"vr": "US", "Value": [1.5]}},
        {"00280010": {"vr": "US", "Value": [True]}},
        {"00280010": {"vr": "US", "Value": [None]}},
        {"00189000": {"vr": "FL", "Value": [1e300]}},
        {"00189000": {"vr": "FD", "Value": ["1e999"]}},
        {"00189000": {"vr": "FD", "Value": ["x"]}},
        {"00280009": {"vr": "AT", "Value": ["x"]}},
        {"7FE00010": {"vr": "OB", "Value": [1]}},
        {"7FE00010": {"vr": "OB", "InlineBinary": "*"}},
        {"7FE00010": {"vr": "OB", "BulkDataURI": "http://elsewhere.example/"}},
        {"7FE00010": {"vr": "OB", "BulkDataURI": 3}},
        {"00100010": {"vr": "PN", "Value": [{"Alphabetic": 3}]}},
        {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "a=b"}]}},
        {"00100010": {"vr": "PN", "Value": [{"Other": "a"}]}},
        {"0040A730": {"vr": "SQ", "Value": [3]}},
    ],
)
def test_what_no_data_set_can_hold_is_refused(entries: dict[str, Any]) -> None:
    with pytest.raises(BadData):
        encoded(entries)


def test_a_tag_in_two_spellings_is_one_attribute() -> None:
    with pytest.raises(BadData, match="twice"):
        encoded({"0008002A": {"vr": "DT"}, "0008002a": {"vr": "DT"}})


def test_depth_has_a_limit() -> None:
    entries: dict[str, Any] = {}
    for _ in range(DEPTH_MAX + 1):
        entries = {"0040A730": {"vr": "SQ", "Value": [entries]}}
    with pytest.raises(BadData, match="nested"):
        encoded(entries)


def test_text_is_written_in_utf_8_and_said_so() -> None:
    back = encoded(
        {
            "00080005": {"vr": "CS", "Value": ["ISO_IR 100"]},
            "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Müller^Zoë"}]},
            "00180050": {"vr": "DS", "Value": [0.1234567890123456789, "1.50"]},
            "00080000": {"vr": "UL", "Value": [999]},
        }
    )
    made = to_json(back, syntax())
    assert made["00080005"]["Value"] == ["ISO_IR 192"]
    assert made["00100010"]["Value"] == [{"Alphabetic": "Müller^Zoë"}]
    assert made["00180050"]["Value"] == [pytest.approx(0.12345678901235), 1.5]
    assert "00080000" not in made


def test_encapsulated_bulk_data_becomes_fragments() -> None:
    entries = {"7FE00010": {"vr": "OB", "BulkDataURI": "x"}}
    bulk = Bulk((b"one", b"four"), is_encapsulated=True)
    made = b"".join(data_set_pieces(entries, lambda _: bulk))
    assert made == (
        element(0x7FE0_0010, "OB", b"", UNDEFINED)
        + implicit(ITEM)
        + implicit(ITEM, b"one\0")
        + implicit(ITEM, b"four")
        + implicit(SEQUENCE_END)
    )
    plain = Bulk((b"abc",))
    assert b"".join(data_set_pieces(entries, lambda _: plain)) == element(
        0x7FE0_0010, "OB", b"abc\0"
    )


# --- XML ------------------------------------------------------------------------------

NAMESPACED = f"<NativeDicomModel xmlns='{NAMESPACE}'>"


def model(content: str) -> str:
    return f"{NAMESPACED}{content}</NativeDicomModel>"


def attribute(content: str, tag: str = "00100020", vr: str = "LO") -> str:
    return model(f'<DicomAttribute tag="{tag}" vr="{vr}">{content}</DicomAttribute>')


@pytest.mark.parametrize(
    "document",
    [
        "",
        "<a/>",
        "<Item number='1'/>",
        '<!DOCTYPE a [<!ENTITY b "c">]><NativeDicomModel>&b;</NativeDicomModel>',
        '<!DOCTYPE a SYSTEM "file:///etc/passwd"><NativeDicomModel/>',
        attribute("", tag="1"),
        attribute("", vr=""),
        model('<DicomAttribute tag="00100020" vr="LO"/>' * 2),
        attribute("<Value/>"),
        attribute('<Value number="999999"/>'),
        attribute('<Value number="0"/>'),
        attribute('<Value number="2"/><Value number="1"/>'),
        attribute("<BulkData/>"),
        model("<Value number='1'/>"),
        "<x:NativeDicomModel xmlns:x='urn:other'/>",
        model('<DicomAttribute tag="0040A730" vr="SQ"><Item number="1">' * 80),
    ],
)
def test_what_is_no_native_model_is_refused(document: str) -> None:
    with pytest.raises(BadData):
        entries_of_xml(document.encode())


def test_xml_keeps_names_controls_and_creators() -> None:
    data = (
        element(0x0009_0010, "LO", b'A"<&>')
        + element(0x0009_1001, "LT", b"a\rb\x01c ")
        + element(0x0010_0010, "PN", b"A^B^C^D^E=I\\X")
    )
    events = walk(Bytes(data), syntax(), len(data))
    document = b"".join(xml_pieces(events, uri)).decode()
    assert "<FamilyName>A</FamilyName><GivenName>B</GivenName>" in document
    assert "privateCreator='A\"&lt;&amp;&gt;'" in document
    entries = entries_of_xml(document.encode())
    assert entries["00091001"]["Value"] == ["a\rb\ufffdc"]
    assert entries["00100010"]["Value"] == [
        {"Alphabetic": "A^B^C^D^E", "Ideographic": "I"},
        {"Alphabetic": "X"},
    ]


def test_their_reader_reads_our_json() -> None:
    made = to_json(IDENTITY.replace(b"1.2.3.4.", b"1.2.3.44"), syntax())
    theirs = Dataset.from_json(json.dumps(made))
    assert theirs.PatientName == "Doe^Jane"
    assert theirs.StudyInstanceUID == "1.2.3"
