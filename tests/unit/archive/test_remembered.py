"""What is remembered ends with any change of people, and with time."""

from collections import Counter

import pytest

from leadglass.archive import remembered as remembered_module
from leadglass.archive.accounts import Accounts
from leadglass.archive.ingest import Ingest
from leadglass.archive.parts import Parts
from leadglass.archive.remembered import AGE_S, Remembered
from leadglass.identity.tokens.token import NewToken
from tests.unit.archive.conftest import OPERATOR, make_instance
from tests.unit.archive.rig import send


class Source:
    """Counts how often it is asked; and seconds."""

    def __init__(self) -> None:
        self.count = 0
        self.now_s = 5.0

    def read(self) -> int:
        self.count += 1
        return self.count

    def clock(self) -> float:
        return self.now_s


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def known(parts: Parts, source: Source) -> Remembered[int]:
    parts.intake.catch_up()
    return Remembered(parts.database, source.clock)


def test_it_is_read_once_for_each_key(known: Remembered[int], source: Source) -> None:
    assert [known.get(key, source.read) for key in "aabba"] == [1, 1, 2, 2, 1]


def test_a_change_of_a_token_ends_it(
    known: Remembered[int], source: Source, parts: Parts
) -> None:
    assert known.get("a", source.read) == 1
    accounts = Accounts.of(parts)
    accounts.add_token(OPERATOR, NewToken(name="viewer", role="service"))
    assert known.get("a", source.read) == 2
    accounts.revoke_token(OPERATOR, "viewer")
    assert known.get("a", source.read) == 3


def test_what_arrives_does_not(
    known: Remembered[int], source: Source, parts: Parts, ingest: Ingest
) -> None:
    assert known.get("a", source.read) == 1
    send(ingest, make_instance(1))
    parts.intake.catch_up()
    assert known.get("a", source.read) == 1


def test_every_table_of_people_counts(parts: Parts) -> None:
    with parts.database.read() as connection:
        found = connection.exec_driver_sql(
            "SELECT tbl_name FROM sqlite_master WHERE type = 'trigger' "
            "AND name LIKE 'people_revision_%'"
        ).scalars()
        assert Counter(found) == {
            "emergency": 3,
            "person": 3,
            "person_external": 3,
            "person_scope": 3,
            "person_session": 3,
            "token": 3,
        }


def test_it_ends_with_time(known: Remembered[int], source: Source) -> None:
    known.get("a", source.read)
    source.now_s += AGE_S
    assert known.get("a", source.read) == 2


def test_an_error_is_not_kept(known: Remembered[int], source: Source) -> None:
    def fail() -> int:
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011  # its own
        known.get("a", fail)
    assert known.get("a", source.read) == 1


def test_it_keeps_a_bounded_number(
    known: Remembered[int], source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembered_module, "_KEPT_MAX", 2)
    for key in "abc":
        known.get(key, source.read)
    assert known.get("c", source.read) == 3
    assert known.get("a", source.read) == 4
