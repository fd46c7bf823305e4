"""Sending to receivers: as it is stored where that is taken, else uncompressed."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from leadglass.dicom.part10 import Part10Reader
from leadglass.dicom.sop_classes import STUDY_ROOT_GET, STUDY_ROOT_MOVE
from leadglass.dicom.transfer_syntaxes import (
    EXPLICIT_VR_BE,
    EXPLICIT_VR_LE,
    IMPLICIT_VR_LE,
)
from leadglass.dicom.uids import UID
from leadglass.identity.device import PlaintextRequest
from leadglass.wire.dimse import CStoreRQ
from tests.peers import programs, samples
from tests.peers.client import Got, Sent, associated, decoded, identifier, receives
from tests.peers.nodes import is_told, made, serving
from tests.peers.receiver import Receiver, receivers, uids
from tests.support.node import Credentials, RunningNode

pytestmark = pytest.mark.filterwarnings("ignore")

# Files, and what has the same pixels unpacked: another file, a program of DCMTK, or
# the file itself where pydicom alone can unpack it.
UNPACKED = {
    "SC_rgb_dcmtk_+eb+cr.dcm": "SC_rgb_dcmtk_ebcr_dcmd.dcm",
    "JPGExtended.dcm": "dcmdjpeg",
    "JPEG-LL.dcm": "dcmdjpeg",
    "MR_small_jpeg_ls_lossless.dcm": "MR_small.dcm",
    "MR_small_jp2klossless.dcm": "MR_small.dcm",
    "JPEG2000.dcm": "JPEG2000_UNC.dcm",
    "MR_small_RLE.dcm": "",
    "SC_rgb_rle_2frame.dcm": "",
    "image_dfl.dcm": "",
    "MR_small_bigendian.dcm": "",
    "MR_small_implicit.dcm": "",
    "CT_small.dcm": "",
}
FILES = tuple(UNPACKED)
FILM = UID("1.2.840.10008.1.2.4.102")
PLAIN = (EXPLICIT_VR_LE, IMPLICIT_VR_LE)


@dataclass(frozen=True)
class Stored:
    """An instance on the node, as it was sent."""

    data_set: Any
    syntax: UID
    data: bytes

    @property
    def sop_class(self) -> UID:
        return UID(self.data_set.SOPClassUID)


@dataclass
class Site:
    """A node with packed images, and several receivers."""

    node: RunningNode
    station: Credentials
    receiver: Receiver
    swapped: Receiver
    open_one: Receiver
    stored: dict[str, Stored]

    def move(self, to: str, study: str) -> Got:
        wishes = [(STUDY_ROOT_MOVE, (EXPLICIT_VR_LE,))]
        with associated(self.node, self.station, wishes) as client:
            return client.move(identifier("STUDY", StudyInstanceUID=study), to)

    def get(self, study: str, sop_class: UID, *syntaxes: UID) -> Got:
        wishes = [(STUDY_ROOT_GET, (EXPLICIT_VR_LE,)), (sop_class, syntaxes)]
        roles = receives(sop_class)
        with associated(self.node, self.station, wishes, roles=roles) as client:
            return client.get(identifier("STUDY", StudyInstanceUID=study))


def read(name: str, study: str) -> Stored:
    """Return an instance of its own, so that one picture may come in many forms."""
    data_set = samples.fresh(dcmread(get_testdata_file(name)))
    data_set.StudyInstanceUID = study
    return packed(data_set)


def packed(data_set: Any) -> Stored:
    reader = Part10Reader()
    data = reader.feed(samples.written(data_set))
    assert data is not None
    return Stored(data_set, UID(data_set.file_meta.TransferSyntaxUID), data)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    node = made(tmp_path_factory.mktemp("transcoding") / "node")
    stored = {name: read(name, samples.new_uid()) for name in FILES}
    study = samples.study(2)
    stored["film"] = packed(samples.packed(FILM, StudyInstanceUID=samples.new_uid()))
    # A film and an image in one study.
    beside = {
        "StudyInstanceUID": study[0].StudyInstanceUID,
        "SeriesInstanceUID": study[0].SeriesInstanceUID,
    }
    stored["film beside"] = packed(samples.packed(FILM, **beside))
    for number, each in enumerate(study):
        each.file_meta = samples.explicit()
        stored[f"image {number}"] = packed(each)
    with receivers(5) as (receiver, swapped, wrong, open_one, down):
        station = node.enrol("STATION")
        receiver.serve(
            node.enrol("RECEIVER", may=["echo"], destination=receiver.destination)
        )
        node.enrol("SWAPPED", may=["echo"], destination=swapped.destination)
        swapped.serve(node.enrol("ANOTHER", may=["echo"]))
        node.enrol("PRETENDS", may=["echo"], destination=wrong.destination)
        wrong.serve(None)
        node.enrol(
            "OPEN",
            may=["echo"],
            destination=open_one.destination,
            unsafe_plaintext=PlaintextRequest(
                address="127.0.0.1",
                reason="a viewer of 1998",
                not_after=datetime.now(UTC) + timedelta(days=1),
            ),
        )
        open_one.serve(None)
        node.enrol("DOWN", may=["echo"], destination=down.destination)
        down.close()
        node.enrol("NOWHERE", may=["echo"])
        with serving(node):
            pairs = {(each.sop_class, each.syntax) for each in stored.values()}
            wishes = [(sop_class, (syntax,)) for sop_class, syntax in pairs]
            with associated(node, station, wishes) as client:
                for each in stored.values():
                    context = client.context(each.sop_class, each.syntax)
                    answer = client.store(
                        each.data,
                        each.sop_class,
                        UID(each.data_set.SOPInstanceUID),
                        context=context,
                    )
                    assert (answer.status, answer.error_comment) == (0, None)
            yield Site(node, station, receiver, swapped, open_one, stored)


def pixels(sent: Sent) -> Any:
    data_set = decoded(sent.data, sent.transfer_syntax)
    data_set.file_meta = samples.explicit()
    data_set.file_meta.TransferSyntaxUID = str(sent.transfer_syntax)
    return data_set.pixel_array


def unpacked(name: str, folder: Path) -> Any:
    """Return the pixels as others decode them."""
    path, by = get_testdata_file(name), UNPACKED[name]
    if by.endswith(".dcm"):
        path = get_testdata_file(by)
    elif by:
        programs.run(by, path, folder / "unpacked.dcm")
        path = folder / "unpacked.dcm"
    return dcmread(path).pixel_array


def is_same_image(mine: Any, theirs: Any) -> bool:
    if mine.shape != theirs.shape or mine.dtype.itemsize != theirs.dtype.itemsize:
        return False
    # Decoders of lossy JPEG may round one step apart (ISO/IEC 10918-2).
    return bool(np.abs(mine.astype(np.int64) - theirs.astype(np.int64)).max() <= 1)


@pytest.mark.parametrize("syntax", PLAIN, ids=["explicit", "implicit"])
@pytest.mark.parametrize("name", FILES)
def test_get_by_who_takes_only_uncompressed(
    site: Site, tmp_path: Path, name: str, syntax: UID
) -> None:
    stored = site.stored[name]
    got = site.get(stored.data_set.StudyInstanceUID, stored.sop_class, syntax)
    assert (got.status, got.last.completed) == (0, 1)
    assert got.instances[0].transfer_syntax == syntax
    assert is_same_image(pixels(got.instances[0]), unpacked(name, tmp_path))


@pytest.mark.parametrize("syntax", PLAIN, ids=["explicit", "implicit"])
@pytest.mark.parametrize("name", FILES)
def test_move_to_who_takes_only_uncompressed(
    site: Site, tmp_path: Path, name: str, syntax: UID
) -> None:
    stored = site.stored[name]
    site.receiver.takes(syntax)
    moved = site.move("RECEIVER", stored.data_set.StudyInstanceUID)
    assert (moved.status, moved.last.completed) == (0, 1)
    (sent,) = site.receiver.instances
    assert sent.transfer_syntax == syntax
    assert is_same_image(pixels(sent), unpacked(name, tmp_path))


@pytest.mark.parametrize("name", [*FILES, "film"])
def test_who_takes_its_own_syntax_gets_the_same_bytes(site: Site, name: str) -> None:
    stored = site.stored[name]
    study = stored.data_set.StudyInstanceUID
    site.receiver.takes()
    assert site.move("RECEIVER", study).status == 0
    got = site.get(study, stored.sop_class, stored.syntax)
    assert got.status == 0
    for sent in (*got.instances, *site.receiver.instances):
        assert (sent.transfer_syntax, sent.data) == (stored.syntax, stored.data)


def test_what_cannot_be_decoded_fails_alone(site: Site) -> None:
    film = site.stored["film beside"].data_set
    images = {
        site.stored[f"image {number}"].data_set.SOPInstanceUID for number in range(2)
    }
    got = site.get(film.StudyInstanceUID, UID(samples.CT), EXPLICIT_VR_LE)
    site.receiver.takes(*PLAIN)
    moved = site.move("RECEIVER", film.StudyInstanceUID)
    for each in (got, moved):
        assert (each.status, each.last.completed, each.last.failed) == (0xB000, 2, 1)
        assert each.failed == (film.SOPInstanceUID,)
    assert uids(got.instances) == images
    assert uids(site.receiver.instances) == images


def test_when_nothing_can_be_decoded_everything_failed(site: Site) -> None:
    film = site.stored["film"].data_set
    got = site.get(film.StudyInstanceUID, UID(samples.CT), *PLAIN)
    site.receiver.takes(EXPLICIT_VR_LE)
    moved = site.move("RECEIVER", film.StudyInstanceUID)
    for each in (got, moved):
        assert (each.status, each.last.completed, each.last.failed) == (0xA702, 0, 1)
        assert each.failed == (film.SOPInstanceUID,)
        assert not each.instances


def test_who_takes_nothing_that_we_can_send(site: Site) -> None:
    stored = site.stored["JPEG2000.dcm"]
    site.receiver.takes(EXPLICIT_VR_BE)
    moved = site.move("RECEIVER", stored.data_set.StudyInstanceUID)
    assert (moved.status, moved.failed) == (
        0xA702,
        (stored.data_set.SOPInstanceUID,),
    )


def test_what_a_receiver_refuses_has_failed(site: Site) -> None:
    study = site.stored["image 0"].data_set.StudyInstanceUID
    refused = site.stored["image 0"].data_set.SOPInstanceUID
    warned = site.stored["image 1"].data_set.SOPInstanceUID
    statuses = {refused: 0xA700, warned: 0xB000}

    def answer(request: CStoreRQ) -> int:
        return statuses.get(str(request.affected_sop_instance), 0)

    site.receiver.takes()
    site.receiver.answer = answer
    moved = site.move("RECEIVER", study)
    last = moved.last
    assert (last.status, last.completed, last.failed, last.warning) == (0xB000, 1, 1, 1)
    assert moved.failed == (refused,)


@pytest.mark.parametrize("title", ["UNKNOWN", "NOWHERE", "STATION", "receiver"])
def test_unknown_destinations(site: Site, title: str) -> None:
    """Not enrolled, or with no address to send to, or in other letters."""
    moved = site.move(title, site.stored["film"].data_set.StudyInstanceUID)
    assert moved.status == 0xA801


@pytest.mark.parametrize("title", ["DOWN", "SWAPPED", "PRETENDS"])
def test_destinations_that_are_not_there(site: Site, title: str) -> None:
    """Nobody listens; it is another device; it speaks no TLS."""
    stored = site.stored["CT_small.dcm"]
    moved = site.move(title, stored.data_set.StudyInstanceUID)
    assert (moved.status, moved.last.failed) == (0xA702, 1)
    assert moved.failed == (stored.data_set.SOPInstanceUID,)


def test_nothing_is_said_to_another_device(site: Site) -> None:
    site.swapped.takes()
    site.move("SWAPPED", site.stored["CT_small.dcm"].data_set.StudyInstanceUID)
    assert not site.swapped.requests
    assert is_told(site.node, "127.0.0.1", "is device ANOTHER")


def test_plaintext_destination_by_exception(site: Site) -> None:
    stored = site.stored["JPEG2000.dcm"]
    site.open_one.takes()
    moved = site.move("OPEN", stored.data_set.StudyInstanceUID)
    assert (moved.status, moved.last.completed) == (0, 1)
    assert site.open_one.instances[0].data == stored.data
