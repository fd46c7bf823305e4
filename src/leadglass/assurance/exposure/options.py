"""How a scan is made: everything that its user may say."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from leadglass.assurance.exposure.reach import Reach
from leadglass.dicom.aetitle import AETitle
from leadglass.errors import BadData

# Where DICOM, its gateways and its viewers listen (NET-01), and HL7 (NET-07).
DICOM_PORTS: Final = (104, 2345, 2761, 2762, 4242, 11112)
WEB_PORTS: Final = (80, 443, 3000, 8042, 8043, 8080, 8443)
HL7_PORTS: Final = (2575, 6661)
# Plaintext is not expected here at all (PS3.15 §B.12; 2761 is ISCL's, 2762 TLS's).
TLS_PORTS: Final = (2761, 2762, 8443, 443, 8043)
# Services beside a PACS that hold the same data, with what they are (NET-08).
NEIGHBOURS: Final[Mapping[int, str]] = MappingProxyType(
    {
        21: "FTP", 139: "SMB", 389: "LDAP", 445: "SMB", 873: "rsync", 2049: "NFS",
        3306: "MySQL", 5432: "PostgreSQL", 6379: "Redis", 9000: "object store",
        9200: "Elasticsearch", 9990: "WildFly console", 27017: "MongoDB",
    }
)  # fmt: skip
PORTS: Final = (*DICOM_PORTS, *WEB_PORTS, *HL7_PORTS, *NEIGHBOURS)
PORTS_MAX: Final = 256

# Where nothing else is said: a device that must not be troubled (rules of conduct).
RATE_PER_S: Final = 2.0
# Loopback is this machine: its owner is who scans, and no modality dies of it.
RATE_OWN_PER_S: Final = 1_000.0
# More is a load test, not a scan.
RATE_MAX_PER_S: Final = 50.0
# Eight times the slowest answer that was seen on a hospital's network.
TIMEOUT_S: Final = 2.0
# At two connections per second a host takes 14 s to be silent: 254 of them, a minute.
HOSTS_AT_ONCE: Final = 64
IDLE_S_MAX: Final = 180.0


@dataclass(frozen=True, slots=True)
class Options:
    """What the user of the scanner says.

    Attributes:
        ports: Where to look on each host that names none itself.
        called: AE titles of the targets, if the owner knows them.
        peers: AE titles that the targets know: AE-06 claims them from here.
        reach: Judge as if reachable from there; None: by each address.
        rate_per_s: Connections per second and host; None: 2, on loopback more.
        timeout_s: For each answer.
        idle_s: How long AE-11 waits for an idle connection to be closed; 0: not.
        trust: Whom certificates must chain to (TLS-07); None: the system's roots.
        client: Offers a valid certificate of another device (TLS-11).
        expects_identity: The policy demands a user identity (AE-08).
        may_download: The owner agrees to one image being fetched and forgotten.
        may_write: The owner agrees to one invented instance being stored (DM-09).
    """

    ports: tuple[int, ...] = PORTS
    called: tuple[AETitle, ...] = ()
    peers: tuple[AETitle, ...] = ()
    reach: Reach | None = None
    rate_per_s: float | None = None
    timeout_s: float = TIMEOUT_S
    idle_s: float = 0.0
    trust: ssl.SSLContext | None = field(default=None, compare=False)
    client: ssl.SSLContext | None = field(default=None, compare=False)
    expects_identity: bool = False
    may_download: bool = False
    may_write: bool = False

    def __post_init__(self) -> None:
        if not 1 <= len(self.ports) <= PORTS_MAX:
            raise BadData(f"name 1 to {PORTS_MAX} ports")
        if any(not 1 <= port <= 0xFFFF for port in self.ports):
            raise BadData("a port is a number from 1 to 65535")
        if self.rate_per_s is not None and not 0 < self.rate_per_s <= RATE_MAX_PER_S:
            raise BadData(f"at most {RATE_MAX_PER_S:g} connections per second and host")
        if not 0.05 <= self.timeout_s <= 30:
            raise BadData("answers are waited for 0.05 to 30 seconds")
        if not 0 <= self.idle_s <= IDLE_S_MAX:
            raise BadData(f"idle connections are waited for {IDLE_S_MAX:g} s at most")

    def rate(self, reach: Reach) -> float:
        """Return how many connections per second a host gets."""
        if self.rate_per_s is not None:
            return self.rate_per_s
        return RATE_OWN_PER_S if reach is Reach.OWN else RATE_PER_S
