"""The last association of a device: noted at once, written once a minute."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest

from leadglass.archive.caller import Caller
from leadglass.archive.contacts import (
    WRITE_INTERVAL,
    Contact,
    Contacts,
    Neighbourhood,
)
from leadglass.archive.parts import Parts
from leadglass.archive.strangers import Strangers
from leadglass.errors import Refused, Unavailable
from leadglass.identity.devices import Devices
from tests.unit.archive.conftest import OPERATOR

HERE = ip_address("10.4.0.7")


@dataclass
class Clock:
    time: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time


def all_of(contacts: Contacts, parts: Parts) -> dict[str, Contact]:
    with parts.database.read() as connection:
        return dict(contacts.all(connection))


def test_an_association_is_told_at_once_and_kept_over_a_restart(parts: Parts) -> None:
    clock = Clock()
    contacts = Contacts(parts, clock)
    contacts.note("CT1", HERE, "CT1", "TLSv1.3")
    expected = {"CT1": Contact(clock.time, "10.4.0.7", "CT1", "TLSv1.3")}
    assert all_of(contacts, parts) == expected
    assert all_of(Contacts(parts), parts) == {}  # not written yet
    contacts.write()
    assert all_of(Contacts(parts), parts) == expected


def test_many_associations_are_one_write_a_minute(parts: Parts) -> None:
    clock = Clock()
    contacts = Contacts(parts, clock)
    contacts.note("CT1", HERE, "CT1", "TLSv1.3")
    contacts.write()
    written = all_of(Contacts(parts), parts)
    clock.time += timedelta(seconds=1)
    contacts.note("CT1", HERE, "CT1", "TLSv1.2")
    contacts.write()
    assert all_of(Contacts(parts), parts) == written
    clock.time += WRITE_INTERVAL
    contacts.write()
    assert all_of(Contacts(parts), parts)["CT1"].channel == "TLSv1.2"
    contacts.note("CT1", HERE, "CT2", "TLSv1.2")
    contacts.write(everything=True)  # the node ends
    assert all_of(Contacts(parts), parts)["CT1"].ae_title == "CT2"


def test_what_could_not_be_written_is_written_later(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    contacts = Contacts(parts, Clock())
    contacts.note("CT1", HERE, "CT1", "TLSv1.3")
    real = parts.database.write

    def failing(_work: object) -> None:
        contacts.note("MR1", HERE, "MR1", "TLSv1.3")  # one comes meanwhile
        raise Unavailable("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(parts.database, "write", failing)
        with pytest.raises(Unavailable):
            contacts.write(everything=True)
    assert parts.database.write == real
    contacts.write(everything=True)
    assert set(all_of(Contacts(parts), parts)) == {"CT1", "MR1"}


def test_who_may_not_administer_sees_nobody(parts: Parts, stranger: Caller) -> None:
    devices = Devices(parts.database)
    look = Neighbourhood(parts, devices, Contacts(parts), Strangers()).look
    assert look(OPERATOR).devices == ()
    with pytest.raises(Refused, match=r"^not authorized$"):
        look(stranger)
