"""``leadglass audit``: reading, verifying and proving what happened."""

import json
from argparse import Namespace
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from leadglass.app import Node
from leadglass.archive.trail import Record, Search, Trail
from leadglass.audit.checkpoint import NOTE_CHARACTERS_MAX, verifier_key
from leadglass.audit.codes import ID_STUDY_UID, EventID, meaning
from leadglass.audit.events import Event, from_us
from leadglass.audit.findings import Finding, Report
from leadglass.audit.proof import PROOF_CHARACTERS_MAX
from leadglass.audit.proof import verify_proof as check_proof
from leadglass.cli.answers import Answer, Table, counted, time_text
from leadglass.cli.failures import UsageError
from leadglass.cli.session import Session
from leadglass.errors import BadData, Damaged, Misconfigured

_LIMIT: Final = 100
_KEY_BYTES_MAX: Final = 4096
_STDIN: Final = "-"
_PATIENT_CHARACTERS_MAX: Final = 256
# Studies told in a line of a table; --json has all.
_STUDIES_SHOWN_MAX: Final = 3

# ── list ─────────────────────────────────────────────────────────────────────


def list_records(session: Session) -> Answer:
    """List records."""
    arguments = session.arguments
    search = _search(session)
    limit = _LIMIT if arguments.limit is None else arguments.limit
    if limit < 1:
        raise UsageError("--limit below 1", "write how many records to list")
    with Node.open(session.config) as node:
        own = node.audit.origin
        # One more tells whether there are more; the rest is neither read nor told.
        found = list(islice(Trail(node.parts).list(node.operator, search), limit + 1))
        size = node.audit.size()
    items = [
        _item(each, own, with_patient=arguments.with_patient) for each in found[:limit]
    ]
    columns = ("N", "TIME", "EVENT", "OUTCOME", "WHO", "FROM", "WHAT")
    text: list[str | Table] = [Table(columns, tuple(_row(each) for each in items))]
    has_more = len(found) > limit
    if has_more and session.stdout.isatty():
        text.append(f"there are more than {limit}; --limit shows them")
    return Answer(
        data={"records": len(items), "size": size, "more": has_more, "items": items},
        text=tuple(text),
    )


def _search(session: Session) -> Search:
    arguments = session.arguments
    patient = arguments.patient
    if patient == _STDIN:
        patient = session.stdin.readline(_PATIENT_CHARACTERS_MAX).strip("\r\n")
    return Search(
        since=_moment(arguments, "since"),
        until=_moment(arguments, "until"),
        event=_event(arguments.event),
        user=arguments.user,
        address=arguments.address,
        patient=patient,
        study=arguments.study,
        newest_first=not arguments.oldest_first,
    )


def _moment(arguments: Namespace, option: str) -> datetime | None:
    """Read a time; one without a zone is of this machine's zone."""
    text = getattr(arguments, option)
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"--{option} {text}: no time", "write 2027-01-31 or 2027-01-31T08:30:00"
        ) from None
    return found.astimezone(UTC)


def _event(text: str | None) -> EventID | None:
    if text is None:
        return None
    names = {each.name.lower(): each for each in EventID}
    found = names.get(text.lower().replace("-", "_").replace(" ", "_"))
    if found is not None:
        return found
    try:
        return EventID(text)
    except ValueError:
        raise UsageError(
            f"--event {text}: no such event", f"use one of {', '.join(names)}"
        ) from None


def _item(record: Record, own: str, *, with_patient: bool) -> dict[str, Any]:
    """Return a record as scripts see it; without patients unless asked."""
    item: dict[str, Any] = {
        "number": record.n,
        "time": record.time.isoformat(),
    }
    if not record.data:
        return {**item, "event": None, "is_erased": True}
    try:
        event = record.event
    except BadData:  # tampered with; `audit verify` says more
        return {**item, "event": None, "is_readable": False}
    item |= {
        "event": meaning(event.id)[1],
        "code": str(event.id),
        "types": [meaning(each)[1] for each in event.types],
        "action": str(event.action),
        "outcome": event.outcome.name.lower().replace("_", " "),
        "description": event.outcome_description,
        "who": _who(event, own),
        "studies": _studies(event),
        "details": {**event.details, **_object_details(event)},
    }
    if with_patient:
        item["record"] = json.loads(record.data)
    return item


def _who(event: Event, own: str) -> list[dict[str, str]]:
    return [
        {
            "name": each.user_id,
            "address": each.access_point,
            "ae_title": each.alternative_id.removeprefix("AETITLES="),
        }
        for each in event.participants
        if each.user_id != own
    ]


def _studies(event: Event) -> list[str]:
    """Return the studies that an event names, or that a query returned."""
    named = [each.id for each in event.objects if each.id_type == ID_STUDY_UID]
    named += [uid for each in event.returned for uid in each.studies]
    return list(dict.fromkeys(uid for uid in named if uid))


def _object_details(event: Event) -> dict[str, str]:
    return {kind: value for each in event.objects for kind, value in each.details}


