"""WADO-URI (PS3.18 §9): one instance or one picture of it, named by parameters."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from http import HTTPMethod, HTTPStatus
from types import MappingProxyType
from typing import Final

from leadglass.access.rights import Right
from leadglass.pixels.views import MediaType
from leadglass.servers.dicomweb.wado import DICOM, Retrieve
from leadglass.servers.dicomweb.wado_rendered import RetrieveRendered
from leadglass.servers.http.answers import Answer, Problem
from leadglass.servers.http.routes import About, Call, Parameter, Route

_UIDS: Final[Mapping[str, str]] = MappingProxyType(
    {"studyUID": "study", "seriesUID": "series", "objectUID": "instance"}
)
_WHOLE_NUMBER: Final = "^[0-9]{1,9}$"
_UID: Final = "^[0-9.]{1,64}$"
# What only pictures have; rows and columns are the sides of a viewport (§9.4.1.2).
_OF_PICTURES: Final = (
    Parameter("annotation", "What is burnt in", choices=("technique",)),
    Parameter("columns", "Width to fit into", pattern=_WHOLE_NUMBER),
    Parameter("frameNumber", "Which frame, from 1", pattern="^[1-9][0-9]{0,8}$"),
    Parameter("imageQuality", "Of JPEG and MP4, from 1 to 100", pattern="^[0-9]{1,3}$"),
    Parameter("rows", "Height to fit into", pattern=_WHOLE_NUMBER),
    Parameter("windowCenter", "Of the window", kind="number"),
    Parameter("windowWidth", "Of the window", kind="number"),
)
_PARAMETERS: Final = (
    Parameter("requestType", "Always WADO", choices=("WADO",), is_needed=True),
    *(
        Parameter(name, f"UID of the {level}", pattern=_UID, is_needed=True)
        for name, level in _UIDS.items()
    ),
    Parameter("contentType", "Media type; a JPEG image unless it is said"),
    Parameter("transferSyntax", "Of an instance; as it is stored unless it is said"),
    *_OF_PICTURES,
)
_PICTURE: Final = frozenset(each.name for each in _OF_PICTURES)
_KNOWN: Final = frozenset(each.name for each in _PARAMETERS)


@dataclass(frozen=True, slots=True)
class Uri:
    """Answers ``GET /wado``: the same answers as those of WADO-RS.

    Attributes:
        retrieve: For whole instances; its ``service`` is WADO-URI.
        rendered: For pictures; so is its.
        path: Of the service.
    """

    retrieve: Retrieve
    rendered: RetrieveRendered
    path: str = "/wado"

    def routes(self) -> Iterator[Route]:
        """Yield the route.

        The right of the route is the lesser of the two; a whole instance needs
        ``get``, which its retrieval asks for.
        """
        yield Route(
            method=HTTPMethod.GET,
            template=self.path,
            access=Right.VIEW,
            handler=self.answer,
            about=About(
                "Retrieve one instance or one picture of it",
                query=_PARAMETERS,
                gives_media=(DICOM, *MediaType),
                statuses=(HTTPStatus.OK, HTTPStatus.NOT_MODIFIED),
            ),
        )

    def answer(self, call: Call) -> Answer:
        """Answer with an instance or a picture.

        Raises:
            Problem: 400, a parameter is missing, unknown, or does not fit the others.
        """
        options = _options(call)
        path = {name: options[key] for key, name in _UIDS.items()}
        wanted = options.get("contentType", "image/jpeg")
        if wanted.partition(";")[0].strip().lower() == DICOM:
            if options.keys() & _PICTURE:
                raise _bad("a parameter of pictures, for a whole instance")
            syntax = options.get("transferSyntax", "*")
            accept = f"{DICOM}; transfer-syntax={syntax}"
            return self.retrieve.instances(_as(call, path, {"accept": accept}))
        if "frameNumber" in options:
            path["frames"] = options["frameNumber"]
        query = {"accept": wanted} | _view(options)
        return self.rendered.rendered(_as(call, path, query))


def _options(call: Call) -> Mapping[str, str]:
    options = dict(call.query)
    if len(options) != len(call.query) or not options.keys() <= _KNOWN:
        raise _bad("a parameter is unknown, or is given twice")
    if options.get("requestType") != "WADO" or not options.keys() >= _UIDS.keys():
        raise _bad("requestType=WADO, studyUID, seriesUID and objectUID are needed")
    return options


def _view(options: Mapping[str, str]) -> dict[str, str]:
    """Return the parameters of a picture as WADO-RS has them."""
    found: dict[str, str] = {}
    pairs = (
        ("viewport", "columns", "rows", ""),
        ("window", "windowCenter", "windowWidth", ",linear"),
    )
    for name, first, second, more in pairs:
        given = options.keys() & {first, second}
        if len(given) == 1:
            raise _bad("a parameter without the one that belongs to it")
        if given:
            found[name] = f"{options[first]},{options[second]}{more}"
    if "imageQuality" in options:
        found["quality"] = options["imageQuality"]
    if "annotation" in options:
        found["annotation"] = options["annotation"]
    return found


def _as(call: Call, path: Mapping[str, str], query: Mapping[str, str]) -> Call:
    return replace(call, path=path, query=tuple(query.items()))


def _bad(detail: str) -> Problem:
    return Problem(HTTPStatus.BAD_REQUEST, detail)
