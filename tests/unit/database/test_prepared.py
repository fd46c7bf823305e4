from pathlib import Path

import pytest
from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    Table,
    Text,
    bindparam,
    insert,
    select,
)

from leadglass.database.engine import Database, Transaction
from leadglass.database.prepared import Prepared
from leadglass.errors import Unavailable

NOTES = Table(
    "note",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("text", Text, nullable=False),
)
INSERT = Prepared(insert(NOTES).values(text=bindparam("text")).returning(NOTES.c.id))
COUNT = Prepared(select(NOTES.c.id).where(NOTES.c.text == bindparam("a_text")))
ALL = Prepared(select(NOTES.c.text).order_by(NOTES.c.id))


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = Database.open(tmp_path / "leadglass.db", bytes(32), create=True)
    database.write(lambda tx: NOTES.create(tx.connection))
    return database


def test_a_statement_runs_with_its_values_and_gives_rows(database: Database) -> None:
    def work(tx: Transaction) -> list[object]:
        first = INSERT.execute(tx.connection, {"text": "one"}).fetchone()
        INSERT.execute(tx.connection, {"text": "two", "unused": 1}).fetchone()
        found = COUNT.execute(tx.connection, {"a_text": "two"}).fetchall()
        return [first, *found, *ALL.execute(tx.connection, {}).fetchall()]

    assert database.write(work) == [(1,), (2,), ("one",), ("two",)]
    database.close()


def test_many_run_in_their_order(database: Database) -> None:
    many = Prepared(insert(NOTES).values(text=bindparam("text")))

    def work(tx: Transaction) -> list[object]:
        many.execute_many(tx.connection, [{"text": "a"}, {"text": "b"}])
        return list(ALL.execute(tx.connection, {}).fetchall())

    assert database.write(work) == [("a",), ("b",)]
    database.close()


def test_the_drivers_errors_become_ours(database: Database) -> None:
    with pytest.raises(Unavailable), database.read() as connection:
        INSERT.execute(connection, {"text": "a reader cannot"})
    database.close()
