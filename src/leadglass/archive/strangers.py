"""Who was turned away lately: for the eyes of who administers, in memory alone.

The audit record has each of them for good; this answers "who knocks right now, and is
it ours" without reading the record. It is empty after a start.
"""

import threading
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from leadglass.access.networks import Address

# Addresses that are remembered; the one that was silent for longest makes room.
ADDRESSES_MAX: Final = 256
# Of one address: a device has one or two titles, who tries all names has thousands.
TITLES_MAX: Final = 8
REASONS_MAX: Final = 8


@dataclass(frozen=True, slots=True)
class Stranger:
    """An address that was turned away.

    Attributes:
        address: Where from.
        titles: What it called itself, the newest last; nothing before an association.
        reasons: Why it was turned away, the newest last.
        count: How often since ``first``.
        first: When it came first, since the node was started.
        last: When it came last.
    """

    address: Address
    titles: tuple[str, ...]
    reasons: tuple[str, ...]
    count: int
    first: datetime
    last: datetime


@dataclass(slots=True)
class _Found:
    first: datetime
    last: datetime
    count: int = 0
    # As sets that keep their order.
    titles: dict[str, None] = field(default_factory=dict)
    reasons: dict[str, None] = field(default_factory=dict)


class Strangers:
    """The addresses that were turned away since the start, bounded."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[Address, _Found] = {}

    def add(self, address: Address, title: str, reason: str, now: datetime) -> None:
        """Remember one; never waits for anything but memory."""
        with self._lock:
            # Taken out and put back: the first is the one that is silent for longest.
            found = self._found.pop(address, None) or _Found(now, now)
            if len(self._found) >= ADDRESSES_MAX:
                del self._found[next(iter(self._found))]
            self._found[address] = found
            found.count += 1
            found.last = now
            if title:
                _keep(found.titles, title, TITLES_MAX)
            _keep(found.reasons, reason, REASONS_MAX)

    def list(self) -> tuple[Stranger, ...]:
        """Return them, the newest first."""
        with self._lock:
            return tuple(
                Stranger(
                    address,
                    tuple(found.titles),
                    tuple(found.reasons),
                    found.count,
                    found.first,
                    found.last,
                )
                for address, found in reversed(self._found.items())
            )


def _keep(kept: dict[str, None], text: str, most: int) -> None:
    kept.pop(text, None)
    if len(kept) >= most:
        del kept[next(iter(kept))]
    kept[text] = None
