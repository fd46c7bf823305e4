"""Time stamps of authorities (RFC 3161) on checkpoints, kept beside them.

An authority signs a digest and the time. What is stamped is the digest of what the node
signs of a checkpoint (``evidence.verify.stamped``), so nothing of the record leaves.
A token is taken only if it is of a checkpoint of this log and holds under the one
certificate that the operator names; how it is verified stands in ``evidence.verify``,
which goes along with evidence.

``timestamps`` holds one JSON object in a line, oldest first: ``size`` of the
checkpoint, its ``note``, the ``token`` and the certificate ``tsa``, base64 of DER. It
is written anew as a whole, under a lock, and renamed into place.
"""

import fcntl
import json
import os
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from leadglass.audit.checkpoint import parse
from leadglass.audit.events import from_us
from leadglass.audit.evidence.verify import (
    Stamp,
    Wrong,
    certificate_of,
    only,
    stamp_of,
    stamped,
)
from leadglass.errors import BadData, Damaged, Unavailable

FILE_NAME: Final = "timestamps"
_LOCK_NAME: Final = "timestamps-lock"

# A reply has a token of 1 to 8 kB, certificates included.
REPLY_BYTES_MAX: Final = 64 * 1024
CERTIFICATE_BYTES_MAX: Final = 16 * 1024
# At one a day three years keep their grain; beyond this every second of the older half
# goes. Each vouches for everything before it.
STAMPS_MAX: Final = 1_000

_SEQUENCE, _INTEGER, _BOOLEAN, _OCTETS = 0x30, 0x02, 0x01, 0x04
# AlgorithmIdentifier of SHA-256, whose parameters are NULL (RFC 3161 leaves them so).
_SHA_256: Final = bytes.fromhex("300d06096086480165030402010500")
# PKIStatus granted, granted with modifications (RFC 3161 §2.4.2).
_GRANTED: Final = frozenset({b"\x00", b"\x01"})


def request(digest: bytes, nonce: int | None = None) -> bytes:
    """Return the TimeStampReq of a SHA-256 digest (RFC 3161 §2.4.1), as DER.

    Args:
        digest: 32 bytes.
        nonce: Comes back in the reply; for a request that waits for its reply.
    """
    parts = [
        _element(_INTEGER, b"\x01"),
        _element(_SEQUENCE, _SHA_256 + _element(_OCTETS, digest)),
    ]
    if nonce is not None:
        length = nonce.bit_length() // 8 + 1  # with room for the sign
        parts.append(_element(_INTEGER, nonce.to_bytes(length, "big")))
    parts.append(_element(_BOOLEAN, b"\xff"))  # with the certificate
    return _element(_SEQUENCE, b"".join(parts))


def _element(tag: int, content: bytes) -> bytes:
    if len(content) > 0x7F:
        raise ValueError("a request for a time stamp is short")
    return bytes([tag, len(content)]) + content


def token_in(reply: bytes) -> bytes:
    """Return the token of a TimeStampResp (RFC 3161 §2.4.2), **unverified**.

    Raises:
        BadData: It is none, or says that none was given.
    """
    if len(reply) > REPLY_BYTES_MAX:
        raise BadData("a reply of this length is none of an authority for time stamps")
    try:
        status, *token = only(reply).inside(_SEQUENCE)
        is_granted = status.inside(_SEQUENCE)[0].of(_INTEGER) in _GRANTED
    except (Wrong, ValueError, IndexError) as error:
        raise BadData("not the reply of an authority for time stamps") from error
    if not is_granted or len(token) != 1:
        raise BadData("the authority for time stamps did not give one")
    return token[0].whole


