"""How large a simulation is, and its calendar."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from leadglass.assurance.simulation.draft import DAY_S
from leadglass.errors import BadData

BEDS_MIN: Final = 20
# Forty times the largest hospital; what is more is a mistake in a script.
BEDS_MAX: Final = 100_000
DAYS_MAX: Final = 20_000
# A Monday, so that weeks and rosters begin together.
FIRST_DAY: Final = date(2026, 1, 5)
# How long before the first day accounts and devices were already seen, now and then.
PAST_DAYS: Final = 120
# Days of the year without clinics, by month and day.
HOLIDAYS: Final = frozenset({(1, 1), (1, 6), (5, 1), (10, 3), (12, 25), (12, 26)})
SATURDAY: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """What is simulated.

    Attributes:
        seed: The same seed gives the same facts.
        beds: Size of the hospital.
        days: How long; attacks begin once rules have seen an ordinary week or two.
        first: The first day, a Monday; days are those of UTC.
        is_light: Ordinary views and transfers alone, for measuring with millions.
        begins: Midnight of the first day.
    """

    seed: int
    beds: int = 200
    days: int = 28
    first: date = FIRST_DAY
    is_light: bool = False
    begins: datetime = field(init=False)

    def __post_init__(self) -> None:
        if not BEDS_MIN <= self.beds <= BEDS_MAX:
            raise BadData(f"beds must be {BEDS_MIN} to {BEDS_MAX:,}")
        if not 1 <= self.days <= DAYS_MAX:
            raise BadData(f"days must be 1 to {DAYS_MAX:,}")
        if self.first.weekday():
            raise BadData("a simulation begins on a Monday")
        # Millions of moments are counted from it.
        midnight = datetime.combine(self.first, time(), UTC)
        object.__setattr__(self, "begins", midnight)

    def moment(self, at_s: float) -> datetime:
        """Return the time that is so many seconds after the beginning."""
        return self.begins + timedelta(seconds=at_s)

    def date_of(self, day: int) -> date:
        """Return the date of a day, counted from 0."""
        return self.first + timedelta(days=day)

    def is_workday(self, day: int) -> bool:
        """Whether offices and clinics are open."""
        on = self.date_of(day)
        return on.weekday() < SATURDAY and (on.month, on.day) not in HOLIDAYS

    @property
    def attacks_begin_s(self) -> float:
        """From when attacks happen: after half of the time, two weeks at most."""
        return min(14, self.days // 2) * DAY_S
