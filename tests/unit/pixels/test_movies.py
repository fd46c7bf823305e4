"""Films as boxes, which a player reads first; playing is tested with a browser."""

import struct
from collections.abc import Iterator

import numpy as np
import pytest

from leadglass.dicom.dataset import DataSet
from leadglass.pixels import movies
from leadglass.pixels.faults import Undecodable
from leadglass.pixels.movies import GROUP_FRAMES_MAX, TICKS_PER_S, Movie
from leadglass.pixels.pictures import (
    DELAY_MS_DEFAULT,
    DELAY_MS_MAX,
    FRAME_TIMES_BYTES_MAX,
    delays_ms,
)
from tests.unit.pixels.samples import Array
from tests.unit.pixels.worker_rig import Collected

INSIDE = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"mvex", b"moof", b"traf")


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    while data:
        size, kind = struct.unpack_from(">I4s", data)
        assert 8 <= size <= len(data)
        content, data = data[8:size], data[size:]
        yield kind, content
        if kind in INSIDE:
            yield from boxes(content)


def film(frames: list[Array], durations_ms: list[float], quality: int = 90) -> bytes:
    out = Collected()
    movie = Movie(durations_ms, quality, out)
    for frame in frames:
        movie.add(frame)
    return bytes(out.data)


def runs(data: bytes) -> list[tuple[int, list[tuple[int, int]]]]:
    """When each fragment begins, and the durations and sizes of its frames."""
    begins, tables = [], []
    for kind, content in boxes(data):
        if kind == b"tfdt":
            begins.append(struct.unpack(">4xQ", content)[0])
        if kind == b"trun":
            (count,) = struct.unpack_from(">4xI", content)
            values = struct.unpack_from(f">{2 * count}I", content, 16)
            tables.append(list(zip(values[::2], values[1::2], strict=True)))
    return list(zip(begins, tables, strict=True))


def greys(count: int, rows: int = 16, columns: int = 16) -> list[Array]:
    return [np.full((rows, columns), n % 256, np.uint8) for n in range(count)]


@pytest.mark.parametrize(
    ("count", "groups"), [(2, [2]), (64, [64]), (65, [65]), (66, [64, 2])]
)
def test_no_group_has_one_frame(count: int, groups: list[int]) -> None:
    assert GROUP_FRAMES_MAX == 64
    found = runs(film(greys(count), [40.0] * count))
    assert [len(table) for _, table in found] == groups
    assert [at for at, _ in found] == [0, 64 * 3600][: len(groups)]


def test_large_frames_come_in_small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(movies, "GROUP_PIXELS_MAX", 16 * 16 * 3)
    found = runs(film(greys(8), [40.0] * 8))
    assert [len(table) for _, table in found] == [3, 3, 2]


def test_every_frame_has_its_time_and_its_bytes() -> None:
    data = film(greys(4, 7, 5), [40.0, 33.3333, 0.001, 10_000.0])
    ((_, table),) = runs(data)
    ticks = [duration for duration, _ in table]
    assert ticks == [3600, 3000, 1, 10 * TICKS_PER_S]
    found = dict(boxes(data))
    assert sum(size for _, size in table) == len(found[b"mdat"])
    assert struct.unpack(">4xQ", found[b"mehd"]) == (sum(ticks),)
    assert struct.unpack(">II", found[b"tkhd"][-8:]) == (5 << 16, 7 << 16)
    (at,) = struct.unpack_from(">i", found[b"trun"], 8)
    assert at == data.index(b"mdat") + 4 - (data.index(b"moof") - 4)


def test_a_film_is_the_same_each_time_and_says_not_when_it_was_made() -> None:
    frames, times = greys(3), [40.0] * 3
    assert film(frames, times) == film(frames, times)
    found = dict(boxes(film(frames, times)))
    for kind in (b"mvhd", b"tkhd", b"mdhd"):
        assert found[kind][4:12] == bytes(8)


def test_quality_is_paid_for() -> None:
    noise = np.random.default_rng(7).integers(0, 255, (3, 64, 64, 3), np.uint8)
    sizes = [len(film(list(noise), [40.0] * 3, quality)) for quality in (10, 90)]
    assert sizes[0] < sizes[1] / 2


def test_an_encoder_that_we_do_not_know_is_not_believed() -> None:
    for sequence in (b"", b"\0\0\0\0ftyp", b"\0\0\0\x10ftypavis", bytes(40)):
        with pytest.raises((Undecodable, KeyError, struct.error)):
            movies._taken_out(sequence, 2)


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({}, [DELAY_MS_DEFAULT] * 3),
        ({0x00181063: "33.3"}, [33.3] * 3),
        ({0x00082144: "25"}, [40.0] * 3),
        ({0x00180040: "50"}, [20.0] * 3),
        ({0x00082144: "25", 0x00180040: "50"}, [40.0] * 3),
        ({0x00181063: "0", 0x00180040: "50"}, [20.0] * 3),
        ({0x00181065: "0\\10\\20"}, [10.0, 20.0, 20.0]),
        ({0x00181065: "0\\x\\20", 0x00180040: "50"}, [20.0, 20.0, 20.0]),
        ({0x00181065: "0"}, [DELAY_MS_DEFAULT] * 3),
        ({0x00181065: "0\\10\\20", 0x00181063: "5"}, [5.0] * 3),
        ({0x00181063: "nan"}, [DELAY_MS_DEFAULT] * 3),
        ({0x00181063: "-1"}, [DELAY_MS_DEFAULT] * 3),
        ({0x00181063: "1e300"}, [DELAY_MS_MAX] * 3),
        ({0x00181063: "1e-300"}, [4] * 3),
        ({0x00180040: "1e-320"}, [DELAY_MS_MAX] * 3),
    ],
)
def test_how_long_frames_stand(elements: dict[int, str], expected: list[float]) -> None:
    head = DataSet()
    for tag, value in elements.items():
        head.set(tag, "IS" if tag in (0x00082144, 0x00180040) else "DS", value.encode())
    assert delays_ms(head, [1, 2, 3], 4) == pytest.approx(expected)


def test_a_vector_of_times_without_end_is_not_read() -> None:
    head = DataSet()
    head.set(0x0018_1065, "DS", b"0\\10\\" * (FRAME_TIMES_BYTES_MAX // 4))
    head.set(0x0018_1065, "DS", b"0\\10\\" * (FRAME_TIMES_BYTES_MAX // 4) + b"1\\2")
    assert delays_ms(head, [1], 4) == [DELAY_MS_DEFAULT]
