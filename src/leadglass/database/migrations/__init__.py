"""Bringing a database to the schema of this program, one revision at a time.

Each part of the house writes its own revisions into ``versions``, chained in one
line, with the DDL written out: a revision says what happened then, and must not
change when the tables of today do.
"""

from pathlib import Path

from sqlalchemy import inspect, text

from leadglass.database.engine import Database

VERSIONS = Path(__file__).parent / "versions"


def newest() -> str:
    """Return the last revision; file names begin with ``v`` and their number."""
    return max(path.stem for path in VERSIONS.glob("v[0-9]*.py")).removeprefix("v")


def upgrade(database: Database) -> None:
    """Apply the revisions that are missing, all or none; nothing if none is.

    Raises:
        Misconfigured: A newer program has been here.
        Unavailable: The database cannot be written now.
    """
    if _current(database) == newest():
        return
    from leadglass.database.migrations import runner  # noqa: PLC0415  # dear, and rare

    database.write(runner.apply)


def _current(database: Database) -> str | None:
    with database.read() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        found = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return None if found is None else str(found)
