"""A second process that recomputes leaves: nothing is found otherwise than by one."""

import shutil
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Self

import pytest

from leadglass.audit import seconding, verification
from leadglass.audit.findings import Report
from leadglass.audit.log import AuditLog
from leadglass.audit.seconding import Second
from leadglass.audit.verification import Given
from leadglass.database.engine import Database
from tests.unit.audit.surroundings import Home, erase, fill, prune
from tests.unit.audit.test_detection import attack, kinds, texts

# Six times what is read at once, and a part: some of it is our own, some is given.
SIZE = 3_400
TOGETHER = 512


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = Home(tmp_path_factory.mktemp("good"))
    home.prepare()
    with home.log() as log, home.database() as database:
        at = 0
        for size in (700, 1_600, 2_900, SIZE):
            fill(log, database, size - at)
            home.clock.passes(1)
            log.flush()
            at = size
    return home.folder


@pytest.fixture
def copy(good: Path, tmp_path: Path) -> Home:
    shutil.copytree(good, tmp_path / "copy")
    return Home(tmp_path / "copy")


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[Given]:
    """What was given, of logs of any size."""
    monkeypatch.setattr(verification, "SECONDED_FROM", 0)
    monkeypatch.setattr(verification, "LEAD", TOGETHER)
    monkeypatch.setattr(verification, "OWN", TOGETHER)
    monkeypatch.setattr(verification, "ROUND", 3 * TOGETHER)
    found: list[Given] = []
    answer = Second.answer

    def heard(self: Second) -> object:
        said = answer(self)
        found.extend(said[0] if said else ())
        return said

    monkeypatch.setattr(Second, "answer", heard)
    return found


def verified(home: Home) -> Report:
    with home.database() as database:
        return home.over(database).verify()


def alone(home: Home, monkeypatch: pytest.MonkeyPatch) -> Report:
    with monkeypatch.context() as patch:
        patch.setattr(verification, "SECONDED_FROM", 1 << 60)
        return verified(home)


def test_a_good_log_is_intact_and_half_of_it_was_given(
    copy: Home, given: list[Given], monkeypatch: pytest.MonkeyPatch
) -> None:
    report = verified(copy)
    assert report.is_intact
    assert report == alone(copy, monkeypatch)
    runs = [(each.first, each.end, bool(each.hashes)) for each in given]
    assert runs == [
        (512, 1024, True),
        (1024, 1536, True),
        (2048, 2560, True),
        (2560, 3072, True),
    ]


def alter(column: str, n: int) -> str:
    flip = f"CAST(substr({column}, 2) || substr({column}, 1, 1) AS BLOB)"
    return f"UPDATE audit_record SET {column} = {flip} WHERE n = {n}"


ATTACKS: list[tuple[str, ...]] = [
    # In what is given, in what is our own, and where they meet.
    tuple(
        alter("record", n) for n in (3, 600, 1023, 1024, 1536, 2100, 3071, 3072, 3380)
    ),
    (alter("search_keys", 700), alter("salt", 900), alter("leaf", 1100)),
    (
        "UPDATE audit_record SET record = NULL WHERE n = 700",
        "UPDATE audit_record SET wall_us = wall_us + 1 WHERE n = 1700",
        "UPDATE audit_record SET wall_us = 'late' WHERE n = 2200",
        "UPDATE audit_record SET record = CAST(record AS TEXT) || ' ' WHERE n = 3000",
    ),
    (
        "DELETE FROM audit_record WHERE n = 700",
        "DELETE FROM audit_record WHERE n BETWEEN 1530 AND 1540",
        "DELETE FROM audit_record WHERE n BETWEEN 2040 AND 2060",
    ),
    ("DELETE FROM audit_record WHERE n BETWEEN 500 AND 2600",),
    ("DELETE FROM audit_record WHERE n >= 2000",),
    ("DELETE FROM audit_record",),
    (
        "UPDATE audit_record SET n = -5 WHERE n = 700",
        "UPDATE audit_record SET n = 90000 WHERE n = 1701",
    ),
    (
        "UPDATE audit_record SET n = -1 WHERE n = 700",
        "UPDATE audit_record SET n = 700 WHERE n = 701",
        "UPDATE audit_record SET n = 701 WHERE n = -1",
    ),
    ("DELETE FROM audit_mention WHERE n = 700",),
    ("UPDATE audit_tile SET hash = zeroblob(32) WHERE place = 3",),
    ("DELETE FROM audit_head",),
]


