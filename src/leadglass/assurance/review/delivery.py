"""Telling people of alerts by mail and webhook: an outbox, and what stands in it.

What is to be told is written in the transaction that raises an alert, or finds it
overdue. Several are told at once, so that a bad day is one mail. It is due again
*before* it is given to a server, and told only when that has taken it: killed between
the two, it is told twice, and never not at all.

No patient, no name and no address leaves: number, rule, severity and count say that
somebody has to look, and the node shows what to whom may see it.
"""

import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import and_, insert, select, update

from leadglass.archive.notices import Letterhead, delay
from leadglass.assurance.review.rules.table import BY_ID
from leadglass.assurance.review.tables import alert, delivery
from leadglass.audit.events import to_us
from leadglass.database.engine import Database, Transaction
from leadglass.errors import LeadglassError

_LOG = logging.getLogger(__name__)

# Told at once; what is more comes with the next round.
TOGETHER_MAX: Final = 100


class Channel(StrEnum):
    """By which way."""

    MAIL = "mail"
    WEBHOOK = "webhook"


class What(StrEnum):
    """What became of the alert."""

    RAISED = "raised"
    OVERDUE = "overdue"


@dataclass(frozen=True, slots=True)
class News:
    """What is told of one alert."""

    alert: int
    what: str
    rule: str
    severity: str
    count: int

    def members(self) -> dict[str, Any]:
        """Return what a webhook gets."""
        return {
            "alert": self.alert,
            "what": self.what,
            "rule": self.rule,
            "severity": self.severity,
            "count": self.count,
        }


# Gives news to somebody; returns when that has taken them, else raises Unavailable.
Teller = Callable[[tuple[News, ...]], None]


def put(
    tx: Transaction,
    channels: Iterable[Channel],
    what: What,
    numbers: Iterable[int],
    now: datetime,
) -> None:
    """Put alerts into the outbox, in the transaction that made them news."""
    rows = [
        {
            "alert": number,
            "channel": str(channel),
            "what": str(what),
            "due_us": to_us(now),
            "tries": 0,
        }
        for number in numbers
        for channel in channels
    ]
    if rows:
        tx.connection.execute(insert(delivery), rows)


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Outbox:
    """What waits to be told.

    Attributes:
        database: Where it stands.
        clock: Gives the time, with its zone.
    """

    database: Database
    clock: Callable[[], datetime] = _now

    def send_due(self, channel: Channel, tell: Teller) -> int:
        """Tell what is due by one way; return how many alerts that was.

        Raises:
            Unavailable: The database cannot be written now; nothing is lost.
        """
        claimed = self._claim(channel)
        if not claimed:
            return 0
        try:
            tell(claimed)
        except LeadglassError as error:
            _LOG.warning(
                "%d alerts were not told by %s: %s", len(claimed), channel, error
            )
            return 0
        self._mark(channel, claimed)
        return len(claimed)

    def _claim(self, channel: Channel) -> tuple[News, ...]:
        now = self.clock()
        due = (
            select(
                delivery.c.alert,
                delivery.c.what,
                delivery.c.tries,
                alert.c.rule,
                alert.c.severity,
                alert.c["count"].label("times"),
            )
            .join(alert, alert.c.id == delivery.c.alert)
            .where(
                delivery.c.channel == str(channel),
                delivery.c.sent_us.is_(None),
                delivery.c.due_us <= to_us(now),
            )
            .order_by(delivery.c.due_us, delivery.c.alert)
            .limit(TOGETHER_MAX)
        )
        with self.database.read() as connection:
            if connection.execute(due.limit(1)).first() is None:
                return ()  # nearly always: nothing is written

        def work(tx: Transaction) -> tuple[News, ...]:
            rows = tx.connection.execute(due).all()
            for row in rows:
                tries = row.tries + 1
                tx.connection.execute(
                    update(delivery)
                    .where(_is(channel, row.alert, row.what))
                    .values(tries=tries, due_us=to_us(now + delay(tries)))
                )
            return tuple(
                News(row.alert, row.what, row.rule, row.severity, row.times)
                for row in rows
            )

        return self.database.write(work)

    def _mark(self, channel: Channel, told: tuple[News, ...]) -> None:
        now = self.clock()

        def work(tx: Transaction) -> None:
            for each in told:
                tx.connection.execute(
                    update(delivery)
                    .where(_is(channel, each.alert, each.what))
                    .values(sent_us=to_us(now))
                )

        self.database.write(work)


def _is(channel: Channel, number: int, what: str) -> Any:
    return and_(
        delivery.c.channel == str(channel),
        delivery.c.alert == number,
        delivery.c.what == what,
    )


def mail_of(head: Letterhead, news: tuple[News, ...], now: datetime) -> EmailMessage:
    """Write one mail of several alerts; its Message-ID is theirs."""
    mail = EmailMessage()
    mail["From"] = head.sender
    mail["To"] = ", ".join(head.recipients)
    mail["Subject"] = f"Review: {len(news)} alerts wait for a person"
    mail["Date"] = format_datetime(now)
    first = news[0]
    mail["Message-ID"] = f"<review.{first.what}.{first.alert}.{len(news)}@{head.node}>"
    # RFC 3834 §5: so that no absence notice answers it.
    mail["Auto-Submitted"] = "auto-generated"
    lines = "\n".join(
        f"    {each.alert}: {BY_ID[each.rule].title} ({each.rule}), {each.severity}, "
        f"{each.count} times, {each.what}"
        for each in news
    )
    mail.set_content(
        f"On {head.node} the review of the audit record has alerts that a person has "
        f"to judge:\n\n{lines}\n\nWhom they are about, the node shows on its page "
        "Review, or by\n\n    leadglass audit review show NUMBER\n"
    )
    return mail


def body_of(node: str, news: tuple[News, ...]) -> bytes:
    """Return what a webhook gets: JSON, without a patient, name or address."""
    body = {"node": node, "alerts": [each.members() for each in news]}
    return json.dumps(body, separators=(",", ":")).encode()
