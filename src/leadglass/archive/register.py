"""Changing the register of devices: the change and its record, together or not.

What an expectation of the rule file forbids is refused by its name, as with accounts;
taking away (revoke) never is: who must go goes.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from leadglass.access.policy import Rule
from leadglass.access.rights import Right
from leadglass.archive.caller import Caller
from leadglass.archive.parts import Parts
from leadglass.audit.builders import DeviceChange
from leadglass.database.engine import Transaction
from leadglass.identity.admission import rules_of
from leadglass.identity.authority import (
    Authority,
    Issued,
    check_credentials_folder,
    write_credentials,
)
from leadglass.identity.certificates import Revoked
from leadglass.identity.device import Device
from leadglass.identity.devices import Devices


@dataclass(frozen=True, slots=True)
class Registrar:
    """The use cases round the register; every method needs the right ``administer``."""

    parts: Parts
    devices: Devices
    authority: Authority

    def enrol(
        self, caller: Caller, device: Device, folder: Path, request: bytes | None = None
    ) -> Device:
        """Enrol a device; write what it needs to a folder.

        The files are written first: a device that is in the register has its key.

        Args:
            caller: Who does so.
            device: As ``identity.device.parse_device`` gives it.
            folder: Where key.pem, cert.pem and ca.pem go.
            request: A certificate request, PEM, of a device that keeps its key.

        Raises:
            Refused: ``caller`` may not.
            Misconfigured: The name is in use, the folder cannot be used, or an
                expectation forbids it.
        """
        self.parts.require(caller, Right.ADMINISTER, "enrol a device")
        if device.has_tls:
            check_credentials_folder(folder)
            issued = self._issue(device.name, request)
            device = replace(device, certificate=issued.certificate)
            self._keep(device)  # before anybody has a key for it
            write_credentials(folder, issued)
        return self._enter(caller, device)

    def hand_out(self, caller: Caller, device: Device) -> tuple[Device, Issued]:
        """Enrol a device with TLS; return what it needs, which nobody keeps.

        Who does not get the answer has a device without a key, and renews it.

        Raises:
            Refused: ``caller`` may not.
            Misconfigured: The name is in use, or an expectation forbids it.
        """
        self.parts.require(caller, Right.ADMINISTER, "enrol a device")
        self._keep(device)
        issued = self._issue(device.name, None)
        device = replace(device, certificate=issued.certificate)
        return self._enter(caller, device), issued

    def _enter(self, caller: Caller, device: Device) -> Device:
        actor = self.parts.actor(caller)

        def work(tx: Transaction) -> None:
            self._keep(device)
            self.devices.enrol(tx, device)
            event = self.parts.events.device_enrolled(actor, _change(device))
            self.parts.audit.append(tx, event)

        self.parts.database.write(work)
        return device

    def change(self, caller: Caller, device: Device) -> Device:
        """Give a device other titles, networks, rights, scope or destination.

        Raises:
            Refused: ``caller`` may not.
            NotFound: No such device.
            Misconfigured: It is revoked, clashes with another, or an expectation
                forbids it.
        """
        self.parts.require(caller, Right.ADMINISTER, "change a device")
        actor = self.parts.actor(caller)

        def work(tx: Transaction) -> Device:
            old = self.devices.get(tx.connection, device.name)
            changed = self.devices.change(tx, device)
            self._keep(changed, rules_of(old))
            event = self.parts.events.device_changed(actor, _change(changed))
            self.parts.audit.append(tx, event)
            return changed

        return self.parts.database.write(work)

    def renew(
        self, caller: Caller, name: str, folder: Path, request: bytes | None = None
    ) -> Device:
        """Give a device a new certificate; the old one is good for some days yet.

        Raises:
            Refused: ``caller`` may not.
            NotFound: No such device.
            Misconfigured: It is revoked, has no TLS, the folder cannot be used, or an
                expectation forbids what it may.
        """
        self.parts.require(caller, Right.ADMINISTER, "renew a device")
        known = self._known(name)
        check_credentials_folder(folder, replace=True)
        issued = self._issue(known.name, request)
        renewed = self._replace(caller, known, issued)
        write_credentials(folder, issued, replace=True)
        return renewed

    def hand_out_anew(self, caller: Caller, name: str) -> tuple[Device, Issued]:
        """Give a device a new key and certificate; return them, which nobody keeps.

        Raises:
            Refused: ``caller`` may not.
            NotFound: No such device.
            Misconfigured: It is revoked, has no TLS, or an expectation forbids what
                it may.
        """
        self.parts.require(caller, Right.ADMINISTER, "renew a device")
        known = self._known(name)
        issued = self._issue(known.name, None)
        return self._replace(caller, known, issued), issued

    def _known(self, name: str) -> Device:
        with self.parts.database.read() as connection:
            return self.devices.get(connection, name)

    def _replace(self, caller: Caller, known: Device, issued: Issued) -> Device:
        actor = self.parts.actor(caller)

        def work(tx: Transaction) -> Device:
            now = datetime.now(UTC)
            renewed = self.devices.renew(tx, known.name, issued.certificate, now)
            self._keep(renewed, rules_of(known))
            event = self.parts.events.device_renewed(actor, _change(renewed))
            self.parts.audit.append(tx, event)
            return renewed

        return self.parts.database.write(work)

    def revoke(self, caller: Caller, name: str, reason: str) -> Device:
        """Shut a device out, from its next association on.

        Raises:
            Refused: ``caller`` may not.
            NotFound: No such device.
            Misconfigured: It is revoked already, or there is no reason.
        """
        self.parts.require(caller, Right.ADMINISTER, "revoke a device")
        actor = self.parts.actor(caller)

        def work(tx: Transaction) -> Device:
            revoked = self.devices.revoke(tx, name, reason, datetime.now(UTC))
            event = self.parts.events.device_revoked(actor, _change(revoked, reason))
            self.parts.audit.append(tx, event)
            return revoked

        revoked = self.parts.database.write(work)
        self.publish_revocations()
        return revoked

    def publish_revocations(self) -> None:
        """Write the revocation list from the register.

        Raises:
            Unavailable: The disk refused; the register refuses the devices anyway.
        """
        self.authority.publish_revocations(self._revoked)

    def _revoked(self) -> tuple[Revoked, ...]:
        with self.parts.database.read() as connection:
            return self.devices.revoked_certificates(connection, datetime.now(UTC))

    def _keep(self, device: Device, before: tuple[Rule, ...] = ()) -> None:
        """Make sure that what a device gets breaks no expectation.

        Raises:
            Misconfigured: The expectations that it would break, each by its name.
        """
        self.parts.gate.keep(device.subject, before, rules_of(device))

    def _issue(self, name: str, request: bytes | None) -> Issued:
        if request is None:
            return self.authority.issue(name)
        return self.authority.sign(name, request)


def _change(device: Device, reason: str = "") -> DeviceChange:
    exception = device.unsafe_plaintext
    return DeviceChange(
        name=device.name,
        certificate=device.certificate.fingerprint_sha256 if device.certificate else "",
        reason=reason or (exception.reason if exception else ""),
        facts={
            "ae_titles": " ".join(map(str, device.ae_titles)),
            "networks": " ".join(map(str, device.networks)),
            "rights": " ".join(sorted(device.rights)),
            "scope": str(device.scope),
            "destination": str(device.destination or ""),
            "unsafe_plaintext": str(exception.address) if exception else "",
        },
    )
