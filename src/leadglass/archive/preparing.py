"""Preparing the metadata of a series once it has arrived, before anybody asks for it.

The first question for it would else read every file: two seconds for a thousand
slices. It is done when nothing has arrived for a moment, one instance at a time, and
stops when something comes: receiving goes before. What has arrived is read from the
index, so that what another process imported is prepared, too. What a stop of the node
leaves undone is done by the first question, as without this.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from leadglass.archive.caller import Caller
from leadglass.archive.fetch import Retrieval
from leadglass.archive.metadata import Metadata
from leadglass.archive.parts import Parts
from leadglass.audit.builders import Service
from leadglass.errors import LeadglassError
from leadglass.index import prepared
from leadglass.index.records import InstanceLocation, InstanceRecord

_LOG = logging.getLogger(__name__)

# How long nothing may have arrived.
QUIET_S: Final = 1.0
# Series that wait at least before no more are looked for, and instances of one look:
# some 2 MB, and some milliseconds.
_SERIES_MAX: Final = 10_000
_INSTANCES_MAX: Final = 10_000
# Kept together, in one transaction.
_BATCH: Final = 50
# Other threads get the interpreter between two instances.
_PAUSE_S: Final = 0.001


class Preparer:
    """Works in a thread of its own, from ``start`` to ``close``."""

    def __init__(
        self,
        parts: Parts,
        caller: Caller,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; ``caller`` stands on the record if a file turns out damaged."""
        self._parts = parts
        self._caller = caller
        self._clock = clock
        self._lock = threading.Lock()
        self._series: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._seen: int | None = None
        self._arrived_s = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="preparing", daemon=True)
        parts.intake.on_entered(self.note)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End, after the instance at hand; may be repeated."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def note(self, _: Sequence[InstanceRecord]) -> None:
        """Hear that something has been entered; must not wait."""
        with self._lock:
            self._arrived_s = self._clock()

    def _run(self) -> None:
        while not self._stopping.wait(QUIET_S / 2):
            try:
                self.work()
            except LeadglassError as error:
                _LOG.warning("metadata could not be prepared: %s", error)
            except Exception:  # noqa: BLE001  # the first question finds it out, too
                _LOG.exception("preparing failed by a mistake of ours")

    def work(self) -> None:
        """Prepare what has arrived, as long as nothing arrives.

        Raises:
            LeadglassError: Of a series that cannot be: it is left to who asks.
        """
        while self._is_quiet():
            self._look()
            if not self._series:
                return
            key, _ = self._series.popitem()
            if not self._prepare(*key):
                self._series[key] = None
                return

    def _look(self) -> None:
        """Take up the series that got instances since the last look, a share at a time.

        A node that has just started goes on behind the newest that is prepared.
        """
        with self._parts.database.read() as connection:
            newest = prepared.newest(connection)
            if self._seen is None:
                self._seen = prepared.newest_prepared(connection)
            # Numbers of what was erased are given again.
            self._seen = min(self._seen, newest)
            while self._seen < newest and len(self._series) < _SERIES_MAX:
                until = self._seen + _INSTANCES_MAX
                for key in prepared.between(connection, self._seen, until):
                    self._series[key] = None
                    self._series.move_to_end(key)
                self._seen = min(until, newest)

    def _is_quiet(self) -> bool:
        with self._lock:
            quiet_s = self._clock() - self._arrived_s
        return quiet_s >= QUIET_S and not self._stopping.is_set()

    def _prepare(self, study_uid: str, series_uid: str) -> bool:
        """Prepare a series; tell whether it is done."""
        parts = self._parts
        with parts.database.read() as connection:
            left = prepared.missing(connection, study_uid, series_uid)
        metadata = Metadata(parts)
        retrieval = Retrieval(
            parts, self._caller, Service.WADO_RS, None, None, tuple(left), {}
        )
        made: list[tuple[InstanceLocation, bytes]] = []
        try:
            for location in left:
                if not self._is_quiet():
                    return False
                body = metadata.made(retrieval, location)
                if body is not None:
                    made.append((location, body))
                if len(made) == _BATCH:
                    metadata.keep(made)
                    made = []
                self._stopping.wait(_PAUSE_S)
        finally:
            metadata.keep(made)
        return True
