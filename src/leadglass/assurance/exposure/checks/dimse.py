"""What is answered, given and taken over DICOM."""

from collections.abc import Iterator
from typing import Final

from leadglass.assurance.exposure.checks.check import Check, Level, Sighting
from leadglass.assurance.exposure.dicomfacts import UNLIMITED_MATCHES, Seen
from leadglass.assurance.exposure.service import Service
from leadglass.assurance.finding import Severity
from leadglass.wire.status import (
    MOVE_DESTINATION_UNKNOWN,
    SUCCESS,
    Category,
    category,
)

_P, _S, _I = Level.PASSIVE, Level.SAFE, Level.INTRUSIVE
_ACCESS: Final = "45 CFR 164.312(a)(1)"
_WHO: Final = (
    "Let nobody ask who is not enrolled: demand a client certificate, and name who "
    "may query."
)


def _echo(service: Service) -> Iterator[Sighting]:
    if service.dicom is not None and service.dicom.echo == SUCCESS:
        yield Sighting("C-ECHO of a stranger: 0x0000")


def _answers(seen: Seen, what: str) -> Iterator[Sighting]:
    """Tell apart: patients shown, and a question answered with nothing to show."""
    status = seen.matches.status
    told = "none" if status is None else f"0x{status:04X}"
    details = {
        "matches_seen": seen.matches.count,
        "attributes": sorted(seen.attributes),
    }
    if seen.matches.count and seen.shows_patients:
        yield Sighting(
            f"{seen.matches.count} matches were seen, with "
            f"{', '.join(sorted(seen.attributes))}; last status {told}",
            details={**details, "patient_data_exposed": True},
        )
    elif seen.is_answered:
        yield Sighting(
            f"the question was answered with {seen.matches.count} matches; last "
            f"status {told}",
            severity=Severity.HIGH,
            title=f"{what} of strangers are answered; nothing was there to be shown",
            details=details,
        )


def _studies(service: Service) -> Iterator[Sighting]:
    if service.dicom is not None:
        yield from _answers(service.dicom.studies, "Queries for studies")


def _people(service: Service) -> Iterator[Sighting]:
    if service.dicom is not None:
        yield from _answers(service.dicom.people, "Queries for patients")


def _worklist(service: Service) -> Iterator[Sighting]:
    if service.dicom is not None:
        yield from _answers(service.dicom.worklist, "Worklist queries")


def _unlimited(service: Service) -> Iterator[Sighting]:
    facts = service.dicom
    if facts is not None and facts.everything.matches.count >= UNLIMITED_MATCHES:
        yield Sighting(f"{UNLIMITED_MATCHES} matches were delivered without a limit")


def _move(service: Service) -> Iterator[Sighting]:
    facts = service.dicom
    if facts is None or facts.moved is None:
        return
    status = facts.moved
    if category(status) in {Category.SUCCESS, Category.WARNING}:
        yield Sighting(f"C-MOVE to an unknown title was answered with 0x{status:04X}")
    elif status == MOVE_DESTINATION_UNKNOWN:
        yield Sighting(
            "C-MOVE was looked at, and its destination was not known (0xA801)",
            severity=Severity.LOW,
            title="C-MOVE of a stranger is refused for its destination alone",
        )


def _get(service: Service) -> Iterator[Sighting]:
    if service.dicom is not None and service.dicom.downloaded:
        yield Sighting(
            f"one instance came, {service.dicom.downloaded} bytes; it was dropped",
            details={"bytes": service.dicom.downloaded},
        )


def _offered(service: Service) -> Iterator[Sighting]:
    if service.dicom is not None and service.dicom.stores:
        count = len(service.dicom.stores)
        yield Sighting(f"{count} storage classes were accepted; nothing was stored")


def _written(service: Service) -> Iterator[Sighting]:
    facts = service.dicom
    if facts is None or facts.written is None:
        return
    if category(facts.written) in {Category.SUCCESS, Category.WARNING}:
        yield Sighting(
            f"an invented instance was stored: 0x{facts.written:04X}; delete patient "
            "EXPOSCAN-CANARY"
        )


def _commitment(service: Service) -> Iterator[Sighting]:
    if service.dicom is not None and service.dicom.committed == SUCCESS:
        yield Sighting("N-ACTION for what was never stored: 0x0000")


DIMSE: Final = (
    Check(
        "DM-01", _P, Severity.LOW, "A stranger's C-ECHO is answered", "C-ECHO",
        "Let only enrolled peers associate.", ("PS3.4 §A",), _echo,
    ),
    Check(
        "DM-02", _S, Severity.CRITICAL, "Anyone can list studies with patients' names",
        "C-FIND (study root) of two days, cancelled after 3 matches", _WHO,
        ("PS3.4 §C.4.1", _ACCESS), _studies,
    ),
    Check(
        "DM-03", _S, Severity.CRITICAL, "Anyone can list patients",
        "C-FIND (patient root), cancelled after 3 matches", _WHO,
        ("PS3.4 §C.4.1", _ACCESS), _people,
    ),
    Check(
        "DM-04", _S, Severity.CRITICAL, "Anyone can read today's worklist",
        "C-FIND (worklist) of today, cancelled after 3 matches", _WHO,
        ("PS3.4 Annex K", "CVE-2026-52868", _ACCESS), _worklist,
    ),
    Check(
        "DM-06", _S, Severity.MEDIUM, "Queries have no limit",
        "C-FIND without keys, cancelled at 100 matches; only after DM-02",
        "Limit the number of matches.", ("PS3.4 §C.4.1.1.4",), _unlimited,
    ),
    Check(
        "DM-07", _S, Severity.MEDIUM, "A stranger's C-MOVE is carried out",
        "C-MOVE of a UID that is nobody's to title NOSUCHAE", _WHO,
        ("PS3.4 §C.4.2",), _move,
    ),
    Check(
        "DM-08", _S, Severity.CRITICAL, "Anyone can download images",
        "C-GET of one study, aborted after its first instance", _WHO,
        ("PS3.4 §C.4.3", _ACCESS), _get, needs="--consent-download",
    ),
    Check(
        "DM-09", _I, Severity.CRITICAL, "Anyone can store images",
        "C-STORE of one invented instance", _WHO,
        ("PS3.4 §B", "45 CFR 164.312(c)(1)"), _written,
        needs="--consent-write and an authorisation with intrusive = true",
    ),
    Check(
        "DM-09p", _P, Severity.MEDIUM, "Storage is offered to a stranger",
        "A-ASSOCIATE-RQ with storage contexts; nothing is sent", _WHO,
        ("PS3.4 §B", "45 CFR 164.312(c)(1)"), _offered,
    ),
    Check(
        "DM-17", _S, Severity.LOW, "Storage commitment is granted to a stranger",
        "N-ACTION for a UID that is nobody's", _WHO, ("PS3.4 Annex J",), _commitment,
    ),
)  # fmt: skip
