"""Broken glass, its reviews, and why a study is seen, over HTTPS.

A patient is named in a body, never in a URL: URLs stand in logs and histories.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPMethod, HTTPStatus
from typing import Annotated, Final, Literal

from msgspec import Meta

from leadglass.access.rights import Right
from leadglass.archive.emergency import (
    DURATION_DEFAULT,
    DURATION_MAX,
    NOTE_CHARACTERS_MAX,
    PATIENT_ID_CHARACTERS_MAX,
    REASON_CHARACTERS_MAX,
    REASON_CHARACTERS_MIN,
    Emergencies,
    Emergency,
    Verdict,
)
from leadglass.archive.explaining import Explain, Reaching
from leadglass.dicom.uids import UID
from leadglass.errors import NotFound
from leadglass.servers.http.answers import Answer
from leadglass.servers.http.documents import Document, answer, giving, taking
from leadglass.servers.http.routes import Call, Route

ROOT: Final = "/api"
_MINUTE: Final = timedelta(minutes=1)
# A 64-bit number has 19 digits.
_DIGITS_MAX: Final = 19
_VERDICTS: Final = {
    "justified": Verdict.JUSTIFIED,
    "not_justified": Verdict.NOT_JUSTIFIED,
}


class BreakGlass(Document, frozen=True):
    """Whom to reach, why, and for how long."""

    patient_id: Annotated[str, Meta(min_length=1, max_length=PATIENT_ID_CHARACTERS_MAX)]
    reason: Annotated[
        str, Meta(min_length=REASON_CHARACTERS_MIN, max_length=REASON_CHARACTERS_MAX)
    ]
    minutes: Annotated[int, Meta(ge=1, le=DURATION_MAX // _MINUTE)] = (
        DURATION_DEFAULT // _MINUTE
    )


class BrokenGlass(Document, frozen=True):
    """One breaking of the glass, and its review."""

    number: int
    person: str
    address: str
    patient_id: str
    reason: str
    is_standing: bool
    started_at: datetime
    ends_at: datetime
    stopped_at: datetime | None
    reviewed_at: datetime | None
    reviewer: str | None
    verdict: Literal["justified", "not_justified"] | None
    note: str | None


class AllBrokenGlass(Document, frozen=True):
    """Several of them."""

    items: tuple[BrokenGlass, ...]


class Signature(Document, frozen=True):
    """What a review says, and why."""

    verdict: Literal["justified", "not_justified"]
    note: Annotated[str, Meta(min_length=1, max_length=NOTE_CHARACTERS_MAX)]


class WhichStudy(Document, frozen=True):
    """The study that it is about."""

    study_uid: Annotated[str, Meta(pattern="^[0-9.]{1,64}$")]


class RuleThatReaches(Document, frozen=True):
    """A rule by its name, and which studies it reaches."""

    rule: str
    scope: str


class WhyAnswer(Document, frozen=True):
    """Whether the caller sees a study, by which rules, and which rules there are."""

    is_seen: bool
    by: tuple[RuleThatReaches, ...]
    own: tuple[RuleThatReaches, ...]


@dataclass(frozen=True, slots=True)
class EmergencyRoutes:
    """Broken glass over HTTPS.

    Attributes:
        glass: The use cases.
        explain: Says which rule reaches a study.
    """

    glass: Emergencies
    explain: Explain

    def routes(self) -> Iterator[Route]:
        """Yield the routes: of who breaks it, of who reviews, and why."""
        own, every = f"{ROOT}/emergencies/own", f"{ROOT}/emergencies"
        yield taking(
            every,
            Right.BREAK_GLASS,
            "Reach one patient beyond the own scope, for a reason and a while",
            takes=BreakGlass,
            gives=BrokenGlass,
            reader=self._start,
            statuses=(HTTPStatus.CREATED,),
        )
        yield giving(
            own,
            Right.BREAK_GLASS,
            "The caller's own that stand",
            gives=AllBrokenGlass,
            handler=lambda call: self._all(self.glass.mine(call.caller)),
        )
        yield giving(
            f"{own}/{{number}}/end",
            Right.BREAK_GLASS,
            "End one of the caller's own",
            gives=BrokenGlass,
            handler=lambda call: self._one(
                self.glass.stop_own(call.caller, number_of(call))
            ),
            method=HTTPMethod.POST,
        )
        yield from self._of_reviewers(every)
        yield taking(
            f"{ROOT}/why",
            Right.FIND,
            "Which of the caller's rules reach a study",
            takes=WhichStudy,
            gives=WhyAnswer,
            reader=self._why,
        )

    def _of_reviewers(self, every: str) -> Iterator[Route]:
        reviews = f"{ROOT}/reviews"
        yield giving(
            every,
            Right.REVIEW,
            "Everybody's that stand",
            gives=AllBrokenGlass,
            handler=lambda call: self._all(self.glass.standing(call.caller)),
        )
        yield giving(
            f"{every}/{{number}}/end",
            Right.REVIEW,
            "End anybody's before its time",
            gives=BrokenGlass,
            handler=lambda call: self._one(
                self.glass.stop(call.caller, number_of(call))
            ),
            method=HTTPMethod.POST,
        )
        yield giving(
            reviews,
            Right.REVIEW,
            "The reviews that wait for a signature",
            gives=AllBrokenGlass,
            handler=lambda call: self._all(self.glass.open_reviews(call.caller)),
        )
        yield giving(
            f"{reviews}/{{number}}",
            Right.REVIEW,
            "One review, signed or not",
            gives=BrokenGlass,
            handler=lambda call: self._one(
                self.glass.get(call.caller, number_of(call))
            ),
        )
        yield taking(
            f"{reviews}/{{number}}/sign",
            Right.REVIEW,
            "Close a review of somebody else's, once it is over",
            takes=Signature,
            gives=BrokenGlass,
            reader=self._sign,
        )

    def _start(self, call: Call, wish: BreakGlass) -> Answer:
        given = self.glass.start(
            call.caller, wish.patient_id, wish.reason, wish.minutes * _MINUTE
        )
        return answer(self._one(given), HTTPStatus.CREATED)

    def _sign(self, call: Call, signature: Signature) -> BrokenGlass:
        return self._one(
            self.glass.sign(
                call.caller,
                number_of(call),
                _VERDICTS[signature.verdict],
                signature.note,
            )
        )

    def _why(self, call: Call, asked: WhichStudy) -> WhyAnswer:
        found = self.explain(call.caller, UID(asked.study_uid))
        return WhyAnswer(
            is_seen=found.is_seen, by=_told(found.by), own=_told(found.own)
        )

    def _all(self, found: tuple[Emergency, ...]) -> AllBrokenGlass:
        return AllBrokenGlass(items=tuple(map(self._one, found)))

    def _one(self, found: Emergency) -> BrokenGlass:
        return BrokenGlass(
            number=found.id,
            person=found.subject.name,
            address=found.address,
            patient_id=found.patient_id,
            reason=found.reason,
            is_standing=found.is_standing(self.glass.clock()),
            started_at=found.started_at,
            ends_at=found.ends_at,
            stopped_at=found.stopped_at,
            reviewed_at=found.reviewed_at,
            reviewer=found.reviewer or None,
            verdict=_verdict(found.verdict),
            note=found.note or None,
        )


def _verdict(verdict: Verdict | None) -> Literal["justified", "not_justified"] | None:
    if verdict is None:
        return None
    return "justified" if verdict is Verdict.JUSTIFIED else "not_justified"


def _told(rules: tuple[Reaching, ...]) -> tuple[RuleThatReaches, ...]:
    return tuple(
        RuleThatReaches(rule=each.rule, scope=str(each.scope)) for each in rules
    )


def number_of(call: Call) -> int:
    """Return the number that a path names.

    Raises:
        NotFound: It is none, so there is nothing of that number.
    """
    text = call.path["number"]
    if not text.isascii() or not text.isdigit() or len(text) > _DIGITS_MAX:
        raise NotFound("no such emergency")
    return int(text)
