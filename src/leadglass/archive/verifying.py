"""Verifying every stored byte in the background, for who waits before a page.

One at a time, whichever process does it: it reads the whole archive, and lets others
go before it. How far it is stands in the table of jobs, what was found on the record.
"""

import logging
from datetime import UTC, datetime
from threading import Event, Lock, Thread
from typing import Final

from leadglass.access.rights import Right
from leadglass.archive.caller import Caller
from leadglass.archive.jobs import Jobs, State, Work
from leadglass.archive.verify import Verified, Verify
from leadglass.errors import LeadglassError, Unavailable

_LOG = logging.getLogger(__name__)

# After every instance, so that who stores and looks gets the interpreter.
_PAUSE_S: Final = 0.001
# How many of the newest jobs are looked at for one that runs.
_LOOKED_AT: Final = 20


class Verifications:
    """The use case; ``close`` it before the node's parts."""

    def __init__(self, verify: Verify, jobs: Jobs) -> None:
        self._verify = verify
        self._jobs = jobs
        self._lock = Lock()
        self._stopping = Event()
        self._thread: Thread | None = None

    @property
    def is_running(self) -> bool:
        """Whether one runs in this process, whether or not it has said so yet."""
        return self._thread is not None and self._thread.is_alive()

    def start(self, caller: Caller) -> bool:
        """Begin, unless one is running; tell whether it was begun.

        Raises:
            Refused: ``caller`` may not.
        """
        self._verify.parts.require(caller, Right.ADMINISTER, "verify")
        now = datetime.now(UTC)
        with self._lock:
            if self.is_running or any(
                each.kind is Work.VERIFY and each.state(now) is State.RUNNING
                for each in self._jobs.lately(_LOOKED_AT)
            ):
                return False
            self._stopping.clear()
            self._thread = Thread(
                target=self._run, args=(caller,), name="verifying bytes", daemon=True
            )
            self._thread.start()
            return True

    def stop(self, caller: Caller) -> None:
        """Have the one that runs here end, after what it has at hand.

        Raises:
            Refused: ``caller`` may not.
        """
        self._verify.parts.require(caller, Right.ADMINISTER, "stop verifying")
        self._stopping.set()

    def wait(self) -> None:
        """Wait until none runs here."""
        thread = self._thread
        if thread is not None:
            thread.join()

    def close(self) -> None:
        """End the one that runs here; may be repeated."""
        self._stopping.set()
        self.wait()

    def _run(self, caller: Caller) -> None:
        try:
            found = self._verify(caller, self._look_up, alone=True)
        except LeadglassError as error:
            _LOG.warning("verifying has ended early: %s", error)
        except Exception:  # noqa: BLE001  # a thread has nobody to raise to
            _LOG.exception("verifying failed by a mistake of ours")
        else:
            if found.damaged:
                _LOG.error("verifying has found damage: %d", found.damaged)

    def _look_up(self, _: Verified) -> None:
        if self._stopping.wait(_PAUSE_S):
            raise Unavailable("it was stopped")
