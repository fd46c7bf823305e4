"""Samples to pixels of a screen: the grayscale and color pipelines of PS3.4 N.2.

Only inside worker processes. Eight bits a channel come out. Left out, and so to be
said of a rendered image: ICC profiles are not applied, supplemental palettes and
blending neither, and pixels are drawn square.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leadglass.dicom.dataset import DataSet
from leadglass.pixels.faults import Fault, Undecodable
from leadglass.pixels.images import Image
from leadglass.pixels.luts import LUT_DATA, LUT_DESCRIPTOR, Lut, palette
from leadglass.pixels.scaling import scaled
from leadglass.pixels.views import Function, View, Window

Array = NDArray[Any]

BITS_STORED = 0x0028_0101
HIGH_BIT = 0x0028_0102
PADDING_VALUE = 0x0028_0120
PADDING_LIMIT = 0x0028_0121
WINDOW_CENTER = 0x0028_1050
WINDOW_WIDTH = 0x0028_1051
WINDOW_FUNCTION = 0x0028_1056
INTERCEPT = 0x0028_1052
SLOPE = 0x0028_1053
MODALITY_LUTS = 0x0028_3000
VOI_LUTS = 0x0028_3010
PRESENTATION_LUTS = 0x2050_0010
PRESENTATION_SHAPE = 0x2050_0020
FRAME_VOI = 0x0028_9132
PIXEL_VALUE_TRANSFORMATION = 0x0028_9145
SHARED_GROUPS = 0x5200_9229

GREY = frozenset({"MONOCHROME1", "MONOCHROME2"})
# Decoded JPEG 2000 says RGB; whoever writes these over native samples means it too.
RGB = frozenset({"RGB", "YBR_RCT", "YBR_ICT"})
TABLE_BITS_MAX = 16  # a table of all stored values; beyond, each sample is computed
WHITE = 255

OVERLAY_GROUPS = range(0x6000, 0x6020, 2)
OVERLAY_ROWS = 0x0010
OVERLAY_COLUMNS = 0x0011
OVERLAY_FRAMES = 0x0015
OVERLAY_ORIGIN = 0x0050
OVERLAY_FIRST_FRAME = 0x0051
OVERLAY_BITS_ALLOCATED = 0x0100
OVERLAY_DATA = 0x3000


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """A decoded frame and all that its data set says of its looks.

    Attributes:
        samples: As stored: rows and columns, and three samples for a color.
        photometric: What the samples are after decoding.
        head: The elements of the data set that rendering reads, little endian.
        groups: The frame's item of the per-frame functional groups.
        number: Of the frame, from 1 on.
    """

    samples: Array
    image: Image
    photometric: str
    head: DataSet
    groups: DataSet
    number: int

    def macro(self, sequence: int) -> DataSet:
        """Return what holds a macro: frame's, shared, or the data set itself."""
        shared = self.head.items(SHARED_GROUPS)
        for groups in (self.groups, *shared[:1]):
            items = groups.items(sequence)
            if items:
                return items[0]
        return self.head


def render(stored: Stored, view: View) -> Array:
    """Return rows × columns (× RGB) of 8 bits.

    Raises:
        Undecodable: The data set does not say how, or it cannot be done.
        MemoryError: There is not enough.
    """
    if stored.photometric in GREY:
        pixels = _grey(stored, view)
    elif stored.photometric == "PALETTE COLOR":
        pixels = _palette_color(stored)
    else:
        pixels = _color(stored)
    if view.has_overlays:
        pixels[_overlay_mask(stored)] = WHITE
    return scaled(pixels, view)


# ── stored values ────────────────────────────────────────────────────────────


def _stored_bits(stored: Stored) -> tuple[int, int]:
    """Return Bits Stored, and how far above bit 0 they stand."""
    allocated = stored.image.bits_allocated
    bits = _integer(stored.head, BITS_STORED, allocated)
    shift = _integer(stored.head, HIGH_BIT, bits - 1) + 1 - bits
    if not 1 <= bits <= allocated or not 0 <= shift <= allocated - bits:
        raise Undecodable(Fault.DESCRIPTION)
    return bits, shift


def _index(stored: Stored) -> tuple[Array, int]:
    """Return samples as unsigned numbers of Bits Stored bits, and how many those are.

    What stands beside them (once overlays) is masked out (PS3.5 §8.1.1).
    """
    bits, shift = _stored_bits(stored)
    samples = stored.samples
    found = samples.view(f"u{samples.dtype.itemsize}")
    if shift:
        found = found >> shift
    if bits < samples.dtype.itemsize * 8:
        found = found & found.dtype.type((1 << bits) - 1)
    return found, bits


def _signed(index: Array, bits: int, *, is_signed: bool) -> Array:
    """Return the stored values that unsigned bit patterns stand for."""
    values = index.astype(np.float64)
    if is_signed:
        values[values >= 2.0 ** (bits - 1)] -= 2.0**bits
    return values


# ── grey ─────────────────────────────────────────────────────────────────────