@dataclass(frozen=True, slots=True)
class Timestamp:
    """A token, and what it was verified with.

    Attributes:
        note: The checkpoint that it is of.
        token: DER.
        authority: The certificate that signed it.
    """

    note: str
    token: bytes
    authority: x509.Certificate

    @property
    def size(self) -> int:
        """Records of the checkpoint."""
        return parse(self.note).size

    def read(self) -> Stamp:
        """Return what it says, once it is found to hold.

        Raises:
            Damaged: It does not.
        """
        stamp = _verified(self.token, self.authority)
        if stamp.digest != stamped(self.note):
            raise Damaged("a time stamp is of another checkpoint")
        return stamp

    @property
    def time(self) -> datetime:
        """When the authority saw the checkpoint."""
        return from_us(self.read().time_us)

    def line(self) -> str:
        """Return it as it is kept."""
        der = self.authority.public_bytes(Encoding.DER)
        members = {
            "note": self.note,
            "size": self.size,
            "token": b64encode(self.token).decode("ascii"),
            "tsa": b64encode(der).decode("ascii"),
        }
        return json.dumps(members, sort_keys=True) + "\n"

    @classmethod
    def parse(cls, line: str) -> "Timestamp":
        """Return what is kept.

        Raises:
            Damaged: It was changed.
        """
        try:
            members = json.loads(line)
            der, token = (
                b64decode(members[name], validate=True) for name in ("tsa", "token")
            )
            parse(members["note"])
            return cls(members["note"], token, x509.load_der_x509_certificate(der))
        except (BadData, ValueError, KeyError, TypeError) as error:
            raise Damaged("the file of time stamps is damaged") from error


def _verified(token: bytes, authority: x509.Certificate) -> Stamp:
    try:
        return stamp_of(token, authority)
    except Wrong as error:
        raise Damaged(str(error)) from None
    except Exception as error:  # whatever somebody made of its bytes
        raise Damaged("a time stamp is not written as it must be") from error


def timestamp_of(
    token: bytes, notes: Iterable[str], authority: bytes, nonce: int | None = None
) -> Timestamp:
    """Return a token with the checkpoint that it is of.

    Args:
        token: See ``token_in``.
        notes: The checkpoints that it may be of.
        authority: The certificate that must have signed it, PEM or DER.
        nonce: That was asked with; ``None``: none was.

    Raises:
        BadData: The certificate is none.
        Damaged: The token does not hold, or is of no such checkpoint.
    """
    try:
        certificate = certificate_of(authority)
    except ValueError as error:
        raise BadData("not the certificate of an authority (PEM or DER)") from error
    stamp = _verified(token, certificate)
    if nonce is not None and stamp.nonce != nonce:
        raise Damaged("the time stamp is the answer to another question")
    for note in notes:
        if stamped(note) == stamp.digest:
            return Timestamp(note, token, certificate)
    raise Damaged("the time stamp is of no checkpoint of this log that is known here")


class TimestampFile:
    """The file in its folder; made with the first time stamp."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def all(self) -> list[Timestamp]:
        """Return what is kept, oldest first.

        Raises:
            Unavailable: The file cannot be read.
            Damaged: It was changed.
        """
        try:
            text = (self._folder / FILE_NAME).read_text("utf-8", "surrogateescape")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise Unavailable(f"time stamps: {error.strerror}") from error
        return [Timestamp.parse(line) for line in text.splitlines()]

    def add(self, timestamp: Timestamp) -> None:
        """Keep a time stamp; it is durable on return.

        Raises:
            Unavailable: The disk is full or broken.
            Damaged: The file was changed.
        """
        with self._locked():
            found = self.all()
            if any(each.token == timestamp.token for each in found):
                return
            found.append(replace(timestamp, note=_whole(timestamp.note)))
            found.sort(key=lambda each: each.size)
            if len(found) > STAMPS_MAX:
                half = STAMPS_MAX // 2
                found = found[:half:2] + found[half:]
            self._write("".join(each.line() for each in found).encode())

    def supersede(self) -> None:
        """Set the file aside, keeping it: the log goes on from an older state.

        Raises:
            Unavailable: The folder cannot be written.
        """
        path = self._folder / FILE_NAME
        with self._locked():
            number = 1
            while (aside := self._folder / f"{FILE_NAME}-superseded-{number}").exists():
                number += 1
            if path.exists():
                path.rename(aside)

    def _write(self, data: bytes) -> None:
        fresh = self._folder / f"{FILE_NAME}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        with os.fdopen(os.open(fresh, flags, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._folder / FILE_NAME)
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            descriptor = os.open(self._folder / _LOCK_NAME, flags, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
            finally:
                os.close(descriptor)
        except OSError as error:
            raise Unavailable(f"time stamps: {error.strerror}") from error


def _whole(note: str) -> str:
    """Return a checkpoint with the first of its signatures, which is the node's."""
    body, blank, lines = note.partition("\n\n")
    return body + blank + lines.splitlines(keepends=True)[0]
