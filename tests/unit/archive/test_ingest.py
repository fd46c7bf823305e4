"""Storing: what is taken, what is refused and why, and what a failure leaves."""

import errno
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

from leadglass.access.policy import Rule
from leadglass.access.rights import Right
from leadglass.access.scopes import EVERYTHING, Scope
from leadglass.archive.caller import Caller
from leadglass.archive.condemned import KeyGone
from leadglass.archive.erase import Erase
from leadglass.archive.ingest import Arrival, Ingest, Mismatch, TooLarge, reaches
from leadglass.archive.parts import Parts, Room
from leadglass.archive.recovery import recover
from leadglass.audit.codes import Action, EventID, Outcome
from leadglass.config import Limits
from leadglass.dicom.header import Header, HeaderReader
from leadglass.dicom.transfer_syntaxes import EXPLICIT_VR_LE, TRANSFER_SYNTAXES
from leadglass.dicom.uids import UID
from leadglass.errors import BadData, Conflict, LeadglassError, Refused, Unavailable
from leadglass.index.records import Kind
from leadglass.vault.blobs import BlobName
from tests.unit.archive.conftest import (
    CT,
    MR,
    OPERATOR,
    STUDY,
    Home,
    Rules,
    data_set_of,
    make_instance,
)
from tests.unit.archive.rig import (
    FAR_AWAY,
    FailOnce,
    Rig,
    alerts,
    arriving,
    blob_names,
    check_whole,
    events,
    file_in,
    finish,
    kept_aside,
    key_ids,
    locations,
    on,
    quiet_disk,
    send,
)
from tests.unit.vault.faults import Crash, CrashingDisk

A700 = 0xA700


def nothing_is_left(parts: Parts) -> bool:
    return not (
        locations(parts) or kept_aside(parts) or blob_names(parts) or key_ids(parts)
    )


class TestWhatIsTaken:
    def test_it_is_stored_as_it_came_and_on_the_record(
        self, home: Home, ingest: Ingest
    ) -> None:
        file = make_instance()
        assert send(ingest, file).kind is Kind.NEW
        (location,) = locations(home.parts)
        stored = file_in(home.parts, location.blob)
        assert stored[location.data_set_offset :] == data_set_of(file)
        assert stored[:128] == bytes(128)
        (event,) = events(home, EventID.INSTANCES_TRANSFERRED)
        assert event.action is Action.CREATE
        assert event.outcome is Outcome.SUCCESS
        study, patient = event.objects
        assert study.id == STUDY
        assert study.sop_classes[0].instances == (f"{STUDY}.1.1",)
        assert (patient.id, patient.name) == ("PAT-1", "Müller^Zoë")

    def test_it_is_settled(self, home: Home, ingest: Ingest) -> None:
        send(ingest, make_instance())
        (path,) = home.blob_paths()
        assert path.parent.parent == home.folder / "blobs"

    def test_the_same_bytes_again_are_success_and_change_nothing(
        self, home: Home, ingest: Ingest
    ) -> None:
        send(ingest, make_instance())
        before = locations(home.parts), blob_names(home.parts), key_ids(home.parts)
        added = send(ingest, make_instance())
        assert added.kind is Kind.SAME
        after = locations(home.parts), blob_names(home.parts), key_ids(home.parts)
        assert after == before
        first, second = events(home, EventID.INSTANCES_TRANSFERRED)
        assert (first.action, second.action) == (Action.CREATE, Action.READ)
        assert second.outcome is Outcome.SUCCESS

    def test_a_deflated_one_stays_deflated(self, home: Home, ingest: Ingest) -> None:
        file = make_instance(transfer_syntax=DeflatedExplicitVRLittleEndian)
        send(ingest, file)
        (location,) = locations(home.parts)
        stored = file_in(home.parts, location.blob)
        assert stored[location.data_set_offset :] == data_set_of(file)

    def test_instances_of_a_study_share_its_key_also_after_a_start(
        self, home: Home, ingest: Ingest
    ) -> None:
        send(ingest, make_instance(1))
        send(Ingest(home.parts), make_instance(2))
        assert len(key_ids(home.parts)) == 1

    def test_studies_do_not_share_keys(self, home: Home, ingest: Ingest) -> None:
        send(ingest, make_instance())
        send(ingest, make_instance(study="1.2.3.2"))
        assert len(key_ids(home.parts)) == 2


