"""How much there is, and which study a short id means."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from sqlalchemy import select

from leadglass.access.rights import Right
from leadglass.archive.caller import Caller
from leadglass.archive.parts import Parts
from leadglass.dicom.uids import UID
from leadglass.errors import BadData, NotFound
from leadglass.index.records import Quarantined, Totals
from leadglass.index.tables import study as study_table

# What a person can type; among 50,000 studies two share their first ten digits once
# in a thousand archives, and then both are refused.
SHORT_ID_CHARACTERS: Final = 10
_SHORT_ID_CHARACTERS_MIN: Final = 6
_HEX: Final = frozenset("0123456789abcdef")
_UIDS_READ: Final = 1000


def short_id(study_uid: str) -> str:
    """Return a name for a study that says nothing of it."""
    return sha256(study_uid.encode()).hexdigest()[:SHORT_ID_CHARACTERS]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The use case."""

    parts: Parts

    def totals(self, caller: Caller) -> Totals:
        """Return how much the archive holds.

        Raises:
            Refused: ``caller`` may not know.
        """
        self.parts.require(caller, Right.ADMINISTER, "count")
        with self.parts.database.read() as connection:
            return self.parts.index.totals(connection)

    def resolve(self, caller: Caller, text: str) -> UID:
        """Return the Study Instance UID that a UID or short id means.

        A UID is not looked up: whether it is there, the use case says that gets it.

        Raises:
            Refused: ``caller`` may not ask.
            NotFound: No study, or more than one, has such an id.
            BadData: It is neither.
        """
        wanted = text.strip().lower()
        if "." in wanted:
            return UID(wanted)
        if len(wanted) < _SHORT_ID_CHARACTERS_MIN or not set(wanted) <= _HEX:
            raise BadData("neither a Study Instance UID nor a short id")
        self.parts.require(caller, Right.FIND, "studies")
        found = [uid for uid in self._uids() if short_id(uid).startswith(wanted)]
        if len(found) != 1:
            raise NotFound(
                "no study has this short id"
                if not found
                else "more than one study has this short id; give its UID"
            )
        return UID(found[0])

    def _uids(self) -> Iterator[str]:
        with self.parts.database.read() as connection:
            yield from connection.execution_options(yield_per=_UIDS_READ).scalars(
                select(study_table.c.study_instance_uid)
            )

    def quarantined(self, caller: Caller) -> tuple[Quarantined, ...]:
        """Return what is kept aside.

        Raises:
            Refused: ``caller`` may not know.
        """
        self.parts.require(caller, Right.ADMINISTER, "quarantine list")
        with self.parts.database.read() as connection:
            return tuple(self.parts.index.quarantined(connection))
