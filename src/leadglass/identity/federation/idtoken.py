"""What an ID token is worth (OpenID Connect Core 1.0 §3.1.3.7).

Functions of values: the keys are brought, the time is told. Whatever is not exactly
as it must be raises; the reasons are for the record and hold nothing of a person.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hmac import compare_digest

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import Key, KeySet

from leadglass.errors import Misconfigured, Refused

# Signatures by a key that only the provider has. Never "none", and never HS*, for
# which the public key would do as the secret (RFC 8725 §3.1).
ALGORITHMS = ("RS256", "PS256", "ES256", "Ed25519", "EdDSA")
KEY_TYPES = ("RSA", "EC", "OKP")

# Tokens carry groups; a header field of common servers ends at the same size.
TOKEN_CHARACTERS_MAX = 65_536
# OpenID Connect Core §2: at most 255 ASCII characters.
SUBJECT_CHARACTERS_MAX = 255
# What two clocks kept by NTP, or just not, are apart.
CLOCK_SKEW = timedelta(minutes=1)
# The token comes straight from the provider, at once: an old one is a replay.
AGE_MAX = timedelta(minutes=10)

# RFC 8176: what proves something beside a password.
SECOND_FACTORS = frozenset({"mfa", "otp", "hwk", "swk", "sc", "pop", "fido"})


class NoSecondFactor(Refused):
    """The provider knows the person by one proof alone, or does not say."""

    def __init__(self) -> None:
        super().__init__("ID token: asserts no second factor")


@dataclass(frozen=True, slots=True)
class SecondFactorRule:
    """How the provider must say that it has seen a second factor.

    Attributes:
        amr: Methods of which one must be in ``amr``.
        acr: Classes of which ``acr`` may be one instead.
        unsafe_not_required: Let in whom the provider knows by a password alone.

    Raises:
        Misconfigured: Nothing could ever satisfy it.
    """

    amr: frozenset[str] = SECOND_FACTORS
    acr: frozenset[str] = frozenset()
    unsafe_not_required: bool = False

    def __post_init__(self) -> None:
        if not (self.amr or self.acr or self.unsafe_not_required):
            raise Misconfigured("oidc: name values of amr or acr that show a factor")

    def is_met(self, claims: Mapping[str, object]) -> bool:
        """Whether these claims assert a second factor."""
        acr, amr = claims.get("acr"), claims.get("amr")
        if isinstance(acr, str) and acr in self.acr:
            return True
        methods = amr if isinstance(amr, list) else []
        return any(isinstance(each, str) and each in self.amr for each in methods)


@dataclass(frozen=True, slots=True)
class Expected:
    """What the token must be about.

    Attributes:
        issuer: The provider that was asked, letter by letter.
        client_id: Who we are there.
        nonce: What was sent with the browser that comes back.
        second_factor: What must be asserted of it.
        algorithms: Those of ``ALGORITHMS`` by which it may be signed.
        anew_since: Since when the person must have proven itself; ``None``: whenever.
    """

    issuer: str
    client_id: str
    nonce: str = field(repr=False)
    second_factor: SecondFactorRule = field(default_factory=SecondFactorRule)
    algorithms: tuple[str, ...] = ALGORITHMS
    anew_since: datetime | None = None

    def __post_init__(self) -> None:
        if not self.algorithms or set(self.algorithms) - set(ALGORITHMS):
            raise Misconfigured(f"oidc: algorithms are of {', '.join(ALGORITHMS)}")


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody, as the provider knows them; the pair of two is the person.

    Attributes:
        issuer: Which provider.
        subject: Its own name for the person; never used again for another.
        claims: All it says, checked.
        has_second_factor: Whether the provider asserts that it has seen one.
        proven_at: When the person proved itself to the provider; ``None``: it does
            not say.
    """

    issuer: str
    subject: str = field(repr=False)
    claims: Mapping[str, object] = field(repr=False)
    has_second_factor: bool = False
    proven_at: datetime | None = None


def key_id(token: str, algorithms: tuple[str, ...] = ALGORITHMS) -> str | None:
    """Return which key a token says to be signed with; nothing is judged yet.

    Raises:
        Refused: Not a signed token, or not by an algorithm that we take.
    """
    if len(token) > TOKEN_CHARACTERS_MAX or not token.isascii():
        raise Refused("ID token: too long, or not a token")
    try:
        header = jws.extract_compact(token.encode("ascii")).headers()
    except (JoseError, ValueError, TypeError) as error:
        raise Refused("ID token: not a signed token") from error
    if header.get("alg") not in algorithms:
        raise Refused("ID token: its algorithm is not one of ours")
    kid = header.get("kid")
    if kid is not None and not isinstance(kid, str):
        raise Refused("ID token: the name of its key is no text")
    return kid


