"""Finding frames: the same bytes as reading everything, at the cost of a few."""

import struct
import warnings
from dataclasses import dataclass, field

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.encaps import generate_frames

from leadglass.errors import BadData, LeadglassError, NotFound
from leadglass.pixels.frames import WINDOW_BYTES, Frames, Inflated
from leadglass.pixels.rewrite import ENCAPSULATED, NATIVE
from tests.unit.pixels.samples import (
    DEFLATED,
    EXPLICIT,
    JPEG,
    JPEG_2000,
    RLE,
    Sample,
    described,
    element,
    encapsulated,
    item,
    offset_table,
    sample,
    samples,
)

# One claims "1A" frames, one ends in the middle of a frame: their own tests below.
BROKEN = {"badVR", "emri_small_jpeg_2k_lossless_too_short", "MR_truncated"}


@dataclass(slots=True)
class Stored:
    """Stored bytes that count what is read of them."""

    data: bytes
    ranges: list[tuple[int, int]] = field(default_factory=list)

    @property
    def size(self) -> int:
        return len(self.data)

    @property
    def bytes_read(self) -> int:
        return sum(length for _, length in self.ranges)

    def read(self, offset: int, length: int) -> bytes:
        assert offset >= 0
        assert length >= 0
        assert offset + length <= len(self.data)
        self.ranges.append((offset, length))
        return self.data[offset : offset + length]


def with_pixels() -> list[Sample]:
    """Every file with an image that pydicom can take apart."""
    found = []
    for each in samples():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data_set = pydicom.dcmread(each.path)
        if {"PixelData", "Rows"} <= set(data_set.dir()) and str(each) not in BROKEN:
            found.append(each)
    return found


WITH_PIXELS = with_pixels()


def frame(frames: Frames, number: int) -> bytes:
    return b"".join(frames.chunks(frames.place(number)))


@pytest.mark.parametrize("given_file", WITH_PIXELS, ids=str)
def test_every_frame_of_every_file_is_the_one_pydicom_finds(given_file: Sample) -> None:
    frames = Frames(Stored(given_file.data), given_file.syntax)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data_set = pydicom.dcmread(given_file.path)
        count = int(data_set.get("NumberOfFrames", None) or 1)
        pixels = data_set.PixelData
        if given_file.syntax in ENCAPSULATED:
            expected = list(generate_frames(pixels, number_of_frames=count))
        else:
            expected = native_frames(pixels, frames)
    assert frames.count == count == len(expected)
    for number, each in enumerate(expected, 1):
        assert frame(frames, number) == each
    for number in (0, -1, count + 1):
        with pytest.raises(NotFound):
            frames.place(number)


def native_frames(pixels: bytes, frames: Frames) -> list[bytes]:
    """Cut a value by counting bits, one frame after another."""
    image = frames.layout.image
    samples_of_a_pixel = 2 if image.photometric == "YBR_FULL_422" else image.samples
    bits = image.rows * image.columns * samples_of_a_pixel * image.bits_allocated
    found = []
    for number in range(image.frames):
        begin, end = number * bits // 8, ((number + 1) * bits + 7) // 8
        if frames.layout.is_in_big_endian_words and image.bits_allocated <= 8:
            begin, end = begin - begin % 2, end + end % 2  # words stay whole
        found.append(pixels[begin:end])
    return found


def test_one_frame_of_many_reads_little_more_than_itself() -> None:
    given_file = sample("color3d_jpeg_baseline.dcm")
    stored = Stored(given_file.data)
    frames = Frames(stored, given_file.syntax)
    found = frame(frames, 77)
    assert stored.bytes_read < len(found) + 3 * WINDOW_BYTES
    assert len(given_file.data) > 40 * stored.bytes_read


def test_a_native_frame_is_read_alone() -> None:
    given_file = sample("emri_small.dcm")
    stored = Stored(given_file.data)
    frames = Frames(stored, given_file.syntax)
    stored.ranges.clear()
    assert len(frame(frames, 10)) == 64 * 64 * 2
    assert stored.bytes_read == 64 * 64 * 2


# ── tables, right and wrong ──────────────────────────────────────────────────

PARTS = [b"\xff\xd8aa", b"bbbb", b"\xff\xd8cc", b"\xff\xd8dddd", b"ee"]
WHOLE = [b"\xff\xd8aabbbb", b"\xff\xd8cc", b"\xff\xd8ddddee"]


def of_fragments(parts: list[bytes], table: bytes = b"", before: bytes = b"") -> bytes:
    return described(before + encapsulated(parts, table), frames="3", bits=8)


@pytest.mark.parametrize("first", [(0, 2, 3), ()], ids=["table", "no table"])
def test_fragments_are_joined(first: tuple[int, ...]) -> None:
    table = offset_table(PARTS, first)
    frames = Frames(Stored(of_fragments(PARTS, table)), JPEG)
    assert [frame(frames, number) for number in (3, 1, 2)] == [
        WHOLE[2],
        WHOLE[0],
        WHOLE[1],
    ]


