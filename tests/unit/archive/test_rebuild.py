"""Building the index anew: it says what it said before, and nothing else changes."""

import errno
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from leadglass.access.scopes import EVERYTHING
from leadglass.archive.caller import Caller
from leadglass.archive.erase import Erase
from leadglass.archive.find import Query, Root
from leadglass.archive.ingest import Ingest
from leadglass.archive.parts import Parts
from leadglass.archive.rebuild import Rebuild, Rebuilt
from leadglass.archive.recovery import recover
from leadglass.audit.codes import Outcome
from leadglass.dicom.attributes import BY_KEYWORD, Level
from leadglass.dicom.uids import UID
from leadglass.errors import Conflict, Refused, Unavailable
from leadglass.identity.device import PlaintextRequest
from leadglass.identity.devices import Devices, parse_device
from leadglass.vault.blobs import BlobName
from tests.unit.archive.conftest import MR, OPERATOR, STUDY, Home, make_instance
from tests.unit.archive.rig import (
    FailOnce,
    alerts,
    blob_names,
    check_whole,
    events,
    file_in,
    kept_aside,
    key_ids,
    locations,
    on,
    quiet_disk,
    send,
)

GATHERED = {BY_KEYWORD[each].hex for each in ("ModalitiesInStudy", "SOPClassesInStudy")}


@pytest.fixture
def rebuild(parts: Parts) -> Rebuild:
    return Rebuild(parts)


@pytest.fixture(autouse=True)
def some(ingest: Ingest) -> None:
    for number in (1, 2, 3):
        send(ingest, make_instance(number))
    send(ingest, make_instance(1, series=2, sop_class=MR, Modality="MR"))
    send(
        ingest, make_instance(1, study="1.2.3.2", patient="P3", PatientName="山田^太郎")
    )
    send(ingest, make_instance(1, study="1.2.3.3", patient="PAT-2"))


def unordered(tag: str, said: Any) -> Any:
    """Return what is gathered of several instances, in whatever order they came."""
    return {**said, "Value": sorted(said["Value"])} if tag in GATHERED else said


def answers(parts: Parts) -> dict[Level, list[object]]:
    found: dict[Level, list[object]] = {}
    for level in Level:
        query = Query(
            level=level,
            keys={},
            scopes=(EVERYTHING,),
            root=Root.PATIENT,
            relational=True,
        )
        with parts.database.read() as connection:
            rows = [
                (
                    row.uids,
                    {tag: unordered(tag, said) for tag, said in row.json.items()},
                )
                for row in parts.index.find(connection, query)
            ]
        found[level] = sorted(rows, key=repr)
    return found


def test_it_answers_as_before(home: Home, rebuild: Rebuild) -> None:
    before, rows = answers(home.parts), locations(home.parts)
    assert rebuild(OPERATOR) == Rebuilt(blobs=6, instances=6)
    assert answers(home.parts) == before
    key = str
    assert sorted(locations(home.parts), key=key) == sorted(rows, key=key)
    check_whole(home.parts)


def test_an_index_that_was_lost(home: Home, rebuild: Rebuild) -> None:
    before = answers(home.parts)
    home.parts.database.write(home.parts.index.clear)
    assert not locations(home.parts)
    rebuild(OPERATOR)
    assert answers(home.parts) == before


def test_record_and_register_stay(home: Home, rebuild: Rebuild) -> None:
    devices = Devices(home.parts.database)
    now = datetime.now(UTC)
    device = parse_device(
        name="OLD-US",
        ae_titles=["OLDUS"],
        networks=[],
        rights=["store"],
        now=now,
        has_tls=False,
        unsafe_plaintext=PlaintextRequest(
            address="10.4.0.9", reason="no TLS", not_after=now + timedelta(1)
        ),
    )
    home.parts.database.write(lambda tx: devices.enrol(tx, device))
    before = [each.data for each in home.records()]
    rebuild(OPERATOR)
    after = [each.data for each in home.records()]
    assert after[: len(before)] == before
    assert [text for _, text in alerts(home)] == ["rebuild", "rebuild"]
    assert home.parts.audit.verify().is_intact
    with home.parts.database.read() as connection:
        assert [each.name for each in devices.list(connection)] == ["OLD-US"]


