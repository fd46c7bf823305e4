"""Single sign-on as a use case: what a provider may say, and what becomes of it."""

import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jws
from joserfc.jwk import ECKey

from leadglass.access.scopes import Scope
from leadglass.archive.accounts import Accounts
from leadglass.archive.caller import Gate
from leadglass.archive.doors import Knocks
from leadglass.archive.logins import Logins, Peer
from leadglass.archive.parts import Parts
from leadglass.archive.people import PeopleRules
from leadglass.archive.rulebook import RuleBook
from leadglass.archive.signon import Claims, NeedsFactor, SignOn
from leadglass.archive.vouching import NoAccess, Vouching
from leadglass.audit.codes import EventID, EventType, Outcome
from leadglass.errors import Refused, Unavailable
from leadglass.identity.devices import Devices
from leadglass.identity.federation.asking import Asker, tls_context
from leadglass.identity.federation.idtoken import SecondFactorRule
from leadglass.identity.federation.mapping import GroupRoles
from leadglass.identity.federation.provider import Provider, Trust
from leadglass.identity.people.login import LoggedIn, Stores
from leadglass.identity.people.passkeys import Passkeys
from leadglass.identity.people.passwords import Passwords
from leadglass.identity.people.secondfactor import Factor, SecondFactors
from leadglass.identity.people.sessions import Sessions
from leadglass.identity.people.tickets import Tickets
from tests.unit.archive.conftest import OPERATOR, Home
from tests.unit.archive.rig import events
from tests.unit.identity.federation.hostile import (
    CLIENT,
    CODE,
    HERE,
    SECRET,
    Hostile,
    hostile_provider,
)
from tests.unit.identity.people.surroundings import CHEAP, PARTY, base64url

DESK = Peer(ip_address("10.4.0.7"), "TLSv1.3")
ELSEWHERE = Peer(ip_address("10.4.0.8"), "TLSv1.3")
BROWSER = "b" * 43
TABLE = {
    "radiology": "radiologist",
    "acquisition": "technologist",
    "pacs": "administrator",
}
BLIND = """
[[expect]]
name = "sso:alice administers nothing"
operator = "sso:alice"
right = "administer"
from = "10.4.0.7"
allowed = false
"""


@dataclass
class Hospital:
    """The use cases, and the provider that they ask."""

    provider: Hostile
    sign_on: SignOn
    accounts: Accounts

    def begin(self) -> str:
        """Begin, as a browser; return the state that comes back."""
        address = self.sign_on.begin(HERE, BROWSER, DESK)
        query = parse_qs(urlsplit(address).query)
        self.provider.challenge = query["code_challenge"][0]
        self.provider.nonce = query["nonce"][0]
        self.provider.codes.add(CODE)
        self.provider.now = datetime.now(UTC)
        return query["state"][0]

    def log_in(self, *groups: str, **claims: Any) -> LoggedIn:
        state = self.begin()
        self.provider.claims = {
            "groups": list(groups),
            "preferred_username": "alice",
            **claims,
        }
        answer = [("state", state), ("code", CODE)]
        return self.sign_on.finish(answer, BROWSER, DESK).logged_in


@pytest.fixture
def hostile() -> Iterator[Hostile]:
    with hostile_provider() as server:
        yield server


def hospital_of(
    parts: Parts, hostile: Hostile, rule: SecondFactorRule | None = None
) -> Hospital:
    accounts, knocks = Accounts.of(parts), Knocks(parts)
    stores = Stores(
        users=accounts.users,
        passwords=Passwords(parameters=CHEAP),
        factors=SecondFactors(),
        passkeys=Passkeys(PARTY),
        lockout=accounts.lockout,
        tickets=Tickets(),
        sessions=Sessions(),
    )
    logins = Logins(parts, stores, knocks)
    trust = Trust(hostile.issuer, rule or SecondFactorRule(), unsafe_loopback_http=True)
    ask = Asker(tls_context(None), 2.0)
    provider = Provider(trust, CLIENT, lambda: SECRET, ask)
    claims = Claims(GroupRoles("groups", TABLE), "preferred_username", "name")
    vouching = Vouching(parts, accounts, logins)
    return Hospital(hostile, SignOn(provider, claims, vouching, logins), accounts)


@pytest.fixture
def hospital(parts: Parts, hostile: Hostile) -> Hospital:
    return hospital_of(parts, hostile)


