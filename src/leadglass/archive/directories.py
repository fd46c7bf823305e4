"""Logging in with a password of a directory, beside those of the node.

The node's own people come first: a name that is one of theirs is judged here and
nowhere else, so that no password of theirs is ever sent to the directory. Any other
name is asked for there. What follows is the same as for everybody: a ticket, whatever
was right, and a second step, in which whom the directory has proven needs no code.
"""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime

from leadglass.archive.logins import Logins, Peer
from leadglass.archive.parts import Parts
from leadglass.archive.vouching import Vouching
from leadglass.errors import Misconfigured, Refused, Unavailable
from leadglass.identity.administrators import FIRST_NAME
from leadglass.identity.federation.entry import Entry, Prover
from leadglass.identity.federation.mapping import GroupRoles
from leadglass.identity.people.externals import External, Origin
from leadglass.identity.people.login import Failure, Pending, Reason, Stores
from leadglass.identity.people.user import EXTERNAL_MARK, User, fold_name

_LOG = logging.getLogger(__name__)

# Where the groups stand in what is handed to the table.
_GROUPS = "groups"


@dataclass(frozen=True, slots=True)
class DirectoryLogins:
    """The use case.

    Attributes:
        parts: The collaborators.
        stores: Of people.
        logins: Judges the node's own people, and goes on with the others.
        vouching: Says who somebody of the directory is here.
        prover: The directory.
        url: Which one.
        table: From the DN of a group, in one spelling, to a role.
    """

    parts: Parts
    stores: Stores
    logins: Logins
    vouching: Vouching
    prover: Prover
    url: str
    table: GroupRoles

    def begin(self, name: str, password: str, peer: Peer) -> Pending:
        """Judge a password, and say nothing of it; the second step is next.

        Raises:
            Unavailable: Too many at once, or it cannot be recorded.
        """
        known = self._known(name)
        if self._is_ours(name, known, peer):
            return self.logins.begin(name, password, peer)
        user, failure = self._proven(name, password, peer)
        return self.logins.begin_vouched(user, known, failure, peer)

    def _known(self, name: str) -> User | None:
        """Return whom of the directory the name has been before, if anybody."""
        with self.parts.database.read() as connection:
            external = f"{Origin.LDAP}{EXTERNAL_MARK}{name.strip()}"
            found = self.stores.users.credentials(connection, external)
        return None if found is None else found.user

    def _is_ours(self, name: str, known: User | None, peer: Peer) -> bool:
        """Whether the directory is not to hear of it.

        That is so for the node's own people, for names that could be told apart from
        nothing, and while nothing is tried from there or for the person.
        """
        if EXTERNAL_MARK in name or fold_name(name) == FIRST_NAME:
            return True
        with self.parts.database.read() as connection:
            own = self.stores.users.credentials(connection, name)
            known_id = None if known is None else known.id
            until = self.stores.lockout.blocked_until(
                connection, known_id, peer.address, datetime.now(UTC)
            )
        return own is not None or until is not None

    def _proven(
        self, name: str, password: str, peer: Peer
    ) -> tuple[User | None, Failure | None]:
        try:
            entry = self.prover.prove(name.strip(), password)
        except Refused as error:
            return None, Failure(Reason.DIRECTORY, detail=str(error))
        except (Unavailable, Misconfigured) as error:
            _LOG.warning("%s", error)
            return None, Failure(Reason.SILENT)
        outcome = self.vouching.admit(self._person(entry), self._roles(entry), peer)
        if isinstance(outcome, User):
            return outcome, None
        return None, outcome

    def _person(self, entry: Entry) -> External:
        return External(Origin.LDAP, self.url, entry.id, entry.name, entry.display_name)

    def _roles(self, entry: Entry) -> tuple[str, ...]:
        return self.table.of({_GROUPS: list(entry.groups)})
