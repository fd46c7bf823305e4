"""How many requests may do something at once."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """So many at a time; one more waits, but not for ever."""

    def __init__(self, count: int, wait_s: float) -> None:
        """Let ``count`` at a time; one more waits ``wait_s``."""
        self._free = threading.Semaphore(count)
        self._wait_s = wait_s

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn, and have it.

        Raises:
            TimeoutError: There was none in time.
        """
        if not self._free.acquire(timeout=self._wait_s):
            raise TimeoutError
        try:
            yield
        finally:
            self._free.release()
