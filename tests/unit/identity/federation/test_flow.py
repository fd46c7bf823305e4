"""To the provider and back, and who would come back instead."""

from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest

from leadglass.errors import Misconfigured, Refused, Unavailable
from leadglass.identity.federation.flow import (
    CODE_CHARACTERS_MAX,
    Client,
    Metadata,
    address_to_go,
    begin,
    challenge,
    check_address,
    code_of,
)

ISSUER = "https://login.example.org/realm"
DOCUMENT: dict[str, object] = {
    "issuer": ISSUER,
    "authorization_endpoint": "https://login.example.org/auth?theme=x",
    "token_endpoint": "https://login.example.org/token",
    "jwks_uri": "https://login.example.org/keys",
    "code_challenge_methods_supported": ["plain", "S256"],
    "authorization_response_iss_parameter_supported": True,
}
METADATA = Metadata.parse(DOCUMENT, ISSUER)
CLIENT = Client("leadglass")
POST = "client_secret_post"
HERE = "https://pacs.example.org/oidc/callback"
BEGUN = begin(ISSUER, HERE)
RIGHT = {"state": BEGUN.state, "code": "c-1", "iss": ISSUER}


def test_the_challenge_is_that_of_the_rfc() -> None:
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"  # RFC 7636 appendix B
    assert challenge(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_the_browser_carries_all_but_the_verifier() -> None:
    address = address_to_go(METADATA, CLIENT, BEGUN)
    query = parse_qs(urlsplit(address).query, strict_parsing=True)
    assert query["theme"] == ["x"]
    assert query["code_challenge_method"] == ["S256"]
    assert query["code_challenge"] == [challenge(BEGUN.verifier)]
    assert (query["state"], query["nonce"]) == ([BEGUN.state], [BEGUN.nonce])
    assert BEGUN.verifier not in address
    assert BEGUN.state not in repr(BEGUN)


def test_no_two_logins_share_anything() -> None:
    one, other = begin(ISSUER, HERE), begin(ISSUER, HERE)
    made = (one.state, one.nonce, one.verifier)
    assert len({*made, other.state, other.nonce, other.verifier}) == 6
    assert all(len(each) == 43 for each in made)


def test_a_right_answer_gives_its_code() -> None:
    assert code_of(list(RIGHT.items()), METADATA, BEGUN) == "c-1"


@pytest.mark.parametrize(
    "changes",
    [
        {"state": begin(ISSUER, HERE).state},
        {"state": ""},
        {"state": "\ud800é"},
        {"iss": "https://evil.example.org"},
        {"iss": ISSUER + "/"},
        {"iss": ""},
        {"code": ""},
        {"code": "é"},
        {"code": "c" * (CODE_CHARACTERS_MAX + 1)},
        {"error": "access_denied"},
        {f"more{number}": "" for number in range(17)},
    ],
)
def test_another_answer_is_refused(changes: dict[str, str]) -> None:
    with pytest.raises(Refused):
        code_of(list((RIGHT | changes).items()), METADATA, BEGUN)


@pytest.mark.parametrize("name", ["state", "code", "iss"])
def test_an_answer_with_less_or_twice_is_refused(name: str) -> None:
    given = list(RIGHT.items())
    with pytest.raises(Refused):
        code_of([each for each in given if each[0] != name], METADATA, BEGUN)
    with pytest.raises(Refused):
        code_of([*given, (name, RIGHT[name])], METADATA, BEGUN)


def test_a_login_begun_elsewhere_is_a_mix_up() -> None:
    begun = begin("https://other.example.org", HERE)
    given = [("state", begun.state), ("code", "c-1"), ("iss", ISSUER)]
    with pytest.raises(Refused):
        code_of(given, METADATA, begun)


def test_what_a_provider_says_of_an_error_is_not_repeated() -> None:
    given = [*RIGHT.items(), ("error", "Doe, John\nforged line")]
    with pytest.raises(Refused) as caught:
        code_of(given, METADATA, BEGUN)
    assert "Doe" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": ISSUER + "/"},
        {"issuer": "https://evil.example.org"},
        {"token_endpoint": "http://login.example.org/token"},
        {"token_endpoint": None},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "https://name:word@login.example.org/keys"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": "https://login.example.org/auth#x"},
        {"code_challenge_methods_supported": ["plain"]},
        {"code_challenge_methods_supported": None},
        {"token_endpoint_auth_methods_supported": ["private_key_jwt"]},
        {"token_endpoint_auth_methods_supported": [["client_secret_basic"]]},
        {"token_endpoint_auth_methods_supported": "client_secret_basic"},
    ],
)
def test_a_document_that_cannot_be_trusted_is_not(changes: dict[str, object]) -> None:
    with pytest.raises(Unavailable):
        Metadata.parse(DOCUMENT | changes, ISSUER)


def test_what_a_provider_does_not_say_is_as_the_standards_have_it() -> None:
    silent = {
        name: value for name, value in DOCUMENT.items() if "supported" not in name
    }
    assert Metadata.parse(silent, ISSUER).takes_basic
    both = {"token_endpoint_auth_methods_supported": [POST, "client_secret_basic"]}
    assert Metadata.parse(DOCUMENT | both, ISSUER).takes_basic
    post = {"token_endpoint_auth_methods_supported": [POST]}
    assert not Metadata.parse(DOCUMENT | post, ISSUER).takes_basic


def test_a_proof_of_now_is_asked_for() -> None:
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    address = address_to_go(METADATA, CLIENT, begin(ISSUER, HERE, now))
    query = parse_qs(urlsplit(address).query)
    assert (query["prompt"], query["max_age"]) == (["login"], ["0"])


def test_no_document_is_no_provider() -> None:
    with pytest.raises(Unavailable):
        Metadata.parse([DOCUMENT], ISSUER)


def test_plain_http_is_for_loopback_alone_and_called_unsafe() -> None:
    local = "http://127.0.0.1:80/"
    assert check_address(local, unsafe_loopback_http=True) == local
    with pytest.raises(Misconfigured):
        check_address(local)
    for far in ("http://example.org/", "http://127.0.0.1.example.org/", "https://[::"):
        with pytest.raises(Misconfigured):
            check_address(far, unsafe_loopback_http=True)


def test_a_client_needs_a_name_and_openid() -> None:
    with pytest.raises(Misconfigured) as caught:
        Client("", "profile")
    assert len(caught.value.problems) == 2
