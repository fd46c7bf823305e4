"""Counting what rules found: every alert and every attack once, and nothing leaks."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from leadglass.assurance.finding import Severity
from leadglass.assurance.review.reviewer import Alert
from leadglass.assurance.simulation.draft import Label
from leadglass.assurance.simulation.judging import Judgement, judge
from leadglass.assurance.simulation.lines import Learned
from leadglass.assurance.simulation.simulation import Line
from leadglass.assurance.trails.fact import Fact, Kind, Reach, Touched
from leadglass.errors import BadData

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def alert(rule: str, *facts: int, subject: str = "a") -> Alert:
    return Alert(
        rule=rule,
        severity=Severity.LOW,
        subject=subject,
        trail=0,
        day=NOON.date(),
        evidence="",
        count=len(facts),
        first=NOON,
        last=NOON,
        facts=facts,
        patients=(),
    )


class Rules:
    """Alerts by number of the fact; explains what even numbers do."""

    def __init__(self, alerts: dict[int, list[Alert]]) -> None:
        self.alerts = alerts
        self.seen: list[object] = []
        self.grown: list[Alert] = []

    def take(self, fact: Fact) -> Iterable[Alert]:
        self.seen.append(fact)
        found = self.alerts.get(fact.number, [])
        self.grown += found
        return found

    def changed(self) -> tuple[Alert, ...]:
        grown, self.grown = tuple(self.grown), []
        return grown

    def explains(self, fact: Fact) -> bool:
        return fact.number % 2 == 0


def look(number: int) -> Fact:
    return Fact(
        number=number,
        time=NOON + timedelta(seconds=number),
        kind=Kind.VIEW,
        who="a",
        who_kind="person",
        touched=(Touched("P1", Reach.IMAGES, ("1.2",)),),
    )


def label(number: int, rules: tuple[str, ...], facts: tuple[int, ...]) -> Label:
    return Label(
        number=number,
        script=f"script-{number}",
        rules=rules,
        who=("a",),
        begins=NOON,
        ends=NOON,
        facts=facts,
    )


def trail() -> Iterator[Line]:
    yield from (look(number) for number in range(10))
    yield label(0, ("R-01",), (4, 5))
    yield label(1, ("R-02", "R-03"), (7,))
    yield label(2, ("R-01",), (8,))


@pytest.fixture
def judgement() -> Judgement:
    rules = Rules(
        {
            # The same alert, that grows.
            4: [alert("R-01", 4)],
            5: [alert("R-01", 4, 5), alert("R-09", 5)],
            6: [alert("R-01", 6, subject="b")],
            7: [alert("R-03", 7)],
            9: [alert("R-09", 8, 9, subject="b")],
        }
    )
    return judge(trail(), Learned(), rules)


def test_each_rule_is_judged_by_its_own_alerts(judgement: Judgement) -> None:
    assert {each.rule: (each.precision, each.recall) for each in judgement.rules} == {
        "R-01": (0.5, 0.5),
        "R-02": (None, 0.0),
        "R-03": (1.0, 1.0),
        "R-09": (1.0, None),
    }


def test_an_attack_is_found_only_by_a_rule_that_ought_to(judgement: Judgement) -> None:
    assert judgement.scripts == 3
    assert judgement.found == 2
    assert judgement.missed == {"script-2": 1}


def test_alerts_are_counted_for_each_thousand_accesses(judgement: Judgement) -> None:
    assert (judgement.alerts, judgement.false) == (5, 1)
    assert judgement.alerts_per_1000 == 500
    assert judgement.false_per_1000 == 100


def test_looks_of_attacks_need_no_explanation(judgement: Judgement) -> None:
    assert (judgement.looks, judgement.explained) == (6, 3)


def test_rules_see_facts_and_nothing_else() -> None:
    rules = Rules({})
    judge(trail(), Learned(), rules)
    assert rules.seen == [look(number) for number in range(10)]


def test_quiet_attacks_are_counted_apart() -> None:
    quiet = [replace(label(n, ("R-01",), (n,)), is_quiet=True) for n in (4, 5)]
    rules = Rules({4: [alert("R-01", 4)]})
    judged = judge([*map(look, range(6)), *quiet], Learned(), rules)
    assert (judged.quiet, judged.quiet_found) == (2, 1)
    assert (judged.scripts, judged.found, judged.false) == (0, 0, 0)
    assert judged.missed == {}


@pytest.mark.parametrize(
    "lines",
    [
        [look(1)],
        [look(0), look(2)],
        [look(0), look(0)],
        [look(0), label(0, ("R-01",), (1,))],
        [look(0), label(0, ("R-01",), (-1,))],
        [label(0, ("R-01",), (0,)), look(0)],
    ],
)
def test_a_file_with_holes_is_not_judged(lines: list[Line]) -> None:
    with pytest.raises(BadData):
        judge(lines, Learned(), Rules({}))


def test_nothing_is_judged_by_nothing() -> None:
    empty = judge((), Learned(), Rules({}))
    assert empty.members()["rules"] == []
    assert (empty.recall, empty.alerts_per_1000, empty.explained_share) == (1, 0, 1)
