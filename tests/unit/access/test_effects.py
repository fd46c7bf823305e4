"""Who gains and who loses: told on the safe side, and never more than there is."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadglass.access.effects import COMPARED_MAX, Effect, Reach, effects, reaches
from leadglass.access.policy import Kind, Request, Rule, Subject, decide
from leadglass.access.rights import Right
from leadglass.access.scopes import EVERYTHING, Scope

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(days=1)
PIA = Subject(Kind.OPERATOR, "pia")
CT1 = Subject(Kind.DEVICE, "CT1")
HOUSE = (ip_network("10.0.0.0/8"),)
WARD = (ip_network("10.4.0.0/24"), ip_network("10.5.0.7/32"))
CT = Scope.parse("modality=CT")

READS = Rule(
    name="reads",
    subjects=frozenset({PIA}),
    rights=frozenset({Right.FIND, Right.VIEW}),
    networks=HOUSE,
)


def test_what_stays_as_it_is_is_not_told() -> None:
    assert effects([READS], [READS], NOON) == ()
    assert effects([READS], [replace(READS, name="other name"), READS], NOON) == ()


def test_a_new_right_is_gained_and_an_old_one_lost() -> None:
    after = replace(READS, rights=frozenset({Right.FIND, Right.GET}))
    assert effects([READS], [after], NOON) == (
        Effect(
            PIA,
            gained=(Reach((Right.GET,), HOUSE, EVERYTHING, None),),
            lost=(Reach((Right.VIEW,), HOUSE, EVERYTHING, None),),
        ),
    )


@pytest.mark.parametrize(
    "narrower",
    [
        {"networks": WARD},
        {"scope": CT},
        {"not_after": LATER},
        {"networks": WARD, "scope": CT, "not_after": LATER},
    ],
)
def test_who_is_narrowed_loses_the_wide_and_gains_nothing(narrower: dict) -> None:  # type: ignore[type-arg]
    [lost] = effects([READS], [replace(READS, **narrower)], NOON)
    assert lost.gained == ()
    assert lost.lost == (Reach((Right.FIND, Right.VIEW), HOUSE, EVERYTHING, None),)
    [gained] = effects([replace(READS, **narrower)], [READS], NOON)
    assert gained.lost == ()
    assert gained.gained == lost.lost


def test_on_the_node_itself_is_another_place_than_any_network() -> None:
    here = replace(READS, networks=())
    [effect] = effects([READS], [here], NOON)
    assert effect.gained == (Reach((Right.FIND, Right.VIEW), (), EVERYTHING, None),)
    assert effect.lost[0].networks == HOUSE


def test_expired_rules_give_nothing_on_either_side() -> None:
    over = replace(READS, not_after=NOON - timedelta(seconds=1))
    assert effects([], [over], NOON) == ()
    assert effects([over], [], NOON) == ()


def test_own_is_said_by_name() -> None:
    own = replace(READS, subjects=frozenset({CT1}), scope=Scope.parse("source=own"))
    [effect] = effects([], [own], NOON)
    assert str(effect.gained[0].scope) == "source=CT1"


def test_a_crowd_of_rules_is_told_and_not_compared() -> None:
    crowd = [
        replace(READS, networks=(ip_network(f"10.0.{each}.0/24"),))
        for each in range(COMPARED_MAX + 1)
    ]
    inside = replace(READS, networks=(ip_network("10.0.0.1/32"),))
    [effect] = effects(crowd, [*crowd, inside], NOON)
    assert effect.gained[0].networks == inside.networks
    assert (
        effects(
            crowd[1:], [*crowd[1:], replace(inside, networks=crowd[1].networks)], NOON
        )
        == ()
    )


RULES = st.lists(
    st.builds(
        Rule,
        name=st.just("rule"),
        subjects=st.sets(st.sampled_from([PIA, CT1]), min_size=1).map(frozenset),
        rights=st.sets(st.sampled_from([Right.FIND, Right.GET]), min_size=1).map(
            frozenset
        ),
        networks=st.sampled_from([(), HOUSE, WARD, (ip_network("10.4.0.7/32"),)]),
        scope=st.sampled_from([EVERYTHING, CT, Scope.parse("source=own")]),
        not_after=st.sampled_from([None, NOON, LATER]),
    ),
    max_size=5,
)


@given(RULES, RULES)
def test_whoever_decides_otherwise_afterwards_is_told_of(
    before: list[Rule], after: list[Rule]
) -> None:
    told = {each.subject: each for each in effects(before, after, NOON)}
    for subject in (PIA, CT1):
        for right in (Right.FIND, Right.GET):
            for address in (None, WARD[0][7], HOUSE[0][9]):
                request = Request(subject, right, address, NOON)
                old, new = decide(before, request), decide(after, request)
                gained = any(right in each.rights for each in _of(told, subject, 0))
                lost = any(right in each.rights for each in _of(told, subject, 1))
                if new.allowed and not old.allowed:
                    assert gained
                if old.allowed and not new.allowed:
                    assert lost
                if set(old.scopes) != set(new.scopes):
                    assert gained or lost


def _of(told: dict[Subject, Effect], subject: Subject, which: int) -> tuple[Reach, ...]:
    effect = told.get(subject)
    if effect is None:
        return ()
    return (effect.gained, effect.lost)[which]


def test_all_that_somebody_may() -> None:
    assert reaches([READS], PIA, NOON) == (
        Reach((Right.FIND, Right.VIEW), HOUSE, EVERYTHING, None),
    )
    assert reaches([READS], CT1, NOON) == ()
