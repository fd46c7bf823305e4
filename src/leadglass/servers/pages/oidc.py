"""Single sign-on over HTTPS: to the provider, and back from it.

Whatever comes, the browser is sent to the provider that the settings name, or to a
page of ours whose address stands here: no address is taken from a request. What a
provider or a browser says in the query is shown to nobody.
"""

import logging
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from html import escape
from http import HTTPMethod, HTTPStatus
from types import MappingProxyType
from typing import Final

from leadglass.archive.logins import Peer
from leadglass.archive.signon import NO_FACTOR, NeedsFactor, SignOn
from leadglass.archive.vouching import NO_ACCESS, NoAccess
from leadglass.errors import LeadglassError, Refused
from leadglass.servers.http.answers import Answer
from leadglass.servers.http.authentication import cookies, session_cookie
from leadglass.servers.http.guard import LANDING, LOGIN
from leadglass.servers.http.routes import About, Call, Door, Parameter, Route
from leadglass.servers.pages.pages import (
    ANEW,
    BEGIN,
    FOLDER,
    HTML,
    POLICY,
)

_LOG = logging.getLogger(__name__)

# Holds what a browser is known by while its login is on its way. SameSite=Lax, since
# the way back is a navigation from the provider's site, with which a browser sends no
# Strict cookie; Lax keeps it from everything of another site but such navigations. It
# proves nothing alone: the state that came with it is good once, in this browser.
COOKIE: Final = "__Host-leadglass-sso"
_BYTES: Final = 32
_CHARACTERS: Final = 43  # of as many bytes, in base64url
_AGE_S: Final = 10 * 60

# Where somebody begins to work; and where who has been asked to prove himself goes on.
_AFTER: Final = "/start"
_AFTER_ANEW: Final = "/me"


def _page(title: str, text: str, link: tuple[str, str], *, goes_on: bool) -> bytes:
    words, address = link
    refresh = f'<meta http-equiv="refresh" content="0;url={address}">'
    parts = {
        "<!-- refresh -->": refresh if goes_on else "",
        "<!-- title -->": escape(title),
        "<!-- text -->": escape(text),
        "<!-- link -->": f'<a class="button" href="{address}">{escape(words)}</a>',
    }
    page = (FOLDER / "notice.html").read_text("utf-8")
    for mark, content in parts.items():
        page = page.replace(mark, content)
    return page.encode()


def _landing(address: str) -> bytes:
    # The session's cookie is Strict: a browser that comes from another site sends it
    # only with what it asks for next, as this page of ours makes it do, without script.
    text = "You are logged in."
    return _page("Logged in", text, ("Go on", address), goes_on=True)


def _notice(text: str) -> bytes:
    return _page("Not logged in", text, ("Back to the login", LOGIN), goes_on=False)


_LANDINGS: Final[Mapping[bool, bytes]] = MappingProxyType(
    {False: _landing(_AFTER), True: _landing(_AFTER_ANEW)}
)
_REFUSED: Final = _notice(
    "That did not work. Begin again; after several tries, wait a while."
)
_NOTICES: Final[Mapping[type[LeadglassError], bytes]] = MappingProxyType(
    {
        NoAccess: _notice(f"{NO_ACCESS[0].upper()}{NO_ACCESS[1:]}."),
        NeedsFactor: _notice(f"One proof is not enough: {NO_FACTOR}."),
        Refused: _REFUSED,
    }
)
_SILENT: Final = _notice(
    "Where you log in does not answer now. Try again later; who has a name and a "
    "password of this node can log in with them."
)


@dataclass(frozen=True, slots=True)
class OidcRoutes:
    """The routes.

    Attributes:
        sign_on: The use cases.
        session_s: How long a session lasts at most, in seconds.
    """

    sign_on: SignOn
    session_s: int

    def routes(self) -> Iterator[Route]:
        """Yield the routes; both are for who is nobody yet."""
        yield Route(
            method=HTTPMethod.GET,
            template=BEGIN,
            access=Door.PUBLIC,
            handler=self._begin,
            about=About(
                "To the provider that proves people",
                query=(
                    Parameter(
                        ANEW[0], "Asks for a proof that is given now", choices=ANEW[1:]
                    ),
                ),
                gives_media=(HTML,),
                statuses=(HTTPStatus.SEE_OTHER,),
                failing=(HTTPStatus.FORBIDDEN, HTTPStatus.SERVICE_UNAVAILABLE),
            ),
        )
        yield Route(
            method=HTTPMethod.GET,
            template=LANDING,
            access=Door.PUBLIC,
            handler=self._finish,
            about=About(
                "Back from it; begins a session",
                gives_media=(HTML,),
                failing=(HTTPStatus.FORBIDDEN, HTTPStatus.SERVICE_UNAVAILABLE),
            ),
        )

    def _begin(self, call: Call) -> Answer:
        # One for all windows of a browser, so that each of them can finish.
        browser = _browser(call) or secrets.token_urlsafe(_BYTES)
        try:
            address = self.sign_on.begin(
                f"{call.base}{LANDING}",
                browser,
                _peer(call),
                anew=call.query == (ANEW,),
            )
        except LeadglassError as error:
            return _told(call, error)
        cookie = (
            f"{COOKIE}={browser}; Max-Age={_AGE_S}; Path=/; "
            "Secure; HttpOnly; SameSite=Lax"
        )
        headers = {"location": address, "set-cookie": cookie}
        return Answer(HTTPStatus.SEE_OTHER, headers=headers)

    def _finish(self, call: Call) -> Answer:
        try:
            landed = self.sign_on.finish(call.query, _browser(call), _peer(call))
        except LeadglassError as error:
            return _told(call, error)
        cookie = session_cookie(landed.logged_in.token, self.session_s)
        answer = _shown(HTTPStatus.OK, _LANDINGS[landed.is_anew])
        return replace(answer, headers={**answer.headers, "set-cookie": cookie})


def _shown(status: HTTPStatus, page: bytes) -> Answer:
    return Answer(status, HTML, page, {"content-security-policy": POLICY})


def _told(call: Call, error: LeadglassError) -> Answer:
    """Return the page for an error, in words of ours."""
    if isinstance(error, Refused):
        page = _NOTICES.get(type(error), _REFUSED)
        return _shown(HTTPStatus.FORBIDDEN, page)
    _LOG.warning("%s: %s", call.request_id, error)
    return _shown(HTTPStatus.SERVICE_UNAVAILABLE, _SILENT)


def _browser(call: Call) -> str:
    """Return what a browser is known by; empty: nothing, or several."""
    found = cookies(call.headers, COOKIE)
    is_one = len(found) == 1 and len(found[0]) == _CHARACTERS
    return found[0] if is_one else ""


def _peer(call: Call) -> Peer:
    return Peer(call.address, call.channel)
