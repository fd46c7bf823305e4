"""Whether anything has changed of who people and programs are, and what they may."""

from typing import Final

from sqlalchemy import select

from leadglass.database.engine import Database
from leadglass.database.prepared import Prepared
from leadglass.errors import Damaged
from leadglass.identity.tables import people_revision

_NUMBER: Final = Prepared(select(people_revision.c.number))


def revision_of_people(database: Database) -> int:
    """Return a number that every change counts up: of users, sessions, tokens, scopes.

    Broken glass counts, too. The database itself sees to it (triggers), whichever
    process changes something.

    Raises:
        Damaged: The number is missing.
        Unavailable: The database cannot answer now.
    """
    rows = database.glance(_NUMBER, {})
    if len(rows) != 1:
        raise Damaged("database: the revision of people is missing")
    return int(rows[0][0])
