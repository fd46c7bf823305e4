"""Not faster than a device can bear."""

import pytest

from leadglass.assurance.exposure.options import (
    RATE_MAX_PER_S,
    RATE_PER_S,
    Options,
)
from leadglass.assurance.exposure.pace import Pace
from leadglass.assurance.exposure.reach import Reach
from leadglass.errors import BadData


def test_turns_are_so_far_apart() -> None:
    now, waited = [100.0], []

    def wait(seconds: float) -> None:
        waited.append(round(seconds, 3))
        now[0] += seconds

    pace = Pace(2.0, lambda: now[0], wait)
    for _ in range(4):
        pace.turn()
    assert waited == [0.5, 0.5, 0.5]
    now[0] += 60  # no turns are saved up while nobody asks
    pace.turn()
    pace.turn()
    assert waited == [0.5] * 4
    assert pace.count == 6


def test_devices_get_two_connections_a_second() -> None:
    assert Options().rate(Reach.PRIVATE) == RATE_PER_S == 2.0
    assert Options().rate(Reach.INTERNET) == RATE_PER_S
    assert Options(rate_per_s=10).rate(Reach.PRIVATE) == 10


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate_per_s": 0},
        {"rate_per_s": RATE_MAX_PER_S + 1},
        {"timeout_s": 0},
        {"ports": ()},
        {"ports": (0,)},
        {"ports": tuple(range(1, 300))},
        {"idle_s": 1000},
    ],
)
def test_a_scan_is_no_load_test(wrong: dict[str, float]) -> None:
    with pytest.raises(BadData):
        Options(**wrong)  # type: ignore[arg-type]
