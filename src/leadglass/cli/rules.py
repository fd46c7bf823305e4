"""``leadglass rules``: what the rules, those of everybody registered too, answer."""

from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from leadglass.access.policy import Expectation
from leadglass.access.rulefile import TEXT_CHARACTERS_MAX, RuleFile
from leadglass.app import Node
from leadglass.archive.ruledesk import Tried, try_all
from leadglass.cli.answers import Answer, Table
from leadglass.cli.session import Session
from leadglass.errors import Misconfigured

_BYTES_MAX: Final = 4 * TEXT_CHARACTERS_MAX  # UTF-8


def test(session: Session) -> Answer:
    """Put the expectations of a rule file to all rules; exit code 2 if one fails."""
    with ExitStack() as stack:
        node = stack.enter_context(Node.open(session.config))
        path = Path(session.arguments.file or node.layout.rules)
        file = _read(path, is_named=bool(session.arguments.file))
        devices = node.devices.register().rules.values()
        rules = (
            *file.rules,
            *(rule for each in devices for rule in each),
            *node.people.all(),
        )
    return answer(try_all(rules, file.expectations, datetime.now(UTC)), len(rules))


def answer(tried: tuple[Tried, ...], rules: int) -> Answer:
    """Return what is told of them."""
    failed = sum(not each.holds for each in tried)
    rows = tuple(
        (
            "holds" if each.holds else "FAILS",
            each.expectation.name,
            _question(each.expectation),
            each.decision.reason,
        )
        for each in tried
    )
    lines: tuple[str | Table, ...] = (
        f"{len(tried) - failed} of {len(tried)} expectations hold",
    )
    if rows:
        table = Table(("", "EXPECTATION", "QUESTION", "ANSWER"), rows)
        lines = (table, *lines)
    return Answer(
        data={
            "rules": rules,
            "expectations": len(tried),
            "failed": failed,
            "items": [_data(each) for each in tried],
        },
        text=lines,
        exit_code=Misconfigured.exit_code if failed else 0,
    )


def _data(tried: Tried) -> Mapping[str, Any]:
    asked = tried.expectation
    return {
        "name": asked.name,
        "holds": tried.holds,
        "subject": str(asked.subject),
        "right": asked.right,
        "from": None if asked.address is None else str(asked.address),
        "expected": asked.allowed,
        "allowed": tried.decision.allowed,
        "scopes": list(map(str, tried.decision.scopes)),
        "reason": tried.decision.reason,
    }


def _question(asked: Expectation) -> str:
    must = "must" if asked.allowed else "must not"
    return f"{asked.subject} {must} {asked.right} from {asked.address or 'the node'}"


def _read(path: Path, *, is_named: bool) -> RuleFile:
    """Read a rule file; the node's own may be absent.

    Raises:
        Misconfigured: It has problems, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(_BYTES_MAX + 1)
        return RuleFile.parse(raw.decode("utf-8"), name=path.name)
    except FileNotFoundError:
        if is_named:
            raise Misconfigured(f"{path}: no such file") from None
        return RuleFile()
    except OSError as error:
        raise Misconfigured(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Misconfigured(f"{path}: is not UTF-8") from None
