"""``leadglass audit patient`` and ``audit breach``: who saw whom, and how far."""

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from leadglass.app import Node
from leadglass.archive.history import Access, Span
from leadglass.assurance.breach.bounding import (
    Bounds,
    Concerned,
    Source,
    deadlines,
)
from leadglass.assurance.breach.workbench import Workbench
from leadglass.cli.answers import Answer, Table, counted, time_text
from leadglass.cli.failures import UsageError
from leadglass.cli.session import Session
from leadglass.errors import Conflict

_STDIN: Final = "-"
_ID_CHARACTERS_MAX: Final = 258
# 45 CFR 164.528(a): disclosures of six years.
_ACCOUNTED: Final = timedelta(days=2_192)
# Parts of a history; with 500 lines each, more than any patient has.
_PARTS_MAX: Final = 200
_ANY_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


# ── who saw a patient ────────────────────────────────────────────────────────


def patient(session: Session) -> Answer:
    """Tell who saw a patient, as the record has it."""
    arguments = session.arguments
    id_ = arguments.patient
    if id_ == _STDIN:
        id_ = session.stdin.readline(_ID_CHARACTERS_MAX).strip()
    since = _moment(arguments.since) or datetime.now(UTC) - _ACCOUNTED
    until = _moment(arguments.until)
    accesses: list[Access] = []
    after: int | None = None
    is_whole = False
    with Node.open(session.config) as node:
        for _ in range(_PARTS_MAX):
            part = node.histories(node.operator, id_, Span(since, until, after))
            accesses += part.accesses
            after = part.after
            if after is None:
                is_whole = True
                break
    items = [_line(each) for each in accesses]
    if arguments.csv:
        _write_csv(Path(arguments.csv), items)
    rows = tuple(
        (
            time_text(each.time),
            str(each.act),
            each.who,
            each.address,
            each.service,
            str(sum(part.instances for part in each.studies) or ""),
            str(each.number),
        )
        for each in accesses
    )
    columns = ("TIME", "ACT", "WHO", "FROM", "BY", "IMAGES", "RECORD")
    told = f"{counted(len(accesses), 'act')} since {since:%Y-%m-%d}"
    return Answer(
        data={"accesses": items, "is_whole": is_whole, "since": since.isoformat()},
        text=(Table(columns, rows), told),
    )


def _line(access: Access) -> dict[str, Any]:
    return {
        "record": access.number,
        "time": access.time.isoformat(),
        "act": str(access.act),
        "who": access.who,
        "kind": access.kind,
        "address": access.address,
        "ae_title": access.ae_title,
        "service": access.service,
        "right": str(access.right) if access.right else "",
        "destination": access.destination,
        "outcome": int(access.outcome),
        "broken_glass": access.glass,
        "studies": [asdict(each) for each in access.studies],
    }


# ── how far a breach went ────────────────────────────────────────────────────


def breach(session: Session) -> Answer:
    """Bound a breach: whom it concerns, and how far."""
    arguments = session.arguments
    since, until = _moment(arguments.from_), _moment(arguments.to)
    if since is None or until is None:
        raise UsageError("no window", "give --from TIME and --to TIME")
    sources = [Source.parse(each) for each in arguments.source]
    with Node.open(session.config) as node:
        workbench = Workbench(node.parts, node.facts)
        found, report = workbench(node.operator, sources, since, until)
    data = _told(found, since, until, sources)
    data["proof"] = {
        "records": report.records,
        "root": report.root,
        "checkpoints": report.checkpoints,
        "is_intact": report.is_intact,
    }
    if arguments.out:
        _write_folder(Path(arguments.out), data)
    return Answer(data=data, text=_lines(found, data))


