"""Who is let in."""

import time
from collections.abc import Iterator
from typing import Final

from leadglass.assurance.exposure.checks.check import Check, Level, Sighting
from leadglass.assurance.exposure.dicomfacts import (
    AVAILABILITY,
    MPPS,
    REJECTIONS,
    SERVICES,
    TITLES,
    UPS_PUSH,
)
from leadglass.assurance.exposure.safety import clean
from leadglass.assurance.exposure.service import Kind, Service
from leadglass.assurance.exposure.speaking import REJECTED_FOR, Asking, Door
from leadglass.assurance.finding import Severity
from leadglass.errors import LeadglassError

_P, _S = Level.PASSIVE, Level.SAFE


def _any_called(service: Service) -> Iterator[Sighting]:
    if service.dicom is not None and service.dicom.any_called.is_open:
        yield Sighting("a random called AE title was accepted")


def _any_calling(service: Service) -> Iterator[Sighting]:
    facts = service.dicom
    if facts is not None and facts.door is not None and facts.any_calling.is_open:
        yield Sighting("a random calling AE title was accepted")


def _guessed(service: Service) -> Iterator[Sighting]:
    facts = service.dicom
    if facts is None or facts.any_called.is_open or facts.guessed is None:
        return
    title = facts.guessed.called
    yield Sighting(
        f"title {title} of a list of {len(TITLES)} was accepted",
        details={"title": str(title)},
    )


def _oracle(service: Service) -> Iterator[Sighting]:
    facts = service.dicom
    if facts is None:
        return
    for each in (facts.any_called, facts.first):
        if each.reason is not None and each.reason in REJECTED_FOR:
            yield Sighting(f"a rejection tells: {REJECTED_FOR[each.reason]}")
            return


def _throttle(service: Service) -> Iterator[Sighting]:
    facts = service.dicom
    if facts is None or facts.any_called.door is not Door.REJECTED:
        return
    if facts.rejections == REJECTIONS:
        yield Sighting(f"{REJECTIONS} wrong titles in a row were answered alike")


def _peer(service: Service) -> Iterator[Sighting]:
    facts = service.dicom
    if facts is None:
        return
    for title in service.host.options.peers:
        if facts.knock(Asking(facts.called, title)).is_open:
            yield Sighting(
                "the title of a known device was accepted from this address",
                details={"title": str(title)},
            )
            return


def _identity(service: Service) -> Iterator[Sighting]:
    facts = service.dicom
    if facts is None or facts.door is None:
        return
    found = facts.false_identity
    if found.is_open:
        told = "with" if found.identity_answered else "without"
        is_worse = facts.any_calling.is_open
        yield Sighting(
            f"a wrong passcode was accepted, {told} a positive response",
            severity=Severity.HIGH if is_worse else Severity.MEDIUM,
        )


def _no_identity(service: Service) -> Iterator[Sighting]:
    facts = service.dicom
    wanted = service.host.options.expects_identity
    if facts is not None and wanted and facts.door is not None:
        yield Sighting("an association without a user identity was accepted")


def _toolkit(service: Service) -> Iterator[Sighting]:
    facts = service.dicom
    if facts is not None and facts.door is not None and facts.door.implementation:
        told = f"{facts.door.version} ({facts.door.implementation})"
        yield Sighting(
            clean(told),
            details={
                "version": clean(facts.door.version, 16),
                "implementation": facts.door.implementation,
            },
        )


def _idle(service: Service) -> Iterator[Sighting]:
    limit = service.host.options.idle_s
    if not limit or service.kind not in {Kind.DICOM, Kind.DICOM_TLS}:
        return
    try:
        wire = service.host.line.dial(service.port)
    except LeadglassError:
        return
    try:
        wire.until = time.monotonic() + limit
        wire.timeout_s = limit
        wire.read()
    except LeadglassError:
        yield Sighting(f"a connection that sent nothing was kept for {limit:g} s")
    finally:
        wire.close()


