"""The capabilities of the service as WADL (PS3.18 §8.9, Annex H).

The tree of resources is made from the table of routes, so it is what is served.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final
from xml.sax.saxutils import quoteattr

from leadglass.servers.http.routes import Parameter, Route

MEDIA_TYPE: Final = "application/vnd.sun.wadl+xml"
_NAMESPACE: Final = "http://wadl.dev.java.net/2009/02"
_KINDS: Final = {"number": "xs:double"}


@dataclass(slots=True)
class _Resource:
    """A segment of paths, and what lies below it."""

    routes: list[Route] = field(default_factory=list)
    below: dict[str, "_Resource"] = field(default_factory=dict)


def description(routes: Iterable[Route], root: str) -> str:
    """Return the resources below a path, as the inside of ``resources``.

    Args:
        routes: All of them; those that lie elsewhere are left out.
        root: Path of the service, without a slash at the end.
    """
    top = _Resource()
    for route in routes:
        if not route.template.startswith(f"{root}/"):
            continue
        at = top
        for segment in route.template.removeprefix(f"{root}/").split("/"):
            at = at.below.setdefault(segment, _Resource())
        at.routes.append(route)
    return "".join(_resources(top))


def document(base: str, resources: str) -> str:
    """Return the document; ``base`` is the URL by which the client knows us."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<application xmlns="{_NAMESPACE}" '
        'xmlns:xs="http://www.w3.org/2001/XMLSchema">'
        f"<resources base={quoteattr(base)}>{resources}</resources></application>"
    )


def _resources(resource: _Resource) -> Iterator[str]:
    for segment, below in resource.below.items():
        yield f"<resource path={quoteattr(segment)}>"
        if segment.startswith("{"):
            name = segment.strip("{}")
            yield (
                f'<param name={quoteattr(name)} style="template" type="xs:string" '
                'required="true"/>'
            )
        for route in below.routes:
            yield from _method(route)
        yield from _resources(below)
        yield "</resource>"


def _method(route: Route) -> Iterator[str]:
    about = route.about
    if about is None:
        return
    words = "".join(word.capitalize() for word in about.summary.split(",")[0].split())
    yield f'<method name="{route.method}" id={quoteattr(words)}><request>'
    for each in about.query:
        yield _param(each)
    for keyword in about.attributes:
        yield f'<param name="{keyword}" style="query" type="xs:string"/>'
    if about.gives_media:
        yield '<param name="Accept" style="header" type="xs:string">'
        for media in about.gives_media:
            yield f"<option value={quoteattr(media)}/>"
        yield "</param>"
    for media in about.takes_media:
        yield f"<representation mediaType={quoteattr(media)}/>"
    yield "</request>"
    for status in about.statuses or (HTTPStatus.OK,):
        yield f'<response status="{int(status)}">'
        if status < HTTPStatus.MULTIPLE_CHOICES:
            for media in about.gives_media:
                yield f"<representation mediaType={quoteattr(media)}/>"
        yield "</response>"
    yield "</method>"


def _param(parameter: Parameter) -> str:
    kind = _KINDS.get(parameter.kind, "xs:string")
    needed = ' required="true"' if parameter.is_needed else ""
    options = "".join(f"<option value={quoteattr(e)}/>" for e in parameter.choices)
    return (
        f'<param name={quoteattr(parameter.name)} style="query" type="{kind}"{needed}>'
        f"{options}</param>"
    )
