"""Sessions: for how long a login is believed.

A session is a random text in a cookie, kept hashed. It ends when it was not used for
a while, when its day is over, when it is ended, and with any change of its user:
it remembers the user's revision, and every look compares. One look is one indexed
read.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    Connection,
    RowMapping,
    Select,
    delete,
    insert,
    select,
    update,
)

from leadglass.access.networks import Address
from leadglass.database.engine import Transaction
from leadglass.errors import NotFound, Refused
from leadglass.identity.people import tables
from leadglass.identity.people.secondfactor import Factor
from leadglass.identity.people.tickets import hash_token, new_token
from leadglass.identity.people.user import User
from leadglass.identity.people.users import user_of
from leadglass.identity.rows import from_us, to_us

# Told apart at sight from other secrets, by people and by scanners for leaked ones.
PREFIX = "lgs_"

# A person has a few screens; the session unused for longest makes room.
SESSIONS_PER_USER_MAX = 20

# When somebody proved itself who has not, or not so that anybody says when.
NEVER = datetime.fromtimestamp(0, UTC)

# A use is written down this often at most: reading must not write each time. A
# session may therefore end this much earlier than the idle limit says, never later.
TOUCH = timedelta(seconds=60)

_SESSION = tables.session.c
_PERSON = tables.person.c


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a session lasts.

    Attributes:
        idle: Unused for so long, it ends: a screen that was left.
        absolute: It ends so long after the login, used or not: a shift.
        fresh: So long after a proof, what is dangerous needs no new one.
    """

    idle: timedelta = timedelta(minutes=15)
    absolute: timedelta = timedelta(hours=12)
    fresh: timedelta = timedelta(minutes=5)

    def __post_init__(self) -> None:
        # Limits of the program's own configuration; out of order is a mistake there.
        if not TOUCH < self.idle <= self.absolute or self.fresh > self.absolute:
            raise ValueError("session limits: idle within absolute, above a minute")


