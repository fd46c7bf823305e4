"""The register of tokens: made, found, used, revoked.

A token is 256 random bits, shown once. What is kept is an HMAC of it under a key that
is not in the database, so that who can read or write the database alone can neither
use a token nor put one in. One look is one indexed read.
"""

import hmac
import json
from datetime import datetime, timedelta
from hashlib import sha256
from ipaddress import ip_network

from sqlalchemy import (
    Connection,
    RowMapping,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from leadglass.access.scopes import EVERYTHING, Scope
from leadglass.database.engine import Transaction
from leadglass.errors import Damaged, LeadglassError, Misconfigured, NotFound
from leadglass.identity.people.tickets import hash_token, new_token
from leadglass.identity.people.user import User
from leadglass.identity.rows import from_us, to_us
from leadglass.identity.tokens import tables
from leadglass.identity.tokens.token import NewToken, Token

# Told apart at sight from other secrets, by people and by scanners for leaked ones.
PREFIX = "lgt_"

# A list of all of them is read and shown whole; names are never given again.
TOKENS_MAX = 10_000

# A use is written down this often at most: who looks for forgotten tokens thinks in
# days, and reading must not write.
TOUCH = timedelta(hours=1)

# SHA-256's own width; a longer key is hashed first (RFC 2104 §2).
KEY_BYTES = 32

_TOKEN = tables.token.c


class Tokens:
    """The tokens of one node; all state is in the database."""

    def __init__(self, key: bytes) -> None:
        """Prepare; ``key`` is the node's own and stays the same.

        Raises:
            ValueError: The key has another length.
        """
        if len(key) != KEY_BYTES:
            raise ValueError(f"key of tokens: {KEY_BYTES} bytes")
        self._key = key

    # ── changes, in the caller's transaction ─────────────────────────────────

    def add(self, tx: Transaction, new: NewToken, now: datetime) -> tuple[str, Token]:
        """Make a token; returns it as it is shown once, and its entry.

        Raises:
            Misconfigured: The name is or was in use, or there are too many.
        """
        if self._row(tx.connection, new.name) is not None:
            raise Misconfigured(
                f"token {new.name}: there is or was one of that name; choose another, "
                "so that the record can tell them apart"
            )
        count = tx.connection.scalar(select(func.count()).select_from(tables.token))
        if (count or 0) >= TOKENS_MAX:
            raise Misconfigured(f"tokens: {TOKENS_MAX} is all that a node keeps")
        text, digest = new_token(PREFIX)
        tx.connection.execute(
            insert(tables.token),
            {
                "name": new.name,
                "folded_name": new.name.casefold(),
                "token_hash": self._keyed(digest),
                "role": new.role,
                "scope": str(new.scope),
                "networks": json.dumps([str(network) for network in new.networks]),
                "created_us": to_us(now),
                "ends_us": to_us(now + new.validity),
            },
        )
        return text, self.get(tx.connection, new.name)

    def revoke(self, tx: Transaction, name: str, now: datetime) -> Token:
        """Refuse a token from now on.

        Raises:
            NotFound: No such token.
            Misconfigured: It is revoked already.
        """
        token = self.get(tx.connection, name)
        if token.revoked_at is not None:
            raise Misconfigured(f"token {token.name}: is revoked already")
        tx.connection.execute(
            update(tables.token)
            .where(_TOKEN.id == token.id)
            .values(revoked_us=to_us(now))
        )
        return self.get(tx.connection, name)

    def touch(self, tx: Transaction, token: Token, now: datetime) -> None:
        """Write down a use; call it when ``is_due``."""
        tx.connection.execute(
            update(tables.token)
            .where(
                _TOKEN.id == token.id,
                or_(_TOKEN.used_us.is_(None), _TOKEN.used_us < to_us(now)),
            )
            .values(used_us=to_us(now))
        )

    # ── answers ──────────────────────────────────────────────────────────────

    def find(self, connection: Connection, text: str) -> Token | None:
        """Return whose token this is, standing or not; ``None``: nobody's.

        Where rows differ from a guess tells nothing: what is compared is keyed.
        """
        digest = hash_token(text, PREFIX)
        if digest is None:
            return None
        found = connection.execute(
            select(tables.token).where(_TOKEN.token_hash == self._keyed(digest))
        )
        row = found.mappings().one_or_none()
        return None if row is None else _token_of(row)

    def get(self, connection: Connection, name: str) -> Token:
        """Return a token by name, whatever its case.

        Raises:
            NotFound: No such token.
        """
        row = self._row(connection, name)
        if row is None:
            raise NotFound("no such token")
        return _token_of(row)

    def list(self, connection: Connection) -> tuple[Token, ...]:
        """Return all tokens, revoked and expired ones too, by name."""
        rows = connection.execute(select(tables.token).order_by(_TOKEN.folded_name))
        return tuple(_token_of(row) for row in rows.mappings())

    def _row(self, connection: Connection, name: str) -> RowMapping | None:
        folded_name = name.casefold()
        if not folded_name.isascii():
            return None  # nobody's; a lone surrogate would be the database's error
        found = connection.execute(
            select(tables.token).where(_TOKEN.folded_name == folded_name)
        )
        return found.mappings().one_or_none()

    def _keyed(self, digest: bytes) -> bytes:
        return hmac.digest(self._key, digest, sha256)


def is_due(token: Token, now: datetime) -> bool:
    """Whether this use is to be written down."""
    return token.used_at is None or now - token.used_at >= TOUCH


def _token_of(row: RowMapping) -> Token:
    """Read a token.

    Raises:
        Damaged: The row is none that this program writes.
    """
    try:
        return Token(
            id=row["id"],
            name=row["name"],
            role=row["role"],
            scope=Scope.parse(row["scope"]),
            networks=tuple(ip_network(text) for text in json.loads(row["networks"])),
            created_at=from_us(row["created_us"]),
            ends_at=from_us(row["ends_us"]),
            used_at=None if row["used_us"] is None else from_us(row["used_us"]),
            revoked_at=None
            if row["revoked_us"] is None
            else from_us(row["revoked_us"]),
        )
    except (LeadglassError, ValueError, TypeError) as error:
        raise Damaged("tokens: an entry cannot be read") from error


class PersonScopes:
    """How far each user's roles reach; all state is in the database."""

    def set(self, tx: Transaction, user: User, scope: Scope) -> None:
        """Narrow a user's roles to a scope; `EVERYTHING` takes that back."""
        table = tables.person_scope
        tx.connection.execute(delete(table).where(table.c.person_id == user.id))
        if not scope.is_everything:
            tx.connection.execute(
                insert(table), {"person_id": user.id, "scope": str(scope)}
            )

    def of(self, connection: Connection, user: User) -> Scope:
        """Return the scope of a user.

        Raises:
            Damaged: The row is none that this program writes.
        """
        table = tables.person_scope
        text = connection.scalar(
            select(table.c.scope).where(table.c.person_id == user.id)
        )
        return EVERYTHING if text is None else _scope_of(text)

    def all(self, connection: Connection) -> dict[int, Scope]:
        """Return the scopes of all users that have one, by the user's id.

        Raises:
            Damaged: A row is none that this program writes.
        """
        rows = connection.execute(select(tables.person_scope)).mappings()
        return {row["person_id"]: _scope_of(row["scope"]) for row in rows}


def _scope_of(text: str) -> Scope:
    try:
        return Scope.parse(text)
    except LeadglassError as error:
        raise Damaged("users: a scope cannot be read") from error
