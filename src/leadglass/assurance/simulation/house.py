"""What keeps the house going: log-ins, programs at night, changes, upgrades."""

import random
from bisect import bisect
from collections.abc import Iterator
from dataclasses import replace
from math import floor
from typing import Final

from leadglass.assurance.simulation import acts, noise
from leadglass.assurance.simulation.chance import fingerprint, happens, stream
from leadglass.assurance.simulation.days import Days
from leadglass.assurance.simulation.draft import DAY_S, HOUR_S, MINUTE_S, Draft
from leadglass.assurance.simulation.hospital import Hospital, Session
from leadglass.assurance.simulation.scale import PAST_DAYS
from leadglass.assurance.simulation.staff import RADIOLOGY, hours_when_here
from leadglass.assurance.trails.fact import Kind

# Of log-ins: mistyped once, several times; ended without a word.
MISTYPED: Final = 0.05
MISTYPED_OFTEN: Final = 0.004
NOT_ENDED: Final = 0.25
# Once in so many days each account and device shows up before the first day.
SEEN_EVERY_DAYS: Final = 12
# The window for changes: Tuesday and Thursday evening, by hour of the day.
WINDOW_DAYS: Final = frozenset({1, 3})
WINDOW_H: Final = (18.0, 21.0)
# Who is away was seen in the first days of the past, and not since.
AWAY_SINCE_DAYS: Final = 15
PIPELINE: Final = "research-pipeline"
ECHO_EVERY_S: Final = 600.0
_PLANNED: Final = ("configuration changed", "rules changed", "device changed")
_DESK_WORK: Final = ("user added", "user unlocked", "user's password changed")


def make(days: Days, day: int) -> None:
    """Put the work of the house into the day that was made."""
    for session in days.on_duty.sessions:
        if days.start_s <= session.begins_s:
            _log_in(days, session)
    _programs(days)
    _monitor(days)
    _window(days, day)
    _accounts(days, day)
    _devices(days)
    if days.scale.date_of(day).weekday() == 0:
        _privacy(days, is_monthly=day % 28 == 0)
    if day % 28 == 15:
        _upgrade(days)


def _log_in(days: Days, session: Session) -> None:
    chance, base = days.chance, session.base
    begins = [session.begins_s]
    begins += [
        chance.uniform(session.begins_s + HOUR_S, session.ends_s)
        for _ in range(happens(chance, 0.8))
    ]
    for at_s in begins:
        wrong = 0
        if chance.random() < MISTYPED:
            wrong = 1 + happens(chance, 0.2)
        if chance.random() < MISTYPED_OFTEN:
            wrong = chance.randint(4, 6)
        for number in range(wrong, 0, -1):
            days.out.append(acts.login_failed(at_s - 11 * number, base))
        days.out.append(acts.login(at_s, base))
    if chance.random() > NOT_ENDED:
        days.out.append(acts.logout(session.ends_s, base))


def _programs(days: Days) -> None:
    """Copy what came, and compare who is who, as programs do each night."""
    copy = days.hospital.program("archive-copy")
    system = days.hospital.program("ris")
    at_s = days.start_s + 22 * HOUR_S
    for case, exam in list(days.today):
        asked_s = max(days.start_s, exam.performed_s - HOUR_S)
        days.out.append(
            acts.query(asked_s, system.base, [case], acts.BY_ID, service="QIDO-RS")
        )
        if exam.performed_s < at_s - HOUR_S:
            days.out.append(acts.retrieve(at_s, copy.base, exam, "WADO-RS"))
            days.out.append(acts.transferred(at_s + 4, copy.base, exam, "WADO-RS"))
            at_s += 5
    everybody = [case for case, _ in days.today]
    by_date = acts.query(
        at_s + HOUR_S, system.base, everybody, acts.BY_DATE, service="QIDO-RS"
    )
    days.out.append(by_date)


def _monitor(days: Days) -> None:
    for device in days.hospital.of_kind("monitor"):
        for number in range(int(DAY_S / ECHO_EVERY_S)):
            at_s = days.start_s + number * ECHO_EVERY_S + days.chance.random()
            days.out.append(acts.echo(at_s, device.base))


def _window(days: Days, day: int) -> None:
    """Change what is planned to be changed, when it is planned."""
    if days.scale.date_of(day).weekday() not in WINDOW_DAYS:
        return
    for _ in range(happens(days.chance, 1.0)):
        member = days.chance.choice(days.hospital.by_role["administrator"])
        at_s = days.moment(*WINDOW_H)
        base = member.base(member.addresses[0])
        days.out.append(acts.login(at_s - 2 * MINUTE_S, base))
        days.out.append(acts.change(at_s, base, days.chance.choice(_PLANNED)))


def _accounts(days: Days, day: int) -> None:
    """Add people and help those who forgot their password: whenever they come."""
    if not days.scale.is_workday(day):
        return
    for _ in range(happens(days.chance, 0.3 + days.scale.beds / 400)):
        at_s = days.moment(8, 16)
        session = days.on_duty.at(days.chance, "it", "administrator", at_s)
        if session:
            days.out.append(
                acts.change(at_s, session.base, days.chance.choice(_DESK_WORK))
            )


def _devices(days: Days) -> None:
    """Renew a certificate, or get a new version from the maker, who tells nobody."""
    chance, hospital = days.chance, days.hospital
    many = len(hospital.devices)
    for number in range(happens(chance, many / 365)):
        at = chance.randrange(many)
        device = hospital.devices[at]
        at_s = days.moment(8, 16)
        session = days.on_duty.at(chance, "it", "administrator", at_s)
        if session is None or not device.base["certificate"]:
            continue
        mark = fingerprint(days.scale.seed, device.name, days.start_s, number)
        days.out.append(
            acts.change(
                at_s, session.base, "device renewed",
                device=device.name, certificate=mark,
            )
        )  # fmt: skip
        hospital.replace(at, replace(device, base={**device.base, "certificate": mark}))
    for _ in range(happens(chance, many / 500)):
        at = chance.randrange(many)
        device = hospital.devices[at]
        version = f"{device.base['implementation']}.{chance.randrange(9)}"
        hospital.replace(
            at, replace(device, base={**device.base, "implementation": version})
        )