class TestOtherBytes:
    def test_they_are_kept_aside_once(self, home: Home, ingest: Ingest) -> None:
        send(ingest, make_instance())
        standing = locations(home.parts)
        for _ in range(2):
            with pytest.raises(Conflict) as caught:
                send(ingest, make_instance(StudyDescription="another"))
            assert caught.value.dimse_status == 0x0111
        assert locations(home.parts) == standing
        (kept,) = kept_aside(home.parts)
        assert kept.existing_blob == standing[0].blob
        assert b"another" in file_in(home.parts, kept.blob)
        check_whole(home.parts)

    def test_each_attempt_is_on_the_record_and_none_as_a_plain_refusal(
        self, home: Home, ingest: Ingest
    ) -> None:
        send(ingest, make_instance())
        for _ in range(2):
            with pytest.raises(Conflict):
                send(ingest, make_instance(StudyDescription="another"))
        assert [text for _, text in alerts(home)] == [
            "other bytes under a known SOP Instance UID"
        ] * 2
        assert len(events(home, EventID.INSTANCES_TRANSFERRED)) == 1
        facts = dict(events(home, EventID.SECURITY_ALERT)[0].objects[0].details)
        assert facts["existing_sha256"] == locations(home.parts)[0].digest.hex()

    def test_another_study_kept_aside_keeps_its_own_key(
        self, home: Home, ingest: Ingest
    ) -> None:
        send(ingest, make_instance())
        other = make_instance(study="1.2.3.2", SOPInstanceUID=f"{STUDY}.1.1")
        with pytest.raises(Conflict):
            send(ingest, other)
        assert len(key_ids(home.parts)) == 2
        check_whole(home.parts)


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("said", "status"),
        [
            ({"sop_instance": UID("1.2.9")}, 0xA900),
            ({"sop_class": UID(MR)}, 0xA900),
            ({"abstract_syntax": UID(MR)}, 0xA900),
        ],
    )
    def test_what_was_not_announced(
        self, home: Home, ingest: Ingest, said: dict[str, Any], status: int
    ) -> None:
        with pytest.raises(Mismatch) as caught:
            send(ingest, make_instance(), **said)
        assert caught.value.dimse_status == status
        assert nothing_is_left(home.parts)
        (event,) = events(home, EventID.INSTANCES_TRANSFERRED)
        assert event.outcome is Outcome.SERIOUS_FAILURE
        assert event.outcome_description == str(caught.value)
        assert event.objects[0].id == STUDY

    def test_what_was_negotiated_is_taken(self, ingest: Ingest) -> None:
        added = send(ingest, make_instance(), abstract_syntax=UID(CT))
        assert added.kind is Kind.NEW

    def test_who_may_not_store(
        self, home: Home, ingest: Ingest, stranger: Caller
    ) -> None:
        with pytest.raises(Refused, match=r"^not authorized$"):
            send(ingest, make_instance(), stranger)
        (event,) = events(home)
        assert event.types[0] == "110132"
        assert event.participants[0].user_id == "stranger"
        assert dict(event.objects[0].details)["function"] == "C-STORE"
        assert nothing_is_left(home.parts)

    @pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID"])
    def test_what_lacks_a_uid(self, home: Home, ingest: Ingest, keyword: str) -> None:
        without: dict[str, Any] = {keyword: None}
        with pytest.raises(BadData):
            send(ingest, make_instance(**without))
        assert nothing_is_left(home.parts)
        (event,) = events(home)
        assert event.outcome is Outcome.SERIOUS_FAILURE

    def test_what_is_cut_short_wherever(self, home: Home, ingest: Ingest) -> None:
        file = make_instance(pixels=bytes(64))
        whole = data_set_of(file)
        # Between two elements nothing is missing that a reader could know of.
        for length in range(len(whole) - 70, len(whole)):
            arrival = arriving(ingest, file[: len(file) - len(whole) + length])
            if length == whole.rindex(b"\xe0\x7f\x10\x00"):
                arrival.abandon()
                continue
            with pytest.raises(BadData):
                finish(arrival)
        assert nothing_is_left(home.parts)

    def test_a_refusal_is_recorded_once(self, home: Home, ingest: Ingest) -> None:
        arrival = arriving(ingest, make_instance())
        arrival.refuse(BadData("of no use"))
        arrival.refuse(BadData("of no use"))
        assert len(events(home)) == 1
        assert nothing_is_left(home.parts)

    def test_a_mistake_of_ours_is_not_told_in_its_words(
        self, home: Home, ingest: Ingest
    ) -> None:
        arriving(ingest, make_instance()).refuse(RuntimeError("Müller^Zoë"))
        (event,) = events(home)
        assert event.outcome_description == "internal error"

    def test_no_room(self, home: Home) -> None:
        room = Room(home.folder, free_bytes_min=1 << 62)
        with pytest.raises(Unavailable) as caught:
            send(Ingest(replace(home.parts, room=room)), make_instance())
        assert caught.value.dimse_status == A700
        assert nothing_is_left(home.parts)


