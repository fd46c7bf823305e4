"""Single sign-on: a login by way of an OpenID provider, begun and finished.

The way there and the way back are the provider's and the browser's; nothing of either
is believed before it is verified (``identity.federation``). What does not lead to a
person is a failure like a wrong password: on the record, counted, and told by one
answer. A provider that does not answer is no failure of who comes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from leadglass.archive.logins import Logins, Peer, Proof
from leadglass.archive.vouching import Vouching
from leadglass.errors import Misconfigured, Refused, Unavailable
from leadglass.identity.federation.flights import Flights
from leadglass.identity.federation.flow import address_to_go, begin, code_of
from leadglass.identity.federation.idtoken import Identity, NoSecondFactor
from leadglass.identity.federation.mapping import GroupRoles
from leadglass.identity.federation.provider import Provider
from leadglass.identity.people.externals import External, Origin
from leadglass.identity.people.login import Failure, LoggedIn, Reason

NO_FACTOR: Final = "log in there with a second factor, and come again"


class NeedsFactor(Refused):
    """The provider has proven somebody by one proof alone."""

    def __init__(self) -> None:
        super().__init__(NO_FACTOR)


@dataclass(frozen=True, slots=True)
class Claims:
    """What is read of what a provider says of somebody.

    Attributes:
        groups: The claim with the groups, and the table from group to role.
        name: The claim with the name to log in with.
        display_name: The claim with the name that people use.
    """

    groups: GroupRoles
    name: str
    display_name: str

    def person(self, identity: Identity) -> External:
        """Return somebody as the provider knows it."""
        return External(
            origin=Origin.SSO,
            issuer=identity.issuer,
            subject=identity.subject,
            name=_text(identity, self.name),
            display_name=_text(identity, self.display_name),
        )


@dataclass(frozen=True, slots=True)
class Landed:
    """Somebody who has come back.

    Attributes:
        logged_in: The session.
        is_anew: Whether a proof of now was asked for, for something that needs it.
    """

    logged_in: LoggedIn
    is_anew: bool


@dataclass(frozen=True, slots=True)
class SignOn:
    """The use cases.

    Attributes:
        provider: Who is asked.
        claims: What is read of what it says.
        vouching: Lets people in.
        logins: Records failures.
        flights: What has begun.
    """

    provider: Provider
    claims: Claims
    vouching: Vouching
    logins: Logins
    flights: Flights = field(default_factory=Flights)

    def begin(
        self, redirect_uri: str, browser: str, peer: Peer, *, anew: bool = False
    ) -> str:
        """Return where the browser goes to prove who its person is.

        Args:
            redirect_uri: Where it comes back to.
            browser: What its cookie holds; it must come back with it.
            peer: Where from.
            anew: Ask for a proof that is given now.

        Raises:
            Refused: Nothing is tried from there now.
            Unavailable: The provider does not answer.
        """
        now = datetime.now(UTC)
        self.logins.check_peer(peer, now)
        metadata = self.provider.metadata(now)
        begun = begin(self.provider.issuer, redirect_uri, now if anew else None)
        self.flights.keep(begun, browser, peer.address, now)
        return address_to_go(metadata, self.provider.client, begun)

    def finish(
        self, parameters: Sequence[tuple[str, str]], browser: str, peer: Peer
    ) -> Landed:
        """Begin a session for whom the provider has proven.

        Args:
            parameters: The query that the browser came back with.
            browser: What its cookie holds.
            peer: Where from.

        Raises:
            NoAccess: Proven, but may do nothing here.
            NeedsFactor: Proven by one proof alone.
            Refused: Not proven, or nothing is tried from there now.
            Unavailable: The provider does not answer, or we cannot ask it.
        """
        self.logins.check_peer(peer, datetime.now(UTC))
        try:
            identity, is_anew = self._identity(parameters, browser)
        except NoSecondFactor:
            self._turn_away(Failure(Reason.ONE_FACTOR), peer)
            raise NeedsFactor from None
        except Refused as error:
            failure = Failure(Reason.PROVIDER, detail=str(error))
            self._turn_away(failure, peer)
            raise failure.refusal() from None
        except Misconfigured as error:
            raise Unavailable(str(error)) from None
        proof = Proof(
            facts={"issuer": identity.issuer, "subject": identity.subject},
            has_second_factor=identity.has_second_factor,
            proven_at=identity.proven_at,
        )
        roles = self.claims.groups.of(identity.claims)
        person = self.claims.person(identity)
        return Landed(self.vouching.let_in(person, roles, proof, peer), is_anew)

    def _identity(
        self, parameters: Sequence[tuple[str, str]], browser: str
    ) -> tuple[Identity, bool]:
        now = datetime.now(UTC)
        state = dict(parameters).get("state", "")
        begun = self.flights.take(state, browser, now)
        code = code_of(parameters, self.provider.metadata(now), begun)
        identity = self.provider.redeem(begun, code, lambda: datetime.now(UTC))
        return identity, begun.anew_since is not None

    def _turn_away(self, failure: Failure, peer: Peer) -> None:
        self.logins.turn_away(failure, peer, datetime.now(UTC))


def _text(identity: Identity, claim: str) -> str:
    """Return a claim that is a text; nothing for anything else."""
    value = identity.claims.get(claim)
    return value if isinstance(value, str) else ""