def _privacy(days: Days, *, is_monthly: bool) -> None:
    """Read the record once a week, as somebody is appointed to do, and keep a copy."""
    officer = days.chance.choice(days.hospital.by_role["privacy"])
    at_s, base = days.moment(9, 15), officer.base(officer.addresses[0])
    days.out.append(acts.login(at_s - 60, base))
    for number in range(5):
        what = "export" if is_monthly and number == 0 else "list"
        days.out.append(
            acts.about(at_s + 90 * number, Kind.AUDIT_READ, base, None, what=what)
        )


def _upgrade(days: Days) -> None:
    """Stop and start the node in the window for changes."""
    at_s = days.start_s + 19 * HOUR_S
    node = {"who": "leadglass", "who_kind": "program", "channel": "local"}
    days.out.append(Draft(at_s, Kind.STOP, node, {"what": "upgrade"}))
    days.out.append(Draft(at_s + 40, Kind.START, node, {}))


def past(hospital: Hospital) -> Iterator[Draft]:
    """Yield the little that is kept of the months before, in order.

    Who was seen now and then tells an account that slept from one that is used. What
    is rare (discs, links, downloads, cohorts) is there as often as later.
    """
    chance = stream(hospital.scale.seed, "past")
    drafts = [
        *_seen_people(hospital, chance),
        *_from_home(hospital, chance),
        *_seen_devices(hospital, chance),
        *_left_before(hospital, chance),
    ]
    return iter(sorted(drafts, key=lambda each: each.at_s))


def _now_and_then(chance: random.Random) -> Iterator[float]:
    """Yield days before the first one on which somebody was there."""
    day = -PAST_DAYS + chance.uniform(0, SEEN_EVERY_DAYS)
    while day < 0:
        yield day
        day += chance.uniform(0.5, 1.5) * SEEN_EVERY_DAYS


def _seen_people(hospital: Hospital, chance: random.Random) -> Iterator[Draft]:
    """Yield log-ins, now and then, within a shift of that week."""
    scale = hospital.scale
    for member in hospital.members:
        left = member.person.left
        for day in _now_and_then(chance):
            if member.is_away and day > AWAY_SINCE_DAYS - PAST_DAYS:
                break
            worked = hours_when_here(scale, member, floor(day / 7))
            if not worked:
                continue  # on leave
            at_s = min(chance.uniform(*chance.choice(worked)), -1.0)
            if left is None or scale.moment(at_s) < left:
                yield acts.login(at_s, member.base(member.addresses[0]))


def _from_home(hospital: Hospital, chance: random.Random) -> Iterator[Draft]:
    """Yield log-ins of doctors in the evening, as often as later."""
    doctors = hospital.by_role["physician"]
    for day in range(-PAST_DAYS, 0):
        for _ in range(happens(chance, noise.FROM_HOME * hospital.scale.beds / 100)):
            member = chance.choice(doctors)
            at_s = day * DAY_S + chance.uniform(18.5, 23) * HOUR_S
            yield acts.login(at_s, member.base(member.home))


def _seen_devices(hospital: Hospital, chance: random.Random) -> Iterator[Draft]:
    for device in (*hospital.devices, *hospital.programs):
        for day in _now_and_then(chance):
            yield acts.associate(day * DAY_S, device.base)
            if device.kind == "read":
                exam = chance.choice(hospital.patients.old).exams[0]
                words = (device.base, exam, "C-MOVE", device.ae_title)
                yield acts.retrieve(day * DAY_S + 2, *words)
                yield acts.transferred(day * DAY_S + 20, *words)


def _left_before(hospital: Hospital, chance: random.Random) -> Iterator[Draft]:
    """Yield what left the house, as often as it does later."""
    cases = sorted(hospital.patients.remembered, key=lambda each: each.last_s)
    times = [each.last_s for each in cases]
    clerks = [
        each
        for each in hospital.by_role["clerk"]
        if each.person.department == RADIOLOGY
    ]
    doctors, program = hospital.by_role["physician"], hospital.program(PIPELINE)
    kinds = (
        (noise.DISCS, clerks, "disc"),
        (noise.LINKS, clerks, "link"),
        (noise.DOWNLOADS, doctors, "download"),
    )
    for day in range(-PAST_DAYS, 0):
        if not hospital.scale.is_workday(day):
            continue
        for rate, members, destination in kinds:
            for _ in range(happens(chance, rate * hospital.scale.beds / 100)):
                at_s = day * DAY_S + chance.uniform(8.5, 15.5) * HOUR_S
                exam = cases[max(0, bisect(times, at_s - DAY_S / 2) - 1)].exams[0]
                member = chance.choice(members)
                base = member.base(member.addresses[0])
                yield acts.export(at_s, base, exam, destination)
                if destination == "link":
                    opener = acts.by_link(noise.home_of(chance))
                    yield acts.view(at_s + chance.uniform(60, DAY_S / 3), opener, exam)
        for _ in range(happens(chance, noise.COHORTS * hospital.scale.beds / 100)):
            for number in range(chance.randint(5, 20)):
                at_s = day * DAY_S + 2 * HOUR_S + 40 * number
                exam = chance.choice(hospital.patients.old).exams[0]
                yield acts.export(
                    at_s, program.base, exam, "research", details=noise.NAMELESS
                )
