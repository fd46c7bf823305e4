"""The review against hospitals that stay the same: what is promised, rule by rule.

Small ones, so that attacks are a large part of all that happens: alerts about them are
counted apart. Hospitals of a usual size, with seeds by chance, are in the benchmark.
"""

from collections.abc import Callable

import pytest

from leadglass.assurance.review.rules.table import RULES
from leadglass.assurance.simulation.attacks.scripts import SCRIPTS
from leadglass.assurance.simulation.judging import Judgement, OfRule, trial
from leadglass.assurance.simulation.scale import Scale
from leadglass.assurance.simulation.simulation import Simulation

SEEDS = (1, 2)
RULED = sorted({r for each in SCRIPTS if not each.is_quiet for r in each.rules})
# Of one rule alone, in a hospital where little else happens.
FALSE_PER_1000_MAX = 1.0


@pytest.fixture(scope="module")
def judgements() -> tuple[Judgement, ...]:
    scales = (Scale(seed=seed, beds=40, days=24) for seed in SEEDS)
    return tuple(trial(Simulation(each).lines()) for each in scales)


Summed = Callable[[str], OfRule]


@pytest.fixture(scope="module")
def summed(judgements: tuple[Judgement, ...]) -> Summed:
    def of(rule: str) -> OfRule:
        found = [each for j in judgements for each in j.rules if each.rule == rule]
        return OfRule(
            rule=rule,
            alerts=sum(each.alerts for each in found),
            true=sum(each.true for each in found),
            scripts=sum(each.scripts for each in found),
            found=sum(each.found for each in found),
        )

    return of


def test_attacks_are_found(judgements: tuple[Judgement, ...]) -> None:
    for each in judgements:
        assert each.recall >= 0.9, dict(each.missed)


def test_few_alerts_are_for_nothing(judgements: tuple[Judgement, ...]) -> None:
    for each in judgements:
        assert each.false_per_1000 <= 5


def test_ordinary_looks_are_explained(judgements: tuple[Judgement, ...]) -> None:
    for each in judgements:
        assert each.explained_share >= 0.9
        assert each.explained_share < 1, "no hospital explains everything"


@pytest.mark.parametrize("rule", RULED)
def test_a_rule_finds_what_it_was_made_for(rule: str, summed: Summed) -> None:
    judged = summed(rule)
    assert judged.scripts >= len(SEEDS)
    assert judged.recall is not None
    assert judged.recall >= 0.9


@pytest.mark.parametrize("rule", [each.id for each in RULES])
def test_a_rule_is_seldom_wrong(
    rule: str, summed: Summed, judgements: tuple[Judgement, ...]
) -> None:
    judged = summed(rule)
    accesses = sum(each.accesses for each in judgements)
    false = judged.alerts - judged.true
    assert 1_000 * false / accesses <= FALSE_PER_1000_MAX
