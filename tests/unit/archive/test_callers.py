"""A certificate proves its device while that stands, and only from its networks."""

from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from ipaddress import ip_address

import pytest

from leadglass.archive.callers import Certified, Lately
from leadglass.archive.doors import Knocks
from leadglass.archive.parts import Parts
from leadglass.audit.codes import EventID, Outcome
from leadglass.errors import Refused
from leadglass.identity.devices import Devices
from tests.unit.archive.conftest import Home
from tests.unit.archive.rig import events
from tests.unit.archive.test_doors import CERTIFICATE, CT1

HERE = ip_address("10.4.0.7")
ELSEWHERE = ip_address("10.5.0.7")
NOW = datetime.now(UTC)


@pytest.fixture
def certified(parts: Parts) -> Certified:
    devices = Devices(parts.database, clock=lambda: 0.0)
    parts.database.write(partial(devices.enrol, device=CT1))
    return Certified(parts, devices, Knocks(parts))


def told(home: Home) -> list[tuple[Outcome, str]]:
    """Return what the record says of proofs."""
    return [
        (each.outcome, each.outcome_description)
        for each in events(home, EventID.USER_AUTHENTICATION)
    ]


def test_a_device_is_its_subject_and_recorded_once(
    home: Home, certified: Certified
) -> None:
    for _ in range(3):
        caller = certified(CERTIFICATE, HERE, "TLSv1.3")
    assert caller.subject == CT1.subject
    assert (caller.address, caller.channel) == (HERE, "TLSv1.3")
    assert caller.certificate == sha256(CERTIFICATE).hexdigest()
    assert [outcome for outcome, _ in told(home)] == [Outcome.SUCCESS]


@pytest.mark.parametrize(
    ("shown", "address", "reason"),
    [
        (b"of nobody", HERE, "is of no enrolled device"),
        (CERTIFICATE, ELSEWHERE, "in none of its networks"),
    ],
)
def test_who_is_not_admitted_hears_nothing(
    home: Home, certified: Certified, shown: bytes, address: object, reason: str
) -> None:
    with pytest.raises(Refused, match=r"^not proven$"):
        certified(shown, address, "TLSv1.3")  # type: ignore[arg-type]
    [(outcome, said)] = told(home)
    assert outcome is Outcome.MINOR_FAILURE
    assert reason in said


def test_a_flood_is_counted_not_written(home: Home, certified: Certified) -> None:
    for _ in range(25):
        with pytest.raises(Refused):
            certified(b"of nobody", HERE, "TLSv1.3")
    assert len(told(home)) == 20


def test_what_was_told_is_forgotten_in_order() -> None:
    lately = Lately(timedelta(hours=1), 2)
    for name in "abc":
        assert lately.is_due((name, ""), NOW)
        lately.told((name, ""), NOW)
    assert lately.is_due(("a", ""), NOW)
    assert not lately.is_due(("c", ""), NOW + timedelta(minutes=59))
    assert lately.is_due(("c", ""), NOW + timedelta(hours=1))
