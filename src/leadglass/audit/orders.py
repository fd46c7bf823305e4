"""The events of what is taken out of the log, held, and ordered; and reading them back.

``RetentionEvents(node)`` builds them beside ``builders.Events``. Each is a Security
Alert (PS3.15 §A.5.3.12), Use of Restricted Function, about this node's record. None of
them names a patient, but that of a hold, which is about one.

Two of them are orders that verification goes by: records that were pruned, and records
whose personal data was erased. What makes an alert one of these is in the parts that
no peer and no person fills in: ParticipantObjectDataLifeCycle 15, permanent erasure,
on the object that is the node, and the text of the alert.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

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
from leadglass.audit.events import (
    TEXT_CHARACTERS_MAX,
    Event,
    Participant,
    ParticipantObject,
)
from leadglass.audit.retention import Hold
from leadglass.audit.runs import Runs
from leadglass.errors import BadData

_ALERT = "Alert Description"  # ParticipantObjectDetail type of §A.5.3.12
_NUMBERS = "Record Numbers"
# ParticipantObjectDataLifeCycle, RFC 3881 §5.5.3.
_PERMANENT_ERASURE = 15

# Records that one order of erasure names: what one transaction does, and a bound for
# whoever reads one that somebody forged.
ERASED_TOGETHER_MAX = 256

# What a record has in its bytes if it is an order; to look for before it is decoded.
MARK = f'"{_NUMBERS}"'.encode()
CODE = int(EventID.SECURITY_ALERT)


class Act(StrEnum):
    """What was done to records."""

    PRUNED = "audit records pruned"
    ERASED = "personal data of audit records erased"


@dataclass(frozen=True, slots=True)
class Order:
    """What a record of the log says was taken out of it.

    Attributes:
        act: How.
        numbers: Of the records: all that are pruned by now, or those erased by it.
    """

    act: Act
    numbers: Runs


def order_of(record: object, own: str) -> Order | None:
    """Return the order that a record is; None: it is none.

    Args:
        record: The JSON of a record whose leaf is verified, by whoever asks.
        own: Name of the log.
    """
    if not isinstance(record, bytes) or MARK not in record:
        return None
    try:
        event, source = Event.decode(record)
        thing = event.objects[0]
        (_, said), *details = thing.details
        is_order = (
            event.id is EventID.SECURITY_ALERT
            and event.types == (EventType.USE_OF_RESTRICTED_FUNCTION,)
            and (source.id, thing.id, thing.id_type) == (own, own, ID_NODE)
            and thing.life_cycle == _PERMANENT_ERASURE
            and said in set(Act)
        )
        if not is_order:
            return None
        numbers = Runs.parse(value for kind, value in details if kind == _NUMBERS)
        act = Act(said)
        if act is Act.ERASED and len(numbers) > ERASED_TOGETHER_MAX:
            return None
        return Order(act, numbers)
    except (BadData, LookupError, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class RetentionEvents:
    """Builds events of keeping and erasing at ``node``."""

    node: Node

    def pruned(
        self, actor: Actor, numbers: Runs, recorded_before: str, holds: str
    ) -> Event:
        """Old records went: these are all that are gone by now.

        Args:
            actor: Who began it.
            numbers: Of all records that were ever pruned, these included.
            recorded_before: They were recorded before then; ISO 8601.
            holds: Numbers of the holds that stand.
        """
        facts = {"recorded_before": recorded_before, "holds": holds}
        return self._alert(actor, Act.PRUNED, facts, numbers)

    def erased(
        self, actor: Actor, order: int, numbers: Runs, kept_for_others: Runs
    ) -> Event:
        """Records lost their content, on a confirmed order.

        Args:
            actor: Who carried it out.
            order: Number of the order.
            numbers: Of the records.
            kept_for_others: Numbers of the records that keep what concerns others.
        """
        facts = {"order": str(order), "kept_for_others": str(kept_for_others)}
        return self._alert(actor, Act.ERASED, facts, numbers)

    def erasure_done(self, actor: Actor, facts: Mapping[str, str]) -> Event:
        """An order of erasure was carried out to its end."""
        return self._alert(actor, "erasure of a person's data carried out", facts)

    def order_asked(self, actor: Actor, facts: Mapping[str, str]) -> Event:
        """Somebody asks for what somebody else has to confirm."""
        return self._alert(actor, "order asked for", facts)

    def order_decided(
        self, actor: Actor, facts: Mapping[str, str], *, is_refused: bool
    ) -> Event:
        """Somebody else has confirmed or refused it."""
        said = "order refused" if is_refused else "order confirmed"
        return self._alert(actor, said, facts)

    def hold_placed(self, actor: Actor, hold: Hold) -> Event:
        """Records must stay; names whom they are about."""
        return self._of_hold(actor, "legal hold placed", hold)

    def hold_released(self, actor: Actor, hold: Hold) -> Event:
        """They need not stay any longer."""
        return self._of_hold(actor, "legal hold released", hold)

    def _of_hold(self, actor: Actor, said: str, hold: Hold) -> Event:
        subject = hold.subject
        facts = {
            "hold": str(hold.id),
            "reason": hold.reason,
            "person": subject.person or "",
            "since": "" if subject.since is None else subject.since.isoformat(),
            "until": "" if subject.until is None else subject.until.isoformat(),
        }
        about: list[ParticipantObject] = []
        if subject.study is not None:
            about.append(
                ParticipantObject(
                    id=subject.study,
                    id_type=ID_STUDY_UID,
                    type=ObjectType.SYSTEM,
                    role=ObjectRole.REPORT,
                )
            )
        if subject.patient is not None:
            about.append(
                ParticipantObject(
                    id=subject.patient,
                    id_type=ID_PATIENT,
                    type=ObjectType.PERSON,
                    role=ObjectRole.PATIENT,
                )
            )
        return self._alert(actor, said, facts, about=about)

    def _alert(
        self,
        actor: Actor,
        said: str,
        facts: Mapping[str, str],
        numbers: Runs | None = None,
        about: list[ParticipantObject] | None = None,
    ) -> Event:
        told = [(name, value) for name, value in sorted(facts.items()) if value]
        if numbers is not None:
            told += [(_NUMBERS, text) for text in numbers.texts(TEXT_CHARACTERS_MAX)]
        details = {
            "certificate": actor.certificate,
            "channel": actor.channel,
            "kind": actor.kind,
        }
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
                    life_cycle=0 if numbers is None else _PERMANENT_ERASURE,
                    details=((_ALERT, str(said)), *told),
                ),
                *(about or ()),
            ),
            details={name: value for name, value in details.items() if value},
        )
