"""The log as its users see it."""

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Column, Integer, MetaData, Table, inspect

from leadglass.audit import tables
from leadglass.audit.builders import Question
from leadglass.audit.checkpoint import Signer, parse, split_notes
from leadglass.audit.codes import EventID
from leadglass.audit.events import RECORD_BYTES_MAX
from leadglass.audit.log import AuditLog
from leadglass.audit.proof import verify_proof
from leadglass.audit.search import Record, Search
from leadglass.database.engine import Database, Transaction
from leadglass.database.tables import metadata
from leadglass.errors import BadData, Damaged, NotFound, Unavailable
from tests.unit.audit.surroundings import (
    DATABASE_KEY,
    EVENTS,
    OPERATOR,
    ORIGIN,
    PUBLIC_KEY,
    SCANNER,
    TABLES,
    Home,
    fill,
    stored,
)

QUESTION = Question("1.2.840.10008.5.1.4.1.2.2.1", b"\x08\x00", "1.2.840.10008.1.2")
ROOT = Path(__file__).parents[3]
ACT = Table("act", MetaData(), Column("id", Integer, primary_key=True))


def checkpoint_sizes(home: Home) -> list[int]:
    text = (home.folder / "checkpoints").read_text("utf-8")
    return [parse(note).size for note in split_notes(text)]


def numbers(found: list[Record]) -> list[int]:
    return [record.n for record in found]


def test_a_record_comes_back_as_it_was_written(home: Home) -> None:
    event = stored(0)
    with home.log() as log:
        n = log.record(event)
        record = log.get(n)
    assert n == 0
    assert record.time == datetime.fromtimestamp(1_800_000_000, UTC)
    assert (record.mono_us, record.boot) == (1_000_000_000, 7)
    again = record.event
    assert again.participants == event.participants
    assert again.objects == event.objects
    assert again.time == record.time


def test_numbers_count_up_and_outlast_the_process(home: Home) -> None:
    with home.log() as log:
        assert [log.record(stored(n)) for n in range(3)] == [0, 1, 2]
    with home.log() as log:
        assert log.size() == 3
        assert log.record(stored(3)) == 3
        assert log.verify().is_intact


def test_act_and_record_are_one(home: Home) -> None:
    with home.database() as database:
        log = home.over(database)

        def act(tx: Transaction) -> None:
            tx.connection.execute(ACT.insert().values(id=1))
            log.append(tx, stored(0))

        def failing_act(tx: Transaction) -> None:
            tx.connection.execute(ACT.insert().values(id=2))
            log.append(tx, stored(1))
            raise NotFound("the act fails")

        database.write(lambda tx: ACT.create(tx.connection))
        database.write(act)
        with pytest.raises(NotFound):
            database.write(failing_act)
        with database.read() as connection:
            assert connection.execute(ACT.select()).all() == [(1,)]
        assert log.size() == 1
        assert log.record(stored(2)) == 1
        assert log.verify().is_intact
        log.close()


def test_an_act_that_cannot_be_recorded_does_not_happen(home: Home) -> None:
    with home.database() as database:
        log = home.over(database)
        database.write(lambda tx: ACT.create(tx.connection))
        log.record(stored(0))
        log.close()

        def fill_the_disk(tx: Transaction) -> None:
            pages = tx.connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            tx.connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

        def act(tx: Transaction) -> None:
            tx.connection.execute(ACT.insert().values(id=1))
            for number in range(50):
                log.append(tx, stored(number))

        database.write(fill_the_disk)
        with pytest.raises(Unavailable, match="full"):
            database.write(act)
        with database.read() as connection:
            assert connection.execute(ACT.select()).all() == []
        assert log.size() == 1
        # The disk has room again: the node goes on.
        database.write(
            lambda tx: tx.connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
        )
        database.write(act)
        assert log.size() == 51
        assert log.verify().is_intact
        log.close()


def test_a_closed_database_records_nothing(home: Home) -> None:
    with home.database() as database:
        log = home.over(database)
        log.record(stored(0))
        log.close()
    with pytest.raises(Unavailable):
        log.record(stored(1))


def test_a_log_that_cannot_begin_its_checkpoints_does_not_begin(home: Home) -> None:
    with home.database() as database:
        log = AuditLog(database, Ed25519PrivateKey.generate(), ORIGIN, home.path)
        with pytest.raises(Unavailable, match="checkpoints"):
            log.record(stored(0))
        assert log.size() == 0


