"""What a leaf of the tree holds: no patient data, but a commitment to it; pure.

A leaf says that record ``n`` was written at this time, in this boot of the machine,
with this event code and this content. The content enters as a salted hash: who has
the tree alone learns nothing of it and cannot try patient names against it, and a
record whose salt is destroyed is gone although the tree still verifies.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from leadglass.errors import BadData

VERSION = 1

# 128 bits: nobody tries them all, and no two records share one.
SALT_BYTES = 16

# version, n, wall clock µs, monotonic clock µs, boot, event code, commitment
_LAYOUT = struct.Struct(">BQqqqI32s")
LEAF_BYTES = _LAYOUT.size
_KEYS_LENGTH = struct.Struct(">I")
# The same behind the prefix that tells a leaf from a node (RFC 6962 §2.1).
_PREFIXED = struct.Struct(">BBQqqqI32s")


@dataclass(frozen=True, slots=True)
class Leaf:
    """The data of one leaf.

    Attributes:
        n: Number of the record, from 0.
        wall_us: Wall clock at recording, microseconds since 1970 UTC.
        mono_us: Clock since boot at recording, microseconds; it cannot be set.
        boot: Which boot of the machine ``mono_us`` counts from.
        code: The event's DCM code, as a number.
        commitment: See ``commit``.
    """

    n: int
    wall_us: int
    mono_us: int
    boot: int
    code: int
    commitment: bytes

    @classmethod
    def decode(cls, data: bytes) -> "Leaf":
        """Return the leaf that these bytes are.

        Raises:
            BadData: They are no leaf of this version.
        """
        if len(data) != LEAF_BYTES or data[0] != VERSION:
            raise BadData("not the leaf of an audit record")
        return cls(*_LAYOUT.unpack(data)[1:])

    def encode(self) -> bytes:
        """Return the bytes that the tree hashes."""
        return _LAYOUT.pack(
            VERSION,
            self.n,
            self.wall_us,
            self.mono_us,
            self.boot,
            self.code,
            self.commitment,
        )


def commit(salt: bytes, keys: bytes, record: bytes) -> bytes:
    """Return the commitment to a record: SHA-256 over salt, search keys and JSON."""
    return sha256(salt + _KEYS_LENGTH.pack(len(keys)) + keys + record).digest()


def hash_row(  # noqa: PLR0913, PLR0917  # the columns of a row, in their order
    n: int,
    wall_us: int,
    mono_us: int,
    boot: int,
    code: int,
    keys: bytes,
    salt: bytes,
    record: bytes,
) -> bytes:
    """Return the leaf hash of a record as the table holds it, without objects.

    The same as ``leaf_hash(Leaf(…, commit(…)).encode())``, for the paths where
    each microsecond counts.

    Raises:
        struct.error: A value does not fit its field.
        TypeError: A value is of another type.
    """
    commitment = sha256(salt + _KEYS_LENGTH.pack(len(keys)) + keys + record).digest()
    return sha256(
        b"\x00" + _LAYOUT.pack(VERSION, n, wall_us, mono_us, boot, code, commitment)
    ).digest()


def hash_rows(rows: Iterable[Sequence[Any]]) -> list[bytes]:
    """Return ``hash_row`` of each row of nine columns, of which the last is not seen.

    Raises:
        struct.error: A value does not fit its field.
        TypeError: A value is of another type.
    """
    digest, length, leaf = sha256, _KEYS_LENGTH.pack, _PREFIXED.pack
    return [
        digest(
            leaf(
                0,
                VERSION,
                n,
                wall_us,
                mono_us,
                boot,
                code,
                digest(salt + length(len(keys)) + keys + record).digest(),
            )
        ).digest()
        for n, wall_us, mono_us, boot, code, keys, salt, record, _ in rows
    ]
