"""Erasing: who may, what is destroyed, and what a crash leaves to finish."""

import errno
from typing import Any

import pytest
from sqlalchemy import select

from leadglass.access.policy import Rule
from leadglass.access.rights import Right
from leadglass.access.scopes import Scope
from leadglass.archive.caller import Caller
from leadglass.archive.condemned import KeyGone, check_key, condemn
from leadglass.archive.erase import REASON_CHARACTERS_MAX, Erase
from leadglass.archive.ingest import Ingest
from leadglass.archive.parts import Parts
from leadglass.archive.recovery import recover
from leadglass.archive.tables import condemned_blob, condemned_key
from leadglass.audit.codes import EventID
from leadglass.database.engine import Transaction
from leadglass.dicom.uids import UID
from leadglass.errors import Conflict, Misconfigured, NotFound, Refused, Unavailable
from leadglass.index.records import Removed
from leadglass.vault.blobs import BlobName
from leadglass.vault.keys import KeyId
from tests.unit.archive.conftest import OPERATOR, STUDY, Home, Rules, make_instance
from tests.unit.archive.rig import (
    FAR_AWAY,
    FailOnce,
    check_whole,
    events,
    kept_aside,
    key_ids,
    locations,
    on,
    quiet_disk,
    send,
)
from tests.unit.vault.faults import Crash, CrashingDisk

WHY = "the patient asked for it"
ANOTHER = "1.2.3.2"


@pytest.fixture
def erase(parts: Parts) -> Erase:
    return Erase(parts)


@pytest.fixture
def two_studies(ingest: Ingest) -> None:
    send(ingest, make_instance(1))
    send(ingest, make_instance(2))
    send(ingest, make_instance(1, study=ANOTHER))
    with pytest.raises(Conflict):
        send(ingest, make_instance(1, StudyDescription="another"))


def condemned(parts: Parts) -> tuple[int, int]:
    with parts.database.read() as connection:
        keys = connection.scalars(select(condemned_key.c.key_id)).all()
        blobs = connection.scalars(select(condemned_blob.c.blob)).all()
        return len(keys), len(blobs)


@pytest.mark.usefixtures("two_studies")
class TestErase:
    def test_nothing_of_it_is_left_and_all_of_the_other(
        self, home: Home, erase: Erase
    ) -> None:
        first = locations(home.parts)[0]
        key = home.parts.blobs.key_id(BlobName(first.blob))
        erased = erase(OPERATOR, UID(STUDY), WHY)
        assert (erased.blobs, erased.keys) == (3, 1)
        assert [each.study_uid for each in locations(home.parts)] == [ANOTHER]
        assert not kept_aside(home.parts)
        assert key not in key_ids(home.parts)
        with pytest.raises(NotFound):
            home.parts.keyring.study_key(key)
        assert condemned(home.parts) == (0, 0)
        check_whole(home.parts)

    def test_it_is_on_the_record_with_its_reason(
        self, home: Home, erase: Erase
    ) -> None:
        erase(OPERATOR, UID(STUDY), WHY)
        (event,) = events(home, EventID.STUDY_DELETED)
        assert event.details["reason"] == WHY
        assert event.participants[0].user_id == OPERATOR.subject.name
        study, patient = event.objects
        assert (study.id, patient.id) == (STUDY, "PAT-1")

    def test_a_second_time_there_is_no_such_study(self, erase: Erase) -> None:
        erase(OPERATOR, UID(STUDY), WHY)
        with pytest.raises(NotFound):
            erase(OPERATOR, UID(STUDY), WHY)

    def test_who_may_not(self, home: Home, erase: Erase, stranger: Caller) -> None:
        with pytest.raises(Refused, match=r"^not authorized$"):
            erase(stranger, UID(STUDY), WHY)
        event = events(home)[-1]
        assert dict(event.objects[0].details)["function"] == "erase"
        assert len(locations(home.parts)) == 3

    @pytest.mark.parametrize("reason", ["", "  ", "x" * (REASON_CHARACTERS_MAX + 1)])
    def test_without_a_reason(self, home: Home, erase: Erase, reason: str) -> None:
        with pytest.raises(Misconfigured, match="say why"):
            erase(OPERATOR, UID(STUDY), reason)
        assert len(locations(home.parts)) == 3

    @pytest.mark.parametrize("scope", ["modality=MR", f"study_uid={ANOTHER}"])
    def test_out_of_scope_it_is_as_if_it_were_not_there(
        self, home: Home, rules: Rules, erase: Erase, scope: str
    ) -> None:
        rules.rules = (
            Rule(
                name="some",
                subjects=frozenset({OPERATOR.subject}),
                rights=frozenset({Right.ERASE}),
                networks=(),
                scope=Scope.parse(scope),
            ),
        )
        for uid in (STUDY, "1.2.3.99"):
            with pytest.raises(NotFound, match="no such study"):
                erase(OPERATOR, UID(uid), WHY)
        assert len(locations(home.parts)) == 3
        assert not events(home, EventID.STUDY_DELETED)

    def test_a_study_that_is_only_kept_aside(
        self, home: Home, ingest: Ingest, erase: Erase
    ) -> None:
        alone = make_instance(study="1.2.3.3", SOPInstanceUID=f"{STUDY}.1.1")
        with pytest.raises(Conflict):
            send(ingest, alone)
        erase(OPERATOR, UID("1.2.3.3"), WHY)
        assert {each.study_uid for each in kept_aside(home.parts)} == {STUDY}
        assert len(key_ids(home.parts)) == 2
        check_whole(home.parts)

    def test_when_it_cannot_be_recorded_nothing_is_erased(self, home: Home) -> None:
        with on(home, quiet_disk()) as rig:
            rig.database.fail_before = 1
            with pytest.raises(Unavailable):
                Erase(rig.parts)(OPERATOR, UID(STUDY), WHY)
        assert len(locations(home.parts)) == 3
        check_whole(home.parts)


