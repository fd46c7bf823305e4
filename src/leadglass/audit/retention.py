"""How long records stay, and what must stay longer: policy and holds as values; pure.

45 CFR 164.316(b)(2)(i) asks that documentation be kept for six years; that logs are
part of it is the usual, careful reading. 45 CFR 164.528 lets a patient ask for six
years of disclosures. So nothing goes sooner, unless a setting with a dangerous name
says so.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil

from leadglass.audit.events import clip, mention_key, to_us
from leadglass.audit.search import KEY_BYTES
from leadglass.errors import BadData, Misconfigured

YEARS_MIN = 6
YEARS_MAX = 100
# Six of them are the 2,192 days that six calendar years have at most.
_DAYS_PER_YEAR = 365.25

REASON_CHARACTERS_MIN = 10
REASON_CHARACTERS_MAX = 500
# What a hold may name: PS3.5 §6.2 allows 64 characters, names of people are longer.
NAME_CHARACTERS_MAX = 256

# A node records its own start, its stop and each association. When nothing at all was
# recorded for a quarter, the node was off, or somebody set its clock forward to make
# records look old.
GAP_MAX = timedelta(days=92)


@dataclass(frozen=True, slots=True)
class Policy:
    """How long a record stays.

    Attributes:
        years: At least ``YEARS_MIN``.
        unsafe_years: Fewer than that, for a node without patients; 0: not used.

    Raises:
        Misconfigured: Either is out of range.
    """

    years: int = YEARS_MIN
    unsafe_years: int = 0

    def __post_init__(self) -> None:
        if not YEARS_MIN <= self.years <= YEARS_MAX:
            raise Misconfigured(f"retention.years: use {YEARS_MIN} to {YEARS_MAX}")
        if not 0 <= self.unsafe_years < YEARS_MIN:
            raise Misconfigured(
                f"retention.unsafe_years: use 1 to {YEARS_MIN - 1}, or 0 for none"
            )

    @property
    def days(self) -> int:
        """How many days a record stays at least."""
        return ceil((self.unsafe_years or self.years) * _DAYS_PER_YEAR)

    def cutoff(self, now: datetime) -> datetime:
        """Return the moment before which a record was recorded that may go."""
        return now - timedelta(days=self.days)


@dataclass(frozen=True, slots=True)
class Subject:
    """Which records a hold is about: all that fit everything it names.

    Attributes:
        since: Recorded at or after; with a zone.
        until: Recorded before; with a zone.
        patient: Mentions this Patient ID.
        study: Mentions this Study Instance UID.
        person: Mentions this person, device or program.

    Raises:
        BadData: It names nothing, or what cannot be.
    """

    since: datetime | None = None
    until: datetime | None = None
    patient: str | None = field(default=None, repr=False)
    study: str | None = field(default=None, repr=False)
    person: str | None = None

    def __post_init__(self) -> None:
        named = (self.patient, self.study, self.person)
        for moment in (self.since, self.until):
            if moment is not None and moment.tzinfo is None:
                raise BadData("a legal hold needs the zone of its times")
        if all(each is None for each in (self.since, self.until, *named)):
            raise BadData("a legal hold names a window, a patient, a study or a person")
        for each in named:
            if each is not None and not 0 < len(each) <= NAME_CHARACTERS_MAX:
                raise BadData(
                    f"a legal hold names with 1 to {NAME_CHARACTERS_MAX} characters"
                )
        window = (self.since, self.until)
        if None not in window and self.since >= self.until:  # type: ignore[operator]
            raise BadData("the window of a legal hold ends after it begins")

    @property
    def keys(self) -> frozenset[bytes]:
        """The search keys that a record has, if it is held."""
        named = (
            ("patient", self.patient),
            ("study", self.study),
            ("user", self.person),
        )
        return frozenset(
            mention_key(kind, clip(value)) for kind, value in named if value is not None
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Records that must stay, whatever their age, until somebody releases them.

    Attributes:
        id: What it is released by.
        subject: Which records.
        reason: Why.
        placed_by: Who placed it.
        placed_at: When.
        released_by: Who confirmed its release.
        released_at: When; None: it stands.
    """

    id: int
    subject: Subject
    reason: str
    placed_by: str
    placed_at: datetime
    released_by: str = ""
    released_at: datetime | None = None

    @property
    def is_standing(self) -> bool:
        """Whether it holds anything."""
        return self.released_at is None


class Holding:
    """Holds, ready to be asked about many records."""

    def __init__(self, holds: tuple[Hold, ...]) -> None:
        self._holds = [
            (
                each.id,
                None if each.subject.since is None else to_us(each.subject.since),
                None if each.subject.until is None else to_us(each.subject.until),
                each.subject.keys,
            )
            for each in holds
            if each.is_standing
        ]

    def __bool__(self) -> bool:
        return bool(self._holds)

    def of(self, wall_us: int, keys: bytes | None) -> frozenset[int]:
        """Return the holds that a record is under.

        Two values share a key once in 2^64; then a record stays that need not.

        Args:
            wall_us: When it was recorded.
            keys: Its search keys; None: it was erased, and only its time is left.
        """
        if not self._holds:
            return frozenset()
        has = {
            (keys or b"")[at : at + KEY_BYTES]
            for at in range(0, len(keys or b""), KEY_BYTES)
        }
        return frozenset(
            number
            for number, since, until, wanted in self._holds
            if (since is None or wall_us >= since)
            and (until is None or wall_us < until)
            and wanted <= has
        )


def check_reason(reason: str) -> str:
    """Return a reason as it is kept.

    Raises:
        BadData: It says nothing, or too much.
    """
    reason = reason.strip()
    if not REASON_CHARACTERS_MIN <= len(reason) <= REASON_CHARACTERS_MAX:
        raise BadData(
            f"reason: say why, in {REASON_CHARACTERS_MIN} to {REASON_CHARACTERS_MAX} "
            "characters, without naming a patient"
        )
    return reason
