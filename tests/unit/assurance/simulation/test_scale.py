"""The calendar of a simulation, and its limits."""

from datetime import UTC, date, datetime

import pytest

from leadglass.assurance.simulation.draft import DAY_S
from leadglass.assurance.simulation.scale import BEDS_MAX, DAYS_MAX, Scale
from leadglass.errors import BadData


@pytest.mark.parametrize(
    "wrong",
    [
        {"beds": 0},
        {"beds": BEDS_MAX + 1},
        {"days": 0},
        {"days": DAYS_MAX + 1},
        {"first": date(2026, 1, 6)},
    ],
)
def test_what_is_out_of_bounds_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(BadData):
        Scale(seed=1, **wrong)  # type: ignore[arg-type]


def test_days_begin_at_midnight() -> None:
    scale = Scale(seed=1)
    assert scale.moment(1.5 * DAY_S) == datetime(2026, 1, 6, 12, tzinfo=UTC)
    assert scale.date_of(7) == date(2026, 1, 12)


def test_offices_are_closed_on_holidays_and_at_weekends() -> None:
    scale = Scale(seed=1)
    open_days = [day for day in range(14) if scale.is_workday(day)]
    assert open_days == [0, 2, 3, 4, 7, 8, 9, 10, 11]  # the second day is a holiday


@pytest.mark.parametrize(("days", "begin"), [(10, 5), (28, 14), (400, 14)])
def test_attacks_wait_for_an_ordinary_time(days: int, begin: int) -> None:
    assert Scale(seed=1, days=days).attacks_begin_s == begin * DAY_S
