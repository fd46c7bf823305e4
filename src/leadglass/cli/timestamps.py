"""``leadglass audit timestamp``: another's word for when a checkpoint was there."""

import os
from pathlib import Path
from secrets import randbits
from typing import Final

from leadglass.app import Node
from leadglass.archive.trail import Timestamp, Trail
from leadglass.audit.checkpoint import parse
from leadglass.audit.evidence.verify import stamped
from leadglass.audit.timestamps import (
    CERTIFICATE_BYTES_MAX,
    REPLY_BYTES_MAX,
    request,
)
from leadglass.cli.answers import Answer, Table, counted, time_text
from leadglass.cli.failures import UsageError
from leadglass.cli.session import Session
from leadglass.errors import Misconfigured, Unavailable
from leadglass.servers.tsa import ask

# Nobody guesses the question that a reply is for.
_NONCE_BITS: Final = 64


def stamp(session: Session) -> Answer:
    """Ask for a time stamp, or take one."""
    arguments = session.arguments
    ways = (arguments.tsa, arguments.request_out, arguments.response_in)
    if sum(each is not None for each in ways) != 1:
        raise UsageError(
            "a time stamp from where?", "give --tsa, --request-out or --response-in"
        )
    if arguments.request_out is not None:
        return _request(session, Path(arguments.request_out))
    if arguments.certificate is None:
        raise UsageError(
            "whose time stamp?", "give the authority's certificate: --certificate FILE"
        )
    authority = _read(arguments.certificate, "--certificate", CERTIFICATE_BYTES_MAX)
    with Node.open(session.config) as node:
        trail, caller = Trail(node.parts), node.operator
        if arguments.response_in is not None:
            reply = _read(arguments.response_in, "--response-in", REPLY_BYTES_MAX)
            return _taken(trail.take_timestamp(caller, reply, authority))
        nonce = randbits(_NONCE_BITS)
        asked = request(stamped(trail.to_stamp(caller)), nonce)
        ca_file = None if arguments.ca is None else Path(arguments.ca)
        reply = ask(arguments.tsa, asked, ca_file)
        return _taken(trail.take_timestamp(caller, reply, authority, nonce))


def _request(session: Session, out: Path) -> Answer:
    with Node.open(session.config) as node:
        note = Trail(node.parts).to_stamp(node.operator)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(out, flags, 0o644), "wb") as file:
            file.write(request(stamped(note)))
    except FileExistsError:
        raise Misconfigured(
            "--request-out: the file is there; name a new one"
        ) from None
    except OSError as error:
        raise Unavailable(f"--request-out: {error.strerror}") from None
    size = parse(note).size
    return Answer(
        data={"size": size, "time": None, "authority": None, "request": str(out)},
        text=(
            f"written: {out}: asks for a time stamp of {counted(size, 'record')}",
            "bring the reply by: audit timestamp --response-in FILE --certificate FILE",
        ),
    )


def _taken(found: Timestamp) -> Answer:
    name = _name(found)
    told = f"kept: {counted(found.size, 'record')} were signed by "
    return Answer(
        data={
            "size": found.size,
            "time": found.time.isoformat(),
            "authority": name,
            "request": None,
        },
        text=(told + f"{time_text(found.time)}, says {name}",),
    )


def show(session: Session) -> Answer:
    """List time stamps."""
    with Node.open(session.config) as node:
        found = node.trail.timestamps(node.operator)
    items = [
        {
            "size": each.size,
            "time": each.time.isoformat(),
            "authority": _name(each),
        }
        for each in found
    ]
    rows = tuple((str(each.size), time_text(each.time), _name(each)) for each in found)
    return Answer(
        data={"items": items}, text=(Table(("RECORDS", "TIME", "AUTHORITY"), rows),)
    )


def _name(found: Timestamp) -> str:
    """Return the authority's name, without what would steer a terminal."""
    name = found.authority.subject.rfc4514_string()
    return "".join(each if each.isprintable() else "?" for each in name)


def _read(path: str, option: str, bytes_max: int) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(bytes_max + 1)
    except OSError as error:
        raise Misconfigured(f"{option} {path}: {error.strerror}") from None
