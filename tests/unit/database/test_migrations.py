from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

import leadglass
from leadglass.database.engine import Database
from leadglass.database.migrations import upgrade
from leadglass.database.tables import metadata
from leadglass.errors import Misconfigured

# Every part declares its tables in a module of this name.
SOURCE = Path(leadglass.__file__).parent
for module in sorted(SOURCE.rglob("tables.py")):
    parts = module.relative_to(SOURCE).with_suffix("").parts
    import_module(".".join(("leadglass", *parts)))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database.open(tmp_path / "leadglass.db", bytes(32), create=True)
    yield database
    database.close()


def test_the_revisions_lead_to_the_tables_of_today(database: Database) -> None:
    upgrade(database)
    with database.read() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, metadata) == []
        assert set(inspect(connection).get_table_names()) == {
            *metadata.tables,
            "alembic_version",
        }


def test_upgrading_again_changes_nothing(database: Database) -> None:
    upgrade(database)
    before = database.version()
    upgrade(database)
    assert database.version() == before


def test_a_newer_schema_is_told_and_left_alone(database: Database) -> None:
    upgrade(database)
    newer = text("UPDATE alembic_version SET version_num = '9999_later'")
    database.write(lambda tx: tx.connection.execute(newer) and None)
    with pytest.raises(Misconfigured, match="newer version"):
        upgrade(database)
    with database.read() as connection:
        stands = connection.execute(text("SELECT version_num FROM alembic_version"))
        assert stands.scalar() == "9999_later"