def _grey(stored: Stored, view: View) -> Array:
    """Modality, VOI and presentation, over a table of stored values if it is small."""
    index, bits = _index(stored)
    is_signed = stored.image.is_signed
    modality = _modality(stored)
    if bits > TABLE_BITS_MAX:
        raw = _signed(index, bits, is_signed=is_signed)
        values = modality(raw)
        shown = values[~_is_padding(stored, raw)]
        return _displayed(stored, view, values, shown, bits)
    raw = _signed(np.arange(1 << bits), bits, is_signed=is_signed)
    values = modality(raw)
    is_there = np.bincount(index.ravel(), minlength=1 << bits) > 0
    shown = values[is_there & ~_is_padding(stored, raw)]
    table = _displayed(stored, view, values, shown, bits)
    found: Array = table[index]
    return found


def _displayed(
    stored: Stored, view: View, values: Array, shown: Array, bits: int
) -> Array:
    """Values after the modality LUT to those of a screen."""
    grey = _presentation(stored, _voi(stored, view, values, shown, bits))
    return np.floor(grey * WHITE + 0.5).astype(np.uint8)


def _is_padding(stored: Stored, raw: Array) -> Array:
    """Where there is no image (PS3.3 C.7.5.1.1.2)."""
    if PADDING_VALUE not in stored.head:
        return np.zeros(raw.shape, bool)
    sign = "h" if stored.image.is_signed else "H"

    def value(tag: int) -> int:
        element = stored.head.elements[tag].value
        if not isinstance(element, bytes) or len(element) < 2:
            raise Undecodable(Fault.DESCRIPTION)
        return int(np.frombuffer(element[:2], "<" + sign)[0])

    first = value(PADDING_VALUE)
    last = value(PADDING_LIMIT) if PADDING_LIMIT in stored.head else first
    low, high = min(first, last), max(first, last)
    found: Array = (raw >= low) & (raw <= high)
    return found


def _modality(stored: Stored) -> Callable[[Array], Array]:
    """Return the modality LUT or rescale (PS3.3 C.11.1)."""
    tables = stored.head.items(MODALITY_LUTS)
    if tables:
        lut = Lut.of(tables[0], LUT_DESCRIPTOR, LUT_DATA)
        return lambda raw: lut(raw).astype(np.float64)
    macro = stored.macro(PIXEL_VALUE_TRANSFORMATION)
    slope = _number(macro, SLOPE, 0, 1.0)
    intercept = _number(macro, INTERCEPT, 0, 0.0)
    return lambda raw: raw * slope + intercept


def _voi(stored: Stored, view: View, values: Array, shown: Array, bits: int) -> Array:
    """Return 0…1 (PS3.3 C.11.2): what was asked for, or is stored, or all there is."""
    if view.window is not None:
        return _windowed(values, view.window)
    macro = stored.macro(FRAME_VOI)
    tables = stored.head.items(VOI_LUTS)
    windows = len(macro.texts(WINDOW_CENTER))
    if view.preset >= max(1, windows + len(tables)):
        raise Undecodable(Fault.PRESET)
    if view.preset < windows:
        return _windowed(values, _stored_window(macro, view.preset))
    if tables:
        table = tables[view.preset - windows]
        lut = Lut.of(table, LUT_DESCRIPTOR, LUT_DATA)
        return lut(values) / ((1 << lut.bits) - 1)
    if bits <= 8:
        shown = values  # a table: all that could be stored
    if not shown.size:
        return np.zeros(values.shape)
    low, high = float(shown.min()), float(shown.max())
    return np.clip((values - low) / ((high - low) or 1.0), 0.0, 1.0)


def _stored_window(macro: DataSet, number: int) -> Window:
    try:
        function = Function(macro.text(WINDOW_FUNCTION) or Function.LINEAR)
    except ValueError:
        raise Undecodable(Fault.UNSUPPORTED) from None
    width = _number(macro, WINDOW_WIDTH, number, math.nan)
    if function is Function.LINEAR:
        width = max(width, 1.0)  # widths below are found, and mean a threshold
    center = _number(macro, WINDOW_CENTER, number, math.nan)
    if not (math.isfinite(center) and width > 0):
        raise Undecodable(Fault.DESCRIPTION)
    return Window(center, width, function)


def _windowed(values: Array, window: Window) -> Array:
    """Apply PS3.3 C.11.2.1.2.1 (LINEAR), C.11.2.1.3.1 and C.11.2.1.3.2."""
    center, width = window.center, window.width
    if window.function is Function.SIGMOID:
        # Beyond ±700 the exponential leaves the range of numbers, not of grey.
        power = np.clip(-4.0 * (values - center) / width, -700.0, 700.0)
        found: Array = 1.0 / (1.0 + np.exp(power))
        return found
    if window.function is Function.LINEAR:
        center, width = center - 0.5, width - 1.0
    if width == 0:
        return (values > center).astype(np.float64)
    return np.clip((values - center) / width + 0.5, 0.0, 1.0)


