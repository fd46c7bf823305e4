"""Who shows a token: identity and the record, for every door that takes one.

The peer hears one answer for all reasons; the record hears the exact one, as at the
door of devices (see ``doors``).
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from leadglass.access.networks import Address
from leadglass.archive.caller import Caller
from leadglass.archive.doors import Knocks
from leadglass.archive.parts import Parts
from leadglass.archive.remembered import Remembered
from leadglass.audit.accounts import AccountEvents
from leadglass.audit.builders import Actor
from leadglass.database.engine import Transaction
from leadglass.errors import NotFound, Refused
from leadglass.identity.tokens.token import Token
from leadglass.identity.tokens.tokens import Tokens, is_due

# Refusals of one address that are recorded one by one in a minute; then counted.
_REFUSALS_TOLD_MAX: Final = 20
_KIND: Final = "service"


@dataclass(frozen=True, slots=True)
class Bearer:
    """Judges tokens.

    Attributes:
        parts: The collaborators.
        tokens: The register.
        knocks: Counts floods; somebody must ``tell`` them now and then.
    """

    parts: Parts
    tokens: Tokens
    knocks: Knocks
    _known: Remembered[Token] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_known", Remembered(self.parts.database))

    def __call__(self, secret: bytes, address: Address, channel: str) -> Caller:
        """Return which program this is.

        The first use in an hour is a login on the record; each request is recorded by
        the use case that it asks for.

        Args:
            secret: The token as it came.
            address: Where from.
            channel: ``TLSv1.3`` …, for the record.

        Raises:
            Refused: Nobody, without saying why.
            Unavailable: It cannot be judged now.
        """
        now = datetime.now(UTC)
        text = secret.decode("ascii", errors="replace")
        try:
            token = self._known.get(sha256(secret).digest(), lambda: self._find(text))
        except NotFound:
            self.knocks.count(address, "no such token")
            raise Refused("not proven") from None
        reason = token.refusal(address, now)
        actor = Actor(token.subject.name, str(address), channel=channel, kind=_KIND)
        if reason is not None:
            if self.knocks.count(address, reason) <= _REFUSALS_TOLD_MAX:
                self.parts.try_to_record(self._events.login_failed(actor, reason))
            raise Refused("not proven")
        if is_due(token, now):
            self._record_use(token, actor, now)
        return Caller(subject=token.subject, address=address, channel=channel)

    def _find(self, text: str) -> Token:
        with self.parts.database.read() as connection:
            token = self.tokens.find(connection, text)
        if token is None:
            raise NotFound("no such token")
        return token

    @property
    def _events(self) -> AccountEvents:
        return AccountEvents(self.parts.events.node)

    def _record_use(self, token: Token, actor: Actor, now: datetime) -> None:
        def work(tx: Transaction) -> None:
            self.tokens.touch(tx, token, now)
            self.parts.audit.append(tx, self._events.logged_in(actor, "token"))

        self.parts.database.write(work)
