"""The record: E3 is everything on it, E4 is tampering found."""

from dataclasses import dataclass
from typing import Final

from leadglass.assurance.compliance.asking import ask
from leadglass.assurance.compliance.canary import SOP_CLASS, Canary
from leadglass.assurance.compliance.experiments.images import CLASSES, stored
from leadglass.assurance.compliance.experiments.strangers import is_heard
from leadglass.assurance.compliance.probe import Seen, Witnessed
from leadglass.assurance.compliance.twin import Twin, calling, trusting
from leadglass.assurance.peer import associate
from leadglass.audit.codes import EventID, Outcome
from leadglass.audit.events import Event
from leadglass.wire.status import SUCCESS

_DEVICE: Final = "RECORDED"
_PERSON: Final = "recorded"


@dataclass(frozen=True, slots=True)
class _Act:
    """One act, and how its record is recognised.

    Attributes:
        what: In words.
        id: Kind of event.
        who: Whose name it must have; "" for a stranger.
        is_about_patient: It must name the canary.
        failed: It must not say success.
    """

    what: str
    id: EventID
    who: str
    is_about_patient: bool = False
    failed: bool = False

    def is_in(self, event: Event, patient: str) -> bool:
        """Tell whether an event is the record of this act, with all that it needs."""
        users = {each.user_id for each in event.participants}
        mentioned = dict.fromkeys(event.mentions(""))
        return (
            event.id is self.id
            and (not self.who or self.who in users)
            and event.time is not None
            and any(each.access_point for each in event.participants)
            and (not self.is_about_patient or ("patient", patient) in mentioned)
            and (event.outcome is not Outcome.SUCCESS) == self.failed
        )


_ACTS: Final = (
    _Act(
        "a stranger's association is refused", EventID.SECURITY_ALERT, "", failed=True
    ),
    _Act("a device stores", EventID.INSTANCES_TRANSFERRED, _DEVICE, True),
    _Act("a device asks, and is told of the patient", EventID.QUERY, _DEVICE, True),
    _Act("a device fetches: begun", EventID.BEGIN_TRANSFERRING, _DEVICE, True),
    _Act("a device fetches: done", EventID.INSTANCES_TRANSFERRED, _DEVICE, True),
    _Act("a person asks, and is told of the patient", EventID.QUERY, _PERSON, True),
    _Act("a person looks at images", EventID.BEGIN_TRANSFERRING, _PERSON, True),
    _Act(
        "a person is refused what his role may not",
        EventID.SECURITY_ALERT,
        _PERSON,
        failed=True,
    ),
)


def completeness(twin: Twin) -> Seen:
    """E3: do so many acts, find as many events, with who, what, when, where, whom."""
    seen = Witnessed()
    canary = Canary.draw()
    proof = twin.enrol(_DEVICE)
    cookie = twin.person(_PERSON, "radiologist")
    before = len(twin.records())
    is_heard(calling(twin, "STRANGER", trusting(twin.authorities)))
    with associate(calling(twin, _DEVICE, proof.context()), CLASSES) as peer:
        status = peer.store(SOP_CLASS, canary.instance, canary.data_set())
        seen.expect(status == SUCCESS, "the canary is stored")
        twin.settle()
        _, answers = peer.find(canary.question())
        _, images = peer.get(canary.wanted())
    seen.expect(len(answers) == len(images) == 1, "it is found and fetched")
    study = f"/dicom-web/studies/{canary.study}"
    for method, path in (
        ("GET", f"/dicom-web/studies?PatientID={canary.patient}"),
        ("GET", f"{study}/series/{canary.series}/instances/{canary.instance}/frames/1"),
        ("GET", "/api/users"),
    ):
        headers = {"Accept": "multipart/related, */*"} if "frames" in path else {}
        said = ask(twin, method, path, cookie=cookie, headers=headers)
        seen.note(f"HTTPS answered {said.status}")
    twin.settle()
    new = [each.event for each in twin.records()[before:] if each.data]
    for act in _ACTS:
        found = [each for each in new if act.is_in(each, canary.patient)]
        seen.expect(found, f"on the record: {act.what}")
    seen.note(f"{len(new)} records were written meanwhile")
    return seen.seen()


