"""The pages for logging in, enrolling and one's own proofs.

They are the same for everybody and hold nothing of anybody: what is somebody's comes
by the script, from the interface that programs use, too. So they are public, as a
login page has to be.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPMethod, HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from leadglass.servers.http.answers import Answer
from leadglass.servers.http.guard import LOGIN
from leadglass.servers.http.routes import About, Call, Door, Route
from leadglass.servers.web.pages import wanted
from leadglass.servers.web.texts import Texts

FOLDER: Final = Path(__file__).parent / "files"
# Where a login by a provider begins.
BEGIN: Final = "/oidc/begin"
# The parameter of a beginning that asks for a proof of now.
ANEW: Final = ("anew", "yes")
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


def routes(
    texts: Texts, single_sign_on: str = "", *, has_directory: bool = False
) -> Iterator[Route]:
    """Yield the routes of the pages.

    Args:
        texts: What they say in other languages.
        single_sign_on: What people call it; empty: there is none.
        has_directory: Whether some come with a password of a directory.
    """
    spoken = Spoken(texts)
    # The second step is the same for everybody, known or not; whoever needs no code is
    # told so before, all alike.
    values = {
        "single_sign_on": single_sign_on,
        "begin": BEGIN,
        "begin_anew": f"{BEGIN}?{ANEW[0]}={ANEW[1]}",
        "has_directory": has_directory,
    }
    for path, (name, kind, summary) in _FILES.items():
        handler = (
            spoken.page(name, values)
            if kind == HTML
            else _File((FOLDER / name).read_bytes(), kind)
        )
        yield Route(
            method=HTTPMethod.GET,
            template=path,
            access=Door.PUBLIC,
            handler=handler,
            about=About(summary, gives_media=(kind,)),
        )
    yield Route(
        method=HTTPMethod.GET,
        template="/",
        access=Door.PUBLIC,
        handler=_start,
        about=About("Where to begin", statuses=(HTTPStatus.SEE_OTHER,)),
    )


class Spoken:
    """Pages that hold nothing of anybody: made once for each language."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts
        self._environment = Environment(
            loader=FileSystemLoader(FOLDER),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def page(self, name: str, values: Mapping[str, object]) -> "Page":
        """Return a page in all languages; sentences among the values are marked."""
        template = self._environment.get_template(name)
        contents = {}
        for language in self._texts.languages:
            text = self._texts.of(language)
            shown = {
                key: text(value.english) if isinstance(value, Sentence) else value
                for key, value in values.items()
            }
            made = template.render(_=text, language=text.language, **shown)
            contents[language] = made.encode()
        return Page(self._texts, MappingProxyType(contents))


@dataclass(frozen=True, slots=True)
class Sentence:
    """Something that is said in the reader's language."""

    english: str


@dataclass(frozen=True, slots=True)
class Page:
    """A page in all languages.

    Attributes:
        texts: Knows which of them a reader wants.
        contents: By language.
    """

    texts: Texts
    contents: Mapping[str, bytes]

    def __call__(self, call: Call, status: int = HTTPStatus.OK) -> Answer:
        """Answer in the reader's language."""
        language = wanted(call, self.texts).language
        headers = {
            "content-security-policy": POLICY,
            "vary": "accept-language, cookie",
        }
        return Answer(status, HTML, self.contents[language], headers)


class _File:
    """One file, small enough to be kept."""

    def __init__(self, content: bytes, kind: str) -> None:
        self._answer = Answer(200, kind, content, {"content-security-policy": POLICY})

    def __call__(self, _call: Call) -> Answer:
        """Answer."""
        return self._answer


def _start(_call: Call) -> Answer:
    return Answer(HTTPStatus.SEE_OTHER, headers={"location": LOGIN})
