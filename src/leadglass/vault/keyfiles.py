"""The two files of keys as values: bytes in, values out, no disk.

Keyring file (``keyring``), format 1::

    "LGKR" | version 1 | number of slots | 0 0
    slot     kind | lanes | 0 0 | memory KiB, 4 | passes, 4 | salt 32 | ring key 48
    body     length, 4 | AES-256-GCM(ring key: generation 8 | root secret 32
                         | count 4 | (number 4 | wrapping key 32) … )
    SHA-256 of all that

One slot for each master key that opens the file: one, and two while a rotation is
on its way. Each writing draws a new ring key and new salts, so no key ever meets
two nonces, and all nonces are zero. The SHA-256 keeps no secret; it tells a rotten
file (``Damaged``) from a wrong master key (``Misconfigured``).

Study key file (its name is the key's id), format 1::

    "LGSK" | version 1 | 0 0 0 | wrapping key's number, 4 | nonce 12
    | AES-256-GCM(wrapping key: study key 32) 48

Numbers are big-endian. The unsealed part of a file and the id are authenticated.
"""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import compare_digest
from struct import Struct
from struct import error as struct_error
from types import MappingProxyType

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from leadglass.errors import Damaged, Misconfigured
from leadglass.vault.masters import MasterKey, MasterKind
from leadglass.vault.stream import KEY_BYTES, TAG_BYTES, derive

_SEALED_KEY_BYTES = KEY_BYTES + TAG_BYTES
_ZERO_NONCE = bytes(12)
_VERSION = 1
_DIGEST_BYTES = 32

_RING_MAGIC = b"LGKR"
_RING_HEAD = Struct(">4sBBxx")
_SLOT_HEAD = Struct(">BBxxII32s")
_LENGTH = Struct(">I")
_BODY_HEAD = Struct(">Q32sI")
_WRAPPING_KEY = Struct(">I32s")
_SALT_BYTES = 32
_SLOTS_MAX = 2
# A rotation adds one and drops those that nothing uses; 1000 in use at once means
# that a thousand rotations failed half-way.
WRAPPING_KEYS_MAX = 1000
KEYRING_BYTES_MAX = 64 * 1024  # 1000 wrapping keys are 36 KiB

_STUDY_MAGIC = b"LGSK"
_STUDY_HEAD = Struct(">4sBxxxI")
_STUDY_NONCE_BYTES = 12
STUDY_KEY_FILE_BYTES = _STUDY_HEAD.size + _STUDY_NONCE_BYTES + _SEALED_KEY_BYTES


@dataclass(frozen=True, slots=True)
class Argon2Cost:
    """What a guess at a passphrase costs; RFC 9106 §4, second recommended option.

    64 MiB and three passes: 0.15 s here, once per start. Upper bounds keep a
    tampered file from taking the machine's memory.
    """

    memory_kib: int = 64 * 1024
    passes: int = 3
    lanes: int = 4

    def __post_init__(self) -> None:
        if not (
            1 <= self.lanes <= 16
            and 8 * self.lanes <= self.memory_kib <= 1024 * 1024
            and 1 <= self.passes <= 16
        ):
            raise Damaged("the keyring asks for an unreasonable key derivation")


ARGON2_COST = Argon2Cost()


@dataclass(frozen=True, slots=True)
class Ring:
    """What the keyring file holds once it is open."""

    generation: int
    root: bytes = field(repr=False)
    wrapping_keys: Mapping[int, bytes] = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.root) != KEY_BYTES or not self.wrapping_keys:
            raise Damaged("the keyring is not complete")
        if len(self.wrapping_keys) > WRAPPING_KEYS_MAX:
            raise Damaged("the keyring holds too many wrapping keys")

    @classmethod
    def new(cls) -> "Ring":
        """Draw a root secret and the first wrapping key."""
        keys = {1: secrets.token_bytes(KEY_BYTES)}
        return cls(1, secrets.token_bytes(KEY_BYTES), MappingProxyType(keys))

    @property
    def current(self) -> int:
        """Number of the wrapping key that new study keys get."""
        return max(self.wrapping_keys)

    def with_new_wrapping_key(self) -> "Ring":
        """Return the next generation, with a wrapping key more."""
        keys = dict(self.wrapping_keys)
        keys[self.current + 1] = secrets.token_bytes(KEY_BYTES)
        return Ring(self.generation + 1, self.root, MappingProxyType(keys))

    def without(self, numbers: Iterable[int]) -> "Ring":
        """Return the next generation, without those wrapping keys."""
        dropped = set(numbers)
        keys = {n: key for n, key in self.wrapping_keys.items() if n not in dropped}
        return Ring(self.generation + 1, self.root, MappingProxyType(keys))


def seal_ring(
    ring: Ring,
    masters: Iterable[tuple[MasterKind, bytes]],
    cost: Argon2Cost = ARGON2_COST,
) -> bytes:
    """Return the file that each of these master secrets opens."""
    ring_key = secrets.token_bytes(KEY_BYTES)
    slots = [_sealed_slot(kind, secret, ring_key, cost) for kind, secret in masters]
    assert 1 <= len(slots) <= _SLOTS_MAX
    head = _RING_HEAD.pack(_RING_MAGIC, _VERSION, len(slots)) + b"".join(slots)
    body = _BODY_HEAD.pack(ring.generation, ring.root, len(ring.wrapping_keys))
    for number, key in sorted(ring.wrapping_keys.items()):
        body += _WRAPPING_KEY.pack(number, key)
    head += _LENGTH.pack(len(body) + TAG_BYTES)
    file = head + AESGCM(ring_key).encrypt(_ZERO_NONCE, body, head)
    return file + sha256(file).digest()


