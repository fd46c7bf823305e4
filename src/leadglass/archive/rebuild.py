"""The index again, from the vault alone.

Each blob says which key seals it, and holds the file it was: everything that the
index knows follows from these and from the receipts beside them, except what is only
on the audit record. Which of several bytes under one UID came first is taken from the
index as it was, if it can be read; where instances of one patient or study disagree on
what is said of it, any of them may be believed. Audit log and register stay as they
are.

The rows of one blob are written in a transaction of their own, so a crash leaves an
index that lacks some; rebuilding again completes it. What a start makes of the time
before must not hang on rows, then: erasures that were decided are finished first, and
blobs that a dead process did not settle are entered and settled.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from leadglass.access.rights import Right
from leadglass.archive.caller import Caller
from leadglass.archive.erase import Erase
from leadglass.archive.parts import Parts
from leadglass.archive.reading import read_stored
from leadglass.archive.recovery import recover
from leadglass.audit.builders import Result
from leadglass.audit.codes import Outcome
from leadglass.database.engine import Transaction
from leadglass.errors import BadData, Damaged, NotFound
from leadglass.index.records import Added, Kind
from leadglass.vault.blobs import BlobName


@dataclass(slots=True)
class Rebuilt:
    """What was found in the vault.

    Attributes:
        blobs: Looked at.
        instances: In the index now.
        set_aside: Other bytes under the UID of one of these.
        damaged: Blobs that do not verify; they have no row.
    """

    blobs: int = 0
    instances: int = 0
    set_aside: int = 0
    damaged: int = 0


class Rebuild:
    """The use case."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def __call__(
        self, caller: Caller, progress: Callable[[Rebuilt], None] = lambda _: None
    ) -> Rebuilt:
        """Empty the index and fill it from the vault.

        Meant for a node that does not serve meanwhile.

        Raises:
            Refused: ``caller`` may not.
            Unavailable: Vault or database cannot answer; begin again.
        """
        parts = self._parts
        parts.require(caller, Right.ADMINISTER, "rebuild")
        actor = parts.actor(caller)
        event = parts.events.local_service(actor, "rebuild")
        self._finish_what_was_begun()

        with parts.database.read() as connection:
            kept_aside = {each.blob for each in parts.index.quarantined(connection)}

        def begin(tx: Transaction) -> None:
            parts.index.clear(tx)
            parts.audit.append(tx, event)

        parts.database.write(begin)
        found = Rebuilt()
        for name in _in_order(parts.blobs.names(), kept_aside):
            found.blobs += 1
            try:
                kind = self._add(name)
            except (BadData, Damaged, NotFound):
                found.damaged += 1
            else:
                found.instances += kind is Kind.NEW
                found.set_aside += kind is Kind.OTHER
            progress(found)
        counts = {"instances": found.instances, "damaged": found.damaged}
        outcome = Outcome.SERIOUS_FAILURE if found.damaged else Outcome.SUCCESS
        parts.record(
            parts.events.local_service(actor, "rebuild", Result(outcome, counts=counts))
        )
        return found

    def _finish_what_was_begun(self) -> None:
        """Leave nothing for a start to judge by the rows that will be missing."""
        # A study that is to be erased must not come back with its key still there,
        # and what was stored must be on the record before its rows are as all others.
        recover(self._parts, Erase(self._parts))
        # Settling syncs nothing; taken back by a power cut, it would be judged again.
        os.sync()

    def _add(self, name: BlobName) -> Kind:
        record = read_stored(self._parts.blobs, name).record

        def work(tx: Transaction) -> Added:
            added = self._parts.index.add(tx, record)
            if added.kind is Kind.OTHER:
                assert added.existing is not None  # that is what makes it OTHER
                self._parts.index.quarantine(tx, record, added.existing)
            return added

        return self._parts.database.write(work).kind


def _in_order(names: Iterable[BlobName], kept_aside: set[str]) -> Iterator[BlobName]:
    """Yield those last that were kept aside: they must not take the first's place."""
    last = []
    for name in names:
        if name in kept_aside:
            last.append(name)
        else:
            yield name
    yield from last
