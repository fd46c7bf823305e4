"""Taking instances out: recorded before the first byte, verified before each.

The record says twice what left: what was about to (Begin Transferring), and what
really did (Instances Transferred). A crash in between leaves the first alone, so
the record may say too much, never too little.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Self

from leadglass.access.rights import Right
from leadglass.access.scopes import EVERYTHING
from leadglass.archive.caller import Caller
from leadglass.archive.parts import Parts
from leadglass.archive.studies import studies_of
from leadglass.audit.builders import Actor, Medium, Result, Service, Study
from leadglass.audit.codes import Outcome
from leadglass.audit.events import SOPClass
from leadglass.dicom.attributes import Level
from leadglass.errors import Damaged, NotFound
from leadglass.index.query import Selection
from leadglass.index.records import InstanceLocation
from leadglass.vault.blobs import BlobName, BlobReader

# What a door says and hears of index; it cannot reach the index itself.
__all__ = [
    "Fetch",
    "InstanceLocation",
    "Retrieval",
    "Selection",
    "Stored",
    "named",
    "report_damage",
]


@dataclass(slots=True)
class Retrieval:
    """Instances on their way out.

    Attributes:
        locations: What was asked for and may be given, by study and series.
    """

    parts: Parts
    caller: Caller
    service: Service
    destination: Actor | None
    medium: Medium | None
    locations: tuple[InstanceLocation, ...]
    studies: dict[str, Study]
    _sent: list[InstanceLocation] = field(default_factory=list)
    _counts: Counter[str] = field(default_factory=Counter)

    def data_set(self, location: InstanceLocation) -> Iterator[bytes | memoryview]:
        """Yield an instance's data set as it is stored, each piece verified.

        Raises:
            Damaged: It does not verify, or is lost: recorded, and not served.
            NotFound: It was erased meanwhile.
            Unavailable: The vault cannot answer now.
        """
        return self._read(location, location.data_set_offset, location.data_set_bytes)

    def file(self, location: InstanceLocation) -> Iterator[bytes | memoryview]:
        """Yield an instance as the Part 10 file that is stored; see ``data_set``."""
        return self._read(location, 0, location.blob_bytes)

    def open(self, location: InstanceLocation) -> "Stored":
        """Open an instance's data set for reading in ranges; see ``data_set``."""
        with self._reporting(location):
            reader = self.parts.blobs.reader(BlobName(location.blob))
        return Stored(self, location, reader)

    def _read(
        self, location: InstanceLocation, offset: int, length: int
    ) -> Iterator[bytes | memoryview]:
        with self._reporting(location):
            yield from self.parts.blobs.get(BlobName(location.blob), offset, length)

    @contextmanager
    def _reporting(self, location: InstanceLocation) -> Iterator[None]:
        """Record what does not verify, and tell what is lost from what was erased."""
        try:
            yield
        except Damaged:
            self._report(location, "found when it was asked for")
            raise
        except NotFound:
            if not self._still_stands(location):
                raise
            self._report(location, "missing, or its key is, when it was asked for")
            raise Damaged("a stored instance is missing") from None

    def _report(self, location: InstanceLocation, how: str) -> None:
        study = self.studies.get(location.study_uid)
        report_damage(self.parts, self.caller, study, location, how)

    def _still_stands(self, location: InstanceLocation) -> bool:
        """Tell whether it was lost; if not, it was erased meanwhile."""
        wanted = Selection(level=Level.IMAGE, instance_uids=(location.instance_uid,))
        with self.parts.database.read() as connection:
            found = self.parts.index.instances(connection, wanted, (EVERYTHING,))
            return any(each.blob == location.blob for each in found)

    def sent(self, location: InstanceLocation, *, with_warning: bool = False) -> None:
        """Note that the receiver has it."""
        self._sent.append(location)
        self._counts["warned" if with_warning else "succeeded"] += 1

    def failed(self) -> None:
        """Note that the receiver did not get one."""
        self._counts["failed"] += 1

    def finish(self, *, was_cancelled: bool = False) -> None:
        """Record what really left.

        Raises:
            Unavailable: It cannot be recorded; what was about to leave is.
        """
        counts = {
            each: self._counts[each] for each in ("succeeded", "failed", "warned")
        }
        rest = len(self.locations) - sum(counts.values())
        if rest:
            counts["not attempted"] = rest
        is_whole = counts["succeeded"] == len(self.locations)
        outcome = Outcome.SUCCESS if is_whole else Outcome.MINOR_FAILURE
        result = Result(outcome, "cancelled" if was_cancelled else "", counts)
        actor = self.parts.actor(self.caller)
        studies = tuple(self._studies(self._sent))
        if self.medium is not None:
            events = self.parts.events.exported(actor, studies, self.medium, result)
        else:
            events = self.parts.events.transferred(
                actor,
                studies,
                result,
                destination=self.destination,
                service=self.service,
            )
        self.parts.record(*events)

    def _studies(self, locations: Iterable[InstanceLocation]) -> Iterator[Study]:
        return named(self.studies, locations)


