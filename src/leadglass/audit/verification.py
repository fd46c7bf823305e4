"""Recomputing the whole log, and naming what is not as it was signed.

Records stream by in their order; in memory are one tile of 256 of them, one hash for
65,536, and the checkpoints. What is found:

    altered    a record, or its stored hash, is not what its leaf commits to
    missing    a number has no record
    inserted   a record has a number that was never signed
    tree       stored hashes of the tree do not follow from the records
    head       the head is gone, not signed, or signs something else
    rollback   more records were signed than there are
    fork       a signed checkpoint has another root than the records give
    checkpoint the checkpoint file is gone, out of order, or a note in it is forged
    search     the table that searches go by does not agree with the records
    erasure    what was erased on order is there again, or their table is wrong
    unreadable the database cannot be read through

A clock that jumped is no tampering with the log: it is a remark. So is what was pruned
or erased as records of the log order it (``withdrawn``).
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import Connection, LargeBinary, Select, cast, func, select

from leadglass.audit import checkpoint, tables
from leadglass.audit.checkpoint import Checkpoint
from leadglass.audit.checkpoint_file import CheckpointFile
from leadglass.audit.checks import ClockCheck, Signed, TreeCheck
from leadglass.audit.findings import Findings, Report
from leadglass.audit.leaf import hash_row, hash_rows
from leadglass.audit.merkle import HASH_BYTES, TILE_WIDTH
from leadglass.audit.searchcheck import SearchCheck
from leadglass.audit.timestamps import TimestampFile
from leadglass.audit.withdrawn import Pruned, Withdrawn, read_pruned
from leadglass.errors import BadData, Damaged, LeadglassError

_ROWS_READ = 512

# A log of so many records is worth a second process, which takes a second to begin.
SECONDED_FROM = 1 << 18
# Records that we take alone, until the other process has begun.
LEAD = 96 * _ROWS_READ
# Records of a round, and how many of them are our own: with those, the tree, the clocks
# and all that is at the end, we have as much to do as the others. All are multiples of
# what is read at once.
ROUND = 128 * _ROWS_READ
OWN = 32 * _ROWS_READ
# Rounds that the others may be ahead, so that neither waits for the other's pauses;
# what they give of one has 2 MB.
AHEAD = 4

# A row as the driver gives it.
Row = Sequence[Any]


class Given(NamedTuple):
    """Rows that somebody else recomputed.

    Attributes:
        first: Number of the first.
        end: The number behind the last.
        hashes: Their leaf hashes, one after the other; empty: they are odd.
        boot: In which all of them were recorded.
        apart: The least and the greatest that their two clocks are apart.
        last: The two clocks of the last of them.
        orders: Those that may be orders to erase.
    """

    first: int
    end: int
    hashes: bytes
    boot: int
    apart: tuple[int, int]
    last: tuple[int, int]
    orders: tuple[tuple[Any, ...], ...]


class Seconding(Protocol):
    """Somebody who recomputes a part of the leaves (``seconding.Second``)."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End."""

    def ask(self, first: int, end: int) -> None:
        """Ask for the records from ``first`` until before ``end``."""

    def answer(self) -> tuple[Sequence[Given], tuple[int, int, int]] | None:
        """Return them, and what they are searched by; None: not."""


