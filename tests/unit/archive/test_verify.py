"""Verifying: every kind of fault is found, named and recorded; nothing is repaired."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import update

from leadglass.archive.caller import Caller
from leadglass.archive.erase import Erase
from leadglass.archive.ingest import Ingest
from leadglass.archive.parts import Parts
from leadglass.archive.verify import Verified, Verify
from leadglass.audit.codes import EventID, Outcome
from leadglass.dicom.uids import UID
from leadglass.errors import Conflict, Refused
from leadglass.index.tables import instance
from leadglass.vault.blobs import BlobName
from tests.unit.archive.conftest import OPERATOR, STUDY, Home, make_instance
from tests.unit.archive.rig import (
    alerts,
    blob_names,
    events,
    kept_aside,
    locations,
    send,
)

DAMAGE = "stored bytes do not verify"


@pytest.fixture
def verify(parts: Parts) -> Verify:
    return Verify(parts)


@pytest.fixture(autouse=True)
def three(ingest: Ingest) -> None:
    send(ingest, make_instance(1))
    send(ingest, make_instance(2))
    send(ingest, make_instance(1, study="1.2.3.2"))


def path_of(home: Home, blob: str) -> Path:
    (path,) = [each for each in home.blob_paths() if each.name == blob]
    return path


def first(home: Home) -> str:
    return locations(home.parts)[0].blob


def test_all_is_well(home: Home, verify: Verify) -> None:
    seen: list[int] = []
    found = verify(OPERATOR, lambda so_far: seen.append(so_far.instances))
    sizes = sum(each.blob_bytes for each in locations(home.parts))
    assert found == Verified(instances=3, total=3, bytes=sizes)
    assert seen == [1, 2, 3]
    assert [text for _, text in alerts(home)] == ["verify", "verify"]
    assert events(home)[-1].outcome is Outcome.SUCCESS


def test_who_may_not(home: Home, verify: Verify, stranger: Caller) -> None:
    with pytest.raises(Refused):
        verify(stranger)
    assert alerts(home)[-1][0] == "110132"


def flip(home: Home) -> None:
    path = path_of(home, first(home))
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)


def cut(home: Home) -> None:
    path = path_of(home, first(home))
    path.write_bytes(path.read_bytes()[:-30])


def empty(home: Home) -> None:
    path_of(home, first(home)).write_bytes(b"")


def swap(home: Home) -> None:
    one, other, _ = (path_of(home, each.blob) for each in locations(home.parts))
    one.write_bytes(other.read_bytes())


def lose(home: Home) -> None:
    path_of(home, first(home)).unlink()


def lose_key(home: Home) -> None:
    home.parts.keyring.destroy(home.parts.blobs.key_id(BlobName(first(home))))


def plant_link(home: Home) -> None:
    path = path_of(home, first(home))
    target = path.rename(path.with_suffix(".elsewhere"))
    path.symlink_to(target)


def other_hash(home: Home) -> None:
    home.parts.database.write(
        lambda tx: tx.connection.execute(
            update(instance)
            .where(instance.c.blob == first(home))
            .values(digest=bytes(32))
        )
    )


def other_length(home: Home) -> None:
    home.parts.database.write(
        lambda tx: tx.connection.execute(
            update(instance)
            .where(instance.c.blob == first(home))
            .values(blob_bytes=instance.c.blob_bytes + 1)
        )
    )


@pytest.mark.parametrize(
    ("harm", "what", "count"),
    [
        (flip, "verify", 1),
        (cut, "", 1),
        (empty, "cut short", 1),
        (swap, "seal does not verify", 1),
        (lose, "missing", 1),
        (lose_key, "missing, or its key is", 2),
        (plant_link, "something else is in the blob's place", 1),
        (other_hash, "of another hash", 1),
        (other_length, "of another length", 1),
    ],
)
def test_a_fault_is_found_named_recorded_and_left_alone(
    home: Home, verify: Verify, harm: Callable[[Home], None], what: str, count: int
) -> None:
    blob = first(home)
    harm(home)
    found = verify(OPERATOR)
    assert (found.instances, found.damaged) == (3, count)
    assert found.damages[0].blob == blob
    assert what in found.damages[0].what
    damages = [
        each
        for each in events(home, EventID.SECURITY_ALERT)
        if each.objects[0].details[0][1] == DAMAGE
    ]
    assert len(damages) == count
    assert all(each.outcome is Outcome.SERIOUS_FAILURE for each in damages)
    assert dict(damages[0].objects[0].details)["blob"] == blob
    assert damages[0].objects[1].id == STUDY
    assert damages[0].objects[1].sop_classes[0].instances == (f"{STUDY}.1.1",)
    assert events(home)[-1].outcome is Outcome.SERIOUS_FAILURE
    assert verify(OPERATOR).damaged == count


def test_what_is_kept_aside_is_looked_at_too(
    home: Home, ingest: Ingest, verify: Verify
) -> None:
    with pytest.raises(Conflict):
        send(ingest, make_instance(1, StudyDescription="another"))
    assert verify(OPERATOR).instances == 4
    (kept,) = kept_aside(home.parts)
    path_of(home, kept.blob).unlink()
    found = verify(OPERATOR)
    assert (found.instances, found.total, found.damaged) == (4, 4, 1)
    assert found.damages[0].blob == kept.blob


def test_a_blob_that_no_row_names_is_an_orphan(home: Home, verify: Verify) -> None:
    name = BlobName.new()
    key_id = home.parts.keyring.new_study_key()
    home.parts.blobs.under(key_id).put(name, [b"of nobody"])
    found = verify(OPERATOR)
    assert (found.orphans, found.damaged) == (1, 0)
    assert name in blob_names(home.parts)


def test_what_is_erased_meanwhile_is_no_damage(home: Home, verify: Verify) -> None:
    def meanwhile(so_far: Verified) -> None:
        if so_far.instances == 1:
            Erase(home.parts)(OPERATOR, UID("1.2.3.2"), "on request")

    found = verify(OPERATOR, meanwhile)
    assert (found.instances, found.damaged, found.orphans) == (2, 0, 0)
