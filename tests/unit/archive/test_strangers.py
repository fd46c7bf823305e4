"""Who was turned away: remembered within bounds, the newest first."""

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address

from leadglass.archive.strangers import (
    ADDRESSES_MAX,
    REASONS_MAX,
    TITLES_MAX,
    Strangers,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
A_SECOND = timedelta(seconds=1)
HERE = IPv4Address("10.4.0.7")


def test_an_address_is_counted_with_what_it_called_itself_and_why() -> None:
    strangers = Strangers()
    strangers.add(HERE, "", "no device comes from this address", NOW)
    strangers.add(HERE, "CT1", "unknown", NOW + A_SECOND)
    strangers.add(HERE, "CT1", "unknown", NOW + 2 * A_SECOND)
    (found,) = strangers.list()
    assert found.titles == ("CT1",)
    assert found.reasons == ("no device comes from this address", "unknown")
    assert (found.count, found.first, found.last) == (3, NOW, NOW + 2 * A_SECOND)


def test_who_tries_all_titles_fills_no_memory() -> None:
    strangers = Strangers()
    for number in range(1000):
        strangers.add(HERE, f"AE{number}", f"reason {number}", NOW)
    (found,) = strangers.list()
    assert len(found.titles) == TITLES_MAX
    assert len(found.reasons) == REASONS_MAX
    assert found.titles[-1] == "AE999"
    assert found.count == 1000


def test_who_comes_from_all_addresses_fills_no_memory() -> None:
    strangers = Strangers()
    for number in range(2 * ADDRESSES_MAX):
        strangers.add(IPv4Address(number), "", "why", NOW)
    strangers.add(IPv4Address(ADDRESSES_MAX), "", "why", NOW)  # the oldest is back
    found = strangers.list()
    assert len(found) == ADDRESSES_MAX
    assert found[0].address == IPv4Address(ADDRESSES_MAX)
    assert found[0].count == 2
    strangers.add(HERE, "", "why", NOW)
    kept = {each.address for each in strangers.list()}
    assert len(kept) == ADDRESSES_MAX
    assert IPv4Address(ADDRESSES_MAX) in kept
    assert IPv4Address(ADDRESSES_MAX + 1) not in kept
