"""Every file that pydicom ships, through HTTPS and back, as other projects see it.

A file is stored by STOW-RS and comes back by WADO-RS bit by bit; its metadata has the
values that pydicom finds, each frame the pixels that pydicom decodes, and there is a
picture of it, or a reason why not. As in ``test_every_file`` the study is erased after
each: many files are one picture under one SOP Instance UID in several encodings.
"""

import hashlib
import io
import warnings
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pydicom
import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from pydicom.data import get_testdata_file
from pydicom.encaps import generate_fragments, generate_frames, parse_basic_offsets

from leadglass.app import Node
from leadglass.dicom.part10 import Part10Reader
from leadglass.dicom.uids import UID
from leadglass.pixels.frames import Frames
from leadglass.servers.dicomweb.multipart import (
    Begin,
    Data,
    MediaType,
    MultipartReader,
)
from tests.peers import samples
from tests.peers.nodes import made, serving
from tests.peers.test_every_file import BY_FILE as FILE_BY_NAME
from tests.peers.test_every_file import NOT_NEGOTIATED, REFUSED, TAKEN, File, read
from tests.peers.web import JSON, Site, site_of
from tests.unit.dicom import corpus
from tests.unit.dicom.test_model import OPAQUE, THEIRS_FAILS, normal, theirs_of
from tests.unit.pixels.samples import Array, Sample
from tests.unit.pixels.test_frames import BROKEN, WITH_PIXELS, Stored
from tests.unit.pixels.test_renderer import FRAMES_MAX, UNDECODABLE, reference

pytestmark = pytest.mark.filterwarnings("ignore")

AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
BYTES_AS_STORED = "application/octet-stream; transfer-syntax=*"
DECODED = 'multipart/related; type="application/octet-stream"'
IMAGES = {each.path.name: each for each in WITH_PIXELS}


@dataclass
class Archive:
    """A node that serves, and is also opened here."""

    site: Site
    opened: Node
    client: httpx.Client
    pool: Executor

    def get(self, path: str, accept: str) -> httpx.Response:
        return self.client.get(path, headers={"accept": accept})


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    node = made(tmp_path_factory.mktemp("web") / "node")
    site = site_of(node)
    with (
        serving(node),
        node.open() as opened,
        site.client() as client,
        ThreadPoolExecutor(3) as pool,
    ):
        yield Archive(site, opened, client, pool)


def parts_of(response: httpx.Response) -> list[bytes]:
    """Return the contents of the parts of an answer."""
    assert response.status_code == 200, response.text
    media = MediaType.parse(response.headers["content-type"])
    found: list[bytearray] = []
    for event in MultipartReader(media.parameter("boundary")).feed(response.content):
        if isinstance(event, Begin):
            found.append(bytearray())
        elif isinstance(event, Data):
            found[-1] += event.data
    return [bytes(each) for each in found]


def data_set_of(data: bytes) -> tuple[UID | None, bytes]:
    """Return the transfer syntax and the data set of a file."""
    reader = Part10Reader()
    rest = reader.feed(data)
    content = reader.finish() if rest is None else rest
    return reader.transfer_syntax, content


@pytest.mark.parametrize("name", TAKEN)
def test_through_the_door_and_back(archive: Archive, name: str) -> None:
    path = TAKEN[name]
    file = read(path)
    assert file is not None
    stored = archive.site.store([path.read_bytes()], archive.client)
    assert stored.status_code == 200, stored.text
    (item,) = stored.json()["00081199"]["Value"]
    (url,) = item["00081190"]["Value"]
    try:
        there = url.removeprefix(archive.site.base)
        (back,) = parts_of(archive.get(there, AS_STORED))
        assert data_set_of(back) == (file.syntax, file.data)
        # At once, as viewers do: what waits is mostly the record, for the disk.
        checks = (check_metadata, check_picture, check_frames)
        for done in [
            archive.pool.submit(each, archive, there, path) for each in checks
        ]:
            done.result()
    finally:
        assert file.study is not None
        archive.opened.erase(archive.opened.operator, file.study, "the next file")


# --- metadata -------------------------------------------------------------------------


