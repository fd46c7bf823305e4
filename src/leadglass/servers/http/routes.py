"""The table of routes: what may be asked, and by which right.

A route names its right or is public by name; there is no third way, and the guard
serves nothing that is not in the table.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPMethod, HTTPStatus
from typing import Final
from urllib.parse import unquote

from leadglass.access.networks import Address
from leadglass.access.rights import Right
from leadglass.archive.caller import Caller
from leadglass.servers.http.answers import Answer
from leadglass.servers.http.headers import Headers

UNSAFE_METHODS: Final = frozenset(
    {HTTPMethod.POST, HTTPMethod.PUT, HTTPMethod.PATCH, HTTPMethod.DELETE}
)


# The longest body that is held in memory as a whole: a form or a document, no image.
READ_BYTES_MAX: Final = 1024 * 1024


class Door(Enum):
    """Who may use a route without a right."""

    PUBLIC = "public"  # everybody: login, health
    ANYBODY_PROVEN = "anybody proven"  # every caller, for its own: log out, who am I


@dataclass(frozen=True, slots=True)
class Call:
    """One request as a handler sees it.

    Attributes:
        method: As it is in the route.
        path: The parameters of the template, decoded.
        query: The parameters of the URL in their order, decoded.
        headers: As they came.
        base: Scheme and host by which the client knows us, without a slash at the end.
        target: Path and query as they came; for the record, never for a log.
        address: Where from.
        channel: TLS version.
        request_id: Ours, for the log.
        proven: Who asks; ``None`` on a public route.
    """

    method: str
    path: Mapping[str, str]
    query: tuple[tuple[str, str], ...] = field(repr=False)
    headers: Headers = field(repr=False)
    base: str
    target: str = field(repr=False)
    address: Address
    channel: str
    request_id: str
    proven: Caller | None

    @property
    def caller(self) -> Caller:
        """Who asks, on a route that is not public."""
        if self.proven is None:
            raise ValueError("a public route has no caller")
        return self.proven


# Each runs in the thread of its connection, and may wait for database and vault.
Handler = Callable[[Call], Answer]
# With the whole of a small body.
Reader = Callable[[Call, bytes], Answer]
# With a body as it comes.
Receiver = Callable[[Call, Iterator[bytes]], Answer]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a query, as programs are told of it.

    Attributes:
        name: As it is written.
        about: What it is for, in a sentence without a full stop.
        kind: JSON Schema's type of its value.
        choices: All values there are; empty if they cannot be listed.
        pattern: What all values look like (ECMA-262); empty for any.
        is_needed: Whether nothing is answered without it.
    """

    name: str
    about: str
    kind: str = "string"
    choices: tuple[str, ...] = ()
    pattern: str = ""
    is_needed: bool = False


@dataclass(frozen=True, slots=True)
class About:
    """What programs are told of a route.

    Attributes:
        summary: One sentence, without a full stop.
        takes: JSON Schema's view of the body is made from this type; ``None``: none.
        gives: And of the answer.
        query: Its parameters, those of the path aside.
        attributes: Keywords of DICOM attributes that are parameters too; empty: none.
        takes_media: Media types of a body that is no document of ours.
        gives_media: Of an answer that is none.
        statuses: What it answers beside what all of its kind do. One below 400 takes
            the place of 200, or of 204 for who gives nothing.
        failing: Statuses from 400 on whose answer is one like that of a success.
    """

    summary: str
    takes: type | None = None
    gives: type | None = None
    query: tuple[Parameter, ...] = ()
    attributes: tuple[str, ...] = ()
    takes_media: tuple[str, ...] = ()
    gives_media: tuple[str, ...] = ()
    statuses: tuple[HTTPStatus, ...] = ()
    failing: tuple[HTTPStatus, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One thing that can be asked for.

    Attributes:
        method: HTTP method; HEAD goes where GET does.
        template: Path, with ``{name}`` for a segment.
        access: The right it needs, or why it needs none.
        handler: Answers it, without a body.
        reader: Answers it, once the body is here.
        receiver: Answers it, with the body as it comes.
        body_bytes_max: The longest body; 0 for none.
        about: What programs are told of it (``servers.api.openapi``).
    """

    method: HTTPMethod
    template: str
    access: Right | Door
    handler: Handler | None = None
    reader: Reader | None = None
    receiver: Receiver | None = None
    body_bytes_max: int = 0
    about: About | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.access, Right | Door):
            raise TypeError("a route names its right, or is public by name")
        answering = (self.handler, self.reader, self.receiver)
        if sum(each is not None for each in answering) != 1:
            raise ValueError("a route has a handler, a reader or a receiver")
        if (self.handler is None) is not (self.body_bytes_max > 0):
            raise ValueError("who takes a body says how much at most, and nobody else")
        if self.reader is not None and self.body_bytes_max > READ_BYTES_MAX:
            raise ValueError("a body of that length is for a receiver")
        if not self.template.startswith("/"):
            raise ValueError("a template begins with a slash")

    @property
    def segments(self) -> tuple[str, ...]:
        """The template, cut at its slashes."""
        return tuple(self.template.split("/")[1:])

    def match(self, segments: tuple[str, ...]) -> dict[str, str] | None:
        """Return the parameters of a path, if it is this route's."""
        found: dict[str, str] = {}
        for wanted, given in zip(self.segments, segments, strict=True):
            if wanted.startswith("{"):
                if not given:
                    return None
                found[wanted.strip("{}")] = given
            elif wanted != given:
                return None
        return found


class Routes:
    """All routes, found by path.

    Raises:
        ValueError: Two say the same.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self.all = tuple(routes)
        self._by_length: dict[int, list[Route]] = {}
        # A fixed segment is nearer than a parameter, wherever it stands in the table.
        for route in sorted(self.all, key=_loose):
            self._by_length.setdefault(len(route.segments), []).append(route)
        shapes = {(each.method, *map(_shape, each.segments)) for each in self.all}
        if len(shapes) != len(self.all):
            raise ValueError("two routes have the same method and path")

    def find(self, raw_path: str) -> dict[HTTPMethod, tuple[Route, dict[str, str]]]:
        """Return what a path means, by method.

        Segments are cut before they are decoded: an encoded slash is a character.
        """
        segments = tuple(unquote(part) for part in raw_path.split("/")[1:])
        found: dict[HTTPMethod, tuple[Route, dict[str, str]]] = {}
        for route in self._by_length.get(len(segments), ()):
            parameters = route.match(segments)
            if parameters is not None:
                found.setdefault(route.method, (route, parameters))
        return found


def _shape(segment: str) -> str:
    return "{}" if segment.startswith("{") else segment


def _loose(route: Route) -> tuple[bool, ...]:
    return tuple(segment.startswith("{") for segment in route.segments)