def find_key(keys: KeySet, kid: str | None) -> Key | None:
    """Return the key of that name; without a name, the only one there is."""
    usable = [
        key
        for key in keys.keys
        if key.key_type in KEY_TYPES and key.get("use") in {None, "sig"}
    ]
    if kid is not None:
        usable = [key for key in usable if key.kid == kid]
    return usable[0] if len(usable) == 1 else None


def verify(token: str, key: Key, expected: Expected, now: datetime) -> Identity:
    """Judge an ID token.

    Args:
        token: As the token endpoint gave it.
        key: The key that it names, of the provider that was asked.
        expected: What it must be about.
        now: When, with a time zone.

    Raises:
        Refused: Anything about it is wrong.
    """
    # The limits and the list of algorithms hold whoever calls.
    key_id(token, expected.algorithms)
    if key.key_type not in KEY_TYPES:
        raise Refused("ID token: its key is not a public one")
    try:
        claims = jwt.decode(token, key, algorithms=list(expected.algorithms)).claims
    except (JoseError, ValueError, TypeError) as error:
        raise Refused("ID token: its signature is wrong") from error
    if claims.get("iss") != expected.issuer:
        raise Refused("ID token: of another provider")
    _check_audience(claims, expected.client_id)
    _check_times(claims, now)
    nonce = claims.get("nonce")
    if not isinstance(nonce, str) or not _is_same(nonce, expected.nonce):
        raise Refused("ID token: for another login")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not _could_be_subject(subject):
        raise Refused("ID token: names nobody")
    rule = expected.second_factor
    has_second_factor = rule.is_met(claims)
    if not (has_second_factor or rule.unsafe_not_required):
        raise NoSecondFactor
    proven_at = _proven_at(claims, expected.anew_since, now)
    return Identity(expected.issuer, subject, claims, has_second_factor, proven_at)


def _proven_at(
    claims: Mapping[str, object], anew_since: datetime | None, now: datetime
) -> datetime | None:
    """Return when the person proved itself (§2, ``auth_time``).

    Raises:
        Refused: It is no time, to come, or before it was asked to.
    """
    if "auth_time" not in claims:
        if anew_since is not None:
            raise Refused("ID token: does not say when the person proved itself")
        return None
    at = _seconds(claims, "auth_time")
    if at > (now + CLOCK_SKEW).timestamp():
        raise Refused("ID token: proven at a time to come")
    if anew_since is not None and at < (anew_since - CLOCK_SKEW).timestamp():
        raise Refused("ID token: not proven anew")
    return min(datetime.fromtimestamp(at, UTC), now)


def _could_be_subject(subject: str) -> bool:
    return subject.isascii() and 0 < len(subject) <= SUBJECT_CHARACTERS_MAX


def _is_same(one: str, other: str) -> bool:
    return compare_digest(one.encode("utf-8", "replace"), other.encode())


def _check_audience(claims: Mapping[str, object], client_id: str) -> None:
    """Raise unless the token is for us, and for nobody else (§3.1.3.7, 3 to 5)."""
    if claims.get("aud") not in (client_id, [client_id]):
        raise Refused("ID token: for another than us")
    if claims.get("azp", client_id) != client_id:
        raise Refused("ID token: given to another than us")


def _check_times(claims: Mapping[str, object], now: datetime) -> None:
    at = now.timestamp()
    skew, age_max = CLOCK_SKEW.total_seconds(), AGE_MAX.total_seconds()
    if at >= _seconds(claims, "exp") + skew:
        raise Refused("ID token: has expired")
    issued = _seconds(claims, "iat")
    if not at - age_max <= issued <= at + skew:
        raise Refused("ID token: not of now")
    if "nbf" in claims and _seconds(claims, "nbf") > at + skew:
        raise Refused("ID token: not good yet")


def _seconds(claims: Mapping[str, object], name: str) -> float:
    """Return a NumericDate (RFC 7519 §2); ``true`` and infinity are none."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused(f"ID token: no time in {name}")
    if not 0 <= value < 2**53:
        raise Refused(f"ID token: no time in {name}")
    return value
