"""Users and tokens over HTTPS, for who administers.

A secret is in the answer that makes it, once, and in no other. What lets somebody in,
or gives more, needs a person who has just proven itself: a screen that was left, or a
session that was taken, makes no administrators. Shutting out needs no such thing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Final, Literal

from msgspec import Meta

from leadglass.access.networks import parse_network
from leadglass.access.rights import Right
from leadglass.access.scopes import EVERYTHING_TEXT, Scope
from leadglass.archive.accounts import REASON_CHARACTERS_MAX, Account, Accounts
from leadglass.archive.caller import Caller
from leadglass.archive.visit import Visits
from leadglass.errors import BadData, Misconfigured
from leadglass.identity.people.user import NewUser
from leadglass.identity.tokens.token import (
    VALIDITY_DEFAULT,
    VALIDITY_MAX,
    NewToken,
    Token,
)
from leadglass.servers.http.answers import Answer
from leadglass.servers.http.documents import Document, answer, giving, taking
from leadglass.servers.http.fresh import freshly
from leadglass.servers.http.routes import Call, Route

ROOT: Final = "/api"
# What is longer than any name is told to be none without being looked at.
_TEXT_CHARACTERS_MAX: Final = 200
_ROLES_MAX: Final = 8
_NETWORKS_MAX: Final = 64
# As a document of ours can be.
_SCOPE_CHARACTERS_MAX: Final = 60_000

Text = Annotated[str, Meta(min_length=1, max_length=_TEXT_CHARACTERS_MAX)]
Reason = Annotated[str, Meta(max_length=REASON_CHARACTERS_MAX)]
ScopeText = Annotated[str, Meta(min_length=1, max_length=_SCOPE_CHARACTERS_MAX)]
Roles = Annotated[tuple[Text, ...], Meta(min_length=1, max_length=_ROLES_MAX)]
Networks = Annotated[tuple[Text, ...], Meta(min_length=1, max_length=_NETWORKS_MAX)]


class UserToAdd(Document, frozen=True):
    """Somebody who shall be a user."""

    name: Text
    roles: Roles
    display_name: Annotated[str, Meta(max_length=_TEXT_CHARACTERS_MAX)] = ""
    scope: ScopeText = EVERYTHING_TEXT


class UserEntry(Document, frozen=True):
    """A user; no secret is in it."""

    name: str
    display_name: str
    status: Literal["active", "disabled", "locked", "not_enrolled"]
    roles: tuple[str, ...]
    scope: str
    created_at: datetime
    enrolled_at: datetime | None
    disabled_at: datetime | None
    locked_until: datetime | None


class UserEntries(Document, frozen=True):
    """All users."""

    items: tuple[UserEntry, ...]


class UserWithSecret(Document, frozen=True):
    """A user, and the secret that enrols: shown here once."""

    user: UserEntry
    one_time_secret: str


class UserChange(Document, frozen=True):
    """Other roles, another scope, or both; what is left out stays."""

    roles: Roles | None = None
    scope: ScopeText | None = None
    reason: Reason = ""


class Why(Document, frozen=True):
    """Why; it goes on the record."""

    reason: Reason = ""


class TokenToAdd(Document, frozen=True):
    """A program that shall come in."""

    name: Text
    role: Text
    scope: ScopeText = EVERYTHING_TEXT
    networks: Networks | None = None
    days: Annotated[int, Meta(ge=1, le=VALIDITY_MAX.days)] = VALIDITY_DEFAULT.days


class TokenEntry(Document, frozen=True):
    """A token; the secret is nowhere in it."""

    name: str
    status: Literal["standing", "expired", "revoked"]
    role: str
    scope: str
    networks: tuple[str, ...]
    created_at: datetime
    not_after: datetime
    used_at: datetime | None
    revoked_at: datetime | None


class TokenEntries(Document, frozen=True):
    """All tokens."""

    items: tuple[TokenEntry, ...]


class TokenWithSecret(Document, frozen=True):
    """A token's entry, and the token itself: shown here once."""

    entry: TokenEntry
    token: str


