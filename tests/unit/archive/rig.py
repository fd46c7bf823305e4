"""What the tests of the use cases share: sending as a door does, looking, failing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from leadglass.archive.caller import Caller
from leadglass.archive.ingest import Announced, Arrival, Ingest
from leadglass.archive.parts import Parts
from leadglass.audit.codes import EventID
from leadglass.audit.events import Event
from leadglass.database.engine import Database, Transaction
from leadglass.dicom.part10 import Part10Reader
from leadglass.dicom.transfer_syntaxes import TRANSFER_SYNTAXES
from leadglass.dicom.uids import UID
from leadglass.errors import Unavailable
from leadglass.index.records import Added, InstanceLocation, Quarantined
from leadglass.vault.blobs import BlobName
from leadglass.vault.folder import FolderBlobs
from leadglass.vault.keyfiles import Argon2Cost
from leadglass.vault.keys import KeyFile, KeyId, Keyring
from leadglass.vault.sealed import SealedBlobs
from tests.unit.archive.conftest import OPERATOR, Home, data_set_of
from tests.unit.vault.faults import CrashingDisk, HookedDisk

T = TypeVar("T")

# A piece as a small PDU brings it: the header takes several.
PIECE_BYTES = 256
FAR_AWAY = 1_000_000


def announced_of(file: bytes) -> Announced:
    """Return what a sender of this file announces."""
    reader = Part10Reader()
    assert reader.feed(file) is not None
    sop_class, sop_instance = reader.sop_class, reader.uid(0x0002_0003)
    assert sop_class
    assert sop_instance
    assert reader.transfer_syntax
    syntax = TRANSFER_SYNTAXES[UID(reader.transfer_syntax)]
    return Announced(sop_class, sop_instance, syntax)


def arriving(
    ingest: Ingest, file: bytes, caller: Caller = OPERATOR, **changes: object
) -> Arrival:
    """Return an arrival whose bytes have all come."""
    announced = replace(announced_of(file), **changes)  # type: ignore[arg-type]
    arrival = ingest.begin(caller, announced)
    data_set = memoryview(data_set_of(file))
    with refused_if_wrong(arrival):
        for at in range(0, len(data_set), PIECE_BYTES):
            arrival.write(data_set[at : at + PIECE_BYTES])
    return arrival


def finish(arrival: Arrival) -> Added:
    """Finish it as a door does."""
    with refused_if_wrong(arrival):
        added = arrival.finish()
    arrival.abandon()
    return added


def send(
    ingest: Ingest, file: bytes, caller: Caller = OPERATOR, **changes: object
) -> Added:
    """Store a file as a door does, and see it entered."""
    added = finish(arriving(ingest, file, caller, **changes))
    ingest.parts.intake.catch_up()
    return added


@contextmanager
def refused_if_wrong(arrival: Arrival) -> Iterator[None]:
    """Refuse what fails; a machine that stops refuses nothing."""
    try:
        yield
    except Exception as error:
        arrival.refuse(error)
        arrival.abandon()
        raise


# ── looking ──────────────────────────────────────────────────────────────────


def locations(parts: Parts) -> list[InstanceLocation]:
    """Return everything that has a row."""
    with parts.database.read() as connection:
        return list(parts.index.all_instances(connection))


def kept_aside(parts: Parts) -> list[Quarantined]:
    """Return the quarantine."""
    with parts.database.read() as connection:
        return list(parts.index.quarantined(connection))


def blob_names(parts: Parts) -> set[str]:
    """Return every blob there is, settled or not."""
    return set(parts.blobs.names())


def key_ids(parts: Parts) -> set[KeyId]:
    """Return every study key there is."""
    return set(parts.keyring.key_ids())


def file_in(parts: Parts, blob: str) -> bytes:
    """Return a stored file."""
    return b"".join(map(bytes, parts.blobs.get(BlobName(blob))))


def check_whole(parts: Parts) -> None:
    """Make sure that every row has its blob and its key, and every blob its row."""
    rows: list[InstanceLocation | Quarantined] = [
        *locations(parts),
        *kept_aside(parts),
    ]
    for row in rows:
        assert len(file_in(parts, row.blob)) == row.blob_bytes
    assert blob_names(parts) == {row.blob for row in rows}


def events(home: Home, kind: EventID | None = None) -> list[Event]:
    """Return what is on the record, of one kind or all."""
    found = [each.event for each in home.records()]
    return [each for each in found if kind is None or each.id is kind]


def alerts(home: Home) -> list[tuple[str, str]]:
    """Return the type and the text of all security alerts."""
    return [
        (each.types[0], dict(each.objects[0].details)["Alert Description"])
        for each in events(home, EventID.SECURITY_ALERT)
    ]


# ── failing ──────────────────────────────────────────────────────────────────


class FaultyDatabase(Database):
    """Does not write, or writes and says that it did not."""

    fail_before = 0
    fail_after = 0

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Fail as often as is asked for."""
        if self.fail_before:
            self.fail_before -= 1
            raise Unavailable("database: disk full")
        result = super().write(work)
        if self.fail_after:
            self.fail_after -= 1
            raise Unavailable("database: disk I/O error")
        return result


@dataclass
class Rig:
    """The node of a home, on a disk and a database that fail when they are told."""

    parts: Parts
    disk: HookedDisk
    database: FaultyDatabase
    inner: FolderBlobs
    ingest: Ingest

    def close(self) -> None:
        """Let go of the files, as the end of the process does."""
        self.parts.close()
        self.database.close()
        self.inner.close()


@contextmanager
def on(home: Home, disk: HookedDisk) -> Iterator[Rig]:
    """Open a home again, as another process, on that disk."""
    master = KeyFile(home.folder.parent / "master.key", outside=home.folder)
    cheap = Argon2Cost(memory_kib=8, passes=1, lanes=1)
    keyring = Keyring.open(home.folder / "keys", master, disk, cheap)
    inner = FolderBlobs.open(home.folder / "blobs", disk)
    key = keyring.derive("database")
    database = FaultyDatabase.open(home.folder / "leadglass.db", key)
    assert isinstance(database, FaultyDatabase)
    parts = replace(
        home.parts,
        database=database,
        keyring=keyring,
        blobs=SealedBlobs(inner, keyring),
    )
    rig = Rig(parts, disk, database, inner, Ingest(parts))
    try:
        yield rig
    finally:
        if isinstance(disk, CrashingDisk):
            parts.close()  # a thread of the dead process ends with it
            database.close()
            disk.die()
        else:
            rig.close()


def quiet_disk() -> HookedDisk:
    """Return a disk whose hook is put in later."""
    return HookedDisk(lambda _operation, _path: None)


class FailOnce:
    """A hook that lets ``changes`` through, fails the next one, and counts all."""

    def __init__(self, changes: int, error: int) -> None:
        self.changes = changes
        self.error = error
        self.seen: list[str] = []

    def __call__(self, operation: str, path: str) -> None:
        """Count, and fail when it is time."""
        self.seen.append(operation)
        if len(self.seen) == self.changes + 1:
            raise OSError(self.error, "as it was told to", path)
