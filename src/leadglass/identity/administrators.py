"""Administrators: the first one, with a secret that is good for one enrolment."""

import base64
import binascii
import secrets
from datetime import UTC, datetime
from hashlib import scrypt
from hmac import compare_digest

from sqlalchemy import Connection, insert, select, update

from leadglass.database.engine import Transaction
from leadglass.errors import Damaged, Refused
from leadglass.identity import tables
from leadglass.identity.rows import to_us

FIRST_NAME = "administrator"

# 130 bits, 26 letters and digits that are not mistaken for each other (RFC 4648
# §6), in groups that can be read from a screen.
SECRET_CHARACTERS = 26
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_GROUP_CHARACTERS = 5

# What a guess costs: 32 MiB, three times; OWASP's password storage advice, the
# setting with the least memory that is worth 128 MiB once. They stand in the hash.
SCRYPT_N = 1 << 15
SCRYPT_R = 8
SCRYPT_P = 3
SALT_BYTES = 16
HASH_BYTES = 32
# OpenSSL refuses what needs more: 128 · N · r bytes and some.
_SCRYPT_MEMORY_BYTES_MAX = 2 * 128 * SCRYPT_N * SCRYPT_R
_KIND = "scrypt"

_ADMINISTRATOR = tables.administrator.c


class Administrators:
    """The administrators of one node; all state is in the database."""

    def has_any(self, connection: Connection) -> bool:
        """Whether there is an administrator."""
        found = connection.scalar(select(_ADMINISTRATOR.id).limit(1))
        return found is not None

    def create_first(self, tx: Transaction) -> str | None:
        """Create the first administrator; ``None`` when there is one already.

        Returns:
            The one-time secret, to be shown once: only its hash is kept.
        """
        if self.has_any(tx.connection):
            return None
        secret = new_secret()
        tx.connection.execute(
            insert(tables.administrator),
            {
                "name": FIRST_NAME,
                "secret_hash": hash_secret(secret),
                "created_us": to_us(datetime.now(UTC)),
            },
        )
        return secret

    def consume(self, tx: Transaction, name: str, secret: str) -> None:
        """Use up the one-time secret of an administrator.

        Raises:
            Refused: No such administrator, another secret, or it was used.
        """
        stored = tx.connection.scalar(
            select(_ADMINISTRATOR.secret_hash).where(_ADMINISTRATOR.name == name)
        )
        # An unknown name costs as much time as a wrong secret.
        is_right = matches(secret, stored or _NOBODY)
        if stored is None or not is_right:
            raise Refused("wrong name or secret")
        tx.connection.execute(
            update(tables.administrator)
            .where(_ADMINISTRATOR.name == name)
            .values(secret_hash=None, consumed_us=to_us(datetime.now(UTC)))
        )


def new_secret() -> str:
    """Draw a secret, in groups joined by hyphens."""
    text = "".join(secrets.choice(_ALPHABET) for _ in range(SECRET_CHARACTERS))
    groups = range(0, SECRET_CHARACTERS, _GROUP_CHARACTERS)
    return "-".join(text[start : start + _GROUP_CHARACTERS] for start in groups)


def hash_secret(secret: str) -> str:
    """Return the hash of a secret, with its parameters and salt."""
    salt = secrets.token_bytes(SALT_BYTES)
    parts = (_hash(secret, salt), salt)
    digest, salted = (base64.b64encode(part).decode() for part in parts)
    return f"{_KIND}${SCRYPT_N}${SCRYPT_R}${SCRYPT_P}${salted}${digest}"


def matches(secret: str, stored: str) -> bool:
    """Whether a secret is the one that was hashed; case and hyphens do not matter.

    Raises:
        Damaged: The stored text is no hash of ours.
    """
    parts = stored.split("$")
    if parts[:4] != [_KIND, str(SCRYPT_N), str(SCRYPT_R), str(SCRYPT_P)]:
        raise Damaged("administrators: a stored secret cannot be read")
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in parts[4:])
    except (ValueError, binascii.Error):
        raise Damaged("administrators: a stored secret cannot be read") from None
    return compare_digest(_hash(secret, salt), digest)


def _hash(secret: str, salt: bytes) -> bytes:
    plain = secret.upper().replace("-", "").replace(" ", "")
    return scrypt(
        plain.encode(),
        salt=salt,
        n=SCRYPT_N,
        r=SCRYPT_R,
        p=SCRYPT_P,
        maxmem=_SCRYPT_MEMORY_BYTES_MAX,
        dklen=HASH_BYTES,
    )


# A hash that no secret has: 32 zero bytes.
_NOBODY = "$".join(
    (
        *(_KIND, str(SCRYPT_N), str(SCRYPT_R), str(SCRYPT_P)),
        *(base64.b64encode(bytes(size)).decode() for size in (SALT_BYTES, HASH_BYTES)),
    )
)