def _presentation(stored: Stored, grey: Array) -> Array:
    """Apply the presentation LUT (PS3.3 C.11.6), and MONOCHROME1 as its inverse."""
    tables = stored.head.items(PRESENTATION_LUTS)
    if tables:
        lut = Lut.of(tables[0], LUT_DESCRIPTOR, LUT_DATA)
        # Its input is the whole range, however many values the VOI LUT gives.
        span = len(lut.entries) - 1
        grey = lut(grey * span + lut.first) / ((1 << lut.bits) - 1)
    is_inverse = (
        stored.photometric == "MONOCHROME1"
        or stored.head.text(PRESENTATION_SHAPE) == "INVERSE"
    )
    return 1.0 - grey if is_inverse else grey


# ── color ────────────────────────────────────────────────────────────────────


def _palette_color(stored: Stored) -> Array:
    index, bits = _index(stored)
    if bits > TABLE_BITS_MAX:
        raise Undecodable(Fault.UNSUPPORTED)
    is_signed = stored.image.is_signed
    raw = _signed(np.arange(1 << bits), bits, is_signed=is_signed)
    luts = palette(stored.head)
    table = np.stack([_eight_bits(lut(raw), lut.bits) for lut in luts], axis=1)
    return np.ascontiguousarray(table[index])


def _color(stored: Stored) -> Array:
    if stored.samples.ndim != 3 or stored.image.is_signed:
        raise Undecodable(Fault.UNSUPPORTED)
    index, bits = _index(stored)
    pixels = _eight_bits(index, bits)
    if stored.photometric in RGB:
        return np.array(pixels, order="C")
    if stored.photometric in ("YBR_FULL", "YBR_FULL_422"):
        return _rgb(pixels)
    raise Undecodable(Fault.UNSUPPORTED)


def _eight_bits(values: Array, bits: int) -> Array:
    if bits >= 8:
        return (values >> (bits - 8)).astype(np.uint8)
    return np.floor(values * (WHITE / ((1 << bits) - 1)) + 0.5).astype(np.uint8)


def _rgb(pixels: Array) -> Array:
    """Undo YBR_FULL (PS3.3 C.7.6.3.1.2), as ITU-T T.871 has it."""
    y, blue, red = (pixels[..., n].astype(np.float32) for n in range(3))
    blue -= 128
    red -= 128
    found = np.stack(
        (
            y + 1.402 * red,
            y - (0.114 * 1.772 / 0.587) * blue - (0.299 * 1.402 / 0.587) * red,
            y + 1.772 * blue,
        ),
        axis=-1,
    )
    return np.clip(np.floor(found + 0.5), 0, WHITE).astype(np.uint8)


# ── overlays, PS3.3 C.9.2 ────────────────────────────────────────────────────


def _overlay_mask(stored: Stored) -> Array:
    """Return where any overlay plane of the data set has a bit set."""
    rows, columns = stored.image.rows, stored.image.columns
    mask = np.zeros((rows, columns), bool)
    for group in OVERLAY_GROUPS:
        if group << 16 | OVERLAY_DATA in stored.head:
            _add_overlay(mask, stored, group << 16)
    return mask


def _add_overlay(mask: Array, stored: Stored, group: int) -> None:
    head = stored.head
    rows = _integer(head, group | OVERLAY_ROWS, 0)
    columns = _integer(head, group | OVERLAY_COLUMNS, 0)
    frames = _integer(head, group | OVERLAY_FRAMES, 1)
    first = _integer(head, group | OVERLAY_FIRST_FRAME, 1)
    top = int(_number(head, group | OVERLAY_ORIGIN, 0, 1.0)) - 1
    left = int(_number(head, group | OVERLAY_ORIGIN, 1, 1.0)) - 1
    data = head.elements[group | OVERLAY_DATA].value
    if _integer(head, group | OVERLAY_BITS_ALLOCATED, 1) != 1:
        raise Undecodable(Fault.UNSUPPORTED)
    if min(rows, columns, frames) < 1 or not isinstance(data, bytes):
        raise Undecodable(Fault.DESCRIPTION)
    number = stored.number - first
    if not 0 <= number < frames and frames > 1:
        return  # this frame has none
    number = number if frames > 1 else 0
    begin = number * rows * columns
    raw = np.frombuffer(data, np.uint8)[begin // 8 : (begin + rows * columns + 7) // 8]
    bits = np.unpackbits(raw, bitorder="little")[begin % 8 :][: rows * columns]
    if len(bits) < rows * columns:
        raise Undecodable(Fault.DESCRIPTION)
    plane = bits.reshape(rows, columns)[max(0, -top) :, max(0, -left) :]
    top, left = max(0, top), max(0, left)
    plane = plane[: max(0, mask.shape[0] - top), : max(0, mask.shape[1] - left)]
    mask[top : top + plane.shape[0], left : left + plane.shape[1]] |= plane == 1


# ── numbers ──────────────────────────────────────────────────────────────────


def _number(data_set: DataSet, tag: int, which: int, default: float) -> float:
    values = data_set.texts(tag)
    if which >= len(values) or not values[which]:
        return default
    try:
        number = float(values[which])
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or abs(number) > 1e20:
        raise Undecodable(Fault.DESCRIPTION)
    return number


def _integer(data_set: DataSet, tag: int, default: int) -> int:
    return int(_number(data_set, tag, 0, default))
