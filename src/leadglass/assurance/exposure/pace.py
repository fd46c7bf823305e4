"""Not faster than a device can bear: connections per second and host."""

import threading
import time
from collections.abc import Callable


class Pace:
    """Lets so many go per second; each who asks waits for its turn.

    Args:
        per_s: Turns per second.
        clock: Seconds that only grow.
        wait: Waits so many seconds.
    """

    def __init__(
        self,
        per_s: float,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._step_s = 1.0 / per_s
        self._clock, self._wait = clock, wait
        self._lock = threading.Lock()
        self._next = clock()
        self.count = 0

    def turn(self) -> None:
        """Return when the next connection may be made."""
        with self._lock:
            now = self._clock()
            due = max(self._next, now)
            self._next = due + self._step_s
            self.count += 1
        if due > now:
            self._wait(due - now)
