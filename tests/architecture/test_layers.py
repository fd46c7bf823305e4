"""The arrows of the house: what may import what.

The table is the architecture as the design states it; ``ls src/leadglass`` shows
the same names. A new folder must be given its place here before it can import.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "leadglass"

# Each layer may import those above it, never its own peers and never those below.
LAYERS = (
    {"__init__"},
    {"errors"},
    {"config"},
    {"dicom"},
    {"wire", "access"},
    {"database"},
    {"identity", "vault", "index", "audit", "pixels"},
    {"archive"},
    {"assurance"},
    {"servers", "gateway"},
    {"app"},
    {"cli"},
    {"__main__"},
)
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}

# Waiting, clocks and logs are for shells; these are functions of values.
PURE = {"errors", "dicom", "wire", "access"}
IMPURE = {
    "asyncio",
    "logging",
    "multiprocessing",
    "os",
    "selectors",
    "shutil",
    "socket",
    "sqlite3",
    "ssl",
    "subprocess",
    "tempfile",
    "threading",
    "time",
}

# One way in, one way out: a door reaches images and index through `archive` alone,
# and the proxy in front of a foreign archive keeps nothing.
OUT_OF_REACH = {
    "servers": {"vault", "index", "database"},
    "gateway": {"vault", "index", "database"},
}

# A driver is known to the one folder that wraps it.
DRIVERS = {
    "sqlcipher3": {"database"},
    "alembic": {"database"},
    "sqlalchemy": {"database", "identity", "index", "audit", "archive", "assurance"},
    "imagecodecs": {"pixels"},
    "rich": {"cli"},
    "argon2": {"identity"},
    "webauthn": {"identity"},
    "joserfc": {"identity"},
    "ldap3": {"identity"},
    "segno": {"servers", "cli"},
    "jinja2": {"servers", "assurance"},
    "reportlab": {"assurance"},
    "httptools": {"servers"},
}

# Foreign peers prove us in tests and benchmarks; the product does not stand on them.
TEST_ONLY = {"httpx", "pynetdicom", "pytest", "hypothesis", "tink", "unittest"}


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module, as dotted parts, and where it stands."""

    parts: tuple[str, ...]
    line: int
    in_function: bool

    @property
    def root(self) -> str:
        return self.parts[0]

    @property
    def folder(self) -> str | None:
        """The part of Leadglass that is imported; None for anything else."""
        if self.root != "leadglass":
            return None
        return self.parts[1] if len(self.parts) > 1 else "__init__"


def from_parts(node: ast.ImportFrom, package: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return what one ``from … import …`` imports, relative dots resolved.

    ``from leadglass import vault`` imports a folder by name, ``from
    leadglass.vault import keys`` by module: both yield the folder.
    """
    stem: tuple[str, ...] = ()
    if node.level:
        stem = package[: len(package) - node.level + 1]
    base = stem + tuple(node.module.split(".") if node.module else ())
    if base != ("leadglass",):
        return [base]
    return [(*base, alias.name) if alias.name in RANK else base for alias in node.names]


def imports(tree: ast.AST, package: tuple[str, ...]) -> Iterator[Import]:
    """Yield every import of a module, those inside functions too."""
    stack: list[tuple[ast.AST, bool]] = [(tree, False)]
    while stack:
        node, inside = stack.pop()
        found: list[tuple[str, ...]] = []
        if isinstance(node, ast.Import):
            found = [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found = from_parts(node, package)
        for parts in found:
            yield Import(parts, getattr(node, "lineno", 0), inside)
        within = inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        stack.extend((child, within) for child in ast.iter_child_nodes(node))


def of_module(module: Path) -> list[Import]:
    package = ("leadglass", *module.relative_to(SOURCE).parts[:-1])
    return list(imports(ast.parse(module.read_text("utf-8")), package))


def home(module: Path) -> str:
    """Return the name in the table that a module belongs to."""
    return module.relative_to(SOURCE).parts[0].removesuffix(".py")


def broken_rules(here: str, found: list[Import]) -> Iterator[str]:
    """Yield a sentence for every import that points the wrong way."""
    for each in found:
        where = f"line {each.line}: {here} imports {'.'.join(each.parts)}"
        folder = each.folder
        if folder is not None and folder != here:
            if RANK.get(folder, len(LAYERS)) >= RANK[here]:
                yield f"{where}, which is beside or below it"
            if folder in OUT_OF_REACH.get(here, ()):
                yield f"{where}, which only the use cases may reach"
        if folder is not None and each.in_function and here not in {"app", "cli"}:
            yield f"{where} inside a function: cycles are not dodged, they are cut"
        if here in PURE and each.root in IMPURE:
            yield f"{where}, but it is pure"
        if each.root in DRIVERS and here not in DRIVERS[each.root]:
            yield f"{where}, a driver that is wrapped elsewhere"
        if each.root in TEST_ONLY:
            yield f"{where}, a foreign peer or test tool"


MODULES = sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(SOURCE)))
def test_imports_follow_the_table(module: Path) -> None:
    here = home(module)
    assert here in RANK, f"{here} has no place in the table of layers"
    assert list(broken_rules(here, of_module(module))) == []


def judged(here: str, source: str) -> list[str]:
    package = ("leadglass", here)
    return list(broken_rules(here, list(imports(ast.parse(source), package))))


@pytest.mark.parametrize(
    ("here", "source"),
    [
        ("dicom", "from leadglass.wire import pdus"),
        ("wire", "import leadglass.access.policy"),
        ("vault", "from leadglass import index"),
        ("vault", "from ..index import query"),
        ("archive", "from leadglass.notyetthere import thing"),
        ("servers", "from leadglass.vault.blobs import BlobStore"),
        ("gateway", "from leadglass import index"),
        ("archive", "def f():\n    from leadglass.vault import keys"),
        ("wire", "import time"),
        ("access", "from logging import getLogger"),
        ("servers", "import pynetdicom"),
        ("servers", "from sqlalchemy import select"),
    ],
)
def test_a_wrong_arrow_is_seen(here: str, source: str) -> None:
    assert judged(here, source)


@pytest.mark.parametrize(
    ("here", "source"),
    [
        ("archive", "from leadglass.vault.blobs import BlobStore"),
        ("vault", "from leadglass.vault.keys import Keyring"),
        ("vault", "from . import keys"),
        ("servers", "import socket"),
        ("cli", "def f():\n    from leadglass import app"),
        ("dicom", "from leadglass import __version__"),
    ],
)
def test_a_right_arrow_is_let_through(here: str, source: str) -> None:
    assert judged(here, source) == []
