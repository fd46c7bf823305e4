"""A device: what can be enrolled, and why the rest cannot."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network

import pytest

from leadglass.access.policy import Kind, Subject
from leadglass.access.rights import Right
from leadglass.access.scopes import EVERYTHING, Scope
from leadglass.dicom.aetitle import AETitle
from leadglass.errors import Misconfigured
from leadglass.identity.device import (
    PLAINTEXT_VALIDITY_MAX,
    Certificate,
    Destination,
    Device,
    PlaintextRequest,
    Status,
    UnsafePlaintext,
    parse_device,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
A_DAY = timedelta(days=1)
A_YEAR = PLAINTEXT_VALIDITY_MAX


def asked(address: str = "10.4.0.7") -> PlaintextRequest:
    return PlaintextRequest(
        address=address, reason="no TLS in its firmware", not_after=NOW + 30 * A_DAY
    )


def parsed(**change: object) -> Device:
    whole: dict[str, object] = {
        "name": "CT1",
        "ae_titles": ["CT1"],
        "networks": ["10.4.0.0/24"],
        "rights": ["store", "echo"],
        "now": NOW,
        **change,
    }
    return parse_device(**whole)  # type: ignore[arg-type]  # a table of changes


def test_a_device_with_tls() -> None:
    device = parsed(
        ae_titles=["CT1", "CT1 RESEARCH"],
        networks=["10.4.0.0/24", "fd00::7"],
        scope="source=own",
        destination="ct1.example:11112",
    )
    assert device == Device(
        name="CT1",
        ae_titles=(AETitle("CT1"), AETitle("CT1 RESEARCH")),
        networks=(ip_network("10.4.0.0/24"), ip_network("fd00::7/128")),
        rights=frozenset({Right.STORE, Right.ECHO}),
        scope=Scope.parse("source=own"),
        destination=Destination("ct1.example", 11112),
        enrolled_at=NOW,
    )
    assert device.status is Status.ACTIVE
    assert device.subject == Subject(Kind.DEVICE, "CT1")
    assert device.not_after is None
    assert "neither a certificate" in (device.refusal(NOW) or "")
    assert not device.is_sent_to_in_plaintext


def test_a_device_without_tls() -> None:
    device = parsed(
        networks=[],
        has_tls=False,
        unsafe_plaintext=asked(),
        destination="10.4.0.7:104",
    )
    assert device.networks == (ip_network("10.4.0.7/32"),)
    assert device.subject == Subject(Kind.EXCEPTION, "CT1")
    assert device.not_after == NOW + 30 * A_DAY
    assert device.refusal(NOW) is None
    assert "expired" in (device.refusal(NOW + 31 * A_DAY) or "")
    assert device.is_sent_to_in_plaintext
    assert device.scope == EVERYTHING


def test_a_receiver_without_tls_of_a_device_with_tls() -> None:
    device = parsed(unsafe_plaintext=asked(), destination="10.4.0.7:104")
    assert device.subject.kind is Kind.DEVICE
    assert device.is_sent_to_in_plaintext


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"name": ""}, "name:"),
        ({"name": "CT 1"}, "name:"),
        ({"name": "../CT1"}, "name:"),
        ({"name": "-CT1"}, "name:"),
        ({"name": "C" * 65}, "name:"),
        ({"name": "CT1\n"}, "name:"),
        ({"name": "own"}, "name: 'own' means"),
        ({"name": "OWN"}, "name: 'own' means"),
        ({"ae_titles": []}, "AE titles: none; name one"),
        ({"ae_titles": ["A" * 17]}, "AE titles: 'AAAAAAAAAAAAAAAAA': .*1 to 16"),
        ({"ae_titles": ["CT1", "CT1 "]}, "named twice"),
        ({"ae_titles": [f"A{n}" for n in range(17)]}, "AE titles: more than 16"),
        ({"networks": []}, "networks: none; name one, as --from"),
        ({"networks": ["0.0.0.0/0"]}, "wider than anybody's own"),
        ({"networks": ["10.4.0.7/24"]}, "write 10.4.0.0/24"),
        ({"networks": ["ct1.example"]}, "write it as 10.4.0.0/24"),
        ({"rights": []}, "rights: none; give some"),
        ({"rights": ["erase"]}, "rights: 'erase' is none of a device"),
        ({"rights": ["Store"]}, "rights: 'Store' is none of a device; use echo, find"),
        ({"scope": "modality=ct"}, "scope: modality: .*capitals"),
        ({"scope": ""}, "scope: empty"),
        ({"destination": "ct1"}, "destination: write HOST:PORT"),
        ({"destination": "ct1:0"}, "destination: a port"),
        ({"destination": "ct1:65536"}, "destination: a port"),
        ({"destination": "a b:104"}, "destination: write HOST:PORT"),
        ({"destination": "fd00::7:104"}, "write IPv6 in brackets"),
        ({"destination": "-x:104"}, "destination: write HOST:PORT"),
        # ── exceptions ──
        ({"has_tls": False}, "needs an exception"),
        ({"unsafe_plaintext": asked()}, "has TLS; remove the exception"),
        (
            {"unsafe_plaintext": asked(), "destination": "10.4.0.8:104"},
            "plaintext goes to 10.4.0.7 only",
        ),
        (
            {"unsafe_plaintext": asked(), "destination": "ct1.example:104"},
            "plaintext goes to 10.4.0.7 only",
        ),
        ({"has_tls": False, "unsafe_plaintext": asked()}, "only from its one address"),
    ],
)
def test_what_cannot_be_enrolled(change: dict[str, object], problem: str) -> None:
    with pytest.raises(Misconfigured, match=problem) as caught:
        parsed(**change)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "203.0.113.7",  # documentation, and routable by mistake
        "100.64.0.7",  # shared by the customers of a carrier
        "0.0.0.0",
        "::",
        "255.255.255.255",
        "224.0.0.1",
        "2001:db8::7",
        "2a00::7",
        "::ffff:8.8.8.8",
        "10.4.0.0/24",
        "old-us.example",
        "*",
        "",
    ],
)
def test_plaintext_is_for_one_private_address(address: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        parsed(networks=[], has_tls=False, unsafe_plaintext=asked(address))
    assert len([p for p in caught.value.problems if "networks" not in p]) == 1


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "192.168.1.7", "172.16.0.7", "fd00::7"]
)
def test_private_addresses(address: str) -> None:
    device = parsed(networks=[], has_tls=False, unsafe_plaintext=asked(address))
    assert device.networks == (ip_network(address),)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"reason": " "}, "no reason"),
        ({"reason": "x" * 513}, "longer than 512"),
        ({"reason": "a\x00b"}, "reason"),
        ({"not_after": NOW}, "expires in the past"),
        ({"not_after": NOW + A_YEAR + A_DAY}, "2027-03-02 is the latest"),
    ],
)
def test_an_exception_has_a_reason_and_an_end(
    change: dict[str, object], problem: str
) -> None:
    exception = replace(asked(), **change)  # type: ignore[arg-type]  # a table
    with pytest.raises(Misconfigured, match=problem):
        parsed(networks=[], has_tls=False, unsafe_plaintext=exception)
    replace(asked(), not_after=NOW + A_YEAR).grant(NOW)


def test_all_problems_at_once() -> None:
    with pytest.raises(Misconfigured) as caught:
        parsed(
            name="CT 1",
            ae_titles=[],
            networks=["0.0.0.0/0", "x"],
            rights=["look", "erase"],
            scope="moon=full",
            destination="ct1",
        )
    assert len(caught.value.problems) == 8


def test_a_mapped_address_is_the_one_it_maps() -> None:
    exception = UnsafePlaintext(
        address=ip_address("::ffff:10.4.0.7"),
        reason="because",
        granted_at=NOW,
        not_after=NOW + A_DAY,
    )
    assert exception.address == ip_address("10.4.0.7")
    assert Destination.parse("[::ffff:10.4.0.7]:104").host == "10.4.0.7"


def test_destinations() -> None:
    for text in ("10.4.0.7:104", "[fd00::7]:104", "ct1.example:11112"):
        assert str(Destination.parse(text)) == text
    assert str(Destination.parse("[FD00:0::7]:104")) == "[fd00::7]:104"


def test_a_certificate_says_when_it_is_taken() -> None:
    certificate = Certificate(
        fingerprint_sha256="0" * 64,
        serial=7,
        not_before=NOW,
        not_after=NOW + 10 * A_DAY,
        accepted_until=NOW + 5 * A_DAY,
    )
    assert certificate.refusal(NOW) is None
    assert certificate.refusal(NOW + 5 * A_DAY) is None
    assert "not valid before" in (certificate.refusal(NOW - A_DAY) or "")
    assert "replaced" in (certificate.refusal(NOW + 6 * A_DAY) or "")
    assert "expired" in (certificate.refusal(NOW + 11 * A_DAY) or "")
    with pytest.raises(Misconfigured):
        Certificate(
            fingerprint_sha256="xyz",
            serial=7,
            not_before=NOW,
            not_after=NOW + A_DAY,
            accepted_until=NOW + A_DAY,
        )
