"""Second factors that are typed: codes of an authenticator app, recovery codes.

The app shares a secret with us (TOTP, RFC 6238 on HOTP, RFC 4226), which is kept as
it is: the encryption of the whole database (SQLCipher) is what protects it at rest.
Recovery codes are kept hashed.
"""

import base64
import secrets
import struct
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from hmac import compare_digest
from hmac import digest as hmac_digest
from urllib.parse import quote, urlencode

from sqlalchemy import Connection, delete, func, insert, select, update

from leadglass.database.engine import Transaction
from leadglass.identity.people import tables
from leadglass.identity.people.user import User
from leadglass.identity.people.users import Credentials

ISSUER = "Leadglass"

# RFC 4226 §4, R6: 160 bits are recommended; SHA-1, 6 digits and 30 s because that is
# all that the common apps do, whatever the URI says.
SECRET_BYTES = 20
CODE_DIGITS = 6
STEP_S = 30
# RFC 6238 §5.2: one step either way, for a clock that is off and a slow typist.
STEPS_AROUND = 1

RECOVERY_CODES = 10
# 80 bits: no list of hashes gives one away, and it can be typed from paper.
RECOVERY_CHARACTERS = 16
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"  # RFC 4648 §6
_GROUP_CHARACTERS = 4
# Blanks and hyphens as people type them; longer is no code of ours.
_TYPED_CHARACTERS_MAX = 64

# What is compared when there is no secret, so that it takes the same time.
_NO_SECRET = bytes(SECRET_BYTES)
_NO_HANDLE = bytes(32)
_NO_ID = -1

_PERSON = tables.person.c
_RECOVERY = tables.recovery.c


class Factor(StrEnum):
    """By what a login was proven, beside the password or without one."""

    TOTP = "totp"
    RECOVERY = "recovery code"
    PASSKEY = "passkey"
    PROVIDER = "provider"  # whoever proves the person says so
    NONE = "none"  # with the setting that allows a password alone


# ── TOTP, RFC 6238 ───────────────────────────────────────────────────────────


def new_totp_secret() -> bytes:
    """Draw a secret for an authenticator app."""
    return secrets.token_bytes(SECRET_BYTES)


def totp_step(now: datetime) -> int:
    """Return the time step that a moment is in (RFC 6238 §4.2)."""
    return int(now.timestamp()) // STEP_S


def totp_code(secret: bytes, step: int) -> str:
    """Return the code of a time step (RFC 4226 §5.3)."""
    mac = hmac_digest(secret, struct.pack(">Q", step), "sha1")
    offset = mac[-1] & 0x0F
    (number,) = struct.unpack_from(">I", mac, offset)
    return f"{(number & 0x7FFF_FFFF) % 10**CODE_DIGITS:0{CODE_DIGITS}}"


def matching_step(
    secret: bytes | None, code: str, last_step: int | None, now: datetime
) -> int | None:
    """Return the time step that a code is of; ``None``: of none that still counts.

    Args:
        secret: What the app knows; ``None``: there is no app.
        code: As it was typed.
        last_step: The last step that was used; that and earlier ones are spent.
        now: When.
    """
    typed = _plain(code)
    here = totp_step(now)
    found = None
    # All of them, whichever matches: the time tells nothing.
    for step in range(here - STEPS_AROUND, here + STEPS_AROUND + 1):
        expected = totp_code(_NO_SECRET if secret is None else secret, step)
        is_unspent = last_step is None or step > last_step
        if compare_digest(expected.encode(), typed.encode()) and is_unspent:
            found = step
    return None if secret is None else found


def totp_uri(user_name: str, secret: bytes) -> str:
    """Return what an app reads from a QR code: the Key URI format."""
    label = f"{quote(ISSUER)}:{quote(user_name)}"
    query = urlencode(
        {
            "secret": totp_text(secret),
            "issuer": ISSUER,
            "algorithm": "SHA1",
            "digits": CODE_DIGITS,
            "period": STEP_S,
        }
    )
    return f"otpauth://totp/{label}?{query}"


def totp_text(secret: bytes) -> str:
    """Return the secret as it is typed into an app that has no camera."""
    return base64.b32encode(secret).decode().rstrip("=")


# ── recovery codes ───────────────────────────────────────────────────────────


def new_recovery_codes() -> tuple[str, ...]:
    """Draw codes to be printed and kept: each is good once, in the app's place."""
    return tuple(_recovery_code() for _ in range(RECOVERY_CODES))


def _recovery_code() -> str:
    text = "".join(secrets.choice(_ALPHABET) for _ in range(RECOVERY_CHARACTERS))
    groups = range(0, RECOVERY_CHARACTERS, _GROUP_CHARACTERS)
    return "-".join(text[start : start + _GROUP_CHARACTERS] for start in groups)


def _hash(handle: bytes, code: str) -> bytes:
    # The handle is random and the user's own: equal codes of two users differ.
    return sha256(b"recovery code\0" + handle + _plain(code).encode()).digest()


def _plain(code: str) -> str:
    """Return a code as it is compared: without what people put between."""
    typed = code[:_TYPED_CHARACTERS_MAX].upper()
    kept = "".join(each for each in typed if each not in " -\t")
    return kept.encode("ascii", "replace").decode()


class SecondFactors:
    """The typed second factors of users; all state is in the database."""

    def set_totp(self, tx: Transaction, user: User, secret: bytes, step: int) -> None:
        """Keep the secret of an app that has proven itself with the code of a step."""
        tx.connection.execute(
            update(tables.person)
            .where(_PERSON.id == user.id)
            .values(totp_secret=secret, totp_step=step)
        )

    def set_recovery_codes(
        self, tx: Transaction, user: User, codes: Iterable[str]
    ) -> None:
        """Keep new recovery codes; the old ones are good no longer."""
        tx.connection.execute(
            delete(tables.recovery).where(_RECOVERY.person_id == user.id)
        )
        tx.connection.execute(
            insert(tables.recovery),
            [
                {"person_id": user.id, "code_hash": _hash(user.handle, each)}
                for each in codes
            ],
        )

    def recovery_codes_left(self, connection: Connection, user: User) -> int:
        """Return how many recovery codes are unused."""
        count = connection.scalar(
            select(func.count())
            .select_from(tables.recovery)
            .where(_RECOVERY.person_id == user.id)
        )
        return count or 0

    def prove(
        self, tx: Transaction, credentials: Credentials | None, code: str, now: datetime
    ) -> Factor | None:
        """Judge a code and spend it; ``None``: it is not right.

        Args:
            tx: The caller's transaction; a code is spent when it commits.
            credentials: Whose code it should be; ``None``: of nobody we know.
            code: As it was typed: of the app, or a recovery code.
            now: When.
        """
        step = matching_step(
            None if credentials is None else credentials.totp_secret,
            code,
            None if credentials is None else credentials.totp_step,
            now,
        )
        if credentials is not None and step is not None:
            tx.connection.execute(
                update(tables.person)
                .where(_PERSON.id == credentials.user.id)
                .values(totp_step=step)
            )
            return Factor.TOTP
        # For nobody too: the same work, and no row has that number.
        user = None if credentials is None else credentials.user
        spent = tx.connection.execute(
            delete(tables.recovery).where(
                _RECOVERY.code_hash
                == _hash(_NO_HANDLE if not user else user.handle, code),
                _RECOVERY.person_id == (_NO_ID if not user else user.id),
            )
        )
        return Factor.RECOVERY if spent.rowcount == 1 else None
