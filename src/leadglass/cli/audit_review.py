"""``leadglass audit review``: what rules find in the record, and who judged it."""

from dataclasses import replace
from typing import Any, Final

from leadglass.app import Node
from leadglass.assurance.finding import Finding, worst_first
from leadglass.assurance.review.alerts import DecoyKind, Disposition, Raised, Signature
from leadglass.cli.answers import Answer, Table, counted, time_text
from leadglass.cli.failures import UsageError
from leadglass.cli.progress import progress
from leadglass.cli.session import Session

# Something needs a person: as a scan that found something.
_FOUND: Final = 2
_DISPOSITIONS: Final = {
    "benign": Disposition.BENIGN,
    "breach": Disposition.BREACH,
    "incident": Disposition.INCIDENT,
}
_STDIN: Final = "-"
_LINE_CHARACTERS_MAX: Final = 1_024


def run(session: Session) -> Answer:
    """Review what is new; tell of everything that waits for a person."""
    with Node.open(session.config) as node, progress("reviewing") as update:
        ran = node.review.run(node.operator, update)
        waiting = node.review.waiting(node.operator)
    found = worst_first(_with_number(each.alert.finding(), each.id) for each in waiting)
    rows = tuple(
        (str(f.details["alert"]), f.severity, f.id, f.target, f.title) for f in found
    )
    told = f"{counted(ran.records, 'record')} reviewed, {len(ran.new)} new alerts"
    return Answer(
        data={
            "records": ran.records,
            "new": list(ran.new),
            "open": len(waiting),
            "findings": [each.members() for each in found],
        },
        text=(
            told,
            Table(("ALERT", "SEVERITY", "RULE", "ABOUT", "WHAT"), rows)
            if rows
            else "no alert waits for a person",
        ),
        exit_code=_FOUND if any(each.is_alarming for each in found) else 0,
    )


def _with_number(finding: Finding, number: int) -> Finding:
    return replace(finding, details={**finding.details, "alert": number})


def list_alerts(session: Session) -> Answer:
    """List what waits for a person, or everything."""
    with Node.open(session.config) as node:
        desk = node.review
        of = desk.latest if session.arguments.all else desk.waiting
        found = of(node.operator)
        now = desk.clock()
    items = [_item(each, session) for each in found]
    rows = tuple(
        (
            str(each.id),
            str(each.alert.severity),
            each.alert.rule,
            each.alert.subject,
            each.alert.day.isoformat(),
            str(each.alert.count),
            _state(each) + (", overdue" if each.is_overdue(now) else ""),
        )
        for each in found
    )
    columns = ("ALERT", "SEVERITY", "RULE", "ABOUT", "DAY", "TIMES", "STATE")
    return Answer(
        data={"alerts": len(items), "items": items},
        text=(Table(columns, rows),) if rows else ("no alert waits for a person",),
    )


def show(session: Session) -> Answer:
    """Show one."""
    with Node.open(session.config) as node:
        found = node.review.get(node.operator, session.arguments.number)
    return _one(found, session)


def dispose(session: Session) -> Answer:
    """Say what one was."""
    arguments = session.arguments
    disposition = _DISPOSITIONS.get(arguments.disposition)
    if disposition is None:
        raise UsageError("--as: unknown", f"write {' or '.join(_DISPOSITIONS)}")
    with Node.open(session.config) as node:
        found = node.review.dispose(
            node.operator, arguments.number, disposition, arguments.reason
        )
    return _one(found, session)


def sign(session: Session) -> Answer:
    """Answer for a week."""
    arguments = session.arguments
    with Node.open(session.config) as node:
        signed = node.review.sign(node.operator, arguments.week, arguments.note)
    return Answer(
        data={"signature": _signature(signed)},
        text=(f"signed: week {signed.week}, {counted(signed.alerts, 'alert')}",),
    )


def weeks(session: Session) -> Answer:
    """List the weeks that were signed."""
    with Node.open(session.config) as node:
        found = node.review.signatures(node.operator)
    rows = tuple(
        (each.week, time_text(each.signed_at), each.reviewer, str(each.alerts))
        for each in found
    )
    return Answer(
        data={"weeks": len(found), "items": [_signature(each) for each in found]},
        text=(Table(("WEEK", "SIGNED", "BY", "ALERTS"), rows),)
        if rows
        else ("no week is signed",),
    )


