"""The study list: where people begin."""

from collections.abc import Iterator
from http import HTTPMethod
from typing import Final

from leadglass.access.rights import Right
from leadglass.servers.http.answers import Answer
from leadglass.servers.http.routes import About, Call, Route
from leadglass.servers.web.pages import HTML, Pages

PATH: Final = "/studies"


class StudyRoutes:
    """The page of studies."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    def routes(self) -> Iterator[Route]:
        """Yield the routes."""
        yield Route(
            method=HTTPMethod.GET,
            template=PATH,
            access=Right.FIND,
            handler=self.show,
            about=About("The page of studies", gives_media=(HTML,)),
        )

    def show(self, call: Call) -> Answer:
        """Show the list."""
        return self._pages.page(call, "studies.html", {})
