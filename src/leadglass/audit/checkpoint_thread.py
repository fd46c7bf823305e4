"""Keeps the checkpoint file up to date behind the transactions."""

import logging
from collections.abc import Callable
from threading import Event, Lock, Thread

from leadglass.audit.checkpoint import parse
from leadglass.audit.checkpoint_file import CheckpointFile
from leadglass.errors import LeadglassError

logger = logging.getLogger(__name__)

# The checkpoint file is synced this often at most; what an administrator could roll
# back unseen is bounded by it (and by how soon the file is copied elsewhere).
CHECKPOINT_INTERVAL_S = 1.0

# How often to look again for a commit that was announced, before taking it that it
# was undone. A commit that waits longer than this for its sync is a dying disk.
_COMMIT_PATIENCE = 30


class CheckpointThread:
    """Brings the checkpoint file up to date, once a second at most.

    The thread begins with the first record and sleeps while nothing is recorded.
    """

    def __init__(
        self, file: CheckpointFile, committed: Callable[[], str | None]
    ) -> None:
        self._file = file
        self._committed = committed
        self._wanted = 0
        self._due = Event()
        self._stopped = Event()
        self._starting = Lock()
        self._thread: Thread | None = None

    def expect(self, size: int) -> None:
        """A transaction that makes the log this long is about to be committed."""
        self._wanted = size
        self._due.set()
        if self._thread is None:
            with self._starting:
                if self._thread is None and not self._stopped.is_set():
                    self._thread = Thread(
                        target=self._run, name="audit-checkpoints", daemon=True
                    )
                    self._thread.start()

    def stop(self) -> None:
        """End the thread; the caller writes the last checkpoint."""
        with self._starting:
            self._stopped.set()
        self._due.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        patience = _COMMIT_PATIENCE
        while True:
            self._due.wait()
            if self._stopped.wait(CHECKPOINT_INTERVAL_S):
                return
            self._due.clear()
            wanted = self._wanted
            size = self._write()
            # Told of before it is committed: look again, unless it was undone.
            patience = patience - 1 if size < wanted else _COMMIT_PATIENCE
            if size < wanted and patience > 0:
                self._due.set()

    def _write(self) -> int:
        """Append the committed head; return its size, or 0 if that failed."""
        try:
            note = self._committed()
            if note is None:
                return 0
            self._file.append(note)
            return parse(note).size
        except LeadglassError as error:
            logger.warning("audit checkpoint not written: %s", error)
            return 0