def rules(session: Session) -> Answer:
    """List the rules, and which of them are blind here."""
    with Node.open(session.config) as node:
        found = node.review.rules(node.operator)
    items = [
        {
            "id": each.rule.id,
            "title": each.rule.title,
            "severity": str(each.rule.severity),
            "threshold": each.threshold,
            "unit": each.rule.unit,
            "is_off": each.is_off,
            "lacks": list(each.lacks),
            "why": each.rule.why,
            "remedy": each.rule.remedy,
        }
        for each in found
    ]
    rows = tuple(
        (
            each.rule.id,
            str(each.rule.severity),
            each.rule.title,
            f"{each.threshold:g}",
            "off" if each.is_off else ", ".join(each.lacks),
        )
        for each in found
    )
    return Answer(
        data={
            "rules": len(items),
            "blind": [each.rule.id for each in found if each.lacks],
            "items": items,
        },
        text=(Table(("RULE", "SEVERITY", "WHAT", "THRESHOLD", "LACKS"), rows),),
    )


def list_decoys(session: Session) -> Answer:
    """List the decoys."""
    with Node.open(session.config) as node:
        found = node.review.decoys(node.operator)
    rows = tuple((str(kind), value) for kind, value in found)
    return Answer(
        data={
            "decoys": len(rows),
            "items": [{"kind": kind, "value": value} for kind, value in rows],
        },
        text=(Table(("KIND", "VALUE"), rows),) if rows else ("there is no decoy",),
    )


def set_decoy(session: Session) -> Answer:
    """Name a decoy."""
    kind, value = _decoy(session)
    with Node.open(session.config) as node:
        node.review.set_decoy(node.operator, kind, value)
    return Answer(data={"decoy": str(kind)}, text=(f"set: a decoy {kind}",))


def take_decoy(session: Session) -> Answer:
    """Take a decoy away."""
    kind, value = _decoy(session)
    with Node.open(session.config) as node:
        node.review.take_decoy(node.operator, kind, value)
    return Answer(data={"decoy": str(kind)}, text=(f"taken away: a decoy {kind}",))


def _decoy(session: Session) -> tuple[DecoyKind, str]:
    try:
        kind = DecoyKind(session.arguments.kind)
    except ValueError as error:
        kinds = " or ".join(DecoyKind)
        raise UsageError("no such kind of decoy", f"write {kinds}") from error
    value = session.arguments.value
    if value == _STDIN:
        value = session.stdin.readline(_LINE_CHARACTERS_MAX).strip("\r\n")
    return kind, value


def _state(each: Raised) -> str:
    return "open" if each.disposition is None else str(each.disposition)


def _item(each: Raised, session: Session) -> dict[str, Any]:
    alert = each.alert
    item: dict[str, Any] = {
        "alert": each.id,
        "rule": alert.rule,
        "title": each.title,
        "severity": str(alert.severity),
        "subject": alert.subject,
        "day": alert.day.isoformat(),
        "evidence": alert.evidence,
        "count": alert.count,
        "first": alert.first.isoformat(),
        "last": alert.last.isoformat(),
        "facts": list(alert.facts),
        "state": _state(each),
        "due": each.due_at.isoformat(),
        "escalated": each.escalated_at is not None,
        "reviewer": each.reviewer,
        "reason": each.reason,
        "patients": len(alert.patients),
    }
    if session.arguments.with_patient:
        item["patient_ids"] = list(alert.patients)
    return item


def _one(found: Raised, session: Session) -> Answer:
    item = _item(found, session)
    lines = tuple(
        f"{name.replace('_', ' ')}: {value}"
        for name, value in item.items()
        if value not in ("", [], False)
    )
    return Answer(data={"alert": item}, text=lines)


def _signature(each: Signature) -> dict[str, Any]:
    return {
        "week": each.week,
        "signed": each.signed_at.isoformat(),
        "reviewer": each.reviewer,
        "note": each.note,
        "alerts": each.alerts,
    }
