"""A device: who it is, where it comes from, what it may, where it is sent to.

The proof of identity is the certificate. A device that cannot do TLS is admitted
only by a named exception: in plaintext, from one address of our own networks, with
a reason and an expiry date.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from ipaddress import ip_address, ip_network
from typing import Self, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from leadglass.access.networks import (
    Address,
    Network,
    parse_address,
    parse_network,
    plain,
    too_wide,
)
from leadglass.access.policy import Kind, Subject
from leadglass.access.rights import DEVICE_RIGHTS, Right
from leadglass.access.scopes import EVERYTHING, EVERYTHING_TEXT, OWN, Scope
from leadglass.config import PLAINTEXT_NETWORKS
from leadglass.dicom.aetitle import AETitle
from leadglass.errors import Misconfigured, PeerError

T = TypeVar("T")

# The common name of its certificate (RFC 5280, ub-common-name), and a file name.
NAME_CHARACTERS_MAX = 64
# More than any real device has; each is a row or a comparison at every association.
AE_TITLES_MAX = 16
NETWORKS_MAX = 32
REASON_CHARACTERS_MAX = 512

# A device without TLS is looked at again every year.
PLAINTEXT_VALIDITY_MAX = timedelta(days=366)

# After a renewal the old certificate works on until the device has the new one.
RENEWAL_GRACE = timedelta(days=14)

_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{NAME_CHARACTERS_MAX - 1}}}")
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_HOST_CHARACTERS_MAX = 253  # RFC 1035 §2.3.4
_FINGERPRINT = re.compile("[0-9a-f]{64}")
_PORT = re.compile("[0-9]{1,5}")
_PORT_MAX = 65_535


class Status(StrEnum):
    """Whether a device may come at all."""

    ACTIVE = "active"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What the register knows of a certificate.

    Attributes:
        fingerprint_sha256: SHA-256 of its DER, hex.
        serial: Its serial number.
        not_before: First moment of its validity.
        not_after: Last moment of its validity.
        accepted_until: Last moment that we take it: earlier after a renewal.
        revoked_at: When it was revoked.
    """

    fingerprint_sha256: str
    serial: int
    not_before: datetime
    not_after: datetime
    accepted_until: datetime
    revoked_at: datetime | None = None

    def __post_init__(self) -> None:
        if not _FINGERPRINT.fullmatch(self.fingerprint_sha256):
            raise Misconfigured("certificate: a fingerprint is 64 hex digits")
        if not self.not_before < self.not_after:
            raise Misconfigured("certificate: ends before it begins")

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Self:
        """Describe a certificate."""
        return cls(
            fingerprint_sha256=fingerprint(certificate.public_bytes(Encoding.DER)),
            serial=certificate.serial_number,
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            accepted_until=certificate.not_valid_after_utc,
        )

    def refusal(self, now: datetime) -> str | None:
        """Say why the certificate is not taken now; none: it is."""
        if self.revoked_at is not None:
            return f"its certificate was revoked at {self.revoked_at.isoformat()}"
        if now < self.not_before:
            return f"its certificate is not valid before {self.not_before.isoformat()}"
        if now > self.not_after:
            return f"its certificate expired at {self.not_after.isoformat()}"
        if now > self.accepted_until:
            until = self.accepted_until.isoformat()
            return f"its certificate was replaced and taken only until {until}"
        return None


def fingerprint(certificate_der: bytes) -> str:
    """Return the SHA-256 of a certificate, hex: its name in register and record."""
    return sha256(certificate_der).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsafePlaintext:
    """The exception that lets a device speak without TLS, at one address.

    Attributes:
        address: The one address; loopback or private (RFC 1918, RFC 4193).
        reason: Why it must be.
        granted_at: When it began.
        not_after: Its last moment, at most a year later.
    """

    address: Address
    reason: str
    granted_at: datetime
    not_after: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "address", plain(self.address))
        problems = []
        if not _is_sheltered(self.address):
            problems.append(
                f"plaintext from {self.address}: not an address of one device in a "
                "private network; name that, as 10.4.0.7, or give the device TLS"
            )
        if not self.reason.strip() or not self.reason.isprintable():
            problems.append("plaintext: no reason; say why this device has no TLS")
        elif len(self.reason) > REASON_CHARACTERS_MAX:
            problems.append(
                f"plaintext: reason longer than {REASON_CHARACTERS_MAX} characters"
            )
        if not self.granted_at < self.not_after:
            problems.append("plaintext: expires in the past; give a later date")
        elif self.not_after - self.granted_at > PLAINTEXT_VALIDITY_MAX:
            latest = (self.granted_at + PLAINTEXT_VALIDITY_MAX).date()
            problems.append(f"plaintext: for more than a year; {latest} is the latest")
        if problems:
            raise Misconfigured(*problems)

    def refusal(self, now: datetime) -> str | None:
        """Say why the exception does not hold now; none: it does."""
        if now > self.not_after:
            return f"its plaintext exception expired at {self.not_after.isoformat()}"
        return None


