"""Looking at every stored byte: seals, hashes, pages, and that rows and blobs agree.

Nothing is repaired: what is found is reported and recorded, and stays as it is.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields
from hashlib import sha256
from itertools import chain

from leadglass.access.rights import Right
from leadglass.access.scopes import EVERYTHING
from leadglass.archive.caller import Caller
from leadglass.archive.fetch import report_damage
from leadglass.archive.jobs import Jobs, Work
from leadglass.archive.parts import Parts
from leadglass.archive.studies import studies_of
from leadglass.audit.builders import Result
from leadglass.audit.codes import Outcome
from leadglass.errors import Damaged, NotFound
from leadglass.index.records import InstanceLocation, Quarantined
from leadglass.vault.blobs import BlobName

# What stands in a report where a blob's name would.
_DATABASE = "database"
# Damaged instances that a report names; all of them are on the record.
_NAMED_MAX = 1000
# Blob names compared with the index at a time, which costs one pass over it; 100
# bytes each in memory.
_NAMES_PER_LOOK = 100_000


@dataclass(frozen=True, slots=True)
class Damage:
    """One blob that is not what it must be."""

    blob: str
    what: str


@dataclass(slots=True)
class Verified:
    """What was looked at, and what was found.

    Attributes:
        instances: Rows whose blobs were read whole, those of the quarantine too.
        total: Rows that there are; for a progress bar.
        bytes: Of plaintext, read and hashed.
        damaged: Blobs that do not verify or are missing, and the database if a page
            of it does not; ``damages`` names them.
        orphans: Blobs that no row names: harmless, left behind by a crash, or on
            their way in just now; the next start removes what is unfinished.
    """

    instances: int = 0
    total: int = 0
    bytes: int = 0
    damaged: int = 0
    orphans: int = 0
    damages: list[Damage] = field(default_factory=list)


class Verify:
    """The use case."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def __call__(
        self,
        caller: Caller,
        progress: Callable[[Verified], None] = lambda _: None,
        *,
        alone: bool = False,
    ) -> Verified:
        """Read and judge everything.

        Args:
            caller: Who has it done.
            progress: Hears how far it is; what it raises ends the verification.
            alone: Only if no other verification is done.

        Raises:
            Refused: ``caller`` may not.
            Unavailable: Vault or database cannot answer, or it is not alone;
                nothing is concluded.
        """
        parts = self.parts
        parts.require(caller, Right.ADMINISTER, "verify")
        actor = parts.actor(caller)
        parts.record(parts.events.local_service(actor, "verify"))
        jobs = Jobs(parts).doing(Work.VERIFY, caller.subject.name, alone=alone)
        try:
            with jobs as note:

                def told(found: Verified) -> None:
                    note(found.instances, found.total, found.damaged)
                    progress(found)

                found = self._look(caller, told)
        except BaseException:
            cut = Result(Outcome.MINOR_FAILURE, "ended early: nothing is concluded")
            parts.try_to_record(parts.events.local_service(actor, "verify", cut))
            raise
        counts = {
            "instances": found.instances,
            "damaged": found.damaged,
            "orphans": found.orphans,
        }
        outcome = Outcome.SERIOUS_FAILURE if found.damaged else Outcome.SUCCESS
        parts.record(
            parts.events.local_service(actor, "verify", Result(outcome, counts=counts))
        )
        return found

    def _look(self, caller: Caller, progress: Callable[[Verified], None]) -> Verified:
        """Read and judge; say how far it is."""
        parts, found = self.parts, Verified()
        self._judge_database(caller, found)
        with parts.database.read() as connection:
            totals = parts.index.totals(connection)
            found.total = totals.instances + totals.quarantined
            kept_aside = map(_location_of, parts.index.quarantined(connection))
            for location in chain(parts.index.all_instances(connection), kept_aside):
                self._judge(caller, location, found)
                progress(found)
        for part in _parts_of(parts.blobs.names()):
            # Rows are looked up now, so one that was added meanwhile is known.
            with parts.database.read() as connection:
                known = parts.index.known_blobs(connection, part)
            found.orphans += len(part) - len(known)
        return found

    def _judge_database(self, caller: Caller, found: Verified) -> None:
        """Look at the seal of every page; a row on one that fails cannot be read."""
        try:
            self.parts.database.verify()
        except Damaged as error:
            found.damaged += 1
            found.damages.append(Damage(_DATABASE, str(error)))
            facts = {"file": _DATABASE, "how": f"verify: {error}"}
            actor = self.parts.actor(caller)
            self.parts.try_to_record(self.parts.events.damage_found(actor, None, facts))

    def _judge(
        self, caller: Caller, location: InstanceLocation, found: Verified
    ) -> None:
        found.instances += 1
        try:
            what = self.fault(location)
        except NotFound:
            what = "missing, or its key is"
            if self._is_gone(location):
                found.instances -= 1  # erased while we looked
                return
        except Damaged as error:
            what = str(error)
        found.bytes += location.blob_bytes
        if what is None:
            return
        found.damaged += 1
        if len(found.damages) < _NAMED_MAX:
            found.damages.append(Damage(location.blob, what))
        with self.parts.database.read() as connection:
            studies = studies_of(
                self.parts.index, connection, (location.study_uid,), (EVERYTHING,)
            )
        study = studies.get(location.study_uid)
        report_damage(self.parts, caller, study, location, f"verify: {what}")

    def fault(self, location: InstanceLocation) -> str | None:
        """Return what is wrong with one blob; raises what the vault raises."""
        digest = sha256()
        with self.parts.blobs.reader(BlobName(location.blob)) as reader:
            if reader.size != location.blob_bytes:
                return "of another length than was stored"
            for _ in reader.chunks(0, location.data_set_offset):
                pass  # the seal is what is judged here
            for chunk in reader.chunks(
                location.data_set_offset, location.data_set_bytes
            ):
                digest.update(chunk)
        if digest.digest() != location.digest:
            return "of another hash than was stored"
        return None

    def _is_gone(self, location: InstanceLocation) -> bool:
        with self.parts.database.read() as connection:
            known = self.parts.index.known_blobs(connection, (location.blob,))
        return not known


def _location_of(kept: Quarantined) -> InstanceLocation:
    """Return where bytes lie that are kept aside, and what they must be."""
    return InstanceLocation(
        **{each.name: getattr(kept, each.name) for each in fields(InstanceLocation)}
    )


def _parts_of(names: Iterable[BlobName]) -> Iterator[list[BlobName]]:
    part: list[BlobName] = []
    for name in names:
        part.append(name)
        if len(part) == _NAMES_PER_LOOK:
            yield part
            part = []
    if part:
        yield part