def check_metadata(archive: Archive, there: str, path: Path) -> None:
    response = archive.get(f"{there}/metadata", JSON)
    assert response.status_code == 200
    (ours,) = response.json()
    if path.name in THEIRS_FAILS:
        return
    instance, theirs = corpus.read(path), theirs_of(path)
    for tag in OPAQUE:
        if ours.get(tag, {}).get("vr") == "UN":
            del ours[tag], theirs[tag]
    compare(archive, ours, theirs, is_little_endian=instance.syntax.little_endian)


def compare(
    archive: Archive, ours: Any, theirs: Any, *, is_little_endian: bool
) -> None:
    """Compare two data sets; values that lie elsewhere are fetched.

    What differs on purpose is said in ``test_model``.
    """
    theirs = {tag: each for tag, each in theirs.items() if not tag.endswith("0000")}
    assert ours.keys() == theirs.keys()
    for tag, entry in ours.items():
        other = theirs[tag]
        assert entry["vr"] == other["vr"]
        if entry["vr"] == "SQ":
            items = zip(entry.get("Value", []), other.get("Value", []), strict=True)
            for one, two in items:
                compare(archive, one, two, is_little_endian=is_little_endian)
            continue
        wanted = normal({tag: other}, is_little_endian=is_little_endian)[tag]
        if "BulkDataURI" in entry:
            compare_bulk(archive, entry["BulkDataURI"], wanted)
        else:
            assert normal({tag: entry})[tag] == wanted


def compare_bulk(archive: Archive, uri: str, theirs: Any) -> None:
    response = archive.get(uri.removeprefix(archive.site.base), BYTES_AS_STORED)
    assert response.status_code == 200, response.text
    found = theirs.get("InlineBinary")
    if found is None:  # a text that is longer than metadata should be
        found = "\\".join(map(str, theirs["Value"])).encode(errors="replace")
    if "transfer-syntax=" in response.headers["content-type"]:
        frames = [response.content]
    elif response.headers["content-type"].startswith("multipart/"):
        frames = parts_of(response)
    else:
        assert sha256(response.content.rstrip(b" \0")) == sha256(found.rstrip(b" \0"))
        return
    buffer = io.BytesIO(found)
    parse_basic_offsets(buffer)
    joined = b"".join(generate_fragments(buffer))
    assert sum(map(len, frames)) <= len(joined)  # without what pads them
    for frame in frames:
        assert frame.rstrip(b"\0") in joined


def sha256(data: bytes) -> str:
    """Return what can be told of in a few letters if it is another."""
    return hashlib.sha256(data).hexdigest()


# --- pictures and frames --------------------------------------------------------------


def check_picture(archive: Archive, there: str, path: Path) -> None:
    response = archive.get(f"{there}/rendered?viewport=64,64", "image/jpeg")
    if has_image(path):
        assert response.status_code == 200, response.text
        assert response.content[:2] == b"\xff\xd8"
    else:
        assert response.status_code in {400, 404}, response.text
        assert response.headers["content-type"] == "application/problem+json"


