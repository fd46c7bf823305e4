"""How much the archive holds and how it grew, without counting it.

The database counts with each row that comes or goes, in its transaction; a look reads a
row for each day.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from leadglass.index.tables import growth


@dataclass(frozen=True, slots=True)
class Grown:
    """What came on a day, or since the beginning, and is still there.

    Attributes:
        day: ``YYYY-MM-DD``, UTC; empty of more than one.
        studies: How many.
        instances: How many.
        blob_bytes: Of their blobs, before sealing.
    """

    day: str
    studies: int
    instances: int
    blob_bytes: int


def whole(connection: Connection) -> Grown:
    """Return how much the archive holds."""
    sums = (func.coalesce(func.sum(each), 0) for each in list(growth.c)[1:])
    row = connection.execute(select(*sums)).one()
    return Grown("", *map(int, row))


def by_day(connection: Connection, days: int) -> Sequence[Grown]:
    """Return the last days on which something came, the oldest first."""
    rows = connection.execute(select(growth).order_by(growth.c.day.desc()).limit(days))
    return [Grown(*row) for row in rows][::-1]
