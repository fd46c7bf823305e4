import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text, func, insert, select

from leadglass.database import engine
from leadglass.database.engine import Database, Transaction
from leadglass.errors import Damaged, Misconfigured, NotFound, Unavailable

KEY = bytes(range(32))
NOTES = Table(
    "note",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("text", Text, nullable=False, unique=True),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "leadglass.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    database = Database.open(path, KEY, create=True)
    database.write(lambda tx: NOTES.create(tx.connection))
    yield database
    database.close()


def note(text: str) -> Callable[[Transaction], str]:
    def work(tx: Transaction) -> str:
        tx.connection.execute(insert(NOTES), {"text": text})
        return text

    return work


def texts(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.scalars(select(NOTES.c.text).order_by(NOTES.c.id)))


def test_a_write_returns_what_the_work_returned_and_stays(
    database: Database, path: Path
) -> None:
    assert database.write(note("kept")) == "kept"
    database.close()
    again = Database.open(path, KEY)
    assert texts(again) == ["kept"]
    again.close()


def test_a_failed_work_leaves_nothing_and_its_caller_gets_its_error(
    database: Database,
) -> None:
    def work(tx: Transaction) -> None:
        note("gone")(tx)
        raise NotFound("no such study")

    with pytest.raises(NotFound):
        database.write(work)
    assert texts(database) == []


class Crowd:
    """Works that are sure to share one transaction: a first work holds the lead
    until all the others wait behind it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.outcomes: dict[int, object] = {}

    def run(self, *works: Callable[[Transaction], object]) -> None:
        may_go_on = threading.Event()
        holds = threading.Event()

        def hold(_tx: Transaction) -> None:
            holds.set()
            assert may_go_on.wait(30)

        threads = [threading.Thread(target=self._database.write, args=(hold,))]
        threads[0].start()
        assert holds.wait(30)
        for number, work in enumerate(works):
            thread = threading.Thread(target=self._one, args=(number, work))
            thread.start()
            threads.append(thread)
            while len(self._database._queue) <= number:
                threading.Event().wait(0.0001)
        may_go_on.set()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()

    def _one(self, number: int, work: Callable[[Transaction], object]) -> None:
        try:
            self.outcomes[number] = self._database.write(work)
        except Exception as error:  # noqa: BLE001  # the tests look at it
            self.outcomes[number] = error


def test_works_that_wait_share_one_transaction(database: Database) -> None:
    seen: list[Transaction] = []

    def work(tx: Transaction) -> int:
        seen.append(tx)
        number: int = tx.memo.setdefault("number", len(seen))
        return number

    crowd = Crowd(database)
    crowd.run(*[work] * 5)
    assert len({id(tx) for tx in seen}) == 1
    assert list(crowd.outcomes.values()) == [1] * 5


def test_a_work_that_raises_is_undone_alone(database: Database) -> None:
    def fails(tx: Transaction) -> None:
        note("undone")(tx)
        raise NotFound("no such study")

    crowd = Crowd(database)
    crowd.run(note("a"), fails, note("b"), fails, note("c"))
    assert texts(database) == ["a", "b", "c"]
    assert [type(crowd.outcomes[n]) for n in range(5)] == [
        str,
        NotFound,
        str,
        NotFound,
        str,
    ]


def test_a_work_fails_only_over_what_is_committed(database: Database) -> None:
    """The second work sees the first one's row; the first is not kept, so the
    second must not have failed because of it."""

    def first(tx: Transaction) -> None:
        note("mine")(tx)
        tx.before_commit("refuse", refuse)

    def refuse(tx: Transaction) -> None:
        if tx.connection.scalar(select(func.count()).where(NOTES.c.text == "mine")):
            raise NotFound("refused")

    def second(tx: Transaction) -> str:
        if tx.connection.scalar(select(func.count()).where(NOTES.c.text == "mine")):
            raise NotFound("seen")
        return note("yours")(tx)

    crowd = Crowd(database)
    crowd.run(first, second)
    assert isinstance(crowd.outcomes[0], NotFound)
    assert crowd.outcomes[1] == "yours"
    assert texts(database) == ["yours"]


def test_hooks_run_once_per_key_before_the_commit(database: Database) -> None:
    def work(tx: Transaction) -> None:
        number = tx.memo["number"] = tx.memo.get("number", 0) + 1
        note(f"work {number}")(tx)
        tx.before_commit("head", write_head)

    def write_head(tx: Transaction) -> None:
        note(f"head of {tx.memo['number']}")(tx)

    crowd = Crowd(database)
    crowd.run(work, work, work)
    assert texts(database) == ["work 1", "work 2", "work 3", "head of 3"]


def test_a_hook_may_add_another(database: Database) -> None:
    def work(tx: Transaction) -> None:
        tx.before_commit(1, lambda tx: tx.before_commit(2, note_two))

    def note_two(tx: Transaction) -> None:
        note("two")(tx)

    database.write(work)
    assert texts(database) == ["two"]


def test_a_full_disk_fails_the_write_and_not_the_next(database: Database) -> None:
    def fill(tx: Transaction) -> None:
        pages = tx.connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        tx.connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        try:
            note("x" * 100_000)(tx)
        finally:
            tx.connection.exec_driver_sql("PRAGMA max_page_count = 1000000")

    with pytest.raises(Unavailable, match="the disk is full"):
        database.write(fill)
    database.write(note("after"))
    assert texts(database) == ["after"]


def test_an_error_text_holds_no_data(database: Database) -> None:
    database.write(note("DOE^JANE"))
    with pytest.raises(Exception, match="UNIQUE") as caught:
        database.write(note("DOE^JANE"))
    assert "DOE" not in str(caught.value)


def test_a_work_that_writes_is_a_bug_and_not_a_deadlock(database: Database) -> None:
    with pytest.raises(RuntimeError, match="wait for ever"):
        database.write(lambda _tx: database.write(note("inner")))


def test_a_snapshot_does_not_move(database: Database) -> None:
    database.write(note("one"))
    with database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(NOTES)) == 1
        database.write(note("two"))
        assert connection.scalar(select(func.count()).select_from(NOTES)) == 1
    assert texts(database) == ["one", "two"]


def test_a_reader_cannot_write(database: Database) -> None:
    with pytest.raises(Unavailable), database.read() as connection:
        connection.execute(insert(NOTES), {"text": "no"})


def test_the_version_changes_with_every_commit_of_anybody(
    database: Database, path: Path
) -> None:
    other = Database.open(path, KEY)
    first = database.version()
    assert database.version() == first
    database.write(note("ours"))
    second = database.version()
    assert second != first
    other.write(note("theirs"))
    assert database.version() != second
    other.close()


@pytest.mark.parametrize("key", [bytes(32), KEY[:-1] + b"x"])
def test_another_key_does_not_open_it(
    database: Database, path: Path, key: bytes
) -> None:
    with pytest.raises(Damaged, match="does not open with this key"):
        Database.open(path, key)


def test_a_key_of_another_length_is_refused(path: Path) -> None:
    with pytest.raises(Misconfigured, match="32 bytes"):
        Database.open(path, b"short", create=True)
    assert not path.exists()


def test_a_missing_file_is_noticed_and_not_made(path: Path) -> None:
    with pytest.raises(Misconfigured, match="missing"):
        Database.open(path, KEY)
    assert not path.exists()


def test_a_folder_that_is_not_there_is_told(path: Path) -> None:
    with pytest.raises(Unavailable):
        Database.open(path / "nowhere" / "x.db", KEY, create=True)


def test_only_the_owner_can_read_the_files(database: Database, path: Path) -> None:
    database.write(note("x"))
    files = list(path.parent.iterdir())
    assert len(files) >= 2
    assert {file.stat().st_mode & 0o077 for file in files} == {0}


def test_no_file_holds_plaintext(database: Database, path: Path) -> None:
    unique = "ZEBRAFISH" * 20
    for number in range(100):
        database.write(note(f"{unique} {number}"))
    log = path.with_name(path.name + "-wal")
    assert log.stat().st_size > 0
    for file in path.parent.iterdir():
        held = file.read_bytes()
        assert b"ZEBRAFISH" not in held, file.name
        assert b"note" not in held, file.name
        assert b"SQLite format 3" not in held, file.name


def test_any_flipped_byte_is_damage(database: Database, path: Path) -> None:
    for number in range(20):
        database.write(note("x" * 2_000 + str(number)))
    database.verify()
    database.close()
    held = path.read_bytes()
    for place in range(11, len(held), 1_009):
        path.write_bytes(held[:place] + bytes([held[place] ^ 1]) + held[place + 1 :])
        with pytest.raises(Damaged):
            open_and_verify(path)
    path.write_bytes(held)
    open_and_verify(path)


def open_and_verify(path: Path) -> None:
    database = Database.open(path, KEY)
    try:
        database.verify()
    finally:
        database.close()


def test_closing_refuses_new_works_and_twice_is_no_error(database: Database) -> None:
    database.close()
    with pytest.raises(Unavailable, match="closed"):
        database.write(note("late"))
    with pytest.raises(Unavailable, match="closed"):
        database.version()
    database.close()


def test_closing_waits_for_those_under_way(database: Database, path: Path) -> None:
    goes_on, is_in = threading.Event(), threading.Event()

    def slow(tx: Transaction) -> None:
        is_in.set()
        assert goes_on.wait(30)
        note("slow")(tx)

    writer = threading.Thread(target=database.write, args=(slow,))
    closer = threading.Thread(target=database.close)
    writer.start()
    assert is_in.wait(30)
    closer.start()
    goes_on.set()
    writer.join(30)
    closer.join(30)
    again = Database.open(path, KEY)
    assert texts(again) == ["slow"]
    again.close()


def test_more_waiting_than_the_limit_are_told_to_come_back(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "WORKS_WAITING_MAX", 0)
    with pytest.raises(Unavailable, match="too many"):
        database.write(note("x"))


# The main thread waits behind another's work and is interrupted; then it writes.
INTERRUPTED = """
import os, signal, sys, threading
from pathlib import Path
from leadglass.database.engine import Database
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a background job
database = Database.open(Path(sys.argv[1]), bytes(range(32)), create=True)
holds, goes_on = threading.Event(), threading.Event()
other = threading.Thread(
    target=database.write, args=(lambda tx: holds.set() or goes_on.wait(30),)
)
other.start()
holds.wait(30)

def interrupt():
    while not database._queue:
        pass
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt).start()
try:
    database.write(lambda tx: print("must not run", flush=True))
