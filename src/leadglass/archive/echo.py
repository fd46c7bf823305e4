"""Answering that we are there: a right like any other, and on the record."""

from dataclasses import dataclass

from leadglass.access.rights import Right
from leadglass.archive.caller import Caller
from leadglass.archive.parts import Parts


@dataclass(frozen=True, slots=True)
class Echo:
    """The use case."""

    parts: Parts

    def __call__(self, caller: Caller) -> None:
        """Record that a peer asked whether we are there.

        Raises:
            Refused: ``caller`` may not ask.
            Unavailable: It cannot be recorded.
        """
        self.parts.require(caller, Right.ECHO, "C-ECHO")
        self.parts.record(self.parts.events.echo(self.parts.actor(caller)))
