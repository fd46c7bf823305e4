"""Proofs of identity in a request, and the port that judges them.

One request brings one proof. A bearer token is asked first, then the session, then
the certificate of the TLS handshake; who brings one that is wrong is nobody, even if
another would have been right: else a stolen browser could be made to act for its user
beside a token that it does not know.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import Final, Protocol

from leadglass.access.networks import Address
from leadglass.archive.caller import Caller
from leadglass.errors import Refused
from leadglass.servers.http.answers import Problem
from leadglass.servers.http.headers import Headers

# The prefix makes browsers refuse it from other hosts, paths and from plain HTTP
# (RFC 6265bis §4.1.3.2).
SESSION_COOKIE: Final = "__Host-leadglass"
# 256 bits in base64url are 43 characters; ours have a prefix. Longer ones are none.
SECRET_CHARACTERS_MAX: Final = 256


class Proof(StrEnum):
    """How a caller proves who it is."""

    BEARER = "bearer token"
    SESSION = "session"
    CERTIFICATE = "certificate"


@dataclass(frozen=True, slots=True)
class Presented:
    """A proof as it came.

    Attributes:
        proof: Of which kind.
        secret: The token, the session's token, or the DER certificate whose key the
            handshake proved and whose chain and revocation it verified.
        address: Where from.
        channel: TLS version, for the record.
    """

    proof: Proof
    secret: bytes = field(repr=False)
    address: Address
    channel: str


class Authenticator(Protocol):
    """Judges one kind of proof; called in a thread, so it may wait for a database."""

    def __call__(self, presented: Presented) -> Caller:
        """Return whom it proves.

        Raises:
            Refused: Nobody; why is on the record and never told.
            Unavailable: It cannot be judged now.
        """
        ...


Authenticators = Mapping[Proof, Authenticator]

# What ``archive`` offers to every door: the secret, where from, and over which channel.
Judge = Callable[[bytes, Address, str], Caller]


def authenticators(judges: Mapping[Proof, Judge]) -> Authenticators:
    """Return the authenticators that ask these judges."""
    return {proof: _asking(judge) for proof, judge in judges.items()}


def _asking(judge: Judge) -> Authenticator:
    def ask(presented: Presented) -> Caller:
        return judge(presented.secret, presented.address, presented.channel)

    return ask


def presented_by(
    headers: Headers, certificate: bytes | None, address: Address, channel: str
) -> Presented | None:
    """Return the proof of a request; ``None`` if it brings none.

    Raises:
        Problem: 401, it brings something that is none.
    """
    given = headers.getlist("authorization")
    if given:
        scheme, _, token = given[0].partition(" ")
        if len(given) > 1 or scheme.lower() != "bearer":
            raise unproven()
        return Presented(Proof.BEARER, _secret(token.strip()), address, channel)
    found = cookies(headers, SESSION_COOKIE)
    if found:
        # Two of them: somebody else's page may have set one.
        if len(found) > 1:
            raise unproven()
        return Presented(Proof.SESSION, _secret(found[0]), address, channel)
    if certificate is not None:
        return Presented(Proof.CERTIFICATE, certificate, address, channel)
    return None


def unproven() -> Problem:
    """Return the one answer to everybody who is nobody."""
    return Problem(
        HTTPStatus.UNAUTHORIZED, "", {"www-authenticate": 'Bearer realm="leadglass"'}
    )


def authenticate(authenticators: Authenticators, presented: Presented | None) -> Caller:
    """Return who asks.

    Raises:
        Problem: 401, nobody.
        Unavailable: It cannot be judged now.
    """
    judge = None if presented is None else authenticators.get(presented.proof)
    if judge is None or presented is None:
        raise unproven()
    try:
        return judge(presented)
    except Refused:
        raise unproven() from None


def session_token(headers: Headers) -> bytes | None:
    """Return the session's token as it came; ``None``: another proof is what counts.

    Raises:
        Problem: 401, there are several, or what came can be none.
    """
    if headers.getlist("authorization"):
        return None
    found = cookies(headers, SESSION_COOKIE)
    if len(found) > 1:
        raise unproven()
    return _secret(found[0]) if found else None


def session_cookie(token: str, age_s_max: int) -> str:
    """Return the Set-Cookie header of a session; an age of 0 ends it."""
    return (
        f"{SESSION_COOKIE}={token}; Max-Age={age_s_max}; Path=/; "
        "Secure; HttpOnly; SameSite=Strict"
    )


def cookies(headers: Headers, wanted: str) -> list[str]:
    """Return all values of a cookie, however often it came."""
    pairs = (
        pair.strip().partition("=")
        for header in headers.getlist("cookie")
        for pair in header.split(";")
    )
    return [value for name, _, value in pairs if name == wanted]


def _secret(text: str) -> bytes:
    if not 0 < len(text) <= SECRET_CHARACTERS_MAX or not text.isascii():
        raise unproven()
    return text.encode()
