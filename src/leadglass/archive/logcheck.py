"""Verifying the audit log in the background, for who waits before a page.

One at a time, whoever asks: it reads the whole log. It goes on when its asker has
gone, and its report stands until the next one begins or the node ends.
"""

import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from threading import Event, Lock, Thread
from typing import Final

from leadglass.access.rights import Right
from leadglass.archive.caller import Caller
from leadglass.archive.trail import Trail
from leadglass.audit.findings import Report
from leadglass.audit.log import Cancelled
from leadglass.errors import LeadglassError

_LOG = logging.getLogger(__name__)

# After every 512 records, so that who stores and looks gets the interpreter.
_PAUSE_S: Final = 0.001


@dataclass(frozen=True, slots=True)
class LogCheck:
    """How far a verification is.

    Attributes:
        by: Who asked for it.
        began_at: When.
        ended_at: None while it runs.
        done: Records read so far.
        total: Of how many.
        report: What was found; None while it runs, or if it failed.
        fault: Why it could not be ended, or not be recorded; empty if it was.
    """

    by: str
    began_at: datetime
    ended_at: datetime | None = None
    done: int = 0
    total: int = 0
    report: Report | None = None
    fault: str = ""

    @property
    def is_running(self) -> bool:
        """Whether it goes on."""
        return self.ended_at is None


class LogChecks:
    """The use case; ``close`` it before the node's parts."""

    def __init__(self, trail: Trail) -> None:
        self._trail = trail
        self._lock = Lock()
        self._stopping = Event()
        self._thread: Thread | None = None
        self._check: LogCheck | None = None

    def start(self, caller: Caller) -> LogCheck:
        """Begin, unless one is running, which is returned then.

        Raises:
            Refused: ``caller`` may not.
        """
        self._trail.parts.require(caller, Right.AUDIT, "audit verify")
        with self._lock:
            if self._check is not None and self._check.is_running:
                return self._check
            self._check = LogCheck(caller.subject.name, datetime.now(UTC))
            self._thread = Thread(
                target=self._run, args=(caller,), name="verifying", daemon=True
            )
            self._thread.start()
            return self._check

    def last(self, caller: Caller) -> LogCheck | None:
        """Return the one that runs, or the last that ran.

        Raises:
            Refused: ``caller`` may not.
        """
        self._trail.parts.require(caller, Right.AUDIT, "audit verify")
        with self._lock:
            return self._check

    def wait(self) -> None:
        """Wait until none runs."""
        thread = self._thread
        if thread is not None:
            thread.join()

    def close(self) -> None:
        """End the one that runs; may be repeated."""
        self._stopping.set()
        self.wait()

    def _run(self, caller: Caller) -> None:
        report, fault = None, ""
        try:
            report = self._trail.verify(caller, progress=self._note)
        except Cancelled:
            fault = "the node was stopped"
        except LeadglassError as error:
            fault = str(error)
        except Exception:  # noqa: BLE001  # who waits must hear that it is over
            _LOG.exception("verifying the audit log failed by a mistake of ours")
            fault = "a mistake of ours; the log of the program says more"
        if report is not None and not report.is_intact:
            _LOG.error("the audit log is not intact: %d findings", len(report.findings))
        self._change(ended_at=datetime.now(UTC), report=report, fault=fault)

    def _note(self, done: int, total: int) -> None:
        if self._stopping.wait(_PAUSE_S):
            raise Cancelled
        self._change(done=done, total=total)

    def _change(self, **values: object) -> None:
        with self._lock:
            if self._check is not None:
                self._check = replace(self._check, **values)  # type: ignore[arg-type]