class TestLimits:
    @pytest.fixture
    def limits(self) -> Limits:
        return Limits(object_bytes_max=4096, header_bytes_max=2048)

    def test_an_object_that_is_too_large(self, home: Home, ingest: Ingest) -> None:
        with pytest.raises(TooLarge) as caught:
            send(ingest, make_instance(pixels=bytes(8000)))
        assert caught.value.dimse_status == A700
        assert nothing_is_left(home.parts)

    def test_a_header_that_never_says_its_study(
        self, home: Home, ingest: Ingest
    ) -> None:
        with pytest.raises(TooLarge):
            send(ingest, make_instance(AdditionalPatientHistory="x" * 2500))
        assert nothing_is_left(home.parts)


def header(**said: Any) -> Header:
    reader = HeaderReader(TRANSFER_SYNTAXES[EXPLICIT_VR_LE])
    reader.feed(memoryview(data_set_of(make_instance(**said))))
    return reader.finish()


class TestScope:
    @pytest.mark.parametrize(
        ("scope", "is_reached"),
        [
            ("modality=CT,MR", True),
            ("modality=MR", False),
            ("institution=North", True),
            ("institution=South", False),
            ("modality=CT;institution=South", False),
            ("department=Radiology", False),
            ("patient_id=PAT-1", True),
            ("patient_id=PAT", False),
            ("study_uid=1.2.3.1", True),
            ("study_uid=1.2.3", False),
            ("referring_physician=GROSS^Anna", True),
            ("referring_physician=Klein^Anna", False),
            ("source=CT1", True),
            ("source=CT2", False),
            ("source=CT1;modality=MR", False),
        ],
    )
    def test_reaches(self, scope: str, is_reached: bool) -> None:
        said = header(InstitutionName="North", ReferringPhysicianName="Groß^Anna")
        assert reaches(Scope.parse(scope), said, "CT1") is is_reached

    def test_everything(self) -> None:
        assert reaches(EVERYTHING, header(), "anybody")

    @pytest.mark.parametrize("modality", ["CT", "US", "MR"])
    def test_at_store(
        self, home: Home, rules: Rules, ingest: Ingest, modality: str
    ) -> None:
        rules.rules = tuple(
            Rule(
                name=scope,
                subjects=frozenset({OPERATOR.subject}),
                rights=frozenset({Right.STORE}),
                networks=(),
                scope=Scope.parse(scope),
            )
            for scope in ("modality=US", "modality=CT")
        )
        file = make_instance(Modality=modality)
        if modality != "MR":
            assert send(ingest, file).kind is Kind.NEW
            return
        with pytest.raises(Refused):
            send(ingest, file)
        assert nothing_is_left(home.parts)
        assert events(home)[-1].outcome_description == "not authorized to store this"


