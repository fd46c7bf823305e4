"""Two clocks: one that can be set, and one that cannot.

A wall clock that somebody turns back makes events seem older than they are. Each
record holds both clocks, so that the turn is seen as their disagreement.
"""

import os
import time
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Protocol

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

# Counts through suspension on Linux; elsewhere the nearest there is.
_SINCE_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """Where the times of records come from."""

    @property
    def boot(self) -> int:
        """Which boot the monotonic clock counts from; 63 bits."""

    def wall_us(self) -> int:
        """Return microseconds since 1970 UTC."""

    def mono_us(self) -> int:
        """Return microseconds since boot."""


def _this_boot() -> int:
    """Return a number for this boot, the same in all processes of the machine.

    Where the system does not tell, it is one per process: clocks are then compared
    within a process only.
    """
    try:
        identity = _BOOT_ID.read_bytes()
    except OSError:
        identity = os.urandom(16)
    return int.from_bytes(sha256(identity).digest()[:8], "big") >> 1


@dataclass(frozen=True, slots=True)
class SystemClock:
    """The machine's own clocks."""

    boot: int = field(default_factory=_this_boot)

    def wall_us(self) -> int:
        """Return microseconds since 1970 UTC."""
        return time.time_ns() // 1000

    def mono_us(self) -> int:
        """Return microseconds since boot, suspension included."""
        return time.clock_gettime_ns(_SINCE_BOOT) // 1000
