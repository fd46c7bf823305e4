"""People with a login who look at what does not concern them."""

from collections.abc import Iterator
from dataclasses import replace

from leadglass.assurance.simulation import acts
from leadglass.assurance.simulation.attacks.scene import ABROAD, Scene
from leadglass.assurance.simulation.draft import DAY_S, HOUR_S, MINUTE_S, Draft
from leadglass.assurance.simulation.staff import RADIOLOGY
from leadglass.assurance.trails.fact import Ending, Kind


def snooping_colleague(scene: Scene) -> Iterator[Draft]:
    """Somebody of a ward opens patient after patient of other wards, out of boredom."""
    session = scene.session()
    cases = scene.strangers(session.member, scene.chance.randint(5, 9))
    yield from scene.looks(session.base, cases, scene.within(session))


def own_record(scene: Scene) -> Iterator[Draft]:
    """Somebody looks at their own images."""
    days, patients = scene.days, scene.days.hospital.patients
    own = {case.id: case for case in patients.staff}
    found = [
        each
        for each in days.on_duty.sessions
        if each.member.person.patient_id in own and each.begins_s >= days.start_s
    ]
    if found:
        session = scene.chance.choice(found)
        member, base = session.member, session.base
        at_s = (session.begins_s + session.ends_s) / 2
    else:
        by_id = {each.person.patient_id: each for each in days.hospital.members}
        working = [by_id[id_] for id_ in own if by_id[id_].works]
        member = scene.chance.choice(working)
        base, at_s = member.base(member.addresses[0]), days.start_s + 10 * HOUR_S
    yield from scene.looks(base, [own[member.person.patient_id]], at_s)


def family(scene: Scene) -> Iterator[Draft]:
    """Somebody looks at a relative who lives at the same address."""
    session = scene.session()
    person = session.member.person
    case = scene.invented(
        session.member,
        surname=person.surname,
        address=person.address,
        is_flagged=False,
    )
    yield from scene.looks(session.base, [case], scene.within(session))


def colleague_as_patient(scene: Scene) -> Iterator[Draft]:
    """Somebody looks at a colleague who is a patient elsewhere in the house."""
    session = scene.session()
    case = scene.invented(session.member, is_staff=True, is_flagged=False)
    yield from scene.looks(session.base, [case], scene.within(session))


def public_figure(scene: Scene) -> Iterator[Draft]:
    """Somebody looks at a patient of public interest."""
    session = scene.session("nurse", "physician", "technologist", "clerk")
    case = scene.invented(session.member, is_flagged=True)
    yield from scene.looks(session.base, [case], scene.within(session))


def neighbour(scene: Scene) -> Iterator[Draft]:
    """Somebody looks at people of their own street."""
    session = scene.session()
    address = session.member.person.address
    cases = [
        scene.invented(session.member, address=address, is_flagged=False)
        for _ in range(2)
    ]
    yield from scene.looks(session.base, cases, scene.within(session))


def long_gone(scene: Scene) -> Iterator[Draft]:
    """Somebody goes through patients who were not here for a year."""
    session = scene.session()
    old = [
        case
        for case in scene.days.hospital.patients.old
        if session.member.name not in case.exams[-1].referring
        and case.exams[-1].department != session.member.person.department
    ]
    cases = scene.chance.sample(old, min(6, len(old)))
    yield from scene.looks(session.base, cases, scene.within(session))


def at_night(scene: Scene) -> Iterator[Draft]:
    """Somebody of the office comes back in the middle of the night."""
    member = scene.chance.choice(scene.days.hospital.by_role["clerk"])
    base = member.base(member.addresses[0])
    at_s = scene.days.moment(25, 27.5)
    yield acts.login(at_s - 40, base)
    yield from scene.looks(base, scene.strangers(member, 5), at_s)


def dormant_account(scene: Scene) -> Iterator[Draft]:
    """An account that nobody has used for months opens images."""
    away = scene.days.hospital.asleep()
    if not away:
        return  # none sleeps any more
    member = scene.chance.choice(away)
    scene.days.hospital.awake.add(member.name)
    base = {**member.base(member.addresses[0]), "address": "10.77.3.9"}
    at_s = scene.days.moment(9, 17)
    yield acts.login(at_s - 30, base)
    yield from scene.looks(base, scene.strangers(member, 4), at_s)


def former_employee(scene: Scene) -> Iterator[Draft]:
    """Somebody who has left still has a login, and uses it."""
    left = [each for each in scene.days.hospital.members if each.person.left]
    member = scene.chance.choice(left)
    base = member.base(member.home)
    at_s = scene.days.moment(17, 22)
    yield acts.login_failed(at_s - 60, base)
    yield acts.login(at_s - 30, base)
    yield from scene.looks(base, scene.strangers(member, 3), at_s)


