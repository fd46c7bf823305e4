"""The migration makes the tables that the code speaks of."""

from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection, create_engine

from leadglass.database.migrations.versions import v0002_audit, v0017_retention
from tests.unit.audit.surroundings import TABLES


def drop_of_others(connection: Connection) -> None:
    """What the archive's own tests compare."""
    for name in ("legal_hold", "retention_order"):
        connection.exec_driver_sql(f"DROP TABLE {name}")


def schema(*, migrate: bool) -> list[tuple[str, ...]]:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        if migrate:
            with Operations.context(MigrationContext.configure(connection)):
                v0002_audit.upgrade()
                v0017_retention.upgrade()
                drop_of_others(connection)
        else:
            for table in TABLES:
                table.create(connection)
        rows = [
            (name, *column[1:])
            for (name,) in connection.exec_driver_sql(
                "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
            ).all()
            for column in connection.exec_driver_sql(f"PRAGMA table_info({name})")
        ]
        extra = connection.exec_driver_sql(
            "SELECT name, sql LIKE '%WITHOUT ROWID%' FROM sqlite_master ORDER BY name"
        )
        rows += [tuple(row) for row in extra]
    engine.dispose()
    return rows


def test_the_migration_and_the_tables_agree() -> None:
    assert schema(migrate=True) == schema(migrate=False)
