"""The events of broken glass: begun, over, judged.

``EmergencyEvents(node)`` builds them beside ``builders.Events``. Each is a Security
Alert (PS3.15 §A.5.3.12) that names the patient, so that who asks the record about a
patient finds it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from leadglass.audit.builders import Actor, Node
from leadglass.audit.codes import (
    ID_NODE,
    ID_PATIENT,
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
class BrokenGlass:
    """What the record says of one.

    Attributes:
        number: What a review finds it by.
        person: Name of the user whose it is.
        patient_id: Patient ID (0010,0020).
        reason: What the person gave as reason.
        until: Last moment, ISO 8601.
    """

    number: int
    person: str
    patient_id: str
    reason: str
    until: str


@dataclass(frozen=True, slots=True)
class EmergencyEvents:
    """Builds events of broken glass at ``node``."""

    node: Node

    def started(self, actor: Actor, glass: BrokenGlass) -> Event:
        """Somebody reaches beyond the own scope: Emergency Override Started."""
        return self._alert(
            EventType.EMERGENCY_OVERRIDE_STARTED,
            actor,
            glass,
            "break-glass access started",
            {"reason": glass.reason, "until": glass.until},
        )

    def stopped(self, actor: Actor, glass: BrokenGlass, by: str) -> Event:
        """It is over: Emergency Override Stopped (110138); ``by`` whom or what."""
        return self._alert(
            EventType.EMERGENCY_OVERRIDE_STOPPED,
            actor,
            glass,
            "break-glass access stopped",
            {"stopped_by": by},
        )

    def reviewed(
        self, actor: Actor, glass: BrokenGlass, verdict: str, note: str
    ) -> Event:
        """Somebody else has judged it: Use of Restricted Function (110132)."""
        return self._alert(
            EventType.USE_OF_RESTRICTED_FUNCTION,
            actor,
            glass,
            "break-glass access reviewed",
            {"verdict": verdict, "note": note},
        )

    def _alert(
        self,
        type_: EventType,
        actor: Actor,
        glass: BrokenGlass,
        description: str,
        facts: Mapping[str, str],
    ) -> Event:
        told = {"number": str(glass.number), "person": glass.person, **facts}
        details = {
            "certificate": actor.certificate,
            "channel": actor.channel,
            "kind": actor.kind,
        }
        return Event(
            id=EventID.SECURITY_ALERT,
            action=Action.EXECUTE,
            types=(type_,),
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
                    id=self.node.name,
                    id_type=ID_NODE,
                    type=ObjectType.SYSTEM,
                    role=ObjectRole.SECURITY_RESOURCE,
                    details=((_ALERT, description), *sorted(told.items())),
                ),
                ParticipantObject(
                    id=glass.patient_id,
                    id_type=ID_PATIENT,
                    type=ObjectType.PERSON,
                    role=ObjectRole.PATIENT,
                ),
            ),
            details={name: value for name, value in details.items() if value},
        )