def has_image(path: Path) -> bool:
    """Whether pydicom finds an image that can be shown."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = pydicom.dcmread(path, force=True, defer_size=0)
    is_broken = path.stem in {*BROKEN, *UNDECODABLE}
    return not is_broken and {"PixelData", "Rows"} <= set(found.dir())


def first_of_each() -> set[str]:
    """Return every file of many frames, and one of each transfer syntax."""
    found, seen = set(), set()
    for name, each in IMAGES.items():
        count = Frames(Stored(each.data), each.syntax).count
        if count > 1 or each.syntax not in seen:
            seen.add(each.syntax)
            found.add(name)
    return found


DECODED_HERE = first_of_each()


def check_frames(archive: Archive, there: str, path: Path) -> None:
    if path.name not in DECODED_HERE or path.stem in UNDECODABLE:
        return
    given = IMAGES[path.name]
    frames = Frames(Stored(given.data), given.syntax)
    count = min(frames.count, FRAMES_MAX)
    found = parts_of(archive.get(f"{there}/frames/1-{count}", DECODED))
    assert len(found) == count
    expected = reference(given)
    if frames.count == 1:
        expected = expected[None]
    image, is_packed = frames.layout.image, frames.layout.is_encapsulated
    if image.photometric == "YBR_FULL_422" and not is_packed:
        assert {len(each) for each in found} == {frames.layout.image.frame_bytes}
        return
    for each, wanted in zip(found, expected, strict=False):
        assert np.array_equal(array_of(each, frames, given), wanted)


def array_of(data: bytes, frames: Frames, given: Sample) -> Array:
    """Return a decoded frame as a client would make it, by the metadata."""
    image = frames.layout.image
    if image.bits_allocated == 1:
        bits = np.unpackbits(np.frombuffer(data, "u1"), bitorder="little")
        return bits[: image.rows * image.columns].reshape(image.rows, image.columns)
    kind = "i" if image.is_signed else "u"
    flat = np.frombuffer(data, f"<{kind}{image.sample_bytes}")
    if image.samples == 1:
        return flat.reshape(image.rows, image.columns)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        planar = int(pydicom.dcmread(given.path).PlanarConfiguration)
    if planar and not frames.layout.is_encapsulated:
        planes = flat.reshape(image.samples, image.rows, image.columns)
        return np.moveaxis(planes, 0, -1)
    return flat.reshape(image.rows, image.columns, image.samples)


# --- what is refused ------------------------------------------------------------------


@pytest.mark.parametrize("name", [*REFUSED, *sorted(NOT_NEGOTIATED)])
def test_refused(archive: Archive, name: str) -> None:
    path = FILE_BY_NAME[name]
    response = archive.site.store([path.read_bytes()], archive.client)
    assert response.status_code == 409
    told = response.json()
    assert "00081199" not in told
    assert {"00081198", "0008119A"} & told.keys()
    file = read(path)
    assert isinstance(file, File)


# --- what viewers and programs ask ----------------------------------------------------


@dataclass
class Study:
    """Three images and how they are named, for clients to look at."""

    uid: str
    series: str
    images: list[Any]


@pytest.fixture(scope="module")
def study(archive: Archive) -> Study:
    """Store three compressed frames and two plain ones, as one study."""
    images = samples.study(3, PatientName="Rubens^Peter", Modality="CT")
    for each in images:
        each.file_meta = samples.explicit()
    moving = pydicom.dcmread(get_testdata_file("emri_small_RLE.dcm"))
    moving.StudyInstanceUID = images[0].StudyInstanceUID
    moving.SeriesInstanceUID = images[0].SeriesInstanceUID
    moving.SOPInstanceUID = moving.file_meta.MediaStorageSOPInstanceUID = (
        samples.new_uid()
    )
    images.append(moving)
    files = [samples.written(each) for each in images]
    assert archive.site.store(files, archive.client).status_code == 200
    return Study(images[0].StudyInstanceUID, images[0].SeriesInstanceUID, images)


@pytest.fixture
def program(archive: Archive) -> Iterator[DICOMwebClient]:
    """Give the client of another project."""
    with requests.Session() as session:
        session.trust_env = False
        session.verify = archive.site.ca
        session.headers.update(archive.site.proof("service"))
        yield DICOMwebClient(f"{archive.site.base}/dicom-web", session=session)


def test_a_program_retrieves_at_every_level(
    program: DICOMwebClient, study: Study
) -> None:
    uids = {each.SOPInstanceUID for each in study.images}
    whole = program.retrieve_study(study.uid)
    assert {each.SOPInstanceUID for each in whole} == uids
    assert {each.SOPInstanceUID for each in program.iter_study(study.uid)} == uids
    series = program.retrieve_series(study.uid, study.series)
    assert {each.SOPInstanceUID for each in series} == uids
    first = study.images[0]
    one = program.retrieve_instance(study.uid, study.series, first.SOPInstanceUID)
    assert one.PixelData == first.PixelData
    assert one.PatientName == first.PatientName
    for told in (
        program.retrieve_study_metadata(study.uid),
        program.retrieve_series_metadata(study.uid, study.series),
    ):
        assert {each["00080018"]["Value"][0] for each in told} == uids


def test_a_program_retrieves_frames_and_pictures(
    program: DICOMwebClient, study: Study
) -> None:
    moving = study.images[-1]
    which = (study.uid, study.series, moving.SOPInstanceUID)
    found = program.retrieve_instance_frames(*which, frame_numbers=[3, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pixels = moving.pixel_array
    assert found == [pixels[2].tobytes(), pixels[0].tobytes()]
    packed = program.retrieve_instance_frames(
        *which,
        frame_numbers=[1],
        media_types=(("image/dicom-rle", "1.2.840.10008.1.2.5"),),
    )
    assert packed == [next(generate_frames(moving.PixelData, number_of_frames=10))]
    for picture in (
        program.retrieve_instance_rendered(*which, media_types=("image/jpeg",)),
        program.retrieve_instance_frames_rendered(
            *which, frame_numbers=[2], media_types=("image/jpeg",)
        ),
    ):
        assert picture[:3] == b"\xff\xd8\xff"
    told = program.retrieve_instance_metadata(*which)
    assert told["00280008"]["Value"] == [10]


# What a browser adds to everything that a page asks for.
BROWSER = {
    "accept-encoding": "gzip, deflate, br",
    "accept-language": "en-US,en;q=0.9",
    "cache-control": "no-cache",
    "sec-fetch-dest": "empty",
    "sec-fetch-mode": "cors",
    "sec-fetch-site": "same-origin",
}
# What OHIF's data source asks in its list, in a study and in a viewport: path, Accept,
# and the media type that it takes then.
OHIF: tuple[tuple[str, str, str], ...] = (
    (
        (
            "/studies?limit=101&offset=0&fuzzymatching=false"
            "&includefield=00081030%2C00080060"
        ),
        "*/*",
        JSON,
    ),
    (
        (
            "/studies?PatientName=*Rubens*&00080020=20240101-20241231"
            "&ModalitiesInStudy=CT%2CMR&limit=26&offset=0&fuzzymatching=true"
            "&includefield=00081030%2C00080060"
        ),
        "application/dicom+json, application/json",
        JSON,
    ),
    ("/studies?StudyInstanceUID={study}&limit=101&offset=0", JSON, JSON),
    ("/studies/{study}/series?includefield=0008103E,0008002A,00080021", JSON, JSON),
    ("/studies/{study}/series/{series}/metadata", JSON, JSON),
    ("/studies/{study}/series/{series}/instances", JSON, JSON),
    (
        "/studies/{study}/series/{series}/instances/{image}/frames/1",
        "multipart/related; type=application/octet-stream; transfer-syntax=*",
        "multipart/related",
    ),
    (
        "/studies/{study}/series/{series}/instances/{image}/frames/1",
        (
            'multipart/related; type="image/jls"; '
            "transfer-syntax=1.2.840.10008.1.2.4.80,"
            'multipart/related; type="application/octet-stream";'
            " transfer-syntax=1.2.840.10008.1.2.1"
        ),
        "multipart/related",
    ),
    (
        "/studies/{study}/series/{series}/instances/{image}/rendered",
        "image/jpeg",
        "image/jpeg",
    ),
    (
        "/studies/{study}/series/{series}/thumbnail?accept=image/jpeg",
        "*/*",
        "image/jpeg",
    ),
    (
        "/studies/{study}/series/{series}/instances/{image}",
        "multipart/related; type=application/dicom; transfer-syntax=*",
        "multipart/related",
    ),
)


@pytest.mark.parametrize(("path", "accept", "media_type"), OHIF)
def test_a_viewer_gets_what_it_asks_for(
    archive: Archive, study: Study, path: str, accept: str, media_type: str
) -> None:
    named = path.format(
        study=study.uid, series=study.series, image=study.images[0].SOPInstanceUID
    )
    headers = {**BROWSER, "accept": accept}
    response = archive.client.get(f"/dicom-web{named}", headers=headers)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].partition(";")[0] == media_type
    assert "content-encoding" not in response.headers
    if media_type == JSON:
        assert response.json()


def test_there_are_files() -> None:
    assert len(TAKEN) > 220
    assert len(DECODED_HERE) > 30
