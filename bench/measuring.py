"""What all rows share: how samples are taken in turn, and kept."""

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench import data, nodes
from bench.nodes import Start
from bench.process import DISTURBED_CORES
from bench.results import ORTHANC, OURS, STORESCP, Goal, Result


@dataclass(frozen=True, slots=True)
class Bench:
    """What all rows share: sizes, data, a folder on a real disk, and whom to ask."""

    sizes: data.Sizes
    sets: data.Sets
    scratch: Path
    is_ours_measured: bool

    def started(
        self, *, nodelay: bool, is_secure: bool, with_storescp: bool = False
    ) -> dict[str, Start]:
        """Return how to start each server, ours first."""
        peer = {"nodelay": nodelay, "is_secure": is_secure}
        starts: dict[str, Start] = {}
        if self.is_ours_measured:
            starts[OURS] = partial(nodes.leadglass, self.scratch)
        starts[ORTHANC] = partial(nodes.orthanc, self.scratch, **peer)
        if with_storescp:
            starts[STORESCP] = partial(nodes.storescp, self.scratch, **peer)
        return starts


@dataclass(frozen=True, slots=True)
class Sample:
    """One value, and how much the machine was disturbed while it was taken."""

    value: float
    foreign_cores: float


Samples = dict[str, list[Sample]]


def say(text: str) -> None:
    print(f"  {text}", flush=True)


def alternate(
    unit: str, repeats: int, takes: Mapping[str, Callable[[], Sample]]
) -> Samples:
    """Take samples round by round; return the calmest ``repeats`` of each server."""
    taken: Samples = {name: [] for name in takes}

    def calm(name: str) -> int:
        return sum(each.foreign_cores < DISTURBED_CORES for each in taken[name])

    for number in range(2 * repeats):
        for name, take in takes.items():
            if number < repeats or calm(name) < repeats:
                sample = take()
                taken[name].append(sample)
                disturbed = sample.foreign_cores >= DISTURBED_CORES
                say(
                    f"{name:10} {sample.value:10.2f} {unit}"
                    f"{'  (disturbed)' if disturbed else ''}"
                )
    return {
        name: sorted(samples, key=lambda each: each.foreign_cores)[:repeats]
        for name, samples in taken.items()
    }


def result(row: str, title: str, unit: str, goal: Goal, samples: Samples) -> Result:
    return Result(
        row=row,
        title=title,
        unit=unit,
        goal=goal,
        values={name: [each.value for each in took] for name, took in samples.items()},
        foreign_cores=max(
            (each.foreign_cores for took in samples.values() for each in took),
            default=0.0,
        ),
        date=dt.datetime.now(dt.UTC).date().isoformat(),
    )