def test_an_event_too_large_is_refused_alone(home: Home) -> None:
    event = EVENTS.query(
        SCANNER,
        QUESTION,
        [(f"P{n}", f"1.2.{n}." + "9" * (RECORD_BYTES_MAX // 500)) for n in range(500)],
    )[0]
    with home.log() as log:
        with pytest.raises(BadData, match="too long"):
            log.record(event)
        assert log.record(stored(0)) == 0


def test_many_records_in_one_transaction(home: Home) -> None:
    with home.database() as database:
        log = home.over(database)
        fill(log, database, 1300)  # several tiles, more than is held back
        fill(log, database, 12)
        assert log.size() == 1312
        report = log.verify()
        log.close()
    assert report.is_intact
    assert report.records == 1312


def test_threads_append_at_the_same_time(home: Home) -> None:
    with home.database() as database:
        log = home.over(database)

        def work(begin: int) -> None:
            for number in range(begin, begin + 40):
                log.record(stored(number))

        threads = [Thread(target=work, args=(begin,)) for begin in (0, 100, 200)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert log.size() == 120
        assert log.verify().is_intact
        log.close()


CHILD = """
import sys
from pathlib import Path
from tests.unit.audit.surroundings import Home, stored
home = Home(Path(sys.argv[1]))
begin = int(sys.argv[2])
with home.log() as log:
    for number in range(begin, begin + 150):
        log.record(stored(number))
"""


def test_processes_append_at_the_same_time(home: Home) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, str(home.folder), str(begin)],
            env=environment,
        )
        for begin in (0, 1000, 2000)
    ]
    assert [child.wait(timeout=120) for child in children] == [0, 0, 0]
    with home.log() as log:
        report = log.verify()
        assert report.findings == ()
        assert report.records == 450
        studies = {
            record.event.objects[0].sop_classes[0].instances[0] for record in log.list()
        }
    assert len(studies) == 450
    assert checkpoint_sizes(home)[-1] == 450


def test_a_killed_process_leaves_a_whole_log(home: Home) -> None:
    child = CHILD.replace(
        "        log.record",
        "        if number == 99: import os; os._exit(9)\n        log.record",
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-c", child, str(home.folder), "0"],
        env=environment,
        timeout=120,
        check=False,
    )
    assert done.returncode == 9
    with home.log() as log:
        assert log.size() == 99
        assert log.verify().is_intact
        assert log.record(stored(0)) == 99


# ── checkpoints ──────────────────────────────────────────────────────────────


def test_the_checkpoint_file_begins_with_the_log(home: Home) -> None:
    with home.database() as database:
        log = home.over(database)
        log.record(stored(0))
        assert checkpoint_sizes(home) == [0]
        log.close()
    assert checkpoint_sizes(home) == [0, 1]


def test_nothing_recorded_writes_nothing(home: Home) -> None:
    with home.log() as log:
        log.record(stored(0))
    before = (home.folder / "checkpoints").read_bytes()
    with home.log() as log:
        log.flush()
    assert (home.folder / "checkpoints").read_bytes() == before


def test_checkpoints_follow_by_themselves(home: Home) -> None:
    with home.database() as database:
        log = home.over(database)
        log.record(stored(0))
        assert log._writer._thread is not None
        # What the thread does each second, without waiting for it.
        assert log._writer._write() == 1
        assert checkpoint_sizes(home) == [0, 1]
        log.close()


def test_a_node_does_not_go_on_from_an_older_copy(home: Home, tmp_path: Path) -> None:
    with home.log() as log:
        log.record(stored(0))
    shutil.copy(home.path, tmp_path / "older")
    with home.log() as log:
        log.record(stored(1))
    shutil.copy(tmp_path / "older", home.path)
    with home.log() as log:
        with pytest.raises(Damaged, match="rolled back: 2 records were signed"):
            log.record(stored(2))
        assert log.size() == 1
        # … until somebody says openly that it was restored.
        n = log.restart(EVENTS.audit_restarted(OPERATOR, "restored from backup"))
        assert n == 1
        assert log.record(stored(3)) == 2
        assert log.verify().is_intact
    assert (home.folder / "checkpoints-superseded-1").exists()
    assert checkpoint_sizes(home) == [1, 3]


def test_a_node_does_not_begin_anew_over_a_log_that_was(home: Home) -> None:
    with home.log() as log:
        log.record(stored(0))
    home.path.unlink()
    for name in ("leadglass.db-wal", "leadglass.db-shm"):
        (home.folder / name).unlink(missing_ok=True)
    home.prepare()
    with home.log() as log, pytest.raises(Damaged, match="has no records"):
        log.record(stored(1))


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE audit_head SET size = 0", "malformed"),
        ("UPDATE audit_head SET frontier = zeroblob(32)", "not the one"),
        ("UPDATE audit_head SET note = 'x'", "no checkpoint"),
        ("UPDATE audit_head SET note = replace(note, 'example', 'invalid')", "log"),
        ("DELETE FROM audit_head", "head is gone"),
        (
            (
                "INSERT INTO audit_record SELECT 1, 0, 0, 0, 0, salt, salt, salt, leaf"
                " FROM audit_record"
            ),
            "a record stands where the next one belongs",
        ),
    ],
)
def test_a_node_does_not_go_on_over_a_damaged_head(
    home: Home, statement: str, message: str
) -> None:
    with home.log() as log:
        log.record(stored(0))
    with home.database() as database:
        database.write(lambda tx: tx.connection.exec_driver_sql(statement))
        log = home.over(database)
        with pytest.raises(Damaged, match=message):
            log.record(stored(1))


