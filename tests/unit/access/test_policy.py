"""Access decisions: a table, because a table is what an auditor reads."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadglass.access.policy import (
    Expectation,
    Kind,
    Request,
    Rule,
    Subject,
    broken,
    decide,
)
from leadglass.access.rights import DEVICE_RIGHTS, Right
from leadglass.access.scopes import EVERYTHING, Scope
from leadglass.errors import Misconfigured

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
CT1 = Subject(Kind.DEVICE, "CT1")
WS1 = Subject(Kind.DEVICE, "WS1")
ROOT = Subject(Kind.OPERATOR, "root")

RULES = [
    Rule(
        name="scanner stores",
        subjects=frozenset({CT1}),
        rights=frozenset({Right.ECHO, Right.STORE}),
        networks=(ip_network("10.4.0.0/24"),),
    ),
    Rule(
        name="scanner sees its own",
        subjects=frozenset({CT1}),
        rights=frozenset({Right.FIND}),
        networks=(ip_network("10.4.0.7"),),
        scope=Scope.parse("source=own"),
        not_after=NOON,
    ),
    Rule(
        name="reader reads CT",
        subjects=frozenset({WS1}),
        rights=frozenset({Right.FIND, Right.GET}),
        networks=(ip_network("10.5.0.0/24"), ip_network("fd00:5::/64")),
        scope=Scope.parse("modality=CT"),
    ),
    Rule(
        name="reader finds North",
        subjects=frozenset({WS1}),
        rights=frozenset({Right.FIND}),
        networks=(ip_network("10.5.0.0/24"),),
        scope=Scope.parse("institution=North"),
    ),
    Rule(
        name="operator here",
        subjects=frozenset({ROOT}),
        rights=frozenset({Right.ERASE, Right.FIND}),
        networks=(),
    ),
]

A_MOMENT = timedelta(microseconds=1)


def request(
    subject: Subject, right: str, address: str | None, time: datetime = NOON
) -> Request:
    literal = None if address is None else ip_address(address)
    return Request(subject, Right(right), literal, time)


@pytest.mark.parametrize(
    ("asked", "scopes", "reason"),
    [
        (request(CT1, "store", "10.4.0.9"), ["everything"], "'scanner stores'"),
        (request(CT1, "store", "::ffff:10.4.0.9"), ["everything"], "scanner stores"),
        (request(CT1, "find", "10.4.0.7"), ["source=CT1"], "scanner sees its own"),
        (request(WS1, "get", "10.5.0.1"), ["modality=CT"], "reader reads CT"),
        (request(WS1, "get", "fd00:5::1"), ["modality=CT"], "reader reads CT"),
        (
            request(WS1, "find", "10.5.0.1"),
            ["institution=North", "modality=CT"],
            "'reader finds North', 'reader reads CT'",
        ),
        (request(ROOT, "erase", None), ["everything"], "operator here"),
        # Each denial names the condition that came closest.
        (request(CT1, "get", "10.4.0.9"), [], "no rule gives it the right get"),
        (request(CT1, "store", "10.5.0.9"), [], "no rule allows it from 10.5.0.9"),
        (request(CT1, "store", None), [], "no rule allows it from here"),
        (request(CT1, "find", "10.4.0.7", NOON + A_MOMENT), [], "expired at 2026-03"),
        (request(ROOT, "erase", "127.0.0.1"), [], "allows it from 127.0.0.1"),
        (request(Subject(Kind.EXCEPTION, "CT1"), "store", "10.4.0.9"), [], "names"),
        (request(Subject(Kind.DEVICE, "ct1"), "store", "10.4.0.9"), [], "names"),
        (request(Subject(Kind.DEVICE, "root"), "erase", None), [], "no rule names"),
    ],
)
def test_decide(asked: Request, scopes: list[str], reason: str) -> None:
    decision = decide(RULES, asked)
    assert decision.allowed is bool(scopes)
    assert [str(scope) for scope in decision.scopes] == scopes
    assert reason in decision.reason


def test_without_rules_nothing_is_allowed() -> None:
    for right in Right:
        for subject in (CT1, ROOT):
            for address in (None, ip_address("127.0.0.1")):
                decision = decide([], Request(subject, right, address, NOON))
                assert not decision.allowed
                assert decision.scopes == ()


def test_devices_cannot_be_given_what_people_do() -> None:
    assert DEVICE_RIGHTS.isdisjoint(
        {Right.ERASE, Right.EXPORT, Right.IMPORT, Right.ADMINISTER, Right.AUDIT}
    )


addresses = st.sampled_from(["10.4.0.7", "10.4.0.9", "10.5.0.1", "fd00:5::1"])
subjects = st.sampled_from(
    [CT1, WS1, ROOT, Subject(Kind.EXCEPTION, "CT1"), Subject(Kind.DEVICE, "x")]
)
times = st.integers(-5_000, 5_000).map(lambda hours: NOON + timedelta(hours=hours))
requests = st.builds(
    Request,
    subject=subjects,
    right=st.sampled_from(Right),
    address=st.none() | addresses.map(ip_address),
    time=times,
)
rules = st.builds(
    Rule,
    name=st.sampled_from(["one", "two", "three"]),
    subjects=st.frozensets(subjects, min_size=1, max_size=3),
    rights=st.frozensets(st.sampled_from(Right), min_size=1),
    networks=st.lists(
        st.sampled_from(["10.4.0.0/24", "10.5.0.0/24", "fd00:5::/64"]).map(ip_network),
        max_size=2,
    ).map(tuple),
    scope=st.sampled_from(["everything", "modality=CT", "source=own"]).map(Scope.parse),
    not_after=st.none() | times,
)


@given(st.lists(rules, max_size=4), rules, requests)
def test_another_rule_never_takes_anything_away(
    some: list[Rule], another: Rule, asked: Request
) -> None:
    before, after = decide(some, asked), decide([*some, another], asked)
    assert after.allowed >= before.allowed
    for scope in before.scopes:
        assert any(scope.is_within(wider) for wider in after.scopes)


@given(st.lists(rules, max_size=5), requests, st.randoms())
def test_the_order_of_rules_does_not_matter(
    some: list[Rule], asked: Request, random: object
) -> None:
    shuffled = list(some)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis' Random
    assert decide(some, asked) == decide(shuffled, asked)


@given(st.lists(rules, max_size=5), requests)
def test_an_expired_rule_allows_nothing(some: list[Rule], asked: Request) -> None:
    living = [
        rule for rule in some if rule.not_after is None or rule.not_after >= asked.time
    ]
    assert decide(some, asked).scopes == decide(living, asked).scopes


@given(st.lists(rules, max_size=5), requests)
def test_an_answer_rests_on_a_rule_for_all_that_was_asked(
    some: list[Rule], asked: Request
) -> None:
    if decide(some, asked).allowed:
        assert any(
            asked.subject in rule.subjects and asked.right in rule.rights
            for rule in some
        )


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"subjects": frozenset()},
        {"rights": frozenset()},
        {"networks": (ip_network("0.0.0.0/0"),)},
        {"networks": (ip_network("::/0"),)},
    ],
)
def test_a_rule_for_anybody_or_nobody_cannot_be_made(
    change: dict[str, object],
) -> None:
    whole: dict[str, object] = {
        "name": "rule",
        "subjects": frozenset({CT1}),
        "rights": frozenset({Right.FIND}),
        "networks": (),
    }
    with pytest.raises(Misconfigured):
        Rule(**{**whole, **change})  # type: ignore[arg-type]  # a table of changes


def test_nobody_is_not_somebody() -> None:
    with pytest.raises(Misconfigured):
        Subject(Kind.DEVICE, "")


def test_a_time_without_zone_is_a_mistake() -> None:
    naive = datetime(2026, 3, 1)  # noqa: DTZ001  # that is the point
    with pytest.raises(ValueError, match="zone"):
        Request(CT1, Right.FIND, None, naive)


@pytest.mark.parametrize(
    ("subject", "right", "address", "allowed", "within", "holds"),
    [
        (CT1, "store", "10.4.0.7", True, "everything", True),
        (CT1, "store", "10.4.0.7", False, "everything", False),
        (CT1, "get", "10.4.0.7", False, "everything", True),
        (CT1, "get", "10.4.0.7", True, "everything", False),
        (WS1, "get", "10.5.0.1", True, "modality=CT,MR", True),
        (WS1, "get", "10.5.0.1", True, "institution=North", False),
        (WS1, "find", "10.5.0.1", True, "modality=CT", False),  # one scope is wider
    ],
)
def test_expectations(
    subject: Subject,
    right: str,
    address: str,
    within: str,
    *,
    allowed: bool,
    holds: bool,
) -> None:
    expectation = Expectation(
        name="it",
        subject=subject,
        right=Right(right),
        address=ip_address(address),
        allowed=allowed,
        within=Scope.parse(within),
    )
    found = list(broken(iter(RULES), [expectation], NOON))
    assert found == ([] if holds else [expectation])


def test_everything_swallows_the_other_scopes() -> None:
    wide = Rule(
        name="wide",
        subjects=frozenset({WS1}),
        rights=frozenset({Right.GET}),
        networks=(ip_network("10.5.0.0/24"),),
    )
    decision = decide([*RULES, wide], request(WS1, "get", "10.5.0.1"))
    assert decision.scopes == (EVERYTHING,)
