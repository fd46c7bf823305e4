"""Relations: what explains that somebody opened the images of a patient.

Each template is one sentence that a privacy officer would accept as the reason. They
are tried in order, the strongest first. Where too little is known of the person or of
the patient, nothing is said: an access is then neither explained nor unexplained.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from leadglass.assurance.review.knowledge import Knowledge, Person, StudyOf
from leadglass.assurance.trails.fact import Touched

# Reports are asked about, letters are written and follow-ups come for some weeks.
AFTER_STAY: Final = timedelta(days=21)
# Preparing a visit: the evening before.
BEFORE_STAY: Final = timedelta(hours=24)
# A study of the own department is part of its work for a quarter.
OWN_DEPARTMENT: Final = timedelta(days=90)
# Who makes images checks, corrects and copies them for so long.
MADE_HERE: Final = timedelta(days=30)
# Studies beside the opened one (priors, other parts of the case) that are looked at.
RELATED: Final = timedelta(days=60)
# Who had a reason so lately may look again.
SEEN_BEFORE: Final = timedelta(days=30)
# An emergency access that was never closed explains nothing after this.
GLASS_OPEN: Final = timedelta(hours=24)
# Studies of one patient that are asked; who has more has other relations too.
STUDIES_MAX: Final = 64
# Between these hours, and at weekends, another department may stand in for a ward.
DAY_BEGINS_H: Final = 7
DAY_ENDS_H: Final = 17
_SATURDAY: Final = 5


class Template(StrEnum):
    """What can explain an access, strongest first."""

    PERFORMED = "T1"
    REFERRED = "T2"
    ASSIGNED = "T3"
    DEPARTMENT = "T4"
    SEEN_BEFORE = "T5"
    MADE_HERE = "T6"
    GLASS = "T7"
    MACHINE = "T8"


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why an access is as it should be."""

    template: Template
    text: str


@dataclass(frozen=True, slots=True)
class Access:
    """One person and one patient whose images they got.

    Attributes:
        person: Who.
        touched: The patient, and the studies that were opened.
        at: When.
        knowledge: What is known of the world.
        seen_before: When the same person last had a reason for this patient.
        glass_broken: When they last broke the glass, for this patient or for all.
        covering: Departments that stand in for others outside of office hours.
        studies: The opened ones, and those of the patient near them in time.
    """

    person: Person
    touched: Touched
    at: datetime
    knowledge: Knowledge
    seen_before: datetime | None = None
    glass_broken: datetime | None = None
    covering: frozenset[str] = frozenset()
    studies: tuple[StudyOf, ...] = ()


def studies_near(
    touched: Touched, at: datetime, knowledge: Knowledge
) -> tuple[StudyOf, ...]:
    """Return the studies that were opened, and the patient's others of these weeks."""
    opened = [
        study
        for uid in touched.studies[:STUDIES_MAX]
        if (study := knowledge.study(uid)) is not None
    ]
    patient = touched.patient or next((each.patient_id for each in opened), "")
    seen = {each.uid for each in opened}
    others = (
        each
        for each in knowledge.studies_of(patient)[-STUDIES_MAX:]
        if each.uid not in seen and _is_near(each.performed, at, RELATED)
    )
    return (*opened, *others)


def _is_near(moment: datetime | None, at: datetime, distance: timedelta) -> bool:
    return moment is not None and abs(at - moment) <= distance


def _performed(access: Access) -> bool:
    name = access.person.name
    return any(
        name in each.performing or name == each.origin for each in access.studies
    )


def _referred(access: Access) -> bool:
    return any(access.person.name in each.referring for each in access.studies)


def _assigned(access: Access) -> bool:
    return any(access.person.name in each.assigned for each in access.studies)


def _in_department(access: Access) -> bool:
    department = access.person.department
    if not department:
        return False
    for each in access.studies:
        if each.department == department and _is_near(
            each.performed, access.at, OWN_DEPARTMENT
        ):
            return True
    is_covering = department in access.covering and _is_off_hours(access.at)
    return any(
        stay.department == department or is_covering
        for stay in access.knowledge.stays(access.touched.patient)
        if stay.begins - BEFORE_STAY <= access.at <= stay.ends + AFTER_STAY
    )


def _is_off_hours(at: datetime) -> bool:
    return not DAY_BEGINS_H <= at.hour < DAY_ENDS_H or at.weekday() >= _SATURDAY


def _seen_before(access: Access) -> bool:
    return _is_near(access.seen_before, access.at, SEEN_BEFORE)


def _made_here(access: Access) -> bool:
    department = access.person.department
    if not department:
        return False
    return any(
        _is_near(study.performed, access.at, MADE_HERE)
        and any(
            maker is not None and maker.department == department
            for maker in _makers(study, access.knowledge)
        )
        for study in access.studies
    )


def _makers(study: StudyOf, knowledge: Knowledge) -> Iterator[Person | None]:
    if study.origin:
        yield knowledge.person(study.origin)
    for name in study.performing:
        yield knowledge.person(name)


def _by_glass(access: Access) -> bool:
    return _is_near(access.glass_broken, access.at, GLASS_OPEN)


def _by_machine(access: Access) -> bool:
    return access.person.kind != "person"


TEMPLATES: Final[tuple[tuple[Template, str, Callable[[Access], bool]], ...]] = (
    (Template.PERFORMED, "made or sent a study of this patient", _performed),
    (Template.REFERRED, "referred this patient for a study", _referred),
    (Template.ASSIGNED, "is to read a study of this patient", _assigned),
    (
        Template.DEPARTMENT,
        "the patient is or was lately in the care of their department",
        _in_department,
    ),
    (
        Template.SEEN_BEFORE,
        "had a reason for this patient in the last weeks",
        _seen_before,
    ),
    (Template.MADE_HERE, "their department made a study lately", _made_here),
    (Template.GLASS, "broke the glass, which is reviewed by itself", _by_glass),
    (
        Template.MACHINE,
        "a machine that does its work; it is judged by amount and by place",
        _by_machine,
    ),
)


def explain(access: Access) -> Explanation | None:
    """Return what explains an access; None if nothing does."""
    for template, text, holds in TEMPLATES:
        if holds(access):
            return Explanation(template, text)
    return None


def can_be_judged(access: Access) -> bool:
    """Whether enough is known for "nothing explains it" to mean something.

    A person without a department may still have referred or be assigned; a patient of
    whom neither a study nor a stay is known says nothing about anybody.
    """
    return any(
        each.department or each.referring or each.assigned or each.performing
        for each in access.studies
    ) or bool(access.knowledge.stays(access.touched.patient))