@dataclass(frozen=True, slots=True)
class AccountRoutes:
    """Users and tokens over HTTPS.

    Attributes:
        accounts: The use cases.
        visits: Says whether a session is fresh.
    """

    accounts: Accounts
    visits: Visits

    def routes(self) -> Iterator[Route]:
        """Yield the routes; all need the right ``administer``."""
        users = f"{ROOT}/users"
        yield giving(
            users,
            Right.ADMINISTER,
            "All users",
            gives=UserEntries,
            handler=lambda call: UserEntries(
                items=tuple(map(_user, self.accounts.list_users(call.caller)))
            ),
        )
        yield taking(
            users,
            Right.ADMINISTER,
            "A user to add, who enrols with the secret of the answer",
            takes=UserToAdd,
            gives=UserWithSecret,
            reader=self._add_user,
            statuses=(HTTPStatus.CREATED,),
        )
        yield taking(
            f"{users}/{{user}}/change",
            Right.ADMINISTER,
            "Other roles or another scope; sessions and broken glass end",
            takes=UserChange,
            gives=UserEntry,
            reader=self._change_user,
        )
        yield taking(
            f"{users}/{{user}}/reset",
            Right.ADMINISTER,
            "All proofs are taken; who it is enrols with the secret of the answer",
            takes=Why,
            gives=UserWithSecret,
            reader=self._reset_user,
        )
        for word, summary, act in self._acts():
            yield taking(
                f"{users}/{{user}}/{word}",
                Right.ADMINISTER,
                summary,
                takes=Why,
                gives=UserEntry,
                reader=lambda call, why, act=act: _user(act(call, why)),  # type: ignore[misc]
            )
        yield from self._of_tokens()

    def _acts(self) -> Iterator[tuple[str, str, Callable[[Call, Why], Account]]]:
        yield (
            "disable",
            "Shut out at once, with sessions and broken glass",
            lambda call, why: self.accounts.disable_user(
                call.caller, call.path["user"], why.reason
            ),
        )
        yield (
            "enable",
            "May come again, with the proofs and roles of before",
            lambda call, why: self.accounts.enable_user(
                self._freshly(call), call.path["user"], why.reason
            ),
        )
        yield (
            "unlock",
            "May try again at once after failures",
            lambda call, _: self.accounts.unlock_user(call.caller, call.path["user"]),
        )

        yield (
            "end-sessions",
            "Logged out everywhere; may log in again",
            lambda call, why: self.accounts.end_sessions(
                call.caller, call.path["user"], why.reason
            ),
        )

    def _of_tokens(self) -> Iterator[Route]:
        tokens = f"{ROOT}/tokens"
        yield giving(
            tokens,
            Right.ADMINISTER,
            "All tokens",
            gives=TokenEntries,
            handler=lambda call: TokenEntries(
                items=tuple(map(_token, self.accounts.list_tokens(call.caller)))
            ),
        )
        yield taking(
            tokens,
            Right.ADMINISTER,
            "A token to make; it is in the answer, and nowhere else",
            takes=TokenToAdd,
            gives=TokenWithSecret,
            reader=self._add_token,
            statuses=(HTTPStatus.CREATED,),
        )
        yield taking(
            f"{tokens}/{{token}}/revoke",
            Right.ADMINISTER,
            "Refused from its next request on",
            takes=Why,
            gives=TokenEntry,
            reader=lambda call, why: _token(
                self.accounts.revoke_token(call.caller, call.path["token"], why.reason)
            ),
        )

    def _add_user(self, call: Call, new: UserToAdd) -> Answer:
        secret, account = self.accounts.add_user(
            self._freshly(call),
            NewUser(new.name, new.roles, new.display_name),
            _scope(new.scope),
        )
        made = UserWithSecret(user=_user(account), one_time_secret=secret)
        return answer(made, HTTPStatus.CREATED)

    def _reset_user(self, call: Call, why: Why) -> UserWithSecret:
        secret, account = self.accounts.reset_user(
            self._freshly(call), call.path["user"], why.reason
        )
        return UserWithSecret(user=_user(account), one_time_secret=secret)

    def _change_user(self, call: Call, change: UserChange) -> UserEntry:
        if change.roles is None and change.scope is None:
            raise BadData("nothing to change: name roles, scope, or both")
        return _user(
            self.accounts.change_user(
                self._freshly(call),
                call.path["user"],
                change.roles,
                None if change.scope is None else _scope(change.scope),
                change.reason,
            )
        )

    def _add_token(self, call: Call, new: TokenToAdd) -> Answer:
        networks = (
            self.accounts.networks
            if new.networks is None
            else tuple(map(parse_network, new.networks))
        )
        text, token = self.accounts.add_token(
            self._freshly(call),
            NewToken(
                name=new.name,
                role=new.role,
                scope=_scope(new.scope),
                networks=networks,
                validity=timedelta(days=new.days),
            ),
        )
        made = TokenWithSecret(entry=_token(token), token=text)
        return answer(made, HTTPStatus.CREATED)

    def _freshly(self, call: Call) -> Caller:
        return freshly(call, self.visits)


def _scope(text: str) -> Scope:
    """Read a scope; it may name patients, so what is wrong is not repeated.

    Raises:
        BadData: It is none.
    """
    try:
        return Scope.parse(text)
    except Misconfigured:
        raise BadData(
            f"scope: write field=value,value;field=value, or {EVERYTHING_TEXT}"
        ) from None


def _user(account: Account) -> UserEntry:
    user = account.user
    return UserEntry(
        name=user.name,
        display_name=user.display_name,
        status=_status_of_user(account),
        roles=user.roles,
        scope=str(account.scope),
        created_at=user.created_at,
        enrolled_at=user.enrolled_at,
        disabled_at=user.disabled_at,
        locked_until=account.locked_until,
    )


def _status_of_user(
    account: Account,
) -> Literal["active", "disabled", "locked", "not_enrolled"]:
    if account.user.disabled_at is not None:
        return "disabled"
    if account.user.enrolled_at is None:
        return "not_enrolled"
    return "active" if account.locked_until is None else "locked"


def _token(token: Token) -> TokenEntry:
    return TokenEntry(
        name=token.name,
        status=_status_of_token(token),
        role=token.role,
        scope=str(token.scope),
        networks=tuple(map(str, token.networks)),
        created_at=token.created_at,
        not_after=token.ends_at,
        used_at=token.used_at,
        revoked_at=token.revoked_at,
    )


def _status_of_token(token: Token) -> Literal["standing", "expired", "revoked"]:
    if token.revoked_at is not None:
        return "revoked"
    return "standing" if token.is_standing(datetime.now(UTC)) else "expired"
