"""Ordinary things that look odd, and those that no relation explains.

Rates are for each day of a hospital of 100 beds. They are guesses of what goes on,
taken before any rule was tried, and are not tuned for rules.
"""

import random
from collections.abc import Callable, Mapping
from typing import Final

from leadglass.assurance.simulation import acts
from leadglass.assurance.simulation.chance import happens
from leadglass.assurance.simulation.days import Days
from leadglass.assurance.simulation.draft import DAY_S, HOUR_S, MINUTE_S
from leadglass.assurance.simulation.hospital import Session
from leadglass.assurance.simulation.patients import Case, Exam
from leadglass.assurance.simulation.staff import DEPARTMENTS, EMERGENCY, RADIOLOGY
from leadglass.assurance.trails.fact import Ending, Kind

_WARDS: Final = tuple(each.name for each in DEPARTMENTS)
LATE_REVIEW: Final = 0.03
NAMELESS: Final = {"anonymized": "True"}


def _anybody(days: Days, role: str, at_s: float) -> Session | None:
    """Return somebody of any ward who is there."""
    for _ in range(4):
        found = days.on_duty.at(days.chance, days.chance.choice(_WARDS), role, at_s)
        if found:
            return found
    return None


def _stranger(days: Days) -> tuple[Case, Exam] | None:
    """Return a patient who was here lately, and a study."""
    case = days.hospital.patients.again(days.chance)
    return (case, days.chance.choice(case.exams)) if case and case.exams else None


def _ask_a_colleague(days: Days) -> None:
    """A doctor looks at a patient of another ward since a colleague asks."""
    at_s = days.moment(8, 20)
    session, found = _anybody(days, "physician", at_s), _stranger(days)
    if session and found:
        days.search_and_show(session, *found, at_s)


def _second_opinion(days: Days) -> None:
    """A radiologist compares with studies that are not theirs, some of them old."""
    at_s = days.moment(8, 17)
    session = days.on_duty.at(days.chance, RADIOLOGY, "radiologist", at_s)
    found = _stranger(days)
    if session and found:
        days.search_and_show(session, *found, at_s)


def _teaching(days: Days) -> None:
    """A radiologist looks for examples: some old studies after another."""
    at_s = days.moment(11, 17)
    session = days.on_duty.at(days.chance, RADIOLOGY, "radiologist", at_s)
    if session and days.hospital.patients.old:
        for _ in range(days.chance.randint(2, 6)):
            case = days.chance.choice(days.hospital.patients.old)
            days.show(session, case.exams[-1], at_s)
            at_s += days.chance.uniform(40, 300)


def _wrong_patient(days: Days) -> None:
    """Somebody opens the namesake, sees it, and closes it again."""
    at_s = days.moment(7, 22)
    session = _anybody(days, days.chance.choice(("physician", "nurse")), at_s)
    found = _stranger(days)
    if session and found:
        exam = found[1]
        days.out.append(acts.view(at_s, session.base, exam))
        days.out.append(acts.shown(at_s + 6, session.base, exam, 1))


def _conference(days: Days) -> None:
    """Doctors of several wards look at the same patients before they meet."""
    begins_s = days.moment(13, 14)
    found = [each for each in (_stranger(days) for _ in range(5)) if each]
    for _ in range(4):
        at_s = begins_s - days.chance.uniform(0.2, 3) * HOUR_S
        session = _anybody(days, "physician", at_s)
        for case, exam in found:
            if session and case.department:
                days.show(session, exam, at_s)
                at_s += days.chance.uniform(40, 200)


def _from_home(days: Days) -> None:
    """A doctor looks after patients of the own ward from home, in the evening."""
    department = days.chance.choice(DEPARTMENTS).name
    ward = [case for case in days.wards[department] if case.exams]
    doctors = [
        each
        for each in days.hospital.by_role["physician"]
        if each.person.department == department
    ]
    if not ward or not doctors:
        return
    member, at_s = days.chance.choice(doctors), days.moment(18.5, 23)
    if days.on_duty.of(member.name, at_s) or days.on_duty.of(
        member.name, at_s - 1.5 * HOUR_S
    ):
        return  # is here, or on the way
    base = member.base(member.home)
    days.out.append(acts.login(at_s - 40, base))
    for case in days.chance.sample(ward, min(3, len(ward))):
        exam = case.exams[-1]
        days.out.append(acts.view(at_s, base, exam))
        days.out.append(acts.shown(at_s + 60, base, exam, min(3, exam.images)))
        at_s += days.chance.uniform(90, 400)


def _colleague_in_care(days: Days) -> None:
    """Somebody of the staff is here as a patient and is treated like any other."""
    if days.hospital.patients.staff:
        case, at_s = (
            days.chance.choice(days.hospital.patients.staff),
            days.moment(8, 14),
        )
        department = days.chance.choice(_WARDS)
        days.news.append(days.hospital.seen(case, at_s))
        days.care(case, department, at_s, at_s + 6 * HOUR_S)
        days.examine(case, department, at_s + HOUR_S)


