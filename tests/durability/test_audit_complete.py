"""A day of a node: everything that is done has its record, and nothing else has.

Each act is followed by a look at what the log has gained: exactly these events, by
whom, and about whose studies. Then a hand with the key of the database changes the
records, and the log says so.
"""

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from leadglass.access.policy import Kind, Subject
from leadglass.app import Node, master_key_of
from leadglass.archive.caller import Caller
from leadglass.archive.keeping import Keeper
from leadglass.audit.codes import (
    ID_PATIENT,
    ID_STUDY_UID,
    Action,
    EventID,
    EventType,
    Outcome,
)
from leadglass.audit.events import Event
from leadglass.audit.findings import Report
from leadglass.database.engine import Transaction
from leadglass.dicom.attributes import Level
from leadglass.dicom.uids import UID, new_uid
from leadglass.errors import Refused
from leadglass.index.query import Selection
from leadglass.vault.keys import KeyFile
from tests.durability.acts import device as parsed_device
from tests.durability.clients import Gone, associated
from tests.durability.instances import Instance, make_instance
from tests.peers.receiver import Receiver, receivers
from tests.support.node import Credentials, RunningNode

REASON = "a test"
TOLD_WITHIN_S = 20
LOOK_S = 0.1


@dataclass(frozen=True)
class Told:
    """What a record says, as far as these tests compare it.

    Attributes:
        event: Kind of event and its types, as ``SECURITY_ALERT/LOGIN``.
        action: What was done: C R U D E.
        outcome: How it ended, as ``SUCCESS``.
        who: Who asked for it.
        studies, patients: Whom it names.
    """

    event: str
    action: str
    who: str
    outcome: str = "SUCCESS"
    studies: frozenset[str] = frozenset()
    patients: frozenset[str] = frozenset()

    @classmethod
    def of(cls, event: Event) -> "Told":
        (who, *_) = [
            *(each.user_id for each in event.participants if each.is_requestor),
            *(each.user_id for each in event.participants),
        ]
        named = {kind: set[str]() for kind in (ID_STUDY_UID, ID_PATIENT)}
        for each in event.objects:
            if each.id_type in named:
                named[each.id_type].add(each.id)
        for returned in event.returned:
            named[ID_PATIENT].add(returned.patient_id)
            named[ID_STUDY_UID].update(returned.studies)
        return cls(
            event="/".join(
                (
                    EventID(event.id).name,
                    *(EventType(each).name for each in event.types),
                )
            ),
            action=Action(event.action).name,
            who=who,
            outcome=Outcome(event.outcome).name,
            studies=frozenset(named[ID_STUDY_UID]),
            patients=frozenset(named[ID_PATIENT]),
        )


def about(told: Told, *instances: Instance) -> Told:
    """Return the same, naming these; their patient is ``P-`` and their number."""
    return replace(
        told,
        studies=frozenset(str(each.study) for each in instances),
        patients=frozenset(patient_of(each.study) for each in instances),
    )


def patient_of(study: UID) -> str:
    return f"P-{study[-6:]}"


def instance_of(study: UID, number: int = 1, uid: UID | None = None) -> Instance:
    more: dict[str, Any] = {} if uid is None else {"SOPInstanceUID": uid}
    return make_instance(number, study=study, patient=patient_of(study), **more)


@dataclass
class Log:
    """The log, as it grows."""

    node: RunningNode
    seen: int = 0
    told: list[Told] = field(default_factory=list)

    def wait_for(self, count: int) -> None:
        """Wait until the log has grown by that many."""
        deadline = time.monotonic() + TOLD_WITHIN_S
        while len(self.node.records()) < self.seen + count:
            assert time.monotonic() < deadline
            time.sleep(LOOK_S)

    def expect(self, *expected: Told) -> None:
        """Exactly these have come since the last look, or come very soon."""
        self.wait_for(len(expected))
        found = [Told.of(record.event) for record in self.node.records()[self.seen :]]
        self.seen += len(found)
        assert found == list(expected)
        self.told += found


LOGIN = Told("USER_AUTHENTICATION/LOGIN", "EXECUTE", "CT1")
TAKEN = Told("INSTANCES_TRANSFERRED", "CREATE", "CT1")
ASKED = Told("QUERY", "EXECUTE", "CT1")
LEAVING = Told("BEGIN_TRANSFERRING", "EXECUTE", "CT1")
LEFT = Told("INSTANCES_TRANSFERRED", "READ", "CT1")
REJECTED = Told("SECURITY_ALERT/NODE_AUTHENTICATION", "EXECUTE", "CT1", "MINOR_FAILURE")
RESTRICTED = Told(
    "SECURITY_ALERT/USE_OF_RESTRICTED_FUNCTION", "EXECUTE", "CT1", "MINOR_FAILURE"
)
OF_A_DEVICE = Told("SECURITY_ALERT/USER_SECURITY_ATTRIBUTES_CHANGED", "EXECUTE", "")
BEGUN = Told("SECURITY_ALERT/LOCAL_SERVICE_STARTED", "EXECUTE", "")
ENDED = Told("SECURITY_ALERT/LOCAL_SERVICE_STOPPED", "EXECUTE", "")
KEPT_ASIDE = Told(
    "SECURITY_ALERT/OBJECT_SECURITY_ATTRIBUTES_CHANGED",
    "EXECUTE",
    "CT1",
    "MINOR_FAILURE",
)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RunningNode]:
    made = RunningNode(tmp_path / "home")
    made.init()
    yield made
    if made.process is not None:
        made.kill()


