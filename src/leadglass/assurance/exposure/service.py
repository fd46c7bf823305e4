"""What was found on a host: its open ports and what speaks there."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from leadglass.assurance.exposure.browsing import Answer, Browser
from leadglass.assurance.exposure.contact import Line
from leadglass.assurance.exposure.dicomfacts import DicomFacts
from leadglass.assurance.exposure.options import (
    DICOM_PORTS,
    HL7_PORTS,
    NEIGHBOURS,
    WEB_PORTS,
    Options,
)
from leadglass.assurance.exposure.reach import Reach
from leadglass.assurance.exposure.speaking import ANY, Asking, knock
from leadglass.assurance.exposure.targets import Target
from leadglass.assurance.exposure.tlsfacts import TLSFacts, lenient
from leadglass.assurance.exposure.webfacts import WebFacts


class Kind(StrEnum):
    """What speaks on a port."""

    DICOM = "dicom"
    DICOM_TLS = "dicom over tls"
    HTTP = "http"
    HTTPS = "https"
    TLS = "tls"
    HL7 = "hl7"
    NEIGHBOUR = "neighbour"
    OTHER = "other"


Try = Callable[["Service"], bool]
# A PACS has a dozen ports; a host with more of ours open answers on every port.
TRAP_PORTS: Final = 20


def place_of(address: str, port: int) -> str:
    """Return ``address:port``; IPv6 stands in brackets (RFC 3986 §3.2.2)."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


@dataclass(slots=True)
class Service:
    """One open port.

    Attributes:
        port: Where.
        kind: What speaks there.
        dicom: Asks it, if it speaks DICOM.
        web: Asks it, if it speaks HTTP.
        tls: Asks it, if it speaks TLS.
    """

    host: "Host"
    port: int
    kind: Kind = Kind.OTHER
    dicom: DicomFacts | None = None
    web: WebFacts | None = None
    tls: TLSFacts | None = None

    @property
    def where(self) -> str:
        """``address:port``."""
        return place_of(self.host.target.host, self.port)


@dataclass(slots=True)
class Host:
    """One host.

    Attributes:
        target: As it was named.
        line: The way to it.
        options: Of the scan.
        reach: From where it is reached, or is judged to be.
        ports: Those that are open.
        services: One for each of them.
    """

    target: Target
    line: Line
    options: Options
    reach: Reach
    ports: tuple[int, ...] = ()
    services: list[Service] = field(default_factory=list)

    @property
    def is_trap(self) -> bool:
        """Whether it takes connections nearly everywhere (NET-09)."""
        return len(self.ports) >= TRAP_PORTS


def survey(host: Host, port: int) -> Service:
    """Find out what speaks on a port: strictly, by well-formed answers alone."""
    service = Service(host, port)
    tries: tuple[Try, ...] = _TRIES_WEB if port in WEB_PORTS else _TRIES
    if port in NEIGHBOURS and not host.target.ports:
        tries = ()
    elif port in HL7_PORTS and not host.target.ports:
        tries = (_try_dicom, _try_tls)
    for attempt in tries:
        if attempt(service):
            return service
    if port in NEIGHBOURS:
        service.kind = Kind.NEIGHBOUR
    elif port in HL7_PORTS:
        service.kind = Kind.HL7
    return service


def _try_dicom(service: Service, tls: ssl.SSLContext | None = None) -> bool:
    host = service.host
    first = knock(host.line, service.port, Asking(ANY), tls)
    if not first.is_dicom:
        return False
    service.kind = Kind.DICOM if tls is None else Kind.DICOM_TLS
    service.dicom = DicomFacts(host.line, service.port, tls, host.options, first)
    return True


def _try_http(service: Service, tls: ssl.SSLContext | None = None) -> bool:
    host = service.host
    browser = Browser(host.line, service.port, tls)
    root: Answer = browser.get("/")
    if not root.is_http:
        browser.close()
        return False
    service.kind = Kind.HTTP if tls is None else Kind.HTTPS
    service.web = WebFacts(browser, host.options, root, is_tls=tls is not None)
    return True


def _try_tls(service: Service) -> bool:
    host = service.host
    facts = TLSFacts(host.line, service.port, host.options.trust)
    if not facts.is_spoken:
        return False
    service.tls, service.kind = facts, Kind.TLS
    context = lenient()
    inner = (
        (_try_dicom, _try_http)
        if service.port in DICOM_PORTS or service.port not in WEB_PORTS
        else (_try_http, _try_dicom)
    )
    for attempt in inner:
        if attempt(service, context):
            break
    return True


_TRIES: Final = (_try_dicom, _try_tls, _try_http)
_TRIES_WEB: Final = (_try_http, _try_tls, _try_dicom)
