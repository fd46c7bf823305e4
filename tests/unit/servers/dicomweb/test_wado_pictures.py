"""WADO-RS frames and rendered images of real files, over real TLS."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate

from leadglass.access.policy import Kind, Subject
from leadglass.app import Node
from leadglass.archive.accounts import Accounts
from leadglass.archive.caller import Caller
from leadglass.archive.ingest import Announced
from leadglass.audit.builders import Service
from leadglass.dicom.transfer_syntaxes import TRANSFER_SYNTAXES
from leadglass.dicom.uids import UID
from leadglass.identity.tokens.token import NewToken
from leadglass.pixels.renderer import Renderer
from leadglass.pixels.transcode import Transcoder
from leadglass.servers.dicomweb.wado import Retrieve
from leadglass.servers.dicomweb.wado_bulk import RetrieveBulk
from leadglass.servers.dicomweb.wado_frames import RetrieveFrames, frame_numbers
from leadglass.servers.dicomweb.wado_rendered import RetrieveRendered
from leadglass.servers.dicomweb.wado_uri import Uri
from leadglass.servers.http.answers import Problem
from leadglass.servers.http.authentication import Proof
from tests.unit.servers.conftest import enroller, opened
from tests.unit.servers.dicomweb.test_wado import ask, parts_of
from tests.unit.servers.http.rig import TOKEN, Running, listening

NAMES = ("MR_small.dcm", "MR_small_bigendian.dcm", "SC_rgb_rle_2frame.dcm")
META_BEGINS = 132 + 12  # preamble, prefix and group length (PS3.10 §7.1)
STORED = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'


def read(name: str) -> tuple[Dataset, bytes]:
    """Return a file of pydicom, and the bytes of its data set."""
    path = get_testdata_file(name)
    assert path is not None
    raw = Path(path).read_bytes()
    found = dcmread(path)
    return found, raw[META_BEGINS + found.file_meta.FileMetaInformationGroupLength :]


def path_of(found: Dataset) -> str:
    return (
        f"/studies/{found.StudyInstanceUID}/series/{found.SeriesInstanceUID}"
        f"/instances/{found.SOPInstanceUID}"
    )


@pytest.fixture(scope="module")
def node(made_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One for all: what is stored in it no test here changes."""
    with opened(made_once, tmp_path_factory.mktemp("pictures") / "node") as node:
        yield node


