"""One compressed frame to native samples: a table of transfer syntaxes.

Only inside worker processes: the libraries behind imagecodecs are C and C++ code.
All are under permissive licences (libjpeg-turbo, CharLS, OpenJPEG, OpenJPH,
libjxl).
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from leadglass.pixels.codestreams import (
    Codestream,
    read_jpeg,
    read_jpeg2k,
    read_jpegxl,
)
from leadglass.pixels.faults import Fault, Undecodable
from leadglass.pixels.images import Image

Array = NDArray[Any]

END_MARKER = b"\xff\xd9"  # EOI of JPEG, EOC of JPEG 2000
RLE_HEADER_BYTES = 64  # PS3.5 §G.5
RLE_SEGMENTS_MAX = 15
# A segment may end with a padding byte, which a decoder takes for a run begun.
RLE_SLACK_BYTES = 256


@dataclass(frozen=True, slots=True)
class Frame:
    """A decoded frame, and what its data set must now say of all frames."""

    samples: memoryview
    photometric: str
    planar: int
    is_lossy: bool


@dataclass(frozen=True, slots=True)
class Codec:
    """How the frames of one transfer syntax are read."""

    read: Callable[[bytes], Codestream]
    decode: Callable[[bytes, Image, Codestream], Array]
    has_end_marker: bool
    # Color spaces that are RGB once decoded, as the decoder undoes them.
    becomes_rgb: frozenset[str] = frozenset()


# ── decoders ─────────────────────────────────────────────────────────────────


def _is_ycc(image: Image, stream: Codestream) -> bool:
    """Whether the samples in a JPEG codestream are YCbCr.

    The data set says so; but many say RGB, meaning what their viewer shows,
    over a codestream whose Adobe marker says YCbCr, and there the marker is right.
    """
    if image.photometric == "RGB":
        return stream.is_ycc is True
    return image.photometric in ("YBR_FULL", "YBR_FULL_422")


def _jpeg(data: bytes, image: Image, stream: Codestream) -> Array:
    if image.samples == 1:
        return _array(imagecodecs.jpeg8_decode(data))
    space = "YCBCR" if _is_ycc(image, stream) else "RGB"
    decoded = imagecodecs.jpeg8_decode(data, colorspace=space, outcolorspace="RGB")
    return _array(decoded)


def _jpeg_lossless(data: bytes, image: Image, _stream: Codestream) -> Array:
    if image.samples == 1:
        return _array(imagecodecs.jpeg8_decode(data))
    # The same space in and out: the samples stay as they are, whatever they mean.
    decoded = imagecodecs.jpeg8_decode(data, colorspace="RGB", outcolorspace="RGB")
    return _array(decoded)


def _jpeg_ls(data: bytes, _image: Image, _stream: Codestream) -> Array:
    return _array(imagecodecs.jpegls_decode(data))


def _jpeg2k(data: bytes, _image: Image, _stream: Codestream) -> Array:
    return _array(imagecodecs.jpeg2k_decode(data, planar=False, numthreads=1))


def _htj2k(data: bytes, _image: Image, _stream: Codestream) -> Array:
    return _array(imagecodecs.htj2k_decode(data, planar=False))


def _jpegxl(data: bytes, _image: Image, _stream: Codestream) -> Array:
    decoded = imagecodecs.jpegxl_decode(
        data, index=0, keeporientation=True, numthreads=1
    )
    return _array(decoded)


def _array(decoded: object) -> Array:
    if not isinstance(decoded, np.ndarray):
        raise Undecodable(Fault.CODESTREAM)
    return decoded


_J2K_RGB = frozenset({"YBR_RCT", "YBR_ICT"})
_JPEG = Codec(read_jpeg, _jpeg, True, frozenset({"YBR_FULL", "YBR_FULL_422"}))
_JPEG_LOSSLESS = Codec(read_jpeg, _jpeg_lossless, True)
_JPEG_LS = Codec(read_jpeg, _jpeg_ls, True)
_JPEG2K = Codec(read_jpeg2k, _jpeg2k, True, _J2K_RGB)
_HTJ2K = Codec(read_jpeg2k, _htj2k, True, _J2K_RGB)
_JPEG_XL = Codec(
    read_jpegxl, _jpegxl, False, frozenset({"XYB", "YBR_FULL", "YBR_FULL_422"})
)

RLE_LOSSLESS = "1.2.840.10008.1.2.5"
DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
UNCOMPRESSED_FRAMES = "1.2.840.10008.1.2.1.98"

CODECS: Mapping[str, Codec] = MappingProxyType(
    {
        "1.2.840.10008.1.2.4.50": _JPEG,  # baseline
        "1.2.840.10008.1.2.4.51": _JPEG,  # extended, 8 and 12 bit
        "1.2.840.10008.1.2.4.57": _JPEG_LOSSLESS,
        "1.2.840.10008.1.2.4.70": _JPEG_LOSSLESS,  # first-order prediction
        "1.2.840.10008.1.2.4.80": _JPEG_LS,
        "1.2.840.10008.1.2.4.81": _JPEG_LS,  # near-lossless
        "1.2.840.10008.1.2.4.90": _JPEG2K,  # lossless
        "1.2.840.10008.1.2.4.91": _JPEG2K,
        "1.2.840.10008.1.2.4.201": _HTJ2K,  # lossless
        "1.2.840.10008.1.2.4.202": _HTJ2K,  # lossless, RPCL
        "1.2.840.10008.1.2.4.203": _HTJ2K,
        "1.2.840.10008.1.2.4.110": _JPEG_XL,  # lossless
        "1.2.840.10008.1.2.4.111": _JPEG_XL,  # recompressed JPEG
        "1.2.840.10008.1.2.4.112": _JPEG_XL,
    }
)


def decode_frame(syntax: str, data: bytes, image: Image) -> Frame:
    """Decode one frame of an image in a compressed transfer syntax.

    Raises:
        Undecodable: The frame is broken, or not what the data set says.
        MemoryError: There is not enough.
    """
    if syntax in (UNCOMPRESSED_FRAMES, DEFLATED_FRAMES):
        return _raw_frame(syntax, data, image)
    if image.bits_allocated == 1 or image.photometric.startswith("YBR_PARTIAL"):
        raise Undecodable(Fault.UNSUPPORTED)
    if syntax == RLE_LOSSLESS:
        return _rle_frame(data, image)
    codec = CODECS[syntax]
    stream = codec.read(data)
    _compare(stream, image)
    # Cut-off frames decode to grey without a word (libjpeg, OpenJPH).
    if codec.has_end_marker and not data.rstrip(b"\0\xff").endswith(END_MARKER):
        raise Undecodable(Fault.CODESTREAM)
    try:
        array = codec.decode(data, image, stream)
    except (MemoryError, Undecodable):
        raise
    except Exception as error:
        # Each codec has its own class; their common base is Exception.
        raise Undecodable(Fault.CODESTREAM) from error
    is_rgb = image.samples == 3 and image.photometric in codec.becomes_rgb
    # Components are whole again after decoding, whatever is kept of their space.
    kept = "YBR_FULL" if image.photometric == "YBR_FULL_422" else image.photometric
    return Frame(
        samples=_native(array, image, stream),
        photometric="RGB" if is_rgb else kept,
        planar=0,
        is_lossy=stream.is_lossy,
    )


def _compare(stream: Codestream, image: Image) -> None:
    """Refuse a codestream that claims another size than its data set."""
    if (
        (stream.rows, stream.columns) != (image.rows, image.columns)
        or stream.samples not in (0, image.samples)
        or stream.bits > image.bits_allocated
    ):
        raise Undecodable(Fault.MISMATCH)


def _native(array: Array, image: Image, stream: Codestream) -> memoryview:
    """Bring decoded samples to the width and sign that the data set states.

    Only JPEG 2000 codestreams have a sign. Elsewhere, and in some of those too,
    signed samples were given to the encoder as unsigned ones of the codestream's
    precision: their highest bit is the sign.
    """
    shape: tuple[int, ...] = (image.rows, image.columns)
    if image.samples > 1:
        shape = (*shape, image.samples)
    if array.shape != shape or array.dtype.kind not in "iu":
        raise Undecodable(Fault.MISMATCH)
    kind, width = array.dtype.kind, image.sample_bytes
    bits = stream.bits or array.dtype.itemsize * 8
    if bits > image.bits_allocated:
        raise Undecodable(Fault.MISMATCH)
    native = array.astype(f"<{kind}{width}", order="C", copy=False)
    spare = image.bits_allocated - bits
    if spare and image.is_signed and kind == "u":
        native = (native << spare).view(f"<i{width}") >> spare
    elif spare and not image.is_signed and kind == "i":
        native = native.view(f"<u{width}") & ((1 << bits) - 1)
    return np.ascontiguousarray(native).data.cast("B")


# ── RLE, PS3.5 Annex G ───────────────────────────────────────────────────────


def _rle_frame(data: bytes, image: Image) -> Frame:
    """Decode the byte planes of a frame, most significant first, per sample."""
    count = int.from_bytes(data[:4], "little")
    if len(data) < RLE_HEADER_BYTES or count > RLE_SEGMENTS_MAX:
        raise Undecodable(Fault.CODESTREAM)
    if count != image.samples * image.sample_bytes:
        raise Undecodable(Fault.MISMATCH)
    starts = np.frombuffer(data, "<u4", count, offset=4).tolist()
    ends = [*starts[1:], len(data)]
    pixel_count = image.rows * image.columns
    planes = np.empty((pixel_count, image.samples, image.sample_bytes), np.uint8)
    room = bytearray(pixel_count + RLE_SLACK_BYTES)
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        if not RLE_HEADER_BYTES <= start < end <= len(data):
            raise Undecodable(Fault.CODESTREAM)
        try:
            plane = imagecodecs.packbits_decode(data[start:end], out=room)
        except MemoryError:
            raise
        except Exception as error:
            raise Undecodable(Fault.CODESTREAM) from error
        if len(plane) < pixel_count:
            raise Undecodable(Fault.CODESTREAM)
        sample, place = divmod(number, image.sample_bytes)
        planes[:, sample, image.sample_bytes - 1 - place] = np.frombuffer(
            plane, np.uint8, pixel_count
        )
    return Frame(
        samples=planes.data.cast("B"),
        photometric=image.photometric,
        planar=0,
        is_lossy=False,
    )


# ── frames that are native already, PS3.5 §A.4 ────────────────────────────


def _raw_frame(syntax: str, data: bytes, image: Image) -> Frame:
    """Take a frame as it is, or inflate it, never further than its size."""
    size = image.frame_bytes
    if image.frames > 1 and image.bits_allocated == 1:
        bits = image.rows * image.columns * image.samples
        if bits % 8:  # native frames of single bits follow without a gap
            raise Undecodable(Fault.UNSUPPORTED)
    if syntax == DEFLATED_FRAMES:
        try:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size + 2)
        except zlib.error as error:
            raise Undecodable(Fault.CODESTREAM) from error
    if not size <= len(data) <= size + 1:  # one byte of padding
        raise Undecodable(Fault.MISMATCH)
    return Frame(memoryview(data)[:size], image.photometric, image.planar, False)
