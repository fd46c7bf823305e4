"""Networks: what is somebody's own, and what is everybody's."""

from ipaddress import ip_address, ip_network

import pytest

from leadglass.access.networks import parse_address, parse_network, plain
from leadglass.errors import Misconfigured


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("10.4.0.0/24", "10.4.0.0/24"),
        (" 10.4.0.7 ", "10.4.0.7/32"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("fd00:1::/64", "fd00:1::/64"),
        ("::1", "::1/128"),
        ("fc00::/7", "fc00::/7"),
    ],
)
def test_a_network(text: str, network: str) -> None:
    assert parse_network(text) == ip_network(network)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("0.0.0.0/0", "wider than anybody's own"),
        ("::/0", "wider than anybody's own"),
        ("0.0.0.0/7", "wider than anybody's own"),
        ("2000::/3", "wider than anybody's own"),
        ("::ffff:10.0.0.0/104", "write the IPv4 network"),
        ("10.4.0.7/24", "write 10.4.0.0/24"),
        ("scanner.example", "write it as 10.4.0.0/24"),
        ("", "write it as 10.4.0.0/24"),
        ("*", "write it as 10.4.0.0/24"),
    ],
)
def test_what_is_no_condition_is_refused(text: str, remedy: str) -> None:
    with pytest.raises(Misconfigured, match=remedy):
        parse_network(text)


def test_an_address_is_a_literal() -> None:
    assert parse_address("::ffff:10.4.0.7") == ip_address("10.4.0.7")
    with pytest.raises(Misconfigured):
        parse_address("scanner.example")
    with pytest.raises(Misconfigured):
        parse_address("10.4.0.0/24")


def test_a_link_local_address_is_without_its_interface() -> None:
    assert parse_address("fe80::7%eth0") == ip_address("fe80::7")
    assert plain(ip_address("fe80::7%2")) in ip_network("fe80::/10")


def test_a_dual_stack_socket_shows_the_same_peer() -> None:
    assert plain(ip_address("::ffff:10.4.0.7")) == ip_address("10.4.0.7")
    assert plain(ip_address("fd00::7")) == ip_address("fd00::7")
