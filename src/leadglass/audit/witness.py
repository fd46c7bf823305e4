"""A witness: it cosigns what continues all that it has seen, and nothing else.

It is a second process, best on a machine where the log's administrator has no hand.
It keeps the last checkpoint that it cosigned of each log. Of the next one it demands
the log's signature and the proof that it continues that one; then it keeps the new
one, durably, and only then signs. So no two histories of one log are ever both
cosigned, and a log that was rolled back behind what was cosigned gets no more.

The request is the body of ``add-checkpoint`` of c2sp.org/tlog-witness, the answer a
signature line of c2sp.org/tlog-cosignature, version 1.

The crash story: the state is written to a new file, synced, renamed, and its folder
synced. A crash before the rename leaves the old state and no signature. A crash after
it leaves the new state and perhaps no signature: the same checkpoint is cosigned again
when it is asked for from the size that it has itself. A lock keeps two processes from
cosigning at once.
"""

import fcntl
import os
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from leadglass.audit.checkpoint import (
    NOTE_CHARACTERS_MAX,
    Checkpoint,
    parse,
    verify,
)
from leadglass.audit.merkle import (
    HASH_BYTES,
    PROOF_HASHES_MAX,
    ProofError,
    verify_consistency,
)
from leadglass.errors import BadData, Conflict, Damaged, Misconfigured, Unavailable

# Signature type of an Ed25519 cosignature in c2sp.org/signed-note.
_COSIGNATURE = b"\x04"
_KEY_ID_BYTES = 4
_TIME_BYTES = 8
_SIGNATURE_BYTES = 64
_DASH = "— "

# A proof of 64 lines and a note.
REQUEST_CHARACTERS_MAX = NOTE_CHARACTERS_MAX + 4096

_KEY_FILE = "key"
_NAME_FILE = "name"
_LOCK_FILE = "lock"
_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class Offer:
    """What a log asks a witness to cosign.

    Attributes:
        old: Size that the proof begins at.
        path: RFC 6962 consistency proof from there.
        note: The checkpoint, as the log signed it.
    """

    old: int
    path: tuple[bytes, ...]
    note: str

    def text(self) -> str:
        """Return the request."""
        lines = [f"old {self.old}", *(b64encode(each).decode() for each in self.path)]
        return "\n".join([*lines, "", self.note])

    @classmethod
    def parse(cls, text: str) -> "Offer":
        """Return the offer in a request, **unverified**.

        Raises:
            BadData: It is none.
        """
        head, blank, note = text.partition("\n\n")
        old, *proof = head.split("\n")
        found = _OLD.fullmatch(old)
        if not blank or found is None or len(text) > REQUEST_CHARACTERS_MAX:
            raise BadData("not a request to a witness: old SIZE, proof, checkpoint")
        try:
            path = tuple(b64decode(each, validate=True) for each in proof)
        except ValueError as error:
            raise BadData("a line of the proof is not base64") from error
        if len(path) > PROOF_HASHES_MAX or any(len(p) != HASH_BYTES for p in path):
            raise BadData("the proof is none of a log")
        return cls(int(found[1]), path, note)


@dataclass(frozen=True, slots=True)
class WitnessKey:
    """The public key of a witness, with its name."""

    name: str
    key: Ed25519PublicKey

    def __post_init__(self) -> None:
        Checkpoint(self.name, 0, bytes(HASH_BYTES))  # a name is as an origin is

    @property
    def id(self) -> bytes:
        """The four bytes by which a cosignature names the key."""
        raw = _COSIGNATURE + self.key.public_bytes_raw()
        return sha256(self.name.encode() + b"\n" + raw).digest()[:_KEY_ID_BYTES]

    def line(self) -> str:
        """Return it as C2SP tools take it: ``name+id+base64``."""
        raw = b64encode(_COSIGNATURE + self.key.public_bytes_raw()).decode()
        return f"{self.name}+{self.id.hex()}+{raw}"

    @classmethod
    def parse(cls, line: str) -> "WitnessKey":
        """Return the key of a line.

        Raises:
            BadData: It is none of a witness.
        """
        try:
            name, _, encoded = line.strip().split("+", 2)
            raw = b64decode(encoded, validate=True)
            key = cls(name, Ed25519PublicKey.from_public_bytes(raw[1:]))
        except ValueError as error:
            raise BadData("not the public key of a witness") from error
        if key.line() != line.strip():
            raise BadData("not the public key of a witness")
        return key


def sign(name: str, key: Ed25519PrivateKey, note: str, seconds: int) -> str:
    """Return the cosignature of a checkpoint: a signature line with its line feed."""
    stamp = seconds.to_bytes(_TIME_BYTES, "big")
    signature = key.sign(_signed(note, seconds))
    identity = WitnessKey(name, key.public_key()).id
    encoded = b64encode(identity + stamp + signature).decode()
    return f"{_DASH}{name} {encoded}\n"


