"""Rendered frames to a film: AV1 in MP4; only inside worker processes.

libaom, by way of libavif, is in the wheel of imagecodecs already, and under
permissive licences; what it makes is an AVIF image sequence, whose frames are taken
out and put into fragments of an MP4 (ISO/IEC 14496-12 §8.8; AV1 in it: AOM's "AV1
Codec ISO Media File Format Binding"). Nothing is sought back, so it needs no file,
and only a group of frames is held.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from leadglass.pixels.faults import Fault, Undecodable

Array = NDArray[Any]

TICKS_PER_S: Final = 90_000  # of the track's clock; a frame of 60 Hz has 1500
# A group begins with a key frame. Longer ones save little, and 8 million pixels of
# three bytes are 24 MiB, beside what libaom takes for one frame.
GROUP_FRAMES_MAX: Final = 64
GROUP_PIXELS_MAX: Final = 1 << 23
# One alone would be coded as a still picture, with another sequence header.
GROUP_FRAMES_MIN: Final = 2
# libaom's for realtime: a tenth larger than the next, in two thirds of its time.
SPEED: Final = 10

# ISO/IEC 23091-2: primaries of BT.709, transfer of sRGB, matrix of BT.709.
_PRIMARIES, _TRANSFER, _MATRIX = 1, 13, 1
_UNITY: Final = struct.pack(">9I", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
_SYNC_SAMPLE: Final = 0x0200_0000  # depends on no other
_OTHER_SAMPLE: Final = 0x0101_0000
_CONTAINERS: Final = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl"})
# What stands before the boxes within these.
_PREFIX_BYTES: Final = {b"stsd": 8, b"av01": 78}


class Out(Protocol):
    """Where a film goes."""

    def write(self, data: bytes | memoryview) -> None:
        """Send a part, now or with the next one."""

    def flush(self) -> None:
        """Send what was gathered."""


@dataclass(slots=True)
class Movie:
    """Writes a film, frame by frame.

    Attributes:
        durations_ms: How long each frame stands; so many frames must be added, at
            least two.
        quality: 1 to 100; at 100 greys are exact.
    """

    durations_ms: Sequence[float]
    quality: int
    out: Out
    _group: list[Array] = field(default_factory=list)
    _count: int = 0  # of frames that are written
    _ticks: int = 0  # how long those take
    _config: bytes = b""
    _fragments: int = 0

    def add(self, pixels: Array) -> None:
        """Add a frame of 8 bits, grey or RGB, as large as the others.

        Raises:
            Undecodable: The encoder is not the one that we know.
        """
        if pixels.ndim == 2:
            pixels = np.repeat(pixels[..., None], 3, axis=2)
        self._group.append(pixels)
        rows, columns = pixels.shape[:2]
        fitting = min(GROUP_FRAMES_MAX, GROUP_PIXELS_MAX // (rows * columns))
        left = len(self.durations_ms) - self._count - len(self._group)
        is_full = len(self._group) >= max(GROUP_FRAMES_MIN, fitting)
        if not left or (is_full and left >= GROUP_FRAMES_MIN):
            self._write()

    def _write(self) -> None:
        stack = np.stack(self._group)
        self._group.clear()
        config, samples = encoded(stack, self.quality)
        if not self._config:
            self._config = config
            rows, columns = stack.shape[1:3]
            self.out.write(_beginning(rows, columns, config, self._all_ticks()))
        elif config != self._config:
            raise Undecodable(Fault.UNSUPPORTED)  # not the encoder that we know
        span = slice(self._count, self._count + len(samples))
        durations = [_ticks(each) for each in self.durations_ms[span]]
        self._fragments += 1
        self.out.write(_fragment(self._fragments, self._ticks, durations, samples))
        self.out.flush()  # whoever waits sees that it goes on
        self._count += len(samples)
        self._ticks += sum(durations)

    def _all_ticks(self) -> int:
        return sum(map(_ticks, self.durations_ms))


def encoded(stack: Array, quality: int) -> tuple[bytes, list[bytes]]:
    """Encode frames that follow each other; the first is a key frame.

    Args:
        stack: Frames × rows × columns × RGB of 8 bits; two frames or more.
        quality: 1 to 100.

    Returns:
        The boxes that describe the codestream (``av1C`` and ``colr``), and the
        frames' temporal units.

    Raises:
        Undecodable: The encoder is not the one that we know.
    """
    sequence = bytes(
        imagecodecs.avif_encode(
            np.ascontiguousarray(stack),
            level=quality,
            speed=SPEED,
            pixelformat="420",  # what every decoder of AV1 takes (main profile)
            codec="aom",
            primaries=_PRIMARIES,
            transfer=_TRANSFER,
            matrix=_MATRIX,
            numthreads=1,
        )
    )
    try:
        return _taken_out(sequence, len(stack))
    except (KeyError, struct.error):
        raise Undecodable(Fault.UNSUPPORTED) from None


def _taken_out(sequence: bytes, count: int) -> tuple[bytes, list[bytes]]:
    """Take the codestream out of an AVIF image sequence (AVIF 1.1 §3)."""
    found = dict(_boxes(sequence, 0, len(sequence)))
    config = b"".join(_box(each, found[each]) for each in (b"av1C", b"colr"))
    _, equal, in_file = struct.unpack_from(">3I", found[b"stsz"])
    _, chunks, at = struct.unpack_from(">3I", found[b"stco"])
    if equal or in_file != count or chunks != 1:
        raise Undecodable(Fault.UNSUPPORTED)
    samples = []
    for size in struct.unpack_from(f">{count}I", found[b"stsz"], 12):
        samples.append(sequence[at : at + size])
        at += size
    if at > len(sequence):
        raise Undecodable(Fault.UNSUPPORTED)
    return config, samples


def _boxes(data: bytes, begin: int, end: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the kinds and contents of all boxes, from within containers too."""
    while begin < end:
        size, kind = struct.unpack_from(">I4s", data, begin)
        if not 8 <= size <= end - begin:
            raise Undecodable(Fault.UNSUPPORTED)
        if kind in _CONTAINERS or kind in _PREFIX_BYTES:
            inner = begin + 8 + _PREFIX_BYTES.get(kind, 0)
            yield from _boxes(data, inner, begin + size)
        else:
            yield kind, data[begin + 8 : begin + size]
        begin += size


