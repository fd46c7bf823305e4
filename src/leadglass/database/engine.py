"""Transactions on one encrypted SQLite file (SQLCipher), for threads and processes.

Readers see a snapshot and block nobody. Writers share commits: the thread that
finds nobody writing leads; those that come while it works queue up, and the next
leader takes all of them into one transaction and one sync of the write-ahead log.

The crash story: ``write`` returns after the log is synced, so what it returned is
there after ``kill -9`` or a power cut; what it did not return is there whole or
not at all.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from threading import Condition, Lock, get_ident
from typing import Any, Generic, TypeVar
from weakref import ReferenceType, ref

import sqlcipher3.dbapi2 as driver
from sqlalchemy import Connection, Engine, QueuePool, create_engine, event, exc

from leadglass.database.prepared import Prepared
from leadglass.errors import Damaged, Misconfigured, Unavailable

T = TypeVar("T")

KEY_BYTES = 32  # AES-256

# Works in one transaction. More would make the first of them wait longer for its
# sync than the sync itself takes, and a failure repeat more work.
WORKS_PER_COMMIT_MAX = 64

# Callers that wait to write. Each is a thread that waits, so this bounds threads
# that can pile up behind a stalled disk; the next caller is told to come back.
WORKS_WAITING_MAX = 1024

# Snapshots open at once; associations are bounded below this, so it is met only by
# a leak, and then a caller waits this long before it is told to come back.
READERS_KEPT = 8
READERS_MAX = 64
READER_WAIT_S = 30.0

# How long to wait for another process's transaction, and how often to look.
# SQLite's own back-off grows to 100 ms, so one busy process would starve another;
# at 1 ms a waiter meets the gap between two commits soon.
LOCK_WAIT_S = 30.0
LOCK_POLL_S = 0.001

# Pages in the write-ahead log before it is copied back (16 MB): hot pages are then
# copied once for hundreds of commits. The file shrinks to this size again.
CHECKPOINT_PAGES = 4_000
PAGE_BYTES = 4_096

# Page cache of each connection, in KiB.
CACHE_KIB = 16_384

# Stands for a leader that is chosen and has not woken yet; no thread has this number.
_HANDED_ON = -1

# SQLite's primary result codes (sqlite.org/rescode.html) that are no bug of ours.
_DAMAGE = {11: "its pages are malformed", 26: "its pages do not decrypt"}
_PASSING = {
    5: "another process keeps it locked",
    6: "another process keeps it locked",
    7: "out of memory",
    8: "the file or its folder is read-only",
    9: "interrupted",
    10: "the disk gave an error",
    13: "the disk is full",
    14: "the file cannot be opened",
    15: "another process keeps it locked",
}


def _translated(error: BaseException) -> BaseException:
    """Return our error for one of the driver's; anything else as it is."""
    if isinstance(error, exc.TimeoutError):
        return Unavailable("database: too many readers at once")
    cause = error.orig if isinstance(error, exc.DBAPIError) else error
    if not isinstance(cause, driver.Error):
        return error
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    if code in _DAMAGE:
        return Damaged(f"database: {_DAMAGE[code]}")
    if code in _PASSING:
        return Unavailable(f"database: {_PASSING[code]}")
    return error


class Transaction:
    """One write transaction, possibly shared by several works.

    Attributes:
        connection: Executes statements; never commit or roll back on it.
        memo: What works of this transaction have learnt (row ids, heads), so that
            the next need not ask again. It lives and dies with the transaction.
    """

    __slots__ = ("_hooks", "connection", "memo")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.memo: dict[Hashable, Any] = {}
        self._hooks: dict[Hashable, Callable[[Transaction], None]] = {}

    def before_commit(
        self, key: Hashable, hook: Callable[["Transaction"], None]
    ) -> None:
        """Have ``hook`` called once, after the last work and before the commit.

        The first hook of a ``key`` stands; hooks run in the order they came, and
        may add others. A hook that raises undoes the transaction.
        """
        self._hooks.setdefault(key, hook)

    def run_hooks(self) -> None:
        """Run the hooks; ``Database`` calls this."""
        while self._hooks:
            self._hooks.pop(next(iter(self._hooks)))(self)


