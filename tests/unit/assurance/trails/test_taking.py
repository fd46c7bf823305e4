"""The thread that takes our own record in."""

import logging
import time

import pytest

from leadglass.assurance.trails import taking
from leadglass.assurance.trails.store import Facts
from leadglass.assurance.trails.taking import LOOK_INTERVAL_S, Taker, Taking
from leadglass.audit.log import AuditLog
from leadglass.errors import Unavailable
from tests.unit.assurance.trails.conftest import Shelf
from tests.unit.assurance.trails.test_store import record, stored


def test_a_step_takes_what_is_new(shelf: Shelf) -> None:
    record(shelf, 3)
    assert Taker(shelf.facts, shelf.log).step() == LOOK_INTERVAL_S
    assert len(stored(shelf)) == 3


def test_with_much_to_do_it_comes_again_soon(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taking, "STEP_MAX", 2)
    record(shelf, 3)
    assert Taker(shelf.facts, shelf.log).step() < LOOK_INTERVAL_S
    assert len(stored(shelf)) == 2


def test_the_thread_takes_and_ends(shelf: Shelf) -> None:
    record(shelf, 1)
    thread = Taking(Taker(shelf.facts, shelf.log))
    thread.start()
    until = time.monotonic() + 10
    while not stored(shelf) and time.monotonic() < until:
        pass
    thread.stop()
    assert len(stored(shelf)) == 1


def test_a_failure_is_told_and_it_goes_on(
    shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Facts):
        def take_own(self, log: AuditLog, budget: int) -> int:
            raise Unavailable("database: locked")

    thread = Taking(Taker(Broken(shelf.database), shelf.log))
    with caplog.at_level(logging.WARNING):
        thread.start()
        until = time.monotonic() + 10
        while not caplog.records and time.monotonic() < until:
            pass
        thread.stop()
    assert "database: locked" in caplog.text


def test_what_was_never_started_stops(shelf: Shelf) -> None:
    Taking(Taker(shelf.facts, shelf.log)).stop()