# ── MP4, ISO/IEC 14496-12 ────────────────────────────────────────────────────


def _ticks(duration_ms: float) -> int:
    return max(1, round(duration_ms * TICKS_PER_S / 1000))


def _box(kind: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">I4s", 8 + len(content), kind) + content


def _full_box(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    return _box(kind, struct.pack(">I", version << 24 | flags), *parts)


def _beginning(rows: int, columns: int, config: bytes, ticks: int) -> bytes:
    """Say what follows: one track, without times of its making."""
    entry = struct.pack(
        ">6xH16xHHIIIH32xHh",
        1,  # its data is in this file
        *(columns, rows),
        *(0x48_0000, 0x48_0000, 0),  # 72 dpi
        *(1, 24, -1),  # a frame a sample, in color, without a table of colors
    )
    table = _box(
        b"stbl",
        _full_box(b"stsd", 0, 0, struct.pack(">I", 1), _box(b"av01", entry, config)),
        *(_full_box(kind, 0, 0, bytes(4)) for kind in (b"stts", b"stsc", b"stco")),
        _full_box(b"stsz", 0, 0, bytes(8)),
    )
    data = _box(
        b"dinf",
        _full_box(b"dref", 0, 0, struct.pack(">I", 1), _full_box(b"url ", 0, 1)),
    )
    media = _box(
        b"mdia",
        # "und", as five bits a letter: no language
        _full_box(b"mdhd", 0, 0, struct.pack(">8xIIHH", TICKS_PER_S, 0, 0x55C4, 0)),
        _full_box(b"hdlr", 0, 0, struct.pack(">4x4s13x", b"vide")),
        _box(b"minf", _full_box(b"vmhd", 0, 1, bytes(8)), data, table),
    )
    size = struct.pack(">II", columns << 16, rows << 16)
    track = _full_box(b"tkhd", 0, 3, struct.pack(">8xI24x", 1), _UNITY, size)
    head = struct.pack(">8xIIIH10x", TICKS_PER_S, 0, 1 << 16, 1 << 8)
    movie = _box(
        b"moov",
        _full_box(b"mvhd", 0, 0, head, _UNITY, struct.pack(">24xI", 2)),
        _box(b"trak", track, media),
        _box(
            b"mvex",
            _full_box(b"mehd", 1, 0, struct.pack(">Q", ticks)),
            _full_box(b"trex", 0, 0, struct.pack(">5I", 1, 1, 0, 0, _OTHER_SAMPLE)),
        ),
    )
    brands = b"iso6\0\0\0\0iso6av01mp41"
    return _box(b"ftyp", brands) + movie


def _fragment(
    number: int, begins: int, durations: Sequence[int], samples: Sequence[bytes]
) -> bytes:
    """Write some frames, of which the first stands for itself (§8.8)."""
    pairs = [
        value
        for duration, sample in zip(durations, samples, strict=True)
        for value in (duration, len(sample))
    ]
    times = struct.pack(f">{len(pairs)}I", *pairs)

    def head(data_at: int) -> bytes:
        run = struct.pack(">IiI", len(samples), data_at, _SYNC_SAMPLE)
        return _box(
            b"moof",
            _full_box(b"mfhd", 0, 0, struct.pack(">I", number)),
            _box(
                b"traf",
                # What follows is counted from this box on.
                _full_box(b"tfhd", 0, 0x02_0000, struct.pack(">I", 1)),
                _full_box(b"tfdt", 1, 0, struct.pack(">Q", begins)),
                # Given are the place, the first's flags, and times and sizes.
                _full_box(b"trun", 0, 0x305, run, times),
            ),
        )

    data = _box(b"mdat", *samples)
    return head(len(head(0)) + 8) + data
