"""``leadglass lists``: lists of patients, which scopes name."""

from collections.abc import Iterator
from typing import Final

from leadglass.app import Node
from leadglass.cli.answers import Answer, Table, counted, indented
from leadglass.cli.failures import UsageError
from leadglass.cli.session import Session

# A list of processes shows what was typed; what is read from here it does not.
_STDIN: Final = "-"
# As one change takes at most (``index.lists``); more is another file.
_LINES_MAX: Final = 1_000
# A Patient ID has 64 characters (PS3.5 §6.2); longer ones are told to be none.
_LINE_CHARACTERS_MAX: Final = 1_000


def add(session: Session) -> Answer:
    """Put patients on a list."""
    name, patients = session.arguments.name, typed(session)
    with Node.open(session.config) as node:
        count = node.listing.put_on(node.operator, name, patients)
    return Answer(
        data={"list": name, "added": count},
        text=(f"added: {counted(count, 'patient')} to {name}; in force at once",),
    )


def remove(session: Session) -> Answer:
    """Take patients off a list."""
    name, patients = session.arguments.name, typed(session)
    with Node.open(session.config) as node:
        count = node.listing.take_off(node.operator, name, patients)
    return Answer(
        data={"list": name, "removed": count},
        text=(f"removed: {counted(count, 'patient')} from {name}; in force at once",),
    )


def show(session: Session) -> Answer:
    """Show how many are on one list, and who, if asked."""
    name, with_patient = session.arguments.name, session.arguments.with_patient
    with Node.open(session.config) as node:
        if with_patient:
            found = node.listing.patients(node.operator, name)
            count = len(found)
        else:
            found, count = (), node.listing.lists(node.operator).get(name, 0)
    return Answer(
        data={
            "list": name,
            "patients": count,
            **({"items": list(found)} if with_patient else {}),
        },
        text=(f"{name}: {counted(count, 'patient')}", *indented(found)),
    )


def list_all(session: Session) -> Answer:
    """List the lists."""
    with Node.open(session.config) as node:
        found = node.listing.lists(node.operator)
    rows = tuple((name, str(count)) for name, count in found.items())
    return Answer(
        data={
            "lists": len(found),
            "items": [
                {"list": name, "patients": count} for name, count in found.items()
            ],
        },
        text=(Table(("LIST", "PATIENTS"), rows),)
        if rows
        else ("no lists: leadglass lists add NAME PATIENT_ID",),
    )


def typed(session: Session) -> tuple[str, ...]:
    """Return the Patient IDs that were typed, or read, one a line.

    Raises:
        UsageError: There are none, or too many.
    """
    given: list[str] = session.arguments.patients
    if given != [_STDIN]:
        return tuple(given)
    found = tuple(_lines(session))
    if not found or len(found) > _LINES_MAX:
        raise UsageError(
            "standard input: no Patient ID, or too many",
            f"write 1 to {_LINES_MAX} of them, each on a line of its own",
        )
    return found


def _lines(session: Session) -> Iterator[str]:
    for _ in range(_LINES_MAX + 1):
        line = session.stdin.readline(_LINE_CHARACTERS_MAX)
        if not line:
            return
        if text := line.strip():
            yield text
