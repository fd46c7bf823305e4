"""The viewer's files, as they lie in the package, for everybody who is somebody.

They hold nothing of any patient. Still nobody is given them who has not logged in:
who finds the port learns nothing of what is behind it.

Files that compress well lie compressed, and go out so; a client that takes nothing
compressed, which no browser is, has them unpacked on the way. Each has its hash as
ETag and is asked for again by it, so a new version is seen at once; those whose name
has their makers' hash in it are asked for again after a day.
"""

import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPMethod, HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Final, Self

from leadglass.errors import Misconfigured, NotFound
from leadglass.servers.http.answers import Answer
from leadglass.servers.http.routes import About, Call, Door, Route

ROOT: Final = "/viewer"
# Where ``assembly/viewer.py`` puts it.
FOLDER: Final = Path(__file__).parent / "dist"
_LIST: Final = "viewer.json"
_FILES: Final = "files"
_CONFIGURATION: Final = "app-config.js"
_PAGE: Final = "index.html"
_PAGE_KIND: Final = "text/html; charset=utf-8"
_SCRIPT_KIND: Final = "text/javascript; charset=utf-8"
# Our own file is small; theirs are read in pieces of this.
_PIECE_BYTES: Final = 256 * 1024
# The viewer keeps its files as deep as this below its root.
_TEMPLATES: Final = ("/", "/{file}", "/{folder}/{file}", "/{folder}/{within}/{file}")
_PARTS: Final = ("folder", "within", "file")
# ``app.bundle.0f6159c501addfe9.js``, ``a34f9d1faa5f3315.woff2``: by content.
_NAMED_BY_HASH: Final = re.compile(r"(?:^|\.)[0-9a-f]{16,64}\.[a-z0-9]+$")
# Not for ever: with the file its policy is kept, which is ours and may change.
_KEPT: Final = "private, max-age=86400, immutable"
# What its files are.
KINDS: Final = (
    *("application/json", "application/wasm", "font/woff2", "image/gif"),
    *("image/jpeg", "image/png", "image/svg+xml", "image/x-icon"),
    *("text/css; charset=utf-8", _PAGE_KIND, _SCRIPT_KIND),
)

# A page of the viewer: nothing from elsewhere, no inline script but the two that its
# makers put in (by hash), no ``eval``. Its styles are made by scripts as it runs.
_PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval' {inline}; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self'; "
    "connect-src 'self' blob: data:; worker-src 'self' blob:; frame-src 'none'; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# A worker takes the policy of its own script's answer. The decoders in the viewer's
# workers are made with ``new Function``; workers have no page and no cookie to read.
_SCRIPT_POLICY: Final = (
    "default-src 'none'; script-src 'self' blob: 'unsafe-eval' 'wasm-unsafe-eval'; "
    "connect-src 'self' blob: data:; worker-src 'self' blob:"
)
# Whatever is no page and no script.
_NO_EVAL: Final = "default-src 'none'; frame-ancestors 'none'"


@dataclass(frozen=True, slots=True)
class Asset:
    """One file.

    Attributes:
        path: Where it lies.
        kind: Media type.
        sha256: Of its content, in hex.
        size_bytes: Of its content.
        stored_bytes: As it lies there.
        is_compressed: It lies there as gzip (RFC 1952).
    """

    path: Path
    kind: str
    sha256: str
    size_bytes: int
    stored_bytes: int
    is_compressed: bool

    @property
    def tag(self) -> str:
        """ETag (RFC 9110 §8.8.3)."""
        return f'"{self.sha256[:32]}"'