def _is_sheltered(address: Address) -> bool:
    return any(address in network for network in PLAINTEXT_NETWORKS)


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a device is sent to (C-MOVE): a host name or address, and a port."""

    host: str
    port: int

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "host", str(plain(ip_address(self.host))))
        except ValueError:
            if len(self.host) > _HOST_CHARACTERS_MAX or not _HOST.fullmatch(self.host):
                raise Misconfigured(
                    "destination: write HOST:PORT, as 10.4.0.7:11112"
                ) from None
        if not 1 <= self.port <= _PORT_MAX:
            raise Misconfigured(f"destination: a port is 1 to {_PORT_MAX}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``HOST:PORT``; an IPv6 address in brackets.

        Raises:
            Misconfigured: Not such a text.
        """
        host, _, port = text.strip().rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            raise Misconfigured("destination: write IPv6 in brackets, as [fd00::7]:104")
        if not _PORT.fullmatch(port):
            raise Misconfigured("destination: write HOST:PORT, as 10.4.0.7:11112")
        return cls(host, int(port))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Revocation:
    """When and why a device was shut out."""

    at: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One enrolled device; holding one says nothing about who is calling.

    Attributes:
        name: Unique, also without regard to case.
        ae_titles: What it may call itself.
        networks: Where it comes from; with plaintext, that one address.
        rights: What it may.
        scope: Which studies it reaches.
        enrolled_at: When it was enrolled.
        renewed_at: When it last got a certificate.
        has_tls: Whether it proves itself by a certificate; if not, it is admitted
            by ``unsafe_plaintext`` alone.
        certificate: Its certificate, once it has one.
        unsafe_plaintext: The exception for a device without TLS, or for sending to
            one whose receiver has none.
        destination: Where it is sent to.
        revocation: Set when it was revoked.

    Raises:
        Misconfigured: All that is wrong, each with its remedy.
    """

    name: str
    ae_titles: tuple[AETitle, ...]
    networks: tuple[Network, ...]
    rights: frozenset[Right]
    scope: Scope = EVERYTHING
    enrolled_at: datetime
    renewed_at: datetime | None = None
    has_tls: bool = True
    certificate: Certificate | None = None
    unsafe_plaintext: UnsafePlaintext | None = None
    destination: Destination | None = None
    revocation: Revocation | None = None

    def __post_init__(self) -> None:
        problems = [
            *_name_problems(self.name),
            *_count_problems("AE titles", self.ae_titles, AE_TITLES_MAX, "--ae CT1"),
            *_network_problems(self.networks),
            *_right_problems(self.rights),
            *_plaintext_problems(self),
        ]
        if problems:
            raise Misconfigured(*problems)

    @property
    def status(self) -> Status:
        """Whether it may come at all."""
        return Status.ACTIVE if self.revocation is None else Status.REVOKED

    @property
    def subject(self) -> Subject:
        """Who it is to the rules."""
        kind = Kind.DEVICE if self.has_tls else Kind.EXCEPTION
        return Subject(kind, self.name)

    @property
    def not_after(self) -> datetime | None:
        """When it falls silent unless somebody acts; ``None``: it is silent now."""
        if not self.has_tls:
            return self.unsafe_plaintext.not_after if self.unsafe_plaintext else None
        return self.certificate.accepted_until if self.certificate else None

    @property
    def is_sent_to_in_plaintext(self) -> bool:
        """Whether its destination is reached without TLS."""
        return self.destination is not None and self.unsafe_plaintext is not None

    def refusal(self, now: datetime) -> str | None:
        """Say why it may not come now, whatever it says; none: it may."""
        if self.revocation is not None:
            return f"device {self.name} was revoked at {self.revocation.at.isoformat()}"
        proof = self.certificate if self.has_tls else self.unsafe_plaintext
        if proof is None:
            return f"device {self.name} has neither a certificate nor an exception"
        return proof.refusal(now)


# ── what is wrong with a device ──────────────────────────────────────────────


def check_name(name: str) -> None:
    """Check the name of a device alone.

    Raises:
        Misconfigured: No device can be called so.
    """
    if problems := tuple(_name_problems(name)):
        raise Misconfigured(*problems)


def _name_problems(name: str) -> Iterable[str]:
    if not _NAME.fullmatch(name):
        yield (
            f"name: {name[:NAME_CHARACTERS_MAX]!r}; use 1 to {NAME_CHARACTERS_MAX} "
            "letters, digits, dots, hyphens and underscores, a letter or digit first"
        )
    if name.casefold() == OWN:
        yield f"name: {OWN!r} means the device itself in a scope; choose another"


def _count_problems(
    what: str, values: tuple[T, ...], count_max: int, example: str
) -> Iterable[str]:
    if not values:
        yield f"{what}: none; name one, as {example}"
    elif len(values) > count_max:
        yield f"{what}: more than {count_max}; name fewer"
    elif len(set(values)) != len(values):
        yield f"{what}: one is named twice; name it once"


def _network_problems(networks: tuple[Network, ...]) -> Iterable[str]:
    example = "--from 10.4.0.0/24"
    yield from _count_problems("networks", networks, NETWORKS_MAX, example)
    for network in networks:
        if problem := too_wide(network):
            yield problem


def _right_problems(rights: frozenset[Right]) -> Iterable[str]:
    if not rights:
        yield "rights: none; give some, as --may store"
    if people := rights - DEVICE_RIGHTS:
        yield (
            f"rights: {', '.join(sorted(people))}: for people, not devices; "
            f"give some of {', '.join(sorted(DEVICE_RIGHTS))}"
        )


def _plaintext_problems(device: "Device") -> Iterable[str]:
    exception, destination = device.unsafe_plaintext, device.destination
    if exception is None:
        if not device.has_tls:
            yield (
                "plaintext: a device without TLS needs an exception; "
                "name its address, a reason and a date"
            )
        return
    if device.has_tls and destination is None:
        yield "plaintext: the device has TLS; remove the exception, or name where to"
    if not device.has_tls and device.certificate is not None:
        yield "plaintext: the device has a certificate; let it use that"
    if not device.has_tls and device.networks != (ip_network(exception.address),):
        yield "plaintext: only from its one address; name no other network"
    if destination is not None and destination.host != str(exception.address):
        yield (
            f"destination: plaintext goes to {exception.address} only; "
            "write that address"
        )


# ── from what an administrator writes ────────────────────────────────────────


class _Reading:
    """Reads texts and collects everything that is wrong with them."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._unreadable: set[str] = set()

    def one(self, topic: str, text: str | None, read: Callable[[str], T]) -> T | None:
        """Read a text that may be left out; None when it was, or is wrong."""
        found = self.each(topic, () if text is None else (text,), read)
        return found[0] if found else None

    def each(
        self, topic: str, texts: Iterable[str], read: Callable[[str], T]
    ) -> tuple[T, ...]:
        """Read texts of one kind; those that are wrong are left out."""
        found = []
        for text in texts:
            try:
                found.append(read(text))
            except Misconfigured as error:
                self.told(topic, error)
        return tuple(found)

    def told(self, topic: str, error: Misconfigured) -> None:
        """Note what is wrong with a part."""
        self.problems += error.problems
        self._unreadable.add(topic)

    def build(self, make: Callable[[], T]) -> T:
        """Make the whole, or tell what is wrong with the parts and with it.

        That a part is missing is not told of a part that could not be read.
        """
        try:
            whole = make()
        except Misconfigured as error:
            self.problems += [
                problem
                for problem in error.problems
                if problem.partition(":")[0] not in self._unreadable
            ]
        if self.problems:
            raise Misconfigured(*self.problems)
        return whole


