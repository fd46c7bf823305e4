"""Machines: devices that are not who they say, strangers at the port, odd objects."""

from collections.abc import Iterator
from typing import Final

from leadglass.assurance.simulation import acts
from leadglass.assurance.simulation.attacks.scene import ABROAD, Scene
from leadglass.assurance.simulation.draft import HOUR_S, MINUTE_S, Draft
from leadglass.assurance.trails.fact import Ending, Kind, Reach, Touched

# Titles that guessers try first: those of manuals.
TITLES: Final = (
    *("ORTHANC", "PACS", "DCM4CHEE", "ARCHIVE", "ANY-SCP", "STORESCP", "CONQUEST"),
    *("MAIN", "SERVER", "PACS1", "IMAGES", "DICOM"),
)


def bulk_query(scene: Scene) -> Iterator[Draft]:
    """A viewer of a ward asks with empty keys for everything there is."""
    base, at_s = scene.device("ward").base, scene.days.moment(8, 18)
    yield acts.associate(at_s - 1, base)
    cases = [scene.exam()[0] for _ in range(200)]
    for part in range(3):
        yield acts.query(
            at_s + 40 * part, base, cases, acts.EMPTY,
            service="C-FIND", returned=400,
        )  # fmt: skip


def enumeration(scene: Scene) -> Iterator[Draft]:
    """A viewer asks for one number after the other."""
    base, at_s = scene.device("ward").base, scene.days.moment(8, 18)
    patients = scene.days.hospital.patients
    first = scene.chance.randrange(max(1, len(patients.remembered) - 90))
    run = [patients.remembered[first + n] for n in range(60)]
    yield acts.associate(at_s - 1, base)
    for case in sorted(run, key=lambda each: each.id):
        yield acts.query(at_s, base, [case], acts.BY_ID, service="C-FIND")
        at_s += scene.chance.uniform(0.4, 1.5)


def stolen_certificate(scene: Scene) -> Iterator[Draft]:
    """The certificate of a workstation comes from another machine."""
    station = scene.device("read", "ward")
    base = {
        **station.base,
        "address": f"10.99.{scene.chance.randrange(9)}.{scene.chance.randrange(250)}",
        "implementation": "PYTOOL_0.9",
    }
    at_s = scene.days.moment(1, 22)
    yield acts.associate(at_s, base)
    for number in range(6):
        _, exam = scene.exam()
        yield acts.retrieve(at_s + 9 * number, base, exam, "C-GET")
        yield acts.transferred(at_s + 9 * number + 6, base, exam, "C-GET")


def twins(scene: Scene) -> Iterator[Draft]:
    """A title is used from two addresses at the same time."""
    device = scene.device()
    other = {**device.base, "address": f"10.98.1.{scene.chance.randrange(2, 250)}"}
    at_s = scene.days.moment(8, 17)
    for number in range(8):
        base = other if number % 2 else device.base
        yield acts.associate(at_s + 12 * number, base)
        yield acts.echo(at_s + 12 * number + 1, base)


def guessing_titles(scene: Scene) -> Iterator[Draft]:
    """A stranger tries called titles until one is right."""
    at_s, base = scene.days.moment(0, 23), scene.foreigner()
    for guess in scene.chance.sample(TITLES, len(TITLES)):
        knock = {**base, "called": guess, "ae_title": "FINDSCU"}
        yield acts.refused_association(at_s, knock, "unknown called AE title")
        at_s += scene.chance.uniform(1, 20)


def scanner(scene: Scene) -> Iterator[Draft]:
    """A scanner of ports sweeps by with the titles that its scripts come with."""
    at_s = scene.days.moment(0, 23)
    base = scene.foreigner(implementation="OFFIS_DCMTK_368")
    for title in ("ECHOSCU", "ANY-SCU", "FINDSCU", "ECHOSCU"):
        knock = {**base, "ae_title": title, "called": "ANY-SCP"}
        yield acts.refused_association(at_s, knock, "unknown calling AE title")
        at_s += 3


def partial_gets(scene: Scene) -> Iterator[Draft]:
    """Images are fetched, and each time the association is cut before the end."""
    device, (_, exam) = scene.device("read", "ward"), scene.exam()
    at_s = scene.days.moment(8, 18)
    for number in range(7):
        at = at_s + 45 * number
        left = max(0, exam.images - 1 - number)
        yield acts.retrieve(at, device.base, exam, "C-GET")
        yield acts.transferred(at + 20, device.base, exam, "C-GET", left=left)


def more_left_than_began(scene: Scene) -> Iterator[Draft]:
    """More images left than the record said would."""
    device, at_s = scene.device("read", "ward"), scene.days.moment(8, 18)
    for number in range(3):
        _, exam = scene.exam()
        at, left = at_s + 60 * number, exam.images * 3 + 40
        draft = acts.transferred(at + 20, device.base, exam, "C-GET", left=left)
        yield acts.retrieve(at, device.base, exam, "C-GET")
        yield draft._replace(fields={**draft.fields, "ending": Ending.SUCCESS})


