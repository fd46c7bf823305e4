"""People around a database, and an authenticator that is made of software."""

import base64
import json
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import ip_address
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from leadglass.access.networks import Address
from leadglass.database.engine import Database
from leadglass.identity.administrators import hash_secret
from leadglass.identity.people.enrolment import Enrolled, Enrolment, Offer
from leadglass.identity.people.lockout import Lockout
from leadglass.identity.people.login import Failure, LoggedIn, Login, Pending, Stores
from leadglass.identity.people.passkeys import Passkeys, RelyingParty
from leadglass.identity.people.passwords import Parameters, Passwords
from leadglass.identity.people.secondfactor import (
    SecondFactors,
    totp_code,
    totp_step,
)
from leadglass.identity.people.sessions import NoSession, Sessions
from leadglass.identity.people.tickets import Tickets
from leadglass.identity.people.user import NewUser, User
from leadglass.identity.people.users import Users

HOST = "pacs.example"
ORIGIN = "https://pacs.example:8443"
PARTY = RelyingParty(HOST, (ORIGIN,))
HOME = ip_address("10.1.2.3")
PASSWORD = "correct horse battery staple"
SECRET = "ABCDE-FGHIJ-KLMNO-PQRST-UVWXY-2"
SECRET_HASH = hash_secret(SECRET)  # once: it takes a while
# As cheap as Argon2 goes: what it costs is not what these tests are about.
CHEAP = Parameters(memory_kib=8, passes=1, lanes=1)
START = datetime(2026, 3, 1, 8, tzinfo=UTC)


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass
class Authenticator:
    """A key, a counter and a finger (WebAuthn §6): ES256, no attestation."""

    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    credential_id: bytes = b"credential-1"
    count: int = 0
    host: str = HOST
    origin: str = ORIGIN
    is_verified: bool = True
    handle: bytes | None = None

    def create(self, options: str, **changes: Any) -> str:
        asked = json.loads(options)
        self.handle = base64.urlsafe_b64decode(asked["user"]["id"] + "==")
        x, y = self._point()
        key = cbor2.dumps({1: 2, 3: -7, -1: 1, -2: x, -3: y})
        attested = (
            bytes(16) + struct.pack(">H", len(self.credential_id)) + self.credential_id
        )
        data = self._data(0x40) + attested + key
        statement = {"fmt": "none", "attStmt": {}, "authData": data, **changes}
        return self._answer(
            {
                "clientDataJSON": self._client("webauthn.create", asked),
                "attestationObject": base64url(cbor2.dumps(statement)),
            }
        )

    def get(self, options: str, **changes: Any) -> str:
        asked = json.loads(options) | changes
        self.count += 1
        data = self._data(0)
        client = self._client("webauthn.get", asked)
        raw_client = base64.urlsafe_b64decode(client + "==")
        signed = data + sha256(raw_client).digest()
        response = {
            "clientDataJSON": client,
            "authenticatorData": base64url(data),
            "signature": base64url(self.key.sign(signed, ec.ECDSA(SHA256()))),
        }
        if self.handle is not None:
            response["userHandle"] = base64url(self.handle)
        return self._answer(response)

    def _point(self) -> tuple[bytes, bytes]:
        numbers = self.key.public_key().public_numbers()
        return numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")

    def _data(self, flags: int) -> bytes:
        flags |= 0x01 | (0x04 if self.is_verified else 0)
        return sha256(self.host.encode()).digest() + struct.pack(
            ">BI", flags, self.count
        )

    def _client(self, kind: str, asked: dict[str, Any]) -> str:
        members = {
            "type": kind,
            "challenge": asked["challenge"],
            "origin": self.origin,
            "crossOrigin": False,
        }
        return base64url(json.dumps(members).encode())

    def _answer(self, response: dict[str, str]) -> str:
        name = base64url(self.credential_id)
        return json.dumps(
            {"id": name, "rawId": name, "type": "public-key", "response": response}
        )


