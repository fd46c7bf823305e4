"""The log under attack after some of it was pruned and erased on order.

What was taken out on order is a remark; whatever else is missing, changed or back is
found as in a log that is whole.
"""

import shutil
from pathlib import Path

import pytest

from leadglass.audit.findings import Report
from leadglass.audit.leaf import SALT_BYTES, commit, hash_row
from leadglass.audit.merkle import leaf_hash
from leadglass.audit.proof import verify_proof
from leadglass.audit.search import Search
from leadglass.audit.withdrawn import leaf_of
from leadglass.audit.witness import WitnessKey
from leadglass.database.engine import Transaction
from leadglass.errors import Damaged, NotFound, Unavailable
from tests.unit.audit.surroundings import (
    PUBLIC_KEY,
    Home,
    erase,
    fill,
    prune,
    stored,
)
from tests.unit.audit.test_detection import (
    attack,
    change,
    kinds,
    rebuild_tree,
    texts,
    verified,
)

# Five tiles and a part of a sixth, with checkpoints within and between them.
SIZES = (1, 100, 256, 300, 512, 700, 1024, 1100, 1300)
FILLED = SIZES[-1]
# The first two tiles and the fourth went, so 512 to 767 stand alone.
FIRST_KEPT = 512
ERASED = (520, 1030, 1031, 1290)
SIZE = FILLED + 3


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = Home(tmp_path_factory.mktemp("withdrawn"))
    home.prepare()
    with home.database() as database:
        log = home.over(database)
        at = 0
        for size in SIZES:
            fill(log, database, size - at)
            home.clock.passes(1)
            at = size
            log.flush()
        assert prune(log, database, 0, 1) == FILLED
        assert erase(log, database, *ERASED) == FILLED + 1
        log.flush()
        assert prune(log, database, 3) == FILLED + 2
        log.close()
    return home.folder


@pytest.fixture
def copy(good: Path, tmp_path: Path) -> Home:
    folder = tmp_path / "copy"
    shutil.copytree(good, folder)
    return Home(folder)


def test_what_went_on_order_is_a_remark(copy: Home) -> None:
    report = verified(copy)
    assert report.findings == ()
    assert report.is_intact
    assert (report.records, report.size) == (SIZE - 3 * 256, SIZE)
    assert [each.kind for each in report.remarks] == ["pruned", "erased"]
    pruned, erased = (each.text for each in report.remarks)
    assert "records 0-511,768-1023 were pruned, as record 1302 of 2027-" in pruned
    assert "the content of 4 records was erased on order, as records 1301" in erased


