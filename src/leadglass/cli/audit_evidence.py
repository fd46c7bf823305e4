"""``leadglass audit evidence``: a folder that convinces who does not trust us."""

from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from leadglass.app import Node
from leadglass.archive.emergency import PATIENT_ID_CHARACTERS_MAX
from leadglass.archive.trail import Selection, Trail
from leadglass.cli.answers import Answer, counted
from leadglass.cli.failures import UsageError
from leadglass.cli.session import Session

_STDIN: Final = "-"


def write(session: Session) -> Answer:
    """Write the folder."""
    arguments = session.arguments
    selection = _selection(session)
    with Node.open(session.config) as node:
        made = Trail(node.parts).evidence(
            node.operator, selection, Path(arguments.out).absolute()
        )
    text = [
        (
            f"written: {arguments.out}: {counted(made.records, 'record')}, "
            f"{made.opened} opened, under {counted(made.checkpoints, 'checkpoint')}"
        ),
        (
            f"who has the key checks it with: python3 {arguments.out}/verify.py --key "
            f"{made.key}"
        ),
    ]
    if made.others:
        text.append(
            f"{counted(made.others, 'record')} opened in it name other patients, too; "
            "--without-others keeps those closed"
        )
    return Answer(
        data={
            "out": str(made.folder),
            "records": made.records,
            "opened": made.opened,
            "others": made.others,
            "checkpoints": made.checkpoints,
            "size": made.size,
            "root": made.root,
            "key": made.key,
            "files": made.files,
        },
        text=tuple(text),
    )


def _selection(session: Session) -> Selection:
    arguments = session.arguments
    is_by_number = bool(arguments.event)
    if is_by_number == (arguments.patient is not None or arguments.window is not None):
        raise UsageError(
            "evidence of what?",
            "give --event, or --patient, or --window, or both of these",
        )
    return Selection(
        patient=_patient(session),
        window=_window(arguments),
        numbers=tuple(arguments.event),
        without_others=arguments.without_others,
    )


def _patient(session: Session) -> str | None:
    patient: str | None = session.arguments.patient
    if patient == _STDIN:
        patient = session.stdin.readline(PATIENT_ID_CHARACTERS_MAX + 2)
    if patient is None:
        return None
    patient = patient.strip()
    if not 0 < len(patient) <= PATIENT_ID_CHARACTERS_MAX:
        raise UsageError(
            "--patient: no Patient ID",
            f"write 1 to {PATIENT_ID_CHARACTERS_MAX} characters",
        )
    return patient


def _window(arguments: Namespace) -> tuple[datetime, datetime] | None:
    if arguments.window is None:
        return None
    since, until = map(_moment, arguments.window)
    if since >= until:
        raise UsageError("--window: ends before it begins", "write the earlier first")
    return since, until


def _moment(text: str) -> datetime:
    """Read a time; one without a zone is of this machine's zone."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"--window {text}: no time", "write 2027-01-31 or 2027-01-31T08:30:00"
        ) from None
