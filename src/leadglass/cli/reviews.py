"""``leadglass reviews``: judging what others did by breaking the glass."""

from typing import Final

from leadglass.app import Node
from leadglass.archive.emergency import Emergency, Verdict
from leadglass.cli.answers import Answer
from leadglass.cli.emergencies import data_of, table, with_patient
from leadglass.cli.failures import UsageError
from leadglass.cli.session import Session

_VERDICTS: Final = {str(each).replace(" ", "-"): each for each in Verdict}


def list_open(session: Session) -> Answer:
    """List the reviews that wait for a signature."""
    with Node.open(session.config) as node:
        found = node.emergencies.open_reviews(node.operator)
        now = node.emergencies.clock()
    items = [
        data_of(
            each, standing=each.is_standing(now), with_patient=with_patient(session)
        )
        for each in found
    ]
    return Answer(
        data={"open": len(items), "items": items},
        text=(table(items),) if items else ("no review is open",),
    )


def show(session: Session) -> Answer:
    """Show one, signed or not."""
    with Node.open(session.config) as node:
        found = node.emergencies.get(node.operator, session.arguments.number)
        standing = found.is_standing(node.emergencies.clock())
    return _one(session, found, standing=standing)


def sign(session: Session) -> Answer:
    """Close one."""
    arguments = session.arguments
    verdict = _VERDICTS.get(arguments.verdict)
    if verdict is None:
        raise UsageError("--verdict: unknown", f"write {' or '.join(_VERDICTS)}")
    with Node.open(session.config) as node:
        signed = node.emergencies.sign(
            node.operator, arguments.number, verdict, arguments.note
        )
    return _one(session, signed, standing=False)


def _one(session: Session, found: Emergency, *, standing: bool) -> Answer:
    data = data_of(found, standing=standing, with_patient=with_patient(session))
    lines = tuple(
        f"{name.replace('_', ' ')}: {'yes' if value is True else value}"
        for name, value in data.items()
        if value
    )
    return Answer(data={"review": data}, text=lines)