def test_it_may_be_repeated_and_then_be_stored_to(
    home: Home, rebuild: Rebuild, ingest: Ingest
) -> None:
    rebuild(OPERATOR)
    before = answers(home.parts)
    rebuild(OPERATOR)
    assert answers(home.parts) == before
    keys = key_ids(home.parts)
    for each in (ingest, Ingest(home.parts)):
        assert send(each, make_instance(1)).kind.value == "same"
        send(each, make_instance(9 if each is ingest else 10))
    assert key_ids(home.parts) == keys
    Erase(home.parts)(OPERATOR, UID(STUDY), "on request")
    assert len(key_ids(home.parts)) == 2
    check_whole(home.parts)


def test_what_was_kept_aside_does_not_take_the_firsts_place(
    home: Home, rebuild: Rebuild, ingest: Ingest
) -> None:
    for number in range(8):  # were it chance, it would be one in 256
        send(ingest, make_instance(number, study="1.2.3.4"))
        with pytest.raises(Conflict):
            send(ingest, make_instance(number, study="1.2.3.4", StudyID="other"))
    standing = {each.instance_uid: each.blob for each in locations(home.parts)}
    aside = {each.blob for each in kept_aside(home.parts)}
    found = rebuild(OPERATOR)
    assert (found.instances, found.set_aside) == (14, 8)
    assert {each.instance_uid: each.blob for each in locations(home.parts)} == standing
    assert {each.blob for each in kept_aside(home.parts)} == aside


def test_a_damaged_blob_has_no_row_and_is_counted(home: Home, rebuild: Rebuild) -> None:
    location = locations(home.parts)[0]
    (path,) = [each for each in home.blob_paths() if each.name == location.blob]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    found = rebuild(OPERATOR)
    assert (found.blobs, found.instances, found.damaged) == (6, 5, 1)
    assert location.blob not in {each.blob for each in locations(home.parts)}
    assert location.blob in blob_names(home.parts)
    assert events(home)[-1].outcome is Outcome.SERIOUS_FAILURE


@pytest.mark.parametrize("content", [b"", b"no instance", make_instance()[:300]])
def test_a_sealed_blob_that_is_no_instance(
    home: Home, rebuild: Rebuild, content: bytes
) -> None:
    key_id = home.parts.keyring.new_study_key()
    home.parts.blobs.under(key_id).put(BlobName.new(), [content])
    found = rebuild(OPERATOR)
    assert (found.instances, found.damaged) == (6, 1)


def test_an_erasure_that_was_cut_off_does_not_come_back(
    home: Home, rebuild: Rebuild
) -> None:
    with on(home, quiet_disk()) as rig:
        rig.disk.hook = FailOnce(0, errno.EIO)
        with pytest.raises(Unavailable):
            Erase(rig.parts)(OPERATOR, UID(STUDY), "on request")
    assert rebuild(OPERATOR).instances == 2
    assert STUDY not in {each.study_uid for each in locations(home.parts)}
    check_whole(home.parts)


def test_a_rebuild_that_was_cut_off_is_completed_by_another(
    home: Home, rebuild: Rebuild
) -> None:
    before = answers(home.parts)

    class Stopped(Exception):
        pass

    def stop(found: Rebuilt) -> None:
        if found.blobs == 3:
            raise Stopped

    with pytest.raises(Stopped):
        rebuild(OPERATOR, stop)
    assert len(locations(home.parts)) == 3
    recover(home.parts, Erase(home.parts))  # a start in between takes nothing away
    assert len(blob_names(home.parts)) == 6
    rebuild(OPERATOR)
    assert answers(home.parts) == before
    assert all(file_in(home.parts, each.blob) for each in locations(home.parts))


def test_who_may_not(home: Home, rebuild: Rebuild, stranger: Caller) -> None:
    with pytest.raises(Refused):
        rebuild(stranger)
    assert alerts(home)[-1][0] == "110132"
    assert len(locations(home.parts)) == 6
