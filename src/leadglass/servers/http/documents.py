"""Routes that take and give JSON documents: the interface of our own.

A document is a ``msgspec.Struct``: it checks itself when it is read, a member that it
does not know is refused, and its JSON Schema is made from it.
"""

import re
from collections.abc import Callable
from http import HTTPMethod, HTTPStatus
from typing import Final, TypeVar

import msgspec

from leadglass.access.rights import Right
from leadglass.errors import Misconfigured
from leadglass.servers.http.answers import Answer, Problem
from leadglass.servers.http.routes import About, Call, Door, Parameter, Route

JSON: Final = "application/json"
_OURS: Final = ("Expected ", "Object missing required field ")
# A document of ours: a form that somebody filled in. A passkey's answer has 4 KB.
DOCUMENT_BYTES_MAX: Final = 64 * 1024

Taken = TypeVar("Taken", bound="Document")
Given = TypeVar("Given", bound="Document")


class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A JSON object with the members that its class names, and no other.

    A subclass says ``frozen=True`` again, for the type checker.
    """


def giving(  # noqa: PLR0913  # what a route is
    template: str,
    access: Right | Door,
    summary: str,
    *,
    gives: type[Given],
    handler: Callable[[Call], Given],
    method: HTTPMethod = HTTPMethod.GET,
    query: tuple[Parameter, ...] = (),
    statuses: tuple[HTTPStatus, ...] = (),
) -> Route:
    """Return a route without a body that answers with a document."""
    return Route(
        method=method,
        template=template,
        access=access,
        handler=lambda call: answer(handler(call)),
        about=About(summary, gives=gives, query=query, statuses=statuses),
    )


def taking(  # noqa: PLR0913  # what a route is
    template: str,
    access: Right | Door,
    summary: str,
    *,
    takes: type[Taken],
    gives: type[Document] | None,
    reader: Callable[[Call, Taken], Answer | Document],
    method: HTTPMethod = HTTPMethod.POST,
    statuses: tuple[HTTPStatus, ...] = (),
) -> Route:
    """Return a route that reads a document; it answers with another, or as it likes."""

    def read(call: Call, body: bytes) -> Answer:
        document = read_document(call, body, takes)
        try:
            given = reader(call, document)
        except Misconfigured as error:
            # What a command line tells its operator: names and roles that cannot be.
            raise Problem(HTTPStatus.BAD_REQUEST, str(error)) from None
        return given if isinstance(given, Answer) else answer(given)

    return Route(
        method=method,
        template=template,
        access=access,
        reader=read,
        body_bytes_max=DOCUMENT_BYTES_MAX,
        about=About(summary, takes=takes, gives=gives, statuses=statuses),
    )


def answer(document: Document, status: int = 200) -> Answer:
    """Return a document as an answer."""
    return Answer(status, JSON, msgspec.json.encode(document))


def read_document(call: Call, body: bytes, takes: type[Taken]) -> Taken:
    """Return the document that a body is.

    Raises:
        Problem: 415, it is no JSON by its own word, so no form of another site's page
            comes here; 400, it is no such document. What is wrong with it is said by
            member and kind, never by its value.
    """
    kind = call.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != JSON:
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send application/json")
    try:
        return msgspec.json.decode(body, type=takes)
    except msgspec.ValidationError as error:
        raise Problem(HTTPStatus.BAD_REQUEST, _fault(error)) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise Problem(HTTPStatus.BAD_REQUEST, "the body is no JSON") from None


def _fault(error: msgspec.ValidationError) -> str:
    """Say what is wrong and where, without what stood there.

    The library quotes only types and members of ours, but for a value that is not in
    an enumeration and a member that is unknown.
    """
    told = str(error)
    if told.startswith(_OURS):
        return told
    kind, _, place = told.rpartition(" - at ")
    what = re.split(r"['`\"]", kind or place)[0].strip()
    return f"{what} - at {place}" if kind else what
