"""Rules of who looks at whom: R-01 to R-07, R-32 and R-34."""

from collections.abc import Callable
from datetime import date
from typing import Any, Final

from leadglass.assurance.finding import Severity
from leadglass.assurance.review.knowledge import Patient, Person
from leadglass.assurance.review.look import DAY_S, Feed, Hit, Look, Rule
from leadglass.assurance.review.memory import VALUES_MAX, robust_z
from leadglass.assurance.trails.fact import Kind, Reach, Touched

OPENING: Final = frozenset({Kind.VIEW, Kind.RETRIEVE, Kind.EXPORT})
REACHING: Final = OPENING | {Kind.QUERY}
# Parents and children are so many years apart; siblings share the address, or do not.
GENERATION_YEARS: Final = (16, 45)
_DAYS_OF_YEAR: Final = 365.25
# One is a question that came late; two on a day are a habit.
GONE_MIN: Final = 2
# A query with more answers was not for one of them.
MEANT_MAX: Final = 3
# Patients of yesterday that say how many people usually look at one.
_CROWDS_MAX: Final = 400
_CROWDS_MIN: Final = 30


def _first(look: Look, fits: Callable[[Person, Patient], bool]) -> tuple[Touched, ...]:
    """Return the unexplained patients that a test fits."""
    person, known = look.person, look.knowledge
    if person is None:
        return ()
    return tuple(
        each
        for each in look.unexplained
        if (patient := known.patient(each.patient)) is not None
        and fits(person, patient)
    )


def _told(found: tuple[Touched, ...], text: str) -> Hit | None:
    if not found:
        return None
    return Hit(text, tuple(each.patient for each in found))


def _of_today(look: Look, name: str, found: tuple[Touched, ...]) -> dict[str, int]:
    """Return the patients of a subject's day, and the facts that say so."""
    today: dict[str, Any] = look.memory.shelf(name).slot(look.subject, dict)
    if today.get("day") != look.day:
        today.update(day=look.day, patients={})
    patients: dict[str, int] = today["patients"]
    for each in found:
        if len(patients) < VALUES_MAX:
            patients.setdefault(each.patient, look.fact.number)
    return patients


def unexplained(look: Look, threshold: float) -> Hit | None:
    """R-01."""
    if not look.unexplained:
        return None
    patients = _of_today(look, "unexplained", look.unexplained)
    if len(patients) < threshold:
        return None
    return Hit(
        f"images of {len(patients)} patients were opened on this day without any "
        "relation to them",
        tuple(patients),
        facts=tuple(patients.values()),
    )


def own_record(look: Look, _threshold: float) -> Hit | None:
    """R-02."""
    person = look.person
    if person is None or not person.patient_id:
        return None
    for each in look.fact.touched:
        if each.patient == person.patient_id and _is_meant(look, each):
            return Hit("the record is that of who opened it", (each.patient,))
    return None


def _is_meant(look: Look, touched: Touched) -> bool:
    """Whether images were got, or a query was for this patient."""
    if touched.reach is Reach.IMAGES:
        return True
    return touched.reach is Reach.LISTED and len(look.fact.touched) <= MEANT_MAX


def same_name(look: Look, _threshold: float) -> Hit | None:
    """R-03."""
    return _told(
        _first(look, _is_family),
        "same surname, and the same address or a generation apart",
    )


def _is_family(person: Person, patient: Patient) -> bool:
    if not person.surname or person.surname != patient.surname:
        return False
    if person.patient_id == patient.patient_id:
        return False
    if person.address and person.address == patient.address:
        return True
    years = _years(person.born, patient.born)
    return GENERATION_YEARS[0] <= years <= GENERATION_YEARS[1]


def _years(one: date | None, other: date | None) -> float:
    if one is None or other is None:
        return 0.0
    return abs((one - other).days) / _DAYS_OF_YEAR


def colleague(look: Look, _threshold: float) -> Hit | None:
    """R-04."""
    return _told(
        _first(look, lambda a, b: b.is_staff and a.patient_id != b.patient_id),
        "the patient works here, and nothing explains the look",
    )


def flagged(look: Look, _threshold: float) -> Hit | None:
    """R-05."""
    return _told(
        _first(look, lambda _, patient: patient.is_flagged),
        "the patient is of public interest, and nothing explains the look",
    )


def neighbour(look: Look, _threshold: float) -> Hit | None:
    """R-06."""
    return _told(
        _first(
            look,
            lambda a, b: (
                bool(a.address) and a.address == b.address and a.surname != b.surname
            ),
        ),
        "person and patient live in the same street, and nothing explains the look",
    )


def long_gone(look: Look, threshold: float) -> Hit | None:
    """R-07."""
    now_s = look.now_s
    found = _first(
        look,
        lambda _, patient: (
            patient.last_seen is not None
            and now_s - patient.last_seen.timestamp() > threshold * DAY_S
        ),
    )
    if not found:
        return None
    patients = _of_today(look, "long_gone", found)
    if len(patients) < GONE_MIN:
        return None
    return Hit(
        f"{len(patients)} patients were not here for more than {threshold:g} days",
        tuple(patients),
        facts=tuple(patients.values()),
    )


