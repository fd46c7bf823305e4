"""What one person asks for and another confirms: erasing a person's data, releasing a
legal hold.

    ask ──> asked ──somebody else──> confirmed ──portions──> done
    (110132)  │       (110132)                  (110132 each)  (110132)
              └────────> refused

Four eyes: whoever confirms is another person than who asked, and one of the two has
logged in. Two names at the command line of the node are not two people: who sits there
can call himself anything.

The crash story of erasing: that it is confirmed is a transaction. Each portion is one
that records anew what concerns other patients, appends the record that names the
numbers, and takes content, salts and search keys away. After ``kill -9`` at any step a
portion is there whole or not at all; ``finish_all`` goes on with what is left, and
finds it by the record itself. Whose data it was stands in the order until it is done
and nowhere after that: the record keeps a hash with a salt that only the one who asked
was given.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from secrets import token_bytes
from typing import Any, Final

from sqlalchemy import Connection, Row, func, insert, select, update

from leadglass.archive.caller import Caller
from leadglass.archive.emergency import PATIENT_ID_CHARACTERS_MAX
from leadglass.archive.parts import Parts
from leadglass.archive.retention import Gone, Retention, hold_of, standing
from leadglass.archive.tables import emergency, hold, order
from leadglass.audit.builders import Actor
from leadglass.audit.erasing import (
    Found,
    erase,
    find,
    holds_on,
    remainder,
    rows_of,
)
from leadglass.audit.events import Event, to_us
from leadglass.audit.orders import ERASED_TOGETHER_MAX
from leadglass.audit.retention import Holding, check_reason
from leadglass.audit.runs import Runs
from leadglass.database.engine import Transaction
from leadglass.errors import BadData, Conflict, NotFound, Refused
from leadglass.identity.rows import from_us

# How long an order waits for its second person.
OPEN_MAX: Final = timedelta(days=30)
# Orders that are shown; the record has all.
SHOWN_MAX: Final = 500
_SALT_BYTES: Final = 16
_REST_S: Final = 0.02
_NUMBER_MAX: Final = (1 << 63) - 1
# What a released hold names instead of a patient whose data was erased.
_ERASED: Final = "(erased on order)"


class Held(Conflict):
    """The records must stay: they are under a legal hold, or a review is open."""


class Kind(StrEnum):
    """What is asked for."""

    ERASE = "erase person"
    RELEASE = "release hold"


class State(StrEnum):
    """How far an order is."""

    ASKED = "asked"
    CONFIRMED = "confirmed"  # and being carried out
    DONE = "done"
    REFUSED = "refused"
    LAPSED = "lapsed"  # nobody has confirmed it in time


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One order.

    Attributes:
        id: What it is confirmed by.
        kind: What is asked for.
        hold: Which hold is to be released.
        digest: SHA-256 of the salt and the Patient ID, hex; empty for a hold.
        reason: Why.
        asked_by: Who asked.
        asked_from: Where from; empty for the command line of the node.
        asked_at: When.
        decided_by: Who confirmed or refused.
        decided_at: When.
        is_refused: Whether it was refused.
        done_at: When it was carried out.
        records: Records that lost their content.
        kept_for_others: Records that keep what concerned other patients.
    """

    id: int
    kind: Kind
    hold: int | None
    digest: str
    reason: str
    asked_by: str
    asked_from: str
    asked_at: datetime
    decided_by: str = ""
    decided_at: datetime | None = None
    is_refused: bool = False
    done_at: datetime | None = None
    records: int = 0
    kept_for_others: int = 0

    def state(self, now: datetime) -> State:
        """Tell how far it is."""
        if self.is_refused:
            return State.REFUSED
        if self.done_at is not None:
            return State.DONE
        if self.decided_at is not None:
            return State.CONFIRMED
        return State.LAPSED if now - self.asked_at > OPEN_MAX else State.ASKED

    def facts(self) -> dict[str, str]:
        """Return what the record says of it; no patient."""
        return {
            "order": str(self.id),
            "kind": str(self.kind),
            "hold": "" if self.hold is None else str(self.hold),
            "person_sha256": self.digest,
            "reason": self.reason,
            "asked_by": self.asked_by,
        }


