"""A database with a log, facts, and the patients of an archive."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from leadglass.assurance.trails import tables
from leadglass.assurance.trails.store import Facts
from leadglass.database.tables import metadata
from leadglass.index.tables import patient
from tests.unit.assurance.trails.conftest import Shelf
from tests.unit.audit.surroundings import Home


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    """No fact and no patient."""
    home = Home(tmp_path)
    home.prepare()
    with home.database() as database:
        made = [tables.trail, tables.name, tables.fact, tables.touch, patient]
        database.write(lambda tx: metadata.create_all(tx.connection, tables=made))
        log = home.over(database)
        yield Shelf(database, log, Facts(database))
        log.close()
