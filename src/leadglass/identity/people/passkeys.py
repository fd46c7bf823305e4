"""Passkeys: proof by an authenticator that holds a key (WebAuthn Level 3).

User verification is required, so a passkey is two factors by itself: the thing, and
the finger, face or PIN that it asks for. It may stand alone or beside a password.
Keys are discoverable and no list of them is sent, so that what we offer tells
nothing about who has one.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, RowMapping, delete, func, insert, select, update
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import (
    parse_authentication_credential_json,
    parse_cbor,
    parse_registration_credential_json,
)
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.structs import (
    AttestationConveyancePreference,
    AttestationFormat,
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from leadglass.database.engine import Transaction
from leadglass.errors import Misconfigured, NotFound, PeerError, Refused
from leadglass.identity.people import tables
from leadglass.identity.people.secondfactor import ISSUER
from leadglass.identity.people.user import User
from leadglass.identity.rows import from_us, to_us

# A phone, a computer, a key in the drawer, and their successors.
PASSKEYS_PER_USER_MAX = 10
LABEL_CHARACTERS_MAX = 64

# Credential IDs have at most 1023 bytes (WebAuthn §4), keys and signatures (RSA 4096)
# a few hundred; attestation is asked for not to be sent.
RESPONSE_CHARACTERS_MAX = 16_384
CREDENTIAL_ID_BYTES_MAX = 1_023
PUBLIC_KEY_BYTES_MAX = 2_048

# How long the browser waits for the person, ms.
_TIMEOUT_MS = 120_000

_ALGORITHMS = [
    COSEAlgorithmIdentifier.EDDSA,
    COSEAlgorithmIdentifier.ECDSA_SHA_256,
    COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256,  # Windows Hello
]
# No statement, or one by the key itself: the other formats are parsers of vendors'
# certificates that hostile bytes would reach, for a statement that we do not use.
_FORMATS = frozenset({AttestationFormat.NONE, AttestationFormat.PACKED})

_PASSKEY = tables.passkey.c


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """Ourselves, as browsers know us; a passkey is good for no other name.

    Attributes:
        id: Host name.
        origins: What the browser's address bar may begin with, ``https://…``.
    """

    id: str
    origins: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.id or not self.origins:
            raise Misconfigured("passkeys: name the host and its origins")
        if not all(each.startswith("https://") for each in self.origins):
            raise Misconfigured("passkeys: an origin begins with https://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Passkey:
    """A passkey of a user.

    Attributes:
        id: Row number; what it is removed by.
        user_id: Whose.
        credential_id: What the authenticator calls it.
        public_key: COSE key (RFC 9052 §7).
        sign_count: The authenticator's counter when it was last used; 0: has none.
        label: What the user calls it.
        created_at: When it was added.
        used_at: When it was last used.
    """

    id: int
    user_id: int
    credential_id: bytes
    public_key: bytes
    sign_count: int
    label: str
    created_at: datetime
    used_at: datetime | None


class BadPasskey(Refused):
    """An authenticator's answer does not prove what it should.

    Attributes:
        reason: Why, for the record; the answer is the same for all.
    """

    def __init__(self, reason: str) -> None:
        super().__init__("passkey: not accepted")
        self.reason = reason


class Passkeys:
    """The passkeys of one node; all state is in the database."""

    def __init__(self, party: RelyingParty) -> None:
        """Prepare; ``party`` is this node as browsers know it."""
        self._party = party

    # ── offers, for the browser ──────────────────────────────────────────────

    def registration_options(
        self, connection: Connection, user: User, challenge: bytes
    ) -> str:
        """Return the JSON for ``navigator.credentials.create`` (WebAuthn §5.4)."""
        return options_to_json(
            generate_registration_options(
                rp_id=self._party.id,
                rp_name=ISSUER,
                user_name=user.name,
                user_id=user.handle,
                user_display_name=user.display_name or user.name,
                challenge=challenge,
                timeout=_TIMEOUT_MS,
                attestation=AttestationConveyancePreference.NONE,
                authenticator_selection=AuthenticatorSelectionCriteria(
                    resident_key=ResidentKeyRequirement.REQUIRED,
                    require_resident_key=True,
                    user_verification=UserVerificationRequirement.REQUIRED,
                ),
                exclude_credentials=[
                    PublicKeyCredentialDescriptor(id=each.credential_id)
                    for each in self.list(connection, user)
                ],
                supported_pub_key_algs=_ALGORITHMS,
            )
        )

    def authentication_options(self, challenge: bytes) -> str:
        """Return the JSON for ``navigator.credentials.get``: the same for everybody."""
        return options_to_json(
            generate_authentication_options(
                rp_id=self._party.id,
                challenge=challenge,
                timeout=_TIMEOUT_MS,
                user_verification=UserVerificationRequirement.REQUIRED,
            )
        )

    # ── answers of authenticators ────────────────────────────────────────────

    def register(  # noqa: PLR0913, PLR0917 - whose, what for, what came, its name, when
        self,
        tx: Transaction,
        user: User,
        challenge: bytes,
        response: str,
        label: str,
        now: datetime,
    ) -> Passkey:
        """Keep the passkey that an authenticator has made (WebAuthn §7.1).

        Args:
            tx: The caller's transaction.
            user: Whose it will be.
            challenge: That of the ticket; the caller closes the ticket.
            response: The browser's JSON.
            label: What the user calls it.
            now: When.

        Raises:
            BadPasskey: The answer proves nothing, or the passkey is known already.
            PeerError: There are too many, or the label cannot be shown.
        """
        if not label.isprintable() or not 0 < len(label) <= LABEL_CHARACTERS_MAX:
            raise PeerError(
                f"passkey: give it a name of 1 to {LABEL_CHARACTERS_MAX} characters"
            )
        count = tx.connection.scalar(
            select(func.count())
            .select_from(tables.passkey)
            .where(_PASSKEY.person_id == user.id)
        )
        if (count or 0) >= PASSKEYS_PER_USER_MAX:
            raise PeerError(f"passkey: {PASSKEYS_PER_USER_MAX} already; remove one")
        made = self._verified_registration(response, challenge)
        if self._by_credential(tx.connection, made["credential_id"]) is not None:
            raise BadPasskey("its credential is registered already")
        tx.connection.execute(
            insert(tables.passkey),
            {**made, "person_id": user.id, "label": label, "created_us": to_us(now)},
        )
        row = self._by_credential(tx.connection, made["credential_id"])
        if row is None:
            raise NotFound("no such passkey")
        return _passkey_of(row)

    def _verified_registration(
        self, response: str, challenge: bytes
    ) -> dict[str, bytes | int]:
        _check_size(response)
        try:
            credential = parse_registration_credential_json(response)
            _check_format(credential.response.attestation_object)
            verified = verify_registration_response(
                credential=credential,
                expected_challenge=challenge,
                expected_rp_id=self._party.id,
                expected_origin=list(self._party.origins),
                require_user_verification=True,
                supported_pub_key_algs=_ALGORITHMS,
            )
        except BadPasskey:
            raise
        except Exception as error:  # noqa: BLE001 - hostile CBOR and JSON in a library
            # The class alone: the text may repeat what the browser sent.
            raise BadPasskey(f"registration: {type(error).__name__}") from None
        if not 0 < len(verified.credential_id) <= CREDENTIAL_ID_BYTES_MAX:
            raise BadPasskey("its credential ID has a length that cannot be")
        if len(verified.credential_public_key) > PUBLIC_KEY_BYTES_MAX:
            raise BadPasskey("its key is too long")
        return {
            "credential_id": verified.credential_id,
            "public_key": verified.credential_public_key,
            "sign_count": verified.sign_count,
        }

    def prove(
        self, tx: Transaction, challenge: bytes, response: str, now: datetime
    ) -> Passkey:
        """Return the passkey that has signed a challenge (WebAuthn §7.2).

        Whose it is, is in ``user_id``; whether that user may come, and is the one
        who should, is the caller's to judge.

        Raises:
            BadPasskey: No passkey of ours has signed it, without the user's finger,
                face or PIN, for another site, or its counter went back, as it does
                when an authenticator was copied.
        """
        _check_size(response)
        try:
            credential = parse_authentication_credential_json(response)
        except Exception as error:  # noqa: BLE001 - hostile JSON in a library
            raise BadPasskey(f"answer: {type(error).__name__}") from None
        row = self._by_credential(tx.connection, credential.raw_id)
        if row is None:
            raise BadPasskey("no such passkey")
        passkey = _passkey_of(row)
        handle = credential.response.user_handle
        if handle is not None and handle != self._handle(tx.connection, passkey):
            raise BadPasskey("it names another user")
        try:
            verified = verify_authentication_response(
                credential=credential,
                expected_challenge=challenge,
                expected_rp_id=self._party.id,
                expected_origin=list(self._party.origins),
                credential_public_key=passkey.public_key,
                credential_current_sign_count=passkey.sign_count,
                require_user_verification=True,
            )
        except Exception as error:  # noqa: BLE001 - hostile CBOR and JSON in a library
            raise BadPasskey(f"answer: {type(error).__name__}") from None
        tx.connection.execute(
            update(tables.passkey)
            .where(_PASSKEY.id == passkey.id)
            .values(sign_count=verified.new_sign_count, used_us=to_us(now))
        )
        return passkey

    # ── the list ─────────────────────────────────────────────────────────────

    def list(self, connection: Connection, user: User) -> tuple[Passkey, ...]:
        """Return the passkeys of a user, oldest first."""
        found = connection.execute(
            select(tables.passkey)
            .where(_PASSKEY.person_id == user.id)
            .order_by(_PASSKEY.id)
        )
        return tuple(_passkey_of(row) for row in found.mappings())

    def remove(self, tx: Transaction, user: User, passkey_id: int) -> None:
        """Remove a passkey of a user; what a user must keep is the caller's to judge.

        Raises:
            NotFound: The user has no such passkey.
        """
        gone = tx.connection.execute(
            delete(tables.passkey).where(
                _PASSKEY.id == passkey_id, _PASSKEY.person_id == user.id
            )
        )
        if gone.rowcount == 0:
            raise NotFound("no such passkey")

    def _by_credential(
        self, connection: Connection, credential_id: object
    ) -> RowMapping | None:
        found = connection.execute(
            select(tables.passkey).where(_PASSKEY.credential_id == credential_id)
        )
        return found.mappings().one_or_none()

    def _handle(self, connection: Connection, passkey: Passkey) -> bytes | None:
        person = tables.person.c
        return connection.scalar(
            select(person.handle).where(person.id == passkey.user_id)
        )


def _check_format(attestation: bytes) -> None:
    """Refuse statements of formats that need not be parsed, before they are."""
    members = parse_cbor(attestation)
    if members.get("fmt") not in _FORMATS:
        raise BadPasskey("its attestation is of a format that is not taken")


def _check_size(response: str) -> None:
    if len(response) > RESPONSE_CHARACTERS_MAX:
        raise BadPasskey("longer than any answer of an authenticator")


def _passkey_of(row: RowMapping) -> Passkey:
    used_us = row["used_us"]
    return Passkey(
        id=row["id"],
        user_id=row["person_id"],
        credential_id=row["credential_id"],
        public_key=row["public_key"],
        sign_count=row["sign_count"],
        label=row["label"],
        created_at=from_us(row["created_us"]),
        used_at=None if used_us is None else from_us(used_us),
    )