class TestKeys:
    def test_two_arrivals_of_a_new_study_share_one(
        self, home: Home, ingest: Ingest
    ) -> None:
        first = arriving(ingest, make_instance(1))
        second = arriving(ingest, make_instance(2))
        finish(first)
        finish(second)
        assert len(key_ids(home.parts)) == 1
        check_whole(home.parts)

    def test_many_threads_share_one(self, home: Home, ingest: Ingest) -> None:
        together = threading.Barrier(8)

        def store(number: int) -> None:
            together.wait(timeout=30)
            send(ingest, make_instance(number))

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(store, range(8)))
        assert len(key_ids(home.parts)) == 1
        assert len(locations(home.parts)) == 8
        check_whole(home.parts)

    def test_one_of_two_refused_leaves_the_other_its_key(
        self, home: Home, ingest: Ingest
    ) -> None:
        refused = arriving(ingest, make_instance(1))
        taken = arriving(ingest, make_instance(2))
        refused.refuse(BadData("of no use"))
        assert len(key_ids(home.parts)) == 1
        finish(taken)
        check_whole(home.parts)

    def test_both_refused_leave_none(self, home: Home, ingest: Ingest) -> None:
        both = [arriving(ingest, make_instance(number)) for number in (1, 2)]
        for each in both:
            each.abandon()
            each.abandon()  # as a door may
        assert nothing_is_left(home.parts)

    def test_the_key_of_a_known_study_outlives_a_refusal(
        self, home: Home, ingest: Ingest
    ) -> None:
        send(ingest, make_instance(1))
        for each in (ingest, Ingest(home.parts)):
            arriving(each, make_instance(2)).refuse(BadData("of no use"))
        check_whole(home.parts)

    def test_two_processes_may_draw_one_each(self, home: Home, ingest: Ingest) -> None:
        mine = arriving(ingest, make_instance(1))
        with on(home, quiet_disk()) as other:
            its = arriving(other.ingest, make_instance(2))
            finish(mine)
            finish(its)
            home.parts.intake.catch_up()
            other.parts.intake.catch_up()
            assert len(key_ids(home.parts)) == 2
            check_whole(home.parts)
            Erase(other.parts)(OPERATOR, UID(STUDY), "test")
        assert nothing_is_left(home.parts)

    def test_the_same_instance_by_two_processes_leaves_one_key(
        self, home: Home, ingest: Ingest
    ) -> None:
        mine = arriving(ingest, make_instance(1))
        with on(home, quiet_disk()) as other:
            its = arriving(other.ingest, make_instance(1))
            assert finish(mine).kind is Kind.NEW
            home.parts.intake.catch_up()
            assert finish(its).kind is Kind.SAME
        assert len(key_ids(home.parts)) == 1
        check_whole(home.parts)


