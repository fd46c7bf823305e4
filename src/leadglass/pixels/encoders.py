"""Rendered pixels to JPEG, PNG and (animated) GIF; only inside worker processes."""

import struct
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from leadglass.pixels.faults import Fault, Undecodable

Array = NDArray[Any]

JPEG_SIDE_MAX = 65_500  # libjpeg's
PNG_LEVEL = 1  # a third of the time of the default, 5 % larger
GIF_SIDE_MAX = 0xFFFF

# GIF89a: each image is a whole file of one image, cut out behind its header.
_GIF_TABLE = slice(13, 13 + 3 * 256)
_GIF_FLAGS = 0xF7  # a global table of 256 colors
_GIF_LOOP = b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0"
_GIF_END = b"\x3b"
# Colors of a GIF: 6 × 7 × 6, as the eye tells greens apart best.
_LEVELS = np.array((6, 7, 6))
_BAYER = np.array(
    ((0, 8, 2, 10), (12, 4, 14, 6), (3, 11, 1, 9), (15, 7, 13, 5)), np.float32
)
_THRESHOLDS = ((_BAYER + 0.5) / 16)[..., None]


def jpeg(pixels: Array, quality: int) -> bytes:
    """Encode baseline JPEG, colors at full resolution.

    Raises:
        Undecodable: The image is too large for this format.
    """
    if max(pixels.shape[:2]) > JPEG_SIDE_MAX:
        raise Undecodable(Fault.TOO_LARGE)
    if pixels.ndim == 2:
        return bytes(imagecodecs.jpeg8_encode(pixels, level=quality))
    found = imagecodecs.jpeg8_encode(
        pixels,
        level=quality,
        colorspace="RGB",
        outcolorspace="YCBCR",
        subsampling="444",
    )
    return bytes(found)


def png(pixels: Array) -> bytes:
    """Encode PNG."""
    return bytes(imagecodecs.png_encode(pixels, level=PNG_LEVEL))


def gif_head(rows: int, columns: int, *, is_color: bool) -> bytes:
    """Begin a GIF that repeats for ever.

    Raises:
        Undecodable: The image is too large for this format.
    """
    if max(rows, columns) > GIF_SIDE_MAX:
        raise Undecodable(Fault.TOO_LARGE)
    screen = struct.pack("<HHBBB", columns, rows, _GIF_FLAGS, 0, 0)
    return b"GIF89a" + screen + _colors(is_color=is_color).tobytes() + _GIF_LOOP


def gif_frame(pixels: Array, delay_ms: int) -> bytes:
    """Encode one image of a GIF; greys exactly, colors dithered."""
    is_color = pixels.ndim == 3
    index = _dithered(pixels) if is_color else pixels
    table = _colors(is_color=is_color)
    whole = bytes(imagecodecs.gif_encode(index, colormap=table))
    image = whole[_GIF_TABLE.stop : -1]
    if whole[_GIF_TABLE] != table.tobytes() or not image.startswith(b","):
        raise Undecodable(Fault.UNSUPPORTED)  # not the encoder that we know
    control = struct.pack("<BBBBHBB", 0x21, 0xF9, 4, 0, delay_ms // 10, 0, 0)
    return control + image


def gif_end() -> bytes:
    """End a GIF."""
    return _GIF_END


def _colors(*, is_color: bool) -> Array:
    """Return the table of 256 colors."""
    if not is_color:
        return np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(256, 3)
    found = np.zeros((256, 3), np.uint8)
    steps = np.stack(np.unravel_index(np.arange(_LEVELS.prod()), _LEVELS), axis=1)
    found[: len(steps)] = np.rint(steps * 255 / (_LEVELS - 1))
    return found


def _dithered(pixels: Array) -> Array:
    """Return the numbers of colors whose mean over a few pixels is the right one."""
    rows, columns = pixels.shape[:2]
    repeats = (rows // 4 + 1, columns // 4 + 1, 1)
    thresholds = np.tile(_THRESHOLDS, repeats)[:rows, :columns]
    places = pixels * ((_LEVELS - 1) / 255).astype(np.float32)
    steps = np.floor(places + thresholds).astype(np.uint8)
    red, green, blue = (steps[..., n] for n in range(3))
    return np.ascontiguousarray((red * 7 + green) * 6 + blue)
