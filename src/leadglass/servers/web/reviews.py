"""Broken glass: what waits for a signature, what was looked at, what was judged."""

from collections.abc import Iterator, Mapping
from http import HTTPMethod
from types import MappingProxyType
from typing import Final

from leadglass.access.rights import Right
from leadglass.archive.emergency import NOTE_CHARACTERS_MAX, Emergencies, Verdict
from leadglass.archive.history import Histories
from leadglass.servers.http.answers import Answer
from leadglass.servers.http.routes import About, Call, Route
from leadglass.servers.web.access import ACTS, FACTS, KINDS
from leadglass.servers.web.audit import number_of
from leadglass.servers.web.pages import HTML, N_, Pages

PATH: Final = "/reviews"
VERDICTS: Final[Mapping[Verdict, str]] = MappingProxyType(
    {
        Verdict.JUSTIFIED: N_("Justified"),
        Verdict.NOT_JUSTIFIED: N_("Not justified"),
    }
)


class ReviewRoutes:
    """The pages of broken glass. What they change, ``/api`` does."""

    def __init__(self, pages: Pages, glass: Emergencies, histories: Histories) -> None:
        self._pages = pages
        self._glass = glass
        self._histories = histories

    def routes(self) -> Iterator[Route]:
        """Yield the routes."""
        yield Route(
            method=HTTPMethod.GET,
            template=PATH,
            access=Right.REVIEW,
            handler=self.show,
            about=About("The page of broken glass", gives_media=(HTML,)),
        )
        yield Route(
            method=HTTPMethod.GET,
            template=f"{PATH}/{{number}}",
            access=Right.REVIEW,
            handler=self.one,
            about=About("The page of one review", gives_media=(HTML,)),
        )

    def show(self, call: Call) -> Answer:
        """Show what is open, and what was signed."""
        values = {
            "waiting": self._glass.open_reviews(call.caller),
            "signed": self._glass.signed(call.caller),
            "now": self._glass.clock(),
            "verdicts": VERDICTS,
        }
        return self._pages.page(call, "reviews.html", values)

    def one(self, call: Call) -> Answer:
        """Show one, with what was looked at.

        Raises:
            NotFound: There is none of that number.
        """
        found = self._glass.get(call.caller, number_of(call.path["number"]))
        name = call.caller.subject.name
        values = {
            "glass": found,
            "history": self._histories.with_glass(call.caller, found),
            "is_standing": found.is_standing(self._glass.clock()),
            "is_own": found.subject.name.casefold() == name.casefold(),
            "verdicts": VERDICTS,
            "acts": ACTS,
            "kinds": KINDS,
            "facts": FACTS,
            "note_characters_max": NOTE_CHARACTERS_MAX,
        }
        return self._pages.page(call, "review.html", values)