class Verification:
    """One run; see the module."""

    def __init__(self, origin: str, public_keys: Sequence[Ed25519PublicKey]) -> None:
        self._origin = origin
        self._public_keys = public_keys
        self._findings = Findings()
        self._signed: list[Signed] = []
        self._has_file = False
        self._head: Checkpoint | None = None
        self._frontier = b""  # as the head has it
        self._records = 0
        self._progress: Callable[[int, int], None] = lambda _done, _all: None
        self._second: Callable[[Sequence[int]], Seconding] | None = None

    # ── what was signed ──────────────────────────────────────────────────────

    def take_file(self, file: CheckpointFile) -> None:
        """Read the checkpoint file; before the snapshot of the database."""
        self._has_file = file.exists()
        notes = file.notes()
        previous = -1
        for position, note in enumerate(notes, start=1):
            where = f"checkpoint {position} of the file"
            is_last = position == len(notes)
            signed = self._opened(note, where, is_torn_possible=is_last)
            if signed is None:
                continue
            if signed.size <= previous:
                self._findings.find("checkpoint", f"{where} is out of order")
            previous = max(previous, signed.size)

    def take_witnessed(self, notes: Iterable[str]) -> None:
        """Take checkpoints that were kept elsewhere."""
        for position, note in enumerate(notes, start=1):
            self._opened(note, f"witnessed checkpoint {position}")

    def take_timestamps(self, file: TimestampFile) -> None:
        """Take checkpoints that an authority stamped; a stamp must hold."""
        try:
            found = file.all()
        except LeadglassError as error:
            self._findings.find("checkpoint", str(error))
            return
        for position, each in enumerate(found, start=1):
            where = f"time-stamped checkpoint {position}"
            try:
                each.read()
            except Damaged as error:
                self._findings.find("checkpoint", f"{where}: {error}")
            self._opened(each.note, where)

    def _opened(
        self, note: str, where: str, *, is_torn_possible: bool = False
    ) -> Checkpoint | None:
        try:
            signed = checkpoint.verify(note, self._public_keys, self._origin)
        except BadData:
            if is_torn_possible:
                self._findings.remark(
                    "checkpoint", f"{where} is not whole, as after a power cut"
                )
            else:
                self._findings.find("checkpoint", f"{where} is not whole")
            return None
        except Damaged:
            self._findings.find("checkpoint", f"{where} was not signed by this log")
            return None
        self._signed.append(Signed(signed.size, signed.root, where))
        return signed

    # ── the database ─────────────────────────────────────────────────────────

    def run(
        self,
        connection: Connection,
        progress: Callable[[int, int], None] = lambda _done, _all: None,
        second: Callable[[Sequence[int]], "Seconding"] | None = None,
    ) -> None:
        """Hold the snapshot against everything that was signed.

        Args:
            connection: The snapshot.
            progress: Is told how many records were read, of how many, now and then.
            second: Makes somebody who recomputes a part of a large log, with the
                secrets of the check of searches.
        """
        self._second = second
        self._take_head(connection)
        if not self._has_file and self._signed:
            self._findings.find("checkpoint", "the checkpoint file is gone")
        tree = TreeCheck(self._findings, self._signed, _rows(connection, _tiles()))
        search = SearchCheck()
        withdrawn = self._withdrawn(connection)
        self._progress = progress
        self._walk(connection, tree, search, withdrawn)
        withdrawn.finish(tree.size)
        tree.finish()
        self._compare_search(connection, search)

    def unreadable(self, error: Exception) -> None:
        """Take note that the database could not be read through."""
        reason = str(error) if isinstance(error, LeadglassError) else "no log's schema"
        self._findings.find(
            "unreadable", f"the database cannot be read through: {reason}"
        )

    def report(self) -> Report:
        """Return what was found."""
        head = self._head
        return Report(
            records=self._records,
            size=head.size if head else 0,
            root=head.root.hex() if head else "",
            checkpoints=len(self._signed),
            findings=tuple(self._findings.found),
            remarks=tuple(self._findings.remarks),
        )

    def _take_head(self, connection: Connection) -> None:
        rows = list(_rows(connection, _heads()))
        if not rows:
            if any(each.size for each in self._signed):
                self._findings.find("head", "the head is gone")
            return
        if len(rows) > 1 or rows[0][0] != tables.HEAD_ID:
            self._findings.find("head", "there are heads that the log did not write")
        _, size, self._frontier, note = rows[0]
        try:
            head = checkpoint.verify(
                note.decode("utf-8"), self._public_keys, self._origin
            )
        except (LeadglassError, UnicodeDecodeError, AttributeError):
            self._findings.find("head", "the head is not signed by this log")
            return
        if head.size != size:
            self._findings.find("head", "the head signs another size than it has")
        self._head = head
        self._signed.append(Signed(head.size, head.root, "the head"))

    def _withdrawn(self, connection: Connection) -> Withdrawn:
        """Read what is said to be gone; the walk holds the records of it to hashes."""
        # Of several pointers the newest order counts: it tells all that was pruned.
        pruned = Pruned()
        for row in _rows(connection, _orders_of_pruning()):
            pruned = read_pruned(row, self._origin)
        return Withdrawn(
            self._findings,
            self._origin,
            pruned,
            _rows(connection, _erased()),
        )

    def _walk(
        self,
        connection: Connection,
        tree: TreeCheck,
        search: SearchCheck,
        withdrawn: Withdrawn,
    ) -> None:
        """Recompute each record's leaf, in their order."""
        newest = max(self._signed, key=lambda each: each.size, default=None)
        limit = newest.size if newest else 0
        at_head = self._head.size if self._head else -1
        walk = _Walk(
            self._findings,
            tree,
            search,
            withdrawn,
            limit,
            at_head,
            self._compare_frontier,
        )
        begin = None
        if self._second is not None and walk.indexed >= SECONDED_FROM:
            begin = walk.indexed - walk.indexed % _ROWS_READ
            with self._second(search.secrets) as second:
                self._in_rounds(connection, walk, second, list(_rounds(begin)))
        for part in parts(connection, part_of(begin, None)):
            self._take(walk, part)
        if newest is not None and tree.size < limit:
            self._tell_rollback(tree.size, newest)

    def _take(self, walk: "_Walk", part: Sequence[Row]) -> None:
        self._records += len(part)
        if len(part) == _ROWS_READ:
            self._progress(self._records, max(walk.limit, self._records))
        walk.take(part)

    def _in_rounds(
        self,
        connection: Connection,
        walk: "_Walk",
        second: "Seconding",
        rounds: Sequence[tuple[int, int, int]],
    ) -> None:
        """Take the records of rounds, the second part of each as it is given."""
        for each in rounds[:AHEAD]:
            second.ask(*each[1:])
        for place, (first, middle, end) in enumerate(rounds, start=AHEAD):
            for part in parts(connection, part_of(first or None, middle)):
                self._take(walk, part)
            said = second.answer()
            if place < len(rounds):
                second.ask(*rounds[place][1:])
            if said is None:
                for part in parts(connection, part_of(middle, end)):
                    self._take(walk, part)
                continue
            given, searched = said
            walk.searched(searched)
            for run in given:
                self._given(connection, walk, run)

    def _given(self, connection: Connection, walk: "_Walk", given: "Given") -> None:
        """Take a run of rows as it is given, or read it."""
        if given.hashes and walk.take_given(given):
            self._records += given.end - given.first
            self._progress(self._records, max(walk.limit, self._records))
            return
        walk.is_searched = bool(given.hashes)
        for part in parts(connection, part_of(given.first, given.end)):
            self._take(walk, part)
        walk.is_searched = False

    def _compare_frontier(self, tree: TreeCheck) -> None:
        if self._frontier not in (tree.frontier(), tree.frontier(is_stored=True)):
            self._findings.find(
                "head", "the frontier in the head does not follow from the records"
            )

    def _tell_rollback(self, count: int, newest: Signed) -> None:
        self._findings.find(
            "rollback",
            f"{newest.where} signs {newest.size} records, the database ends after "
            f"{count}: it was cut, or replaced by an older copy",
            count,
            newest.size - 1,
        )

    def _compare_search(self, connection: Connection, expected: SearchCheck) -> None:
        found = expected.twin()
        for part in parts(connection, _mentions()):
            found.take(part)
        if found.result() != expected.result():
            self._findings.find(
                "search",
                "the table that searches go by does not agree with the records "
                f"({found.count} entries, {expected.count} expected): searches may "
                "miss records",
            )


