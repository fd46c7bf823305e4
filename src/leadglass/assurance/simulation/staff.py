"""Who works in the hospital, when, and at which screens."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Any, Final

from leadglass.assurance.review.knowledge import Person
from leadglass.assurance.simulation.chance import Weighted, stream
from leadglass.assurance.simulation.draft import DAY_S, HOUR_S
from leadglass.assurance.simulation.scale import Scale


@dataclass(frozen=True, slots=True)
class Department:
    """A department with beds.

    Attributes:
        name: Its name.
        share: Which part of all beds it has.
        stay_days: How long a patient stays, on average.
    """

    name: str
    share: float
    stay_days: float


EMERGENCY: Final = "emergency"
RADIOLOGY: Final = "radiology"
OUTSIDE: Final = "outside"
DEPARTMENTS: Final = (
    Department(EMERGENCY, 0.05, 0.5),
    Department("internal medicine", 0.22, 5.0),
    Department("surgery", 0.18, 5.0),
    Department("orthopaedics", 0.12, 5.0),
    Department("cardiology", 0.10, 4.0),
    Department("neurology", 0.09, 5.0),
    Department("paediatrics", 0.08, 3.0),
    Department("gynaecology", 0.08, 3.0),
    Department("oncology", 0.08, 4.0),
)


class Pattern(StrEnum):
    """How somebody's weeks look."""

    OFFICE = "office"  # workdays
    WARD = "ward"  # early, late and night weeks, weekends too
    DOCTOR = "doctor"  # workdays, and on call in turn
    NIGHTS = "nights"  # some nights, from home
    FREE = "free"  # outside: no roster that the hospital knows


@dataclass(frozen=True, slots=True)
class Post:
    """One kind of people of one department: how many, and how they work."""

    department: str
    role: str
    per_bed: float
    least: int
    pattern: Pattern

    def count(self, beds: float) -> int:
        """Return how many there are for so many beds."""
        return max(self.least, round(beds * self.per_bed))


_OF_WARDS: Final = (("physician", 0.28, 4, "doctor"), ("nurse", 0.55, 6, "ward"))
# Per bed of the whole house.
_OF_THE_HOUSE: Final = (
    Post(RADIOLOGY, "radiologist", 1 / 30, 5, Pattern.DOCTOR),
    Post(RADIOLOGY, "technologist", 1 / 18, 8, Pattern.WARD),
    Post(RADIOLOGY, "clerk", 1 / 80, 2, Pattern.OFFICE),
    Post("administration", "clerk", 1 / 60, 3, Pattern.OFFICE),
    Post("it", "administrator", 1 / 300, 3, Pattern.OFFICE),
    Post("it", "engineer", 1 / 300, 2, Pattern.OFFICE),
    Post("privacy", "privacy", 1 / 500, 2, Pattern.OFFICE),
    Post("research", "researcher", 1 / 200, 2, Pattern.OFFICE),
    Post(OUTSIDE, "referring", 1 / 8, 6, Pattern.FREE),
    Post(OUTSIDE, "teleradiologist", 1 / 200, 3, Pattern.NIGHTS),
)

# Hours of a shift, from midnight of the day on which it begins.
_DAY_H: Final = (7.5, 16.5)
_CALL_H: Final = (16.5, 31.5)
_WEEKEND_CALL_H: Final = (7.5, 31.5)
_OFFICE_H: Final = (8.0, 16.5)
_TURNS_H: Final = ((6.0, 14.5), (14.0, 22.5), (22.0, 30.5))
_NIGHT_H: Final = (20.0, 31.0)
_FREE_H: Final = (8.0, 18.0)
# When everything is open.
_OPEN_H: Final = {
    Pattern.DOCTOR: _DAY_H,
    Pattern.OFFICE: _OFFICE_H,
    Pattern.FREE: _FREE_H,
}
_DAYS_OF_WEEK: Final = 5
_CALL_EVERY: Final = 6
_NIGHTS_EVERY: Final = 3

# Weeks of leave, of all weeks.
LEAVE: Final = 0.09
# Of the staff, who are patients here as well.
STAFF_PATIENTS: Final = 0.3
# Who has left lately, and who has been away for months; some of each post always stay.
LEFT: Final = 0.03
AWAY: Final = 0.03
STAYING: Final = 3

_AGENTS: Final = ("Firefox", "Chrome", "Edge", "Safari")


@dataclass(frozen=True, slots=True)
class Member:
    """One of the staff.

    Attributes:
        person: What is known of them.
        role: The one that they work in.
        pattern: How their weeks look.
        turn: Which of the turns of their group they take.
        addresses: Screens of their department, their own first.
        home: Address that they have at home; "" for none that is let in.
        agent: Their browser.
        is_away: Whether nobody has seen them for months, though the account is open.
    """

    person: Person
    role: str
    pattern: Pattern
    turn: int
    addresses: tuple[str, ...]
    home: str
    agent: str
    is_away: bool = False

    @property
    def works(self) -> bool:
        """Whether they come to work in these days."""
        return self.person.left is None and not self.is_away

    @property
    def name(self) -> str:
        """The name that trails know."""
        return self.person.name

    def base(self, address: str) -> Mapping[str, Any]:
        """Return who, in fields of ``Fact``."""
        return {
            "who": self.person.name,
            "who_kind": "person",
            "address": address,
            "implementation": self.agent,
            "channel": "TLSv1.3",
        }


