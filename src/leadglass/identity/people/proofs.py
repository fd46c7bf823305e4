"""Which proofs people have: for who administers them; nothing that proves is read."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Table, func, select

from leadglass.identity.people import tables


@dataclass(frozen=True, slots=True)
class Proofs:
    """What somebody can log in with.

    Attributes:
        has_password: Whether there is one.
        has_app: Whether there is an authenticator app.
        passkeys: How many.
        recovery_codes: How many are left.
    """

    has_password: bool = False
    has_app: bool = False
    passkeys: int = 0
    recovery_codes: int = 0


NO_PROOFS = Proofs()


def proofs(connection: Connection) -> Mapping[int, Proofs]:
    """Return what everybody has, by row number of the user; one pass each table."""
    person = tables.person.c
    passkeys = _counts(connection, tables.passkey)
    codes = _counts(connection, tables.recovery)
    rows = connection.execute(
        select(
            person.id,
            person.password_hash.is_not(None),
            person.totp_secret.is_not(None),
        )
    )
    return {
        row[0]: Proofs(
            bool(row[1]), bool(row[2]), passkeys.get(row[0], 0), codes.get(row[0], 0)
        )
        for row in rows
    }


def _counts(connection: Connection, table: Table) -> dict[int, int]:
    found = connection.execute(
        select(table.c.person_id, func.count()).group_by(table.c.person_id)
    )
    return {row[0]: row[1] for row in found}
