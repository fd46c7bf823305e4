"""The way to a provider and back: authorization code, PKCE, state and nonce.

Functions of values (OpenID Connect Core 1.0 §3.1, RFC 7636, RFC 9207). What is kept
between the way there and the way back is one ``Begun``; whoever keeps it must give
it up at the first try to use it, and to the browser alone that began it.
"""

import base64
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from hmac import compare_digest
from urllib.parse import urlencode, urlsplit

from leadglass.errors import Misconfigured, Refused, Unavailable

# 256 bits for each; RFC 7636 §4.1 asks 43 characters of a verifier at least.
SECRET_BYTES = 32
# Codes are opaque; those of common providers have some hundred characters.
CODE_CHARACTERS_MAX = 2_048
PARAMETERS_MAX = 16
# A word of RFC 6749 §4.1.2.1, for the record; anything else could be anything.
_ERROR = re.compile(r"[a-z_]{1,40}")
_BASIC, _POST = "client_secret_basic", "client_secret_post"
# OpenID Connect Core §3.1.2.1: ask for a proof, and say when it was given.
_ANEW = {"prompt": "login", "max_age": "0"}
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


def check_address(address: object, *, unsafe_loopback_http: bool = False) -> str:
    """Return an address of a provider if it may be asked at all.

    Raises:
        Misconfigured: Not https, or with a name, password or fragment in it.
    """
    if not isinstance(address, str) or not _is_visible(address):
        raise Misconfigured("oidc: an address of the provider is no address")
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise Misconfigured("oidc: an address of the provider is no address") from error
    is_unsafe = parts.scheme == "http" and host in _LOOPBACK and unsafe_loopback_http
    if not host or (parts.scheme != "https" and not is_unsafe):
        raise Misconfigured("oidc: give addresses of the provider with https://")
    if "@" in parts.netloc or "#" in address:
        raise Misconfigured("oidc: an address has a user or a fragment; leave it out")
    return address


