"""Findings check themselves and keep an order."""

import pytest

from leadglass.assurance.finding import Finding, Severity, worst_first, worst_of
from leadglass.errors import BadData


def finding(id_: str, severity: Severity, target: str = "t") -> Finding:
    return Finding(id_, severity, target, "something")


def test_the_worst_come_first() -> None:
    found = [
        finding("B", Severity.LOW),
        finding("C", Severity.CRITICAL, "z"),
        finding("A", Severity.CRITICAL, "a"),
        finding("D", Severity.INFO),
    ]
    assert [each.id for each in worst_first(found)] == ["A", "C", "B", "D"]
    assert worst_of(found) is Severity.CRITICAL
    assert worst_of([]) is Severity.INFO


@pytest.mark.parametrize(
    ("severity", "steps", "expected"),
    [
        (Severity.CRITICAL, 2, Severity.MEDIUM),
        (Severity.HIGH, 2, Severity.LOW),
        (Severity.MEDIUM, 2, Severity.LOW),
        (Severity.LOW, 0, Severity.LOW),
        (Severity.INFO, 1, Severity.INFO),
    ],
)
def test_milder_by_steps(severity: Severity, steps: int, expected: Severity) -> None:
    assert severity.milder(steps) is expected


@pytest.mark.parametrize(
    "arguments",
    [
        ("", "title", "", ""),
        ("X", "", "", ""),
        ("X", "a\nb", "", ""),
        ("X", "t", "e" * 4_001, ""),
        ("X", "t", "", "r" * 4_001),
    ],
)
def test_a_finding_that_nobody_can_read_is_none(arguments: tuple[str, ...]) -> None:
    id_, title, evidence, remedy = arguments
    with pytest.raises(BadData):
        Finding(id_, Severity.LOW, "t", title, evidence, remedy)


def test_members_are_what_the_contract_names() -> None:
    members = Finding("X", Severity.HIGH, "h:1", "t", "e", "r", ("PS3.8",)).members()
    assert list(members) == [
        "id",
        "severity",
        "target",
        "title",
        "evidence",
        "remedy",
        "references",
    ]
    assert members["severity"] == "high"


@pytest.mark.parametrize("severity", Severity)
def test_medium_and_worse_need_somebody(severity: Severity) -> None:
    assert finding("X", severity).is_alarming == (severity.rank >= 2)
