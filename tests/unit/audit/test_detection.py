"""The log under attack: whoever has the database's key, but not the signing key.

Every test changes a copy of a good database, as an administrator could, and asks
that verification finds it and says what is wrong.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection

from leadglass.audit.checkpoint import Signer, parse
from leadglass.audit.findings import Report
from leadglass.audit.leaf import hash_row
from leadglass.audit.merkle import Frontier
from leadglass.database.engine import Transaction
from tests.unit.audit.surroundings import ORIGIN, SIGNING_KEY, Home, fill, stored

# Two tiles and a part of a third, with checkpoints between.
SIZES = (1, 100, 256, 300, 512, 600)
SIZE = SIZES[-1]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = Home(tmp_path_factory.mktemp("good"))
    home.prepare()
    with home.database() as database:
        log = home.over(database)
        at = 0
        for size in SIZES:
            fill(log, database, size - at)
            home.clock.passes(1)
            at = size
            log.flush()
        log.close()
    return home.folder


@pytest.fixture
def copy(good: Path, tmp_path: Path) -> Home:
    folder = tmp_path / "copy"
    shutil.copytree(good, folder)
    return Home(folder)


def attack(home: Home, *statements: str) -> None:
    def work(tx: Transaction) -> None:
        for statement in statements:
            tx.connection.exec_driver_sql(statement)

    with home.database() as database:
        database.write(work)


def verified(home: Home) -> Report:
    with home.database() as database:
        return home.over(database).verify()


def kinds(report: Report) -> set[str]:
    return {finding.kind for finding in report.findings}


def texts(report: Report) -> str:
    return "\n".join(finding.text for finding in report.findings)


def test_a_good_log_is_intact(copy: Home) -> None:
    report = verified(copy)
    assert report.findings == ()
    assert report.remarks == ()
    assert report.is_intact
    assert (report.records, report.size) == (SIZE, SIZE)
    assert report.checkpoints == len(SIZES) + 2  # with the empty log's, and the head


CHANGES = {
    "wall_us": "wall_us + 1",
    "mono_us": "mono_us - 1",
    "boot": "boot + 1",
    "code": "110104 + (code = 110104)",
    "search_keys": "zeroblob(length(search_keys))",
    "salt": "zeroblob(16)",
    "record": "replace(CAST(record AS TEXT), 'DOE', 'ROE')",
    "leaf": "zeroblob(32)",
}


@pytest.mark.parametrize("n", [0, 1, 255, 256, 511, 512, 599])
@pytest.mark.parametrize("field", list(CHANGES))
def test_any_changed_field_of_any_record_is_named(
    copy: Home, field: str, n: int
) -> None:
    attack(copy, f"UPDATE audit_record SET {field} = {CHANGES[field]} WHERE n = {n}")
    report = verified(copy)
    altered = [each for each in report.findings if each.kind == "altered"]
    assert [each.first for each in altered] == [n]
    assert f"record {n} is not what its hash commits to" in altered[0].text
    # One altered record is one finding, and not the end of all that follow.
    extra = {"search"} if field == "search_keys" and n < 512 else set()
    assert kinds(report) == {"altered"} | extra


@pytest.mark.parametrize(
    "value", ["NULL", "''", "'text'", "7", "1.5", "x'ff'", "CAST(x'fffe' AS TEXT)"]
)
@pytest.mark.parametrize("field", ["search_keys", "salt", "record"])
def test_values_of_other_types_are_found(copy: Home, field: str, value: str) -> None:
    attack(copy, f"UPDATE audit_record SET {field} = {value} WHERE n = 300")
    report = verified(copy)
    assert [f.first for f in report.findings if f.kind == "altered"] == [300]


@pytest.mark.parametrize("field", ["wall_us", "mono_us", "boot", "code", "leaf"])
def test_text_where_numbers_belong_is_found(copy: Home, field: str) -> None:
    attack(copy, f"UPDATE audit_record SET {field} = 'text' WHERE n = 300")
    assert "altered" in kinds(verified(copy))


def rehash(connection: Connection, n: int) -> bytes:
    """Make the leaf of a changed record right again, as an attacker would."""
    row = connection.exec_driver_sql(
        "SELECT n, wall_us, mono_us, boot, code, search_keys, salt, record "
        f"FROM audit_record WHERE n = {n}"
    ).one()
    leaf = hash_row(*row)
    connection.exec_driver_sql(
        "UPDATE audit_record SET leaf = ? WHERE n = ?", (leaf, n)
    )
    return leaf


def alter_with_leaf(tx: Transaction, n: int) -> None:
    tx.connection.exec_driver_sql(
        "UPDATE audit_record SET record = "
        f"CAST(replace(CAST(record AS TEXT), 'DOE', 'ROE') AS BLOB) WHERE n = {n}"
    )
    rehash(tx.connection, n)


def rebuild_tree(tx: Transaction, size: int) -> None:
    """Recompute every stored hash and the frontier; only the signature is left."""
    run = tx.connection.exec_driver_sql
    run("DELETE FROM audit_tile")
    tree = Frontier()
    for (leaf,) in run(
        f"SELECT leaf FROM audit_record WHERE n < {size} ORDER BY n"
    ).all():
        for tile in tree.append(leaf):
            run("INSERT INTO audit_tile VALUES (?, ?, ?)", tile)
    run("UPDATE audit_head SET size = ?, frontier = ?", (tree.size, tree.encode()))


def change(home: Home, work: Callable[[Transaction], None]) -> None:
    with home.database() as database:
        database.write(work)


def test_a_record_altered_with_its_hash_is_found_by_its_tile(copy: Home) -> None:
    change(copy, lambda tx: alter_with_leaf(tx, 300))
    report = verified(copy)
    assert "records 256 to 511 do not give the hash that is stored" in texts(report)
    # Between the checkpoints of 300 and 512 records.
    assert "something from record 300 to record 511" in texts(report)


@pytest.mark.parametrize(
    ("n", "window"), [(0, (0, 0)), (50, (1, 99)), (300, (300, 511)), (599, (512, 599))]
)
def test_a_record_altered_with_the_whole_tree_is_found_by_the_checkpoints(
    copy: Home, n: int, window: tuple[int, int]
) -> None:
    def work(tx: Transaction) -> None:
        alter_with_leaf(tx, n)
        rebuild_tree(tx, SIZE)

    change(copy, work)
    report = verified(copy)
    assert kinds(report) == {"fork"}
    assert (report.findings[0].first, report.findings[0].last) == window


@pytest.mark.parametrize("n", [0, 1, 255, 256, 300, 598])
def test_a_deleted_record_is_named(copy: Home, n: int) -> None:
    attack(copy, f"DELETE FROM audit_record WHERE n = {n}")
    report = verified(copy)
    assert [(f.first, f.last) for f in report.findings if f.kind == "missing"] == [
        (n, n)
    ]
    assert f"record {n} is missing" in texts(report)


def test_several_deleted_records_are_one_finding(copy: Home) -> None:
    attack(copy, "DELETE FROM audit_record WHERE n BETWEEN 200 AND 400")
    assert "records 200 to 400 are missing" in texts(verified(copy))


def test_the_last_record_deleted_is_found(copy: Home) -> None:
    attack(copy, f"DELETE FROM audit_record WHERE n = {SIZE - 1}")
    report = verified(copy)
    assert kinds(report) == {"rollback"}
    assert "signs 600 records, the database ends after 599" in texts(report)


@pytest.mark.parametrize("size", [0, 1, 100, 256, 299, 512])
def test_a_cut_off_tail_is_found_however_well_it_is_cut(copy: Home, size: int) -> None:
    def work(tx: Transaction) -> None:
        tx.connection.exec_driver_sql(f"DELETE FROM audit_record WHERE n >= {size}")
        indexed = size - size % 256
        tx.connection.exec_driver_sql(f"DELETE FROM audit_mention WHERE n >= {indexed}")
        rebuild_tree(tx, size)

    change(copy, work)
    report = verified(copy)
    assert "rollback" in kinds(report)
    assert f"signs {SIZE} records, the database ends after {size}" in texts(report)


def test_a_cut_tail_under_the_signed_head_of_then_is_found(copy: Home) -> None:
    # The notes of old sizes lie in the checkpoint file, signed and all.
    notes = (copy.folder / "checkpoints").read_text("utf-8")
    then = (
        next(
            note + "\n"
            for note in notes.replace(f"\n{ORIGIN}\n", f"\n\0{ORIGIN}\n").split("\0")
            if parse(note).size == 300
        ).rstrip("\n")
        + "\n"
    )

    def work(tx: Transaction) -> None:
        tx.connection.exec_driver_sql("DELETE FROM audit_record WHERE n >= 300")
        tx.connection.exec_driver_sql("DELETE FROM audit_mention WHERE n >= 256")
        rebuild_tree(tx, 300)
        tx.connection.exec_driver_sql("UPDATE audit_head SET note = ?", (then,))

    change(copy, work)
    report = verified(copy)
    assert kinds(report) == {"rollback"}
    assert report.size == 300


def test_an_inserted_record_is_named(copy: Home) -> None:
    def work(tx: Transaction) -> None:
        for n in (-1, SIZE):
            tx.connection.exec_driver_sql(
                "INSERT INTO audit_record SELECT ?, wall_us, mono_us, boot, code, "
                "search_keys, salt, record, leaf FROM audit_record WHERE n = 5",
                (n,),
            )
            rehash_number = n if n >= 0 else 5
            rehash(tx.connection, rehash_number)

    change(copy, work)
    report = verified(copy)
    assert [f.first for f in report.findings if f.kind == "inserted"] == [-1, SIZE]
    assert f"record {SIZE} has a number that was never signed" in texts(report)


@pytest.mark.parametrize("with_leaves", [False, True])
def test_two_records_that_changed_places_are_named(
    copy: Home, with_leaves: bool
) -> None:
    columns = "wall_us, mono_us, boot, code, search_keys, salt, record"
    columns += ", leaf" if with_leaves else ""

    def work(tx: Transaction) -> None:
        run = tx.connection.exec_driver_sql
        values = {
            n: run(f"SELECT {columns} FROM audit_record WHERE n = {n}").one()
            for n in (40, 41)
        }
        setters = ", ".join(f"{name} = ?" for name in columns.split(", "))
        for n, other in ((40, 41), (41, 40)):
            run(
                f"UPDATE audit_record SET {setters} WHERE n = {n}", tuple(values[other])
            )

    change(copy, work)
    altered = [f for f in verified(copy).findings if f.kind == "altered"]
    assert [(each.first, each.last) for each in altered] == [(40, 41)]


def test_a_range_moved_down_over_a_deleted_record_is_found(copy: Home) -> None:
    attack(
        copy,
        "DELETE FROM audit_record WHERE n = 10",
        "UPDATE audit_record SET n = -n WHERE n > 10",
        "UPDATE audit_record SET n = -n - 1 WHERE n < 0",
    )
    report = verified(copy)
    assert {"altered", "rollback"} <= kinds(report)
    assert "records 10 to 99 are not what their hashes commit to" in texts(report)


TREE_CHANGES = {
    "tile altered": "UPDATE audit_tile SET hash = zeroblob(32) WHERE place = 1",
    "tile of another type": "UPDATE audit_tile SET hash = 'text' WHERE place = 1",
    "tile gone": "DELETE FROM audit_tile WHERE place = 0",
    "tiles gone": "DELETE FROM audit_tile",
    "tile too many": "INSERT INTO audit_tile VALUES (8, 2, zeroblob(32))",
    "tile below": "INSERT INTO audit_tile VALUES (8, -1, zeroblob(32))",
    "level too many": "INSERT INTO audit_tile VALUES (16, 0, zeroblob(32))",
    "level below": "INSERT INTO audit_tile VALUES (1, 0, zeroblob(32))",
    "level of text": "INSERT INTO audit_tile VALUES ('a', 'b', zeroblob(32))",
}


@pytest.mark.parametrize("statement", TREE_CHANGES.values(), ids=list(TREE_CHANGES))
def test_any_change_of_the_stored_tree_is_found(copy: Home, statement: str) -> None:
    attack(copy, statement)
    assert kinds(verified(copy)) == {"tree"}


HEAD_CHANGES = {
    "gone": "DELETE FROM audit_head",
    "size": "UPDATE audit_head SET size = size - 1",
    "size of text": "UPDATE audit_head SET size = 'many'",
    "frontier": "UPDATE audit_head SET frontier = zeroblob(length(frontier))",
    "frontier cut": "UPDATE audit_head SET frontier = x''",
    "note": "UPDATE audit_head SET note = replace(note, '600', '599')",
    "note cut": "UPDATE audit_head SET note = substr(note, 1, 50)",
    "note of bytes": "UPDATE audit_head SET note = x'fffefd'",
    "second": "INSERT INTO audit_head SELECT 2, size, frontier, note FROM audit_head",
    "other id": "UPDATE audit_head SET id = 3",
}


@pytest.mark.parametrize("statement", HEAD_CHANGES.values(), ids=list(HEAD_CHANGES))
def test_any_change_of_the_head_is_found(copy: Home, statement: str) -> None:
    attack(copy, statement)
    assert "head" in kinds(verified(copy))


SEARCH_CHANGES = {
    "entry gone": "DELETE FROM audit_mention WHERE n = 77 AND key = "
    "(SELECT max(key) FROM audit_mention WHERE n = 77)",
    "all gone": "DELETE FROM audit_mention",
    "key changed": "UPDATE audit_mention SET key = key + 1 WHERE n = 77",
    "number changed": "UPDATE OR REPLACE audit_mention SET n = 78 WHERE n = 77",
    "added": "INSERT INTO audit_mention VALUES (1, 77)",
    "of text": "INSERT INTO audit_mention VALUES ('a', 'b')",
}


@pytest.mark.parametrize("statement", SEARCH_CHANGES.values(), ids=list(SEARCH_CHANGES))
def test_a_search_cannot_be_made_blind_unseen(copy: Home, statement: str) -> None:
    attack(copy, statement)
    assert kinds(verified(copy)) == {"search"}


def test_an_older_copy_of_the_database_is_found(copy: Home, tmp_path: Path) -> None:
    older = tmp_path / "older"
    shutil.copytree(copy.folder, older)
    with copy.database() as database:
        log = copy.over(database)
        fill(log, database, 5)
        log.close()
    shutil.copy(older / "leadglass.db", copy.path)
    report = verified(copy)
    assert kinds(report) == {"rollback"}
    assert "signs 605 records, the database ends after 600" in texts(report)
    assert "replaced by an older copy" in texts(report)


def test_a_history_that_was_forked_is_found(copy: Home, tmp_path: Path) -> None:
    older = tmp_path / "older"
    shutil.copytree(copy.folder, older)
    with copy.database() as database:
        log = copy.over(database)
        fill(log, database, 5)
        log.close()
    # The node itself, with its key, went on from the older copy, without the file.
    fork = Home(older)
    with fork.database() as database:
        log = fork.over(database)
        for number in range(10):
            log.record(stored(9000 + number))
        log.close()
    shutil.copy(fork.path, copy.path)
    report = verified(copy)
    assert kinds(report) == {"fork"}
    assert "something from record 600 to record 604" in texts(report)


def test_witnessed_checkpoints_find_what_the_file_no_longer_tells(
    copy: Home, tmp_path: Path
) -> None:
    older = tmp_path / "older"
    shutil.copytree(copy.folder, older)
    with copy.database() as database:
        log = copy.over(database)
        fill(log, database, 5)
        log.close()
        witnessed = log.prove(3).note
    with Home(older).database() as database:
        log = Home(older).over(database)
        assert log.verify().is_intact  # both put back: nothing here can tell
        report = log.verify([witnessed])
        log.close()
    assert kinds(report) == {"rollback"}
    assert "witnessed checkpoint 1 signs 605 records" in texts(report)


def file_of(home: Home) -> Path:
    return home.folder / "checkpoints"


def test_a_missing_checkpoint_file_is_found(copy: Home) -> None:
    file_of(copy).unlink()
    assert "the checkpoint file is gone" in texts(verified(copy))


def test_a_forged_checkpoint_is_found(copy: Home) -> None:
    forged = Signer(ORIGIN, Ed25519PrivateKey.generate()).sign(700, bytes(32))
    with file_of(copy).open("a", encoding="utf-8") as file:
        file.write(forged)
    assert "was not signed by this log" in texts(verified(copy))


def test_a_checkpoint_of_another_log_is_found(copy: Home) -> None:
    other = Signer("other.example", SIGNING_KEY).sign(700, bytes(32))
    with file_of(copy).open("a", encoding="utf-8") as file:
        file.write(other)
    assert kinds(verified(copy)) == {"checkpoint"}


def test_checkpoints_out_of_order_are_found(copy: Home) -> None:
    text = file_of(copy).read_text("utf-8")
    file_of(copy).write_text(text + text, "utf-8")
    assert "out of order" in texts(verified(copy))


@pytest.mark.parametrize("at", range(0, 900, 37))
def test_any_changed_byte_of_the_checkpoint_file_is_found(copy: Home, at: int) -> None:
    data = bytearray(file_of(copy).read_bytes())
    data[at] ^= 1
    file_of(copy).write_bytes(data)
    assert kinds(verified(copy)) & {"checkpoint"}


def test_a_torn_last_checkpoint_is_a_remark_and_is_healed(copy: Home) -> None:
    data = file_of(copy).read_bytes()
    file_of(copy).write_bytes(data + data[: len(data) // 9])
    report = verified(copy)
    assert report.is_intact
    assert "not whole" in report.remarks[0].text
    with copy.database() as database:
        log = copy.over(database)
        fill(log, database, 1)
        log.close()
        report = log.verify()
    assert report.is_intact
    assert report.remarks == ()


def test_dropped_tables_are_found(copy: Home) -> None:
    attack(copy, "DROP TABLE audit_record")
    assert kinds(verified(copy)) >= {"unreadable"}


def test_damaged_pages_are_found(copy: Home) -> None:
    data = bytearray(copy.path.read_bytes())
    middle = len(data) // 2
    data[middle] ^= 1
    copy.path.write_bytes(data)
    report = verified(copy)
    assert not report.is_intact


def test_a_clock_that_was_set_back_is_remarked(home: Home) -> None:
    with home.log() as log:
        log.record(stored(0))
        home.clock.passes(10)
        log.record(stored(1))
        home.clock.wall -= 3600 * 1_000_000
        home.clock.mono += 1_000_000
        log.record(stored(2))
        home.clock.wall += 7200 * 1_000_000
        log.record(stored(3))
        # Another boot: only a wall clock that goes back says something.
        home.clock.boot, home.clock.mono = 8, 5
        home.clock.wall -= 60 * 1_000_000
        log.record(stored(4))
        report = log.verify()
    assert report.is_intact
    assert [remark.text for remark in report.remarks] == [
        "the clock was set back by 3601 s before record 2",
        "the clock was set forward by 7200 s before record 3",
        "the clock was set back by 60 s before record 4",
    ]
