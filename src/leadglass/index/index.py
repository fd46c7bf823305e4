"""The index: what ``archive`` calls. It holds nothing itself; all is in the database.

Methods that take a ``Transaction`` belong in the work of ``Database.write``, those
that take a ``Connection`` in ``Database.read``.
"""

from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import Connection, func, select

from leadglass.access.scopes import Scope
from leadglass.database.engine import Database, Transaction
from leadglass.index import adding, finding, removing, statements
from leadglass.index.query import Query, Row, Selection
from leadglass.index.records import (
    Added,
    InstanceLocation,
    InstanceRecord,
    Quarantined,
    Removed,
    Totals,
)
from leadglass.index.tables import instance, patient, quarantine, study

# Names in one look-up; far below what a database takes as parameters.
NAMES_PER_QUERY = 1_000


class Index:
    """Patients, studies, series and instances, and what is kept aside."""

    def add(self, tx: Transaction, record: InstanceRecord) -> Added:
        """Put an instance in, unless its UID is known; then nothing changes.

        The counters of its study and series are written before the commit.
        """
        return adding.add(tx, record)

    def find(self, connection: Connection, query: Query) -> Iterator[Row]:
        """Yield the answers in a stable order, studies by date from the newest.

        Which studies may be seen is part of the SQL: a study outside of the scopes
        is not returned, and not counted in its patient's numbers. Of a study
        inside, everything may be seen, so its own numbers are whole.
        """
        return finding.find(connection, query)

    def instances(
        self, connection: Connection, selection: Selection, scopes: Sequence[Scope]
    ) -> Iterator[InstanceLocation]:
        """Yield where the selected instances lie: by study, series, Instance Number."""
        return finding.instances(connection, selection, scopes)

    def all_instances(self, connection: Connection) -> Iterator[InstanceLocation]:
        """Yield where everything lies, in the order it came; not the quarantine."""
        return finding.all_instances(connection)

    def study_key(self, database: Database, study_uid: str) -> str | None:
        """Return the vault's key of a study; ``None`` if there is no such study."""
        found = database.glance(statements.FIND_KEY, {"study": study_uid})
        return str(found[0][0]) if found else None

    def stands(self, database: Database, location: InstanceLocation) -> bool:
        """Tell whether an instance is still there, on the same bytes."""
        values = {"uid": location.instance_uid, "blob_name": location.blob}
        return bool(database.glance(statements.STANDS, values))

    def remove_study(self, tx: Transaction, study_uid: str) -> Removed | None:
        """Take a study out, and what is kept aside of it; ``None`` if there is none.

        What is returned is to be destroyed after the commit.
        """
        return removing.remove_study(tx, study_uid)

    def quarantine(
        self, tx: Transaction, record: InstanceRecord, existing: InstanceLocation
    ) -> Quarantined:
        """Keep an instance aside, since other bytes stand under its UID.

        What is returned is what is kept: if its blob is not the record's, the same
        bytes were kept before, and the record's blob is not needed.
        """
        return removing.set_aside(tx, record, existing)

    def quarantined(self, connection: Connection) -> Iterator[Quarantined]:
        """Yield what is kept aside, the oldest first."""
        for row in connection.execute(statements.QUARANTINED.order_by(quarantine.c.id)):
            yield statements.quarantined(row)

    def quarantined_count(self, connection: Connection) -> int:
        """Return how many are kept aside."""
        found = connection.execute(select(func.count()).select_from(quarantine))
        return found.scalar_one()

    def release(self, tx: Transaction, number: int) -> Quarantined | None:
        """Take one out of quarantine; ``None`` if there is none of this number."""
        return removing.release(tx, number)

    def known_blobs(self, connection: Connection, names: Iterable[str]) -> set[str]:
        """Return which of these blobs have a row, in quarantine or not.

        Costs one pass over all instances, however many names there are: blobs have
        no index, since it would cost every instance a sealed page. So ask for many
        names at once.
        """
        wanted = set(names)
        known: set[str] = set()
        if not wanted:
            return known
        for column in (instance.c.blob, quarantine.c.blob):
            statement = select(column).execution_options(
                yield_per=finding.ROWS_PER_FETCH
            )
            if len(wanted) <= NAMES_PER_QUERY:
                statement = statement.where(column.in_(wanted))
            known.update(
                name for name in connection.scalars(statement) if name in wanted
            )
        return known

    def totals(self, connection: Connection) -> Totals:
        """Return how much the archive holds; costs a pass over the studies."""
        patients = connection.execute(
            select(func.count()).select_from(patient)
        ).scalar_one()
        row = connection.execute(
            select(
                func.count(study.c.id),
                func.sum(study.c.series_count),
                func.sum(study.c.instance_count),
                func.sum(study.c.blob_bytes),
            )
        ).one()
        return Totals(
            patients=patients,
            studies=row[0],
            series=int(row[1] or 0),
            instances=int(row[2] or 0),
            blob_bytes=int(row[3] or 0),
            quarantined=self.quarantined_count(connection),
        )

    def clear(self, tx: Transaction) -> None:
        """Take everything out, the quarantine too; the vault can fill it again."""
        removing.clear(tx)