@dataclass(slots=True, eq=False)
class _Job(Generic[T]):
    """A work that waits for its commit, and what became of it."""

    work: Callable[[Transaction], T]
    is_done: bool = False
    result: T | None = None
    error: BaseException | None = None
    bell: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        self.bell.acquire()

    def finish(self, error: BaseException | None = None) -> None:
        self.error = error
        self.is_done = True

    def outcome(self) -> T:
        if self.error is not None:
            raise self.error
        return self.result  # type: ignore[return-value]  # T may include None


class Database:
    """The database of one node; as many threads and processes as like may use it."""

    def __init__(self, path: Path, key: bytes) -> None:
        """Prepare; ``open`` is the way to make one."""
        self._path = path
        self._key = key
        self._writers = _engine(path, key, is_writer=True)
        self._readers = _engine(path, key, is_writer=False)
        self._queue: deque[_Job[Any]] = deque()
        self._leader: int | None = None  # the thread that commits
        self._is_closed = False
        self._mutex = Lock()
        self._idle = Condition(self._mutex)
        self._writer: Connection | None = None  # the leader's, kept between commits
        self._watcher: Connection | None = None
        self._watching = Lock()
        self._glancers: deque[Connection] = deque()
        self._before_reading: list[Callable[[], None]] = []

    @classmethod
    def open(cls, path: Path, key: bytes, *, create: bool = False) -> "Database":
        """Open the database, or make an empty one if there is none and ``create``.

        Raises:
            Misconfigured: There is no such file, or the key has another length.
            Damaged: The file does not open with this key.
            Unavailable: The disk or another process does not let us.
        """
        if len(key) != KEY_BYTES:
            raise Misconfigured(f"database key: must be {KEY_BYTES} bytes")
        if create:
            _create(path)
        elif not path.exists():
            raise Misconfigured(
                "database: the file is missing; restore it, or rebuild the index"
            )
        database = cls(path, key)
        try:
            database._prepare()
        except BaseException:
            database.close()
            raise
        return database

    @property
    def opened_by(self) -> tuple[Path, bytes]:
        """Return file and **key**, for another process of ours and nobody else."""
        return self._path, self._key

    def _prepare(self) -> None:
        """Prove the key on the first page, and begin to watch for changes."""
        with _translating():
            try:
                with self._writers.connect() as connection, connection.begin():
                    connection.exec_driver_sql("SELECT count(*) FROM sqlite_master")
            except exc.DBAPIError as error:
                if isinstance(_translated(error), Damaged):
                    raise Damaged(
                        "database: it does not open with this key; the key belongs "
                        "to another data folder, or the file is damaged"
                    ) from None
                raise
            self._watcher = self._readers.connect()
            self._watcher.detach()  # it stays with us, outside the pool

    def before_reading(self, hook: Callable[[], None]) -> None:
        """Have ``hook`` called before each snapshot is taken, in its reader's thread.

        For writers that owe something which readers of this process must see.
        """
        self._before_reading.append(hook)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection on one snapshot, for statements that only read.

        Raises:
            Unavailable: The database cannot answer now.
            Damaged: A page does not verify.
        """
        for hook in self._before_reading:
            hook()
        with _translating(), self._readers.connect() as connection, connection.begin():
            try:
                yield connection
            finally:
                _close_cursors(connection)

    def glance(
        self, statement: Prepared, values: Mapping[str, Any]
    ) -> list[tuple[Any, ...]]:
        """Return the few rows of one statement, from what is committed now.

        For questions that each arriving instance asks: no transaction, no hook, a
        fifth of the time of ``read``.

        Raises:
            Unavailable: The database cannot answer now.
            Damaged: A page does not verify.
        """
        with _translating():
            try:
                connection = self._glancers.pop()
            except IndexError:
                connection = self._readers.connect()
                connection.detach()  # it stays with us, outside the pool
            try:
                rows = statement.execute(connection, values).fetchall()
            except BaseException:
                connection.close()
                raise
            if self._is_closed or len(self._glancers) >= READERS_KEPT:
                connection.close()
            else:
                self._glancers.append(connection)
            return [tuple(row) for row in rows]

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Run ``work`` in a write transaction; its result is durable on return.

        ``work`` may be run more than once, each time from nothing: when it, or a
        work that shared its transaction, failed. What it does outside the
        transaction must therefore be repeatable, and it must not call ``write``.

        Raises:
            Unavailable: Disk full, I/O error, too many waiting; nothing was kept.
            Damaged: A page does not verify; nothing was kept.
            Exception: What ``work`` raised, alone in its transaction.
        """
        job = _Job(work)
        with self._mutex:
            if self._is_closed:
                raise Unavailable("database: closed")
            if len(self._queue) >= WORKS_WAITING_MAX:
                raise Unavailable("database: too many waiting to write")
            if self._leader == get_ident():
                raise RuntimeError("a work must not call write: it would wait for ever")
            self._queue.append(job)
            leads = self._leader is None
            if leads:
                self._leader = get_ident()
        if not leads:
            self._wait(job)
        if not job.is_done:
            self._lead()
        return job.outcome()

    def version(self) -> int:
        """Return a number that changes when anybody commits; costs no I/O.

        Numbers compare only within this ``Database``.

        Raises:
            Unavailable: The database cannot answer now.
        """
        with self._watching, _translating():
            if self._watcher is None:
                raise Unavailable("database: closed")
            # Past SQLAlchemy: each request asks, and there is no transaction to it.
            cursor = self._watcher.connection.cursor()
            row = cursor.execute("PRAGMA data_version").fetchone()
            cursor.close()  # while it is ours
            return int(row[0])

    def verify(self) -> None:
        """Check the seal of every page and the order within; reads the whole file.

        The log is copied back first: the check reads the file alone, where a page
        that a power cut left half copied is no damage, as the log has it whole.

        Raises:
            Damaged: A page does not verify, or indices and tables disagree.
            Unavailable: The database cannot answer now.
        """
        with _translating(), self._readers.connect() as connection:
            # Past SQLAlchemy, which would begin a transaction that forbids it.
            cursor = connection.connection.cursor()
            cursor.execute("PRAGMA wal_checkpoint(FULL)")
            cursor.close()
        with self.read() as connection:
            pages = connection.exec_driver_sql("PRAGMA cipher_integrity_check").all()
            if pages:
                raise Damaged(f"database: {len(pages)} pages fail their seal")
            if connection.exec_driver_sql("PRAGMA quick_check(1)").scalar() != "ok":
                raise Damaged("database: its tables and indices disagree")

    def settle(self) -> None:
        """Copy the log back and cut it off, so that it holds nothing erased any more.

        As far as no reader needs it: then a later call, or the last ``close``, does.

        Raises:
            Unavailable: The database cannot answer now.
        """
        with _translating(), self._readers.connect() as connection:
            # Past SQLAlchemy, which would begin a transaction that forbids it.
            cursor = connection.connection.cursor()
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            cursor.close()

    def close(self) -> None:
        """Wait for the works under way, refuse new ones, and close the file."""
        with self._mutex:
            self._is_closed = True
            self._idle.wait_for(lambda: self._leader is None)
        with self._watching:
            if self._watcher is not None:
                self._watcher.close()
                self._watcher = None
        self._drop_writer()
        while self._glancers:
            self._glancers.pop().close()
        self._readers.dispose()
        self._writers.dispose()

    def _wait(self, job: _Job[Any]) -> None:
        """Wait until the job is done, or it is its turn to lead.

        When the wait is interrupted (Ctrl-C at a command), a job that waits is
        taken back, and a lead that was handed to it goes on to the next.
        """
        try:
            job.bell.acquire()
        except BaseException:
            with self._mutex:
                if job in self._queue:
                    leads = self._leader == _HANDED_ON and self._queue[0] is job
                    self._queue.remove(job)
                    if leads:
                        self._hand_on()
            raise

    def _hand_on(self) -> None:
        """Let the first that waits lead, or nobody; holds ``_mutex``."""
        if self._queue:
            self._leader = _HANDED_ON
            self._queue[0].bell.release()
        else:
            self._leader = None
            self._idle.notify_all()

    def _lead(self) -> None:
        """Commit what waits, our own work first; then hand the lead on."""
        with self._mutex:
            self._leader = get_ident()
            number = min(len(self._queue), WORKS_PER_COMMIT_MAX)
            jobs = [self._queue.popleft() for _ in range(number)]
        try:
            self._commit(jobs)
        finally:
            with self._mutex:
                self._hand_on()
            for job in jobs:
                if not job.is_done:  # an interrupt came in between
                    job.finish(Unavailable("database: interrupted"))
            for job in jobs[1:]:
                job.bell.release()

    def _commit(self, jobs: Sequence[_Job[Any]]) -> None:
        """Finish every job, in as few transactions as can be.

        A work is blamed only when it was the first of its transaction, so that
        what it saw was committed. Those before it are committed first; then it
        begins the next transaction, where its failure is its own.
        """
        while jobs:
            failure = self._attempt(jobs)
            if failure is None or failure.is_of_store:
                for job in jobs:
                    job.finish(failure.error if failure else None)
                return
            if failure.position is None and len(jobs) > 1:
                for job in jobs:  # a hook failed; whose fault it is shows alone
                    self._commit([job])
                return
            if failure.position:
                self._commit(jobs[: failure.position])
                jobs = jobs[failure.position :]
            else:
                jobs[0].finish(failure.error)
                jobs = jobs[1:]

    def _attempt(self, jobs: Sequence[_Job[Any]]) -> "_Failure | None":
        """Run the jobs' works in one transaction; undo all when one fails."""
        position: int | None = None
        try:
            if self._writer is None:
                # Asking the pool for it each time takes as long as the inserts.
                self._writer = self._writers.connect()
            with self._writer.begin():
                transaction = Transaction(self._writer)
                for position, job in enumerate(jobs):  # noqa: B007  # for the except
                    job.result = job.work(transaction)
                position = None
                transaction.run_hooks()
        except BaseException as error:  # noqa: BLE001  # it is its caller's to handle
            translated = _translated(error)
            is_of_store = translated is not error and isinstance(
                translated, Unavailable
            )
            if translated is not error:
                self._drop_writer()  # whatever state the file left it in
            return _Failure(translated, position, is_of_store=is_of_store)
        finally:
            if self._writer is not None:
                _close_cursors(self._writer)
        return None

    def _drop_writer(self) -> None:
        """Close the leader's connection; the next leader opens another."""
        writer, self._writer = self._writer, None
        if writer is not None:
            with suppress(exc.SQLAlchemyError, driver.Error):
                writer.close()


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a transaction was undone.

    Attributes:
        error: What its callers get.
        position: Which work raised it; ``None`` if a hook or the commit did.
        is_of_store: Whether the disk failed, so that trying the others is in vain.
    """

    error: BaseException
    position: int | None
    is_of_store: bool


@contextmanager
def _translating() -> Iterator[None]:
    """Let only our errors out."""
    try:
        yield
    except (exc.SQLAlchemyError, driver.Error) as error:
        translated = _translated(error)
        if translated is error:
            raise
        raise translated from error


def _create(path: Path) -> None:
    """Make an empty file that only we can read, unless there is one."""
    try:
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError as error:
        raise Unavailable(f"database: cannot be made: {error.strerror}") from error


def _settings(*, is_writer: bool) -> tuple[str, ...]:
    """Return the pragmas of a connection, after its key."""
    return (
        "cipher_compatibility = 4",  # the file format, whatever the library's default
        # Processors have instructions for it, not for the default, SHA-512: sealing
        # six pages at a commit takes 0.10 ms instead of 0.15.
        "cipher_hmac_algorithm = HMAC_SHA256",
        "synchronous = FULL",  # sync the log at every commit: durable, not only whole
        f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
        f"journal_size_limit = {CHECKPOINT_PAGES * PAGE_BYTES}",
        f"cache_size = -{CACHE_KIB}",
        "temp_store = MEMORY",  # sorting must not spill names to a plain file
        "secure_delete = ON",  # an erased name does not stay in a free page
        "foreign_keys = ON",
        "trusted_schema = OFF",
        "case_sensitive_like = ON",  # as PostgreSQL has it
        f"query_only = {'OFF' if is_writer else 'ON'}",
    )


def _keep_waiting(polls: int) -> bool:
    """Tell SQLite whether to try a held lock again; waits a little first."""
    time.sleep(LOCK_POLL_S)
    return polls * LOCK_POLL_S < LOCK_WAIT_S


# References to cursors that have gone are forgotten when there are this many.
_CURSORS_MAX = 256


class _Connection(driver.Connection):  # type: ignore[misc]  # it has no types
    """A connection that can close its cursors before another thread gets it.

    The driver keeps statements for the next cursor that asks the same. An old cursor
    that goes resets *its* statement, even while a newer one executes it: that one then
    reads an empty row, or cannot bind. Old cursors go in any thread at any time, with
    the traceback of an error that somebody has handled at last. Closed, they let go.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._cursors: list[ReferenceType[driver.Cursor]] = []

    def cursor(self, *args: Any, **kwargs: Any) -> driver.Cursor:
        """Return a cursor that ``close_cursors`` closes."""
        made = super().cursor(*args, **kwargs)
        if len(self._cursors) >= _CURSORS_MAX:
            self._cursors = [each for each in self._cursors if each() is not None]
        self._cursors.append(ref(made))
        return made

    def close_cursors(self) -> None:
        """Close those that are left."""
        for each in self._cursors:
            cursor = each()
            if cursor is not None:
                cursor.close()
        self._cursors.clear()