except KeyboardInterrupt:
    print("interrupted", flush=True)
goes_on.set()
other.join()
print(database.write(lambda tx: "written"), flush=True)
database.close()
"""


def test_an_interrupted_wait_leaves_the_queue_and_others_write(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(path)],
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout.split("\n") == ["interrupted", "written", ""]


def test_threads_lose_nothing(database: Database) -> None:
    def write(thread: int) -> None:
        for number in range(50):
            database.write(note(f"{thread}-{number}"))

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(texts(database)) == 400


# Writes notes one by one and says each number once its write has returned.
CHILD = """
import sys
from pathlib import Path
from sqlalchemy import text
from leadglass.database.engine import Database
database = Database.open(Path(sys.argv[1]), bytes(range(32)), create=True)
statement = text("INSERT INTO note (text) VALUES (:text)")
for number in range(int(sys.argv[3])):
    each = {"text": f"{sys.argv[2]}-{number}"}
    database.write(lambda tx: tx.connection.execute(statement, each) and None)
    print(number, flush=True)
database.close()
"""


def child(path: Path, name: str, number: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), name, str(number)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )


def test_two_processes_at_once_lose_nothing(database: Database, path: Path) -> None:
    number = 300
    with child(path, "child", number) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "0\n"  # both write from here on
        for each in range(number):
            database.write(note(f"parent-{each}"))
        told = other.stdout.readlines()
    assert other.returncode == 0
    assert len(told) == number - 1
    held = texts(database)
    for name in ("parent", "child"):
        ours = [text for text in held if text.startswith(name)]
        assert ours == [f"{name}-{each}" for each in range(number)]
    # They took turns: neither had to wait for the other's end.
    assert held != sorted(held)


def test_a_killed_process_loses_nothing_it_returned(
    database: Database, path: Path
) -> None:
    for kill_after in (1, 7, 40):
        name = f"victim{kill_after}"
        with child(path, name, 10_000) as victim:
            assert victim.stdout is not None
            for _ in range(kill_after):
                victim.stdout.readline()
            victim.send_signal(signal.SIGKILL)
            told = kill_after + len(victim.stdout.readlines())
        held = [text for text in texts(database) if text.startswith(name)]
        assert held == [f"{name}-{each}" for each in range(len(held))]
        assert len(held) in {told, told + 1}
    database.write(note("after"))


def test_processes_that_make_the_file_at_once_agree(path: Path) -> None:
    found: list[object] = []

    def make() -> None:
        try:
            database = Database.open(path, KEY, create=True)
            found.append(database.version())
            database.close()
        except Exception as error:  # noqa: BLE001  # the assertion shows it
            found.append(error)

    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(isinstance(each, int) for each in found), found


def test_what_a_failed_work_leaves_disturbs_no_other(database: Database) -> None:
    # Its cursor goes with its error, in the thread of its caller, while another work
    # executes the same statement: the driver shares statements between cursors.
    for text in ("first", "second", "third"):
        database.write(note(text))
    left: list[object] = []
    asked = "SELECT text FROM note ORDER BY id"

    def fails(tx: Transaction) -> None:
        left.append(tx.connection.connection.cursor().execute(asked))
        raise NotFound("no such study")

    def reads(tx: Transaction) -> list[str]:
        cursor = tx.connection.connection.cursor()
        cursor.execute(asked)
        left.clear()
        return [text for (text,) in cursor.fetchall()]

    with pytest.raises(NotFound):
        database.write(fails)
    assert database.write(reads) == ["first", "second", "third"]
