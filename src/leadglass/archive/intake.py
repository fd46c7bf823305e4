"""Entering what has arrived into index and audit log, many at a time.

A blob that is durable, with its receipt, is all that success needs: rows and event
follow from it and nothing else. So the sender is told at once, and a thread enters
what was told within a tenth of a second, in one transaction for all of it; see
ADR 15. Nobody in this process sees the difference: who reads the database waits for
what was accepted before.

The crash story, after the blob is durable:

- the process dies before the transaction: the next start finds the blob unsettled,
  reads it and its receipt, and enters it then (``recovery``)
- the transaction is durable, the blob is not settled: the next start settles it
- the database cannot be written: nothing more is accepted until it can, and what was
  accepted is entered then, or at the next start
- one instance cannot be entered, by a mistake of ours: it does not keep the others
  from it. Its blob stays, that it is held is recorded, and each start tries again

What must be decided before the sender is told is not left to the thread: an instance
whose UID is known already, or is just arriving, goes the slow way (``Arrival``).
Another process may enter the same UID in that tenth of a second; then the bytes that
come second are kept aside and recorded as all such are, and nothing is lost.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

from sqlalchemy import bindparam, exists, select

from leadglass.archive.condemned import KeyGone, check_key
from leadglass.archive.receipts import Receipt
from leadglass.archive.tables import condemned_key
from leadglass.audit.builders import Actor, Events, Result, Service, Study
from leadglass.audit.codes import Outcome
from leadglass.audit.events import SOPClass
from leadglass.audit.log import AuditLog
from leadglass.database.engine import Database, Transaction
from leadglass.database.prepared import Prepared
from leadglass.errors import Damaged, LeadglassError, NotFound, Unavailable
from leadglass.index.index import Index
from leadglass.index.records import Added, InstanceRecord, Kind
from leadglass.index.tables import instance
from leadglass.vault.blobs import BlobName
from leadglass.vault.keys import KeyId, Keyring
from leadglass.vault.sealed import SealedBlobs

_LOG = logging.getLogger(__name__)

# How long an instance may wait for others to share its transaction: unnoticeable for
# another process that searches, long enough for a scanner to send a dozen.
_LINGER_S: Final = 0.1
# More would make others wait for the processor longer than a transaction takes.
_TOGETHER_MAX: Final = 64
# Accepted and not entered: some megabytes of headers. Whoever brings more waits.
_WAITING_MAX: Final = 512
# What is asked of the database before an instance is accepted.
_STANDING: Final = Prepared(
    select(
        exists().where(instance.c.sop_instance_uid == bindparam("uid")),
        exists().where(condemned_key.c.key_id == bindparam("key")),
    )
)
# How long until a database that failed is tried again.
_RETRY_S: Final = 1.0
# How long ``close`` waits for a database that fails: the next start does the rest.
_CLOSE_S: Final = 30.0


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One instance whose blob is durable.

    Attributes:
        record: What the index must know of it.
        study: What the audit record says of it.
        receipt: From whom it came.
        release: Called once its fate is decided, with whether its blob is kept.
    """

    record: InstanceRecord
    study: Study
    receipt: Receipt
    release: Callable[[bool], None] = lambda _is_kept: None


@dataclass(frozen=True, slots=True)
class Entered:
    """What became of an entry; ``is_kept``: its blob is needed."""

    added: Added
    is_kept: bool


