"""Changing the node's own keys and certificates: allowed, and on the record.

Intent is recorded before, the outcome after: a change that cannot be recorded does
not happen, and one that a crash cut off is seen to have begun.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from leadglass.access.rights import Right
from leadglass.archive.caller import Caller
from leadglass.archive.parts import Parts
from leadglass.audit.builders import Result
from leadglass.audit.codes import Outcome
from leadglass.errors import LeadglassError
from leadglass.identity.authority import Authority
from leadglass.vault.keys import MasterKey, Rotation


@dataclass(frozen=True, slots=True)
class Keeper:
    """The use cases; every method needs the right ``administer``."""

    parts: Parts
    authority: Authority

    def rotate(
        self,
        caller: Caller,
        new_master: MasterKey,
        install: Callable[[], None] | None = None,
    ) -> Rotation:
        """Change the master key (``Keyring.rotate``).

        Raises:
            Refused: ``caller`` may not.
            Unavailable: The disk refused; call again.
        """
        rotations: list[Rotation] = []
        self._do(
            caller,
            "keys rotate",
            lambda: rotations.append(self.parts.keyring.rotate(new_master, install)),
        )
        rotation = rotations[0]
        self.parts.record(
            self.parts.events.key_rotated(
                self.parts.actor(caller),
                "master key",
                {
                    "generation": str(rotation.generation),
                    "rewrapped": str(rotation.rewrapped),
                    "damaged": str(len(rotation.damaged)),
                },
            )
        )
        return rotation

    def take_root_offline(self, caller: Caller, out: Path) -> None:
        """Move the root's key to a file (``Authority.take_root_offline``)."""
        self._change(
            caller,
            "root key taken offline",
            lambda: self.authority.take_root_offline(out),
        )

    def bring_root_online(self, caller: Caller, source: Path) -> None:
        """Copy the root's key back (``Authority.bring_root_online``)."""
        self._change(
            caller,
            "root key brought online",
            lambda: self.authority.bring_root_online(source),
        )

    def renew_issuing(self, caller: Caller) -> None:
        """Prolong the issuing certificate (``Authority.renew_issuing``)."""
        self._change(
            caller, "issuing certificate renewed", self.authority.renew_issuing
        )

    def renew_node(self, caller: Caller, names: Sequence[str]) -> None:
        """Make a new node certificate (``Authority.renew_node``)."""
        self._change(
            caller, "node certificate renewed", lambda: self.authority.renew_node(names)
        )

    def _change(self, caller: Caller, what: str, act: Callable[[], object]) -> None:
        self._do(caller, what, act)
        self.parts.record(
            self.parts.events.configuration_changed(
                self.parts.actor(caller), {"authority": what}
            )
        )

    def _do(self, caller: Caller, what: str, act: Callable[[], object]) -> None:
        parts = self.parts
        parts.require(caller, Right.ADMINISTER, what)
        actor = parts.actor(caller)
        parts.record(parts.events.local_service(actor, what))
        try:
            act()
        except LeadglassError as error:
            result = Result(Outcome.SERIOUS_FAILURE, str(error))
            parts.try_to_record(parts.events.local_service(actor, what, result))
            raise
