"""Frames through worker processes: decoded as pydicom does, rendered as files."""

import warnings
from collections.abc import Iterator
from dataclasses import asdict

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.pixels import pixel_array

from leadglass.config import Pixels
from leadglass.errors import BadData, NotFound, PeerError
from leadglass.pixels.frames import Frames
from leadglass.pixels.pictures import picture
from leadglass.pixels.renderer import Decoded, Renderer, _decoded
from leadglass.pixels.rewrite import ENCAPSULATED
from leadglass.pixels.source import Source
from leadglass.pixels.transcode import Transcoder
from leadglass.pixels.views import MediaType, Region, View, Window
from tests.unit.pixels.samples import (
    JPEG,
    RLE,
    Array,
    Sample,
    array,
    described,
    encapsulated,
    read,
    rewritten,
    sample,
)
from tests.unit.pixels.test_frames import WITH_PIXELS, Stored
from tests.unit.pixels.worker_rig import Collected

# Its one fragment is broken on purpose.
UNDECODABLE = {"JPEG2000-embedded-sequence-delimiter"}
# 30 of 120 frames are enough to be sure of the others.
FRAMES_MAX = 30


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    with Transcoder(Pixels(worker_count_max=1)) as workers:
        yield Renderer(workers)


def frames_of(given_file: Sample) -> Frames:
    return Frames(Stored(given_file.data), given_file.syntax)


def samples_of(frames: Frames, decoded: Decoded) -> Array:
    """The array of a decoded frame, as pydicom shapes it."""
    image = frames.layout.image
    if image.bits_allocated == 1:
        bits = np.unpackbits(np.frombuffer(decoded.samples, "u1"), bitorder="little")
        return bits[: image.rows * image.columns].reshape(image.rows, image.columns)
    kind = "i" if image.is_signed else "u"
    flat = np.frombuffer(decoded.samples, f"<{kind}{image.sample_bytes}")
    if image.samples == 1:
        return flat.reshape(image.rows, image.columns)
    if decoded.planar:
        planes = flat.reshape(image.samples, image.rows, image.columns)
        return np.moveaxis(planes, 0, -1)
    return flat.reshape(image.rows, image.columns, image.samples)


