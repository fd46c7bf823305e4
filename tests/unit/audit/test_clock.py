"""The machine's own clocks."""

import time

from leadglass.audit.clock import SystemClock


def test_the_clocks_run() -> None:
    clock = SystemClock()
    assert abs(clock.wall_us() / 1e6 - time.time()) < 5
    first = clock.mono_us()
    assert clock.mono_us() >= first > 0
    assert 0 <= clock.boot < 1 << 63
    assert SystemClock().boot == clock.boot
