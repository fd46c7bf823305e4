"""Worker processes: what goes wrong in one stays in it."""

import resource
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadglass.config import KiB, Limits, MiB, Pixels
from leadglass.dicom.uids import UID
from leadglass.errors import BadData, Damaged, Unavailable
from leadglass.pixels.faults import TEXTS, Fault, Undecodable
from leadglass.pixels.rewrite import ENCAPSULATED, NATIVE
from leadglass.pixels.transcode import COMPLETE_BYTES_MAX, DECODABLE, Transcoder
from tests.unit.pixels.samples import (
    EXPLICIT,
    HTJ2K,
    IMPLICIT,
    JPEG,
    JPEG_2000_LOSSLESS,
    JPEG_LOSSLESS,
    JPEG_LS,
    JPEG_XL,
    RLE,
    Sample,
    described,
    element,
    encapsulated,
    encoded,
    item,
    rewritten,
    rle_frame,
    sample,
    samples,
)

ONE = Pixels(worker_count_max=1, decoded_bytes_max=1 << 30)
GOOD = sample("MR_small_RLE.dcm")
GOOD_NATIVE = rewritten(GOOD.data, GOOD.syntax)
SLOW = sample("RG1_J2KR.dcm")  # takes more than half a second


@pytest.fixture(scope="module")
def transcoder() -> Iterator[Transcoder]:
    with Transcoder(ONE) as found:
        yield found


def whole(transcoder: Transcoder, data: bytes, syntax: UID = RLE) -> bytes:
    return b"".join(transcoder.transcode(data, syntax, EXPLICIT))


def works(transcoder: Transcoder) -> bool:
    return whole(transcoder, GOOD.data) == GOOD_NATIVE


def says(fault: Fault) -> str:
    """The start of an error's text, as a pattern."""
    return TEXTS[fault].replace(".", r"\.")


def process_ids(transcoder: Transcoder) -> set[int]:
    return {worker.process.pid for worker in transcoder._all}


# ── what it is for ───────────────────────────────────────────────────────────


@pytest.mark.parametrize("target", [EXPLICIT, IMPLICIT], ids=["explicit", "implicit"])
@pytest.mark.parametrize(
    "given_file",
    [each for each in samples() if each.syntax in ENCAPSULATED][::3],
    ids=str,
)
def test_a_worker_gives_what_rewriting_gives(
    transcoder: Transcoder, given_file: Sample, target: UID
) -> None:
    try:
        expected = rewritten(given_file.data, given_file.syntax, target)
    except Undecodable as error:
        with pytest.raises(BadData, match=says(error.fault)):
            list(transcoder.transcode(given_file.data, given_file.syntax, target))
        return
    chunks = (
        given_file.data[at : at + 100_000]
        for at in range(0, len(given_file.data), 100_000)
    )
    found = transcoder.transcode(chunks, given_file.syntax, target)
    assert b"".join(found) == expected


def test_what_is_already_in_the_target_passes_without_a_worker() -> None:
    transcoder = Transcoder(ONE)
    assert list(transcoder.transcode([b"ab", b"cd"], IMPLICIT, IMPLICIT)) == [
        b"ab",
        b"cd",
    ]
    assert not transcoder._all


def test_a_worker_is_used_again_and_then_replaced() -> None:
    with Transcoder(replace(ONE, tasks_per_worker_max=2)) as transcoder:
        seen = []
        for _ in range(4):
            assert works(transcoder)
            seen.append(process_ids(transcoder))
    assert seen[0]
    assert seen[1] == set()  # worn after its second image
    assert seen[2]
    assert seen[2] != seen[0]


