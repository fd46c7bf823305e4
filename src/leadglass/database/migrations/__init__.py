"""Bringing a database to the schema of this program, one revision at a time.

Each part of the house writes its own revisions into ``versions``, chained in one
line, with the DDL written out: a revision says what happened then, and must not
change when the tables of today do.

Importing this imports Alembic, which takes as long as all else of a start; ``app``
does so only when ``database.revision`` says that there is something to do.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from leadglass.database.engine import Database, Transaction
from leadglass.errors import Misconfigured


def upgrade(database: Database) -> None:
    """Apply the revisions that are missing, all or none; nothing if none is.

    Raises:
        Misconfigured: A newer program has been here.
        Unavailable: The database cannot be written now.
    """
    database.write(_upgrade)


def _upgrade(transaction: Transaction) -> None:
    config = Config()
    here = str(Path(__file__).parent)
    config.set_main_option("script_location", here.replace("%", "%%"))
    config.attributes["connection"] = transaction.connection
    known = {
        each.revision for each in ScriptDirectory.from_config(config).walk_revisions()
    }
    revision = MigrationContext.configure(transaction.connection).get_current_revision()
    if revision is not None and revision not in known:
        raise Misconfigured(
            "database: its schema is none that this version knows; "
            "start the newer version that last wrote it"
        )
    command.upgrade(config, "head")