class Stored:
    """One instance's data set, read in ranges; by one thread at a time.

    Every range is verified before it is given. Close it, or use it as a context.
    """

    def __init__(
        self, retrieval: Retrieval, location: InstanceLocation, reader: BlobReader
    ) -> None:
        self._retrieval = retrieval
        self._location = location
        self._reader = reader

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self._location.data_set_bytes

    def read(self, offset: int, length: int) -> bytes:
        """Return a range; fewer bytes only where the data set ends.

        Raises:
            Damaged: It does not verify: recorded, and not served.
            Unavailable: The vault cannot answer now.
        """
        length = min(length, self.size - offset)
        if offset < 0 or length <= 0:
            return b""
        with self._retrieval._reporting(self._location):  # noqa: SLF001 - its own
            return self._reader.read(self._location.data_set_offset + offset, length)

    def close(self) -> None:
        """Let go of it; may be repeated."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def named(
    studies: dict[str, Study], locations: Iterable[InstanceLocation]
) -> Iterator[Study]:
    """Yield the studies with the instances that are meant, by SOP class."""
    found: dict[str, dict[str, list[str]]] = {}
    for each in locations:
        classes = found.setdefault(each.study_uid, {})
        classes.setdefault(each.sop_class_uid, []).append(each.instance_uid)
    for uid, classes in found.items():
        yield replace(
            studies.get(uid, Study(uid)),
            sop_classes=tuple(
                SOPClass(sop_class, len(uids), tuple(uids))
                for sop_class, uids in classes.items()
            ),
        )


@dataclass(frozen=True, slots=True)
class Fetch:
    """The use case."""

    parts: Parts

    def begin(  # noqa: PLR0913  # who, what, how and where to
        self,
        caller: Caller,
        right: Right,
        selection: Selection,
        service: Service,
        *,
        destination: Actor | None = None,
        medium: Medium | None = None,
    ) -> Retrieval:
        """Find and record what is about to leave; then it may.

        Args:
            caller: Who asks.
            right: ``get``, ``move``, ``view`` or ``export``.
            selection: What is asked for.
            service: By which service.
            destination: Who receives, if not the caller.
            medium: Where it is written to, for an export.

        Raises:
            Refused: ``caller`` may not.
            Unavailable: The node cannot record, so nothing leaves.
        """
        parts = self.parts
        scopes = parts.require(caller, right, service)
        with parts.database.read() as connection:
            locations = tuple(parts.index.instances(connection, selection, scopes))
            uids = (each.study_uid for each in locations)
            studies = studies_of(parts.index, connection, uids, scopes)
        parts.record(
            *parts.events.begin_transferring(
                parts.actor(caller),
                tuple(named(studies, locations)),
                destination=destination,
                service=service,
                right=right,
            )
        )
        return Retrieval(
            parts, caller, service, destination, medium, locations, studies
        )


def report_damage(
    parts: Parts,
    caller: Caller,
    study: Study | None,
    location: InstanceLocation,
    how: str,
) -> None:
    """Record that stored bytes do not verify."""
    if study is not None:
        study = replace(
            study,
            sop_classes=(
                SOPClass(location.sop_class_uid, 1, (location.instance_uid,)),
            ),
        )
    event = parts.events.damage_found(
        parts.actor(caller), study, {"blob": location.blob, "how": how}
    )
    parts.try_to_record(event)
