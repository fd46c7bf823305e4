"""The register of users: added, enrolled, given roles, disabled.

Changes are made in the caller's transaction, so that the record of the change is
written with it or not at all. A change that must end what was granted before it
counts up the user's revision: sessions and tickets remember the revision that they
were given at, and every look compares (see ``sessions``, ``tickets``).
"""

import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, func, insert, select, update

from leadglass.database.engine import Transaction
from leadglass.errors import Damaged, LeadglassError, Misconfigured, NotFound
from leadglass.identity.administrators import FIRST_NAME
from leadglass.identity.people import tables
from leadglass.identity.people.user import (
    NewUser,
    User,
    could_be_name,
    fold_name,
    ordered,
)
from leadglass.identity.rows import from_us, to_us
from leadglass.identity.tables import administrator

# A list of all of them is read and shown whole; the largest hospitals have as many.
USERS_MAX = 10_000

# Long enough for a holiday, short enough that a mail found later is of no use.
SECRET_VALIDITY = timedelta(days=7)
# The first administrator's secret is printed when a node is set up, which may be a
# while before it is first used.
FIRST_SECRET_VALIDITY = timedelta(days=30)

# WebAuthn §14.6.1 asks for 64 random bytes, or fewer if enough: 256 bits are.
HANDLE_BYTES = 32

# What the first administrator becomes.
FIRST_ROLE = "administrator"

