"""The doorkeeper: one answer for the peer, the exact reason for the record."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from ipaddress import ip_address, ip_network

import pytest

from leadglass.access.networks import Address
from leadglass.access.policy import Kind
from leadglass.access.rights import Right
from leadglass.archive import doors
from leadglass.archive.doors import Admitted, Doorkeeper, Knocks
from leadglass.archive.parts import Parts
from leadglass.audit.builders import Association
from leadglass.audit.codes import EventID
from leadglass.audit.events import Event
from leadglass.dicom.aetitle import AETitle
from leadglass.errors import Refused, Unavailable
from leadglass.identity.device import (
    Certificate,
    Destination,
    Device,
    UnsafePlaintext,
)
from leadglass.identity.devices import Devices
from tests.unit.archive.conftest import Home
from tests.unit.archive.rig import Rig, alerts, events, on, quiet_disk

NODE = AETitle("LEADGLASS")
CERTIFICATE = b"what the device has shown"
NOW = datetime.now(UTC)
A_DAY = timedelta(days=1)
CT1 = Device(
    name="CT1",
    ae_titles=(AETitle("CT1"),),
    networks=(ip_network("10.4.0.0/24"),),
    rights=frozenset({Right.STORE}),
    enrolled_at=NOW - A_DAY,
    certificate=Certificate(
        fingerprint_sha256=sha256(CERTIFICATE).hexdigest(),
        serial=7,
        not_before=NOW - A_DAY,
        not_after=NOW + A_DAY,
        accepted_until=NOW + A_DAY,
    ),
    destination=Destination("10.4.0.7", 104),
)
OLD = Device(
    name="OLD-US",
    ae_titles=(AETitle("OLDUS"),),
    networks=(ip_network("10.4.0.9"),),
    rights=frozenset({Right.STORE}),
    enrolled_at=NOW - A_DAY,
    has_tls=False,
    unsafe_plaintext=UnsafePlaintext(
        address=ip_address("10.4.0.9"),
        reason="no TLS in its firmware",
        granted_at=NOW - A_DAY,
        not_after=NOW + A_DAY,
    ),
    destination=Destination("10.4.0.9", 104),
)
SAID = Association("LEADGLASS", "CT1", "1.2.3", "SCANNER_1")


@dataclass
class Clock:
    """A wall clock that a test sets."""

    time: datetime

    def now(self, _zone: object) -> datetime:
        return self.time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(NOW)
    monkeypatch.setattr(doors, "datetime", clock)
    return clock


@pytest.fixture
def devices(parts: Parts) -> Devices:
    devices = Devices(parts.database, clock=lambda: 0.0)
    for device in (CT1, OLD):
        parts.database.write(partial(devices.enrol, device=device))
    return devices


@pytest.fixture
def keeper(parts: Parts, devices: Devices) -> Doorkeeper:
    return Doorkeeper(parts, devices, NODE)


@pytest.fixture
def come(keeper: Doorkeeper) -> Callable[..., Admitted]:
    """Return a function that asks for an association."""

    def come(
        address: str = "10.4.0.7",
        certificate: bytes | None = CERTIFICATE,
        called: str = "LEADGLASS",
        calling: str = "CT1",
    ) -> Admitted:
        return keeper.admit(
            ip_address(address),
            certificate,
            AETitle(called),
            AETitle(calling),
            channel="plaintext" if certificate is None else "TLSv1.3",
            said=SAID,
        )

    return come


def refusals(home: Home) -> list[str]:
    return [text for kind, text in alerts(home) if kind == "110126"]


def counts(home: Home) -> list[tuple[str, str, str]]:
    """Return address, reason and count of the knocks on the record."""
    found = []
    for event in events(home, EventID.SECURITY_ALERT):
        details = dict(event.objects[0].details)
        if "count" in details:
            address = event.participants[0].user_id
            found.append((address, details["Alert Description"], details["count"]))
    return found


class TestAdmission:
    def test_a_device_that_proves_itself(
        self, home: Home, come: Callable[..., Admitted]
    ) -> None:
        admitted = come()
        assert admitted.device.name == "CT1"
        caller = admitted.caller
        assert (caller.subject.kind, caller.subject.name) == (Kind.DEVICE, "CT1")
        assert (caller.ae_title, caller.channel) == ("CT1", "TLSv1.3")
        (event,) = events(home, EventID.USER_AUTHENTICATION)
        assert event.participants[0].user_id == "CT1"
        assert event.details["certificate"] == sha256(CERTIFICATE).hexdigest()
        assert event.details["implementation_version"] == "SCANNER_1"

    def test_a_device_without_tls(self, come: Callable[..., Admitted]) -> None:
        admitted = come("10.4.0.9", None, calling="OLDUS")
        assert admitted.caller.subject.kind is Kind.EXCEPTION
        assert admitted.caller.certificate is None

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"address": "10.5.0.7"}, "comes from 10.5.0.7, in none"),
            ({"calling": "CT2"}, "device CT1 calls itself CT2"),
            ({"called": "OTHER"}, "calls OTHER, this node is LEADGLASS"),
            ({"certificate": b"of a stranger"}, "is of no enrolled device"),
            ({"certificate": None}, "no exception for plaintext from 10.4.0.7"),
            (
                {"certificate": None, "address": "10.4.0.9"},
                "no one device comes in plaintext from 10.4.0.9 as CT1",
            ),
            (
                {"address": "10.4.0.9", "calling": "OLDUS"},
                "device CT1 calls itself OLDUS",
            ),
        ],
    )
    def test_one_answer_and_the_exact_reason(
        self,
        home: Home,
        come: Callable[..., Admitted],
        changes: dict[str, object],
        reason: str,
    ) -> None:
        with pytest.raises(Refused) as caught:
            come(**changes)
        assert (type(caught.value), str(caught.value)) == (Refused, "not admitted")
        assert caught.value.__cause__ is None
        (told,) = refusals(home)
        assert reason in told
        (event,) = events(home)
        shown = changes.get("certificate", CERTIFICATE)
        if isinstance(shown, bytes):
            assert event.details["certificate"] == sha256(shown).hexdigest()

    def test_a_revoked_device(
        self,
        home: Home,
        parts: Parts,
        devices: Devices,
        come: Callable[..., Admitted],
    ) -> None:
        parts.database.write(lambda tx: devices.revoke(tx, "CT1", "stolen", NOW))
        with pytest.raises(Refused, match=r"^not admitted$"):
            come()
        assert "device CT1 was revoked" in refusals(home)[0]

    def test_who_cannot_be_recorded_does_not_come_in(self, home: Home) -> None:
        with on(home, quiet_disk()) as rig:
            keeper = _keeper_of(rig)
            rig.database.fail_before = 1
            with pytest.raises(Unavailable):
                keeper.admit(
                    ip_address("10.4.0.7"),
                    CERTIFICATE,
                    NODE,
                    AETitle("CT1"),
                    channel="TLSv1.3",
                    said=SAID,
                )

    def test_a_flood_is_counted_and_its_beginning_told(
        self, home: Home, keeper: Doorkeeper, come: Callable[..., Admitted]
    ) -> None:
        for _ in range(50):
            with pytest.raises(Refused):
                come(calling="CT2")
        with pytest.raises(Refused):
            come("10.5.0.7")  # another address is not drowned in it
        assert len(refusals(home)) == 21
        keeper.knocks.tell()
        assert counts(home) == [
            ("10.4.0.7", "association refused", "50"),
            ("10.5.0.7", "association refused", "1"),
        ]


def _keeper_of(rig: Rig) -> Doorkeeper:
    devices = Devices(rig.parts.database)
    rig.parts.database.write(lambda tx: devices.enrol(tx, CT1))
    return Doorkeeper(rig.parts, devices, NODE)


class TestWelcome:
    @pytest.mark.parametrize(
        ("address", "with_tls", "is_welcome"),
        [
            ("10.4.0.7", True, True),
            ("::ffff:10.4.0.7", True, True),
            ("10.4.0.7", False, False),
            ("10.4.0.9", False, True),
            ("10.5.0.1", True, False),
            ("fe80::1", True, False),
        ],
    )
    def test_only_where_a_device_comes_from(
        self,
        home: Home,
        keeper: Doorkeeper,
        address: str,
        with_tls: bool,
        is_welcome: bool,
    ) -> None:
        found = keeper.welcomes(ip_address(address), with_tls=with_tls)
        assert found is is_welcome
        keeper.knocks.tell()
        told = [reason for _, reason, _ in counts(home)]
        assert told == ([] if is_welcome else ["no device comes from this address"])

    def test_nobody_when_the_register_cannot_be_read(self, home: Home) -> None:
        with on(home, quiet_disk()) as rig:
            keeper = Doorkeeper(rig.parts, Devices(rig.database), NODE)
            rig.database.close()
            (home.folder / "leadglass.db").rename(home.folder / "elsewhere")
            try:
                assert not keeper.welcomes(ip_address("10.4.0.7"), with_tls=True)
            finally:
                (home.folder / "elsewhere").rename(home.folder / "leadglass.db")


class TestReceivers:
    @pytest.mark.parametrize(
        ("title", "name"), [("CT1", "CT1"), ("OLDUS", "OLD-US"), ("CT2", None)]
    )
    def test_a_title_means_one_device(
        self, keeper: Doorkeeper, title: str, name: str | None
    ) -> None:
        found = keeper.receiver(AETitle(title))
        assert (found and found.name) == name

    def test_two_devices_of_one_title_are_none(
        self, parts: Parts, devices: Devices, keeper: Doorkeeper
    ) -> None:
        assert CT1.certificate is not None
        twin = replace(
            CT1,
            name="CT1B",
            certificate=replace(CT1.certificate, fingerprint_sha256="b" * 64, serial=8),
        )
        parts.database.write(lambda tx: devices.enrol(tx, twin))
        assert keeper.receiver(AETitle("CT1")) is None

    def test_nor_is_one_whose_certificate_ended(
        self, keeper: Doorkeeper, clock: Clock
    ) -> None:
        clock.time = NOW + 2 * A_DAY
        assert keeper.receiver(AETitle("CT1")) is None

    def test_who_answers_is_the_device(self, keeper: Doorkeeper, home: Home) -> None:
        keeper.check_receiver(CT1, ip_address("10.4.0.7"), CERTIFICATE)
        keeper.check_receiver(OLD, ip_address("10.4.0.9"), None)
        assert not alerts(home)

    @pytest.mark.parametrize(
        ("device", "certificate", "reason"),
        [
            (CT1, b"of a stranger", "is of no enrolled device"),
            (CT1, None, "is sent to in TLS only"),
            (OLD, CERTIFICATE, "is device CT1, not OLD-US"),
        ],
    )
    def test_or_nothing_is_sent(
        self,
        keeper: Doorkeeper,
        home: Home,
        device: Device,
        certificate: bytes | None,
        reason: str,
    ) -> None:
        with pytest.raises(Refused, match=r"^the destination is not the enrolled"):
            keeper.check_receiver(device, ip_address("10.4.0.7"), certificate)
        assert reason in refusals(home)[0]


HERE: Address = ip_address("10.9.0.1")


def knocks_told(home: Home) -> list[Event]:
    return [each for each in events(home) if "count" in dict(each.objects[0].details)]


class TestKnocks:
    def test_the_first_at_once_the_others_once_a_minute(
        self, home: Home, clock: Clock
    ) -> None:
        knocks = Knocks(home.parts)
        assert knocks.count(HERE, "why") == 1
        knocks.tell()
        assert counts(home) == [("10.9.0.1", "why", "1")]
        for number in range(1, 6):
            assert knocks.count(HERE, "why") == number
        knocks.tell()
        assert len(counts(home)) == 1
        clock.time += timedelta(seconds=61)
        knocks.tell()
        assert counts(home)[1:] == [("10.9.0.1", "why", "5")]
        for _ in range(2):  # and then it is forgotten
            clock.time += timedelta(seconds=61)
            knocks.tell()
        assert len(counts(home)) == 2

    def test_the_time_told_is_that_of_the_first(self, home: Home, clock: Clock) -> None:
        knocks = Knocks(home.parts)
        knocks.count(HERE, "why")
        knocks.tell()
        clock.time += timedelta(seconds=30)
        knocks.count(HERE, "why")
        clock.time += timedelta(seconds=31)
        knocks.count(HERE, "why")
        knocks.tell()
        first, second = knocks_told(home)
        assert first.time == NOW
        assert second.time == NOW + timedelta(seconds=30)

    def test_at_the_end_everything_is_told(self, home: Home, clock: Clock) -> None:
        knocks = Knocks(home.parts)
        for _ in range(2):
            knocks.count(HERE, "why")
            knocks.tell(everything=True)
        assert len(counts(home)) == 2

    def test_reasons_and_addresses_are_counted_apart(self, home: Home) -> None:
        knocks = Knocks(home.parts)
        for address, reason in (("10.9.0.1", "a"), ("10.9.0.1", "b"), ("::1", "a")):
            assert knocks.count(ip_address(address), reason) == 1
        knocks.tell()
        assert len(counts(home)) == 3

    def test_a_flood_of_addresses_is_bounded(
        self, home: Home, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(doors, "_KNOCKS_MAX", 8)
        knocks = Knocks(home.parts)
        for number in range(100):
            knocks.count(HERE + number, "why")
        knocks.tell()
        assert len(counts(home)) == 9
        assert counts(home)[-1] == ("other addresses", "why", "92")

    def test_what_cannot_be_recorded_is_kept_and_added_to(self, home: Home) -> None:
        with on(home, quiet_disk()) as rig:
            knocks = Knocks(rig.parts)
            knocks.count(HERE, "why")
            knocks.count(HERE, "why")
            write = rig.database.write

            def knock_meanwhile(work: object) -> None:
                knocks.count(HERE, "why")
                raise Unavailable("database: disk full")

            rig.database.write = knock_meanwhile  # type: ignore[assignment,method-assign]
            with pytest.raises(Unavailable):
                knocks.tell()
            rig.database.write = write  # type: ignore[method-assign]
            knocks.tell()
        assert counts(home) == [("10.9.0.1", "why", "3")]
