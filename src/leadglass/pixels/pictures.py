"""The jobs that are about single frames: decoding them, and rendering them.

Only inside worker processes. A job's data is the elements that rendering reads,
then for each frame its functional groups and its stored bytes; the job says how
long each is.
"""

import json
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from leadglass.dicom.dataset import DEPTH_MAX, DataSet
from leadglass.errors import BadData, PeerError
from leadglass.pixels.codecs import Frame, decode_frame
from leadglass.pixels.encoders import gif_end, gif_frame, gif_head, jpeg, png
from leadglass.pixels.faults import Fault, Undecodable
from leadglass.pixels.images import Image
from leadglass.pixels.movies import Movie
from leadglass.pixels.render import Stored, render
from leadglass.pixels.representations import swapped
from leadglass.pixels.rewrite import ENCAPSULATED, EXPLICIT_VR_LE, Limits, rewrite
from leadglass.pixels.source import Source
from leadglass.pixels.views import MediaType, View

Array = NDArray[Any]

DECODE = "decode"
RENDER = "render"
NOTE_LENGTH = struct.Struct("!I")  # of the JSON before decoded samples

# Elements that rendering reads: sixteen overlays of a large film are the most.
HEAD_BYTES_MAX = 64 << 20
GROUPS_BYTES_MAX = 1 << 20  # of one frame; real ones have about 1 KiB

# How long an image of an animation stands, where nothing sensible is said.
DELAY_MS_DEFAULT = 100
DELAY_MS_MIN, DELAY_MS_MAX = 20, 10_000
# Of a film: players show more than 250 images a second, screens do not.
FILM_DELAY_MS_MIN = 4
FRAME_TIME_MS = 0x0018_1063
FRAME_TIMES_MS = 0x0018_1065
FRAME_TIMES_BYTES_MAX = 1 << 20  # decimals of at most 16 characters: 60,000 frames
FRAMES_PER_S = (0x0008_2144, 0x0018_0040)  # recommended display, cine


class Out(Protocol):
    """Where a result goes."""

    def write(self, data: bytes | memoryview) -> None:
        """Send a part, now or with the next one."""

    def flush(self) -> None:
        """Send what was gathered."""


def picture(job: Mapping[str, Any], source: Source, out: Out) -> None:
    """Do one job.

    Raises:
        Undecodable: It cannot be done.
        MemoryError: There is not enough.
    """
    try:
        if job["kind"] == RENDER:
            _render(job, source, out)
        else:
            _decode(job, source, out)
    except BadData:
        raise Undecodable(Fault.STRUCTURE) from None
    except PeerError:
        raise Undecodable(Fault.UNSUPPORTED) from None
    if not source.at_end():
        raise Undecodable(Fault.STRUCTURE)


def _decode(job: Mapping[str, Any], source: Source, out: Out) -> None:
    """Give the samples of one frame, after a note of what they are."""
    _, _, length, bit = job["frames"][0]
    image = Image(**job["image"])
    frame = stored_frame(job, source.read(length), bit, image)
    note = json.dumps(
        {
            "photometric": frame.photometric,
            "planar": frame.planar,
            "is_lossy": frame.is_lossy,
        }
    ).encode()
    out.write(NOTE_LENGTH.pack(len(note)) + note)
    out.write(frame.samples)


def _render(job: Mapping[str, Any], source: Source, out: Out) -> None:
    view = View.from_json(job["view"])
    image = Image(**job["image"])
    form = job["form"]
    head = _data_set(source.read(job["head"]), form, 2 * HEAD_BYTES_MAX)
    numbers = [number for number, *_ in job["frames"]]
    is_film = view.media_type is MediaType.MP4
    delays = delays_ms(head, numbers, FILM_DELAY_MS_MIN if is_film else DELAY_MS_MIN)
    film = Movie(delays, view.quality, out) if is_film else None
    is_first = True
    for look, delay_ms in zip(job["frames"], delays, strict=True):
        number, groups_length, length, bit = look
        groups = _data_set(source.read(groups_length), form, 2 * GROUPS_BYTES_MAX)
        frame = stored_frame(job, source.read(length), bit, image)
        stored = Stored(
            samples=_samples(frame, image),
            image=image,
            photometric=frame.photometric,
            head=head,
            groups=groups,
            number=number,
        )
        pixels = render(stored, view)
        if film is not None:
            film.add(pixels)
            continue
        if view.media_type is not MediaType.GIF:
            is_jpeg = view.media_type is MediaType.JPEG
            out.write(jpeg(pixels, view.quality) if is_jpeg else png(pixels))
            return
        if is_first:
            rows, columns = pixels.shape[:2]
            out.write(gif_head(rows, columns, is_color=pixels.ndim == 3))
            is_first = False
        out.write(gif_frame(pixels, round(delay_ms)))
        out.flush()  # whoever waits sees that it goes on
    if film is None:
        out.write(gif_end())


