"""The audit record: searched, read, verified and handed out.

Nothing of a patient is searched for here, so a search may stand in a query; whose
patient it is is asked in a body (``access``).
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPMethod, HTTPStatus
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlencode

from leadglass.access.rights import Right
from leadglass.archive.logcheck import LogChecks
from leadglass.archive.trail import Record, Search, Trail
from leadglass.audit.codes import ID_STUDY_UID, EventID, Outcome, meaning
from leadglass.audit.events import Event
from leadglass.errors import BadData, NotFound
from leadglass.servers.http.answers import Answer
from leadglass.servers.http.routes import About, Call, Parameter, Route
from leadglass.servers.web.pages import HTML, N_, Pages, is_part

PATH: Final = "/audit"
NDJSON: Final = "application/x-ndjson"
# Records on a page.
_TOGETHER_MAX: Final = 50
# Studies told in a line; the record itself has all.
_STUDIES_SHOWN_MAX: Final = 3
# Names and addresses that are searched for: of devices and people, 64 at most.
_TEXT_CHARACTERS_MAX: Final = 256
_DIGITS_MAX: Final = 19
_NUMBER_MAX: Final = (1 << 63) - 1
# A piece of an export, so that one write carries many records.
_PIECE_BYTES: Final = 64 * 1024

OUTCOMES: Final[Mapping[Outcome, str]] = MappingProxyType(
    {
        Outcome.SUCCESS: N_("Success"),
        Outcome.MINOR_FAILURE: N_("Minor failure"),
        Outcome.SERIOUS_FAILURE: N_("Serious failure"),
        Outcome.MAJOR_FAILURE: N_("Major failure"),
    }
)
_FAILURES: Final = frozenset(Outcome) - {Outcome.SUCCESS}
# What may be asked for, by the word that stands in a query.
_OUTCOMES_ASKED: Final[Mapping[str, tuple[str, frozenset[Outcome]]]] = MappingProxyType(
    {
        "": (N_("All"), frozenset()),
        "failed": (N_("All that failed"), _FAILURES),
        **{str(int(each)): (OUTCOMES[each], frozenset({each})) for each in Outcome},
    }
)
_QUERY: Final = (
    Parameter("since", "Recorded at or after (ISO 8601); UTC without a zone"),
    Parameter("until", "Recorded before (ISO 8601); UTC without a zone"),
    Parameter("event", "Kind of event", choices=tuple(map(str, EventID))),
    Parameter("who", "Mentions this person, device or program"),
    Parameter("address", "Mentions this network address"),
    Parameter("outcome", "How it ended", choices=tuple(filter(None, _OUTCOMES_ASKED))),
    Parameter("after", "Only records below this number", pattern="^[0-9]{1,18}$"),
)


@dataclass(frozen=True, slots=True)
class Line:
    """A record as the list shows it.

    Attributes:
        number: Of the record.
        time: When it was recorded.
        event: What kind, in the words of the standard; empty if it cannot be said.
        types: Which variety.
        outcome: How it ended; None if it cannot be said.
        why: What the record says of that.
        who: Names of those who took part.
        addresses: Where from.
        what: Details, and which studies.
        more_studies: How many studies are not shown.
        is_erased: Personal data was erased from it.
    """

    number: int
    time: datetime
    event: str = ""
    types: str = ""
    outcome: Outcome | None = None
    why: str = ""
    who: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    what: tuple[str, ...] = ()
    more_studies: int = 0
    is_erased: bool = False


class AuditRoutes:
    """The page of the audit record."""

    def __init__(self, pages: Pages, trail: Trail, checks: LogChecks) -> None:
        self._pages = pages
        self._trail = trail
        self._checks = checks

    def routes(self) -> Iterator[Route]:
        """Yield the routes."""
        yield Route(
            method=HTTPMethod.GET,
            template=PATH,
            access=Right.AUDIT,
            handler=self.show,
            about=About(
                "The page of the audit record", query=_QUERY, gives_media=(HTML,)
            ),
        )
        yield Route(
            method=HTTPMethod.GET,
            template=f"{PATH}/export",
            access=Right.AUDIT,
            handler=self.export,
            about=About(
                "Records in full, one JSON document in a line, the newest first",
                query=_QUERY,
                gives_media=(NDJSON,),
            ),
        )
        yield Route(
            method=HTTPMethod.GET,
            template=f"{PATH}/timeline",
            access=Right.AUDIT,
            handler=self.timeline,
            about=About(
                "How many records there were, by hour or by day",
                query=(Parameter("by", "How it is counted", choices=("hour", "day")),),
                gives_media=(HTML,),
            ),
        )
        yield Route(
            method=HTTPMethod.GET,
            template=f"{PATH}/verify",
            access=Right.AUDIT,
            handler=self.check,
            about=About("How far a verification of the log is", gives_media=(HTML,)),
        )
        yield Route(
            method=HTTPMethod.POST,
            template=f"{PATH}/verify",
            access=Right.AUDIT,
            handler=self.verify,
            about=About("Begin to verify the log", gives_media=(HTML,)),
        )
        yield Route(
            method=HTTPMethod.GET,
            template=f"{PATH}/{{number}}",
            access=Right.AUDIT,
            handler=self.record,
            about=About("The page of one record", gives_media=(HTML,)),
        )

    def show(self, call: Call) -> Answer:
        """Show what fits a search, and the state of the log."""
        asked = dict(call.query)
        search = search_of(asked)
        found = self._trail.look(call.caller, search, _TOGETHER_MAX)
        own = self._trail.parts.audit.origin
        values: dict[str, Any] = {
            "lines": [line_of(each, own) for each in found.records],
            "after": found.after,
            "is_first": search.after is None,
            "asked": {each.name: asked.get(each.name, "") for each in _QUERY},
            "export": _query_of(asked),
            "outcomes": OUTCOMES,
        }
        if is_part(call):
            return self._pages.page(call, "audit.html", values, block="records")
        values |= {
            "events": [(each, meaning(each)[1]) for each in EventID],
            "outcomes_asked": [(k, v[0]) for k, v in _OUTCOMES_ASKED.items()],
            **self._state(call),
            **self._counted(call),
        }
        return self._pages.page(call, "audit.html", values)

    def record(self, call: Call) -> Answer:
        """Show one record in full.

        Raises:
            NotFound: There is no such record.
        """
        number = number_of(call.path["number"])
        record = self._trail.get(call.caller, number)
        values = {
            "line": line_of(record, self._trail.parts.audit.origin),
            "content": _pretty(record.data),
            "outcomes": OUTCOMES,
        }
        return self._pages.page(call, "audit_record.html", values)

    def check(self, call: Call) -> Answer:
        """Show how far a verification is, or what it found."""
        values = self._state(call)
        return self._pages.page(call, "audit.html", values, block="check")

    def verify(self, call: Call) -> Answer:
        """Begin one, unless one runs."""
        self._checks.start(call.caller)
        return self.check(call)

    def timeline(self, call: Call) -> Answer:
        """Show how many records there were."""
        values = self._counted(call)
        return self._pages.page(call, "audit.html", values, block="timeline")

    def export(self, call: Call) -> Answer:
        """Hand out what fits a search, as it is found."""
        found = self._trail.export(call.caller, search_of(dict(call.query)))
        name = f"audit-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.ndjson"
        told = {"content-disposition": f'attachment; filename="{name}"'}
        return Answer(HTTPStatus.OK, NDJSON, _pieces(found), told)

    def _counted(self, call: Call) -> dict[str, Any]:
        """Count by the hour or by the day, as the query says.

        Raises:
            BadData: By neither.
        """
        by = dict(call.query).get("by", "hour")
        counts = {"hour": self._trail.hours, "day": self._trail.days}.get(by)
        if counts is None:
            raise BadData("by: hour or day")
        buckets = counts(call.caller, datetime.now(UTC))
        return {"by": by, "buckets": buckets, "outcomes": OUTCOMES}

    def _state(self, call: Call) -> dict[str, Any]:
        return {
            "state": self._trail.state(call.caller),
            "check": self._checks.last(call.caller),
        }


# ── what is asked for ────────────────────────────────────────────────────────


def search_of(asked: Mapping[str, str]) -> Search:
    """Return what a form asks for; an empty field asks for nothing.

    Raises:
        BadData: A field holds what cannot be; it is named, its value is not.
    """
    event, outcome = asked.get("event", ""), asked.get("outcome", "")
    if event and event not in set(EventID):
        raise BadData("event: no such kind of event")
    if outcome not in _OUTCOMES_ASKED:
        raise BadData("outcome: none of those there are")
    return Search(
        since=moment_of(asked, "since"),
        until=moment_of(asked, "until"),
        event=EventID(event) if event else None,
        outcomes=_OUTCOMES_ASKED[outcome][1],
        user=_text_of(asked, "who"),
        address=_text_of(asked, "address"),
        after=after_of(asked),
        newest_first=True,
    )


def moment_of(asked: Mapping[str, str], name: str) -> datetime | None:
    """Return a time of a form; without a zone it is UTC.

    Raises:
        BadData: It is none.
    """
    text = asked.get(name, "")
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None:
            found = found.replace(tzinfo=UTC)
        return found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadData(f"{name}: no time") from None


def after_of(asked: Mapping[str, str]) -> int | None:
    """Return where the last portion ended; None: from the newest on.

    Raises:
        BadData: It is no number.
    """
    text = asked.get("after", "")
    if not text:
        return None
    try:
        return number_of(text)
    except NotFound:
        raise BadData("after: no number of a record") from None


def number_of(text: str) -> int:
    """Return a number of a record or a review.

    Raises:
        NotFound: It is none, so there is nothing of that number.
    """
    is_number = text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX
    if not is_number or int(text) > _NUMBER_MAX:
        raise NotFound("nothing of that number")
    return int(text)


def _text_of(asked: Mapping[str, str], name: str) -> str | None:
    text = asked.get(name, "").strip()
    if len(text) > _TEXT_CHARACTERS_MAX:
        raise BadData(f"{name}: at most {_TEXT_CHARACTERS_MAX} characters")
    return text or None


def _query_of(asked: Mapping[str, str]) -> str:
    """Return the query that asks for the same from the newest record on."""
    names = [each.name for each in _QUERY if each.name != "after"]
    return urlencode({name: asked[name] for name in names if asked.get(name)})


# ── what is shown ────────────────────────────────────────────────────────────


def line_of(record: Record, own: str) -> Line:
    """Return a record as a line, without the patients that it is about.

    What people wrote stands there as they wrote it: a reason, a rule's scope.

    Args:
        record: As it stands in the log.
        own: Name of the node, who is in every record.
    """
    if not record.data:
        return Line(record.n, record.time, is_erased=True)
    try:
        event = record.event
    except BadData:  # tampered with: a verification says more
        return Line(record.n, record.time)
    others = [each for each in event.participants if each.user_id != own]
    studies = _studies_of(event)
    return Line(
        record.n,
        record.time,
        event=meaning(event.id)[1],
        types=", ".join(_meanings(event.types)),
        outcome=event.outcome,
        why=event.outcome_description,
        who=tuple(each.user_id for each in others),
        addresses=tuple(
            dict.fromkeys(each.access_point for each in others if each.access_point)
        ),
        what=(*_details_of(event), *studies[:_STUDIES_SHOWN_MAX]),
        more_studies=max(0, len(studies) - _STUDIES_SHOWN_MAX),
    )


def _meanings(codes: Iterable[str]) -> Iterator[str]:
    for code in codes:
        try:
            yield meaning(code)[1]
        except KeyError:
            yield code


def _details_of(event: Event) -> tuple[str, ...]:
    details = {
        **event.details,
        **{kind: value for each in event.objects for kind, value in each.details},
    }
    return tuple(f"{name}={value}" for name, value in details.items())


def _studies_of(event: Event) -> list[str]:
    named = [each.id for each in event.objects if each.id_type == ID_STUDY_UID]
    named += [uid for each in event.returned for uid in each.studies]
    return list(dict.fromkeys(filter(None, named)))


def _pretty(data: bytes) -> str:
    """Return the JSON of a record for reading; what is none is shown as it is."""
    try:
        return json.dumps(json.loads(data), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return data.decode("utf-8", "backslashreplace")


def _pieces(found: Iterable[Record]) -> Iterator[bytes]:
    """Yield records as lines of JSON, many in a piece."""
    piece = bytearray()
    for each in found:
        piece += _exported(each) + b"\n"
        if len(piece) >= _PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)


def _exported(record: Record) -> bytes:
    try:
        content = json.loads(record.data) if record.data else None
        fault = {} if record.data else {"is_erased": True}
    except (ValueError, RecursionError):
        content, fault = None, {"is_readable": False}
    told = {"number": record.n, "time": record.time.isoformat(), "record": content}
    return json.dumps({**told, **fault}).encode()