@dataclass(frozen=True, slots=True)
class Viewer:
    """What is served under ``ROOT``.

    Attributes:
        files: By name below the root.
        page_policy: Content-Security-Policy of the page.
        configuration: What the viewer is told.
    """

    files: Mapping[str, Asset]
    page_policy: str
    configuration: bytes

    @classmethod
    def load(cls, folder: Path = FOLDER) -> Self:
        """Return the viewer that lies in a folder; an empty one if none does.

        Raises:
            Misconfigured: A part of it is missing: it was not put there whole.
        """
        try:
            listed = json.loads((folder / _LIST).read_text("utf-8"))
        except FileNotFoundError:
            return cls(MappingProxyType({}), _NO_EVAL, b"")
        files = {
            name: Asset(
                path=_place(folder / _FILES, name, each["is_compressed"]),
                kind=each["kind"],
                sha256=each["sha256"],
                size_bytes=each["bytes"],
                stored_bytes=each["stored_bytes"],
                is_compressed=each["is_compressed"],
            )
            for name, each in listed["files"].items()
        }
        for each in files.values():
            if not each.path.is_file() or each.path.stat().st_size != each.stored_bytes:
                raise Misconfigured(
                    f"{folder} is not whole: remove it and make it anew"
                )
        inline = " ".join(f"'{each}'" for each in listed["inline"])
        return cls(
            MappingProxyType(files),
            _PAGE_POLICY.format(inline=inline),
            (Path(__file__).parent / _CONFIGURATION).read_bytes(),
        )

    def routes(self) -> Iterator[Route]:
        """Yield the routes: a page, and files up to some folders deep."""
        for template in _TEMPLATES:
            yield Route(
                method=HTTPMethod.GET,
                template=ROOT + template,
                access=Door.ANYBODY_PROVEN,
                handler=self.answer,
                about=About(
                    "A page or file of the viewer",
                    gives_media=KINDS,
                    statuses=(HTTPStatus.OK, HTTPStatus.NOT_MODIFIED),
                ),
            )

    def answer(self, call: Call) -> Answer:
        """Answer with a file; what has no ending is a page, whatever it is called.

        Raises:
            NotFound: There is no such file.
        """
        parts = [call.path[part] for part in _PARTS if part in call.path]
        name = "/".join(parts)
        if name == _CONFIGURATION and self.files:
            return Answer(200, _SCRIPT_KIND, self.configuration, _headers(_NO_EVAL))
        asset = self.files.get(name)
        if asset is None and "." not in "".join(parts[-1:]):
            asset = self.files.get(_PAGE)
        if asset is None:
            raise NotFound("no such file of the viewer")
        headers = _headers(self._policy(asset)) | {"etag": asset.tag}
        if _NAMED_BY_HASH.search(name):
            headers["cache-control"] = _KEPT
        if asset.tag in call.headers.get("if-none-match", ""):
            return Answer(HTTPStatus.NOT_MODIFIED, headers=headers)
        return _sent(asset, call, headers)

    def _policy(self, asset: Asset) -> str:
        if asset.kind == _PAGE_KIND:
            return self.page_policy
        return _SCRIPT_POLICY if asset.kind == _SCRIPT_KIND else _NO_EVAL


def _headers(policy: str) -> dict[str, str]:
    return {
        "content-security-policy": policy,
        "cache-control": "private, no-cache",
        "vary": "accept-encoding",
    }


def _sent(asset: Asset, call: Call, headers: dict[str, str]) -> Answer:
    """Return a file as the client takes it."""
    if not asset.is_compressed:
        pieces, length = _pieces(asset.path), asset.stored_bytes
    elif "gzip" in call.headers.get("accept-encoding", ""):
        headers["content-encoding"] = "gzip"
        pieces, length = _pieces(asset.path), asset.stored_bytes
    else:
        pieces, length = _unpacked(asset.path), asset.size_bytes
    return Answer(200, asset.kind, pieces, headers, length)


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece


def _unpacked(path: Path) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
    for packed in _pieces(path):
        rest = packed
        while rest:
            yield unpacker.decompress(rest, _PIECE_BYTES)
            rest = unpacker.unconsumed_tail


def _place(folder: Path, name: str, is_compressed: bool) -> Path:
    return folder / (f"{name}.gz" if is_compressed else name)
