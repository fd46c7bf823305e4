"""Limits that are none are refused; buckets fill with time and stay few."""

import pytest

from leadglass.servers.http import limits as limits_module
from leadglass.servers.http.limits import Buckets, HttpLimits
from tests.unit.servers.rig import Clock


@pytest.mark.parametrize("change", [{"requests_max": 0}, {"head_s": -1.0}])
def test_no_limit_can_be_switched_off(change: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="a limit is more than nothing"):
        HttpLimits(**change)


def test_a_request_line_is_part_of_the_head() -> None:
    with pytest.raises(ValueError, match="part of the head"):
        HttpLimits(head_bytes_max=100, url_bytes_max=101)


def test_a_bucket_empties_and_fills_with_time() -> None:
    clock = Clock(0.0)
    buckets = Buckets(per_s=2.0, burst=3.0, clock=clock)
    assert [buckets.take("a") for _ in range(4)] == [True, True, True, False]
    assert buckets.take("b")
    clock.now_s += 0.5
    assert [buckets.take("a") for _ in range(2)] == [True, False]
    clock.now_s += 1_000
    assert buckets.has("a")
    assert [buckets.take("a") for _ in range(4)] == [True, True, True, False]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_module, "ADDRESSES_MAX", 10)
    buckets = Buckets(per_s=1.0, burst=1.0, clock=Clock(0.0))
    for number in range(100):
        buckets.take(number)
    assert len(buckets._levels) == 10
    assert not buckets.take(99)
