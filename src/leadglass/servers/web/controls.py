"""Which controls held when they were last gone through, and what is due."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from http import HTTPMethod, HTTPStatus
from types import MappingProxyType
from typing import Final

from leadglass.access.rights import Right
from leadglass.assurance.compliance import reporting
from leadglass.assurance.compliance.office import Office
from leadglass.assurance.compliance.probe import Verdict
from leadglass.errors import NotFound
from leadglass.servers.http.answers import Answer
from leadglass.servers.http.routes import About, Call, Route
from leadglass.servers.web.pages import HTML, N_, Pages

PATH: Final = "/controls"
_PDF: Final = "application/pdf"
VERDICTS: Final[Mapping[Verdict, str]] = MappingProxyType(
    {
        Verdict.PASS: N_("passed"),
        Verdict.FAIL: N_("failed"),
        Verdict.ATTESTED: N_("vouched for"),
        Verdict.NOT_COVERED: N_("not covered"),
    }
)
_NUMBER_MAX: Final = 2**53


class ControlRoutes:
    """The page of controls."""

    def __init__(self, pages: Pages, office: Office) -> None:
        self._pages = pages
        self._office = office

    def routes(self) -> Iterator[Route]:
        """Yield the routes."""
        yield Route(
            method=HTTPMethod.GET,
            template=PATH,
            access=Right.AUDIT,
            handler=self.show,
            about=About("The page of controls", gives_media=(HTML,)),
        )
        yield Route(
            method=HTTPMethod.GET,
            template=f"{PATH}/{{number}}/report.pdf",
            access=Right.AUDIT,
            handler=self.printed,
            about=About("A run of the controls, as PDF", gives_media=(_PDF,)),
        )

    def show(self, call: Call) -> Answer:
        """Show the last run, all runs, and what is due."""
        now = datetime.now(UTC)
        kept = self._office.history(call.caller)
        values = {
            "runs": kept,
            "last": kept[0] if kept else None,
            "duties": [
                (each, each.is_overdue(now))
                for each in self._office.duties(call.caller)
            ],
            "verdicts": VERDICTS,
        }
        return self._pages.page(call, "controls.html", values)

    def printed(self, call: Call) -> Answer:
        """Give a run as PDF.

        Raises:
            NotFound: There is no such run.
        """
        text = call.path["number"]
        if not text.isascii() or not text.isdecimal() or int(text) > _NUMBER_MAX:
            raise NotFound("no such run")
        kept = self._office.get(call.caller, int(text))
        body = reporting.printed(kept.report, kept.id, kept.record)
        name = f"attachment; filename=controls-{kept.id}.pdf"
        return Answer(HTTPStatus.OK, _PDF, body, {"content-disposition": name})
