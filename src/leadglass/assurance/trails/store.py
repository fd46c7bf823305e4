"""Facts in the database: added in portions, read in order, forgotten on order.

Any number of processes may take the own record in at once: who takes a portion proves
within its transaction that nobody took it before. A crash leaves whole portions; the
next one goes on behind them.

Names stand once each. A process remembers their ids, so what was taken out of any
trail is counted in the row of our own, and a process that sees another count than it
knows forgets what it remembered: an id never tells of somebody else.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from threading import Lock
from typing import Any, Final

from sqlalchemy import (
    Connection,
    Row,
    delete,
    exists,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert as insert_or

from leadglass.assurance.trails.fact import (
    OWN,
    Fact,
)
from leadglass.assurance.trails.own import fact_of
from leadglass.assurance.trails.reading import (
    BETWEEN_STUDIES,
    NAMED,
    NOBODY,
    VALUES_MAX,
    batches,
    kept,
)
from leadglass.assurance.trails.tables import fact, name, touch, trail
from leadglass.audit.events import to_us
from leadglass.audit.log import AuditLog
from leadglass.audit.orders import Act, order_of
from leadglass.audit.runs import Runs
from leadglass.audit.search import Record
from leadglass.database.engine import Database, Transaction
from leadglass.errors import NotFound

# Records taken in one transaction: others wait for it some 50 ms.
TAKEN_TOGETHER_MAX: Final = 500
# Names that a process remembers; some 20 MB.
_REMEMBERED_MAX: Final = 200_000

OWN_FORMAT: Final = "own"

_ENCODER: Final = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, separators=(",", ":")
)
_ADD_FACT: Final = insert_or(fact).on_conflict_do_nothing()
_ADD_TOUCH: Final = insert_or(touch).on_conflict_do_nothing()
_ADD_NAME: Final = insert_or(name).on_conflict_do_nothing()
# How a transaction knows which names it has made.
_MEMO: Final = "trail names"


class Facts:
    """The facts of all trails in one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._mutex = Lock()
        self._known: dict[str, int] = {}
        self._taken_out = -1  # the count that ``_known`` is of

    # ── adding ───────────────────────────────────────────────────────────────

    def write(self, facts: Iterable[Fact]) -> None:
        """Add facts in a transaction of their own; durable on return.

        Raises:
            Unavailable: They are not added.
        """
        together = tuple(facts)
        self.remember(self._database.write(lambda tx: self.add(tx, together)))

    def add(self, tx: Transaction, facts: Sequence[Fact]) -> "Names":
        """Add facts within a transaction; one that is there stays as it is.

        Returns:
            Names that were found or made; ``remember`` them when it is committed.
        """
        names = self._names(tx)
        names.resolve(tx.connection, _texts(facts))
        ids = names.ids
        rows = [_row(each, ids) for each in facts]
        touches = [row for each in facts for row in _touches(each, ids)]
        if rows:
            tx.connection.execute(_ADD_FACT, rows)
        if touches:
            tx.connection.execute(_ADD_TOUCH, touches)
        return names

    def remember(self, names: "Names") -> None:
        """Keep names for the next transaction, now that they are committed."""
        with self._mutex:
            if names.taken_out != self._taken_out or (
                len(self._known) + len(names.ids) > _REMEMBERED_MAX
            ):
                self._known = {}
            self._taken_out = names.taken_out
            self._known.update(names.ids)

    def _names(self, tx: Transaction) -> "Names":
        found: Names | None = tx.memo.get(_MEMO)
        taken_out = _own_row(tx.connection).unparsed
        if found is None or found.taken_out != taken_out:
            with self._mutex:
                known = self._known if taken_out == self._taken_out else {}
            found = tx.memo[_MEMO] = Names(taken_out, known)
        return found

    # ── our own record ───────────────────────────────────────────────────────

    def take_own(self, log: AuditLog, budget: int) -> int:
        """Take new records in, at most ``budget``; return how many.

        Raises:
            Unavailable: The database cannot answer; what was taken stays.
        """
        done = 0
        while done < budget:
            # The count is read before the records: what is erased from then on shows.
            first, taken_out = self._position()
            records = log.following(first, min(TAKEN_TOGETHER_MAX, budget - done))
            if not records:
                break
            if self._withdraw(log, records):
                _, taken_out = self._position()
                records = log.following(first, len(records))
            facts = [fact_of(each, log.origin) for each in records]
            if self._took(facts, first, taken_out):
                done += len(records)
        return done

    def take_all(self, log: AuditLog) -> int:
        """Take in whatever the record has by now; return how many records that were."""
        return self.take_own(log, log.size())

    def _position(self) -> tuple[int, int]:
        """Return the next record to take, and how much was taken out by now."""
        with self._database.read() as connection:
            row = connection.execute(_OWN_ROW).one_or_none()
        return (0, 0) if row is None else (row.size, row.unparsed)

    def _took(self, facts: Sequence[Fact], first: int, taken_out: int) -> bool:
        """Add a portion, unless another process was quicker or something was erased."""

        def work(tx: Transaction) -> "Names | None":
            row = _own_row(tx.connection)
            if (row.size, row.unparsed) != (first, taken_out):
                return None
            names = self.add(tx, facts)
            tx.connection.execute(
                update(trail).where(trail.c.id == OWN).values(size=facts[-1].number + 1)
            )
            return names

        names = self._database.write(work)
        if names is not None:
            self.remember(names)
        return names is not None

    def _withdraw(self, log: AuditLog, records: Sequence[Record]) -> bool:
        """Forget what orders among new records took out of the log; tell of any."""
        has_any = False
        for record in records:
            order = order_of(record.data, log.origin)
            if order is None:
                continue
            has_any = True
            for first, end in order.numbers.runs:
                self._forget_run(first, min(end, record.n))
            if order.act is Act.ERASED:
                self._tell_again(log, order.numbers)
        return has_any

    def _forget_run(self, first: int, end: int) -> None:
        for at in range(first, end, VALUES_MAX):
            numbers = range(at, min(end, at + VALUES_MAX))
            with self._database.read() as connection:
                if not _has_any(connection, numbers):
                    continue
            self._database.write(partial(self._forget, numbers=numbers))

    def _tell_again(self, log: AuditLog, numbers: Runs) -> None:
        """Add what is left of erased records: that something happened, then."""
        for together in batches(numbers):
            left = [
                fact_of(each, log.origin)
                for n in together
                if (each := _record(log, n)) is not None
            ]
            self.write(left)

    # ── taking out ───────────────────────────────────────────────────────────

    def forget(self, tx: Transaction, numbers: Iterable[int], of: int = OWN) -> None:
        """Take facts out, and the names that nothing else has.

        Args:
            tx: The transaction.
            numbers: Of the records; bounded by who calls.
            of: The trail.
        """
        connection = tx.connection
        gone = 0
        for together in batches(numbers):
            of_facts = (fact.c.trail == of, fact.c.number.in_(together))
            of_touches = (touch.c.trail == of, touch.c.number.in_(together))
            columns = [fact.c[each] for each in NAMED]
            used = {
                each
                for row in connection.execute(select(*columns).where(*of_facts))
                for each in row
            }
            used.update(
                connection.scalars(select(touch.c.patient).where(*of_touches)).all()
            )
            connection.execute(delete(touch).where(*of_touches))
            gone += connection.execute(delete(fact).where(*of_facts)).rowcount
            _drop_names(connection, used - {NOBODY})
        _own_row(connection)
        connection.execute(
            update(trail)
            .where(trail.c.id == OWN)
            .values(unparsed=trail.c.unparsed + gone)
        )
        tx.memo.pop(_MEMO, None)

    def _forget(self, tx: Transaction, numbers: range) -> None:
        self.forget(tx, numbers)


