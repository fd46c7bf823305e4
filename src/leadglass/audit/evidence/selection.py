"""Which records evidence is about, and where they stand."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from leadglass.audit import tables
from leadglass.audit.events import clip, to_us
from leadglass.audit.evidence.multiproof import Run, runs_of
from leadglass.audit.search import Search, search_records
from leadglass.errors import BadData, NotFound

# As many numbers as somebody names; a window takes as many as there are.
NUMBERS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Selection:
    """What is asked for.

    Attributes:
        patient: Records that name this Patient ID are opened, and no others.
        window: Since and until, with a zone: all records recorded then are shown, so
            that none can be left out; without a patient they are all opened.
        numbers: These records.
        without_others: Records that name another patient are shown closed.
    """

    patient: str | None = field(default=None, repr=False)
    window: tuple[datetime, datetime] | None = None
    numbers: tuple[int, ...] = ()
    without_others: bool = False

    def __post_init__(self) -> None:
        if bool(self.numbers) == (self.patient is not None or self.window is not None):
            raise BadData(
                "evidence is of numbers, or of a patient, a window of time or both"
            )
        if len(self.numbers) > NUMBERS_MAX:
            raise BadData(f"at most {NUMBERS_MAX} numbers")
        if self.window is not None and self.window[0] >= self.window[1]:
            raise BadData("a window of time ends after it begins")
        if self.patient is not None and not self.patient:
            raise BadData("a Patient ID is not empty")

    def members(self) -> dict[str, Any]:
        """Return what the manifest says of it."""
        return {
            "numbers": list(self.numbers) or None,
            "patient": None if self.patient is None else clip(self.patient),
            "window": self.window_us,
            "without_others": self.without_others,
        }

    @property
    def window_us(self) -> tuple[int, int] | None:
        """The window in microseconds since 1970 UTC."""
        if self.window is None:
            return None
        return to_us(self.window[0]), to_us(self.window[1])


@dataclass(frozen=True, slots=True)
class Place:
    """Where the records stand that evidence is about.

    Attributes:
        size: Records of the log when it was looked.
        note: The checkpoint that signs them.
        runs: What is shown, in order.
        opened: What is opened, unless it is closed for another patient's sake.
    """

    size: int
    note: str
    runs: tuple[Run, ...]
    opened: frozenset[int]


def place_of(
    connection: Connection, selection: Selection, size: int, note: str, own: str
) -> Place:
    """Find the records.

    Raises:
        NotFound: A number is of no record, or no record names the patient.
    """
    if selection.numbers:
        if not all(0 <= n < size for n in selection.numbers):
            raise NotFound("there is no such audit record")
        return Place(
            size, note, tuple(runs_of(selection.numbers)), frozenset(selection.numbers)
        )
    since, until = selection.window or (None, None)
    search = Search(since=since, until=until, patient=selection.patient)
    opened = [each.n for each in search_records(connection, search, size, own)]
    if selection.window is None:
        if not opened:
            raise NotFound("no audit record names this patient")
        return Place(size, note, tuple(runs_of(opened)), frozenset(opened))
    within: Sequence[int] = opened
    if selection.patient is not None:
        search = Search(since=since, until=until)
        within = [each.n for each in search_records(connection, search, size, own)]
    run = _around(connection, selection, size, within)
    return Place(size, note, (run,) if size else (), frozenset(opened))


def _around(
    connection: Connection, selection: Selection, size: int, within: Sequence[int]
) -> Run:
    """Return the run from the last record before a window to the first after it."""
    window = selection.window_us
    assert window is not None
    c = tables.record.c
    low = within[0] if within else _number_at(connection, window[0], size)
    before = connection.scalar(
        select(c.n)
        .where(c.n < low, c.wall_us < window[0])
        .order_by(c.n.desc())
        .limit(1)
    )
    begin = 0 if before is None else before
    high = within[-1] if within else begin
    after = connection.scalar(
        select(c.n)
        .where(c.n > high, c.n < size, c.wall_us >= window[1])
        .order_by(c.n)
        .limit(1)
    )
    return begin, size if after is None else after + 1


def _number_at(connection: Connection, wall_us: int, size: int) -> int:
    """Return about where a moment lies; exact unless the clock was set back."""
    c = tables.record.c
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        found = connection.scalar(select(c.wall_us).where(c.n == middle))
        if found is None or found < wall_us:
            low = middle + 1
        else:
            high = middle
    return low
