"""Failures, what follows from them, and how many of them are kept."""

from datetime import timedelta
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadglass.identity.people import lockout as module
from leadglass.identity.people.lockout import PACES, Lockout, Source
from tests.unit.identity.people.surroundings import HOME, People

HOUR = timedelta(hours=1)


@pytest.mark.parametrize("source", Source)
def test_delays_double_up_to_a_lock(source: Source) -> None:
    pace = PACES[source]
    delays = [pace.delay(failures) for failures in range(pace.lock_at + 50)]
    assert delays == sorted(delays)
    assert delays[pace.free] == timedelta(0)
    assert delays[pace.free + 1] == timedelta(seconds=1)
    assert delays[pace.free + 3] == timedelta(seconds=4)
    assert set(delays[pace.lock_at :]) == {pace.lock}


@given(st.integers(0, 100), st.timedeltas(-HOUR, timedelta(days=30)))
@settings(max_examples=50)
def test_failures_drain_and_never_grow(failures: int, since: timedelta) -> None:
    for pace in PACES.values():
        assert 0 <= pace.left(failures, since) <= failures
        assert pace.left(failures, pace.drain * failures) == 0


def fail(people: People, address: str, user_id: int | None = None) -> None:
    people.database.write(
        lambda tx: (
            people.stores.lockout.failed(tx, user_id, ip_address(address), people.now)
            and None
        )
    )


def blocked(people: People, address: str, user_id: int | None = None) -> bool:
    with people.database.read() as connection:
        until = people.stores.lockout.blocked_until(
            connection, user_id, ip_address(address), people.now
        )
    return until is not None


def test_an_ipv6_network_is_one_caller(people: People) -> None:
    for host in range(1, 32):
        fail(people, f"2001:db8::{host:x}")
    assert blocked(people, "2001:db8::ffff")
    assert not blocked(people, "2001:db8:0:1::1")
    fail(people, "::ffff:192.0.2.1")
    assert not blocked(people, "192.0.2.1")


def test_a_mapped_address_is_the_same_caller(people: People) -> None:
    for _ in range(31):
        fail(people, "::ffff:192.0.2.1")
    assert blocked(people, "192.0.2.1")


def test_failures_of_nobody_block_nobody(people: People) -> None:
    for host in range(1, 40):
        fail(people, f"10.0.0.{host}")
    assert not blocked(people, "10.1.0.1")
    assert not blocked(people, "10.1.0.1", 1)


def test_logging_in_buys_an_address_no_new_guesses(people: People) -> None:
    people.member()
    for _ in range(31):
        fail(people, str(HOME))
    people.database.write(lambda tx: Lockout().succeeded(tx, people.user().id))
    assert blocked(people, str(HOME))
    people.wait(timedelta(minutes=15, seconds=1))
    assert not blocked(people, str(HOME))


def test_rows_of_addresses_are_bounded(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ADDRESSES_MAX", 20)
    monkeypatch.setattr(module, "_ADDRESSES_DROPPED", 5)
    for host in range(100):
        people.wait(timedelta(seconds=1))
        fail(people, f"10.0.0.{host}")
    with people.database.read() as connection:
        rows = connection.exec_driver_sql("SELECT key FROM person_throttle").scalars()
        kept = set(rows)
    assert len(kept) <= 21  # and the one of nobody
    assert "10.0.0.99" in kept
    assert "10.0.0.0" not in kept