@pytest.mark.parametrize("statements", ATTACKS)
def test_an_attack_is_found_as_by_one(
    copy: Home,
    given: list[Given],
    statements: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attack(copy, *statements)
    report = verified(copy)
    assert report.findings
    assert report == alone(copy, monkeypatch)
    # Without a head nobody knows where the table of searches ends.
    is_seconded = "audit_head" not in statements[0]
    assert bool(given) is (is_seconded and statements != ("DELETE FROM audit_record",))


def test_a_clock_that_jumped_in_what_is_given_is_remarked(
    tmp_path: Path, given: list[Given], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path)
    home.prepare()
    with home.log() as log, home.database() as database:
        for size, jump in ((600, -90), (424, 300), (1376, 50)):
            fill(log, database, size)
            home.clock.wall += jump * 1_000_000
        home.clock.boot = 8
        fill(log, database, 1000)
    report = verified(home)
    assert len(report.remarks) == 2
    assert report == alone(home, monkeypatch)
    assert given


def test_what_was_pruned_and_erased_is_told_from_tampering(
    copy: Home, given: list[Given], monkeypatch: pytest.MonkeyPatch
) -> None:
    with copy.log() as log, copy.database() as database:
        prune(log, database, 2, 3)
        erase(log, database, 1100, 2300)
        fill(log, database, 600)
    report = verified(copy)
    assert report.is_intact, texts(report)
    assert report == alone(copy, monkeypatch)
    attack(copy, "DELETE FROM audit_record WHERE n = 2100")
    report = verified(copy)
    assert kinds(report) == {"missing", "search"}
    assert report == alone(copy, monkeypatch)


@pytest.mark.parametrize(
    "boot",
    [
        "raise SystemExit(3)",
        "import sys; sys.stdin.readline(); sys.stdin.readline()",
        "import sys; sys.stdout.buffer.write(b'\\0\\0\\0\\1\\x93')",
        "import sys; sys.stdout.buffer.write(b'\\0\\0\\0\\5\\x94\\1\\2\\3')",
    ],
)
def test_a_second_process_that_dies_leaves_it_all_to_the_first(
    copy: Home, given: list[Given], boot: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seconding, "_BOOT", boot)
    attack(copy, alter("record", 700))
    assert verified(copy) == alone(copy, monkeypatch)
    assert not given


class Lying:
    """Gives for each record what somebody makes of the truth."""

    def __init__(
        self, second: Second, lie: Callable[[Given], Given], spoil: int = 1
    ) -> None:
        self._second = second
        self._lie = lie
        self._spoil = spoil

    def __enter__(self) -> Self:
        self._second.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._second.drop()

    def ask(self, first: int, end: int) -> None:
        self._second.ask(first, end)

    def answer(self) -> tuple[Sequence[Given], tuple[int, int, int]] | None:
        said = self._second.answer()
        assert said is not None
        count, odd, product = said.searched
        searched = count, odd, product * self._spoil
        return [self._lie(each) for each in said.given], searched


def flipped(given: Given) -> Given:
    hashes = bytes([given.hashes[0] ^ 1]) + given.hashes[1:]
    return given._replace(hashes=hashes)


@pytest.mark.parametrize(
    ("lie", "spoil", "found"),
    [
        (flipped, 1, "fork"),
        (lambda given: given._replace(first=given.first + 1), 1, "missing"),
        (lambda given: given, 2, "search"),
    ],
)
@pytest.mark.usefixtures("given")
def test_what_is_given_is_held_against_what_was_signed(
    copy: Home,
    lie: Callable[[Given], Given],
    spoil: int,
    found: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lying(self: AuditLog, secrets: Sequence[int]) -> Lying:
        second = Second(*self._database.opened_by, secrets)
        return Lying(second, lie, spoil)

    monkeypatch.setattr(AuditLog, "_second", lying)
    assert found in kinds(verified(copy))


def test_it_ends_when_nobody_wants_more(copy: Home) -> None:
    def work(database: Database) -> Second:
        with Second(*database.opened_by, (1, 2, 3, 4)) as second:
            second.ask(0, 1000)
            assert second.answer() is not None
            process = second._process
            assert process is not None
        assert process.returncode is not None
        assert second.answer() is None
        second.ask(0, 1000)
        return second

    with copy.database() as database:
        work(database)


def test_the_parts_are_the_whole() -> None:
    for end in (512, 4096, 1 << 18, 999_936):
        rounds = list(verification._rounds(end))
        assert rounds[0][0] == 0
        assert rounds[-1][2] == end
        assert all(one[2] == other[0] for one, other in pairwise(rounds))
        assert all(first < middle <= behind for first, middle, behind in rounds)