def _close_cursors(connection: Connection) -> None:
    """Close what a transaction leaves; a connection that was dropped has nothing."""
    with suppress(exc.SQLAlchemyError, driver.Error):
        held = connection.connection.driver_connection
        assert isinstance(held, _Connection)  # made by ``_connect``
        held.close_cursors()


def _connect(path: Path, key: bytes, *, is_writer: bool) -> driver.Connection:
    """Open the file; never make one, so that a lost file is noticed."""
    connection = driver.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        factory=_Connection,
        isolation_level=None,  # we begin transactions ourselves
        check_same_thread=False,  # a pool hands it on, to one thread at a time
    )
    try:
        connection.set_busy_handler(_keep_waiting)
        connection.execute("PRAGMA cipher_log_level = NONE")  # errors are raised to us
        connection.execute(f"PRAGMA key = \"x'{key.hex()}'\"")
        for setting in _settings(is_writer=is_writer):
            connection.execute(f"PRAGMA {setting}")
        if is_writer:
            _use_log(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _use_log(connection: driver.Connection) -> None:
    """Switch to the write-ahead log; the switch alone ignores the busy handler."""
    for polls in count():
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except driver.OperationalError as error:
            if not isinstance(_translated(error), Unavailable):
                raise
            if not _keep_waiting(polls):
                raise
        else:
            return


def _engine(path: Path, key: bytes, *, is_writer: bool) -> Engine:
    """Return a pool of connections whose transactions begin as they must."""
    engine = create_engine(
        "sqlite://",
        module=driver,
        creator=lambda: _connect(path, key, is_writer=is_writer),
        poolclass=QueuePool,
        pool_size=1 if is_writer else READERS_KEPT,
        max_overflow=0 if is_writer else READERS_MAX - READERS_KEPT,
        pool_timeout=READER_WAIT_S,
        hide_parameters=True,  # they are patients' data, and errors reach logs
    )
    # A reader that began without IMMEDIATE and a writer that did can never
    # deadlock, nor find that its snapshot is too old to write on.
    begin = "BEGIN IMMEDIATE" if is_writer else "BEGIN"

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.connection.cursor().execute(begin)

    return engine