def decoy(look: Look, _threshold: float) -> Hit | None:
    """R-32."""
    fact, titles = look.fact, look.settings.decoy_titles
    if titles and not titles.isdisjoint({fact.called, fact.destination}):
        return Hit("a decoy AE title was called, which no device has been told")
    for each in fact.touched:
        if _is_meant(look, each) and _is_decoy(look, each):
            return Hit("an invented patient was opened or asked for", (each.patient,))
    return None


def _is_decoy(look: Look, touched: Touched) -> bool:
    patient = look.knowledge.patient(touched.patient)
    if patient is not None and patient.is_canary:
        return True
    return any(
        study is not None and study.is_canary
        for study in map(look.knowledge.study, touched.studies)
    )


def crowd(look: Look, threshold: float) -> Hit | None:
    """R-34."""
    if look.is_machine:
        return None
    for each in look.opened[:MEANT_MAX]:
        people = _people_of(look, each.patient)
        usual = look.memory.shelf("crowds", 1).get("sizes") or []
        if (
            len(people) > threshold
            and len(usual) >= _CROWDS_MIN
            and robust_z(len(people), usual) > threshold
        ):
            return Hit(
                f"{len(people)} people opened this patient's images on one day",
                (each.patient,),
                subject=f"patient seen on {look.fact.time:%Y-%m-%d}",
                facts=tuple(people.values()),
            )
    return None


def _people_of(look: Look, patient: str) -> dict[str, int]:
    """Return who opened images of a patient today, and note how many it was before."""
    today = look.memory.shelf("today").slot(
        patient, lambda: {"day": look.day, "people": {}}
    )
    if today["day"] != look.day:
        sizes: list[int] = look.memory.shelf("crowds", 1).slot("sizes", list)
        sizes.append(len(today["people"]))
        del sizes[:-_CROWDS_MAX]
        today.update(day=look.day, people={})
    people: dict[str, int] = today["people"]
    if len(people) < VALUES_MAX:
        people.setdefault(look.subject, look.fact.number)
    return people


_ASK: Final = "Ask the person for the reason; look at what else they opened that day."
_KNOWN: Final = frozenset({Feed.STAFF, Feed.STUDIES})

RULES: Final = (
    Rule(
        id="R-01", title="Access that nothing explains", kinds=OPENING,
        check=unexplained, default=5, unit="patients a day",
        severity=Severity.MEDIUM, needs=_KNOWN,
        why="No order, reading list, ward, referral, earlier care or emergency "
        "explains why somebody opened images of these patients. One such look can be "
        "a favour to a colleague; several on a day are curiosity or worse.",
        remedy=_ASK,
    ),
    Rule(
        id="R-02", title="Own record opened", kinds=REACHING, check=own_record,
        severity=Severity.MEDIUM, needs=frozenset({Feed.STAFF}),
        why="Somebody opened or looked for their own images with the rights of their "
        "work. Most houses forbid it: patients get their images on another way.",
        remedy="Remind of the policy; check that nothing was changed or deleted.",
    ),
    Rule(
        id="R-03", title="Relative opened", kinds=OPENING, check=same_name,
        severity=Severity.MEDIUM, needs=_KNOWN | {Feed.PATIENTS},
        why="Person and patient have the same surname, and the same address or a "
        "generation between them; nothing explains the look.",
        remedy=_ASK,
    ),
    Rule(
        id="R-04", title="Colleague opened", kinds=OPENING, check=colleague,
        severity=Severity.MEDIUM, needs=_KNOWN | {Feed.PATIENTS},
        why="The patient works here too. Colleagues are looked up out of curiosity "
        "more often than anybody else.",
        remedy=_ASK,
    ),
    Rule(
        id="R-05", title="Patient of public interest opened", kinds=OPENING,
        check=flagged, severity=Severity.HIGH, needs=_KNOWN | {Feed.PATIENTS},
        why="The patient is marked as of public interest, and nothing explains the "
        "look. What is sold to the press begins like this.",
        remedy=_ASK + " Tell the privacy officer today.",
    ),
    Rule(
        id="R-06", title="Neighbour opened", kinds=OPENING, check=neighbour,
        severity=Severity.LOW, needs=_KNOWN | {Feed.PATIENTS},
        why="Person and patient live in the same street of the same postcode.",
        remedy=_ASK,
    ),
    Rule(
        id="R-07", title="Patient of long ago opened", kinds=OPENING,
        check=long_gone, default=180, unit="days",
        severity=Severity.LOW, needs=_KNOWN | {Feed.PATIENTS},
        why="The patient was discharged or died long ago, so that nobody treats them "
        "now. Teaching and quarrels at court are honest reasons.",
        remedy=_ASK,
    ),
    Rule(
        id="R-32", title="Decoy touched",
        kinds=REACHING | {Kind.ASSOCIATE, Kind.STORE, Kind.ECHO, Kind.DELETE},
        check=decoy, severity=Severity.CRITICAL, needs=frozenset({Feed.DECOYS}),
        why="Nobody has a reason to touch an invented patient or to know a decoy AE "
        "title: whoever does, goes through everything that there is.",
        remedy="Treat as an incident: find the source, block it, keep the record.",
    ),
    Rule(
        id="R-34", title="One patient opened by many", kinds=frozenset({Kind.VIEW}),
        check=crowd, default=10, unit="people a day, and deviations",
        severity=Severity.MEDIUM,
        why="Far more people than usual opened the images of one patient on a day, as "
        "happens when somebody is in the news.",
        remedy="Compare the people with the team that treats; mark the patient.",
    ),
)  # fmt: skip
