"""What was measured, against what was promised; kept as JSON between runs."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

OURS = "Leadglass"
ORTHANC = "Orthanc"
STORESCP = "storescp"


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound on our median, or on its ratio to the median of ``reference``."""

    text: str
    is_minimum: bool
    bound: float
    reference: str | None


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the table: all values of all servers, in one unit.

    ``foreign_cores`` is the most that anything else on the machine used meanwhile.
    """

    row: str
    title: str
    unit: str
    goal: Goal
    values: Mapping[str, Sequence[float]]
    foreign_cores: float
    date: str

    def median(self, name: str) -> float | None:
        values = self.values.get(name)
        return statistics.median(values) if values else None

    @property
    def ratio(self) -> float | None:
        """Our median by the reference's; None when one of them is missing."""
        if self.goal.reference is None:
            return None
        ours, other = self.median(OURS), self.median(self.goal.reference)
        return None if ours is None or not other else ours / other

    @property
    def is_met(self) -> bool | None:
        judged = self.median(OURS) if self.goal.reference is None else self.ratio
        if judged is None:
            return None
        if self.goal.is_minimum:
            return judged >= self.goal.bound
        return judged <= self.goal.bound


def save(path: Path, results: Sequence[Result]) -> None:
    path.write_text(json.dumps([asdict(each) for each in results], indent=1))


def load(path: Path) -> list[Result]:
    """Return the results of earlier runs; none when there were none."""
    if not path.exists():
        return []
    return [
        Result(**{**each, "goal": Goal(**each["goal"])})
        for each in json.loads(path.read_text())
    ]


def merge(old: Sequence[Result], new: Sequence[Result]) -> list[Result]:
    """Return the newest result of each line; a measured row replaces all of its own."""
    measured = {each.row for each in new}
    return [each for each in old if each.row not in measured] + list(new)
