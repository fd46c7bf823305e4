"""Taking out: recorded before and after, verified before each byte."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from leadglass.access.policy import Rule
from leadglass.access.rights import Right
from leadglass.access.scopes import Scope
from leadglass.archive.caller import Caller
from leadglass.archive.erase import Erase
from leadglass.archive.fetch import Fetch, Retrieval, Selection
from leadglass.archive.ingest import Ingest
from leadglass.archive.parts import Parts
from leadglass.audit.builders import Actor, Medium, Service
from leadglass.audit.codes import EventID, Outcome
from leadglass.dicom.attributes import Level
from leadglass.dicom.uids import UID
from leadglass.errors import Damaged, NotFound, Refused, Unavailable
from leadglass.vault.blobs import BlobName
from tests.unit.archive.conftest import (
    OPERATOR,
    STUDY,
    Home,
    Rules,
    data_set_of,
    make_instance,
)
from tests.unit.archive.rig import alerts, events, on, quiet_disk, send

WHOLE = Selection(level=Level.STUDY, study_uids=(STUDY,))
DAMAGE = "stored bytes do not verify"
LARGE = bytes(range(256)) * 4 * 1024  # several segments of the vault


@pytest.fixture
def fetch(parts: Parts) -> Fetch:
    return Fetch(parts)


@pytest.fixture(autouse=True)
def two(ingest: Ingest) -> None:
    send(ingest, make_instance(1, pixels=LARGE))
    send(ingest, make_instance(2))


def begin(fetch: Fetch, selection: Selection = WHOLE) -> Retrieval:
    return fetch.begin(OPERATOR, Right.GET, selection, Service.C_GET)


def joined(chunks: Iterable[bytes | memoryview]) -> bytes:
    return b"".join(map(bytes, chunks))


def path_of(home: Home, blob: str) -> Path:
    (path,) = [each for each in home.blob_paths() if each.name == blob]
    return path


class TestRetrieval:
    def test_what_was_stored_comes_out_and_is_recorded_twice(
        self, home: Home, fetch: Fetch
    ) -> None:
        retrieval = begin(fetch)
        (before,) = events(home, EventID.BEGIN_TRANSFERRING)
        assert before.objects[0].sop_classes[0].count == 2
        for location, file in zip(
            retrieval.locations,
            (make_instance(1, pixels=LARGE), make_instance(2)),
            strict=True,
        ):
            assert joined(retrieval.data_set(location)) == data_set_of(file)
            whole = joined(retrieval.file(location))
            assert data_set_of(whole) == data_set_of(file)
            retrieval.sent(location)
        retrieval.finish()
        after = events(home, EventID.INSTANCES_TRANSFERRED)[-1]
        assert after.outcome is Outcome.SUCCESS
        assert after.details["succeeded"] == "2"
        assert after.objects[0].sop_classes == before.objects[0].sop_classes
        assert after.objects[1].id == "PAT-1"

    def test_what_was_cancelled_half_way(self, home: Home, fetch: Fetch) -> None:
        retrieval = begin(fetch)
        retrieval.sent(retrieval.locations[0])
        retrieval.finish(was_cancelled=True)
        after = events(home, EventID.INSTANCES_TRANSFERRED)[-1]
        assert after.outcome is Outcome.MINOR_FAILURE
        assert after.outcome_description == "cancelled"
        assert after.details["not attempted"] == "1"
        assert after.objects[0].sop_classes[0].instances == (f"{STUDY}.1.1",)

    def test_failed_and_warned(self, home: Home, fetch: Fetch) -> None:
        retrieval = begin(fetch)
        retrieval.sent(retrieval.locations[0], with_warning=True)
        retrieval.failed()
        retrieval.finish()
        after = events(home, EventID.INSTANCES_TRANSFERRED)[-1]
        assert after.outcome is Outcome.MINOR_FAILURE
        assert (after.details["warned"], after.details["failed"]) == ("1", "1")

    def test_a_destination_and_a_medium_are_named(
        self, home: Home, fetch: Fetch
    ) -> None:
        receiver = Actor("WS1", "10.4.0.7")
        fetch.begin(
            OPERATOR, Right.MOVE, WHOLE, Service.C_MOVE, destination=receiver
        ).finish()
        moved = events(home, EventID.INSTANCES_TRANSFERRED)[-1]
        assert "WS1" in {each.user_id for each in moved.participants}
        fetch.begin(
            OPERATOR, Right.EXPORT, WHOLE, Service.EXPORT, medium=Medium("disc 7")
        ).finish()
        (exported,) = events(home, EventID.EXPORT)
        assert exported.participants[-1].user_id == "disc 7"

    def test_nothing_is_found(self, home: Home, fetch: Fetch) -> None:
        retrieval = begin(fetch, Selection(level=Level.STUDY, study_uids=("1.2.9",)))
        assert retrieval.locations == ()
        retrieval.finish()
        assert len(events(home, EventID.BEGIN_TRANSFERRING)) == 1

    def test_a_medium_that_one_may_not_reach(
        self, home: Home, rules: Rules, fetch: Fetch, stranger: Caller
    ) -> None:
        with pytest.raises(Refused, match=r"^not authorized$"):
            fetch.begin(stranger, Right.GET, WHOLE, Service.C_GET)
        assert alerts(home)[-1][0] == "110132"
        rules.rules = (
            Rule(
                name="others",
                subjects=frozenset({OPERATOR.subject}),
                rights=frozenset({Right.GET}),
                networks=(),
                scope=Scope.parse("modality=MR"),
            ),
        )
        assert begin(fetch).locations == ()

    def test_what_cannot_be_recorded_does_not_leave(self, home: Home) -> None:
        with on(home, quiet_disk()) as rig:
            rig.database.fail_before = 1
            with pytest.raises(Unavailable):
                begin(Fetch(rig.parts))
        assert not events(home, EventID.BEGIN_TRANSFERRING)


class TestDamage:
    def test_a_flipped_bit_is_recorded_and_no_byte_of_it_served(
        self, home: Home, fetch: Fetch
    ) -> None:
        retrieval = begin(fetch)
        location = retrieval.locations[0]
        path = path_of(home, location.blob)
        content = bytearray(path.read_bytes())
        at = len(content) // 2
        content[at] ^= 1
        path.write_bytes(content)
        pieces: list[bytes | memoryview] = []
        with pytest.raises(Damaged):
            pieces.extend(retrieval.data_set(location))
        came = joined(pieces)
        assert data_set_of(make_instance(1, pixels=LARGE)).startswith(came)
        assert len(came) < at
        event = events(home)[-1]
        assert alerts(home)[-1] == ("110135", DAMAGE)
        assert event.outcome is Outcome.SERIOUS_FAILURE
        assert event.objects[1].id == STUDY
        assert event.objects[1].sop_classes[0].instances == (f"{STUDY}.1.1",)
        assert dict(event.objects[0].details)["blob"] == location.blob

    def test_another_stays_well(self, home: Home, fetch: Fetch) -> None:
        retrieval = begin(fetch)
        damaged, well = retrieval.locations
        path_of(home, damaged.blob).write_bytes(b"")
        with pytest.raises(Damaged):
            joined(retrieval.file(damaged))
        assert joined(retrieval.data_set(well)) == data_set_of(make_instance(2))

    def test_a_cut_tail(self, home: Home, fetch: Fetch) -> None:
        retrieval = begin(fetch)
        location = retrieval.locations[1]
        path = path_of(home, location.blob)
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(Damaged):
            joined(retrieval.data_set(location))
        assert alerts(home)[-1] == ("110135", DAMAGE)

    @pytest.mark.parametrize("is_key", [False, True])
    def test_a_lost_blob_or_key_is_damage(
        self, home: Home, fetch: Fetch, is_key: bool
    ) -> None:
        retrieval = begin(fetch)
        location = retrieval.locations[0]
        if is_key:
            key_id = home.parts.blobs.key_id(BlobName(location.blob))
            home.parts.keyring.destroy(key_id)
        else:
            path_of(home, location.blob).unlink()
        with pytest.raises(Damaged):
            joined(retrieval.file(location))
        assert alerts(home)[-1] == ("110135", DAMAGE)

    def test_what_was_erased_meanwhile_is_none(self, home: Home, fetch: Fetch) -> None:
        retrieval = begin(fetch)
        Erase(home.parts)(OPERATOR, UID(STUDY), "on request")
        with pytest.raises(NotFound):
            joined(retrieval.file(retrieval.locations[0]))
        assert not alerts(home)

    def test_that_cannot_be_recorded_is_not_served_either(self, home: Home) -> None:
        with on(home, quiet_disk()) as rig:
            retrieval = begin(Fetch(rig.parts))
            location = retrieval.locations[0]
            path_of(home, location.blob).write_bytes(b"")
            rig.database.fail_before = 1
            with pytest.raises(Damaged):
                joined(retrieval.file(location))
