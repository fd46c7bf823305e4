"""The same facts as other programs would have written them.

ATNA messages and FHIR resources are made by the code that sends our own record, so
that whoever takes a trail in is tried with what a real node says.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from leadglass.access.rights import Right
from leadglass.assurance.trails.fact import Fact, Kind, Touched
from leadglass.audit.accounts import AccountEvents
from leadglass.audit.builders import (
    Actor,
    Association,
    DeviceChange,
    Events,
    Medium,
    Node,
    Question,
    Result,
    Service,
    Study,
)
from leadglass.audit.codes import EventType, Outcome
from leadglass.audit.emergency import BrokenGlass, EmergencyEvents
from leadglass.audit.events import AuditSource, Event, SOPClass, encode
from leadglass.audit.fhir import audit_event
from leadglass.audit.search import Record
from leadglass.audit.xml import message

NODE: Final = Node("simulated", "LEADGLASS", "10.1.0.1")
_EVENTS: Final = Events(NODE)
_ACCOUNTS: Final = AccountEvents(NODE)
_EMERGENCIES: Final = EmergencyEvents(NODE)
_SOURCE: Final = AuditSource(NODE.name)

_SECONDARY_CAPTURE: Final = "1.2.840.10008.5.1.4.1.1.7"
_STUDY_ROOT_FIND: Final = "1.2.840.10008.5.1.4.1.2.2.1"

_Made = tuple[Event, ...]


def _actor(fact: Fact) -> Actor:
    return Actor(
        name=fact.who or fact.ae_title or fact.address,
        address=fact.address,
        ae_title=fact.ae_title,
        certificate=fact.certificate,
        channel=fact.channel,
        kind=fact.who_kind,
    )


def _association(fact: Fact) -> Association:
    return Association(fact.called, fact.ae_title, "", fact.implementation)


def _result(fact: Fact) -> Result:
    return Result(Outcome(int(fact.ending)), fact.what)


def _studies(fact: Fact) -> tuple[Study, ...]:
    """Return the studies of a fact; its instances are in the first of them."""
    counted = (SOPClass(_SECONDARY_CAPTURE, fact.instances),) if fact.instances else ()
    named = [(uid, each) for each in fact.touched for uid in each.studies or ("",)]
    return tuple(
        Study(uid, each.patient, sop_classes=counted if at == 0 else ())
        for at, (uid, each) in enumerate(named)
    )


def _destination(fact: Fact) -> Actor | None:
    title = fact.destination
    return Actor(name=title, ae_title=title) if title else None


def _authentication(fact: Fact) -> _Made:
    if fact.kind is Kind.LOGOUT:
        return (_ACCOUNTS.logged_out(_actor(fact)),)
    if not fact.succeeded:
        return (_ACCOUNTS.login_failed(_actor(fact), fact.what),)
    return (_ACCOUNTS.logged_in(_actor(fact), fact.details.get("method", "")),)


def _associated(fact: Fact) -> _Made:
    actor, association = _actor(fact), _association(fact)
    if fact.succeeded:
        return (_EVENTS.association_accepted(actor, association),)
    return (_EVENTS.association_refused(actor, association, fact.what),)


def _asked(fact: Fact) -> _Made:
    # As a URL: a value has no blank in it.
    keys = fact.details.get("keys", "").replace("~", "=").replace(" ", "&")
    level = fact.details.get("level", "")
    question = Question(_STUDY_ROOT_FIND, keys.encode(), "", level, fact.service)
    told = [(t.patient, uid) for t in fact.touched for uid in t.studies or ("",)]
    return _EVENTS.query(_actor(fact), question, told, _result(fact))


def _right(fact: Fact) -> Right:
    if fact.kind is Kind.VIEW:
        return Right.VIEW
    return Right.MOVE if fact.service == Service.C_MOVE else Right.GET


def _began(fact: Fact) -> _Made:
    return _EVENTS.begin_transferring(
        _actor(fact),
        _studies(fact),
        destination=_destination(fact),
        service=fact.service,
        right=_right(fact),
    )


def _left(fact: Fact) -> _Made:
    return _EVENTS.transferred(
        _actor(fact),
        _studies(fact),
        _result(fact),
        destination=_destination(fact),
        service=fact.service,
    )


def _came(fact: Fact) -> _Made:
    service = fact.service or Service.C_STORE
    return _EVENTS.stored(_actor(fact), _studies(fact), _result(fact), service=service)


def _exported(fact: Fact) -> _Made:
    told = fact.details.get("anonymized")
    medium = Medium(
        fact.destination, is_anonymized=None if told is None else told == "True"
    )
    return _EVENTS.exported(_actor(fact), _studies(fact), medium)


def _glass(fact: Fact) -> _Made:
    touched = fact.touched[0] if fact.touched else Touched("")
    glass = BrokenGlass(
        int(fact.details.get("glass", "0")),
        fact.details.get("person", fact.who),
        touched.patient,
        "emergency",
        "",
    )
    actor = _actor(fact)
    match fact.kind:
        case Kind.GLASS_BROKEN:
            return (_EMERGENCIES.started(actor, glass),)
        case Kind.GLASS_OVER:
            return (_EMERGENCIES.stopped(actor, glass, "its time"),)
    return (_EMERGENCIES.reviewed(actor, glass, "justified", ""),)


def _changed(fact: Fact) -> _Made:
    device = fact.details.get("device")
    if device:
        mark = fact.details.get("certificate", "")
        change = DeviceChange(device, certificate=mark)
        enrolled = "enrolled" in fact.what
        make = _EVENTS.device_enrolled if enrolled else _EVENTS.device_renewed
        return (make(_actor(fact), change),)
    if fact.what == "rules changed":
        return (_EVENTS.rules_changed(_actor(fact), {}),)
    return (_EVENTS.configuration_changed(_actor(fact), {"what": fact.what}),)


def _erased(fact: Fact) -> _Made:
    reason = fact.details.get("reason", "")
    return tuple(
        _EVENTS.study_erased(_actor(fact), study, reason) for study in _studies(fact)
    )


def _set_aside(fact: Fact) -> _Made:
    return tuple(
        _EVENTS.quarantined(_actor(fact), study, {}) for study in _studies(fact)
    )


def _refused(fact: Fact) -> _Made:
    function = fact.details.get("right", "")
    return (_EVENTS.access_refused(_actor(fact), function, "no rule", _studies(fact)),)


def _read(fact: Fact) -> _Made:
    return (_EVENTS.audit_log_used(_actor(fact), fact.what, 100),)


def _running(fact: Fact) -> _Made:
    if fact.kind is Kind.START:
        return (_EVENTS.application_started("1.0"),)
    return (_EVENTS.application_stopped(fact.what),)


def _recording(fact: Fact) -> _Made:
    stopped = fact.kind is Kind.AUDIT_STOPPED
    type_ = (
        EventType.AUDIT_RECORDING_STOPPED
        if stopped
        else EventType.AUDIT_RECORDING_STARTED
    )
    event = _EVENTS.configuration_changed(_actor(fact), {"what": str(fact.kind)})
    return (replace(event, types=(type_,)),)


_MADE: Final[Mapping[Kind, Callable[[Fact], _Made]]] = {
    Kind.LOGIN: _authentication,
    Kind.LOGOUT: _authentication,
    Kind.ASSOCIATE: _associated,
    Kind.ECHO: lambda fact: (_EVENTS.echo(_actor(fact)),),
    Kind.QUERY: _asked,
    Kind.VIEW: _began,
    Kind.RETRIEVE: _began,
    Kind.TRANSFERRED: _left,
    Kind.STORE: _came,
    Kind.GATE: _came,
    Kind.CONFLICT: _set_aside,
    Kind.EXPORT: _exported,
    Kind.DELETE: _erased,
    Kind.REFUSED: _refused,
    Kind.CHANGE: _changed,
    Kind.GLASS_BROKEN: _glass,
    Kind.GLASS_OVER: _glass,
    Kind.GLASS_REVIEWED: _glass,
    Kind.AUDIT_READ: _read,
    Kind.AUDIT_STOPPED: _recording,
    Kind.AUDIT_STARTED: _recording,
    Kind.START: _running,
    Kind.STOP: _running,
}


def records(facts: Iterator[Fact]) -> Iterator[Record]:
    """Yield the records that a node would have kept of facts, numbered anew."""
    number = 0
    for fact in facts:
        for event in _MADE[fact.kind](fact):
            time_us = round(fact.time.timestamp() * 1_000_000)
            data = encode(event.members(_SOURCE.members(), time_us))
            yield Record(number, fact.time, 0, 0, data)
            number += 1


def atna(facts: Iterator[Fact]) -> Iterator[str]:
    """Yield audit messages (PS3.15 §A.5.1), each on one line."""
    for record in records(facts):
        yield message(record, NODE.name).text


def fhir(facts: Iterator[Fact]) -> Iterator[str]:
    """Yield FHIR R4 AuditEvents as NDJSON."""
    for record in records(facts):
        yield json.dumps(audit_event(record, NODE.name))


COLUMNS: Final = (
    *("time", "kind", "outcome", "who", "who_kind", "ae_title", "called", "address"),
    *("certificate", "implementation", "channel", "service", "destination", "what"),
    *("returned", "instances", "patient", "studies"),
)
_OF_FACT: Final = COLUMNS[3:-2]


def table(facts: Iterator[Fact]) -> Iterator[str]:
    """Yield lines of CSV (RFC 4180): a heading, then each patient of each fact."""
    yield _row(COLUMNS)
    for fact in facts:
        own = [str(getattr(fact, name)) for name in _OF_FACT]
        begin = (fact.time.isoformat(), str(fact.kind), str(int(fact.ending)))
        for each in fact.touched or (Touched(""),):
            yield _row((*begin, *own, each.patient, " ".join(each.studies)))


def _row(cells: tuple[str, ...]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="").writerow(cells)
    return stream.getvalue()


DIALECTS: Final[Mapping[str, Callable[[Iterator[Fact]], Iterator[str]]]] = {
    "atna": atna,
    "fhir": fhir,
    "csv": table,
}