def test_a_running_node_does_not_sign_over_a_head_that_others_made(home: Home) -> None:
    with home.database() as database:
        log = home.over(database)
        log.record(stored(0))
        log.record(stored(1))
        forged = Signer(ORIGIN, Ed25519PrivateKey.generate())

        def attack(tx: Transaction) -> None:
            run = tx.connection.exec_driver_sql
            run("DELETE FROM audit_record WHERE n = 1")
            leaf = run("SELECT leaf FROM audit_record").scalar_one()
            note = forged.sign(1, leaf)
            run("UPDATE audit_head SET size = 1, frontier = ?, note = ?", (leaf, note))

        database.write(attack)
        with pytest.raises(Damaged, match="not signed by a key of this log"):
            log.record(stored(2))


def test_a_missing_checkpoint_file_stops_the_node(home: Home) -> None:
    with home.log() as log:
        log.record(stored(0))
    (home.folder / "checkpoints").unlink()
    with home.database() as database:
        log = home.over(database)
        with pytest.raises(Damaged, match="checkpoint file is missing"):
            log.record(stored(1))


def test_a_rotated_key_goes_on_with_the_same_log(home: Home) -> None:
    fresh = Ed25519PrivateKey.generate()
    with home.log() as log:
        log.record(stored(0))
    with home.log(fresh) as log:
        log.record(EVENTS.key_rotated(OPERATOR, "audit signing key", {}))
        assert log.verify().is_intact
        proof = log.prove(0).json()
    verify_proof(proof, fresh.public_key())
    with pytest.raises(Damaged):
        verify_proof(proof, PUBLIC_KEY)


def test_a_foreign_key_does_not_go_on(home: Home) -> None:
    with home.log() as log:
        log.record(stored(0))
    with home.database() as database:
        stranger = AuditLog(database, Ed25519PrivateKey.generate(), ORIGIN, home.folder)
        with pytest.raises(Damaged, match="not signed"):
            stranger.record(stored(1))


# ── proofs ───────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("long"))
    home.prepare()
    with home.database() as database:
        log = home.over(database)
        for _ in range(7):
            fill(log, database, 100)
            home.clock.passes(86_400)
        log.close()
    return home


@pytest.mark.parametrize("n", [0, 1, 255, 256, 400, 511, 512, 699])
def test_a_record_is_proven_with_the_public_key_alone(long: Home, n: int) -> None:
    with long.database() as database:
        log = long.over(database)
        proof = log.prove(n).json()
        shown = log.prove(n, disclose=True).json()
        record = log.get(n)
    assert len(proof.encode()) <= 2048
    assert "PAT-" not in proof
    proven = verify_proof(proof, PUBLIC_KEY, origin=ORIGIN)
    assert (proven.leaf.n, proven.checkpoint.size) == (n, 700)
    assert proven.leaf.code == 110104
    assert proven.record is None
    assert verify_proof(shown, PUBLIC_KEY).record == record.data


def test_there_is_no_proof_of_what_was_not_recorded(long: Home) -> None:
    with long.database() as database:
        log = long.over(database)
        for n in (-1, 700):
            with pytest.raises(NotFound):
                log.prove(n)
            with pytest.raises(NotFound):
                log.get(n)


# ── searching ────────────────────────────────────────────────────────────────


def search(home: Home, **criteria: object) -> list[Record]:
    with home.database() as database:
        return list(home.over(database).list(Search(**criteria)))  # type: ignore[arg-type]


