"""Which product it is, by what it tells; what is known of its versions; what to set.

Versions are compared as numbers. A distribution may have mended a version without
raising its number, so a finding by version says that it goes by the number.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from leadglass.assurance.exposure.safety import clean
from leadglass.assurance.finding import Severity

Version = tuple[int, ...]
_NUMBERS: Final = re.compile(r"\d{1,6}(?:\.\d{1,6}){0,3}")
# DCMTK writes 3.6.7 as 367, and 3.6.10 would not fit: it has not come to that.
_DCMTK: Final = re.compile(r"OFFIS_DCMTK_(\d)(\d)(\d+)")


@dataclass(frozen=True, slots=True)
class Product:
    """What a service says it is.

    Attributes:
        name: As its makers write it.
        version: Empty if it is not told.
    """

    name: str
    version: Version = ()

    @property
    def text(self) -> str:
        """As people read it."""
        return f"{self.name} {'.'.join(map(str, self.version))}".strip()


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is known of versions below one.

    Attributes:
        product: Name.
        below: The first version that is better.
        severity: The worst of them.
        ids: CVE numbers.
    """

    product: str
    below: Version
    severity: Severity
    ids: tuple[str, ...]


FLAWS: Final = (
    Flaw("Orthanc", (1, 5, 8), Severity.CRITICAL, ("CVE-2025-0896",)),
    Flaw(
        "Orthanc", (1, 12, 11), Severity.CRITICAL,
        tuple(f"CVE-2026-{number}" for number in range(5437, 5446)),
    ),
    Flaw(
        "DCMTK", (3, 6, 7), Severity.HIGH,
        ("CVE-2022-2119", "CVE-2022-2120", "CVE-2022-2121"),
    ),
    Flaw(
        "DCMTK", (3, 6, 9), Severity.HIGH,
        ("CVE-2024-34509", "CVE-2024-47796", "CVE-2024-52333"),
    ),
    Flaw(
        "DCMTK", (3, 7, 1), Severity.CRITICAL,
        ("CVE-2026-50003", "CVE-2026-52868", "CVE-2026-50254", "CVE-2026-35505"),
    ),
    Flaw(
        "Sante PACS Server", (4, 2, 3), Severity.CRITICAL,
        ("CVE-2025-53948", "CVE-2025-54156", "CVE-2025-54862", "CVE-2025-54759"),
    ),
)  # fmt: skip

# The oldest version that somebody still mends (VUL-02).
SUPPORTED: Final[Mapping[str, Version]] = MappingProxyType(
    {"DCMTK": (3, 6, 9), "Orthanc": (1, 12, 11), "dcm4chee": (5,)}
)
# VUL-03: titles that products come with.
DEFAULT_TITLES: Final = frozenset(
    {"ORTHANC", "DCM4CHEE", "CONQUESTSRV1", "MYORTHANC", "MyOrthanc", "COMMON",
     "TINY_PACS", "STORESCP", "DCMQRSCP"}
)  # fmt: skip

