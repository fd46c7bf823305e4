"""Which roles the groups of a provider give here.

A table, and nothing beside it: who is in no group of the table gets nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from leadglass.errors import Misconfigured
from leadglass.identity.people.user import ROLES_MAX, ordered

# Large directories put people in some hundred groups; more is an attack on memory.
GROUPS_MAX = 1_024


@dataclass(frozen=True, slots=True)
class GroupRoles:
    """The table from group to role.

    Attributes:
        claim: Name of the claim that holds the groups.
        roles: Group, as the provider spells it, to the name of a role.

    Raises:
        Misconfigured: No claim, an empty table, or an empty name in it.
    """

    claim: str
    roles: Mapping[str, str]

    def __post_init__(self) -> None:
        problems = []
        if not self.claim:
            problems.append("federation: name the claim that holds the groups")
        if not self.roles:
            problems.append("federation: map at least one group to a role")
        if not all(group and role for group, role in self.roles.items()):
            problems.append("federation: a group or a role of the table has no name")
        if problems:
            raise Misconfigured(*problems)

    def of(self, claims: Mapping[str, object]) -> tuple[str, ...]:
        """Return the roles for these claims, in order; none if nothing is mapped.

        A claim of another shape than text or a list of texts gives nothing, and so
        does one that gives more than ``ROLES_MAX`` roles: that table is a mistake.
        """
        value = claims.get(self.claim)
        groups = [value] if isinstance(value, str) else value
        if not isinstance(groups, list) or len(groups) > GROUPS_MAX:
            return ()
        if not all(isinstance(group, str) for group in groups):
            return ()
        found = ordered(self.roles[group] for group in groups if group in self.roles)
        return found if len(found) <= ROLES_MAX else ()