class _Walk:
    """Takes the records: many at once as long as nothing is wrong with them."""

    def __init__(  # noqa: PLR0913, PLR0917  # what it holds the records against
        self,
        findings: Findings,
        tree: TreeCheck,
        search: SearchCheck,
        withdrawn: Withdrawn,
        limit: int,
        at_head: int,
        see_head: Callable[[TreeCheck], None],
    ) -> None:
        self._findings = findings
        self._tree = tree
        self._search = search
        self._withdrawn = withdrawn
        self._clock = ClockCheck(findings)
        self.limit = limit
        self._at_head = at_head
        # Whether somebody else has counted what the rows are searched by.
        self.is_searched = False
        self.indexed = at_head - at_head % TILE_WIDTH
        self._see_head = see_head

    def searched(self, result: tuple[int, int, int]) -> None:
        """Take what rows are searched by that somebody else recomputes."""
        self._search.merge(*result)

    def take_given(self, given: "Given") -> bool:
        """Take rows by the hashes that they give; False: they must be read."""
        first, end = given.first, given.end
        if self._tree.size < first < self.limit:
            self._go_on_at(first)
        if (
            first != self._tree.size
            or end > self.indexed
            or len(given.hashes) != (end - first) * HASH_BYTES
            or self._withdrawn.pruned.meets(first, end)
            or not self._clock.sees(given.boot, given.apart, given.last)
        ):
            return False
        self._withdrawn.look(given.orders)
        data = given.hashes
        self._tree.extend(
            [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]
        )
        return True

    def take(self, rows: Sequence[Row]) -> None:
        """Recompute the leaves of some rows."""
        first = rows[0][0]
        if isinstance(first, int) and self._tree.size < first < self.limit:
            self._go_on_at(first)
        if not self._take_whole(rows):
            for row in rows:
                self._take_one(row)

    def _take_whole(self, rows: Sequence[Row]) -> bool:
        """Take rows that follow each other and are as they were; else take none."""
        first = self._tree.size
        end = first + len(rows)
        if end > self.limit:
            return False
        if first < self._at_head < end or first < self.indexed < end:
            return False  # something else begins within them
        if self._withdrawn.pruned.meets(first, end):
            return False
        hashes = whole(rows, first)
        if hashes is None:
            return False
        self._clock.see_all(rows)
        self._withdrawn.look(rows)
        if first < self.indexed and not self.is_searched:
            self._search.expect([row[5] for row in rows], range(first, end))
        self._tree.extend(hashes)
        if end == self._at_head:
            self._see_head(self._tree)
        return True

    def _take_one(self, row: Row) -> None:
        n, stored = row[0], row[8]
        if not 0 <= n < self.limit:
            self._findings.find(
                "inserted", f"record {n} has a number that was never signed", n, n
            )
            return
        if n in self._withdrawn.pruned:
            self._findings.find(
                "inserted", f"record {n} was pruned, and is there again", n, n
            )
            return
        if n > self._tree.size:
            self._go_on_at(n)
        computed = _hash(row)
        erased = b"" if computed else self._withdrawn.take(row)
        if erased:
            computed = erased
            self._clock.see(n, row[1], row[2], row[3])
        elif computed != stored:
            self._tell_altered(n, is_gone=row[7] is None)
        else:
            self._clock.see(n, row[1], row[2], row[3])
            self._withdrawn.look([row])
        if n < self.indexed and not erased and not self.is_searched:
            self._search.expect([row[5]], [n])
        self._tree.add(computed, stored)
        if self._tree.size == self._at_head:
            self._see_head(self._tree)

    def _go_on_at(self, n: int) -> None:
        tree = self._tree
        self._withdrawn.gap(tree.size, n, tree.pass_over, tree.skip)

    def _tell_altered(self, n: int, *, is_gone: bool) -> None:
        if is_gone:
            self._findings.find("altered", f"the content of record {n} is gone", n, n)
        else:
            self._findings.find_altered(n)