def glass_without_review(scene: Scene) -> Iterator[Draft]:
    """Somebody breaks the glass day after day, and nobody reviews it."""
    session = scene.session("physician")
    base, at_s = session.base, scene.within(session)
    for number, case in enumerate(scene.strangers(session.member, 5)):
        glass = {"glass": str(10**6 + 100 * scene.number + number)}
        exam = case.exams[-1]
        yield acts.about(at_s, Kind.GLASS_BROKEN, base, exam, details=glass)
        yield acts.view(at_s + 40, base, exam)
        yield acts.shown(at_s + 90, base, exam, exam.images)
        yield acts.about(at_s + HOUR_S, Kind.GLASS_OVER, base, exam, details=glass)
        at_s += scene.chance.uniform(0.6, 1.1) * DAY_S


def in_the_news(scene: Scene) -> Iterator[Draft]:
    """Half the house looks at the patient whom the papers write about."""
    session = scene.session()
    case = scene.invented(session.member, is_flagged=False)
    sessions = [
        each
        for each in scene.days.on_duty.sessions
        if each.begins_s >= scene.days.start_s
        and each.member.role in {"nurse", "physician", "technologist"}
    ]
    many = min(len(sessions), 30)
    for each in scene.chance.sample(sessions, many):
        at_s = scene.chance.uniform(each.begins_s + 600, each.ends_s - HOUR_S / 2)
        yield from scene.looks(each.base, [case], at_s)


def rummaging(scene: Scene) -> Iterator[Draft]:
    """Somebody opens study after study, for hours, faster than one can read."""
    session = scene.session("technologist", "physician")
    at_s = scene.within(session)
    for case in scene.strangers(session.member, 160):
        exam = case.exams[-1]
        yield acts.view(at_s, session.base, exam)
        yield acts.shown(at_s + 8, session.base, exam, min(3, exam.images))
        at_s += scene.chance.uniform(15, 45)


def decoy_patient(scene: Scene) -> Iterator[Draft]:
    """Somebody who goes through everything opens a patient who does not exist."""
    session = scene.session()
    case = scene.chance.choice(scene.days.hospital.patients.canaries)
    yield from scene.looks(session.base, [case], scene.within(session))


def stolen_session(scene: Scene) -> Iterator[Draft]:
    """A login is used at its desk, and twenty minutes later from abroad."""
    session = scene.session("physician", "radiologist")
    at_s = scene.within(session)
    yield acts.login(at_s, session.base)
    abroad = {**session.base, "address": f"{ABROAD}{scene.chance.randrange(2, 250)}"}
    yield acts.login(at_s + 20 * MINUTE_S, abroad)
    cases = scene.strangers(session.member, 3)
    yield from scene.looks(abroad, cases, at_s + 22 * MINUTE_S)


def service_account(scene: Scene) -> Iterator[Draft]:
    """The account of a program is used by hand, in a browser."""
    program = scene.days.hospital.program(
        scene.chance.choice(("archive-copy", "ris", "research-pipeline"))
    )
    base = {
        **program.base,
        "address": scene.session().member.addresses[0],
        "implementation": "Firefox/139",
    }
    at_s = scene.days.moment(9, 17)
    yield acts.login(at_s, base)
    cases = [scene.exam()[0] for _ in range(4)]
    yield from scene.looks(base, cases, at_s + 30)
    yield acts.logout(at_s + HOUR_S, base)


def reads_the_record(scene: Scene) -> Iterator[Draft]:
    """An administrator looks what the record says, and takes a copy of it."""
    session = scene.session("administrator")
    at_s = scene.within(session)
    for number in range(3):
        yield acts.about(
            at_s + 50 * number, Kind.AUDIT_READ, session.base, None, what="export"
        )


def silences_the_record(scene: Scene) -> Iterator[Draft]:
    """Recording is stopped for an hour."""
    session = scene.session("administrator")
    at_s = scene.within(session)
    yield acts.about(at_s, Kind.AUDIT_STOPPED, session.base, None)
    yield acts.about(at_s + HOUR_S, Kind.AUDIT_STARTED, session.base, None)


def gives_itself_rights(scene: Scene) -> Iterator[Draft]:
    """Rules and devices are changed on a night without a window for changes."""
    member = scene.chance.choice(scene.days.hospital.by_role["administrator"])
    base = member.base(member.addresses[0])
    at_s = scene.days.moment(25, 28)
    yield acts.login(at_s - 60, base)
    yield acts.change(at_s, base, "rules changed")
    yield acts.change(at_s + 300, base, "device enrolled", device="ct-9")