def _desk(days: Days) -> None:
    """The desk looks up somebody who phones, by name."""
    at_s = days.moment(8, 16)
    department = days.chance.choice((RADIOLOGY, "administration"))
    session = days.on_duty.at(days.chance, department, "clerk", at_s)
    found = [days.hospital.patients.again(days.chance) for _ in range(4)]
    named = [each for each in found if each]
    if session and named:
        some = named[: days.chance.randint(1, 4)]
        days.out.append(acts.query(at_s, session.base, some, acts.BY_NAME))


def _disc(days: Days) -> None:
    """The desk burns a disc for a patient, who goes home with it."""
    at_s = days.moment(9, 16.3)
    session = days.on_duty.at(days.chance, RADIOLOGY, "clerk", at_s)
    if session and days.today:
        case, exam = days.chance.choice(days.today)
        if exam.performed_s + HOUR_S < at_s:
            days.out.append(acts.query(at_s - 30, session.base, [case], acts.BY_ID))
            days.out.append(acts.export(at_s, session.base, exam, "disc"))


def _link(days: Days) -> None:
    """The desk shares a link with a patient, who opens it at home."""
    chance, at_s = days.chance, days.moment(9, 16)
    session = days.on_duty.at(chance, RADIOLOGY, "clerk", at_s)
    if session and days.today:
        exam = chance.choice(days.today)[1]
        days.out.append(acts.export(at_s, session.base, exam, "link"))
        opened_s = at_s + chance.expovariate(1 / (5 * HOUR_S)) + 60
        base = acts.by_link(home_of(chance))
        days.out.append(acts.view(min(opened_s, at_s + DAY_S), base, exam))


def home_of(chance: random.Random) -> str:
    """Return the address of a patient at home, by one of the region's providers."""
    return f"100.{64 + chance.randrange(60)}.{chance.randrange(250)}.7"


def _slides(days: Days) -> None:
    """A doctor downloads a study of the own ward for a talk."""
    at_s, department = days.moment(12, 18), days.chance.choice(_WARDS)
    session = days.on_duty.at(days.chance, department, "physician", at_s)
    ward = [case for case in days.wards[department] if case.exams]
    if session and ward:
        exam = days.chance.choice(ward).exams[-1]
        days.out.append(acts.view(at_s - 90, session.base, exam))
        days.out.append(acts.export(at_s, session.base, exam, "download"))


def _broken_glass(days: Days) -> None:
    """A doctor of the emergency room needs what is not theirs; it is reviewed."""
    at_s = days.moment(0, 23)
    session = days.on_duty.at(days.chance, EMERGENCY, "physician", at_s)
    found = _stranger(days)
    if not session or not found:
        return
    chance, base, (case, exam) = days.chance, session.base, found
    glass = {"glass": str(chance.getrandbits(40))}
    touched = acts.came(exam)
    days.out.append(acts.about(at_s, Kind.GLASS_BROKEN, base, exam, details=glass))
    for each in list(case.exams)[-2:]:
        days.show(session, each, at_s + chance.uniform(20, 300))
    days.out.append(
        acts.about(at_s + HOUR_S, Kind.GLASS_OVER, base, exam, details=glass)
    )
    late = chance.random() < LATE_REVIEW
    wait_s = chance.uniform(25, 40) if late else chance.uniform(1, 22)
    officer = chance.choice(days.hospital.by_role["privacy"])
    days.out.append(
        acts.about(
            at_s + wait_s * HOUR_S,
            Kind.GLASS_REVIEWED,
            officer.base(officer.addresses[0]),
            None,
            touched=touched,
            details=glass | {"person": session.member.name},
        )
    )


def _outage(days: Days) -> None:
    """A switch is down: transfers break off and are tried again, until they work."""
    chance, at_s = days.chance, days.moment(0, 23)
    for _ in range(chance.randint(1, 4)):
        station = chance.choice(days.hospital.of_kind("read"))
        found = _stranger(days)
        if not found:
            return
        exam, base, again_s = found[1], station.base, at_s + chance.uniform(0, 300)
        for attempt in range(chance.randint(1, 2)):
            left = int(exam.images * chance.random() * 0.9)
            at = again_s + attempt * 70
            args = (base, exam, "C-MOVE", station.ae_title)
            days.out.append(acts.retrieve(at, *args))
            days.out.append(acts.transferred(at + 31, *args, left=left))
        at = again_s + 10 * MINUTE_S
        days.out.append(acts.retrieve(at, *args))
        days.out.append(acts.transferred(at + 20, *args))


def _typing_error(days: Days) -> None:
    """A new device, or a changed one, calls itself something else at first."""
    device, at_s = days.chance.choice(days.hospital.modalities), days.moment(7, 18)
    why = "unknown calling AE title"
    for attempt in range(days.chance.randint(1, 3)):
        base = {**device.base, "ae_title": f"{device.ae_title[:3]}{attempt + 1}"}
        days.out.append(acts.refused_association(at_s + 40 * attempt, base, why))


