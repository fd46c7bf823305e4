"""Scripts and sheets of the pages: ours, and what ``assembly/scripts.py`` gets."""

import hashlib
from collections.abc import Iterator
from http import HTTPMethod, HTTPStatus
from pathlib import Path
from typing import Final

from leadglass.errors import NotFound
from leadglass.servers.http.answers import Answer
from leadglass.servers.http.routes import About, Call, Door, Route

ROOT: Final = "/web"
FOLDER: Final = Path(__file__).parent / "files"
# Where the assembly puts libraries of others.
LIBRARIES: Final = Path(__file__).parent / "dist"
KINDS: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class Files:
    """Small files, held in memory: some hundred KB in all."""

    def __init__(self) -> None:
        """Read them all; libraries that were not put there are not found later."""
        self._answers: dict[str, Answer] = {}
        for folder in (LIBRARIES, FOLDER):
            for path in sorted(folder.glob("*.*")):
                if path.suffix in KINDS:
                    self._answers[path.name] = _answer(path)

    def routes(self) -> Iterator[Route]:
        """Yield their route."""
        yield Route(
            method=HTTPMethod.GET,
            template=ROOT + "/{file}",
            access=Door.ANYBODY_PROVEN,
            handler=self.answer,
            about=About(
                "A script or a sheet of the pages",
                gives_media=tuple(KINDS.values()),
                statuses=(HTTPStatus.OK, HTTPStatus.NOT_MODIFIED),
            ),
        )

    def answer(self, call: Call) -> Answer:
        """Answer with a file.

        Raises:
            NotFound: There is no such file.
        """
        found = self._answers.get(call.path["file"])
        if found is None:
            raise NotFound("no such file of the pages")
        if found.headers["etag"] in call.headers.get("if-none-match", ""):
            return Answer(HTTPStatus.NOT_MODIFIED, headers=found.headers)
        return found


def _answer(path: Path) -> Answer:
    content = path.read_bytes()
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    return Answer(
        HTTPStatus.OK,
        KINDS[path.suffix],
        content,
        {"cache-control": "private, no-cache", "etag": tag},
    )
