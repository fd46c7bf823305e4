"""What is open: asked of what runs, and judged against the default."""

import ssl
import warnings
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest

from leadglass.archive.openings import (
    Door,
    Listening,
    Offer,
    Reach,
    exemptions,
    reach_of,
)
from leadglass.config import Address
from leadglass.identity.device import Device, PlaintextRequest, parse_device

NOW = datetime.now(UTC)
STRONG = Offer(("TLSv1.2", "TLSv1.3"), ("ECDHE",), needs_certificate=True)


def context(minimum: ssl.TLSVersion) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        made.minimum_version = minimum
    return made


def test_an_offer_is_what_a_context_offers() -> None:
    strict = context(ssl.TLSVersion.TLSv1_3)
    strict.verify_mode = ssl.CERT_REQUIRED
    offer = Offer.of(strict)
    assert offer.versions == ("TLSv1.3",)
    assert offer.needs_certificate
    assert "TLS_AES_256_GCM_SHA384" in offer.suites
    usual = context(ssl.TLSVersion.TLSv1_2)
    assert Offer.of(usual).versions == ("TLSv1.2", "TLSv1.3")
    assert not Offer.of(usual).needs_certificate
    usual.maximum_version = ssl.TLSVersion.TLSv1_2
    assert Offer.of(usual).versions == ("TLSv1.2",)
    old = Offer.of(context(ssl.TLSVersion.TLSv1))
    assert "TLSv1.3" in old.versions
    assert old.is_weak is bool({"TLSv1", "TLSv1.1"}.intersection(old.versions))


@pytest.mark.parametrize(
    ("host", "reach"),
    [
        ("127.0.0.1", Reach.LOOPBACK),
        ("::1", Reach.LOOPBACK),
        ("10.4.0.5", Reach.HOUSE),
        ("fd00::5", Reach.HOUSE),
        ("8.8.8.8", Reach.WIDER),
        ("0.0.0.0", Reach.WIDER),
        ("::", Reach.WIDER),
        ("::ffff:8.8.8.8", Reach.WIDER),
    ],
)
def test_how_far_an_address_is_heard(host: str, reach: Reach) -> None:
    assert reach_of(Address(ip_address(host), 2762)) is reach


@pytest.mark.parametrize(
    ("reach", "offer", "is_weak"),
    [
        (Reach.LOOPBACK, STRONG, False),
        (Reach.HOUSE, STRONG, False),
        (Reach.WIDER, STRONG, True),
        (Reach.LOOPBACK, None, True),
        (Reach.HOUSE, Offer(("TLSv1.1",), (), needs_certificate=True), True),
    ],
)
def test_what_is_weaker_than_the_default(
    reach: Reach, offer: Offer | None, is_weak: bool
) -> None:
    place = Address(ip_address("127.0.0.1"), 2762)
    assert Listening(Door.DIMSE, place, reach, offer).is_weak is is_weak


def old_device(days: float) -> Device:
    return parse_device(
        name="OLD",
        ae_titles=["OLD"],
        networks=[],
        rights=["store"],
        now=NOW,
        has_tls=False,
        unsafe_plaintext=PlaintextRequest(
            address="10.4.0.9", reason="old", not_after=NOW + timedelta(days=days)
        ),
    )


def test_an_exception_says_how_many_days_are_left() -> None:
    device = old_device(days=3.5)
    for passed, days, is_over in ((0, 3, False), (3, 0, False), (4, 0, True)):
        (found,) = exemptions([device], NOW + timedelta(days=passed))
        assert (found.days, found.is_over) == (days, is_over)
