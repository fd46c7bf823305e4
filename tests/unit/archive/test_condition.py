"""How the node is: what it holds without counting, and who makes it look."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from leadglass.archive import condition as condition_module
from leadglass.archive.condition import (
    LOOK_INTERVAL_S,
    Condition,
    Organ,
    Space,
    days_left,
)
from leadglass.archive.erase import Erase
from leadglass.archive.ingest import Ingest
from leadglass.archive.parts import Parts
from leadglass.archive.rebuild import Rebuild
from leadglass.dicom.uids import UID
from leadglass.errors import Refused, Unavailable
from leadglass.identity.authority import Authority
from leadglass.identity.devices import Devices
from leadglass.index import growth
from leadglass.index.growth import Grown
from tests.unit.archive.conftest import OPERATOR, STUDY, make_instance
from tests.unit.archive.rig import send
from tests.unit.archive.test_jobs import Clock, nobody

TODAY = datetime.now(UTC)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    folder = tmp_path / "authority"
    Authority.create(folder, bytes(32), ("localhost",))
    return Authority.open(folder, bytes(32))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def condition(parts: Parts, authority: Authority, clock: Clock) -> Condition:
    return Condition(parts, authority, Devices(parts.database), "0.1", 30, clock)


def held(parts: Parts) -> tuple[int, int, int]:
    with parts.database.read() as connection:
        found = growth.whole(connection)
    return found.studies, found.instances, found.blob_bytes


def counted(parts: Parts) -> tuple[int, int, int]:
    with parts.database.read() as connection:
        found = parts.index.totals(connection)
    return found.studies, found.instances, found.blob_bytes


def test_what_is_held_is_known_without_counting(parts: Parts, ingest: Ingest) -> None:
    assert held(parts) == (0, 0, 0)
    for number in (1, 2, 3):
        send(ingest, make_instance(number))
    parts.intake.catch_up()
    assert held(parts) == counted(parts)
    assert held(parts)[:2] == (1, 3)
    with parts.database.read() as connection:
        [day] = growth.by_day(connection, 10)
    assert (day.instances, day.day) == (3, f"{datetime.now(UTC):%Y-%m-%d}")


def test_what_is_erased_or_rebuilt_is_counted_too(parts: Parts, ingest: Ingest) -> None:
    for number in (1, 2):
        send(ingest, make_instance(number))
    parts.intake.catch_up()
    Rebuild(parts)(OPERATOR)
    assert held(parts) == counted(parts)
    assert held(parts)[1] == 2
    Erase(parts)(OPERATOR, UID(STUDY), "of a test")
    assert held(parts) == counted(parts) == (0, 0, 0)


def test_who_asks_often_does_not_make_the_node_look_often(
    condition: Condition, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    monkeypatch.setattr("leadglass.archive.parts.Room.check", lambda _: looks.append(1))
    for _ in range(100):
        condition.check()
    assert len(looks) == 1
    clock.now_s += LOOK_INTERVAL_S
    condition.check()
    assert len(looks) == 2


def test_a_full_disk_is_told_and_nobody_outside_hears_why(
    condition: Condition, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert all(each.is_well for each in condition.health())

    def full(_: object) -> None:
        raise Unavailable("not enough free space on the disk")

    monkeypatch.setattr("leadglass.archive.parts.Room.check", full)
    clock.now_s += LOOK_INTERVAL_S
    with pytest.raises(Unavailable, match=r"^not ready$"):
        condition.check()
    [ill] = [each for each in condition.health() if not each.is_well]
    assert (ill.organ, "space" in ill.fault) == (Organ.DISK, True)
    figures = {each.values: each.value for each in condition.samples() if each.values}
    assert (figures["disk",], figures["database",]) == (0, 1)


def test_only_who_administers_sees_it(condition: Condition) -> None:
    with pytest.raises(Refused):
        condition.portrait(nobody())
    assert condition.portrait(OPERATOR).holds.instances == 0


@pytest.mark.parametrize(
    ("grown", "left"), [((), None), ((-5,), None), ((30,), 100), ((60,), 50)]
)
def test_how_long_there_is_room(grown: tuple[int, ...], left: int | None) -> None:
    days = [Grown(f"{TODAY:%Y-%m-%d}", 0, 0, each) for each in grown]
    assert days_left(days, Space(1000, 100), TODAY) == left


def test_what_grew_long_ago_is_no_trend() -> None:
    days = [Grown("2020-01-01", 0, 0, 10**9)]
    assert days_left(days, Space(1000, 100), TODAY) is None


def test_every_figure_is_of_the_table(condition: Condition) -> None:
    told = [each.family for each in condition.samples()]
    own = [each for each in told if each in condition_module.MEASURED]
    assert list(dict.fromkeys(own)) == list(condition_module.MEASURED)