class Names:
    """Ids of names, as one transaction knows them."""

    __slots__ = ("_known", "ids", "taken_out")

    def __init__(self, taken_out: int, known: dict[str, int]) -> None:
        self.taken_out = taken_out
        self.ids: dict[str, int] = {"": NOBODY}
        self._known = known

    def resolve(self, connection: Connection, texts: Iterable[str]) -> None:
        """Find the id of each text, or make one."""
        unknown: list[str] = []
        for text in texts:
            if text in self.ids:
                continue
            known = self._known.get(text)
            if known is None:
                unknown.append(text)
            else:
                self.ids[text] = known
        if unknown:
            connection.execute(_ADD_NAME, [{"text": text} for text in unknown])
        for together in batches(unknown):
            rows = connection.execute(
                select(name.c.id, name.c.text).where(name.c.text.in_(together))
            )
            self.ids.update((row.text, row.id) for row in rows)


_OWN_ROW: Final = select(trail.c.size, trail.c.unparsed).where(trail.c.id == OWN)


def _own_row(connection: Connection) -> Row[*tuple[Any, ...]]:
    """Return how far our own trail is; it is made when it is needed first."""
    row = connection.execute(_OWN_ROW).one_or_none()
    if row is not None:
        return row
    values = {
        "id": OWN,
        "name": OWN_FORMAT,
        "format": OWN_FORMAT,
        "sha256": "",
        "imported_us": to_us(datetime.now(UTC)),
        **dict.fromkeys(("size", "unparsed"), 0),
        "samples": "[]",
        "is_whole": True,
    }
    connection.execute(insert(trail), values)
    return connection.execute(_OWN_ROW).one()