@pytest.fixture(scope="module")
def archive(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    sender = enroller(node, tmp_path_factory.mktemp("devices"))("modality", "store")
    seen: set[str] = set()
    for name in NAMES:
        found, data = read(name)
        if found.SOPInstanceUID in seen:
            continue
        seen.add(found.SOPInstanceUID)
        syntax = TRANSFER_SYNTAXES[UID(found.file_meta.TransferSyntaxUID)]
        announced = Announced(UID(found.SOPClassUID), UID(found.SOPInstanceUID), syntax)
        arrival = node.ingest.begin(sender, announced)
        arrival.write(memoryview(data))
        arrival.finish()
    node.parts.intake.catch_up()
    new = NewToken(name="viewer", role="service")
    Accounts.of(node.parts).add_token(node.operator, new)
    with Transcoder() as transcoder:
        renderer = Renderer(transcoder)
        table = (
            *Retrieve(node.viewings, transcoder).routes(),
            *RetrieveBulk(node.viewings, renderer).routes(),
            *RetrieveFrames(node.viewings, renderer).routes(),
            *RetrieveRendered(node.viewings, renderer).routes(),
            *Uri(
                Retrieve(node.viewings, transcoder, service=Service.WADO_URI),
                RetrieveRendered(node.viewings, renderer, service=Service.WADO_URI),
            ).routes(),
        )
        with listening(node.authority, table, door=node.parts.require) as running:
            subject = Subject(Kind.SERVICE, "viewer")
            running.known[Proof.BEARER].add(TOKEN.encode(), subject)
            yield running


def test_a_native_frame(archive: Running) -> None:
    found, _ = read("MR_small.dcm")
    ((kind, frame),) = parts_of(ask(archive, f"{path_of(found)}/frames/1"))
    assert kind == "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
    assert frame == found.PixelData
    single = ask(
        archive, f"{path_of(found)}/frames/1", accept="application/octet-stream"
    )
    assert single.content == found.PixelData


def test_compressed_frames_are_decoded_or_given_as_they_are(archive: Running) -> None:
    found, _ = read("SC_rgb_rle_2frame.dcm")
    decoded = parts_of(ask(archive, f"{path_of(found)}/frames/2,1"))
    pixels = found.pixel_array
    planes = [np.frombuffer(data, np.uint8) for _, data in decoded]
    for plane, expected in zip(planes, (pixels[1], pixels[0]), strict=True):
        as_pixels = plane.reshape(expected.shape)
        as_planes = plane.reshape(3, *expected.shape[:2]).transpose(1, 2, 0)
        assert (as_pixels == expected).all() or (as_planes == expected).all()
    for accept in (STORED, 'multipart/related; type="image/dicom-rle"'):
        stored = parts_of(ask(archive, f"{path_of(found)}/frames/1-2", accept=accept))
        assert [kind for kind, _ in stored] == [
            "image/dicom-rle; transfer-syntax=1.2.840.10008.1.2.5"
        ] * 2
        assert all(data in found.PixelData for _, data in stored)


def pixels_of(archive: Running, found: Dataset) -> str:
    """Where the metadata says that the pixels are."""
    (told,) = ask(archive, f"{path_of(found)}/metadata").json()
    base = f"{archive.base}/dicom-web"
    uri: str = told["7FE00010"]["BulkDataURI"]
    return uri.removeprefix(base)


def test_encapsulated_pixel_data_is_bulk_data(archive: Running) -> None:
    found, _ = read("SC_rgb_rle_2frame.dcm")
    path = pixels_of(archive, found)
    frames = f"{path_of(found)}/frames/1-2"
    for accept in (STORED, "image/dicom-rle", "*/*; transfer-syntax=*"):
        stored = parts_of(ask(archive, path, accept=accept))
        assert stored == parts_of(ask(archive, frames, accept=STORED))
    decoded = b"".join(data for _, data in parts_of(ask(archive, frames)))
    for accept in ("*/*", "application/octet-stream"):
        whole = ask(archive, path, accept=accept)
        assert whole.headers["content-type"] == (
            "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
        )
        assert whole.content == decoded
    octets = 'multipart/related; type="application/octet-stream"'
    assert [data for _, data in parts_of(ask(archive, path, accept=octets))] == [
        decoded
    ]
    tag = {"if_none_match": whole.headers["etag"]}
    assert ask(archive, path, accept="*/*", **tag).status_code == 304
    for accept in ("image/jls", "application/dicom", "image/jpeg", "text/html"):
        assert ask(archive, path, accept=accept).status_code == 406
    # A range is of bytes that lie there; of these it may be passed over (RFC 9110).
    assert ask(archive, path, range="bytes=0-1").content == decoded


def sent(node: Node, camera: Caller, found: Dataset) -> None:
    """Store a data set, as a device does."""
    file = io.BytesIO()
    found.save_as(file, enforce_file_format=True)
    raw = file.getvalue()
    begins = META_BEGINS + int.from_bytes(raw[META_BEGINS - 4 : META_BEGINS], "little")
    announced = Announced(
        UID(found.SOPClassUID),
        UID(found.SOPInstanceUID),
        TRANSFER_SYNTAXES[UID(found.file_meta.TransferSyntaxUID)],
    )
    arrival = node.ingest.begin(camera, announced)
    arrival.write(memoryview(raw[begins:]))
    arrival.finish()
    node.parts.intake.catch_up()


def test_a_film_and_an_icon_are_bulk_data(
    archive: Running, node: Node, tmp_path: Path
) -> None:
    found, _ = read("SC_rgb_rle_2frame.dcm")
    found.SOPInstanceUID = "1.2.3.7"
    found.file_meta.MediaStorageSOPInstanceUID = found.SOPInstanceUID
    found.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"
    found.PixelData = encapsulate([b"film", b"roll"], has_bot=False)
    icon = Dataset()
    icon.add_new("PixelData", "OB", encapsulate([b"icon" * 500]))
    icon["PixelData"].is_undefined_length = True
    found.IconImageSequence = [icon]
    sent(node, enroller(node, tmp_path)("camera", "store"), found)
    film = ask(archive, pixels_of(archive, found), accept="*/*")
    assert film.headers["content-type"] == (
        "video/mp4; transfer-syntax=1.2.840.10008.1.2.4.102"
    )
    assert film.content == b"filmroll"
    path = f"{path_of(found)}/bulkdata/00880200.1.7FE00010"
    assert ask(archive, path, accept="*/*").content == b"icon" * 500
    # It is not said to be decoded when it is not.
    decoded = ask(archive, path, accept="application/octet-stream")
    assert decoded.status_code == 406
    assert "transfer-syntax=*" in decoded.json()["detail"]


@pytest.mark.parametrize(
    ("frames", "accept", "status"),
    [
        ("3", "*/*", 404),
        ("0", "*/*", 400),
        ("x", "*/*", 400),
        ("1", "image/jls", 406),
        ("1", 'multipart/related; type="video/mp4"', 406),
    ],
)
def test_frames_that_are_none(
    archive: Running, frames: str, accept: str, status: int
) -> None:
    found, _ = read("SC_rgb_rle_2frame.dcm")
    response = ask(archive, f"{path_of(found)}/frames/{frames}", accept=accept)
    assert response.status_code == status


@pytest.mark.parametrize(
    "text", ["", "1,", "2-1", "1-10001", "1-9,1-9999", "1" * 10, "1," * 3000 + "1"]
)
def test_lists_of_frames_that_are_none(text: str) -> None:
    with pytest.raises(Problem):
        frame_numbers(text)


def test_lists_of_frames() -> None:
    assert frame_numbers("3,1-2,1") == (3, 1, 2, 1)


@pytest.mark.parametrize(
    ("accept", "form"), [("*/*", "JPEG"), ("image/png", "PNG"), ("image/gif", "GIF")]
)
def test_a_picture(archive: Running, accept: str, form: str) -> None:
    found, _ = read("SC_rgb_rle_2frame.dcm")
    response = ask(archive, f"{path_of(found)}/rendered", accept=accept)
    assert response.status_code == 200, response.text
    picture: Any = Image.open(io.BytesIO(response.content))
    assert picture.format == form
    assert picture.size == (found.Columns, found.Rows)
    assert getattr(picture, "n_frames", 1) == (2 if form == "GIF" else 1)


@pytest.mark.parametrize(
    ("path", "accept", "form"),
    [
        ("/rendered", "video/mp4", "video/mp4"),
        ("/rendered", "video/*", "video/mp4"),
        ("/frames/1,2/rendered", "video/mp4", "video/mp4"),
        ("/rendered", "video/mp4;q=0.1, image/png", "image/png"),
        ("/frames/2/rendered", "video/mp4, image/png;q=0.1", "image/png"),
        ("/thumbnail", "video/mp4, image/png;q=0.1", "image/png"),
        ("/frames/2/rendered", "video/mp4", None),
        ("/thumbnail", "video/mp4", None),
    ],
)
def test_a_film(archive: Running, path: str, accept: str, form: str | None) -> None:
    found, _ = read("SC_rgb_rle_2frame.dcm")
    response = ask(archive, path_of(found) + path, accept=accept)
    if form is None:
        assert response.status_code == 406
        assert "films are of several frames" in response.json()["detail"]
        return
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == form
    assert (response.content[4:8] == b"ftyp") is (form == "video/mp4")
    tag = {"If-None-Match": response.headers["etag"]}
    again = ask(archive, path_of(found) + path, accept=accept, **tag)
    assert again.status_code == 304


def test_no_film_of_a_study_or_a_series(archive: Running) -> None:
    found, _ = read("SC_rgb_rle_2frame.dcm")
    for each in ("/series", "/instances"):
        path = path_of(found).split(each)[0] + "/rendered"
        assert ask(archive, path, accept="video/mp4").status_code == 406
        both = ask(archive, path, accept="video/mp4, image/jpeg;q=0.5")
        assert both.headers["content-type"] == "image/jpeg"


def test_a_film_by_uri(archive: Running) -> None:
    found, _ = read("SC_rgb_rle_2frame.dcm")
    film = uri(archive, found, contentType="video/mp4")
    assert film.headers["content-type"] == "video/mp4"
    frame = uri(archive, found, contentType="video/mp4", frameNumber="1")
    assert frame.status_code == 406


def test_pictures_at_all_levels(archive: Running) -> None:
    found, _ = read("MR_small.dcm")
    path = path_of(found)
    paths = [path.split("/series")[0], path.split("/instances")[0], path]
    for each in (*paths, f"{path}/frames/1"):
        small = ask(archive, f"{each}/thumbnail")
        assert small.status_code == 200
        assert max(Image.open(io.BytesIO(small.content)).size) == 128
        assert ask(archive, f"{each}/rendered").status_code == 200


def test_window_and_viewport(archive: Running) -> None:
    found, _ = read("MR_small.dcm")
    query = "viewport=32,32&window=10000,1,linear&accept=image/png"
    response = ask(archive, f"{path_of(found)}/rendered?{query}")
    picture = Image.open(io.BytesIO(response.content))
    assert picture.size == (32, 32)
    assert picture.convert("L").getextrema() == (0, 0)  # all lies below the window


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("viewport=0,5", 400),
        ("viewport=5", 400),
        ("viewport=99999,5", 400),
        ("viewport=5,5,0,0,9999,1", 400),
        ("window=1,2,cubic", 400),
        ("window=nan,2", 400),
        ("window=a,b", 400),
        ("quality=0", 400),
        ("quality=x", 400),
        ("quality=5&quality=6", 400),
        ("annotation=patient", 400),
        ("something=1", 400),
        ("accept=video/mp4", 406),
    ],
)
def test_views_that_are_none(archive: Running, query: str, status: int) -> None:
    found, _ = read("MR_small.dcm")
    response = ask(archive, f"{path_of(found)}/rendered?{query}")
    assert response.status_code == status


