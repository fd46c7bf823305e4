"""Every file that pydicom ships: stored as it is, and given back bit by bit.

A file is stored over TLS in its own transfer syntax, alone proposed; C-GET and
C-MOVE must give back exactly its data set. Many files are one picture under one SOP
Instance UID in several encodings, so the study is erased after each of them, and
each begins on a node that knows nothing of it.

Left out, by the rule that one can announce nothing without them: files without SOP
Class UID or SOP Instance UID, and what is no DICOM at all (``corpus.REFUSED``).
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest

from leadglass.app import Node
from leadglass.dicom.sop_classes import STUDY_ROOT_GET, STUDY_ROOT_MOVE
from leadglass.dicom.transfer_syntaxes import EXPLICIT_VR_LE
from leadglass.dicom.uids import UID
from leadglass.errors import BadData, NotFound
from tests.peers.client import Sent, associated, identifier, receives
from tests.peers.nodes import made, serving
from tests.peers.receiver import Receiver, receivers
from tests.support.node import Credentials, RunningNode
from tests.unit.dicom import corpus

pytestmark = pytest.mark.filterwarnings("ignore")

NO_STUDY = (0xC000, "no Study Instance UID")
CUT_SHORT = (0xC000, "the data set is cut short")

# Files that are refused: the status, and the comment that says why.
REFUSED: dict[str, tuple[int, str]] = {
    # Cut down to their pixels.
    "JPEGLSNearLossless_08.dcm": NO_STUDY,
    "JPEGLSNearLossless_16.dcm": NO_STUDY,
    "SC_rgb_jls_lossy_line.dcm": NO_STUDY,
    "SC_rgb_jls_lossy_sample.dcm": NO_STUDY,
    "MR_truncated.dcm": CUT_SHORT,
    "rtplan_truncated.dcm": CUT_SHORT,
    "emri_small_jpeg_2k_lossless_too_short.dcm": CUT_SHORT,
    # Hexadecimal digests in place of its UIDs.
    "bad_sequence.dcm": (0xC000, "not a UID: 1 to 64 digits and dots (PS3.5 9.1)"),
}

# Color palettes belong to no patient (PS3.4 Annex GG), so they are not even negotiated.
NOT_NEGOTIATED = {
    "fall.dcm",
    "hotiron.dcm",
    "hotmetalblue.dcm",
    "pet.dcm",
    "pet20step.dcm",
    "spring.dcm",
    "summer.dcm",
    "winter.dcm",
}


@dataclass(frozen=True)
class File:
    """What a file announces, and its data set."""

    sop_class: UID
    sop_instance: UID
    study: UID | None
    syntax: UID
    data: bytes


def read(path: Path) -> File | None:
    """Return what a file is; ``None``: it cannot be announced."""
    try:
        instance = corpus.read(path)
    except BadData:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of files that are wrong on purpose
        data_set = pydicom.dcmread(path, force=True, stop_before_pixels=True)
        if not (data_set.get("SOPClassUID") and data_set.get("SOPInstanceUID")):
            return None
        study = data_set.get("StudyInstanceUID")
        return File(
            UID(data_set.SOPClassUID),
            uid(data_set.SOPInstanceUID),
            uid(study) if study else None,
            instance.syntax.uid,
            instance.data,
        )


def uid(text: str) -> UID:
    """Return a UID; in place of what is none, one that can be announced."""
    try:
        return UID(text)
    except BadData:
        return UID("2.25.1")


NAMES = {name: path for name, path in corpus.FILES.items() if read(path) is not None}
BY_FILE = {path.name: path for path in NAMES.values()}
TAKEN = {
    name: path
    for name, path in NAMES.items()
    if path.name not in {*REFUSED, *NOT_NEGOTIATED}
}


@dataclass
class Site:
    """A node, also opened here, a workstation, and a receiver."""

    node: RunningNode
    opened: Node
    station: Credentials
    receiver: Receiver

    def erase(self, study: UID) -> None:
        self.opened.erase(self.opened.operator, study, "the next file")

    def is_empty(self) -> bool:
        """Whether no instance, blob or key of a study is left."""
        parts = self.opened.parts
        with parts.database.read() as connection:
            totals = parts.index.totals(connection)
            aside = parts.index.quarantined_count(connection)
        left = (totals.instances, aside, len(list(parts.blobs.names())))
        return left == (0, 0, 0)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    node = made(tmp_path_factory.mktemp("files") / "node")
    station = node.enrol("STATION")
    with receivers(1) as (receiver,):
        receiver.serve(
            node.enrol("RECEIVER", may=["echo"], destination=receiver.destination)
        )
        with serving(node), node.open() as opened:
            yield Site(node, opened, station, receiver)


def wishes(file: File) -> list[tuple[UID, tuple[UID, ...]]]:
    return [
        (file.sop_class, (file.syntax,)),
        (STUDY_ROOT_GET, (EXPLICIT_VR_LE,)),
        (STUDY_ROOT_MOVE, (EXPLICIT_VR_LE,)),
    ]


def is_it(sent: Sent, file: File) -> bool:
    return (
        sent.request.affected_sop_class == file.sop_class
        and sent.request.affected_sop_instance == file.sop_instance
        and sent.transfer_syntax == file.syntax
        and sent.data == file.data
    )


@pytest.mark.parametrize("name", TAKEN)
def test_stored_and_given_back(site: Site, name: str) -> None:
    file = read(TAKEN[name])
    assert file is not None
    assert file.study is not None
    site.receiver.takes()
    question = identifier("STUDY", StudyInstanceUID=file.study)
    roles = receives(file.sop_class)
    with associated(site.node, site.station, wishes(file), roles=roles) as client:
        stored = client.store(file.data, file.sop_class, file.sop_instance)
        assert (stored.status, stored.error_comment) == (0, None)
        got = client.get(question)
        moved = client.move(question, "RECEIVER")
    assert (got.status, got.last.completed) == (0, 1)
    assert (moved.status, moved.last.completed) == (0, 1)
    assert is_it(got.instances[0], file)
    assert is_it(site.receiver.instances[0], file)
    site.erase(file.study)
    assert site.is_empty()


@pytest.mark.parametrize("name", REFUSED)
def test_refused(site: Site, name: str) -> None:
    file = read(BY_FILE[name])
    assert file is not None
    with associated(site.node, site.station, wishes(file)) as client:
        answer = client.store(file.data, file.sop_class, file.sop_instance)
        assert (answer.status, answer.error_comment) == REFUSED[name]
    assert site.is_empty()
    if file.study is not None:
        with pytest.raises(NotFound):
            site.erase(file.study)


@pytest.mark.parametrize("name", sorted(NOT_NEGOTIATED))
def test_not_negotiated(site: Site, name: str) -> None:
    file = read(BY_FILE[name])
    assert file is not None
    with associated(site.node, site.station, wishes(file)) as client:
        assert client.association.find(file.sop_class) is None


def test_there_are_files() -> None:
    assert len(TAKEN) > 220
