"""Who may come in: identity and the record, for every door.

The peer hears one answer for all reasons. The record hears the exact one, except
that a flood of the same refusals is counted, not written line by line: otherwise a
stranger could fill the disk with his own refusals.
"""

import hashlib
import logging
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from leadglass.access.networks import Address
from leadglass.access.rights import DEVICE_RIGHTS, Right
from leadglass.archive.caller import Caller
from leadglass.archive.contacts import Contacts
from leadglass.archive.meters import STRANGERS
from leadglass.archive.parts import Parts
from leadglass.archive.strangers import Strangers
from leadglass.audit.builders import Actor, Association
from leadglass.dicom.aetitle import AETitle
from leadglass.errors import LeadglassError, Refused
from leadglass.identity.admission import (
    NotAdmitted,
    admit,
    check_receiver,
)
from leadglass.identity.device import Device
from leadglass.identity.devices import Devices

_LOG = logging.getLogger(__name__)

# Different addresses and reasons that are counted at the same time; what is beyond
# is counted together.
_KNOCKS_MAX: Final = 1024
# How often a count is written again while it grows.
_KNOCK_INTERVAL_S: Final = 60.0
# Refused associations of one address that are recorded one by one in that time.
_REFUSALS_TOLD_MAX: Final = 20
_ELSEWHERE: Final = "other addresses"


@dataclass(slots=True)
class _Knock:
    first: datetime
    count: int = 0
    told_at: datetime | None = None


