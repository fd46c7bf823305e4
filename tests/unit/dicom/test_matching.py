"""Matching is what PS3.4 §C.2.2.2 says it is."""

from collections.abc import Sequence as Values

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadglass.dicom import matching
from leadglass.dicom.matching import (
    UNIVERSAL,
    VALUES_MAX,
    Empty,
    Match,
    Multiple,
    Range,
    Sequence,
    Single,
    UIDList,
    Wildcard,
    comparable,
    matches,
    matches_items,
    parse_key,
    wildcard_expression,
)
from leadglass.errors import BadData

CODE_VALUE, CODE_MEANING, NESTED = 0x0008_0100, 0x0008_0104, 0x0008_1110


@pytest.mark.parametrize(
    ("vr", "values", "match"),
    [
        ("LO", [], UNIVERSAL),
        ("LO", [""], UNIVERSAL),
        ("LO", ["  "], UNIVERSAL),
        ("DA", ["*"], UNIVERSAL),
        ("LO", ["***"], UNIVERSAL),
        ("LO", ['""'], Empty()),
        ("LO", [" P1 "], Single("P1")),
        ("IS", ["1*"], Single("1*")),  # no wildcards in numbers
        ("LO", ["P*"], Wildcard("P*")),
        ("PN", ["Sm?th"], Wildcard("Sm?th")),
        ("UI", ["1.2"], UIDList(("1.2",))),
        ("UI", ["1.2", "", "1.3"], UIDList(("1.2", "1.3"))),
        ("CS", ["CT", "MR*"], Multiple((Single("CT"), Wildcard("MR*")))),
        ("CS", ["CT", "*"], UNIVERSAL),
        ("DA", ["20240110"], Range("20240110", "20240110")),
        ("DA", ["2024.01.10"], Range("20240110", "20240110")),
        ("DA", ["20240110-"], Range("20240110", None)),
        ("DA", ["-20240110"], Range(None, "20240110")),
        ("DA", ["20240101 - 20240110"], Range("20240101", "20240110")),
        ("DA", ["-"], UNIVERSAL),
        ("TM", ["10"], Range("100000.000000", "105959.999999")),
        ("TM", ["10:15"], Range("101500.000000", "101559.999999")),
        ("TM", ["1015-1030"], Range("101500.000000", "103059.999999")),
        ("TM", ["101530.5-"], Range("101530.500000", None)),
    ],
)
def test_keys(vr: str, values: list[str], match: Match) -> None:
    assert parse_key(vr, values) == match


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        ("2024", "20240101000000.000000", "20241231235959.999999"),
        ("2023-2024", "20230101000000.000000", "20241231235959.999999"),
        ("20240110-2025", "20240110000000.000000", "20251231235959.999999"),
        ("20240110-0500", "20240110000000.000000", "20240110235959.999999"),
        ("20240110+0100", "20240110000000.000000", "20240110235959.999999"),
        ("20240110-0500-", "20240110000000.000000", None),
        ("-20240110-0500", None, "20240110235959.999999"),
        (
            "2024011010-0500-2024011012-0500",
            "20240110100000.000000",
            "20240110125959.999999",
        ),
        (
            "20240110101530.5+0100-20240111+0100",
            "20240110101530.500000",
            "20240111235959.999999",
        ),
    ],
)
def test_a_hyphen_is_a_zone_or_the_middle_of_a_range(
    value: str, low: str | None, high: str | None
) -> None:
    match = parse_key("DT", [value])
    assert isinstance(match, Range)
    assert (match.low and match.low[:21]) == low
    # The last day of a month that is not told is the 31st: it sorts after all.
    assert (match.high and match.high[:21]) == high


@pytest.mark.parametrize(
    ("vr", "values"),
    [
        ("DA", ["yesterday"]),
        ("DA", ["2024"]),
        ("DA", ["20240101-20240102-20240103"]),
        ("TM", ["1"]),
        ("TM", ["10-x"]),
        ("DT", ["20240110-0500-20240111-0500-"]),
        ("DT", ["202"]),
        ("CS", ["A"] * (VALUES_MAX + 1)),
    ],
)
def test_keys_that_are_none(vr: str, values: list[str]) -> None:
    with pytest.raises(BadData) as caught:
        parse_key(vr, values)
    assert values[0] == "A" or values[0] not in str(caught.value)


@pytest.mark.parametrize(
    ("vr", "key", "values", "is_match"),
    [
        ("LO", "P1", ["P1"], True),
        ("LO", "P1", ["p1"], False),
        ("LO", "P1", [], False),
        ("LO", "P1", ["P2", "P1"], True),
        ("LO", "*", [], True),
        ("LO", "", [], True),
        ("LO", '""', [], True),
        ("LO", '""', ["", ""], True),
        ("LO", '""', ["P1"], False),
        ("LO", "P?", ["P1"], True),
        ("LO", "P?", ["P12"], False),
        ("LO", "*1*", ["P12"], True),
        ("LO", "P.*", ["P12"], False),
        ("LO", "[P]*", ["P1"], False),
        ("UI", "1.2", ["1.2"], True),
        ("UI", "1.2", ["1.2.3"], False),
        ("UI", "1.?", ["1.2"], False),
        ("PN", "müller^jörg", ["MULLER^JORG"], True),
        ("PN", "MUELLER", ["Müller"], False),
        ("PN", "Straße*", ["STRASSE^A"], True),
        ("PN", "yamada*", ["Yamada^Tarou=山田^太郎=やまだ^たろう"], True),
        ("PN", "山田*", ["Yamada^Tarou=山田^太郎=やまだ^たろう"], True),
        ("PN", "やまだ^たろう", ["Yamada^Tarou=山田^太郎=やまだ^たろう"], True),
        ("PN", "=山田^太郎", ["Yamada^Tarou=山田^太郎"], True),
        ("PN", "Yamada", ["Yamada^Tarou"], False),
        ("PN", "Doe^Jane^^^", ["Doe^Jane"], True),
        ("DA", "20240101-20240110", ["20240110"], True),
        ("DA", "20240101-20240110", ["2024.01.11"], False),
        ("TM", "10", ["105959"], True),
        ("TM", "10", ["11"], False),
        ("TM", "-1015", ["101559.9"], True),
        ("DT", "2024", ["20240110101500-0500"], True),
        ("DT", "2024-", ["20231231"], False),
    ],
)
def test_matches(vr: str, key: str, values: list[str], is_match: bool) -> None:
    assert matches(parse_key(vr, [key]), vr, values) is is_match