@dataclass(slots=True)
class _Progress:
    """What the threads share; all under ``lock``."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    waiting: deque[Entry] = field(default_factory=deque)
    uids: set[str] = field(default_factory=set)  # arriving or waiting
    oldest_at: float = 0.0
    accepted: int = 0
    entered: int = 0
    wanted: int = 0  # enter up to here without lingering
    arriving: int = 0
    is_held: bool = False
    is_closed: bool = False
    failure: LeadglassError | None = None
    failures: int = 0
    readers_are_warned: bool = False  # of this failure


class Intake:
    """Accepts what is durable, and enters it."""

    def __init__(  # noqa: PLR0913  # collaborators, each named
        self,
        *,
        database: Database,
        index: Index,
        audit: AuditLog,
        events: Events,
        blobs: SealedBlobs,
        keyring: Keyring,
    ) -> None:
        self._database = database
        self._index = index
        self._audit = audit
        self._events = events
        self._blobs = blobs
        self._keyring = keyring
        self._state = state = _Progress()
        self._work = threading.Condition(state.lock)  # for the thread that enters
        self._progress = threading.Condition(state.lock)  # for those who wait for it
        self._thread: threading.Thread | None = None
        self._on_entered: Callable[[Sequence[InstanceRecord]], None] | None = None
        database.before_reading(self._catch_up_if_possible)

    def on_entered(self, hear: Callable[[Sequence[InstanceRecord]], None]) -> None:
        """Have ``hear`` called with what was entered; it must not wait."""
        self._on_entered = hear

    # --- accepting ----------------------------------------------------------------

    def check(self) -> None:
        """Refuse before the first byte what could not be entered.

        While the database fails, each who asks has it tried again.

        Raises:
            Unavailable: What was accepted before cannot be entered now.
        """
        state = self._state
        if state.failure is None:
            return
        with state.lock:
            before = state.failures
            while state.failure and state.failures == before and not state.is_closed:
                self._work.notify()
                self._progress.wait()
            self._check_working()

    def _check_working(self) -> None:
        failure = self._state.failure
        if failure is not None:
            raise Unavailable("what was stored cannot be recorded now") from failure

    def accept(self, entry: Entry, commit: Callable[[], None]) -> bool:
        """Make an instance durable by ``commit``; from then on it will be entered.

        Returns:
            Whether it was accepted; if not, nothing was done: its UID is known, and
            what becomes of it must be decided before the sender is told.

        Raises:
            KeyGone: Its study was erased meanwhile.
            Unavailable: It is not durable, or could not be entered.
        """
        uid, state = entry.record.instance_uid, self._state
        with state.lock:
            while state.is_held or len(state.waiting) >= _WAITING_MAX:
                self._check_open()
                self._progress.wait()
            self._check_open()
            if uid in state.uids:
                return False
            state.uids.add(uid)
            state.arriving += 1
        is_accepted = False
        try:
            if not self._is_new(uid, entry.record.key_id):
                return False
            commit()
            is_accepted = True
        finally:
            with state.lock:
                state.arriving -= 1
                if is_accepted:
                    self._append(entry)
                else:
                    state.uids.discard(uid)
                if state.is_held or not is_accepted:
                    self._progress.notify_all()
        return True

    def _check_open(self) -> None:
        if self._state.is_closed:
            raise Unavailable("the archive is being closed")
        self._check_working()

    def _is_new(self, instance_uid: str, key_id: str) -> bool:
        """Tell whether the UID is not known; refuse what an erasure makes unreadable.

        Raises:
            KeyGone: That was begun, and maybe ended, since the instance began to come.
        """
        ((is_known, is_condemned),) = self._database.glance(
            _STANDING, {"uid": instance_uid, "key": key_id}
        )
        if is_known:
            return False
        self._keyring.reload_if_changed()
        try:
            self._keyring.study_key(KeyId(key_id))
        except NotFound:
            raise KeyGone from None
        if is_condemned:
            raise KeyGone
        return True

    def _append(self, entry: Entry) -> None:
        """Hand an entry to the thread; holds the lock."""
        state = self._state
        state.waiting.append(entry)
        state.accepted += 1
        if len(state.waiting) == 1:
            state.oldest_at = time.monotonic()
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name="intake", daemon=True
            )
            self._thread.start()
        if len(state.waiting) in {1, _TOGETHER_MAX}:
            self._work.notify()

    # --- waiting for it -----------------------------------------------------------

    def catch_up(self) -> None:
        """Return when all that was accepted before this call is entered.

        Raises:
            Unavailable: It cannot be entered now.
        """
        state = self._state
        if state.entered == state.accepted or self._is_the_thread():
            return
        with state.lock:
            target = state.accepted
            while state.entered < target:
                self._check_working()
                state.wanted = max(state.wanted, target)
                self._work.notify()
                self._progress.wait()

    def catch_up_on(self, instance_uid: str) -> None:
        """Return when no instance of this UID is arriving or waits to be entered.

        Raises:
            Unavailable: It cannot be entered now.
        """
        state = self._state
        with state.lock:
            while instance_uid in state.uids:
                self._check_working()
                state.wanted = state.accepted
                self._work.notify()
                self._progress.wait()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let nothing be accepted meanwhile, and have everything entered before.

        Raises:
            Unavailable: What was accepted cannot be entered now.
        """
        state = self._state
        with state.lock:
            while state.is_held:
                self._progress.wait()
            state.is_held = True
            while state.arriving:
                self._progress.wait()
        try:
            self.catch_up()
            yield
        finally:
            with state.lock:
                state.is_held = False
                self._progress.notify_all()

    def close(self) -> None:
        """Enter what waits, and stop; what cannot be entered the next start finds."""
        state = self._state
        with state.lock:
            state.is_closed = True
            self._work.notify_all()
            self._progress.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(_CLOSE_S)

    def _catch_up_if_possible(self) -> None:
        """Before somebody reads: see what was accepted, unless it cannot be had."""
        try:
            self.catch_up()
        except Unavailable:
            with self._state.lock:
                is_warned = self._state.readers_are_warned
                self._state.readers_are_warned = True
            if not is_warned:
                _LOG.warning("readers do not see what was stored last")

    def _is_the_thread(self) -> bool:
        return threading.current_thread() is self._thread

    # --- entering -----------------------------------------------------------------

    def enter(
        self, tx: Transaction, entries: Sequence[Entry], *, are_told: bool
    ) -> list[Entered]:
        """Index and record, in one transaction; may be run again from nothing.

        Args:
            tx: The transaction.
            entries: What has arrived.
            are_told: Their senders have been told that they are stored. If the
                study was erased since, both is recorded; else it is refused.

        Raises:
            KeyGone: The study was erased meanwhile, and the sender can be told.
        """
        told = _Told()
        entered = []
        for entry in entries:
            try:
                check_key(tx, self._keyring, entry.record.key_id)
            except KeyGone:
                if not are_told:
                    raise
                told.add(entry, is_new=True)
                told.erased[entry.record.study_uid] = entry
                entered.append(Entered(Added(Kind.NEW), is_kept=False))
                continue
            added = self._index.add(tx, entry.record)
            if added.kind is Kind.OTHER:
                entered.append(self._set_aside(tx, entry, added))
                continue
            standing = added.existing
            if standing is not None and standing.blob == entry.record.blob:
                # A transaction that was durable and said that it failed.
                entered.append(Entered(Added(Kind.NEW), is_kept=True))
                continue
            told.add(entry, is_new=added.kind is Kind.NEW)
            entered.append(Entered(added, is_kept=added.kind is Kind.NEW))
        told.record(tx, self._audit, self._events)
        return entered

    def _set_aside(self, tx: Transaction, entry: Entry, added: Added) -> Entered:
        """Keep other bytes under a known UID, apart from what stands there."""
        record = entry.record
        assert added.existing is not None  # that is what makes it OTHER
        kept = self._index.quarantine(tx, record, added.existing)
        event = self._events.quarantined(
            entry.receipt.actor,
            entry.study,
            {
                "service": entry.receipt.service,
                "sha256": record.digest.hex(),
                "existing_sha256": added.existing.digest.hex(),
            },
        )
        self._audit.append(tx, event)
        return Entered(added, is_kept=kept.blob == record.blob)

    def tidy(self, name: BlobName, *, is_kept: bool) -> None:
        """Settle the blob, or remove it; what fails here the next start does."""
        try:
            if is_kept:
                self._blobs.settle(name)
            else:
                self._blobs.delete(name)
        except NotFound:
            pass  # the study was erased the moment it was stored
        except Unavailable as error:
            # The rows stand and are recorded: no other answer would be true.
            _LOG.warning("a blob is left for the next start: %s", error)

    def _run(self) -> None:
        """Enter what waits, until the end; the thread."""
        while entries := self._next():
            try:
                self._enter(entries)
            except LeadglassError as error:
                _LOG.error("what was stored cannot be entered: %s", error)
                if self._stand_still(error):
                    return
            except BaseException:  # noqa: BLE001  # nobody else would notice
                _LOG.exception("entering failed by a mistake of ours")
                if self._stand_still(Unavailable("internal error")):
                    return

    def _next(self) -> list[Entry]:
        """Wait for entries to enter together; none: it is the end."""
        state = self._state
        with state.lock:
            while not state.waiting:
                if state.is_closed:
                    return []
                self._work.wait()
            until = state.oldest_at + _LINGER_S
            while (
                len(state.waiting) < _TOGETHER_MAX
                and state.wanted <= state.entered
                and not state.is_closed
                and (left_s := until - time.monotonic()) > 0
            ):
                self._work.wait(left_s)
            count = min(len(state.waiting), _TOGETHER_MAX)
            return [state.waiting[number] for number in range(count)]

    def _enter(self, entries: list[Entry]) -> None:
        """Enter these, and say so; one that cannot be is left for the next start."""
        try:
            entered = self._database.write(
                lambda tx: self.enter(tx, entries, are_told=True)
            )
        except (Unavailable, Damaged):
            raise
        except Exception:  # noqa: BLE001  # an instance must not stop the others
            if len(entries) > 1:  # whose fault it is shows alone
                for entry in entries:
                    self._enter([entry])
                return
            _LOG.exception("an instance cannot be entered; its blob is kept")
            self._hold(entries[0])
            self._pop(1)
            return
        for entry, each in zip(entries, entered, strict=True):
            entry.release(each.is_kept)
            self.tidy(BlobName(entry.record.blob), is_kept=each.is_kept)
        self._pop(len(entries))
        if self._on_entered is not None:
            self._on_entered([entry.record for entry in entries])

    def _hold(self, entry: Entry) -> None:
        """Record that an instance is kept and cannot be found.

        Raises:
            Unavailable: That cannot be recorded now: try again with all of it.
        """
        receipt = entry.receipt
        result = Result(
            Outcome.SERIOUS_FAILURE, "stored, but held: it cannot be entered"
        )
        events = self._events.stored(
            receipt.actor, (entry.study,), result, service=receipt.service
        )

        def record(tx: Transaction) -> None:
            for event in events:
                self._audit.append(tx, event)

        self._database.write(record)

    def _pop(self, count: int) -> None:
        state = self._state
        with state.lock:
            for _ in range(count):
                state.uids.discard(state.waiting.popleft().record.instance_uid)
            state.oldest_at = time.monotonic()
            state.entered += count
            state.failure = None
            state.readers_are_warned = False
            self._progress.notify_all()

    def _stand_still(self, failure: LeadglassError) -> bool:
        """Accept nothing for a while; tell whether this was the last attempt."""
        state = self._state
        with state.lock:
            state.failure = failure
            state.failures += 1
            self._progress.notify_all()
            if state.is_closed:
                return True
            self._work.wait(_RETRY_S)
            return False


