"""Single sign-on over HTTPS: to the provider, and back from it.

Whatever comes, the browser is sent to the provider that the settings name, or to a
page of ours whose address stands here: no address is taken from a request. What a
provider or a browser says in the query is shown to nobody.
"""

import logging
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import InitVar, dataclass, field, replace
from http import HTTPMethod, HTTPStatus
from types import MappingProxyType
from typing import Final

from leadglass.archive.logins import Peer
from leadglass.archive.signon import NeedsFactor, SignOn
from leadglass.archive.vouching import NoAccess
from leadglass.errors import LeadglassError, Refused
from leadglass.servers.http.answers import Answer
from leadglass.servers.http.authentication import cookies, session_cookie
from leadglass.servers.http.guard import LANDING, LOGIN
from leadglass.servers.http.routes import About, Call, Door, Parameter, Route
from leadglass.servers.pages.pages import (
    ANEW,
    BEGIN,
    HTML,
    Page,
    Sentence,
    Spoken,
)
from leadglass.servers.web.pages import N_
from leadglass.servers.web.texts import Texts

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


_LOGGED_IN: Final = N_("Logged in")
_NOT_LOGGED_IN: Final = N_("Not logged in")
_LANDED: Final = N_("You are logged in.")
_GO_ON: Final = N_("Go on")
_BACK: Final = N_("Back to the login")
_REFUSED: Final = N_(
    "That did not work. Begin again; after several tries, wait a while."
)
_SILENT: Final = N_(
    "Where you log in does not answer now. Try again later; who has a name and a "
    "password of this node can log in with them."
)
# What two errors say of themselves, as a sentence.
NOTICES: Final[Mapping[type[LeadglassError], str]] = MappingProxyType(
    {
        NoAccess: N_("You are known, but have no access here; ask who administers it."),
        NeedsFactor: N_(
            "One proof is not enough: log in there with a second factor, and come "
            "again."
        ),
    }
)


class _Notices:
    """The pages that tell how a login by a provider ended."""

    def __init__(self, texts: Texts) -> None:
        self._spoken = Spoken(texts)
        self.landed = {
            is_anew: self._landing(address)
            for is_anew, address in ((False, _AFTER), (True, _AFTER_ANEW))
        }
        self.refused = self._notice(_REFUSED)
        self.silent = self._notice(_SILENT)
        self.by_error = {
            kind: self._notice(sentence) for kind, sentence in NOTICES.items()
        }

    def _landing(self, address: str) -> Page:
        # The session's cookie is Strict: a browser that comes from another site sends
        # it only with what it asks for next, as this page of ours makes it do, without
        # script.
        return self._page(_LOGGED_IN, _LANDED, _GO_ON, address, goes_on=True)

    def _notice(self, sentence: str) -> Page:
        return self._page(_NOT_LOGGED_IN, sentence, _BACK, LOGIN, goes_on=False)

    def _page(
        self, title: str, text: str, link: str, address: str, *, goes_on: bool
    ) -> Page:
        values: dict[str, object] = {
            "title": Sentence(title),
            "text": Sentence(text),
            "link": Sentence(link),
            "address": address,
            "goes_on": goes_on,
        }
        return self._spoken.page("notice.html", values)


@dataclass(frozen=True, slots=True)
class OidcRoutes:
    """The routes.

    Attributes:
        sign_on: The use cases.
        session_s: How long a session lasts at most, in seconds.
        texts: What the pages say in other languages.
    """

    sign_on: SignOn
    session_s: int
    texts: InitVar[Texts]
    _notices: _Notices = field(init=False)

    def __post_init__(self, texts: Texts) -> None:
        object.__setattr__(self, "_notices", _Notices(texts))

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
            return self._told(call, error)
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
            return self._told(call, error)
        cookie = session_cookie(landed.logged_in.token, self.session_s)
        answer = self._notices.landed[landed.is_anew](call)
        return replace(answer, headers={**answer.headers, "set-cookie": cookie})

    def _told(self, call: Call, error: LeadglassError) -> Answer:
        """Return the page for an error, in words of ours."""
        notices = self._notices
        if isinstance(error, Refused):
            page = notices.by_error.get(type(error), notices.refused)
            return page(call, HTTPStatus.FORBIDDEN)
        _LOG.warning("%s: %s", call.request_id, error)
        return notices.silent(call, HTTPStatus.SERVICE_UNAVAILABLE)


def _browser(call: Call) -> str:
    """Return what a browser is known by; empty: nothing, or several."""
    found = cookies(call.headers, COOKIE)
    is_one = len(found) == 1 and len(found[0]) == _CHARACTERS
    return found[0] if is_one else ""


def _peer(call: Call) -> Peer:
    return Peer(call.address, call.channel)