class NoSession(Refused):
    """There is no such session, or no longer."""

    def __init__(self) -> None:
        super().__init__("no session, or it has ended")


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session that stands.

    Attributes:
        id: What it is ended by; tells nothing.
        user: Whose.
        factor: By what second factor it was proven.
        address: Where the login came from.
        created_at: When it began.
        used_at: When it was last used, to the minute.
        ends_at: Its last moment, however much it is used.
        fresh_until: Until when no new proof is asked for what is dangerous.
    """

    id: int
    user: User
    factor: Factor
    address: str
    created_at: datetime
    used_at: datetime
    ends_at: datetime
    fresh_until: datetime

    def is_fresh(self, now: datetime) -> bool:
        """Whether the person has proven itself a short while ago."""
        return now <= self.fresh_until

    def is_due(self, now: datetime) -> bool:
        """Whether this use is to be written down: call ``touch``."""
        return now - self.used_at >= TOUCH


class Sessions:
    """The sessions of one node; all state is in the database."""

    def __init__(self, limits: Limits | None = None) -> None:
        """Prepare."""
        self._limits = limits or Limits()

    def create(  # noqa: PLR0913, PLR0917 - what a session is made of
        self,
        tx: Transaction,
        user: User,
        factor: Factor,
        address: Address | None,
        now: datetime,
        proven_at: datetime | None = None,
    ) -> tuple[str, Session]:
        """Begin a session; returns the text for the cookie, and the session.

        ``proven_at`` is when the person proved itself, if that was not now.
        """
        self._make_room(tx, user, now)
        token, token_hash = new_token(PREFIX)
        tx.connection.execute(
            insert(tables.session),
            {
                "token_hash": token_hash,
                "person_id": user.id,
                "revision": user.revision,
                "factor": factor,
                "address": "" if address is None else str(address),
                "created_us": to_us(now),
                "used_us": to_us(now),
                "ends_us": to_us(now + self._limits.absolute),
                "fresh_until_us": to_us((proven_at or now) + self._limits.fresh),
            },
        )
        return token, self.find(tx.connection, token, now)

    def find(self, connection: Connection, token: str, now: datetime) -> Session:
        """Return the session of a cookie.

        Raises:
            NoSession: There is none, it has ended, or its user has changed.
        """
        token_hash = hash_token(token, PREFIX)
        if token_hash is None:
            raise NoSession
        found = connection.execute(
            self._standing(now).where(_SESSION.token_hash == token_hash)
        )
        row = found.mappings().one_or_none()
        if row is None:
            raise NoSession
        return _session_of(row)

    def touch(self, tx: Transaction, session: Session, now: datetime) -> None:
        """Write down a use, so that the session does not end as idle."""
        tx.connection.execute(
            update(tables.session)
            .where(_SESSION.id == session.id, _SESSION.used_us < to_us(now))
            .values(used_us=to_us(now))
        )

    def refresh(self, tx: Transaction, session: Session, now: datetime) -> None:
        """Make a session fresh again: its person has proven itself anew."""
        tx.connection.execute(
            update(tables.session)
            .where(_SESSION.id == session.id)
            .values(fresh_until_us=to_us(now + self._limits.fresh))
        )

    def list(
        self, connection: Connection, user: User, now: datetime
    ) -> tuple[Session, ...]:
        """Return the sessions of a user that stand, newest first."""
        found = connection.execute(
            self._standing(now)
            .where(_SESSION.person_id == user.id)
            .order_by(_SESSION.id.desc())
        )
        return tuple(_session_of(row) for row in found.mappings())

    def standing(
        self, connection: Connection, now: datetime, most: int
    ) -> tuple[Session, ...]:
        """Return whose sessions stand, of all users, the newest first."""
        found = connection.execute(
            self._standing(now).order_by(_SESSION.id.desc()).limit(most)
        )
        return tuple(_session_of(row) for row in found.mappings())

    def end(self, tx: Transaction, user: User, session_id: int) -> None:
        """End one session of a user.

        Raises:
            NotFound: The user has no such session.
        """
        gone = tx.connection.execute(
            delete(tables.session).where(
                _SESSION.id == session_id, _SESSION.person_id == user.id
            )
        )
        if gone.rowcount == 0:
            raise NotFound("no such session")

    def end_all(self, tx: Transaction, user: User, but: Session | None = None) -> int:
        """End all sessions of a user, or all but one; returns how many."""
        gone = tx.connection.execute(
            delete(tables.session).where(
                _SESSION.person_id == user.id,
                _SESSION.id != (0 if but is None else but.id),
            )
        )
        return gone.rowcount

    def _standing(self, now: datetime) -> Select[Any]:
        """Select sessions that stand, with their users."""
        return (
            select(
                tables.person,
                *(each.label(f"session_{each.name}") for each in tables.session.c),
            )
            .join(tables.session, _SESSION.person_id == _PERSON.id)
            .where(
                _SESSION.revision == _PERSON.revision,
                _PERSON.disabled_us.is_(None),
                _SESSION.ends_us > to_us(now),
                _SESSION.used_us > to_us(now - self._limits.idle),
            )
        )

    def _make_room(self, tx: Transaction, user: User, now: datetime) -> None:
        tx.connection.execute(
            delete(tables.session).where(_SESSION.ends_us <= to_us(now))
        )
        kept = (
            select(_SESSION.id)
            .where(_SESSION.person_id == user.id)
            .order_by(_SESSION.used_us.desc(), _SESSION.id.desc())
            .limit(SESSIONS_PER_USER_MAX - 1)
        )
        tx.connection.execute(
            delete(tables.session).where(
                _SESSION.person_id == user.id, _SESSION.id.not_in(kept)
            )
        )


def _session_of(row: RowMapping) -> Session:
    return Session(
        id=row["session_id"],
        user=user_of(row),
        factor=Factor(row["session_factor"]),
        address=row["session_address"],
        created_at=from_us(row["session_created_us"]),
        used_at=from_us(row["session_used_us"]),
        ends_at=from_us(row["session_ends_us"]),
        fresh_until=from_us(row["session_fresh_until_us"]),
    )
