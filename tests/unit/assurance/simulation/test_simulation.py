"""A simulation as a whole: in order, the same again, and silent about its truth."""

import json
import re
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pytest

from leadglass.assurance.review.knowledge import Patient, Person, StudyOf
from leadglass.assurance.simulation import noise
from leadglass.assurance.simulation.attacks.scripts import SCRIPTS
from leadglass.assurance.simulation.days import Days
from leadglass.assurance.simulation.draft import DAY_S, Label
from leadglass.assurance.simulation.hospital import Hospital
from leadglass.assurance.simulation.scale import Scale
from leadglass.assurance.simulation.simulation import Line, Simulation, plan
from leadglass.assurance.trails.fact import Fact, Kind, Reach

SCALE = Scale(seed=11, beds=30, days=18)


@pytest.fixture(scope="module")
def every() -> list[Line]:
    return list(Simulation(SCALE).lines())


@pytest.fixture(scope="module")
def facts(every: list[Line]) -> list[Fact]:
    return [each for each in every if isinstance(each, Fact)]


@pytest.fixture(scope="module")
def labels(every: list[Line]) -> list[Label]:
    return [each for each in every if isinstance(each, Label)]


def test_the_same_seed_gives_the_same(every: list[Line]) -> None:
    assert list(Simulation(SCALE).lines()) == every


def test_another_seed_gives_others(facts: list[Fact]) -> None:
    other = Simulation(Scale(seed=12, beds=30, days=1)).lines()
    assert {each.who for each in other if isinstance(each, Fact)} != {
        each.who for each in facts
    }


def test_facts_are_numbered_as_they_were_recorded(
    facts: list[Fact], labels: list[Label]
) -> None:
    assert [each.number for each in facts] == list(range(len(facts)))
    skewed = {
        number
        for label in labels
        if label.script == "clock-set-back"
        for number in label.facts
    }
    ordinary = [each for each in facts if each.number not in skewed]
    assert all(one.time <= other.time for one, other in pairwise(ordinary))


def test_every_script_is_played_and_labelled(labels: list[Label]) -> None:
    assert Counter(each.script for each in labels) == Counter(
        each.name for each in SCRIPTS
    )


def test_every_rule_of_the_reference_has_a_script() -> None:
    ruled = {rule for each in SCRIPTS for rule in each.rules}
    assert ruled >= {f"R-{number:02d}" for number in range(1, 38)}
    assert all(each.title for each in SCRIPTS)


def test_labels_name_facts_and_who_did_them(
    facts: list[Fact], labels: list[Label]
) -> None:
    seen: set[int] = set()
    for label in labels:
        assert not seen & set(label.facts)
        seen |= set(label.facts)
        times = [facts[number].time for number in label.facts]
        assert (label.begins, label.ends) == (min(times), max(times))
        for number in label.facts:
            fact = facts[number]
            assert {fact.who, fact.address, fact.ae_title} & set(label.who)


def test_no_fact_tells_that_it_is_of_an_attack(
    facts: list[Fact], labels: list[Label]
) -> None:
    """Attacks use the fields of ordinary facts, and no word of the truth."""
    told = json.dumps([each.members() for each in facts])
    for script in SCRIPTS:
        assert script.name not in told
    assert not re.search(r"attack|script|label|benign", told)
    attacking = {number for label in labels for number in label.facts}
    of_attacks = {name for n in attacking for name in facts[n].members()}
    assert of_attacks <= {
        name
        for each in facts
        if each.number not in attacking
        for name in each.members()
    }


def test_attacks_wait_until_there_is_something_to_compare_with(
    labels: list[Label],
) -> None:
    first = SCALE.moment(SCALE.attacks_begin_s)
    assert (
        min(each.begins for each in labels if each.script != "clock-set-back") > first
    )


def test_what_facts_name_was_known_before(every: list[Line]) -> None:
    patients: set[str] = set()
    studies: set[str] = set()
    people: set[str] = set()
    unknown = Counter[str]()
    for line in every:
        match line:
            case Patient():
                patients.add(line.patient_id)
            case StudyOf():
                studies.add(line.uid)
            case Person():
                people.add(line.name)
            case Fact():
                for each in line.touched:
                    unknown["patient"] += each.patient not in patients
                    unknown["study"] += not set(each.studies) <= studies
                unknown[line.who] += bool(line.who) and line.who not in people
            case _:
                pass
    # The node itself is nobody's account.
    assert {who for who, count in unknown.items() if count} <= {"leadglass"}


def test_ordinary_days_have_what_is_odd(facts: list[Fact], labels: list[Label]) -> None:
    attacking = {number for label in labels for number in label.facts}
    ordinary = [each for each in facts if each.number not in attacking]
    kinds = Counter(each.kind for each in ordinary)
    assert {
        *(Kind.LOGIN, Kind.QUERY, Kind.VIEW, Kind.RETRIEVE, Kind.TRANSFERRED),
        *(Kind.STORE, Kind.EXPORT, Kind.CHANGE, Kind.AUDIT_READ, Kind.ECHO),
    } <= set(kinds)
    assert any(each.kind is Kind.LOGIN and not each.succeeded for each in ordinary)


@pytest.mark.parametrize("what", noise.ODD, ids=lambda each: each.__name__)
def test_each_odd_thing_happens(what: Callable[[Days], None]) -> None:
    hospital = Hospital(Scale(seed=21, beds=60))
    assert list(hospital.founding())
    days = Days(hospital)
    happened = 0
    for day in range(4):
        days.make(day)
        before = len(days.out)
        for _ in range(40):
            what(days)
        happened += len(days.out) - before
    assert happened


def test_attacks_are_a_small_part_of_all_looks(
    facts: list[Fact], labels: list[Label]
) -> None:
    attacking = {number for label in labels for number in label.facts}
    looks = [each for each in facts if each.reach is Reach.IMAGES]
    assert 0 < sum(each.number in attacking for each in looks) < len(looks) / 2


def test_what_is_remembered_does_not_grow_with_the_days() -> None:
    scale = Scale(seed=1, beds=20, days=70)
    simulation = Simulation(scale)
    sizes: list[int] = []
    for line in simulation.lines():
        if isinstance(line, Fact) and len(sizes) < simulation.day:
            days = simulation._days
            sizes.append(
                len(simulation._carried)
                + len(simulation._running)
                + len(days.discharged)
                + sum(map(len, days.wards.values()))
            )
    assert max(sizes[40:]) < 2 * max(sizes[15:40])
    patients = simulation.hospital.patients
    assert patients.remembered.maxlen
    assert len(patients.remembered) <= patients.remembered.maxlen
    assert not simulation._running


def test_light_facts_are_many_and_ordinary() -> None:
    scale = Scale(seed=2, beds=100, days=3, is_light=True)
    every = list(Simulation(scale).lines())
    facts = [each for each in every if isinstance(each, Fact)]
    assert len(facts) == 3 * 100 * 20
    assert not any(isinstance(each, Label) for each in every)
    assert all(one.time <= other.time for one, other in pairwise(facts[:2_000]))


@pytest.mark.parametrize("days", [1, 7, 15, 29, 57])
def test_a_plan_has_every_script_in_time(days: int) -> None:
    scale = Scale(seed=4, days=days)
    planned = plan(scale)
    assert {script for each in planned.values() for _, script in each} == set(SCRIPTS)
    numbers = [number for each in planned.values() for number, _ in each]
    assert len(set(numbers)) == len(numbers)
    assert min(planned) >= int(scale.attacks_begin_s / DAY_S)
    assert max(planned) < days
