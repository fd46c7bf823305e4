"""Taking whole tiles of old records out of the log, so that the tree stays provable.

Of a tile go its 256 rows and what searches go by; the hash over it stays, and from it
follow all proofs of the records that are left. A tile goes only when it is what was
signed: what was tampered with stays, for whoever investigates. It stays, too, while

- one of its records is held, by what its leaf commits to, not by a table of searches;
- one of its records is the order by which a record that is left was erased;
- a witness cosigned last within it: that the log continues could not be shown to it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, select

from leadglass.audit import tables
from leadglass.audit.events import to_us
from leadglass.audit.leaf import hash_row
from leadglass.audit.merkle import TILE_LEVELS, TILE_WIDTH, perfect_root
from leadglass.audit.retention import GAP_MAX, Holding
from leadglass.audit.runs import Runs
from leadglass.audit.search import numbers_of
from leadglass.audit.timeline import number_at
from leadglass.audit.withdrawn import commitments, hash_erased
from leadglass.errors import Damaged, Unavailable

COLUMNS = select(
    *(
        tables.record.c[name]
        for name in (
            *("n", "wall_us", "mono_us", "boot", "code"),
            *("search_keys", "salt", "record", "leaf"),
        )
    )
)


@dataclass(frozen=True, slots=True)
class Tile:
    """A tile that is as it was signed.

    Attributes:
        place: Which; its records begin at 256 times that.
        rows: Of its records, as they stand.
    """

    place: int
    rows: tuple[Any, ...]

    @property
    def run(self) -> tuple[int, int]:
        """Its first number, and the one behind its last."""
        first = self.place * TILE_WIDTH
        return first, first + TILE_WIDTH

    @property
    def newest_us(self) -> int:
        """When the newest of its records was recorded."""
        return max(int(row.wall_us) for row in self.rows)

    def holds(self, holding: Holding) -> frozenset[int]:
        """Return the holds that its records are under."""
        if not holding:
            return frozenset()
        return frozenset().union(
            *(holding.of(row.wall_us, row.search_keys) for row in self.rows)
        )


def tile_at(connection: Connection, place: int) -> Tile:
    """Return a complete tile.

    Raises:
        Damaged: It is not what was signed; nothing of it may go.
    """
    first = place * TILE_WIDTH
    n = tables.record.c.n
    rows = connection.execute(
        COLUMNS.where(n >= first, n < first + TILE_WIDTH).order_by(n)
    ).all()
    gone = [row.n for row in rows if row.record is None]
    kept = commitments(connection, gone)
    tile = tables.tile.c
    hash_ = connection.scalar(
        select(tile.hash).where(tile.level == TILE_LEVELS, tile.place == place)
    )
    try:
        leaves = [
            hash_erased(tuple(row), kept.get(row.n))
            if row.record is None
            else hash_row(*row[:8])
            for row in rows
        ]
    except Exception as error:  # whatever somebody put into a row
        raise _damaged(first) from error
    is_whole = [row.n for row in rows] == [*range(first, first + TILE_WIDTH)]
    if not is_whole or any(
        leaf != row.leaf for leaf, row in zip(leaves, rows, strict=True)
    ):
        raise _damaged(first)
    if perfect_root(leaves) != hash_:
        raise _damaged(first)
    return Tile(place, tuple(rows))


def _damaged(first: int) -> Damaged:
    return Damaged(
        f"audit log: records {first} to {first + TILE_WIDTH - 1} are not as they were "
        "signed, so they stay; see: leadglass audit verify"
    )


def is_needed(
    connection: Connection, tile: Tile, cosigned: Iterable[int], going: Runs
) -> bool:
    """Tell whether what is left could not be proven or verified without a tile.

    Args:
        connection: A snapshot.
        tile: Which.
        cosigned: Sizes that witnesses cosigned last.
        going: Numbers of the records that go together with it.
    """
    first, end = tile.run
    if any(first < size < end for size in cosigned):
        return True
    column = tables.erased.c
    orders = select(column.n).where(
        column.order_n >= first,
        column.order_n < end,
        (column.n < first) | (column.n >= end),
    )
    return any(n not in going for n in connection.execute(orders).scalars())


_MENTION = delete(tables.mention).where(
    tables.mention.c.key == bindparam("wanted_key"),
    tables.mention.c.n == bindparam("wanted_n"),
)


def remove(connection: Connection, tile: Tile) -> None:
    """Delete the rows of a tile and what searches go by."""
    forget_mentions(
        connection, {row.n: row.search_keys for row in tile.rows if row.search_keys}
    )
    first, end = tile.run
    for table in (tables.erased, tables.record):
        connection.execute(delete(table).where(table.c.n >= first, table.c.n < end))


def forget_mentions(connection: Connection, keys: Mapping[int, bytes]) -> None:
    """Delete what searches go by, of some records with these search keys."""
    found = [
        {"wanted_key": number, "wanted_n": n}
        for n, each in keys.items()
        for number in numbers_of(each)
    ]
    if found:
        # Sorted as the table is: neighbours lie on one page.
        found.sort(key=lambda each: (each["wanted_key"], each["wanted_n"]))
        connection.execute(_MENTION, found)


def point_at(connection: Connection, order: int) -> None:
    """Take note of the record that tells all that was pruned."""
    connection.execute(delete(tables.pruned))
    connection.execute(
        tables.pruned.insert(), {"id": tables.PRUNED_ID, "order_n": order}
    )


def places(size: int, pruned: Runs, first: int = 0) -> Iterable[int]:
    """Return the places of complete tiles that were not pruned, from one on."""
    return (
        place
        for place in range(first, size // TILE_WIDTH)
        if place * TILE_WIDTH not in pruned
    )


def check_clock(
    connection: Connection, size: int, cutoff: datetime, now: datetime
) -> None:
    """Make sure that the record itself vouches for the time that has passed.

    Whoever sets the clock forward makes every record look old. Then nothing was
    recorded in the years between.

    Raises:
        Unavailable: For a whole quarter since the cutoff nothing was recorded.
    """
    moment, number = cutoff, number_at(connection, to_us(cutoff), 0, size)
    while (moment := moment + GAP_MAX) <= now:
        following = number_at(connection, to_us(moment), number, size)
        if following == number:
            raise Unavailable(
                f"nothing was recorded in the {GAP_MAX.days} days before "
                f"{moment.date().isoformat()}: was the clock set forward? Nothing is "
                "pruned until the record has no such gap within its period"
            )
        number = following
