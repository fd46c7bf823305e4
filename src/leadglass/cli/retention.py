"""``leadglass audit retention``, ``hold``, ``order`` and ``erase-person``."""

from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from leadglass.app import Node
from leadglass.archive.emergency import PATIENT_ID_CHARACTERS_MAX
from leadglass.archive.orders import Order, State
from leadglass.archive.retention import Hold, Subject
from leadglass.cli.answers import Answer, Table, counted, time_text
from leadglass.cli.failures import UsageError
from leadglass.cli.progress import progress
from leadglass.cli.session import Session
from leadglass.errors import Misconfigured

_STDIN: Final = "-"
_PRUNE: Final = "prune"
_CONFIRM: Final = "confirm"

# ── retention ────────────────────────────────────────────────────────────────


def show(session: Session) -> Answer:
    """Show how long records stay, and what was pruned."""
    with Node.open(session.config) as node:
        found = node.retention.show(node.operator)
    standing = [each for each in found.holds if each.is_standing]
    pruned = found.pruned
    text = [
        (
            f"records stay {found.policy.days} days; those from before "
            f"{time_text(found.cutoff)} may go"
        ),
        (
            f"{counted(found.size, 'record')} so far; the oldest that is left is of "
            f"{time_text(found.oldest) or 'no time'}"
        ),
        (
            f"pruned: {counted(len(pruned.numbers), 'record')}, as record "
            f"{pruned.order} says"
            if pruned.order is not None
            else "nothing was pruned"
        ),
        f"{counted(len(standing), 'legal hold')} standing",
    ]
    text += [f"{name} has {done} of them" for name, done in found.positions.items()]
    return Answer(
        data={
            "years": found.policy.years,
            "unsafe_years": found.policy.unsafe_years,
            "days": found.policy.days,
            "cutoff": time_text(found.cutoff),
            "records": found.size,
            "oldest": time_text(found.oldest) or None,
            "pruned": len(pruned.numbers),
            "pruned_numbers": str(pruned.numbers),
            "pruned_by": pruned.order,
            "holds": len(standing),
            "positions": dict(found.positions),
        },
        text=tuple(text),
    )


def run(session: Session) -> Answer:
    """Prune what is old, and go on with erasures that were cut off."""
    arguments = session.arguments
    dry_run: bool = arguments.dry_run
    if not dry_run and not arguments.yes:
        session.confirm(
            "Old audit records will be destroyed; no command brings them back.", _PRUNE
        )
    with Node.open(session.config) as node, progress("looking") as update:
        finished = () if dry_run else node.orders.finish_all(node.operator)
        found = node.retention.run(node.operator, dry_run=dry_run, progress=update)
        node.database.settle()
    did = "would be pruned" if dry_run else "pruned"
    text = [f"{counted(found.pruned, 'record')} {did}"]
    text += [
        f"{counted(count, 'record')} stay for legal hold {number}"
        for number, count in sorted(found.held.items())
    ]
    if found.needed:
        text.append(
            f"{counted(found.needed, 'record')} stay: without them what is left could "
            "not be proven"
        )
    if found.waiting:
        text.append(f"the rest waits for {', '.join(found.waiting)}")
    if finished:
        text.append(f"{counted(len(finished), 'erasure')} carried out to the end")
    return Answer(
        data={
            "dry_run": dry_run,
            "cutoff": time_text(found.cutoff),
            "pruned": found.pruned,
            "portions": found.portions,
            "held": {str(number): count for number, count in found.held.items()},
            "needed": found.needed,
            "waiting": list(found.waiting),
            "erasures_finished": [each.id for each in finished],
        },
        text=tuple(text),
    )


# ── holds ────────────────────────────────────────────────────────────────────


def add_hold(session: Session) -> Answer:
    """Keep records, whatever their age."""
    arguments = session.arguments
    subject = Subject(
        since=_moment(arguments, "since"),
        until=_moment(arguments, "until"),
        patient=_patient(session),
        study=arguments.study,
        person=arguments.person,
    )
    with Node.open(session.config) as node:
        placed = node.retention.place(node.operator, subject, arguments.reason)
    return Answer(
        data={"hold": _hold(placed, with_patient=False)},
        text=(f"placed: legal hold {placed.id}; two people release it",),
    )


def list_holds(session: Session) -> Answer:
    """List the holds; all that were ever placed, if asked."""
    arguments = session.arguments
    with Node.open(session.config) as node:
        found = [
            each
            for each in node.retention.show(node.operator).holds
            if arguments.all or each.is_standing
        ]
    items = [_hold(each, with_patient=arguments.with_patient) for each in found]
    columns: tuple[str, ...] = (
        "number",
        "since",
        "until",
        "study",
        "person",
        "placed_by",
        "reason",
    )
    columns += ("patient_id",) if arguments.with_patient else ()
    rows = tuple(tuple(str(each[name] or "") for name in columns) for each in items)
    heading = tuple(name.replace("_", " ").upper() for name in columns)
    return Answer(
        data={"holds": len(items), "items": items},
        text=(Table(heading, rows),) if items else ("no legal hold",),
    )


def release_hold(session: Session) -> Answer:
    """Ask that a hold be released."""
    arguments = session.arguments
    with Node.open(session.config) as node:
        asked = node.orders.ask_release(
            node.operator, arguments.number, arguments.reason
        )
        item = _order(asked, asked.state(node.retention.clock()))
    return Answer(data={"order": item}, text=(_asked(asked),))


