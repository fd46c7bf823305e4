"""Finding records by what they mention, and by when.

Each record has a few *keys*, eight bytes each: hashes of the patient, studies, users,
addresses, event and day that it mentions. The leaf commits to them, so they cannot be
changed unseen. When a tile of 256 records is complete its keys go into the table of
mentions; the records after it are looked through.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    Select,
    column,
    func,
    select,
    values,
)

from leadglass.audit import tables
from leadglass.audit.codes import EventID, Outcome
from leadglass.audit.events import Event, from_us, mention_key, to_us
from leadglass.audit.merkle import TILE_WIDTH
from leadglass.errors import BadData, Damaged

KEY_BYTES = 8

# Rows read at once: some 300 KB.
ROWS_READ = 256

_DAY_US = 86_400_000_000

# Records that one portion of an answer looks at: what a person waits for, 0.3 s.
LOOKED_MAX = 10_000

# Days that a search by time looks up one by one; above this (30 years) it is none.
_DAYS_MAX = 11_000


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it stands in the log.

    Attributes:
        n: Its number.
        time: Wall clock at recording, UTC.
        mono_us: Clock since boot at recording, microseconds.
        boot: Which boot that was.
        data: The canonical JSON; empty if personal data was erased.
    """

    n: int
    time: datetime
    mono_us: int
    boot: int
    data: bytes

    @property
    def event(self) -> Event:
        """The event that was recorded.

        Raises:
            BadData: The record is erased, or of another format.
        """
        return Event.decode(self.data)[0]


@dataclass(frozen=True, slots=True)
class Search:
    """Which records are asked for; what is None does not matter, all are ANDed.

    Attributes:
        since: Recorded at or after; with a zone.
        until: Recorded before; with a zone.
        event: This kind of event.
        events: One of these kinds; empty takes all. Not looked up, so for whoever asks
            about something that is.
        outcomes: One of these; empty takes all. Not looked up either.
        types: One of these varieties; empty takes all. Not looked up either.
        user: Mentions this device or person.
        address: Mentions this network address.
        patient: Mentions this Patient ID.
        study: Mentions this Study Instance UID.
        after: Only records with higher numbers, or lower ones if ``newest_first``.
        newest_first: The order.
    """

    since: datetime | None = None
    until: datetime | None = None
    event: EventID | None = None
    events: frozenset[EventID] = frozenset()
    outcomes: frozenset[Outcome] = frozenset()
    types: frozenset[str] = frozenset()
    user: str | None = None
    address: str | None = None
    patient: str | None = None
    study: str | None = None
    after: int | None = None
    newest_first: bool = False

    def mentions(self) -> list[tuple[str, str]]:
        """Return what a record must mention, most telling first."""
        wanted = (
            ("study", self.study),
            ("patient", self.patient),
            ("user", self.user),
            ("address", self.address),
            ("event", self.event),
        )
        return [(kind, str(value)) for kind, value in wanted if value is not None]


@dataclass(frozen=True, slots=True)
class Portion:
    """Some records of an answer, the newest first.

    Attributes:
        records: What fits.
        after: Where the next portion goes on (``Search.after``); None: this was the
            last. A portion with few records or none may have a next one: so many
            records were looked at that did not fit.
    """

    records: tuple[Record, ...]
    after: int | None


RECORDS = select(
    tables.record.c.n,
    tables.record.c.wall_us,
    tables.record.c.mono_us,
    tables.record.c.boot,
    tables.record.c.record,
)