# Ways to change the past, as statements on the database. ``:half`` and ``:next`` are
# numbers of neighbours in the middle, ``:cut`` is the first of the last three.
_TAMPERINGS: Final = (
    (
        "one letter of a record",
        (
            (
                "UPDATE audit_record SET record = CAST(replace(CAST(record AS TEXT), "
                "'\"format\"', '\"Format\"') AS BLOB) WHERE n = :half"
            ),
        ),
    ),
    (
        "the time of a record",
        ("UPDATE audit_record SET wall_us = wall_us + 1 WHERE n = :half",),
    ),
    ("a record taken out", ("DELETE FROM audit_record WHERE n = :half",)),
    (
        "a record taken out, and the others moved up",
        (
            "DELETE FROM audit_record WHERE n = :half",
            "UPDATE audit_record SET n = -n WHERE n > :half",
            "UPDATE audit_record SET n = -n - 1 WHERE n < 0",
        ),
    ),
    (
        "a record put in at the end",
        (
            (
                "INSERT INTO audit_record (n, wall_us, mono_us, boot, code, "
                "search_keys, salt, record, leaf) SELECT :size, wall_us, mono_us, "
                "boot, code, search_keys, salt, record, leaf FROM audit_record "
                "WHERE n = :half"
            ),
        ),
    ),
    (
        "two records exchanged",
        (
            "UPDATE audit_record SET n = -1 WHERE n = :half",
            "UPDATE audit_record SET n = :half WHERE n = :next",
            "UPDATE audit_record SET n = :next WHERE n = -1",
        ),
    ),
    ("the last records cut off", ("DELETE FROM audit_record WHERE n >= :cut",)),
    (
        "the last records cut off, and the head set back",
        (
            "DELETE FROM audit_record WHERE n >= :cut",
            "UPDATE audit_head SET size = :cut",
        ),
    ),
)


def tampering(twin: Twin) -> Seen:
    """E4: change a copy of the record in every way there is; each must be found."""
    seen = Witnessed()
    with twin.copy_of_log() as copy:
        report = copy.verify()
        seen.expect(report.is_intact, "the copy verifies before it is touched")
        size = report.records
    numbers = {
        "size": size,
        "half": size // 2,
        "next": size // 2 + 1,
        "cut": size - 3,
    }
    for what, statements in _TAMPERINGS:
        with twin.copy_of_log() as copy:
            for statement in statements:
                copy.execute(statement, numbers)
            seen.expect(not copy.verify().is_intact, f"found: {what}")
    seen.note(f"the copies had {size} records")
    return seen.seen()


def who_saw(twin: Twin) -> Seen:
    """Let some look at a patient and others not, and ask who did."""
    seen = Witnessed()
    canary, other = Canary.draw(), Canary.draw()
    looker = twin.enrol("LOOKER")
    stored(twin, "BYSTANDER", canary)
    stored(twin, "BYSTANDER-2", other)
    cookie = twin.person("onlooker", "radiologist")
    with associate(calling(twin, "LOOKER", looker.context()), CLASSES) as peer:
        peer.get(canary.wanted())
    path = f"/dicom-web/studies?PatientID={canary.patient}"
    ask(twin, "GET", path, cookie=cookie)
    twin.settle()
    names = twin.seers(canary.patient)
    seen.expect(
        {"LOOKER", "onlooker"} <= names, "a device and a person who looked are named"
    )
    seen.expect("BYSTANDER" not in names, "who only sent images is not")
    seen.expect(not twin.seers(other.patient), "nobody saw the other patient")
    return seen.seen()


def bounding(twin: Twin) -> Seen:
    """Let a device fetch one of two patients; the record must bound what it got."""
    seen = Witnessed()
    taken, spared = Canary.draw(), Canary.draw()
    thief = twin.enrol("THIEF")
    stored(twin, "SENDER-1", taken)
    stored(twin, "SENDER-2", spared)
    with associate(calling(twin, "THIEF", thief.context()), CLASSES) as peer:
        peer.find(taken.question())
        peer.get(taken.wanted())
    twin.settle()
    reached = {
        value
        for each in twin.records()
        if each.data and ("user", "THIEF") in set(each.event.mentions(""))
        for kind, value in each.event.mentions("")
        if kind == "patient"
    }
    seen.expect(taken.patient in reached, "the patient whose images it took is named")
    seen.expect(spared.patient not in reached, "the other one provably is not")
    seen.expect(len(reached) == 1, f"{len(reached)} patients are concerned")
    return seen.seen()
