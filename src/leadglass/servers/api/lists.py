"""Lists of patients and assignments over HTTPS.

Patients and studies are named in bodies, never in URLs. A name that nobody has is not
there, whoever asks.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final

from msgspec import Meta

from leadglass.access.policy import Kind, Subject
from leadglass.access.rights import Right
from leadglass.archive.listing import Listing
from leadglass.errors import NotFound
from leadglass.servers.http.documents import Document, giving, taking
from leadglass.servers.http.routes import Call, Route

ROOT: Final = "/api"
# As many as one change takes (``index.lists``).
_TOGETHER_MAX: Final = 1_000
_KINDS: Final = {"users": Kind.OPERATOR, "programs": Kind.SERVICE}


class PatientList(Document, frozen=True):
    """A list by its name, and how many are on it."""

    name: str
    patients: int


class PatientLists(Document, frozen=True):
    """All lists."""

    items: tuple[PatientList, ...]


class Patients(Document, frozen=True):
    """Patients by their IDs (0010,0020)."""

    patient_ids: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=64)], ...],
        Meta(min_length=1, max_length=_TOGETHER_MAX),
    ]


class PatientsOfList(Document, frozen=True):
    """Who is on a list."""

    patient_ids: tuple[str, ...]


class Studies(Document, frozen=True):
    """Studies by their UIDs (0020,000D)."""

    study_uids: Annotated[
        tuple[Annotated[str, Meta(pattern="^[0-9.]{1,64}$")], ...],
        Meta(min_length=1, max_length=_TOGETHER_MAX),
    ]


class StudiesOfAssignee(Document, frozen=True):
    """What is assigned to somebody."""

    study_uids: tuple[str, ...]


class Assignee(Document, frozen=True):
    """Somebody as scopes name one, and how many studies are assigned."""

    name: str
    studies: int


class Assignees(Document, frozen=True):
    """Everybody to whom something is assigned."""

    items: tuple[Assignee, ...]


class HowMany(Document, frozen=True):
    """How many were not so before."""

    changed: int


@dataclass(frozen=True, slots=True)
class ListRoutes:
    """Lists and assignments over HTTPS.

    Attributes:
        listing: The use cases.
    """

    listing: Listing

    def routes(self) -> Iterator[Route]:
        """Yield the routes; all need the right ``administer``."""
        lists, one = f"{ROOT}/patient-lists", f"{ROOT}/patient-lists/{{list}}"
        yield giving(
            lists,
            Right.ADMINISTER,
            "The lists of patients",
            gives=PatientLists,
            handler=self._lists,
        )
        yield giving(
            one,
            Right.ADMINISTER,
            "Who is on a list; that it was read is on the record",
            gives=PatientsOfList,
            handler=lambda call: PatientsOfList(
                patient_ids=self.listing.patients(call.caller, call.path["list"])
            ),
        )
        for word, change in (
            ("add", self.listing.put_on),
            ("remove", self.listing.take_off),
        ):
            yield taking(
                f"{one}/{word}",
                Right.ADMINISTER,
                f"Patients to {word}",
                takes=Patients,
                gives=HowMany,
                reader=lambda call, who, change=change: HowMany(  # type: ignore[misc]
                    changed=change(call.caller, call.path["list"], who.patient_ids)
                ),
            )
        yield from self._of_assignments()

    def _of_assignments(self) -> Iterator[Route]:
        every = f"{ROOT}/assignments"
        one = f"{every}/{{kind}}/{{assignee}}"
        yield giving(
            every,
            Right.ADMINISTER,
            "Who has how many assigned studies",
            gives=Assignees,
            handler=self._assignees,
        )
        yield giving(
            one,
            Right.ADMINISTER,
            "The studies that are assigned to a user or a program",
            gives=StudiesOfAssignee,
            handler=lambda call: StudiesOfAssignee(
                study_uids=self.listing.assigned(call.caller, _subject(call))
            ),
        )
        for word, change in (
            ("add", self.listing.assign),
            ("remove", self.listing.unassign),
        ):
            yield taking(
                f"{one}/{word}",
                Right.ADMINISTER,
                f"Studies to {word}",
                takes=Studies,
                gives=HowMany,
                reader=lambda call, what, change=change: HowMany(  # type: ignore[misc]
                    changed=change(call.caller, _subject(call), what.study_uids)
                ),
            )

    def _lists(self, call: Call) -> PatientLists:
        found = self.listing.lists(call.caller)
        return PatientLists(
            items=tuple(
                PatientList(name=name, patients=count) for name, count in found.items()
            )
        )

    def _assignees(self, call: Call) -> Assignees:
        found = self.listing.assignees(call.caller)
        return Assignees(
            items=tuple(
                Assignee(name=name, studies=count) for name, count in found.items()
            )
        )


def _subject(call: Call) -> Subject:
    kind = _KINDS.get(call.path["kind"])
    if kind is None:
        raise NotFound("no such kind of assignee")
    return Subject(kind, call.path["assignee"].strip().casefold() or "-")