def operator_of(node: RunningNode) -> str:
    with node.open() as opened:
        return opened.operator.subject.name


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receivers(1) as (made,):
        yield made


def test_a_day(node: RunningNode, receiver: Receiver, tmp_path: Path) -> None:
    log = Log(node)
    us = operator_of(node)
    of_rights = replace(
        OF_A_DEVICE, event=f"{OF_A_DEVICE.event}/SECURITY_ROLES_CHANGED", who=us
    )
    device = node.enrol("CT1")
    log.expect(of_rights)
    destination = node.enrol("WS1", destination=receiver.destination)
    log.expect(of_rights)
    receiver.serve(destination)
    node.start()
    started = Told("APPLICATION_ACTIVITY/APPLICATION_START", "EXECUTE", "")
    log.expect(replace(started, who=own_name(node)))
    what_a_device_does(node, log, device)
    what_an_operator_does(node, log, us, tmp_path)
    what_is_refused(node, log, device, us)
    assert node.stop() == 0
    stopped = Told("APPLICATION_ACTIVITY/APPLICATION_STOP", "EXECUTE", own_name(node))
    log.expect(stopped)
    with node.open() as opened:
        assert opened.audit.verify().is_intact


def own_name(node: RunningNode) -> str:
    with node.open() as opened:
        return opened.audit.origin


def what_a_device_does(node: RunningNode, log: Log, device: Credentials) -> None:
    one, other = (instance_of(new_uid()) for _ in range(2))
    with associated(node, device) as to:
        log.expect(LOGIN)
        assert to.echo() == 0
        log.expect(Told("NETWORK_ENTRY/ATTACH", "EXECUTE", "CT1"))
        assert to.store(one).status == 0
        log.expect(about(TAKEN, one))
        assert to.store(one).status == 0  # here already: nothing was made
        log.expect(about(replace(TAKEN, action="READ"), one))
        assert to.store(instance_of(one.study, 2, one.uid)).status == 0x0111
        log.expect(about(KEPT_ASIDE, one))
        assert to.store(other).status == 0
        log.expect(about(TAKEN, other))
        lie = replace(other, uid=new_uid())
        assert to.store(lie).status == 0xA900
        failed = replace(
            TAKEN, outcome="SERIOUS_FAILURE", studies=frozenset({str(other.study)})
        )
        log.expect(replace(failed, patients=frozenset({""})))
        # An answer names whom it told of, and no one else.
        assert len(to.find(t0020000D="")) == 2
        log.expect(about(ASKED, one, other))
        assert len(to.find(t00100020=patient_of(one.study), t0020000D="")) == 1
        log.expect(about(ASKED, one))
        assert to.find(t00100020="nobody") == []
        log.expect(ASKED)
        assert to.find_status("PLANET") != 0
        log.expect(replace(ASKED, outcome="MINOR_FAILURE"))
        response, _ = to.get(one.study)
        assert response.status == 0
        log.expect(about(LEAVING, one), about(LEFT, one))
        assert to.move(other.study, "WS1").status == 0
        log.expect(about(LEAVING, other), about(LEFT, other))
        assert to.move(one.study, "NOWHERE").status == 0xA801
        log.expect(RESTRICTED)


def what_an_operator_does(node: RunningNode, log: Log, us: str, folder: Path) -> None:
    begun, ended = replace(BEGUN, who=us), replace(ENDED, who=us)
    doomed = instance_of(new_uid())
    (folder / "media").mkdir()
    (folder / "media" / "one").write_bytes(doomed.file)
    with node.open() as opened:
        me = opened.operator
        opened.importer.run(me, folder / "media")
        log.expect(
            about(replace(TAKEN, who=us), doomed),
            about(Told("IMPORT", "CREATE", us), doomed),
        )
        selection = Selection(level=Level.STUDY, study_uids=(doomed.study,))
        opened.exporter.run(me, selection, folder / "out")
        log.expect(
            about(replace(LEAVING, who=us), doomed),
            about(Told("EXPORT", "READ", us), doomed),
        )
        opened.erase(me, doomed.study, REASON)
        log.expect(about(Told("STUDY_DELETED", "DELETE", us), doomed))
        opened.verify(me)
        log.expect(begun, ended)
        opened.rebuild(me)
        log.expect(begun, ended)
        rotate(opened, me)
        changed = Told("SECURITY_ALERT/SECURITY_CONFIGURATION", "EXECUTE", us)
        log.expect(begun, changed)
        devices = opened.registrar
        one = devices.enrol(me, parsed_device("MR1"), folder / "MR1")
        rights = f"{OF_A_DEVICE.event}/SECURITY_ROLES_CHANGED"
        of_rights = replace(OF_A_DEVICE, event=rights, who=us)
        log.expect(of_rights)
        devices.change(me, replace(one, ae_titles=one.ae_titles))
        log.expect(of_rights)
        devices.renew(me, "MR1", folder / "MR1")
        log.expect(replace(OF_A_DEVICE, who=us))
        devices.revoke(me, "MR1", REASON)
        log.expect(of_rights)


