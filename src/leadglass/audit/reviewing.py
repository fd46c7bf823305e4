"""The events of the review: alerts raised, judged, escalated, weeks signed, decoys set.

Each is a Security Alert, Use of Restricted Function (PS3.15 §A.5.3.12, 110132). None
names a patient: an alert is found by its number, and shown to who may read the record.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

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

_ALERT: Final = "Alert Description"  # ParticipantObjectDetail type of §A.5.3.12
# Numbers in one record; the page has all.
_NUMBERS_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class ReviewEvents:
    """Builds events of the review at ``node``."""

    node: Node

    def raised(
        self, actor: Actor, alerts: Sequence[int], rules: Sequence[str], worst: str
    ) -> Event:
        """A run of the review found something: how many, which, the first of them."""
        facts = {
            "alerts": str(len(alerts)),
            "numbers": _listed(alerts),
            "rules": " ".join(rules),
            "worst": worst,
        }
        return self._event(actor, "review raised alerts", facts)

    def disposed(
        self, actor: Actor, alert: int, rule: str, disposition: str, reason: str
    ) -> Event:
        """A person has judged an alert."""
        facts = {
            "alert": str(alert),
            "rule": rule,
            "disposition": disposition,
            "reason": reason,
        }
        return self._event(actor, "review alert judged", facts)

    def escalated(self, actor: Actor, alerts: Sequence[int]) -> Event:
        """Nobody judged alerts in time: how many, and the first of them."""
        facts = {"alerts": str(len(alerts)), "numbers": _listed(alerts)}
        return self._event(actor, "review alerts overdue", facts)

    def signed(self, actor: Actor, week: str, alerts: int, note: str) -> Event:
        """A person answers for the review of a week."""
        facts = {"week": week, "alerts": str(alerts), "note": note}
        return self._event(actor, "review of a week signed", facts)

    def decoy_changed(self, actor: Actor, kind: str, what: str) -> Event:
        """A decoy was set or taken away; which one is on no record."""
        return self._event(actor, f"review decoy {what}", {"decoy": kind})

    def _event(self, actor: Actor, description: str, facts: Mapping[str, str]) -> Event:
        details = {
            "certificate": actor.certificate,
            "channel": actor.channel,
            "kind": actor.kind,
        }
        told = sorted((name, value) for name, value in facts.items() if value)
        return Event(
            id=EventID.SECURITY_ALERT,
            action=Action.EXECUTE,
            types=(EventType.USE_OF_RESTRICTED_FUNCTION,),
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
                    details=((_ALERT, description), *told),
                ),
            ),
            details={name: value for name, value in details.items() if value},
        )


def _listed(numbers: Sequence[int]) -> str:
    return " ".join(map(str, numbers[:_NUMBERS_MAX]))
