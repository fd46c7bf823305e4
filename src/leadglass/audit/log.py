"""The audit log: records in the transaction of the act, in a signed Merkle tree.

The crash story: a record, its leaf and the new signed head are rows of the same
transaction as the act they record, so there is never one without the other. The
checkpoint file follows within a second; until then the database is ahead of it,
which is no contradiction.

Retention: whole tiles of old records can be pruned, and records of a patient can lose
``record``, ``salt`` and ``keys``; a later record of the log orders it (``orders``), and
every hash of the tree still follows from what is left (``withdrawn``).
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from sqlalchemy import (
    ClauseElement,
    Connection,
    Insert,
    Table,
    bindparam,
    insert,
    select,
    update,
)

from leadglass.audit import checkpoint, tables
from leadglass.audit.checkpoint import Checkpoint, Signer
from leadglass.audit.checkpoint_file import CheckpointFile
from leadglass.audit.checkpoint_thread import CheckpointThread
from leadglass.audit.clock import Clock, SystemClock
from leadglass.audit.cosigned_file import CosignedFile, line_of
from leadglass.audit.events import AuditSource, Event, encode
from leadglass.audit.evidence.making import Made, Request, Source, make
from leadglass.audit.evidence.selection import Place, Selection, place_of
from leadglass.audit.findings import Report
from leadglass.audit.leaf import SALT_BYTES, Leaf, commit, hash_row
from leadglass.audit.merkle import (
    EMPTY_ROOT,
    TILE_LEVELS,
    TILE_WIDTH,
    Frontier,
    TileRoot,
    consistency_proof,
    inclusion_proof,
    root_of,
)
from leadglass.audit.nodes import StoredNodes
from leadglass.audit.proof import Disclosure, Proof
from leadglass.audit.search import (
    RECORDS,
    Portion,
    Record,
    Search,
    keys_of,
    look,
    numbers_of,
    record_of,
    search_records,
)
from leadglass.audit.seconding import Second
from leadglass.audit.timeline import Bucket, count
from leadglass.audit.timestamps import (
    Timestamp,
    TimestampFile,
    timestamp_of,
    token_in,
)
from leadglass.audit.verification import Verification
from leadglass.audit.withdrawn import (
    Pruned,
    check_kept,
    check_provable,
    commitments,
    pruned_of,
)
from leadglass.audit.witness import Offer, WitnessKey
from leadglass.database.engine import Database, Transaction
from leadglass.errors import BadData, Damaged, NotFound

# Records kept back within one transaction before they are inserted: one statement
# for many rows is several times cheaper, and a megabyte is not much to hold.
_ROWS_HELD_MAX = 512

_MEMO = "leadglass.audit"


class Cancelled(Exception):
    """Whoever follows a verification wants no more of it."""


@dataclass(frozen=True, slots=True)
class State:
    """How far the log goes, as it says itself.

    Attributes:
        origin: Its name.
        size: Records that the head signs.
        root: Root of the tree over them, 32 bytes; empty for a log that has not begun.
        signed_at: When the newest of them was recorded, and the head signed.
        file: Where the signed checkpoints are kept beside the database.
        file_size: Records that the newest checkpoint in it signs; None: there is none.
        file_written_at: When it was written to; None: it is not there.
    """

    origin: str
    size: int
    root: bytes
    signed_at: datetime | None
    file: Path
    file_size: int | None
    file_written_at: datetime | None


@dataclass(frozen=True, slots=True)
class _Known:
    """A head that we wrote ourselves, or have checked."""

    note: str
    size: int
    frontier: bytes


@dataclass(slots=True)
class _Pending:
    """What one transaction appends."""

    writing: "_Writing"
    frontier: Frontier
    is_first: bool
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    tiles: list[TileRoot] = field(default_factory=list)


class AuditLog:
    """The audit log of one node. Threads and processes may append at the same time."""

    def __init__(  # noqa: PLR0913  # a log, its keys and its surroundings
        self,
        database: Database,
        signing_key: Ed25519PrivateKey,
        origin: str,
        checkpoints_folder: Path,
        *,
        former_keys: Iterable[Ed25519PublicKey] = (),
        clock: Clock | None = None,
    ) -> None:
        """Take up the log in ``database``; its schema must be there.

        Args:
            database: Where the records are.
            signing_key: Signs checkpoints; kept outside the database.
            origin: Name of the log, unique to it; printable, no blanks, no ``+``.
            checkpoints_folder: Where the checkpoint file lies.
            former_keys: Public keys from before a rotation.
            clock: Where times come from.

        Raises:
            BadData: ``origin`` cannot be the name of a log.
        """
        self.origin = origin
        self.public_key = signing_key.public_key()
        self._database = database
        self._signer = Signer(origin, signing_key)
        self._public_keys = (self.public_key, *former_keys)
        self._clock = clock or SystemClock()
        self._source = AuditSource(origin).members()
        self._file = CheckpointFile(checkpoints_folder)
        self._cosigned = CosignedFile(checkpoints_folder)
        self._timestamps = TimestampFile(checkpoints_folder)
        self._known: _Known | None = None
        self._sql: dict[str, str] = {}
        self._writer = CheckpointThread(self._file, self._committed_note)

    # ── writing ──────────────────────────────────────────────────────────────

    def append(self, tx: Transaction, event: Event) -> int:
        """Record ``event`` in the transaction of the act; return its number.

        It is durable when the transaction is. A transaction that cannot write it
        fails as a whole, so an act that cannot be recorded does not happen.

        Raises:
            Unavailable: The record cannot be written.
            Damaged: The log was tampered with; it does not go on on top of that.
            BadData: The event is too large for a record.
        """
        pending: _Pending | None = tx.memo.get(_MEMO)
        if pending is None:
            pending = self._begin(tx)
        frontier = pending.frontier
        n = frontier.size
        wall_us, mono_us = self._clock.wall_us(), self._clock.mono_us()
        record = encode(event.members(self._source, wall_us))
        keys = keys_of(event, self.origin, wall_us)
        salt = os.urandom(SALT_BYTES)
        boot, code = self._clock.boot, int(event.id)
        leaf = hash_row(n, wall_us, mono_us, boot, code, keys, salt, record)
        pending.tiles.extend(frontier.append(leaf))
        pending.rows.append((n, wall_us, mono_us, boot, code, keys, salt, record, leaf))
        if len(pending.rows) >= _ROWS_HELD_MAX:
            pending.writing.flush(pending)
        return n

    def take_up(self) -> None:
        """Make sure that the log can go on from the database as it stands.

        Raises:
            Damaged: It was tampered with, or is older than the checkpoint file.
            Unavailable: The database cannot answer.
        """
        self._database.write(self._begin)

    def record(self, event: Event) -> int:
        """Record ``event`` in a transaction of its own; durable on return.

        Raises:
            Unavailable: It is not recorded; what it stands for must not happen.
            Damaged: The log was tampered with.
        """
        return self._database.write(lambda tx: self.append(tx, event))

    def restart(self, event: Event) -> int:
        """Go on from a restored older database, openly; return the number.

        The checkpoint files that contradict it are set aside, not deleted; ``event``
        (``Events.audit_restarted``) says who did so and why.

        Raises:
            Unavailable: It is not recorded.
        """
        self._file.supersede()
        self._cosigned.supersede()
        self._timestamps.supersede()
        with self._database.read() as connection:
            note = _head_note(connection)
        self._file.append(note or self._signer.sign(0, EMPTY_ROOT))
        return self.record(event)

    def flush(self) -> None:
        """Bring the checkpoint file up to the last commit, durably.

        Raises:
            Unavailable: The disk is full or broken.
        """
        note = self._committed_note()
        if note is not None:
            self._file.append(note)

    def close(self) -> None:
        """Write the last checkpoint and stop; before the database is closed.

        Raises:
            Unavailable: The checkpoint could not be written; the records are safe.
        """
        self._writer.stop()
        self.flush()

    def _begin(self, tx: Transaction) -> _Pending:
        """Take up the tree where the last transaction left it."""
        writing = _Writing(tx.connection, self._sql)
        known = self._known
        note = writing.note()
        if known is not None and note == known.note:
            # Nobody wrote since we did: what we know needs no reading and no check.
            frontier = Frontier.decode(known.size, known.frontier)
        elif note is None:
            self._found(tx.connection)
            frontier = Frontier()
        else:
            frontier = self._taken_up(tx.connection, note)
        pending = _Pending(writing, frontier, is_first=note is None)
        tx.memo[_MEMO] = pending
        tx.before_commit(_MEMO, self._finish)
        return pending

    def _found(self, connection: Connection) -> None:
        """Begin a log where there is none."""
        if connection.execute(select(tables.record.c.n).limit(1)).first() is not None:
            raise Damaged("audit log: there are records, but their head is gone")
        last = self._file.last()
        if last is not None and checkpoint.parse(last).size > 0:
            raise Damaged(
                "audit log: the database has no records, but the checkpoint file "
                "signed some; restore the database, or restart the log openly"
            )
        # From now on a missing file is a finding, not a beginning.
        self._file.append(self._signer.sign(0, EMPTY_ROOT))

    def _taken_up(self, connection: Connection, note: str) -> Frontier:
        """Return the tree of a head that another process wrote, or an earlier run."""
        row = connection.execute(_HEAD).one()
        frontier = _frontier(row.size, row.frontier)
        try:
            said = checkpoint.verify(note, self._public_keys, self.origin)
        except BadData as error:
            raise Damaged("audit log: the head is no checkpoint") from error
        if (said.size, said.root) != (frontier.size, frontier.root()):
            raise Damaged("audit log: the head is not the one that was signed")
        if self._known is None:
            # Once per process; what happens to the file later, verification finds.
            self._compare_with_file(connection, frontier.size)
        self._known = _Known(note, frontier.size, frontier.encode())
        return frontier

    def _compare_with_file(self, connection: Connection, size: int) -> None:
        """Refuse to go on from a database that the checkpoint file contradicts."""
        last = self._file.last()
        if last is None:
            raise Damaged(
                "audit log: the checkpoint file is missing; bring it back, or "
                "restart the log openly"
            )
        signed = checkpoint.verify(last, self._public_keys, self.origin)
        if signed.size > size:
            raise Damaged(
                f"audit log: rolled back: {signed.size} records were signed, the "
                f"database has {size}; restore it, or restart the log openly"
            )
        if root_of(signed.size, StoredNodes(connection)) != signed.root:
            raise Damaged(
                "audit log: the database does not continue what the checkpoint "
                "file signed; restore it, or restart the log openly"
            )

    def _finish(self, tx: Transaction) -> None:
        """Write what the transaction appended, and the head that signs it."""
        pending: _Pending = tx.memo.pop(_MEMO)
        pending.writing.flush(pending)
        frontier = pending.frontier
        note = self._signer.sign(frontier.size, frontier.root())
        known = _Known(note, frontier.size, frontier.encode())
        pending.writing.set_head(known, is_first=pending.is_first)
        # If the transaction is undone, no head has this note, and it is not used.
        self._known = known
        self._writer.expect(frontier.size)

    def _committed_note(self) -> str | None:
        with self._database.read() as connection:
            return _head_note(connection)

    # ── reading ──────────────────────────────────────────────────────────────

    def size(self) -> int:
        """Return the number of records.

        Raises:
            Unavailable: The database cannot answer.
        """
        with self._database.read() as connection:
            return _size(connection)

    @staticmethod
    def size_in(connection: Connection) -> int:
        """Return the number of records in one snapshot, or within a transaction."""
        return _size(connection)

    def get(self, n: int) -> Record:
        """Return one record.

        Raises:
            NotFound: There is no such record.
        """
        with self._database.read() as connection:
            row = connection.execute(
                RECORDS.where(tables.record.c.n == n)
            ).one_or_none()
            if row is None:
                raise self._no_record(connection, n)
        return record_of(row)

    def pruned(self) -> Pruned:
        """Return which records were pruned, and by which record of the log.

        Raises:
            Unavailable: The database cannot answer.
        """
        with self._database.read() as connection:
            return pruned_of(connection, self.origin)

    def _no_record(self, connection: Connection, n: int) -> NotFound:
        pruned = pruned_of(connection, self.origin)
        if n in pruned.numbers:
            return NotFound(
                f"this audit record was pruned after its time; record {pruned.order} "
                "says when, and by whom"
            )
        return NotFound("there is no such audit record")

    def following(self, first: int, records_max: int) -> Sequence[Record]:
        """Return the records from a number on, in their order, in memory.

        Raises:
            Unavailable: The database cannot answer.
            Damaged: A row holds what the log never wrote.
        """
        n = tables.record.c.n
        query = RECORDS.where(n >= first).order_by(n).limit(records_max)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [record_of(row) for row in rows]

    def list(self, search: Search | None = None) -> Iterator[Record]:
        """Yield the records that fit, in one snapshot, a few in memory at a time.

        The time it takes grows with the answer: records are found by what they
        mention and by day, and the last 255 of the log are looked through.
        """
        with self._database.read() as connection:
            size = _size(connection)
            yield from search_records(connection, search or Search(), size, self.origin)

    def look(self, search: Search, found_max: int) -> Portion:
        """Return the newest records that fit, some at a time, at a bounded cost.

        Args:
            search: What is asked for; ``after`` goes on below a number.
            found_max: How many at most.

        Raises:
            Unavailable: The database cannot answer.
        """
        with self._database.read() as connection:
            size = _size(connection)
            return look(connection, search, size, self.origin, found_max)

    def count(self, moments: Sequence[datetime]) -> Sequence[Bucket]:
        """Return how many records there are between each two moments.

        Raises:
            BadData: There are too many moments, or they are out of order.
            Unavailable: The database cannot answer.
        """
        with self._database.read() as connection:
            return count(connection, moments, _size(connection))

    def state(self) -> State:
        """Return how far the log goes, and what was signed of it.

        Nothing is verified here.

        Raises:
            Unavailable: Database or checkpoint file cannot be read.
            Damaged: The head is no checkpoint.
        """
        with self._database.read() as connection:
            note = _head_note(connection)
            head = None if note is None else _parsed(note)
            newest = None
            if head is not None:
                number = tables.record.c.n == head.size - 1
                newest = connection.execute(RECORDS.where(number)).one_or_none()
        written = self._file.last()
        return State(
            origin=self.origin,
            size=0 if head is None else head.size,
            root=b"" if head is None else head.root,
            signed_at=None if newest is None else record_of(newest).time,
            file=self._file.path,
            file_size=None if written is None else _parsed(written).size,
            file_written_at=self._file.written_at(),
        )

    def prove(self, n: int, *, disclose: bool = False) -> Proof:
        """Return the proof that record ``n`` is in the log as it stands.

        Of a record whose personal data was erased, too: when it was recorded, and
        which kind of event it was, can still be proven.

        Args:
            n: Number of the record.
            disclose: Put the record itself in, with whom it names.

        Raises:
            NotFound: There is no such record.
            Damaged: Rows that the proof needs are gone.
        """
        c = tables.record.c
        with self._database.read() as connection:
            row = connection.execute(
                select(tables.record).where(c.n == n)
            ).one_or_none()
            head = connection.execute(_HEAD).one_or_none()
            if row is None or head is None or n >= head.size:
                raise self._no_record(connection, n)
            if row.record is not None:
                commitment = commit(row.salt, row.search_keys, row.record)
            elif disclose:
                raise NotFound("the personal data of this audit record was erased")
            else:
                commitment = _erased_commitment(connection, n)
            path = inclusion_proof(n, head.size, StoredNodes(connection))
        leaf = Leaf(n, row.wall_us, row.mono_us, row.boot, row.code, commitment)
        return Proof(
            leaf.encode(),
            tuple(path),
            head.note,
            Disclosure(row.salt, row.search_keys, row.record) if disclose else None,
        )

    def locate(self, selection: Selection) -> Place:
        """Find the records that evidence is to be about; nothing is told of them.

        Raises:
            NotFound: There are none.
        """
        with self._database.read() as connection:
            head = connection.execute(_HEAD).one_or_none()
            if head is None:
                raise NotFound("the audit log has no record yet")
            place = place_of(
                connection, selection, int(head.size), str(head.note), self.origin
            )
            check_kept(place, pruned_of(connection, self.origin))
            return place

    def make_evidence(self, place: Place, request: Request) -> Made:
        """Write a folder of evidence that is checked without this node.

        Raises:
            Misconfigured: There is something of its name.
            Damaged: The log was tampered with; nothing is written.
            Unavailable: It cannot be written.
        """
        with self._database.read() as connection:
            source = Source(
                connection=connection,
                place=place,
                notes=self._file.notes(),
                signer=self._signer,
                public_keys=self._public_keys,
                cosigned=self._cosigned.notes(),
                witnesses=self._cosigned.witnesses(),
                timestamps=self._timestamps.all(),
            )
            return make(source, request)

    def offer(self, witness: WitnessKey, old: int | None = None) -> Offer:
        """Return the newest checkpoint for a witness to cosign, with its proof.

        Args:
            witness: Who.
            old: How many records it has cosigned; None: as many as is known here.

        Raises:
            NotFound: There is no record yet.
            Damaged: There are fewer records than it has cosigned.
            Unavailable: What it cosigned last was pruned.
        """
        if old is None:
            old = self._cosigned.size_of(witness)
        with self._database.read() as connection:
            head = connection.execute(_HEAD).one_or_none()
            if head is None:
                raise NotFound("the audit log has no record yet")
            if old > head.size:
                raise Damaged(
                    f"audit log: rolled back: a witness has cosigned {old} records, "
                    f"the database has {head.size}"
                )
            check_provable(old, pruned_of(connection, self.origin))
            path = consistency_proof(old, head.size, StoredNodes(connection))
        return Offer(old, tuple(path), str(head.note))

    def cosigned_sizes(self) -> tuple[int, ...]:
        """Return how many records each witness has cosigned, as far as is known.

        Raises:
            Unavailable: That cannot be read.
            Damaged: It was changed.
        """
        cosigned = self._cosigned
        return tuple(cosigned.size_of(each) for each in cosigned.witnesses())

    def take_cosigned(self, note: str, witness: WitnessKey) -> Checkpoint:
        """Keep a checkpoint of this log that a witness cosigned.

        Raises:
            BadData: It is none, or not cosigned by this witness.
            Damaged: It is not one of this log, or a signature is false.
            Unavailable: It cannot be kept.
        """
        signed = checkpoint.verify(note, self._public_keys, self.origin)
        line = line_of(note, witness)
        if line is None:
            raise BadData("the checkpoint is not cosigned by this witness")
        body, _, lines = note.partition("\n\n")
        own = [
            each
            for each in lines.splitlines(keepends=True)
            if each.startswith(f"— {self.origin} ")
        ]
        self._cosigned.add("".join([body, "\n\n", *own]), line, witness)
        return signed

    def to_stamp(self) -> str:
        """Return the checkpoint that an authority is to stamp: the newest.

        It is in the checkpoint file, so that a reply is known days later.

        Raises:
            NotFound: There is no record yet.
            Unavailable: The checkpoint file cannot be written or read.
        """
        self.flush()
        note = self._file.last()
        if note is None or checkpoint.parse(note).size == 0:
            raise NotFound("the audit log has no record yet")
        return note

    def to_copy(self) -> tuple[int, Sequence[tuple[int, str, bytes]]]:
        """Return how many records are signed, and what is worth keeping elsewhere.

        That is the newest checkpoint, what witnesses cosigned and what authorities
        stamped: each as records, kind and bytes.

        Raises:
            Unavailable: A file of checkpoints cannot be written or read.
            Damaged: One was changed.
        """
        self.flush()
        note = self._file.last()
        size = 0 if note is None else checkpoint.parse(note).size
        found = [(size, "note", note.encode())] if note and size else []
        found += [
            (_parsed(each).size, "cosigned", each.encode())
            for each in self._cosigned.notes()
        ]
        found += [
            (each.size, "timestamp", each.line().encode())
            for each in self._timestamps.all()
        ]
        return size, found

    def take_timestamp(
        self, reply: bytes, authority: bytes, nonce: int | None = None
    ) -> Timestamp:
        """Keep the time stamp of a checkpoint of this log.

        Args:
            reply: Of an authority (TimeStampResp of RFC 3161).
            authority: The certificate that must have signed it, PEM or DER.
            nonce: That was asked with; None: none was.

        Raises:
            BadData: The reply or the certificate is none, or no stamp was given.
            Damaged: The stamp does not hold, or is of no checkpoint of this log.
            Unavailable: It cannot be kept.
        """
        notes = [*self._file.notes(), *self._cosigned.notes()]
        found = timestamp_of(token_in(reply), notes, authority, nonce)
        checkpoint.verify(found.note, self._public_keys, self.origin)
        self._timestamps.add(found)
        return found

    def timestamps(self) -> Sequence[Timestamp]:
        """Return the time stamps that are kept, oldest first.

        Raises:
            Unavailable: The file cannot be read.
            Damaged: It was changed.
        """
        return self._timestamps.all()

    def verify(
        self,
        witnessed: Iterable[str] = (),
        progress: Callable[[int, int], None] = lambda _done, _all: None,
    ) -> Report:
        """Recompute the whole log, and name everything that is not as it was signed.

        Args:
            witnessed: Checkpoint notes of this log that were kept elsewhere.
            progress: Is told how many records were read, of how many, now and then.

        Returns:
            The report; never raises for what it finds wrong with the log.

        Raises:
            Cancelled: ``progress`` did.
        """
        verification = Verification(self.origin, self._public_keys)
        # The file first: whatever it holds, the snapshot that follows must have.
        verification.take_file(self._file)
        verification.take_witnessed([*witnessed, *self._cosigned.notes()])
        verification.take_timestamps(self._timestamps)
        try:
            with self._database.read() as connection:
                verification.run(connection, progress, self._second)
        except Cancelled:
            raise
        except Exception as error:  # noqa: BLE001  # whatever was done to the file
            verification.unreadable(error)
        return verification.report()

    def _second(self, secrets: Sequence[int]) -> Second:
        return Second(*self._database.opened_by, secrets)


def _parsed(note: str) -> Checkpoint:
    try:
        return checkpoint.parse(note)
    except BadData as error:
        raise Damaged("audit log: a checkpoint is none; verify the log") from error


def _erased_commitment(connection: Connection, n: int) -> bytes:
    found = commitments(connection, [n]).get(n)
    if found is None:
        raise Damaged("audit log: a record lost its content; verify the log")
    return found


_HEAD = select(tables.head.c.size, tables.head.c.frontier, tables.head.c.note).where(
    tables.head.c.id == tables.HEAD_ID
)


def _head_note(connection: Connection) -> str | None:
    row = connection.execute(_HEAD).one_or_none()
    return None if row is None else str(row.note)


def _size(connection: Connection) -> int:
    row = connection.execute(_HEAD).one_or_none()
    return 0 if row is None else int(row.size)


def _frontier(size: int, data: bytes) -> Frontier:
    try:
        return Frontier.decode(size, data)
    except (ValueError, TypeError) as error:
        raise Damaged("audit log: the head is malformed") from error


class _Writing:
    """The statements of one transaction, past SQLAlchemy's execution.

    SQLAlchemy composes them, once; to execute one through it costs 100 µs of CPU, as
    much as everything else that a record costs together. They are in the dialect of
    the connection and run on its driver, within its transaction.
    """

    __slots__ = ("_connection", "_cursor", "_sql")

    def __init__(self, connection: Connection, sql: dict[str, str]) -> None:
        self._connection = connection
        self._cursor = connection.connection.cursor()
        self._sql = sql
        if not sql:
            for name, statement in _STATEMENTS.items():
                sql[name] = str(statement.compile(dialect=connection.dialect))

    def note(self) -> str | None:
        """Return the note of the head, if there is one."""
        self._cursor.execute(self._sql["note"], (tables.HEAD_ID,))
        row = self._cursor.fetchone()
        return None if row is None else str(row[0])

    def set_head(self, known: _Known, *, is_first: bool) -> None:
        """Write the head."""
        values = (known.size, known.frontier, known.note)
        if is_first:
            self._cursor.execute(self._sql["head insert"], (tables.HEAD_ID, *values))
        else:
            self._cursor.execute(self._sql["head update"], (*values, tables.HEAD_ID))

    def flush(self, pending: _Pending) -> None:
        """Insert what is held back."""
        if not pending.rows:
            return
        statement = self._sql["record"]
        try:
            if len(pending.rows) == 1:
                self._cursor.execute(statement, pending.rows[0])
            else:
                self._cursor.executemany(statement, pending.rows)
        except self._connection.dialect.loaded_dbapi.IntegrityError as error:
            raise Damaged(
                "audit log: a record stands where the next one belongs"
            ) from error
        pending.rows.clear()
        if pending.tiles:
            self._cursor.executemany(self._sql["tile"], pending.tiles)
            for level, place, _ in pending.tiles:
                if level == TILE_LEVELS:
                    self._index(place * TILE_WIDTH)
            pending.tiles.clear()

    def _index(self, first: int) -> None:
        """Make the records of a complete tile findable by what they mention.

        In one go for 256 of them, sorted, because the rows land all over the table:
        record by record it would cost a page of the disk for each.
        """
        self._cursor.execute(self._sql["keys"], (first, first + TILE_WIDTH))
        self._cursor.executemany(
            self._sql["mention"],
            sorted(
                (number, n)
                for n, keys in self._cursor.fetchall()
                if keys is not None
                for number in numbers_of(keys)
            ),
        )


def _values(table: Table, *names: str) -> Insert:
    return insert(table).values({name: bindparam(name) for name in names})


# Their parameters are in the order of the table's columns, the condition's last.
_STATEMENTS: Mapping[str, ClauseElement] = {
    "note": select(tables.head.c.note).where(tables.head.c.id == bindparam("head")),
    "head insert": _values(tables.head, "id", "size", "frontier", "note"),
    "head update": update(tables.head)
    .values({name: bindparam(name) for name in ("size", "frontier", "note")})
    .where(tables.head.c.id == bindparam("head")),
    "record": _values(tables.record, *tables.record.columns.keys()),
    "tile": _values(tables.tile, "level", "place", "hash"),
    "keys": select(tables.record.c.n, tables.record.c.search_keys).where(
        tables.record.c.n >= bindparam("first"), tables.record.c.n < bindparam("end")
    ),
    "mention": _values(tables.mention, "key", "n"),
}
