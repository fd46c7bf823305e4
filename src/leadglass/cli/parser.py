"""From what was typed to a command and its arguments; made from the table."""

import argparse
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from leadglass import __version__
from leadglass.cli.commands import COMMANDS, COMMON, GROUPS, Argument, Command
from leadglass.cli.failures import UsageError


class _Parser(argparse.ArgumentParser):
    """Raises where argparse would print and exit: errors have one form here."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"`{self.prog} --help` says what can be typed")


def build() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = _Parser(
        prog="leadglass",
        description="A PACS that cannot be left exposed by accident, and can prove it.",
        epilog="`leadglass COMMAND --help` explains a command; start with "
        "`leadglass serve`.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action="version", version=f"%(prog)s {__version__}"
    )
    _add(parser, COMMON)
    parser.set_defaults(command=None, json=False, home=None)
    subparsers = parser.add_subparsers(metavar="COMMAND", title="commands")
    groups: dict[str, Any] = {}
    for command in COMMANDS:
        group, _, name = command.name.rpartition(" ")
        if group and group not in groups:
            outer = groups.get(group.rpartition(" ")[0], subparsers)
            groups[group] = _group(outer, group)
        _add_command(groups[group] if group else subparsers, name, command)
    return parser


def _group(subparsers: Any, name: str) -> Any:
    parser = subparsers.add_parser(
        name.rpartition(" ")[2],
        help=GROUPS[name],
        description=GROUPS[name],
        allow_abbrev=False,
    )
    _add(parser, COMMON)
    return parser.add_subparsers(metavar="COMMAND", title="commands", required=True)


def _add_command(subparsers: Any, name: str, command: Command) -> None:
    parser = subparsers.add_parser(
        name,
        help=command.help,
        description=" ".join((command.help + ".", command.details)).strip(),
        allow_abbrev=False,
    )
    _add(parser, (*command.arguments, *COMMON))
    parser.set_defaults(command=command)


def _add(parser: argparse.ArgumentParser, arguments: Iterable[Argument]) -> None:
    for each in arguments:
        parser.add_argument(*each.names, help=each.help, **each.keywords)


def parse(given: Sequence[str]) -> tuple[Command | None, argparse.Namespace]:
    """Return the command that was typed, and its arguments.

    Raises:
        UsageError: It is none of ours, or not complete.
    """
    arguments = build().parse_args(given)
    return arguments.command, arguments