@dataclass(frozen=True, slots=True)
class Receipt:
    """What somebody who asked for an erasure gets.

    Attributes:
        order: The order.
        salt: Hex. With it and the Patient ID anybody can show that the order was about
            this patient; it is kept nowhere.
        records: Records that would lose their content now.
    """

    order: Order
    salt: str
    records: int


def digest_of(salt: bytes, patient: str) -> str:
    """Return by what the record knows whose data was erased."""
    return sha256(salt + patient.encode("utf-8", "backslashreplace")).hexdigest()


@dataclass(frozen=True, slots=True)
class Orders:
    """The use cases.

    Attributes:
        retention: Right, holds and followers.
        rest: Waits between two portions.
    """

    retention: Retention
    rest: Callable[[float], None] = field(default=time.sleep)

    @property
    def parts(self) -> Parts:
        """The collaborators."""
        return self.retention.parts

    # ── asking ───────────────────────────────────────────────────────────────

    def ask_erasure(self, caller: Caller, patient: str, reason: str) -> Receipt:
        """Ask that a patient's data be erased from the record.

        Raises:
            Refused: ``caller`` may not.
            BadData: Patient or reason cannot be.
            NotFound: No record tells of this patient.
            Held: A legal hold or an open review keeps records.
        """
        self.retention.require(caller, "erase a person")
        patient, reason = patient.strip(), check_reason(reason)
        if not 0 < len(patient) <= PATIENT_ID_CHARACTERS_MAX:
            raise BadData(
                f"a Patient ID has 1 to {PATIENT_ID_CHARACTERS_MAX} characters"
            )
        if patient in reason:
            raise BadData("reason: names the patient, and would stay on the record")
        salt = token_bytes(_SALT_BYTES)
        with self.parts.database.read() as connection:
            found = self._find(connection, patient)
            if not len(found):
                raise NotFound("no audit record tells of this patient")
            self._check(connection, patient, found)
        values = {
            "kind": Kind.ERASE,
            "patient": patient,
            "digest": digest_of(salt, patient),
        }
        return Receipt(self._ask(caller, values, reason), salt.hex(), len(found))

    def ask_release(self, caller: Caller, number: int, reason: str) -> Order:
        """Ask that a legal hold be released.

        Raises:
            Refused: ``caller`` may not.
            NotFound: There is no such hold, or it is released.
        """
        self.retention.require(caller, "release a legal hold")
        reason = check_reason(reason)
        with self.parts.database.read() as connection:
            if not hold_of(connection, number).is_standing:
                raise NotFound("this legal hold was released already")
        return self._ask(
            caller, {"kind": Kind.RELEASE, "hold": number, "digest": ""}, reason
        )

    def _ask(self, caller: Caller, values: dict[str, Any], reason: str) -> Order:
        actor, now = self.parts.actor(caller), self.retention.clock()

        def work(tx: Transaction) -> Order:
            row = {
                **values,
                "reason": reason,
                "asked_by": actor.name,
                "asked_from": actor.address,
                "asked_us": to_us(now),
                "records": 0,
                "kept_for_others": 0,
            }
            number = tx.connection.scalars(
                insert(order).returning(order.c.id), row
            ).one()
            asked = _get(tx.connection, number)
            event = self.retention.events.order_asked(actor, asked.facts())
            self.parts.audit.append(tx, event)
            return asked

        return self.parts.database.write(work)

    # ── deciding ─────────────────────────────────────────────────────────────

    def latest(self, caller: Caller) -> tuple[Order, ...]:
        """Return the newest orders, the newest first.

        Raises:
            Refused: ``caller`` may not.
        """
        self.retention.require(caller, "orders")
        with self.parts.database.read() as connection:
            rows = connection.execute(
                select(order).order_by(order.c.id.desc()).limit(SHOWN_MAX)
            )
            return tuple(map(_order, rows))

    def confirm(self, caller: Caller, number: int) -> Order:
        """Confirm what somebody else asked for, and carry it out.

        Raises:
            Refused: ``caller`` may not, or is not a second person.
            NotFound: There is no such order, or it does not wait for anybody.
            Held: A legal hold or an open review keeps records.
            Damaged: A record is not as it was written; it stays.
            Unavailable: It is not carried out, or not to its end; ``finish_all`` goes
                on.
        """
        self.retention.require(caller, "confirm an order")
        with self.parts.database.read() as connection:
            patient = _patient_of(connection, number)
            if patient is not None:
                self._check(connection, patient, self._find(connection, patient))
        decided = self._decide(caller, number, is_refused=False)
        if decided.kind is Kind.RELEASE:
            return decided
        return self._carry_out(self.parts.actor(caller), number)

    def refuse(self, caller: Caller, number: int) -> Order:
        """Refuse an order, or take back one's own; nothing is done.

        Raises:
            Refused: ``caller`` may not.
            NotFound: There is no such order, or it does not wait for anybody.
        """
        self.retention.require(caller, "refuse an order")
        return self._decide(caller, number, is_refused=True)

    def _decide(self, caller: Caller, number: int, *, is_refused: bool) -> Order:
        actor, now = self.parts.actor(caller), self.retention.clock()

        def work(tx: Transaction) -> Order:
            asked = _get(tx.connection, number)
            if asked.state(now) is not State.ASKED:
                raise NotFound("this order does not wait for anybody")
            if not is_refused and not _is_second(asked, actor):
                raise _NotSecondError
            values: dict[str, Any] = {
                "decided_by": actor.name,
                "decided_us": to_us(now),
                "is_refused": is_refused,
            }
            if is_refused:
                values["patient"] = None
            elif asked.kind is Kind.RELEASE:
                values["done_us"] = to_us(now)
            _set(tx.connection, number, values)
            self.parts.audit.append(
                tx,
                self.retention.events.order_decided(
                    actor, asked.facts(), is_refused=is_refused
                ),
            )
            if asked.kind is Kind.RELEASE and not is_refused:
                self._release(tx, asked, actor, now)
            return _get(tx.connection, number)

        try:
            return self.parts.database.write(work)
        except _NotSecondError:
            self.parts.try_to_record(
                self.parts.events.access_refused(
                    actor, "confirm an order", "not a second person"
                )
            )
            raise Refused("not authorized") from None

    def _release(
        self, tx: Transaction, asked: Order, actor: Actor, now: datetime
    ) -> None:
        number = asked.hold or 0
        if not hold_of(tx.connection, number).is_standing:
            raise NotFound("this legal hold was released already")
        tx.connection.execute(
            update(hold)
            .where(hold.c.id == number)
            .values(released_by=actor.name, released_us=to_us(now))
        )
        released = hold_of(tx.connection, number)
        self.parts.audit.append(
            tx, self.retention.events.hold_released(actor, released)
        )

    # ── erasing ──────────────────────────────────────────────────────────────

    def finish_all(self, caller: Caller) -> tuple[Order, ...]:
        """Go on with confirmed orders that a crash or a hold has stopped.

        Raises:
            Refused: ``caller`` may not.
            Held: A legal hold or an open review keeps records.
            Damaged: A record is not as it was written; it stays.
            Unavailable: It is not carried out to its end; call again.
        """
        self.retention.require(caller, "finish orders")
        with self.parts.database.read() as connection:
            numbers = connection.scalars(
                select(order.c.id)
                .where(
                    order.c.kind == Kind.ERASE,
                    order.c.decided_us.is_not(None),
                    order.c.done_us.is_(None),
                    order.c.is_refused.is_(False),
                )
                .order_by(order.c.id)
            ).all()
        actor = self.parts.actor(caller)
        return tuple(self._carry_out(actor, number) for number in numbers)

    def _carry_out(self, actor: Actor, number: int) -> Order:
        while True:
            done = self.parts.database.write(
                lambda tx: self._portion(tx, actor, number)
            )
            if done is not None:
                break
            self.rest(_REST_S)
        # What was erased must not stay in a part of the log behind the database.
        self.parts.database.settle()
        return done

    def _portion(self, tx: Transaction, actor: Actor, number: int) -> Order | None:
        """Erase some records; return the order when none was left."""
        connection, log = tx.connection, self.parts.audit
        patient = _patient_of(connection, number)
        if patient is None:
            return _get(connection, number)  # another process has finished it
        found = self._find(connection, patient)
        if not len(found):
            return self._end(tx, actor, number, patient)
        rows = rows_of(connection, found.together)
        self._check_holds(connection, rows)
        kept = [
            log.append(tx, event)
            for row in rows
            if (event := self._remainder(row, patient, found)) is not None
        ]
        numbers = Runs.of_numbers(row.n for row in rows)
        event = self.retention.events.erased(
            actor, number, numbers, Runs.of_numbers(kept)
        )
        erase(connection, rows, log.append(tx, event))
        for each in self.retention.followers:
            each.forget(tx, Gone(erased=numbers))
        _set(
            connection,
            number,
            {
                "records": order.c.records + len(rows),
                "kept_for_others": order.c.kept_for_others + len(kept),
            },
        )
        return None

    def _remainder(self, row: Any, patient: str, found: Found) -> Event | None:
        try:
            event = Event.decode(row.record)[0]
        except BadData:
            return None  # another format: nothing of it can be told apart
        own = self.parts.audit.origin
        return remainder(event, row.n, patient, found.studies, own)

    def _end(self, tx: Transaction, actor: Actor, number: int, patient: str) -> Order:
        """Take the patient out of what is kept beside the record, and the order."""
        now = to_us(self.retention.clock())
        tx.connection.execute(
            update(emergency)
            .where(
                emergency.c.patient_id == patient,
                emergency.c.reviewed_us.is_not(None),
            )
            .values(patient_id=_ERASED, reason=_ERASED, note=_ERASED)
        )
        tx.connection.execute(
            update(hold).where(hold.c.patient == patient).values(patient=_ERASED)
        )
        _set(tx.connection, number, {"patient": None, "done_us": now})
        done = _get(tx.connection, number)
        facts = {
            **done.facts(),
            "records": str(done.records),
            "kept_for_others": str(done.kept_for_others),
        }
        self.parts.audit.append(tx, self.retention.events.erasure_done(actor, facts))
        return done

    def _find(self, connection: Connection, patient: str) -> Found:
        log = self.parts.audit
        return find(connection, patient, log.size_in(connection), log.origin)

    def _check(self, connection: Connection, patient: str, found: Found) -> None:
        """Make sure that nothing keeps the records of a patient."""
        numbers = (*found.studied, *found.named)
        for at in range(0, len(numbers), ERASED_TOGETHER_MAX):
            together = numbers[at : at + ERASED_TOGETHER_MAX]
            self._check_holds(connection, rows_of(connection, together))
        reviews = select(func.count()).where(
            emergency.c.patient_id == patient, emergency.c.reviewed_us.is_(None)
        )
        if connection.execute(reviews).scalar_one():
            raise Held("a review about this patient is open; sign it first")

    def _check_holds(self, connection: Connection, rows: Sequence[Any]) -> None:
        holds = holds_on(rows, Holding(standing(connection)))
        if holds:
            named = ", ".join(map(str, sorted(holds)))
            raise Held(
                f"records are under legal hold {named}; nothing of them is erased "
                "until it is released"
            )


