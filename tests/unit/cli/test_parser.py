"""The table of commands and the parser that is made from it."""

import argparse
from pathlib import Path

import pytest

from leadglass.cli import failures, parser
from leadglass.cli.commands import COMMANDS, COMMON, Command

CLI = Path(parser.__file__).parent

# Something that each command accepts.
OPERANDS = {"number": "3", "file": "x"}
OPTIONS = {"--may": "store", "--limit": "1"}


def words_of(command: Command) -> list[str]:
    words = command.name.split()
    operands = [a for a in command.arguments if not a.names[0].startswith("-")]
    words += [OPERANDS.get(a.names[0], "x") for a in operands]
    for each in command.arguments:
        if each.names[0].startswith("-") and each.is_required:
            words += [each.names[0], OPTIONS.get(each.names[0], "x")]
    return words


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c.name)
def test_each_command_is_found(command: Command) -> None:
    found, arguments = parser.parse(words_of(command))
    assert found is command
    assert (arguments.json, arguments.home) == (False, None)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c.name)
def test_each_handler_is_there(command: Command) -> None:
    module, _, function = command.handler.partition(":")
    assert f"def {function}(" in (CLI / f"{module}.py").read_text("utf-8")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c.name)
def test_each_command_says_what_json_has(command: Command) -> None:
    assert command.answer
    assert len(set(command.answer)) == len(command.answer)


def test_names_are_unique() -> None:
    assert len({each.name for each in COMMANDS}) == len(COMMANDS)


@pytest.mark.parametrize(
    "given",
    [
        ["--json", "--home", "/h", "status"],
        ["status", "--json", "--home", "/h"],
        ["--json", "status", "--home", "/h"],
    ],
)
def test_common_options_stand_before_or_behind(given: list[str]) -> None:
    _, arguments = parser.parse(given)
    assert arguments.json is True
    assert arguments.home == "/h"


def test_common_options_stand_behind_the_name_of_a_group() -> None:
    _, arguments = parser.parse(["devices", "--json", "list"])
    assert arguments.json is True


def test_several_values_are_gathered() -> None:
    _, arguments = parser.parse(
        [
            "devices",
            "enrol",
            "CT1",
            "--ae",
            "A",
            "B",
            "--ae",
            "C",
            "--from",
            "10.0.0.1",
            "--may",
            "store",
        ]
    )
    assert arguments.ae == ["A", "B", "C"]
    assert arguments.networks == ["10.0.0.1"]


@pytest.mark.parametrize(
    "given",
    [
        ["nonsense"],
        ["devices"],
        ["devices", "enrol"],
        ["erase", "1.2.3"],
        ["status", "--jso"],  # no abbreviations: scripts would grow on them
        ["audit", "prove", "many"],
    ],
)
def test_what_cannot_be_understood_is_a_usage_error(given: list[str]) -> None:
    with pytest.raises(failures.UsageError) as told:
        parser.parse(given)
    assert told.value.exit_code == 2
    assert "--help" in told.value.remedy


def test_nothing_is_no_command() -> None:
    assert parser.parse([])[0] is None


def test_a_lists_default_is_not_shared() -> None:
    first = parser.parse(["audit", "verify", "--witnessed", "a"])[1]
    second = parser.parse(["audit", "verify"])[1]
    assert (first.witnessed, second.witnessed) == (["a"], [])


def test_every_command_takes_the_common_options() -> None:
    built = parser.build()
    names = {name for each in COMMON for name in each.names}
    for each in leaves(built):
        assert names <= set(each._option_string_actions)


def leaves(built: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    found = []
    for action in built._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                found += leaves(each)
    return found or [built]