def _hold(hold: Hold, *, with_patient: bool) -> dict[str, Any]:
    subject = hold.subject
    return {
        "number": hold.id,
        "reason": hold.reason,
        "since": time_text(subject.since) or None,
        "until": time_text(subject.until) or None,
        "study": subject.study,
        "person": subject.person,
        "has_patient": subject.patient is not None,
        "placed_by": hold.placed_by,
        "placed_at": time_text(hold.placed_at),
        "released_by": hold.released_by or None,
        "released_at": time_text(hold.released_at) or None,
        **({"patient_id": subject.patient} if with_patient else {}),
    }


# ── orders ───────────────────────────────────────────────────────────────────


def erase_person(session: Session) -> Answer:
    """Ask that a person's data be erased from the record."""
    patient = _patient(session)
    if patient is None:
        raise UsageError(
            "whose data?", "give a Patient ID, - for standard input, or --id-file"
        )
    with Node.open(session.config) as node:
        receipt = node.orders.ask_erasure(
            node.operator, patient, session.arguments.reason
        )
        item = _order(receipt.order, receipt.order.state(node.retention.clock()))
    return Answer(
        data={"order": item, "records": receipt.records, "salt": receipt.salt},
        text=(
            f"{counted(receipt.records, 'record')} would lose their content",
            _asked(receipt.order),
            (
                f"keep this for whoever asks later whom it was about: {receipt.salt}; "
                "it is kept nowhere else"
            ),
        ),
    )


def list_orders(session: Session) -> Answer:
    """List what was asked for."""
    with Node.open(session.config) as node:
        now = node.retention.clock()
        found = node.orders.latest(node.operator)
        items = [_order(each, each.state(now)) for each in found]
    columns = ("number", "kind", "state", "asked_by", "decided_by", "records", "reason")
    rows = tuple(tuple(str(each[name] or "") for name in columns) for each in items)
    heading = tuple(name.replace("_", " ").upper() for name in columns)
    return Answer(
        data={"orders": len(items), "items": items},
        text=(Table(heading, rows),) if items else ("no orders",),
    )


def confirm(session: Session) -> Answer:
    """Confirm what somebody else asked for."""
    arguments = session.arguments
    if not arguments.yes:
        session.confirm(
            "The order will be carried out; no command takes it back.", _CONFIRM
        )
    return _decide(session, is_refused=False)


def refuse(session: Session) -> Answer:
    """Refuse what was asked for."""
    return _decide(session, is_refused=True)


def _decide(session: Session, *, is_refused: bool) -> Answer:
    number = session.arguments.number
    with Node.open(session.config) as node:
        decide = node.orders.refuse if is_refused else node.orders.confirm
        done = decide(node.operator, number)
        state = done.state(node.retention.clock())
    said = f"order {done.id} ({done.kind}): {state}"
    if done.records:
        said += f"; {counted(done.records, 'record')} lost their content"
    return Answer(data={"order": _order(done, state)}, text=(said,))


def _asked(order: Order) -> str:
    return (
        f"asked for: order {order.id}; somebody else who has logged in confirms it, on "
        "the page Keep and erase (/keeping)"
    )


def _order(order: Order, state: State) -> dict[str, Any]:
    return {
        "number": order.id,
        "kind": str(order.kind),
        "state": str(state),
        "hold": order.hold,
        "person_sha256": order.digest or None,
        "reason": order.reason,
        "asked_by": order.asked_by,
        "asked_at": time_text(order.asked_at),
        "decided_by": order.decided_by or None,
        "decided_at": time_text(order.decided_at) or None,
        "done_at": time_text(order.done_at) or None,
        "records": order.records,
        "kept_for_others": order.kept_for_others,
    }


# ── what was typed ───────────────────────────────────────────────────────────


def _patient(session: Session) -> str | None:
    """Return the Patient ID that was named; a file or a pipe keeps it off lists."""
    arguments = session.arguments
    patient: str | None = arguments.patient
    file: str | None = arguments.id_file
    if file is not None:
        if patient is not None:
            raise UsageError("two Patient IDs", "give one, or --id-file")
        patient = _first_line(file)
    elif patient == _STDIN:
        patient = session.stdin.readline(PATIENT_ID_CHARACTERS_MAX + 2)
    if patient is None:
        return None
    patient = patient.strip()
    if not 0 < len(patient) <= PATIENT_ID_CHARACTERS_MAX:
        raise UsageError(
            "no Patient ID", f"write 1 to {PATIENT_ID_CHARACTERS_MAX} characters"
        )
    return patient


def _first_line(path: str) -> str:
    try:
        with Path(path).open(encoding="utf-8") as file:
            return file.readline(PATIENT_ID_CHARACTERS_MAX + 2)
    except (OSError, UnicodeDecodeError):
        raise Misconfigured("--id-file: cannot be read; name a file of text") from None


def _moment(arguments: Namespace, option: str) -> datetime | None:
    """Read a time; one without a zone is of this machine's zone."""
    text = getattr(arguments, option)
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"--{option} {text}: no time", "write 2027-01-31 or 2027-01-31T08:30:00"
        ) from None
