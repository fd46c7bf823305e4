"""Logins that are on their way to a provider and back.

In memory: a restart ends them, and the person begins again. Bounded in number, in all
and for one address, and in time; the oldest make room. One is given up at the first
try to use it, whoever tries, and to the browser alone that began it.
"""

import threading
from collections import Counter, OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from hmac import compare_digest
from typing import Final

from leadglass.access.networks import Address
from leadglass.errors import Refused
from leadglass.identity.federation.flow import Begun
from leadglass.identity.people.lockout import network_of

# Long enough to look for a telephone at the provider's page.
FLIGHT_TIME: Final = timedelta(minutes=10)
FLIGHTS_MAX: Final = 4_096
# A whole ward may come from one address; who floods pushes out its own.
FLIGHTS_PER_ADDRESS_MAX: Final = 128


@dataclass(frozen=True, slots=True)
class _Flight:
    begun: Begun
    browser: bytes
    network: str
    ends_at: datetime


class Flights:
    """Keeps them; for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[bytes, _Flight] = OrderedDict()
        self._of: Counter[str] = Counter()

    def keep(self, begun: Begun, browser: str, address: Address, now: datetime) -> None:
        """Keep one for a browser.

        Args:
            begun: What its login needs.
            browser: What its cookie holds.
            address: Where from.
            now: When.
        """
        network = network_of(address)
        flight = _Flight(begun, _digest(browser), network, now + FLIGHT_TIME)
        with self._lock:
            self._make_room(network, now)
            self._kept[_digest(begun.state)] = flight
            self._of[network] += 1

    def take(self, state: str, browser: str, now: datetime) -> Begun:
        """Give up the one of that state.

        Raises:
            Refused: There is none, it has ended, or another browser began it.
        """
        with self._lock:
            flight = self._pop(_digest(state))
        if flight is None or now > flight.ends_at:
            raise Refused("no login that was begun here, or it took too long")
        if not compare_digest(flight.browser, _digest(browser)):
            raise Refused("a login that another browser began")
        return flight.begun

    def __len__(self) -> int:
        return len(self._kept)

    def _make_room(self, network: str, now: datetime) -> None:
        # In order of their beginning, and all last as long: the first end first.
        while self._kept:
            state, oldest = next(iter(self._kept.items()))
            if now <= oldest.ends_at and len(self._kept) < FLIGHTS_MAX:
                break
            self._pop(state)
        if self._of[network] >= FLIGHTS_PER_ADDRESS_MAX:
            own = (each for each, of in self._kept.items() if of.network == network)
            self._pop(next(own))

    def _pop(self, state: bytes) -> _Flight | None:
        flight = self._kept.pop(state, None)
        if flight is not None:
            self._of[flight.network] -= 1
            if not self._of[flight.network]:
                del self._of[flight.network]
        return flight


def _digest(text: str) -> bytes:
    """Return what a secret is told apart by, whatever somebody sent as one."""
    return sha256(text.encode("utf-8", "replace")).digest()
