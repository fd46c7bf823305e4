"""All routes of the HTTPS listener, and what it says of itself."""

import json
from collections.abc import Callable, Iterable, Iterator
from http import HTTPMethod
from typing import Final

from leadglass.servers.dicomweb import wadl
from leadglass.servers.dicomweb.outgoing import not_acceptable, wishes
from leadglass.servers.http.answers import Answer
from leadglass.servers.http.routes import About, Call, Door, Handler, Route

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
        *_Capabilities(offered).routes(),
        Route(
            method=HTTPMethod.GET,
            template=HEALTH,
            access=Door.PUBLIC,
            handler=_Health(is_alive),
            about=About("Whether anything can be answered", gives_media=(_JSON,)),
        ),
    ]


class _Capabilities:
    """Says what is offered and by which right, as in the documentation (PS3.18 §8.9).

    The same for everybody who is somebody, whatever he may do.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        table = tuple(routes)
        offered = [
            {
                "method": str(each.method),
                "path": each.template,
                "right": str(getattr(each.access, "value", each.access)),
            }
            for each in table
        ]
        self._json = json.dumps({"resources": offered}).encode()
        self._wadl = wadl.description(table, ROOT)

    def routes(self) -> Iterator[Route]:
        """Yield the routes: OPTIONS as the standard has it, GET for people."""
        for method, preferred in (
            (HTTPMethod.OPTIONS, wadl.MEDIA_TYPE),
            (HTTPMethod.GET, _JSON),
        ):
            yield Route(
                method=method,
                template=f"{ROOT}/",
                access=Door.ANYBODY_PROVEN,
                handler=self._preferring(preferred),
                about=About(
                    "What is offered, and by which right",
                    gives_media=(wadl.MEDIA_TYPE, _JSON),
                ),
            )

    def _preferring(self, preferred: str) -> Handler:
        """Return what answers in the form that is wanted, or in a preferred one."""
        forms = sorted((wadl.MEDIA_TYPE, _JSON), key=lambda each: each != preferred)

        def answer(call: Call) -> Answer:
            for wish in wishes(call):
                for form in forms:
                    if wish.is_single and wish.takes(form):
                        return self._answer(call, form)
            raise not_acceptable("there are " + " and ".join(forms))

        return answer

    def _answer(self, call: Call, form: str) -> Answer:
        if form == _JSON:
            return Answer(200, form, self._json)
        document = wadl.document(call.base + ROOT, self._wadl)
        return Answer(200, form, document.encode())


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
