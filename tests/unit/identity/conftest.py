"""A database with the register's tables, and an authority made once."""

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations

from leadglass.database.engine import Database, Transaction
from leadglass.database.migrations.versions import v0003_identity
from leadglass.identity.authority import Authority

SEAL_KEY = bytes(range(32))


def apply_revision(tx: Transaction) -> None:
    with Operations.context(MigrationContext.configure(tx.connection)):
        v0003_identity.upgrade()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database.open(tmp_path / "leadglass.db", bytes(32), create=True)
    database.write(apply_revision)
    yield database
    database.close()


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("once") / "authority"
    Authority.create(folder, SEAL_KEY, ["localhost", "127.0.0.1", "::1"])
    return folder


@pytest.fixture
def authority(made_once: Path, tmp_path: Path) -> Authority:
    """An authority that a test may change."""
    folder = tmp_path / "authority"
    shutil.copytree(made_once, folder)
    return Authority.open(folder, SEAL_KEY)


@pytest.fixture
def at(tmp_path: Path, authority: Authority) -> Callable[[datetime], Authority]:
    """The same authority at another time."""
    folder = authority.ca_path.parent
    return lambda time: Authority(folder, SEAL_KEY, lambda: time)


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)
