"""A ticket in two halves: one that a page keeps, one in a cookie of its browser.

A ticket is half a proof, a login between its steps or an open enrolment, and a page's
script must be able to read what it sends back. So the script gets a half that is worth
nothing alone; the other is in a cookie that no script reads, that no other host sets
or gets (``__Host-``, RFC 6265bis §4.1.3.2) and that no other site's page sends. Who
overhears, photographs or is sent a ticket cannot go on with it elsewhere.

Not the address: browsers change it between two requests, from IPv6 to IPv4 or behind
a provider's pool, and whoever sits behind the same one shares it.

The halves are of a one-time pad, so that nothing is stored and nothing is to be looked
up: wrong halves make a ticket that is none, which is counted and on the record.
"""

import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

from leadglass.servers.http.authentication import cookies
from leadglass.servers.http.headers import Headers

TICKET_COOKIE: Final = "__Host-leadglass-begun"
_BYTES: Final = 32
_CHARACTERS: Final = 43  # of as many bytes, in base64url
# As long as the ticket that lasts the longest, that of an enrolment.
_AGE_S_MAX: Final = 30 * 60


def halved(ticket: str, headers: Headers) -> tuple[str, str]:
    """Return the page's half of a ticket, and the Set-Cookie header of the other.

    A browser keeps its half while it lasts, so that what was begun in another of its
    windows goes on. Nobody but us has a whole ticket to take the halves apart by.
    """
    kept = _kept(headers) or secrets.token_bytes(_BYTES)
    cookie = (
        f"{TICKET_COOKIE}={_text(kept)}; Max-Age={_AGE_S_MAX}; Path=/; "
        "Secure; HttpOnly; SameSite=Strict"
    )
    return _text(_mixed(urlsafe_b64decode(ticket + "="), kept)), cookie


def whole(half: str, headers: Headers) -> str:
    """Return the ticket of a page's half; another that is none, if the halves differ.

    A half without a cookie is no ticket either: it is told apart from one by nothing.
    """
    kept, given = _kept(headers), _bytes(half)
    return half if kept is None or given is None else _text(_mixed(given, kept))


def _kept(headers: Headers) -> bytes | None:
    """Return the cookie's half; ``None`` if there is none, or several."""
    found = cookies(headers, TICKET_COOKIE)
    return _bytes(found[0]) if len(found) == 1 else None


def _mixed(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def _text(half: bytes) -> str:
    return urlsafe_b64encode(half).rstrip(b"=").decode()


def _bytes(text: str) -> bytes | None:
    if len(text) != _CHARACTERS or not text.isascii():
        return None
    try:
        found = urlsafe_b64decode(text + "=")
    except ValueError:
        return None
    return found if len(found) == _BYTES else None
