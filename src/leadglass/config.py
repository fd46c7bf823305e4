"""Settings: frozen, typed, read once at start; no default exposes anything.

Each setting is written down once, as a field of its section: name, type,
default, what it means and what it may be. The settings file, the environment,
the reference page and ``leadglass check`` are made from these fields
(`settings`).

A value comes, the later winning, from the default, from ``leadglass.toml`` in
the data folder, from the environment (``LEADGLASS_DIMSE_LISTEN`` sets
``dimse.listen``) and from the command line. Units stand in the names. A
setting that begins with ``unsafe_`` weakens a protection; `Config.weaknesses`
lists every one that is in use.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self, TypeVar, get_type_hints
from urllib.parse import urlsplit

from leadglass.errors import Misconfigured

T = TypeVar("T")

KiB = 1024
MiB = 1024 * KiB
GiB = 1024 * MiB
HOUR_S = 3600.0
DAY_S = 24 * HOUR_S

FILE_NAME = "leadglass.toml"
FILE_BYTES_MAX = MiB  # the commented default has a few KiB; more is a mistake
ENVIRONMENT_PREFIX = "LEADGLASS_"
HOME_VARIABLE = "LEADGLASS_HOME"
CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"  # systemd.exec(5), LoadCredential=

# Where plaintext DICOM may be heard: nowhere a stranger has a route to.
PLAINTEXT_NETWORKS = tuple(
    ip_network(text)
    for text in (
        "127.0.0.0/8",  # loopback
        "::1/128",
        "10.0.0.0/8",  # RFC 1918
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",  # link-local, RFC 3927
        "fe80::/10",
        "fc00::/7",  # unique local, RFC 4193
    )
)


# ── addresses ────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Address:
    """Where a listener listens: a literal address, so that it can be judged."""

    host: IPv4Address | IPv6Address
    port: int  # 0: any free one

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``HOST:PORT``; IPv6 in brackets; ``localhost`` means 127.0.0.1.

        Raises:
            ValueError: Not such a text; the message is the remedy.
        """
        host, colon, port = text.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            raise ValueError("write an IPv6 address in brackets, as [::1]:2762")
        if not colon or not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535:
            raise ValueError("write HOST:PORT, as 127.0.0.1:2762")
        try:
            literal = ip_address("127.0.0.1" if host == "localhost" else host)
        except ValueError:
            raise ValueError(
                "the host must be an address of this machine, as 10.4.0.5, not a name"
            ) from None
        return cls(literal, int(port))

    def __str__(self) -> str:
        host = f"[{self.host}]" if self.host.version == 6 else str(self.host)
        return f"{host}:{self.port}"

    @property
    def is_wildcard(self) -> bool:
        """Every address of this machine, the public ones too."""
        return self._judged.is_unspecified

    @property
    def is_sheltered(self) -> bool:
        """Loopback, private (RFC 1918), unique local or link-local."""
        judged = self._judged
        return any(
            judged in network
            for network in PLAINTEXT_NETWORKS
            if network.version == judged.version
        )

    @property
    def _judged(self) -> IPv4Address | IPv6Address:
        """The host with ``::ffff:8.8.8.8`` seen as what it is, 8.8.8.8."""
        if isinstance(self.host, IPv6Address):
            return self.host.ipv4_mapped or self.host
        return self.host


# ── checks: say what is wrong and the remedy, or nothing ─────────────────────

Check = Callable[[Any], str | None]


def _ae_title(text: str) -> str | None:
    """PS3.5 §6.2, VR of AE."""
    if (
        re.fullmatch(r"[ -\[\]-~]{1,16}", text) is None  # printable, no backslash
        or text != text.strip(" ")
    ):
        return "use 1 to 16 ASCII characters, no backslash, no space at the ends"
    return None


def _address(text: str) -> str | None:
    try:
        Address.parse(text)
    except ValueError as error:
        return str(error)
    return None


def _plaintext_address(text: str) -> str | None:
    if not text:
        return None
    problem = _address(text)
    if problem is None and not Address.parse(text).is_sheltered:
        return (
            "plaintext DICOM may be heard on loopback, private (RFC 1918, fc00::/7) or "
            "link-local addresses only; name the one address that the legacy device "
            "reaches, or use TLS"
        )
    return problem


def _address_or_none(text: str) -> str | None:
    return _address(text) if text else None


def _host_name_or_none(text: str) -> str | None:
    # WebAuthn §5.1.2: a relying party is a domain, never an address.
    label = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
    if text and (
        len(text) > 253
        or not re.fullmatch(rf"{label}(\.{label})*", text)
        or re.fullmatch(r"[0-9.]+", text)
    ):
        return "write a host name, as pacs.example; browsers take no address"
    return None


def _server_or_none(text: str) -> str | None:
    """A server to connect to, by its name or address, and its port."""
    if not text:
        return None
    host, _, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if (
        not re.fullmatch("[0-9]{1,5}", port)
        or not 0 < int(port) <= 65535
        or (":" in host and bare == host)
        or not bare
        or _node_names((bare,))
    ):
        return "write HOST:PORT, as mail.example:465"
    return None


def _receivers(texts: Sequence[str]) -> str | None:
    if any(not text or _server_or_none(text) for text in texts):
        return 'write HOST:PORT, as "siem.hospital.example:6514"'
    if len(set(texts)) != len(texts):
        return "a receiver stands in it twice"
    return None if len(texts) <= 8 else "name at most 8 receivers"


def _region(text: str) -> str | None:
    if not re.fullmatch(r"[A-Za-z0-9._-]{0,128}", text):
        return "write letters, digits and .-_ only"
    return None


def _feed_receivers(texts: Sequence[str]) -> str | None:
    for text in texts:
        if not text.startswith("https://") or _issuer_or_none(text):
            return 'write https:// addresses, as "https://arr.hospital.example/fhir"'
        if not re.fullmatch(r"[!-~]{1,512}", text) or text.endswith("/"):
            return "write an address without blanks and without a slash at its end"
    if len(set(texts)) != len(texts):
        return "a receiver stands in it twice"
    return None if len(texts) <= 8 else "name at most 8 receivers"


def _mail_addresses(texts: Sequence[str]) -> str | None:
    # RFC 5321 §4.1.2 without quoted local parts: nothing that could end a header.
    for text in texts:
        if len(text) > 254 or not re.fullmatch(
            r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+", text
        ):
            return "write mail addresses, as privacy@hospital.example"
    return None if len(texts) <= 20 else "name at most 20 addresses"


def _mail_address_or_none(text: str) -> str | None:
    return _mail_addresses((text,)) if text else None


def _networks(texts: Sequence[str]) -> str | None:
    for text in texts:
        try:
            found = ip_network(text)
        except ValueError:
            return 'write networks, as "10.4.0.0/16"'
        # 10.0.0.0/8 and fc00::/7 are the widest that can be somebody's own.
        if found.prefixlen < (8 if found.version == 4 else 7):
            return f"{found} is wider than anybody's own network; name the real ones"
    return None if len(texts) <= 64 else "name at most 64 networks"


def _absolute_path(text: str) -> str | None:
    if "\0" in text or (text and not Path(text).is_absolute()):
        return "write the whole path, beginning with /"
    return None


def _file_name(text: str) -> str | None:
    if not text or {"/", "\0"} & set(text) or text.startswith("."):
        return "write a plain file name without a slash"
    return None


# What leads to this very machine, whatever the network.
_LOOPBACK_NAMES = frozenset({"127.0.0.1", "::1", "localhost"})


def _issuer_or_none(text: str) -> str | None:
    if not text:
        return None
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "write the provider's address, as https://login.example"
    is_here = host in _LOOPBACK_NAMES
    if not host or not (
        parts.scheme == "https" or (parts.scheme == "http" and is_here)
    ):
        return "write an address with https://; http:// is for this machine alone"
    if not text.isascii() or " " in text or "@" in parts.netloc:
        return "write the provider's address without user and spaces"
    if "?" in text or "#" in text:
        return "an issuer has neither query nor fragment; leave them out"
    return None