def test_several_values_are_alternatives() -> None:
    key = parse_key("CS", ["CT", "M*"])
    assert matches(key, "CS", ["MR"])
    assert matches(key, "CS", ["CT"])
    assert not matches(key, "CS", ["US"])


@pytest.mark.parametrize(
    ("keys", "is_match"),
    [
        ({}, True),
        ({CODE_VALUE: UNIVERSAL}, True),
        ({CODE_VALUE: Single("A")}, True),
        ({CODE_VALUE: Single("A"), CODE_MEANING: Wildcard("Ch*")}, True),
        ({CODE_VALUE: Single("A"), CODE_MEANING: Wildcard("H*")}, False),
        ({CODE_VALUE: Single("B"), CODE_MEANING: Empty()}, False),
        ({CODE_VALUE: Single("C"), CODE_MEANING: Empty()}, True),
        ({NESTED: Sequence({CODE_VALUE: Single("A")})}, True),
        ({NESTED: Sequence({CODE_VALUE: Single("Z")})}, False),
    ],
)
def test_one_item_must_match_all_keys(keys: dict[int, Match], is_match: bool) -> None:
    items = [
        {CODE_VALUE: ["A"], CODE_MEANING: ["Chest"]},
        {CODE_VALUE: ["B"], CODE_MEANING: ["Head"]},
        {CODE_VALUE: ["C"]},
    ]
    assert matches_items(Sequence(keys), items) is is_match
    assert matches_items(Sequence(keys), []) is not any(
        key != UNIVERSAL for key in keys.values()
    )


def test_other_keys_of_sequences() -> None:
    assert matches_items(UNIVERSAL, [])
    assert matches_items(Empty(), [])
    assert not matches_items(Empty(), [{}])
    assert len({Sequence({CODE_VALUE: Empty()}), Sequence({CODE_VALUE: Empty()})}) == 1


TEXTS = st.text("ab*?.^[é", max_size=6)


@given(TEXTS, TEXTS)
def test_a_pattern_is_matched_as_one_reads_it(pattern: str, text: str) -> None:
    def slow(pattern: str, text: str) -> bool:
        if not pattern:
            return not text
        if pattern[0] == "*":
            return any(slow(pattern[1:], text[n:]) for n in range(len(text) + 1))
        return (
            bool(text) and pattern[0] in {"?", text[0]} and slow(pattern[1:], text[1:])
        )

    found = wildcard_expression(pattern).fullmatch(text) is not None
    assert found is slow(pattern, text)


MOMENTS = {
    "DA": st.dates().map(lambda each: f"{each:%Y%m%d}".zfill(8)),
    "TM": st.times().map(lambda each: f"{each:%H%M%S.%f}"),
    "DT": st.datetimes().map(lambda each: f"{each:%Y%m%d%H%M%S.%f}".zfill(21)),
}


@given(st.sampled_from(["DA", "TM", "DT"]), st.data())
def test_ranges_are_inclusive_and_in_order(vr: str, data: st.DataObject) -> None:
    low, middle, high = sorted(data.draw(MOMENTS[vr]) for _ in range(3))
    for key in (f"{low}-{high}", f"{low}-", f"-{high}", f"{middle}-{middle}", middle):
        assert matches(parse_key(vr, [key]), vr, [middle])
    if low < middle:
        assert not matches(parse_key(vr, [f"{middle}-{high}"]), vr, [low])
    assert comparable(vr, middle) == middle


@given(
    st.sampled_from(["AE", "CS", "DA", "DT", "IS", "LO", "PN", "TM", "UI", "UN"]),
    st.lists(st.text(max_size=10), max_size=3),
    st.lists(st.text(max_size=10), max_size=3),
)
def test_any_key_is_read_or_refused(
    vr: str, key: Values[str], values: Values[str]
) -> None:
    try:
        match = parse_key(vr, key)
    except BadData:
        return
    assert matches(match, vr, values) in {True, False}


@pytest.mark.parametrize(
    ("asked", "is_found"),
    [
        ("zoe mul", True),
        ("MÜLLER", True),
        ("mul^zo", True),
        ("anna*", True),
        ("lise", True),
        ("uller", False),
        ("zoe meier", False),
        ("%", False),
        ("z_e", False),
        ("山", False),
    ],
)
def test_a_fuzzy_name_begins_words_in_any_order(asked: str, is_found: bool) -> None:
    match = matching.parse_words([asked])
    assert matching.matches(match, "PN", ["Müller^Zoë Anna-Lise"]) is is_found


def test_fuzzy_words_are_of_one_group_and_few() -> None:
    match = matching.parse_words(["yamada 太郎"])
    assert not matching.matches(match, "PN", ["Yamada^Tarou=山田^太郎"])
    assert matching.parse_words([" ^*"]) == matching.UNIVERSAL
    assert matching.parse_words(['""']) == matching.Empty()
    with pytest.raises(BadData, match="more than 12 words"):
        matching.parse_words([" ".join("abcdefghijklm")])