def test_many_callers_share_few_workers() -> None:
    with Transcoder(replace(ONE, worker_count_max=2)) as transcoder:
        results: list[bool] = []

        def call() -> None:
            results.extend(works(transcoder) for _ in range(5))

        threads = [threading.Thread(target=call) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [True] * 30
        assert len(transcoder._all) <= 2


def test_what_can_be_read_is_said() -> None:
    assert {*ENCAPSULATED, *NATIVE} == DECODABLE
    assert {JPEG, JPEG_LOSSLESS, JPEG_LS, JPEG_2000_LOSSLESS, HTJ2K, JPEG_XL, RLE} <= (
        DECODABLE
    )
    with pytest.raises(BadData, match="no decoder"):
        Transcoder(ONE).transcode(b"", UID("1.2.840.10008.1.2.4.100"), EXPLICIT)
    with pytest.raises(ValueError, match="target"):
        Transcoder(ONE).transcode(b"", EXPLICIT, RLE)


# ── walls ────────────────────────────────────────────────────────────────────


def test_a_worker_can_write_no_file_and_knows_no_secret(
    transcoder: Transcoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert works(transcoder)
    (process_id,) = process_ids(transcoder)
    limits = Path(f"/proc/{process_id}/limits").read_text().splitlines()
    soft = {line[:26].strip(): line[26:].split()[0] for line in limits[1:]}
    assert soft["Max file size"] == "0"
    assert soft["Max core file size"] == "0"
    assert int(soft["Max address space"]) == ONE.memory_bytes_max
    assert int(soft["Max cpu time"]) < 10_000
    environment = Path(f"/proc/{process_id}/environ").read_text()
    assert "LEADGLASS" not in environment
    assert "PATH" not in environment
    targets = {
        str(each.readlink()) for each in Path(f"/proc/{process_id}/fd").iterdir()
    }
    assert {each.partition(":")[0] for each in targets} <= {"/dev/null", "socket"}


def test_no_worker_outlives_its_transcoder() -> None:
    with Transcoder(ONE) as transcoder:
        assert works(transcoder)
        (worker,) = transcoder._all
    assert worker.process.poll() is not None
    with pytest.raises(Unavailable, match="stopping"):
        whole(transcoder, GOOD.data)


def test_closing_ends_what_is_being_done() -> None:
    transcoder = Transcoder(ONE)

    def source() -> Iterator[bytes]:
        yield GOOD.data[:100]
        transcoder.close()
        yield GOOD.data[100:]

    with pytest.raises(Unavailable):
        list(transcoder.transcode(source(), RLE, EXPLICIT))
    assert not transcoder._all


def test_a_result_that_nobody_reads_frees_its_worker() -> None:
    given_file = sample("color3d_jpeg_baseline.dcm")
    with Transcoder(ONE) as transcoder:
        parts = transcoder.transcode(given_file.data, given_file.syntax, EXPLICIT)
        assert next(parts)
        (worker,) = transcoder._all
        parts.close()  # type: ignore[attr-defined]
        assert worker.process.poll() == -signal.SIGKILL
        assert works(transcoder)


def test_an_error_of_the_source_comes_through() -> None:
    def source() -> Iterator[bytes]:
        yield GOOD.data[:1000]
        raise Damaged("a segment fails its seal")

    with Transcoder(ONE) as transcoder:
        with pytest.raises(Damaged):
            list(transcoder.transcode(source(), RLE, EXPLICIT))
        assert works(transcoder)


# ── hostile images ───────────────────────────────────────────────────────────

GREY = np.arange(64 * 64, dtype="<u2").reshape(64, 64)
PACKED = {
    RLE: rle_frame(GREY),
    JPEG_LOSSLESS: encoded("ljpeg", GREY, bitspersample=16),
    JPEG_LS: encoded("jpegls", GREY),
    JPEG_2000_LOSSLESS: encoded("jpeg2k", GREY, level=0, codecformat="j2k"),
    HTJ2K: encoded("htj2k", GREY),
    JPEG_XL: encoded("jpegxl", GREY, lossless=True),
}


def image(frame: bytes, *, rows: int = 64, frames: str = "") -> bytes:
    data = encapsulated([frame] if frame else [])
    return described(data, rows=rows, columns=64, frames=frames)


HOSTILE: list[tuple[str, bytes, UID, Fault]] = [
    (
        "huge",
        described(encapsulated([]), rows=65535, columns=65535),
        JPEG,
        Fault.TOO_LARGE,
    ),
    ("many", image(PACKED[RLE], frames="999999"), RLE, Fault.TOO_LARGE),
    ("fewer frames", image(PACKED[RLE], frames="2"), RLE, Fault.FRAMES),
    ("no frame", image(b""), RLE, Fault.FRAMES),
    (
        "claim of the codestream",
        image(PACKED[JPEG_LS].replace(b"\x10\0\x40\0\x40", b"\x10\xff\xff\xff\xff")),
        JPEG_LS,
        Fault.MISMATCH,
    ),
    ("other codec", image(PACKED[JPEG_LS]), HTJ2K, Fault.CODESTREAM),
    ("nesting", b"", EXPLICIT, Fault.DEPTH),
    ("cut off", GOOD.data[:-100], RLE, Fault.TRUNCATED),
    *(
        (f"half of {uid[18:]}", image(frame[: len(frame) // 2]), uid, Fault.CODESTREAM)
        for uid, frame in PACKED.items()
    ),
]


@pytest.mark.parametrize(
    ("data", "syntax", "fault"),
    [case[1:] for case in HOSTILE],
    ids=[case[0] for case in HOSTILE],
)
def test_a_hostile_image_is_bad_data(
    transcoder: Transcoder, data: bytes, syntax: UID, fault: Fault
) -> None:
    if fault is Fault.DEPTH:
        for _ in range(100):
            data = element(0x0040_A730, b"SQ", item(data), 0xFFFF_FFFF)
    with pytest.raises(BadData, match=says(fault)):
        list(transcoder.transcode(data, syntax, IMPLICIT))


def test_after_all_that_images_are_decoded(transcoder: Transcoder) -> None:
    assert works(transcoder)


def test_nothing_is_given_of_a_small_image_that_fails_late(
    transcoder: Transcoder,
) -> None:
    frames = [PACKED[JPEG_LS], PACKED[JPEG_LS][:-10]]
    data = described(encapsulated(frames), rows=64, columns=64, frames="2")
    parts = transcoder.transcode(data, JPEG_LS, EXPLICIT)
    with pytest.raises(BadData):
        next(parts)


@settings(max_examples=15)
@given(
    st.sampled_from([uid for uid in PACKED if uid != RLE]),
    st.lists(
        st.tuples(st.integers(0, 1 << 20), st.integers(1, 255)), min_size=1, max_size=8
    ),
)
def test_changed_codestreams_harm_nobody(
    transcoder: Transcoder, syntax: UID, changes: list[tuple[int, int]]
) -> None:
    frame = bytearray(PACKED[syntax])
    for at, change in changes:
        frame[at % len(frame)] ^= change
    try:
        found = whole(transcoder, image(bytes(frame)), syntax)
    except BadData:
        return
    assert len(found) == len(whole(transcoder, image(PACKED[syntax]), syntax))


# ── time, memory, crashes ────────────────────────────────────────────────────


def test_a_codec_that_takes_too_long_is_ended() -> None:
    with Transcoder(replace(ONE, frame_timeout_s=0.1)) as transcoder:
        assert works(transcoder)
        (worker,) = transcoder._all
        with pytest.raises(BadData, match=says(Fault.TIME)):
            whole(transcoder, SLOW.data, SLOW.syntax)
        assert worker.process.poll() == -signal.SIGKILL
        assert works(transcoder)


def test_more_memory_than_allowed_is_refused() -> None:
    walls = replace(ONE, memory_bytes_max=512 * MiB)
    header = (2).to_bytes(4, "little") + (64).to_bytes(4, "little")
    frame = header.ljust(64, b"\0") + bytes(100)
    data = described(encapsulated([frame]), rows=20_000, columns=20_000)
    with Transcoder(walls) as transcoder:
        with pytest.raises(Unavailable, match=says(Fault.MEMORY)):
            whole(transcoder, data)
        assert works(transcoder)


@pytest.mark.parametrize(
    ("number", "error", "fault"),
    [
        (signal.SIGSEGV, BadData, Fault.CRASH),
        (signal.SIGABRT, BadData, Fault.CRASH),
        (signal.SIGXCPU, BadData, Fault.TIME),
        (signal.SIGKILL, Unavailable, Fault.WORKER),  # from outside: out of memory
    ],
)
def test_a_worker_that_dies_takes_nobody_along(
    number: signal.Signals, error: type[Exception], fault: Fault
) -> None:
    with Transcoder(ONE) as transcoder:
        assert works(transcoder)
        (worker,) = transcoder._all

        def source() -> Iterator[bytes]:
            yield GOOD.data[:1000]
            worker.process.send_signal(number)
            worker.process.wait()
            yield GOOD.data[1000:]

        with pytest.raises(error, match=says(fault)):
            list(transcoder.transcode(source(), RLE, EXPLICIT))
        assert works(transcoder)


def test_a_worker_that_cannot_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with Transcoder(ONE) as transcoder:
        monkeypatch.setattr("sys.executable", "/nowhere/python")
        with pytest.raises(Unavailable, match="cannot be started"):
            works(transcoder)
        monkeypatch.setattr("sys.executable", "/bin/false")
        with pytest.raises(Unavailable):
            works(transcoder)
        monkeypatch.undo()
        assert works(transcoder)


# ── size ─────────────────────────────────────────────────────────────────────


def test_a_large_image_is_held_by_nobody_whole() -> None:
    """200 MB pass in pieces, compressed or not."""
    side, count = 1024, 100
    pixels = np.arange(side * side, dtype="<u2").reshape(side, side)
    frame = rle_frame(pixels)
    empty = described(encapsulated([]), rows=side, columns=side, frames=f"{count}")
    end = empty.index(b"\xfe\xff\xdd\xe0")

    def source() -> Iterator[bytes]:
        yield empty[:end]
        for _ in range(count):
            yield item(frame)
        yield empty[end:]

    with Transcoder(ONE) as transcoder:
        assert works(transcoder)
        before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        size = longest = 0
        for part in transcoder.transcode(source(), RLE, EXPLICIT):
            size += len(part)
            longest = max(longest, len(part))
        grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
        (worker,) = transcoder._all
        status = Path(f"/proc/{worker.process.pid}/status").read_text()
    assert size > 2 * side * side * count
    assert longest <= MiB
    assert grown_kib * KiB <= COMPLETE_BYTES_MAX + 16 * MiB
    (peak,) = (line.split()[1] for line in status.splitlines() if "VmHWM" in line)
    assert int(peak) * KiB <= 160 * MiB


def test_limits_of_received_objects_hold_here_too() -> None:
    limits = Limits(sequence_depth_max=8)
    data = b""
    for _ in range(9):
        data = element(0x0040_A730, b"SQ", item(data))
    with (
        Transcoder(ONE, limits) as transcoder,
        pytest.raises(BadData, match=says(Fault.DEPTH)),
    ):
        list(transcoder.transcode(data, EXPLICIT, IMPLICIT))
