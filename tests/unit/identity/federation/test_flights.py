"""Logins on their way: whose they are, how many, how long."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest

from leadglass.errors import Refused
from leadglass.identity.federation.flights import (
    FLIGHT_TIME,
    FLIGHTS_MAX,
    FLIGHTS_PER_ADDRESS_MAX,
    Flights,
)
from leadglass.identity.federation.flow import Begun, begin

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOME, OTHER = ip_address("10.1.2.3"), ip_address("10.1.2.4")


def kept(flights: Flights, browser: str = "b", now: datetime = NOW) -> Begun:
    begun = begin("https://login.example", "https://pacs.example/oidc/callback")
    flights.keep(begun, browser, HOME, now)
    return begun


def test_one_is_given_up_once_to_the_browser_that_began_it() -> None:
    flights = Flights()
    begun = kept(flights)
    assert flights.take(begun.state, "b", NOW + FLIGHT_TIME) == begun
    with pytest.raises(Refused):
        flights.take(begun.state, "b", NOW)
    assert len(flights) == 0


def test_another_browser_gets_nothing_and_leaves_nothing() -> None:
    flights = Flights()
    begun = kept(flights)
    for state, browser in (("another", "b"), (begun.state, "thief"), ("\ud800", "")):
        with pytest.raises(Refused):
            flights.take(state, browser, NOW)
    with pytest.raises(Refused):
        flights.take(begun.state, "b", NOW)


def test_one_that_took_too_long_has_ended() -> None:
    flights = Flights()
    begun = kept(flights)
    with pytest.raises(Refused):
        flights.take(begun.state, "b", NOW + FLIGHT_TIME + timedelta(seconds=1))


def test_a_flood_from_one_address_pushes_out_its_own() -> None:
    flights = Flights()
    other = begin("https://login.example", "https://pacs.example/oidc/callback")
    flights.keep(other, "b", OTHER, NOW)
    first = kept(flights)
    for _ in range(FLIGHTS_PER_ADDRESS_MAX):
        kept(flights)
    assert len(flights) == FLIGHTS_PER_ADDRESS_MAX + 1
    assert flights.take(other.state, "b", NOW) == other
    with pytest.raises(Refused):
        flights.take(first.state, "b", NOW)


def test_a_flood_from_everywhere_is_bounded_and_ends() -> None:
    flights = Flights()
    for number in range(FLIGHTS_MAX + 10):
        begun = begin("https://login.example", "https://pacs.example/oidc/callback")
        flights.keep(begun, "b", ip_address(number), NOW)
    assert len(flights) == FLIGHTS_MAX
    kept(flights, now=NOW + 2 * FLIGHT_TIME)
    assert len(flights) == 1
