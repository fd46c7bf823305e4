"""A log with a database around it, for the tests of this folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from leadglass.audit import tables
from leadglass.audit.builders import Actor, Events, Node, Study
from leadglass.audit.erasing import erase as erase_rows
from leadglass.audit.erasing import rows_of
from leadglass.audit.events import Event, SOPClass
from leadglass.audit.log import AuditLog
from leadglass.audit.orders import RetentionEvents
from leadglass.audit.pruning import point_at, remove, tile_at
from leadglass.audit.runs import Runs
from leadglass.audit.withdrawn import pruned_of
from leadglass.database.engine import Database, Transaction
from leadglass.database.tables import metadata

ORIGIN = "leadglass.example/pacs"
DATABASE_KEY = bytes(range(32))
SIGNING_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
PUBLIC_KEY = SIGNING_KEY.public_key()
TABLES = [
    tables.record,
    tables.tile,
    tables.head,
    tables.mention,
    tables.erased,
    tables.pruned,
]

EVENTS = Events(Node(ORIGIN, "LEADGLASS", "192.0.2.1"))
SCANNER = Actor("ct-1", "192.0.2.5", "CT_1", "ab" * 32, "TLSv1.3", "device")
OPERATOR = Actor("ward-2", channel="local", kind="operator")
CT = "1.2.840.10008.5.1.4.1.1.2"


@dataclass
class SetClock:
    """A clock that stands where it is put."""

    wall: int = 1_800_000_000_000_000
    mono: int = 1_000_000_000
    boot: int = 7

    def wall_us(self) -> int:
        return self.wall

    def mono_us(self) -> int:
        return self.mono

    def passes(self, seconds: float) -> None:
        self.wall += int(seconds * 1_000_000)
        self.mono += int(seconds * 1_000_000)


@dataclass
class Home:
    """A data folder."""

    folder: Path
    clock: SetClock = field(default_factory=SetClock)

    @property
    def path(self) -> Path:
        return self.folder / "leadglass.db"

    def prepare(self) -> None:
        with self.database(create=True) as database:
            database.write(lambda tx: metadata.create_all(tx.connection, tables=TABLES))

    @contextmanager
    def database(self, *, create: bool = False) -> Iterator[Database]:
        database = Database.open(self.path, DATABASE_KEY, create=create)
        try:
            yield database
        finally:
            database.close()

    @contextmanager
    def log(self, key: Ed25519PrivateKey = SIGNING_KEY) -> Iterator[AuditLog]:
        """Give the log, and close it as a node that stops in good order does."""
        with self.database() as database:
            log = self.over(database, key)
            try:
                yield log
            finally:
                log.close()

    def over(
        self, database: Database, key: Ed25519PrivateKey = SIGNING_KEY
    ) -> AuditLog:
        former = () if key is SIGNING_KEY else (PUBLIC_KEY,)
        return AuditLog(
            database, key, ORIGIN, self.folder, former_keys=former, clock=self.clock
        )


def stored(number: int, patient: str = "") -> Event:
    """An instance came in."""
    study = Study(
        f"1.2.3.{number // 10}",
        patient or f"PAT-{number // 10:04}",
        "DOE^JANE",
        (SOPClass(CT, 1, (f"1.2.3.4.{number}",)),),
        accession=f"ACC{number // 10}",
    )
    return EVENTS.stored(SCANNER, (study,))[0]


def fill(log: AuditLog, database: Database, count: int) -> None:
    """Append some records, in one transaction."""
    begin = log.size()

    def work(tx: object) -> None:
        for number in range(begin, begin + count):
            log.append(tx, stored(number))  # type: ignore[arg-type]

    database.write(work)


RETENTION = RetentionEvents(EVENTS.node)


def prune(log: AuditLog, database: Database, *taken: int) -> int:
    """Prune tiles as a run does; return the number of the record that says so."""

    def work(tx: Transaction) -> int:
        before = pruned_of(tx.connection, ORIGIN).numbers
        tiles = [tile_at(tx.connection, place) for place in taken]
        for tile in tiles:
            remove(tx.connection, tile)
        gone = before | Runs.of(tile.run for tile in tiles)
        event = RETENTION.pruned(OPERATOR, gone, "2033-01-01T00:00:00+00:00", "")
        order = log.append(tx, event)
        point_at(tx.connection, order)
        return order

    return database.write(work)


def erase(log: AuditLog, database: Database, *numbers: int) -> int:
    """Erase records as an order does; return the number of the record that says so."""

    def work(tx: Transaction) -> int:
        rows = rows_of(tx.connection, numbers)
        event = RETENTION.erased(OPERATOR, 1, Runs.of_numbers(numbers), Runs())
        order = log.append(tx, event)
        erase_rows(tx.connection, rows, order)
        return order

    return database.write(work)
