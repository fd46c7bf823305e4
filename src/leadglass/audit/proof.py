"""Proof that one record is in the log, for whoever has the log's public key.

A proof names no patient: it holds the leaf (number, times, event code, salted hash),
the audit path and the signed checkpoint. It may also *disclose* the record: the
JSON with its salt and search keys, which the leaf commits to.
"""

import json
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from leadglass.audit.checkpoint import Checkpoint, verify
from leadglass.audit.events import RECORD_BYTES_MAX
from leadglass.audit.leaf import Leaf, commit
from leadglass.audit.merkle import (
    PROOF_HASHES_MAX,
    ProofError,
    leaf_hash,
    verify_inclusion,
)
from leadglass.errors import BadData, Damaged

FORMAT = "leadglass-audit-proof-1"

# A disclosed record with its keys in base64, twice what a record may be.
PROOF_CHARACTERS_MAX = 2 * RECORD_BYTES_MAX


# What a JSON of another shape makes Python raise, whichever member it is.
_NOT_OURS = (ValueError, LookupError, TypeError, AttributeError, RecursionError)


@dataclass(frozen=True, slots=True)
class Disclosure:
    """What opens a leaf's commitment."""

    salt: bytes
    keys: bytes
    record: bytes


@dataclass(frozen=True, slots=True)
class Proof:
    """Everything that ``verify_proof`` needs beside the key.

    Attributes:
        leaf: The data of the leaf.
        path: RFC 6962 audit path, lowest first.
        note: The signed checkpoint that it leads to.
        disclosure: The record itself, if it is to be shown.
    """

    leaf: bytes
    path: tuple[bytes, ...]
    note: str
    disclosure: Disclosure | None = None

    def json(self) -> str:
        """Return the proof file: about 1.5 KB for a million records, undisclosed."""
        members: dict[str, Any] = {
            "checkpoint": self.note,
            "format": FORMAT,
            "leaf": _text(self.leaf),
            "path": [_text(each) for each in self.path],
        }
        if self.disclosure is not None:
            members["salt"] = _text(self.disclosure.salt)
            members["keys"] = _text(self.disclosure.keys)
            members["record"] = self.disclosure.record.decode("utf-8")
        return json.dumps(
            members, ensure_ascii=False, sort_keys=True, separators=(",", ":")
        )

    def tlog_proof(self) -> str:
        """Return the same as c2sp.org/tlog-proof, for verifiers of others.

        The entry is the leaf, which stands in the ``extra`` line.
        """
        lines = [
            "c2sp.org/tlog-proof@v1",
            f"extra {_text(self.leaf)}",
            f"index {Leaf.decode(self.leaf).n}",
            *(_text(each) for each in self.path),
            "",
        ]
        return "\n".join(lines) + "\n" + self.note

    @classmethod
    def parse(cls, text: str) -> "Proof":
        """Return the proof in a file, **unverified**.

        Raises:
            BadData: It is no proof.
        """
        if len(text) > PROOF_CHARACTERS_MAX:
            raise BadData("an audit proof of this length is none")
        try:
            members = json.loads(text)
            if members["format"] != FORMAT or len(members["path"]) > PROOF_HASHES_MAX:
                raise BadData("not an audit proof of this format")
            disclosure = None
            if "record" in members:
                disclosure = Disclosure(
                    _bytes(members["salt"]),
                    _bytes(members["keys"]),
                    members["record"].encode("utf-8"),
                )
            return cls(
                _bytes(members["leaf"]),
                tuple(_bytes(each) for each in members["path"]),
                str(members["checkpoint"]),
                disclosure,
            )
        except _NOT_OURS as error:
            raise BadData("not an audit proof") from error


@dataclass(frozen=True, slots=True)
class Proven:
    """What a proof has shown.

    Attributes:
        leaf: Number, times and event code of the record.
        checkpoint: The state of the log that it is part of.
        record: The record's JSON, if the proof disclosed it.
    """

    leaf: Leaf
    checkpoint: Checkpoint
    record: bytes | None


def verify_proof(
    proof_json: str, *public_keys: Ed25519PublicKey, origin: str | None = None
) -> Proven:
    """Check a proof file with nothing but the log's public key(s).

    Raises:
        BadData: It is no proof.
        Damaged: It proves nothing: another key, another record, another tree.
    """
    proof = Proof.parse(proof_json)
    checkpoint = verify(proof.note, public_keys, origin)
    leaf = Leaf.decode(proof.leaf)
    try:
        verify_inclusion(
            leaf_hash(proof.leaf), leaf.n, checkpoint.size, proof.path, checkpoint.root
        )
    except ProofError as error:
        raise Damaged(f"audit proof: {error}") from error
    shown = proof.disclosure
    if shown is None:
        return Proven(leaf, checkpoint, None)
    if commit(shown.salt, shown.keys, shown.record) != leaf.commitment:
        raise Damaged("audit proof: the record is not the one that was committed to")
    return Proven(leaf, checkpoint, shown.record)


def _text(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def _bytes(text: str) -> bytes:
    return b64decode(text, validate=True)
