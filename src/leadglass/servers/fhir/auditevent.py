"""Retrieve ATNA Audit Event (IHE ITI-81) and read of FHIR, over the audit log.

A search by ``GET`` has what it asks for in its URL, as the standard has it; who does
not want a patient there says it in the body of ``POST …/_search``. The URL of the next
part is ours, so it names nobody: it holds the question sealed, with a key that ends
with the process, and for who asked alone.
"""

import json
import logging
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from dataclasses import replace
from http import HTTPMethod, HTTPStatus
from os import urandom
from typing import Final
from urllib.parse import parse_qsl, urlencode

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from leadglass.access.rights import Right
from leadglass.archive.trail import Portion, Trail
from leadglass.audit.fhir import audit_event
from leadglass.errors import LeadglassError, NotFound, PeerError, Refused
from leadglass.servers.fhir.asking import (
    PARAMETERS_MAX,
    Asked,
    Pairs,
    is_lenient,
    refused,
    understand,
)
from leadglass.servers.fhir.resources import (
    EVENTS,
    FHIR_JSON,
    METADATA,
    SEARCHED,
    Found,
    answer,
    capability,
    outcome,
    searchset,
)
from leadglass.servers.http.answers import Answer, Problem
from leadglass.servers.http.routes import About, Call, Door, Parameter, Route

_LOG = logging.getLogger(__name__)

FORM: Final = "application/x-www-form-urlencoded"
PAGE: Final = "_page"
# A search in a body: a dozen parameters of 256 characters, each of three bytes.
_FORM_BYTES_MAX: Final = 16 * 1024
# What a sealed question has at most; a longer one was not made here.
_SEALED_CHARACTERS_MAX: Final = 7 * 1024
_NONCE_BYTES: Final = 12
_DIGITS_MAX: Final = 18
# What a client may accept that has JSON of FHIR in it.
_ACCEPTED: Final = frozenset(
    {"*/*", "application/*", "application/json", "application/fhir+json"}
)
_QUERY: Final = (
    *(Parameter(name, about) for name, (_, about) in SEARCHED.items()),
    Parameter("_count", "How many at most", pattern="^[0-9]{1,9}$"),
    Parameter("_format", "JSON is what there is"),
    Parameter("_sort", "The newest come first", choices=("-date",)),
    Parameter(PAGE, "Where the next part is, as the part before said it"),
)
_FAILING: Final = (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_ACCEPTABLE)

_Handler = Callable[[Call], Answer]


