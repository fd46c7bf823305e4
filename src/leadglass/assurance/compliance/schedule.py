"""What is to be done again and again: when it was done last, and when it is due."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from leadglass.assurance.compliance.judging import Attestation
from leadglass.assurance.compliance.looking import VERIFIED_WITHIN
from leadglass.assurance.compliance.state import Past

# More often than a year, which is what controls demand: drift shows while it is fresh.
RUN_EVERY: Final = timedelta(days=31)


@dataclass(frozen=True, slots=True)
class Duty:
    """One thing that is to be done again.

    Attributes:
        what: In words.
        last: When it was done last; None: never.
        due: Until when it is to be done again; None: at once.
        remedy: What to type.
    """

    what: str
    last: datetime | None
    due: datetime | None
    remedy: str

    def is_overdue(self, now: datetime) -> bool:
        """Whether it should have been done by now."""
        return self.due is None or self.due < now

    def members(self, now: datetime) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        return {
            "what": self.what,
            "last": self.last.isoformat() if self.last else None,
            "due": self.due.isoformat() if self.due else None,
            "is_overdue": self.is_overdue(now),
            "remedy": self.remedy,
        }


def duties(past: Past, attested: Mapping[str, Attestation]) -> list[Duty]:
    """Return everything that is to be done again, what is due first in front."""
    verified = past.verified[0] if past.verified else None
    found = [
        _every(
            "run of the controls, with a scan from outside",
            max(past.runs, default=None),
            RUN_EVERY,
            "leadglass comply run",
        ),
        _every(
            "verification of all images", verified, VERIFIED_WITHIN, "leadglass verify"
        ),
        *_attested(attested.values()),
    ]
    return sorted(found, key=lambda each: each.due.timestamp() if each.due else 0.0)


def _every(what: str, last: datetime | None, interval: timedelta, remedy: str) -> Duty:
    return Duty(what, last, last + interval if last else None, remedy)


def _attested(attested: Iterable[Attestation]) -> list[Duty]:
    return [
        Duty(
            f"{each.control}: {each.document}",
            each.at,
            each.ends,
            f"leadglass comply attest {each.control}",
        )
        for each in attested
    ]
