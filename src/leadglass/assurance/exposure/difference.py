"""What has changed since the last scan: new, fixed, reopened, and for how long open."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Final

from leadglass.assurance.exposure.scan import Result
from leadglass.assurance.finding import Finding
from leadglass.errors import BadData

# A scan of 4,096 hosts is some 20 MiB.
PREVIOUS_BYTES_MAX: Final = 64 * 1024 * 1024
CLOSED_MAX: Final = 10_000
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Previous:
    """What of an earlier result is compared.

    Attributes:
        opened: By check and target, the day on which it was first seen.
        closed: By check and target, the day on which it was no longer seen.
    """

    opened: Mapping[Key, str]
    closed: Mapping[Key, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """What has changed.

    Attributes:
        new, fixed, reopened: Check and target.
        closed: All that was ever fixed, with its day; the next scan needs it.
    """

    new: tuple[Key, ...] = ()
    fixed: tuple[Key, ...] = ()
    reopened: tuple[Key, ...] = ()
    closed: Mapping[Key, str] | None = None

    def members(self) -> dict[str, Any]:
        """Return what ``--json`` prints of it."""
        return {
            "new": [list(each) for each in self.new],
            "fixed": [list(each) for each in self.fixed],
            "reopened": [list(each) for each in self.reopened],
            "closed": [[*key, day] for key, day in (self.closed or {}).items()],
        }


def load_previous(path: Path) -> Previous:
    """Read an earlier result.

    Raises:
        BadData: It is none.
    """
    try:
        with path.open("rb") as file:
            content = file.read(PREVIOUS_BYTES_MAX + 1)
    except OSError as error:
        raise BadData(f"{path}: {error.strerror}") from None
    if len(content) > PREVIOUS_BYTES_MAX:
        raise BadData(f"{path}: too long for the result of a scan")
    try:
        told = json.loads(content)
        opened = {
            (str(each["id"]), str(each["target"])): _day(
                each.get("details", {}).get("first_seen", told["finished"][:10])
            )
            for each in told["findings"]
        }
        closed = {
            (str(check), str(target)): _day(day)
            for check, target, day in told.get("difference", {}).get("closed", [])
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise BadData(f"{path}: not the result of a scan") from None
    return Previous(opened, closed)


def compare(result: Result, previous: Previous | None) -> tuple[Result, Difference]:
    """Return the result with the days on which findings were first seen."""
    today = result.finished.date().isoformat()
    before = previous or Previous({}, {})
    findings = tuple(_dated(each, before, today) for each in result.findings)
    dated = replace(result, findings=findings)
    if previous is None:
        return dated, Difference(closed={})
    now = {(each.id, each.target) for each in findings}
    # What was not looked at this time is neither fixed nor open.
    gone = [
        key for key in before.opened if key not in now and key[1] in result.looked_at
    ]
    closed = {key: day for key, day in before.closed.items() if key not in now}
    closed |= dict.fromkeys(gone, today)
    fresh = sorted(now - set(before.opened))
    return dated, Difference(
        tuple(key for key in fresh if key not in before.closed),
        tuple(sorted(gone)),
        tuple(key for key in fresh if key in before.closed),
        dict(list(closed.items())[-CLOSED_MAX:]),
    )


def _dated(finding: Finding, before: Previous, today: str) -> Finding:
    first = before.opened.get((finding.id, finding.target), today)
    days = (date.fromisoformat(today) - date.fromisoformat(first)).days
    return replace(
        finding,
        details={**finding.details, "first_seen": first, "days_open": max(days, 0)},
    )


def _day(text: Any) -> str:
    return date.fromisoformat(str(text)).isoformat()
