"""Alerts in the database: raised, judged by a person, escalated; weeks, decoys.

    raised ──> open ──a person judges──> benign | policy breach | incident
                 └──its deadline is over──> escalated (and still open)

Nothing here decides who may: ``desk`` does.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, RowMapping, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as insert_or

from leadglass.assurance.finding import Severity
from leadglass.assurance.review.reviewer import Alert
from leadglass.assurance.review.rules.table import BY_ID
from leadglass.assurance.review.tables import alert, decoy, progress, signature
from leadglass.audit.events import from_us, to_us
from leadglass.database.engine import Transaction
from leadglass.errors import BadData, NotFound

# How long a person has to judge, by severity: who sells images does it within days.
DEADLINES: Final = {
    Severity.CRITICAL: timedelta(days=1),
    Severity.HIGH: timedelta(days=3),
    Severity.MEDIUM: timedelta(days=7),
    Severity.LOW: timedelta(days=14),
    Severity.INFO: timedelta(days=14),
}
# Shown together; a page that is longer is not read.
TOGETHER_MAX: Final = 500
REASON_CHARACTERS_MIN: Final = 5
REASON_CHARACTERS_MAX: Final = 1_000
# More decoys than this are no secret.
DECOYS_MAX: Final = 1_000
DECOY_CHARACTERS_MAX: Final = 64
# What a column of the database holds; a URL may bring any number.
_NUMBER_MAX: Final = (1 << 63) - 1
_OPEN: Final = ""
_COLUMN: Final = alert.c


class Disposition(StrEnum):
    """What a person says that an alert was."""

    BENIGN = "benign"
    BREACH = "policy breach"
    INCIDENT = "incident"


class DecoyKind(StrEnum):
    """What can be invented."""

    PATIENT = "patient"
    STUDY = "study"
    TITLE = "title"


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """An alert that somebody has to judge, or has judged.

    Attributes:
        id: What it is judged by.
        alert: What the rule said.
        raised_at: When it came up here.
        due_at: Until when a person has to judge it.
        escalated_at: When that was over and told; None: it was not.
        disposition: None while it is open.
        disposed_at: When it was judged.
        reviewer: By whom.
        reason: And why.
    """

    id: int
    alert: Alert = field(repr=False)
    raised_at: datetime
    due_at: datetime
    escalated_at: datetime | None
    disposition: Disposition | None
    disposed_at: datetime | None
    reviewer: str
    reason: str = field(repr=False)

    @property
    def title(self) -> str:
        """What its rule is called."""
        return BY_ID[self.alert.rule].title

    def is_overdue(self, now: datetime) -> bool:
        """Whether its deadline is over and nobody judged it."""
        return self.disposition is None and self.due_at < now


@dataclass(frozen=True, slots=True)
class Signature:
    """A person answers for a week: all its alerts were judged."""

    week: str
    signed_at: datetime
    reviewer: str
    note: str
    alerts: int


# ── raising ──────────────────────────────────────────────────────────────────


def raise_alerts(
    tx: Transaction, found: Iterable[Alert], now: datetime
) -> tuple[int, ...]:
    """Keep alerts; one that grew is changed, unless a person has judged it already.

    What comes to a judged alert of the same day opens it again: more happened than
    the person knew of.

    Returns:
        Ids of those that are new.
    """
    new = []
    for each in found:
        query = select(_COLUMN.id, alert.c["count"]).where(_COLUMN.key == each.key)
        known = tx.connection.execute(query).mappings().one_or_none()
        values = _values(each)
        if known is None:
            values |= {
                "raised_us": to_us(now),
                "due_us": to_us(now + DEADLINES[each.severity]),
                "disposition": _OPEN,
                "reviewer": "",
                "reason": "",
            }
            new.append(
                tx.connection.scalars(insert(alert).returning(_COLUMN.id), values).one()
            )
        elif each.count > known["count"]:
            values |= {"disposition": _OPEN, "disposed_us": None}
            tx.connection.execute(
                update(alert).where(_COLUMN.id == known["id"]).values(values)
            )
    return tuple(new)


def _values(each: Alert) -> dict[str, Any]:
    return {
        "key": each.key,
        "rule": each.rule,
        "severity": str(each.severity),
        "subject": each.subject,
        "trail": each.trail,
        "day": each.day.isoformat(),
        "evidence": each.evidence,
        "count": each.count,
        "first_us": to_us(each.first),
        "last_us": to_us(each.last),
        "facts": json.dumps(each.facts),
        "patients": json.dumps(each.patients),
    }


# ── reading ──────────────────────────────────────────────────────────────────


def open_alerts(connection: Connection) -> tuple[Raised, ...]:
    """Return what nobody judged, what is due first first."""
    query = select(alert).where(_COLUMN.disposition == _OPEN)
    return _listed(connection, query.order_by(_COLUMN.due_us, _COLUMN.id))


def latest(connection: Connection) -> tuple[Raised, ...]:
    """Return the newest, judged or not."""
    return _listed(connection, select(alert).order_by(_COLUMN.id.desc()))


def count_open(connection: Connection) -> int:
    """Return how many nobody judged."""
    query = select(func.count()).select_from(alert)
    return connection.scalar(query.where(_COLUMN.disposition == _OPEN)) or 0


def get(connection: Connection, number: int) -> Raised:
    """Return one.

    Raises:
        NotFound: There is none of that number.
    """
    found: tuple[Raised, ...] = ()
    if 0 < number <= _NUMBER_MAX:
        found = _listed(connection, select(alert).where(_COLUMN.id == number))
    if not found:
        raise NotFound("no such alert")
    return found[0]


def _listed(connection: Connection, query: Any) -> tuple[Raised, ...]:
    rows = connection.execute(query.limit(TOGETHER_MAX)).mappings()
    return tuple(_of(row) for row in rows)


def _of(row: RowMapping) -> Raised:
    def time(name: str) -> datetime | None:
        return None if row[name] is None else from_us(row[name])

    return Raised(
        id=row["id"],
        alert=Alert(
            rule=row["rule"],
            severity=Severity(row["severity"]),
            subject=row["subject"],
            trail=row["trail"],
            day=date.fromisoformat(row["day"]),
            evidence=row["evidence"],
            count=row["count"],
            first=from_us(row["first_us"]),
            last=from_us(row["last_us"]),
            facts=tuple(json.loads(row["facts"])),
            patients=tuple(json.loads(row["patients"])),
        ),
        raised_at=from_us(row["raised_us"]),
        due_at=from_us(row["due_us"]),
        escalated_at=time("escalated_us"),
        disposition=Disposition(row["disposition"]) if row["disposition"] else None,
        disposed_at=time("disposed_us"),
        reviewer=row["reviewer"],
        reason=row["reason"],
    )


# ── judging ──────────────────────────────────────────────────────────────────


def checked_reason(text: str) -> str:
    """Return a reason that another person can follow.

    Raises:
        BadData: It is too short or too long, or is no text.
    """
    text = text.strip()
    if (
        not REASON_CHARACTERS_MIN <= len(text) <= REASON_CHARACTERS_MAX
        or not text.isprintable()
        or len(set(text)) == 1
    ):
        raise BadData(
            f"reason: say why, in {REASON_CHARACTERS_MIN} to "
            f"{REASON_CHARACTERS_MAX} characters"
        )
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a person says of an alert."""

    disposition: Disposition
    reviewer: str
    reason: str = field(repr=False)