def _data_set(data: bytes, form: str, bytes_max: int) -> DataSet:
    """Read elements of any form; rewriting first forgives what many writers do."""
    limits = Limits(
        decoded_bytes_max=0, inflated_bytes_max=0, sequence_depth_max=DEPTH_MAX
    )
    plain = bytearray()
    rewrite([data], form, EXPLICIT_VR_LE, limits, plain.extend)
    return DataSet.decode(bytes(plain), length_bytes_max=bytes_max)


def delays_ms(head: DataSet, numbers: Sequence[int], least_ms: float) -> list[float]:
    """Return how long each of some frames of an animation stands (PS3.3 C.7.6.5).

    As Frame Time says; else the time to the next frame, by the Frame Time Vector;
    else by the rates that it should be shown or was made with.
    """
    frame_time = _positive(head.text(FRAME_TIME_MS))
    rates = (_positive(head.text(tag)) for tag in FRAMES_PER_S)
    by_rate = next((1000 / rate for rate in rates if rate), DELAY_MS_DEFAULT)
    times = head.elements.get(FRAME_TIMES_MS)
    is_vector = times is not None and len(times.value) <= FRAME_TIMES_BYTES_MAX
    vector = head.texts(FRAME_TIMES_MS) if is_vector and not frame_time else []
    found = []
    for number in numbers:
        # The first of the vector is 0; behind the last frame is no increment.
        after = vector[min(number, len(vector) - 1)] if len(vector) > 1 else ""
        delay_ms = frame_time or _positive(after) or by_rate
        found.append(min(max(delay_ms, least_ms), DELAY_MS_MAX))
    return found


def _positive(text: str | None) -> float:
    """Read a number that must be above zero; 0 if it is none."""
    try:
        number = float(text or 0)
    except ValueError:
        return 0.0
    return number if 0 < number < math.inf else 0.0


# ── stored bytes to samples ──────────────────────────────────────────────────


def stored_frame(job: Mapping[str, Any], data: bytes, bit: int, image: Image) -> Frame:
    """Decode a compressed frame, or cut out and turn round a native one.

    Raises:
        Undecodable: It is not what the data set says.
    """
    if job["syntax"] in ENCAPSULATED:
        return decode_frame(job["syntax"], data, image)
    if job["is_big_endian"]:
        data = swapped(data, max(2, image.sample_bytes))
    if image.bits_allocated == 1:
        count = image.rows * image.columns * image.samples
        bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
        data = np.packbits(bits[bit : bit + count], bitorder="little").tobytes()
    else:
        data = data[bit // 8 :][: image.frame_bytes]
    if len(data) != image.frame_bytes:
        raise Undecodable(Fault.FRAMES)
    return Frame(memoryview(data), image.photometric, image.planar, False)


def _samples(frame: Frame, image: Image) -> Array:
    """Return samples as rows × columns (× samples), whatever their order was."""
    rows, columns, samples = image.rows, image.columns, image.samples
    if image.bits_allocated == 1:
        if samples != 1:
            raise Undecodable(Fault.UNSUPPORTED)
        packed = np.frombuffer(frame.samples, np.uint8)
        bits = np.unpackbits(packed, bitorder="little")[: rows * columns]
        return bits.reshape(rows, columns)
    flat = np.frombuffer(frame.samples, f"<u{image.sample_bytes}")
    if samples == 1:
        return flat.reshape(rows, columns)
    if len(flat) == rows * columns * samples:
        if frame.planar == 1:
            return np.moveaxis(flat.reshape(samples, rows, columns), 0, -1)
        return flat.reshape(rows, columns, samples)
    if frame.photometric != "YBR_FULL_422" or columns % 2:
        raise Undecodable(Fault.UNSUPPORTED)
    # Y Y Cb Cr for two pixels (PS3.3 C.7.6.3.1.2)
    pairs = flat.reshape(rows, columns // 2, 4)
    found = np.empty((rows, columns, 3), flat.dtype)
    found[..., 0] = pairs[..., :2].reshape(rows, columns)
    found[..., 1] = np.repeat(pairs[..., 2], 2, axis=1)
    found[..., 2] = np.repeat(pairs[..., 3], 2, axis=1)
    return found
