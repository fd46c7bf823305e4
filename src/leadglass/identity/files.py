"""Files of the authority: written whole or not at all, private keys sealed.

A sealed file is format 1 of::

    "LGAK" | version 1 | nonce 12 | AES-256-GCM(key, PKCS #8 DER)

The first five bytes and the name of the key are authenticated, so one key cannot be
put in the place of another. Nonces are random: an authority seals a handful of keys
in its life, far from the 2^32 of NIST SP 800-38D §8.3.
"""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from leadglass.errors import Damaged, Misconfigured, Unavailable

SEAL_KEY_BYTES = 32  # AES-256
FILE_BYTES_MAX = 16 * 1024 * 1024  # a list of 400,000 revocations; keys have 300 bytes
PRIVATE_MODE = 0o600
FOLDER_MODE = 0o700

_MAGIC = b"LGAK\x01"
_NONCE_BYTES = 12


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Turn the errors of a disk into ours; ``what`` stands for the path.

    Raises:
        Unavailable: The disk did not do it.
    """
    try:
        yield
    except OSError as error:
        raise Unavailable(f"{what}: {error.strerror or 'the disk failed'}") from None


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, data: bytes, *, mode: int = PRIVATE_MODE) -> None:
    """Put ``data`` in the place of a file: temporary, sync, rename, sync.

    Raises:
        Unavailable: The disk did not take it; the old file stands.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    with disk_errors(path.name):
        try:
            with open(os.open(temporary, flags, mode), "wb") as file:  # noqa: PTH123 - of a descriptor
                os.fchmod(file.fileno(), mode)  # whatever the umask
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()


def read_whole(path: Path, *, remedy: str) -> bytes:
    """Return the bytes of a file.

    Raises:
        Misconfigured: There is none; ``remedy`` says what to do.
        Damaged: It is longer than any of ours.
        Unavailable: The disk did not give it.
    """
    with disk_errors(path.name):
        try:
            with path.open("rb") as file:
                data = file.read(FILE_BYTES_MAX + 1)
        except FileNotFoundError:
            raise Misconfigured(f"{path.name}: missing; {remedy}") from None
    if len(data) > FILE_BYTES_MAX:
        raise Damaged(f"{path.name}: too long")
    return data


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other threads and processes out while a file of a folder is remade.

    Raises:
        Unavailable: The disk did not let us.
    """
    with disk_errors("lock"):
        descriptor = os.open(
            folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_MODE
        )
    try:
        with disk_errors("lock"):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def seal(private: ec.EllipticCurvePrivateKey, name: str, key: bytes) -> bytes:
    """Return the sealed file of a private key."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    plain = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return _MAGIC + nonce + AESGCM(key).encrypt(nonce, plain, _MAGIC + name.encode())


def unseal(data: bytes, name: str, key: bytes) -> ec.EllipticCurvePrivateKey:
    """Open the sealed file of a private key.

    Raises:
        Damaged: Changed, of another name, or sealed with another key.
    """
    start = len(_MAGIC)
    nonce, sealed = data[start : start + _NONCE_BYTES], data[start + _NONCE_BYTES :]
    damaged = Damaged(
        f"{name} key: does not open; it was changed, or belongs to another data folder"
    )
    if not data.startswith(_MAGIC) or len(nonce) < _NONCE_BYTES:
        raise damaged
    try:
        plain = AESGCM(key).decrypt(nonce, sealed, _MAGIC + name.encode())
    except InvalidTag:
        raise damaged from None
    private = load_der_private_key(plain, None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise damaged
    return private
