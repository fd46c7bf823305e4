"""What explains an access, and what does not."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from leadglass.assurance.review.knowledge import Person, Stay, StudyOf, World
from leadglass.assurance.review.relations import (
    Access,
    Template,
    can_be_judged,
    explain,
    studies_near,
)
from leadglass.assurance.trails.fact import Reach, Touched

# A Wednesday at noon.
NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
ANNA = Person(name="anna", department="surgery")
STUDY = StudyOf(uid="1.2.3", patient_id="p", department="cardiology", performed=NOON)


def access(study: StudyOf = STUDY, *stays: Stay, person: Person = ANNA) -> Access:
    known = World(
        people={"ct": Person(name="ct", kind="device", department="surgery")},
        by_uid={study.uid: study},
        by_patient={"p": (study,)},
        in_care={"p": stays},
    )
    touched = Touched("p", Reach.IMAGES, (study.uid,))
    return Access(
        person=person,
        touched=touched,
        at=NOON,
        knowledge=known,
        studies=studies_near(touched, NOON, known),
    )


def stay(department: str, ended: timedelta) -> Stay:
    return Stay(NOON - timedelta(days=40), NOON - ended, department)


ANNAS = frozenset({"anna"})
EXPLAINED = (
    (Template.PERFORMED, access(replace(STUDY, performing=ANNAS))),
    (Template.REFERRED, access(replace(STUDY, referring=ANNAS))),
    (Template.ASSIGNED, access(replace(STUDY, assigned=ANNAS))),
    (Template.DEPARTMENT, access(replace(STUDY, department="surgery"))),
    (Template.DEPARTMENT, access(STUDY, stay("surgery", timedelta(days=2)))),
    (
        Template.SEEN_BEFORE,
        replace(access(), seen_before=NOON - timedelta(days=3)),
    ),
    (Template.MADE_HERE, access(replace(STUDY, origin="ct"))),
    (Template.GLASS, replace(access(), glass_broken=NOON - timedelta(hours=1))),
    (Template.MACHINE, access(person=replace(ANNA, kind="device"))),
)
LONG_AGO = NOON - timedelta(days=400)
UNEXPLAINED = (
    access(),
    access(replace(STUDY, department="surgery", performed=LONG_AGO)),
    access(STUDY, stay("surgery", timedelta(days=30))),
    access(STUDY, stay("neurology", timedelta())),
    access(replace(STUDY, origin="ct", performed=LONG_AGO)),
    replace(access(), seen_before=LONG_AGO),
    replace(access(), glass_broken=NOON - timedelta(days=2)),
    replace(access(person=Person(name="bob"))),
)


@pytest.mark.parametrize(("template", "case"), EXPLAINED)
def test_explains(template: Template, case: Access) -> None:
    found = explain(case)
    assert found is not None
    assert found.template is template


@pytest.mark.parametrize("case", UNEXPLAINED)
def test_does_not_explain(case: Access) -> None:
    assert explain(case) is None
    assert can_be_judged(case)


def test_another_department_stands_in_at_night_alone() -> None:
    case = replace(
        access(STUDY, stay("cardiology", timedelta())),
        covering=frozenset({"surgery"}),
    )
    night = replace(case, at=NOON + timedelta(hours=10))
    assert explain(case) is None
    assert explain(night) is not None


def test_of_whom_nothing_is_known_nothing_is_said() -> None:
    assert not can_be_judged(access(StudyOf(uid="1.2.3", performed=NOON)))
