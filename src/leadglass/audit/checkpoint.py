"""Checkpoints: what the log signs, as C2SP signed notes.

A checkpoint says "the log ``origin`` has ``size`` records and this root". Its text
is the format of c2sp.org/tlog-checkpoint in a signed note with one Ed25519
signature, so that witnesses and verifiers of others understand it::

    leadglass.example/pacs
    1234
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

    — leadglass.example/pacs Az3grlgt…Q8=
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from leadglass.audit.merkle import HASH_BYTES
from leadglass.errors import BadData, Damaged

# Signature type of Ed25519 in c2sp.org/signed-note.
_ED25519 = b"\x01"
_KEY_ID_BYTES = 4
_SIGNATURE_BYTES = 64
_DASH = "— "  # em dash and space, begins a signature line

ORIGIN_CHARACTERS_MAX = 255
# Origin, size, root and one signature take 500 bytes at most; the rest is room for
# cosignatures of witnesses. Anything longer is not a checkpoint.
NOTE_CHARACTERS_MAX = 16_384
SIZE_MAX = (1 << 63) - 1

# Printable, without blanks and without "+", which signed-note keeps for key names.
_ORIGIN = re.compile(rf"[!-*,-~]{{1,{ORIGIN_CHARACTERS_MAX}}}")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a log at one moment.

    Attributes:
        origin: Name of the log; no blanks and no ``+``.
        size: Number of records.
        root: Root of the Merkle tree over them, 32 bytes.
    """

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        if not _ORIGIN.fullmatch(self.origin):
            raise BadData("the origin of a log is printable ASCII without blanks or +")
        if not 0 <= self.size <= SIZE_MAX or len(self.root) != HASH_BYTES:
            raise BadData("size or root of a checkpoint is out of range")

    def text(self) -> str:
        """Return what is signed: the note's body with its last line feed."""
        root = b64encode(self.root).decode("ascii")
        return f"{self.origin}\n{self.size}\n{root}\n"


def key_id(origin: str, public_key: Ed25519PublicKey) -> bytes:
    """Return the four bytes that tell a verifier which key signed."""
    raw = public_key.public_bytes_raw()
    return sha256(origin.encode() + b"\n" + _ED25519 + raw).digest()[:_KEY_ID_BYTES]


def verifier_key(origin: str, public_key: Ed25519PublicKey) -> str:
    """Return the public key as C2SP tools take it: ``name+id+base64``."""
    raw = b64encode(_ED25519 + public_key.public_bytes_raw()).decode("ascii")
    return f"{origin}+{key_id(origin, public_key).hex()}+{raw}"


class Signer:
    """Signs checkpoints of one log; what does not change is computed once."""

    __slots__ = ("_key", "_key_id", "origin", "public_key")

    def __init__(self, origin: str, key: Ed25519PrivateKey) -> None:
        Checkpoint(origin, 0, bytes(HASH_BYTES))  # checks the origin
        self.origin = origin
        self.public_key = key.public_key()
        self._key = key
        self._key_id = key_id(origin, self.public_key)

    def sign(self, size: int, root: bytes) -> str:
        """Return the signed note for a tree of ``size`` with ``root``."""
        return self.sign_text(
            f"{self.origin}\n{size}\n{b64encode(root).decode('ascii')}\n"
        )

    def sign_text(self, text: str) -> str:
        """Return a signed note of any text that ends with a line feed.

        Whoever uses it for something else than a checkpoint sees to it that the text
        cannot be taken for one.
        """
        signature = b64encode(self._key_id + self._key.sign(text.encode()))
        return f"{text}\n{_DASH}{self.origin} {signature.decode('ascii')}\n"


def parse(note: str) -> Checkpoint:
    """Return what a note claims, **without** looking at its signatures.

    Raises:
        BadData: It is not a checkpoint.
    """
    if len(note) > NOTE_CHARACTERS_MAX:
        raise BadData("a checkpoint of this length is none")
    body, separator, signatures = note.partition("\n\n")
    lines = body.split("\n")
    if not separator or len(lines) < 3 or not signatures.endswith("\n"):
        raise BadData("a checkpoint has three lines, an empty one and signatures")
    origin, size, root = lines[:3]
    if not _SIZE.fullmatch(size):
        raise BadData("the size in a checkpoint is no number")
    try:
        note.encode()
        decoded = b64decode(root, validate=True)
    except ValueError as error:
        raise BadData("a checkpoint is UTF-8 and its root base64") from error
    if b64encode(decoded).decode("ascii") != root:
        raise BadData("the root in a checkpoint is not canonical base64")
    return Checkpoint(origin, int(size), decoded)


def verify(
    note: str, public_keys: Iterable[Ed25519PublicKey], origin: str | None = None
) -> Checkpoint:
    """Return what a note says once one of ``public_keys`` is found to have signed it.

    Signatures of other names, such as those of witnesses, are passed over.

    Args:
        note: The whole signed note.
        public_keys: Keys of the log, the present one and those before a rotation.
        origin: The log it must be of; None takes any that the keys vouch for.

    Raises:
        BadData: It is not a checkpoint.
        Damaged: No signature of the log verifies, or it is of another log.
    """
    checkpoint = parse(note)
    if origin is not None and checkpoint.origin != origin:
        raise Damaged("the checkpoint is of another log")
    body, _, signatures = note.partition("\n\n")
    signed = body.encode() + b"\n"
    keys = {key_id(checkpoint.origin, key): key for key in public_keys}
    for name, raw in _signatures(signatures):
        key = keys.get(raw[:_KEY_ID_BYTES])
        if name != checkpoint.origin or key is None:
            continue
        try:
            key.verify(raw[_KEY_ID_BYTES:], signed)
        except InvalidSignature as error:
            raise Damaged("the signature of the checkpoint is wrong") from error
        return checkpoint
    raise Damaged("the checkpoint is not signed by a key of this log")


def _signatures(lines: str) -> Iterator[tuple[str, bytes]]:
    """Yield (key name, key id and signature) of each signature line."""
    for line in lines.removesuffix("\n").split("\n"):
        name, blank, encoded = line.removeprefix(_DASH).partition(" ")
        if not line.startswith(_DASH) or not blank:
            raise BadData("a signature line of the checkpoint is malformed")
        try:
            raw = b64decode(encoded, validate=True)
        except ValueError as error:
            raise BadData("a signature of the checkpoint is not base64") from error
        if b64encode(raw).decode("ascii") != encoded:
            raise BadData("a signature of the checkpoint is not canonical base64")
        yield name, raw


def split_notes(text: str) -> Iterator[str]:
    """Yield the notes of a text that holds several, one after the other.

    A note begins after the signature lines of the one before; an unfinished last
    one, as a power cut leaves it, is yielded as it is and will not parse.
    """
    note: list[str] = []
    in_signatures = False
    for line in text.splitlines(keepends=True):
        if in_signatures and not line.startswith(_DASH):
            yield "".join(note)
            note, in_signatures = [], False
        note.append(line)
        in_signatures = in_signatures or line.startswith(_DASH)
    if note:
        yield "".join(note)