class _Told:
    """What one transaction records of instances that came: one event for many."""

    def __init__(self) -> None:
        self._studies: dict[
            tuple[Actor, Service, bool], dict[Study, dict[str, list[str]]]
        ] = {}
        self.erased: dict[str, Entry] = {}

    def add(self, entry: Entry, *, is_new: bool) -> None:
        """Take up one instance."""
        receipt = entry.receipt
        studies = self._studies.setdefault((receipt.actor, receipt.service, is_new), {})
        classes = studies.setdefault(replace(entry.study, sop_classes=()), {})
        record = entry.record
        classes.setdefault(record.sop_class_uid, []).append(record.instance_uid)

    def record(self, tx: Transaction, audit: AuditLog, events: Events) -> None:
        """Append the events."""
        for (actor, service, is_new), studies in self._studies.items():
            told = tuple(
                replace(
                    study,
                    sop_classes=tuple(
                        SOPClass(uid, len(instances), tuple(instances))
                        for uid, instances in classes.items()
                    ),
                )
                for study, classes in studies.items()
            )
            for event in events.stored(actor, told, is_new=is_new, service=service):
                audit.append(tx, event)
        for entry in self.erased.values():
            audit.append(
                tx,
                events.study_erased(
                    entry.receipt.actor,
                    entry.study,
                    "erased in the moment it was stored: its study was being erased",
                ),
            )
