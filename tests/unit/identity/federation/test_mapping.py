"""Roles from groups: what is not in the table gives nothing."""

import pytest

from leadglass.errors import Misconfigured
from leadglass.identity.federation.mapping import GROUPS_MAX, GroupRoles

TABLE = GroupRoles("groups", {"rad": "radiologist", "x": "radiologist", "it": "admin"})


@pytest.mark.parametrize(
    ("value", "roles"),
    [
        (["rad", "other"], ("radiologist",)),
        (["rad", "x", "it"], ("admin", "radiologist")),
        ("it", ("admin",)),
        ([], ()),
        (["RAD", " rad", "rad/sub"], ()),
        (None, ()),
        ({"rad": True}, ()),
        (["rad", 1], ()),
        (["rad"] * (GROUPS_MAX + 1), ()),
    ],
)
def test_groups_give_the_roles_of_the_table(
    value: object, roles: tuple[str, ...]
) -> None:
    assert TABLE.of({"groups": value}) == roles


def test_another_claim_gives_nothing() -> None:
    assert TABLE.of({"roles": ["rad"]}) == ()


def test_all_problems_of_a_table_are_told_at_once() -> None:
    with pytest.raises(Misconfigured) as caught:
        GroupRoles("", {})
    assert len(caught.value.problems) == 2
    with pytest.raises(Misconfigured):
        GroupRoles("groups", {"": "radiologist"})
