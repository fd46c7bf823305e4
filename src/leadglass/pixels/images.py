"""An image as its data set describes it (PS3.3 C.7.6.3), checked before decoding."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from leadglass.pixels.faults import Fault, Undecodable

SAMPLES_PER_PIXEL = 0x0028_0002
PHOTOMETRIC_INTERPRETATION = 0x0028_0004
PLANAR_CONFIGURATION = 0x0028_0006
NUMBER_OF_FRAMES = 0x0028_0008
ROWS = 0x0028_0010
COLUMNS = 0x0028_0011
BITS_ALLOCATED = 0x0028_0100
BITS_STORED = 0x0028_0101
PIXEL_REPRESENTATION = 0x0028_0103
LOSSY_IMAGE_COMPRESSION = 0x0028_2110

DESCRIPTION = frozenset(
    {
        SAMPLES_PER_PIXEL,
        PHOTOMETRIC_INTERPRETATION,
        PLANAR_CONFIGURATION,
        NUMBER_OF_FRAMES,
        ROWS,
        COLUMNS,
        BITS_ALLOCATED,
        BITS_STORED,
        PIXEL_REPRESENTATION,
        LOSSY_IMAGE_COMPRESSION,
    }
)

NATIVE_BYTES_MAX = 0xFFFF_FFFE  # a value length has 32 bits and is even (PS3.5 §7.1)
# One frame is whole in memory, packed and unpacked. The largest real ones, slides
# and digitised films, have about 0.5 GiB.
FRAME_BYTES_MAX = 1 << 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """The description of an image whose every claim fits the limits."""

    rows: int
    columns: int
    samples: int
    frames: int
    bits_allocated: int
    is_signed: bool
    photometric: str
    planar: int
    lossy: str

    @classmethod
    def of(cls, values: Mapping[int, bytes], decoded_bytes_max: int | None) -> Self:
        """Take the description from raw values (little endian).

        ``decoded_bytes_max`` is for all frames together; None, where they are
        taken one by one: then only each of them is limited.

        Raises:
            Undecodable: It is incomplete, impossible or too large.
        """
        image = cls(
            rows=_number(values, ROWS),
            columns=_number(values, COLUMNS),
            samples=_number(values, SAMPLES_PER_PIXEL, 1),
            frames=_frame_count(values.get(NUMBER_OF_FRAMES, b"")),
            bits_allocated=_number(values, BITS_ALLOCATED),
            is_signed=_number(values, PIXEL_REPRESENTATION, 0) == 1,
            photometric=_text(values.get(PHOTOMETRIC_INTERPRETATION, b"")),
            planar=_number(values, PLANAR_CONFIGURATION, 0),
            lossy=_text(values.get(LOSSY_IMAGE_COMPRESSION, b"")),
        )
        if (
            min(image.rows, image.columns) < 1
            or image.samples not in (1, 3)
            or image.bits_allocated not in (1, 8, 16, 32, 64)
        ):
            raise Undecodable(Fault.DESCRIPTION)
        if max(image.frame_bytes, image.decoded_frame_bytes) > FRAME_BYTES_MAX:
            raise Undecodable(Fault.TOO_LARGE)
        if decoded_bytes_max is not None and image.bytes > min(
            decoded_bytes_max, NATIVE_BYTES_MAX
        ):
            raise Undecodable(Fault.TOO_LARGE)
        return image

    @property
    def frame_bytes(self) -> int:
        """Bytes of one native frame; those of single bits are rounded up."""
        bits = self.rows * self.columns * self.samples * self.bits_allocated
        if self.photometric == "YBR_FULL_422":  # only what is not decoded keeps it
            bits = bits * 2 // 3
        return (bits + 7) // 8

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample."""
        return self.bits_allocated // 8

    @property
    def decoded_frame_bytes(self) -> int:
        """Bytes of one frame with every sample present."""
        return self.rows * self.columns * self.samples * self.sample_bytes

    @property
    def bytes(self) -> int:
        """Bytes of all frames, every sample present."""
        return self.frames * max(self.frame_bytes, self.decoded_frame_bytes)


def _number(values: Mapping[int, bytes], tag: int, default: int = -1) -> int:
    value = values.get(tag, b"")
    if not value and default >= 0:
        return default
    if len(value) != 2:
        raise Undecodable(Fault.DESCRIPTION)
    return int.from_bytes(value, "little")


def _text(value: bytes) -> str:
    return value.decode("ascii", "replace").strip(" \0")


def _frame_count(value: bytes) -> int:
    text = _text(value)
    if not text:
        return 1
    if not text.isdecimal() or len(text) > 12 or int(text) < 1:  # IS, PS3.5 §6.2
        raise Undecodable(Fault.DESCRIPTION)
    return int(text)