def open_ring(file: bytes, master: MasterKey) -> tuple[Ring, int]:
    """Return what is in a keyring file, and how many master keys open it.

    Raises:
        Damaged: The file is not what was written.
        Misconfigured: The master key is not one of its own.
    """
    content, digest = file[:-_DIGEST_BYTES], file[-_DIGEST_BYTES:]
    if len(file) > KEYRING_BYTES_MAX or not compare_digest(
        sha256(content).digest(), digest
    ):
        raise Damaged("the keyring file is damaged: restore it from a backup")
    try:
        return _open_ring(content, master)
    except (struct_error, InvalidTag):
        raise Damaged("the keyring file is not as it was sealed") from None


def _open_ring(content: bytes, master: MasterKey) -> tuple[Ring, int]:
    magic, version, count = _RING_HEAD.unpack_from(content)
    if (magic, version) != (_RING_MAGIC, _VERSION) or not 1 <= count <= _SLOTS_MAX:
        raise Damaged("the keyring file is of an unknown format")
    at = _RING_HEAD.size
    slot_bytes = _SLOT_HEAD.size + _SEALED_KEY_BYTES
    slots = [content[at + n * slot_bytes :][:slot_bytes] for n in range(count)]
    at += count * slot_bytes
    ring_key = _ring_key(slots, master)
    (length,) = _LENGTH.unpack_from(content, at)
    at += _LENGTH.size
    if len(content) != at + length:
        raise Damaged("the keyring file is cut short")
    body = AESGCM(ring_key).decrypt(_ZERO_NONCE, content[at:], content[:at])
    generation, root, keys = _BODY_HEAD.unpack_from(body)
    if len(body) != _BODY_HEAD.size + keys * _WRAPPING_KEY.size:
        raise Damaged("the keyring file is cut short")
    wrapping = dict(_WRAPPING_KEY.iter_unpack(body[_BODY_HEAD.size :]))
    return Ring(generation, root, MappingProxyType(wrapping)), count


def _ring_key(slots: list[bytes], master: MasterKey) -> bytes:
    """Return the ring key from the slot that this master key opens."""
    secret = master.secret()
    for slot in slots:
        head, sealed = slot[: _SLOT_HEAD.size], slot[_SLOT_HEAD.size :]
        kind, lanes, memory_kib, passes, salt = _SLOT_HEAD.unpack(head)
        if kind != master.kind:
            continue
        cost = Argon2Cost(memory_kib, passes, lanes)
        aead = AESGCM(_slot_key(master.kind, secret, salt, cost))
        try:
            return aead.decrypt(_ZERO_NONCE, sealed, head)
        except InvalidTag:
            continue
    raise Misconfigured(
        "the master key does not open the keyring: it is another one's, or the "
        "keyring was rotated"
    )


def _sealed_slot(
    kind: MasterKind, secret: bytes, ring_key: bytes, cost: Argon2Cost
) -> bytes:
    salt = secrets.token_bytes(_SALT_BYTES)
    head = _SLOT_HEAD.pack(kind, cost.lanes, cost.memory_kib, cost.passes, salt)
    key = _slot_key(kind, secret, salt, cost)
    return head + AESGCM(key).encrypt(_ZERO_NONCE, ring_key, head)


def _slot_key(kind: MasterKind, secret: bytes, salt: bytes, cost: Argon2Cost) -> bytes:
    if kind is MasterKind.PASSPHRASE:
        secret = Argon2id(
            salt=salt,
            length=KEY_BYTES,
            iterations=cost.passes,
            lanes=cost.lanes,
            memory_cost=cost.memory_kib,
        ).derive(secret)
    return derive(secret, salt=salt, info=b"leadglass keyring slot 1")


def wrap_study_key(ring: Ring, key_id: bytes, study_key: bytes) -> bytes:
    """Return the study key file, under the ring's current wrapping key."""
    head = _STUDY_HEAD.pack(_STUDY_MAGIC, _VERSION, ring.current)
    nonce = secrets.token_bytes(_STUDY_NONCE_BYTES)
    aead = AESGCM(ring.wrapping_keys[ring.current])
    return head + nonce + aead.encrypt(nonce, study_key, head + key_id)


def is_scrubbed(file: bytes) -> bool:
    """Tell whether a study key file was overwritten to destroy it."""
    return len(file) == STUDY_KEY_FILE_BYTES and not any(file)


def wrapping_number(file: bytes) -> int:
    """Return which wrapping key a study key file needs.

    Raises:
        Damaged: It is no such file.
    """
    if len(file) != STUDY_KEY_FILE_BYTES:
        raise Damaged("a study key file is cut short")
    magic, version, number = _STUDY_HEAD.unpack_from(file)
    if (magic, version) != (_STUDY_MAGIC, _VERSION):
        raise Damaged("a study key file is of an unknown format")
    return int(number)


def unwrap_study_key(ring: Ring, key_id: bytes, file: bytes) -> bytes:
    """Return the study key.

    Raises:
        Damaged: The file is not what was wrapped, or not with this ring.
    """
    wrapping_key = ring.wrapping_keys.get(wrapping_number(file))
    if wrapping_key is None:
        raise Damaged("a study key was wrapped with a key that is not in the ring")
    head = file[: _STUDY_HEAD.size]
    nonce = file[_STUDY_HEAD.size :][:_STUDY_NONCE_BYTES]
    sealed = file[_STUDY_HEAD.size + _STUDY_NONCE_BYTES :]
    try:
        return AESGCM(wrapping_key).decrypt(nonce, sealed, head + key_id)
    except InvalidTag:
        raise Damaged("a study key file does not verify") from None
