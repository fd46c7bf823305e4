"""Numbers of records as runs: few, even when the numbers are many; pure."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from leadglass.errors import BadData

# A first number and the one behind the last.
Run = tuple[int, int]

# What a run looks like in a record: "7", or "0-1023" with both ends in it.
_RUN = re.compile(r"(0|[1-9][0-9]{0,18})(?:-([1-9][0-9]{0,18}))?")


@dataclass(frozen=True, slots=True)
class Runs:
    """Numbers, each once.

    Attributes:
        runs: In order, with at least one number between two of them.

    Raises:
        BadData: They are not.
    """

    runs: tuple[Run, ...] = ()

    def __post_init__(self) -> None:
        last = -2
        for first, end in self.runs:
            if not last < first < end:
                raise BadData("runs of numbers: out of order")
            last = end

    @classmethod
    def of(cls, runs: Iterable[Run]) -> "Runs":
        """Return the numbers of some runs, in any order, which may overlap."""
        found: list[Run] = []
        for first, end in sorted(runs):
            if found and first <= found[-1][1]:
                found[-1] = (found[-1][0], max(found[-1][1], end))
            else:
                found.append((first, end))
        return cls(tuple(found))

    @classmethod
    def of_numbers(cls, numbers: Iterable[int]) -> "Runs":
        """Return some numbers, in any order."""
        return cls.of((n, n + 1) for n in numbers)

    @classmethod
    def parse(cls, texts: Iterable[str]) -> "Runs":
        """Return what ``texts`` wrote.

        Raises:
            BadData: They are no runs.
        """
        found: list[Run] = []
        for each in ",".join(texts).split(","):
            match = _RUN.fullmatch(each)
            if match is None:
                raise BadData("runs of numbers: malformed")
            first, last = int(match[1]), int(match[2] or match[1])
            found.append((first, last + 1))
        return cls(tuple(found))

    def texts(self, characters_max: int) -> Iterator[str]:
        """Yield them as texts of a record, none longer than ``characters_max``."""
        line = ""
        for first, end in self.runs:
            each = str(first) if end == first + 1 else f"{first}-{end - 1}"
            if line and len(line) + 1 + len(each) > characters_max:
                yield line
                line = ""
            line = f"{line},{each}" if line else each
        if line:
            yield line

    def __str__(self) -> str:
        return ",".join(self.texts(1 << 62))

    def __bool__(self) -> bool:
        return bool(self.runs)

    def __len__(self) -> int:
        return sum(end - first for first, end in self.runs)

    def __iter__(self) -> Iterator[int]:
        for run in self.runs:
            yield from range(*run)

    def __contains__(self, n: int) -> bool:
        return self.meets(n, n + 1)

    def meets(self, first: int, end: int) -> bool:
        """Tell whether any number from ``first`` on and below ``end`` is in them."""
        at = bisect_right(self.runs, first, key=lambda run: run[1])
        return at < len(self.runs) and self.runs[at][0] < end

    def covers(self, first: int, end: int) -> bool:
        """Tell whether all numbers from ``first`` on and below ``end`` are in them."""
        at = bisect_right(self.runs, first, key=lambda run: run[1])
        return at < len(self.runs) and (
            self.runs[at][0] <= first and end <= self.runs[at][1]
        )

    def __or__(self, other: "Runs") -> "Runs":
        return Runs.of((*self.runs, *other.runs))