def extended(offsets: list[int], lengths: list[int]) -> bytes:
    return element(
        0x7FE0_0001, b"OV", struct.pack(f"<{len(offsets)}Q", *offsets)
    ) + element(0x7FE0_0002, b"OV", struct.pack(f"<{len(lengths)}Q", *lengths))


def test_an_extended_table_leads_to_each_frame_without_its_padding() -> None:
    parts = [b"abc", b"defgh", b"ij"]
    data = of_fragments(parts, before=extended([0, 12, 26], [3, 5, 2]))
    frames = Frames(Stored(data), RLE)
    assert [frame(frames, number) for number in (2, 3, 1)] == [
        parts[1],
        parts[2],
        b"abc",
    ]


@pytest.mark.parametrize(
    ("offsets", "lengths"),
    [
        ([0, 12], [3, 5]),  # too few
        ([0, 12, 26], [3, 5]),
        ([0, 13, 26], [3, 5, 2]),  # into a fragment
        ([0, 12, 26], [3, 500, 2]),  # further than the fragment
        ([0, 12, 26], [3, 1, 2]),  # a part of it
        ([0, 2**63, 26], [3, 5, 2]),  # far behind the end
        ([0, 2**64 - 20, 26], [3, 5, 2]),
    ],
)
def test_an_extended_table_that_lies_is_bad_data(
    offsets: list[int], lengths: list[int]
) -> None:
    data = of_fragments([b"abc", b"defgh", b"ij"], before=extended(offsets, lengths))
    with pytest.raises(BadData):
        frame(Frames(Stored(data), RLE), 2)


@pytest.mark.parametrize(
    "table",
    [
        struct.pack("<3I", 0, 9, 20),  # into a fragment
        struct.pack("<3I", 0, 12, 0xFFFF_FF00),  # behind the end
        struct.pack("<3I", 0, 12, 25),  # an end within a fragment
    ],
)
def test_a_basic_table_that_lies_is_bad_data(table: bytes) -> None:
    data = of_fragments([b"abcd", b"efgh", b"ij"], table)
    with pytest.raises(BadData):
        frame(Frames(Stored(data), RLE), 2)


def test_a_basic_table_that_has_run_over_is_not_used() -> None:
    table = struct.pack("<3I", 0, 0, 0)
    frames = Frames(Stored(of_fragments([b"abcd", b"efgh", b"ij"], table)), RLE)
    assert frame(frames, 2) == b"efgh"


def test_more_or_fewer_fragments_than_frames_are_bad_data() -> None:
    for parts in ([b"ab"], [b"ab", b"cd"], [b"ab"] * 4, []):
        with pytest.raises(BadData, match="number of frames"):
            Frames(Stored(of_fragments(parts)), RLE).place(1)


# ── images that are none ─────────────────────────────────────────────────────


def test_an_instance_without_pixels_has_no_frames() -> None:
    with pytest.raises(NotFound, match="no pixel data"):
        Frames(Stored(element(0x0008_0060, b"CS", b"SR")), EXPLICIT)


def test_a_number_of_frames_that_is_none_is_bad_data() -> None:
    with pytest.raises(BadData, match="description"):
        Frames(Stored(sample("badVR.dcm").data), EXPLICIT)


def test_only_the_frames_that_were_cut_off_are_missing() -> None:
    given_file = sample("emri_small.dcm")
    cut = given_file.data[: -3 * 64 * 64 * 2]
    frames = Frames(Stored(cut), given_file.syntax)
    whole = Frames(Stored(given_file.data), given_file.syntax)
    assert frame(frames, 7) == frame(whole, 7)
    with pytest.raises(BadData):
        frames.place(9)


def test_a_frame_far_larger_than_it_can_be_is_refused_unread() -> None:
    parts = [b"\xff\xd8" + bytes(2 << 20)]
    stored = Stored(described(encapsulated(parts), bits=8))
    frames = Frames(stored, JPEG)
    with pytest.raises(BadData, match="larger than"):
        frames.place(1)
    assert stored.bytes_read < 3 * WINDOW_BYTES


def test_native_pixels_that_claim_to_be_compressed_are_refused() -> None:
    pixels = element(0x7FE0_0010, b"OB", bytes(256))
    with pytest.raises(BadData):
        Frames(Stored(described(pixels, bits=8)), JPEG)
    with pytest.raises(BadData):
        Frames(Stored(described(encapsulated([b"ab"]), bits=8)), EXPLICIT)


def test_nesting_is_bounded() -> None:
    begin = element(0x0040_A730, b"SQ", b"", 0xFFFF_FFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0xFFFF_FFFF
    )
    with pytest.raises(BadData, match="nested"):
        Frames(Stored(begin * 100), EXPLICIT)


