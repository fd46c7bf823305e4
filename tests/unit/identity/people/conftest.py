"""A node's people, in a database of its own, at a time that a test moves."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations

from leadglass.database.engine import Database, Transaction
from leadglass.database.migrations.versions import v0003_identity, v0005_people
from tests.unit.identity.people.surroundings import People


def apply_revisions(tx: Transaction) -> None:
    with Operations.context(MigrationContext.configure(tx.connection)):
        v0003_identity.upgrade()
        v0005_people.upgrade()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database.open(tmp_path / "leadglass.db", bytes(32), create=True)
    database.write(apply_revisions)
    yield database
    database.close()


@pytest.fixture
def people(database: Database) -> People:
    return People(database)
