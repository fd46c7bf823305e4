"""Metadata is made ready when nothing arrives, and never instead of receiving."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from leadglass.access.rights import Right
from leadglass.archive import preparing as preparing_module
from leadglass.archive.fetch import Fetch, Selection
from leadglass.archive.ingest import Ingest
from leadglass.archive.metadata import Metadata
from leadglass.archive.parts import Parts
from leadglass.archive.preparing import QUIET_S, Preparer
from leadglass.audit.builders import Service
from leadglass.dicom.attributes import Level
from leadglass.index import prepared
from tests.unit.archive.conftest import OPERATOR, STUDY, Home, make_instance
from tests.unit.archive.rig import alerts, send

SERIES = f"{STUDY}.1"


@dataclass
class Clock:
    now_s: float = 1000.0
    step_s: float = 0.0

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def preparer(parts: Parts, clock: Clock) -> Iterator[Preparer]:
    made = Preparer(parts, OPERATOR, clock)
    yield made
    made.close()


@pytest.fixture
def three(preparer: Preparer, ingest: Ingest, parts: Parts) -> None:
    for number in (1, 2, 3):
        send(ingest, make_instance(number))
    parts.intake.catch_up()


def left(parts: Parts) -> int:
    with parts.database.read() as connection:
        return len(prepared.missing(connection, STUDY, SERIES))


def told(parts: Parts) -> list[bytes]:
    """Return the metadata as who asks gets it."""
    whole = Selection(level=Level.STUDY, study_uids=(STUDY,))
    retrieval = Fetch(parts).begin(OPERATOR, Right.VIEW, whole, Service.WADO_RS)
    found = Metadata(parts).json(retrieval, lambda each: f"https://n/{each.blob}")
    answers = [b"".join(content) for _, content in found]
    retrieval.finish()
    return answers


@pytest.mark.usefixtures("three")
def test_nothing_is_done_before_it_is_quiet(
    parts: Parts, preparer: Preparer, clock: Clock
) -> None:
    preparer.work()
    assert left(parts) == 3
    clock.now_s += QUIET_S
    preparer.work()
    assert left(parts) == 0


@pytest.mark.usefixtures("three")
def test_what_is_prepared_is_what_is_told_without(
    parts: Parts,
) -> None:
    from_files = told(parts)
    with parts.database.read() as connection:
        assert not prepared.missing(connection, STUDY, SERIES)
    again = told(parts)
    assert from_files == again
    assert len(set(again)) == 3


@pytest.mark.usefixtures("three")
def test_neighbours_are_packed_with_each_other(
    parts: Parts, preparer: Preparer, clock: Clock
) -> None:
    clock.now_s += QUIET_S
    preparer.work()
    with parts.database.read() as connection:
        bodies = connection.exec_driver_sql(
            "SELECT body FROM prepared_metadata ORDER BY instance_id"
        ).scalars()
        first, *others = bodies
    assert first[:1] == b"\0"
    assert all(each[:1] == b"\1" and len(each) < len(first) / 2 for each in others)
    known = told(parts)
    # Whose dictionary is lost is made again.
    parts.database.write(
        lambda tx: tx.connection.exec_driver_sql(
            "UPDATE prepared_metadata SET body = x'00' "
            "WHERE instance_id = (SELECT min(instance_id) FROM prepared_metadata)"
        )
    )
    assert told(parts) == known


@pytest.mark.usefixtures("three")
def test_arrivals_go_before(
    parts: Parts, preparer: Preparer, clock: Clock, ingest: Ingest
) -> None:
    clock.now_s += QUIET_S
    send(ingest, make_instance(4))
    parts.intake.catch_up()
    preparer.work()
    assert left(parts) == 4
    clock.now_s += QUIET_S
    preparer.work()
    assert left(parts) == 0


@pytest.mark.usefixtures("three")
def test_what_is_interrupted_goes_on(
    parts: Parts, preparer: Preparer, clock: Clock
) -> None:
    clock.now_s += QUIET_S
    clock.step_s = -QUIET_S / 3  # as if something arrived, soon after it has begun
    preparer.work()
    assert left(parts) > 0
    clock.step_s = 0.0
    clock.now_s += 10 * QUIET_S
    preparer.work()
    assert left(parts) == 0


@pytest.mark.usefixtures("three")
def test_damage_is_recorded_and_left_to_who_asks(
    home: Home, parts: Parts, preparer: Preparer, clock: Clock
) -> None:
    for path in home.blob_paths():
        path.write_bytes(path.read_bytes()[:-20] + bytes(20))
    clock.now_s += QUIET_S
    with pytest.raises(Exception, match="verify"):
        preparer.work()
    assert alerts(home)[-1][0] == "110135"


@pytest.mark.usefixtures("three")
def test_what_came_before_a_start_is_prepared(parts: Parts, clock: Clock) -> None:
    """As what another process imported, which tells this one nothing."""
    late = Preparer(parts, OPERATOR, clock)
    late.work()
    assert left(parts) == 0
    late.close()


def test_what_is_prepared_is_not_looked_at_again(
    parts: Parts, preparer: Preparer, clock: Clock, ingest: Ingest
) -> None:
    send(ingest, make_instance(1))
    parts.intake.catch_up()
    clock.now_s += QUIET_S
    preparer.work()
    late = Preparer(parts, OPERATOR, clock)
    with parts.database.read() as connection:
        assert prepared.newest_prepared(connection) == prepared.newest(connection) == 1
        assert prepared.between(connection, 1, 100) == []
        assert prepared.between(connection, 0, 100) == [(STUDY, SERIES)]
    late.work()
    assert not late._series
    late.close()


def test_a_bounded_number_of_series_waits(
    preparer: Preparer,
    ingest: Ingest,
    parts: Parts,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(preparing_module, "_SERIES_MAX", 0)
    send(ingest, make_instance(1))
    parts.intake.catch_up()
    clock.now_s += QUIET_S
    preparer.work()
    assert not preparer._series
    assert left(parts) == 1
    monkeypatch.undo()
    preparer.work()
    assert left(parts) == 0
