"""A database with a log and the tables of facts."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from leadglass.assurance.trails import tables
from leadglass.assurance.trails.store import Facts
from leadglass.audit.log import AuditLog
from leadglass.database.engine import Database
from leadglass.database.tables import metadata
from tests.unit.audit.surroundings import Home


@dataclass
class Shelf:
    """What the tests of stored facts need."""

    database: Database
    log: AuditLog
    facts: Facts


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    """An empty log, and no fact."""
    home = Home(tmp_path)
    home.prepare()
    with home.database() as database:
        made = [tables.trail, tables.name, tables.fact, tables.touch]
        database.write(lambda tx: metadata.create_all(tx.connection, tables=made))
        log = home.over(database)
        yield Shelf(database, log, Facts(database))
        log.close()
