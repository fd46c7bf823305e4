"""The review of the record over HTTPS: alerts that wait, what they were, weeks.

An alert names its patients only in an answer to who may read the record.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Final, Literal

from msgspec import Meta

from leadglass.access.rights import Right
from leadglass.assurance.review.alerts import (
    REASON_CHARACTERS_MAX,
    REASON_CHARACTERS_MIN,
    Disposition,
    Raised,
)
from leadglass.assurance.review.desk import ReviewDesk
from leadglass.errors import NotFound
from leadglass.servers.http.documents import Document, giving, taking
from leadglass.servers.http.routes import Call, Route

ROOT: Final = "/api/audit/review"
# A 64-bit number has 19 digits.
_DIGITS_MAX: Final = 19
_DISPOSITIONS: Final = {
    "benign": Disposition.BENIGN,
    "breach": Disposition.BREACH,
    "incident": Disposition.INCIDENT,
}
_Reason = Annotated[
    str, Meta(min_length=REASON_CHARACTERS_MIN, max_length=REASON_CHARACTERS_MAX)
]


class ReviewAlert(Document, frozen=True):
    """What a rule says of one subject on one day, and what a person says of that."""

    number: int
    rule: str
    title: str
    severity: str
    subject: str
    day: date
    evidence: str
    count: int
    first: datetime
    last: datetime
    records: tuple[int, ...]
    patient_ids: tuple[str, ...]
    due_at: datetime
    is_overdue: bool
    disposition: Literal["benign", "breach", "incident"] | None
    disposed_at: datetime | None
    reviewer: str | None
    reason: str | None


class ReviewAlerts(Document, frozen=True):
    """Several of them."""

    items: tuple[ReviewAlert, ...]


class AlertDisposition(Document, frozen=True):
    """What an alert was, and why."""

    disposition: Literal["benign", "breach", "incident"]
    reason: _Reason


class WeekNote(Document, frozen=True):
    """What was done about the alerts of a week."""

    note: _Reason


class SignedWeek(Document, frozen=True):
    """A week that a person answers for."""

    week: str
    signed_at: datetime
    reviewer: str
    note: str
    alerts: int


@dataclass(frozen=True, slots=True)
class AlertRoutes:
    """The review over HTTPS.

    Attributes:
        desk: The use cases.
    """

    desk: ReviewDesk

    def routes(self) -> Iterator[Route]:
        """Yield the routes: of who reads, and of who judges."""
        yield giving(
            f"{ROOT}/alerts",
            Right.AUDIT,
            "The alerts that wait for a person, what is due first first",
            gives=ReviewAlerts,
            handler=lambda call: ReviewAlerts(
                items=tuple(map(self._one, self.desk.waiting(call.caller)))
            ),
        )
        yield giving(
            f"{ROOT}/alerts/{{number}}",
            Right.AUDIT,
            "One alert, judged or not",
            gives=ReviewAlert,
            handler=lambda call: self._one(
                self.desk.get(call.caller, number_of(call.path["number"]))
            ),
        )
        yield taking(
            f"{ROOT}/alerts/{{number}}/dispose",
            Right.REVIEW,
            "Say what an alert was, once, and why",
            takes=AlertDisposition,
            gives=ReviewAlert,
            reader=self._dispose,
        )
        yield taking(
            f"{ROOT}/weeks/{{week}}/sign",
            Right.REVIEW,
            "Answer for a week that is over, of which no alert is open",
            takes=WeekNote,
            gives=SignedWeek,
            reader=self._sign,
        )

    def _dispose(self, call: Call, said: AlertDisposition) -> ReviewAlert:
        return self._one(
            self.desk.dispose(
                call.caller,
                number_of(call.path["number"]),
                _DISPOSITIONS[said.disposition],
                said.reason,
            )
        )

    def _sign(self, call: Call, said: WeekNote) -> SignedWeek:
        signed = self.desk.sign(call.caller, call.path["week"], said.note)
        return SignedWeek(
            week=signed.week,
            signed_at=signed.signed_at,
            reviewer=signed.reviewer,
            note=signed.note,
            alerts=signed.alerts,
        )

    def _one(self, found: Raised) -> ReviewAlert:
        alert = found.alert
        return ReviewAlert(
            number=found.id,
            rule=alert.rule,
            title=found.title,
            severity=str(alert.severity),
            subject=alert.subject,
            day=alert.day,
            evidence=alert.evidence,
            count=alert.count,
            first=alert.first,
            last=alert.last,
            records=alert.facts,
            patient_ids=alert.patients,
            due_at=found.due_at,
            is_overdue=found.is_overdue(self.desk.clock()),
            disposition=_name(found.disposition),
            disposed_at=found.disposed_at,
            reviewer=found.reviewer or None,
            reason=found.reason or None,
        )


def _name(
    disposition: Disposition | None,
) -> Literal["benign", "breach", "incident"] | None:
    match disposition:
        case None:
            return None
        case Disposition.BENIGN:
            return "benign"
        case Disposition.BREACH:
            return "breach"
        case Disposition.INCIDENT:
            return "incident"


def number_of(text: str) -> int:
    """Return the number that a path names.

    Raises:
        NotFound: It is none, so there is nothing of that number.
    """
    if not text.isascii() or not text.isdigit() or len(text) > _DIGITS_MAX:
        raise NotFound("no such alert")
    return int(text)
