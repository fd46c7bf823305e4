"""Single frames, decoded or rendered, made in worker processes.

For WADO-RS frames in another transfer syntax, rendered instances and thumbnails.
What is sent to a worker is one frame at a time and the few elements that say how
it looks; what is in names and dates stays here.
"""

import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from leadglass.errors import PeerError
from leadglass.pixels.faults import Fault, error_of
from leadglass.pixels.frames import Frames, Place
from leadglass.pixels.pictures import (
    DECODE,
    GROUPS_BYTES_MAX,
    HEAD_BYTES_MAX,
    NOTE_LENGTH,
    RENDER,
)
from leadglass.pixels.rewrite import EXPLICIT_VR_BE, EXPLICIT_VR_LE
from leadglass.pixels.transcode import Transcoder
from leadglass.pixels.views import ANIMATIONS, MediaType, View

# An animation of ten minutes; the list of its frames fits a worker's message.
ANIMATION_FRAMES_MAX: Final = 10_000
# All images of an animation together, as a worker computes for all of them.
ANIMATION_PIXELS_MAX: Final = 1 << 28
# What decoders of AV1's level 5 take, which are those of 4K (AV1 §A.3).
FILM_COLUMNS_MAX: Final = 8192
FILM_ROWS_MAX: Final = 4352
FILM_PIXELS_MAX: Final = 8_912_896
FILM_FRAMES_MIN: Final = 2
# Noise does not shrink: a color of three bytes, and what the formats add.
ENCODED_PIXEL_BYTES_MAX: Final = 4
ENCODED_FRAME_BYTES_MAX: Final = 1024  # whatever it shows: headers and tables
NOTE_BYTES_MAX: Final = 1024
# What a decoded frame can be (PS3.3 C.7.6.3.1.2); a worker's word is not passed on.
PHOTOMETRICS: Final = frozenset(
    {"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL"}
    | {"YBR_FULL_422", "YBR_ICT", "YBR_RCT", "XYB"}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoded:
    """A native frame, little endian, and what its data set must now say of it.

    Attributes:
        samples: Bits Allocated a sample; single bits are packed, from bit 0 on.
        planar: Planar Configuration.
    """

    samples: bytes
    photometric: str
    planar: int
    is_lossy: bool


class Renderer:
    """Decodes and renders frames of stored instances. Safe to use from many threads."""

    def __init__(self, workers: Transcoder) -> None:
        self._workers = workers

    def decode(self, frames: Frames, number: int) -> Decoded:
        """Return one frame in its native form.

        Raises:
            NotFound: There is no such frame.
            BadData: It cannot be decoded.
            Damaged: Stored bytes do not verify.
            Unavailable: No worker is free, or one was lost.
        """
        place = frames.place(number)
        job = {
            **_job(DECODE, frames),
            "frames": [(number, 0, place.length, place.bit)],
        }
        image = frames.layout.image
        room = max(image.decoded_frame_bytes, image.frame_bytes)
        result = b"".join(self._workers.work(job, frames.chunks(place), room))
        return _decoded(result)

    def render(
        self, frames: Frames, numbers: Sequence[int], view: View
    ) -> Iterator[bytes]:
        """Yield an image file of one frame, or a GIF or MP4 of many.

        Everything is checked before the first chunk; an error after it is possible
        in an animation of more than ``COMPLETE_BYTES_MAX`` only. Close the iterator
        when it is not read to its end.

        Raises:
            NotFound: There is no such frame.
            PeerError: The view does not fit the image, or asks for too much.
            BadData: A frame cannot be decoded or rendered.
            Damaged: Stored bytes do not verify.
            Unavailable: No worker is free, or one was lost.
        """
        image = frames.layout.image
        _check(frames, numbers, view)
        rows, columns = view.size(image.rows, image.columns)
        frame_bytes = rows * columns * ENCODED_PIXEL_BYTES_MAX + ENCODED_FRAME_BYTES_MAX
        room = len(numbers) * frame_bytes
        return self._workers.work(*render_job(frames, numbers, view), room)


def _check(frames: Frames, numbers: Sequence[int], view: View) -> None:
    image = frames.layout.image
    rows, columns = image.rows, image.columns
    if view.region is not None:
        view.region.check(rows, columns)
    is_animated = view.media_type in ANIMATIONS
    if not 1 <= len(numbers) <= (ANIMATION_FRAMES_MAX if is_animated else 1):
        raise PeerError("so many frames are not rendered together")
    shown_rows, shown_columns = view.size(rows, columns)
    pixels = max(rows * columns, shown_rows * shown_columns) * len(numbers)
    if is_animated and pixels > ANIMATION_PIXELS_MAX:
        raise PeerError("so many frames are not rendered together")
    if view.media_type is MediaType.MP4:
        _check_film(shown_rows, shown_columns, len(numbers))


def _check_film(rows: int, columns: int, count: int) -> None:
    if count < FILM_FRAMES_MIN:
        raise PeerError("a film has more than one frame")
    is_small = columns <= FILM_COLUMNS_MAX and rows <= FILM_ROWS_MAX
    if not is_small or rows * columns > FILM_PIXELS_MAX:
        raise PeerError("a film's pictures are not so large: ask for a viewport")


def render_job(
    frames: Frames, numbers: Sequence[int], view: View
) -> tuple[dict[str, Any], Iterator[bytes]]:
    """Return what a worker is told to render, and the data for it.

    Raises:
        NotFound: There is no such frame.
        BadData: It is not where the data set says.
    """
    head = frames.head(HEAD_BYTES_MAX)
    looks = []
    for number in numbers:
        groups = frames.group_of(number, GROUPS_BYTES_MAX)
        looks.append((number, groups, frames.place(number)))
    job = {
        **_job(RENDER, frames),
        "view": view.to_json(),
        "head": len(head),
        "frames": [
            (number, len(groups), place.length, place.bit)
            for number, groups, place in looks
        ],
    }
    return job, _data(frames, head, looks)


def _decoded(result: bytes) -> Decoded:
    """Read a worker's result; it may be in the hands of the image's sender."""
    try:
        (length,) = NOTE_LENGTH.unpack_from(result)
        if length > NOTE_BYTES_MAX:
            raise error_of(Fault.CRASH)
        note = json.loads(result[NOTE_LENGTH.size : NOTE_LENGTH.size + length])
        photometric, planar = note["photometric"], note["planar"]
        if photometric not in PHOTOMETRICS or planar not in (0, 1):
            raise error_of(Fault.CRASH)
        is_lossy = note["is_lossy"] is True
    except (struct.error, ValueError, KeyError, TypeError):
        raise error_of(Fault.CRASH) from None
    samples = result[NOTE_LENGTH.size + length :]
    return Decoded(
        samples=samples, photometric=photometric, planar=planar, is_lossy=is_lossy
    )


def _job(kind: str, frames: Frames) -> dict[str, Any]:
    layout = frames.layout
    form = EXPLICIT_VR_BE if layout.form.is_big_endian else EXPLICIT_VR_LE
    return {
        "kind": kind,
        "syntax": layout.syntax,
        "image": asdict(layout.image),
        "is_big_endian": layout.is_in_big_endian_words,
        "form": layout.syntax if layout.form.is_implicit else form,
    }


def _data(
    frames: Frames, head: bytes, looks: Sequence[tuple[int, bytes, Place]]
) -> Iterator[bytes]:
    """Yield what a worker reads, frame by frame."""
    yield head
    for _, groups, place in looks:
        yield groups
        yield from frames.chunks(place)
