"""Applies revisions; imports Alembic, which takes as long as all else of a start."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from leadglass.database.engine import Transaction
from leadglass.errors import Misconfigured


def apply(transaction: Transaction) -> None:
    """Apply the revisions that are missing, in this transaction.

    Raises:
        Misconfigured: A newer program has been here.
    """
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
