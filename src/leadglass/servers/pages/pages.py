"""The pages for logging in, enrolling and one's own proofs.

They are the same for everybody and hold nothing of anybody: what is somebody's comes
by the script, from the interface that programs use, too. So they are public, as a
login page has to be.
"""

from collections.abc import Iterator, Mapping
from http import HTTPMethod, HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Final

from leadglass.servers.http.answers import Answer
from leadglass.servers.http.guard import LOGIN
from leadglass.servers.http.routes import About, Call, Door, Route

_FOLDER: Final = Path(__file__).parent / "files"
_HTML: Final = "text/html; charset=utf-8"
# path → file, media type, what it is
_FILES: Final[Mapping[str, tuple[str, str, str]]] = MappingProxyType(
    {
        LOGIN: ("login.html", _HTML, "The page to log in"),
        "/enrol": ("enrol.html", _HTML, "The page to enrol"),
        "/me": ("me.html", _HTML, "The page of one's own proofs and sessions"),
        "/pages/pages.js": (
            "pages.js",
            "text/javascript; charset=utf-8",
            "What the pages do",
        ),
        "/pages/pages.css": ("pages.css", "text/css; charset=utf-8", "How they look"),
    }
)
# Nothing inline, nothing from elsewhere, no text that becomes markup. The picture of a
# QR code comes as data from the script.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'"
)


def routes() -> Iterator[Route]:
    """Yield the routes of the pages."""
    for path, (name, kind, summary) in _FILES.items():
        yield Route(
            method=HTTPMethod.GET,
            template=path,
            access=Door.PUBLIC,
            handler=_File((_FOLDER / name).read_bytes(), kind),
            about=About(summary, gives_media=(kind,)),
        )
    yield Route(
        method=HTTPMethod.GET,
        template="/",
        access=Door.PUBLIC,
        handler=_start,
        about=About("Where to begin", statuses=(HTTPStatus.SEE_OTHER,)),
    )


class _File:
    """One file, small enough to be kept."""

    def __init__(self, content: bytes, kind: str) -> None:
        self._answer = Answer(200, kind, content, {"content-security-policy": _POLICY})

    def __call__(self, _call: Call) -> Answer:
        """Answer."""
        return self._answer


def _start(_call: Call) -> Answer:
    return Answer(HTTPStatus.SEE_OTHER, headers={"location": LOGIN})