def _row(item: dict[str, Any]) -> tuple[str, ...]:
    number, time = str(item["number"]), time_text(datetime.fromisoformat(item["time"]))
    if item["event"] is None:
        what = "personal data erased" if item.get("is_erased") else "cannot be read"
        return number, time, "", "", "", "", what
    studies = item["studies"]
    words = [
        *(f"{name}={value}" for name, value in item["details"].items()),
        *studies[:_STUDIES_SHOWN_MAX],
    ]
    if len(studies) > _STUDIES_SHOWN_MAX:
        words.append(f"and {len(studies) - _STUDIES_SHOWN_MAX} more studies")
    types = ", ".join(item["types"])
    return (
        number,
        time,
        f"{item['event']}: {types}" if types else item["event"],
        f"{item['outcome']} {item['description']}".strip(),
        " ".join(each["name"] for each in item["who"]),
        " ".join(each["address"] for each in item["who"] if each["address"]),
        " ".join(words),
    )


# ── verify ───────────────────────────────────────────────────────────────────


def verify(session: Session) -> Answer:
    """Verify the whole log."""
    witnessed = [
        _read(path, NOTE_CHARACTERS_MAX) for path in session.arguments.witnessed
    ]
    with Node.open(session.config) as node:
        report = Trail(node.parts).verify(node.operator, witnessed)
    return answer_of(report)


def answer_of(report: Report) -> Answer:
    """Return what is told of a verification."""
    text: list[str | Table] = [
        f"{counted(report.records, 'record')}, "
        f"{counted(report.checkpoints, 'signed checkpoint')}: "
        + ("every record is as it was written" if report.is_intact else "NOT INTACT")
    ]
    for title, found in (("WRONG", report.findings), ("REMARK", report.remarks)):
        if found:
            rows = tuple((each.kind, each.text) for each in found)
            text.append(Table((title, "WHAT"), rows))
    if not report.is_intact:
        text.append(
            "keep this data folder as it is for whoever investigates; then restore a "
            "backup that verifies"
        )
    return Answer(
        data={
            "intact": report.is_intact,
            "records": report.records,
            "size": report.size,
            "root": report.root,
            "checkpoints": report.checkpoints,
            "findings": [_finding(each) for each in report.findings],
            "remarks": [_finding(each) for each in report.remarks],
        },
        text=tuple(text),
        exit_code=0 if report.is_intact else Damaged.exit_code,
    )


def _finding(finding: Finding) -> dict[str, Any]:
    return asdict(finding)


# ── proofs ───────────────────────────────────────────────────────────────────


def prove(session: Session) -> Answer:
    """Write a proof."""
    arguments = session.arguments
    with Node.open(session.config) as node:
        proof = Trail(node.parts).prove(
            node.operator, arguments.number, disclose=arguments.disclose
        )
    content = proof.json()
    if arguments.out:
        with Path(arguments.out).open("x", encoding="utf-8") as file:
            file.write(content + "\n")
    data = {
        "number": arguments.number,
        "proof": json.loads(content),
        "out": arguments.out,
    }
    if not arguments.out:
        return Answer(data=data, text=(content,))
    text = (
        f"written: {arguments.out}",
        (
            "who has the key (leadglass audit key) checks it with: "
            f"leadglass audit verify-proof {arguments.out} --key FILE"
        ),
    )
    return Answer(data=data, text=text)


def verify_proof(session: Session) -> Answer:
    """Check a proof, with a key file or as this node."""
    arguments = session.arguments
    if arguments.file == _STDIN:
        content = session.stdin.read(PROOF_CHARACTERS_MAX + 1)
    else:
        content = _read(arguments.file, PROOF_CHARACTERS_MAX)
    if arguments.key:
        origin, public_key = None, _public_key(arguments.key)
    else:
        with Node.open(session.config) as node:
            origin, public_key = node.audit.origin, node.audit.public_key
    proven = check_proof(content.strip(), public_key, origin=origin)
    leaf, signed = proven.leaf, proven.checkpoint
    time = from_us(leaf.wall_us)
    event = meaning(str(leaf.code))[1]
    record = json.loads(proven.record) if proven.record else None
    text = [
        (
            f"proven: record {leaf.n} ({event}, {time_text(time)}) is in the log "
            f"{signed.origin} of {counted(signed.size, 'record')}"
        )
    ]
    if record is not None:
        text.append(json.dumps(record, sort_keys=True))
    return Answer(
        data={
            "proven": True,
            "number": leaf.n,
            "time": time.isoformat(),
            "event": event,
            "size": signed.size,
            "origin": signed.origin,
            "record": record,
        },
        text=tuple(text),
    )


def key(session: Session) -> Answer:
    """Print the public key of the log."""
    with Node.open(session.config) as node:
        origin, public_key = node.audit.origin, node.audit.public_key
    pem = public_key.public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    ).decode()
    verifier = verifier_key(origin, public_key)
    return Answer(
        data={"origin": origin, "pem": pem, "verifier_key": verifier},
        text=tuple(pem.splitlines()),
    )


def _public_key(path: str) -> Ed25519PublicKey:
    try:
        found = load_pem_public_key(_read(path, _KEY_BYTES_MAX).encode())
    except ValueError:
        raise Misconfigured(f"--key {path}: no public key in PEM") from None
    if not isinstance(found, Ed25519PublicKey):
        raise Misconfigured(f"--key {path}: not a key of an audit log (Ed25519)")
    return found


def _read(path: str, characters_max: int) -> str:
    try:
        with Path(path).open(encoding="utf-8") as file:
            content = file.read(characters_max + 1)
    except OSError as error:
        raise Misconfigured(f"{path}: {error.strerror}; name a file") from None
    except UnicodeDecodeError:
        raise BadData(f"{path}: no text") from None
    if len(content) > characters_max:
        raise BadData(f"{path}: too long")
    return content
