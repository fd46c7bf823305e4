"""For machines that watch a node: whether it can work, and its figures.

``/ready`` says yes or no to everybody, and nothing else. ``/metrics`` is for who has
the right ``monitor``: figures tell how much a house works, and when.
"""

from collections.abc import Iterable, Iterator
from http import HTTPMethod, HTTPStatus
from typing import Final

from leadglass.access.rights import Right
from leadglass.archive.condition import Condition
from leadglass.archive.meters import Family, Sample
from leadglass.errors import Unavailable
from leadglass.servers.http.answers import Answer
from leadglass.servers.http.routes import About, Call, Door, Route

READY: Final = "/ready"
METRICS: Final = "/metrics"
# Prometheus' text format, as its documentation of exposition formats has it.
TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
_JSON: Final = "application/json"
_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class MonitoringRoutes:
    """The routes."""

    def __init__(self, condition: Condition) -> None:
        self._condition = condition

    def routes(self) -> Iterator[Route]:
        """Yield them."""
        yield Route(
            method=HTTPMethod.GET,
            template=READY,
            access=Door.PUBLIC,
            handler=self._ready,
            about=About(
                "Whether the node can work",
                gives_media=(_JSON,),
                failing=(HTTPStatus.SERVICE_UNAVAILABLE,),
            ),
        )
        yield Route(
            method=HTTPMethod.GET,
            template=METRICS,
            access=Right.MONITOR,
            handler=self._metrics,
            about=About("The figures of the running node", gives_media=(TEXT,)),
        )

    def _ready(self, _: Call) -> Answer:
        try:
            self._condition.check()
        except Unavailable:
            body = b'{"ready": false}'
            return Answer(HTTPStatus.SERVICE_UNAVAILABLE, _JSON, body)
        return Answer(HTTPStatus.OK, _JSON, b'{"ready": true}')

    def _metrics(self, _: Call) -> Answer:
        return Answer(HTTPStatus.OK, TEXT, exposition(self._condition.samples()))


def exposition(samples: Iterable[Sample]) -> bytes:
    """Return samples, those of a family beside each other, as Prometheus reads them."""
    lines: list[str] = []
    before: Family | None = None
    for each in samples:
        family = each.family
        if family is not before:
            lines += [
                f"# HELP {family.name} {family.help}",
                f"# TYPE {family.name} {family.kind}",
            ]
            before = family
        pairs = [*zip(family.labels, each.values, strict=True)]
        pairs += [("le", each.bound)] if each.bound else []
        labels = ",".join(
            f'{name}="{value.translate(_ESCAPES)}"' for name, value in pairs
        )
        shown = f"{{{labels}}}" if labels else ""
        lines.append(f"{family.name}{each.suffix}{shown} {_number(each.value)}")
    return ("\n".join(lines) + "\n").encode()


def _number(value: float) -> str:
    whole = int(value)
    return str(whole) if whole == value else repr(float(value))
