"""Sending every audit record on, to receivers; nothing of it gets lost.

There are two kinds: of syslog over TLS (RFC 5425), and of FHIR (ITI-20), who are named
by an address. What follows is about the first. The second acknowledge each record; for
them a connection is one without a failure, however often it was opened.

RFC 5425 has no acknowledgement: that bytes were taken by the other kernel does not mean
that anybody has read them. So a record counts as *certain* only when three things have
happened since it was sent, and until then it is kept in mind to be sent again:

1. The connection that carried it was ended in order: we said that this was all, and the
   receiver, which had read to the end, ended its side. Who dies before does not.
2. The next connection, which was opened before that end, has been unbroken since.
3. It has been so for ``settle_s``: what a receiver had read but not yet stored when it
   died, it had read before; a death is seen by the break of that connection.

Whatever breaks, everything behind the last certain record is sent again. The number of
that record is in the database, for each receiver. So a crash of receiver, network or
node sends some records twice, each with the same number in it, and leaves none out.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from sqlalchemy import ColumnElement, Connection, Row, delete, insert, select, update

from leadglass.archive.parts import Parts
from leadglass.archive.tables import forwarded
from leadglass.audit.builders import Actor
from leadglass.audit.search import Record
from leadglass.database.engine import Transaction
from leadglass.errors import LeadglassError, Unavailable
from leadglass.identity.rows import from_us, to_us

_LOG = logging.getLogger(__name__)

# Records in memory at once; one of them is 1 MiB at most, and 1 kB nearly always.
TOGETHER_MAX: Final = 32
# Records on one connection, before it is ended in order. For a receiver that was too
# slow half of what it was given, and a little more each time that something of it has
# become certain: sooner, the next failure would make all of it go again.
CARRIED_MAX: Final = 10_000
_GROWTH: Final = 8
# After a batch the thread rests this many times as long as it computed: whoever stores
# images meanwhile hardly feels it, and 1,000 records a second still go.
REST: Final = 2.0
# After the first failure, twice as long after each.
DELAY_FIRST_S: Final = 1.0
DELAY_MAX_S: Final = 60.0
# How often new records are looked for.
LOOK_INTERVAL_S: Final = 1.0


# When a backlog is a finding: a receiver that was restarted is back long before.
LATE: Final = timedelta(hours=1)


def kind(receiver: str) -> str:
    """Return how a receiver gets records, by its name in the settings."""
    return "FHIR" if receiver.startswith("https://") else "syslog"


class TooSlow(Unavailable):
    """A receiver did not take something, or did not end, in its time."""


class Link(Protocol):
    """A connection to a receiver; whatever fails raises ``Unavailable``."""

    def send(self, data: bytes) -> None:
        """Hand bytes over."""

    def look(self) -> None:
        """Make sure that the receiver has not left."""

    def finish(self) -> None:
        """Say that this was all; return when the receiver has ended in order."""

    def drop(self) -> None:
        """Let go, from any thread; may be repeated."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """How far one receiver is.

    Attributes:
        receiver: As the settings name it.
        sent: Records that were handed over in order.
        certain: Records of those that need not be sent again, whatever happens.
        waiting: Records behind those.
        waiting_since: When the oldest of them was recorded.
        error: What was wrong when it last failed; empty: it works.
        error_at: When that was.
    """

    receiver: str
    sent: int
    certain: int
    waiting: int
    waiting_since: datetime | None
    error: str
    error_at: datetime | None

    def is_late(self, now: datetime) -> bool:
        """Tell whether somebody has to see to it."""
        since = self.waiting_since
        return since is not None and now - since > LATE


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Forwarding:
    """What is known of each receiver.

    Attributes:
        parts: The collaborators.
        clock: Gives the time, with its zone.
    """

    parts: Parts
    clock: Callable[[], datetime] = _now

    def agree(self, trust: Mapping[str, str], actor: Actor) -> None:
        """Take up what the settings say; what is new in it goes on the record.

        A receiver that is new gets every record, from the first.

        Args:
            trust: For each receiver what the certificates are known by, ours and
                theirs.
            actor: Who starts the node.

        Raises:
            Unavailable: It cannot be recorded.
        """

        def work(tx: Transaction) -> None:
            rows = tx.connection.execute(
                select(forwarded.c.receiver, forwarded.c.trust)
            )
            known: dict[str, str] = {row.receiver: row.trust for row in rows}
            for name, what in _changes(known, trust):
                said = trust.get(name, "")
                self._change(tx.connection, name, what, said)
                who = f"{kind(name)} receiver"
                facts = {who: name, "change": what, "certificates": said}
                event = self.parts.events.configuration_changed(actor, facts)
                self.parts.audit.append(tx, event)

        self.parts.database.write(work)

    def _change(self, connection: Connection, name: str, what: str, trust: str) -> None:
        is_it = forwarded.c.receiver == name
        if what == _REMOVED:
            connection.execute(delete(forwarded).where(is_it))
        elif what == _ADDED:
            row = {"receiver": name, "trust": trust, "certain": 0, "sent": 0}
            connection.execute(insert(forwarded).values(**row, error=""))
        else:
            connection.execute(update(forwarded).where(is_it).values(trust=trust))

    def backlog(self, receivers: Sequence[str]) -> tuple[Backlog, ...]:
        """Return how far each receiver is.

        Raises:
            Unavailable: The database cannot answer.
        """
        with self.parts.database.read() as connection:
            rows = {
                row.receiver: row for row in connection.execute(select(forwarded)).all()
            }
        size = self.parts.audit.size()
        return tuple(self._backlog(name, rows.get(name), size) for name in receivers)

    def _backlog(
        self, name: str, row: Row[*tuple[object, ...]] | None, size: int
    ) -> Backlog:
        certain: int = 0 if row is None else row.certain
        oldest = self.read(certain, 1)
        return Backlog(
            receiver=name,
            sent=0 if row is None else row.sent,
            certain=certain,
            waiting=max(size - certain, 0),
            waiting_since=oldest[0].time if oldest else None,
            error="" if row is None else row.error,
            error_at=(
                None if row is None or row.error_us is None else from_us(row.error_us)
            ),
        )

    def certain(self, receiver: str) -> int:
        """Return the number of the first record that must be sent (again)."""
        column = forwarded.c.certain
        with self.parts.database.read() as connection:
            found = connection.scalar(
                select(column).where(forwarded.c.receiver == receiver)
            )
        return found or 0

    def read(self, first: int, records_max: int) -> Sequence[Record]:
        """Return records from a number on, in their order."""
        return self.parts.audit.following(first, records_max)

    def set_certain(self, receiver: str, number: int) -> None:
        """Note that the records below a number are certain; never goes back."""
        self._set(receiver, forwarded.c.certain < number, certain=number)

    def set_sent(self, receiver: str, number: int) -> None:
        """Note that the records below a number were handed over, and that it works."""
        self._set(receiver, sent=number, error="")

    def set_error(self, receiver: str, error: str) -> None:
        """Note what is wrong, now; empty: nothing any more."""
        self._set(receiver, error=error, error_us=to_us(self.clock()))

    def _set(
        self, receiver: str, *conditions: ColumnElement[bool], **values: object
    ) -> None:
        change = update(forwarded).where(forwarded.c.receiver == receiver, *conditions)

        def work(tx: Transaction) -> None:
            tx.connection.execute(change.values(**values))

        self.parts.database.write(work)


_ADDED: Final = "added"
_REMOVED: Final = "removed"
_TRUST: Final = "certificates changed"


def _changes(
    known: Mapping[str, str], trust: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Yield (receiver, what became of it)."""
    for name, said in trust.items():
        if name not in known:
            yield name, _ADDED
        elif known[name] != said:
            yield name, _TRUST
    for name in known:
        if name not in trust:
            yield name, _REMOVED


