"""From the parameters of a FHIR search to a question for the audit log.

An audit question that leaves a condition out has another answer. So a parameter that
is not known here is refused (FHIR R4 §3.1.1.3 lets a server choose), unless the client
says ``Prefer: handling=lenient``. An identifier with a system is refused too: ours have
none, and "nothing found" would be read as "nobody saw this patient".
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

from leadglass.archive.trail import Search
from leadglass.audit.codes import EventID, EventType, Outcome
from leadglass.audit.fhir import DCM, UID_SYSTEM
from leadglass.servers.http.answers import Problem

Pairs = tuple[tuple[str, str], ...]

COUNT: Final = "_count"
FORMAT: Final = "_format"
SORT: Final = "_sort"
# Resources in a Bundle: 2 KB each, seldom more; one of 1 MiB is possible.
COUNT_MAX: Final = 100
COUNT_USUAL: Final = 50
# Parameters of one search; there are a dozen.
PARAMETERS_MAX: Final = 32
# Names, IDs and addresses that are searched for: 64 at most, and escapes.
_TEXT_CHARACTERS_MAX: Final = 256
# Alternatives of one parameter; there are twelve kinds and two dozen varieties.
_ALTERNATIVES_MAX: Final = 32
_COUNT: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
_FORMATS: Final = frozenset(
    {"json", "application/json", "application/fhir+json", "application/fhir json"}
)
_UID: Final = re.compile(r"[0-9.]{1,64}", re.ASCII)
_OID: Final = "urn:oid:"
# A separator that no backslash stands in front of.
_COMMA: Final = re.compile(r"(?<!\\)((?:\\\\)*),")
_BAR: Final = re.compile(r"(?<!\\)((?:\\\\)*)\|")
_ESCAPED: Final = re.compile(r"\\([\\,|$])")
# FHIR R4 §3.1.1.4.10; a ``+`` that was not encoded has become a blank.
_DATE: Final = re.compile(
    r"(?P<prefix>ge|gt|le|lt|eq)?"
    r"(?P<year>[0-9]{4})(?:-(?P<month>[0-9]{2})(?:-(?P<day>[0-9]{2})"
    r"(?:T(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})"
    r"(?::(?P<second>[0-9]{2})(?:\.(?P<part>[0-9]{1,6}))?)?"
    r"(?P<zone>Z|[+\- ][0-9]{2}:[0-9]{2})?)?)?)?",
    re.ASCII,
)
# What a log of ours can hold, with room on both sides for a zone.
_YEARS: Final = range(1970, 9990)
# How long a part of a second is, by its digits.
_PARTS: Final = tuple(timedelta(microseconds=10**n) for n in range(5, -1, -1))


def refused(told: str) -> Problem:
    """Return a refusal; ``told`` holds nothing of the request."""
    return Problem(HTTPStatus.BAD_REQUEST, told)


@dataclass(frozen=True, slots=True)
class Asked:
    """A search as it is understood.

    Attributes:
        search: For the log.
        count: How many resources at most.
        used: The parameters that were not ignored, in their order.
        is_possible: Whether anything can fit; no event has a code of another scheme.
    """

    search: Search
    count: int
    used: Pairs
    is_possible: bool = True


def understand(pairs: Pairs, *, lenient: bool) -> Asked:
    """Return what is asked.

    Args:
        pairs: The parameters, decoded.
        lenient: Ignore those that are not known here.

    Raises:
        Problem: 400.
    """
    if len(pairs) > PARAMETERS_MAX:
        raise refused("too many parameters")
    used = tuple(each for each in pairs if not lenient or each[0] in _KNOWN)
    names = [name for name, _ in used]
    if set(names) - _KNOWN:
        raise refused("a parameter is not supported here; see /fhir/metadata")
    if any(names.count(name) > 1 for name in _KNOWN - {"date"}):
        raise refused("only date may be said more than once")
    if "date" not in names:
        raise refused("at least one date is needed (ITI-81)")
    asked = Asked(Search(), COUNT_USUAL, used)
    for name, value in used:
        asked = _PARAMETERS[name](asked, value)
    since, until = asked.search.since, asked.search.until
    if since is not None and until is not None and since >= until:
        return replace(asked, is_possible=False)
    return asked


# ── kinds of values ──────────────────────────────────────────────────────────


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(r"\1", text)


def _one(value: str) -> str:
    """Return a value as it is meant.

    Raises:
        Problem: 400, it is empty, too long, or one of several.
    """
    if _COMMA.search(value):
        raise refused("alternatives are supported for type, subtype and outcome only")
    if not value or len(value) > _TEXT_CHARACTERS_MAX:
        raise refused("a value is empty or too long")
    return value


def _identifier(value: str) -> tuple[str, str]:
    """Return (system, value) of a token of an identifier."""
    parts = _BAR.sub("\\1\n", _one(value).replace("\n", " ")).split("\n")
    if len(parts) == 1:
        parts = ["", *parts]
    system, *rest = map(_unescaped, parts)
    if len(rest) != 1 or not rest[0]:
        raise refused("an identifier is written value, |value or system|value")
    return system, rest[0]


def _codes(value: str, system: str) -> frozenset[str]:
    """Return the codes of a scheme among alternatives."""
    texts = _COMMA.sub("\\1\n", value.replace("\n", " ")).split("\n")
    if len(texts) > _ALTERNATIVES_MAX:
        raise refused("too many alternatives")
    found = (_identifier(text) for text in texts)
    return frozenset(code for scheme, code in found if scheme in {"", system})


@dataclass(frozen=True, slots=True)
class _Span:
    """A date as FHIR has it: a time from and below, and what it bounds."""

    prefix: str
    low: datetime
    high: datetime


def _span(value: str) -> _Span:
    """Return what a date says.

    Raises:
        Problem: 400, it is none, or one that is not supported.
    """
    found = _DATE.fullmatch(value)
    if found is None or int(found["year"]) not in _YEARS:
        raise refused("a date is written ge2026-01-31T23:59:59Z, or a part of that")
    low = f"{found['year']}-{found['month'] or '01'}-{found['day'] or '01'}"
    part = (found["part"] or "").ljust(6, "0")
    hour, minute = found["hour"] or "00", found["minute"] or "00"
    zone = (found["zone"] or "Z").replace(" ", "+").replace("Z", "+00:00")
    low += f"T{hour}:{minute}:{found['second'] or '00'}.{part}{zone}"
    try:
        begins = datetime.fromisoformat(low)
        ends = _end(begins, found.groupdict())
    except ValueError:
        raise refused("a date does not exist") from None
    return _Span(found["prefix"] or "eq", begins.astimezone(UTC), ends.astimezone(UTC))


def _end(begins: datetime, parts: Mapping[str, str | None]) -> datetime:
    """Return where the time ends that is as exact as it was written."""
    if not parts["month"]:
        return begins.replace(year=begins.year + 1)
    if not parts["day"]:
        return (begins + timedelta(days=31)).replace(day=1)
    for name, length in (
        ("hour", timedelta(days=1)),
        ("second", timedelta(minutes=1)),
        ("part", timedelta(seconds=1)),
    ):
        if not parts[name]:
            return begins + length
    return begins + _PARTS[len(parts["part"] or "") - 1]


# ── each parameter ───────────────────────────────────────────────────────────


def _date(asked: Asked, value: str) -> Asked:
    span = _span(_one(value))
    since: datetime | None = None
    until: datetime | None = None
    match span.prefix:
        case "ge":
            since = span.low
        case "gt":
            since = span.high
        case "lt":
            until = span.low
        case "le":
            until = span.high
        case _:
            since, until = span.low, span.high
    search = asked.search
    sinces = [each for each in (since, search.since) if each is not None]
    untils = [each for each in (until, search.until) if each is not None]
    narrowed = replace(
        search, since=max(sinces, default=None), until=min(untils, default=None)
    )
    return replace(asked, search=narrowed)


def _patient(asked: Asked, value: str) -> Asked:
    named = _unescaped(_one(value)).removeprefix("Patient/")
    return _searching(asked, patient=named)


def _patient_identifier(asked: Asked, value: str) -> Asked:
    return _searching(asked, patient=_without_system(value))


def _agent(asked: Asked, value: str) -> Asked:
    return _searching(asked, user=_unescaped(_one(value)))


def _agent_identifier(asked: Asked, value: str) -> Asked:
    return _searching(asked, user=_without_system(value))


def _without_system(value: str) -> str:
    system, said = _identifier(value)
    if system:
        raise refused("identifiers have no system here; write |value")
    return said


def _entity(asked: Asked, value: str) -> Asked:
    said = _unescaped(_one(value))
    if said.startswith("ImagingStudy/"):
        return _study(asked, said.removeprefix("ImagingStudy/"))
    if said.startswith(_OID):
        return _study(asked, said)
    return _searching(asked, patient=said.removeprefix("Patient/"))


def _entity_identifier(asked: Asked, value: str) -> Asked:
    system, said = _identifier(value)
    if system == UID_SYSTEM or (not system and said.startswith(_OID)):
        return _study(asked, said)
    return _searching(asked, patient=_without_system(value))


def _study(asked: Asked, value: str) -> Asked:
    uid = value.removeprefix(_OID)
    if not _UID.fullmatch(uid):
        raise refused("a study is named by its UID")
    return _searching(asked, study=uid)


def _searching(asked: Asked, **said: str) -> Asked:
    """Return a search for one more thing.

    Raises:
        Problem: 400, two parameters say two patients.
    """
    for name, value in said.items():
        before = getattr(asked.search, name)
        if not value:
            raise refused("a value is empty or too long")
        if before is not None and before != value:
            raise refused("two parameters ask for the same in two ways")
    return replace(asked, search=replace(asked.search, **said))  # type: ignore[arg-type]


def _address(asked: Asked, value: str) -> Asked:
    return _searching(asked, address=_unescaped(_one(value)))


def _type(asked: Asked, value: str) -> Asked:
    known = frozenset(
        EventID(each) for each in _codes(value, DCM) & frozenset(map(str, EventID))
    )
    if len(known) == 1:
        (event,) = known
        return replace(asked, search=replace(asked.search, event=event))
    search = replace(asked.search, events=known)
    return replace(asked, search=search, is_possible=asked.is_possible and bool(known))


def _subtype(asked: Asked, value: str) -> Asked:
    known = _codes(value, DCM) & frozenset(map(str, EventType))
    search = replace(asked.search, types=known)
    return replace(asked, search=search, is_possible=asked.is_possible and bool(known))


def _outcome(asked: Asked, value: str) -> Asked:
    codes = _codes(value, "http://terminology.hl7.org/CodeSystem/audit-event-outcome")
    known = frozenset(each for each in Outcome if str(int(each)) in codes)
    search = replace(asked.search, outcomes=known)
    return replace(asked, search=search, is_possible=asked.is_possible and bool(known))


def _count(asked: Asked, value: str) -> Asked:
    if not _COUNT.fullmatch(value) or not int(value):
        raise refused("_count is a number from 1 on")
    return replace(asked, count=min(int(value), COUNT_MAX))


def _format(asked: Asked, value: str) -> Asked:
    if value.partition(";")[0].strip().lower() not in _FORMATS:
        raise Problem(HTTPStatus.NOT_ACCEPTABLE, "JSON is what there is")
    return asked


def _sort(asked: Asked, value: str) -> Asked:
    if value != "-date":
        raise refused("the newest come first: _sort=-date")
    return asked


_PARAMETERS: Final[Mapping[str, Callable[[Asked, str], Asked]]] = MappingProxyType(
    {
        "date": _date,
        "patient": _patient,
        "patient.identifier": _patient_identifier,
        "patient:identifier": _patient_identifier,
        "entity": _entity,
        "entity.identifier": _entity_identifier,
        "entity:identifier": _entity_identifier,
        "agent": _agent,
        "agent.identifier": _agent_identifier,
        "agent:identifier": _agent_identifier,
        "address": _address,
        "address:exact": _address,
        "type": _type,
        "subtype": _subtype,
        "outcome": _outcome,
        COUNT: _count,
        FORMAT: _format,
        SORT: _sort,
    }
)
_KNOWN: Final = frozenset(_PARAMETERS)


def is_lenient(preferences: Iterable[str]) -> bool:
    """Tell whether a client wants unknown parameters ignored (FHIR R4 §3.1.1.3)."""
    said = {each.strip() for line in preferences for each in line.split(",")}
    return "handling=lenient" in said and "handling=strict" not in said
