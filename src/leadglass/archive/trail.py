"""Reading and proving the audit record: a right, and itself on the record."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Final

from leadglass.access.rights import Right
from leadglass.archive.caller import Caller
from leadglass.archive.parts import Parts
from leadglass.audit.checkpoint import Checkpoint
from leadglass.audit.evidence.making import Made, Request
from leadglass.audit.evidence.selection import Selection
from leadglass.audit.findings import Report
from leadglass.audit.log import State
from leadglass.audit.proof import Proof
from leadglass.audit.search import Portion, Record, Search
from leadglass.audit.timeline import Bucket
from leadglass.audit.timestamps import Timestamp
from leadglass.audit.witness import Offer, WitnessKey
from leadglass.errors import Misconfigured

# What a door says and hears of the audit log.
__all__ = [
    "Made",
    "Offer",
    "Portion",
    "Proof",
    "Record",
    "Report",
    "Search",
    "Selection",
    "State",
    "Timestamp",
    "Trail",
    "WitnessKey",
]

# Records that are told of together; some 2 MB.
_RECORDS_PER_EVENT: Final = 1000
_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Trail:
    """The use case; every use needs the right ``audit``."""

    parts: Parts

    def list(self, caller: Caller, search: Search) -> Iterator[Record]:
        """Yield the records that fit; that they were read is recorded first.

        Raises:
            Refused: ``caller`` may not.
            Unavailable: It cannot be recorded, so it is not told.
        """
        self.parts.require(caller, Right.AUDIT, "audit list")
        found = iter(self.parts.audit.list(search))
        is_first = True
        while part := list(islice(found, _RECORDS_PER_EVENT)):
            self._used(caller, "list", len(part))
            is_first = False
            yield from part
        if is_first:
            self._used(caller, "list", 0)

    def look(self, caller: Caller, search: Search, found_max: int) -> Portion:
        """Return the newest records that fit, some at a time, at a bounded cost.

        Raises:
            Refused: ``caller`` may not.
            Unavailable: That they were read cannot be recorded, so it is not told.
        """
        self.parts.require(caller, Right.AUDIT, "audit search")
        found = self.parts.audit.look(search, found_max)
        self._used(caller, "search", len(found.records), search.patient or "")
        return found

    def get(self, caller: Caller, number: int) -> Record:
        """Return one record in full.

        Raises:
            Refused: ``caller`` may not.
            NotFound: There is no such record.
            Unavailable: That it was read cannot be recorded, so it is not told.
        """
        self.parts.require(caller, Right.AUDIT, "audit read")
        found = self.parts.audit.get(number)
        self._used(caller, "read", 1)
        return found

    def hours(self, caller: Caller, now: datetime) -> Sequence[Bucket]:
        """Return what was recorded in the last 24 hours, by hour; names no record.

        Raises:
            Refused: ``caller`` may not.
            Unavailable: The database cannot answer.
        """
        end = now.replace(minute=0, second=0, microsecond=0) + _HOUR
        return self._counted(caller, [end - _HOUR * n for n in range(24, -1, -1)])

    def days(self, caller: Caller, now: datetime) -> Sequence[Bucket]:
        """Return what was recorded in the last 30 days, by day of UTC.

        Raises:
            Refused: ``caller`` may not.
            Unavailable: The database cannot answer.
        """
        midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0)
        end = midnight.replace(microsecond=0) + _DAY
        return self._counted(caller, [end - _DAY * n for n in range(30, -1, -1)])

    def _counted(self, caller: Caller, moments: Sequence[datetime]) -> Sequence[Bucket]:
        self.parts.require(caller, Right.AUDIT, "audit count")
        return self.parts.audit.count(moments)

    def state(self, caller: Caller) -> State:
        """Return how far the log goes and what was signed; tells of no record.

        Raises:
            Refused: ``caller`` may not.
            Unavailable: Database or checkpoint file cannot be read.
            Damaged: What stands there is none.
        """
        self.parts.require(caller, Right.AUDIT, "audit state")
        return self.parts.audit.state()

    def export(self, caller: Caller, search: Search) -> Iterator[Record]:
        """Yield all records that fit, the newest first, each thousand recorded before.

        Each portion is a question of its own, so a slow reader holds no snapshot;
        records that are written meanwhile are not among them.

        Raises:
            Refused: ``caller`` may not.
            Unavailable: It cannot be recorded, so no more is told.
        """
        self.parts.require(caller, Right.AUDIT, "audit export")
        size = self.parts.audit.size()
        after: int | None = size if search.after is None else min(size, search.after)
        is_first = True
        while after is not None:
            part = self.parts.audit.look(
                replace(search, after=after), _RECORDS_PER_EVENT
            )
            if part.records or is_first:
                self._used(caller, "export", len(part.records))
            is_first = False
            yield from part.records
            after = part.after

    def prove(self, caller: Caller, number: int, *, disclose: bool) -> Proof:
        """Return the proof that a record is in the log.

        Raises:
            Refused: ``caller`` may not.
            NotFound: There is no such record.
        """
        self.parts.require(caller, Right.AUDIT, "audit prove")
        proof = self.parts.audit.prove(number, disclose=disclose)
        self._used(caller, "prove and disclose" if disclose else "prove", 1)
        return proof

    def evidence(self, caller: Caller, selection: Selection, folder: Path) -> Made:
        """Write a folder of evidence; that it is made is recorded before.

        Raises:
            Refused: ``caller`` may not.
            NotFound: There is no such record.
            Misconfigured: The folder is there already.
            Damaged: The log was tampered with, so nothing is proven by it.
            Unavailable: It cannot be recorded or written.
        """
        self.parts.require(caller, Right.AUDIT, "audit evidence")
        if folder.exists():
            raise Misconfigured(
                "the folder of the evidence is there already; name a new one"
            )
        place = self.parts.audit.locate(selection)
        actor = self.parts.actor(caller)
        self.parts.record(
            self.parts.events.audit_log_used(
                actor, "evidence", len(place.opened), selection.patient or ""
            )
        )
        made_at = datetime.now(UTC).isoformat(timespec="seconds")
        return self.parts.audit.make_evidence(
            place, Request(selection, folder, made_at, actor.name)
        )

    def offer(self, caller: Caller, witness: WitnessKey, old: int | None) -> Offer:
        """Return the newest checkpoint for a witness to cosign; it names nobody.

        Raises:
            Refused: ``caller`` may not.
            NotFound: There is no record yet.
            Damaged: There are fewer records than the witness has cosigned.
        """
        self.parts.require(caller, Right.AUDIT, "audit offer")
        return self.parts.audit.offer(witness, old)

    def take_cosigned(
        self, caller: Caller, note: str, witness: WitnessKey
    ) -> Checkpoint:
        """Keep a checkpoint that a witness cosigned; that is recorded.

        Raises:
            Refused: ``caller`` may not.
            BadData: It is none of this witness.
            Damaged: It is not one of this log, or a signature is false.
            Unavailable: It cannot be kept or recorded.
        """
        self.parts.require(caller, Right.AUDIT, "audit cosigned")
        taken = self.parts.audit.take_cosigned(note, witness)
        self._used(caller, f"cosigned by {witness.name}", taken.size)
        return taken

    def to_stamp(self, caller: Caller) -> str:
        """Return the checkpoint that an authority is to stamp; it names nobody.

        Raises:
            Refused: ``caller`` may not.
            NotFound: There is no record yet.
            Unavailable: The checkpoint file cannot be written.
        """
        self.parts.require(caller, Right.AUDIT, "audit time stamp")
        return self.parts.audit.to_stamp()

    def take_timestamp(
        self, caller: Caller, reply: bytes, authority: bytes, nonce: int | None = None
    ) -> Timestamp:
        """Keep the time stamp of a checkpoint; that is recorded.

        Args:
            caller: Who brings it.
            reply: Of an authority (RFC 3161).
            authority: The certificate that must have signed it, PEM or DER.
            nonce: That was asked with; None: none was.

        Raises:
            Refused: ``caller`` may not.
            BadData: The reply or the certificate is none, or no stamp was given.
            Damaged: The stamp does not hold, or is of no checkpoint of this log.
            Unavailable: It cannot be kept or recorded.
        """
        self.parts.require(caller, Right.AUDIT, "audit time stamp")
        taken = self.parts.audit.take_timestamp(reply, authority, nonce)
        self._used(caller, "time stamp", taken.size)
        return taken

    def timestamps(self, caller: Caller) -> Sequence[Timestamp]:
        """Return the time stamps that are kept; they name nobody.

        Raises:
            Refused: ``caller`` may not.
            Unavailable: The file cannot be read.
            Damaged: It was changed.
        """
        self.parts.require(caller, Right.AUDIT, "audit time stamps")
        return self.parts.audit.timestamps()

    def verify(
        self,
        caller: Caller,
        witnessed: Iterable[str] = (),
        progress: Callable[[int, int], None] = lambda _done, _all: None,
    ) -> Report:
        """Recompute the whole log.

        That it was done is recorded afterwards, and not at all in a log that was
        tampered with: nothing is written on top of that.

        Args:
            caller: Who asks.
            witnessed: Checkpoints that were kept elsewhere.
            progress: Is told how many records were read, of how many, now and then.

        Raises:
            Refused: ``caller`` may not.
            Cancelled: ``progress`` did.
        """
        self.parts.require(caller, Right.AUDIT, "audit verify")
        report = self.parts.audit.verify(witnessed, progress)
        actor = self.parts.actor(caller)
        if report.is_intact:
            self.parts.record(
                self.parts.events.audit_log_used(actor, "verify", report.records)
            )
        return report

    def _used(
        self, caller: Caller, use: str, records: int, patient_id: str = ""
    ) -> None:
        actor = self.parts.actor(caller)
        event = self.parts.events.audit_log_used(actor, use, records, patient_id)
        self.parts.record(event)