@dataclass(slots=True)
class Forwarder:
    """Sends to one receiver; ``step`` again and again, in one thread.

    Attributes:
        forwarding: The position.
        receiver: Whom to send to.
        connect: Opens a connection to it; raises ``LeadglassError``.
        frame: Gives a record the form that goes over the wire.
        settle_s: How long a receiver may take to store what it has read.
        clock: Seconds, for durations.
    """

    forwarding: Forwarding
    receiver: str
    connect: Callable[[], Link]
    frame: Callable[[Record], bytes]
    settle_s: float
    clock: Callable[[], float] = time.monotonic
    _link: Link | None = None
    _linked_at: float = 0.0
    _next: int = 0
    _carried: int = 0
    _carried_since: float = 0.0
    _carried_max: int = CARRIED_MAX
    _settling: deque[tuple[float, int]] = field(default_factory=deque)
    _delay_s: float = 0.0

    def step(self) -> float:
        """Do what is to be done now; return in how many seconds to come again."""
        try:
            return self._step()
        except LeadglassError as error:
            return self._failed(error)

    def _step(self) -> float:
        began = time.thread_time()
        link = self._link or self._begin()
        try:
            link.look()
        except Unavailable:
            if self._carried or self._settling:
                raise
            self.drop()  # it ended what was idle, as some do; nothing has to go again
            link = self._begin()
        self._settle()
        records = self.forwarding.read(self._next, TOGETHER_MAX)
        for record in records:
            link.send(self.frame(record))
            if not self._carried:
                self._carried_since = self.clock()
            self._next = record.n + 1
            self._carried += 1
            if self._carried >= self._carried_max:
                break
        if self._is_time_to_turn():
            self._turn(link)
        if len(records) < TOGETHER_MAX:
            return LOOK_INTERVAL_S
        return REST * (time.thread_time() - began)

    def _begin(self) -> Link:
        self._next = self.forwarding.certain(self.receiver)
        self._carried = 0
        self._link = self.connect()
        self._linked_at = self.clock()
        return self._link

    def _settle(self) -> None:
        """Move the position over what has stood long enough."""
        until = self.clock() - self.settle_s
        if self._delay_s and self._linked_at <= until:
            self._works()
            self.forwarding.set_error(self.receiver, "")
        number = 0
        while self._settling and self._settling[0][0] <= until:
            _, number = self._settling.popleft()
        if number:
            self.forwarding.set_certain(self.receiver, number)
            grown = self._carried_max + self._carried_max // _GROWTH + 1
            self._carried_max = min(grown, CARRIED_MAX)

    def _is_time_to_turn(self) -> bool:
        if not self._carried:
            return False
        is_full = self._carried >= self._carried_max
        return is_full or self.clock() - self._carried_since >= self.settle_s / 2

    def _turn(self, link: Link) -> None:
        """End the connection in order, with the next one open already."""
        self._link = self.connect()
        try:
            link.finish()
        finally:
            link.drop()
        self._settling.append((self.clock(), self._next))
        self._carried = 0
        self._works()
        self.forwarding.set_sent(self.receiver, self._next)

    def _works(self) -> None:
        if self._delay_s:
            _LOG.info("audit records reach a receiver again")
        self._delay_s = 0.0

    def _failed(self, why: LeadglassError) -> float:
        if not self._delay_s:
            _LOG.warning("audit records do not reach a receiver: %s", why)
        if isinstance(why, TooSlow):
            self._carried_max = max(self._carried // 2, 1)
        self.drop()
        self._settling.clear()
        self._delay_s = min(max(self._delay_s * 2, DELAY_FIRST_S), DELAY_MAX_S)
        try:
            self.forwarding.set_error(self.receiver, str(why))
        except LeadglassError as error:
            _LOG.warning("the position of a receiver: %s", error)
        return self._delay_s

    def drop(self) -> None:
        """Let go of the connection, from any thread: what it carried is sent again."""
        link, self._link = self._link, None
        if link is not None:
            link.drop()
