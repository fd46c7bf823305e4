"""Facts as they stand in the database, read a few at a time."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Select, func, select

from leadglass.assurance.trails.fact import (
    OWN,
    TEXT_CHARACTERS_MAX,
    Ending,
    Fact,
    Kind,
    Reach,
    Touched,
)
from leadglass.assurance.trails.tables import fact, name, touch, trail
from leadglass.audit.events import from_us, to_us
from leadglass.errors import Damaged

# Facts read at once, with the rows that belong to them.
_READ_TOGETHER: Final = 500
# Values in one statement; SQLite takes 32,766.
VALUES_MAX: Final = 500
NOBODY: Final = 0
BETWEEN_STUDIES: Final = "\\"

# Columns that hold the id of a name.
NAMED: Final = ("who", "ae_title", "address", "certificate", "destination")
# What has no column, in the order in which a row holds it; empty ends are left out.
REST: Final = (
    "what",
    "service",
    "who_kind",
    "channel",
    "called",
    "implementation",
    "octets",
    "details",
)


@dataclass(frozen=True, slots=True)
class TrailInfo:
    """One trail that is stored.

    Attributes:
        id: Its number; ``OWN`` is this node's.
        name: What people call it.
        format: A word of the formats; ``own``.
        sha256: Of the file that was imported; "" for our own.
        imported_at: When that began.
        facts: How many it has; for our own the number of the next record to take.
        unparsed: Lines or messages that could not be read; for our own how many facts
            were taken out of any trail.
        samples: The first of these lines, as text of a stranger.
        is_whole: Whether its import came to its end.
    """

    id: int
    name: str
    format: str
    sha256: str
    imported_at: datetime
    facts: int
    unparsed: int
    samples: tuple[str, ...]
    is_whole: bool

    @property
    def is_own(self) -> bool:
        """Whether it is this node's."""
        return self.id == OWN


def trails(connection: Connection) -> tuple[TrailInfo, ...]:
    """Return the trails there are, our own first."""
    rows = connection.execute(select(trail).order_by(trail.c.id))
    return tuple(
        TrailInfo(
            id=row.id,
            name=row.name,
            format=row.format,
            sha256=row.sha256,
            imported_at=from_us(row.imported_us),
            facts=row.size,
            unparsed=row.unparsed,
            samples=tuple(json.loads(row.samples)),
            is_whole=row.is_whole,
        )
        for row in rows
    )


# ── reading ──────────────────────────────────────────────────────────────


def facts(
    connection: Connection,
    *where: ColumnElement[bool],
    of: int | None = None,
    after: int = -1,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Iterator[Fact]:
    """Yield facts, a few in memory at a time.

    Args:
        connection: A snapshot.
        *where: Conditions on ``tables.fact`` beside.
        of: Those of this trail, in the order of their numbers; None: those of all
            trails, in the order of their times.
        after: Only those with higher numbers, of one trail.
        since: At or after.
        until: Before.
    """
    conditions = list(where)
    if since is not None:
        conditions.append(fact.c.time_us >= to_us(since))
    if until is not None:
        conditions.append(fact.c.time_us < to_us(until))
    if of is None:
        order = [fact.c.time_us, fact.c.trail, fact.c.number]
    else:
        order = [fact.c.number]
        conditions += [fact.c.trail == of, fact.c.number > after]
    yield from read(connection, select(fact).where(*conditions).order_by(*order))


def read(connection: Connection, query: Select[Any]) -> Iterator[Fact]:
    """Yield the facts of a question for whole rows of ``tables.fact``, in its order."""
    cursor = connection.execution_options(yield_per=_READ_TOGETHER).execute(query)
    for rows in cursor.partitions():
        yield from facts_of(connection, rows)


def facts_of(
    connection: Connection, rows: Sequence[Row[*tuple[Any, ...]]]
) -> Iterator[Fact]:
    """Yield the facts of some hundred rows of ``tables.fact``.

    Raises:
        Damaged: A row holds what was never written.
    """
    touches: dict[tuple[int, int], list[Any]] = {}
    numbers: dict[int, list[int]] = {}
    for row in rows:
        numbers.setdefault(row.trail, []).append(row.number)
    for of, some in numbers.items():
        for together in batches(some):
            for each in connection.execute(
                select(touch).where(touch.c.trail == of, touch.c.number.in_(together))
            ):
                touches.setdefault((of, each.number), []).append(each)
    ids = {getattr(row, each) for row in rows for each in NAMED}
    ids.update(each.patient for some_of in touches.values() for each in some_of)
    texts = texts_of(connection, ids)
    for row in rows:
        try:
            yield _fact(row, touches.get((row.trail, row.number), ()), texts)
        except (LookupError, ValueError, TypeError, OverflowError) as error:
            raise Damaged("facts of a trail were tampered with") from error


def texts_of(connection: Connection, ids: Iterable[int]) -> dict[int, str]:
    """Return the names of some ids; what is nobody's is empty."""
    found = {NOBODY: ""}
    for together in batches(sorted(set(ids) - {NOBODY})):
        rows = connection.execute(
            select(name.c.id, name.c.text).where(name.c.id.in_(together))
        )
        found.update((row.id, row.text) for row in rows)
    return found


def id_of(connection: Connection, text: str) -> int | None:
    """Return the id of a name; ``None``: no trail has it."""
    return connection.scalar(select(name.c.id).where(name.c.text == kept(text)))


def _fact(row: Any, touches: Iterable[Any], texts: dict[int, str]) -> Fact:
    rest: list[Any] = json.loads(row.rest)
    values: dict[str, Any] = dict(zip(REST, rest, strict=False))
    if not values.get("octets"):
        values["octets"] = 0
    values |= {each: texts[getattr(row, each)] for each in NAMED}
    values["details"] = MappingProxyType(values.get("details", {}))
    return Fact(
        number=row.number,
        trail=row.trail,
        time=from_us(row.time_us),
        kind=Kind(row.kind),
        ending=Ending(row.ending),
        returned=row.returned,
        instances=row.instances,
        touched=tuple(
            Touched(
                texts[each.patient],
                Reach(each.reach),
                tuple(each.studies.split(BETWEEN_STUDIES)) if each.studies else (),
            )
            for each in touches
        ),
        **values,
    )


def count_of(connection: Connection, of: int) -> int:
    """Return how many facts a trail has."""
    return (
        connection.scalar(
            select(func.count()).select_from(fact).where(fact.c.trail == of)
        )
        or 0
    )


def batches(values: Iterable[int] | Iterable[str]) -> Iterator[list[Any]]:
    """Yield as many together as one statement asks for."""
    rest: Iterator[Any] = iter(values)
    while together := list(islice(rest, VALUES_MAX)):
        yield together


def kept(text: str) -> str:
    """Return a text as it is kept; a lone surrogate has no UTF-8."""
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode()
    return text[:TEXT_CHARACTERS_MAX]
