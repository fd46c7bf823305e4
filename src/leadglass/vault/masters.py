"""Where the master key comes from: never from the data folder.

A master key opens the keyring and nothing else. It is read anew each time it is
needed, so a new one put in its place is seen by a running server.
"""

import os
import secrets
import stat
import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from typing import Protocol

from leadglass.errors import Misconfigured
from leadglass.vault.disk import DISK, Disk, disk_errors, write_small

MASTER_KEY_BYTES = 32
# NIST SP 800-63B-4 §3.1.1: 15 characters where a password stands alone.
PASSPHRASE_CHARS_MIN = 15
# Longer is a wrong file, not a passphrase.
_SECRET_FILE_BYTES_MAX = 1024
_OTHERS = 0o077
_EVERYBODY = 0o007
_STAGED = ".new"
_CREDENTIALS_DIRECTORY = "CREDENTIALS_DIRECTORY"


class MasterKind(IntEnum):
    """How a secret becomes a key: the byte that the keyring file keeps."""

    KEY = 1  # 256 random bits: HKDF will do
    PASSPHRASE = 2  # guessable: Argon2id


class MasterKey(Protocol):
    """A place that has the master secret."""

    @property
    def kind(self) -> MasterKind:
        """Whether the secret is a key or a passphrase."""
        ...

    def secret(self) -> bytes:
        """Read the secret.

        Raises:
            Misconfigured: It is missing, malformed or open to others.
        """
        ...


class KeyFile:
    """64 hex digits in a file of mode 0600 outside the data folder."""

    kind = MasterKind.KEY

    def __init__(self, path: Path, *, outside: Path, disk: Disk = DISK) -> None:
        """Name the file; ``outside`` is the data folder.

        Raises:
            Misconfigured: The file lies in the data folder: whoever takes or
                copies that folder would have the key with it.
        """
        if path.resolve().is_relative_to(outside.resolve()):
            raise Misconfigured(
                f"the master key {path} lies in the data folder: move it out"
            )
        self.path = path
        self._outside = outside
        self._disk = disk

    def secret(self) -> bytes:
        """Read the key."""
        return _key(_read(self.path, _OTHERS), str(self.path))

    def create(self) -> None:
        """Draw a key and write the file; there must be none.

        Raises:
            Misconfigured: There is one.
            Unavailable: The disk refused.
        """
        text = secrets.token_bytes(MASTER_KEY_BYTES).hex().encode() + b"\n"
        with disk_errors():
            try:
                write_small(self._disk, str(self.path), text)
            except FileExistsError:
                raise Misconfigured(
                    f"there is a master key at {self.path} already"
                ) from None
            self._disk.sync_folder(str(self.path.parent))

    def stage(self) -> "KeyFile":
        """Draw a successor, beside this one; replaces one that was left behind.

        For ``Keyring.rotate(key.stage(), install=key.install)``.
        """
        staged = KeyFile(self._staged, outside=self._outside, disk=self._disk)
        with disk_errors(), suppress(FileNotFoundError):
            self._disk.remove(str(self._staged))
        staged.create()
        return staged

    def install(self) -> None:
        """Put the staged successor in this one's place, durably."""
        with disk_errors():
            self._disk.rename(str(self._staged), str(self.path))
            self._disk.sync_folder(str(self.path.parent))

    @property
    def _staged(self) -> Path:
        return self.path.with_name(self.path.name + _STAGED)


class Passphrase:
    """A passphrase that was read once, from a descriptor for instance."""

    kind = MasterKind.PASSPHRASE

    def __init__(self, passphrase: bytes) -> None:
        """Take the passphrase: UTF-8, one line."""
        self._secret = _passphrase(passphrase)

    @classmethod
    def from_descriptor(cls, descriptor: int) -> "Passphrase":
        """Read the passphrase from an open descriptor, to its end or 1 KiB."""
        with disk_errors():
            text = b""
            while len(text) <= _SECRET_FILE_BYTES_MAX:
                piece = os.read(descriptor, _SECRET_FILE_BYTES_MAX + 1)
                if not piece:
                    break
                text += piece
        return cls(text)

    def secret(self) -> bytes:
        """Return the passphrase."""
        return self._secret


class PassphraseFile:
    """A passphrase in a file of mode 0600."""

    kind = MasterKind.PASSPHRASE

    def __init__(self, path: Path) -> None:
        """Name the file."""
        self.path = path

    def secret(self) -> bytes:
        """Read the passphrase."""
        return _passphrase(_read(self.path, _OTHERS))


class SystemdCredential:
    """A key (64 hex digits) that systemd hands to the service.

    ``LoadCredentialEncrypted=NAME``: at rest it is sealed to the TPM or the host.
    """

    kind = MasterKind.KEY

    def __init__(self, name: str, environment: Mapping[str, str] = os.environ) -> None:
        """Find the credential.

        Raises:
            Misconfigured: Not started by systemd with credentials.
        """
        folder = environment.get(_CREDENTIALS_DIRECTORY)
        if not folder or "/" in name:
            raise Misconfigured(
                f"there is no credential {name}: set LoadCredentialEncrypted={name}"
            )
        self.path = Path(folder) / name

    def secret(self) -> bytes:
        """Read the key.

        systemd grants access by an ACL, which looks like a group's right.
        """
        return _key(_read(self.path, _EVERYBODY), str(self.path))


def _read(path: Path, forbidden: int) -> bytes:
    """Return a secret file's content once its permissions are seen to be right."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise Misconfigured(f"cannot read the master key {path}: {reason}") from None
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            raise Misconfigured(f"the master key {path} is not a file")
        if found.st_mode & forbidden:
            raise Misconfigured(
                f"the master key {path} is open to others: chmod 600 {path}"
            )
        if found.st_uid not in {os.geteuid(), 0}:
            raise Misconfigured(f"the master key {path} is another user's: chown it")
        return os.read(file, _SECRET_FILE_BYTES_MAX + 1)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise Misconfigured(f"cannot read the master key {path}: {reason}") from None
    finally:
        os.close(file)


def _key(text: bytes, path: str) -> bytes:
    digits = text.strip()
    try:
        key = bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != MASTER_KEY_BYTES or len(digits) != 2 * MASTER_KEY_BYTES:
        raise Misconfigured(f"the master key {path} is not 64 hex digits")
    return key


def _passphrase(text: bytes) -> bytes:
    """Return the passphrase as the key derivation takes it: NFC, no line end.

    The same passphrase typed on another keyboard may come decomposed.
    """
    try:
        passphrase = text.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise Misconfigured("the passphrase is not UTF-8 text") from None
    if len(text) > _SECRET_FILE_BYTES_MAX or "\n" in passphrase:
        raise Misconfigured("the passphrase is not one line of at most 1024 bytes")
    if len(passphrase) < PASSPHRASE_CHARS_MIN:
        raise Misconfigured(
            f"the passphrase is shorter than {PASSPHRASE_CHARS_MIN} characters"
        )
    return unicodedata.normalize("NFC", passphrase).encode()
