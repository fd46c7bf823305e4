"""Evidence of a log of which some was pruned and erased on order."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from leadglass.audit.evidence import verify
from leadglass.audit.evidence.selection import Selection
from leadglass.errors import Damaged, NotFound
from tests.unit.audit.surroundings import Home, erase, fill, prune
from tests.unit.audit.test_detection import attack
from tests.unit.audit.test_evidence import (
    evidence,
    hash_again,
    lines,
    put,
    sign_again,
    wrong,
)

STEP = timedelta(seconds=10)
BEGAN = datetime(2027, 1, 15, 8, tzinfo=UTC)
SIZES = (100, 256, 300, 600, 700)
# Records 300 to 599, of which some were erased.
WINDOW = (BEGAN + 2.5 * STEP, BEGAN + 3.5 * STEP)
ERASED = (310, 311, 450)
ORDER = 701


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("home"))
    home.prepare()
    with home.database() as database:
        log = home.over(database)
        for begin, end in zip((0, *SIZES), SIZES, strict=False):
            fill(log, database, end - begin)
            log.flush()
            home.clock.passes(STEP.total_seconds())
        prune(log, database, 0)
        assert erase(log, database, *ERASED) == ORDER
        log.close()
    return home


def test_an_erased_record_is_told_as_that(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "evidence"
    with home.log() as log:
        made = evidence(log, folder, Selection(window=WINDOW))
    found = verify.check(folder)
    assert found.wrong == []
    assert made.opened == 300 - len(ERASED)
    assert {
        each["n"]: each["erased_by"] for each in lines(folder) if "erased_by" in each
    } == (dict.fromkeys(ERASED, ORDER))
    assert f"record 310 was erased on order, as record {ORDER} says" in "".join(
        found.remarks
    )
    assert "3 lost their content on order" in (folder / "README.txt").read_text()
    assert json.loads((folder / "manifest.json").read_bytes())["counts"]["erased"] == 3


def test_a_record_is_not_called_erased_to_hide_it(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "evidence"
    with home.log() as log:
        evidence(log, folder, Selection(window=WINDOW))
    found = lines(folder)
    closed = next(each for each in found if each["n"] == 400)
    for name in ("record", "salt", "keys"):
        del closed[name]
    closed["erased_by"] = ORDER
    put(folder, found)
    hash_again(folder)
    assert "not the one that the node signed" in wrong(folder)
    sign_again(folder)  # and what the node itself signs is counted
    assert "not as many records as the manifest says" in wrong(folder)


@pytest.mark.parametrize("erased_by", [5, 400])
def test_an_order_comes_after_what_it_erased(
    home: Home, tmp_path: Path, erased_by: int
) -> None:
    folder = tmp_path / "evidence"
    with home.log() as log:
        evidence(log, folder, Selection(window=WINDOW))
    found = lines(folder)
    next(each for each in found if each["n"] == 450)["erased_by"] = erased_by
    put(folder, found)
    sign_again(folder)
    assert "cannot have been erased like this" in wrong(folder)


def test_a_window_among_the_pruned_is_not_given(home: Home, tmp_path: Path) -> None:
    window = (BEGAN - STEP, BEGAN + 1.5 * STEP)
    with home.log() as log:
        for selection in (Selection(window=window), Selection(numbers=(5, 300))):
            with pytest.raises(NotFound, match="records 0-255 were pruned"):
                evidence(log, tmp_path / "evidence", selection)


def test_by_number_and_by_patient_what_is_left_is_given(
    home: Home, tmp_path: Path
) -> None:
    with home.log() as log:
        evidence(log, tmp_path / "one", Selection(numbers=(256, 310)))
        evidence(log, tmp_path / "two", Selection(patient="PAT-0040"))
        with pytest.raises(NotFound):
            evidence(log, tmp_path / "three", Selection(patient="PAT-0010"))
    for name in ("one", "two"):
        assert verify.check(tmp_path / name).wrong == []
    # Of the checkpoints those within what was pruned are left out: 0, 1, 100.
    text = (tmp_path / "one" / "checkpoints").read_text()
    assert "\n100\n" not in text
    assert "\n256\n" in text


def test_content_that_is_gone_without_a_commitment_is_damage(
    home: Home, tmp_path: Path
) -> None:
    with home.database() as database:
        before = database.write(
            lambda tx: tx.connection.exec_driver_sql(
                "SELECT commitment FROM audit_erased WHERE n = 450"
            ).scalar_one()
        )
    attack(home, "DELETE FROM audit_erased WHERE n = 450")
    try:
        with home.log() as log, pytest.raises(Damaged, match="450 is not as it was"):
            evidence(log, tmp_path / "evidence", Selection(numbers=(450,)))
    finally:
        with home.database() as database:
            database.write(
                lambda tx: (
                    tx.connection.exec_driver_sql(
                        "INSERT INTO audit_erased VALUES (450, ?, ?)", (before, ORDER)
                    )
                    and None
                )
            )
