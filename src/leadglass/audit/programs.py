"""The events of programs: a token was made or revoked.

``ProgramEvents(node)`` builds them beside ``builders.Events``.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from leadglass.audit.builders import Actor, Node
from leadglass.audit.codes import (
    ID_NODE,
    Action,
    EventID,
    EventType,
    ObjectRole,
    ObjectType,
    Role,
)
from leadglass.audit.events import Event, Participant, ParticipantObject

_ALERT = "Alert Description"  # ParticipantObjectDetail type of §A.5.3.12


@dataclass(frozen=True, slots=True)
class ProgramEvents:
    """Builds events of programs at ``node``."""

    node: Node

    def token_added(self, actor: Actor, name: str, facts: Mapping[str, str]) -> Event:
        """A program may come in now; ``facts`` are role, scope, networks, end."""
        return self._changed(actor, name, "token added", facts)

    def token_revoked(self, actor: Actor, name: str, reason: str) -> Event:
        """A program may come in no longer."""
        return self._changed(actor, name, "token revoked", {"reason": reason})

    def _changed(
        self, actor: Actor, name: str, description: str, facts: Mapping[str, str]
    ) -> Event:
        """Security Alert with 110137 and 110136 (PS3.15 §A.5.3.12)."""
        details = {
            "certificate": actor.certificate,
            "channel": actor.channel,
            "kind": actor.kind,
        }
        told = sorted((key, value) for key, value in facts.items() if value)
        return Event(
            id=EventID.SECURITY_ALERT,
            action=Action.EXECUTE,
            types=(
                EventType.USER_SECURITY_ATTRIBUTES_CHANGED,
                EventType.SECURITY_ROLES_CHANGED,
            ),
            participants=(
                Participant(actor.name, is_requestor=True, access_point=actor.address),
                Participant(
                    self.node.name,
                    roles=(Role.APPLICATION,),
                    access_point=self.node.address,
                ),
            ),
            objects=(
                ParticipantObject(
                    id=name,
                    id_type=ID_NODE,
                    type=ObjectType.SYSTEM,
                    role=ObjectRole.SECURITY_RESOURCE,
                    details=((_ALERT, description), *told),
                ),
            ),
            details={key: value for key, value in details.items() if value},
        )
