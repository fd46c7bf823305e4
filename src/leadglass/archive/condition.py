"""How the node is: whether it can work, how much it holds, what ends when.

Health is looked at by whoever asks, and strangers may ask: so the answer stands for
some seconds, and nobody makes the node look more often than that.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from leadglass.access.rights import Right
from leadglass.archive.caller import Caller
from leadglass.archive.jobs import Job, Jobs
from leadglass.archive.meters import Family, Kind, Sample
from leadglass.archive.openings import Ending, endings
from leadglass.archive.parts import Parts
from leadglass.errors import LeadglassError, Unavailable
from leadglass.identity.authority import Authority
from leadglass.identity.devices import Devices
from leadglass.index import growth
from leadglass.index.growth import Grown

# How long an answer stands.
LOOK_INTERVAL_S: Final = 5.0
# Behind this the signed head on the disk says little; it is written within a second.
CHECKPOINT_AGE_MAX_S: Final = 300.0
# Days of growth that are told.
DAYS_SHOWN: Final = 365
# The latest growth tells how long there is room.
DAYS_OF_TREND: Final = 30
JOBS_SHOWN: Final = 20
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


class Organ(StrEnum):
    """What has to work."""

    DATABASE = "database"
    INTAKE = "intake"
    DISK = "disk"
    RECORD = "record"


@dataclass(frozen=True, slots=True)
class Health:
    """How one of them is.

    Attributes:
        organ: Which.
        fault: What is wrong; empty if nothing is.
    """

    organ: Organ
    fault: str

    @property
    def is_well(self) -> bool:
        """Whether nothing is wrong."""
        return not self.fault


@dataclass(frozen=True, slots=True)
class Space:
    """The disk of the data folder, in bytes."""

    total_bytes: int
    free_bytes: int

    @classmethod
    def of(cls, folder: Path) -> "Space":
        """Ask the system.

        Raises:
            Unavailable: It does not say.
        """
        try:
            found = os.statvfs(folder)
        except OSError as error:
            raise Unavailable("the disk cannot be asked for its space") from error
        return cls(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)


@dataclass(frozen=True, slots=True)
class Portrait:
    """All of it, for a page.

    Attributes:
        at: When.
        began_at: Since when this process serves.
        health: Of everything that has to work.
        holds: What the archive holds.
        days: On which it grew or shrank, the oldest first.
        space: Of its disk.
        days_left: Until the disk is full, as it grew lately; None: it did not grow.
        records: Of the audit log.
        quarantined: Instances that were kept aside.
        endings: Certificates and their ends.
    """

    at: datetime
    began_at: datetime
    health: tuple[Health, ...]
    holds: Grown
    days: tuple[Grown, ...]
    space: Space
    days_left: int | None
    records: int
    quarantined: int
    endings: tuple[Ending, ...]


class Condition:
    """The use case.

    Args:
        parts: The collaborators.
        authority: Whose certificates end.
        devices: The register.
        version: Of the program.
        warning_days: From when on an end is soon.
        clock: Seconds that only go forward.
    """

    def __init__(  # noqa: PLR0913, PLR0917  # collaborators, each named
        self,
        parts: Parts,
        authority: Authority,
        devices: Devices,
        version: str,
        warning_days: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._parts = parts
        self._authority = authority
        self._devices = devices
        self.version = version
        self._warning_days = warning_days
        self._clock = clock
        self._began_at = datetime.now(UTC)
        self._lock = threading.Lock()
        self._looked: tuple[float, tuple[Health, ...]] | None = None

    # --- health -----------------------------------------------------------------

    def health(self) -> tuple[Health, ...]:
        """Return how everything is that has to work, some seconds old at most."""
        with self._lock:
            if self._looked is None or (
                self._clock() - self._looked[0] >= LOOK_INTERVAL_S
            ):
                found = tuple(
                    Health(organ, _fault(look)) for organ, look in self._looks()
                )
                self._looked = self._clock(), found
            return self._looked[1]

    def check(self) -> None:
        """Tell whether the node can work.

        Raises:
            Unavailable: Something does not; which, is for the log and the page.
        """
        if not all(each.is_well for each in self.health()):
            raise Unavailable("not ready")

    def _looks(self) -> Iterator[tuple[Organ, Callable[[], None]]]:
        yield Organ.DATABASE, self._read
        yield Organ.INTAKE, self._parts.intake.check
        yield Organ.DISK, self._parts.room.check
        yield Organ.RECORD, self._see_checkpoints

    def _read(self) -> None:
        with self._parts.database.read() as connection:
            growth.whole(connection)

    def _see_checkpoints(self) -> None:
        state = self._parts.audit.state()
        written_at = state.file_written_at
        if state.size and written_at is None:
            raise Unavailable("the file of checkpoints is gone")
        if state.size > (state.file_size or 0) and written_at is not None:
            age = datetime.now(UTC) - written_at
            if age.total_seconds() > CHECKPOINT_AGE_MAX_S:
                raise Unavailable("the file of checkpoints is not written any more")

    # --- the page ---------------------------------------------------------------

    def portrait(self, caller: Caller) -> Portrait:
        """Return how the node is.

        Raises:
            Refused: ``caller`` may not know.
            Unavailable: The database or the disk does not say.
        """
        parts = self._parts
        parts.require(caller, Right.ADMINISTER, "see how the node is")
        now = datetime.now(UTC)
        with parts.database.read() as connection:
            holds = growth.whole(connection)
            days = growth.by_day(connection, DAYS_SHOWN)
            quarantined = parts.index.quarantined_count(connection)
            ends = tuple(
                endings(
                    self._authority, self._devices, connection, self._warning_days, now
                )
            )
        space = Space.of(parts.room.folder)
        return Portrait(
            at=now,
            began_at=self._began_at,
            health=self.health(),
            holds=holds,
            days=tuple(days),
            space=space,
            days_left=days_left(days, space, now),
            records=parts.audit.size(),
            quarantined=quarantined,
            endings=ends,
        )

    def jobs(self, caller: Caller) -> tuple[Job, ...]:
        """Return long work, the newest first.

        Raises:
            Refused: ``caller`` may not know.
        """
        self._parts.require(caller, Right.ADMINISTER, "see how the node is")
        return Jobs(self._parts).lately(JOBS_SHOWN)

    # --- figures ----------------------------------------------------------------

    def samples(self) -> Iterator[Sample]:
        """Yield what is counted, and how it is now; who asks was judged before."""
        parts, now = self._parts, datetime.now(UTC)
        yield from parts.meters.samples()
        yield Sample(INFO, (self.version,), 1)
        for health in self.health():
            yield Sample(HEALTHY, (str(health.organ),), health.is_well)
        with parts.database.read() as connection:
            holds = growth.whole(connection)
            quarantined = parts.index.quarantined_count(connection)
            ends = list(self._authority.expiring(_EVER_DAYS))
        yield Sample(STUDIES, (), holds.studies)
        yield Sample(STORED, (), holds.instances)
        yield Sample(STORED_BYTES, (), holds.blob_bytes)
        yield Sample(QUARANTINED, (), quarantined)
        space = Space.of(parts.room.folder)
        yield Sample(DISK_BYTES, (), space.total_bytes)
        yield Sample(FREE_BYTES, (), space.free_bytes)
        yield Sample(RECORDS, (), parts.audit.size())
        for each in ends:
            left_s = (each.not_after - now).total_seconds()
            yield Sample(CERTIFICATES, (each.what,), left_s)
        yield from _process()


def days_left(days: Sequence[Grown], space: Space, now: datetime) -> int | None:
    """Return for how many days there is room, as it grew lately; None: for ever."""
    since = now.date().toordinal() - DAYS_OF_TREND
    lately = [
        each.blob_bytes
        for each in days
        if datetime.strptime(each.day, "%Y-%m-%d").toordinal() > since  # noqa: DTZ007
    ]
    grown = sum(lately)
    if grown <= 0:
        return None
    return int(space.free_bytes / (grown / DAYS_OF_TREND))


def _fault(look: Callable[[], None]) -> str:
    try:
        look()
    except LeadglassError as error:
        return str(error)
    return ""


def _process() -> Iterator[Sample]:
    """Yield what the system says of this process (proc(5))."""
    fields = Path("/proc/self/stat").read_text("ascii").rpartition(")")[2].split()
    booted = next(
        float(line.split()[1])
        for line in Path("/proc/stat").read_text("ascii").splitlines()
        if line.startswith("btime ")
    )
    yield Sample(CPU_SECONDS, (), (int(fields[11]) + int(fields[12])) / _TICKS_PER_S)
    yield Sample(THREADS, (), int(fields[17]))
    yield Sample(STARTED, (), booted + int(fields[19]) / _TICKS_PER_S)
    yield Sample(MEMORY, (), int(fields[21]) * _PAGE_BYTES)
    yield Sample(DESCRIPTORS, (), sum(1 for _ in Path("/proc/self/fd").iterdir()))


def _gauge(name: str, text: str, *labels: str) -> Family:
    return Family(name, Kind.GAUGE, text, labels)


_EVER_DAYS: Final = 36_500
INFO: Final = _gauge("leadglass_build_info", "Which version runs; 1.", "version")
HEALTHY: Final = _gauge("leadglass_healthy", "Whether it works: 1, or 0.", "part")
STUDIES: Final = _gauge("leadglass_studies", "Studies in the archive.")
STORED: Final = _gauge("leadglass_instances", "Instances in the archive.")
STORED_BYTES: Final = _gauge(
    "leadglass_instances_bytes", "Bytes of the instances in the archive."
)
QUARANTINED: Final = _gauge(
    "leadglass_quarantined_instances", "Instances that were kept aside."
)
DISK_BYTES: Final = _gauge("leadglass_disk_bytes", "Size of the data folder's disk.")
FREE_BYTES: Final = _gauge("leadglass_disk_free_bytes", "What of it is free.")
RECORDS: Final = _gauge("leadglass_audit_records", "Records of the audit log.")
CERTIFICATES: Final = _gauge(
    "leadglass_certificate_left_seconds",
    "Until a certificate of the node or its revocation list ends.",
    "of",
)
CPU_SECONDS: Final = Family(
    "process_cpu_seconds_total", Kind.COUNTER, "Processor time, user and system."
)
THREADS: Final = _gauge("process_threads", "Threads.")
STARTED: Final = _gauge("process_start_time_seconds", "Since when, in Unix time.")
MEMORY: Final = _gauge("process_resident_memory_bytes", "Resident memory.")
DESCRIPTORS: Final = _gauge("process_open_fds", "Open file descriptors.")

# All that ``samples`` tells beside what is counted, in its order.
MEASURED: Final = (
    *(INFO, HEALTHY, STUDIES, STORED, STORED_BYTES, QUARANTINED),
    *(DISK_BYTES, FREE_BYTES, RECORDS, CERTIFICATES),
    *(CPU_SECONDS, THREADS, STARTED, MEMORY, DESCRIPTORS),
)
