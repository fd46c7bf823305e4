"""Attacks by people who take their time: what rules with thresholds do not see.

There is no goal for these. They say what the plain scripts cannot: how far below its
threshold a rule is blind, and what a good reason near at hand hides.
"""

from collections.abc import Iterator
from dataclasses import replace

from leadglass.assurance.simulation import acts
from leadglass.assurance.simulation.attacks.doors import TITLES
from leadglass.assurance.simulation.attacks.scene import ABROAD, Scene
from leadglass.assurance.simulation.draft import DAY_S, HOUR_S, MINUTE_S, Draft
from leadglass.assurance.trails.fact import Kind


def one_a_day(scene: Scene) -> Iterator[Draft]:
    """Somebody opens one patient of another ward on each of some days."""
    session = scene.session()
    at_s = scene.within(session)
    for case in scene.strangers(session.member, 5):
        yield from scene.looks(session.base, [case], at_s)
        at_s += DAY_S + scene.chance.uniform(-1, 1) * HOUR_S


def slow_spray(scene: Scene) -> Iterator[Draft]:
    """One address tries one password with another account every nine minutes."""
    members = [each for each in scene.days.hospital.members if each.works]
    address = f"{ABROAD}{scene.chance.randrange(2, 250)}"
    at_s = scene.days.moment(1, 12)
    for member in scene.chance.sample(members, min(40, len(members))):
        yield acts.login_failed(at_s, member.base(address))
        at_s += 9 * MINUTE_S


def slow_enumeration(scene: Scene) -> Iterator[Draft]:
    """A viewer asks for numbers with gaps, one in a quarter of an hour."""
    base, at_s = scene.device("ward").base, scene.days.moment(1, 10)
    remembered = scene.days.hospital.patients.remembered
    some = scene.chance.sample(range(len(remembered)), 40)
    for at in sorted(some):
        case = remembered[at]
        yield acts.query(at_s, base, [case], acts.BY_ID, service="C-FIND")
        at_s += scene.chance.uniform(11, 20) * MINUTE_S


def slow_titles(scene: Scene) -> Iterator[Draft]:
    """A stranger tries another called title every twenty minutes."""
    at_s, base = scene.days.moment(0, 18), scene.foreigner(ae_title="WORKLIST7")
    for guess in TITLES:
        knock = {**base, "called": guess}
        yield acts.refused_association(at_s, knock, "unknown called AE title")
        at_s += 20 * MINUTE_S


def trickle(scene: Scene) -> Iterator[Draft]:
    """A workstation fetches a dozen studies more than it needs, each night."""
    station, at_s = scene.device("read"), scene.days.moment(20, 22)
    for _ in range(5):
        for number in range(12):
            _, exam = scene.exam()
            at, title = at_s + number * MINUTE_S, station.ae_title
            yield acts.retrieve(at, station.base, exam, "C-MOVE", title)
            yield acts.transferred(at + 30, station.base, exam, "C-MOVE", title)
        at_s += DAY_S


def few_deletions(scene: Scene) -> Iterator[Draft]:
    """Two studies are destroyed in an hour, for some hours."""
    session = scene.session("administrator")
    at_s = session.begins_s + HOUR_S / 2
    for _ in range(10):
        exam = scene.exam()[1]
        yield acts.about(
            at_s, Kind.DELETE, session.base, exam,
            instances=exam.images, details={"reason": "clean up"},
        )  # fmt: skip
        at_s += scene.chance.uniform(25, 40) * MINUTE_S


def neighbour_in_the_house(scene: Scene) -> Iterator[Draft]:
    """Somebody looks at a neighbour who lies in the own ward: no list tells why."""
    session = scene.session()
    person, hospital = session.member.person, scene.days.hospital
    case = scene.invented(session.member, address=person.address, is_flagged=False)
    at_s = scene.within(session)
    scene.days.care(case, person.department, at_s - DAY_S, at_s + DAY_S)
    exam = replace(case.exams[-1], uid=hospital.patients.uid())
    case.exams.append(exam)
    scene.days.news.append(exam.known(hospital.scale))
    yield from scene.looks(session.base, [case], at_s)
