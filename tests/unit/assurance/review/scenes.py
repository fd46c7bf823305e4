"""For every rule, what it has to see, and what looks alike and has a reason.

Facts are written as short as can be; numbers and a warm-up are given to them.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from leadglass.assurance.review.knowledge import (
    Patient,
    Person,
    Shift,
    Stay,
    StudyOf,
    World,
)
from leadglass.assurance.review.reviewer import WORK_MIN
from leadglass.assurance.trails.fact import Ending, Fact, Kind, Reach, Touched

# A Monday; days of a scene are counted from it.
BEGIN: Final = datetime(2026, 3, 2, tzinfo=UTC)
FAILED: Final = {"ending": Ending.MINOR_FAILURE}

Draft = tuple[float, Kind, dict[str, Any]]


def at(day: float, hour: float = 10.0) -> float:
    """Return seconds since the beginning."""
    return day * 86_400 + hour * 3_600


def nurse(**more: Any) -> dict[str, Any]:
    """Somebody of a ward."""
    return {"who": "nora", "who_kind": "person", "address": "10.1.1.1", **more}


def station(**more: Any) -> dict[str, Any]:
    """A device."""
    return {
        "who": "read-1", "who_kind": "device", "ae_title": "READ1",
        "address": "10.2.1.1", "certificate": "aa" * 32, "channel": "TLSv1.3",
        "implementation": "VIEW_1", **more,
    }  # fmt: skip


def images(*patients: str, study: str = "") -> dict[str, Any]:
    """Images of patients; each has a study of the same name."""
    return {
        "touched": tuple(
            Touched(each, Reach.IMAGES, (study or f"1.2.{ord(each[0])}.{each[1:]}",))
            for each in patients
        ),
        "instances": 10,
    }


def listed(*patients: str, **more: Any) -> dict[str, Any]:
    """Patients in an answer."""
    return {
        "touched": tuple(Touched(each, Reach.LISTED) for each in patients),
        "returned": len(patients),
        "service": "C-FIND",
        **more,
    }


def look(seconds: float, who: dict[str, Any], *patients: str) -> Draft:
    """Images are shown."""
    return seconds, Kind.VIEW, who | images(*patients)


def world(**patient: Any) -> World:
    """Nora of surgery, and patients p0 to p99 of cardiology."""
    people = {
        "nora": Person(
            name="nora", department="surgery", roles=frozenset({"nurse"}),
            surname="berg", address="1 hill", patient_id="own",
            born=date(1980, 1, 1), created=BEGIN - timedelta(days=900),
        ),
        "gone": Person(name="gone", left=BEGIN - timedelta(days=3)),
        "olga": Person(name="olga", roles=frozenset({"privacy"})),
        "robot": Person(name="robot", kind="program"),
        "read-1": Person(name="read-1", kind="device", department="radiology"),
    }  # fmt: skip
    known = {"surname": "tal", "last_seen": BEGIN, "address": "9 lane", **patient}
    names = ["own", *(f"p{n}" for n in range(100))]
    studies = {
        f"1.2.{ord(each[0])}.{each[1:]}": StudyOf(
            uid=f"1.2.{ord(each[0])}.{each[1:]}", patient_id=each,
            department="cardiology", origin="ct-1",
            performed=BEGIN, reported=BEGIN + timedelta(days=1),
        )
        for each in names
    }  # fmt: skip
    return World(
        people=people,
        patients={each: Patient(patient_id=each, **known) for each in names},
        by_uid=studies,
        by_patient={each.patient_id: (each,) for each in studies.values()},
        on_duty={"nora": (Shift(BEGIN, BEGIN + timedelta(hours=9)),)},
        in_care={
            "p99": (Stay(BEGIN, BEGIN + timedelta(days=60), "surgery"),),
        },
    )


def warm(days: int = 10) -> list[Draft]:
    """Some days on which somebody else works, so that anything can be new."""
    who = {"who": "wim", "who_kind": "person", "address": "10.1.1.9"}
    return [
        (at(day, 9) + number, Kind.QUERY, who | listed("p1"))
        for day in range(days)
        for number in range(WORK_MIN)
    ]


@dataclass(frozen=True, slots=True)
class Scene:
    """One rule, something that it tells of, and something that it does not."""

    rule: str
    loud: tuple[Draft, ...]
    quiet: tuple[Draft, ...]
    world: World


def facts(drafts: Iterable[Draft]) -> Iterator[Fact]:
    """Return facts in the order that they are given."""
    for number, (seconds, kind, fields) in enumerate(drafts):
        yield Fact(
            number=number, time=BEGIN + timedelta(seconds=seconds), kind=kind, **fields
        )


def repeat(count: int, step_s: float, make: Callable[[int], Draft]) -> list[Draft]:
    """Return the same act several times."""
    return [
        (seconds + n * step_s, kind, fields)
        for n in range(count)
        for seconds, kind, fields in (make(n),)
    ]


def _one(rule: str, loud: Draft, quiet: Draft, **patient: Any) -> Scene:
    return Scene(rule, (loud,), (quiet,), world(**patient))


def _many(
    rule: str, loud: Iterable[Draft], quiet: Iterable[Draft], **patient: Any
) -> Scene:
    return Scene(rule, tuple(loud), tuple(quiet), world(**patient))


def _people() -> Iterator[Scene]:
    yield _many(
        "R-01",
        [look(at(1), nurse(), f"p{n}") for n in range(5)],
        [look(at(1), nurse(), f"p{n}") for n in range(4)],
    )
    yield _one("R-02", look(at(1), nurse(), "own"), look(at(1), nurse(), "p1"))
    for address, born in (("1 hill", None), ("9 lane", date(2005, 1, 1))):
        yield _one(
            "R-03", look(at(1), nurse(), "p1"), look(at(1), nurse(), "p99"),
            surname="berg", address=address, born=born,
        )  # fmt: skip
    for rule, known in (
        ("R-04", {"is_staff": True}),
        ("R-05", {"is_flagged": True}),
        ("R-06", {"address": "1 hill"}),
    ):
        yield _one(
            rule, look(at(1), nurse(), "p1"), look(at(1), nurse(), "p99"), **known
        )
    yield _many(
        "R-07",
        [look(at(1), nurse(), "p1"), look(at(1), nurse(), "p2")],
        [look(at(1), nurse(), "p1"), look(at(1), nurse(), "p99")],
        last_seen=BEGIN - timedelta(days=400),
    )
    yield _one(
        "R-32",
        (at(1), Kind.QUERY, nurse() | listed("p1")),
        (at(1), Kind.QUERY, nurse() | listed("p1", "p2", "p3", "p4")),
        is_canary=True,
    )
    crowd = [look(at(day), nurse(), f"p{n}") for day in range(2) for n in range(40)]
    staff = [
        {"who": f"s{n}", "who_kind": "person", "address": f"10.1.2.{n}"}
        for n in range(25)
    ]
    yield _many(
        "R-34",
        [*crowd, *(look(at(2), each, "p1") for each in staff)],
        [*crowd, *(look(at(2), each, "p1") for each in staff[:9])],
    )


def _habits() -> Iterator[Scene]:
    days = [
        (at(day, 9), Kind.QUERY, nurse() | listed("p99", "p98")) for day in range(12)
    ]
    yield _many(
        "R-08",
        [*days, look(at(13, 2), nurse(), "p99")],
        [*days, look(at(13, 10), nurse(), "p99")],
    )
    busy = repeat(90, 20, lambda n: look(at(12), nurse(), f"p{n}"))
    yield _many("R-09", [*days, *busy], [*days, *busy[:40]])
    asked = repeat(
        90, 60, lambda n: (at(12), Kind.QUERY, nurse() | listed(f"p{n}", "p1"))
    )
    yield _many("R-12", [*days, *asked], [*days, *asked[:20]])
    yield _many(
        "R-20",
        [look(at(0), nurse(), "p99"), look(at(100), nurse(), "p99")],
        [look(at(0), nurse(), "p99"), look(at(60), nurse(), "p99")],
    )
    login = (at(1), Kind.LOGIN, {"who": "gone", "who_kind": "person"})
    yield _one("R-21", login, (at(1), Kind.LOGIN, nurse()))
    usb = (at(12), Kind.EXPORT, nurse(destination="usb") | images("p99"))
    habit = [(at(day), usb[1], usb[2]) for day in range(12)]
    yield _many("R-28", [*warm(), usb], [*habit, *warm(), usb])
    robot = {"who": "robot", "who_kind": "program", "address": "10.3.1.1"}
    yield _one(
        "R-36",
        (at(1), Kind.QUERY, robot | listed("p1") | {"implementation": "Firefox/139"}),
        (at(1), Kind.QUERY, robot | listed("p1") | {"implementation": "robot/2"}),
    )


def _amounts() -> Iterator[Scene]:
    wide = {"returned": 400, "details": {"keys": "PatientName*"}}
    yield _many(
        "R-10",
        [(at(1), Kind.QUERY, station() | wide)],
        [(at(1), Kind.QUERY, station() | listed("p1", details={"keys": "PatientID="}))],
    )
    run = repeat(
        25, 1, lambda n: (at(1), Kind.QUERY, station() | listed(f"p{10 + 3 * n}"))
    )
    mixed = repeat(
        25, 1, lambda n: (at(1), Kind.QUERY, station() | listed(f"p{n * 37 % 90}"))
    )
    yield _many("R-11", run, mixed)
    nothing = listed(details={"keys": "PatientID="})
    misses = repeat(25, 2, lambda _n: (at(1), Kind.QUERY, station() | nothing))
    yield _many("R-11", misses, misses[:15])
    move = (at(11), Kind.RETRIEVE, station(destination="ELSEWHERE") | images("p1"))
    yield _many("R-13", [*warm(), move], [move, *warm(), (at(12), *move[1:])])
    delete = repeat(5, 60, lambda n: (at(1), Kind.DELETE, nurse() | images(f"p{n}")))
    yield _many("R-26", delete, delete[:2])
    seen = look(at(1) - 300, nurse(), "p0")
    yield _many("R-26", [seen, delete[0]], [(at(0), *seen[1:]), delete[0]])
    steps: list[Draft] = [
        (at(1), Kind.QUERY, nurse(returned=60)),
        (at(1, 10.1), Kind.QUERY, nurse() | listed("p1")),
        look(at(1, 10.2), nurse(), "p1"),
        (at(1, 10.3), Kind.EXPORT, nurse() | images("p1")),
    ]
    yield _many("R-35", steps, steps[1:])


def _places() -> Iterator[Scene]:
    day = [(at(n), Kind.ASSOCIATE, station()) for n in range(4)]
    for mark in ("address", "certificate", "implementation", "ae_title"):
        other = (at(5), Kind.ASSOCIATE, station() | {mark: "10.9.9.9"})
        yield _many("R-14", [*day, other], [*day, (at(5), *day[0][1:])])
    change = (
        at(4), Kind.CHANGE,
        nurse(what="device renewed") | {
            "details": {"device": "read-1", "certificate": "bb"}
        },
    )  # fmt: skip
    renewed = (at(5), Kind.ASSOCIATE, station(certificate="bb"))
    yield _many("R-14", [*day, renewed], [*day, change, renewed])
    twin = (at(3) + 100, Kind.ECHO, station(address="10.9.9.9"))
    yield _many("R-15", [*day, twin], [*day, (at(4), *twin[1:])])
    desk = (at(1), Kind.LOGIN, nurse())
    abroad = (at(1) + 900, Kind.LOGIN, nurse(address="203.0.113.9"))
    other = (at(1) + 900, Kind.LOGIN, nurse(address="10.7.7.7"))
    yield _many("R-15", [desk, abroad], [desk, other])
    fails = repeat(7, 10, lambda _n: (at(1), Kind.LOGIN, nurse() | FAILED))
    yield _many("R-16", fails, [desk, *fails])
    spray = repeat(12, 60, lambda n: (at(1), Kind.LOGIN, nurse(who=f"u{n}") | FAILED))
    yield _many("R-16", spray, spray[:8])
    stranger = {"address": "203.0.113.5", **FAILED}
    guesses = repeat(
        8, 9, lambda n: (at(1), Kind.ASSOCIATE, stranger | {"called": f"A{n}"})
    )
    same = repeat(8, 9, lambda _n: (at(1), Kind.ASSOCIATE, stranger | {"called": "A"}))
    yield _many("R-17", guesses, same)
    yield _one(
        "R-18",
        (at(1), Kind.ASSOCIATE, stranger | {"ae_title": "ECHOSCU"}),
        (at(1), Kind.ASSOCIATE, stranger | {"ae_title": "CT_NEW"}),
    )
    knock: dict[str, Any] = {"address": "203.0.113.5", "ae_title": "CT"}
    idle = repeat(12, 5, lambda _n: (at(1), Kind.ASSOCIATE, knock))
    yield _many("R-18", idle, idle[:6])
    plain = (at(5), Kind.ASSOCIATE, station(channel="plaintext"))
    yield _many("R-30", [*day, plain], [plain, (at(6), *plain[1:])])
    issuer = {"details": {"issuer": "Another CA"}}
    foreign = (at(5), Kind.ASSOCIATE, station() | issuer)
    yield _many("R-31", [*day, foreign], [foreign, (at(6), *foreign[1:])])
    ends = {"details": {"not_after": "2026-03-20"}}
    later = {"details": {"not_after": "2027-03-20"}}
    yield _one(
        "R-31",
        (at(1), Kind.ASSOCIATE, station() | ends),
        (at(1), Kind.ASSOCIATE, station() | later),
    )


def _record() -> Iterator[Scene]:
    begun = (at(1), Kind.RETRIEVE, station() | images("p1"))
    more = (at(1) + 9, Kind.TRANSFERRED, station() | images("p1") | {"instances": 70})
    whole = (at(1) + 9, Kind.TRANSFERRED, station() | images("p1"))
    yield _many("R-19", [begun, more], [begun, whole])
    part = station() | images("p1") | FAILED | {"instances": 3}
    parts = repeat(5, 60, lambda _n: (at(1), Kind.TRANSFERRED, part))
    yield _many("R-19", parts, parts[:2])
    change = nurse(what="rules changed")
    yield _one("R-22", (at(1, 3), Kind.CHANGE, change), (at(1), Kind.CHANGE, change))
    yield _one(
        "R-22",
        (at(5), Kind.CHANGE, change),
        (at(5), Kind.CHANGE, nurse(what="user's password changed")),
    )
    yield _one(
        "R-23", (at(1), Kind.AUDIT_READ, nurse()),
        (at(1), Kind.AUDIT_READ, nurse(who="olga")),
    )  # fmt: skip
    yield _one(
        "R-23", (at(1), Kind.AUDIT_STOPPED, nurse(who="olga")),
        (at(1), Kind.AUDIT_STARTED, nurse(who="olga")),
    )  # fmt: skip
    owner = station(who="ct-1", ae_title="CT1")
    stored = images("p1")
    for kind in (Kind.CONFLICT, Kind.STORE):
        yield _one(
            "R-24", (at(3), kind, station() | stored), (at(3), kind, owner | stored)
        )
    yield _one(
        "R-25",
        (at(1), Kind.STORE, owner | images("p2", study="1.2.112.1")),
        (at(1), Kind.STORE, owner | images("p1")),
    )
    glass = nurse(**images("p1")) | {"details": {"glass": "7"}}
    broken = (at(1), Kind.GLASS_BROKEN, glass)
    review = (at(1, 12), Kind.GLASS_REVIEWED, nurse(who="olga", details={"glass": "7"}))
    later = (at(3), Kind.START, {"who": "node", "who_kind": "program"})
    yield _many("R-27", [broken, later], [broken, review, later])
    often = [
        (at(n / 4), Kind.GLASS_BROKEN, glass | {"details": {"glass": str(n)}})
        for n in range(4)
    ]
    yield _many("R-27", often, often[:3])
    named = nurse(destination="research", details={"anonymized": "False"})
    clean = nurse(destination="research", details={"anonymized": "True"})
    yield _one(
        "R-29", (at(1), Kind.EXPORT, named | images("p1")),
        (at(1), Kind.EXPORT, clean | images("p1")),
    )  # fmt: skip
    bad = station(ending=Ending.SERIOUS_FAILURE)
    yield _one("R-33", (at(1), Kind.GATE, bad), (at(1), Kind.GATE, station(**FAILED)))
    yield _many(
        "R-37",
        [(at(1), Kind.ECHO, station()), (at(1) - 60, Kind.ECHO, station())],
        [(at(1), Kind.ECHO, station()), (at(1) - 1, Kind.ECHO, station())],
    )


SCENES: Final = (*_people(), *_habits(), *_amounts(), *_places(), *_record())
