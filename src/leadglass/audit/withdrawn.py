"""What was taken out of the log on order: read for who looks, proves or verifies.

Two things can be gone, and both are told by records of the log itself (``orders``):

pruned    whole tiles of 256 records; their rows are gone, the hash over them stays.
          The newest record of pruning tells all of it, and ``audit_pruned`` which
          record that is.
erased    the content of single records; their rows and leaf hashes stay, what the
          leaf needs beside lies in ``audit_erased``.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from leadglass.audit import tables
from leadglass.audit.events import from_us
from leadglass.audit.evidence.selection import Place
from leadglass.audit.findings import Findings
from leadglass.audit.leaf import Leaf, hash_row
from leadglass.audit.merkle import HASH_BYTES, TILE_WIDTH, leaf_hash
from leadglass.audit.orders import CODE, MARK, Act, order_of
from leadglass.audit.runs import Run, Runs
from leadglass.errors import NotFound, Unavailable

_NONE = Runs()
# Findings about single numbers that are told; more are one finding in the end.
_TOLD_MAX = 100
_SHORT_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was pruned by now.

    Attributes:
        numbers: Of the records.
        order: Number of the record that says so; None: nothing was pruned.
        time: When that was.
    """

    numbers: Runs = _NONE
    order: int | None = None
    time: datetime | None = None


def pruned_of(connection: Connection, own: str) -> Pruned:
    """Return what was pruned; what does not hold against its hash counts for nothing.

    Args:
        connection: A snapshot.
        own: Name of the log.
    """
    pointer = select(tables.pruned.c.order_n).where(
        tables.pruned.c.id == tables.PRUNED_ID
    )
    row = connection.execute(
        select(tables.record).where(tables.record.c.n.in_(pointer))
    ).one_or_none()
    return Pruned() if row is None else read_pruned(tuple(row), own)


def read_pruned(row: Sequence[Any], own: str) -> Pruned:
    """Return what the record in a row of nine columns says was pruned."""
    try:
        if hash_row(*row[:8]) != row[8]:
            return Pruned()
        order = order_of(row[7], own)
    except Exception:  # noqa: BLE001  # whatever somebody put into the row
        return Pruned()
    if order is None or order.act is not Act.PRUNED or not are_tiles(order.numbers):
        return Pruned()
    return Pruned(order.numbers, row[0], from_us(row[1]))


def are_tiles(numbers: Runs) -> bool:
    """Tell whether they are whole tiles."""
    return all(
        first % TILE_WIDTH == 0 and end % TILE_WIDTH == 0 for first, end in numbers.runs
    )


def check_kept(place: Place, pruned: Pruned) -> None:
    """Make sure that what evidence is to show was not pruned.

    Raises:
        NotFound: Some of it was.
    """
    for first, end in place.runs:
        if pruned.numbers.meets(first, end):
            raise NotFound(
                f"records {_short(pruned.numbers)} were pruned after their time: no "
                "evidence of them can be given, nor of a window that begins among "
                "them; begin it later"
            )


def check_provable(size: int, pruned: Pruned) -> None:
    """Make sure that the log can be shown to continue its first ``size`` records.

    Raises:
        Unavailable: The records around the last of them were pruned.
    """
    if size % TILE_WIDTH and size - 1 in pruned.numbers:
        raise Unavailable(
            f"the records around {size} were pruned: that the log continues them "
            "cannot be shown any more"
        )


def commitments(connection: Connection, numbers: Iterable[int]) -> dict[int, bytes]:
    """Return the commitments of those records that were erased."""
    column = tables.erased.c
    return {
        row.n: row.commitment
        for run in Runs.of_numbers(numbers).runs
        for row in connection.execute(
            select(column.n, column.commitment).where(
                column.n >= run[0], column.n < run[1]
            )
        )
    }


def leaf_of(row: Sequence[Any], commitment: bytes) -> Leaf:
    """Return the leaf of an erased record whose row begins with its five numbers."""
    return Leaf(row[0], row[1], row[2], row[3], row[4], commitment)


def hash_erased(row: Sequence[Any], commitment: object) -> bytes:
    """Return the leaf hash of an erased record; empty if its row cannot be of one."""
    if any(each is not None for each in row[5:8]):
        return b""
    if not isinstance(commitment, bytes) or len(commitment) != HASH_BYTES:
        return b""
    try:
        return leaf_hash(leaf_of(row, commitment).encode())
    except Exception:  # noqa: BLE001  # whatever somebody put into the row
        return b""


