"""Admission: everything agrees, or nobody comes in; the peer learns only that."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network

import pytest

from leadglass.access.policy import Kind, Request, Subject, decide
from leadglass.access.rights import Right
from leadglass.access.scopes import Scope
from leadglass.dicom.aetitle import AETitle
from leadglass.identity.admission import (
    NotAdmitted,
    admit,
    check_address,
    check_receiver,
    rules_of,
)
from leadglass.identity.device import (
    Certificate,
    Destination,
    Device,
    Revocation,
    UnsafePlaintext,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
A_DAY = timedelta(days=1)
NODE = AETitle("LEADGLASS")

CERTIFICATE = Certificate(
    fingerprint_sha256="a" * 64,
    serial=7,
    not_before=NOW - A_DAY,
    not_after=NOW + 30 * A_DAY,
    accepted_until=NOW + 30 * A_DAY,
)
CT1 = Device(
    name="CT1",
    ae_titles=(AETitle("CT1"), AETitle("CT1B")),
    networks=(ip_network("10.4.0.0/24"),),
    rights=frozenset({Right.ECHO, Right.STORE}),
    scope=Scope.parse("source=own"),
    enrolled_at=NOW - A_DAY,
    certificate=CERTIFICATE,
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
REVOKED = replace(CT1, revocation=Revocation(NOW - A_DAY, "stolen"))


@pytest.mark.parametrize(
    ("device", "address", "calling", "called", "time", "reason"),
    [
        (CT1, "10.4.0.7", "CT1", "LEADGLASS", NOW, None),
        (CT1, "10.4.0.7", "CT1B", "LEADGLASS", NOW, None),
        (CT1, "::ffff:10.4.0.7", "CT1", "LEADGLASS", NOW, None),
        (OLD, "10.4.0.9", "OLDUS", "LEADGLASS", NOW, None),
        (CT1, "10.5.0.7", "CT1", "LEADGLASS", NOW, "comes from 10.5.0.7, in none"),
        (CT1, "10.4.0.7", "CT2", "LEADGLASS", NOW, "calls itself CT2"),
        (CT1, "10.4.0.7", "ct1", "LEADGLASS", NOW, "calls itself ct1"),
        (CT1, "10.4.0.7", "CT1", "ANY-SCP", NOW, "calls ANY-SCP, this node is LEAD"),
        (CT1, "10.4.0.7", "CT1", "leadglass", NOW, "calls leadglass"),
        (CT1, "10.4.0.7", "CT1", "LEADGLASS", NOW + 31 * A_DAY, "expired"),
        (CT1, "10.4.0.7", "CT1", "LEADGLASS", NOW - 2 * A_DAY, "not valid before"),
        (REVOKED, "10.4.0.7", "CT1", "LEADGLASS", NOW, "CT1 was revoked at 2026-02"),
        (OLD, "10.4.0.8", "OLDUS", "LEADGLASS", NOW, "in none of its networks"),
        (OLD, "10.4.0.9", "OLDUS", "LEADGLASS", NOW + 2 * A_DAY, "exception expired"),
    ],
)
def test_admit(  # noqa: PLR0917 - the columns of the table
    device: Device,
    address: str,
    calling: str,
    called: str,
    time: datetime,
    reason: str | None,
) -> None:
    facts = (ip_address(address), AETitle(calling), AETitle(called), NODE, time)
    if reason is None:
        admit(device, *facts)
        return
    with pytest.raises(NotAdmitted) as caught:
        admit(device, *facts)
    assert reason in caught.value.reason
    assert caught.value.device is device
    # The peer gets one answer for all reasons.
    assert str(caught.value) == "not admitted"


def test_a_device_that_has_no_certificate_yet() -> None:
    with pytest.raises(NotAdmitted) as caught:
        check_address(replace(CT1, certificate=None), ip_address("10.4.0.7"), NOW)
    assert "neither a certificate nor an exception" in caught.value.reason


@pytest.mark.parametrize(
    ("device", "shown", "time", "reason"),
    [
        (CT1, CT1, NOW, None),
        (OLD, None, NOW, None),
        (CT1, None, NOW, "in TLS only"),
        (CT1, replace(CT1, name="CT2"), NOW, "is device CT2, not CT1"),
        (CT1, CT1, NOW + 31 * A_DAY, "expired"),
        (CT1, REVOKED, NOW, "revoked"),
        (REVOKED, None, NOW, "revoked"),
        (OLD, CT1, NOW, "is device CT1, not OLD-US"),
        (OLD, None, NOW + 2 * A_DAY, "exception expired"),
    ],
)
def test_check_receiver(
    device: Device, shown: Device | None, time: datetime, reason: str | None
) -> None:
    if reason is None:
        check_receiver(device, shown, time)
        return
    with pytest.raises(NotAdmitted) as caught:
        check_receiver(device, shown, time)
    assert reason in caught.value.reason


@pytest.mark.parametrize(
    ("device", "kind", "address", "last"),
    [
        (CT1, Kind.DEVICE, "10.4.0.7", NOW + 30 * A_DAY),
        (OLD, Kind.EXCEPTION, "10.4.0.9", NOW + A_DAY),
    ],
)
def test_what_a_device_may_is_a_rule(
    device: Device, kind: Kind, address: str, last: datetime
) -> None:
    rules = rules_of(device)
    subject = Subject(kind, device.name)
    where = ip_address(address)
    for right in Right:
        decision = decide(rules, Request(subject, right, where, NOW))
        assert decision.allowed is (right in device.rights)
        assert decision.scopes == (
            (device.scope.of_device(device.name),) if decision.allowed else ()
        )
    for denied in (
        Request(subject, Right.STORE, ip_address("10.5.0.7"), NOW),
        Request(subject, Right.STORE, None, NOW),
        Request(subject, Right.STORE, where, last + timedelta(microseconds=1)),
        Request(Subject(kind, "CT2"), Right.STORE, where, NOW),
        Request(Subject(Kind.OPERATOR, device.name), Right.STORE, where, NOW),
    ):
        assert not decide(rules, denied).allowed
    assert decide(rules, Request(subject, Right.STORE, where, last)).allowed


def test_nothing_is_allowed_to_the_revoked_and_the_unproven() -> None:
    assert rules_of(REVOKED) == ()
    assert rules_of(replace(CT1, certificate=None)) == ()
