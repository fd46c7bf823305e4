"""The events of people: who came, who was turned away, what became of an account.

``AccountEvents(node)`` builds them beside ``builders.Events``. A login is User
Authentication (PS3.15 §A.5.3.13), a change of an account a Security Alert, User
Security Attributes Changed (§A.5.3.12).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from leadglass.audit.builders import Actor, Node
from leadglass.audit.codes import (
    ID_NODE,
    Action,
    EventID,
    EventType,
    ObjectRole,
    ObjectType,
    Outcome,
    Role,
)
from leadglass.audit.events import Event, Participant, ParticipantObject

_ALERT = "Alert Description"  # ParticipantObjectDetail type of §A.5.3.12

NO_FACTS: Final[Mapping[str, str]] = MappingProxyType({})

_ATTRIBUTES = (EventType.USER_SECURITY_ATTRIBUTES_CHANGED,)
_ROLES = (*_ATTRIBUTES, EventType.SECURITY_ROLES_CHANGED)


class AccountAct(StrEnum):
    """What became of an account; ``types`` says by which codes it is recorded."""

    ADDED = "user added"
    CAME = "user added at the first login by a provider"
    GROUPS = "user's roles changed with its groups at the provider"
    ENROLLED = "user enrolled"
    RESET = "user reset: all proofs taken, a new one-time secret given"
    ROLES = "user's roles changed"
    DISABLED = "user disabled"
    ENABLED = "user enabled"
    LOCKED = "user locked after failures"
    UNLOCKED = "user unlocked"
    PASSWORD = "user's password changed"  # noqa: S105 - an act
    APP = "user's authenticator app replaced"
    PASSKEY_ADDED = "user's passkey added"
    PASSKEY_REMOVED = "user's passkey removed"
    RECOVERY_CODES = "user's recovery codes renewed"
    SESSIONS_ENDED = "user's sessions ended"

    @property
    def types(self) -> tuple[EventType, ...]:
        """The codes: those that change what somebody may, are changes of roles too."""
        return _ROLES if self in _OF_ROLES else _ATTRIBUTES


_OF_ROLES = frozenset(
    {
        AccountAct.ADDED,
        AccountAct.CAME,
        AccountAct.GROUPS,
        AccountAct.ROLES,
        AccountAct.DISABLED,
        AccountAct.ENABLED,
    }
)


@dataclass(frozen=True, slots=True)
class AccountChange:
    """What became of whose account.

    Attributes:
        act: What.
        user: Name of the user that it is about.
        reason: Why, where there is a reason to give.
        facts: Roles before and after, until when: what is worth keeping; no secrets.
    """

    act: AccountAct
    user: str
    reason: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)


def _details(actor: Actor, extra: Mapping[str, str]) -> dict[str, str]:
    known = {
        "certificate": actor.certificate,
        "channel": actor.channel,
        "kind": actor.kind,
        **extra,
    }
    return {name: value for name, value in known.items() if value}


@dataclass(frozen=True, slots=True)
class AccountEvents:
    """Builds events of people at ``node``."""

    node: Node

    def logged_in(
        self, actor: Actor, factor: str, facts: Mapping[str, str] = NO_FACTS
    ) -> Event:
        """A person has proven itself: User Authentication, Login (110122).

        ``facts``: ``issuer`` and ``subject``, if somebody else has proven it.
        """
        return self._authentication(EventType.LOGIN, actor, {**facts, "factor": factor})

    def login_failed(
        self,
        actor: Actor,
        reason: str,
        detail: str = "",
        facts: Mapping[str, str] = NO_FACTS,
    ) -> Event:
        """Somebody did not: Login, minor failure.

        ``actor.name`` is the user that it would be if that is known. What was typed
        must not come here: people type passwords into the field for the name.
        """
        return self._authentication(
            EventType.LOGIN,
            actor,
            {**facts, "detail": detail},
            outcome=Outcome.MINOR_FAILURE,
            description=reason,
        )

    def proven_anew(self, actor: Actor, factor: str) -> Event:
        """A person with a session has proven itself again, for a dangerous act."""
        return self._authentication(
            EventType.LOGIN, actor, {"factor": factor, "step": "proven anew"}
        )

    def logged_out(self, actor: Actor, reason: str = "") -> Event:
        """A person has ended its session: User Authentication, Logout (110123)."""
        return self._authentication(EventType.LOGOUT, actor, {"reason": reason})

    def sessions_read(self, actor: Actor, count: int) -> Event:
        """Somebody was told who is logged in, from where: 110132 (§A.5.3.12)."""
        return Event(
            id=EventID.SECURITY_ALERT,
            action=Action.EXECUTE,
            types=(EventType.USE_OF_RESTRICTED_FUNCTION,),
            participants=(
                _person(actor),
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
                    details=((_ALERT, "open sessions read"), ("count", str(count))),
                ),
            ),
        )

    def account_changed(self, actor: Actor, change: AccountChange) -> Event:
        """An account changed: Security Alert, 110137, with 110136 for its roles."""
        facts = {**change.facts, "reason": change.reason}
        return Event(
            id=EventID.SECURITY_ALERT,
            action=Action.EXECUTE,
            types=change.act.types,
            participants=(
                _person(actor),
                Participant(
                    self.node.name,
                    roles=(Role.APPLICATION,),
                    access_point=self.node.address,
                ),
            ),
            objects=(
                ParticipantObject(
                    id=change.user,
                    id_type=ID_NODE,
                    type=ObjectType.PERSON,
                    role=ObjectRole.USER,
                    details=(
                        (_ALERT, change.act),
                        *sorted((name, each) for name, each in facts.items() if each),
                    ),
                ),
            ),
            details=_details(actor, {}),
        )

    def _authentication(
        self,
        type_: EventType,
        actor: Actor,
        extra: Mapping[str, str],
        *,
        outcome: Outcome = Outcome.SUCCESS,
        description: str = "",
    ) -> Event:
        return Event(
            id=EventID.USER_AUTHENTICATION,
            action=Action.EXECUTE,
            outcome=outcome,
            types=(type_,),
            participants=(
                _person(actor),
                Participant(self.node.name, access_point=self.node.address),
            ),
            outcome_description=description,
            details=_details(actor, extra),
        )


def _person(actor: Actor) -> Participant:
    return Participant(actor.name, is_requestor=True, access_point=actor.address)