def _told(
    found: Bounds, since: datetime, until: datetime, sources: Iterable[Source]
) -> dict[str, Any]:
    return {
        "from": since.isoformat(),
        "to": until.isoformat(),
        "sources": [f"{each.kind}={each.value}" for each in sources],
        "acts": found.acts,
        "failed": found.failed,
        "counts": {
            "images": len(found.seen),
            "demographics": len(found.listed),
            "neither": found.neither,
        },
        "images_begun": found.begun,
        "images_left": found.left,
        "patients": [_patient(each) for each in (*found.seen, *found.listed)],
        "deadlines": [
            {"whom": each.whom, "until": each.until.isoformat(), "clause": each.clause}
            for each in deadlines(found.concerned, datetime.now(UTC))
        ],
    }


def _patient(each: Concerned) -> dict[str, Any]:
    return {
        "patient": each.patient,
        "reach": each.reach.name.lower(),
        "acts": each.acts,
        "first": each.first.isoformat(),
        "last": each.last.isoformat(),
        "studies": list(each.studies),
    }


def _lines(found: Bounds, data: Mapping[str, Any]) -> tuple[str | Table, ...]:
    counts = data["counts"]
    rows = (
        ("images shown or sent", str(counts["images"])),
        ("demographics returned, no image", str(counts["demographics"])),
        ("not reached, of the patients that are here", str(counts["neither"])),
    )
    proof = data["proof"]
    return (
        Table(("PATIENTS", "COUNT"), rows),
        (
            f"{counted(found.acts, 'act')} of these sources, {found.failed} of them "
            f"failed; {found.begun} images were to leave, {found.left} are recorded "
            "as left"
        ),
        (
            f"the record is intact: {counted(proof['records'], 'record')} under "
            f"{counted(proof['checkpoints'], 'checkpoint')}, root {proof['root'][:16]}…"
        ),
        *(
            f"until {each['until'][:10]}: {each['whom']} ({each['clause']})"
            for each in data["deadlines"]
        ),
    )


# What 45 CFR 164.402(2) asks; what the record knows is filled in.
_FACTORS: Final = (
    (
        "Nature and extent of the health information, and how easily people are told",
        (
            "{images} patients: images with identifying attributes; {demographics} "
            "patients: names, numbers, birth dates or examinations in answers"
        ),
    ),
    ("Who used it or to whom it was disclosed", "{sources}"),
    (
        "Whether it was actually acquired or viewed",
        (
            "{left} of {begun} images are recorded as left; of patients that are "
            "in no list, the record shows no act of these sources"
        ),
    ),
    ("How far the risk has been mitigated", ""),
)


def _write_folder(folder: Path, data: Mapping[str, Any]) -> None:
    """Write what an officer goes on with: numbers, letters, the worksheet."""
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError as error:
        raise Conflict("that folder is there already; name a new one") from error
    (folder / "breach.json").write_text(json.dumps(data, indent=1), "utf-8")
    _write_csv(folder / "letters.csv", data["patients"])
    filled = {
        **data["counts"],
        "sources": ", ".join(data["sources"]),
        "begun": data["images_begun"],
        "left": data["images_left"],
    }
    lines = [
        "# Assessment of a breach (45 CFR 164.402)",
        "",
        f"Window: {data['from']} to {data['to']}. Sources: {filled['sources']}.",
        "",
        (
            "A use or disclosure is presumed to be a breach unless a low probability "
            "of compromise is shown. What the record knows is filled in."
        ),
    ]
    for question, answer in _FACTORS:
        lines += ["", f"## {question}", "", answer.format(**filled), "", "Assessment:"]
    lines += ["", "## Who is to be told", ""]
    lines += [
        f"- {each['whom']}, until {each['until'][:10]} ({each['clause']})"
        for each in data["deadlines"]
    ]
    (folder / "assessment.md").write_text("\n".join(lines) + "\n", "utf-8")


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("x", newline="", encoding="utf-8") as file:
        if not rows:
            return
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(
            {name: _cell(value) for name, value in row.items()} for row in rows
        )


def _cell(value: Any) -> str:
    """Return a cell that no spreadsheet takes for a formula."""
    text = json.dumps(value) if isinstance(value, list | dict) else str(value)
    return f"'{text}" if text.startswith(_ANY_FORMULA) else text


def _moment(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{text}: no time", "write 2027-01-31 or 2027-01-31T08:30:00"
        ) from None