def _record(log: AuditLog, n: int) -> Record | None:
    try:
        return log.get(n)
    except NotFound:
        return None  # pruned since


def _has_any(connection: Connection, numbers: range) -> bool:
    query = select(fact.c.number).where(
        fact.c.trail == OWN,
        fact.c.number >= numbers.start,
        fact.c.number < numbers.stop,
    )
    return connection.execute(query.limit(1)).first() is not None


def _drop_names(connection: Connection, ids: Iterable[int]) -> None:
    """Drop the names that no fact has any more: a patient's ID is personal data."""
    is_used = or_(
        *(exists().where(fact.c[each] == name.c.id) for each in NAMED),
        exists().where(touch.c.patient == name.c.id),
    )
    for together in batches(sorted(ids)):
        connection.execute(delete(name).where(name.c.id.in_(together), ~is_used))


def _texts(facts: Iterable[Fact]) -> dict[str, None]:
    found: dict[str, None] = {}
    for each in facts:
        for text in (
            each.who,
            each.ae_title,
            each.address,
            each.certificate,
            each.destination,
            *(one.patient for one in each.touched),
        ):
            if text:
                found[kept(text)] = None
    return found


def _row(each: Fact, ids: dict[str, int]) -> dict[str, Any]:
    rest: list[Any] = [
        each.what,
        each.service,
        each.who_kind,
        each.channel,
        each.called,
        each.implementation,
        each.octets,
        dict(each.details),
    ]
    while rest and not rest[-1]:
        rest.pop()
    return {
        "trail": each.trail,
        "number": each.number,
        "time_us": to_us(each.time),
        "kind": each.kind.value,
        "ending": each.ending.value,
        "who": ids[kept(each.who)],
        "ae_title": ids[kept(each.ae_title)],
        "address": ids[kept(each.address)],
        "certificate": ids[kept(each.certificate)],
        "destination": ids[kept(each.destination)],
        "returned": each.returned,
        "instances": each.instances,
        "rest": _ENCODER.encode(rest).encode("utf-8", "backslashreplace").decode(),
    }


def _touches(each: Fact, ids: dict[str, int]) -> Iterator[dict[str, Any]]:
    time_us = to_us(each.time)
    for one in each.touched:
        yield {
            "patient": ids[kept(one.patient)],
            "time_us": time_us,
            "trail": each.trail,
            "number": each.number,
            "reach": one.reach.value,
            "studies": BETWEEN_STUDIES.join(map(kept, one.studies)),
        }
