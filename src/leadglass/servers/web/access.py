"""Who saw a patient: asked for in a body, since a URL stands in logs and histories."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from http import HTTPMethod
from types import MappingProxyType
from typing import Final
from urllib.parse import parse_qsl

from leadglass.access.rights import Right
from leadglass.archive.emergency import PATIENT_ID_CHARACTERS_MAX
from leadglass.archive.history import Act, Histories, History, Span
from leadglass.errors import BadData
from leadglass.servers.http.answers import Answer
from leadglass.servers.http.routes import About, Call, Route
from leadglass.servers.web.audit import after_of, moment_of
from leadglass.servers.web.pages import HTML, N_, Pages, is_part

PATH: Final = "/access"
FORM: Final = "application/x-www-form-urlencoded"
# A Patient ID of 64 characters, percent-encoded UTF-8, and two times.
_FORM_BYTES_MAX: Final = 2048
_FIELDS: Final = tuple(each.name for each in fields(Span))
_FIELDS_MAX: Final = 1 + len(_FIELDS)

ACTS: Final[Mapping[Act, str]] = MappingProxyType(
    {
        Act.FOUND: N_("Found in a list"),
        Act.VIEWED: N_("Viewed images"),
        Act.RETRIEVED: N_("Retrieved"),
        Act.EXPORT_BEGUN: N_("Began to export"),
        Act.EXPORTED: N_("Exported"),
        Act.ERASED: N_("Erased"),
        Act.LISTED: N_("Read a list of patients"),
        Act.GLASS_BROKEN: N_("Broke the glass"),
        Act.GLASS_OVER: N_("Broken glass ended"),
        Act.GLASS_REVIEWED: N_("Reviewed broken glass"),
        Act.HISTORY_READ: N_("Read this history"),
        Act.UNREADABLE: N_("The record was changed"),
    }
)
KINDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "operator": N_("person"),
        "device": N_("device"),
        "exception": N_("device without TLS"),
        "service": N_("program"),
    }
)
# What stands in the facts of broken glass, and is worth a line.
FACTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "reason": N_("Reason"),
        "verdict": N_("Verdict"),
        "note": N_("Note"),
        "stopped_by": N_("Ended by"),
    }
)


class AccessRoutes:
    """The page "Who saw a patient"."""

    def __init__(self, pages: Pages, histories: Histories) -> None:
        self._pages = pages
        self._histories = histories

    def routes(self) -> Iterator[Route]:
        """Yield the routes."""
        yield Route(
            method=HTTPMethod.GET,
            template=PATH,
            access=Right.AUDIT,
            handler=lambda call: self._page(call, None, Span()),
            about=About("The page that tells who saw a patient", gives_media=(HTML,)),
        )
        yield Route(
            method=HTTPMethod.POST,
            template=PATH,
            access=Right.AUDIT,
            reader=self.show,
            body_bytes_max=_FORM_BYTES_MAX,
            about=About(
                "Who saw a patient: patient, since, until, after as a form",
                takes_media=(FORM,),
                gives_media=(HTML,),
            ),
        )

    def show(self, call: Call, body: bytes) -> Answer:
        """Show the history of a patient.

        Raises:
            BadData: The form asks for what cannot be.
        """
        asked = form_of(body)
        span = Span(
            moment_of(asked, "since"), moment_of(asked, "until"), after_of(asked)
        )
        found = self._histories(call.caller, asked.get("patient", ""), span)
        return self._page(call, found, span)

    def _page(self, call: Call, found: History | None, span: Span) -> Answer:
        values = {
            "history": found,
            "span": span,
            "now": datetime.now(UTC),
            "acts": ACTS,
            "kinds": KINDS,
            "facts": FACTS,
            "patient_characters_max": PATIENT_ID_CHARACTERS_MAX,
        }
        block = "history" if is_part(call) else ""
        return self._pages.page(call, "access.html", values, block=block)


def form_of(body: bytes) -> dict[str, str]:
    """Return the fields of a form; of several with a name the last.

    Raises:
        BadData: It is no form, or one with more fields than it has.
    """
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_FIELDS_MAX,
        )
    except ValueError:
        raise BadData("the body is no form of this page") from None
    return dict(pairs)
