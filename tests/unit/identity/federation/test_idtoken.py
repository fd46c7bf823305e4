"""ID tokens: the right one, and each way to forge or to misuse one."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from joserfc import jws
from joserfc.jwk import ECKey, Key, KeySet, OctKey, OKPKey, RSAKey

from leadglass.errors import Misconfigured, Refused
from leadglass.identity.federation.idtoken import (
    TOKEN_CHARACTERS_MAX,
    Expected,
    SecondFactorRule,
    find_key,
    key_id,
    verify,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
AT = int(NOW.timestamp())
ISSUER = "https://login.example.org"
EXPECTED = Expected(ISSUER, "leadglass", "the-nonce")
CLAIMS: dict[str, object] = {
    "iss": ISSUER,
    "aud": "leadglass",
    "sub": "s-1",
    "nonce": "the-nonce",
    "iat": AT,
    "exp": AT + 300,
    "amr": ["pwd", "otp"],
}
EC = ECKey.generate_key("P-256", {"kid": "ec"})
OTHER = ECKey.generate_key("P-256", {"kid": "ec"})
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
ED = OKPKey.generate_key("Ed25519", {"kid": "ed"})


def signed(
    claims: dict[str, object], alg: str = "ES256", key: Key = EC, kid: object = "ec"
) -> str:
    header = {"alg": alg} if kid is None else {"alg": alg, "kid": kid}
    return jws.serialize_compact(header, json.dumps(claims), key, [alg])


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
@pytest.mark.parametrize(
    ("alg", "key"),
    [("ES256", EC), ("RS256", RSA), ("PS256", RSA), ("Ed25519", ED), ("EdDSA", ED)],
)
def test_a_right_token_names_somebody(alg: str, key: Key) -> None:
    found = verify(signed(CLAIMS, alg, key), key, EXPECTED, NOW)
    assert (found.issuer, found.subject) == (ISSUER, "s-1")
    assert "s-1" not in repr(found)


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": ISSUER + "/"},
        {"iss": "https://evil.example.org"},
        {"iss": None},
        {"aud": "another"},
        {"aud": ["leadglass", "another"]},
        {"aud": []},
        {"azp": "another"},
        {"nonce": "another"},
        {"nonce": None},
        {"nonce": ["the-nonce"]},
        {"nonce": "\ud800"},
        {"exp": AT - 61},
        {"exp": str(AT + 300)},
        {"exp": True},
        {"exp": None},
        {"exp": float("inf")},
        {"iat": AT - 601},
        {"iat": AT + 61},
        {"iat": float("nan")},
        {"nbf": AT + 61},
        {"sub": ""},
        {"sub": 7},
        {"sub": "\ud800"},
        {"sub": "s" * 256},
        {"amr": ["pwd"]},
        {"amr": "otp"},
        {"amr": None},
        {"amr": None, "acr": "gold"},
    ],
)
def test_a_claim_that_is_wrong_is_refused(changes: dict[str, object]) -> None:
    token = signed(CLAIMS | changes)
    with pytest.raises(Refused):
        verify(token, EC, EXPECTED, NOW)


@pytest.mark.parametrize("name", ["iss", "aud", "sub", "nonce", "iat", "exp", "amr"])
def test_a_claim_that_is_absent_is_refused(name: str) -> None:
    token = signed({key: CLAIMS[key] for key in CLAIMS if key != name})
    with pytest.raises(Refused):
        verify(token, EC, EXPECTED, NOW)


def test_another_key_is_refused() -> None:
    with pytest.raises(Refused):
        verify(signed(CLAIMS, key=OTHER), EC, EXPECTED, NOW)


@pytest.mark.parametrize("alg", ["none", "None", "NONE", None, 7, ["ES256"]])
def test_no_signature_is_refused(alg: object) -> None:
    token = f"{encoded({'alg': alg, 'kid': 'ec'})}.{encoded(CLAIMS)}."
    with pytest.raises(Refused):
        verify(token, EC, EXPECTED, NOW)


def test_the_public_key_is_no_secret_for_hs256() -> None:
    forged = signed(CLAIMS, "HS256", OctKey.import_key(EC.as_pem(private=False).hex()))
    with pytest.raises(Refused):
        verify(forged, EC, EXPECTED, NOW)


def test_a_shared_secret_is_no_key_even_when_the_provider_publishes_it() -> None:
    secret = OctKey.generate_key(256, {"kid": "oct"})
    assert find_key(KeySet([secret]), "oct") is None
    with pytest.raises(Refused):
        verify(signed(CLAIMS), secret, EXPECTED, NOW)


@pytest.mark.parametrize(
    "token", ["", ".", "..", "a.b.c", "é.b.c", "x" * (TOKEN_CHARACTERS_MAX + 1)]
)
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(Refused):
        key_id(token)


def test_a_key_is_found_by_its_name_alone() -> None:
    keys = KeySet([EC, RSA])
    assert find_key(keys, "rsa") is RSA
    assert find_key(keys, "unknown") is None
    assert find_key(keys, None) is None
    assert find_key(KeySet([RSA]), None) is RSA
    assert find_key(KeySet([EC, OTHER]), "ec") is None
    assert key_id(signed(CLAIMS, kid=None)) is None


def test_a_class_of_the_list_stands_for_a_factor() -> None:
    rule = SecondFactorRule(acr=frozenset({"gold"}))
    assert rule.is_met({"acr": "gold"})
    assert not rule.is_met({"acr": ["gold"]})
    assert not rule.is_met({"acr": "silver", "amr": [["otp"], 1]})


def test_a_password_alone_does_only_where_that_is_said_to_be_unsafe() -> None:
    rule = SecondFactorRule(unsafe_not_required=True)
    token = signed(CLAIMS | {"amr": ["pwd"]})
    let_in = verify(token, EC, replace(EXPECTED, second_factor=rule), NOW)
    assert not let_in.has_second_factor
    with pytest.raises(Misconfigured):
        SecondFactorRule(amr=frozenset())


def test_when_the_person_proved_itself_is_told() -> None:
    at = verify(signed(CLAIMS | {"auth_time": AT - 3600}), EC, EXPECTED, NOW).proven_at
    assert at == NOW - timedelta(hours=1)
    assert verify(signed(CLAIMS), EC, EXPECTED, NOW).proven_at is None
    # A clock that is a little ahead proves nothing of the time to come.
    ahead = verify(signed(CLAIMS | {"auth_time": AT + 30}), EC, EXPECTED, NOW)
    assert ahead.proven_at == NOW


@pytest.mark.parametrize(
    "claims", [{}, {"auth_time": AT - 3600}, {"auth_time": AT + 3600}]
)
def test_a_proof_that_is_not_of_now_is_refused(claims: dict[str, object]) -> None:
    anew = replace(EXPECTED, anew_since=NOW - timedelta(seconds=30))
    verify(signed(CLAIMS | {"auth_time": AT}), EC, anew, NOW)
    with pytest.raises(Refused):
        verify(signed(CLAIMS | claims), EC, anew, NOW)


def test_only_the_algorithms_that_were_chosen_count() -> None:
    narrow = replace(EXPECTED, algorithms=("RS256",))
    verify(signed(CLAIMS, "RS256", RSA, "rsa"), RSA, narrow, NOW)
    with pytest.raises(Refused):
        verify(signed(CLAIMS), EC, narrow, NOW)
    for wrong in ((), ("none",), ("RS256", "HS256")):
        with pytest.raises(Misconfigured):
            replace(EXPECTED, algorithms=wrong)
