"""Reviewing while the node serves, in a thread of its own."""

import logging
import threading
from contextlib import suppress
from typing import Final

from leadglass.assurance.review.desk import ReviewDesk
from leadglass.errors import LeadglassError

_LOG = logging.getLogger(__name__)

# How long the end waits for a portion; what is cut off is reviewed again.
_STOP_WAIT_S: Final = 5.0


class Reviewing:
    """The thread."""

    def __init__(self, desk: ReviewDesk, interval_s: float) -> None:
        """Prepare; with an interval of 0 nothing is reviewed."""
        self._desk = desk
        self._interval_s = interval_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="review", daemon=True)

    def start(self) -> None:
        """Begin, after the first interval: a node that starts has other work."""
        if self._interval_s:
            self._thread.start()

    def stop(self) -> None:
        """End, after what is under way."""
        self._stopping.set()
        with suppress(RuntimeError):  # it was never started
            self._thread.join(_STOP_WAIT_S)

    def _run(self) -> None:
        while not self._stopping.wait(self._interval_s):
            self.step()

    def step(self) -> None:
        """Review what is new; what fails is tried again the next time."""
        try:
            self._desk.run_alone(self._stopping.is_set)
        except LeadglassError as error:
            _LOG.warning("the review: %s", error)
        except Exception:  # noqa: BLE001  # a bug of ours must not end it
            _LOG.exception("the review: a mistake of ours")