def _is_visible(text: str) -> bool:
    """Whether a text is visible ASCII: nothing in it that could end a header."""
    return text.isascii() and text.isprintable() and " " not in text


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a provider says of itself (OpenID Connect Discovery 1.0 §3).

    Attributes:
        issuer: Its name, letter by letter as it was configured.
        authorization_endpoint: Where browsers go.
        token_endpoint: Where codes are redeemed.
        jwks_uri: Where its keys are.
        names_itself: Whether its answers carry ``iss`` (RFC 9207 §3).
        takes_basic: Whether we prove ourselves to it in a header (RFC 6749 §2.3.1),
            else in the form.
    """

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    names_itself: bool = False
    takes_basic: bool = True

    @classmethod
    def parse(
        cls, document: object, issuer: str, *, unsafe_loopback_http: bool = False
    ) -> "Metadata":
        """Read a discovery document.

        Raises:
            Unavailable: Of another issuer (§4.3), or it cannot be used with PKCE or
                with a secret.
        """
        if not isinstance(document, dict) or document.get("issuer") != issuer:
            raise Unavailable("oidc: the provider's document is not of that issuer")
        # Who does not say what it offers may offer it still: many do not say so.
        methods = document.get("code_challenge_methods_supported", ["S256"])
        if not isinstance(methods, list) or "S256" not in methods:
            raise Unavailable("oidc: the provider does not offer PKCE with S256")
        # Who says nothing takes this one (§3; RFC 8414 §2).
        ways = document.get("token_endpoint_auth_methods_supported", [_BASIC])
        if not isinstance(ways, list) or not {_BASIC, _POST} & {
            each for each in ways if isinstance(each, str)
        }:
            raise Unavailable("oidc: the provider takes no client with a secret")
        try:
            go, redeem, keys = (
                check_address(
                    document.get(name), unsafe_loopback_http=unsafe_loopback_http
                )
                for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")
            )
        except Misconfigured as error:
            raise Unavailable("oidc: the provider names an unsafe address") from error
        names_itself = document.get("authorization_response_iss_parameter_supported")
        return cls(issuer, go, redeem, keys, names_itself is True, _BASIC in ways)


@dataclass(frozen=True, slots=True)
class Client:
    """Who we are at the provider.

    Attributes:
        client_id: Our name there.
        scope: What is asked for; ``openid`` is one of it.

    Raises:
        Misconfigured: No name, or a scope without ``openid``.
    """

    client_id: str
    scope: str = "openid"

    def __post_init__(self) -> None:
        problems = []
        if not self.client_id:
            problems.append("oidc: give the client_id that the provider knows us by")
        if "openid" not in self.scope.split(" "):
            problems.append("oidc: the scope must have openid in it")
        if problems:
            raise Misconfigured(*problems)


@dataclass(frozen=True, slots=True)
class Begun:
    """A login that is on its way.

    Attributes:
        issuer: Whom the browser was sent to.
        redirect_uri: Where it comes back to; registered there.
        state: What it brings back.
        nonce: What the ID token must hold.
        verifier: What the code is redeemed with; never leaves this side before.
        anew_since: Since when the person must have proven itself to the provider;
            ``None``: whenever it did.
    """

    issuer: str
    redirect_uri: str
    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    anew_since: datetime | None = None


def begin(issuer: str, redirect_uri: str, anew_since: datetime | None = None) -> Begun:
    """Make up what one login needs."""
    state, nonce, verifier = (secrets.token_urlsafe(SECRET_BYTES) for _ in range(3))
    return Begun(issuer, redirect_uri, state, nonce, verifier, anew_since)


def challenge(verifier: str) -> str:
    """Return the S256 challenge of a verifier (RFC 7636 §4.2)."""
    digest = sha256(verifier.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def address_to_go(metadata: Metadata, client: Client, begun: Begun) -> str:
    """Return where the browser is sent."""
    query = urlencode(
        {
            "response_type": "code",
            "client_id": client.client_id,
            "redirect_uri": begun.redirect_uri,
            "scope": client.scope,
            "state": begun.state,
            "nonce": begun.nonce,
            "code_challenge": challenge(begun.verifier),
            "code_challenge_method": "S256",
            **({} if begun.anew_since is None else _ANEW),
        }
    )
    joint = "&" if "?" in metadata.authorization_endpoint else "?"
    return f"{metadata.authorization_endpoint}{joint}{query}"


def code_of(
    parameters: Sequence[tuple[str, str]], metadata: Metadata, begun: Begun
) -> str:
    """Return the code of an answer that is for this login and of this provider.

    Args:
        parameters: The query of the callback, decoded, in order.
        metadata: The provider that the login was begun with.
        begun: What was kept for the browser that comes.

    Raises:
        Refused: It is another's state, another provider's answer (RFC 9207 §2.4), an
            error, or said twice (RFC 6749 §3.1).
    """
    given = dict(parameters)
    if len(given) != len(parameters) or len(given) > PARAMETERS_MAX:
        raise Refused("oidc: an answer with parameters twice, or too many")
    state = given.get("state", "").encode("utf-8", "replace")
    if not compare_digest(state, begun.state.encode("ascii")):
        raise Refused("oidc: an answer to another login")
    if metadata.issuer != begun.issuer:
        raise Refused("oidc: a login that was begun with another provider")
    issuer = given.get("iss")
    if (issuer is None and metadata.names_itself) or (
        issuer is not None and issuer != begun.issuer
    ):
        raise Refused("oidc: an answer of another provider")
    if "error" in given:
        word = _ERROR.fullmatch(given["error"])
        raise Refused(f"oidc: the provider said {word.group() if word else 'no'}")
    code = given.get("code", "")
    if not 0 < len(code) <= CODE_CHARACTERS_MAX or not code.isascii():
        raise Refused("oidc: an answer without a code")
    return code
