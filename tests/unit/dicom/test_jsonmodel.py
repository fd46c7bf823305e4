"""The DICOM JSON model: what PS3.18 Annex F says, and the way back."""

import json
from struct import pack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadglass.dicom.charsets import UTF_8
from leadglass.dicom.dataset import DataSet, Element
from leadglass.dicom.jsonmodel import (
    data_set_json,
    data_set_of,
    element_json,
    element_of,
    texts_of,
)

ENTRIES: list[tuple[str, bytes, dict[str, Any]]] = [
    ("LO", b"P1", {"vr": "LO", "Value": ["P1"]}),
    ("LO", b"", {"vr": "LO"}),
    ("LO", b"  ", {"vr": "LO"}),
    ("LO", b"\\", {"vr": "LO"}),
    ("CS", b"A\\\\B ", {"vr": "CS", "Value": ["A", None, "B"]}),
    ("ST", b"a\\b", {"vr": "ST", "Value": ["a\\b"]}),
    ("UI", b"1.2\0", {"vr": "UI", "Value": ["1.2"]}),
    ("DA", b"20240131", {"vr": "DA", "Value": ["20240131"]}),
    ("IS", b"+7 ", {"vr": "IS", "Value": [7]}),
    ("IS", b"-12", {"vr": "IS", "Value": [-12]}),
    ("IS", b"seven", {"vr": "IS", "Value": ["seven"]}),
    ("IS", b"1\\\\3", {"vr": "IS", "Value": [1, None, 3]}),
    ("DS", b"1.50", {"vr": "DS", "Value": [1.5]}),
    ("DS", b"1e3", {"vr": "DS", "Value": [1000.0]}),
    ("DS", b"NaN", {"vr": "DS", "Value": ["NaN"]}),
    ("DS", b"1e999", {"vr": "DS", "Value": ["1e999"]}),
    ("US", pack("<2H", 1, 2), {"vr": "US", "Value": [1, 2]}),
    ("SL", pack("<i", -1), {"vr": "SL", "Value": [-1]}),
    ("FD", pack("<d", 0.5), {"vr": "FD", "Value": [0.5]}),
    ("AT", pack("<2H", 0x10, 0x20), {"vr": "AT", "Value": ["00100020"]}),
    ("PN", b"Doe^Jane", {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane"}]}),
    ("PN", b"=X", {"vr": "PN", "Value": [{"Ideographic": "X"}]}),
    (
        "PN",
        b"A=I=P\\B",
        {
            "vr": "PN",
            "Value": [
                {"Alphabetic": "A", "Ideographic": "I", "Phonetic": "P"},
                {"Alphabetic": "B"},
            ],
        },
    ),
    (
        "PN",
        b"A\\\\B",
        {"vr": "PN", "Value": [{"Alphabetic": "A"}, None, {"Alphabetic": "B"}]},
    ),
]


@pytest.mark.parametrize(("vr", "raw", "entry"), ENTRIES)
def test_entries(vr: str, raw: bytes, entry: dict[str, Any]) -> None:
    assert element_json(Element(vr, raw), ()) == entry


@pytest.mark.parametrize("text", [b"1_000", b"1__0", "\u0661".encode(), b"0x10"])
@pytest.mark.parametrize("vr", ["IS", "DS"])
def test_only_numbers_of_the_standard_are_numbers(vr: str, text: bytes) -> None:
    (value,) = element_json(Element(vr, text), ())["Value"]
    assert isinstance(value, str)


def test_numbers_of_big_endian() -> None:
    entry = element_json(Element("US", b"\1\0"), (), is_little_endian=False)
    assert entry == {"vr": "US", "Value": [256]}


def test_an_item_has_its_own_character_set_or_its_parents() -> None:
    latin = DataSet({0x0008_0104: Element("LO", b"\xe9")})
    own = DataSet(
        {
            0x0008_0005: Element("CS", UTF_8.encode()),
            0x0008_0104: Element("LO", "é".encode()),
        }
    )
    entry = element_json(Element("SQ", (latin, own)), ("ISO_IR 100",))
    assert [item["00080104"]["Value"] for item in entry["Value"]] == [["é"], ["é"]]


def test_bulk_data_is_left_out() -> None:
    data_set = DataSet({0x0042_0011: Element("OB", b"%PDF"), 9: Element("UN", b"x")})
    assert data_set_json(data_set) == {}


def test_an_empty_sequence() -> None:
    assert element_json(Element("SQ", ()), ()) == {"vr": "SQ"}
    assert element_of({"vr": "SQ"}, ()) == Element("SQ", ())


@pytest.mark.parametrize(("vr", "raw", "entry"), ENTRIES)
def test_the_way_back_gives_the_same_entry(
    vr: str, raw: bytes, entry: dict[str, Any]
) -> None:
    back = element_of(entry, ())
    assert back.vr == vr
    assert element_json(back, ()) == entry


@pytest.mark.parametrize(
    ("vr", "value"),
    [
        ("US", 65_536),
        ("US", -1),
        ("US", "many"),
        ("FL", 1e300),
        ("SL", "1.5"),
        ("AT", "x"),
    ],
)
def test_a_number_that_does_not_fit_is_left_out(vr: str, value: object) -> None:
    assert element_of({"vr": vr, "Value": [value]}, ()) == Element(vr, b"")


def test_texts_of_nothing() -> None:
    assert texts_of(None) == texts_of({}) == texts_of({"vr": "LO"}) == []
    assert texts_of({"vr": "LO", "Value": [None, "a"]}) == ["", "a"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "1"), (75.5, "75.5"), (1_000_001.0, "1000001"), (-0.25, "-0.25")],
)
def test_decimals_keep_their_digits(value: float, text: str) -> None:
    assert texts_of({"vr": "DS", "Value": [value]}) == [text]