def overwriting(scene: Scene) -> Iterator[Draft]:
    """Another device sends changed images into a study that is reported."""
    case, exam = scene.exam()
    device = scene.device("US", "MR", "CT", "CR")
    while device.name == exam.device:
        device = scene.device()
    at_s = max(scene.days.moment(1, 22), exam.reported_s + HOUR_S)
    yield acts.associate(at_s - 2, device.base)
    for number in range(3):
        yield acts.about(
            at_s + number, Kind.CONFLICT, device.base, exam,
            instances=1, service="C-STORE", ending=Ending.MINOR_FAILURE,
        )  # fmt: skip
    yield acts.store(at_s + 9, device.base, exam, max(1, exam.images // 10))
    assert case.exams


def another_patient(scene: Scene) -> Iterator[Draft]:
    """Images arrive in a study under the Patient ID of somebody else."""
    case, exam = scene.exam()
    other = scene.exam()[0]
    while other.id == case.id:
        other = scene.exam()[0]
    device = next(
        each for each in scene.days.hospital.devices if each.name == exam.device
    )
    at_s = max(scene.days.moment(7, 20), exam.performed_s + HOUR_S)
    touched = (Touched(other.id, Reach.NONE, (exam.uid,)),)
    yield acts.associate(at_s - 1, device.base)
    yield acts.store(at_s, device.base, exam, 4, touched=touched)


def downgrade(scene: Scene) -> Iterator[Draft]:
    """A device that always used TLS speaks in plaintext."""
    device, at_s = scene.device(), scene.days.moment(7, 19)
    base = {**device.base, "channel": "plaintext", "certificate": ""}
    for number in range(3):
        _, exam = scene.exam()
        yield acts.associate(at_s + 60 * number, base)
        yield acts.query(at_s + 60 * number + 2, base, [scene.exam()[0]], acts.BY_ID)
        yield acts.retrieve(at_s + 60 * number + 5, base, exam, "C-GET")
        yield acts.transferred(at_s + 60 * number + 9, base, exam, "C-GET")


def other_issuer(scene: Scene) -> Iterator[Draft]:
    """A device shows a certificate that another authority made."""
    device, at_s = scene.device(), scene.days.moment(7, 19)
    base = {**device.base, "certificate": scene.mark(device.name)}
    for number in range(2):
        draft = acts.associate(at_s + MINUTE_S * number, base)
        yield draft._replace(
            fields={"details": {"issuer": "Another CA", "not_after": "2036-01-01"}}
        )


def polyglot(scene: Scene) -> Iterator[Draft]:
    """Files that are programs as well, a bomb and a path are sent."""
    device, at_s = scene.device(), scene.days.moment(0, 23)
    for why in ("executable preamble", "inflates too far", "path in a file id"):
        yield acts.about(
            at_s, Kind.GATE, device.base, None,
            what=why, ending=Ending.SERIOUS_FAILURE,
        )  # fmt: skip
        at_s += scene.chance.uniform(5, 60)


def clock_set_back(scene: Scene) -> Iterator[Draft]:
    """The clock of the node is set back while studies are fetched, and forth again."""
    station, at_s = scene.device("read"), scene.days.moment(8, 18)
    for number in range(4):
        _, exam = scene.exam()
        at = at_s + 12 * number
        yield acts.retrieve(at, station.base, exam, "C-GET")._replace(
            skew_s=-6 * HOUR_S
        )
        yield acts.transferred(at + 5, station.base, exam, "C-GET")._replace(
            skew_s=-6 * HOUR_S
        )


def copies_everything(scene: Scene) -> Iterator[Draft]:
    """A workstation fetches study after study all night."""
    station, at_s = scene.device("read", "ward"), scene.days.moment(22, 23)
    yield acts.associate(at_s - 1, station.base)
    for _ in range(180):
        _, exam = scene.exam()
        yield acts.retrieve(at_s, station.base, exam, "C-GET")
        yield acts.transferred(at_s + 8, station.base, exam, "C-GET")
        at_s += scene.chance.uniform(9, 20)


def link_from_abroad(scene: Scene) -> Iterator[Draft]:
    """Somebody of a ward shares a link, which is opened abroad."""
    session = scene.session("nurse")
    at_s = scene.within(session)
    case = scene.strangers(session.member, 1)[0]
    yield acts.export(at_s, session.base, case.exams[-1], "link")
    abroad = acts.by_link(f"{ABROAD}{scene.chance.randrange(2, 250)}")
    yield acts.view(at_s + HOUR_S, abroad, case.exams[-1])