def told(home: Home) -> tuple[Outcome, str, str]:
    """Return the last login of the record: outcome, who, why not."""
    event = events(home, EventID.USER_AUTHENTICATION)[-1]
    return event.outcome, event.participants[0].user_id, event.outcome_description


def roles_of(hospital: Hospital) -> tuple[str, ...]:
    (account,) = hospital.accounts.list_users(OPERATOR)
    return account.user.roles


def test_groups_are_roles_at_each_login(home: Home, hospital: Hospital) -> None:
    first = hospital.log_in("radiology", "acquisition", "others", name="Alice Doe")
    user = first.session.user
    assert (user.name, user.display_name) == ("sso:alice", "Alice Doe")
    assert user.roles == ("radiologist", "technologist")
    assert first.session.factor is Factor.PROVIDER
    hospital.log_in("radiology")
    assert roles_of(hospital) == ("radiologist",)
    came, changed = events(home, EventID.SECURITY_ALERT)
    assert EventType.SECURITY_ROLES_CHANGED in came.types
    assert dict(came.objects[0].details)["subject"] == "s-1"
    assert (
        dict(changed.objects[0].details)["roles_before"] == "radiologist technologist"
    )


def test_who_loses_the_groups_loses_all(home: Home, hospital: Hospital) -> None:
    hospital.log_in("radiology")
    with pytest.raises(NoAccess):
        hospital.log_in("others")
    assert roles_of(hospital) == ()
    assert told(home) == (
        Outcome.MINOR_FAILURE,
        "sso:alice",
        "no group of the provider gives a role",
    )
    assert hospital.log_in("radiology").session.user.roles == ("radiologist",)


@pytest.mark.parametrize(
    "groups", [None, "", 7, {"radiology": True}, ["radiology", 7], [["radiology"]]]
)
def test_what_are_no_groups_give_nothing(hospital: Hospital, groups: object) -> None:
    with pytest.raises(NoAccess):
        hospital.log_in(groups=groups)
    assert hospital.accounts.list_users(OPERATOR) == ()


def test_roles_that_exclude_each_other_are_none(home: Home, hospital: Hospital) -> None:
    hospital.log_in("radiology")
    with pytest.raises(NoAccess):
        hospital.log_in("radiology", "pacs")
    assert roles_of(hospital) == ()
    assert told(home)[2] == "roles that cannot be given"


def test_an_expectation_stands_above_the_groups(
    home: Home, parts: Parts, hostile: Hostile
) -> None:
    hospital = hospital_of(parts, hostile)
    rules = home.folder / "rules.toml"
    rules.write_text(BLIND)
    gate = expecting(parts, hospital.accounts, rules)
    hospital = hospital_of(with_gate(parts, gate), hostile)
    hospital.log_in("radiology")
    with pytest.raises(NoAccess):
        hospital.log_in("pacs")
    assert roles_of(hospital) == ()
    assert told(home)[2] == "roles that cannot be given"


def expecting(parts: Parts, accounts: Accounts, rules: Path) -> Gate:
    people = PeopleRules(
        parts.database, accounts.users, accounts.scopes, accounts.tokens
    )
    book = RuleBook(rules, Devices(parts.database), OPERATOR.subject, people)
    return Gate(book.rules, book.keep)


def with_gate(parts: Parts, gate: Gate) -> Parts:
    object.__setattr__(parts, "gate", gate)
    return parts


def test_a_disabled_person_stays_out(home: Home, hospital: Hospital) -> None:
    hospital.log_in("radiology")
    hospital.accounts.disable_user(OPERATOR, "sso:alice")
    with pytest.raises(NoAccess):
        hospital.log_in("pacs")
    assert roles_of(hospital) == ("radiologist",)
    assert told(home) == (Outcome.MINOR_FAILURE, "sso:alice", "disabled user")