def _late_images(days: Days) -> None:
    """A device sends a reconstruction of a study that was read already."""
    found = days.chance.choice(days.today) if days.today else None
    if found:
        exam = found[1]
        device = _device(days, exam.device)
        at_s = exam.reported_s + days.chance.uniform(0.1, 3) * HOUR_S
        days.out.append(acts.store(at_s, device, exam, max(1, exam.images // 3)))


def _sent_twice(days: Days) -> None:
    """A device corrects a header and sends again: other bytes under a known UID."""
    found = days.chance.choice(days.today) if days.today else None
    if found and found[1].reported_s > found[1].performed_s + 40 * MINUTE_S:
        exam = found[1]
        at_s = exam.performed_s + 30 * MINUTE_S
        device = _device(days, exam.device)
        days.out.append(
            acts.about(
                at_s, Kind.CONFLICT, device, exam,
                instances=1, service="C-STORE", ending=Ending.MINOR_FAILURE,
            )
        )  # fmt: skip


def _device(days: Days, name: str) -> acts.Base:
    return next(each.base for each in days.hospital.devices if each.name == name)


def _deleted(days: Days) -> None:
    """A study under the wrong name is deleted, and taken again."""
    at_s = days.moment(8, 16)
    session = days.on_duty.at(days.chance, "it", "administrator", at_s)
    if session and days.today:
        exam = days.chance.choice(days.today)[1]
        if exam.performed_s + HOUR_S / 2 < at_s:
            days.out.append(
                acts.about(
                    at_s, Kind.DELETE, session.base, exam,
                    instances=exam.images, details={"reason": "wrong patient"},
                )
            )  # fmt: skip


def _broken_object(days: Days) -> None:
    """A device sends what cannot be read."""
    device = days.chance.choice(days.hospital.modalities)
    days.out.append(
        acts.about(
            days.moment(7, 19), Kind.GATE, device.base, None,
            what="cannot be decoded", ending=Ending.MINOR_FAILURE,
        )
    )  # fmt: skip


def _refused(days: Days) -> None:
    """Somebody asks for what their role does not reach, and is told so."""
    at_s = days.moment(7, 19)
    session, found = _anybody(days, "nurse", at_s), _stranger(days)
    if session and found:
        days.out.append(
            acts.about(
                at_s, Kind.REFUSED, session.base, found[1],
                ending=Ending.MINOR_FAILURE, details={"right": "export"},
            )
        )  # fmt: skip


def _back_again(days: Days) -> None:
    """Somebody is back after months: a child was born, or a year was spent abroad."""
    away = days.hospital.asleep()
    if away:
        member, at_s = days.chance.choice(away), days.moment(8, 9)
        base = member.base(member.addresses[0])
        days.hospital.awake.add(member.name)
        days.out.append(acts.login(at_s, base))
        days.out.append(acts.logout(at_s + HOUR_S, base))


def _research(days: Days) -> None:
    """The research program takes a cohort of a project, without identities."""
    program = days.hospital.program("research-pipeline")
    at_s = days.start_s + 2 * HOUR_S
    for _ in range(days.chance.randint(5, 20)):
        found = _stranger(days)
        if found:
            days.out.append(
                acts.export(
                    at_s, program.base, found[1], "research",
                    details=NAMELESS,
                )
            )  # fmt: skip
            at_s += days.chance.uniform(20, 60)


# On a day for each 100 beds; the months before the first day have these as well
# (``house.past``).
DISCS: Final = 4.0
LINKS: Final = 1.0
DOWNLOADS: Final = 0.3
COHORTS: Final = 0.1
FROM_HOME: Final = 0.8
# What, and how often on a day for each 100 beds.
ODD: Final[Mapping[Callable[[Days], None], float]] = {
    _ask_a_colleague: 2.0,
    _second_opinion: 1.0,
    _teaching: 0.15,
    _wrong_patient: 1.0,
    _conference: 0.15,
    _from_home: FROM_HOME,
    _colleague_in_care: 0.5,
    _desk: 8.0,
    _disc: DISCS,
    _link: LINKS,
    _slides: DOWNLOADS,
    _broken_glass: 0.4,
    _outage: 0.1,
    _typing_error: 0.05,
    _late_images: 0.4,
    _sent_twice: 0.05,
    _deleted: 0.1,
    _broken_object: 0.05,
    _refused: 0.5,
    _research: COHORTS,
    _back_again: 0.01,
}


def make(days: Days) -> None:
    """Put what is odd into the day that was made."""
    for what, rate in ODD.items():
        for _ in range(happens(days.chance, rate * days.scale.beds / 100)):
            what(days)


# Longest that something of a day may reach into later ones.
REACH_S: Final = 2 * DAY_S