def _ae_title(text: str) -> AETitle:
    try:
        return AETitle(text.strip(" "))
    except PeerError as error:
        raise Misconfigured(f"AE titles: {text[:64]!r}: {error}") from None


def _right(text: str) -> Right:
    if text.strip() not in DEVICE_RIGHTS:
        known = ", ".join(sorted(DEVICE_RIGHTS))
        raise Misconfigured(f"rights: {text[:64]!r} is none of a device; use {known}")
    return Right(text.strip())


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaintextRequest:
    """What an administrator says of an exception, unread."""

    address: str
    reason: str
    not_after: datetime

    def grant(self, now: datetime) -> UnsafePlaintext:
        """Read it.

        Raises:
            Misconfigured: It cannot be granted.
        """
        return UnsafePlaintext(
            address=parse_address(self.address),
            reason=self.reason,
            granted_at=now,
            not_after=self.not_after,
        )


def parse_device(  # noqa: PLR0913 - one for each thing that an administrator says
    *,
    name: str,
    ae_titles: Iterable[str],
    networks: Iterable[str],
    rights: Iterable[str],
    now: datetime,
    scope: str = EVERYTHING_TEXT,
    destination: str | None = None,
    unsafe_plaintext: PlaintextRequest | None = None,
    has_tls: bool = True,
) -> Device:
    """Read a device that is to be enrolled; its certificate is put in later.

    A device without TLS comes from the address of its exception, so ``networks``
    may be empty for it.

    Raises:
        Misconfigured: All that is wrong, each with its remedy.
    """
    reading = _Reading()
    exception = None
    if unsafe_plaintext is not None:
        try:
            exception = unsafe_plaintext.grant(now)
        except Misconfigured as error:
            reading.told("plaintext", error)
    titles = reading.each("AE titles", ae_titles, _ae_title)
    found_networks = reading.each("networks", networks, parse_network)
    found_rights = reading.each("rights", rights, _right)
    found_scope = reading.one("scope", scope, Scope.parse)
    found_destination = reading.one("destination", destination, Destination.parse)
    if not has_tls and not found_networks and exception is not None:
        found_networks = (ip_network(exception.address),)
    return reading.build(
        lambda: Device(
            name=name,
            ae_titles=titles,
            networks=found_networks,
            rights=frozenset(found_rights),
            scope=found_scope or EVERYTHING,
            has_tls=has_tls,
            unsafe_plaintext=exception,
            destination=found_destination,
            enrolled_at=now,
        )
    )
