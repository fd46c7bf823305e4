"""The description of everything that HTTPS offers, as OpenAPI 3.1 (OAS 3.1.1).

It is made from the table of routes: what is not in the table is not served, and what
is served is in the description.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPMethod, HTTPStatus
from types import MappingProxyType
from typing import Any, Final

import msgspec

from leadglass.servers.http.answers import PROBLEM, Answer
from leadglass.servers.http.authentication import SESSION_COOKIE
from leadglass.servers.http.documents import JSON
from leadglass.servers.http.routes import About, Call, Door, Parameter, Route

PATH: Final = "/api/openapi.json"
VERSION: Final = "3.1.1"
# Problems whose answer is written before there is an application to ask.
_BARE: Final = frozenset(
    {HTTPStatus.REQUEST_URI_TOO_LONG, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE}
)
_FIRST_PROBLEM: Final = 400
_REFERENCE: Final = "#/components/schemas/{name}"

Json = dict[str, Any]

_UID: Final[Mapping[str, Any]] = MappingProxyType(
    {"type": "string", "pattern": "^[0-9.]{1,64}$"}
)
# What a parameter of a path is; one that is not here is any text.
_SEGMENTS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "study": _UID,
        "series": _UID,
        "instance": _UID,
        "frames": {
            "type": "string",
            "pattern": "^[1-9][0-9]{0,8}(-[0-9]{1,9})?(,[1-9][0-9]{0,8})*$",
        },
        "bulk": {
            "type": "string",
            "pattern": "^[0-9A-F]{8}(\\.[0-9]{1,9}\\.[0-9A-F]{8}){0,32}$",
        },
    }
)
_TEXT: Final[Mapping[str, Any]] = MappingProxyType({"type": "string", "minLength": 1})

_SECURITY: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "A token of a program, from `leadglass tokens add`.",
        },
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": SESSION_COOKIE,
            "description": "The session of a person who has logged in.",
        },
        "certificate": {
            "type": "mutualTLS",
            "description": "The certificate of an enrolled device.",
        },
    }
)
_PROBLEM_SCHEMA: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "type": "object",
        "description": "RFC 9457. Nothing in it is of a patient or of the request.",
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "instance": {
                "type": "string",
                "description": "Names the line of our log that says more.",
            },
        },
        "required": ["type", "title", "status", "instance"],
    }
)


def described(routes: Iterable[Route], version: str) -> tuple[Route, ...]:
    """Return the routes, and the one that describes all of them and itself."""
    served: list[Route] = []
    told: list[bytes] = []  # once: the table does not change while it is served

    def answer(_call: Call) -> Answer:
        if not told:
            told.append(json.dumps(document(served, version)).encode())
        return Answer(200, JSON, told[0])

    own = Route(
        method=HTTPMethod.GET,
        template=PATH,
        access=Door.ANYBODY_PROVEN,
        handler=answer,
        about=About("This description", gives_media=(JSON,)),
    )
    served += [*routes, own]
    return tuple(served)


def document(routes: Iterable[Route], version: str) -> Json:
    """Return the description of a table of routes.

    Args:
        routes: All of them; each must say what it is about.
        version: Of the program.

    Raises:
        ValueError: A route says nothing of itself.
    """
    table = tuple(routes)
    types = sorted({each for route in table for each in _types(route)}, key=_full_name)
    references, schemas = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    schema_of = dict(zip(types, references, strict=True))
    paths: dict[str, Json] = {}
    for route in table:
        told = _operation(route, schema_of)
        paths.setdefault(route.template, {})[route.method.lower()] = told
    return {
        "openapi": VERSION,
        "info": {
            "title": "Leadglass",
            "version": version,
            "description": "DICOMweb (PS3.18), and the interface of our own. HEAD is "
            "answered wherever GET is.",
        },
        "servers": [{"url": "/"}],
        "security": [{name: []} for name in _SECURITY],
        "paths": paths,
        "components": {
            "schemas": {"Problem": dict(_PROBLEM_SCHEMA), **schemas},
            "responses": {str(e.value): _problem(e, {}) for e in _used(table)},
            "securitySchemes": dict(_SECURITY),
        },
    }


def _used(table: Iterable[Route]) -> list[HTTPStatus]:
    """Return the statuses of all problems that any route has."""
    found = {
        status
        for route in table
        for status in (*_problems(route, _about(route)), *_about(route).statuses)
    }
    return sorted(status for status in found if status >= _FIRST_PROBLEM)


def _types(route: Route) -> Iterator[type]:
    about = _about(route)
    yield from (each for each in (about.takes, about.gives) if each is not None)


def _full_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _about(route: Route) -> About:
    if route.about is None:
        raise ValueError(f"{route.method} {route.template}: says nothing of itself")
    return route.about


def _operation(route: Route, schema_of: Mapping[type, Json]) -> Json:
    about = _about(route)
    told: Json = {
        "operationId": _identifier(route),
        "summary": about.summary,
        "tags": [route.segments[0] or "pages"],
        "responses": _responses(route, about, schema_of),
        "x-right": str(route.access.value),
    }
    parameters = [*_segments(route), *map(_parameter, about.query)]
    if about.attributes:
        parameters.append(_attributes(about.attributes))
    if parameters:
        told["parameters"] = parameters
    if route.handler is None:
        content: Json = {each: {} for each in about.takes_media}
        if about.takes is not None:
            content[JSON] = {"schema": schema_of[about.takes]}
        told["requestBody"] = {"required": True, "content": content}
    if route.access is Door.PUBLIC:
        told["security"] = []
    return told


def _identifier(route: Route) -> str:
    words = re.findall(r"[A-Za-z0-9]+", route.template)
    return "_".join((route.method.lower(), *(words or ["root"])))


def _segments(route: Route) -> Iterator[Json]:
    for segment in route.segments:
        if segment.startswith("{"):
            name = segment.strip("{}")
            yield {
                "name": name,
                "in": "path",
                "required": True,
                "schema": dict(_SEGMENTS.get(name, _TEXT)),
            }


def _parameter(parameter: Parameter) -> Json:
    schema: Json = {"type": parameter.kind}
    if parameter.choices:
        schema["enum"] = list(parameter.choices)
    if parameter.pattern:
        schema["pattern"] = parameter.pattern
    return {
        "name": parameter.name,
        "in": "query",
        "description": f"{parameter.about}.",
        "required": parameter.is_needed,
        "schema": schema,
    }


def _attributes(keywords: Iterable[str]) -> Json:
    """Return the one parameter that stands for those named by keyword or tag."""
    return {
        "name": "attributes",
        "in": "query",
        "description": "Attributes that must match, by keyword or tag (PS3.18 "
        "§8.3.4.1).",
        "style": "form",
        "explode": True,
        "schema": {
            "type": "object",
            "properties": {each: {"type": "string"} for each in keywords},
            "additionalProperties": {"type": "string"},
        },
    }


def _responses(route: Route, about: About, schema_of: Mapping[type, Json]) -> Json:
    content: Json = {each: {} for each in about.gives_media}
    if about.gives is not None:
        content[JSON] = {"schema": schema_of[about.gives]}
    said = [status for status in about.statuses if status < _FIRST_PROBLEM]
    usual = HTTPStatus.OK if content else HTTPStatus.NO_CONTENT
    told: Json = {}
    for status in said or [usual]:
        told[str(status.value)] = {"description": status.phrase}
        if content and status not in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}:
            told[str(status.value)]["content"] = content
    problems = {*_problems(route, about), *about.statuses, *about.failing}
    for status in sorted(problems - set(said)):
        if status in about.failing:
            told[str(status.value)] = _problem(status, content)
        else:
            name = str(status.value)
            told[name] = {"$ref": f"#/components/responses/{name}"}
    return told


def _problem(status: HTTPStatus, more: Json) -> Json:
    """Return an answer that is a problem, or one of other media types."""
    if status in _BARE:
        return {"description": status.phrase}
    schema = {"$ref": _REFERENCE.format(name="Problem")}
    content = {PROBLEM: {"schema": schema}, **more}
    return {"description": status.phrase, "content": content}


def _problems(route: Route, about: About) -> Iterator[HTTPStatus]:
    """Yield what routes of this kind answer, without being asked to say so."""
    yield HTTPStatus.BAD_REQUEST
    yield HTTPStatus.FORBIDDEN  # of another origin, even where nobody needs a right
    yield HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    yield HTTPStatus.MISDIRECTED_REQUEST
    yield HTTPStatus.TOO_MANY_REQUESTS
    yield HTTPStatus.SERVICE_UNAVAILABLE
    yield from _BARE
    if route.access is not Door.PUBLIC:
        yield HTTPStatus.UNAUTHORIZED
    names_something = "{" in route.template or bool(about.query)
    if names_something or route.handler is None:
        yield HTTPStatus.NOT_FOUND
    if route.handler is None:
        yield HTTPStatus.REQUEST_TIMEOUT
        yield HTTPStatus.CONFLICT
        yield HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    if len(about.gives_media) > 1:
        yield HTTPStatus.NOT_ACCEPTABLE