class People:
    """All stores on one database, and a clock that a test moves."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.now = START
        self.stores = Stores(
            users=Users(),
            passwords=Passwords(parameters=CHEAP),
            factors=SecondFactors(),
            passkeys=Passkeys(PARTY),
            lockout=Lockout(),
            tickets=Tickets(),
            sessions=Sessions(),
        )
        self.login = Login(self.stores)
        self.enrolment = Enrolment(self.stores)
        self.secrets: dict[str, bytes] = {}

    def wait(self, time: timedelta) -> None:
        self.now += time

    def code(self, name: str = "alice") -> str:
        """The code of a fresh time step, as after a while of waiting."""
        self.wait(timedelta(seconds=30))
        return totp_code(self.secrets[name], totp_step(self.now))

    def add(self, name: str = "alice", *roles: str) -> User:
        new = NewUser(name, roles or ("radiologist",))
        return self.database.write(
            lambda tx: self.stores.users.add(tx, new, SECRET_HASH, self.now)
        )

    def open_enrolment(
        self, name: str = "alice", secret: str = SECRET, address: Address = HOME
    ) -> Offer | Failure:
        with self.database.read() as connection:
            attempt = self.enrolment.look(connection, name, address)
        weighed = self.enrolment.weigh(attempt, secret)
        return self.database.write(
            lambda tx: self.enrolment.begin(tx, weighed, self.now)
        )

    def offer(self, name: str = "alice", secret: str = SECRET) -> Offer:
        offer = self.open_enrolment(name, secret)
        assert isinstance(offer, Offer)
        return offer

    def secret_in(self, offer: Offer) -> bytes:
        text = offer.totp_text
        return base64.b32decode(text + "=" * (-len(text) % 8))

    def enrol(self, name: str = "alice", secret: str = SECRET) -> Enrolled:
        """Enrol somebody with password and app."""
        offer = self.offer(name, secret)
        self.secrets[name] = self.secret_in(offer)
        password_hash = self.stores.passwords.prepare(PASSWORD, [name])
        code = self.code(name)
        return self.database.write(
            lambda tx: self.enrolment.finish(
                tx, offer.ticket, password_hash, code, self.now
            )
        )

    def member(self, name: str = "alice", *roles: str) -> Enrolled:
        """Add and enrol somebody."""
        self.add(name, *roles)
        return self.enrol(name)

    def begin(
        self, name: str = "alice", password: str = PASSWORD, address: Address = HOME
    ) -> Pending:
        with self.database.read() as connection:
            attempt = self.login.look(connection, name, address)
        weighed = self.login.weigh(attempt, password)
        return self.database.write(lambda tx: self.login.begin(tx, weighed, self.now))

    def finish(
        self, ticket: str, code: str, address: Address = HOME
    ) -> LoggedIn | Failure:
        return self.database.write(
            lambda tx: self.login.finish(tx, ticket, code, address, self.now)
        )

    def finish_with_passkey(self, ticket: str, response: str) -> LoggedIn | Failure:
        return self.database.write(
            lambda tx: self.login.finish_with_passkey(
                tx, ticket, response, HOME, self.now
            )
        )

    def log_in(self, name: str = "alice") -> LoggedIn:
        done = self.finish(self.begin(name).ticket, self.code(name))
        assert isinstance(done, LoggedIn), done
        return done

    def stands(self, token: str) -> bool:
        """Whether a session stands now."""
        with self.database.read() as connection:
            try:
                self.stores.sessions.find(connection, token, self.now)
            except NoSession:
                return False
        return True

    def user(self, name: str = "alice") -> User:
        with self.database.read() as connection:
            return self.stores.users.get(connection, name)

    def add_passkey(self, name: str = "alice", number: int = 1) -> Authenticator:
        """Give a user a passkey, as with a fresh session."""
        user = self.user(name)
        offer = self.database.write(lambda tx: self.enrolment.offer(tx, user, self.now))
        authenticator = Authenticator(credential_id=f"{name}-{number}".encode())
        response = authenticator.create(offer.passkey_options)
        self.database.write(
            lambda tx: self.enrolment.add_passkey(
                tx, user, offer.ticket, response, "phone", self.now
            )
        )
        return authenticator