# Each is an act upon the database by somebody who has its key, but not the node's.
ATTACKS: dict[str, tuple[tuple[str, ...], set[str]]] = {
    # flip
    "a kept record": (
        ("UPDATE audit_record SET record = x'00' WHERE n = 600",),
        {"altered"},
    ),
    "the time of an erased record": (
        ("UPDATE audit_record SET wall_us = wall_us - 1 WHERE n = 1030",),
        {"altered", "erasure"},
    ),
    "the kind of an erased record": (
        ("UPDATE audit_record SET code = 110112 WHERE n = 520",),
        {"altered", "erasure"},
    ),
    "the leaf of an erased record": (
        ("UPDATE audit_record SET leaf = zeroblob(32) WHERE n = 520",),
        {"altered", "erasure"},
    ),
    "a commitment": (
        ("UPDATE audit_erased SET commitment = zeroblob(32) WHERE n = 520",),
        {"altered", "erasure"},
    ),
    "a commitment of text": (
        ("UPDATE audit_erased SET commitment = 'text' WHERE n = 520",),
        {"altered", "erasure"},
    ),
    "a commitment too many": (
        ("INSERT INTO audit_erased VALUES (600, zeroblob(32), 1301)",),
        {"erasure"},
    ),
    "a commitment gone": (
        ("DELETE FROM audit_erased WHERE n = 1290",),
        {"altered", "erasure"},
    ),
    "all commitments gone": (("DELETE FROM audit_erased",), {"altered", "erasure"}),
    "the order of an erasure": (
        (
            (
                "UPDATE audit_record SET record = CAST(replace(CAST(record AS TEXT), "
                "'1030-1031', '1030-1039') AS BLOB) WHERE n = 1301"
            ),
        ),
        {"altered"},
    ),
    "the order of a pruning": (
        (
            (
                "UPDATE audit_record SET record = CAST(replace(CAST(record AS TEXT), "
                "'0-511,768-1023', '0-1023') AS BLOB) WHERE n = 1302"
            ),
            "DELETE FROM audit_record WHERE n < 1024",
        ),
        {"altered", "missing"},
    ),
    "a salt where it was erased": (
        ("UPDATE audit_record SET salt = zeroblob(16) WHERE n = 520",),
        {"altered", "erasure"},
    ),
    "the hash over pruned records": (
        ("UPDATE audit_tile SET hash = zeroblob(32) WHERE place = 1",),
        {"fork", "head"},
    ),
    "the hash over pruned records gone": (
        ("DELETE FROM audit_tile WHERE place = 0",),
        {"tree"},
    ),
    "the pointer to the order gone": (("DELETE FROM audit_pruned",), {"missing"}),
    "the pointer to an older order": (
        ("UPDATE audit_pruned SET order_n = 1300",),
        {"missing"},
    ),
    "the pointer to no order": (
        ("UPDATE audit_pruned SET order_n = 600",),
        {"missing"},
    ),
    "the pointer of text": (
        ("UPDATE audit_pruned SET order_n = 'text'",),
        {"missing"},
    ),
    # insert
    "a row where one was pruned": (
        (
            (
                "INSERT INTO audit_record SELECT 7, wall_us, mono_us, boot, code, "
                "search_keys, salt, record, leaf FROM audit_record WHERE n = 600"
            ),
        ),
        {"inserted"},
    ),
    "a tile where one was pruned": (
        (
            (
                "INSERT INTO audit_record SELECT n + 256, wall_us, mono_us, boot, "
                "code, search_keys, salt, record, leaf FROM audit_record "
                "WHERE n BETWEEN 512 AND 767"
            ),
        ),
        {"inserted"},
    ),
    "content where it was erased": (
        (
            (
                "UPDATE audit_record SET (search_keys, salt, record) = (SELECT "
                "search_keys, salt, record FROM audit_record WHERE n = 600) "
                "WHERE n = 520"
            ),
        ),
        {"altered", "erasure"},
    ),
    "an entry that searches go by": (
        ("INSERT INTO audit_mention VALUES (1, 3)",),
        {"search"},
    ),
    # delete
    "the first record kept": (
        (f"DELETE FROM audit_record WHERE n = {FIRST_KEPT}",),
        {"missing"},
    ),
    "one more tile": (
        (
            "DELETE FROM audit_record WHERE n BETWEEN 512 AND 767",
            "DELETE FROM audit_mention WHERE n BETWEEN 512 AND 767",
        ),
        {"missing"},
    ),
    "a record behind": (("DELETE FROM audit_record WHERE n = 1100",), {"missing"}),
    "an erased record": (("DELETE FROM audit_record WHERE n = 1030",), {"missing"}),
    "content that no order erased": (
        (
            (
                "UPDATE audit_record SET search_keys = NULL, salt = NULL, "
                "record = NULL WHERE n = 1100"
            ),
        ),
        {"altered"},
    ),
    # reorder
    "two erased records exchanged": (
        (
            "UPDATE audit_record SET n = -1 WHERE n = 1030",
            "UPDATE audit_record SET n = 1030 WHERE n = 1031",
            "UPDATE audit_record SET n = 1031 WHERE n = -1",
            "UPDATE audit_erased SET n = -1 WHERE n = 1030",
            "UPDATE audit_erased SET n = 1030 WHERE n = 1031",
            "UPDATE audit_erased SET n = 1031 WHERE n = -1",
        ),
        {"altered", "erasure"},
    ),
    "a kept record moved among the pruned": (
        ("UPDATE audit_record SET n = 5 WHERE n = 600",),
        {"missing", "inserted"},
    ),
    # truncate
    "the orders cut off": (
        (f"DELETE FROM audit_record WHERE n >= {FILLED}",),
        {"rollback", "missing"},
    ),
    "everything kept": (("DELETE FROM audit_record WHERE n < 1302",), {"missing"}),
    "tables of what is gone": (("DROP TABLE audit_erased",), {"unreadable"}),
}


@pytest.mark.parametrize(("statements", "expected"), ATTACKS.values(), ids=ATTACKS)
def test_every_attack_is_found(
    copy: Home, statements: tuple[str, ...], expected: set[str]
) -> None:
    attack(copy, *statements)
    report = verified(copy)
    assert not report.is_intact
    assert expected <= kinds(report)


