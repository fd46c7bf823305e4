"""Links, paths and commands of the documentation are real."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from leadglass.cli.commands import COMMANDS
from leadglass.cli.failures import UsageError
from leadglass.cli.parser import parse
from leadglass.config import SECTIONS, settings

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])

# ``[text](target)`` and ``![text](target)``.
_LINK = re.compile(r"\[[^\]\n]*(?:\n[^\]\n]*)?\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
_CODE = re.compile(r"`([^`\n]+)`")
_PATH = re.compile(
    r"(?:src|tests|docs|bench|requirements|\.ci)/[\w./-]+|[A-Z]{5,}(?:\.md)?$"
)
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
_SETTING = re.compile(rf"({'|'.join(SECTIONS)})\.([a-z_]+)")
# A prompt, then perhaps variables, then our program by its name or its path.
_PROMPT = re.compile(r"^ *[$#] +")
_CALL = re.compile(r"(?:^|[ (\"/])(leadglass [a-z].*)")
# Lines in which our name is another program's word.
_FOREIGN = re.compile(r"useradd|systemctl|pip install|rsync|mkdir|systemd-creds|venv")

# Written by a command, and not in the repository at first.
MADE = {"docs/benchmarks.md"}
# Words that sell. Those of unfinished work are pieced together, so that this file
# does not contain what it forbids.
FORBIDDEN = re.compile(
    "|".join(
        rf"\b{word}\b"
        for word in (
            "seamless(?:ly)?",
            "robust(?:ly)?",
            "cutting[- ]edge",
            "world[- ]class",
            "enterprise[- ]grade",
            "military[- ]grade",
            "state[- ]of[- ]the[- ]art",
            "unhackable",
            "blazing(?:ly)?",
            "effortless(?:ly)?",
            "revolutionary",
            "lorem",
        )
    ),
    re.IGNORECASE,
)
UNFINISHED = re.compile(r"\b(TO" + r"DO|TB" + r"D|FIX" + r"ME)\b")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def text_of(page: Path) -> str:
    return page.read_text("utf-8")


def prose(page: Path) -> str:
    """Return a page without its blocks of code."""
    return _FENCE.sub("", text_of(page))


def anchor(heading: str) -> str:
    """Return the anchor of a heading, as code hosts make it."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    kept = re.sub(r"[^\w\- ]", "", plain.lower())
    return kept.replace(" ", "-")


@cache
def anchors(page: Path) -> set[str]:
    return {anchor(heading) for heading in _HEADING.findall(prose(page))}


def broken_links(page: Path) -> Iterator[str]:
    for target in _LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue  # elsewhere
        path, _, fragment = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.exists():
            yield f"{target}: no such file"
        elif fragment and fragment not in anchors(there):
            yield f"{target}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    assert list(broken_links(page)) == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_paths_exist(page: Path) -> None:
    missing = [
        path
        for code in _CODE.findall(prose(page))
        for found in _PATH.finditer(code)
        if "…" not in code
        and (path := found.group().rstrip("/.")) not in MADE
        and not code.startswith(("LEADGLASS", "/"))
        and "/" in path
        and not (ROOT / path).exists()
    ]
    assert missing == []


def calls(typed: str) -> Iterator[str]:
    """Yield our command lines in one line, those within ``$(…)`` too."""
    inner = re.findall(r"\$\(([^()]*)\)", typed)
    for part in (re.sub(r"\$\([^()]*\)", "X", typed), *inner):
        found = _CALL.search(part)
        if found is not None and not _FOREIGN.search(part):
            yield found[1].split(" | ")[0].strip()


def commands(page: Path) -> Iterator[str]:
    """Yield every command line of ours: in blocks, and whole in the text."""
    for language, block in _FENCE.findall(text_of(page)):
        if language in {"sh", "console"}:
            for line in block.replace("\\\n", " ").splitlines():
                yield from calls(_PROMPT.sub("", line))
    for code in _CODE.findall(prose(page)):
        if re.match(r"leadglass [a-z]", code):
            yield code


ALL_COMMANDS = sorted({(name(page), line) for page in PAGES for line in commands(page)})


def filled(line: str) -> list[str]:
    """Return a line's words; what stands for something is something."""
    words = shlex.split(line.replace("…", ""))[1:]
    return ["1" if word in {"N", "NUMBER"} else word for word in words]


def is_mention(words: list[str]) -> bool:
    """Tell whether a command is only named: without what it needs."""
    return not any(word.startswith("-") for word in words) and len(words) <= 2


@pytest.mark.parametrize(("page", "line"), ALL_COMMANDS)
def test_commands_can_be_typed(page: str, line: str) -> None:
    words = filled(line)
    if {"--help", "--version"} & set(words):
        words = [word for word in words if word not in {"--help", "--version"}]
        assert not words or any(
            each.name.split()[: len(words)] == words or words == ["COMMAND"]
            for each in COMMANDS
        )
        return
    try:
        parse(words)
    except UsageError as error:
        if "required" not in str(error) or not is_mention(words):
            pytest.fail(f"{page}: {line}: {error}")


def test_there_are_commands_to_look_at() -> None:
    assert len(ALL_COMMANDS) > 40


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_settings_exist(page: Path) -> None:
    known = {setting.name for setting in settings()}
    unknown = {
        code
        for code in _CODE.findall(prose(page))
        if _SETTING.fullmatch(code)
        and code not in known
        and not code.endswith((".py", ".md", ".toml", ".pem"))
    }
    assert unknown == set()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_words(page: Path) -> None:
    for pattern in (FORBIDDEN, UNFINISHED):
        found = pattern.search(text_of(page))
        assert found is None, found and found.group()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_tests_that_are_named_exist(page: Path) -> None:
    missing = [
        f"{path}::{test}"
        for path, test in _TEST.findall(text_of(page))
        if not re.search(rf"def {test}\b", (ROOT / path).read_text("utf-8"))
    ]
    assert missing == []


def test_the_map_has_every_page() -> None:
    index = DOCS / "index.md"
    linked = {
        (DOCS / target.partition("#")[0]).resolve()
        for target in _LINK.findall(text_of(index))
    }
    pages = {page for page in DOCS.rglob("*.md") if page != index}
    assert {name(page) for page in pages - linked} <= MADE


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = [int(page.name[:4]) for page in sorted((DOCS / "adr").glob("*.md"))]
    assert numbers == list(range(1, len(numbers) + 1))
    for page in (DOCS / "adr").glob("*.md"):
        text = text_of(page)
        assert text.startswith(f"# {int(page.name[:4])}. ")
        for part in ("Status: ", "## Context", "## Decision", "## Consequences"):
            assert part in text, f"{page.name}: {part}"
