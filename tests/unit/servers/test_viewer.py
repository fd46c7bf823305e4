"""The viewer's files: to whom, how, and what a page of it may do."""

import gzip
import json
from collections.abc import Mapping
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path

import pytest

from leadglass.errors import Misconfigured, NotFound
from leadglass.servers.http.answers import Answer
from leadglass.servers.http.headers import Headers
from leadglass.servers.http.routes import Call, Door, Routes
from leadglass.servers.viewer.assets import Viewer

PAGE = b"<html><script>1</script></html>"
SCRIPT = b"let a = 1;\n" * 50_000
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(1000)
FILES = {
    "index.html": ("text/html; charset=utf-8", PAGE),
    "app.js": ("text/javascript; charset=utf-8", SCRIPT),
    "1.bundle.0f6159c501addfe9.js": ("text/javascript; charset=utf-8", b"let b;"),
    "assets/images/a.png": ("image/png", PICTURE),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    listed = {}
    for name, (kind, content) in FILES.items():
        is_compressed = not name.endswith(".png")
        path = tmp_path / "files" / (f"{name}.gz" if is_compressed else name)
        path.parent.mkdir(parents=True, exist_ok=True)
        stored = gzip.compress(content) if is_compressed else content
        path.write_bytes(stored)
        listed[name] = {
            "kind": kind,
            "sha256": sha256(content).hexdigest(),
            "bytes": len(content),
            "stored_bytes": len(stored),
            "is_compressed": is_compressed,
        }
    text = json.dumps({"package": "x", "inline": ["sha256-abc="], "files": listed})
    (tmp_path / "viewer.json").write_text(text)
    return tmp_path


def ask(viewer: Viewer, path: str, headers: Mapping[str, str] = {}) -> Answer:
    [(route, parameters)] = Routes(viewer.routes()).find(path).values()
    assert route.access is Door.ANYBODY_PROVEN
    assert route.handler is not None
    return route.handler(
        Call(
            method="GET",
            path=parameters,
            query=(),
            headers=Headers.of(dict(headers)),
            base="https://localhost",
            target=path,
            address=ip_address("127.0.0.1"),
            channel="TLSv1.3",
            request_id="0",
            proven=None,
        )
    )


def body(answer: Answer) -> bytes:
    content = answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)
    assert answer.length_bytes in {None, len(content)}
    return content


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("encoding", ["", "gzip, br", "identity"])
def test_a_file_comes_whole_whatever_the_client_takes(
    folder: Path, name: str, encoding: str
) -> None:
    answer = ask(Viewer.load(folder), f"/viewer/{name}", {"accept-encoding": encoding})
    kind, content = FILES[name]
    assert answer.media_type == kind
    got = body(answer)
    if answer.headers.get("content-encoding") == "gzip":
        assert "gzip" in encoding
        got = gzip.decompress(got)
    assert got == content


def test_what_was_had_is_not_sent_again(folder: Path) -> None:
    viewer = Viewer.load(folder)
    tag = ask(viewer, "/viewer/app.js").headers["etag"]
    again = ask(viewer, "/viewer/app.js", {"if-none-match": tag})
    assert (again.status, again.body) == (304, b"")
    assert ask(viewer, "/viewer/app.js", {"if-none-match": '"other"'}).status == 200


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("1.bundle.0f6159c501addfe9.js", "private, max-age=86400, immutable"),
        ("app.js", "private, no-cache"),
        ("", "private, no-cache"),
        ("app-config.js", "private, no-cache"),
    ],
)
def test_only_what_is_named_by_its_content_is_kept_unasked(
    folder: Path, name: str, kept: str
) -> None:
    answer = ask(Viewer.load(folder), f"/viewer/{name}")
    assert answer.headers["cache-control"] == kept


@pytest.mark.parametrize("path", ["/viewer/", "/viewer/viewer", "/viewer/a/b"])
def test_addresses_within_the_viewer_are_its_page(folder: Path, path: str) -> None:
    assert body(ask(Viewer.load(folder), path)) == PAGE


def test_a_page_runs_nothing_inline_and_nothing_from_elsewhere(folder: Path) -> None:
    viewer = Viewer.load(folder)
    policy = ask(viewer, "/viewer/").headers["content-security-policy"]
    scripts = next(each for each in policy.split("; ") if each.startswith("script-src"))
    assert scripts == "script-src 'self' 'wasm-unsafe-eval' 'sha256-abc='"
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "http" not in policy
    picture = ask(viewer, "/viewer/assets/images/a.png")
    assert "script-src" not in picture.headers["content-security-policy"]


@pytest.mark.parametrize(
    "path",
    [
        "/viewer/other.js",
        "/viewer/..%2Fviewer.json",
        "/viewer/%2e%2e/viewer.json",
        "/viewer/files/app.js.gz",
        "/viewer/app.js.gz",
        "/viewer/%2Fetc%2Fhosts.d",
    ],
)
def test_nothing_else_is_a_file(folder: Path, path: str) -> None:
    with pytest.raises(NotFound):
        ask(Viewer.load(folder), path)


def test_without_a_viewer_there_is_no_page(tmp_path: Path) -> None:
    for path in ("/viewer/", "/viewer/app-config.js"):
        with pytest.raises(NotFound):
            ask(Viewer.load(tmp_path), path)


@pytest.mark.parametrize("how", ["missing", "short"])
def test_half_a_viewer_is_none(folder: Path, how: str) -> None:
    path = folder / "files/app.js.gz"
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Misconfigured, match="not whole"):
        Viewer.load(folder)


def test_what_the_viewer_is_told_names_no_other_place(folder: Path) -> None:
    answer = ask(Viewer.load(folder), "/viewer/app-config.js")
    text = body(answer).decode()
    assert "://" not in text
    assert "/dicom-web" in text