class Withdrawn:
    """What a verification compares: what is gone, and what orders say is gone.

    Orders come after the records that they are about, so it is known at the end only.
    In memory are the numbers of erased records, and their commitments until their
    rows were seen.
    """

    def __init__(
        self,
        findings: Findings,
        own: str,
        pruned: Pruned,
        erased: Iterable[Sequence[Any]],
    ) -> None:
        """Begin.

        Args:
            findings: Where to tell.
            own: Name of the log.
            pruned: What was pruned.
            erased: Rows (number, commitment) of the erased records.
        """
        self._findings = findings
        self._own = own
        self._pruned = pruned
        self._commitments: dict[Any, Any] = {row[0]: row[1] for row in erased}
        self._gone: set[int] = set()
        self._ordered: dict[int, int] = {}

    @property
    def pruned(self) -> Runs:
        """The numbers of the pruned records."""
        return self._pruned.numbers

    def look(self, rows: Iterable[Sequence[Any]]) -> None:
        """Take note of the orders among some rows of nine columns."""
        for row in rows:
            if row[4] == CODE and isinstance(row[7], bytes) and MARK in row[7]:
                order = order_of(row[7], self._own)
                if order is not None and order.act is Act.ERASED:
                    self._ordered.update(dict.fromkeys(order.numbers, row[0]))

    def take(self, row: Sequence[Any]) -> bytes:
        """Return the leaf hash of an erased record; empty if that is not what it is."""
        n = row[0]
        if n not in self._commitments:
            return b""
        hash_ = hash_erased(row, self._commitments[n])
        if hash_ and hash_ == row[8]:
            del self._commitments[n]
            self._gone.add(n)
            return hash_
        return b""

    def gap(
        self,
        first: int,
        end: int,
        pass_over: Callable[[int], None],
        skip: Callable[[int], None],
    ) -> None:
        """Go over numbers without rows: those that were pruned, and others.

        Args:
            first: The first of them.
            end: The number behind the last.
            pass_over: Goes on at a number; those before it were pruned.
            skip: Goes on at a number; those before it are missing.
        """
        at = first
        for begin, stop in _within(self.pruned, first, end):
            if begin > at:
                skip(begin)
            pass_over(stop)
            at = stop
        if at < end:
            skip(end)

    def finish(self, size: int) -> None:
        """Tell what is gone without an order, and what is back in spite of one.

        Args:
            size: How many records there are or were.
        """
        self._tell(
            "altered",
            "the content of {} is gone, and no record of this log orders that",
            self._gone - self._ordered.keys(),
        )
        self._tell(
            "erasure",
            "{} was erased on order, and its content is there again",
            (
                n
                for n in self._ordered.keys() - self._gone
                if n < size and n not in self.pruned
            ),
        )
        if self._commitments:
            self._findings.find(
                "erasure",
                f"{len(self._commitments)} entries of the table of erasures are of no "
                "erased record",
            )
        self._remark()

    def _tell(self, kind: str, text: str, numbers: Iterable[int]) -> None:
        runs = Runs.of_numbers(numbers).runs
        for first, end in runs[:_TOLD_MAX]:
            self._findings.find(kind, text.format(_named(first, end)), first, end - 1)
        if len(runs) > _TOLD_MAX:
            rest = Runs(runs[_TOLD_MAX:])
            self._findings.find(
                kind, text.format(f"each of {len(rest)} more records"), *_ends(rest)
            )

    def _remark(self) -> None:
        pruned = self._pruned
        if pruned.order is not None and pruned.time is not None:
            self._findings.remark(
                "pruned",
                f"records {_short(pruned.numbers)} were pruned, as record "
                f"{pruned.order} of {pruned.time.isoformat(timespec='seconds')} says",
                pruned.order,
            )
        orders = Runs.of_numbers(
            self._ordered[n] for n in self._gone & self._ordered.keys()
        )
        if orders:
            self._findings.remark(
                "erased",
                f"the content of {len(self._gone)} records was erased on order, as "
                f"records {_short(orders)} say",
                orders.runs[0][0],
            )


def _named(first: int, end: int) -> str:
    return f"record {first}" if end == first + 1 else f"each of {first} to {end - 1}"


def _short(numbers: Runs) -> str:
    first, *more = numbers.texts(_SHORT_CHARACTERS)
    return f"{first}, …" if more else first


def _ends(numbers: Runs) -> Run:
    return numbers.runs[0][0], numbers.runs[-1][1] - 1


def _within(numbers: Runs, first: int, end: int) -> list[Run]:
    """Return the runs within ``first`` and ``end``, without parts of tiles."""
    found = []
    for begin, stop in numbers.runs:
        low = max(begin, -(-first // TILE_WIDTH) * TILE_WIDTH)
        high = min(stop, end - end % TILE_WIDTH)
        if low < high:
            found.append((low, high))
    return found
