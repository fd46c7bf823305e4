"""Who works when."""

from itertools import pairwise

import pytest

from leadglass.assurance.simulation.draft import DAY_S, HOUR_S
from leadglass.assurance.simulation.hospital import Hospital
from leadglass.assurance.simulation.scale import Scale
from leadglass.assurance.simulation.staff import Member, Pattern, week_of

SCALE = Scale(seed=5, beds=60)
HOSPITAL = Hospital(SCALE)
WEEKS = 8


def shifts(member: Member) -> list[tuple[float, float]]:
    return [each for week in range(WEEKS) for each in week_of(SCALE, member, week)]


def of(pattern: Pattern) -> list[Member]:
    return [each for each in HOSPITAL.members if each.pattern is pattern and each.works]


def test_names_are_unique() -> None:
    names = [each.name for each in HOSPITAL.members]
    assert len(set(names)) == len(names)


def test_nobody_is_on_duty_twice_at_once() -> None:
    for member in HOSPITAL.members:
        for one, other in pairwise(shifts(member)):
            assert one[1] <= other[0], member


def test_wards_and_doctors_work_at_night_and_at_weekends() -> None:
    for pattern in (Pattern.WARD, Pattern.DOCTOR):
        every = [each for member in of(pattern) for each in shifts(member)]
        assert any(begins % DAY_S > 16 * HOUR_S for begins, _ in every)
        assert any(begins // DAY_S % 7 > 4 for begins, _ in every)


def test_offices_keep_their_hours() -> None:
    for member in of(Pattern.OFFICE):
        for begins, ends in shifts(member):
            assert SCALE.is_workday(int(begins // DAY_S))
            assert 8 <= begins % DAY_S / HOUR_S < ends % DAY_S / HOUR_S <= 17


def test_somebody_is_on_leave_sometimes() -> None:
    free = [
        (member, week)
        for member in of(Pattern.OFFICE)
        for week in range(40)
        if not week_of(SCALE, member, week)
    ]
    assert free


def test_who_has_left_or_is_away_has_no_shift() -> None:
    idle = [each for each in HOSPITAL.members if not each.works]
    assert idle
    assert not any(shifts(each) for each in idle)


@pytest.mark.parametrize("hour", [3, 11, 19])
def test_the_emergency_room_is_never_empty(hour: int) -> None:
    hospital = Hospital(SCALE)
    for day in range(10):
        on_duty = hospital.on_duty(day)
        at_s = day * DAY_S + hour * HOUR_S
        there = [each for each in on_duty.sessions if each.holds(at_s)]
        assert {each.member.person.department for each in there} >= {"radiology"} or (
            day == 0 and hour == 3  # nobody came before the first midnight
        )


def test_the_roster_does_not_know_who_swapped() -> None:
    hospital = Hospital(SCALE)
    swapped = 0
    for day in range(21):
        for session in hospital.on_duty(day).sessions:
            member = session.member
            if session.begins_s < day * DAY_S or member.pattern is Pattern.FREE:
                continue
            planned = week_of(SCALE, member, day // 7)
            swapped += not any(int(begins // DAY_S) == day for begins, _ in planned)
    assert swapped > 10
