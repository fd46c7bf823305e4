"""How long records stay, what must stay longer, and what waits for a second person."""

from collections.abc import Iterator, Mapping
from http import HTTPMethod
from types import MappingProxyType
from typing import Final

from leadglass.access.rights import Right
from leadglass.archive.orders import Kind, Orders, State
from leadglass.archive.retention import Retention
from leadglass.servers.http.answers import Answer
from leadglass.servers.http.routes import About, Call, Route
from leadglass.servers.web.pages import HTML, N_, Pages

PATH: Final = "/keeping"
KINDS: Final[Mapping[Kind, str]] = MappingProxyType(
    {
        Kind.ERASE: N_("Erase a person's data from the record"),
        Kind.RELEASE: N_("Release legal hold {number}"),
    }
)
STATES: Final[Mapping[State, str]] = MappingProxyType(
    {
        State.ASKED: N_("waits"),
        State.CONFIRMED: N_("being carried out"),
        State.DONE: N_("carried out"),
        State.REFUSED: N_("refused"),
        State.LAPSED: N_("lapsed"),
    }
)


class KeepingRoutes:
    """The page of keeping and erasing. What it changes, ``/api`` does."""

    def __init__(self, pages: Pages, retention: Retention, orders: Orders) -> None:
        self._pages = pages
        self._retention = retention
        self._orders = orders

    def routes(self) -> Iterator[Route]:
        """Yield the route."""
        yield Route(
            method=HTTPMethod.GET,
            template=PATH,
            access=Right.AUDIT,
            handler=self.show,
            about=About("The page of keeping and erasing records", gives_media=(HTML,)),
        )

    def show(self, call: Call) -> Answer:
        """Show what stands, and what waits."""
        now = self._retention.clock()
        shown = self._retention.show(call.caller)
        orders = [(each, each.state(now)) for each in self._orders.latest(call.caller)]
        values = {
            "shown": shown,
            "holds": [each for each in shown.holds if each.is_standing],
            "waiting": [each for each, state in orders if state is State.ASKED],
            "others": [pair for pair in orders if pair[1] is not State.ASKED],
            "kinds": KINDS,
            "states": STATES,
            "me": call.caller.subject.name,
        }
        return self._pages.page(call, "keeping.html", values)
