"""Broken glass: one patient beyond one's scope, for a reason, for a while, reviewed.

    start ──────────> stands ──stop, or its time──> over ──sign──> closed
    110127 (reason)                  110138              verdict of somebody else

A grant becomes one more rule of its person, seen by the next decision. It is given
whether or not there is such a patient, so that asking tells nothing. Its review stays
open until somebody else with the right to it has signed.

The crash story: a grant and its event are one transaction. One whose time is over
gives nothing from that moment on, whoever is running; ``expire`` only puts its end on
the record.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, func, insert, select, update

from leadglass.access.networks import Network
from leadglass.access.policy import Kind, Rule, Subject
from leadglass.access.rights import Right
from leadglass.access.scopes import Scope
from leadglass.archive.caller import Caller
from leadglass.archive.parts import Parts
from leadglass.archive.tables import emergency, notice
from leadglass.audit.builders import Actor
from leadglass.audit.emergency import BrokenGlass, EmergencyEvents
from leadglass.database.engine import Transaction
from leadglass.errors import BadData, LeadglassError, NotFound, Refused
from leadglass.identity.rows import from_us, to_us

_LOG = logging.getLogger(__name__)

# Fewer say nothing that could be reviewed ("help"), more is not read.
REASON_CHARACTERS_MIN = 10
REASON_CHARACTERS_MAX = 500
NOTE_CHARACTERS_MAX = 500

# An hour is one patient in an emergency room; eight are a shift.
DURATION_DEFAULT = timedelta(hours=1)
DURATION_MAX = timedelta(hours=8)

# PS3.5 §6.2: a Patient ID (LO) has 64 characters and no backslash.
PATIENT_ID_CHARACTERS_MAX = 64

# Standing for one person at once: more emergencies than anybody treats in a shift, few
# enough that nobody reads a whole archive patient by patient.
STANDING_MAX = 20

# Shown or ended together; some 1 MB of record.
TOGETHER_MAX = 500

# What is opened: to find and look, not to take away.
RIGHTS = frozenset({Right.FIND, Right.VIEW})

# What a column of the database holds; a URL may bring any number.
_NUMBER_MAX = (1 << 63) - 1

_COLUMN = emergency.c


class Verdict(StrEnum):
    """What a review says."""

    JUSTIFIED = "justified"
    NOT_JUSTIFIED = "not justified"


@dataclass(frozen=True, slots=True, kw_only=True)
class Emergency:
    """One breaking of the glass.

    Attributes:
        id: What it is stopped and signed by.
        subject: Whose it is.
        address: Where it was asked for from.
        patient_id: Whom it reaches.
        reason: What the person gave as reason.
        started_at: When it began.
        ends_at: Its last moment, if it is not stopped before.
        stopped_at: Since when its end is on the record.
        reviewed_at: When it was signed; ``None``: its review is open.
        reviewer: Who signed.
        verdict: What the review says.
        note: And why.
    """

    id: int
    subject: Subject
    address: str
    patient_id: str = field(repr=False)
    reason: str = field(repr=False)
    started_at: datetime
    ends_at: datetime
    stopped_at: datetime | None = None
    reviewed_at: datetime | None = None
    reviewer: str = ""
    verdict: Verdict | None = None
    note: str = field(default="", repr=False)

    def is_standing(self, now: datetime) -> bool:
        """Whether it opens anything."""
        return self.stopped_at is None and now <= self.ends_at

    def rule(self, networks: tuple[Network, ...]) -> Rule:
        """Return what it allows."""
        return Rule(
            name=f"broken glass {self.id}",
            subjects=frozenset({self.subject}),
            rights=RIGHTS,
            networks=networks,
            scope=Scope(patient_ids=frozenset({self.patient_id})),
            reason="emergency; its review names the reason",
            not_after=self.ends_at,
        )

    def told(self) -> BrokenGlass:
        """Return what the record says of it."""
        return BrokenGlass(
            number=self.id,
            person=self.subject.name,
            patient_id=self.patient_id,
            reason=self.reason,
            until=self.ends_at.isoformat(timespec="seconds"),
        )


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Emergencies:
    """The use cases.

    Attributes:
        parts: The collaborators.
        clock: Gives the time, with its zone.
    """

    parts: Parts
    clock: Callable[[], datetime] = _now

    @property
    def _events(self) -> EmergencyEvents:
        return EmergencyEvents(self.parts.events.node)

    def start(
        self,
        caller: Caller,
        patient_id: str,
        reason: str,
        duration: timedelta = DURATION_DEFAULT,
    ) -> Emergency:
        """Let a person reach one patient for a while.

        Raises:
            Refused: ``caller`` may not, or is no person.
            BadData: Patient, reason or duration cannot be, or too many stand.
            Unavailable: It cannot be recorded, so it is not given.
        """
        self.parts.require(caller, Right.BREAK_GLASS, "break the glass")
        if caller.subject.kind is not Kind.OPERATOR:
            raise Refused("not authorized")  # nobody to ask why
        patient_id, reason = patient_id.strip(), reason.strip()
        _check(patient_id, reason, duration)
        actor, now = self.parts.actor(caller), self.clock()

        def work(tx: Transaction) -> Emergency:
            if len(_standing(tx.connection, caller.subject, now)) >= STANDING_MAX:
                raise BadData(f"{STANDING_MAX} emergencies stand; stop one first")
            number = tx.connection.scalars(
                insert(emergency).returning(_COLUMN.id),
                {
                    "kind": caller.subject.kind,
                    "name": caller.subject.name,
                    "address": actor.address,
                    "patient_id": patient_id,
                    "reason": reason,
                    "started_us": to_us(now),
                    "ends_us": to_us(now + duration),
                },
            ).one()
            given = _get(tx.connection, number)
            self.parts.audit.append(tx, self._events.started(actor, given.told()))
            # Whoever reviews hears of it from ``archive.notices``, or from nobody.
            tx.connection.execute(
                insert(notice),
                {"emergency_id": number, "due_us": to_us(now), "tries": 0},
            )
            return given

        given = self.parts.database.write(work)
        # What a privacy officer's monitoring waits for; who and whom is on the record.
        _LOG.warning("break-glass access %d was given; a review is open", given.id)
        return given

    def stop(self, caller: Caller, number: int) -> Emergency:
        """End one before its time: the person's own, or anybody's by who reviews.

        Raises:
            Refused: It is not the caller's, and the caller may not review.
            NotFound: There is none that stands.
            Unavailable: It cannot be recorded now.
        """
        actor, now = self.parts.actor(caller), self.clock()
        with self.parts.database.read() as connection:
            known = _find(connection, number)
        if known is None or known.subject != caller.subject:
            # The same answer whether or not there is one.
            self.parts.require(caller, Right.REVIEW, "stop break-glass access")

        def work(tx: Transaction) -> Emergency:
            found = _find(tx.connection, number)
            if found is None or not found.is_standing(now):
                raise NotFound("no such emergency")
            return self._stop(tx, found, actor, caller.subject.name, now)

        return self.parts.database.write(work)

    def stop_own(self, caller: Caller, number: int) -> Emergency:
        """End one of the caller's own; those of others are none.

        Raises:
            Refused: ``caller`` has no right to broken glass.
            NotFound: It has none of that number that stands.
            Unavailable: It cannot be recorded now.
        """
        self.parts.require(caller, Right.BREAK_GLASS, "stop break-glass access")
        if all(each.id != number for each in self.mine(caller)):
            raise NotFound("no such emergency")
        return self.stop(caller, number)

    def stop_all(self, tx: Transaction, actor: Actor, subject: Subject) -> None:
        """End all of a person, in the caller's transaction: its roles have changed."""
        now = self.clock()
        for each in _standing(tx.connection, subject, now):
            self._stop(tx, each, actor, actor.name, now)

    def expire(self) -> int:
        """Put on the record which ones ended by their time; returns how many.

        Raises:
            Unavailable: It cannot be recorded now; call again.
        """
        now = self.clock()
        overdue = (
            select(emergency)
            .where(_COLUMN.stopped_us.is_(None), _COLUMN.ends_us < to_us(now))
            .order_by(_COLUMN.id)
            .limit(TOGETHER_MAX)
        )
        with self.parts.database.read() as connection:
            if connection.execute(overdue.limit(1)).first() is None:
                return 0  # nearly always: nothing is written

        def work(tx: Transaction) -> int:
            found = tx.connection.execute(overdue).mappings().all()
            for row in found:
                each = _of(row)
                actor = Actor(each.subject.name, each.address, kind=each.subject.kind)
                self._stop(tx, each, actor, "its time", each.ends_at)
            return len(found)

        return self.parts.database.write(work)

    def _stop(
        self, tx: Transaction, found: Emergency, actor: Actor, by: str, at: datetime
    ) -> Emergency:
        tx.connection.execute(
            update(emergency)
            .where(_COLUMN.id == found.id)
            .values(stopped_us=to_us(at), stopped_by=by)
        )
        self.parts.audit.append(tx, self._events.stopped(actor, found.told(), by))
        return _get(tx.connection, found.id)

    # ── reviews ──────────────────────────────────────────────────────────────

    def mine(self, caller: Caller) -> tuple[Emergency, ...]:
        """Return the caller's own that stand."""
        with self.parts.database.read() as connection:
            return _standing(connection, caller.subject, self.clock())

    def open_reviews(self, caller: Caller) -> tuple[Emergency, ...]:
        """Return what waits for a signature, oldest first; reading is recorded.

        Raises:
            Refused: ``caller`` may not review.
            Unavailable: It cannot be recorded, so it is not told.
        """
        which = select(emergency).where(_COLUMN.reviewed_us.is_(None))
        return self._listed(
            caller, "list break-glass reviews", which.order_by(_COLUMN.id)
        )

    def standing(self, caller: Caller) -> tuple[Emergency, ...]:
        """Return everybody's that stand, oldest first; reading is recorded.

        Raises:
            Refused: ``caller`` may not review.
            Unavailable: It cannot be recorded, so it is not told.
        """
        which = select(emergency).where(
            _COLUMN.stopped_us.is_(None), _COLUMN.ends_us >= to_us(self.clock())
        )
        return self._listed(
            caller, "list break-glass access", which.order_by(_COLUMN.id)
        )

    def latest(self, caller: Caller) -> tuple[Emergency, ...]:
        """Return the last ``TOGETHER_MAX``, signed or not, the newest first.

        Raises:
            Refused: ``caller`` may not review.
            Unavailable: It cannot be recorded, so it is not told.
        """
        which = select(emergency).order_by(_COLUMN.id.desc())
        return self._listed(caller, "list all break-glass access", which)

    def signed(self, caller: Caller) -> tuple[Emergency, ...]:
        """Return the last ``TOGETHER_MAX`` that are signed, the newest first.

        Raises:
            Refused: ``caller`` may not review.
            Unavailable: It cannot be recorded, so it is not told.
        """
        which = select(emergency).where(_COLUMN.reviewed_us.is_not(None))
        return self._listed(
            caller, "list signed reviews", which.order_by(_COLUMN.reviewed_us.desc())
        )

    def get(self, caller: Caller, number: int) -> Emergency:
        """Return one, signed or not; reading is recorded.

        Raises:
            Refused: ``caller`` may not review.
            NotFound: There is none of that number.
            Unavailable: It cannot be recorded, so it is not told.
        """
        if not 0 < number <= _NUMBER_MAX:
            number = 0  # is none, and is asked for all the same: for right and record
        which = select(emergency).where(_COLUMN.id == number)
        found = self._listed(caller, "read a break-glass review", which)
        if not found:
            raise NotFound("no such emergency")
        return found[0]

    def _listed(
        self, caller: Caller, use: str, which: Select[tuple[Any, ...]]
    ) -> tuple[Emergency, ...]:
        self.parts.require(caller, Right.REVIEW, use)
        with self.parts.database.read() as connection:
            rows = connection.execute(which.limit(TOGETHER_MAX))
            found = tuple(_of(row) for row in rows.mappings())
        actor = self.parts.actor(caller)
        self.parts.record(self.parts.events.audit_log_used(actor, use, len(found)))
        return found

    def count_open(self) -> int:
        """Return how many reviews are open, for a badge or a health page."""
        with self.parts.database.read() as connection:
            count = connection.scalar(
                select(func.count())
                .select_from(emergency)
                .where(_COLUMN.reviewed_us.is_(None))
            )
        return count or 0

    def sign(
        self, caller: Caller, number: int, verdict: Verdict, note: str
    ) -> Emergency:
        """Close a review: of somebody else's, when it is over, once.

        Raises:
            Refused: ``caller`` may not review, or not this one: it is its own.
            NotFound: There is no such open review.
            BadData: It still stands, or the note cannot be.
        """
        self.parts.require(caller, Right.REVIEW, "review break-glass access")
        note = note.strip()
        if not 0 < len(note) <= NOTE_CHARACTERS_MAX or not note.isprintable():
            raise BadData(f"note: say why, in 1 to {NOTE_CHARACTERS_MAX} characters")
        actor, now = self.parts.actor(caller), self.clock()

        def work(tx: Transaction) -> Emergency:
            found = _find(tx.connection, number)
            if found is None or found.reviewed_at is not None:
                raise NotFound("no such open review")
            # By name: of another kind it would still be the same person.
            if found.subject.name.casefold() == caller.subject.name.casefold():
                raise Refused("nobody reviews what is his own")
            if found.is_standing(now):
                raise BadData("it still stands; stop it first")
            tx.connection.execute(
                update(emergency)
                .where(_COLUMN.id == number)
                .values(
                    reviewed_us=to_us(now),
                    reviewer=caller.subject.name,
                    verdict=verdict,
                    note=note,
                )
            )
            event = self._events.reviewed(actor, found.told(), verdict, note)
            self.parts.audit.append(tx, event)
            return _get(tx.connection, number)

        try:
            return self.parts.database.write(work)
        except Refused as refusal:
            self._record_refusal(actor, refusal)
            raise

    def _record_refusal(self, actor: Actor, refusal: LeadglassError) -> None:
        self.parts.try_to_record(
            self.parts.events.access_refused(
                actor, "review break-glass access", str(refusal)
            )
        )


