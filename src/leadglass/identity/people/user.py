"""A user: a person with a login, as the rest of the house sees one."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from leadglass.access.policy import Kind, Subject
from leadglass.errors import Misconfigured

# Fits a row of the record, a column of a list, and a cookie-less log line.
NAME_CHARACTERS_MAX = 64
DISPLAY_NAME_CHARACTERS_MAX = 128
# More roles than there are say that something else is meant.
ROLES_MAX = 8

# ASCII only: that no two users look alike on a screen (Unicode TR 39) matters more
# here than how a name is spelt; the display name spells it.
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._@-]{{0,{NAME_CHARACTERS_MAX - 1}}}")
# What no local name has in it: nobody is taken for a local user whom somebody else
# has proven, nor the other way round.
EXTERNAL_MARK = ":"
_EXTERNAL_NAME = re.compile(rf"(?:sso|ldap){EXTERNAL_MARK}{_NAME.pattern}")
_ROLE = re.compile(r"[a-z][a-z_-]{0,31}")


def fold_name(name: str) -> str:
    """Return what a name is told apart by; never raises, whatever was typed."""
    return name.strip().casefold()


def could_be_name(folded_name: str) -> bool:
    """Whether anybody may be called so; what cannot be is not looked up at all.

    A lone surrogate, which JSON can bring, would be an error in the database.
    """
    return folded_name.isascii() and len(folded_name) <= NAME_CHARACTERS_MAX


def is_local_name(name: str) -> bool:
    """Whether a local user may be called so."""
    return _NAME.fullmatch(name) is not None


def _problems(
    name: str,
    roles: tuple[str, ...],
    display_name: str,
    *,
    is_external: bool = False,
) -> list[str]:
    problems = []
    if not (_is_external_name(name) if is_external else is_local_name(name)):
        problems.append(
            "user: a name is 1 to 64 letters A to Z, digits and . _ @ -, "
            "and begins with a letter or digit"
        )
    # Who is in no group any more that gives a role keeps the name in the record.
    if not (0 if is_external else 1) <= len(roles) <= ROLES_MAX:
        problems.append(f"user: give 1 to {ROLES_MAX} roles")
    if not all(_ROLE.fullmatch(role) for role in roles):
        problems.append("user: a role is a word in small letters, as radiologist")
    if not display_name.isprintable():
        problems.append("user: the display name has characters that do not print")
    if len(display_name) > DISPLAY_NAME_CHARACTERS_MAX:
        problems.append(
            f"user: display name longer than {DISPLAY_NAME_CHARACTERS_MAX} characters"
        )
    return problems


def _is_external_name(name: str) -> bool:
    return (
        _EXTERNAL_NAME.fullmatch(name) is not None and len(name) <= NAME_CHARACTERS_MAX
    )


def ordered(roles: Iterable[str]) -> tuple[str, ...]:
    """Return roles each once, in one order."""
    return tuple(sorted(set(roles)))


@dataclass(frozen=True, slots=True)
class NewUser:
    """Somebody who shall be a user.

    Attributes:
        name: The name to log in with.
        roles: Names of roles; what they mean is ``access``'s business.
        display_name: How people call the person; may be empty.

    Raises:
        Misconfigured: A name, role or number of roles that cannot be.
    """

    name: str
    roles: tuple[str, ...]
    display_name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "roles", ordered(self.roles))
        if problems := _problems(self.name, self.roles, self.display_name):
            raise Misconfigured(*problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user of this node.

    Attributes:
        id: Row number; for the stores of this package.
        name: The name to log in with, in the case it was given in.
        roles: Names of roles, in order.
        display_name: How people call the person.
        handle: Random bytes that authenticators know the user by.
        revision: Changes so far that end what was granted before them.
        created_at: When the user was added.
        enrolled_at: When the user first chose a proof; ``None``: not yet.
        disabled_at: Since when the user may not come; ``None``: may.
    """

    id: int
    name: str
    roles: tuple[str, ...]
    display_name: str
    handle: bytes
    revision: int
    created_at: datetime
    enrolled_at: datetime | None = None
    disabled_at: datetime | None = None

    def __post_init__(self) -> None:
        if problems := _problems(
            self.name, self.roles, self.display_name, is_external=self.is_external
        ):
            raise Misconfigured(*problems)

    @property
    def is_external(self) -> bool:
        """Whether somebody else proves the person, and says which roles it has."""
        return EXTERNAL_MARK in self.name

    @property
    def is_active(self) -> bool:
        """Whether the user may come at all."""
        return self.disabled_at is None and self.enrolled_at is not None

    @property
    def subject(self) -> Subject:
        """How rules name the user: by the folded name, which is unique."""
        return Subject(Kind.OPERATOR, fold_name(self.name))
