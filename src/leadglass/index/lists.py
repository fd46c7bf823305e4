"""Who a study is assigned to, and who is on which list of patients.

A scope names an assignee or a list; who and what is in it changes here, without a
rule being touched, and the next question sees it. Nothing here comes from images, so
rebuilding the index leaves it alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, Table, delete, func, insert, select

from leadglass.access.scopes import VALUE_CHARACTERS_MAX
from leadglass.database.engine import Transaction
from leadglass.errors import BadData
from leadglass.index.tables import assignment, listed

# Of one assignee or on one list: more than anybody works through, and still a short
# search in an index.
ENTRIES_MAX = 100_000
# In one change: some 200 KB of record.
CHANGES_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Lists:
    """Named sets of studies or of patients; all state is in the database.

    Attributes:
        table: ``assignment`` or ``listed``: first the name, then the member.
    """

    table: Table

    def add(self, tx: Transaction, name: str, members: Iterable[str]) -> int:
        """Put members in; returns how many were not in before.

        Raises:
            BadData: Too many, or a name or member that cannot be one.
        """
        wanted = _checked(name, members)
        new = wanted - self._among(tx.connection, name, wanted)
        of_name, member = self.table.c
        count = tx.connection.scalar(
            select(func.count()).select_from(self.table).where(of_name == name)
        )
        if (count or 0) + len(new) > ENTRIES_MAX:
            raise BadData(f"more than {ENTRIES_MAX} in one list")
        if new:
            tx.connection.execute(
                insert(self.table),
                [{of_name.name: name, member.name: each} for each in sorted(new)],
            )
        return len(new)

    def remove(self, tx: Transaction, name: str, members: Iterable[str]) -> int:
        """Take members out; returns how many were in.

        Raises:
            BadData: Too many, or a name or member that cannot be one.
        """
        of_name, member = self.table.c
        gone = tx.connection.execute(
            delete(self.table).where(
                of_name == name, member.in_(sorted(_checked(name, members)))
            )
        )
        return gone.rowcount

    def members(self, connection: Connection, name: str) -> tuple[str, ...]:
        """Return who or what is in, in order."""
        of_name, member = self.table.c
        return tuple(
            connection.scalars(
                select(member)
                .where(of_name == name)
                .order_by(member)
                .limit(ENTRIES_MAX)
            )
        )

    def names(self, connection: Connection) -> dict[str, int]:
        """Return which there are, in order, and how many are in each."""
        of_name, _ = self.table.c
        found = connection.execute(
            select(of_name, func.count())
            .group_by(of_name)
            .order_by(of_name)
            .limit(ENTRIES_MAX)
        )
        return dict(found.all())

    def _among(
        self, connection: Connection, name: str, wanted: frozenset[str]
    ) -> frozenset[str]:
        of_name, member = self.table.c
        return frozenset(
            connection.scalars(
                select(member).where(of_name == name, member.in_(sorted(wanted)))
            )
        )


ASSIGNMENTS = Lists(assignment)
PATIENT_LISTS = Lists(listed)


def _checked(name: str, members: Iterable[str]) -> frozenset[str]:
    found = frozenset(members)
    if not found or len(found) > CHANGES_MAX:
        raise BadData(f"name 1 to {CHANGES_MAX} at a time")
    if not all(
        0 < len(each) <= VALUE_CHARACTERS_MAX
        and each.isprintable()
        and each == each.strip()
        for each in (name, *found)
    ):
        raise BadData("a name or member is empty, too long, or does not print")
    return found