def emergency_rules(
    connection: Connection,
    subject: Subject,
    networks: tuple[Network, ...],
    now: datetime,
) -> tuple[Rule, ...]:
    """Return what broken glass allows a person now."""
    if not networks:
        return ()  # a rule without one would be for the node itself
    return tuple(each.rule(networks) for each in _standing(connection, subject, now))


def _check(patient_id: str, reason: str, duration: timedelta) -> None:
    problems = []
    if (
        not 0 < len(patient_id) <= PATIENT_ID_CHARACTERS_MAX
        or not patient_id.isprintable()
        or "\\" in patient_id
    ):
        problems.append(f"patient: a Patient ID of 1 to {PATIENT_ID_CHARACTERS_MAX}")
    if not REASON_CHARACTERS_MIN <= len(reason) <= REASON_CHARACTERS_MAX:
        problems.append(
            f"reason: say why, in {REASON_CHARACTERS_MIN} to {REASON_CHARACTERS_MAX} "
            "characters"
        )
    elif not reason.isprintable() or len(set(reason)) == 1:
        problems.append("reason: words that somebody else can judge")
    if not timedelta(0) < duration <= DURATION_MAX:
        hours = DURATION_MAX // timedelta(hours=1)
        problems.append(f"duration: more than nothing, at most {hours} hours")
    if problems:
        raise BadData("; ".join(problems))


