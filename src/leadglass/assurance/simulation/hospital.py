"""The hospital: who is there, what stands there, and who is on duty now."""

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from leadglass.assurance.review.knowledge import Patient, Person, Shift, StudyOf
from leadglass.assurance.simulation import chance as chances
from leadglass.assurance.simulation.devices import Device, install, programs
from leadglass.assurance.simulation.draft import DAY_S, HOUR_S, MINUTE_S
from leadglass.assurance.simulation.patients import (
    Care,
    Case,
    Duty,
    Patients,
    weights_of,
)
from leadglass.assurance.simulation.scale import Scale
from leadglass.assurance.simulation.staff import (
    OUTSIDE,
    RADIOLOGY,
    Member,
    Pattern,
    hire,
    hours_worked,
    week_of,
)

Known = Person | Patient | StudyOf | Duty | Care
# Shifts that somebody else takes without the roster knowing.
SWAPPED: Final = 0.02
# Nurses who use the archive in a shift; everybody else does.
NURSES_AT_SCREENS: Final = 0.6
# Referrers outside who look something up on a day.
OUTSIDE_ACTIVE: Final = 0.5
_TRIES: Final = 6


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody at a screen, from when to when, in seconds."""

    member: Member
    begins_s: float
    ends_s: float
    base: Mapping[str, Any]

    def holds(self, at_s: float) -> bool:
        """Whether they are there."""
        return self.begins_s <= at_s < self.ends_s


class OnDuty:
    """Who is at a screen on one day."""

    def __init__(self, sessions: list[Session]) -> None:
        self.sessions = sessions
        self.groups: dict[tuple[str, str], list[Session]] = defaultdict(list)
        for each in sessions:
            self.groups[each.member.person.department, each.member.role].append(each)

    def at(
        self, chance: random.Random, department: str, role: str, at_s: float
    ) -> Session | None:
        """Return one of a department and role who is there now; None for nobody."""
        group = self.groups.get((department, role))
        if not group:
            return None
        for _ in range(_TRIES):
            session = group[int(chance.random() * len(group))]
            if session.begins_s <= at_s < session.ends_s:
                return session
        there = [each for each in group if each.holds(at_s)]
        return chance.choice(there) if there else None

    def of(self, name: str, at_s: float) -> Session | None:
        """Return the session of somebody by name, if they are there."""
        for each in self.sessions:
            if each.member.name == name and each.holds(at_s):
                return each
        return None


class Hospital:
    """Everything that stays: people, devices, patients that are remembered."""

    def __init__(self, scale: Scale) -> None:
        self.scale = scale
        names = chances.surnames(chances.stream(scale.seed, "surnames"))
        homes = chances.addresses(chances.stream(scale.seed, "homes"))
        self.members = hire(scale, names, homes)
        self.devices = list(install(scale))
        self.programs = programs(scale)
        self.use = weights_of(self.modalities)
        self.patients = Patients(scale, names, homes)
        self.by_name = {each.name: each for each in self.members}
        self.by_role: dict[str, list[Member]] = defaultdict(list)
        for each in self.members:
            if each.works:
                self.by_role[each.role].append(each)
        # Whose account was asleep, and is not any more.
        self.awake: set[str] = set()
        self._tonight: list[Session] = []
        self._week = -1
        self._hours: dict[str, dict[int, tuple[float, float]]] = {}

    @property
    def modalities(self) -> tuple[Device, ...]:
        """Devices that make images."""
        return tuple(each for each in self.devices if each.images)

    def replace(self, at: int, device: Device) -> None:
        """Put a changed device in the place of an old one."""
        self.devices[at] = device

    def asleep(self) -> list[Member]:
        """Return whose account nobody has used for months."""
        return [
            each
            for each in self.members
            if each.is_away and each.name not in self.awake
        ]

    def of_kind(self, kind: str) -> list[Device]:
        """Return the devices of one kind."""
        return [each for each in self.devices if each.kind == kind]

    def program(self, name: str) -> Device:
        """Return a program by name."""
        return next(each for each in self.programs if each.name == name)

    def founding(self) -> Iterator[Known]:
        """Yield what is known before the first day."""
        for member in self.members:
            yield member.person
        for device in (*self.devices, *self.programs):
            yield device.person
        doctors = self.by_role["physician"]
        cases = [
            *self.patients.earlier(self.modalities, doctors),
            *self.patients.of_staff(self.members),
            *self.patients.decoys(),
        ]
        for case in cases:
            if not case.exams:
                device = self.modalities[0]
                self.patients.add_earlier(case, case.last_s, device, doctors)
            yield case.patient
            for exam in case.exams:
                yield exam.known(self.scale)

    def roster(self, week: int) -> Iterator[Duty]:
        """Yield the roster of a week, as it is published."""
        for member in self.members:
            for begins_s, ends_s in week_of(self.scale, member, week):
                yield Duty(
                    member.name,
                    Shift(self.scale.moment(begins_s), self.scale.moment(ends_s)),
                )

    def on_duty(self, day: int) -> OnDuty:
        """Return who is there on a day, with those who still are from last night.

        Days are asked for in order.
        """
        chance = chances.stream(self.scale.seed, "duty", day)
        sessions: list[Session] = []
        for member in self.members:
            hours = self._today(member, day)
            if hours is None or not self._uses_screens(member, chance):
                continue
            really = self._swapped(member, day, chance)
            begins_s = hours[0] + chance.gauss(2, 6) * MINUTE_S
            late_s = chance.expovariate(1 / (15 * MINUTE_S))
            ends_s = hours[1] + min(late_s, 2 * HOUR_S)
            address = self._screen(really, chance)
            sessions.append(Session(really, begins_s, ends_s, really.base(address)))
        start_s, end_s = day * DAY_S, (day + 1) * DAY_S
        there = [each for each in self._tonight if each.ends_s > start_s] + sessions
        self._tonight = [each for each in there if each.ends_s > end_s]
        return OnDuty(there)

    def _today(self, member: Member, day: int) -> tuple[float, float] | None:
        week = day // 7
        if week != self._week:
            self._week = week
            self._hours = {
                each.name: {
                    int(shift[0] // DAY_S): shift
                    for shift in hours_worked(self.scale, each, week)
                }
                for each in self.members
            }
        return self._hours[member.name].get(day)

    @staticmethod
    def _uses_screens(member: Member, chance: random.Random) -> bool:
        if member.role == "nurse":
            return chance.random() < NURSES_AT_SCREENS
        if member.pattern is Pattern.FREE:
            return chance.random() < OUTSIDE_ACTIVE
        return True

    def _swapped(self, member: Member, day: int, chance: random.Random) -> Member:
        """Return who really comes; the roster does not know of swaps."""
        if member.person.department == OUTSIDE or chance.random() >= SWAPPED:
            return member
        others = [
            each
            for each in self.by_role[member.role]
            if each.person.department == member.person.department
            and each is not member
            and self._today(each, day) is None
        ]
        return chance.choice(others) if others else member

    @staticmethod
    def _screen(member: Member, chance: random.Random) -> str:
        screens = member.addresses
        return screens[0] if chance.random() < 0.6 else chance.choice(screens)

    def reader(
        self, on_duty: OnDuty, chance: random.Random, at_s: float
    ) -> Session | None:
        """Return who reads now: a radiologist here, at night sometimes one far away."""
        hour = at_s % DAY_S / HOUR_S
        if not 7 <= hour < 21 and chance.random() < 0.5:
            far = on_duty.at(chance, OUTSIDE, "teleradiologist", at_s)
            if far:
                return far
        return on_duty.at(chance, RADIOLOGY, "radiologist", at_s)

    def seen(self, case: Case, at_s: float) -> Patient:
        """Note that somebody is here again."""
        case.last_s = at_s
        case.patient = replace(case.patient, last_seen=self.scale.moment(at_s))
        return case.patient