def test_an_instance_in_the_syntax_that_is_asked_for(archive: Running) -> None:
    found, _ = read("SC_rgb_rle_2frame.dcm")
    accept = "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"
    response = ask(archive, path_of(found), accept=accept)
    assert response.status_code == 200
    other = dcmread(io.BytesIO(response.content))
    assert other.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert (other.pixel_array == found.pixel_array).all()


def uri(archive: Running, found: Dataset, **more: str) -> Any:
    options = {
        "requestType": "WADO",
        "studyUID": found.StudyInstanceUID,
        "seriesUID": found.SeriesInstanceUID,
        "objectUID": found.SOPInstanceUID,
    } | more
    with archive.client() as client:
        return client.get(
            "/wado", params={name: value for name, value in options.items() if value}
        )


def test_an_instance_by_uri(archive: Running, node: Node) -> None:
    def told() -> int:
        services = [each.event.details.get("service") for each in node.audit.list()]
        return services.count("WADO-URI")

    found, data = read("SC_rgb_rle_2frame.dcm")
    before = told()
    response = uri(archive, found, contentType="application/dicom")
    assert response.headers["content-type"] == (
        "application/dicom; transfer-syntax=1.2.840.10008.1.2.5"
    )
    assert response.content.endswith(data)
    assert told() > before


def test_a_picture_by_uri(archive: Running) -> None:
    found, _ = read("SC_rgb_rle_2frame.dcm")
    assert uri(archive, found).headers["content-type"] == "image/jpeg"
    response = uri(
        archive,
        found,
        contentType="image/png",
        rows="20",
        columns="20",
        frameNumber="2",
    )
    assert Image.open(io.BytesIO(response.content)).size == (20, 20)


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"requestType": ""}, 400),
        ({"objectUID": ""}, 400),
        ({"rows": "20"}, 400),
        ({"windowCenter": "20"}, 400),
        ({"anonymize": "yes"}, 400),  # never take for done what is not
        ({"contentType": "application/dicom", "rows": "2"}, 400),
        ({"contentType": "text/html"}, 406),
        ({"frameNumber": "3"}, 404),
        ({"objectUID": "1.2.3"}, 404),
        ({"objectUID": "x"}, 404),
    ],
)
def test_uris_that_name_nothing(
    archive: Running, more: dict[str, str], status: int
) -> None:
    found, _ = read("SC_rgb_rle_2frame.dcm")
    assert uri(archive, found, **more).status_code == status
