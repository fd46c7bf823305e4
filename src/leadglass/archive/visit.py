"""Who brings a session: a person who has logged in, for every door with cookies.

The peer hears one answer for all reasons. A session that has ended is nothing to
record: every person has one each day. Floods of guesses are counted.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256

from leadglass.access.networks import Address
from leadglass.archive.caller import Caller
from leadglass.archive.doors import Knocks
from leadglass.archive.parts import Parts
from leadglass.archive.remembered import Remembered
from leadglass.errors import Refused
from leadglass.identity.people.sessions import NoSession, Session, Sessions


@dataclass(frozen=True, slots=True)
class Visit:
    """A person at the door.

    Attributes:
        caller: Who it is to the use cases.
        session: What proves it.
    """

    caller: Caller
    session: Session


@dataclass(frozen=True, slots=True)
class Visits:
    """Judges sessions.

    Attributes:
        parts: The collaborators.
        sessions: The store.
        knocks: Counts floods; somebody must ``tell`` them now and then.
    """

    parts: Parts
    sessions: Sessions
    knocks: Knocks
    _known: Remembered[Session] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_known", Remembered(self.parts.database))

    def __call__(self, secret: bytes, address: Address, channel: str) -> Caller:
        """Return which person this is; see ``visit``."""
        return self.visit(secret, address, channel).caller

    def visit(self, secret: bytes, address: Address, channel: str) -> Visit:
        """Return which person this is, and the session, for what asks if it is fresh.

        Args:
            secret: The session's token as it came.
            address: Where from.
            channel: ``TLSv1.3`` …, for the record.

        Raises:
            Refused: Nobody, without saying why.
            Unavailable: It cannot be judged now.
        """
        now = datetime.now(UTC)
        text = secret.decode("ascii", errors="replace")
        try:
            session = self._known.get(
                sha256(secret).digest(), lambda: self._find(text, now)
            )
        except NoSession:
            self.knocks.count(address, "no such session")
            raise Refused("not proven") from None
        if session.is_due(now):
            self.parts.database.write(lambda tx: self.sessions.touch(tx, session, now))
        caller = Caller(subject=session.user.subject, address=address, channel=channel)
        return Visit(caller, session)

    def _find(self, text: str, now: datetime) -> Session:
        with self.parts.database.read() as connection:
            return self.sessions.find(connection, text, now)
