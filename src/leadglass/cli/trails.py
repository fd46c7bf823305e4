"""``leadglass audit import`` and ``leadglass audit trails``."""

from argparse import Namespace
from datetime import datetime
from pathlib import Path
from typing import Any

from leadglass.app import Node
from leadglass.assurance.trails.formats.source import (
    YEAR_MAX,
    YEAR_MIN,
    Options,
    zone_of,
)
from leadglass.assurance.trails.formats.table import MAPPING_BYTES_MAX, mapping_of
from leadglass.assurance.trails.importing import Source
from leadglass.assurance.trails.reading import TrailInfo
from leadglass.cli.answers import Answer, Table, counted, indented, time_text
from leadglass.cli.failures import UsageError
from leadglass.cli.progress import progress
from leadglass.cli.session import Session
from leadglass.errors import Misconfigured


def take(session: Session) -> Answer:
    """Import a log."""
    arguments = session.arguments
    source = Source(
        path=Path(arguments.file),
        format=arguments.format,
        name=arguments.name or "",
        options=_options(arguments),
    )
    with Node.open(session.config) as node, progress("importing") as update:
        found = node.trails.take(node.operator, source, update)
    trail = found.trail
    events, bad = counted(trail.facts, "event"), counted(trail.unparsed, "line")
    text = [f"trail {trail.id}: {events}, {bad} that could not be read"]
    if found.was_there:
        text.append("this file had been imported before; nothing was changed")
    text += indented(trail.samples)
    return Answer(
        data={
            "trail": trail.id,
            "name": trail.name,
            "format": trail.format,
            "events": trail.facts,
            "unparsed": trail.unparsed,
            "samples": list(trail.samples),
            "was_there": found.was_there,
        },
        text=tuple(text),
    )


def _options(arguments: Namespace) -> Options:
    year: int | None = arguments.year
    if year is not None and not YEAR_MIN <= year <= YEAR_MAX:
        raise UsageError(f"--year {year}: no such year", "write it with four digits")
    zone = zone_of(arguments.zone) if arguments.zone else None
    options = Options(
        zone=zone,
        year=year,
        mapping=mapping_of(_read(arguments.mapping)) if arguments.mapping else {},
    )
    if not arguments.at:
        return options
    try:
        at = datetime.fromisoformat(arguments.at)
    except ValueError:
        raise UsageError(
            f"--at {arguments.at}: no time", "write 2027-01-31T08:30:00"
        ) from None
    return Options(zone, year, options.aware(at), options.mapping)


def _read(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(MAPPING_BYTES_MAX + 1)
    except OSError as error:
        raise Misconfigured(f"--mapping {path}: {error.strerror}") from None


def list_trails(session: Session) -> Answer:
    """List the trails."""
    with Node.open(session.config) as node:
        node.facts.take_all(node.audit)
        found = node.trails.list(node.operator)
    columns = ("TRAIL", "NAME", "FORMAT", "EVENTS", "UNREAD", "IMPORTED")
    return Answer(
        data={"trails": len(found), "items": [_item(each) for each in found]},
        text=(Table(columns, tuple(_row(each) for each in found)),),
    )


def _item(trail: TrailInfo) -> dict[str, Any]:
    return {
        "trail": trail.id,
        "name": trail.name,
        "format": trail.format,
        "sha256": trail.sha256,
        "imported": time_text(trail.imported_at),
        "events": trail.facts,
        "unparsed": 0 if trail.is_own else trail.unparsed,
        "samples": list(trail.samples),
        "is_whole": trail.is_whole,
    }


def _row(trail: TrailInfo) -> tuple[str, ...]:
    item = _item(trail)
    return (
        str(trail.id),
        trail.name,
        trail.format if trail.is_whole else f"{trail.format}, cut off",
        str(trail.facts),
        str(item["unparsed"]),
        item["imported"],
    )


def remove(session: Session) -> Answer:
    """Remove a trail."""
    with Node.open(session.config) as node:
        found = node.trails.remove(node.operator, session.arguments.number)
    return Answer(
        data={"trail": found.id, "name": found.name, "events": found.facts},
        text=(f"removed: {found.name}, {counted(found.facts, 'event')}",),
    )
