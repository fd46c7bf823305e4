"""What is told at once and entered soon: seen by readers, kept by crashes."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from leadglass.access.policy import Kind as SubjectKind
from leadglass.access.policy import Subject
from leadglass.access.rights import Right
from leadglass.archive.caller import Caller
from leadglass.archive.erase import Erase
from leadglass.archive.ingest import Ingest
from leadglass.archive.rebuild import Rebuild
from leadglass.archive.receipts import Receipt
from leadglass.archive.recovery import recover
from leadglass.audit.builders import Actor, Service
from leadglass.audit.codes import EventID, Outcome
from leadglass.database.engine import Transaction
from leadglass.dicom.uids import UID
from leadglass.errors import Conflict, Damaged, Unavailable
from leadglass.index.index import Index
from leadglass.index.records import Added, InstanceRecord, Kind
from leadglass.vault.blobs import BlobName
from tests.unit.archive.conftest import OPERATOR, STUDY, Home, Rules, make_instance
from tests.unit.archive.rig import (
    Rig,
    arriving,
    blob_names,
    check_whole,
    events,
    finish,
    kept_aside,
    locations,
    on,
    quiet_disk,
    send,
)

SCANNER = Caller(
    Subject(SubjectKind.DEVICE, "CT1"),
    None,
    ae_title="CT1",
    certificate="ab" * 32,
    channel="TLSv1.3",
)


class ForgetfulIndex(Index):
    """Has a mistake that the second instance brings to light."""

    def add(self, tx: Transaction, record: InstanceRecord) -> Added:
        """Fail as such mistakes do: with a text that nobody must read."""
        if record.instance_uid.endswith(".2"):
            raise ValueError(f"no such patient: {record.attributes.text('PatientID')}")
        return super().add(tx, record)


@pytest.fixture
def rig(home: Home) -> Iterator[Rig]:
    """Another process beside the one of ``home``."""
    with on(home, quiet_disk()) as made:
        yield made


def stop_entering(rig: Rig) -> None:
    """Let the database of a process fail from now on."""
    rig.database.fail_before = 1_000_000


def enter_again(rig: Rig) -> None:
    rig.database.fail_before = 0


def stand_still(rig: Rig) -> None:
    """Wait until the process has noticed that nothing can be entered."""
    with suppress(Unavailable):
        rig.parts.intake.catch_up()


def instances_told(home: Home) -> list[str]:
    return sorted(
        uid
        for event in events(home, EventID.INSTANCES_TRANSFERRED)
        for thing in event.objects
        for sop_class in thing.sop_classes
        for uid in sop_class.instances
    )


class TestReaders:
    def test_of_this_process_see_what_was_told(self, home: Home) -> None:
        ingest = Ingest(home.parts)
        for number in range(5):
            finish(arriving(ingest, make_instance(number)))
            assert len(locations(home.parts)) == number + 1

    def test_of_another_see_it_soon(self, home: Home, rig: Rig) -> None:
        finish(arriving(rig.ingest, make_instance()))
        waited = threading.Event()
        for _ in range(500):
            if locations(home.parts):
                break
            waited.wait(0.02)
        assert len(locations(home.parts)) == 1

    def test_are_served_while_nothing_can_be_entered(self, rig: Rig) -> None:
        send(rig.ingest, make_instance(1))
        stop_entering(rig)
        finish(arriving(rig.ingest, make_instance(2)))
        stand_still(rig)
        assert len(locations(rig.parts)) == 1


class TestRecord:
    def test_one_event_for_what_came_together(self, home: Home, ingest: Ingest) -> None:
        arrivals = [arriving(ingest, make_instance(number)) for number in range(8)]
        for arrival in arrivals:
            finish(arrival)
        home.parts.intake.catch_up()
        assert instances_told(home) == [f"{STUDY}.1.{number}" for number in range(8)]
        found = events(home, EventID.INSTANCES_TRANSFERRED)
        assert len(found) < 8
        assert all(each.outcome is Outcome.SUCCESS for each in found)

    def test_callers_and_studies_are_kept_apart(self, home: Home, rules: Rules) -> None:
        rules.allow(SCANNER.subject, Right.STORE)
        ingest = Ingest(home.parts)
        for caller in (OPERATOR, SCANNER):
            for study in ("1.2.3.1", "1.2.3.2"):
                number = 1 + (caller is SCANNER)
                finish(arriving(ingest, make_instance(number, study=study), caller))
        home.parts.intake.catch_up()
        told = {
            (event.participants[0].user_id, thing.id, sop_class.instances)
            for event in events(home, EventID.INSTANCES_TRANSFERRED)
            for thing in event.objects
            for sop_class in thing.sop_classes
        }
        assert told == {
            ("operator", "1.2.3.1", ("1.2.3.1.1.1",)),
            ("operator", "1.2.3.2", ("1.2.3.2.1.1",)),
            ("CT1", "1.2.3.1", ("1.2.3.1.1.2",)),
            ("CT1", "1.2.3.2", ("1.2.3.2.1.2",)),
        }


class TestFailures:
    def test_nothing_is_taken_on_top_of_what_cannot_be_entered(self, rig: Rig) -> None:
        stop_entering(rig)
        assert finish(arriving(rig.ingest, make_instance(1))).kind is Kind.NEW
        stand_still(rig)
        with pytest.raises(Unavailable) as caught:
            arriving(rig.ingest, make_instance(2))
        assert caught.value.dimse_status == 0xA700
        enter_again(rig)
        waited = threading.Event()
        for _ in range(500):
            with suppress(Unavailable):
                rig.parts.intake.check()
                break
            waited.wait(0.02)
        send(rig.ingest, make_instance(2))
        assert len(locations(rig.parts)) == 2
        check_whole(rig.parts)

    def test_what_was_durable_and_said_to_have_failed_keeps_its_blob(
        self, home: Home, rig: Rig
    ) -> None:
        rig.database.fail_after = 1
        finish(arriving(rig.ingest, make_instance()))
        waited = threading.Event()
        for _ in range(500):
            with suppress(Unavailable):
                rig.parts.intake.catch_up()
                break
            waited.wait(0.02)
        check_whole(rig.parts)
        assert len(locations(rig.parts)) == 1
        assert instances_told(home) == [f"{STUDY}.1.1"]

    def test_closing_enters_what_waits(self, home: Home, ingest: Ingest) -> None:
        finish(arriving(ingest, make_instance()))
        home.parts.close()
        assert len(locations(home.parts)) == 1
        with pytest.raises(Unavailable):
            finish(arriving(ingest, make_instance(2)))


class TestCrash:
    def test_what_was_told_is_entered_as_it_would_have_been(
        self, home: Home, rules: Rules
    ) -> None:
        rules.allow(SCANNER.subject, Right.STORE)
        begun = datetime.now(UTC)
        with on(home, quiet_disk()) as rig:
            stop_entering(rig)
            for number in (1, 2):
                finish(arriving(rig.ingest, make_instance(number), SCANNER))
        assert locations(home.parts) == []
        assert len(blob_names(home.parts)) == 2
        assert recover(home.parts, Erase(home.parts)).entered == 2
        check_whole(home.parts)
        assert instances_told(home) == [f"{STUDY}.1.1", f"{STUDY}.1.2"]
        event = events(home, EventID.INSTANCES_TRANSFERRED)[0]
        assert event.participants[0].user_id == "CT1"
        assert dict(event.details)["certificate"] == "ab" * 32
        with home.parts.database.read() as connection:
            rows = connection.exec_driver_sql(
                "SELECT source, received_at FROM instance"
            ).all()
        for source, received_at in rows:
            assert source == "CT1"
            received = datetime.fromisoformat(received_at)
            assert begun - timedelta(seconds=1) < received < datetime.now(UTC)
        again = recover(home.parts, Erase(home.parts))
        assert (again.entered, again.settled, again.removed) == (0, 0, 0)

    def test_what_rotted_meanwhile_is_kept_and_told(self, home: Home) -> None:
        with on(home, quiet_disk()) as rig:
            stop_entering(rig)
            finish(arriving(rig.ingest, make_instance()))
        (path,) = home.blob_paths()
        rotten = bytearray(path.read_bytes())
        rotten[-1] ^= 1
        path.write_bytes(rotten)
        found = recover(home.parts, Erase(home.parts))
        assert (found.damaged, found.entered, found.removed) == (1, 0, 0)
        assert path.read_bytes() == rotten

    def test_what_only_a_mended_version_can_enter_keeps_no_node_from_starting(
        self, home: Home, rig: Rig
    ) -> None:
        parts = replace(rig.parts, index=ForgetfulIndex())
        for number in (1, 2, 3):
            finish(arriving(Ingest(parts), make_instance(number)))
        parts.intake.catch_up()
        assert instances_told(home) == [f"{STUDY}.1.{number}" for number in (1, 2, 3)]
        held = [
            each
            for each in events(home, EventID.INSTANCES_TRANSFERRED)
            if each.outcome is not Outcome.SUCCESS
        ]
        assert [each.outcome_description for each in held] == [
            "stored, but held: it cannot be entered"
        ]
        parts.close()
        rig.inner.close()  # the process ends
        broken = replace(home.parts, index=ForgetfulIndex())
        found = recover(broken, Erase(broken))
        assert (found.held, found.entered, found.removed) == (1, 0, 0)
        found = recover(home.parts, Erase(home.parts))
        assert (found.held, found.entered, found.removed) == (0, 1, 0)
        check_whole(home.parts)
        assert len(locations(home.parts)) == 3

    def test_rebuilding_knows_the_senders(self, home: Home, rules: Rules) -> None:
        rules.allow(SCANNER.subject, Right.STORE)
        send(Ingest(home.parts), make_instance(), SCANNER)
        with home.parts.database.read() as connection:
            before = connection.exec_driver_sql(
                "SELECT source, received_at FROM instance"
            ).all()
        Rebuild(home.parts)(OPERATOR)
        with home.parts.database.read() as connection:
            after = connection.exec_driver_sql(
                "SELECT source, received_at FROM instance"
            ).all()
        assert after == before


class TestSameUID:
    @pytest.mark.parametrize("are_same", [True, False])
    def test_at_the_same_time_one_is_first(
        self, home: Home, ingest: Ingest, are_same: bool
    ) -> None:
        arrivals = [
            arriving(
                ingest,
                make_instance(pixels=bytes(64) if are_same else bytes([number] * 64)),
            )
            for number in range(8)
        ]
        together = threading.Barrier(8)

        def store(number: int) -> Kind:
            together.wait(timeout=30)
            try:
                return finish(arrivals[number]).kind
            except Conflict:
                return Kind.OTHER

        with ThreadPoolExecutor(8) as threads:
            kinds = sorted(threads.map(store, range(8)))
        rest = Kind.SAME if are_same else Kind.OTHER
        assert kinds == sorted([Kind.NEW, *[rest] * 7])
        assert len(locations(home.parts)) == 1
        assert len(kept_aside(home.parts)) == (0 if are_same else 7)
        check_whole(home.parts)

    def test_told_by_two_processes_neither_is_lost(self, home: Home, rig: Rig) -> None:
        stop_entering(rig)
        assert finish(arriving(rig.ingest, make_instance())).kind is Kind.NEW
        stand_still(rig)
        other = make_instance(pixels=b"other")
        assert send(Ingest(home.parts), other).kind is Kind.NEW
        enter_again(rig)
        rig.close()
        assert len(locations(home.parts)) == 1
        assert len(kept_aside(home.parts)) == 1
        check_whole(home.parts)


class TestErasure:
    def test_by_another_process_of_what_was_just_told_is_on_the_record(
        self, home: Home, rig: Rig
    ) -> None:
        send(rig.ingest, make_instance(1))
        stop_entering(rig)
        assert finish(arriving(rig.ingest, make_instance(2))).kind is Kind.NEW
        stand_still(rig)
        Erase(home.parts)(OPERATOR, UID(STUDY), "on request")
        enter_again(rig)
        rig.close()
        assert locations(home.parts) == []
        assert blob_names(home.parts) == set()
        assert f"{STUDY}.1.2" in instances_told(home)
        assert len(events(home, EventID.STUDY_DELETED)) == 2

    def test_waits_for_what_arrives_and_is_waited_for(
        self, home: Home, ingest: Ingest
    ) -> None:
        send(ingest, make_instance(0))
        arrivals = [arriving(ingest, make_instance(number)) for number in range(1, 9)]
        together = threading.Barrier(9)

        def store(number: int) -> bool:
            together.wait(timeout=30)
            try:
                finish(arrivals[number])
            except Unavailable:
                return False
            return True

        def erase() -> None:
            together.wait(timeout=30)
            Erase(home.parts)(OPERATOR, UID(STUDY), "on request")

        with ThreadPoolExecutor(9) as threads:
            erasing = threads.submit(erase)
            list(threads.map(store, range(8)))
            erasing.result()
        assert locations(home.parts) == []
        assert blob_names(home.parts) == set()


class TestReceipt:
    def test_there_and_back(self) -> None:
        actor = Actor("CT1", "192.0.2.7", "CT1", "ab" * 32, "TLSv1.3", "device")
        receipt = Receipt(actor, Service.C_STORE, datetime.now(UTC))
        assert Receipt.decode(receipt.encode()) == receipt

    @pytest.mark.parametrize("note", [b"x", b"[]", b"{}", b"[1,2,3]", b"\xff", b"null"])
    def test_nothing_else_is_one(self, note: bytes) -> None:
        with pytest.raises(Damaged):
            Receipt.decode(note)

    def test_it_is_sealed_with_the_blob(self, home: Home, ingest: Ingest) -> None:
        send(ingest, make_instance(), replace(OPERATOR, ae_title="WHO-SENT-IT"))
        (path,) = home.blob_paths()
        assert b"WHO-SENT-IT" not in path.read_bytes()
        with home.parts.blobs.reader(BlobName(path.name)) as reader:
            assert b"WHO-SENT-IT" in reader.note
