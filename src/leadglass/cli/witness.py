"""``leadglass witness``, and a node's side of it: ``audit offer``, ``audit cosigned``.

A witness needs no node: its folder is all it has, and it may stand on a machine
where nothing else of Leadglass does.
"""

import time
from base64 import b64decode
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from leadglass.app import Node
from leadglass.archive.trail import Trail, WitnessKey
from leadglass.audit.checkpoint import NOTE_CHARACTERS_MAX, parse, verifier_key
from leadglass.audit.witness import REQUEST_CHARACTERS_MAX, Witness
from leadglass.cli.answers import Answer, counted
from leadglass.cli.session import Session
from leadglass.errors import BadData, Misconfigured

_LOG_KEY: Final = b"\x01"  # of Ed25519 in c2sp.org/signed-note
_PEM_BYTES_MAX: Final = 4096


def init(session: Session) -> Answer:
    """Make a witness."""
    arguments = session.arguments
    return _answer_of(Witness.init(Path(arguments.state), arguments.name))


def key(session: Session) -> Answer:
    """Print the public key of a witness."""
    return _answer_of(Witness(Path(session.arguments.state)))


def _answer_of(witness: Witness) -> Answer:
    line = witness.key.line()
    return Answer(data={"name": witness.name, "key": line}, text=(line,))


def cosign(session: Session) -> Answer:
    """Cosign a checkpoint."""
    arguments = session.arguments
    keys = [_log_key(each) for each in arguments.log_key]
    witness = Witness(Path(arguments.state))
    request = session.stdin.read(REQUEST_CHARACTERS_MAX + 1)
    done = witness.cosign(request, keys, int(time.time()))
    cosigned = request.partition("\n\n")[2] + done.line
    return Answer(
        data={
            "origin": done.checkpoint.origin,
            "old": done.old,
            "size": done.checkpoint.size,
            "root": done.checkpoint.root.hex(),
            "cosigned": cosigned,
        },
        text=tuple(cosigned.splitlines()),
    )


def offer(session: Session) -> Answer:
    """Print what a witness is to cosign."""
    arguments = session.arguments
    witness = WitnessKey.parse(arguments.to)
    with Node.open(session.config) as node:
        offered = Trail(node.parts).offer(node.operator, witness, arguments.old)
    found = parse(offered.note)
    return Answer(
        data={
            "origin": found.origin,
            "old": offered.old,
            "size": found.size,
            "offer": offered.text(),
        },
        text=tuple(offered.text().splitlines()),
    )


def take(session: Session) -> Answer:
    """Keep what a witness cosigned."""
    witness = WitnessKey.parse(session.arguments.by)
    note = session.stdin.read(NOTE_CHARACTERS_MAX + 1)
    with Node.open(session.config) as node:
        taken = Trail(node.parts).take_cosigned(node.operator, note, witness)
    text = f"kept: {witness.name} has cosigned {counted(taken.size, 'record')}"
    return Answer(
        data={"origin": taken.origin, "witness": witness.name, "size": taken.size},
        text=(text,),
    )


def _log_key(text: str) -> Ed25519PublicKey:
    """Read the public key of a log: a line, or the name of a PEM file."""
    try:
        if text.count("+") >= 2 and not Path(text).exists():
            name, _, encoded = text.split("+", 2)
            raw = b64decode(encoded, validate=True)
            found = Ed25519PublicKey.from_public_bytes(raw[1:])
            if verifier_key(name, found) != text or raw[:1] != _LOG_KEY:
                raise BadData("--log-key: the key does not fit its id")
            return found
        with Path(text).open("rb") as file:
            loaded = load_pem_public_key(file.read(_PEM_BYTES_MAX))
    except OSError as error:
        raise Misconfigured(f"--log-key {text}: {error.strerror}") from None
    except ValueError:
        raise Misconfigured(f"--log-key {text}: no public key of a log") from None
    if not isinstance(loaded, Ed25519PublicKey):
        raise Misconfigured(f"--log-key {text}: not a key of an audit log (Ed25519)")
    return loaded
