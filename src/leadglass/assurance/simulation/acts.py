"""What can be done, as drafts: the one place that knows how an act looks in a trail."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from leadglass.assurance.simulation.draft import Draft
from leadglass.assurance.simulation.patients import Case, Exam
from leadglass.assurance.trails.fact import Ending, Kind, Reach, Touched

Base = Mapping[str, Any]

_NOTHING: Final[Mapping[str, Any]] = {}
_FAILED: Final = {"ending": Ending.MINOR_FAILURE}
# Keys of a query, as a trail has them: "=" behind an attribute that was given whole,
# "~" behind one with a wildcard.
BY_ID: Final = "PatientID={id}"
BY_NAME: Final = "PatientName~{name}*"
BY_WORKLIST: Final = "StudyDate=today Modality=CT"
BY_DATE: Final = "StudyDate=today"
EMPTY: Final = ""


def image_of(exam: Exam) -> tuple[Touched, ...]:
    """Return whose images: one study."""
    return (Touched(exam.patient_id, Reach.IMAGES, (exam.uid,)),)


def came(exam: Exam) -> tuple[Touched, ...]:
    """Return about whom: one study, of which nobody saw anything."""
    return (Touched(exam.patient_id, Reach.NONE, (exam.uid,)),)


def listed(cases: Iterable[Case]) -> tuple[Touched, ...]:
    """Return whom an answer named."""
    return tuple(
        Touched(id_, Reach.LISTED, tuple(exam.uid for exam in case.exams))
        for id_, case in {case.id: case for case in cases}.items()
    )


def by_link(address: str) -> Base:
    """Return who opens a share link: nobody knows who, but from where."""
    return {"who_kind": "link", "address": address, "channel": "TLSv1.3"}


def login(at_s: float, base: Base) -> Draft:
    """Somebody has proven who it is."""
    return Draft(at_s, Kind.LOGIN, base, {"details": {"method": "password"}})


def login_failed(at_s: float, base: Base, why: str = "wrong password") -> Draft:
    """Somebody has not."""
    return Draft(at_s, Kind.LOGIN, base, _FAILED | {"what": why})


def logout(at_s: float, base: Base) -> Draft:
    """A session is over."""
    return Draft(at_s, Kind.LOGOUT, base, _NOTHING)


def associate(at_s: float, base: Base) -> Draft:
    """A device has come in."""
    return Draft(at_s, Kind.ASSOCIATE, base, _NOTHING)


def refused_association(at_s: float, base: Base, why: str) -> Draft:
    """A device was turned away."""
    return Draft(at_s, Kind.ASSOCIATE, base, _FAILED | {"what": why})


def echo(at_s: float, base: Base) -> Draft:
    """C-ECHO."""
    return Draft(at_s, Kind.ECHO, base, {"service": "C-ECHO"})


def query(  # noqa: PLR0913 - a query has that many sides
    at_s: float,
    base: Base,
    cases: Sequence[Case],
    keys: str,
    *,
    service: str = "web app",
    returned: int = -1,
) -> Draft:
    """Somebody asked, and was told of ``cases``."""
    touched = listed(cases)
    if cases:
        first = cases[0].patient
        keys = keys.format(id=first.patient_id, name=first.surname)
    count = returned if returned >= 0 else sum(len(t.studies) or 1 for t in touched)
    return Draft(
        at_s,
        Kind.QUERY,
        base,
        {
            "service": service,
            "returned": count,
            "touched": touched,
            "details": {"level": "STUDY", "keys": keys},
        },
    )


def view(at_s: float, base: Base, exam: Exam, **more: Any) -> Draft:
    """Images of a study are shown from now on."""
    return Draft(
        at_s,
        Kind.VIEW,
        base,
        {
            "service": "web app",
            "instances": exam.images,
            "touched": image_of(exam),
            **more,
        },
    )


def shown(at_s: float, base: Base, exam: Exam, images: int) -> Draft:
    """The viewing is over; so many images were shown."""
    return Draft(
        at_s,
        Kind.TRANSFERRED,
        base,
        {"service": "web app", "instances": images, "touched": image_of(exam)},
    )


def retrieve(
    at_s: float, base: Base, exam: Exam, service: str, destination: str = ""
) -> Draft:
    """A study is about to leave by DICOM."""
    return Draft(
        at_s,
        Kind.RETRIEVE,
        base,
        {
            "service": service,
            "destination": destination,
            "instances": exam.images,
            "touched": image_of(exam),
        },
    )


def transferred(  # noqa: PLR0913, PLR0917 - as ``retrieve``, and what became of it
    at_s: float,
    base: Base,
    exam: Exam,
    service: str,
    destination: str = "",
    left: int = -1,
) -> Draft:
    """So many of its instances left; -1 for all."""
    is_whole = left < 0 or left == exam.images
    fields: dict[str, Any] = {
        "service": service,
        "destination": destination,
        "instances": exam.images if left < 0 else left,
        "touched": image_of(exam),
    }
    return Draft(at_s, Kind.TRANSFERRED, base, fields if is_whole else fields | _FAILED)


def store(at_s: float, base: Base, exam: Exam, images: int, **more: Any) -> Draft:
    """Instances came in."""
    return Draft(
        at_s,
        Kind.STORE,
        base,
        {
            "service": "C-STORE",
            "instances": images,
            "octets": images * 525_000,
            "touched": came(exam),
            **more,
        },
    )


def export(at_s: float, base: Base, exam: Exam, destination: str, **more: Any) -> Draft:
    """A study was written to a medium, or downloaded, or is behind a link."""
    return Draft(
        at_s,
        Kind.EXPORT,
        base,
        {
            "service": "export",
            "destination": destination,
            "instances": exam.images,
            "touched": image_of(exam),
            **more,
        },
    )


def change(at_s: float, base: Base, what: str, **details: str) -> Draft:
    """Settings, rules, devices or accounts were changed."""
    return Draft(at_s, Kind.CHANGE, base, {"what": what, "details": details})


def about(at_s: float, kind: Kind, base: Base, exam: Exam | None, **more: Any) -> Draft:
    """Anything else that concerns a study, or none."""
    touched = came(exam) if exam else ()
    return Draft(at_s, kind, base, {"touched": touched, **more})