class TestAgainstAnErasure:
    def test_an_arrival_in_its_midst_adds_no_row_without_a_key(
        self, home: Home, ingest: Ingest, operator: Caller
    ) -> None:
        send(ingest, make_instance(1))
        arrival = arriving(ingest, make_instance(2))
        Erase(home.parts)(operator, UID(STUDY), "on request")
        with pytest.raises(KeyGone) as caught:
            finish(arrival)
        assert caught.value.dimse_status == A700
        assert nothing_is_left(home.parts)
        send(ingest, make_instance(2))
        check_whole(home.parts)

    @pytest.mark.parametrize("is_same_process", [True, False])
    def test_what_is_sent_afterwards_is_taken_at_once(
        self,
        home: Home,
        ingest: Ingest,
        operator: Caller,
        is_same_process: bool,
    ) -> None:
        send(ingest, make_instance(1))
        with on(home, quiet_disk()) as other:
            parts = home.parts if is_same_process else other.parts
            Erase(parts)(operator, UID(STUDY), "on request")
        assert send(ingest, make_instance(1)).kind is Kind.NEW
        check_whole(home.parts)

    def test_who_comes_late_gives_back_its_own_key_not_the_successors(
        self, home: Home, ingest: Ingest, operator: Caller
    ) -> None:
        send(ingest, make_instance(1))
        late = [arriving(ingest, make_instance(number)) for number in (2, 3, 4)]
        Erase(home.parts)(operator, UID(STUDY), "on request")
        again = arriving(ingest, make_instance(1))
        for each in late:
            with pytest.raises(KeyGone):
                finish(each)
        assert finish(again).kind is Kind.NEW
        check_whole(home.parts)

    def test_a_condemned_key_takes_no_row(
        self, home: Home, ingest: Ingest, operator: Caller
    ) -> None:
        send(ingest, make_instance(1))
        arrival = arriving(ingest, make_instance(2))
        with on(home, quiet_disk()) as other:
            other.disk.hook = FailOnce(0, errno.EIO)
            with pytest.raises(Unavailable):  # decided, and the key still there
                Erase(other.parts)(operator, UID(STUDY), "on request")
        assert key_ids(home.parts)
        with pytest.raises(KeyGone):
            finish(arrival)
        assert Erase(home.parts).finish_all() == 1
        assert nothing_is_left(home.parts)


def failure_of(rig: Rig, study: str) -> LeadglassError | None:
    try:
        send(rig.ingest, make_instance(study=study))
    except LeadglassError as error:
        return error
    return None


def studies(parts: Parts) -> set[str]:
    return {each.study_uid for each in locations(parts)}


class TestFailures:
    @pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
    def test_of_the_disk_at_each_step(self, home: Home, error: int) -> None:
        with on(home, quiet_disk()) as rig:
            for step in range(FAR_AWAY):
                study = f"1.2.3.4.{step}"
                hook = rig.disk.hook = FailOnce(step, error)
                failure = failure_of(rig, study)
                rig.disk.hook = lambda _operation, _path: None
                if failure is not None:
                    assert isinstance(failure, Unavailable), step
                    assert failure.dimse_status == A700
                    assert str(failure) == f"disk: {os.strerror(error)}"
                    assert study not in studies(rig.parts)
                    assert len(key_ids(rig.parts)) == len(locations(rig.parts)), step
                    assert events(home)[-1].outcome is Outcome.SERIOUS_FAILURE
                    added = send(rig.ingest, make_instance(study=study))
                    assert added.kind is Kind.NEW, step
                check_whole(rig.parts)
                if len(hook.seen) <= step:
                    break
            assert step > 8

    def test_a_blob_that_cannot_be_settled_is_stored_all_the_same(
        self, home: Home
    ) -> None:
        with on(home, quiet_disk()) as rig:
            arrival = arriving(rig.ingest, make_instance())
            rig.disk.hook = fails = FailOnce(FAR_AWAY, 0)
            assert finish(arrival).kind is Kind.NEW
            told = len(fails.seen)
            rig.parts.intake.catch_up()
            assert fails.seen[told:] == ["rename"]
            arrival = arriving(rig.ingest, make_instance(2))
            rig.disk.hook = FailOnce(told, errno.EIO)
            assert finish(arrival).kind is Kind.NEW
            rig.parts.intake.catch_up()
            rig.disk.hook = lambda _operation, _path: None
            check_whole(rig.parts)
        assert all(
            each.outcome is Outcome.SUCCESS
            for each in events(home, EventID.INSTANCES_TRANSFERRED)
        )
        assert recover(home.parts, Erase(home.parts)).settled == 1
        check_whole(home.parts)


