"""Keeping the record: how long, what must stay longer, and pruning what is old.

Who may: whoever has the right ``audit`` and is a person. The role of an administrator
does not have it. What an administrator could do to the record by holding its machine
is found by verification; what the node does on order is told by the record itself.

The crash story of pruning: a portion is one transaction that deletes the rows of a few
tiles and what searches go by, appends the record that says so, and points at it. After
``kill -9`` at any step a portion is there whole or not at all; the next run goes on
behind the last one. A portion is small, so that writers wait for a fraction of a
second, and between two of them everybody else comes first.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Protocol

from sqlalchemy import Connection, Row, insert, select

from leadglass.access.policy import Kind
from leadglass.access.rights import Right
from leadglass.archive.caller import Caller
from leadglass.archive.parts import Parts
from leadglass.archive.tables import forwarded, hold
from leadglass.audit.events import to_us
from leadglass.audit.merkle import TILE_WIDTH
from leadglass.audit.orders import RetentionEvents
from leadglass.audit.pruning import (
    Tile,
    check_clock,
    is_needed,
    places,
    point_at,
    remove,
    tile_at,
)
from leadglass.audit.retention import (
    NAME_CHARACTERS_MAX,
    REASON_CHARACTERS_MAX,
    REASON_CHARACTERS_MIN,
    Hold,
    Holding,
    Policy,
    Subject,
    check_reason,
)
from leadglass.audit.runs import Runs
from leadglass.audit.withdrawn import Pruned, pruned_of
from leadglass.database.engine import Transaction
from leadglass.errors import NotFound, Refused, Unavailable
from leadglass.identity.rows import from_us

__all__ = [
    "NAME_CHARACTERS_MAX",
    "REASON_CHARACTERS_MAX",
    "REASON_CHARACTERS_MIN",
    "Follower",
    "Gone",
    "Hold",
    "Policy",
    "Pruning",
    "Receivers",
    "Retention",
    "Shown",
    "Subject",
]

# Tiles in one transaction: 1,024 records and some 6,000 entries of searches.
_TILES_TOGETHER: Final = 4
# How long everybody else has the database to himself after each.
_REST_S: Final = 0.02
# Holds that stand at once; each is asked about each record.
HOLDS_MAX: Final = 1_000
_NUMBER_MAX: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Gone:
    """What a transaction took out of the record.

    Attributes:
        pruned: Numbers of the records that are gone.
        erased: Numbers of the records that have no content any more.
    """

    pruned: Runs = field(default_factory=Runs)
    erased: Runs = field(default_factory=Runs)


class Follower(Protocol):
    """Something that is made from records, or sends them on."""

    def positions(self, connection: Connection) -> Mapping[str, int]:
        """Return by name below which number records are not needed any more."""

    def forget(self, tx: Transaction, gone: Gone) -> None:
        """Take out what came from these records, in the same transaction."""


@dataclass(frozen=True, slots=True)
class Receivers:
    """The receivers of syslog, as a follower.

    Attributes:
        names: As the settings have them; one that never began needs everything.
    """

    names: tuple[str, ...] = ()

    def positions(self, connection: Connection) -> Mapping[str, int]:
        """Return how much of the record each has for certain."""
        rows = connection.execute(select(forwarded.c.receiver, forwarded.c.certain))
        known = {f"receiver {row.receiver}": int(row.certain) for row in rows}
        return {f"receiver {name}": 0 for name in self.names} | known

    def forget(self, tx: Transaction, gone: Gone) -> None:
        """Do nothing: records are read when they are sent, and kept nowhere."""


@dataclass(slots=True)
class Pruning:
    """What a run did, or would do.

    Attributes:
        cutoff: Records recorded before then are old enough.
        pruned: Records that went, or would.
        portions: Transactions that it took.
        held: For each hold how many records stay because of it.
        needed: Records that stay because what is left could not be proven otherwise.
        waiting: Who has not got old records yet, so that they stay.
    """

    cutoff: datetime
    pruned: int = 0
    portions: int = 0
    held: dict[int, int] = field(default_factory=dict)
    needed: int = 0
    waiting: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Shown:
    """What stands.

    Attributes:
        policy: How long records stay.
        cutoff: Records recorded before then are old enough.
        size: Records that there were ever.
        pruned: Which of them were pruned.
        oldest: When the oldest that is left was recorded.
        holds: All, the newest first.
        positions: How far whoever must get the records is.
    """

    policy: Policy
    cutoff: datetime
    size: int
    pruned: Pruned
    oldest: datetime | None
    holds: tuple[Hold, ...]
    positions: Mapping[str, int]


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Retention:
    """The use cases of keeping and pruning.

    Attributes:
        parts: The collaborators.
        policy: How long records stay.
        followers: Who has to get a record before it goes, and to hear when it does.
        clock: Gives the time, with its zone.
        rest: Waits between two portions.
    """

    parts: Parts
    policy: Policy = field(default_factory=Policy)
    followers: tuple[Follower, ...] = (Receivers(),)
    clock: Callable[[], datetime] = _now
    rest: Callable[[float], None] = time.sleep

    @property
    def events(self) -> RetentionEvents:
        """Builds the events."""
        return RetentionEvents(self.parts.events.node)

    def require(self, caller: Caller, function: str) -> None:
        """Make sure that this is a person who may.

        Raises:
            Refused: It is not.
        """
        self.parts.require(caller, Right.AUDIT, function)
        if caller.subject.kind is not Kind.OPERATOR:
            actor = self.parts.actor(caller)
            self.parts.try_to_record(
                self.parts.events.access_refused(actor, function, "not a person")
            )
            raise Refused("not authorized")

    # ── looking ──────────────────────────────────────────────────────────────

    def show(self, caller: Caller) -> Shown:
        """Return what stands.

        Raises:
            Refused: ``caller`` may not.
        """
        self.parts.require(caller, Right.AUDIT, "audit retention")
        log = self.parts.audit
        oldest = log.following(0, 1)
        with self.parts.database.read() as connection:
            return Shown(
                policy=self.policy,
                cutoff=self.policy.cutoff(self.clock()),
                size=log.size(),
                pruned=pruned_of(connection, log.origin),
                oldest=oldest[0].time if oldest else None,
                holds=holds_of(connection),
                positions=self._positions(connection),
            )

    def _positions(self, connection: Connection) -> dict[str, int]:
        found: dict[str, int] = {}
        for each in self.followers:
            found.update(each.positions(connection))
        return found

    # ── holds ────────────────────────────────────────────────────────────────

    def place(self, caller: Caller, subject: Subject, reason: str) -> Hold:
        """Keep records, whatever their age, until two people release them.

        Raises:
            Refused: ``caller`` may not.
            BadData: The reason says nothing.
            Unavailable: It cannot be recorded, or too many stand.
        """
        self.require(caller, "legal hold")
        reason, now = check_reason(reason), self.clock()
        actor = self.parts.actor(caller)

        def work(tx: Transaction) -> Hold:
            if len(standing(tx.connection)) >= HOLDS_MAX:
                raise Unavailable(f"{HOLDS_MAX} legal holds stand; release some first")
            number = tx.connection.scalars(
                insert(hold).returning(hold.c.id),
                {
                    "reason": reason,
                    "since_us": None if subject.since is None else to_us(subject.since),
                    "until_us": None if subject.until is None else to_us(subject.until),
                    "patient": subject.patient,
                    "study": subject.study,
                    "person": subject.person,
                    "placed_by": actor.name,
                    "placed_us": to_us(now),
                },
            ).one()
            placed = hold_of(tx.connection, number)
            self.parts.audit.append(tx, self.events.hold_placed(actor, placed))
            return placed

        return self.parts.database.write(work)

    # ── pruning ──────────────────────────────────────────────────────────────

    def run(
        self,
        caller: Caller,
        *,
        dry_run: bool = False,
        progress: Callable[[int, int], None] = lambda _done, _all: None,
    ) -> Pruning:
        """Prune what is older than the policy, as far as nothing keeps it.

        Args:
            caller: Who began it.
            dry_run: Only look what would go.
            progress: Is told how many records were looked at, of how many.

        Raises:
            Refused: ``caller`` may not.
            Damaged: Old records are not as they were signed; they stay.
            Unavailable: Receivers have none of the old records yet, the clock may be
                wrong, or a portion cannot be recorded; what went before has gone.
        """
        self.require(caller, "audit retention run")
        now = self.clock()
        found = Pruning(self.policy.cutoff(now))
        log = self.parts.audit
        with self.parts.database.read() as connection:
            size = log.size()
            pruned = pruned_of(connection, log.origin).numbers
            first = next(iter(places(size, pruned)), None)
            if first is None or not self._is_old(tile_at(connection, first), found):
                return found
            check_clock(connection, size, found.cutoff, now)
        step = self._look if dry_run else self._prune
        place: int | None = first
        while place is not None:
            progress(place * TILE_WIDTH, size)
            place = step(caller, place, size, found)
            if place is not None and not dry_run:
                self.rest(_REST_S)
        if found.waiting and not found.pruned and not dry_run:
            raise Unavailable(
                f"nothing was pruned: {', '.join(found.waiting)} must have the old "
                "records first"
            )
        return found

    def _look(self, _: Caller, place: int, size: int, found: Pruning) -> int | None:
        with self.parts.database.read() as connection:
            due, following = self._due(connection, place, size, found)
        found.pruned += TILE_WIDTH * len(due)
        return following

    def _prune(
        self, caller: Caller, place: int, size: int, found: Pruning
    ) -> int | None:
        log, actor = self.parts.audit, self.parts.actor(caller)

        def work(tx: Transaction) -> tuple[Pruning, int | None]:
            # Begins from nothing each time: a transaction may be repeated. Holds are
            # read in it, so one that was placed a moment ago keeps its records.
            now = Pruning(found.cutoff)
            due, following = self._due(tx.connection, place, size, now)
            if due:
                gone = Runs.of(tile.run for tile in due)
                before = pruned_of(tx.connection, log.origin).numbers
                for tile in due:
                    remove(tx.connection, tile)
                stand = ",".join(str(each.id) for each in standing(tx.connection))
                until = found.cutoff.isoformat(timespec="seconds")
                event = self.events.pruned(actor, before | gone, until, stand)
                point_at(tx.connection, log.append(tx, event))
                for each in self.followers:
                    each.forget(tx, Gone(pruned=gone))
                now.pruned, now.portions = len(gone), 1
            return now, following

        did, following = self.parts.database.write(work)
        found.pruned += did.pruned
        found.portions += did.portions
        found.needed += did.needed
        found.waiting = did.waiting
        for number, count in did.held.items():
            found.held[number] = found.held.get(number, 0) + count
        return following

    def _due(
        self, connection: Connection, place: int, size: int, found: Pruning
    ) -> tuple[Sequence[Tile], int | None]:
        """Return a few tiles that may go, and where to go on; None: that was all."""
        holding = Holding(standing(connection))
        positions = self._positions(connection)
        cosigned = self.parts.audit.cosigned_sizes()
        pruned = pruned_of(connection, self.parts.audit.origin).numbers
        due: list[Tile] = []
        for looked, at in enumerate(places(size, pruned, place)):
            if looked == _TILES_TOGETHER:
                return due, at
            tile = tile_at(connection, at)
            if not self._is_old(tile, found):
                return due, None
            late = [name for name, done in positions.items() if done < tile.run[1]]
            if late:
                found.waiting = tuple(sorted(late))
                return due, None
            holds = tile.holds(holding)
            for number in holds:
                found.held[number] = found.held.get(number, 0) + TILE_WIDTH
            if holds:
                continue
            going = Runs.of(each.run for each in due)
            if is_needed(connection, tile, cosigned, going):
                found.needed += TILE_WIDTH
                continue
            due.append(tile)
        return due, None

    def _is_old(self, tile: Tile, found: Pruning) -> bool:
        return tile.newest_us < to_us(found.cutoff)


# ── holds, as they are kept ──────────────────────────────────────────────────


def _hold(row: Row[*tuple[object, ...]]) -> Hold:
    return Hold(
        id=row.id,
        subject=Subject(
            since=None if row.since_us is None else from_us(row.since_us),
            until=None if row.until_us is None else from_us(row.until_us),
            patient=row.patient,
            study=row.study,
            person=row.person,
        ),
        reason=row.reason,
        placed_by=row.placed_by,
        placed_at=from_us(row.placed_us),
        released_by=row.released_by or "",
        released_at=None if row.released_us is None else from_us(row.released_us),
    )


def holds_of(connection: Connection) -> tuple[Hold, ...]:
    """Return all holds, the newest first."""
    rows = connection.execute(select(hold).order_by(hold.c.id.desc()))
    return tuple(map(_hold, rows))


def standing(connection: Connection) -> tuple[Hold, ...]:
    """Return the holds that stand, the oldest first."""
    rows = connection.execute(
        select(hold).where(hold.c.released_us.is_(None)).order_by(hold.c.id)
    )
    return tuple(map(_hold, rows))


def hold_of(connection: Connection, number: int) -> Hold:
    """Return one hold.

    Raises:
        NotFound: There is none of this number.
    """
    if not 0 < number <= _NUMBER_MAX:
        raise NotFound("there is no such legal hold")
    row = connection.execute(select(hold).where(hold.c.id == number)).one_or_none()
    if row is None:
        raise NotFound("there is no such legal hold")
    return _hold(row)