def cosigned_at(line: str, note: str, witness: WitnessKey) -> int:
    """Return when a witness cosigned a checkpoint, in seconds since 1970.

    Raises:
        BadData: The line is none of this witness.
        Damaged: It is not the signature of this checkpoint.
    """
    name, blank, encoded = line.rstrip("\n").removeprefix(_DASH).partition(" ")
    try:
        raw = b64decode(encoded, validate=True)
    except ValueError as error:
        raise BadData("a cosignature is base64") from error
    if (
        not line.startswith(_DASH)
        or not blank
        or (name, raw[:_KEY_ID_BYTES]) != (witness.name, witness.id)
        or len(raw) != _KEY_ID_BYTES + _TIME_BYTES + _SIGNATURE_BYTES
        or b64encode(raw).decode() != encoded
    ):
        raise BadData("not a cosignature of this witness")
    seconds = int.from_bytes(raw[_KEY_ID_BYTES : _KEY_ID_BYTES + _TIME_BYTES], "big")
    try:
        witness.key.verify(raw[_KEY_ID_BYTES + _TIME_BYTES :], _signed(note, seconds))
    except InvalidSignature as error:
        raise Damaged("the cosignature is not of this checkpoint") from error
    return seconds


def _signed(note: str, seconds: int) -> bytes:
    body = note.partition("\n\n")[0]
    return f"cosignature/v1\ntime {seconds}\n{body}\n".encode()


@dataclass(frozen=True, slots=True)
class Cosigned:
    """What a witness has cosigned.

    Attributes:
        line: The signature line, with its line feed.
        checkpoint: What it is of.
        old: Size that this witness had seen before; None: it knew nothing of this log.
    """

    line: str
    checkpoint: Checkpoint
    old: int | None


class Witness:
    """A witness in its folder."""

    def __init__(self, folder: Path) -> None:
        """Take up the witness.

        Raises:
            Misconfigured: There is none.
        """
        self._folder = folder
        try:
            self.name = (folder / _NAME_FILE).read_text("utf-8")
            raw = (folder / _KEY_FILE).read_bytes()
            self._key = Ed25519PrivateKey.from_private_bytes(raw)
        except (OSError, ValueError) as error:
            raise Misconfigured(
                "there is no witness in this folder; make one: leadglass witness init"
            ) from error

    @classmethod
    def init(cls, folder: Path, name: str) -> "Witness":
        """Make a witness with a new key, in a new folder.

        Raises:
            BadData: That cannot be its name.
            Misconfigured: The folder is there already.
            Unavailable: It cannot be written.
        """
        key = Ed25519PrivateKey.generate()
        WitnessKey(name, key.public_key())
        try:
            folder.mkdir(mode=0o700)
            _replace(folder / _NAME_FILE, name.encode())
            _replace(folder / _KEY_FILE, key.private_bytes_raw())
        except FileExistsError:
            raise Misconfigured("the folder is there already; name a new one") from None
        except OSError as error:
            raise Unavailable(f"witness: {error.strerror}") from error
        return cls(folder)

    @property
    def key(self) -> WitnessKey:
        """Its public key."""
        return WitnessKey(self.name, self._key.public_key())

    def cosign(
        self, request: str, log_keys: Sequence[Ed25519PublicKey], seconds: int
    ) -> Cosigned:
        """Cosign what continues all that was seen; what is seen is then kept.

        Args:
            request: See ``Offer``.
            log_keys: Keys of the logs that this witness is for.
            seconds: The time, in seconds since 1970.

        Raises:
            BadData: It is no request.
            Conflict: The proof begins elsewhere than where this witness stands.
            Damaged: It is not signed by the log, goes back, or is another history.
            Unavailable: The state cannot be kept, so nothing is signed.
        """
        offer = Offer.parse(request)
        new = verify(offer.note, log_keys)
        with self._locked():
            path = self._state_of(new.origin)
            old = self._seen(path)
            _compare(offer, old, new)
            try:
                _replace(path, offer.note.encode())
            except OSError as error:
                raise Unavailable(f"witness: {error.strerror}") from error
            line = sign(self.name, self._key, offer.note, seconds)
        return Cosigned(line, new, None if old is None else old.size)

    def _state_of(self, origin: str) -> Path:
        return self._folder / f"log-{sha256(origin.encode()).hexdigest()}"

    def _seen(self, path: Path) -> Checkpoint | None:
        try:
            return parse(path.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unavailable(f"witness: {error.strerror}") from error
        except (BadData, ValueError) as error:
            # Renamed when it was whole: a crash does not do this.
            raise Damaged("the state of this witness is damaged") from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            descriptor = os.open(
                self._folder / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        except OSError as error:
            raise Unavailable(f"witness: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _compare(offer: Offer, old: Checkpoint | None, new: Checkpoint) -> None:
    """Hold what is offered against what was seen."""
    seen = 0 if old is None else old.size
    if new.size < seen:
        raise Damaged(
            f"rolled back: this witness has cosigned {seen} records, and is offered "
            f"{new.size}"
        )
    if offer.old != seen:
        raise Conflict(
            f"this witness has cosigned {seen} records: offer the proof from there "
            f"(leadglass audit offer --old {seen})"
        )
    if old is None:
        if offer.path:
            raise BadData("a proof from 0 records is empty")
        return
    try:
        verify_consistency((seen, old.root), (new.size, new.root), offer.path)
    except ProofError as error:
        raise Damaged(
            f"forked: the {new.size} records that are offered do not continue the "
            f"{seen} that this witness has cosigned"
        ) from error


def _replace(path: Path, data: bytes) -> None:
    """Put a file in place, whole and durably."""
    fresh = path.with_name(path.name + ".new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    with os.fdopen(os.open(fresh, flags, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
