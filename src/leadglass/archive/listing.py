"""Assigning studies and keeping lists of patients, which scopes name.

Every method needs the right ``administer``; who uses it learns nothing of what is in
the archive: a study or patient may be named before there is one.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from leadglass.access.policy import Kind, Subject
from leadglass.access.rights import Right
from leadglass.access.scopes import OWN
from leadglass.archive.accounts import Accounts
from leadglass.archive.caller import Caller
from leadglass.archive.parts import Parts
from leadglass.audit.builders import Actor
from leadglass.audit.events import Event
from leadglass.audit.lists import ListEvents
from leadglass.database.engine import Transaction
from leadglass.errors import BadData, NotFound
from leadglass.index.lists import ASSIGNMENTS, PATIENT_LISTS

_UID = re.compile(r"[0-9.]{1,64}")  # PS3.5 §9.1

# A list's name stands in scopes and records.
LIST_NAME_CHARACTERS_MAX = 64

_Change = Callable[[Transaction, str, Sequence[str]], int]
_Tell = Callable[[Actor, str, str, Sequence[str]], tuple[Event, ...]]


@dataclass(frozen=True, slots=True)
class Listing:
    """The use cases."""

    accounts: Accounts

    @property
    def _parts(self) -> Parts:
        return self.accounts.parts

    @property
    def _events(self) -> ListEvents:
        return ListEvents(self._parts.events.node)

    def assign(self, caller: Caller, subject: Subject, uids: Iterable[str]) -> int:
        """Assign studies to a user or a program; returns how many are new.

        Raises:
            Refused: ``caller`` may not.
            NotFound: There is no such user or program.
            BadData: A UID that is none, or too many.
        """
        self._parts.require(caller, Right.ADMINISTER, "assign studies")
        assignee, wanted = self._assignee(subject), _uids(uids)
        change, tell = ASSIGNMENTS.add, self._events.studies_changed
        return self._apply(caller, change, tell, "studies assigned", assignee, wanted)

    def unassign(self, caller: Caller, subject: Subject, uids: Iterable[str]) -> int:
        """Take studies back; returns how many were assigned.

        Raises:
            Refused: ``caller`` may not.
            NotFound: There is no such user or program.
            BadData: A UID that is none, or too many.
        """
        self._parts.require(caller, Right.ADMINISTER, "take studies back")
        assignee, wanted = self._assignee(subject), _uids(uids)
        change, tell = ASSIGNMENTS.remove, self._events.studies_changed
        return self._apply(caller, change, tell, "studies taken back", assignee, wanted)

    def assigned(self, caller: Caller, subject: Subject) -> tuple[str, ...]:
        """Return the UIDs of the studies that are assigned to somebody.

        Raises:
            Refused: ``caller`` may not.
            NotFound: There is no such user or program.
        """
        self._parts.require(caller, Right.ADMINISTER, "list assignments")
        assignee = self._assignee(subject)
        with self._parts.database.read() as connection:
            return ASSIGNMENTS.members(connection, assignee)

    def assignees(self, caller: Caller) -> dict[str, int]:
        """Return who has assigned studies, as scopes name them, and how many.

        Raises:
            Refused: ``caller`` may not.
        """
        self._parts.require(caller, Right.ADMINISTER, "list assignments")
        with self._parts.database.read() as connection:
            return ASSIGNMENTS.names(connection)

    def lists(self, caller: Caller) -> dict[str, int]:
        """Return the lists of patients, and how many are on each.

        Raises:
            Refused: ``caller`` may not.
        """
        self._parts.require(caller, Right.ADMINISTER, "list lists of patients")
        with self._parts.database.read() as connection:
            return PATIENT_LISTS.names(connection)

    def patients(self, caller: Caller, name: str) -> tuple[str, ...]:
        """Return the Patient IDs on a list; that they were read is recorded.

        Raises:
            Refused: ``caller`` may not.
            NotFound: Nobody is on it, so there is no such list.
            Unavailable: It cannot be recorded, so it is not told.
        """
        use = "read a list of patients"
        self._parts.require(caller, Right.ADMINISTER, use)
        name = _list_name(name)
        with self._parts.database.read() as connection:
            found = PATIENT_LISTS.members(connection, name)
        if not found:
            raise NotFound("no such list of patients")
        actor = self._parts.actor(caller)
        self._parts.record(*self._events.patients_read(actor, use, name, found))
        return found

    def put_on(self, caller: Caller, name: str, patient_ids: Iterable[str]) -> int:
        """Put patients on a list; returns how many are new.

        Raises:
            Refused: ``caller`` may not.
            BadData: A name or Patient ID that cannot be, or too many.
        """
        self._parts.require(caller, Right.ADMINISTER, "change a list of patients")
        wanted, tell = tuple(patient_ids), self._events.patients_changed
        act = "patients put on a list"
        return self._apply(
            caller, PATIENT_LISTS.add, tell, act, _list_name(name), wanted
        )

    def take_off(self, caller: Caller, name: str, patient_ids: Iterable[str]) -> int:
        """Take patients off a list; returns how many were on it.

        Raises:
            Refused: ``caller`` may not.
            BadData: A name or Patient ID that cannot be, or too many.
        """
        self._parts.require(caller, Right.ADMINISTER, "change a list of patients")
        wanted, tell = tuple(patient_ids), self._events.patients_changed
        act = "patients taken off a list"
        return self._apply(
            caller, PATIENT_LISTS.remove, tell, act, _list_name(name), wanted
        )

    def _apply(  # noqa: PLR0913, PLR0917  # what is done, and how it is told
        self,
        caller: Caller,
        change: _Change,
        tell: _Tell,
        description: str,
        name: str,
        members: Sequence[str],
    ) -> int:
        actor = self._parts.actor(caller)

        def work(tx: Transaction) -> int:
            count = change(tx, name, members)
            if count:
                for event in tell(actor, description, name, members):
                    self._parts.audit.append(tx, event)
            return count

        return self._parts.database.write(work)

    def _assignee(self, subject: Subject) -> str:
        """Return how scopes name somebody who is registered."""
        with self._parts.database.read() as connection:
            if subject.kind is Kind.OPERATOR:
                found = self.accounts.users.get(connection, subject.name).subject
            elif subject.kind is Kind.SERVICE:
                found = self.accounts.tokens.get(connection, subject.name).subject
            else:
                raise NotFound("no such user or program")
        return str(found)


def _uids(uids: Iterable[str]) -> tuple[str, ...]:
    found = tuple(uids)
    if not all(_UID.fullmatch(uid) for uid in found):
        raise BadData("a UID has 1 to 64 digits and dots")
    return found


def _list_name(name: str) -> str:
    name = name.strip()
    if not 0 < len(name) <= LIST_NAME_CHARACTERS_MAX or name == OWN:
        raise BadData(f"a list has a name of 1 to {LIST_NAME_CHARACTERS_MAX}")
    return name