def rotate(opened: Node, me: Caller) -> None:
    master = master_key_of(opened.config)
    assert isinstance(master, KeyFile)
    Keeper(opened.parts, opened.authority).rotate(me, master.stage(), master.install)


def what_is_refused(node: RunningNode, log: Log, device: Credentials, us: str) -> None:
    with pytest.raises(Gone), associated(node, device, called="OTHER"):
        pass
    # At once in full; within a second also as a count, in case there are many.
    log.wait_for(2)
    log.expect(REJECTED, replace(REJECTED, who="127.0.0.1"))
    with node.open() as opened:
        stranger = Caller(Subject(Kind.OPERATOR, "stranger"), address=None)
        study = new_uid()
        parsed = parsed_device("XR1")
        selection = Selection(level=Level.STUDY, study_uids=(study,))
        keeper = Keeper(opened.parts, opened.authority)
        folder = node.home.parent / "nowhere"
        master = master_key_of(opened.config)
        for act in (
            lambda: opened.erase(stranger, study, REASON),
            lambda: opened.verify(stranger),
            lambda: opened.rebuild(stranger),
            lambda: opened.echo(stranger),
            lambda: opened.importer.run(stranger, node.home),
            lambda: opened.exporter.run(stranger, selection, folder),
            lambda: opened.registrar.enrol(stranger, parsed, folder),
            lambda: opened.registrar.renew(stranger, "CT1", folder),
            lambda: opened.registrar.revoke(stranger, "CT1", REASON),
            lambda: keeper.rotate(stranger, master),
        ):
            with pytest.raises(Refused):
                act()
            log.expect(replace(RESTRICTED, who="stranger"))
        opened.registrar.revoke(opened.operator, "CT1", REASON)
        log.expect(
            replace(
                OF_A_DEVICE,
                event=f"{OF_A_DEVICE.event}/SECURITY_ROLES_CHANGED",
                who=us,
            )
        )


# --- changing what was recorded -------------------------------------------------------


def attacked(home: Path, *statements: str) -> Report:
    """Change a log by its database's key, and have the node look at it."""
    node = RunningNode(home)
    with node.open() as opened:

        def work(tx: Transaction) -> None:
            for statement in statements:
                tx.connection.exec_driver_sql(statement)

        opened.database.write(work)
        report = opened.audit.verify()
        assert report.findings
        return report


ATTACKS = {
    "a word is changed": (
        (
            "UPDATE audit_record SET record = CAST("
            "replace(CAST(record AS TEXT), 'C-STORE', 'C-STARE') AS BLOB) "
            "WHERE CAST(record AS TEXT) LIKE '%C-STORE%'"
        ),
    ),
    "a record is gone": ("DELETE FROM audit_record WHERE n = 4",),
    "the last is gone": (
        "DELETE FROM audit_record WHERE n = (SELECT max(n) FROM audit_record)",
    ),
    "all are gone": ("DELETE FROM audit_record", "DELETE FROM audit_head"),
    "one is too many": (
        (
            "INSERT INTO audit_record SELECT n + 1000, wall_us, mono_us, boot, code, "
            "search_keys, salt, record, leaf FROM audit_record WHERE n = 5"
        ),
    ),
    "two changed places": (
        "UPDATE audit_record SET n = -1 WHERE n = 5",
        "UPDATE audit_record SET n = 5 WHERE n = 6",
        "UPDATE audit_record SET n = 6 WHERE n = -1",
    ),
    "a time is changed": ("UPDATE audit_record SET wall_us = wall_us + 1 WHERE n = 3",),
    "the head is changed": ("UPDATE audit_head SET size = size - 1",),
}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a dozen records."""
    folder = tmp_path_factory.mktemp("recorded")
    node = RunningNode(folder / "home")
    node.init()
    device = node.enrol("CT1")
    node.start()
    try:
        with associated(node, device) as to:
            for number in range(10):
                assert to.store(make_instance(number)).status == 0
                assert to.echo() == 0
        node.stop()
    finally:
        if node.process is not None:
            node.kill()
    return folder


@pytest.mark.parametrize("statements", ATTACKS.values(), ids=list(ATTACKS))
def test_a_changed_record_is_found(
    recorded: Path, tmp_path: Path, statements: tuple[str, ...]
) -> None:
    shutil.copytree(recorded, tmp_path / "copy")
    attacked(tmp_path / "copy" / "home", *statements)


def test_an_older_database_is_found(recorded: Path, tmp_path: Path) -> None:
    shutil.copytree(recorded, tmp_path / "copy")
    node = RunningNode(tmp_path / "copy" / "home")
    with node.open() as opened:
        opened.verify(opened.operator)
    shutil.copy(recorded / "home" / "database", node.home / "database")
    with node.open() as opened:
        found = opened.audit.verify().findings
        assert [each.kind for each in found] == ["rollback"]