_PERSON = tables.person.c


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a user proves itself by, as it is stored; stays in this package.

    Attributes:
        user: Whose.
        password_hash: Argon2id; ``None``: has no password.
        totp_secret: Shared with the authenticator app; ``None``: has none.
        totp_step: The last time step that was used.
        secret_hash: Of the one-time secret that enrols; ``None``: there is none.
        secret_ends_at: Last moment of that secret.
    """

    user: User
    password_hash: str | None
    totp_secret: bytes | None
    totp_step: int | None
    secret_hash: str | None
    secret_ends_at: datetime | None


class Users:
    """The users of one node; all state is in the database."""

    # ── changes, in the caller's transaction ─────────────────────────────────

    def add(
        self, tx: Transaction, new: NewUser, secret_hash: str, now: datetime
    ) -> User:
        """Add a user, who enrols with the one-time secret of that hash.

        Args:
            tx: The caller's transaction.
            new: Who.
            secret_hash: ``administrators.hash_secret`` of what ``new_secret`` drew;
                made outside of the transaction, since it takes a while.
            now: When.

        Raises:
            Misconfigured: The name is in use or kept for the first administrator,
                or there are too many users.
        """
        if self._row(tx.connection, new.name) is not None:
            raise Misconfigured(
                f"user {new.name}: there is one of that name, maybe a disabled one"
            )
        if _first_secret(tx.connection, fold_name(new.name)) is not None:
            raise Misconfigured(
                f"user {new.name}: the name is kept for the first administrator"
            )
        return self._insert(tx, new, secret_hash, (now, now + SECRET_VALIDITY))

    def insert(self, tx: Transaction, name: str, values: dict[str, Any]) -> User:
        """Add the row of a person.

        Raises:
            Misconfigured: There are too many.
        """
        count = tx.connection.scalar(select(func.count()).select_from(tables.person))
        if (count or 0) >= USERS_MAX:
            raise Misconfigured(f"users: {USERS_MAX} is all that a node keeps")
        tx.connection.execute(
            insert(tables.person),
            {
                "name": name,
                "folded_name": fold_name(name),
                "handle": secrets.token_bytes(HANDLE_BYTES),
                "revision": 1,
                **values,
            },
        )
        return self.get(tx.connection, name)

    def adopt_first(self, tx: Transaction, now: datetime) -> User | None:
        """Make a user of the first administrator, with the same one-time secret.

        Returns:
            The user; ``None`` when there is one already, or the secret was used.
        """
        first = _first_secret(tx.connection, FIRST_NAME)
        if first is None or self._row(tx.connection, FIRST_NAME) is not None:
            return None
        secret_hash, ends_at = first
        tx.connection.execute(
            update(administrator)
            .where(administrator.c.name == FIRST_NAME)
            .values(secret_hash=None, consumed_us=to_us(now))
        )
        new = NewUser(FIRST_NAME, (FIRST_ROLE,))
        return self._insert(tx, new, secret_hash, (now, ends_at))

    def _insert(
        self,
        tx: Transaction,
        new: NewUser,
        secret_hash: str,
        times: tuple[datetime, datetime],
    ) -> User:
        now, secret_ends_at = times
        return self.insert(
            tx,
            new.name,
            {
                "display_name": new.display_name,
                "roles": json.dumps(new.roles),
                "secret_hash": secret_hash,
                "secret_ends_us": to_us(secret_ends_at),
                "created_us": to_us(now),
            },
        )

    def change_roles(self, tx: Transaction, name: str, roles: Iterable[str]) -> User:
        """Give a user other roles; sessions end, since they were for the old ones.

        Raises:
            NotFound: No such user.
            Misconfigured: Roles that cannot be.
        """
        user = self.get(tx.connection, name)
        _refuse_external(user)
        new = NewUser(user.name, ordered(roles), user.display_name)
        return self.change(tx, user, {"roles": json.dumps(new.roles)})

    def disable(self, tx: Transaction, name: str, now: datetime) -> User:
        """Shut a user out at once: sessions, open logins and the one-time secret.

        Raises:
            NotFound: No such user.
            Misconfigured: It is disabled already.
        """
        user = self.get(tx.connection, name)
        if user.disabled_at is not None:
            raise Misconfigured(f"user {user.name}: is disabled already")
        values = {"disabled_us": to_us(now), "secret_hash": None}
        return self.change(tx, user, values)

    def enable(self, tx: Transaction, name: str) -> User:
        """Let a disabled user come again, with the proofs it had.

        Raises:
            NotFound: No such user.
            Misconfigured: It is not disabled.
        """
        user = self.get(tx.connection, name)
        if user.disabled_at is None:
            raise Misconfigured(f"user {user.name}: is not disabled")
        return self.change(tx, user, {"disabled_us": None})

    def reset(
        self, tx: Transaction, name: str, secret_hash: str, now: datetime
    ) -> User:
        """Take all proofs from a user, who enrols anew with a one-time secret.

        For who has lost phone and codes, or never used the first secret.

        Raises:
            NotFound: No such user.
            Misconfigured: It is disabled.
        """
        user = self.get(tx.connection, name)
        if user.disabled_at is not None:
            raise Misconfigured(f"user {user.name}: is disabled; enable it first")
        _refuse_external(user)
        for table in (tables.recovery, tables.passkey):
            tx.connection.execute(delete(table).where(table.c.person_id == user.id))
        return self.change(
            tx,
            user,
            {
                "password_hash": None,
                "totp_secret": None,
                "totp_step": None,
                "enrolled_us": None,
                "secret_hash": secret_hash,
                "secret_ends_us": to_us(now + SECRET_VALIDITY),
            },
        )

    def set_password(self, tx: Transaction, user: User, password_hash: str) -> User:
        """Give a user another password, as ``Passwords.prepare`` hashed it.

        All sessions end: whoever had the old password may have one.

        Raises:
            Misconfigured: Somebody else proves this user.
        """
        _refuse_external(user)
        return self.change(tx, user, {"password_hash": password_hash})

    def rehash(self, tx: Transaction, user: User, old: str, new: str) -> None:
        """Replace the hash of a password by a dearer one of the same password."""
        tx.connection.execute(
            update(tables.person)
            .where(_PERSON.id == user.id, _PERSON.password_hash == old)
            .values(password_hash=new)
        )

    def change(self, tx: Transaction, user: User, values: dict[str, Any]) -> User:
        """Change columns of a user, and end all that was granted before."""
        tx.connection.execute(
            update(tables.person)
            .where(_PERSON.id == user.id)
            .values(**values, revision=_PERSON.revision + 1)
        )
        # The revision ends them already; but rows that mean nothing are not kept.
        for table in (tables.session, tables.ticket):
            tx.connection.execute(delete(table).where(table.c.person_id == user.id))
        return self.by_id(tx.connection, user.id)

    # ── answers ──────────────────────────────────────────────────────────────

    def get(self, connection: Connection, name: str) -> User:
        """Return a user by name, whatever its case.

        Raises:
            NotFound: No such user.
        """
        row = self._row(connection, name)
        if row is None:
            raise NotFound("no such user")
        return user_of(row)

    def by_id(self, connection: Connection, user_id: int) -> User:
        """Return a user by row number.

        Raises:
            NotFound: No such user.
        """
        return self.credentials_by_id(connection, user_id).user

    def list(self, connection: Connection) -> tuple[User, ...]:
        """Return all users, disabled ones too, by name."""
        rows = connection.execute(select(tables.person).order_by(_PERSON.folded_name))
        return tuple(user_of(row) for row in rows.mappings())

    def credentials(self, connection: Connection, name: str) -> Credentials | None:
        """Return what a user proves itself by; ``None``: no such user."""
        row = self._row(connection, name)
        return None if row is None else _credentials_of(row)

    def credentials_by_id(self, connection: Connection, user_id: int) -> Credentials:
        """Return what a user proves itself by.

        Raises:
            NotFound: No such user.
        """
        found = connection.execute(
            select(tables.person).where(_PERSON.id == user_id)
        ).mappings()
        row = found.one_or_none()
        if row is None:
            raise NotFound("no such user")
        return _credentials_of(row)

    def by_handle(self, connection: Connection, handle: bytes) -> User | None:
        """Return the user that an authenticator knows by these bytes."""
        found = connection.execute(
            select(tables.person).where(_PERSON.handle == handle)
        ).mappings()
        row = found.one_or_none()
        return None if row is None else user_of(row)

    def enrolment_secret(
        self, connection: Connection, name: str
    ) -> tuple[str, datetime] | None:
        """Return the hash of somebody's one-time secret and its last moment.

        That of the first administrator too, who is no user before it is used.
        """
        credentials = self.credentials(connection, name)
        if credentials is None:
            return _first_secret(connection, fold_name(name))
        if credentials.secret_hash is None or credentials.secret_ends_at is None:
            return None
        return credentials.secret_hash, credentials.secret_ends_at

    def _row(self, connection: Connection, name: str) -> RowMapping | None:
        folded_name = fold_name(name)
        if not could_be_name(folded_name):
            return None
        found = connection.execute(
            select(tables.person).where(_PERSON.folded_name == folded_name)
        )
        return found.mappings().one_or_none()


def _refuse_external(user: User) -> None:
    """Keep what somebody else says of a person as that says it.

    Raises:
        Misconfigured: Somebody else proves the person.
    """
    if user.is_external:
        raise Misconfigured(
            f"user {user.name}: proofs and roles are those of the provider; change "
            "them there, or `leadglass users disable` it here"
        )


def _first_secret(
    connection: Connection, folded_name: str
) -> tuple[str, datetime] | None:
    """Return the unused secret of the first administrator, if that is the name."""
    if not could_be_name(folded_name):
        return None
    row = connection.execute(
        select(administrator.c.secret_hash, administrator.c.created_us).where(
            administrator.c.name == folded_name,
            administrator.c.secret_hash.is_not(None),
        )
    ).one_or_none()
    if row is None:
        return None
    return row.secret_hash, from_us(row.created_us) + FIRST_SECRET_VALIDITY


def user_of(row: RowMapping) -> User:
    """Read a user.

    Raises:
        Damaged: The row is none that this program writes.
    """
    try:
        return User(
            id=row["id"],
            name=row["name"],
            roles=tuple(json.loads(row["roles"])),
            display_name=row["display_name"],
            handle=row["handle"],
            revision=row["revision"],
            created_at=from_us(row["created_us"]),
            enrolled_at=_maybe_time(row["enrolled_us"]),
            disabled_at=_maybe_time(row["disabled_us"]),
        )
    except (LeadglassError, ValueError, TypeError) as error:
        raise Damaged("users: an entry cannot be read") from error


def _credentials_of(row: RowMapping) -> Credentials:
    return Credentials(
        user=user_of(row),
        password_hash=row["password_hash"],
        totp_secret=row["totp_secret"],
        totp_step=row["totp_step"],
        secret_hash=row["secret_hash"],
        secret_ends_at=_maybe_time(row["secret_ends_us"]),
    )


def _maybe_time(time_us: int | None) -> datetime | None:
    return None if time_us is None else from_us(time_us)
