"""The use case: decide, take in what is recorded, verify the record, bound, record."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from leadglass.access.rights import Right
from leadglass.archive.caller import Caller
from leadglass.archive.parts import Parts
from leadglass.assurance.breach.bounding import Bounds, Source, bound
from leadglass.assurance.trails.store import Facts
from leadglass.audit.findings import Report
from leadglass.errors import Damaged


@dataclass(frozen=True, slots=True)
class Workbench:
    """Bounds breaches by the record of this node.

    Attributes:
        parts: What the use cases share.
        facts: The facts of the record.
    """

    parts: Parts
    facts: Facts

    def __call__(
        self,
        caller: Caller,
        sources: Sequence[Source],
        since: datetime,
        until: datetime,
    ) -> tuple[Bounds, Report]:
        """Return who was reached, and the verification that this rests on.

        Raises:
            Refused: ``caller`` may not.
            BadData: No source, too many, or a window that is none.
            Damaged: The record is not intact, so nothing is bounded by it.
            Unavailable: It cannot be recorded, so it is not told.
        """
        self.parts.require(caller, Right.AUDIT, "audit breach")
        self.facts.take_all(self.parts.audit)
        report = self.parts.audit.verify()
        if not report.is_intact:
            raise Damaged(
                "the record is not intact, so nothing is bounded by it: "
                "leadglass audit verify"
            )
        with self.parts.database.read() as connection:
            found = bound(connection, sources, since, until)
        told = self.parts.events.audit_log_used(
            self.parts.actor(caller), "breach", found.acts, ""
        )
        self.parts.record(told)
        return found, report