def reference(given_file: Sample) -> Array:
    """All frames by pydicom; of what it has no codec for, after transcoding.

    What transcoding gives is compared with DCMTK's in ``test_codecs``.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if given_file.syntax in ENCAPSULATED and given_file.syntax != RLE:
            plain = rewritten(given_file.data, given_file.syntax)
            return array(read(plain, pydicom.uid.ExplicitVRLittleEndian))
        data_set = pydicom.dcmread(given_file.path)
        found: Array = pixel_array(data_set, raw=True)
    return found


@pytest.mark.parametrize(
    "given_file",
    [each for each in WITH_PIXELS if str(each) not in UNDECODABLE],
    ids=str,
)
def test_every_frame_of_every_file_decodes_as_pydicom_does(
    renderer: Renderer, given_file: Sample
) -> None:
    frames = frames_of(given_file)
    expected = reference(given_file)
    if frames.count == 1:
        expected = expected[None]
    for number in range(1, min(frames.count, FRAMES_MAX) + 1):
        decoded = renderer.decode(frames, number)
        if decoded.photometric == "YBR_FULL_422":
            assert len(decoded.samples) == frames.layout.image.frame_bytes
            continue  # half of its colors are not there; compared when rendered
        found = samples_of(frames, decoded)
        if str(given_file) == "mlut_18":
            # Its unused bits are no sign. They stay as stored here; pydicom sets them.
            found = found << 4 >> 4
        assert np.array_equal(found, expected[number - 1])


@pytest.mark.parametrize(
    "given_file",
    [each for each in WITH_PIXELS if str(each) not in UNDECODABLE],
    ids=str,
)
def test_every_file_renders(renderer: Renderer, given_file: Sample) -> None:
    frames = frames_of(given_file)
    view = View(media_type=MediaType.PNG, viewport=(64, 64), has_overlays=True)
    found = imagecodecs.png_decode(b"".join(renderer.render(frames, [1], view)))
    image = frames.layout.image
    assert found.shape[:2] == view.size(image.rows, image.columns)
    assert max(found.shape[:2]) == 64
    assert found.dtype == np.uint8


def test_a_broken_frame_is_bad_data(renderer: Renderer) -> None:
    frames = frames_of(sample("JPEG2000-embedded-sequence-delimiter.dcm"))
    with pytest.raises(BadData):
        renderer.decode(frames, 1)
    with pytest.raises(BadData):
        b"".join(renderer.render(frames, [1], View()))


def test_what_is_not_there_is_said_before_a_worker_is_asked() -> None:
    workers = Transcoder(Pixels(worker_count_max=1))
    renderer = Renderer(workers)
    frames = frames_of(sample("CT_small.dcm"))
    with pytest.raises(NotFound):
        renderer.decode(frames, 2)
    with pytest.raises(NotFound):
        renderer.render(frames, [2], View())
    for numbers in ([], [1, 1]):
        with pytest.raises(PeerError):
            renderer.render(frames, numbers, View())
    with pytest.raises(PeerError):
        renderer.render(frames, [1], View(region=Region(100, 0, 100, 1)))
    with pytest.raises(PeerError):
        renderer.render(frames, [1] * 10_001, View(media_type=MediaType.GIF))
    large = View(media_type=MediaType.GIF, viewport=(4000, 4000))
    with pytest.raises(PeerError):
        renderer.render(frames, [1] * 20, large)
    with pytest.raises(PeerError, match="more than one frame"):
        renderer.render(frames, [1], View(media_type=MediaType.MP4))
    for size in ((4000, 4000), (4096, 4096)):
        huge = View(media_type=MediaType.MP4, viewport=size)
        with pytest.raises(PeerError, match="not so large"):
            renderer.render(frames, [1, 1], huge)
    with pytest.raises(PeerError):
        renderer.render(frames, [1] * 10_001, View(media_type=MediaType.MP4))
    assert not workers._all


def test_a_preset_that_the_image_has_not_is_bad_data(renderer: Renderer) -> None:
    frames = frames_of(sample("MR_small.dcm"))
    with pytest.raises(BadData, match="no such window"):
        b"".join(renderer.render(frames, [1], View(preset=7)))


def test_a_jpeg_is_what_the_png_shows(renderer: Renderer) -> None:
    for name in ("CT_small.dcm", "US1_J2KR.dcm"):
        frames = frames_of(sample(name))
        exact, near, coarse = (
            b"".join(renderer.render(frames, [1], view))
            for view in (View(media_type=MediaType.PNG), View(), View(quality=20))
        )
        image = imagecodecs.png_decode(exact).astype(int)
        decoded = imagecodecs.jpeg8_decode(near).astype(int)
        assert np.abs(image - decoded).mean() < 2
        assert len(coarse) < len(near)


def test_an_animation_shows_every_frame_in_its_time(renderer: Renderer) -> None:
    frames = frames_of(sample("emri_small_RLE.dcm"))
    numbers = range(1, 11)
    gif = b"".join(renderer.render(frames, numbers, View(media_type=MediaType.GIF)))
    assert gif[:6] == b"GIF89a"
    assert gif.count(b"\x21\xf9\x04\x00") == 10
    shown = imagecodecs.gif_decode(gif)
    assert shown.shape == (10, 64, 64, 3)
    for number in numbers:
        view = View(media_type=MediaType.PNG)
        single = imagecodecs.png_decode(
            b"".join(renderer.render(frames, [number], view))
        )
        assert np.array_equal(shown[number - 1], np.repeat(single[..., None], 3, 2))


def test_colors_of_an_animation_are_right_on_the_whole(renderer: Renderer) -> None:
    frames = frames_of(sample("examples_ybr_color.dcm"))
    gif = View(media_type=MediaType.GIF)
    shown = imagecodecs.gif_decode(b"".join(renderer.render(frames, [5, 6], gif)))
    png = b"".join(renderer.render(frames, [5], View(media_type=MediaType.PNG)))
    single = imagecodecs.png_decode(png).astype(float)
    blocks = [
        image[:240, :320].reshape(60, 4, 80, 4, 3).mean((1, 3))
        for image in (single, shown[0].astype(float))
    ]
    assert np.abs(blocks[0] - blocks[1]).mean() < 4


def test_another_frame_of_native_bits_is_another_image(renderer: Renderer) -> None:
    frames = frames_of(sample("liver.dcm"))
    view = View(media_type=MediaType.PNG)
    expected = reference(sample("liver.dcm"))
    for number in (1, 2, 3):
        found = imagecodecs.png_decode(
            b"".join(renderer.render(frames, [number], view))
        )
        assert np.array_equal(found, expected[number - 1] * 255)


@pytest.mark.parametrize(
    "result",
    [
        b"",
        b"\0\0\0\2{}",
        b"\0\0\0\2[]",
        b"\0\0\0\x02\xff\xff",
        b"\xff\xff\xff\xff{}",
        b'\0\0\0\x38{"photometric": "Doe^John", "planar": 0, "is_lossy": false}',
    ],
)
def test_a_worker_that_was_taken_over_says_nothing_of_its_own(result: bytes) -> None:
    with pytest.raises(BadData, match="crashed"):
        _decoded(result)


def test_a_frame_that_claims_to_be_huge_costs_no_memory(renderer: Renderer) -> None:
    jpeg = bytes(imagecodecs.jpeg8_encode(np.zeros((16, 16), "u1")))
    jpeg = jpeg.replace(b"\x08\0\x10\0\x10", b"\x08\xff\xff\xff\xff")
    frames = Frames(Stored(described(encapsulated([jpeg]), bits=8)), JPEG)
    with pytest.raises(BadData, match="not as the data set describes"):
        renderer.decode(frames, 1)


def test_a_view_survives_the_way_to_a_worker() -> None:
    for view in (
        View(),
        View(
            media_type=MediaType.GIF,
            quality=3,
            window=Window(-40.5, 400),
            preset=2,
            viewport=(3, 4),
            region=Region(1, 2, -3, 4),
            has_overlays=True,
        ),
    ):
        assert View.from_json(view.to_json()) == view


def test_what_a_worker_does_not_expect_ends_the_job() -> None:
    given_file = sample("CT_small.dcm")
    frames = frames_of(given_file)
    job = {
        "kind": "decode",
        "syntax": given_file.syntax,
        "image": asdict(frames.layout.image),
        "is_big_endian": False,
        "frames": [(1, 0, 10, 0)],
    }
    with pytest.raises(Exception, match="number of frames"):
        picture(job, Source([bytes(10)]), Collected())
