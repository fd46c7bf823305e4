"""The events of lists: who was assigned what, which patients are on a list.

``ListEvents(node)`` builds them beside ``builders.Events``. They change who reaches an
object: Security Alert, Object Security Attributes Changed (PS3.15 §A.5.3.12). Each
study or patient is named, so that who asks the record about one finds it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from leadglass.audit.builders import Actor, Node
from leadglass.audit.codes import (
    ID_NODE,
    ID_PATIENT,
    ID_STUDY_UID,
    Action,
    EventID,
    EventType,
    ObjectRole,
    ObjectType,
    Role,
)
from leadglass.audit.events import Event, Participant, ParticipantObject

_ALERT = "Alert Description"  # ParticipantObjectDetail type of §A.5.3.12

# Named in one event: as many as studies of an answer, for the same reason.
MEMBERS_PER_EVENT_MAX = 500


@dataclass(frozen=True, slots=True)
class ListEvents:
    """Builds events of lists at ``node``."""

    node: Node

    def studies_changed(
        self, actor: Actor, description: str, assignee: str, uids: Sequence[str]
    ) -> tuple[Event, ...]:
        """Studies were assigned to somebody, or taken back."""
        objects = [
            ParticipantObject(
                id=uid,
                id_type=ID_STUDY_UID,
                type=ObjectType.SYSTEM,
                role=ObjectRole.REPORT,
            )
            for uid in uids
        ]
        return self._events(actor, description, assignee, objects)

    def patients_changed(
        self, actor: Actor, description: str, name: str, patient_ids: Sequence[str]
    ) -> tuple[Event, ...]:
        """Patients were put on a list, or taken off."""
        return self._events(actor, description, name, _patients(patient_ids))

    def patients_read(
        self, actor: Actor, description: str, name: str, patient_ids: Sequence[str]
    ) -> tuple[Event, ...]:
        """Somebody was told who is on a list: Use of Restricted Function (110132)."""
        return self._events(
            actor,
            description,
            name,
            _patients(patient_ids),
            EventType.USE_OF_RESTRICTED_FUNCTION,
        )

    def _events(
        self,
        actor: Actor,
        description: str,
        name: str,
        objects: Sequence[ParticipantObject],
        type_: EventType = EventType.OBJECT_SECURITY_ATTRIBUTES_CHANGED,
    ) -> tuple[Event, ...]:
        details = {
            "certificate": actor.certificate,
            "channel": actor.channel,
            "kind": actor.kind,
        }
        subject = ParticipantObject(
            id=self.node.name,
            id_type=ID_NODE,
            type=ObjectType.SYSTEM,
            role=ObjectRole.SECURITY_RESOURCE,
            details=((_ALERT, description), ("name", name)),
        )
        return tuple(
            Event(
                id=EventID.SECURITY_ALERT,
                action=Action.EXECUTE,
                types=(type_,),
                participants=(
                    Participant(
                        actor.name, is_requestor=True, access_point=actor.address
                    ),
                    Participant(
                        self.node.name,
                        roles=(Role.APPLICATION,),
                        access_point=self.node.address,
                    ),
                ),
                objects=(subject, *objects[at : at + MEMBERS_PER_EVENT_MAX]),
                details={key: value for key, value in details.items() if value},
            )
            for at in range(0, len(objects), MEMBERS_PER_EVENT_MAX)
        )


def _patients(patient_ids: Sequence[str]) -> list[ParticipantObject]:
    return [
        ParticipantObject(
            id=patient_id,
            id_type=ID_PATIENT,
            type=ObjectType.PERSON,
            role=ObjectRole.PATIENT,
        )
        for patient_id in patient_ids
    ]
