"""What rules remember: shelves of small values, bounded, and saved as JSON.

Everything on a shelf is a number, a text, a list or a dict of these, so that a saved
memory is the memory. A shelf that is full forgets what was put longest ago: memory
does not grow with the trail, and whoever floods it with names makes rules forget
only what is older than the flood.
"""

import json
from collections.abc import Callable, Mapping
from math import sqrt
from statistics import median
from typing import Any, Final

from leadglass.errors import BadData

VERSION: Final = 1
# Of people, devices and addresses together: ten times a large hospital.
SUBJECTS_MAX: Final = 20_000
# Of pairs of person and patient, of studies: some weeks of a large hospital.
PAIRS_MAX: Final = 100_000
# Of values within one entry: addresses of a device, patients of a day.
VALUES_MAX: Final = 64
# Entries of a sliding window; what is more is an attack that is told of already.
WINDOW_MAX: Final = 256

# Median absolute deviation to standard deviation, for a normal distribution.
_MAD_TO_SIGMA: Final = 1.4826


class Shelf:
    """Values by key; beyond ``limit`` that which was put longest ago is forgotten."""

    __slots__ = ("_values", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._values: dict[str, Any] = {}

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: str) -> Any:
        """Return what was put; None if nothing was, or it is forgotten."""
        return self._values.get(key)

    def put(self, key: str, value: Any) -> None:
        """Remember a value, as the newest."""
        values = self._values
        values.pop(key, None)
        values[key] = value
        if len(values) > self.limit:
            del values[next(iter(values))]

    def slot(self, key: str, make: Callable[[], Any]) -> Any:
        """Return what was put to be changed in place; made if there is none."""
        values = self._values
        value = values.pop(key, None)
        if value is None:
            value = make()
        values[key] = value
        if len(values) > self.limit:
            del values[next(iter(values))]
        return value

    def drop(self, key: str) -> Any:
        """Forget a value, and return it."""
        return self._values.pop(key, None)

    def oldest(self) -> tuple[str, Any] | None:
        """Return what was put longest ago."""
        key = next(iter(self._values), None)
        return None if key is None else (key, self._values[key])

    def items(self) -> list[tuple[str, Any]]:
        """Return everything, oldest first."""
        return list(self._values.items())


class Memory:
    """All shelves of a review, by name."""

    __slots__ = ("_shelves",)

    def __init__(self) -> None:
        self._shelves: dict[str, Shelf] = {}

    def shelf(self, name: str, limit: int = SUBJECTS_MAX) -> Shelf:
        """Return a shelf; the first who asks says how much it holds."""
        found = self._shelves.get(name)
        if found is None:
            found = self._shelves[name] = Shelf(limit)
        return found

    def limits(self) -> dict[str, int]:
        """Return how much each shelf holds at most."""
        return {name: shelf.limit for name, shelf in self._shelves.items()}

    def save(self) -> str:
        """Return everything as JSON."""
        shelves = {
            name: [shelf.limit, shelf.items()] for name, shelf in self._shelves.items()
        }
        return json.dumps(
            {"version": VERSION, "shelves": shelves},
            separators=(",", ":"),
            check_circular=False,
        )

    @classmethod
    def load(cls, text: str) -> "Memory":
        """Return the memory that was saved.

        Raises:
            BadData: It is none, or of another version.
        """
        memory = cls()
        try:
            saved: Mapping[str, Any] = json.loads(text)
            if saved["version"] != VERSION:
                raise BadData("a review of another version left its memory")
            for name, (limit, items) in saved["shelves"].items():
                shelf = memory.shelf(name, int(limit))
                for key, value in items:
                    shelf.put(str(key), value)
        except (LookupError, ValueError, TypeError, AttributeError) as error:
            raise BadData("not the memory of a review") from error
        return memory


def slide(entries: list[Any], now_s: float, value: Any, span_s: float) -> list[Any]:
    """Add ``[now_s, value]`` to a window in place, and drop what is older."""
    entries.append([now_s, value])
    old = now_s - span_s
    keep = 0
    while keep < len(entries) and entries[keep][0] < old:
        keep += 1
    keep = max(keep, len(entries) - WINDOW_MAX)
    if keep:
        del entries[:keep]
    return entries


def know(values: dict[str, float], value: str, now_s: float) -> bool:
    """Note that a value was seen now; return whether it was known before."""
    was_known = values.pop(value, None) is not None
    values[value] = now_s
    if len(values) > VALUES_MAX:
        del values[next(iter(values))]
    return was_known


def robust_z(value: float, past: list[float]) -> float:
    """Return by how many deviations a value is above what was usual.

    Median and median absolute deviation: one odd day does not move them. The
    deviation is at least that of counting (the root of the median), and 1.
    """
    usual = median(past)
    mad = median([abs(each - usual) for each in past])
    return (value - usual) / max(_MAD_TO_SIGMA * mad, sqrt(usual), 1.0)