def test_the_scope_that_an_administrator_gave_stays(hospital: Hospital) -> None:
    from_here = hospital.log_in("radiology").session.user
    scope = hospital.accounts.scopes
    assert hospital.accounts.change_user(
        OPERATOR, from_here.name, scope=Scope.parse("modality=CT")
    )
    user = hospital.log_in("radiology").session.user
    with hospital.accounts.parts.database.read() as connection:
        assert str(scope.of(connection, user)) == "modality=CT"


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example"},
        {"aud": "another"},
        {"aud": [CLIENT.client_id, "another"]},
        {"nonce": "another"},
        {"exp": 1},
        {"iat": 1},
        {"sub": ""},
        {"sub": "ä"},
        {"sub": 7},
        {"azp": "another"},
    ],
)
def test_a_token_of_somebody_else_is_nobody(
    home: Home, hospital: Hospital, claims: dict[str, Any]
) -> None:
    with pytest.raises(Refused):
        hospital.log_in("radiology", **claims)
    assert hospital.accounts.list_users(OPERATOR) == ()
    assert told(home) == (
        Outcome.MINOR_FAILURE,
        "unknown",
        "not proven by the provider",
    )


def forged(provider: Hostile, alg: str) -> str:
    """Return a token that is right but for its signature."""
    now = int(datetime.now(UTC).timestamp())
    claims = {
        "iss": provider.issuer,
        "aud": CLIENT.client_id,
        "sub": "s-1",
        "nonce": provider.nonce,
        "iat": now,
        "exp": now + 60,
        "amr": ["mfa"],
        "groups": ["radiology"],
    }
    header = {"alg": alg, "kid": provider.key.kid}
    signed = ".".join(base64url(json.dumps(each).encode()) for each in (header, claims))
    if alg == "none":
        return f"{signed}."
    if alg == "HS256":  # with what everybody knows as the secret (RFC 8725 §2.1)
        known = provider.key.as_pem(private=False)
        return f"{signed}.{base64url(hmac.digest(known, signed.encode(), 'sha256'))}"
    stranger = ECKey.generate_key("P-256")
    return jws.serialize_compact(header, json.dumps(claims), stranger, [alg])


@pytest.mark.parametrize("alg", ["none", "HS256", "ES256"])
def test_a_token_without_a_right_signature_is_nobody(
    home: Home, hospital: Hospital, alg: str
) -> None:
    state = hospital.begin()
    answer = json.dumps({"id_token": forged(hospital.provider, alg)}).encode()
    hospital.provider.answers["/token_endpoint"] = (200, answer)
    with pytest.raises(Refused):
        hospital.sign_on.finish([("state", state), ("code", CODE)], BROWSER, DESK)
    assert hospital.accounts.list_users(OPERATOR) == ()
    assert told(home)[0] is Outcome.MINOR_FAILURE


def test_one_proof_is_for_who_says_that_it_is_unsafe(
    home: Home, parts: Parts, hostile: Hostile
) -> None:
    with pytest.raises(NeedsFactor):
        hospital_of(parts, hostile).log_in("radiology", amr=["pwd"])
    assert told(home)[2] == "the provider asserts no second factor"
    rule = SecondFactorRule(unsafe_not_required=True)
    now = int(datetime.now(UTC).timestamp())
    let_in = hospital_of(parts, hostile, rule).log_in(
        "radiology", amr=["pwd"], auth_time=now
    )
    assert let_in.session.factor is Factor.NONE
    # What needs a person who has just proven itself is not for one of one proof.
    assert not let_in.session.is_fresh(datetime.now(UTC))


def test_a_session_is_as_fresh_as_the_proof(hospital: Hospital) -> None:
    now = datetime.now(UTC)
    just_now = hospital.log_in("pacs", auth_time=int(now.timestamp()))
    assert just_now.session.is_fresh(now)
    an_hour_ago = hospital.log_in("pacs", auth_time=int(now.timestamp()) - 3600)
    assert not an_hour_ago.session.is_fresh(now)


def test_a_provider_that_does_not_answer_is_no_failure_of_who_comes(
    home: Home, hospital: Hospital
) -> None:
    state = hospital.begin()
    hospital.provider.answers["/token_endpoint"] = (500, b"")
    with pytest.raises(Unavailable):
        hospital.sign_on.finish([("state", state), ("code", CODE)], BROWSER, DESK)
    assert events(home, EventID.USER_AUTHENTICATION) == []


def test_failures_of_an_address_end_its_tries(hospital: Hospital) -> None:
    for _ in range(21):
        with pytest.raises(Refused):
            hospital.sign_on.finish([("state", "x")], BROWSER, DESK)
    with pytest.raises(Refused):
        hospital.sign_on.begin(HERE, BROWSER, DESK)
    assert hospital.sign_on.begin(HERE, BROWSER, ELSEWHERE)
