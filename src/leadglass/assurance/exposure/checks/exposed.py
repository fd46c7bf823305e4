"""How much is exposed, and which persons' attributes: counts and flags alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from leadglass.assurance.exposure.checks.check import Check, Level, Sighting
from leadglass.assurance.exposure.dicomfacts import DicomFacts
from leadglass.assurance.exposure.service import Service
from leadglass.assurance.finding import Severity
from leadglass.wire.status import Category, category

_S: Final = Level.SAFE
# 45 CFR 164.408(b): from so many on, the media and the department hear at once.
NOTIFIED_PERSONS: Final = 500


@dataclass(frozen=True, slots=True)
class Exposure:
    """What a stranger reaches on one port.

    Attributes:
        patients, studies, images: How many; None if it was not seen.
        is_least: There may be more: counting ended early.
        attributes: Which attributes of persons had values.
        is_associated: A stranger was let in (or a web server answered).
        is_answered: A question was answered, be it with nothing to show.
        shows_patients: Patients were shown.
        is_downloadable: An image or its metadata came.
        is_storage_offered: Storing would be taken; nothing was sent.
        is_written: An invented instance was stored.
    """

    patients: int | None = None
    studies: int | None = None
    images: int | None = None
    is_least: bool = False
    attributes: tuple[str, ...] = ()
    is_associated: bool = False
    is_answered: bool = False
    shows_patients: bool = False
    is_downloadable: bool = False
    is_storage_offered: bool = False
    is_written: bool = False

    def members(self) -> dict[str, Any]:
        """Return what ``--json`` prints of it."""
        return {
            "association_accepted": self.is_associated,
            "query_answered": self.is_answered,
            "patient_data_exposed": self.shows_patients,
            "image_downloadable": self.is_downloadable,
            "storage_offered": self.is_storage_offered,
            "write_accepted": self.is_written,
            "patients": self.patients,
            "studies": self.studies,
            "images": self.images,
            "counts_are_least": self.is_least,
            "attributes": list(self.attributes),
        }


NOTHING: Final = Exposure()


def exposure_of(service: Service) -> Exposure:
    """Return what was found out about this port."""
    if service.dicom is not None:
        return _over_dicom(service.dicom)
    if service.web is not None:
        return _over_web(service)
    return NOTHING


def _over_dicom(facts: DicomFacts) -> Exposure:
    asked = (facts.studies, facts.people, facts.worklist)
    every = facts.everything
    shows = any(each.shows_patients for each in asked)
    written = facts.written
    return Exposure(
        patients=every.patients if every.matches.count else None,
        studies=every.matches.count or None,
        images=every.images or None,
        is_least=every.matches.was_cancelled,
        attributes=tuple(
            sorted(frozenset[str]().union(*(e.attributes for e in asked)))
        ),
        is_associated=facts.door is not None,
        is_answered=any(each.is_answered for each in asked),
        shows_patients=shows,
        is_downloadable=bool(facts.downloaded),
        is_storage_offered=bool(facts.stores),
        is_written=written is not None
        and category(written) in {Category.SUCCESS, Category.WARNING},
    )


def _over_web(service: Service) -> Exposure:
    web = service.web
    if web is None:
        return NOTHING
    counts = _statistics(service)
    answered = web.open_base is not None or bool(counts)
    return Exposure(
        patients=counts.get("CountPatients"),
        studies=counts.get("CountStudies"),
        images=counts.get("CountInstances"),
        attributes=tuple(sorted(web.attributes)),
        is_associated=web.root.is_ok,
        is_answered=answered,
        shows_patients=web.open_base is not None or counts.get("CountPatients", 0) > 0,
        is_downloadable=web.metadata.is_ok,
        is_storage_offered=web.stow is not None,
    )


def _statistics(service: Service) -> dict[str, int]:
    answer = service.web.given("/statistics") if service.web is not None else None
    found = answer.json() if answer is not None else None
    if not isinstance(found, dict):
        return {}
    keys = ("CountPatients", "CountStudies", "CountInstances")
    return {key: found[key] for key in keys if isinstance(found.get(key), int)}


def _counts(service: Service) -> Iterator[Sighting]:
    found = exposure_of(service)
    if not found.shows_patients or found.studies is None:
        return
    at_least = "at least " if found.is_least else ""
    yield Sighting(
        f"{at_least}{found.patients or 0} patients, {found.studies} studies, "
        f"{found.images or 0} images",
        details={
            "patients": found.patients, "studies": found.studies,
            "images": found.images, "is_least": found.is_least,
        },
    )  # fmt: skip


def _attributes(service: Service) -> Iterator[Sighting]:
    found = exposure_of(service)
    if found.shows_patients and found.attributes:
        yield Sighting(
            f"with values: {', '.join(found.attributes)}",
            details={"attributes": list(found.attributes)},
        )


def _many(service: Service) -> Iterator[Sighting]:
    found = exposure_of(service)
    if found.shows_patients and (found.patients or 0) >= NOTIFIED_PERSONS:
        yield Sighting(
            f"{found.patients} patients: a breach of {NOTIFIED_PERSONS} persons or "
            "more is told to the department and the media within 60 days"
        )


_REMEDY: Final = (
    "Close the door that showed it; then look in the records who came through it."
)
EXPOSED: Final = (
    Check(
        "EXP-01", _S, Severity.CRITICAL, "Patients' studies are exposed",
        "what DM-06 and WEB-07 sent", _REMEDY, ("45 CFR 164.402",), _counts,
    ),
    Check(
        "EXP-02", _S, Severity.CRITICAL, "Attributes that identify persons are exposed",
        "what DM-02 to DM-04 sent", _REMEDY, ("45 CFR 164.514(b)(2)",), _attributes,
    ),
    Check(
        "EXP-04", _S, Severity.INFO, "So many that a breach is told to the public",
        "nothing", _REMEDY, ("45 CFR 164.406", "45 CFR 164.408"), _many,
    ),
)  # fmt: skip