@pytest.mark.usefixtures("two_studies")
class TestInterrupted:
    @pytest.mark.parametrize("step", range(8))
    def test_by_the_disk_after_its_decision(self, home: Home, step: int) -> None:
        with on(home, quiet_disk()) as rig:
            hook = rig.disk.hook = FailOnce(step, errno.EIO)
            with pytest.raises(Unavailable):
                Erase(rig.parts)(OPERATOR, UID(STUDY), WHY)
            assert len(hook.seen) == step + 1
        assert len(locations(home.parts)) == 1
        assert condemned(home.parts) == (1, 3)
        assert Erase(home.parts).finish_all() == 1
        assert condemned(home.parts) == (0, 0)
        assert len(key_ids(home.parts)) == 1
        check_whole(home.parts)
        assert Erase(home.parts).finish_all() == 0

    def test_by_the_database_at_the_end(self, home: Home) -> None:
        with on(home, quiet_disk()) as rig:
            erase = Erase(rig.parts)
            finish_writing = rig.database.write
            writes: list[Any] = []

            def write(work: Any) -> Any:
                if writes:
                    raise Unavailable("database: disk full")
                writes.append(work)
                return finish_writing(work)

            rig.database.write = write  # type: ignore[method-assign]
            with pytest.raises(Unavailable):
                erase(OPERATOR, UID(STUDY), WHY)
        assert condemned(home.parts) == (1, 3)
        assert len(key_ids(home.parts)) == 1  # nobody can read it already
        assert recover(home.parts, Erase(home.parts)).erased == 1
        check_whole(home.parts)

    def test_by_a_crash_at_each_step(self, home: Home) -> None:
        crashes = 0
        for step in range(FAR_AWAY):
            study = f"1.2.3.6.{step}"
            send(Ingest(home.parts), make_instance(study=study))
            disk = CrashingDisk(FAR_AWAY)
            is_told = False
            with on(home, disk) as rig:
                disk.left = step
                try:
                    Erase(rig.parts)(OPERATOR, UID(study), WHY)
                    is_told = True
                except Crash:
                    crashes += 1
            assert study not in {each.study_uid for each in locations(home.parts)}
            assert recover(home.parts, Erase(home.parts)).erased == (not is_told)
            check_whole(home.parts)
            assert condemned(home.parts) == (0, 0)
            if is_told:
                break
        assert crashes > 5
        assert len(key_ids(home.parts)) == 2


def test_an_arrival_behind_an_erasure_in_one_commit_sees_it(
    home: Home, ingest: Ingest
) -> None:
    """Works of one commit share what was looked up; they must not share this."""
    send(ingest, make_instance())
    (key,) = key_ids(home.parts)

    def before(tx: Transaction) -> None:
        check_key(tx, home.parts.keyring, key)

    def works(tx: Transaction) -> None:
        before(tx)
        condemn(tx, Removed(STUDY, (), (key,)))
        with pytest.raises(KeyGone):
            check_key(tx, home.parts.keyring, key)

    home.parts.database.write(works)
    assert key_ids(home.parts) == {key}  # it was not destroyed yet, all the same


def test_a_key_that_never_was_takes_no_row(home: Home) -> None:
    with pytest.raises(KeyGone):
        home.parts.database.write(
            lambda tx: check_key(tx, home.parts.keyring, KeyId.new())
        )
