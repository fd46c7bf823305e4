"""Whom to scan, and whether one may.

Names are looked up once: what was judged is what is contacted, whatever a name
server says later.
"""

import hashlib
import socket
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Final

from leadglass.assurance.exposure.reach import Address, Reach, reach_of
from leadglass.errors import BadData, Misconfigured, Refused, Unavailable

# A /20: more at once is a survey of the Internet, which this is not made for.
HOSTS_MAX: Final = 4_096
FILE_BYTES_MAX: Final = 1024 * 1024
NAME_CHARACTERS_MAX: Final = 253  # RFC 1035 §2.3.4
_AUTHORISATION_BYTES_MAX: Final = 256 * 1024

Lookup = Callable[[str], Address]


@dataclass(frozen=True, slots=True)
class Target:
    """One host.

    Attributes:
        address: Where connections go.
        name: As it was named, for TLS and HTTP; "" if by its address.
        ports: Named beside it; empty: those of the scan.
        is_named: Somebody asked for this very host, not for a network.
    """

    address: Address
    name: str = ""
    ports: tuple[int, ...] = ()
    is_named: bool = True

    @property
    def reach(self) -> Reach:
        """From where it can be reached, by its address."""
        return reach_of(self.address)

    @property
    def host(self) -> str:
        """The address as text."""
        return str(self.address)


@dataclass(frozen=True, slots=True)
class Authorisation:
    """What an owner allows, from a file that the report names by its hash.

    Attributes:
        owner: Whose systems these are.
        allowed_by: Who allowed it.
        until: Last day.
        networks: Addresses and networks.
        intrusive: Whether one invented instance may be stored (level I).
        sha256: Of the file.
    """

    owner: str
    allowed_by: str
    until: date
    networks: tuple[str, ...]
    intrusive: bool
    sha256: str

    def covers(self, address: Address) -> bool:
        """Whether an address is among those that are allowed."""
        return any(address in ip_network(each) for each in self.networks)


def load_authorisation(path: Path, *, today: date | None = None) -> Authorisation:
    """Read an authorisation file (TOML).

    Raises:
        Misconfigured: It cannot be read, lacks something, or has ended.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_AUTHORISATION_BYTES_MAX + 1)
    except OSError as error:
        raise Misconfigured(f"{path}: {error.strerror}; name a file") from None
    if len(content) > _AUTHORISATION_BYTES_MAX:
        raise Misconfigured(f"{path}: too long for an authorisation; name another")
    try:
        told = tomllib.loads(content.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError):
        raise Misconfigured(f"{path}: no TOML; write owner = …") from None
    until, networks = told.get("until"), told.get("targets")
    texts = [told.get(key) for key in ("owner", "allowed_by")]
    if not all(isinstance(each, str) and each.strip() for each in texts):
        raise Misconfigured(f"{path}: owner and allowed_by are names; write both")
    if not isinstance(until, date) or isinstance(until, datetime):
        raise Misconfigured(f"{path}: until is a date; write until = 2027-01-31")
    if until < (today or datetime.now(UTC).date()):
        raise Misconfigured(f"{path}: it has ended; ask the owner for a new one")
    if not isinstance(networks, list) or not networks:
        raise Misconfigured(f"{path}: targets lists addresses and networks; add it")
    try:
        valid = tuple(str(ip_network(str(each))) for each in networks)
    except ValueError:
        raise Misconfigured(
            f"{path}: targets has what is no network; write 203.0.113.0/24"
        ) from None
    return Authorisation(
        str(texts[0]), str(texts[1]), until, valid,
        told.get("intrusive") is True, hashlib.sha256(content).hexdigest(),
    )  # fmt: skip


def resolve(name: str) -> Address:
    """Look a name up, once.

    Raises:
        Unavailable: It has no address.
    """
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unavailable("a target's name has no address") from error
    return ip_address(found[0][4][0])


def parse(texts: Iterable[str], lookup: Lookup = resolve) -> list[Target]:
    """Return the hosts that were named: HOST, HOST:PORT, NETWORK, @FILE.

    Raises:
        BadData: One of them is nothing of that, or they are too many.
        Unavailable: A name has no address.
    """
    found: dict[Address, Target] = {}
    for text in _written(texts):
        for each in _one(text, lookup):
            known = found.get(each.address)
            found[each.address] = each if known is None else _united(known, each)
            if len(found) > HOSTS_MAX:
                raise BadData(f"more than {HOSTS_MAX} hosts; scan them in parts")
    if not found:
        raise BadData("no target was named")
    return list(found.values())


def _united(one: Target, other: Target) -> Target:
    """Return one host that was named twice; no ports beat some: those of the scan."""
    ports = one.ports + other.ports if one.ports and other.ports else ()
    return Target(
        one.address,
        one.name or other.name,
        tuple(dict.fromkeys(ports)),
        one.is_named or other.is_named,
    )


def check_allowed(targets: Iterable[Target], given: Authorisation | None) -> None:
    """Check that every target may be scanned by whoever started this.

    Raises:
        Refused: One is reachable from the Internet, and no file allows it.
    """
    for target in targets:
        if target.reach is Reach.INTERNET and not (
            given is not None and given.covers(target.address)
        ):
            raise Refused(
                "a target is reachable from the Internet; name a file with "
                "--authorisation in which its owner allows the scan"
            )


def _written(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        if not text.startswith("@"):
            yield text.strip()
            continue
        try:
            with Path(text[1:]).open(encoding="utf-8") as file:
                content = file.read(FILE_BYTES_MAX + 1)
        except (OSError, UnicodeDecodeError):
            raise BadData(f"{text[1:]}: cannot be read as a list of hosts") from None
        if len(content) > FILE_BYTES_MAX:
            raise BadData(f"{text[1:]}: too long for a list of hosts")
        for line in content.splitlines():
            if bare := line.partition("#")[0].strip():
                yield bare


def _one(text: str, lookup: Lookup) -> Iterator[Target]:
    if "/" in text:
        try:
            network = ip_network(text, strict=False)
        except ValueError:
            raise BadData("a target with / is a network, as 10.4.0.0/24") from None
        if network.num_addresses > HOSTS_MAX:
            raise BadData(f"a network of more than {HOSTS_MAX} hosts; take parts")
        hosts = list(network.hosts()) or [network.network_address]
        yield from (Target(ip_address(str(each)), is_named=False) for each in hosts)
        return
    host, ports = _split(text)
    try:
        yield Target(ip_address(host), ports=ports)
    except ValueError:
        if not 1 <= len(host) <= NAME_CHARACTERS_MAX or not _is_name(host):
            raise BadData("a target is an address, a name or a network") from None
        yield Target(lookup(host), host, ports)


def _split(text: str) -> tuple[str, tuple[int, ...]]:
    """Split HOST:PORT; IPv6 stands in brackets when a port follows."""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    else:
        return text, ()
    if not port and not text.endswith(":"):
        return host, ()
    if not (port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= 0xFFFF):
        raise BadData("a port is a number from 1 to 65535")
    return host, (int(port),)


def _is_name(text: str) -> bool:
    return all(each.isascii() and (each.isalnum() or each in "-._") for each in text)
