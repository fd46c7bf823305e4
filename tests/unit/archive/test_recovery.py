"""What a start makes of what a crash left."""

from leadglass.archive.erase import Erase
from leadglass.archive.ingest import Ingest
from leadglass.archive.recovery import Recovered, recover
from leadglass.vault.blobs import BlobName
from tests.unit.archive.conftest import Home, make_instance
from tests.unit.archive.rig import (
    arriving,
    blob_names,
    check_whole,
    locations,
    on,
    quiet_disk,
    send,
)

NOTHING = Recovered(settled=0, removed=0, erased=0)


def test_nothing_is_found_where_nothing_was_cut_off(home: Home, ingest: Ingest) -> None:
    send(ingest, make_instance())
    assert recover(home.parts, Erase(home.parts)) == NOTHING
    check_whole(home.parts)


def test_a_durable_blob_without_a_row_is_removed(home: Home) -> None:
    with on(home, quiet_disk()) as rig:
        name = BlobName.new()
        with rig.parts.blobs.writer(name, rig.parts.keyring.new_study_key()) as writer:
            writer.write(make_instance())
            writer.commit()
        # As long as its process lives, it is on its way.
        assert recover(home.parts, Erase(home.parts)) == NOTHING
        assert blob_names(home.parts) == {name}
    assert recover(home.parts, Erase(home.parts)).removed == 1
    assert not blob_names(home.parts)


def test_a_half_written_blob_goes_without_being_counted(home: Home) -> None:
    with on(home, quiet_disk()) as rig:
        arriving(rig.ingest, make_instance(pixels=bytes(1 << 18)))
        assert list(home.folder.rglob("*.part"))
    assert recover(home.parts, Erase(home.parts)) == NOTHING
    assert not list(home.folder.rglob("*.part"))


def test_a_second_start_finds_nothing_and_no_folder_is_left(home: Home) -> None:
    with on(home, quiet_disk()) as rig:
        rig.parts.blobs.settle = lambda name: None  # type: ignore[method-assign]
        send(rig.ingest, make_instance())
    assert recover(home.parts, Erase(home.parts)).settled == 1
    assert recover(home.parts, Erase(home.parts)) == NOTHING
    (own,) = [
        each for each in (home.folder / "blobs/incoming").iterdir() if each.is_dir()
    ]
    assert not list(own.iterdir())
    assert len(locations(home.parts)) == 1
    check_whole(home.parts)
