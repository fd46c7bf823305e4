"""``leadglass emergencies``: who reaches a patient by broken glass."""

from typing import Any

from leadglass.app import Node
from leadglass.archive.emergency import Emergency
from leadglass.cli.answers import Answer, Table, time_text
from leadglass.cli.session import Session


def list_all(session: Session) -> Answer:
    """List what stands; all of it, the newest first, if asked."""
    arguments = session.arguments
    with Node.open(session.config) as node:
        glass, who = node.emergencies, node.operator
        found = glass.latest(who) if arguments.all else glass.standing(who)
        now = glass.clock()
        items = [
            data_of(
                each, standing=each.is_standing(now), with_patient=with_patient(session)
            )
            for each in found
        ]
    return Answer(
        data={
            "emergencies": len(items),
            "standing": sum(each["standing"] for each in items),
            "items": items,
        },
        text=(table(items),) if items else ("no break-glass access stands",),
    )


def end(session: Session) -> Answer:
    """End one before its time."""
    with Node.open(session.config) as node:
        ended = node.emergencies.stop(node.operator, session.arguments.number)
    return Answer(
        data={
            "emergency": data_of(
                ended, standing=False, with_patient=with_patient(session)
            )
        },
        text=(f"ended: {ended.id}, of {ended.subject.name}; its review is open",),
    )


# ── what is told, here and of reviews ────────────────────────────────────────


def with_patient(session: Session) -> bool:
    """Whether whom it is about was asked for."""
    return bool(session.arguments.with_patient)


def data_of(each: Emergency, *, standing: bool, with_patient: bool) -> dict[str, Any]:
    """Return one as scripts see it; whom it reaches and what was written, if asked."""
    return {
        "number": each.id,
        "person": each.subject.name,
        "standing": standing,
        "address": each.address,
        "started_at": time_text(each.started_at),
        "ends_at": time_text(each.ends_at),
        "stopped_at": time_text(each.stopped_at) or None,
        "reviewed_at": time_text(each.reviewed_at) or None,
        "reviewer": each.reviewer or None,
        "verdict": None if each.verdict is None else str(each.verdict),
        **(
            {
                "patient_id": each.patient_id,
                "reason": each.reason,
                "note": each.note or None,
            }
            if with_patient
            else {}
        ),
    }


def table(items: list[dict[str, Any]]) -> Table:
    """Return them as a table."""
    names = [
        "number",
        "person",
        "state",
        "started_at",
        "ends_at",
        "reviewer",
        "verdict",
    ]
    names += [name for name in ("patient_id", "reason") if name in items[0]]
    rows = tuple(
        tuple(str(each[name] or "") for name in names)
        for each in ({**item, "state": _state(item)} for item in items)
    )
    return Table(tuple(name.replace("_", " ").upper() for name in names), rows)


def _state(item: dict[str, Any]) -> str:
    if item["standing"]:
        return "stands"
    return "signed" if item["reviewed_at"] else "review open"
