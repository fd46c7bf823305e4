"""Copies of checkpoints where this node cannot take them back.

What is copied names no patient: signed checkpoints, those that witnesses cosigned, and
time stamps of authorities. Each is a file of its own that is made once and never
written again; its name has the number of records and a digest of it. Whoever rolls the
log back, or signs another history, contradicts a file that is elsewhere.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Protocol

from leadglass.access.rights import Right
from leadglass.archive.caller import Caller
from leadglass.archive.parts import Parts
from leadglass.errors import LeadglassError

_LOG = logging.getLogger(__name__)

# After a failure; a place that is away is back in minutes, or somebody must see to it.
RETRY_S: Final = 60.0


class Place(Protocol):
    """Somewhere to keep what is never written again."""

    def put(self, name: str, data: bytes) -> bool:
        """Keep something; tell whether it was not there yet.

        Raises:
            Unavailable: It cannot be kept.
            Damaged: Something else stands there under its name.
        """


@dataclass(frozen=True, slots=True)
class Copied:
    """What a run did.

    Attributes:
        size: Records of the newest checkpoint that is there now.
        new: How many files were not there before.
    """

    size: int
    new: int


@dataclass(slots=True)
class Copier:
    """Copies to one place; ``step`` again and again, in one thread.

    Attributes:
        parts: The collaborators.
        caller: Who copies: the node itself, or somebody by a command.
        place: Where to.
        interval_s: How often.
    """

    parts: Parts
    caller: Caller
    place: Place
    interval_s: float
    _known: set[str] = field(default_factory=set)
    _is_failing: bool = False

    def run(self) -> Copied:
        """Copy what is not there.

        Raises:
            Refused: The caller may not read the log.
            Unavailable: It cannot be read, or not be kept there.
            Damaged: Something else stands there under a name of ours.
        """
        self.parts.require(self.caller, Right.AUDIT, "audit copy")
        size, things = self.parts.audit.to_copy()
        new = 0
        for name, data in _named(things):
            if name not in self._known:
                new += self.place.put(name, data)
                self._known.add(name)
        return Copied(size, new)

    def step(self) -> float:
        """Copy, and return in how many seconds to come again; never raises ours."""
        try:
            self.run()
        except LeadglassError as error:
            if not self._is_failing:
                _LOG.warning("checkpoints are not copied: %s", error)
            self._is_failing = True
            return min(RETRY_S, self.interval_s)
        if self._is_failing:
            _LOG.info("checkpoints are copied again")
        self._is_failing = False
        return self.interval_s

    def drop(self) -> None:
        """Do nothing: what is under way ends by itself, or is done again."""


def _named(things: Sequence[tuple[int, str, bytes]]) -> Iterator[tuple[str, bytes]]:
    """Yield what is to be kept, by its name: records, digest and kind."""
    for size, kind, data in things:
        digest = sha256(data).hexdigest()
        yield f"{size:012d}-{digest[:32]}.{kind}", data