def dispose(
    tx: Transaction, number: int, judgement: Judgement, now: datetime
) -> Raised:
    """Note what a person says of an open alert.

    Raises:
        NotFound: There is no such open alert.
    """
    done = tx.connection.execute(
        update(alert)
        .where(_COLUMN.id == number, _COLUMN.disposition == _OPEN)
        .values(
            disposition=str(judgement.disposition),
            disposed_us=to_us(now),
            reviewer=judgement.reviewer,
            reason=judgement.reason,
        )
    )
    if not done.rowcount:
        raise NotFound("no such open alert")
    return get(tx.connection, number)


def escalate(tx: Transaction, now: datetime) -> tuple[int, ...]:
    """Mark what nobody judged in time, each once; return the ids."""
    return tuple(
        tx.connection.scalars(
            update(alert)
            .where(
                _COLUMN.disposition == _OPEN,
                _COLUMN.due_us < to_us(now),
                _COLUMN.escalated_us.is_(None),
            )
            .values(escalated_us=to_us(now))
            .returning(_COLUMN.id)
        )
    )


# ── weeks ────────────────────────────────────────────────────────────────────


def days_of(week: str) -> tuple[date, date]:
    """Return the first day of an ISO 8601 week (2026-W13), and that of the next.

    Raises:
        BadData: It is none.
    """
    year, _, number = week.partition("-W")
    try:
        first = date.fromisocalendar(int(year), int(number), 1)
    except ValueError as error:
        raise BadData("a week is written as 2026-W13") from error
    return first, first + timedelta(days=7)


