"""Who shows a device's certificate where there is no association: HTTPS.

The handshake has verified chain, time and revocation list; the register decides whose
it is, whether that stands, and from where. The peer hears one answer for all reasons.
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Final

from leadglass.access.networks import Address
from leadglass.access.policy import Kind
from leadglass.archive.caller import Caller
from leadglass.archive.doors import Knocks
from leadglass.archive.parts import Parts
from leadglass.audit.accounts import AccountEvents
from leadglass.audit.builders import Actor
from leadglass.errors import Refused
from leadglass.identity.admission import NotAdmitted, check_address
from leadglass.identity.devices import Devices

# Refusals of one address that are recorded one by one in a minute; then counted.
_REFUSALS_TOLD_MAX: Final = 20
# A login is on the record once in this time for a device and its address, as a
# token's; every request is on the record of the use case that it asks for.
_LOGIN_INTERVAL: Final = timedelta(hours=1)
# Devices and addresses that are remembered; who is forgotten is recorded once more.
_LOGINS_MAX: Final = 10_000


class Lately:
    """Remembers since when something is known, in bounded memory."""

    def __init__(self, interval: timedelta, count_max: int) -> None:
        self._interval = interval
        self._count_max = count_max
        self._lock = Lock()
        self._seen: OrderedDict[tuple[str, str], datetime] = OrderedDict()

    def is_due(self, key: tuple[str, str], now: datetime) -> bool:
        """Whether it is to be told (again); ``told`` must follow."""
        with self._lock:
            seen = self._seen.get(key)
        return seen is None or now - seen >= self._interval

    def told(self, key: tuple[str, str], now: datetime) -> None:
        """Remember that it was."""
        with self._lock:
            self._seen[key] = now
            self._seen.move_to_end(key)
            if len(self._seen) > self._count_max:
                self._seen.popitem(last=False)


def _logins() -> Lately:
    return Lately(_LOGIN_INTERVAL, _LOGINS_MAX)


@dataclass(frozen=True, slots=True)
class Certified:
    """Judges certificates of devices.

    Attributes:
        parts: The collaborators.
        devices: The register.
        knocks: Counts floods; somebody must ``tell`` them now and then.
        logins: Which were recorded lately.
    """

    parts: Parts
    devices: Devices
    knocks: Knocks
    logins: Lately = field(default_factory=_logins)

    def __call__(self, certificate: bytes, address: Address, channel: str) -> Caller:
        """Return which device this is.

        Args:
            certificate: DER; the handshake has verified it against our authority.
            address: Where from.
            channel: ``TLSv1.3`` …, for the record.

        Raises:
            Refused: None that may come so, without saying why.
            Unavailable: It cannot be judged, or not be recorded, now.
        """
        now = datetime.now(UTC)
        shown = hashlib.sha256(certificate).hexdigest()
        try:
            device = self.devices.identify(certificate, address)
            check_address(device, address, now)
        except NotAdmitted as refusal:
            name = "unknown" if refusal.device is None else refusal.device.name
            self._refuse(_actor(name, address, shown, channel), address, refusal)
            raise Refused("not proven") from None
        key = (shown, str(address))
        if self.logins.is_due(key, now):
            actor = _actor(device.name, address, shown, channel)
            self.parts.record(self._events.logged_in(actor, "certificate"))
            self.logins.told(key, now)
        return Caller(
            subject=device.subject, address=address, certificate=shown, channel=channel
        )

    def _refuse(self, actor: Actor, address: Address, refusal: NotAdmitted) -> None:
        count = self.knocks.count(address, "certificate refused")
        if count <= _REFUSALS_TOLD_MAX:
            self.parts.try_to_record(self._events.login_failed(actor, refusal.reason))

    @property
    def _events(self) -> AccountEvents:
        return AccountEvents(self.parts.events.node)


def _actor(name: str, address: Address, shown: str, channel: str) -> Actor:
    return Actor(
        name=name,
        address=str(address),
        certificate=shown,
        channel=channel,
        kind=Kind.DEVICE,
    )
