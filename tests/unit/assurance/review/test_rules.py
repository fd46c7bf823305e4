"""Every rule tells of what it is for, and not of what looks alike."""

import pytest

from leadglass.assurance.review.look import Settings
from leadglass.assurance.review.memory import PAIRS_MAX, Shelf
from leadglass.assurance.review.reviewer import Alert, Reviewer
from leadglass.assurance.review.rules.table import RULES
from leadglass.assurance.trails.fact import Kind
from tests.unit.assurance.review.scenes import (
    SCENES,
    Draft,
    Scene,
    at,
    facts,
    look,
    nurse,
    world,
)


def _ids(scene: Scene) -> str:
    return scene.rule


def alerts(scene: Scene, drafts: tuple[Draft, ...]) -> list[Alert]:
    reviewer = Reviewer(scene.world)
    found = [alert for fact in facts(drafts) for alert in reviewer.take(fact)]
    return [each for each in found if each.rule == scene.rule]


@pytest.mark.parametrize("scene", SCENES, ids=_ids)
def test_tells(scene: Scene) -> None:
    assert alerts(scene, scene.loud)


@pytest.mark.parametrize("scene", SCENES, ids=_ids)
def test_is_silent_where_there_is_a_reason(scene: Scene) -> None:
    assert not alerts(scene, scene.quiet)


def test_every_rule_has_scenes() -> None:
    assert {each.rule for each in SCENES} == {each.id for each in RULES}


def test_ids_are_those_of_the_reference() -> None:
    assert [each.id for each in RULES] == [f"R-{n:02d}" for n in range(1, 38)]


def test_no_evidence_names_a_patient() -> None:
    for scene in SCENES:
        for alert in alerts(scene, scene.loud):
            told = f"{alert.evidence} {alert.finding().members()}"
            assert not any(f"'{each}'" in told for each in alert.patients)
            assert not any(f" {each} " in told for each in alert.patients)


def test_one_alert_for_each_subject_rule_and_day() -> None:
    drafts = [look(at(day), nurse(), "own") for day in (1, 1.01, 1.02, 2)]
    reviewer = Reviewer(world())

    new = [alert for fact in facts(drafts) for alert in reviewer.take(fact)]

    own = [each for each in new if each.rule == "R-02"]
    assert [each.day.day for each in own] == [3, 4]
    changed = {e.key: e for e in reviewer.changed() if e.rule == "R-02"}
    assert [each.count for each in changed.values()] == [3, 1]
    assert reviewer.changed() == ()


def test_a_decoy_title_is_told_of_whoever_calls_it() -> None:
    settings = Settings(decoy_titles=frozenset({"OLDPACS"}))
    reviewer = Reviewer(world(), settings)
    knock = (at(1), Kind.ASSOCIATE, {"address": "203.0.113.4", "called": "OLDPACS"})

    (fact,) = facts([knock])

    assert "R-32" in [each.rule for each in reviewer.take(fact)]


def test_a_rule_that_is_off_says_nothing() -> None:
    reviewer = Reviewer(world(), Settings(off=frozenset({"R-02"})))

    (fact,) = facts([look(at(1), nurse(), "own")])

    assert [each.rule for each in reviewer.take(fact)] == []


def test_a_flood_of_names_does_not_grow_memory_without_end() -> None:
    shelf = Shelf(3)
    for number in range(5):
        shelf.put(f"name{number}", number)
    shelf.slot("name5", list)

    assert [key for key, _ in shelf.items()] == ["name3", "name4", "name5"]


def test_every_shelf_of_the_rules_is_bounded() -> None:
    reviewer = Reviewer(world())
    for fact in facts([draft for scene in SCENES for draft in scene.loud]):
        for _ in reviewer.take(fact):
            pass
    limits = reviewer.memory.limits()
    assert len(limits) > 30
    assert max(limits.values()) <= PAIRS_MAX
