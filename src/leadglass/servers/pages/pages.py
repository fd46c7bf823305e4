"""The pages for logging in, enrolling and one's own proofs.

They are the same for everybody and hold nothing of anybody: what is somebody's comes
by the script, from the interface that programs use, too. So they are public, as a
login page has to be.
"""

from collections.abc import Iterator, Mapping
from html import escape
from http import HTTPMethod, HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Final

from leadglass.servers.http.answers import Answer
from leadglass.servers.http.guard import LOGIN
from leadglass.servers.http.routes import About, Call, Door, Route

FOLDER: Final = Path(__file__).parent / "files"
# Where a login by a provider begins.
BEGIN: Final = "/oidc/begin"
# The parameter of a beginning that asks for a proof of now.
ANEW: Final = ("anew", "yes")
# What stands in a page where there may be such a way → where it leads, in which words
_OFFERS: Final = (
    ("<!-- single sign-on -->", BEGIN, "Continue with"),
    (
        "<!-- single sign-on anew -->",
        f"{BEGIN}?{ANEW[0]}={ANEW[1]}",
        "Prove it at",
    ),
)
# The second step is the same for everybody, known or not; whoever needs no code is told
# so before, all alike.
_DIRECTORY_MARK: Final = "<!-- directory -->"
_DIRECTORY_HINT: Final = (
    '<p class="quiet directory">Who logs in with the password of the house\'s '
    "directory leaves this empty.</p>"
)
HTML: Final = "text/html; charset=utf-8"
# path → file, media type, what it is
_FILES: Final[Mapping[str, tuple[str, str, str]]] = MappingProxyType(
    {
        LOGIN: ("login.html", HTML, "The page to log in"),
        "/enrol": ("enrol.html", HTML, "The page to enrol"),
        "/me": ("me.html", HTML, "The page of one's own proofs and sessions"),
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
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'"
)


def routes(single_sign_on: str = "", *, has_directory: bool = False) -> Iterator[Route]:
    """Yield the routes of the pages.

    Args:
        single_sign_on: What people call it; empty: there is none.
        has_directory: Whether some come with a password of a directory.
    """
    for path, (name, kind, summary) in _FILES.items():
        content = (FOLDER / name).read_text("utf-8")
        if kind == HTML:
            content = _offering(content, single_sign_on)
            hint = _DIRECTORY_HINT if has_directory else ""
            content = content.replace(_DIRECTORY_MARK, hint)
        yield Route(
            method=HTTPMethod.GET,
            template=path,
            access=Door.PUBLIC,
            handler=_File(content.encode(), kind),
            about=About(summary, gives_media=(kind,)),
        )
    yield Route(
        method=HTTPMethod.GET,
        template="/",
        access=Door.PUBLIC,
        handler=_start,
        about=About("Where to begin", statuses=(HTTPStatus.SEE_OTHER,)),
    )


def _offering(content: str, single_sign_on: str) -> str:
    """Return a page that offers another way to log in, where there is one."""
    for mark, address, words in _OFFERS:
        link = (
            f'<a class="button" href="{address}">{words} {escape(single_sign_on)}</a>'
        )
        content = content.replace(mark, link if single_sign_on else "")
    return content


class _File:
    """One file, small enough to be kept."""

    def __init__(self, content: bytes, kind: str) -> None:
        self._answer = Answer(200, kind, content, {"content-security-policy": POLICY})

    def __call__(self, _call: Call) -> Answer:
        """Answer."""
        return self._answer


def _start(_call: Call) -> Answer:
    return Answer(HTTPStatus.SEE_OTHER, headers={"location": LOGIN})
