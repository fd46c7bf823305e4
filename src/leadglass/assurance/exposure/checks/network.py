"""What is open at all."""

from collections.abc import Iterator
from typing import Final

from leadglass.assurance.exposure.checks.check import Check, Level, Sighting
from leadglass.assurance.exposure.options import NEIGHBOURS, TLS_PORTS
from leadglass.assurance.exposure.reach import Reach
from leadglass.assurance.exposure.service import Kind, Service
from leadglass.assurance.finding import Severity

_P = Level.PASSIVE
_CLEAR: Final = frozenset({Kind.DICOM})
_B12: Final = "PS3.15 §B.12"


def _open(service: Service) -> Iterator[Sighting]:
    yield Sighting(f"port {service.port} takes connections: {service.kind}")


def _global(service: Service) -> Iterator[Sighting]:
    if service.host.target.reach is Reach.INTERNET:
        yield Sighting("the address is routed globally")


def _dicom(service: Service) -> Iterator[Sighting]:
    if service.dicom is not None:
        door = service.dicom.first.door
        yield Sighting(f"A-ASSOCIATE-RQ was answered with a well-formed PDU: {door}")


def _clear(service: Service) -> Iterator[Sighting]:
    if service.kind in _CLEAR and service.port not in TLS_PORTS:
        yield Sighting("the association was negotiated in plaintext")


def _clear_on_tls_port(service: Service) -> Iterator[Sighting]:
    if service.kind in _CLEAR and service.port in TLS_PORTS:
        yield Sighting(f"plaintext was answered on port {service.port}")


def _beside(service: Service) -> Iterator[Sighting]:
    if service.kind not in _CLEAR:
        return
    secured = [
        each.port for each in service.host.services if each.kind is Kind.DICOM_TLS
    ]
    if secured:
        shown = ", ".join(str(port) for port in secured)
        yield Sighting(f"plaintext beside TLS on {shown}")


def _hl7(service: Service) -> Iterator[Sighting]:
    if service.kind is Kind.HL7:
        yield Sighting(f"port {service.port} (MLLP) is open and speaks no TLS")


def _neighbour(service: Service) -> Iterator[Sighting]:
    if service.kind is not Kind.NEIGHBOUR:
        return
    name = NEIGHBOURS[service.port]
    is_worse = name in {"SMB", "NFS", "rsync", "FTP", "Redis", "MongoDB"}
    yield Sighting(
        f"port {service.port} ({name}) is open",
        severity=Severity.HIGH if is_worse else Severity.MEDIUM,
        details={"service": name},
    )


def _trap(service: Service) -> Iterator[Sighting]:
    if service.host.is_trap and service.port == service.host.ports[0]:
        yield Sighting(
            f"{len(service.host.ports)} of the ports that were tried are open; what "
            "answers everywhere is hardly a PACS"
        )


NETWORK: Final = (
    Check(
        "NET-01", _P, Severity.INFO, "A port is open", "TCP connect",
        "Close what nobody needs.", ("NIST SP 800-115 §4.1",), _open,
    ),
    Check(
        "NET-02", _P, Severity.HIGH, "The address is reachable from the Internet",
        "nothing", "Move it behind a VPN or a gateway; no PACS belongs there.",
        ("45 CFR 164.312(e)(1)",), _global,
    ),
    Check(
        "NET-03", _P, Severity.INFO, "DICOM is spoken here",
        "A-ASSOCIATE-RQ for Verification", "Nothing, if it is meant to.",
        ("PS3.8 §9.3",), _dicom,
    ),
    Check(
        "NET-04", _P, Severity.HIGH, "DICOM is spoken without TLS",
        "A-ASSOCIATE-RQ in plaintext",
        "Switch TLS on with client certificates; bar plaintext in the firewall until "
        "then.", ("45 CFR 164.312(e)(1)", _B12), _clear,
    ),
    Check(
        "NET-05", _P, Severity.HIGH, "A port that is TLS's answers in plaintext",
        "A-ASSOCIATE-RQ in plaintext on 2761 and 2762",
        "Let this port demand TLS.", (_B12,), _clear_on_tls_port,
    ),
    Check(
        "NET-06", _P, Severity.MEDIUM, "Plaintext is offered beside TLS",
        "both kinds of association",
        "Close the plaintext listener, or bind it to the devices that need it.",
        (_B12,), _beside,
    ),
    Check(
        "NET-07", _P, Severity.MEDIUM, "HL7 is taken without TLS",
        "TCP connect and ClientHello to 2575 and 6661",
        "Put MLLP behind TLS with client certificates.",
        ("CVE-2025-53948", "45 CFR 164.312(e)(1)"), _hl7,
    ),
    Check(
        "NET-08", _P, Severity.MEDIUM, "A service beside the PACS is open",
        "TCP connect to ports of file shares, databases and consoles",
        "Let nobody but the PACS reach it.", ("NIST SP 800-41 §4.1",), _neighbour,
    ),
    Check(
        "NET-09", _P, Severity.INFO, "The host takes connections on nearly every port",
        "what NET-01 sent", "Look at findings of this host with doubt.",
        (), _trap,
    ),
)  # fmt: skip
