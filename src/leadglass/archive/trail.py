"""Reading and proving the audit record: a right, and itself on the record."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from leadglass.access.rights import Right
from leadglass.archive.caller import Caller
from leadglass.archive.parts import Parts
from leadglass.audit.findings import Report
from leadglass.audit.proof import Proof
from leadglass.audit.search import Record, Search

# What a door says and hears of the audit log.
__all__ = ["Proof", "Record", "Report", "Search", "Trail"]

# Records that are told of together; some 2 MB.
_RECORDS_PER_EVENT: Final = 1000


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

    def verify(self, caller: Caller, witnessed: Iterable[str] = ()) -> Report:
        """Recompute the whole log.

        That it was done is recorded afterwards, and not at all in a log that was
        tampered with: nothing is written on top of that.

        Raises:
            Refused: ``caller`` may not.
        """
        self.parts.require(caller, Right.AUDIT, "audit verify")
        report = self.parts.audit.verify(witnessed)
        actor = self.parts.actor(caller)
        if report.is_intact:
            self.parts.record(
                self.parts.events.audit_log_used(actor, "verify", report.records)
            )
        return report

    def _used(self, caller: Caller, use: str, records: int) -> None:
        actor = self.parts.actor(caller)
        self.parts.record(self.parts.events.audit_log_used(actor, use, records))
