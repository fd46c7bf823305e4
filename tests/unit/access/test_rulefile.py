"""The rule file: what it says is done, what it misspells is told."""

from contextlib import suppress
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadglass.access.policy import Expectation, Kind, Rule, Subject
from leadglass.access.rights import Right
from leadglass.access.rulefile import RULES_MAX, TEXT_CHARACTERS_MAX, RuleFile
from leadglass.access.scopes import Scope
from leadglass.errors import Misconfigured

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

WHOLE = """\
# who reads
[[rule]]
name = "radiologists read"
devices = ["WS1", "WS2"]
exceptions = ["OLD-US"]
rights = ["find", "get"]
from = ["10.4.0.0/24"]
scope = "modality=CT,MR"
reason = "ward round"
until = 2027-01-31

[[rule]]
name = "archivist erases"
operators = ["archivist"]
rights = ["erase"]
reason = "retention"

[[expect]]
name = "the scanner cannot query"
device = "CT1"
right = "find"
from = "10.4.0.7"
allowed = false

[[expect]]
name = "readers see CT and MR only"
device = "WS1"
right = "get"
from = "10.4.0.7"
allowed = true
within = "modality=CT,MR"
"""


def test_a_whole_file() -> None:
    file = RuleFile.parse(WHOLE)
    assert file.rules == (
        Rule(
            name="radiologists read",
            subjects=frozenset(
                {
                    Subject(Kind.DEVICE, "WS1"),
                    Subject(Kind.DEVICE, "WS2"),
                    Subject(Kind.EXCEPTION, "OLD-US"),
                }
            ),
            rights=frozenset({Right.FIND, Right.GET}),
            networks=(ip_network("10.4.0.0/24"),),
            scope=Scope.parse("modality=CT,MR"),
            reason="ward round",
            not_after=datetime(2027, 1, 31, 23, 59, 59, 999999, tzinfo=UTC),
        ),
        Rule(
            name="archivist erases",
            subjects=frozenset({Subject(Kind.OPERATOR, "archivist")}),
            rights=frozenset({Right.ERASE}),
            networks=(),
            reason="retention",
        ),
    )
    assert file.expectations[0] == Expectation(
        name="the scanner cannot query",
        subject=Subject(Kind.DEVICE, "CT1"),
        right=Right.FIND,
        address=ip_address("10.4.0.7"),
        allowed=False,
    )
    file.check([], NOON)


def test_an_empty_file_allows_nothing() -> None:
    assert RuleFile.parse("") == RuleFile()
    assert RuleFile.parse("# nothing yet\n") == RuleFile()


def test_the_rules_of_devices_are_put_to_the_test_too() -> None:
    scanner_queries = Rule(
        name="device CT1",
        subjects=frozenset({Subject(Kind.DEVICE, "CT1")}),
        rights=frozenset({Right.FIND}),
        networks=(ip_network("10.4.0.0/24"),),
    )
    with pytest.raises(Misconfigured, match="the scanner cannot query") as caught:
        RuleFile.parse(WHOLE).check([scanner_queries], NOON)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"find", "get"', '"find", "got"', r"line 6: .*'got' is no right; use echo"),
        ("rights = [", "right = [", r"line 6: .*right is no key here"),
        ("rights = [", "right = [", r"line 2: .*rights is missing"),
        ('["10.4.0.0/24"]', '["10.4.0.7/24"]', "line 7: .*write 10.4.0.0/24"),
        ('["10.4.0.0/24"]', '["0.0.0.0/0"]', "line 7: .*wider than anybody's"),
        ('["10.4.0.0/24"]', "[]", r"line 7: .*write a list"),
        ('["10.4.0.0/24"]', '"10.4.0.0/24"', r"line 7: .*write a list"),
        ('from = ["10.4.0.0/24"]', "", r"line 2: .*machines need a network"),
        ("modality=CT,MR", "modality=ct", "line 8: .*capitals"),
        ("modality=CT,MR", "", "line 8: .*empty"),
        ('"ward round"', '""', "line 9: .*write a text"),
        ('"ward round"', '"a\\u0000b"', "line 9: .*printable"),
        ('reason = "ward round"', "", "line 2: .*reason is missing"),
        ("2027-01-31", '"2027-01-31"', "line 10: .*without quotes"),
        ("2027-01-31", "2027-01-31T10:00:00", "line 10: .*needs its zone"),
        ('operators = ["archivist"]', "", "line 12: .*names nobody"),
        ('operators = ["arch', 'devices = ["arch', "line 15: .*for operators only"),
        ('"archivist erases"', '"radiologists read"', "given twice"),
        ('device = "CT1"', "", "line 18: .*name one of device"),
        ('device = "CT1"', 'device = "C"\noperator = "c"', "line 18: .*name one of"),
        ("allowed = false", "allowed = 0", "line 23: .*true or false"),
        ("allowed = false", "", "line 18: .*allowed is missing"),
        ('"10.4.0.7"\nallowed = false', '"all"\nallowed = false', "line 22: .*10.4.0"),
        ("allowed = true", "allowed = false", "reaches nothing"),
        ("# who reads", "[rules]", r"write \[\[rule\]\]"),
        ("# who reads", "x = ", "not TOML: .*line 1"),
    ],
)
def test_a_problem_has_its_line_and_remedy(old: str, new: str, problem: str) -> None:
    assert old in WHOLE
    with pytest.raises(Misconfigured, match=problem):
        RuleFile.parse(WHOLE.replace(old, new, 1))


def test_all_problems_at_once() -> None:
    text = WHOLE.replace("CT,MR", "ct").replace('"find"', '"fund"', 1)
    with pytest.raises(Misconfigured) as caught:
        RuleFile.parse(text, name="my.toml")
    assert len(caught.value.problems) == 3
    assert all(problem.startswith("my.toml line ") for problem in caught.value.problems)


def test_a_text_that_looks_like_a_table_does_not_shift_lines() -> None:
    text = WHOLE.replace('"ward round"', '"""\n[[rule]]\n"""').replace("CT,MR", "ct", 1)
    with pytest.raises(Misconfigured) as caught:
        RuleFile.parse(text)
    assert not any("line" in problem for problem in caught.value.problems)


@pytest.mark.parametrize(
    "text", ["rule = 1", "rule = [1]", "[rule]\nname = 'x'", "expect = ['x']"]
)
def test_other_shapes_are_told(text: str) -> None:
    with pytest.raises(Misconfigured, match="in two brackets"):
        RuleFile.parse(text)


def test_limits() -> None:
    with pytest.raises(Misconfigured, match="larger than"):
        RuleFile.parse("#" * (TEXT_CHARACTERS_MAX + 1))
    with pytest.raises(Misconfigured, match="more than"):
        RuleFile.parse("[[rule]]\n" * (RULES_MAX + 1))


@given(st.integers(0, len(WHOLE)), st.text(max_size=3), st.integers(0, 40))
def test_any_change_is_read_or_told(at: int, new: str, cut: int) -> None:
    text = WHOLE[:at] + new + WHOLE[at + cut :]
    with suppress(Misconfigured):
        RuleFile.parse(text)
