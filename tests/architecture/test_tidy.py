"""Habits of the house that a reader would otherwise have to watch for."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "leadglass"
HERE = Path(__file__).resolve()

# A function that does not fit on a screen does more than one thing.
FUNCTION_LINES_MAX = 80

# A migration is one list of statements, written once and never changed.
LISTS = SOURCE / "database" / "migrations" / "versions"

# Folders named after nothing collect everything.
NAMELESS = {"utils", "util", "helpers", "common", "misc", "lib"}

# A test runs, or it fails; what it stands in for is a fake that passes the port's
# contract suite, not a recording of our own expectations.
TEST_ESCAPES = {"skip", "skipif", "skipUnless", "skipIf", "importorskip", "xfail"}
MOCKS = {"mock", "unittest.mock", "pytest_mock", "mocker", "doublex", "flexmock"}

# Unfinished work is told in the changelog or not merged.
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")

# Where a text was written, or fetched from, is nobody's business. Pieced together,
# so that this file does not contain what it forbids.
PLACES = re.compile(
    "|".join(
        (
            r"(?<![\w.])/(work|root)" + "/",
            r"\.library" + "/",
            r"\bpy" + r"pi\.org",
            r"\bpython" + r"hosted\.org",
            r"\bregistry\.npm" + r"js\.org",
            r"\bdeb\.deb" + r"ian\.org",
        )
    )
)
TEXT_SUFFIXES = {".cfg", ".ini", ".md", ".py", ".sh", ".toml", ".txt", ".yaml", ".yml"}
TEXT_FOLDERS = ("src", "tests", "bench", "docs", "requirements", ".ci")


def texts() -> Iterator[Path]:
    """Yield every text of the project, without what was built or fetched."""
    for folder in TEXT_FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in TEXT_SUFFIXES and path.is_file() and path != HERE:
                yield path
    for path in sorted(ROOT.iterdir()):
        if path.is_file() and (path.suffix in TEXT_SUFFIXES or path.name == "Makefile"):
            yield path


def modules(*folders: Path) -> list[Path]:
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def names(path: Path) -> str:
    return str(path.relative_to(ROOT))


PRODUCT = modules(SOURCE)
TESTS = modules(ROOT / "tests")
EVERY_PYTHON = modules(SOURCE, ROOT / "tests", ROOT / "bench")


@pytest.mark.parametrize("module", PRODUCT + modules(ROOT / "bench"), ids=names)
def test_a_module_says_what_it_is_for(module: Path) -> None:
    tree = ast.parse(module.read_text("utf-8"))
    assert ast.get_docstring(tree), "no module docstring"


@pytest.mark.parametrize("module", EVERY_PYTHON, ids=names)
def test_a_module_has_a_name(module: Path) -> None:
    assert not {part.removesuffix(".py") for part in module.parts[-3:]} & NAMELESS


@pytest.mark.parametrize("module", PRODUCT, ids=names)
def test_functions_fit_on_a_screen(module: Path) -> None:
    long = [
        f"{node.name} has {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(module.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno >= FUNCTION_LINES_MAX
    ]
    assert long == [] or module.is_relative_to(LISTS)


@pytest.mark.parametrize("module", PRODUCT, ids=names)
def test_nothing_is_a_stub(module: Path) -> None:
    text = module.read_text("utf-8")
    assert "NotImplementedError" not in text
    assert UNFINISHED.search(text) is None


def escapes(tree: ast.AST) -> Iterator[str]:
    """Yield each way round a test: skipping, expecting failure, mocking."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (
            node.attr == "skipTest"
            or (
                node.attr in TEST_ESCAPES
                and ast.unparse(node.value) in {"pytest", "pytest.mark", "unittest"}
            )
        ):
            yield f"line {node.lineno}: {node.attr}"
        elif isinstance(node, ast.Import):
            yield from (
                f"line {node.lineno}: {alias.name}"
                for alias in node.names
                if alias.name in MOCKS
            )
        elif isinstance(node, ast.ImportFrom):
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            bare = {alias.name for alias in node.names} & TEST_ESCAPES
            found = (whole | {node.module or ""}) & MOCKS
            if node.module in {"pytest", "unittest"}:
                found |= bare
            yield from (f"line {node.lineno}: {each}" for each in sorted(found))
        elif isinstance(node, ast.arg) and node.arg == "mocker":
            yield f"line {node.lineno}: mocker"


@pytest.mark.parametrize("module", TESTS, ids=names)
def test_no_test_escapes(module: Path) -> None:
    assert list(escapes(ast.parse(module.read_text("utf-8")))) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pytest\n@pytest.mark.skip\ndef f(): ...",
        "pytest.mark.skipif(True, reason='')",
        "from pytest import skip",
        "pytest.importorskip('x')",
        "@pytest.mark.xfail\ndef f(): ...",
        "from unittest import mock",
        "from unittest.mock import Mock",
        "def test(mocker): ...",
    ],
)
def test_an_escape_is_seen(source: str) -> None:
    assert list(escapes(ast.parse(source)))


@pytest.mark.parametrize("module", TESTS, ids=names)
def test_unit_tests_do_not_sleep(module: Path) -> None:
    slept = [
        node.lineno
        for node in ast.walk(ast.parse(module.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "sleep"
    ]
    assert slept == [] or not module.is_relative_to(ROOT / "tests" / "unit")


@pytest.mark.parametrize("path", list(texts()), ids=names)
def test_texts_name_no_place_of_their_making(path: Path) -> None:
    found = PLACES.search(path.read_text("utf-8"))
    assert found is None, found and found.group()


LOCKS = sorted(
    path
    for path in (ROOT / "requirements").glob("*.txt")
    if not path.name.startswith("debian-")
)


@pytest.mark.parametrize("path", LOCKS, ids=names)
def test_every_pin_has_hashes_and_no_address(path: Path) -> None:
    text = path.read_text("utf-8")
    assert "://" not in text
    pins = [line for line in text.splitlines() if re.match(r"[a-z0-9].*==", line)]
    assert pins
    assert all(line.endswith("\\") for line in pins)
