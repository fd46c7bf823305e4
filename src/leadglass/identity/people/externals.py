"""People whom somebody else proves: an OpenID provider, a directory.

The pair of issuer and subject is the person: names and mail addresses change hands,
and a provider lets people choose them. So a person whose name there is that of a user
here is somebody else still: its name here begins with where it comes from, which no
local name can. The name is made once, at the first login, and stays: the record is
about it.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Final

from sqlalchemy import Connection, insert, select, update

from leadglass.database.engine import Transaction
from leadglass.errors import Misconfigured, NotFound
from leadglass.identity.people import tables
from leadglass.identity.people.user import (
    DISPLAY_NAME_CHARACTERS_MAX,
    EXTERNAL_MARK,
    NAME_CHARACTERS_MAX,
    User,
    is_local_name,
    ordered,
)
from leadglass.identity.people.users import Users
from leadglass.identity.rows import to_us

# Of a digest that tells two people of one name apart: 40 bits, and more if need be.
_SHORT: Final = 10
_LONG: Final = 32
ISSUER_CHARACTERS_MAX: Final = 2_048
SUBJECT_CHARACTERS_MAX: Final = 1_024

_EXTERNAL = tables.external.c


class Origin(StrEnum):
    """Who proves a person; its name here begins with it."""

    SSO = "sso"  # an OpenID provider
    LDAP = "ldap"  # a directory


@dataclass(frozen=True, slots=True)
class External:
    """Somebody as another one knows it.

    Attributes:
        origin: Of which kind that is.
        issuer: Which one.
        subject: Its own name for the person, never given to another.
        name: How the person logs in there; for our name, if it can be one.
        display_name: How people call the person.

    Raises:
        Misconfigured: No issuer or no subject, or longer than any.
    """

    origin: Origin
    issuer: str
    subject: str = field(repr=False)
    name: str = field(default="", repr=False)
    display_name: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if not 0 < len(self.issuer) <= ISSUER_CHARACTERS_MAX:
            raise Misconfigured("user: nobody who proves a person is named so")
        if not 0 < len(self.subject) <= SUBJECT_CHARACTERS_MAX:
            raise Misconfigured("user: nobody is known by that name to a provider")
        shown = "".join(each for each in self.display_name if each.isprintable())
        shown = shown.strip()[:DISPLAY_NAME_CHARACTERS_MAX]
        object.__setattr__(self, "display_name", shown)

    def names(self) -> Iterator[str]:
        """Yield what the person may be called here, the nicest first."""
        pair = f"{self.issuer}\0{self.subject}".encode()
        digest = sha256(pair).hexdigest()
        begin = f"{self.origin}{EXTERNAL_MARK}"
        room = NAME_CHARACTERS_MAX - len(begin) - _SHORT - 1
        if is_local_name(self.name) and len(self.name) <= room:
            yield f"{begin}{self.name}"
            yield f"{begin}{self.name}-{digest[:_SHORT]}"
        yield f"{begin}{digest[:_LONG]}"


class Externals:
    """The people of others; all state is in the database."""

    def __init__(self, users: Users) -> None:
        """Prepare; ``users`` is the register that they are in like everybody."""
        self._users = users

    def find(self, connection: Connection, person: External) -> User | None:
        """Return who that is here; ``None``: nobody yet."""
        person_id = connection.scalar(
            select(_EXTERNAL.person_id).where(
                _EXTERNAL.issuer == person.issuer,
                _EXTERNAL.subject == person.subject,
            )
        )
        return None if person_id is None else self._users.by_id(connection, person_id)

    def pair(self, connection: Connection, user: User) -> dict[str, str]:
        """Return issuer and subject of somebody, by these names, for the record."""
        row = connection.execute(
            select(_EXTERNAL.issuer, _EXTERNAL.subject).where(
                _EXTERNAL.person_id == user.id
            )
        ).one_or_none()
        return {} if row is None else {"issuer": row.issuer, "subject": row.subject}

    def add(
        self, tx: Transaction, person: External, roles: tuple[str, ...], now: datetime
    ) -> User:
        """Add somebody, who needs no enrolment.

        Raises:
            Misconfigured: There are too many users.
        """
        user = self._users.insert(
            tx,
            self._free_name(tx.connection, person),
            {
                "display_name": person.display_name,
                "roles": json.dumps(ordered(roles)),
                "created_us": to_us(now),
                "enrolled_us": to_us(now),
            },
        )
        tx.connection.execute(
            insert(tables.external),
            {
                "person_id": user.id,
                "issuer": person.issuer,
                "subject": person.subject,
            },
        )
        return user

    def update(
        self, tx: Transaction, user: User, person: External, roles: tuple[str, ...]
    ) -> User:
        """Take over what is said of somebody now; other roles end the sessions."""
        if ordered(roles) != user.roles:
            values = {"roles": json.dumps(ordered(roles))}
            user = self._users.change(tx, user, values)
        if person.display_name != user.display_name:
            tx.connection.execute(
                update(tables.person)
                .where(tables.person.c.id == user.id)
                .values(display_name=person.display_name)
            )
        return self._users.by_id(tx.connection, user.id)

    def _free_name(self, connection: Connection, person: External) -> str:
        for name in person.names():
            try:
                self._users.get(connection, name)
            except NotFound:
                return name
        raise Misconfigured("users: no name is left for somebody")
