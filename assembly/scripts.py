"""Get the libraries of the pages: ``python assembly/scripts.py [--tests FOLDER]``.

htmx (0BSD) fetches parts of pages, uPlot (MIT) draws charts; with ``--tests``, axe-core
(MPL-2.0), which judges pages in tests and is no part of any wheel. None is part of
this repository: this takes the packages that are named here, checks each against its
hash, and puts the few files that are served into a folder. Nothing of them is run.
"""

import json
import shutil
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from viewer import fetched

FOLDER: Final = Path(__file__).parent.parent / "src/leadglass/servers/web/dist"
LIST: Final = "scripts.json"


@dataclass(frozen=True)
class Library:
    """A package of npm, and which of its files are taken, under which names."""

    package: str
    integrity: str
    files: dict[str, str]


SERVED: Final = (
    Library(
        "htmx.org@4.0.1",
        "sha512-oF7JgXhDW9UXCy/k1ZYFUQgzu/rm19ORWPSPNL91vPluB2PB9+MV55tyQdH/w7o2"
        "EAbTYUG5SDW1R60mdkdqGg==",
        {"dist/htmx.min.js": "htmx.min.js", "LICENSE": "htmx.LICENSE"},
    ),
    Library(
        "uplot@1.6.32",
        "sha512-KIMVnG68zvu5XXUbC4LQEPnhwOxBuLyW1AHtpm6IKTXImkbLgkMy+jabjLgSLMas"
        "NuGGzQm/ep3tOkyTxpiQIw==",
        {
            "dist/uPlot.iife.min.js": "uplot.min.js",
            "dist/uPlot.min.css": "uplot.min.css",
            "LICENSE": "uplot.LICENSE",
        },
    ),
)
TESTS: Final = (
    Library(
        "axe-core@4.14.1",
        "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASy"
        "FNNtuFooJpZe37OgudVGtQ==",
        {"axe.min.js": "axe.min.js", "LICENSE": "axe.LICENSE"},
    ),
)


def put(library: Library, folder: Path) -> None:
    """Put the files of a package into a folder."""
    with tempfile.TemporaryDirectory() as scratch:
        package = fetched(Path(scratch), library.package, library.integrity)
        with tarfile.open(package) as archive:
            for name, served in library.files.items():
                file = archive.extractfile(f"package/{name}")
                assert file is not None  # it is a file
                (folder / served).write_bytes(file.read())


def build(folder: Path, libraries: tuple[Library, ...] = SERVED) -> None:
    """Put libraries into a folder, unless these very ones are there."""
    wanted = [each.package for each in libraries]
    try:
        if json.loads((folder / LIST).read_text("utf-8")) == wanted:
            return
    except (OSError, ValueError):
        pass  # there are none, or a part of them
    print(f"getting {' and '.join(wanted)}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for library in libraries:
        put(library, folder)
    (folder / LIST).write_text(json.dumps(wanted), "utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--tests"]:
        build(Path(sys.argv[2]), TESTS)
    else:
        build(FOLDER)