class TestFailuresOfTheDatabase:
    """Of an instance whose UID is known: it is entered before its sender is told."""

    @pytest.fixture
    def rig(self, home: Home) -> Iterator[Rig]:
        with on(home, quiet_disk()) as rig:
            send(rig.ingest, make_instance())
            yield rig

    def other_bytes(self, rig: Rig) -> Arrival:
        return arriving(rig.ingest, make_instance(pixels=b"other"))

    def test_the_transaction_leaves_nothing(self, rig: Rig) -> None:
        arrival, before = self.other_bytes(rig), blob_names(rig.parts)
        rig.database.fail_before = 1
        with pytest.raises(Unavailable) as caught:
            finish(arrival)
        assert caught.value.dimse_status == A700
        assert blob_names(rig.parts) == before
        assert not kept_aside(rig.parts)
        with pytest.raises(Conflict):
            finish(self.other_bytes(rig))
        check_whole(rig.parts)

    def test_the_record_of_that_leaves_it_to_the_next_start(
        self, home: Home, rig: Rig
    ) -> None:
        arrival = self.other_bytes(rig)
        rig.database.fail_before = 2
        with pytest.raises(Unavailable):
            finish(arrival)
        # Nobody knows yet whether the commit will be found in the log.
        assert len(blob_names(rig.parts)) == 2
        rig.close()
        assert recover(home.parts, Erase(home.parts)).entered == 1
        assert len(kept_aside(home.parts)) == 1
        check_whole(home.parts)

    def test_a_commit_that_was_one_after_all_keeps_blob_and_key(self, rig: Rig) -> None:
        arrival = self.other_bytes(rig)
        rig.database.fail_after = 1
        with pytest.raises(Unavailable):
            finish(arrival)
        assert len(kept_aside(rig.parts)) == 1
        check_whole(rig.parts)


class TestRefusals:
    def test_one_that_cannot_be_recorded_stays_one(self, home: Home) -> None:
        with on(home, quiet_disk()) as rig:
            rig.database.fail_before = 1
            with pytest.raises(Mismatch):
                send(rig.ingest, make_instance(), sop_class=UID(MR))
            assert nothing_is_left(rig.parts)
        assert not events(home)


class TestCrashes:
    def test_at_each_step(self, home: Home) -> None:
        """The story at the head of ``ingest``, with a start after each crash."""
        steps = told = 0
        for step in range(FAR_AWAY):
            study = f"1.2.3.5.{step}"
            disk = CrashingDisk(FAR_AWAY)
            is_told = False
            with on(home, disk) as rig:
                disk.left = step
                with suppress(Crash):
                    finish(arriving(rig.ingest, make_instance(study=study)))
                    is_told = True
                    told += 1
                with suppress(Unavailable):
                    rig.parts.intake.catch_up()
            was_entered = study in studies(home.parts)
            recovered = recover(home.parts, Erase(home.parts))
            check_whole(home.parts)
            is_stored = study in studies(home.parts)
            assert is_stored or not is_told
            assert recovered.entered == (is_stored and not was_entered)
            added = send(Ingest(home.parts), make_instance(study=study))
            assert added.kind is (Kind.SAME if is_stored else Kind.NEW)
            if disk.left >= 0:
                break
            steps += 1
        assert steps > 10
        assert told > 1  # with the last change of the disk to come, and without
        assert not set(home.parts.blobs.unsettled())


def test_a_blob_is_readable_by_its_name_alone(home: Home, ingest: Ingest) -> None:
    send(ingest, make_instance())
    (location,) = locations(home.parts)
    (key_id,) = key_ids(home.parts)
    assert home.parts.blobs.key_id(BlobName(location.blob)) == key_id
    assert location.transfer_syntax_uid in TRANSFER_SYNTAXES