def _rounds(end: int) -> Iterator[tuple[int, int, int]]:
    """Yield rounds below ``end``: where our part begins, where theirs, and the end."""
    first = 0
    while first < end:
        own = OWN if first else LEAD
        middle = min(first + own, end)
        behind = min(middle + ROUND - OWN, end)
        yield first, middle, behind
        first = behind


def _hash(row: Sequence[Any]) -> bytes:
    """Return the leaf hash of a row; empty if it has values that no leaf has."""
    try:
        return hash_row(*row[:8])
    except (TypeError, struct.error):
        return b""


def whole(rows: Sequence[Row], first: int) -> list[bytes] | None:
    """Return the leaf hashes of rows that follow each other and are as they were.

    ``None`` if they do not, or are not.
    """
    if [row[0] for row in rows] != [*range(first, first + len(rows))]:
        return None
    try:
        hashes = hash_rows(rows)
    except (TypeError, struct.error):
        return None
    return hashes if hashes == [row[8] for row in rows] else None


def parts(connection: Connection, query: Select[Any]) -> Iterator[list[Any]]:
    """Yield raw rows, some at a time, without conversions that odd values upset."""
    cursor = connection.connection.cursor()
    numbers = {"literal_binds": True}
    cursor.execute(
        str(query.compile(dialect=connection.dialect, compile_kwargs=numbers))
    )
    while part := cursor.fetchmany(_ROWS_READ):
        yield list(part)


def _rows(connection: Connection, query: Select[Any]) -> Iterator[Sequence[Any]]:
    for part in parts(connection, query):
        yield from part


def _records() -> Select[Any]:
    # Text that somebody put where bytes belong would not even be fetched.
    c = tables.record.c
    return select(
        c.n,
        c.wall_us,
        c.mono_us,
        c.boot,
        c.code,
        cast(c.search_keys, LargeBinary),
        cast(c.salt, LargeBinary),
        cast(c.record, LargeBinary),
        cast(c.leaf, LargeBinary),
    ).order_by(c.n)


def part_of(first: int | None, end: int | None) -> Select[Any]:
    """Return the question for the records from ``first`` until before ``end``.

    Whatever stands for a number where none belongs is in the first part (nothing at
    all) or in the last one (text), as SQLite orders them.
    """
    n = tables.record.c.n
    query = _records()
    if first is not None:
        query = query.where(n >= first)
    if end is not None:
        query = query.where((n < end) | n.is_(None) if first is None else n < end)
    return query


def _tiles() -> Select[Any]:
    c = tables.tile.c
    return select(c.level, c.place, cast(c.hash, LargeBinary)).order_by(
        c.level, c.place
    )


def _heads() -> Select[Any]:
    c = tables.head.c
    return select(
        c.id, c.size, cast(c.frontier, LargeBinary), cast(c.note, LargeBinary)
    ).order_by(c.id)


def _orders_of_pruning() -> Select[Any]:
    pointers = select(tables.pruned.c.order_n)
    return _records().where(tables.record.c.n.in_(pointers))


def _erased() -> Select[Any]:
    c = tables.erased.c
    return select(c.n, cast(c.commitment, LargeBinary))


def _mentions() -> Select[Any]:
    # A row for each key, its numbers in one text: a sixth of what rows of one number
    # cost. What is no number does not look like one in JSON.
    c = tables.mention.c
    return select(c.key, func.json_group_array(c.n)).group_by(c.key)
