"""When each device was last here, from where, and by which version of TLS.

An association is noted in memory, and written at most once a minute: what a page
tells must not cost each association a transaction. A crash loses a minute of it; the
audit record has every association anyway.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import Connection, insert, select, update

from leadglass.access.networks import Address
from leadglass.access.rights import Right
from leadglass.archive.caller import Caller
from leadglass.archive.parts import Parts
from leadglass.archive.strangers import Stranger, Strangers
from leadglass.archive.tables import contact
from leadglass.database.engine import Transaction
from leadglass.errors import LeadglassError
from leadglass.identity.device import Device
from leadglass.identity.devices import Devices
from leadglass.identity.rows import from_us, to_us

WRITE_INTERVAL: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Contact:
    """The last association of a device.

    Attributes:
        at: When it began.
        address: Where from.
        ae_title: What the device called itself.
        channel: ``TLSv1.3``, ``plaintext`` ….
    """

    at: datetime
    address: str
    ae_title: str
    channel: str


def _now() -> datetime:
    return datetime.now(UTC)


class Contacts:
    """The last association of each device; there is at most one for each."""

    def __init__(self, parts: Parts, clock: Callable[[], datetime] = _now) -> None:
        self._parts = parts
        self._clock = clock
        self._lock = threading.Lock()
        self._new: dict[str, Contact] = {}
        self._written_at: datetime | None = None

    def note(self, device: str, address: Address, title: str, channel: str) -> None:
        """Note an association that begins; never waits for anything but memory."""
        found = Contact(self._clock(), str(address), title, channel)
        with self._lock:
            self._new[device] = found

    def write(self, *, everything: bool = False) -> None:
        """Write what is new, if a minute is over or the node ends.

        Raises:
            Unavailable: It cannot be written now; it is kept and written later.
        """
        now = self._clock()
        with self._lock:
            is_due = (
                self._written_at is None or now - self._written_at >= WRITE_INTERVAL
            )
            if not self._new or not (is_due or everything):
                return
            due, self._new = self._new, {}
            self._written_at = now
        try:
            self._parts.database.write(lambda tx: _write(tx, due))
        except LeadglassError:
            with self._lock:
                self._new = due | self._new  # what came meanwhile is newer
            raise

    def all(self, connection: Connection) -> Mapping[str, Contact]:
        """Return the last association of each device, by its name."""
        with self._lock:
            new = dict(self._new)
        rows = connection.execute(select(contact)).mappings()
        known = {
            row["device"]: Contact(
                from_us(row["at_us"]), row["address"], row["ae_title"], row["channel"]
            )
            for row in rows
        }
        return known | new


def _write(tx: Transaction, due: Mapping[str, Contact]) -> None:
    for name, each in due.items():
        values = {
            "at_us": to_us(each.at),
            "address": each.address,
            "ae_title": each.ae_title,
            "channel": each.channel,
        }
        done = tx.connection.execute(
            update(contact).where(contact.c.device == name).values(values)
        )
        if not done.rowcount:
            tx.connection.execute(insert(contact).values(device=name, **values))


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Who comes to this node: its devices, and who was turned away.

    Attributes:
        devices: All of them, revoked ones too, by name, each with its last
            association; ``None``: none yet.
        strangers: Who was turned away since the start, the newest first.
    """

    devices: tuple[tuple[Device, Contact | None], ...]
    strangers: tuple[Stranger, ...]


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """Tells who comes; needs the right ``administer``. It names machines alone."""

    parts: Parts
    devices: Devices
    contacts: Contacts
    strangers: Strangers

    def look(self, caller: Caller) -> Neighbours:
        """Return who comes to this node.

        Raises:
            Refused: ``caller`` may not.
        """
        self.parts.require(caller, Right.ADMINISTER, "list devices")
        with self.parts.database.read() as connection:
            found = self.devices.list(connection)
            contacts = self.contacts.all(connection)
        return Neighbours(
            tuple((each, contacts.get(each.name)) for each in found),
            self.strangers.list(),
        )
