from collections.abc import Iterator
from pathlib import Path

import pytest

from leadglass.database.engine import Database
from leadglass.database.migrations import upgrade


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database.open(tmp_path / "index.db", bytes(32), create=True)
    upgrade(database)
    yield database
    database.close()
