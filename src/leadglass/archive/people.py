"""What people and programs may do now: their roles, their scopes, broken glass.

Of the database as it is at each decision: who is disabled, narrowed or revoked has
lost it at the next request, in every process.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import Connection

from leadglass.access.networks import Network
from leadglass.access.policy import Kind, Rule, Subject
from leadglass.access.roles import HOUSE_NETWORKS, rules_of_person, rules_of_program
from leadglass.access.scopes import EVERYTHING, Scope
from leadglass.archive.emergency import emergency_rules
from leadglass.archive.remembered import Remembered
from leadglass.database.engine import Database
from leadglass.errors import NotFound
from leadglass.identity.people.user import User
from leadglass.identity.people.users import Users
from leadglass.identity.tokens.token import Token
from leadglass.identity.tokens.tokens import PersonScopes, Tokens


@dataclass(frozen=True, slots=True)
class PeopleRules:
    """Gives the rules of users and tokens; a ``RuleSource``.

    Attributes:
        database: Where they are.
        users: The register of users.
        scopes: How far their roles reach.
        tokens: The register of tokens.
        networks: Where people come from; a token names its own.
    """

    database: Database
    users: Users
    scopes: PersonScopes
    tokens: Tokens
    networks: tuple[Network, ...] = HOUSE_NETWORKS
    _known: Remembered[tuple[tuple[Rule, ...], tuple[Rule, ...]]] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_known", Remembered(self.database))

    def __call__(self, subject: Subject) -> tuple[Rule, ...]:
        """Return the rules of a subject; none of whoever is neither.

        Raises:
            Damaged: What is stored cannot be read, so nothing is allowed.
            Unavailable: The same.
        """
        roles, glass = self.apart(subject)
        return (*roles, *glass)

    def apart(self, subject: Subject) -> tuple[tuple[Rule, ...], tuple[Rule, ...]]:
        """Return what a subject's roles allow, and what broken glass does.

        Raises: As a call.
        """
        return self._known.get(subject, lambda: self._apart(subject))

    def _apart(self, subject: Subject) -> tuple[tuple[Rule, ...], tuple[Rule, ...]]:
        now = datetime.now(UTC)
        with self.database.read() as connection:
            try:
                if subject.kind is Kind.OPERATOR:
                    user = self.users.get(connection, subject.name)
                    return self._of_user(connection, user, now)
                if subject.kind is Kind.SERVICE:
                    token = self.tokens.get(connection, subject.name)
                    return _of_token(token, now), ()
            except NotFound:
                pass
        return (), ()

    def all(self) -> tuple[Rule, ...]:
        """Return the rules of everybody, for expectations; without broken glass."""
        return tuple(self._all(datetime.now(UTC)))

    def _all(self, now: datetime) -> Iterator[Rule]:
        with self.database.read() as connection:
            users = self.users.list(connection)
            scopes = self.scopes.all(connection)
            tokens = self.tokens.list(connection)
        for user in users:
            # Who has not enrolled yet will: an expectation is to know it before.
            if user.disabled_at is None:
                yield from self._of_roles(user, scopes.get(user.id, EVERYTHING))
        for token in tokens:
            yield from _of_token(token, now)

    def _of_user(
        self, connection: Connection, user: User, now: datetime
    ) -> tuple[tuple[Rule, ...], tuple[Rule, ...]]:
        if not user.is_active:
            return (), ()
        return (
            self._of_roles(user, self.scopes.of(connection, user)),
            emergency_rules(connection, user.subject, self.networks, now),
        )

    def _of_roles(self, user: User, scope: Scope) -> tuple[Rule, ...]:
        return rules_of_person(user.subject, user.roles, scope, self.networks)


def _of_token(token: Token, now: datetime) -> tuple[Rule, ...]:
    if not token.is_standing(now):
        return ()
    return rules_of_program(
        token.subject, token.role, token.scope, token.networks, token.ends_at
    )