def _shown_name(text: str) -> str | None:
    if not 0 < len(text) <= 40 or not text.isprintable():
        return "write a name of 1 to 40 characters that can be shown"
    return None


def _claim(text: str) -> str | None:
    if not re.fullmatch(r"[!-~]{1,200}", text):
        return "write the name of a claim, as groups"
    return None


def _scopes(texts: Sequence[str]) -> str | None:
    # RFC 6749 §3.3: visible ASCII without quotes and backslash.
    if not all(re.fullmatch(r"[!#-\[\]-~]{1,200}", text) for text in texts):
        return 'write scopes, as "openid", "profile"'
    return None if "openid" in texts else 'put "openid" into it'


def _algorithms(texts: Sequence[str]) -> str | None:
    known = ("RS256", "PS256", "ES256", "EdDSA", "Ed25519")
    if not texts or set(texts) - set(known):
        return f"use some of {', '.join(known)}: signatures by the provider's own key"
    return None


def _https_url_or_none(text: str) -> str | None:
    if text and not re.fullmatch(r"https://[!-~]{1,500}", text):
        return "write an https URL"
    return None


def _rules_of_review(texts: Sequence[str]) -> str | None:
    if not all(re.fullmatch(r"R-[0-9]{2}", text) for text in texts):
        return 'write ids of rules, as "R-08"'
    return None


def _group_roles(texts: Sequence[str]) -> str | None:
    seen: set[str] = set()
    for text in texts:
        # The last one: names in a directory have equals signs of their own.
        group, _, role = text.rpartition("=")
        if not group.strip() or not re.fullmatch(r"[a-z][a-z_-]{0,31}", role):
            return 'write GROUP=ROLE, as "pacs-radiology=radiologist"'
        if group in seen:
            return "a group stands in it twice; it gives one role"
        seen.add(group)
    return None if len(texts) <= 200 else "name at most 200 groups"


def _directory_or_none(text: str) -> str | None:
    if not text:
        return None
    remedy = "write ldaps://HOST:PORT, or ldap://HOST:PORT for STARTTLS"
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return remedy
    if parts.scheme not in {"ldaps", "ldap"} or not host or _node_names((host,)):
        return remedy
    if "@" in parts.netloc or parts.path or parts.query or parts.fragment:
        return f"{remedy}, and nothing behind it"
    return None


def _with_name(text: str) -> str | None:
    if text.count("{name}") != 1 or not text.isprintable():
        return "put {name} into it, once, where the name that was typed belongs"
    return None


def _with_name_or_none(text: str) -> str | None:
    return _with_name(text) if text else None


def _with_dn(text: str) -> str | None:
    if text.count("{dn}") != 1 or not text.isprintable():
        return "put {dn} into it, once, where the person's DN belongs"
    return None


def _attribute(text: str) -> str | None:
    # RFC 4512 §1.4, descr and numericoid.
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.;-]{0,200}", text):
        return "write the name of an attribute, as uid"
    return None


def _attribute_or_none(text: str) -> str | None:
    return _attribute(text) if text else None


def _uid_prefixes(texts: Sequence[str]) -> str | None:
    # Two components at least: "1" or "2." would admit everything.
    if all(
        len(text) <= 64 and re.fullmatch(r"[0-2](\.[0-9]+)+\.?", text) for text in texts
    ):
        return None
    return 'write the beginnings of UIDs, as "1.3.46.670589."'


def _node_names(texts: Sequence[str]) -> str | None:
    label = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
    for text in texts:
        try:
            ip_address(text)
        except ValueError:
            if len(text) > 253 or not re.fullmatch(rf"{label}(\.{label})*", text):
                return 'write host names and addresses, as "pacs.example", "10.4.0.5"'
    return None if texts else "name at least one host name or address"


def _https_origins(texts: Sequence[str]) -> str | None:
    remedy = (
        'write origins as browsers do, in small letters, as "https://pacs.example" or '
        '"https://pacs.example:8443"; port 443 is left out'
    )
    for text in texts:
        host, _, port = text.removeprefix("https://").rpartition(":")
        if not re.fullmatch("[0-9]{1,5}", port):  # none: it is part of the name
            host, port = text.removeprefix("https://"), ""
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        if (
            not text.startswith("https://")
            or text != text.lower()
            or (":" in bare) is not (bare != host)
            or _node_names((bare,))
            or port in {"0", "443"}
            or int(port or 1) > 65535
        ):
            return remedy
    return None


# ── the form of a setting ────────────────────────────────────────────────────


