"""Where people land who have logged in, and how they choose a language."""

from collections.abc import Iterator
from http import HTTPMethod, HTTPStatus
from typing import Final
from urllib.parse import parse_qs

from leadglass.errors import BadData
from leadglass.servers.http.answers import Answer
from leadglass.servers.http.routes import About, Call, Door, Route
from leadglass.servers.web.menu import MENU, entries
from leadglass.servers.web.pages import LANGUAGE_COOKIE, RightsOf
from leadglass.servers.web.texts import Texts

PATH: Final = "/start"
# For who may open nothing else.
_OWN_PAGE: Final = "/me"
_YEAR_S: Final = 366 * 24 * 3600
_FORM_BYTES_MAX: Final = 1024


class StartRoutes:
    """Leads people to the first page that they may open."""

    def __init__(self, rights_of: RightsOf, texts: Texts) -> None:
        self._rights_of = rights_of
        self._texts = texts

    def routes(self) -> Iterator[Route]:
        """Yield the routes."""
        yield Route(
            method=HTTPMethod.GET,
            template=PATH,
            access=Door.ANYBODY_PROVEN,
            handler=self.start,
            about=About(
                "The first page that the caller may open",
                statuses=(HTTPStatus.SEE_OTHER,),
            ),
        )
        yield Route(
            method=HTTPMethod.POST,
            template="/language",
            access=Door.ANYBODY_PROVEN,
            reader=self.language,
            body_bytes_max=_FORM_BYTES_MAX,
            about=About(
                "Choose the language of the pages",
                takes_media=("application/x-www-form-urlencoded",),
                statuses=(HTTPStatus.NO_CONTENT,),
            ),
        )

    def start(self, call: Call) -> Answer:
        """Lead on."""
        held = self._rights_of(call.caller, {each.right for each in MENU})
        found = entries(held)
        path = found[0].path if found else _OWN_PAGE
        return Answer(HTTPStatus.SEE_OTHER, headers={"location": path})

    def language(self, _call: Call, body: bytes) -> Answer:
        """Keep a language in a cookie; the page is asked for again.

        Raises:
            BadData: It is none of ours.
        """
        chosen = parse_qs(body.decode("ascii", "replace")).get("language", [""])[0]
        if chosen not in self._texts.languages:
            raise BadData("the pages do not speak that language")
        cookie = (
            f"{LANGUAGE_COOKIE}={chosen}; Path=/; Secure; HttpOnly; SameSite=Strict; "
            f"Max-Age={_YEAR_S}"
        )
        headers = {"set-cookie": cookie, "hx-refresh": "true"}
        return Answer(HTTPStatus.NO_CONTENT, headers=headers)
