"""What a command says when it does not succeed: an exit code, a reason, a remedy.

Deliberate errors hold no patient data and are told as they are. Anything else is a
bug of ours, and its text may hold anything: only its kind and place are told.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from traceback import extract_tb
from typing import Final

from leadglass.errors import (
    BadData,
    Conflict,
    Damaged,
    LeadglassError,
    Misconfigured,
    NotFound,
    PeerError,
    Refused,
    Unavailable,
)

INTERRUPTED: Final = 130  # 128 + SIGINT, as shells do
PIPE_CLOSED: Final = 141  # 128 + SIGPIPE
_BUG: Final = 1
_FRAMES_TOLD_MAX: Final = 5


class UsageError(Misconfigured):
    """The command line cannot be understood."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.remedy = remedy


# The remedy for each kind of error, unless its text holds one; the nearest class
# counts, so the general ones come last.
_REMEDIES: Final[tuple[tuple[type[LeadglassError], str], ...]] = (
    (Refused, "ask for a rule that allows it; the audit record has the reason"),
    (
        NotFound,
        "`leadglass studies list` and `leadglass devices list` show what there is",
    ),
    (Conflict, "`leadglass quarantine list` shows what was kept aside"),
    (
        Damaged,
        (
            "nothing was changed; `leadglass verify` and `leadglass audit verify` say "
            "what is damaged; restore that from a backup"
        ),
    ),
    (Unavailable, "try again; `leadglass check` looks for the cause"),
    (BadData, "nothing was taken; look at where it came from"),
    (PeerError, "nothing was taken; look at where it came from"),
    (Misconfigured, ""),  # each problem has its own
    (LeadglassError, "`leadglass check` looks for the cause"),
)

KINDS: Final[tuple[tuple[type[LeadglassError], str], ...]] = (
    (UsageError, "usage"),
    (Misconfigured, "misconfigured"),
    (Refused, "refused"),
    (NotFound, "not found"),
    (Conflict, "conflict"),
    (Damaged, "damaged"),
    (Unavailable, "unavailable"),
    (PeerError, "bad data"),
    (LeadglassError, "error"),
)


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed command as it is told.

    Attributes:
        kind: A word for scripts; see docs/reference/exit-codes.md.
        problems: What is wrong, one sentence each, with its remedy if it has its own.
        remedy: What to do.
        exit_code: For the shell.
    """

    kind: str
    problems: tuple[str, ...]
    remedy: str
    exit_code: int


def failure_of(error: Exception) -> Failure:
    """Return how an error is told."""
    if not isinstance(error, LeadglassError):
        return _bug(error)
    problems = error.problems if isinstance(error, Misconfigured) else (str(error),)
    kind = next(word for cls, word in KINDS if isinstance(error, cls))
    remedy = next(text for cls, text in _REMEDIES if isinstance(error, cls))
    if isinstance(error, UsageError):
        remedy = error.remedy
    elif all(";" in each for each in problems):
        remedy = ""  # it says its own
    return Failure(kind, problems, remedy, error.exit_code)


def _bug(error: Exception) -> Failure:
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        # What the disk refuses of what was named on the command line.
        return Failure(
            "error", (f"{error.filename}: {error.strerror}",), "name another path", _BUG
        )
    return Failure(
        "bug",
        (f"{type(error).__name__} at {places(error)}",),
        "this is a mistake in Leadglass; please report it with the line above",
        _BUG,
    )


def places(error: BaseException) -> str:
    """Return where an error came from; never its text, nor values."""
    frames = extract_tb(error.__traceback__)[-_FRAMES_TOLD_MAX:]
    return " < ".join(
        f"{Path(frame.filename).name}:{frame.lineno} {frame.name}"
        for frame in reversed(frames)
    )


def tell(failure: Failure, *, as_json: bool) -> int:
    """Print it, on stderr or as JSON on stdout; return the exit code."""
    if as_json:
        error = {
            "kind": failure.kind,
            "message": "; ".join(failure.problems),
            "problems": list(failure.problems),
            "remedy": failure.remedy,
            "exit_code": failure.exit_code,
        }
        print(json.dumps({"error": error}), flush=True)  # noqa: T201
        return failure.exit_code
    for problem in failure.problems:
        print(f"leadglass: error: {problem}", file=sys.stderr)  # noqa: T201
    if failure.remedy:
        print(f"leadglass: remedy: {failure.remedy}", file=sys.stderr)  # noqa: T201
    return failure.exit_code
