"""Goals are judged by medians, and a missing server is not a met goal."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.report import table
from bench.results import ORTHANC, OURS, Goal, Result, load, merge, save

FASTER = Goal("≥ 2 × Orthanc", is_minimum=True, bound=2, reference=ORTHANC)
CHEAPER = Goal("≤ 0.5 × Orthanc", is_minimum=False, bound=0.5, reference=ORTHANC)
SMALL = Goal("≤ 64 MB", is_minimum=False, bound=64, reference=None)


def measured(goal: Goal, ours: list[float], orthanc: list[float]) -> Result:
    values = {OURS: ours, ORTHANC: orthanc}
    return Result("row", "a title", "ms", goal, values, 0.1, "2026-01-01")


@pytest.mark.parametrize(
    ("goal", "ours", "orthanc", "is_met"),
    [
        (FASTER, [20.0, 21.0, 1.0], [10.0], True),
        (FASTER, [19.0], [10.0], False),
        (CHEAPER, [5.0], [10.0], True),
        (CHEAPER, [6.0], [10.0], False),
        (SMALL, [64.0], [700.0], True),
        (SMALL, [65.0], [], False),
        (SMALL, [], [10.0], None),
        (FASTER, [], [10.0], None),
        (FASTER, [20.0], [], None),
    ],
)
def test_a_goal_is_judged(
    goal: Goal, ours: list[float], orthanc: list[float], *, is_met: bool | None
) -> None:
    assert measured(goal, ours, orthanc).is_met is is_met


def test_results_outlive_the_run(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    assert load(path) == []
    results = [measured(FASTER, [20.0], [10.0])]
    save(path, results)
    assert load(path) == results


def test_a_row_measured_again_replaces_all_its_lines() -> None:
    old = [measured(FASTER, [1.0], [1.0]), measured(SMALL, [1.0], [1.0])]
    other = replace(old[0], row="other")
    new = [measured(CHEAPER, [2.0], [2.0])]
    assert merge([*old, other], new) == [other, *new]


def test_the_table_tells_what_was_missed_and_what_was_not_measured() -> None:
    lines = table(
        [
            measured(FASTER, [30.0], [10.0]),
            measured(FASTER, [1.0], [10.0]),
            measured(FASTER, [], [10.0]),
        ]
    ).splitlines()
    assert lines[0].endswith("| 3.00 × | met |")
    assert lines[1].endswith("| **missed** |")
    assert lines[2].endswith("| – | not measured |")
