"""Scopes: one line of text and back, and never wider than written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadglass.access.scopes import (
    EVERYTHING,
    FIELDS,
    OWN,
    VALUE_CHARACTERS_MAX,
    VALUES_MAX,
    Scope,
)
from leadglass.errors import Misconfigured

values = (
    st.text("aB9 ,;=\\^é日", min_size=1, max_size=8)
    .map(str.strip)
    .filter(lambda text: text not in {"", OWN})
)
of_field = {
    "modalities": st.sampled_from(["CT", "MR", "US", "OPT"]),
    "study_uids": st.sampled_from(["1.2", "1.2.3", "2.25.7"]),
}
scopes = st.builds(
    Scope,
    **{
        attribute: st.frozensets(of_field.get(attribute, values), max_size=3)
        for attribute in FIELDS.values()
    },
)


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        ("everything", EVERYTHING),
        (
            "modality=CT,MR;institution=North",
            Scope(
                modalities=frozenset({"CT", "MR"}), institutions=frozenset({"North"})
            ),
        ),
        (" modality = CT , MR ", Scope(modalities=frozenset({"CT", "MR"}))),
        ("modality=CT;modality=MR", Scope(modalities=frozenset({"CT", "MR"}))),
        (r"patient_id=A\,B", Scope(patient_ids=frozenset({"A,B"}))),
        ("source=own", Scope(sources=frozenset({"own"}))),
    ],
)
def test_parse(text: str, scope: Scope) -> None:
    assert Scope.parse(text) == scope


@pytest.mark.parametrize(
    ("text", "problem_count"),
    [
        ("", 1),  # nothing said is not everything allowed
        ("  ", 1),
        ("CT", 1),
        ("modality", 1),
        ("modality=", 1),
        ("modality=CT,", 1),
        ("modality=CT;", 1),
        ("modality==CT", 1),
        ("modality=ct", 1),
        ("study_uid=1.2.x", 1),
        (f"study_uid={'1' * 65}", 1),
        ("patient_id=A\tB", 1),
        ("modalities=CT;moon=full", 2),
        ("modality=ct;study_uid=x", 2),
    ],
)
def test_what_is_no_scope_is_told_whole(text: str, problem_count: int) -> None:
    with pytest.raises(Misconfigured) as caught:
        Scope.parse(text)
    assert len(caught.value.problems) == problem_count


def test_limits() -> None:
    full = Scope(patient_ids=frozenset(map(str, range(VALUES_MAX))))
    assert Scope.parse(str(full)) == full
    Scope(patient_ids=frozenset({"x" * VALUE_CHARACTERS_MAX}))
    with pytest.raises(Misconfigured):
        Scope(patient_ids=frozenset(map(str, range(VALUES_MAX + 1))))
    with pytest.raises(Misconfigured):
        Scope(patient_ids=frozenset({"x" * (VALUE_CHARACTERS_MAX + 1)}))
    with pytest.raises(Misconfigured):
        Scope.parse("x" * (VALUES_MAX * VALUE_CHARACTERS_MAX + 1))


def test_a_problem_does_not_repeat_a_patient() -> None:
    with pytest.raises(Misconfigured) as caught:
        Scope.parse("patient_id=SECRET\x00")
    assert "SECRET" not in str(caught.value)


@given(scopes)
def test_text_and_back(scope: Scope) -> None:
    assert Scope.parse(str(scope)) == scope


@given(scopes, scopes)
def test_within_means_that_every_restriction_is_kept(one: Scope, two: Scope) -> None:
    assert one.is_within(one)
    assert one.is_within(EVERYTHING)
    assert EVERYTHING.is_within(one) == one.is_everything
    if one.is_within(two) and two.is_within(one):
        assert one == two


@pytest.mark.parametrize(
    ("narrow", "wide", "within"),
    [
        ("modality=CT", "modality=CT,MR", True),
        ("modality=CT;institution=N", "modality=CT", True),
        ("modality=CT,MR", "modality=CT", False),
        ("institution=N", "modality=CT", False),
    ],
)
def test_is_within(narrow: str, wide: str, *, within: bool) -> None:
    assert Scope.parse(narrow).is_within(Scope.parse(wide)) is within


def test_own_is_the_devices_own_name() -> None:
    scope = Scope.parse("source=own,CT2;modality=CT")
    assert scope.of_device("CT1") == Scope.parse("source=CT1,CT2;modality=CT")
    assert EVERYTHING.of_device("CT1") is EVERYTHING