def _surface(service: Service) -> Iterator[Sighting]:
    facts = service.dicom
    if facts is None or not facts.surface.is_open:
        return
    taken = [name for uid, name in SERVICES.items() if uid in facts.surface.taken]
    if facts.stores:
        taken.append(f"storage of {len(facts.stores)} classes")
    yield Sighting(
        f"offered to a stranger: {', '.join(taken) or 'nothing'}",
        details={"services": taken},
    )


def _workflow(service: Service) -> Iterator[Sighting]:
    facts = service.dicom
    if facts is None:
        return
    taken = [
        SERVICES[e] for e in (UPS_PUSH, MPPS, AVAILABILITY) if e in facts.surface.taken
    ]
    if taken:
        yield Sighting(f"offered to a stranger: {', '.join(taken)}")


_NAMED: Final = "Accept only enrolled peers: title, address and certificate together."

ASSOCIATION: Final = (
    Check(
        "AE-01", _P, Severity.MEDIUM, "Any called AE title is accepted",
        "A-ASSOCIATE-RQ to a random title", _NAMED, ("PS3.8 §9.3.4",), _any_called,
    ),
    Check(
        "AE-02", _P, Severity.HIGH, "Any calling AE title is accepted",
        "A-ASSOCIATE-RQ from a random title", _NAMED,
        ("PS3.8 §9.3.4", "45 CFR 164.312(d)"), _any_calling,
    ),
    Check(
        "AE-03", _S, Severity.MEDIUM, "The AE title is one that products ship with",
        "A-ASSOCIATE-RQ to at most 60 titles, until one is right", _NAMED,
        ("PS3.8 §9.3.4",), _guessed,
    ),
    Check(
        "AE-04", _P, Severity.LOW, "Rejections tell which title was wrong",
        "A-ASSOCIATE-RQ to wrong titles",
        "Reject without a reason (PS3.8 Table 9-21, reason 1).",
        ("PS3.8 Table 9-21",), _oracle,
    ),
    Check(
        "AE-05", _S, Severity.LOW, "Guessing titles is not slowed down",
        "30 A-ASSOCIATE-RQ to wrong titles",
        "Count failures by address, and make them wait.", ("NIST SP 800-53 AC-7",),
        _throttle,
    ),
    Check(
        "AE-06", _S, Severity.HIGH, "A known title is accepted from any address",
        "A-ASSOCIATE-RQ from a title that the owner names", _NAMED,
        ("45 CFR 164.312(d)",), _peer, needs="--peer TITLE",
    ),
    Check(
        "AE-07", _S, Severity.MEDIUM, "A wrong user identity is accepted",
        "A-ASSOCIATE-RQ with a made-up user and passcode",
        "Verify user identities, or reject requests that hold one.",
        ("PS3.7 §D.3.3.7",), _identity,
    ),
    Check(
        "AE-08", _P, Severity.MEDIUM, "No user identity is asked for",
        "A-ASSOCIATE-RQ without one", "Demand what the policy demands.",
        ("PS3.7 §D.3.3.7",), _no_identity, needs="--expect-identity",
    ),
    Check(
        "AE-09", _P, Severity.LOW, "The toolkit and its version are told",
        "A-ASSOCIATE-RQ", "Nothing but upgrading helps: the standard demands it.",
        ("PS3.7 §D.3.3.2",), _toolkit,
    ),
    Check(
        "AE-11", _S, Severity.LOW, "Idle connections are kept",
        "TCP connect, then nothing", "Set the ARTIM timer.", ("PS3.8 §9.1.5",), _idle,
        needs="--idle SECONDS",
    ),
    Check(
        "AE-13", _P, Severity.INFO, "What is offered to a stranger",
        "A-ASSOCIATE-RQ with some 40 presentation contexts",
        "Offer each peer what it needs.", ("PS3.8 §9.3.2.2",), _surface,
    ),
    Check(
        "DM-05", _S, Severity.MEDIUM, "Workflow services are offered to a stranger",
        "A-ASSOCIATE-RQ with contexts of UPS, MPPS and availability",
        "Offer each peer what it needs.", ("PS3.4 Annex CC",), _workflow,
    ),
)  # fmt: skip
