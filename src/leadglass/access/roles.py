"""Roles: what people of a kind, and programs, may do, as data.

A role gives rights and says how far they reach; what is written for one user or
token narrows that and never widens it. Everything a role allows becomes a rule like
any other, so that one function decides and one expectation can test it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_network
from types import MappingProxyType

from leadglass.access.networks import Network
from leadglass.access.policy import Rule, Subject
from leadglass.access.rights import PROGRAM_RIGHTS, Right
from leadglass.access.scopes import EVERYTHING, OWN, Scope
from leadglass.errors import Misconfigured

# Where people and programs come from unless somebody says otherwise: addresses that
# nobody on the Internet has (RFC 1918, RFC 4193, RFC 3927, RFC 4291 §2.5.6, loopback).
HOUSE_NETWORKS: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "127.0.0.0/8",
        "fc00::/7",
        "fe80::/10",
        "::1/128",
    )
)

# What reads or writes images, or tells that there are any.
CLINICAL_RIGHTS = frozenset(
    {
        Right.STORE,
        Right.FIND,
        Right.MOVE,
        Right.GET,
        Right.VIEW,
        Right.EXPORT,
        Right.IMPORT,
    }
)

_ASSIGNED = Scope(assignees=frozenset({OWN}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What a kind of people may do.

    Attributes:
        name: As it is given and stored.
        title: Who has it and what for, in a line.
        rights: What it permits.
        is_own_only: Whether it reaches what is assigned to its holder, and what the
            holder's scope names, instead of everything within that scope.
        is_for_people: Whether a person can have it; a program can have any that
            leaves it a right.
        stands_alone: Whether its holder can have no other: who judges or appoints
            must not be who looks.
        not_yet: Why it gives nothing in this version; "" if it does.
    """

    name: str
    title: str
    rights: frozenset[Right]
    is_own_only: bool = False
    is_for_people: bool = True
    stands_alone: bool = False
    not_yet: str = ""

    def reach(self, given: Scope) -> tuple[Scope, ...]:
        """Return what the role reaches for a holder with this scope, joined by OR."""
        if not self.is_own_only:
            return (given,)
        return (_ASSIGNED,) if given.is_everything else (_ASSIGNED, given)


_LOOK = frozenset({Right.FIND, Right.VIEW})

ROLES: Mapping[str, Role] = MappingProxyType(
    {
        role.name: role
        for role in (
            Role(
                name="administrator",
                title="runs the node: users, devices, rules, keys; sees no images",
                rights=frozenset({Right.ADMINISTER}),
                stands_alone=True,
            ),
            Role(
                name="radiologist",
                title="reads and reports studies",
                rights=_LOOK | {Right.GET, Right.BREAK_GLASS},
            ),
            Role(
                name="technologist",
                title="acquires studies, and checks what was stored",
                rights=_LOOK | {Right.ECHO, Right.STORE, Right.IMPORT},
            ),
            Role(
                name="referring",
                title="sees the studies of the own patients",
                rights=_LOOK | {Right.BREAK_GLASS},
                is_own_only=True,
            ),
            Role(
                name="researcher",
                title="sees studies without identities",
                rights=_LOOK | {Right.GET},
                not_yet="this version does not remove identities",
            ),
            Role(
                name="privacy",
                title="reads the audit record and reviews broken glass; sees no images",
                rights=frozenset({Right.AUDIT, Right.REVIEW}),
                stands_alone=True,
            ),
            Role(
                name="monitor",
                title="a program that watches the node; sees figures, and no images",
                rights=frozenset({Right.MONITOR}),
                is_for_people=False,
            ),
            Role(
                name="service",
                title="a program that stores and reads studies",
                rights=_LOOK | {Right.ECHO, Right.STORE, Right.GET},
                is_for_people=False,
            ),
        )
    }
)


def role_named(name: str) -> Role:
    """Return a role.

    Raises:
        Misconfigured: There is none of that name, or it gives nothing yet.
    """
    role = ROLES.get(name)
    if role is None:
        raise Misconfigured(f"role {name!r}: there is none; use {', '.join(ROLES)}")
    if role.not_yet:
        raise Misconfigured(f"role {name}: cannot be given: {role.not_yet}")
    return role


def check_person(names: Iterable[str], scope: Scope = EVERYTHING) -> None:
    """Make sure that a person can have these roles, with this scope.

    Raises:
        Misconfigured: All that is wrong.
    """
    problems: list[str] = []
    roles: list[Role] = []
    for name in names:
        try:
            roles.append(role_named(name))
        except Misconfigured as error:
            problems += error.problems
    problems += [
        f"role {role.name}: for programs; use leadglass tokens add"
        for role in roles
        if not role.is_for_people
    ]
    problems += [
        f"role {role.name}: stands alone; make another user for the other roles"
        for role in roles
        if role.stands_alone and len(roles) > 1
    ]
    if not scope.is_everything and not any(
        role.rights & CLINICAL_RIGHTS for role in roles
    ):
        problems.append("scope: these roles reach no studies; leave it out")
    if problems:
        raise Misconfigured(*problems)


def check_program(name: str) -> None:
    """Make sure that a program can have a role.

    Raises:
        Misconfigured: There is no such role, or it has nothing for a program.
    """
    if not role_named(name).rights & PROGRAM_RIGHTS:
        raise Misconfigured(f"role {name}: what it allows is for people only")


def rules_of_person(
    subject: Subject,
    names: Iterable[str],
    scope: Scope,
    networks: tuple[Network, ...] = HOUSE_NETWORKS,
) -> tuple[Rule, ...]:
    """Return what a person's roles allow; nothing of what it should not have.

    A combination that ``check_person`` refuses allows nothing at all: it was not
    made by this program, or by another version of it.
    """
    names = tuple(names)
    try:
        check_person(names)
    except Misconfigured:
        return ()
    return tuple(
        rule
        for name in names
        for rule in _rules(ROLES[name], ROLES[name].rights, subject, scope, networks)
    )


def rules_of_program(
    subject: Subject,
    name: str,
    scope: Scope,
    networks: tuple[Network, ...],
    not_after: datetime,
) -> tuple[Rule, ...]:
    """Return what a program's role allows it until its token ends."""
    try:
        check_program(name)
    except Misconfigured:
        return ()
    role = ROLES[name]
    rights = role.rights & PROGRAM_RIGHTS
    return _rules(role, rights, subject, scope, networks, not_after)


def _rules(  # noqa: PLR0913, PLR0917  # the conditions of a rule
    role: Role,
    rights: frozenset[Right],
    subject: Subject,
    scope: Scope,
    networks: tuple[Network, ...],
    not_after: datetime | None = None,
) -> tuple[Rule, ...]:
    if not networks:
        return ()  # a rule without one would be for the node itself
    return tuple(
        Rule(
            name=f"role {role.name}",
            subjects=frozenset({subject}),
            rights=rights,
            networks=networks,
            scope=reached,
            reason=role.title,
            not_after=not_after,
        )
        for reached in role.reach(scope)
    )
