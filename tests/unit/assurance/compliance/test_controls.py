"""The table of controls is whole, and its values check themselves."""

import pytest

from leadglass.assurance.compliance.controls import (
    Control,
    Kind,
    Profile,
    catalogue,
)
from leadglass.errors import BadData


def test_there_are_48_of_which_at_most_4_rest_on_somebodys_word_alone() -> None:
    controls = catalogue().controls.values()
    assert len(controls) == 48
    assert sum(each.kind is Kind.ATTESTED for each in controls) <= 4


def test_every_question_is_answered_by_a_control() -> None:
    asked = {
        answer for each in catalogue().controls.values() for answer in each.answers
    }
    assert asked == set(catalogue().questions)


def test_at_least_12_rest_on_an_experiment() -> None:
    tried = [
        each
        for each in catalogue().controls.values()
        if any(probe[0] == "E" and probe[1:].isdecimal() for probe in each.probes)
    ]
    assert len(tried) >= 12
    used = {probe for each in tried for probe in each.probes}
    assert {f"E{n}" for n in range(1, 13)} <= used


def test_what_is_proposed_is_a_profile_of_its_own() -> None:
    control = catalogue().controls["CC-41"]
    in_force = control.clauses(Profile.IN_FORCE)
    assert in_force == ("45 CFR 164.310(d)(2)(iii) A",)
    assert control.clauses(Profile.PROPOSED) != in_force


@pytest.mark.parametrize(
    "control",
    [
        {"kind": Kind.ATTESTED, "probes": ("E1",), "document": "x"},
        {"kind": Kind.AUTOMATIC},
        {"kind": Kind.AUTOMATIC, "probes": ("E1",), "document": "x"},
        {"kind": Kind.HYBRID, "probes": ("E1",)},
    ],
)
def test_a_control_that_nothing_answers_is_none(control: dict[str, object]) -> None:
    with pytest.raises(BadData):
        Control(id="X", title="x", **control)  # type: ignore[arg-type]
