"""Whether TLS protects, and against whom."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from leadglass.assurance.exposure.checks.check import Check, Level, Sighting
from leadglass.assurance.exposure.hello import VERSIONS
from leadglass.assurance.exposure.safety import clean
from leadglass.assurance.exposure.service import Kind, Service
from leadglass.assurance.exposure.speaking import ANY, Asking, knock
from leadglass.assurance.exposure.tlsfacts import throwaway
from leadglass.assurance.finding import Severity

_P, _S = Level.PASSIVE, Level.SAFE
_B12: Final = "PS3.15 §B.12"


def _versions(service: Service) -> Iterator[Sighting]:
    if service.tls is None:
        return
    told = [f"{each.version} {each.suite}" for each in service.tls.handshakes]
    if service.tls.modern is not None and not any("1.2" in each for each in told):
        told.append(f"{service.tls.modern.text}, by its first answer")
    if told:
        yield Sighting(clean(", ".join(told)))


def _old(service: Service) -> Iterator[Sighting]:
    if service.tls is not None and service.tls.old:
        told = ", ".join(VERSIONS[each.version] for each in service.tls.old)
        yield Sighting(f"taken: {told}")


def _weak(service: Service) -> Iterator[Sighting]:
    if service.tls is not None and service.tls.weak is not None:
        yield Sighting(f"taken: {service.tls.weak.text}")


def _secretless(service: Service) -> Iterator[Sighting]:
    if service.tls is not None and service.tls.secretless is not None:
        yield Sighting(f"taken: {service.tls.secretless.text}")


def _profile(service: Service) -> Iterator[Sighting]:
    facts = service.tls
    if facts is None:
        return
    against = [VERSIONS[each.version] for each in facts.old]
    if facts.weak is not None:
        against.append(facts.weak.text)
    if facts.secretless is not None:
        against.append(facts.secretless.text)
    if not facts.handshakes and facts.modern is None:
        against.append("neither TLS 1.2 nor TLS 1.3 of the profile")
    if against:
        yield Sighting(f"neither BCP 195 profile, because of {', '.join(against)}")
        return
    only_13 = facts.modern is None
    yield Sighting(
        "only what the profile allows" + (", TLS 1.3 alone" if only_13 else ""),
        severity=Severity.INFO, title="TLS conforms to the BCP 195 profile (B.12)",
    )  # fmt: skip


def _dates(service: Service) -> Iterator[Sighting]:
    made = service.tls.certificate if service.tls is not None else None
    if made is None:
        return
    now = datetime.now(UTC)
    if made.not_valid_after_utc < now:
        yield Sighting("the certificate has expired")
    elif made.not_valid_before_utc > now:
        yield Sighting("the certificate is not valid yet")


def _trust(service: Service) -> Iterator[Sighting]:
    if service.tls is not None and service.tls.distrust:
        yield Sighting(f"the certificate is {service.tls.distrust}")


def _keys(service: Service) -> Iterator[Sighting]:
    if service.tls is not None and service.tls.weak_key:
        yield Sighting(service.tls.weak_key)


def _no_client(service: Service) -> Iterator[Sighting]:
    if service.kind is Kind.DICOM_TLS and service.dicom is not None:
        door = service.dicom.first.door
        yield Sighting(f"without a client certificate the association was {door}")


def _any_client(service: Service) -> Iterator[Sighting]:
    if service.kind is not Kind.TLS:
        return
    called = next(iter(service.host.options.called), ANY)
    found = knock(service.host.line, service.port, Asking(called), throwaway())
    if found.is_dicom:
        yield Sighting(
            f"with a self-signed certificate the association was {found.door}"
        )


def _other_client(service: Service) -> Iterator[Sighting]:
    options = service.host.options
    if options.client is None or service.kind not in {Kind.TLS, Kind.DICOM_TLS}:
        return
    called = next(iter(options.called), ANY)
    found = knock(service.host.line, service.port, Asking(called), options.client)
    if found.is_open:
        yield Sighting("the certificate of one device was taken for title EXPOSCAN")


TLS: Final = (
    Check(
        "TLS-01", _P, Severity.INFO, "What TLS is agreed",
        "handshakes with TLS 1.3 and TLS 1.2", "Nothing.", (_B12,), _versions,
    ),
    Check(
        "TLS-02", _P, Severity.HIGH, "A version of TLS that is forbidden is taken",
        "ClientHello of TLS 1.1, TLS 1.0, SSL 3.0",
        "Allow TLS 1.2 and 1.3 only.", ("RFC 8996", _B12), _old,
    ),
    Check(
        "TLS-03", _P, Severity.MEDIUM, "A weak cipher suite is taken",
        "ClientHello with suites of no forward secrecy or authenticated encryption",
        "Allow ECDHE with AES-GCM or ChaCha20-Poly1305 only.",
        ("RFC 9325 §4.2", _B12), _weak,
    ),
    Check(
        "TLS-04", _P, Severity.CRITICAL,
        "A cipher suite that protects nothing is taken",
        "ClientHello with NULL, anonymous and export suites",
        "Remove NULL, anonymous and export suites.", ("RFC 9325 §4.1",), _secretless,
    ),
    Check(
        "TLS-05", _P, Severity.MEDIUM, "TLS conforms to no profile in force",
        "what TLS-01 to TLS-04 sent", "Set the BCP 195 profile (B.12 or B.13).",
        (_B12, "PS3.15 §B.13"), _profile,
    ),
    Check(
        "TLS-06", _P, Severity.HIGH, "The certificate is not valid today",
        "handshake", "Renew it, and watch its end.", ("RFC 5280 §4.1.2.5",), _dates,
    ),
    Check(
        "TLS-07", _P, Severity.MEDIUM, "The certificate is not to be trusted",
        "handshake that verifies",
        "Use a certificate of an authority that the callers know; name your own with "
        "--ca.", ("RFC 5280 §6", "RFC 9525"), _trust,
    ),
    Check(
        "TLS-08", _P, Severity.MEDIUM, "A key is too short, or a signature too old",
        "handshakes", "RSA of 3072 bits or EC P-256, SHA-256, DHE of 2048 bits.",
        ("PS3.15 §B.13", "NIST SP 800-57 Part 1 §5.6"), _keys,
    ),
    Check(
        "TLS-09", _P, Severity.HIGH,
        "DICOM over TLS is spoken without a client certificate",
        "A-ASSOCIATE-RQ over TLS without one", "Demand and verify client certificates.",
        ("45 CFR 164.312(d)", _B12), _no_client,
    ),
    Check(
        "TLS-10", _S, Severity.CRITICAL, "Any client certificate is taken",
        "A-ASSOCIATE-RQ over TLS with a throw-away certificate",
        "Verify client certificates against your own authority.",
        ("45 CFR 164.312(d)", "RFC 5280 §6"), _any_client,
    ),
    Check(
        "TLS-11", _S, Severity.HIGH, "A certificate is not bound to its AE title",
        "A-ASSOCIATE-RQ with another device's valid certificate",
        "Bind each title to its certificate.", ("45 CFR 164.312(d)",), _other_client,
        needs="--client-cert and --client-key",
    ),
)  # fmt: skip
