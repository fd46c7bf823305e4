"""Which revision a database is at; knows nothing of how it got there."""

from pathlib import Path

from sqlalchemy import inspect, text

from leadglass.database.engine import Database

_VERSIONS = Path(__file__).parent / "migrations" / "versions"


def newest() -> str:
    """Return the last revision; file names are ``v`` and its name."""
    return max(path.stem for path in _VERSIONS.glob("v[0-9]*.py")).removeprefix("v")


def is_current(database: Database) -> bool:
    """Tell whether the database has the schema of this program.

    Raises:
        Unavailable: The database cannot answer now.
    """
    with database.read() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return False
        found = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return bool(found == newest())
