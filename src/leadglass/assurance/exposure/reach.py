"""From where an address can be reached: what makes a fault worse or milder."""

from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Final

Address = IPv4Address | IPv6Address


class Reach(StrEnum):
    """Who can come to an address."""

    INTERNET = "internet"
    PRIVATE = "private"
    OWN = "own"

    @property
    def steps(self) -> int:
        """How many steps milder a finding is there than on the Internet."""
        return _STEPS[self]


_STEPS: Final = {Reach.INTERNET: 0, Reach.PRIVATE: 1, Reach.OWN: 2}


def reach_of(address: Address) -> Reach:
    """Return the class of an address; what is not known to be private is public."""
    mapped = getattr(address, "ipv4_mapped", None)
    judged: Address = address if mapped is None else mapped
    if judged.is_loopback:
        return Reach.OWN
    # Shared address space (RFC 6598) is not "private" to Python, nor routed globally.
    return Reach.INTERNET if judged.is_global else Reach.PRIVATE
