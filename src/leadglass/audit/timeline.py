"""How many records there were, by hour or day, and how they ended: at a bounded cost.

Records have their numbers in the order of time, so how many fall between two moments
is the difference of two numbers, each found by halving. How they ended stands in the
records alone: of the newest it is read, of older ones it is not known. A clock that
was set back makes counts near that moment inexact; a search is not.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from leadglass.audit import tables
from leadglass.audit.codes import Outcome
from leadglass.audit.events import Event, to_us
from leadglass.audit.search import ROWS_READ
from leadglass.errors import BadData

# Boundaries that are looked up, each in some 20 steps.
MOMENTS_MAX = 100
# Records whose outcome is read: a third of a second.
READ_MAX = 5_000


@dataclass(slots=True)
class Bucket:
    """What was recorded between two moments.

    Attributes:
        since: From then on.
        until: Before then.
        total: How many records.
        outcomes: How many of each; None: not known, they are too many to be read.
    """

    since: datetime
    until: datetime
    total: int
    outcomes: dict[Outcome, int] | None = field(default_factory=dict)


def count(
    connection: Connection, moments: Sequence[datetime], size: int
) -> list[Bucket]:
    """Return a bucket between each two moments, which come in order.

    Args:
        connection: A snapshot.
        moments: With a zone; at most ``MOMENTS_MAX``.
        size: Number of records in it.

    Raises:
        BadData: There are too many, or too few, or they are out of order.
    """
    if not 2 <= len(moments) <= MOMENTS_MAX or sorted(moments) != list(moments):
        raise BadData("a timeline has moments, in order, and not too many")
    numbers: list[int] = []
    for each in moments:
        low = numbers[-1] if numbers else 0
        numbers.append(number_at(connection, to_us(each), low, size))
    buckets = [
        Bucket(since, until, last - first)
        for since, until, first, last in zip(
            moments, moments[1:], numbers, numbers[1:], strict=False
        )
    ]
    floor = max(numbers[0], numbers[-1] - READ_MAX)
    for bucket, first in zip(buckets, numbers, strict=False):
        if first < floor and bucket.total:
            bucket.outcomes = None
    for n, outcome in _outcomes(connection, floor, numbers[-1]):
        place = max(i for i, first in enumerate(numbers[:-1]) if first <= n)
        known = buckets[place].outcomes
        if known is not None and outcome is not None:
            known[outcome] = known.get(outcome, 0) + 1
    return buckets


def number_at(connection: Connection, wall_us: int, low: int, high: int) -> int:
    """Return the number of the first record at or after a moment."""
    c = tables.record.c
    while low < high:
        middle = (low + high) // 2
        found = connection.scalar(select(c.wall_us).where(c.n == middle))
        # A record that is gone is passed over; a verification names it.
        if found is None or found < wall_us:
            low = middle + 1
        else:
            high = middle
    return low


def _outcomes(
    connection: Connection, first: int, end: int
) -> Iterator[tuple[int, Outcome | None]]:
    """Yield how records ended; None: it cannot be read."""
    c = tables.record.c
    query = select(c.n, c.record).where(c.n >= first, c.n < end)
    rows = connection.execution_options(yield_per=ROWS_READ).execute(query)
    for n, record in rows:
        yield n, _outcome(record)


def _outcome(record: Any) -> Outcome | None:
    try:
        return Event.decode(record)[0].outcome if record else None
    except BadData:
        return None
