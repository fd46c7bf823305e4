"""Taking our own record in while the node serves, in a thread of its own.

Whoever asks gets new records in first, so this only keeps that short. It rests as long
as it worked: on a busy node it has half of what one core leaves, and no more.
"""

import logging
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from leadglass.assurance.trails.store import Facts
from leadglass.audit.log import AuditLog
from leadglass.errors import LeadglassError

_LOG = logging.getLogger(__name__)

# How often new records are looked for; a rule has to fire within two seconds.
LOOK_INTERVAL_S: Final = 1.0
# Records of one step: half a second at most.
STEP_MAX: Final = 2_000
# After what should not have happened, and how long the end waits for a step.
_PAUSE_S: Final = 30.0
_STOP_WAIT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Taker:
    """Takes steps.

    Attributes:
        facts: Where to.
        log: Where from.
    """

    facts: Facts
    log: AuditLog

    def step(self) -> float:
        """Take new records in; return in how many seconds to come again."""
        began = time.monotonic()
        taken = self.facts.take_own(self.log, STEP_MAX)
        if taken < STEP_MAX:
            return LOOK_INTERVAL_S
        return min(time.monotonic() - began, LOOK_INTERVAL_S)


class Taking:
    """The thread."""

    def __init__(self, taker: Taker) -> None:
        self._taker = taker
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="facts", daemon=True)

    def start(self) -> None:
        """Begin, at once."""
        self._thread.start()

    def stop(self) -> None:
        """End, after the step that is under way."""
        self._stopping.set()
        with suppress(RuntimeError):  # it was never started
            self._thread.join(_STOP_WAIT_S)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._stopping.wait(self._stepped())

    def _stepped(self) -> float:
        try:
            return self._taker.step()
        except LeadglassError as error:
            _LOG.warning("facts of the record: %s", error)
        except Exception:  # noqa: BLE001  # a bug of ours must not end it
            _LOG.exception("facts of the record: a mistake of ours")
        return _PAUSE_S
