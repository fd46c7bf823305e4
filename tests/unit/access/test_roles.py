"""Roles become rules, and never more than their table says."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from leadglass.access.policy import Kind, Request, Subject, decide
from leadglass.access.rights import PROGRAM_RIGHTS, Right
from leadglass.access.roles import (
    CLINICAL_RIGHTS,
    HOUSE_NETWORKS,
    ROLES,
    Role,
    check_person,
    check_program,
    role_named,
    rules_of_person,
    rules_of_program,
)
from leadglass.access.scopes import EVERYTHING, FIELDS, Scope
from leadglass.errors import Misconfigured

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "roles.md"
ALICE = Subject(Kind.OPERATOR, "alice")
VIEWER = Subject(Kind.SERVICE, "viewer")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
CT = Scope.parse("modality=CT")
HERE = ip_address("10.4.0.7")
INTERNET = ip_address("203.0.113.9")
GIVEN = [role for role in ROLES.values() if not role.not_yet]
OF_PEOPLE = [role.name for role in GIVEN if role.is_for_people]


def allowed(*names: str, scope: Scope = EVERYTHING) -> dict[Right, list[str]]:
    """Return what somebody with these roles may do from within the house."""
    rules = rules_of_person(ALICE, names, scope)
    decisions = {
        right: decide(rules, Request(ALICE, right, HERE, NOON)) for right in Right
    }
    return {
        right: [str(each) for each in decision.scopes]
        for right, decision in decisions.items()
        if decision.allowed
    }


@pytest.mark.parametrize("name", ["administrator", "privacy"])
def test_who_appoints_or_judges_sees_no_images(name: str) -> None:
    assert not ROLES[name].rights & CLINICAL_RIGHTS
    assert not set(allowed(name)) & CLINICAL_RIGHTS


def test_only_the_administrator_administers_and_only_privacy_reviews() -> None:
    for right, name in ((Right.ADMINISTER, "administrator"), (Right.REVIEW, "privacy")):
        assert [role.name for role in ROLES.values() if right in role.rights] == [name]


@pytest.mark.parametrize("name", OF_PEOPLE)
def test_a_role_allows_its_rights_and_no_other(name: str) -> None:
    assert set(allowed(name)) == ROLES[name].rights


def test_a_radiologist_reaches_everything_or_the_own_scope() -> None:
    assert allowed("radiologist")[Right.FIND] == ["everything"]
    assert allowed("radiologist", scope=CT)[Right.VIEW] == ["modality=CT"]


def test_a_referring_physician_reaches_what_is_assigned() -> None:
    assert allowed("referring")[Right.VIEW] == ["assigned_to=operator alice"]
    own = Scope.parse("referring_physician=Welby^Marcus")
    assert allowed("referring", scope=own)[Right.VIEW] == [
        "assigned_to=operator alice",
        "referring_physician=Welby^Marcus",
    ]


def test_a_researcher_gets_nothing_before_identities_can_be_removed() -> None:
    assert allowed("researcher") == {}
    with pytest.raises(Misconfigured, match="does not remove identities"):
        check_person(["researcher"])
    with pytest.raises(Misconfigured, match="does not remove identities"):
        check_program("researcher")


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["surgeon"], "there is none"),
        (["service"], "for programs"),
        (["administrator", "radiologist"], "administrator: stands alone"),
        (["privacy", "referring"], "privacy: stands alone"),
    ],
)
def test_roles_that_cannot_be_are_refused_and_allow_nothing(
    names: list[str], problem: str
) -> None:
    with pytest.raises(Misconfigured, match=problem):
        check_person(names)
    assert allowed(*names) == {}


def test_a_scope_is_for_who_sees_studies() -> None:
    with pytest.raises(Misconfigured, match="reach no studies"):
        check_person(["administrator"], CT)
    check_person(["radiologist", "technologist"], CT)


@pytest.mark.parametrize("address", [None, INTERNET, ip_address("2001:db8::1")])
@pytest.mark.parametrize("name", OF_PEOPLE)
def test_no_role_reaches_in_from_outside_of_the_house(
    name: str, address: object
) -> None:
    rules = rules_of_person(ALICE, [name], EVERYTHING)
    for right in Right:
        request = Request(ALICE, right, address, NOON)  # type: ignore[arg-type]
        assert not decide(rules, request).allowed


def test_no_network_is_no_rule_and_not_one_for_the_node_itself() -> None:
    assert rules_of_person(ALICE, ["administrator"], EVERYTHING, ()) == ()
    assert rules_of_program(VIEWER, "service", EVERYTHING, (), NOON) == ()


@pytest.mark.parametrize("role", GIVEN, ids=lambda role: role.name)
def test_a_program_is_given_nothing_that_is_for_people(role: object) -> None:
    name = role.name  # type: ignore[attr-defined]
    rules = rules_of_program(VIEWER, name, EVERYTHING, HOUSE_NETWORKS, NOON)
    assert {right for rule in rules for right in rule.rights} <= PROGRAM_RIGHTS


def test_a_program_cannot_be_administrator() -> None:
    with pytest.raises(Misconfigured, match="for people only"):
        check_program("administrator")
    rules = rules_of_program(VIEWER, "administrator", EVERYTHING, HOUSE_NETWORKS, NOON)
    assert rules == ()


def test_a_program_is_bound_to_its_networks_and_its_end() -> None:
    only = (ip_network("10.4.0.0/24"),)
    rules = rules_of_program(VIEWER, "service", CT, only, NOON)

    def scopes(address: str, time: datetime) -> list[str]:
        request = Request(VIEWER, Right.FIND, ip_address(address), time)
        return [str(each) for each in decide(rules, request).scopes]

    assert scopes("10.4.0.7", NOON) == ["modality=CT"]
    assert scopes("10.5.0.7", NOON) == []
    assert scopes("10.4.0.7", NOON + timedelta(microseconds=1)) == []


def test_a_program_does_not_reach_what_a_device_of_its_name_sent() -> None:
    own = Scope.parse("source=own")
    program = Subject(Kind.SERVICE, "CT1")
    (rule,) = rules_of_program(program, "service", own, HOUSE_NETWORKS, NOON)
    assert str(rule.scope_for(program)) == "source=own"  # no device can be called so


def test_a_role_is_looked_up_by_its_name() -> None:
    for role in GIVEN:
        assert role_named(role.name) is role


@pytest.mark.parametrize("role", ROLES.values(), ids=lambda role: role.name)
def test_the_page_says_what_the_table_says(role: Role) -> None:
    page = PAGE.read_text("utf-8")
    rights = ", ".join(sorted(role.rights))
    assert f"| `{role.name}` | {role.title} | {rights} |" in page
    (row,) = (line for line in page.split("\n") if line.startswith(f"| `{role.name}`"))
    assert ("alone" in row) is role.stands_alone
    assert ("programs only" in row) is not role.is_for_people
    assert ("assigned to the holder" in row) is role.is_own_only
    assert ("gives nothing yet" in row) is bool(role.not_yet)


def test_the_page_names_every_field_of_a_scope() -> None:
    page = PAGE.read_text("utf-8")
    assert all(f"`{key}`" in page for key in FIELDS)
    assert all(
        f"`{right}`" in page for right in set(Right) - CLINICAL_RIGHTS - PROGRAM_RIGHTS
    )
