"""The routes of STOW-RS: from a request to ``stow``, and its result as an answer."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPMethod, HTTPStatus
from typing import Final

from leadglass.access.rights import Right
from leadglass.archive.ingest import Ingest
from leadglass.dicom.uids import UID
from leadglass.errors import BadData
from leadglass.servers.dicomweb.respond import XML, Form, choose, native_xml, respond
from leadglass.servers.dicomweb.stow import (
    DICOM,
    DICOM_JSON,
    DICOM_XML,
    MULTIPART,
    Gathering,
    Request,
    store,
)
from leadglass.servers.http.answers import Answer
from leadglass.servers.http.routes import About, Call, Route

_JSON: Final = Form.PLAIN_JSON.value
# PS3.18 Table 10.5.3-1. The answer tells of each instance what became of it, also if
# that is nothing.
_STORED: Final = (HTTPStatus.OK, HTTPStatus.ACCEPTED)
_NOT_STORED: Final = (
    HTTPStatus.FORBIDDEN,
    HTTPStatus.CONFLICT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.SERVICE_UNAVAILABLE,
)


@dataclass(frozen=True, slots=True)
class Store:
    """STOW-RS (PS3.18 §10.5).

    Attributes:
        ingest: The use case.
        body_bytes_max: The longest body of a request.
        root: Path of the service.
        gathering: The memory that its requests share.
    """

    ingest: Ingest
    body_bytes_max: int
    root: str = "/dicom-web"
    gathering: Gathering = field(default_factory=Gathering)

    def routes(self) -> Iterator[Route]:
        """Yield the routes: into any study, and into one."""
        table = (
            ("/studies", "Store instances of any study"),
            ("/studies/{study}", "Store instances of one study"),
        )
        for template, summary in table:
            yield Route(
                method=HTTPMethod.POST,
                template=self.root + template,
                access=Right.STORE,
                receiver=self.receive,
                body_bytes_max=self.body_bytes_max,
                about=About(
                    summary,
                    takes_media=(MULTIPART, DICOM, DICOM_JSON, DICOM_XML),
                    gives_media=(DICOM_JSON, _JSON, XML),
                    statuses=_STORED,
                    failing=_NOT_STORED,
                ),
            )

    def receive(self, call: Call, body: Iterator[bytes]) -> Answer:
        """Store a body; the answer says for each instance what became of it.

        Raises:
            Problem: The answer's form cannot be had.
            BadData: It is no such body, or the study is none.
            LeadglassError: As ``stow.store``.
        """
        form = choose(call.headers.getlist("accept"))
        request = Request(
            call.caller, call.headers.get("content-type", ""), _study(call)
        )
        result = store(self.ingest, request, body, self.gathering)
        entries = result.entries(call.base + self.root)
        if form is Form.XML:
            # One data set, so neither a list nor several parts (§10.5.3.2).
            document = native_xml(entries).encode("utf-8", "replace")
            return Answer(result.status, XML, document)
        told = respond(form, [entries])
        assert isinstance(told.body, bytes)  # one data set, made at once
        return Answer(result.status, told.media_type, told.body[1:-1])


def _study(call: Call) -> UID | None:
    text = call.path.get("study")
    if text is None:
        return None
    try:
        return UID(text)
    except ValueError:
        raise BadData("the study of the path is no UID") from None