def posts(beds: int) -> Iterator[tuple[Post, int]]:
    """Yield every post with how many people it has."""
    for department in DEPARTMENTS:
        for role, per_bed, least, pattern in _OF_WARDS:
            post = Post(department.name, role, per_bed, least, Pattern(pattern))
            yield post, post.count(beds * department.share)
    for post in _OF_THE_HOUSE:
        yield post, post.count(beds)


def hire(scale: Scale, names: Weighted, homes: Weighted) -> tuple[Member, ...]:
    """Return everybody who works here, or did until lately."""
    chance = stream(scale.seed, "staff")
    networks: dict[str, int] = {}
    members: list[Member] = []
    for post, count in posts(scale.beds):
        network = networks.setdefault(post.department, 40 + len(networks))
        for turn in range(count):
            number = len(members)
            members.append(
                _member(scale, chance, post, turn, number, count, network, names, homes)
            )
    return tuple(members)


def _member(  # noqa: PLR0913, PLR0917 - drawn in this order, once
    scale: Scale,
    chance: random.Random,
    post: Post,
    turn: int,
    number: int,
    count: int,
    network: int,
    names: Weighted,
    homes: Weighted,
) -> Member:
    surname = names.draw(chance)
    is_patient = chance.random() < STAFF_PATIENTS
    fate = chance.random() if turn >= STAYING else 1.0
    if post.role == "nurse" and turn == STAYING and network % 2:
        fate = 0.0 if network % 4 == 1 else LEFT  # there is always somebody
    left = fate < LEFT
    person = Person(
        name=f"{surname}.{number}",
        department=post.department,
        roles=frozenset({post.role}),
        surname=surname,
        address=homes.draw(chance),
        patient_id=f"S{number:06d}" if is_patient else "",
        born=date(1960, 1, 1) + timedelta(days=chance.randrange(15_000)),
        left=scale.moment(-chance.uniform(5, 60) * DAY_S) if left else None,
        created=scale.moment(-chance.uniform(200, 3_000) * DAY_S),
    )
    if post.department == OUTSIDE:
        own = f"100.{64 + number % 60}.{number // 60 % 250}.{10 + number % 7}"
        screens: tuple[str, ...] = (own,)
    else:
        first = chance.randrange(max(4, count // 2))
        screens = tuple(
            f"10.{network}.{pc // 200}.{pc % 200 + 10}"
            for pc in (first, *range(max(4, min(count // 2, 30))))
        )
    agent = f"{chance.choice(_AGENTS)}/{chance.randrange(118, 142)}"
    home = f"100.{124 + number % 4}.{number // 4 % 250}.{20 + number % 9}"
    away = LEFT <= fate < LEFT + AWAY
    return Member(person, post.role, post.pattern, turn, screens, home, agent, away)


def week_of(scale: Scale, member: Member, week: int) -> list[tuple[float, float]]:
    """Return the shifts of somebody's week as the roster has them, in seconds."""
    if member.pattern is Pattern.FREE or not member.works:
        return []
    return hours_when_here(scale, member, week)


def hours_worked(scale: Scale, member: Member, week: int) -> list[tuple[float, float]]:
    """Return when somebody is really there before swaps; outside, as they like."""
    return hours_when_here(scale, member, week) if member.works else []


def hours_when_here(
    scale: Scale, member: Member, week: int
) -> list[tuple[float, float]]:
    """Return when somebody works in a week, if they are not away or gone by then."""
    if stream(scale.seed, "leave", member.name, week).random() < LEAVE:
        return []
    shifts = []
    for day in range(7 * week, 7 * week + 7):
        hours = _hours_of(scale, member, day)
        if hours is not None:
            start_s = day * DAY_S
            shifts.append((start_s + hours[0] * HOUR_S, start_s + hours[1] * HOUR_S))
    return shifts


def _hours_of(scale: Scale, member: Member, day: int) -> tuple[float, float] | None:
    """Return from when to when somebody works on a day, in hours."""
    turn, week, is_open = member.turn, day // 7, scale.is_workday(day)
    match member.pattern:
        case Pattern.WARD:
            works = (day + 3 * turn + 2 * week) % 7 < _DAYS_OF_WEEK
            if day % 7 == 0 and (week + turn) % 3 == 0:
                works = False  # comes home from a week of nights
            return _TURNS_H[(week + turn) % 3] if works else None
        case Pattern.NIGHTS:
            return _NIGHT_H if (day - turn) % _NIGHTS_EVERY == 0 else None
        case Pattern.DOCTOR if (day - turn) % _CALL_EVERY == 0:
            return _CALL_H if is_open else _WEEKEND_CALL_H
        case Pattern.DOCTOR if (day - 1 - turn) % _CALL_EVERY == 0:
            return None  # was up all night
    return _OPEN_H[member.pattern] if is_open else None