def deletes_many(scene: Scene) -> Iterator[Draft]:
    """Studies are destroyed one after the other."""
    session = scene.session("administrator")
    at_s = scene.within(session)
    for _ in range(scene.chance.randint(8, 15)):
        exam = scene.exam()[1]
        yield acts.about(
            at_s, Kind.DELETE, session.base, exam,
            instances=exam.images, details={"reason": "clean up"},
        )  # fmt: skip
        at_s += scene.chance.uniform(60, 240)


def takes_home(scene: Scene) -> Iterator[Draft]:
    """Somebody who never exports writes studies to discs."""
    session = scene.session("nurse")
    at_s = scene.within(session)
    for case in scene.strangers(session.member, 4):
        yield acts.view(at_s - 60, session.base, case.exams[-1])
        yield acts.export(at_s, session.base, case.exams[-1], "disc")
        at_s += scene.chance.uniform(60, 200)


def with_names(scene: Scene) -> Iterator[Draft]:
    """A cohort for research leaves with names in it."""
    session = scene.session("researcher")
    at_s = scene.within(session)
    for _ in range(6):
        _, exam = scene.exam()
        yield acts.export(
            at_s, session.base, exam, "research", details={"anonymized": "False"}
        )
        at_s += 30


def wide_narrow_take(scene: Scene) -> Iterator[Draft]:
    """Somebody asks for everybody, then for one, looks, and exports at once."""
    session = scene.session("technologist", "physician")
    base, at_s = session.base, scene.within(session)
    cases = scene.strangers(session.member, 60)
    yield acts.query(at_s, base, cases, acts.EMPTY, returned=len(cases))
    yield acts.query(at_s + 90, base, cases[:8], acts.BY_NAME)
    yield acts.query(at_s + 200, base, cases[:1], acts.BY_ID)
    exam = cases[0].exams[-1]
    yield acts.view(at_s + 240, base, exam)
    yield acts.shown(at_s + 300, base, exam, exam.images)
    yield acts.export(at_s + 500, base, exam, "download")


def password_spray(scene: Scene) -> Iterator[Draft]:
    """One address tries one password with everybody, and is in with one."""
    members = [each for each in scene.days.hospital.members if each.works]
    address = f"{ABROAD}{scene.chance.randrange(2, 250)}"
    at_s = scene.days.moment(1, 22)
    for member in scene.chance.sample(members, min(40, len(members))):
        base = {**member.base(address), "implementation": "python-requests/2.32"}
        yield acts.login_failed(at_s, base)
        at_s += scene.chance.uniform(15, 60)


def password_guessing(scene: Scene) -> Iterator[Draft]:
    """One account, many passwords."""
    session = scene.session("physician", "administrator")
    base = {**session.base, "address": f"{ABROAD}{scene.chance.randrange(2, 250)}"}
    at_s = scene.within(session)
    for _ in range(12):
        yield acts.login_failed(at_s, base)
        at_s += scene.chance.uniform(4, 15)


def harvester(scene: Scene) -> Iterator[Draft]:
    """A clerk looks up name after name all day, and never opens an image."""
    session = scene.session("clerk")
    at_s = session.begins_s + HOUR_S / 2
    for _ in range(140):
        found = [scene.exam()[0] for _ in range(scene.chance.randint(2, 6))]
        yield acts.query(at_s, session.base, found, acts.BY_NAME)
        at_s += scene.chance.uniform(40, 240)


def refused_again_and_again(scene: Scene) -> Iterator[Draft]:
    """Somebody tries what the role does not allow, at one patient after the other."""
    session = scene.session("nurse")
    at_s = scene.within(session)
    for case in scene.strangers(session.member, 12):
        yield acts.about(
            at_s, Kind.REFUSED, session.base, case.exams[-1],
            ending=Ending.MINOR_FAILURE, details={"right": "view"},
        )  # fmt: skip
        at_s += 20
    yield from scene.looks(
        session.base, scene.strangers(session.member, 4), at_s + MINUTE_S
    )


def moves_to_another_archive(scene: Scene) -> Iterator[Draft]:
    """A workstation is told to send studies to where nothing was ever sent."""
    station = scene.device("read")
    at_s = scene.days.moment(9, 17)
    yield acts.associate(at_s - 3, station.base)
    for _ in range(5):
        _, exam = scene.exam()
        exam = replace(exam, department=RADIOLOGY)
        yield acts.retrieve(at_s, station.base, exam, "C-MOVE", "STORE_SCP_X")
        yield acts.transferred(at_s + 15, station.base, exam, "C-MOVE", "STORE_SCP_X")
        at_s += 20
