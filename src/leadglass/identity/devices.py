"""The register of devices: enrolled, changed, renewed, revoked; and who is calling.

Changes are made in the caller's transaction, so that the record of the change is
written with it or not at all. What decides at the door (``identify``) is read from
the database at each association; what decides at each operation (``register``) is
kept in memory and looked at again twice a second.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from threading import Lock
from types import MappingProxyType

from sqlalchemy import Connection, RowMapping, delete, func, insert, select, update

from leadglass.access.networks import Address, Network, plain
from leadglass.access.policy import Rule, Subject
from leadglass.database.engine import Database, Transaction
from leadglass.dicom.aetitle import AETitle
from leadglass.errors import Damaged, Misconfigured, NotFound
from leadglass.identity import tables
from leadglass.identity.admission import (
    NotAdmitted,
    admit,
    check_address,
    check_receiver,
    rules_of,
)
from leadglass.identity.certificates import Revoked
from leadglass.identity.device import (
    REASON_CHARACTERS_MAX,
    RENEWAL_GRACE,
    Certificate,
    Destination,
    Device,
    PlaintextRequest,
    Revocation,
    Status,
    UnsafePlaintext,
    fingerprint,
    parse_device,
)
from leadglass.identity.rows import (
    certificate_of,
    certificate_row,
    device_of,
    device_row,
    from_us,
    to_us,
)

__all__ = [
    "Certificate",
    "Destination",
    "Device",
    "Devices",
    "NotAdmitted",
    "PlaintextRequest",
    "Register",
    "Revocation",
    "Status",
    "UnsafePlaintext",
    "admit",
    "check_address",
    "check_receiver",
    "fingerprint",
    "parse_device",
    "rules_of",
]

# The register is held in memory, some 2 KiB for each device; a large hospital has
# hundreds that speak DICOM.
DEVICES_MAX = 10_000

# A change must act within two seconds, and a look costs one indexed read.
REVISION_CHECK_S = 0.5

_DEVICE = tables.device.c
_CERTIFICATE = tables.certificate.c
_PLAINTEXT = tables.plaintext.c


@dataclass(frozen=True, slots=True)
class Register:
    """All devices as they were at one moment, made ready for decisions.

    Attributes:
        devices: All of them, revoked ones too, by name.
        networks: Where devices with TLS come from, joined; revoked ones do not.
        plaintext_addresses: Where devices without TLS come from.
        rules: What each device may, by its subject.
    """

    devices: Mapping[str, Device]
    networks: tuple[Network, ...]
    plaintext_addresses: frozenset[Address]
    rules: Mapping[Subject, tuple[Rule, ...]]

    @classmethod
    def of(cls, devices: Iterable[Device]) -> "Register":
        """Make it of devices."""
        devices = tuple(devices)
        active = [each for each in devices if each.status is Status.ACTIVE]
        exceptions = [each.unsafe_plaintext for each in active if not each.has_tls]
        return cls(
            devices=MappingProxyType({each.name: each for each in devices}),
            networks=_joined(
                network for each in active if each.has_tls for network in each.networks
            ),
            plaintext_addresses=frozenset(
                each.address for each in exceptions if each is not None
            ),
            rules=MappingProxyType({each.subject: rules_of(each) for each in active}),
        )

    def rules_for(self, subject: Subject) -> tuple[Rule, ...]:
        """Return the rules of a device; none for whoever is not in the register."""
        return self.rules.get(subject, ())

    def expects_tls_from(self, address: Address) -> bool:
        """Whether any device with TLS comes from there: the look before TLS."""
        address = plain(address)
        return any(address in network for network in self.networks)

    def expects_plaintext_from(self, address: Address) -> bool:
        """Whether any device without TLS comes from there."""
        return plain(address) in self.plaintext_addresses


def _joined(networks: Iterable[Network]) -> tuple[Network, ...]:
    found = set(networks)
    four = (each for each in found if isinstance(each, IPv4Network))
    six = (each for each in found if isinstance(each, IPv6Network))
    return (*collapse_addresses(four), *collapse_addresses(six))


class Devices:
    """The register of one node."""

    def __init__(
        self, database: Database, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Prepare; ``clock`` gives seconds, for the looks at the revision."""
        self._database = database
        self._clock = clock
        self._lock = Lock()
        self._register: Register | None = None
        self._revision = -1
        self._looked_s = 0.0

    # ── changes, in the caller's transaction ─────────────────────────────────

    def enrol(self, tx: Transaction, device: Device) -> None:
        """Add a device, or one of a revoked name anew.

        Raises:
            Misconfigured: The name is in use, or another device is known by the
                same plaintext address and AE title.
        """
        problems = []
        if device.revocation is not None:
            problems.append(f"name: {device.name} is revoked as it is enrolled")
        if device.has_tls and device.certificate is None:
            problems.append(f"certificate: {device.name} has none yet; issue one")
        row = self._row_by_name(tx.connection, device.name)
        if row is not None and row["revoked_us"] is None:
            problems.append(
                f"name: {row['name']} is enrolled already; choose another name, "
                "renew that device, or revoke it first"
            )
        problems += self._plaintext_clashes(
            tx.connection, device, None if row is None else row["id"]
        )
        count = tx.connection.scalar(select(func.count()).select_from(tables.device))
        if (count or 0) >= DEVICES_MAX and row is None:
            problems.append(f"register: {DEVICES_MAX} devices; revoke some")
        if problems:
            raise Misconfigured(*problems)
        if row is None:
            device_id = tx.connection.scalars(
                insert(tables.device).returning(_DEVICE.id), device_row(device)
            ).one()
        else:
            device_id = row["id"]
            self._update(tx, device_id, device)
        if device.certificate is not None:
            self._add_certificate(tx, device_id, device.certificate)
        self._changed(tx, device_id, device)

    def change(self, tx: Transaction, device: Device) -> Device:
        """Give an enrolled device other titles, networks, rights, scope and so on.

        Certificates and the time of enrolment stay as they are in the register;
        so does revocation. Returns the device as it is now.

        Raises:
            NotFound: No such device.
            Misconfigured: It is revoked, or clashes with another.
        """
        device_id, old = self._active(tx.connection, device.name)
        new = replace(
            device,
            name=old.name,
            certificate=old.certificate if device.has_tls else None,
            enrolled_at=old.enrolled_at,
            renewed_at=old.renewed_at,
            revocation=None,
        )
        if clashes := self._plaintext_clashes(tx.connection, new, device_id):
            raise Misconfigured(*clashes)
        self._update(tx, device_id, new)
        self._changed(tx, device_id, new)
        return new

    def renew(
        self,
        tx: Transaction,
        name: str,
        certificate: Certificate,
        now: datetime,
        grace: timedelta = RENEWAL_GRACE,
    ) -> Device:
        """Give a device a new certificate; its old ones are taken for ``grace`` yet.

        Raises:
            NotFound: No such device.
            Misconfigured: It is revoked, or has no TLS.
        """
        device_id, old = self._active(tx.connection, name)
        if not old.has_tls:
            raise Misconfigured(
                f"device {old.name}: it has no TLS, so nothing to renew; "
                "revoke it and enrol it with a certificate"
            )
        tx.connection.execute(
            update(tables.certificate)
            .where(
                _CERTIFICATE.device_id == device_id,
                _CERTIFICATE.revoked_us.is_(None),
                _CERTIFICATE.accepted_until_us > to_us(now + grace),
            )
            .values(accepted_until_us=to_us(now + grace))
        )
        new = replace(old, certificate=certificate, renewed_at=now)
        self._add_certificate(tx, device_id, certificate)
        self._update(tx, device_id, new)
        self._changed(tx, device_id, new)
        return new

    def revoke(self, tx: Transaction, name: str, reason: str, now: datetime) -> Device:
        """Shut a device out, with all its certificates; returns it as it is now.

        Publish the revocation list afterwards (``Authority``); the register
        refuses the device from here on, whatever the list says.

        Raises:
            NotFound: No such device.
            Misconfigured: It is revoked already, or there is no reason.
        """
        if not reason.strip() or len(reason) > REASON_CHARACTERS_MAX:
            raise Misconfigured(
                f"reason: say why, in 1 to {REASON_CHARACTERS_MAX} characters"
            )
        device_id, old = self._active(tx.connection, name)
        tx.connection.execute(
            update(tables.certificate)
            .where(
                _CERTIFICATE.device_id == device_id, _CERTIFICATE.revoked_us.is_(None)
            )
            .values(revoked_us=to_us(now))
        )
        certificate = old.certificate and replace(old.certificate, revoked_at=now)
        new = replace(
            old, certificate=certificate, revocation=Revocation(now, reason.strip())
        )
        self._update(tx, device_id, new)
        self._changed(tx, device_id, new)
        return new

    def _update(self, tx: Transaction, device_id: int, device: Device) -> None:
        tx.connection.execute(
            update(tables.device).where(_DEVICE.id == device_id), device_row(device)
        )

    def _add_certificate(
        self, tx: Transaction, device_id: int, certificate: Certificate
    ) -> None:
        known = tx.connection.scalar(
            select(_CERTIFICATE.id).where(
                _CERTIFICATE.fingerprint == certificate.fingerprint_sha256
            )
        )
        if known is not None:
            raise Misconfigured("certificate: it is in the register; issue a new one")
        tx.connection.execute(
            insert(tables.certificate), certificate_row(device_id, certificate)
        )

    def _changed(self, tx: Transaction, device_id: int, device: Device) -> None:
        """Keep what follows from a device: its plaintext titles, the revision."""
        tx.connection.execute(
            delete(tables.plaintext).where(_PLAINTEXT.device_id == device_id)
        )
        if rows := _plaintext_rows(device):
            tx.connection.execute(
                insert(tables.plaintext),
                [{**row, "device_id": device_id} for row in rows],
            )
        revision = tables.revision
        tx.connection.execute(
            update(revision)
            .where(revision.c.id == tables.REVISION_ID)
            .values(number=revision.c.number + 1)
        )

    def _plaintext_clashes(
        self, connection: Connection, device: Device, device_id: int | None
    ) -> tuple[str, ...]:
        """Say which other device would be meant by the same address and title."""
        problems = []
        for row in _plaintext_rows(device):
            other = connection.execute(
                select(_DEVICE.id, _DEVICE.name)
                .join(tables.plaintext, _PLAINTEXT.device_id == _DEVICE.id)
                .where(
                    _PLAINTEXT.address == row["address"],
                    _PLAINTEXT.ae_title == row["ae_title"],
                )
            ).one_or_none()
            if other is not None and other.id != device_id:
                problems.append(
                    f"plaintext: {row['ae_title']} from {row['address']} is device "
                    f"{other.name} already; use another title, or revoke that device"
                )
        return tuple(problems)

    # ── answers ──────────────────────────────────────────────────────────────

    def get(self, connection: Connection, name: str) -> Device:
        """Return a device by its name, whatever its case.

        Raises:
            NotFound: No such device.
        """
        row = self._row_by_name(connection, name)
        if row is None:
            raise NotFound(f"no device {name!r}")
        return device_of(row, self._newest_certificate(connection, row["id"]))

    def list(self, connection: Connection) -> tuple[Device, ...]:
        """Return all devices, revoked ones too, by name."""
        newest = select(func.max(_CERTIFICATE.id)).group_by(_CERTIFICATE.device_id)
        certificates = {
            row["device_id"]: certificate_of(row)
            for row in connection.execute(
                select(tables.certificate).where(_CERTIFICATE.id.in_(newest))
            ).mappings()
        }
        rows = connection.execute(
            select(tables.device).order_by(_DEVICE.folded_name)
        ).mappings()
        return tuple(device_of(row, certificates.get(row["id"])) for row in rows)

    def by_fingerprint(
        self, connection: Connection, fingerprint_sha256: str
    ) -> Device | None:
        """Return the device that has or had a certificate, with that certificate."""
        row = (
            connection.execute(
                select(tables.certificate).where(
                    _CERTIFICATE.fingerprint == fingerprint_sha256
                )
            )
            .mappings()
            .one_or_none()
        )
        if row is None:
            return None
        device = (
            connection.execute(
                select(tables.device).where(_DEVICE.id == row["device_id"])
            )
            .mappings()
            .one()
        )
        return device_of(device, certificate_of(row))

    def by_address(
        self, connection: Connection, address: Address
    ) -> tuple[Device, ...]:
        """Return the devices that come from an address in plaintext, by name."""
        ids = select(_PLAINTEXT.device_id).where(
            _PLAINTEXT.address == str(plain(address))
        )
        rows = connection.execute(
            select(tables.device)
            .where(_DEVICE.id.in_(ids))
            .order_by(_DEVICE.folded_name)
        ).mappings()
        return tuple(device_of(row, None) for row in rows)

    def revoked_certificates(
        self, connection: Connection, now: datetime
    ) -> tuple[Revoked, ...]:
        """Return what the revocation list must hold; expired ones need no line."""
        rows = connection.execute(
            select(_CERTIFICATE.serial, _CERTIFICATE.revoked_us)
            .where(
                _CERTIFICATE.revoked_us.is_not(None),
                _CERTIFICATE.not_after_us >= to_us(now),
            )
            .order_by(_CERTIFICATE.id)
        )
        return tuple(
            Revoked(int(row.serial, 16), from_us(row.revoked_us)) for row in rows
        )

    def expiring(
        self, connection: Connection, within_days: int, now: datetime
    ) -> tuple[Device, ...]:
        """Return the active devices that fall silent within so many days."""
        bound = now + timedelta(days=within_days)
        return tuple(
            each
            for each in self.list(connection)
            if each.status is Status.ACTIVE
            and (each.not_after is None or each.not_after <= bound)
        )

    # ── at the door ──────────────────────────────────────────────────────────

    def identify(
        self,
        certificate_der: bytes | None,
        address: Address,
        calling: AETitle | None = None,
    ) -> Device:
        """Return the device that has proven itself; ``admit`` must follow.

        With a certificate (already verified by TLS against the authority), the
        device is the one that it was issued to, and carries that certificate.
        Without one (plaintext), it is the one with an exception for the address
        and, where devices share an address, for the calling AE title.

        Raises:
            NotAdmitted: Nobody we know.
            Unavailable: The register cannot be read now.
        """
        with self._database.read() as connection:
            if certificate_der is not None:
                shown = fingerprint(certificate_der)
                device = self.by_fingerprint(connection, shown)
                if device is None or not device.has_tls:
                    raise NotAdmitted(f"certificate {shown} is of no enrolled device")
                return device
            candidates = self.by_address(connection, address)
        if not candidates:
            raise NotAdmitted(f"no exception for plaintext from {plain(address)}")
        if calling is not None:
            candidates = tuple(each for each in candidates if calling in each.ae_titles)
        if len(candidates) != 1:
            raise NotAdmitted(
                f"no one device comes in plaintext from {plain(address)}"
                + (f" as {calling}" if calling is not None else "")
            )
        return candidates[0]

    def register(self) -> Register:
        """Return all devices, at most `REVISION_CHECK_S` behind the database.

        Raises:
            Unavailable: The register cannot be read now; old answers are not given.
        """
        with self._lock:
            now_s = self._clock()
            if self._register is None or now_s - self._looked_s >= REVISION_CHECK_S:
                self._register = self._look(self._register)
                self._looked_s = now_s
            return self._register

    def _look(self, known: Register | None) -> Register:
        """Read the register again if it has changed."""
        with self._database.read() as connection:
            revision = connection.scalar(
                select(tables.revision.c.number).where(
                    tables.revision.c.id == tables.REVISION_ID
                )
            )
            if revision is None:
                raise Damaged("device register: its revision is missing")
            if known is None or revision != self._revision:
                known = Register.of(self.list(connection))
                self._revision = revision
        return known

    def rules_for(self, subject: Subject) -> tuple[Rule, ...]:
        """Return the rules of a device now (see ``register``)."""
        return self.register().rules_for(subject)

    # ── rows ─────────────────────────────────────────────────────────────────

    def _row_by_name(self, connection: Connection, name: str) -> RowMapping | None:
        return (
            connection.execute(
                select(tables.device).where(_DEVICE.folded_name == name.casefold())
            )
            .mappings()
            .one_or_none()
        )

    def _newest_certificate(
        self, connection: Connection, device_id: int
    ) -> Certificate | None:
        row = (
            connection.execute(
                select(tables.certificate)
                .where(_CERTIFICATE.device_id == device_id)
                .order_by(_CERTIFICATE.id.desc())
                .limit(1)
            )
            .mappings()
            .one_or_none()
        )
        return None if row is None else certificate_of(row)

    def _active(self, connection: Connection, name: str) -> tuple[int, Device]:
        """Return an active device and its row number."""
        row = self._row_by_name(connection, name)
        if row is None:
            raise NotFound(f"no device {name!r}")
        if row["revoked_us"] is not None:
            raise Misconfigured(
                f"device {row['name']}: it is revoked; enrol it anew to let it in"
            )
        certificate = self._newest_certificate(connection, row["id"])
        return row["id"], device_of(row, certificate)


def _plaintext_rows(device: Device) -> tuple[dict[str, str], ...]:
    """Return by what address and titles a device without TLS is known."""
    exception = device.unsafe_plaintext
    if exception is None or device.has_tls or device.revocation is not None:
        return ()
    return tuple(
        {"address": str(exception.address), "ae_title": title.text}
        for title in device.ae_titles
    )