def keys_of(event: Event, own: str, wall_us: int) -> bytes:
    """Return the keys of a record, sorted, one after the other."""
    found = {mention_key(kind, value) for kind, value in event.mentions(own)}
    found.add(_day_key(wall_us // _DAY_US))
    return b"".join(sorted(found))


def numbers_of(keys: bytes) -> list[int]:
    """Return keys as the table of mentions holds them: signed 64 bit numbers."""
    return [
        int.from_bytes(keys[at : at + KEY_BYTES], "big", signed=True)
        for at in range(0, len(keys), KEY_BYTES)
    ]


def _number_of(kind: str, value: str) -> int:
    return numbers_of(mention_key(kind, value))[0]


def _day_key(day: int) -> bytes:
    return mention_key("day", str(day))


def look(
    connection: Connection, search: Search, size: int, own: str, found_max: int
) -> Portion:
    """Return the newest that fit, at most ``found_max``, below ``search.after``.

    What it costs is bounded: by ``LOOKED_MAX`` records that are looked at, by 255 at
    the end of the log, and by an entry of an index for each day that is asked for.
    """
    search = replace(search, newest_first=True)
    top = size if search.after is None else min(search.after, size)
    floor = _floor(connection, search, top)
    found: list[Record] = []
    for record in search_records(connection, search, size, own, floor):
        if len(found) == found_max:
            return Portion(tuple(found), found[-1].n)
        found.append(record)
    return Portion(tuple(found), floor or None)


def _floor(connection: Connection, search: Search, top: int) -> int:
    """Return the number below which a portion that begins at ``top`` does not look."""
    first, end = _bounds(connection, search, top)
    top = min(top, end)
    wanted = search.mentions()
    if not wanted:
        floor = top - LOOKED_MAX
        return floor if floor > first else 0
    column = tables.mention.c
    number = connection.scalar(
        select(column.n)
        .where(column.key == _number_of(*wanted[0]), column.n < top, column.n >= first)
        .order_by(column.n.desc())
        .offset(LOOKED_MAX - 1)
        .limit(1)
    )
    return number or 0


def search_records(
    connection: Connection, search: Search, size: int, own: str, floor: int = 0
) -> Iterator[Record]:
    """Yield the records that fit, as they stand in this snapshot.

    Args:
        connection: A snapshot.
        search: What is asked for.
        size: Number of records in it.
        own: Name of the node that records.
        floor: Records with lower numbers are not looked at.
    """
    # Records of complete tiles are found by their mentions, the others by looking.
    indexed = size - size % TILE_WIDTH
    parts = [_indexed(search, *_bounds(connection, search, indexed)), _tail(indexed)]
    if search.newest_first:
        parts.reverse()
    wanted = set(search.mentions())
    n = tables.record.c.n
    for part, order in parts:
        query = part.order_by(order.desc() if search.newest_first else order)
        query = query.where(n >= floor)
        if search.events:
            query = query.where(tables.record.c.code.in_(map(int, search.events)))
        if search.after is not None:
            query = query.where(
                n < search.after if search.newest_first else n > search.after
            )
        rows = connection.execution_options(yield_per=ROWS_READ).execute(query)
        for row in rows:
            found = record_of(row)
            if _is_in_time(found.time, search) and _fits(found, search, wanted, own):
                yield found


def record_of(row: Row[*tuple[Any, ...]]) -> Record:
    """Return the record in a row of ``RECORDS``.

    Raises:
        Damaged: The row holds what the log never wrote; ``verify`` names it.
    """
    try:
        return Record(
            row.n,
            from_us(row.wall_us),
            row.mono_us,
            row.boot,
            bytes(row.record or b""),
        )
    except (TypeError, ValueError, OverflowError) as error:
        raise Damaged("audit log: a record was tampered with; verify it") from error


def _is_in_time(time: datetime, search: Search) -> bool:
    return (search.since is None or time >= search.since) and (
        search.until is None or time < search.until
    )


def _fits(
    record: Record, search: Search, wanted: set[tuple[str, str]], own: str
) -> bool:
    """Look at the record itself: two values may share a key."""
    if not wanted and not search.outcomes and not search.types:
        return True
    if not record.data:
        return False
    try:
        event = record.event
    except BadData:
        return True  # tampered with: whoever searches shall see it
    if search.outcomes and event.outcome not in search.outcomes:
        return False
    if search.types and search.types.isdisjoint(event.types):
        return False
    return wanted <= set(event.mentions(own))


# A query, and the column that its rows come in the order of without being sorted.
_Part = tuple[Select[Any], ColumnElement[int]]


def _tail(indexed: int) -> _Part:
    return RECORDS.where(tables.record.c.n >= indexed), tables.record.c.n


def _indexed(search: Search, first: int, end: int) -> _Part:
    """Return the query for records of complete tiles."""
    order: ColumnElement[int] = tables.record.c.n
    query = RECORDS.where(tables.record.c.n >= first, tables.record.c.n < end)
    for position, (kind, value) in enumerate(search.mentions()):
        mention = tables.mention.alias(f"mention_{position}")
        query = query.join(mention, mention.c.n == tables.record.c.n).where(
            mention.c.key == _number_of(kind, value)
        )
        if position == 0:
            order = mention.c.n
    return query, order


def _bounds(connection: Connection, search: Search, indexed: int) -> tuple[int, int]:
    """Return first and end of the numbers that a search by time has to look at.

    They come from the keys of the days between. A record whose clock stood before
    the day of record 0, or after tomorrow, is found by what it mentions and by its
    number, but not by a time that is open on that side.
    """
    if search.since is None and search.until is None:
        return 0, indexed
    if search.since is None:
        oldest = RECORDS.order_by(tables.record.c.n).limit(1)
        began = connection.execute(oldest).first()
        low = (began.wall_us if began else 0) // _DAY_US
    else:
        low = to_us(search.since) // _DAY_US
    until = search.until or datetime.now(UTC) + timedelta(days=1)
    high = to_us(until) // _DAY_US
    if high - low > _DAYS_MAX:
        return 0, indexed
    if high < low:
        return 0, 0
    first, last = connection.execute(_ends(low, high)).one()
    if first is None:
        return 0, 0
    return first, (last + 1 if search.until else indexed)


def _ends(low: int, high: int) -> Select[Any]:
    """Return the question for the first and the last number of some days.

    One statement with two entries of an index for each day: thirty times as fast as a
    statement for each.
    """
    keys = [(numbers_of(_day_key(day))[0],) for day in range(low, high + 1)]
    days = values(column("key", BigInteger), name="days").data(keys).cte("days")
    at = tables.mention.alias("at")
    of_day = at.c.key == days.c.key
    first = select(func.min(at.c.n)).where(of_day).scalar_subquery().correlate(days)
    last = select(func.max(at.c.n)).where(of_day).scalar_subquery().correlate(days)
    return select(func.min(first), func.max(last)).select_from(days)