def test_an_icon_before_the_image_is_not_the_image() -> None:
    icon = described(encapsulated([b"icon"]), bits=8)
    undefined = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFF_FFFF)
    ends = struct.pack("<HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    for content in (item(icon), undefined + icon + ends[:8]):
        before = element(0x0008_0001, b"SQ", content + ends[8:], 0xFFFF_FFFF)
        data = before + described(encapsulated([b"image!"]), bits=8)
        assert frame(Frames(Stored(data), RLE), 1) == b"image!"


def test_the_data_set_may_begin_anywhere() -> None:
    given_file = sample("CT_small.dcm")
    whole = given_file.path.read_bytes()
    start = len(whole) - len(given_file.data)
    frames = Frames(Stored(whole), given_file.syntax, start=start)
    plain = Frames(Stored(given_file.data), given_file.syntax)
    assert frame(frames, 1) == frame(plain, 1)


# ── what rendering reads beside the pixels ───────────────────────────────────

UNDEFINED_ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFF_FFFF)
ITEM_CLOSE = struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
SEQUENCE_CLOSE = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def with_groups(groups: list[bytes], *, is_undefined: bool) -> bytes:
    """Three frames, and per-frame functional groups of any content."""
    if is_undefined:
        items = b"".join(UNDEFINED_ITEM + each + ITEM_CLOSE for each in groups)
        value, length = items + SEQUENCE_CLOSE, 0xFFFF_FFFF
    else:
        value = b"".join(map(item, groups))
        length = len(value)
    before = element(0x5200_9230, b"SQ", value, length)
    pixels = element(0x7FE0_0010, b"OW", bytes(3 * 512))
    return described(before + pixels, frames="3")


@pytest.mark.parametrize("is_undefined", [True, False])
def test_each_frame_has_its_own_groups(is_undefined: bool) -> None:
    groups = [
        element(0x0028_9132, b"SQ", item(element(0x0028_1050, b"DS", each)))
        for each in (b"1 ", b"22", b"3333")
    ]
    data = with_groups(groups, is_undefined=is_undefined)
    frames = Frames(Stored(data), EXPLICIT)
    for number in (2, 3, 1, 2):
        assert frames.group_of(number, 1000) == groups[number - 1]
    with pytest.raises(BadData, match="larger than"):
        frames.group_of(1, 10)
    fewer = with_groups(groups[:1], is_undefined=is_undefined)
    assert Frames(Stored(fewer), EXPLICIT).group_of(2, 1000) == b""
    assert Frames(Stored(sample("CT_small.dcm").data), EXPLICIT).group_of(1, 10) == b""


def test_the_groups_of_many_frames_are_walked_once() -> None:
    groups = [element(0x0028_1050, b"DS", b"%06d" % n) for n in range(3000)]
    value = b"".join(map(item, groups))
    pixels = element(0x7FE0_0010, b"OW", bytes(512))
    data = described(element(0x5200_9230, b"SQ", value) + pixels, frames="3000")
    stored = Stored(data)
    frames = Frames(stored, EXPLICIT)
    for number in range(1, 3001):
        assert frames.group_of(number, 1000) == groups[number - 1]
    assert stored.bytes_read < 3 * len(data)


def test_names_and_dates_are_not_among_what_rendering_reads() -> None:
    for each in WITH_PIXELS:
        frames = Frames(Stored(each.data), each.syntax)
        for extent in frames.layout.head:
            tag = each.data[extent.offset : extent.offset + 4]
            order = ">HH" if frames.layout.form.is_big_endian else "<HH"
            if each.syntax != DEFLATED:
                assert struct.unpack(order, tag)[0] not in (0x0010, 0x0020, 0x0040)
        with pytest.raises(BadData):
            frames.head(10)


# ── deflated ─────────────────────────────────────────────────────────────────


def test_a_deflated_data_set_reads_like_its_plain_one() -> None:
    given_file = sample("image_dfl.dcm")
    source = Inflated(Stored(given_file.data), 0, 1 << 24)
    plain = source.read(0, source.size)
    for offset, length in ((500, 20), (10, 3), (0, 0), (source.size - 5, 5), (7, 9)):
        assert source.read(offset, length) == plain[offset : offset + length]


def test_a_bomb_is_not_inflated_further_than_allowed() -> None:
    given_file = sample("image_dfl.dcm")
    with pytest.raises(BadData, match="larger than"):
        Frames(Stored(given_file.data), DEFLATED, inflated_bytes_max=1000)


# ── anything at all ──────────────────────────────────────────────────────────

SMALL = [each for each in WITH_PIXELS if len(each.data) < 40_000]


@given(
    given_file=st.sampled_from(SMALL),
    cut=st.floats(0, 1),
    place=st.floats(0, 1),
    value=st.integers(0, 255),
)
@settings(max_examples=50, deadline=None)
def test_damage_gives_our_errors_or_frames_within_the_data(
    given_file: Sample, cut: float, place: float, value: int
) -> None:
    data = bytearray(given_file.data[: int(cut * len(given_file.data))] or b"\0")
    data[int(place * (len(data) - 1))] = value
    stored = Stored(bytes(data))
    try:
        frames = Frames(stored, given_file.syntax)
        for number in range(1, min(frames.count, 20) + 1):
            found = frame(frames, number)
            assert len(found) == frames.place(number).length
    except LeadglassError:
        pass


def test_the_files_are_of_many_kinds() -> None:
    found = {each.syntax for each in WITH_PIXELS}
    assert {EXPLICIT, JPEG, JPEG_2000, RLE, DEFLATED} <= found
    assert set(NATIVE) <= found
