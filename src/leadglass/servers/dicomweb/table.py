"""All routes of the HTTPS listener, and what it says of itself."""

import json
from collections.abc import Callable, Iterable
from http import HTTPMethod
from typing import Final

from leadglass.servers.http.answers import Answer
from leadglass.servers.http.routes import Call, Door, Route

ROOT: Final = "/dicom-web"
HEALTH: Final = "/health"
_JSON: Final = "application/json"


def table(services: Iterable[Route], is_alive: Callable[[], object]) -> list[Route]:
    """Return all routes: those of the services, and those about them.

    Args:
        services: What is offered under ``ROOT``.
        is_alive: Raises ``Unavailable`` if nothing can be answered now; cheap.
    """
    offered = tuple(services)
    return [
        *offered,
        Route(
            method=HTTPMethod.GET,
            template=f"{ROOT}/",
            access=Door.ANYBODY_PROVEN,
            handler=_Capabilities(offered),
        ),
        Route(
            method=HTTPMethod.GET,
            template=HEALTH,
            access=Door.PUBLIC,
            handler=_Health(is_alive),
        ),
    ]


class _Capabilities:
    """Says what is offered and by which right, as in the documentation.

    The same for everybody who is somebody, whatever he may do.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        offered = [
            {
                "method": str(each.method),
                "path": each.template,
                "right": str(getattr(each.access, "value", each.access)),
            }
            for each in routes
        ]
        self._answer = Answer(200, _JSON, json.dumps({"resources": offered}).encode())

    def __call__(self, _call: Call) -> Answer:
        """Answer."""
        return self._answer


class _Health:
    """Says that we can answer, and nothing more: everybody may ask.

    What is wrong, and whose version this is, is for who may know it.
    """

    def __init__(self, is_alive: Callable[[], object]) -> None:
        self._is_alive = is_alive

    def __call__(self, _call: Call) -> Answer:
        """Answer."""
        self._is_alive()
        return Answer(200, _JSON, b'{"status": "ok"}')