# Product, then beginning of a check's id; the longest beginning counts.
REMEDIES: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "Orthanc": {
            "AE-01": 'orthanc.json: "DicomCheckCalledAet": true.',
            "AE-02": 'orthanc.json: "DicomAlwaysAllowEcho": false, '
            '"DicomCheckModalityHost": true; list peers in "DicomModalities".',
            "AE-06": 'orthanc.json: "DicomCheckModalityHost": true.',
            "DM-02": 'orthanc.json: "DicomAlwaysAllowFind": false.',
            "DM-03": 'orthanc.json: "DicomAlwaysAllowFind": false.',
            "DM-04": 'orthanc.json: "DicomAlwaysAllowFindWorklist": false.',
            "DM-06": 'orthanc.json: "LimitFindResults": 100.',
            "DM-09": 'orthanc.json: "DicomAlwaysAllowStore": false.',
            "NET-04": 'orthanc.json: "DicomTlsEnabled": true, '
            '"DicomTlsRemoteCertificateRequired": true.',
            "WEB-01": 'orthanc.json: "SslEnabled": true with "SslCertificate", or '
            "HTTPS in front of it.",
            "WEB-21": 'orthanc.json: "ExecuteLuaEnabled": false.',
        },
        "DCMTK": {
            "AE-02": "dcmqrscp.cfg: name hosts in HostTable and use them as Peers "
            "instead of ANY; start it with --tls-enable and --verify-peer-cert.",
            "DM-02": "dcmqrscp.cfg: name Peers of each AE instead of ANY.",
            "DM-03": "dcmqrscp.cfg: name Peers of each AE instead of ANY.",
            "NET-04": "Start it with --enable-tls (+tls) and --require-peer-cert.",
        },
        "tiny-pacs": {
            "AE-02": "Switch the access component on, and list known devices.",
            "NET-04": "Put stunnel with verifyPeer in front of it.",
        },
        "dcm4chee": {
            "AE-02": "dcm4chee: set Accepted Calling AE Titles of each Network AE.",
            "NET-04": "dcm4chee: use the connection dicom-tls alone, with "
            "TLS Need Client Authentication.",
        },
    }
)
# Whose toolkit a product is made with: its remedies come second.
_CLASS_UIDS: Final = (
    ("1.2.276.0.7230010.3.0.3.6.", "DCMTK"),
    ("1.2.40.0.13.1.", "dcm4chee"),
    ("1.2.826.0.1.3680043.9.3811.", "pynetdicom"),
    ("1.2.826.0.1.3680043.8.641", "Orthanc"),
    ("1.2.826.0.1.3680043.2.135.", "Conquest"),
    ("1.2.826.0.1.3680043.8.498.1", "pynetdicom2"),
)


def of_association(implementation: str, version: str) -> Product | None:
    """Return the product that an A-ASSOCIATE-AC tells of."""
    upper = version.upper()
    if found := _DCMTK.search(upper):
        return Product("DCMTK", tuple(int(each) for each in found.groups()))
    for word, name in _WORDS.items():
        if word in upper:
            return Product(name, numbers_in(upper.partition(word)[2]))
    for root, name in _CLASS_UIDS:
        if implementation.startswith(root):
            return Product(name)
    return None


_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ORTHANC": "Orthanc", "DCM4CHE": "dcm4chee", "PYNETDICOM2": "pynetdicom2",
        "PYNETDICOM": "pynetdicom", "TINY": "tiny-pacs", "CONQUEST": "Conquest",
        "SANTE": "Sante PACS Server", "FO-DICOM": "fo-dicom", "LEADGLASS": "Leadglass",
    }
)  # fmt: skip


def of_system(system: Mapping[str, Any]) -> Product | None:
    """Return Orthanc with its version, as ``/system`` tells it."""
    if not {"DicomAet", "Version"} <= set(system):
        return None
    return Product("Orthanc", numbers_in(clean(str(system["Version"]), 40)))


def of_header(server: str) -> Product | None:
    """Return the product that a ``Server`` header tells of."""
    for word, name in (("Orthanc", "Orthanc"), ("Sante", "Sante PACS Server")):
        if word.lower() in server.lower():
            return Product(name, numbers_in(server))
    return None


def numbers_in(text: str) -> Version:
    """Return the first version number in a text."""
    found = _NUMBERS.search(text)
    return tuple(int(each) for each in found.group().split(".")) if found else ()


def flaws_of(product: Product) -> tuple[Flaw, ...]:
    """Return what is known of this version; nothing, if it is not told."""
    if not product.version:
        return ()
    return tuple(
        each
        for each in FLAWS
        if each.product == product.name and product.version < each.below
    )


def remedy_for(products: tuple[Product, ...], check: str, default: str) -> str:
    """Return what to set in this very product."""
    for product in products:
        told = REMEDIES.get(product.name, {})
        fitting = [begin for begin in told if check.startswith(begin)]
        if fitting:
            return f"{told[max(fitting, key=len)]} {default}"
    return default
