"""What has begun and is not finished: a login between its two steps, an enrolment.

A ticket is a random text that the browser brings back; what it stands for stays
here. One is given to whoever begins, known or not, right or wrong, so that the
first step tells nothing.
"""

import base64
import binascii
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256

from sqlalchemy import Connection, RowMapping, delete, func, insert, select, update

from leadglass.database.engine import Transaction
from leadglass.identity.people import tables
from leadglass.identity.people.user import User
from leadglass.identity.rows import from_us, to_us

# 256 bits: a plain hash keeps it, since nobody guesses one.
TOKEN_BYTES = 32
# The same for a challenge: WebAuthn §13.4.3 asks for 16 bytes at least.
CHALLENGE_BYTES = 32

# Open at once. A flood of logins is slowed by Argon2 to some 90 a second at most, so
# an honest ticket lives a minute even then; the oldest make room.
TICKETS_MAX = 8_192

_TICKET = tables.ticket.c


class Purpose(StrEnum):
    """What has begun."""

    LOGIN = "login"  # a password was shown, the second factor is waited for
    PASSKEY = "passkey"  # a passkey alone is waited for
    ENROLMENT = "enrolment"  # a one-time secret was shown
    REGISTRATION = "registration"  # somebody logged in adds a passkey or an app


@dataclass(frozen=True, slots=True)
class Term:
    """How long a ticket is good, and for how many tries."""

    validity: timedelta
    tries_max: int


# A code is mistyped once or twice; a new phone is set up within half an hour.
TERMS = {
    Purpose.LOGIN: Term(timedelta(minutes=5), 3),
    Purpose.PASSKEY: Term(timedelta(minutes=5), 1),
    Purpose.ENROLMENT: Term(timedelta(minutes=30), 10),
    Purpose.REGISTRATION: Term(timedelta(minutes=10), 5),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """What a ticket stands for.

    Attributes:
        purpose: What has begun.
        user_id: Whose it is; ``None``: nobody we know, or nobody yet.
        is_proven: Whether the first step was right.
        challenge: For an authenticator to sign, if that is how it goes on.
        totp_secret: For an authenticator app that is being set up.
        ends_at: Its last moment.
        token_hash: What it is found by.
    """

    purpose: Purpose
    user_id: int | None
    is_proven: bool
    challenge: bytes
    totp_secret: bytes | None
    ends_at: datetime
    token_hash: bytes


def new_token(prefix: str = "") -> tuple[str, bytes]:
    """Draw a token: as it is shown once, and the hash that is kept of it."""
    raw = secrets.token_bytes(TOKEN_BYTES)
    text = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    return prefix + text, sha256(raw).digest()


def hash_token(token: str, prefix: str = "") -> bytes | None:
    """Return what is kept of a token; ``None`` if that can be none of ours."""
    text = token.removeprefix(prefix)
    if not token.startswith(prefix) or len(text) != (TOKEN_BYTES * 4 + 2) // 3:
        return None
    try:
        raw = base64.b64decode(text + "=", altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        return None
    return sha256(raw).digest()


class Tickets:
    """The open tickets of one node; all state is in the database."""

    def issue(  # noqa: PLR0913 - what a ticket stands for
        self,
        tx: Transaction,
        purpose: Purpose,
        user: User | None,
        now: datetime,
        *,
        is_proven: bool = False,
        totp_secret: bytes | None = None,
    ) -> tuple[str, Ticket]:
        """Give a ticket; returns what the browser brings back, and the ticket."""
        self._make_room(tx, now)
        token, token_hash = new_token()
        ticket = Ticket(
            purpose=purpose,
            user_id=None if user is None else user.id,
            is_proven=is_proven,
            challenge=secrets.token_bytes(CHALLENGE_BYTES),
            totp_secret=totp_secret,
            ends_at=now + TERMS[purpose].validity,
            token_hash=token_hash,
        )
        tx.connection.execute(
            insert(tables.ticket),
            {
                "token_hash": token_hash,
                "purpose": purpose,
                "person_id": ticket.user_id,
                "revision": 0 if user is None else user.revision,
                "is_proven": is_proven,
                "challenge": ticket.challenge,
                "totp_secret": totp_secret,
                "tries": 0,
                "ends_us": to_us(ticket.ends_at),
            },
        )
        return token, ticket

    def get(
        self, connection: Connection, token: str, purpose: Purpose, now: datetime
    ) -> Ticket | None:
        """Return an open ticket of that purpose, if the user has not changed since."""
        row = self._row(connection, token, purpose)
        if row is None or now > from_us(row["ends_us"]):
            return None
        if row["tries"] >= TERMS[purpose].tries_max:
            return None
        if row["person_id"] is not None:
            person = tables.person.c
            revision = connection.scalar(
                select(person.revision).where(person.id == row["person_id"])
            )
            if revision != row["revision"]:
                return None
        return _ticket_of(row)

    def use(
        self, tx: Transaction, token: str, purpose: Purpose, now: datetime
    ) -> Ticket | None:
        """Return an open ticket, and count this as a try of it."""
        ticket = self.get(tx.connection, token, purpose, now)
        if ticket is not None:
            tx.connection.execute(
                update(tables.ticket)
                .where(_TICKET.token_hash == ticket.token_hash)
                .values(tries=_TICKET.tries + 1)
            )
        return ticket

    def close(self, tx: Transaction, ticket: Ticket) -> None:
        """Take a ticket back: what it was for is done."""
        tx.connection.execute(
            delete(tables.ticket).where(_TICKET.token_hash == ticket.token_hash)
        )

    def _row(
        self, connection: Connection, token: str, purpose: Purpose
    ) -> RowMapping | None:
        token_hash = hash_token(token)
        if token_hash is None:
            return None
        found = connection.execute(
            select(tables.ticket).where(
                _TICKET.token_hash == token_hash, _TICKET.purpose == purpose
            )
        )
        return found.mappings().one_or_none()

    def _make_room(self, tx: Transaction, now: datetime) -> None:
        tx.connection.execute(delete(tables.ticket).where(_TICKET.ends_us < to_us(now)))
        count = tx.connection.scalar(select(func.count()).select_from(tables.ticket))
        if (count or 0) >= TICKETS_MAX:
            oldest = (
                select(_TICKET.token_hash)
                .order_by(_TICKET.ends_us)
                .limit((count or 0) - TICKETS_MAX + 1)
            )
            tx.connection.execute(
                delete(tables.ticket).where(_TICKET.token_hash.in_(oldest))
            )


def _ticket_of(row: RowMapping) -> Ticket:
    return Ticket(
        purpose=Purpose(row["purpose"]),
        user_id=row["person_id"],
        is_proven=bool(row["is_proven"]),
        challenge=row["challenge"],
        totp_secret=row["totp_secret"],
        ends_at=from_us(row["ends_us"]),
        token_hash=row["token_hash"],
    )
