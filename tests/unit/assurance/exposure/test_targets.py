"""Whom to scan, and whether one may."""

import hashlib
from datetime import date
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadglass.assurance.exposure.reach import Address, Reach, reach_of
from leadglass.assurance.exposure.targets import (
    HOSTS_MAX,
    check_allowed,
    load_authorisation,
    parse,
)
from leadglass.errors import BadData, LeadglassError, Misconfigured, Refused

TODAY = date(2026, 11, 23)
FILE = (
    'owner = "Hospital"\nallowed_by = "Chief of IT"\nuntil = 2026-12-31\n'
    'targets = ["203.0.113.0/24", "8.8.8.8"]\n'
)


def nowhere(_: str) -> Address:
    message = "a name was looked up that is none"
    raise AssertionError(message)


@pytest.mark.parametrize(
    ("address", "reach"),
    [
        ("127.0.0.1", Reach.OWN),
        ("::1", Reach.OWN),
        ("::ffff:127.0.0.1", Reach.OWN),
        ("10.1.2.3", Reach.PRIVATE),
        ("192.168.0.1", Reach.PRIVATE),
        ("100.64.0.1", Reach.PRIVATE),
        ("169.254.1.1", Reach.PRIVATE),
        ("fd00::1", Reach.PRIVATE),
        ("8.8.8.8", Reach.INTERNET),
        ("::ffff:8.8.8.8", Reach.INTERNET),
        ("2001:4860:4860::8888", Reach.INTERNET),
    ],
)
def test_an_address_is_reached_from(address: str, reach: Reach) -> None:
    assert reach_of(ip_address(address)) is reach


def test_hosts_ports_networks_and_lists(tmp_path: Path) -> None:
    listed = tmp_path / "hosts"
    listed.write_text("10.0.0.9  # the old one\n\n[::1]:104\n")
    found = parse(
        ["10.0.0.1", "10.0.0.1:104", "10.0.1.0/30", "pacs:11112", f"@{listed}"],
        lambda name: ip_address("10.9.9.9") if name == "pacs" else nowhere(name),
    )
    told = [(each.host, each.name, each.ports) for each in found]
    assert told == [
        # Named with and without a port: all ports.
        ("10.0.0.1", "", ()),
        ("10.0.1.1", "", ()),
        ("10.0.1.2", "", ()),
        ("10.9.9.9", "pacs", (11112,)),
        ("10.0.0.9", "", ()),
        ("::1", "", (104,)),
    ]


def test_ports_of_one_host_are_looked_at_together() -> None:
    (found,) = parse(["10.0.0.1:104", "10.0.0.1:8042"], nowhere)
    assert found.ports == (104, 8042)


@pytest.mark.parametrize(
    "text",
    ["", "10.0.0.1:0", "10.0.0.1:99999", "10.0.0.1:٣", "10.0.0.0/8", "a b", "x/y",
     "name:port", "-o ProxyCommand=x", "http://10.0.0.1"],
)  # fmt: skip
def test_what_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(LeadglassError):
        parse([text], nowhere)


@given(st.text(max_size=40))
@settings(max_examples=50, deadline=None)
def test_any_text_is_a_target_or_refused(text: str) -> None:
    try:
        found = parse([text.replace("@", "")], lambda _: ip_address("10.0.0.1"))
    except BadData:
        return
    assert 1 <= len(found) <= HOSTS_MAX


def test_the_internet_needs_an_authorisation(tmp_path: Path) -> None:
    path = tmp_path / "allowed.toml"
    path.write_text(FILE)
    given_ = load_authorisation(path, today=TODAY)
    inside, outside = parse(["8.8.8.8"], nowhere), parse(["8.8.4.4"], nowhere)
    check_allowed(inside, given_)
    check_allowed(parse(["127.0.0.1", "10.0.0.1"], nowhere), None)
    for targets, allowed in (
        (inside, None),
        (outside, given_),
        (inside + outside, given_),
    ):
        with pytest.raises(Refused):
            check_allowed(targets, allowed)
    assert given_.sha256 == hashlib.sha256(FILE.encode()).hexdigest()
    assert not given_.intrusive


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("2026-12-31", "2026-11-22"),
        ("2026-12-31", '"soon"'),
        ("2026-12-31", "2026-12-31T00:00:00"),
        ('"Hospital"', '" "'),
        ("allowed_by", "someone"),
        ('["203.0.113.0/24", "8.8.8.8"]', "[]"),
        ("203.0.113.0/24", "203.0.113.1/24"),
        ("owner", "= owner"),
    ],
)
def test_an_authorisation_that_says_too_little_is_none(
    tmp_path: Path, old: str, new: str
) -> None:
    path = tmp_path / "allowed.toml"
    path.write_text(FILE.replace(old, new))
    with pytest.raises(Misconfigured):
        load_authorisation(path, today=TODAY)