def _setting(  # noqa: PLR0913 - one for each column of the reference page
    default: T,
    help_text: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    check: Check | None = None,
    environment: str = "",
) -> T:
    """Declare one setting; an ``unsafe_`` one tells in its help why it is."""
    return field(
        default=default,
        metadata={
            "help": help_text,
            "low": low,
            "high": high,
            "choices": choices,
            "check": check,
            "environment": environment,
        },
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """The node as its peers see it."""

    ae_title: str = _setting(
        "LEADGLASS",
        "The node's AE title: what peers must call it.",
        check=_ae_title,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Keys:
    """Where the master key comes from. It opens everything that is stored."""

    source: str = _setting(
        "file",
        "file: keys.master_file. passphrase: asked from keys.passphrase_file. "
        "credential: a systemd credential (LoadCredential=).",
        choices=("file", "passphrase", "credential"),
    )
    master_file: str = _setting(
        "",
        "The file with the master key, readable by its owner alone and outside the "
        "data folder. Empty: the data folder's path with .key at its end. Whoever "
        "takes a disk with both has both: keep it on other storage where you can.",
        check=_absolute_path,
    )
    passphrase_file: str = _setting(
        "",
        "The file from which the passphrase is read, outside the data folder; "
        "/dev/fd/3 reads it from file descriptor 3.",
        check=_absolute_path,
        environment="LEADGLASS_PASSPHRASE_FILE",
    )
    credential: str = _setting(
        "leadglass-master-key",
        "The name of the systemd credential with the master key.",
        check=_file_name,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Dimse:
    """The DICOM listeners and what one peer may take of them."""

    listen: str = _setting(
        "127.0.0.1:2762",
        "Address and port of DICOM over TLS; IPv6 in brackets; port 0 takes a free "
        "one.",
        check=_address,
    )
    unsafe_plaintext_listen: str = _setting(
        "",
        "Address and port of DICOM without TLS, for devices with a named exception; "
        "empty: none. Whoever is on the path reads and changes the images and names.",
        check=_plaintext_address,
    )
    association_count_max: int = _setting(
        64,
        "Connections at the same time, of each listener; each is a thread. More are "
        "closed at once.",
        low=1,
        high=1024,
    )
    association_count_per_device_max: int = _setting(
        16,
        "Associations of one enrolled device at the same time. More are rejected as a "
        "passing congestion (PS3.8 Table 9-21).",
        low=1,
        high=1024,
    )
    association_count_per_address_max: int = _setting(
        16,
        "Connections from one address at the same time. More are closed at once, "
        "before they can prove who they are.",
        low=1,
        high=1024,
    )
    pdu_length_bytes_max: int = _setting(
        256 * KiB,
        "The longest PDU that peers may send; each association holds one.",
        low=4 * KiB,
        high=MiB,
    )
    tls_handshake_timeout_s: float = _setting(
        10.0, "The TLS handshake must end within this time.", low=1, high=120
    )
    artim_timeout_s: float = _setting(
        30.0,
        "The association must be asked for, and closed after its end, within this "
        "time (PS3.8 §9.1.5).",
        low=1,
        high=300,
    )
    idle_timeout_s: float = _setting(
        60.0,
        "An association whose next PDU is not whole within this time is aborted; "
        "dripping single bytes is no life.",
        low=1,
        high=3600,
    )
    response_timeout_s: float = _setting(
        60.0,
        "How long a peer that we send to (C-MOVE, C-GET) may take to answer one "
        "message.",
        low=1,
        high=3600,
    )
    connect_timeout_s: float = _setting(
        10.0, "How long a C-MOVE destination may take to accept.", low=1, high=120
    )
    stop_timeout_s: float = _setting(
        30.0,
        "On SIGTERM, what is in flight gets this long to end before it is aborted.",
        low=0,
        high=600,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Https:
    """The HTTPS listener (DICOMweb), what one client may take of it, and sessions."""

    listen: str = _setting(
        "127.0.0.1:8443",
        "Address and port of HTTPS; IPv6 in brackets; port 0 takes a free one; empty: "
        "no HTTPS. Clients must call it by one of tls.node_names.",
        check=_address_or_none,
    )
    public_origins: tuple[str, ...] = _setting(
        (),
        'Other addresses by which browsers know it, as "https://pacs.example": where '
        "port 443 is forwarded to it, say, with TLS untouched.",
        check=_https_origins,
    )
    connection_count_max: int = _setting(
        512,
        "Connections at the same time; each costs about 100 KB. More are closed at "
        "once.",
        low=1,
        high=10_000,
    )
    connection_count_per_address_max: int = _setting(
        64,
        "Connections from one address at the same time.",
        low=1,
        high=10_000,
    )
    request_count_max: int = _setting(
        32,
        "Requests at work at the same time; each may hold a thread.",
        low=1,
        high=256,
    )
    stream_count_max: int = _setting(
        64,
        "Bodies on their way in or out at the same time, at the client's pace; each "
        "may hold some MB, and a thread on its way in.",
        low=1,
        high=512,
    )
    request_count_per_s_max: float = _setting(
        3000.0,
        "Requests from one address, in the long run; twice as many may come at once. "
        "A viewer that scrolls asks for some hundred frames a second.",
        low=1,
        high=1_000_000,
    )
    head_timeout_s: float = _setting(
        10.0,
        "The TLS handshake, and the head of a request, must end within this time.",
        low=1,
        high=120,
    )
    idle_timeout_s: float = _setting(
        30.0,
        "How long a connection may rest between two requests.",
        low=1,
        high=3600,
    )
    transfer_timeout_s: float = _setting(
        60.0,
        "A client that neither sends nor takes a byte of a body for this long is cut "
        "off.",
        low=1,
        high=3600,
    )
    stored_bytes_max: int = _setting(
        64 * GiB,
        "The longest body of one request that stores (STOW-RS); it streams, and each "
        "object in it is judged by limits.object_bytes_max.",
        low=MiB,
        high=1024 * GiB,
    )
    stop_timeout_s: float = _setting(
        30.0,
        "On SIGTERM, requests at work get this long to end before they are cut off.",
        low=0,
        high=600,
    )
    session_idle_timeout_s: float = _setting(
        900.0,
        "A session that is not used for this long ends: a screen that was left.",
        low=120,
        high=DAY_S,
    )
    session_timeout_s: float = _setting(
        12 * HOUR_S,
        "A session ends so long after the login, used or not: a shift.",
        low=300,
        high=7 * DAY_S,
    )
    session_fresh_s: float = _setting(
        300.0,
        "So long after a proof, what is dangerous needs no new one.",
        low=30,
        high=HOUR_S,
    )
    password_list: str = _setting(
        "",
        "The file of known passwords that nobody may choose, as Have I Been Pwned "
        "publishes it (SHA-1, sorted). Empty: none.",
        check=_absolute_path,
    )
    people_networks: tuple[str, ...] = _setting(
        (),
        "Networks that people may come from, whatever their roles. Empty: all private "
        "and link-local ones (RFC 1918, fc00::/7) and this machine.",
        check=_networks,
    )
    relying_party: str = _setting(
        "",
        "The host name that passkeys are for; it cannot be changed later without "
        "making all of them anew. Empty: the first host name of tls.node_names.",
        check=_host_name_or_none,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Tls:
    """TLS of every listener (PS3.15 B.12, BCP 195)."""

    minimum_version: str = _setting(
        "1.2",
        "The oldest version that is spoken; 1.3 is preferred whenever the peer can. "
        "Set 1.3 when all devices can.",
        choices=("1.2", "1.3"),
    )
    node_names: tuple[str, ...] = _setting(
        ("localhost", "127.0.0.1", "::1"),
        "Host names and addresses in the node's certificate: how devices reach it.",
        check=_node_names,
    )
    certificate_warning_days: int = _setting(
        30,
        "Certificates that expire within this many days are reported.",
        low=1,
        high=365,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What one received object may be; judged before memory is given."""

    object_bytes_max: int = _setting(
        8 * GiB, "The largest data set.", low=MiB, high=1024 * GiB
    )
    header_bytes_max: int = _setting(
        4 * MiB,
        "The most that may stand before the Study Instance UID: it is held in memory "
        "until the study's key is known.",
        low=64 * KiB,
        high=256 * MiB,
    )
    inflated_bytes_max: int = _setting(
        2 * GiB,
        "The largest deflated data set, after inflating (against zip bombs).",
        low=MiB,
        high=1024 * GiB,
    )
    sequence_depth_max: int = _setting(
        32,
        "How deep sequences may be nested; structured reports reach about 12.",
        low=8,
        high=64,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Storage:
    """What is taken in, and until when."""

    private_sop_classes: tuple[str, ...] = _setting(
        (),
        "Beginnings of the UIDs of private SOP classes that are stored beside the "
        "standard's.",
        check=_uid_prefixes,
    )
    free_bytes_min: int = _setting(
        GiB,
        "Below this much free space new objects are refused (status A700), so that "
        "the disk never fills under the database.",
        low=64 * MiB,
        high=1024 * GiB,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Find:
    """Queries."""

    result_count_max: int = _setting(
        10_000,
        "Answers to one query. When more match, the query ends after this many with "
        "a failure (status A700), so that nobody takes a part for the whole.",
        low=1,
        high=1_000_000,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Pixels:
    """Decoding for receivers that take only uncompressed images.

    Codecs are C code fed with what strangers sent, so they work in processes
    of their own, and these are the walls of those.
    """

    worker_count_max: int = _setting(
        2, "Worker processes at the same time.", low=1, high=64
    )
    tasks_per_worker_max: int = _setting(
        500,
        "Images after which a worker is replaced by a fresh one.",
        low=1,
        high=10**6,
    )
    decoded_bytes_max: int = _setting(
        4 * GiB,
        "The largest image after decoding, all frames together; judged from the "
        "header, before any decoding.",
        low=MiB,
        high=64 * GiB,
    )
    memory_bytes_max: int = _setting(
        4 * GiB,
        "Address space of one worker: code, one frame packed and unpacked.",
        low=512 * MiB,
        high=64 * GiB,
    )
    frame_timeout_s: float = _setting(
        30.0,
        "A worker that yields nothing for this long is ended.",
        low=0.1,
        high=600,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Media:
    """Import from and export to folders, ZIP files and DICOMDIR media."""

    import_file_count_max: int = _setting(
        1_000_000, "Files that one import looks at.", low=1, high=100_000_000
    )
    zip_inflated_bytes_max: int = _setting(
        256 * GiB,
        "What one ZIP file may unpack to (against zip bombs).",
        low=MiB,
        high=16 * 1024 * GiB,
    )
    zip_ratio_max: int = _setting(
        200, "How many times its packed size one entry may have.", low=2, high=2000
    )
    export_file_count_max: int = _setting(
        100_000, "Instances that one export writes.", low=1, high=10_000_000
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Jobs:
    """What the node does on its own."""

    reload_interval_s: float = _setting(
        1.0,
        "How often changes of devices, rules and keys by another process are looked "
        "for.",
        low=0.1,
        high=2,
    )
    sweep_interval_s: float = _setting(
        HOUR_S,
        "How often blobs that no index row names are adopted or removed.",
        low=10,
        high=7 * DAY_S,
    )
    expiry_interval_s: float = _setting(
        HOUR_S,
        "How often expiring certificates and exceptions are looked for.",
        low=10,
        high=7 * DAY_S,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Notices:
    """Mail to whoever reviews broken glass: that there is something to review."""

    smtp_server: str = _setting(
        "",
        "The mail server, by the name in its certificate, and its port: 465, or 587 "
        "for starttls, are usual. Empty: no mail; `leadglass status` tells how many "
        "reviews are open.",
        check=_server_or_none,
    )
    tls: str = _setting(
        "implicit",
        "How TLS begins: with the connection, or by STARTTLS. There is no third way.",
        choices=("implicit", "starttls"),
    )
    ca_file: str = _setting(
        "",
        "The certificates (PEM) that the mail server's is verified against. Empty: "
        "those that this system trusts.",
        check=_absolute_path,
    )
    sender: str = _setting(
        "", "The address that the mail is from.", check=_mail_address_or_none
    )
    recipients: tuple[str, ...] = _setting(
        (), "The addresses of those who review.", check=_mail_addresses
    )
    user: str = _setting(
        "", "Whom to log in as at the mail server. Empty: without login."
    )
    password_file: str = _setting(
        "",
        "The file with the password for it, readable by its owner alone and outside "
        "the data folder.",
        check=_absolute_path,
    )
    response_timeout_s: float = _setting(
        20.0, "How long the mail server may take for an answer.", low=1, high=120
    )
    look_interval_s: float = _setting(
        5.0,
        "How often the node looks for what is to be sent. After a failure it waits 30 "
        "seconds, then twice as long each time, up to an hour.",
        low=0.1,
        high=600,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Retention:
    """How long audit records stay; `audit retention run` prunes older ones."""

    years: int = _setting(
        6,
        "How many years a record stays at least; six years are 2,192 days. A legal "
        "hold keeps it longer.",
        low=6,
        high=100,
    )
    unsafe_years: int = _setting(
        0,
        "Fewer than six years, for a node that never has real patients: 1 to 5. 0: "
        "not used.",
        low=0,
        high=5,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Review:
    """What rules find in the audit record: `leadglass audit review`."""

    interval_s: float = _setting(
        300.0,
        "How often the node reviews what is new, and tells of alerts that are overdue. "
        "0: only when asked.",
        low=0,
        high=7 * DAY_S,
    )
    feeds_folder: str = _setting(
        "",
        "The folder of staff.csv, patients.csv, shifts.csv and stays.csv, which other "
        "systems write. Empty: there are none, and rules that need them are silent.",
        check=_absolute_path,
    )
    covering: tuple[str, ...] = _setting(
        ("emergency",),
        "Departments that stand in for wards at night and at weekends, as the feeds "
        "call them.",
    )
    reviewers: tuple[str, ...] = _setting(
        ("privacy", "auditor"),
        "Roles whose work it is to read the audit record.",
    )
    webhook_url: str = _setting(
        "",
        "Where news of alerts is sent by HTTPS, without patients, names or addresses. "
        "Empty: nowhere. Mail goes to notices.recipients.",
        check=_https_url_or_none,
    )
    webhook_secret_file: str = _setting(
        "",
        "The file with the secret that signs what is sent there, of 16 bytes at least, "
        "readable by its owner alone.",
        check=_absolute_path,
    )
    webhook_ca_file: str = _setting(
        "",
        "The certificates (PEM) that the webhook's is verified against. Empty: those "
        "that this system trusts.",
        check=_absolute_path,
    )
    off: tuple[str, ...] = _setting(
        (), 'Rules that are not used, as "R-08".', check=_rules_of_review
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Syslog:
    """Audit records to receivers of syslog, over verified TLS (RFC 5425)."""

    receivers: tuple[str, ...] = _setting(
        (),
        "Where audit records are sent, each by the name in its certificate and its "
        'port, as "siem.hospital.example:6514". Each gets every record, from the '
        "first. Empty: nowhere.",
        check=_receivers,
    )
    ca_file: str = _setting(
        "",
        "The certificates (PEM) that those of the receivers are verified against. "
        "Empty: those that this system trusts.",
        check=_absolute_path,
    )
    certificate_file: str = _setting(
        "",
        "The certificate (PEM) that the node shows to receivers, with its chain. "
        "Empty: it shows none.",
        check=_absolute_path,
    )
    key_file: str = _setting(
        "",
        "The key (PEM) of that certificate, readable by its owner alone and outside "
        "the data folder.",
        check=_absolute_path,
    )
    response_timeout_s: float = _setting(
        20.0,
        "How long a receiver may take to let the node in, to take something, or to end "
        "a connection.",
        low=0.5,
        high=300,
    )
    settle_s: float = _setting(
        60.0,
        "How long a receiver may take to store what it has read. Records that it had "
        "for a shorter time when something broke are sent again.",
        low=1,
        high=3600,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Feed:
    """Audit records to receivers of FHIR, over verified HTTPS (IHE ITI-20)."""

    receivers: tuple[str, ...] = _setting(
        (),
        "Where audit records are sent as AuditEvent resources, each by its address, "
        'as "https://arr.hospital.example/fhir"; /AuditEvent is added. Each gets '
        "every record, from the first. Empty: nowhere.",
        check=_feed_receivers,
    )
    ca_file: str = _setting(
        "",
        "The certificates (PEM) that those of the receivers are verified against. "
        "Empty: those that this system trusts.",
        check=_absolute_path,
    )
    certificate_file: str = _setting(
        "",
        "The certificate (PEM) that the node shows to receivers, with its chain. "
        "Empty: it shows none.",
        check=_absolute_path,
    )
    key_file: str = _setting(
        "",
        "The key (PEM) of that certificate, readable by its owner alone and outside "
        "the data folder.",
        check=_absolute_path,
    )
    token_file: str = _setting(
        "",
        "The file with the bearer token that receivers let the node in by, readable "
        "by its owner alone and outside the data folder. Read anew for each "
        "connection. Empty: none is sent.",
        check=_absolute_path,
    )
    response_timeout_s: float = _setting(
        20.0,
        "How long a receiver may take to let the node in, or to answer.",
        low=0.5,
        high=300,
    )
    settle_s: float = _setting(
        60.0,
        "Records that a receiver has acknowledged for a shorter time when something "
        "broke are sent again.",
        low=1,
        high=3600,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Copies:
    """Copies of checkpoints where this node cannot take them back; no patients."""

    folder: str = _setting(
        "",
        "A folder on another host's mount, or on write-once media. Files in it are "
        "made once and never written again. Empty: none.",
        check=_absolute_path,
    )
    interval_s: float = _setting(
        900.0,
        "How often. What somebody with the signing key could take back unseen is what "
        "was recorded since.",
        low=10,
        high=DAY_S,
    )
    s3_bucket: str = _setting(
        "",
        "A bucket of S3 with Object Lock, as "
        '"https://s3.example/bucket"; plain http is for this machine alone. Empty: '
        "none.",
        check=_issuer_or_none,
    )
    s3_region: str = _setting(
        "us-east-1", "What its provider calls the region.", check=_region
    )
    s3_access_key: str = _setting("", "What the provider knows us by.", check=_region)
    s3_secret_file: str = _setting(
        "",
        "The file with the secret of that key, readable by its owner alone and outside "
        "the data folder.",
        check=_absolute_path,
    )
    s3_ca_file: str = _setting(
        "",
        "The certificates (PEM) that the bucket's server is verified against. Empty: "
        "those that this system trusts.",
        check=_absolute_path,
    )
    s3_retention_days: int = _setting(
        2192,
        "How long nobody can delete a copy, the bucket's owner included. Six years "
        "unless said.",
        low=1,
        high=36_525,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Oidc:
    """Single sign-on: people whom an OpenID Connect provider proves."""

    issuer: str = _setting(
        "",
        "The provider, letter by letter as it calls itself, as "
        '"https://login.example/realms/hospital"; plain http is for this machine '
        "alone. Empty: no single sign-on.",
        check=_issuer_or_none,
    )
    name: str = _setting(
        "single sign-on",
        'What the login page calls it, after "Continue with".',
        check=_shown_name,
    )
    client_id: str = _setting("", "What the provider knows us by.")
    client_secret_file: str = _setting(
        "",
        "The file with the secret that it gave us, readable by its owner alone and "
        "outside the data folder.",
        check=_absolute_path,
    )
    scopes: tuple[str, ...] = _setting(
        ("openid", "profile"),
        "What is asked of the provider; openid is one of it. Some give groups only "
        "for a scope of their own.",
        check=_scopes,
    )
    groups_claim: str = _setting(
        "groups", "The claim of the ID token with a person's groups.", check=_claim
    )
    name_claim: str = _setting(
        "preferred_username",
        "The claim with the name that somebody is called by here, after sso:. The "
        "person is told apart by issuer and subject, never by this.",
        check=_claim,
    )
    display_name_claim: str = _setting(
        "name", "The claim with the name that people use.", check=_claim
    )
    group_roles: tuple[str, ...] = _setting(
        (),
        'Which group gives which role, as "pacs-radiology=radiologist". Who is in none '
        "of these groups is not let in.",
        check=_group_roles,
    )
    algorithms: tuple[str, ...] = _setting(
        ("RS256", "PS256", "ES256", "EdDSA", "Ed25519"),
        "By which of these ID tokens may be signed.",
        check=_algorithms,
    )
    second_factor_amr: tuple[str, ...] = _setting(
        ("mfa", "otp", "hwk", "swk", "sc", "pop", "fido"),
        "Authentication methods (RFC 8176) of which the ID token must name one, so "
        "that a second factor is believed.",
    )
    second_factor_acr: tuple[str, ...] = _setting(
        (),
        "Authentication contexts of which the ID token may name one instead.",
    )
    unsafe_single_factor: str = _setting(
        "",
        "Why people are let in, too, whom the provider knows by one proof alone: a "
        "password that somebody else may have. What needs a proof of now is refused to "
        "them. Empty: they are not let in.",
    )
    ca_file: str = _setting(
        "",
        "The certificates (PEM) that the provider's is verified against. Empty: those "
        "that this system trusts.",
        check=_absolute_path,
    )
    response_timeout_s: float = _setting(
        10.0, "How long the provider may take for one answer.", low=0.5, high=60
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Ldap:
    """People whom a directory proves by a password; needs ``leadglass[ldap]``."""

    url: str = _setting(
        "",
        "The directory: ldaps://HOST:PORT, or ldap://HOST:PORT with STARTTLS before "
        "anything is said. Empty: none.",
        check=_directory_or_none,
    )
    unsafe_plaintext: str = _setting(
        "",
        "Why there is no TLS to a directory on this very machine: whoever listens on "
        "its loopback reads the passwords. Elsewhere it is refused.",
    )
    ca_file: str = _setting(
        "",
        "The certificates (PEM) that the directory's is verified against. Empty: those "
        "that this system trusts.",
        check=_absolute_path,
    )
    base_dn: str = _setting(
        "", "Below what people are looked for, as ou=people,dc=hospital,dc=example."
    )
    user_filter: str = _setting(
        "(&(objectClass=person)(uid={name}))",
        "What finds one of them (RFC 4515); {name} is what was typed, escaped. Active "
        "Directory: (&(objectClass=user)(sAMAccountName={name})).",
        check=_with_name,
    )
    bind_dn: str = _setting(
        "", "By what name the node looks for people. Empty: anonymously."
    )
    bind_password_file: str = _setting(
        "",
        "The file with the password for it, readable by its owner alone and outside "
        "the data folder.",
        check=_absolute_path,
    )
    user_dn_template: str = _setting(
        "",
        "Instead of looking: a person's DN, as "
        "uid={name},ou=people,dc=hospital,dc=example.",
        check=_with_name_or_none,
    )
    groups_attribute: str = _setting(
        "memberOf",
        "The attribute of a person with the DNs of the groups. Empty: none.",
        check=_attribute_or_none,
    )
    group_base_dn: str = _setting(
        "", "Below what groups are looked for besides. Empty: they are not."
    )
    group_filter: str = _setting(
        "(&(objectClass=groupOfNames)(member={dn}))",
        "What finds the groups of a person; {dn} is the person's, escaped.",
        check=_with_dn,
    )
    group_roles: tuple[str, ...] = _setting(
        (),
        "Which group gives which role, as "
        '"cn=radiology,ou=groups,dc=hospital,dc=example=radiologist". Who is in none '
        "of these groups is not let in.",
        check=_group_roles,
    )
    id_attribute: str = _setting(
        "entryUUID",
        "The attribute by which a person is told apart, never given to another. Active "
        "Directory: objectGUID. Empty: the DN, which moves with people.",
        check=_attribute_or_none,
    )
    name_attribute: str = _setting(
        "uid",
        "The attribute with the name that somebody is called by here, after ldap:.",
        check=_attribute,
    )
    display_name_attribute: str = _setting(
        "cn", "The attribute with the name that people use.", check=_attribute
    )
    unsafe_single_factor: str = _setting(
        "",
        "Why a password of the directory is enough to be let in: it is one proof, "
        "which somebody else may have. What needs a proof of now is refused to those "
        "people. Without a reason, the directory lets nobody in.",
    )
    response_timeout_s: float = _setting(
        10.0, "How long the directory may take for one login.", low=1, high=60
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Log:
    """The operators' log. It never holds patient data."""

    level: str = _setting(
        "info",
        "The least that is logged.",
        choices=("debug", "info", "warning", "error"),
    )
    format: str = _setting(
        "text", "text: for eyes. json: one object a line.", choices=("text", "json")
    )


SECTIONS: Mapping[str, type] = MappingProxyType(
    {
        "node": Node,
        "keys": Keys,
        "dimse": Dimse,
        "https": Https,
        "tls": Tls,
        "limits": Limits,
        "storage": Storage,
        "find": Find,
        "pixels": Pixels,
        "media": Media,
        "jobs": Jobs,
        "notices": Notices,
        "retention": Retention,
        "review": Review,
        "syslog": Syslog,
        "feed": Feed,
        "copies": Copies,
        "oidc": Oidc,
        "ldap": Ldap,
        "log": Log,
    }
)


# ── types: how a value is written, and read from each source ─────────────────


@dataclass(frozen=True, slots=True)
class _Kind:
    """One type of value: how it is named, read from TOML and from text."""

    name: str
    accept: Callable[[object], object]  # raises ValueError
    read: Callable[[str], object]  # raises ValueError


def _accept_number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError  # noqa: TRY004 - one error for "not this kind"
    return float(value)


def _accept_whole_number(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError  # noqa: TRY004
    return value


def _accept_text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError  # noqa: TRY004
    return value


def _accept_texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError  # noqa: TRY004
    return tuple(_accept_text(item) for item in value)


def _read_texts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


_KINDS: Mapping[object, _Kind] = MappingProxyType(
    {
        str: _Kind("text", _accept_text, str),
        int: _Kind("whole number", _accept_whole_number, int),
        float: _Kind("number", _accept_number, float),
        tuple[str, ...]: _Kind("list of texts", _accept_texts, _read_texts),
    }
)

_UNITS: Mapping[str, str] = MappingProxyType(
    {"bytes": "bytes", "s": "seconds", "days": "days", "years": "years"}
)


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as the documentation, the checks and the help see it."""

    section: str
    key: str
    kind: _Kind
    default: object
    help: str
    low: float | None
    high: float | None
    choices: tuple[str, ...]
    check: Check | None
    environment: str

    @property
    def name(self) -> str:
        """The dotted name, as ``dimse.listen``."""
        return f"{self.section}.{self.key}"

    @property
    def type_name(self) -> str:
        """``text``, ``whole number``, ``number`` or ``list of texts``."""
        return self.kind.name

    @property
    def unit(self) -> str:
        """The unit that the name states; empty for what has none."""
        words = self.key.split("_")
        return next((_UNITS[word] for word in words if word in _UNITS), "")

    @property
    def is_unsafe(self) -> bool:
        """Whether using it weakens a protection."""
        return self.key.startswith("unsafe_")

    @property
    def default_toml(self) -> str:
        """The default as the settings file writes it."""
        return toml_value(self.default)

    def problem(self, value: object) -> str | None:
        """Say what is wrong with a value of the right type, and the remedy."""
        if self.choices and value not in self.choices:
            return f"{value!r} is not known; use one of {', '.join(self.choices)}"
        if isinstance(value, int | float) and not (
            (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
        ):  # also what compares with nothing: nan
            return f"{value} is out of range; use {self.low:.15g} to {self.high:.15g}"
        return self.check(value) if self.check else None


def settings() -> Iterator[Setting]:
    """Yield every setting, in the order of the file."""
    for section, cls in SECTIONS.items():
        hints = get_type_hints(cls)
        for each in fields(cls):
            variable = f"{ENVIRONMENT_PREFIX}{section}_{each.name}".upper()
            yield Setting(
                section=section,
                key=each.name,
                kind=_KINDS[hints[each.name]],
                default=each.default,
                help=each.metadata["help"],
                low=each.metadata["low"],
                high=each.metadata["high"],
                choices=each.metadata["choices"],
                check=each.metadata["check"],
                environment=each.metadata["environment"] or variable,
            )


def toml_value(value: object) -> str:
    """Write a value of a setting as TOML.

    Raises:
        TypeError: No setting has such a value.
    """
    match value:
        case str():
            escaped = value.replace("\\", "\\\\").replace('"', '\\"')
            return f'"{escaped}"'
        case int() | float():
            return str(value)
        case tuple():
            return f"[{', '.join(toml_value(item) for item in value)}]"
        case _:
            raise TypeError(f"no setting has a value of {type(value).__name__}")


# ── all settings of a node ───────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """All settings of one node, and where each came from."""

    home: Path
    credentials_folder: Path | None = None
    node: Node = field(default_factory=Node)
    keys: Keys = field(default_factory=Keys)
    dimse: Dimse = field(default_factory=Dimse)
    https: Https = field(default_factory=Https)
    tls: Tls = field(default_factory=Tls)
    limits: Limits = field(default_factory=Limits)
    storage: Storage = field(default_factory=Storage)
    find: Find = field(default_factory=Find)
    pixels: Pixels = field(default_factory=Pixels)
    media: Media = field(default_factory=Media)
    jobs: Jobs = field(default_factory=Jobs)
    notices: Notices = field(default_factory=Notices)
    retention: Retention = field(default_factory=Retention)
    review: Review = field(default_factory=Review)
    syslog: Syslog = field(default_factory=Syslog)
    feed: Feed = field(default_factory=Feed)
    copies: Copies = field(default_factory=Copies)
    oidc: Oidc = field(default_factory=Oidc)
    ldap: Ldap = field(default_factory=Ldap)
    log: Log = field(default_factory=Log)
    # Dotted name → "leadglass.toml", a variable's name or "command line"; what
    # is not named here is the default.
    origins: Mapping[str, str] = field(
        default_factory=lambda: MappingProxyType({}), compare=False
    )

    @classmethod
    def load(
        cls,
        home: Path,
        environ: Mapping[str, str],
        overrides: Mapping[str, object] = MappingProxyType({}),
    ) -> Self:
        """Read all settings of the node whose data folder is ``home``.

        ``overrides`` are by dotted name and win; their values are of the
        setting's type, or texts as in the environment.

        Raises:
            Misconfigured: Something is wrong: all of it, each with its remedy.
        """
        reading = _Reading()
        reading.add_file(home / FILE_NAME)
        reading.add_environment(environ)
        reading.add_overrides(overrides)
        credentials = environ.get(CREDENTIALS_VARIABLE)
        config = cls(
            home=home,
            credentials_folder=Path(credentials) if credentials else None,
            origins=MappingProxyType(dict(reading.origins)),
            **reading.sections(),
        )
        problems = [*reading.problems, *config.problems()]
        if problems:
            raise Misconfigured(*problems)
        return config

    def value(self, setting: Setting) -> object:
        """The value that a setting has here."""
        value: object = getattr(getattr(self, setting.section), setting.key)
        return value

    def problems(self) -> list[str]:
        """Say everything that is wrong, each with its remedy."""
        found = [
            f"{setting.name}: {problem}"
            for setting in settings()
            if (problem := setting.problem(self.value(setting))) is not None
        ]
        # Only settings that are right by themselves can be compared.
        wrong = {text.partition(":")[0] for text in found}
        return found + [
            text
            for text in self._contradictions()
            if text.partition(":")[0] not in wrong
        ]

    def _contradictions(self) -> Iterator[str]:
        """Yield what is wrong between settings."""
        for name in ("per_device", "per_address"):
            key = f"association_count_{name}_max"
            if getattr(self.dimse, key) > self.dimse.association_count_max:
                yield (
                    f"dimse.{key}: more than dimse.association_count_max; "
                    "lower it or raise that"
                )
        yield from self._contradictions_of_https()
        if self.limits.header_bytes_max > self.limits.object_bytes_max:
            yield "limits.header_bytes_max: more than limits.object_bytes_max; lower it"
        if self.dimse.unsafe_plaintext_listen == self.dimse.listen and not str(
            self.dimse.listen
        ).endswith(":0"):
            yield "dimse.unsafe_plaintext_listen: same as dimse.listen; change the port"
        if self.keys.source == "passphrase" and not self.keys.passphrase_file:
            yield (
                "keys.passphrase_file: missing; name the file that holds the "
                "passphrase, or set LEADGLASS_PASSPHRASE_FILE"
            )
        if self.keys.source == "credential" and self.credentials_folder is None:
            yield (
                "keys.source: no systemd credentials here (CREDENTIALS_DIRECTORY is "
                "not set); add LoadCredential= to the unit, or use another source"
            )
        for key, path in (
            ("master_file", self.master_key_file),
            ("passphrase_file", self.passphrase_file),
        ):
            if path is not None and _is_inside(path, self.home):
                yield (
                    f"keys.{key}: inside the data folder, where every backup takes it "
                    "along; move it out"
                )
        yield from self._contradictions_of_notices()
        yield from self._contradictions_of_review()
        yield from self._contradictions_of_syslog()
        yield from self._contradictions_of_feed()
        yield from self._contradictions_of_copies()
        yield from self._contradictions_of_oidc()
        yield from self._contradictions_of_ldap()

    def _contradictions_of_review(self) -> Iterator[str]:
        """Yield what is wrong between settings of the review."""
        if bool(self.review.webhook_url) != bool(self.review.webhook_secret_file):
            yield (
                "review.webhook_secret_file: URL and secret file go together; name both"
            )

    def _contradictions_of_notices(self) -> Iterator[str]:
        """Yield what is wrong between settings of notices."""
        notices = self.notices
        if notices.smtp_server:
            for key in ("sender", "recipients"):
                if not getattr(notices, key):
                    yield f"notices.{key}: missing; without it no mail can be sent"
        elif notices.recipients:
            yield "notices.smtp_server: missing; name the server that takes the mail"
        if bool(notices.user) != bool(notices.password_file):
            yield "notices.password_file: user and password file go together; name both"
        path = self.mail_password_file
        if path is not None and _is_inside(path, self.home):
            yield (
                "notices.password_file: inside the data folder, where every backup "
                "takes it along; move it out"
            )

    def _contradictions_of_syslog(self) -> Iterator[str]:
        """Yield what is wrong between settings of syslog."""
        if bool(self.syslog.certificate_file) != bool(self.syslog.key_file):
            yield "syslog.key_file: certificate and key go together; name both"
        path = self.syslog_key_file
        if path is not None and _is_inside(path, self.home):
            yield (
                "syslog.key_file: inside the data folder, where every backup takes it "
                "along; move it out"
            )

    def _contradictions_of_feed(self) -> Iterator[str]:
        """Yield what is wrong between settings of the feed."""
        if bool(self.feed.certificate_file) != bool(self.feed.key_file):
            yield "feed.key_file: certificate and key go together; name both"
        for name, path in (
            ("key_file", self.feed_key_file),
            ("token_file", self.feed_token_file),
        ):
            if path is not None and _is_inside(path, self.home):
                yield (
                    f"feed.{name}: inside the data folder, where every backup takes "
                    "it along; move it out"
                )

    def _contradictions_of_copies(self) -> Iterator[str]:
        """Yield what is wrong between settings of copies."""
        copies, secret = self.copies, self.copies_secret_file
        if copies.folder and _is_inside(Path(copies.folder), self.home):
            yield (
                "copies.folder: inside the data folder, where whoever rolls that back "
                "rolls the copies back; name one on another host"
            )
        if copies.s3_bucket and (secret is None or not copies.s3_access_key):
            yield "copies.s3_access_key: a bucket needs it, and copies.s3_secret_file"
        if copies.s3_bucket.endswith("/"):
            yield "copies.s3_bucket: write it without a slash at its end"
        if secret is not None and _is_inside(secret, self.home):
            yield (
                "copies.s3_secret_file: inside the data folder, where every backup "
                "takes it along; move it out"
            )

    def _contradictions_of_oidc(self) -> Iterator[str]:
        """Yield what is wrong between settings of single sign-on."""
        oidc = self.oidc
        if oidc.issuer and _issuer_or_none(oidc.issuer) is None:
            for key, what in (
                ("client_id", "the provider must know us by something"),
                ("client_secret_file", "without it no login can be finished"),
                ("group_roles", "without a table nobody is let in"),
            ):
                if not getattr(oidc, key):
                    yield f"oidc.{key}: missing; {what}"
            if not (oidc.second_factor_amr or oidc.second_factor_acr):
                yield (
                    "oidc.second_factor_amr: empty, and second_factor_acr too: nothing "
                    "would show a second factor; name what does"
                )
            if not self.https.listen:
                yield "oidc.issuer: there is no HTTPS to log in by; set https.listen"
        path = self.oidc_secret_file
        if path is not None and _is_inside(path, self.home):
            yield (
                "oidc.client_secret_file: inside the data folder, where every backup "
                "takes it along; move it out"
            )

    def _contradictions_of_ldap(self) -> Iterator[str]:
        """Yield what is wrong between settings of the directory."""
        ldap = self.ldap
        if ldap.url and _directory_or_none(ldap.url) is None:
            for key, what in (
                ("group_roles", "without a table nobody is let in"),
                ("unsafe_single_factor", "say why one proof is enough, or use [oidc]"),
            ):
                if not getattr(ldap, key):
                    yield f"ldap.{key}: missing; {what}"
            if bool(ldap.base_dn) == bool(ldap.user_dn_template):
                yield "ldap.base_dn: name this or user_dn_template, one of the two"
            if not self.https.listen:
                yield "ldap.url: there is no HTTPS to log in by; set https.listen"
            parts = urlsplit(ldap.url)
            if ldap.unsafe_plaintext and not (
                parts.scheme == "ldap" and parts.hostname in _LOOPBACK_NAMES
            ):
                yield (
                    "ldap.unsafe_plaintext: for ldap:// on this machine alone; leave "
                    "it out, and use TLS"
                )
        if bool(ldap.bind_dn) != bool(ldap.bind_password_file):
            yield (
                "ldap.bind_password_file: bind_dn and this file go together; name both"
            )
        path = self.ldap_password_file
        if path is not None and _is_inside(path, self.home):
            yield (
                "ldap.bind_password_file: inside the data folder, where every backup "
                "takes it along; move it out"
            )

    def _contradictions_of_https(self) -> Iterator[str]:
        """Yield what is wrong between settings of HTTPS and others."""
        https = self.https
        if https.connection_count_per_address_max > https.connection_count_max:
            yield (
                "https.connection_count_per_address_max: more than "
                "https.connection_count_max; lower it or raise that"
            )
        for key in ("session_idle_timeout_s", "session_fresh_s"):
            if getattr(https, key) > https.session_timeout_s:
                yield f"https.{key}: more than https.session_timeout_s; lower it"
        others = (self.dimse.listen, self.dimse.unsafe_plaintext_listen)
        if https.listen in others and https.listen and not https.listen.endswith(":0"):
            yield "https.listen: a DICOM listener has it; change the port"

    def weaknesses(self) -> list[str]:
        """Say what is allowed but weakens or widens the node, and why.

        Listed at start, by ``leadglass check`` and in every report.
        """
        found = [
            text
            for name, listen in (
                ("dimse.listen", self.dimse.listen),
                ("https.listen", self.https.listen),
            )
            if (text := _width(name, listen)) is not None
        ]
        found += [
            f"{setting.name} = {self.value(setting)}: {setting.help}"
            for setting in settings()
            if setting.is_unsafe and self.value(setting) != setting.default
        ]
        return found

    @property
    def master_key_file(self) -> Path:
        """Where the master key lies when ``keys.source`` is ``file``."""
        if self.keys.master_file:
            return Path(self.keys.master_file)
        return self.home.with_name(f"{self.home.name}.key")

    @property
    def passphrase_file(self) -> Path | None:
        """Where the passphrase is read from."""
        return Path(self.keys.passphrase_file) if self.keys.passphrase_file else None

    @property
    def credential_file(self) -> Path | None:
        """Where systemd put the master key; None when it gave no credentials."""
        if self.credentials_folder is None:
            return None
        return self.credentials_folder / self.keys.credential

    @property
    def listen(self) -> Address:
        """The address of DICOM over TLS."""
        return Address.parse(self.dimse.listen)

    @property
    def https_listen(self) -> Address | None:
        """The address of HTTPS; None: there is no such listener."""
        return Address.parse(self.https.listen) if self.https.listen else None

    @property
    def relying_party(self) -> str:
        """The host name that passkeys are for; empty: the node has no host name."""
        names = (each for each in self.tls.node_names if not _host_name_or_none(each))
        return self.https.relying_party or next((each for each in names if each), "")

    @property
    def password_list(self) -> Path | None:
        """Where the known passwords are; None: there is no list."""
        return Path(self.https.password_list) if self.https.password_list else None

    @property
    def mail_server(self) -> tuple[str, int] | None:
        """Host and port of the mail server; None: there is none."""
        host, _, port = self.notices.smtp_server.rpartition(":")
        return (host.strip("[]"), int(port)) if host else None

    @property
    def mail_password_file(self) -> Path | None:
        """Where the mail server's password is; None: no login."""
        path = self.notices.password_file
        return Path(path) if path else None

    @property
    def mail_ca_file(self) -> Path | None:
        """Whom to trust for the mail server; None: whom this system trusts."""
        return Path(self.notices.ca_file) if self.notices.ca_file else None

    @property
    def syslog_receivers(self) -> tuple[tuple[str, str, int], ...]:
        """Each receiver of audit records as it is named, its host and its port."""
        parts = ((name, *name.rpartition(":")) for name in self.syslog.receivers)
        return tuple(
            (name, host.strip("[]"), int(port)) for name, host, _, port in parts
        )

    @property
    def syslog_ca_file(self) -> Path | None:
        """Whom to trust for receivers; None: whom this system trusts."""
        return Path(self.syslog.ca_file) if self.syslog.ca_file else None

    @property
    def syslog_certificate_file(self) -> Path | None:
        """What the node shows to receivers; None: nothing."""
        path = self.syslog.certificate_file
        return Path(path) if path else None

    @property
    def syslog_key_file(self) -> Path | None:
        """The key of what the node shows to receivers; None: it shows nothing."""
        return Path(self.syslog.key_file) if self.syslog.key_file else None

    @property
    def record_receivers(self) -> tuple[str, ...]:
        """Everybody to whom audit records are sent, as the settings name them."""
        return (*self.syslog.receivers, *self.feed.receivers)

    @property
    def feed_ca_file(self) -> Path | None:
        """Whom to trust for receivers of FHIR; None: whom this system trusts."""
        return Path(self.feed.ca_file) if self.feed.ca_file else None

    @property
    def feed_certificate_file(self) -> Path | None:
        """What the node shows to receivers of FHIR; None: nothing."""
        path = self.feed.certificate_file
        return Path(path) if path else None

    @property
    def feed_key_file(self) -> Path | None:
        """The key of what the node shows to receivers of FHIR; None: nothing."""
        return Path(self.feed.key_file) if self.feed.key_file else None

    @property
    def feed_token_file(self) -> Path | None:
        """Where the bearer token for receivers of FHIR is; None: there is none."""
        return Path(self.feed.token_file) if self.feed.token_file else None

    @property
    def copies_secret_file(self) -> Path | None:
        """Where the secret of the bucket of copies is; None: there is none."""
        path = self.copies.s3_secret_file
        return Path(path) if path else None

    @property
    def oidc_secret_file(self) -> Path | None:
        """Where the secret is that the provider gave us; None: there is none."""
        path = self.oidc.client_secret_file
        return Path(path) if path else None

    @property
    def oidc_ca_file(self) -> Path | None:
        """Whom to trust for the provider; None: whom this system trusts."""
        return Path(self.oidc.ca_file) if self.oidc.ca_file else None

    @property
    def ldap_password_file(self) -> Path | None:
        """Where the node's password at the directory is; None: it has none."""
        path = self.ldap.bind_password_file
        return Path(path) if path else None

    @property
    def ldap_ca_file(self) -> Path | None:
        """Whom to trust for the directory; None: whom this system trusts."""
        return Path(self.ldap.ca_file) if self.ldap.ca_file else None

    @property
    def unsafe_plaintext_listen(self) -> Address | None:
        """The address of DICOM without TLS; None: there is no such listener."""
        text = self.dimse.unsafe_plaintext_listen
        return Address.parse(text) if text else None


def _width(name: str, text: str) -> str | None:
    """Say that a listener with TLS is heard by more than need to, if it is."""
    try:
        listen = Address.parse(text)
    except ValueError:
        return None  # none, or wrong, which is said elsewhere
    if listen.is_wildcard:
        return (
            f"{name} = {listen}: listens on every address of this machine, public ones "
            "too; name the one that the devices reach"
        )
    if not listen.is_sheltered:
        return (
            f"{name} = {listen}: a public address; certificates protect it, but a "
            "firewall or VPN in front keeps strangers from knocking at all"
        )
    return None


def _is_inside(path: Path, folder: Path) -> bool:
    """Whether a path, symbolic links followed, lies in a folder."""
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # a loop of links, a NUL character
        return True


class _Reading:
    """Collects values and everything that is wrong with them."""

    def __init__(self) -> None:
        self._known = {setting.name: setting for setting in settings()}
        self._variables = {each.environment: each for each in self._known.values()}
        self._values: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
        self.origins: dict[str, str] = {}
        self.problems: list[str] = []

    def sections(self) -> dict[str, Any]:
        """Build each section from what was read."""
        return {name: cls(**self._values[name]) for name, cls in SECTIONS.items()}

    def add_file(self, path: Path) -> None:
        """Take the settings file; a missing one says nothing."""
        table = self._read_toml(path)
        for section, content in table.items():
            if section in SECTIONS and isinstance(content, dict):
                for key, value in content.items():
                    self._add(f"{section}.{key}", value, FILE_NAME)
            elif section in SECTIONS:
                self.problems.append(
                    f"{section}: is a section; write [{section}] on a line of its own"
                )
            elif isinstance(content, dict):
                self.problems.append(
                    f"[{section}] ({FILE_NAME}): no such section"
                    f"{_hint(section, SECTIONS)}"
                )
            else:
                self._add(section, content, FILE_NAME)

    def _read_toml(self, path: Path) -> dict[str, Any]:
        try:
            with path.open("rb") as file:
                if os.fstat(file.fileno()).st_mode & 0o002:
                    self.problems.append(
                        f"{path}: anyone may change it; run `chmod o-w` on it"
                    )
                content = file.read(FILE_BYTES_MAX + 1)
            if len(content) > FILE_BYTES_MAX:
                self.problems.append(f"{path}: larger than 1 MiB; shorten it")
                return {}
            return tomllib.loads(content.decode())
        except FileNotFoundError:
            return {}
        except OSError as error:
            self.problems.append(
                f"{path}: cannot be read ({error.strerror}); let its owner read it"
            )
        except UnicodeDecodeError:
            self.problems.append(f"{path}: not UTF-8; save it as UTF-8")
        except tomllib.TOMLDecodeError as error:
            self.problems.append(f"{path}: not TOML: {error}; correct that line")
        return {}

    def add_environment(self, environ: Mapping[str, str]) -> None:
        """Take the variables that name settings.

        A variable of one of our sections that names none is a misspelling, and
        believed to be in force; others that begin with our name are not ours
        to judge.
        """
        ours = tuple(f"{ENVIRONMENT_PREFIX}{section}_".upper() for section in SECTIONS)
        for variable, text in sorted(environ.items()):
            setting = self._variables.get(variable)
            if setting is not None:
                self._add_text(setting, text, variable)
            elif variable.startswith(ours):
                self.problems.append(
                    f"{variable}: no such setting{_hint(variable, self._variables)}"
                )

    def add_overrides(self, overrides: Mapping[str, object]) -> None:
        """Take what the command line says."""
        for name, value in overrides.items():
            setting = self._known.get(name)
            if setting is not None and isinstance(value, str):
                self._add_text(setting, value, "command line")
            else:
                self._add(name, value, "command line")

    def _add_text(self, setting: Setting, text: str, origin: str) -> None:
        try:
            value = setting.kind.read(text)
        except ValueError:
            self._wrong_type(setting, origin)
        else:
            self._set(setting, value, origin)

    def _add(self, name: str, value: object, origin: str) -> None:
        setting = self._known.get(name)
        if setting is None:
            self.problems.append(
                f"{name} ({origin}): no such setting{_hint(name, self._known)}"
            )
            return
        try:
            accepted = setting.kind.accept(value)
        except ValueError:
            self._wrong_type(setting, origin)
        else:
            self._set(setting, accepted, origin)

    def _set(self, setting: Setting, value: object, origin: str) -> None:
        self._values[setting.section][setting.key] = value
        self.origins[setting.name] = origin

    def _wrong_type(self, setting: Setting, origin: str) -> None:
        self.problems.append(
            f"{setting.name} ({origin}): must be a {setting.type_name}; write it as "
            f"{setting.default_toml}"
        )


def _hint(name: str, known: Iterable[str]) -> str:
    """Find what a misspelt name most likely means."""
    same_key = [each for each in known if each.rpartition(".")[2] == name]
    near = same_key or difflib.get_close_matches(name, list(known), n=1)
    if near:
        return f"; did you mean {near[0]}?"
    return "; remove it, or see the settings that `leadglass check` lists"


# ── where things are ─────────────────────────────────────────────────────────


def home_folder(environ: Mapping[str, str]) -> Path:
    """Find the data folder: ``LEADGLASS_HOME``, else the user's data folder.

    XDG Base Directory Specification: a relative ``XDG_DATA_HOME`` is ignored.
    """
    if named := environ.get(HOME_VARIABLE):
        return Path(named).expanduser().absolute()
    data_home = Path(environ.get("XDG_DATA_HOME", ""))
    if not data_home.is_absolute():
        user_home = environ.get("HOME")
        data_home = (Path(user_home) if user_home else Path.home()) / ".local/share"
    return data_home / "leadglass"


def default_text() -> str:
    """Write the settings file with every setting, explained, at its default.

    Each line is commented out, so that a later release may better a default.
    """
    lines = ["# Settings of this Leadglass node. Remove the # to change one."]
    section = ""
    for setting in settings():
        if setting.section != section:
            section = setting.section
            first, *_ = (SECTIONS[section].__doc__ or "").splitlines()
            lines += ["", "", f"# {first}", f"[{section}]"]
        lines += ["", *_comment(setting), f"# {setting.key} = {setting.default_toml}"]
    return "\n".join(lines) + "\n"


def _comment(setting: Setting) -> Iterator[str]:
    """Wrap the help text of a setting to comment lines."""
    words = setting.help.split()
    if setting.choices:
        words += ["One", "of", f"{', '.join(setting.choices)}."]
    elif setting.low is not None and setting.high is not None:
        words += [f"{setting.low:.15g}", "to", f"{setting.high:.15g}."]
    line = "##"
    for word in words:
        if len(line) + 1 + len(word) > 79:
            yield line
            line = "##"
        line += f" {word}"
    yield line


def write_default(home: Path) -> Path:
    """Write the commented settings file, unless there is one; return its path."""
    path = home / FILE_NAME
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(default_text())
    return path