class _NotSecondError(Exception):
    """Whoever confirms is not a second person."""


def _is_second(asked: Order, actor: Actor) -> bool:
    is_another = actor.name != asked.asked_by
    return is_another and bool(actor.address or asked.asked_from)


def _set(connection: Connection, number: int, values: dict[str, Any]) -> None:
    connection.execute(update(order).where(order.c.id == number).values(**values))


def _patient_of(connection: Connection, number: int) -> str | None:
    if not 0 < number <= _NUMBER_MAX:
        raise NotFound("there is no such order")
    return connection.scalar(select(order.c.patient).where(order.c.id == number))


def _get(connection: Connection, number: int) -> Order:
    if not 0 < number <= _NUMBER_MAX:
        raise NotFound("there is no such order")
    row = connection.execute(select(order).where(order.c.id == number)).one_or_none()
    if row is None:
        raise NotFound("there is no such order")
    return _order(row)


def _order(row: Row[*tuple[Any, ...]]) -> Order:
    return Order(
        id=row.id,
        kind=Kind(row.kind),
        hold=row.hold,
        digest=row.digest,
        reason=row.reason,
        asked_by=row.asked_by,
        asked_from=row.asked_from,
        asked_at=from_us(row.asked_us),
        decided_by=row.decided_by or "",
        decided_at=None if row.decided_us is None else from_us(row.decided_us),
        is_refused=bool(row.is_refused),
        done_at=None if row.done_us is None else from_us(row.done_us),
        records=row.records,
        kept_for_others=row.kept_for_others,
    )
