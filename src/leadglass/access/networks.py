"""Where a caller may come from."""

from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from leadglass.errors import Misconfigured

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# The widest network that can be somebody's own: 10.0.0.0/8 (RFC 1918) and
# fc00::/7 (RFC 4193). Wider ones say "from anywhere", which is no condition.
PREFIX_MIN = {4: 8, 6: 7}


def plain(address: Address) -> Address:
    """Return an address as networks have it.

    That is the IPv4 address that a dual-stack socket shows as ``::ffff:…``, and a
    link-local one without the interface (RFC 4007 §11) that it was seen on.
    """
    if not isinstance(address, IPv6Address):
        return address
    return address.ipv4_mapped or IPv6Address(int(address))


def parse_address(text: str) -> Address:
    """Read one address.

    Raises:
        Misconfigured: Not an address; host names are none, since whoever
            answers for the name would decide.
    """
    try:
        return plain(ip_address(text.strip()))
    except ValueError:
        raise Misconfigured(
            f"address {text!r}: write one address, as 10.4.0.7"
        ) from None


def parse_network(text: str) -> Network:
    """Read a network in CIDR notation; a lone address is a network of one.

    Raises:
        Misconfigured: Not a network, or one that is everybody's.
    """
    try:
        network = ip_network(text.strip())
    except ValueError:
        raise Misconfigured(f"network {text!r}: {_remedy(text.strip())}") from None
    if problem := too_wide(network):
        raise Misconfigured(problem)
    return network


def too_wide(network: Network) -> str | None:
    """Say why a network is no condition at all, or nothing."""
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped:
        return f"network {network}: write the IPv4 network"
    if network.prefixlen >= PREFIX_MIN[network.version]:
        return None
    return (
        f"network {network}: wider than anybody's own network; "
        "name the networks it really comes from, as 10.4.0.0/24"
    )


def _remedy(text: str) -> str:
    """Say how a text becomes a network."""
    try:
        meant = ip_network(text, strict=False)
    except ValueError:
        return "write it as 10.4.0.0/24 or 10.4.0.7"
    return f"write {meant}, or the address alone"
