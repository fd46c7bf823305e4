"""The reference pages say what the tables say."""

import argparse
from pathlib import Path

import pytest

from leadglass.cli import parser, reference
from leadglass.cli.commands import COMMANDS
from leadglass.cli.failures import KINDS
from leadglass.config import settings

PAGES = Path(__file__).parents[3] / "docs" / "reference"
SCRIPTED = (
    *("init", "serve", "devices enrol", "users add", "tokens add", "rules test"),
    *("studies list", "verify", "audit evidence", "witness cosign"),
)


@pytest.mark.parametrize("name", reference.PAGES)
def test_the_page_is_as_it_is_made(name: str) -> None:
    page = (PAGES / name).read_text("utf-8")
    assert page == reference.PAGES[name](), (
        "run: python -m leadglass.cli.reference docs/reference"
    )


def options(built: argparse.ArgumentParser, name: str = "") -> dict[str, set[str]]:
    """Return what the parser itself takes, by command."""
    found: dict[str, set[str]] = {}
    for action in built._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, each in action.choices.items():
                found |= options(each, f"{name} {word}".strip())
    if not found:
        found[name] = set(built._option_string_actions) - {"-h", "--help"}
    return found


def test_every_command_and_option_of_the_parser_is_on_the_page() -> None:
    page = (PAGES / "commands.md").read_text("utf-8")
    common, *sections = page.split("\n## leadglass ")
    parts = [part for each in sections for part in each.split("\n### leadglass ")]
    told = {part.splitlines()[0]: part for part in parts}
    found = options(parser.build())
    assert set(found) <= set(told)
    assert {each.name for each in COMMANDS} == set(found)
    for name, names in found.items():
        for option in names:
            assert f"`{option}" in told[name] + common, (name, option)


def test_every_setting_is_on_the_page() -> None:
    page = (PAGES / "settings.md").read_text("utf-8")
    for each in settings():
        assert f"### {each.name}\n" in page
        assert each.environment in page


def test_every_kind_of_error_is_on_the_page() -> None:
    page = (PAGES / "exit-codes.md").read_text("utf-8")
    for cls, kind in KINDS:
        assert f"| {cls.exit_code} | `{kind}` |" in page


def test_pages_are_written(tmp_path: Path) -> None:
    reference.write(tmp_path / "new")
    assert {each.name for each in (tmp_path / "new").iterdir()} == set(reference.PAGES)


def test_scripts_are_told_of_every_key() -> None:
    page = (PAGES / "scripts.md").read_text("utf-8")
    for name in SCRIPTED:
        command = next(each for each in COMMANDS if each.name == name)
        for key in command.answer:
            assert f"`{key}`" in page, (name, key)