def test_all_records_are_listed_in_order(long: Home) -> None:
    assert numbers(search(long)) == list(range(700))
    assert numbers(search(long, newest_first=True)) == list(reversed(range(700)))
    assert numbers(search(long, after=690)) == list(range(691, 700))
    assert numbers(search(long, after=3, newest_first=True)) == [2, 1, 0]


@pytest.mark.parametrize("tens", [0, 25, 26, 51, 69])  # within, across, past the tiles
def test_whoever_is_mentioned_is_found(long: Home, tens: int) -> None:
    expected = list(range(tens * 10, tens * 10 + 10))
    assert numbers(search(long, patient=f"PAT-{tens:04}")) == expected
    assert numbers(search(long, study=f"1.2.3.{tens}")) == expected
    backwards = search(long, study=f"1.2.3.{tens}", newest_first=True)
    assert numbers(backwards) == list(reversed(expected))
    assert search(long, study=f"1.2.3.{tens}", patient="PAT-9999") == []


def test_what_an_address_or_a_user_did_is_found(long: Home) -> None:
    assert len(search(long, address=SCANNER.address)) == 700
    assert len(search(long, user=SCANNER.name, study="1.2.3.5")) == 10
    assert search(long, address="192.0.2.99") == []
    assert len(search(long, event=EventID.INSTANCES_TRANSFERRED)) == 700
    assert search(long, event=EventID.QUERY) == []


def test_times_are_found(long: Home) -> None:
    first = datetime.fromtimestamp(1_800_000_000, UTC)
    day = timedelta(days=1)
    assert numbers(search(long, since=first + 2 * day, until=first + 3 * day)) == list(
        range(200, 300)
    )
    assert numbers(search(long, until=first + day)) == list(range(100))
    assert search(long, until=first) == []
    assert search(long, since=first + 100 * day, until=first + 101 * day) == []
    within = search(long, since=first + day, until=first + 2 * day, patient="PAT-0012")
    assert numbers(within) == list(range(120, 130))


def test_a_search_does_not_read_what_it_does_not_need(long: Home) -> None:
    query = (
        "EXPLAIN QUERY PLAN SELECT r.n FROM audit_record r JOIN audit_mention m "
        "ON m.n = r.n WHERE m.key = 5 AND r.n >= 0 AND r.n < 512 ORDER BY r.n"
    )
    with long.database() as database, database.read() as connection:
        plan = " ".join(row[3] for row in connection.exec_driver_sql(query))
    assert "SEARCH m USING PRIMARY KEY (key=?" in plan
    assert "SEARCH r USING INTEGER PRIMARY KEY" in plan
    assert "SCAN" not in plan


def test_a_search_shows_what_was_tampered_with(home: Home) -> None:
    with home.log() as log:
        for number in range(20):
            log.record(stored(number))
    with home.database() as database:
        database.write(
            lambda tx: tx.connection.exec_driver_sql(
                "UPDATE audit_record SET record = x'00' WHERE n = 3"
            )
        )
    assert numbers(search(home, study="1.2.3.1")) == [3, *range(10, 20)]
    with home.database() as database:
        database.write(
            lambda tx: tx.connection.exec_driver_sql(
                "UPDATE audit_record SET wall_us = 'text' WHERE n = 3"
            )
        )
    with pytest.raises(Damaged, match="tampered"):
        search(home)


# ── the schema ───────────────────────────────────────────────────────────────


def test_the_tables_hold_what_the_metadata_says(home: Home) -> None:
    with home.database() as database, database.read() as connection:
        found = inspect(connection)
        for table in TABLES:
            columns = {column["name"] for column in found.get_columns(table.name)}
            assert columns == set(table.columns.keys())
    assert {table.name for table in TABLES} == {
        name for name in metadata.tables if name.startswith("audit_")
    }
    assert tables.HEAD_ID == 1


def test_no_name_is_in_the_open(home: Home) -> None:
    with home.log() as log:
        log.record(stored(0, patient="SECRET-PATIENT"))
    everything = b"".join(
        path.read_bytes() for path in home.folder.iterdir() if path.is_file()
    )
    assert b"SECRET" not in everything
    assert b"DOE" not in everything


def test_a_database_that_is_gone_is_a_finding(home: Home) -> None:
    with home.log() as log:
        log.record(stored(0))
    database = Database.open(home.path, DATABASE_KEY)
    log = home.over(database)
    database.close()
    home.path.unlink()
    report = log.verify()
    assert [finding.kind for finding in report.findings] == ["unreadable"]
    assert "cannot be opened" in report.findings[0].text