def _standing(
    connection: Connection, subject: Subject, now: datetime
) -> tuple[Emergency, ...]:
    rows = connection.execute(
        select(emergency)
        .where(
            _COLUMN.name == subject.name,
            _COLUMN.kind == subject.kind,
            _COLUMN.ends_us >= to_us(now),
            _COLUMN.stopped_us.is_(None),
        )
        .order_by(_COLUMN.id)
        .limit(STANDING_MAX)
    )
    return tuple(_of(row) for row in rows.mappings())


def _find(connection: Connection, number: int) -> Emergency | None:
    if not 0 < number <= _NUMBER_MAX:
        return None
    rows = connection.execute(select(emergency).where(_COLUMN.id == number))
    row = rows.mappings().one_or_none()
    return None if row is None else _of(row)


def _get(connection: Connection, number: int) -> Emergency:
    found = _find(connection, number)
    if found is None:
        raise NotFound("no such emergency")
    return found


def _of(row: RowMapping) -> Emergency:
    def time(name: str) -> datetime | None:
        return None if row[name] is None else from_us(row[name])

    return Emergency(
        id=row["id"],
        subject=Subject(Kind(row["kind"]), row["name"]),
        address=row["address"],
        patient_id=row["patient_id"],
        reason=row["reason"],
        started_at=from_us(row["started_us"]),
        ends_at=from_us(row["ends_us"]),
        stopped_at=time("stopped_us"),
        reviewed_at=time("reviewed_us"),
        reviewer=row["reviewer"] or "",
        verdict=None if row["verdict"] is None else Verdict(row["verdict"]),
        note=row["note"] or "",
    )