class AuditEventRoutes:
    """The routes.

    Args:
        trail: The use case.
        own: Name of the log.
        version: Of this program.
    """

    def __init__(self, trail: Trail, own: str, version: str) -> None:
        self._trail = trail
        self._own = own
        self._version = version
        self._seal = AESGCM(urandom(32))

    def routes(self) -> Iterator[Route]:
        """Yield them."""
        yield Route(
            method=HTTPMethod.GET,
            template=METADATA,
            access=Door.ANYBODY_PROVEN,
            handler=_told(self._offered),
            about=About("What is offered as FHIR", gives_media=(FHIR_JSON,)),
        )
        yield Route(
            method=HTTPMethod.GET,
            template=EVENTS,
            access=Right.AUDIT,
            handler=_told(self._search),
            about=About(
                "Search audit events (IHE ITI-81)",
                query=_QUERY,
                gives_media=(FHIR_JSON,),
                failing=(*_FAILING, HTTPStatus.GONE),
            ),
        )
        yield Route(
            method=HTTPMethod.POST,
            template=f"{EVENTS}/_search",
            access=Right.AUDIT,
            reader=lambda call, body: _told(lambda one: self._posted(one, body))(call),
            body_bytes_max=_FORM_BYTES_MAX,
            about=About(
                "Search audit events; what is asked for stands in no URL",
                takes_media=(FORM,),
                gives_media=(FHIR_JSON,),
                failing=(*_FAILING, HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
            ),
        )
        yield Route(
            method=HTTPMethod.GET,
            template=f"{EVENTS}/{{number}}",
            access=Right.AUDIT,
            handler=_told(self._read),
            about=About(
                "An audit event",
                gives_media=(FHIR_JSON,),
                failing=(HTTPStatus.NOT_FOUND, HTTPStatus.NOT_ACCEPTABLE),
            ),
        )

    def _offered(self, call: Call) -> Answer:
        return answer(capability(call.base, self._version))

    def _read(self, call: Call) -> Answer:
        text = call.path["number"]
        if not (text.isascii() and text.isdigit()) or len(text) > _DIGITS_MAX:
            raise NotFound("no such audit event")
        return answer(audit_event(self._trail.get(call.caller, int(text)), self._own))

    def _posted(self, call: Call, body: bytes) -> Answer:
        kind = call.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != FORM:
            raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"send {FORM}")
        try:
            pairs = parse_qsl(
                body.decode("ascii"),
                keep_blank_values=True,
                errors="strict",
                max_num_fields=PARAMETERS_MAX,
            )
        except ValueError:
            raise Problem(HTTPStatus.BAD_REQUEST, "the form is malformed") from None
        return self._asked(call, (*call.query, *pairs), None)

    def _search(self, call: Call) -> Answer:
        pages = [value for name, value in call.query if name == PAGE]
        if not pages:
            return self._asked(call, call.query, None)
        if len(call.query) != 1:
            raise Problem(HTTPStatus.BAD_REQUEST, f"{PAGE} stands alone")
        return self._asked(call, *self._opened(call, pages[0]))

    def _asked(self, call: Call, pairs: Pairs, after: int | None) -> Answer:
        asked = understand(pairs, lenient=is_lenient(call.headers.getlist("prefer")))
        portion = Portion((), None)
        if asked.is_possible:
            search = replace(asked.search, after=after)
            portion = self._trail.look(call.caller, search, asked.count)
        return answer(searchset(self._found(call, asked, portion), call.base))

    def _found(self, call: Call, asked: Asked, portion: Portion) -> Found:
        here = f"{call.base}{EVENTS}"
        follows = ""
        if portion.after is not None:
            sealed = self._sealed(call, asked.used, portion.after)
            follows = f"{here}?{urlencode({PAGE: sealed})}"
        return Found(
            resources=tuple(audit_event(each, self._own) for each in portion.records),
            self_url=f"{here}?{urlencode(asked.used)}",
            next_url=follows,
        )

    # ── the question in the URL of the next part ─────────────────────────────

    def _sealed(self, call: Call, pairs: Pairs, after: int) -> str:
        """Return question and place as a part of a URL.

        Raises:
            Problem: 400, it would be too long.
        """
        nonce = urandom(_NONCE_BYTES)
        data = json.dumps([after, pairs], ensure_ascii=False).encode()
        sealed = nonce + self._seal.encrypt(nonce, data, _whose(call))
        text = urlsafe_b64encode(sealed).decode("ascii")
        if len(text) > _SEALED_CHARACTERS_MAX:
            raise refused("what is asked for is too long for a URL")
        return text

    def _opened(self, call: Call, text: str) -> tuple[Pairs, int]:
        """Return question and place of a URL that was made here, for who asks.

        Raises:
            Problem: 410, it was not, or before the process began.
        """
        try:
            data = urlsafe_b64decode(text.encode("ascii"))
            nonce, sealed = data[:_NONCE_BYTES], data[_NONCE_BYTES:]
            after, pairs = json.loads(self._seal.decrypt(nonce, sealed, _whose(call)))
        except (InvalidTag, ValueError):
            raise Problem(
                HTTPStatus.GONE, "the search has ended; begin it anew"
            ) from None
        return tuple((name, value) for name, value in pairs), after


def _whose(call: Call) -> bytes:
    return str(call.caller.subject).encode()


def _told(handler: _Handler) -> _Handler:
    """Return a handler whose errors are resources, too."""

    def handle(call: Call) -> Answer:
        try:
            _check_accepted(call)
            return handler(call)
        except Problem as problem:
            return outcome(problem.status, call.request_id, problem.detail)
        except LeadglassError as error:
            if not isinstance(error, Refused):
                _LOG.warning("%s: %s", call.request_id, error)
            told = str(error) if isinstance(error, PeerError) else ""
            return outcome(error.http_status, call.request_id, told)

    return handle


def _check_accepted(call: Call) -> None:
    """Make sure that the client takes what there is.

    Raises:
        Problem: 406.
    """
    said = [
        each.partition(";")[0].strip().lower()
        for line in call.headers.getlist("accept")
        for each in line.split(",")
    ]
    if said and not _ACCEPTED & set(said):
        raise Problem(HTTPStatus.NOT_ACCEPTABLE, "JSON is what there is")