def forge_erasure(tx: Transaction, n: int, *, with_order: int) -> None:
    """Take content away as the node does, but without a record that orders it."""
    run = tx.connection.exec_driver_sql
    row = run(f"SELECT search_keys, salt, record FROM audit_record WHERE n = {n}").one()
    run(
        "INSERT INTO audit_erased VALUES (?, ?, ?)",
        (n, commit(row.salt, row.search_keys, row.record), with_order),
    )
    run(
        "UPDATE audit_record SET search_keys = NULL, salt = NULL, record = NULL "
        f"WHERE n = {n}"
    )
    run(f"DELETE FROM audit_mention WHERE n = {n}")


@pytest.mark.parametrize("n", [FIRST_KEPT, 1100, 1299])
def test_an_erasure_that_nobody_ordered_is_named(copy: Home, n: int) -> None:
    change(copy, lambda tx: forge_erasure(tx, n, with_order=1301))
    report = verified(copy)
    assert kinds(report) == {"altered"}
    assert [(each.first, each.last) for each in report.findings] == [(n, n)]
    assert "no record of this log orders that" in texts(report)


def test_content_that_was_put_back_is_named(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.prepare()
    with home.database() as database:
        log = home.over(database)
        fill(log, database, 5)
        with database.read() as connection:
            row = connection.exec_driver_sql(
                "SELECT search_keys, salt, record FROM audit_record WHERE n = 3"
            ).one()
        erase(log, database, 3)
        log.close()

    def work(tx: Transaction) -> None:
        run = tx.connection.exec_driver_sql
        run(
            "UPDATE audit_record SET search_keys = ?, salt = ?, record = ? WHERE n = 3",
            tuple(row),
        )
        run("DELETE FROM audit_erased")

    change(home, work)
    report = verified(home)
    assert kinds(report) == {"erasure"}
    assert "record 3 was erased on order, and its content is there again" in texts(
        report
    )


def test_an_order_that_the_node_did_not_sign_orders_nothing(copy: Home) -> None:
    """The attacker writes an order of the right form over another record."""

    def work(tx: Transaction) -> None:
        run = tx.connection.exec_driver_sql
        forged = run("SELECT record FROM audit_record WHERE n = 1302").scalar_one()
        forged = forged.replace(b"0-511,768-1023", b"0-1279")
        run("DELETE FROM audit_record WHERE n < 1280")
        run("DELETE FROM audit_mention WHERE n < 1280")
        keys, salt = b"", bytes(SALT_BYTES)
        row = run(
            "SELECT n, wall_us, mono_us, boot, code FROM audit_record WHERE n = 1302"
        ).one()
        leaf = hash_row(*row[:5], keys, salt, forged)  # type: ignore[call-arg]
        run(
            "UPDATE audit_record SET search_keys = ?, salt = ?, record = ?, leaf = ? "
            "WHERE n = 1302",
            (keys, salt, forged, leaf),
        )
        run("DELETE FROM audit_erased WHERE n < 1280")

    change(copy, work)
    assert {"fork"} <= kinds(verified(copy))


def test_a_forged_order_cannot_exhaust_a_verifier(copy: Home) -> None:
    def work(tx: Transaction) -> None:
        run = tx.connection.exec_driver_sql
        forged = run("SELECT record FROM audit_record WHERE n = 1301").scalar_one()
        forged = forged.replace(b"1030-1031", b"1030-999999999999999999")
        run("UPDATE audit_record SET record = ? WHERE n = 1301", (forged,))
        row = run(
            "SELECT n, wall_us, mono_us, boot, code, search_keys, salt, record "
            "FROM audit_record WHERE n = 1301"
        ).one()
        run("UPDATE audit_record SET leaf = ? WHERE n = 1301", (hash_row(*row),))

    change(copy, work)
    assert {"altered", "fork"} <= kinds(verified(copy))


@pytest.mark.parametrize("size", [0, 512, 768, 1024, 1100, FILLED])
def test_a_cut_off_tail_is_found(copy: Home, size: int) -> None:
    def work(tx: Transaction) -> None:
        run = tx.connection.exec_driver_sql
        run(f"DELETE FROM audit_record WHERE n >= {size}")
        run(f"DELETE FROM audit_mention WHERE n >= {size - size % 256}")
        run(f"DELETE FROM audit_erased WHERE n >= {size}")

    change(copy, work)
    report = verified(copy)
    assert "rollback" in kinds(report)


def test_an_older_copy_is_found(copy: Home, tmp_path: Path) -> None:
    older = tmp_path / "older"
    shutil.copytree(copy.folder, older)
    with copy.database() as database:
        log = copy.over(database)
        prune(log, database, 2)
        log.close()
    assert verified(copy).is_intact
    shutil.copy(older / "leadglass.db", copy.path)
    assert kinds(verified(copy)) == {"rollback"}


def test_a_fork_is_found(copy: Home, tmp_path: Path) -> None:
    older = tmp_path / "older"
    shutil.copytree(copy.folder, older)
    with copy.database() as database:
        log = copy.over(database)
        log.record(stored(1))
        log.close()
    fork = Home(older)
    with fork.database() as database:
        log = fork.over(database)
        erase(log, database, 1100)
        prune(log, database, 2)
        log.close()
    shutil.copy(fork.path, copy.path)
    assert kinds(verified(copy)) == {"fork"}


def test_a_tree_made_anew_over_what_is_left_is_found(copy: Home) -> None:
    change(copy, lambda tx: rebuild_tree(tx, SIZE))
    assert not verified(copy).is_intact


# ── what is left is proven, and goes on ──────────────────────────────────────


def test_what_is_left_is_proven(copy: Home) -> None:
    with copy.database() as database:
        log = copy.over(database)
        for n in (FIRST_KEPT, 520, 767, 1024, 1030, 1299, 1302):
            proven = verify_proof(log.prove(n).json(), PUBLIC_KEY)
            assert (proven.leaf.n, proven.checkpoint.size) == (n, SIZE)


def test_what_was_pruned_is_told_as_that(copy: Home) -> None:
    with copy.database() as database:
        log = copy.over(database)
        for n in (0, 511, 768, 1023):
            for ask in (log.get, log.prove):
                with pytest.raises(NotFound, match="after its time; record 1302"):
                    ask(n)


def test_an_erased_record_is_told_as_that(copy: Home) -> None:
    with copy.database() as database:
        log = copy.over(database)
        assert log.get(1030).data == b""
        with pytest.raises(NotFound, match="was erased"):
            log.prove(1030, disclose=True)
        assert log.pruned().order == FILLED + 2


def test_an_erased_record_without_its_commitment_is_damage(copy: Home) -> None:
    attack(copy, "DELETE FROM audit_erased WHERE n = 1030")
    with (
        copy.database() as database,
        pytest.raises(Damaged, match="lost its content"),
    ):
        copy.over(database).prove(1030)


def test_searches_find_what_is_left_and_nothing_else(copy: Home) -> None:
    with copy.database() as database:
        log = copy.over(database)
        found = [each.n for each in log.list(Search(user="ct-1"))]
        gone = {*range(512), *range(768, 1024), *ERASED}
        assert found == [n for n in range(FILLED) if n not in gone]
        assert list(log.list(Search(patient="PAT-0001"))) == []


def test_the_log_goes_on(copy: Home) -> None:
    with copy.database() as database:
        log = copy.over(database)
        fill(log, database, 700)  # two tiles more, of which one had erased records
        log.close()
        report = log.verify()
    assert report.is_intact
    assert report.size == SIZE + 700


def test_a_salt_of_an_erased_record_is_in_no_table(copy: Home) -> None:
    with copy.database() as database, database.read() as connection:
        rows = connection.exec_driver_sql(
            "SELECT * FROM audit_record WHERE record IS NULL"
        ).all()
        assert [row.n for row in rows] == list(ERASED)
        assert {(row.search_keys, row.salt) for row in rows} == {(None, None)}
        for row in rows:
            commitment = connection.exec_driver_sql(
                f"SELECT commitment FROM audit_erased WHERE n = {row.n}"
            ).scalar_one()
            assert leaf_hash(leaf_of(tuple(row), commitment).encode()) == row.leaf


WITNESS = WitnessKey("witness.example", PUBLIC_KEY)
CONSISTENT = [0, 256, 512, 513, 768, 700, 1024, 1100, 1300]
LOST = [1, 100, 300, 900]


def test_consistency_is_shown_from_what_is_left(copy: Home) -> None:
    with copy.database() as database:
        log = copy.over(database)
        for old in CONSISTENT:
            assert log.offer(WITNESS, old).old == old
        for old in LOST:
            with pytest.raises(Unavailable, match="were pruned"):
                log.offer(WITNESS, old)


def test_a_report_names_no_patient(copy: Home) -> None:
    report: Report = verified(copy)
    assert "PAT-" not in "".join(each.text for each in report.remarks)