class Knocks:
    """Counts those who were turned away without a word; ``tell`` records them."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._lock = threading.Lock()
        self._found: dict[tuple[str, str], _Knock] = {}
        self.strangers = Strangers()

    def count(
        self, address: Address, reason: str, *, title: str = "", exactly: str = ""
    ) -> int:
        """Count one; return how many there were of this kind lately.

        Args:
            address: Where from.
            reason: By which it is counted and told.
            title: What the peer called itself, if it came so far.
            exactly: Why, for who looks now, when ``reason`` is a word for many.
        """
        self._parts.meters.count(STRANGERS)
        self.strangers.add(address, title, exactly or reason, datetime.now(UTC))
        key = (str(address), reason)
        with self._lock:
            if key not in self._found and len(self._found) >= _KNOCKS_MAX:
                key = (_ELSEWHERE, reason)
            now = datetime.now(UTC)
            knock = self._found.setdefault(key, _Knock(now))
            if not knock.count:
                knock.first = now
            knock.count += 1
            return knock.count

    def tell(self, *, everything: bool = False) -> None:
        """Record what is new: the first of a kind at once, more once a minute.

        Raises:
            Unavailable: It cannot be recorded now; it is kept and told later.
        """
        now = datetime.now(UTC)
        with self._lock:
            due = {
                key: knock
                for key, knock in self._found.items()
                if everything
                or knock.told_at is None
                or (now - knock.told_at).total_seconds() >= _KNOCK_INTERVAL_S
            }
            for key in due:
                del self._found[key]
        try:
            self._parts.record(
                *(
                    self._parts.events.knocks(address, knock.count, knock.first, reason)
                    for (address, reason), knock in due.items()
                    if knock.count
                )
            )
        except LeadglassError:
            with self._lock:
                for key, knock in due.items():
                    since = self._found.get(key)
                    if since is not None:
                        knock.count += since.count
                    self._found[key] = knock
            raise
        with self._lock:
            # Who knocks on is counted, and told when the minute is over.
            for key, knock in due.items():
                if knock.count and not everything:
                    self._found.setdefault(key, _Knock(now)).told_at = now


@dataclass(frozen=True, slots=True)
class Admitted:
    """A device whose association may begin.

    Attributes:
        caller: Who it is to the use cases.
        device: Its entry in the register.
        rights: What any rule, of the register or of the rule file, lets it do now;
            each operation is judged again.
    """

    caller: Caller
    device: Device
    rights: frozenset[Right]


class Doorkeeper:
    """Decides who comes in, and records it."""

    def __init__(
        self,
        parts: Parts,
        devices: Devices,
        title: AETitle,
        contacts: Contacts | None = None,
    ) -> None:
        """Prepare; ``contacts`` are told of each association that begins."""
        self._parts = parts
        self._devices = devices
        self._title = title
        self.contacts = contacts or Contacts(parts)
        self.knocks = Knocks(parts)

    def welcomes(self, address: Address, *, with_tls: bool) -> bool:
        """Tell whether any device may come from there; if not, count the knock."""
        try:
            register = self._devices.register()
        except LeadglassError as error:
            _LOG.error("the register cannot be read: %s", error)
            return False  # who cannot be known is not let in
        expected = (
            register.expects_tls_from(address)
            if with_tls
            else register.expects_plaintext_from(address)
        )
        if not expected:
            self.knocks.count(address, "no device comes from this address")
        return expected

    def admit(  # noqa: PLR0913  # the facts of an association
        self,
        address: Address,
        certificate: bytes | None,
        called: AETitle,
        calling: AETitle,
        *,
        channel: str,
        said: Association,
    ) -> Admitted:
        """Admit a peer to an association, and record that.

        Args:
            address: Where it comes from.
            certificate: What it has proven itself with, DER; ``None``: plaintext.
            called: The title it calls.
            calling: The title it calls itself.
            channel: ``TLSv1.3``, ``plaintext`` …, for the record.
            said: All that it said of itself, for the record.

        Raises:
            Refused: It is not who it would have to be; without saying why.
            Unavailable: It cannot be recorded, so it may not begin.
        """
        parts = self._parts
        now = datetime.now(UTC)
        try:
            device = self._devices.identify(certificate, address, calling)
            admit(device, address, calling, called, self._title, now)
        except NotAdmitted as refusal:
            self._refuse(address, certificate, calling, channel, said, refusal)
            raise Refused("not admitted") from None
        caller = Caller(
            subject=device.subject,
            address=address,
            ae_title=calling.text,
            certificate=_fingerprint(certificate),
            channel=channel,
        )
        parts.record(parts.events.association_accepted(parts.actor(caller), said))
        self.contacts.note(device.name, address, calling.text, channel)
        return Admitted(caller, device, parts.gate.rights(caller, DEVICE_RIGHTS))

    def _refuse(  # noqa: PLR0913, PLR0917  # the facts of a refusal
        self,
        address: Address,
        certificate: bytes | None,
        calling: AETitle,
        channel: str,
        said: Association,
        refusal: NotAdmitted,
    ) -> None:
        lately = self.knocks.count(
            address,
            "association refused",
            title=calling.text,
            exactly=refusal.reason,
        )
        if lately > _REFUSALS_TOLD_MAX:
            return
        name = calling.text if refusal.device is None else refusal.device.name
        actor = Actor(
            name=name,
            address=str(address),
            ae_title=calling.text,
            certificate=_fingerprint(certificate) or "",
            channel=channel,
        )
        self._parts.try_to_record(
            self._parts.events.association_refused(actor, said, refusal.reason)
        )

    def receiver(self, title: AETitle) -> Device | None:
        """Return the device that a title of a C-MOVE means, if it can be sent to."""
        found = [
            each
            for each in self._devices.register().devices.values()
            if title in each.ae_titles
            and each.destination is not None
            and each.refusal(datetime.now(UTC)) is None
        ]
        return found[0] if len(found) == 1 else None

    def refuse_receiver(self, caller: Caller, title: AETitle) -> None:
        """Record that a caller named a destination that nobody may be sent to by."""
        self._parts.try_to_record(
            self._parts.events.access_refused(
                self._parts.actor(caller),
                "C-MOVE",
                f"no one device can be sent to as {title}",
            )
        )

    def check_receiver(
        self, device: Device, address: Address, certificate: bytes | None
    ) -> None:
        """Make sure that who answers is the device that is sent to.

        Raises:
            Refused: It is not, and that is on the record.
        """
        try:
            shown = (
                None
                if certificate is None
                else self._devices.identify(certificate, address)
            )
            check_receiver(device, shown, datetime.now(UTC))
        except NotAdmitted as refusal:
            actor = Actor(
                name=device.name,
                address=str(address),
                certificate=_fingerprint(certificate) or "",
            )
            self._parts.try_to_record(
                self._parts.events.association_refused(
                    actor, Association(), refusal.reason
                )
            )
            raise Refused("the destination is not the enrolled device") from None


def _fingerprint(certificate: bytes | None) -> str | None:
    return None if certificate is None else hashlib.sha256(certificate).hexdigest()
