"""The reference pages that are made from tables: ``python -m leadglass.cli.reference``.

The pages stand in ``docs/reference``; a test compares them with what is made here,
so no command, option, setting or exit code is without its line, and none lies.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from leadglass.cli.commands import COMMANDS, COMMON, GROUPS, Argument, Command
from leadglass.cli.failures import INTERRUPTED, KINDS, PIPE_CLOSED
from leadglass.config import SECTIONS, Setting, settings

_MADE: Final = (
    "<!-- Made by `python -m leadglass.cli.reference docs/reference`; change the table "
    "it is made from. -->"
)


# ── commands ─────────────────────────────────────────────────────────────────


def commands_page() -> str:
    """Return the page of all commands."""
    lines = [
        "# Commands",
        "",
        _MADE,
        "",
        (
            "`leadglass COMMAND --help` says the same. How scripts use them: "
            "[scripts.md](scripts.md); what they exit with: "
            "[exit-codes.md](exit-codes.md)."
        ),
        "",
        "Every command takes, before or behind its name:",
        "",
        *_arguments(COMMON),
        "",
        "`leadglass --version` prints the version.",
    ]
    group = ""
    for command in COMMANDS:
        found = command.name.rpartition(" ")[0]
        if found and found != group:
            lines += ["", f"## leadglass {found}", "", f"{_sentence(GROUPS[found])}"]
        group = found
        lines += ["", *_command(command, is_in_group=bool(found))]
    return "\n".join(lines) + "\n"


def _command(command: Command, *, is_in_group: bool) -> Iterator[str]:
    yield f"{'###' if is_in_group else '##'} leadglass {command.name}"
    yield ""
    yield " ".join((_sentence(command.help), command.details)).strip()
    if command.arguments:
        yield ""
        yield from _arguments(command.arguments)
    yield ""
    yield f"`--json`: {', '.join(f'`{key}`' for key in command.answer)}."


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _arguments(arguments: tuple[Argument, ...]) -> Iterator[str]:
    yield "| | | |"
    yield "|---|---|---|"
    for each in arguments:
        needed = "needed" if each.is_required else ""
        yield f"| `{_cell(each.usage)}` | {needed} | {_cell(each.help)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


# ── settings ─────────────────────────────────────────────────────────────────


def settings_page() -> str:
    """Return the page of all settings."""
    lines = [
        "# Settings",
        "",
        _MADE,
        "",
        (
            "A value comes, the later winning, from the default, from `leadglass.toml` "
            "in the data folder, from the environment and from the command line. "
            "`leadglass settings` shows what is in force and where it came from; "
            "`leadglass check` tells all that is wrong with it at once. A name that "
            "begins with `unsafe_` weakens a protection, and every one in use is "
            "listed at start, by `check` and by `status`."
        ),
    ]
    section = ""
    for each in settings():
        if each.section != section:
            section = each.section
            first, *_ = (SECTIONS[section].__doc__ or "").splitlines()
            lines += ["", f"## [{section}]", "", first]
        lines += ["", *_setting(each)]
    return "\n".join(lines) + "\n"


def _setting(setting: Setting) -> Iterator[str]:
    yield f"### {setting.name}"
    yield ""
    yield setting.help
    yield ""
    words = [f"{setting.type_name}", f"default `{setting.default_toml}`"]
    if setting.unit:
        words.insert(1, f"in {setting.unit}")
    if setting.choices:
        words.append(f"one of {', '.join(f'`{each}`' for each in setting.choices)}")
    elif setting.low is not None and setting.high is not None:
        words.append(f"{setting.low:.15g} to {setting.high:.15g}")
    yield f"{', '.join(words)}; `{setting.environment}`"


# ── exit codes ───────────────────────────────────────────────────────────────

_MEANINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "usage": "the command line cannot be understood, or an answer was expected",
        "misconfigured": "settings, keys, rules or arguments with problems: all of "
        "them, each with its remedy; `check` found a problem, `scan` a finding of "
        "medium or worse",
        "refused": "no rule allows it",
        "not found": "no such study, device, record or file",
        "conflict": "other bytes under a known SOP Instance UID",
        "damaged": "stored bytes do not verify: never given out; `verify`, "
        "`audit verify`, `rebuild` or `export` found damage",
        "unavailable": "disk, database or node cannot do it now; trying again may help",
        "bad data": "what was given is not what it should be",
        "error": "anything else that we foresee; `import` could not take everything",
        "bug": "a mistake in Leadglass; please report it",
    }
)


def exit_codes_page() -> str:
    """Return the page of exit codes."""
    rows = [(cls.exit_code, kind) for cls, kind in KINDS]
    rows.append((1, "bug"))
    lines = [
        "# Exit codes",
        "",
        _MADE,
        "",
        "| code | `error.kind` | when |",
        "|---|---|---|",
        "| 0 | | it did what was asked |",
        *(f"| {code} | `{kind}` | {_MEANINGS[kind]} |" for code, kind in sorted(rows)),
        f"| {INTERRUPTED} | | interrupted by Ctrl-C |",
        f"| {PIPE_CLOSED} | | nobody reads what it prints |",
        "",
        (
            "Errors stand on standard error, as `leadglass: error: …` and "
            "`leadglass: remedy: …`. With `--json` there is one object on standard "
            "output instead:"
        ),
        "",
        "```json",
        '{"error": {"kind": "not found", "message": "no such study",',
        '  "problems": ["no such study"], "remedy": "…", "exit_code": 4}}',
        "```",
        "",
        "Error texts hold no patient data, so they may go to a log.",
    ]
    return "\n".join(lines) + "\n"


PAGES: Final[Mapping[str, Callable[[], str]]] = MappingProxyType(
    {
        "commands.md": commands_page,
        "settings.md": settings_page,
        "exit-codes.md": exit_codes_page,
    }
)


def write(folder: Path) -> None:
    """Write all pages."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (folder / name).write_text(page(), "utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
