"""Notices of broken glass to whoever reviews: an outbox, and the mail in it.

A notice is written in the transaction that breaks the glass, so there is no grant that
nobody hears of. It is sent until a mail server has taken it or its review is signed:

    due ──claimed: due later, tried once more──> with the server ──> sent
     ^                                                │
     └────────────── its delay is over ───────────────┘ refused, or we died

The crash story: it is due again *before* it is given to the server, and sent only
after the server took it. A crash between the two sends it twice, with one Message-ID;
it never loses it. Several processes may send: each notice is claimed by one.

The mail names person, time and number: no patient, no reason. Who may know more asks
this node, which records that.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Final

from sqlalchemy import func, select, update

from leadglass.archive.parts import Parts
from leadglass.archive.tables import emergency, notice
from leadglass.database.engine import Transaction
from leadglass.errors import LeadglassError
from leadglass.identity.rows import from_us, to_us

_LOG = logging.getLogger(__name__)

# After the first failure, twice as long after each, and then each hour: a mail server
# that is down is back within minutes or by the hand of somebody.
DELAY_FIRST: Final = timedelta(seconds=30)
DELAY_MAX: Final = timedelta(hours=1)
_DOUBLINGS_MAX: Final = 10  # beyond DELAY_MAX

# Sent in one go; more wait for the next, so that a stop never waits for hundreds.
TOGETHER_MAX: Final = 50

# Gives one mail to a server; returns when that has taken it, else raises Unavailable.
Post = Callable[[EmailMessage], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What a mail says.

    Attributes:
        number: Of the emergency, and of its review.
        person: Whose it is.
        started_at: When it began.
        ends_at: Its last moment, if it is not stopped before.
    """

    number: int
    person: str
    started_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Letterhead:
    """Who writes to whom.

    Attributes:
        node: What the node is called; in the text and the Message-ID.
        sender: Address that the mail is from.
        recipients: Addresses that it goes to.
    """

    node: str
    sender: str
    recipients: tuple[str, ...]

    def message(self, what: Notice, now: datetime) -> EmailMessage:
        """Write the mail; the same Message-ID each time it is tried."""
        mail = EmailMessage()
        mail["From"] = self.sender
        mail["To"] = ", ".join(self.recipients)
        mail["Subject"] = f"Break-glass access: review {what.number} is open"
        mail["Date"] = format_datetime(now)
        mail["Message-ID"] = f"<break-glass.{what.number}@{self.node}>"
        # RFC 3834 §5: so that no absence notice answers it.
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(
            f"{what.person} broke the glass on {self.node}: access to one patient "
            "beyond the own scope, for a reason that was given.\n\n"
            f"Began: {_text(what.started_at)}\n"
            f"Ends:  {_text(what.ends_at)} at the latest\n\n"
            f"Its review is open until somebody else signs it. On the node:\n\n"
            f"    leadglass reviews show {what.number} --with-patient\n"
        )
        return mail


def _text(moment: datetime) -> str:
    return moment.isoformat(sep=" ", timespec="seconds")


def _now() -> datetime:
    return datetime.now(UTC)


def delay(tries: int) -> timedelta:
    """Return how long to wait after so many tries (1 or more)."""
    doublings: int = min(tries - 1, _DOUBLINGS_MAX)
    return min(DELAY_FIRST * (1 << doublings), DELAY_MAX)


@dataclass(frozen=True, slots=True)
class Notices:
    """The outbox.

    Attributes:
        parts: The collaborators.
        clock: Gives the time, with its zone.
    """

    parts: Parts
    clock: Callable[[], datetime] = _now

    def count_waiting(self) -> int:
        """Return how many of open reviews no mail server has taken yet."""
        with self.parts.database.read() as connection:
            count = connection.scalar(
                select(func.count())
                .select_from(notice.join(emergency))
                .where(notice.c.sent_us.is_(None), emergency.c.reviewed_us.is_(None))
            )
        return count or 0

    def send_due(self, post: Post, head: Letterhead) -> int:
        """Send what is due; returns how many a server took.

        A failure ends the round: the server is asked again when the next is due.

        Raises:
            Unavailable: The database cannot be written now; nothing is lost.
        """
        sent = 0
        while sent < TOGETHER_MAX and (claimed := self._claim()) is not None:
            try:
                post(head.message(claimed, self.clock()))
            except LeadglassError as error:
                _LOG.warning("notice %d was not sent: %s", claimed.number, error)
                break
            self._mark_sent(claimed.number)
            _LOG.info("notice %d was sent", claimed.number)
            sent += 1
        return sent

    def _claim(self) -> Notice | None:
        """Take one that is due, and make it due again for when we do not come back."""
        now = self.clock()
        due = (
            select(notice.c.tries, emergency)
            .select_from(notice.join(emergency))
            .where(
                notice.c.sent_us.is_(None),
                notice.c.due_us <= to_us(now),
                emergency.c.reviewed_us.is_(None),
            )
            .order_by(notice.c.due_us, notice.c.emergency_id)
            .limit(1)
        )
        with self.parts.database.read() as connection:
            if connection.execute(due).first() is None:
                return None  # nearly always: nothing is written

        def work(tx: Transaction) -> Notice | None:
            row = tx.connection.execute(due).mappings().first()
            if row is None:
                return None  # another process was faster
            tries = row["tries"] + 1
            tx.connection.execute(
                update(notice)
                .where(notice.c.emergency_id == row["id"])
                .values(tries=tries, due_us=to_us(now + delay(tries)))
            )
            return Notice(
                number=row["id"],
                person=row["name"],
                started_at=from_us(row["started_us"]),
                ends_at=from_us(row["ends_us"]),
            )

        return self.parts.database.write(work)

    def _mark_sent(self, number: int) -> None:
        now = self.clock()

        def work(tx: Transaction) -> None:
            tx.connection.execute(
                update(notice)
                .where(notice.c.emergency_id == number)
                .values(sent_us=to_us(now))
            )

        self.parts.database.write(work)