def test_text_that_cannot_be_said_is_replaced() -> None:
    entry = {"vr": "LO", "Value": ["é山"]}
    assert element_of(entry, ("ISO_IR 100",)).value == b"??"
    assert element_of(entry, (UTF_8,)).value == "é山".encode()


TEXT = st.text(
    st.characters(exclude_categories=["C", "Z"], exclude_characters="\\="), min_size=1
)
NAMES = st.dictionaries(
    st.sampled_from(["Alphabetic", "Ideographic", "Phonetic"]), TEXT, min_size=1
)
LEAVES = st.one_of(
    st.fixed_dictionaries({"vr": st.just("LO"), "Value": st.lists(TEXT, min_size=1)}),
    st.fixed_dictionaries({"vr": st.just("PN"), "Value": st.lists(NAMES, min_size=1)}),
    st.fixed_dictionaries(
        {"vr": st.just("US"), "Value": st.lists(st.integers(0, 65_535), min_size=1)}
    ),
    st.fixed_dictionaries(
        {
            "vr": st.just("IS"),
            "Value": st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1),
        }
    ),
    st.fixed_dictionaries(
        {
            "vr": st.just("FD"),
            "Value": st.lists(
                st.floats(allow_nan=False, allow_infinity=False), min_size=1
            ),
        }
    ),
    st.just({"vr": "DA"}),
)
TAGS = st.integers(0x0008_0100, 0x0080_0000).map(lambda tag: f"{tag:08X}")
MODELS = st.dictionaries(
    TAGS,
    LEAVES
    | st.fixed_dictionaries(
        {
            "vr": st.just("SQ"),
            "Value": st.lists(st.dictionaries(TAGS, LEAVES, max_size=3), min_size=1),
        }
    ),
    max_size=4,
)


@given(MODELS)
def test_there_and_back(model: dict[str, Any]) -> None:
    back = data_set_json(data_set_of(model, (UTF_8,)), (UTF_8,))
    assert back == model
    assert json.loads(json.dumps(back, allow_nan=False)) == model


@given(
    st.sampled_from(["IS", "DS", "PN", "LO", "DA", "US", "FL", "AT", "UI"]),
    st.binary(max_size=30),
)
def test_any_bytes_have_an_entry_that_json_can_hold(vr: str, raw: bytes) -> None:
    entry = element_json(Element(vr, raw), (UTF_8,))
    json.dumps(entry, allow_nan=False)
