"""A token: by what a program proves itself, and what that is good for."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from leadglass.access.networks import Address, Network, plain, too_wide
from leadglass.access.policy import Kind, Subject
from leadglass.access.roles import HOUSE_NETWORKS
from leadglass.access.scopes import EVERYTHING, Scope
from leadglass.errors import Misconfigured

# As a user's: fits a row of the record and a column of a list.
NAME_CHARACTERS_MAX = 64
# A quarter: long enough to be renewed by a person, short enough to be forgotten safely.
VALIDITY_DEFAULT = timedelta(days=90)
# A year and a day, so that who renews on a date each year is never too late.
VALIDITY_MAX = timedelta(days=366)
# Each is asked at every request; more say that a wider one is meant.
NETWORKS_MAX = 64

_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{NAME_CHARACTERS_MAX - 1}}}")


def subject_of(name: str) -> Subject:
    """Return how rules name a program; case makes no other one."""
    return Subject(Kind.SERVICE, name.casefold())


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    """What a token shall be good for.

    Attributes:
        name: What the program is called.
        role: Name of its role; what it means is ``access``'s business.
        scope: How far the role reaches in its hands.
        networks: Where it may be used from.
        validity: For how long.

    Raises:
        Misconfigured: All that cannot be.
    """

    name: str
    role: str
    scope: Scope = EVERYTHING
    networks: tuple[Network, ...] = HOUSE_NETWORKS
    validity: timedelta = VALIDITY_DEFAULT

    def __post_init__(self) -> None:
        problems = []
        if not _NAME.fullmatch(self.name):
            problems.append(
                f"token: a name is 1 to {NAME_CHARACTERS_MAX} letters A to Z, digits "
                "and . _ -, and begins with a letter or digit"
            )
        if not timedelta(0) < self.validity <= VALIDITY_MAX:
            problems.append(f"token: good for 1 to {VALIDITY_MAX.days} days")
        if not 1 <= len(self.networks) <= NETWORKS_MAX:
            problems.append(f"token: name 1 to {NETWORKS_MAX} networks it comes from")
        problems += [
            f"token: {problem}"
            for network in self.networks
            if (problem := too_wide(network)) is not None
        ]
        if problems:
            raise Misconfigured(*problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token as the register has it; the secret itself is nowhere.

    Attributes:
        id: Row number.
        name: What the program is called.
        role: Name of its role.
        scope: How far the role reaches in its hands.
        networks: Where it may be used from.
        created_at: When it was made.
        ends_at: Its last moment.
        used_at: When it was last used, to the hour; ``None``: never.
        revoked_at: Since when it is refused; ``None``: it is not.
    """

    id: int
    name: str
    role: str
    scope: Scope
    networks: tuple[Network, ...]
    created_at: datetime
    ends_at: datetime
    used_at: datetime | None = None
    revoked_at: datetime | None = None

    @property
    def subject(self) -> Subject:
        """How rules name the program."""
        return subject_of(self.name)

    def refusal(self, address: Address | None, now: datetime) -> str | None:
        """Say why it proves nobody, for the record; ``None``: it does."""
        if self.revoked_at is not None:
            return "token was revoked"
        if now > self.ends_at:
            return "token has expired"
        if address is None or not any(
            plain(address) in network for network in self.networks
        ):
            return "token is not for use from this address"
        return None

    def is_standing(self, now: datetime) -> bool:
        """Whether it is neither revoked nor over."""
        return self.revoked_at is None and now <= self.ends_at