def week_of(day: date) -> str:
    """Return the week of a day."""
    year, week, _ = day.isocalendar()
    return f"{year}-W{week:02d}"


def sign_week(
    tx: Transaction, week: str, reviewer: str, note: str, now: datetime
) -> Signature:
    """Note that a person answers for a week.

    Raises:
        BadData: It is none, or not over.
        NotFound: It is signed already, or an alert of it is open.
    """
    first, end = days_of(week)
    if end > now.astimezone(UTC).date():
        raise BadData("the week is not over")
    of_week = (_COLUMN.day >= first.isoformat(), _COLUMN.day < end.isoformat())
    rows = tx.connection.execute(select(_COLUMN.disposition).where(*of_week)).all()
    waiting = sum(row.disposition == _OPEN for row in rows)
    if waiting:
        raise BadData(f"{waiting} alerts of the week are open; judge them first")
    week = week_of(first)
    done = tx.connection.execute(
        insert_or(signature).on_conflict_do_nothing(),
        {
            "week": week,
            "signed_us": to_us(now),
            "reviewer": reviewer,
            "note": note,
            "alerts": len(rows),
        },
    )
    if not done.rowcount:
        raise BadData("the week is signed already")
    return Signature(week, now, reviewer, note, len(rows))


def signatures(connection: Connection) -> tuple[Signature, ...]:
    """Return the weeks that were signed, the newest first."""
    rows = connection.execute(
        select(signature).order_by(signature.c.week.desc()).limit(TOGETHER_MAX)
    )
    return tuple(
        Signature(row.week, from_us(row.signed_us), row.reviewer, row.note, row.alerts)
        for row in rows
    )


# ── decoys ───────────────────────────────────────────────────────────────────


def set_decoy(
    tx: Transaction, kind: DecoyKind, value: str, by: str, now: datetime
) -> None:
    """Keep a decoy.

    Raises:
        BadData: It cannot be one, or there are too many.
    """
    if not 0 < len(value) <= DECOY_CHARACTERS_MAX or not value.isprintable():
        raise BadData(f"decoy: 1 to {DECOY_CHARACTERS_MAX} printable characters")
    if len(decoys(tx.connection)) >= DECOYS_MAX:
        raise BadData(f"there are {DECOYS_MAX} decoys; take some away first")
    tx.connection.execute(
        insert_or(decoy).on_conflict_do_nothing(),
        {"kind": str(kind), "value": value, "set_us": to_us(now), "set_by": by},
    )


def take_decoy(tx: Transaction, kind: DecoyKind, value: str) -> None:
    """Take a decoy away.

    Raises:
        NotFound: There is no such decoy.
    """
    done = tx.connection.execute(
        delete(decoy).where(decoy.c.kind == str(kind), decoy.c.value == value)
    )
    if not done.rowcount:
        raise NotFound("no such decoy")


def decoys(connection: Connection) -> Sequence[tuple[DecoyKind, str]]:
    """Return all decoys."""
    rows = connection.execute(
        select(decoy.c.kind, decoy.c.value).order_by(decoy.c.kind, decoy.c.value)
    )
    return [(DecoyKind(row.kind), row.value) for row in rows]


# ── progress ─────────────────────────────────────────────────────────────────


def position(connection: Connection, trail: int) -> tuple[int, str]:
    """Return the next record of a trail to review, and the memory; "" for none."""
    row = connection.execute(
        select(progress.c.next, progress.c.memory).where(progress.c.trail == trail)
    ).one_or_none()
    return (0, "") if row is None else (row.next, row.memory)


def advance(tx: Transaction, trail: int, first: int, then: int, memory: str) -> bool:
    """Note how far a review is; False if another process was there before."""
    if position(tx.connection, trail)[0] != first:
        return False
    values = {"trail": trail, "next": then, "memory": memory}
    statement = insert_or(progress).values(values)
    tx.connection.execute(
        statement.on_conflict_do_update(index_elements=["trail"], set_=values)
    )
    return True
