"""Rewriting data sets: nothing lost, nothing gathered, nothing believed."""

import contextlib
import struct
import zlib

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadglass.dicom.uids import UID
from leadglass.pixels import rewrite as rewriting
from leadglass.pixels.faults import Fault, Undecodable
from leadglass.pixels.rewrite import ENCAPSULATED, NATIVE, Limits, rewrite
from tests.unit.pixels.samples import (
    BIG_ENDIAN,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    JPEG,
    LIMITS,
    RLE,
    Sample,
    array,
    described,
    element,
    encapsulated,
    item,
    offset_table,
    read,
    rewritten,
    rle_frame,
    sample,
    samples,
)

SAMPLES = [each for each in samples() if each.syntax in NATIVE]
# What their names promise: each ends before it should, or is a directory that
# points over its own end.
BROKEN = {"MR_truncated", "rtplan_truncated", "DICOMDIR-nooffset"}
WHOLE = [each for each in SAMPLES if str(each) not in BROKEN]
# 32-bit samples in OW: PS3.5 §A.3 turns words of 16 bits, as DCMTK does too. pydicom
# wrote these and reads them with all four bytes turned.
FOUR_BYTES_TURNED = {"rtdose_expb", "rtdose_expb_1frame"}
DROPPED = {0x0008_0001, 0x7FE0_0001, 0x7FE0_0002, 0x7FE0_0003}


def fault(data: bytes, syntax: UID = EXPLICIT, limits: Limits = LIMITS) -> Fault:
    with pytest.raises(Undecodable) as caught:
        rewritten(data, syntax, IMPLICIT, limits)
    return caught.value.fault


def values(data_set: pydicom.Dataset, *, turns_words: bool) -> dict[int, object]:
    """All values of a data set but the pixels; pydicom leaves big-endian OW so."""
    found: dict[int, object] = {}
    for each in data_set:
        if each.tag.element == 0 or int(each.tag) in DROPPED or each.tag == 0x7FE00010:
            continue
        if each.VR == "SQ":
            found[int(each.tag)] = [
                values(one, turns_words=turns_words) for one in each.value
            ]
        elif each.keyword == "LUTData" and each.VR == "US":
            # US or OW: implicit VR does not say which.
            found[int(each.tag)] = str(np.array(each.value, "<u2").tobytes())
        elif each.keyword == "LUTDescriptor":
            # US or SS: the same bits, and here the file is not of one mind.
            found[int(each.tag)] = [number & 0xFFFF for number in each.value]
        elif each.VR == "OW" and turns_words:
            turned = np.frombuffer(each.value, ">u2").astype("<u2")
            found[int(each.tag)] = str(turned.tobytes())
        elif not each.tag.is_private and each.VR != "UN":
            found[int(each.tag)] = str(each.value)
    return found


# ── every file that pydicom ships ────────────────────────────────────────────


def test_there_is_something_to_test() -> None:
    assert len(WHOLE) > 180
    assert {each.syntax for each in WHOLE} == set(NATIVE)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("target", [EXPLICIT, IMPLICIT], ids=["explicit", "implicit"])
@pytest.mark.parametrize("given_file", WHOLE, ids=str)
def test_elements_and_pixels_are_the_same(given_file: Sample, target: UID) -> None:
    before = pydicom.dcmread(given_file.path, force=True)
    after = read(rewritten(given_file.data, given_file.syntax, target), target)
    if given_file.path.name != "badVR.dcm":  # an IS that pydicom cannot read again
        is_big = given_file.syntax == BIG_ENDIAN
        assert values(after, turns_words=False) == values(before, turns_words=is_big)
    if "PixelData" not in before or str(given_file) in FOUR_BYTES_TURNED:
        return
    if given_file.syntax == BIG_ENDIAN:
        assert np.array_equal(array(after), array(before))
    else:
        assert after.PixelData == before.PixelData


@pytest.mark.parametrize("name", sorted(FOUR_BYTES_TURNED))
def test_words_of_32_bit_samples_are_turned_as_ow(name: str) -> None:
    given_file = sample(f"{name}.dcm")
    raw = pydicom.dcmread(given_file.path).PixelData
    after = read(rewritten(given_file.data, BIG_ENDIAN), EXPLICIT)
    assert after.PixelData == np.frombuffer(raw, ">u2").astype("<u2").tobytes()


@pytest.mark.parametrize("given_file", WHOLE[::5], ids=str)
def test_there_and_back_is_the_same_again(given_file: Sample) -> None:
    explicit = rewritten(given_file.data, given_file.syntax, EXPLICIT)
    implicit = rewritten(explicit, EXPLICIT, IMPLICIT)
    again = rewritten(implicit, IMPLICIT, IMPLICIT)
    assert again == implicit


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_a_broken_file_is_a_fault(name: str) -> None:
    given_file = next(each for each in SAMPLES if str(each) == name)
    assert fault(given_file.data, given_file.syntax) in (
        Fault.TRUNCATED,
        Fault.STRUCTURE,
    )


# ── properties ───────────────────────────────────────────────────────────────

SMALL = {
    EXPLICIT: sample("MR_small.dcm").data,
    IMPLICIT: sample("rtplan.dcm").data,
    BIG_ENDIAN: sample("MR_small_expb.dcm").data,
    DEFLATED: sample("image_dfl.dcm").data,
    RLE: sample("MR_small_RLE.dcm").data,
}


@given(st.sampled_from(list(SMALL)), st.lists(st.integers(0, 9000), max_size=6))
def test_bytes_cut_anywhere_give_the_same(syntax: UID, cuts: list[int]) -> None:
    data = SMALL[syntax]
    ends = sorted(min(cut, len(data)) for cut in cuts)
    chunks = [data[a:b] for a, b in zip([0, *ends], [*ends, len(data)], strict=True)]
    out = bytearray()
    rewrite(chunks, syntax, IMPLICIT, LIMITS, out.extend)
    assert out == rewritten(data, syntax, IMPLICIT)


@given(st.sampled_from(list(SMALL)), st.integers(0, 1 << 20))
def test_a_cut_is_a_fault_or_between_elements(syntax: UID, at: int) -> None:
    data = SMALL[syntax][: at % len(SMALL[syntax])]
    try:
        after = rewritten(data, syntax, IMPLICIT)
    except Undecodable as error:
        assert error.fault in (Fault.TRUNCATED, Fault.FRAMES)  # noqa: PT017
    else:
        assert rewritten(SMALL[syntax], syntax, IMPLICIT).startswith(after)


@given(
    st.sampled_from(list(SMALL)),
    st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(1, 255)), max_size=5),
)
def test_any_change_gives_a_data_set_or_a_fault(
    syntax: UID, changes: list[tuple[int, int]]
) -> None:
    data = bytearray(SMALL[syntax])
    for at, change in changes:
        data[at % len(data)] ^= change
    small = Limits(
        decoded_bytes_max=1 << 20, inflated_bytes_max=1 << 22, sequence_depth_max=8
    )
    with contextlib.suppress(Undecodable):
        rewritten(bytes(data), syntax, IMPLICIT, small)


# ── structure ────────────────────────────────────────────────────────────────


def nested(depth: int) -> bytes:
    data = element(0x0008_0060, b"CS", b"OT")
    for _ in range(depth):
        data = element(0x0040_A730, b"SQ", item(data))
    return data


def test_nesting_is_bounded() -> None:
    limits = Limits(
        decoded_bytes_max=1, inflated_bytes_max=1 << 20, sequence_depth_max=8
    )
    assert rewritten(nested(8), EXPLICIT, IMPLICIT, limits)
    assert fault(nested(9), EXPLICIT, limits) is Fault.DEPTH


def test_what_is_inflated_is_bounded() -> None:
    plain = element(0x0042_0011, b"OB", bytes(10 << 20))
    squeeze = zlib.compressobj(9, wbits=-15)
    bomb = squeeze.compress(plain) + squeeze.flush()
    limits = Limits(
        decoded_bytes_max=1, inflated_bytes_max=1 << 20, sequence_depth_max=8
    )
    assert len(bomb) < 1 << 14
    assert fault(bomb, DEFLATED, limits) is Fault.TOO_LARGE
    assert len(rewritten(bomb, DEFLATED)) == len(plain)


@pytest.mark.parametrize(
    "data",
    [
        element(0x0040_A730, b"SQ", element(0x0008_0060, b"CS", b"OT")),  # no item
        element(0x0040_A730, b"SQ", item(b""), 6),  # item over the sequence's end
        element(0x0040_A730, b"SQ", item(element(0x0008_0060, b"CS", b"OT", 4))),
        struct.pack("<HHI", 0xFFFE, 0xE000, 0),  # an item of nothing
        struct.pack("<HHI", 0xFFFE, 0xE00D, 0),
        element(0x7FE0_0010, b"OW", b"", 0xFFFF_FFFF),  # compressed, said to be not
        element(0x0008_0060, b"OB", b"", 0xFFFF_FFFF),
    ],
)
def test_a_wrong_structure_is_a_fault(data: bytes) -> None:
    assert fault(data) is Fault.STRUCTURE


def test_a_length_is_no_reason_to_take_memory() -> None:
    data = element(0x0042_0011, b"OB", b"x", 0xFFFF_FFFE)
    assert fault(data) is Fault.TRUNCATED


def test_large_values_pass_in_pieces() -> None:
    length, sizes = 64 << 20, []
    head = element(0x7FE0_0010, b"OW", b"", length)
    chunk = bytes(1 << 16)
    chunks = (chunk for _ in range(length // len(chunk)))
    rewrite([head, *chunks], EXPLICIT, IMPLICIT, LIMITS, lambda b: sizes.append(len(b)))
    assert sum(sizes) == length + 8
    assert max(sizes) <= 1 << 16


def test_a_value_too_long_for_its_form_becomes_unknown() -> None:
    value = b"1\\" * 40_000
    implicit = struct.pack("<HHI", 0x0028, 0x3006, len(value)) + value
    assert rewritten(implicit, IMPLICIT)[4:6] == b"OW"
    implicit = struct.pack("<HHI", 0x3006, 0x0050, len(value)) + value  # DS
    out = rewritten(implicit, IMPLICIT)
    assert out[4:6] == b"UN"
    assert rewritten(out, EXPLICIT, IMPLICIT) == implicit


def test_unknown_sequences_become_known() -> None:
    """PS3.5 §6.2.2: UN of undefined length holds implicit VR."""
    inner = struct.pack("<HHI", 0x0008, 0x0060, 2) + b"OT"
    end = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    unknown = element(0x0009_1010, b"UN", item(inner) + end, 0xFFFF_FFFF)
    after = read(rewritten(unknown, EXPLICIT, EXPLICIT), EXPLICIT)
    assert after[0x0009_1010].VR == "SQ"
    assert after[0x0009_1010].value[0].Modality == "OT"


@pytest.mark.parametrize(("sign", "vr"), [(0, "US"), (1, "SS")])
def test_a_sign_is_known_from_the_pixels(sign: int, vr: str) -> None:
    implicit = b"".join(
        struct.pack("<HHIH", 0x0028, tag, 2, value)
        for tag, value in ((0x0103, sign), (0x0106, 5))
    )
    smallest = read(rewritten(implicit, IMPLICIT), EXPLICIT)[0x0028_0106]
    assert vr == smallest.VR


def test_a_later_edition_s_vr_is_passed_as_unknown() -> None:
    data = struct.pack("<HH2sHI", 0x0009, 0x1001, b"ZZ", 0, 2) + b"ab"
    assert rewritten(data, EXPLICIT, EXPLICIT)[4:] == b"UN\0\0\2\0\0\0ab"


# ── frames ───────────────────────────────────────────────────────────────────

FRAMES = [
    np.arange(256, dtype="<u2").reshape(16, 16) * 3,
    np.arange(256, dtype="<u2").reshape(16, 16) * 257,
]
PACKED = [rle_frame(each) for each in FRAMES]
BOTH = b"".join(each.tobytes() for each in FRAMES)


def test_elements_around_the_frames_stay_in_order() -> None:
    data = described(encapsulated(PACKED), frames="2")
    after = read(rewritten(data, RLE), EXPLICIT)
    assert after.PixelData == BOTH
    assert after["PixelData"].VR == "OW"
    assert list(after.keys()) == sorted(after.keys())
    assert 0xFFFC_FFFC in after


def test_an_odd_number_of_bytes_is_padded() -> None:
    pixels = np.arange(9, dtype="u1").reshape(3, 3)
    data = described(encapsulated([rle_frame(pixels)]), rows=3, columns=3, bits=8)
    after = read(rewritten(data, RLE), EXPLICIT)
    assert after.PixelData == pixels.tobytes() + b"\0"
    assert after["PixelData"].VR == "OB"


@pytest.mark.parametrize("frames", ["1", "3", "0", "-1", "x", "99999999999999"])
def test_a_lie_about_the_number_of_frames_is_a_fault(frames: str) -> None:
    found = fault(described(encapsulated(PACKED), frames=frames), RLE)
    assert found in (Fault.FRAMES, Fault.DESCRIPTION, Fault.MISMATCH, Fault.CODESTREAM)


def test_fragments_are_joined_by_the_offset_table() -> None:
    raw = UID("1.2.840.10008.1.2.1.98")
    parts = [FRAMES[0].tobytes()[:100], FRAMES[0].tobytes()[100:], FRAMES[1].tobytes()]
    table = offset_table(parts, (0, 2))
    data = described(encapsulated(parts, table), frames="2")
    assert read(rewritten(data, raw), EXPLICIT).PixelData == BOTH
    # A table that is none is not believed: then a fragment is a frame.
    wrong = struct.pack("<2I", 8, 4)
    data = described(encapsulated(PACKED, wrong), frames="2")
    assert read(rewritten(data, RLE), EXPLICIT).PixelData == BOTH


def test_fragments_without_a_table_are_joined_by_their_markers() -> None:
    given_file = sample("color3d_jpeg_baseline.dcm")
    pixels = pydicom.dcmread(given_file.path)
    frames = [
        bytes(each)
        for each in pydicom.encaps.generate_frames(
            pixels.PixelData, number_of_frames=120
        )
    ][:2]
    parts = [piece for each in frames for piece in (each[:1000], each[1000:])]

    def color(fragments: list[bytes]) -> bytes:
        return described(
            encapsulated(fragments),
            rows=480,
            columns=640,
            samples=3,
            frames="2",
            bits=8,
            photometric=b"YBR_FULL_422",
        )

    assert rewritten(color(parts), JPEG) == rewritten(color(frames), JPEG)


def test_frames_deflated_one_by_one() -> None:
    syntax = UID("1.2.840.10008.1.2.8.1")

    def squeezed(data: bytes) -> bytes:
        squeeze = zlib.compressobj(9, wbits=-15)
        return squeeze.compress(data) + squeeze.flush()

    frames = [squeezed(each.tobytes()) for each in FRAMES]
    data = described(encapsulated(frames), frames="2")
    assert read(rewritten(data, syntax), EXPLICIT).PixelData == BOTH
    bomb = described(encapsulated([squeezed(bytes(1 << 20))]))
    assert fault(bomb, syntax) is Fault.MISMATCH
    assert fault(described(encapsulated([b"\xff" * 9])), syntax) is Fault.CODESTREAM


def test_an_icon_is_decoded_with_its_own_description() -> None:
    icon = np.arange(16, dtype="u1").reshape(4, 4)
    inner = described(encapsulated([rle_frame(icon)]), rows=4, columns=4, bits=8)
    data = element(0x0088_0200, b"SQ", item(inner))
    data += described(encapsulated(PACKED), frames="2")
    after = read(rewritten(data, RLE), EXPLICIT)
    assert after.PixelData == BOTH
    assert after[0x0088_0200].value[0].PixelData == icon.tobytes()


@pytest.mark.parametrize(
    ("rows", "columns", "frames", "bits", "expected"),
    [
        (65535, 65535, "1", 16, Fault.TOO_LARGE),  # one frame
        (1000, 1000, "2000", 16, Fault.TOO_LARGE),  # all frames
        (0, 16, "2", 16, Fault.DESCRIPTION),
        (16, 16, "2", 12, Fault.DESCRIPTION),
    ],
)
def test_a_description_is_judged_before_any_frame(
    rows: int, columns: int, frames: str, bits: int, expected: Fault
) -> None:
    head = element(0x7FE0_0010, b"OB", b"", 0xFFFF_FFFF)  # not even the table follows
    data = described(b"", rows=rows, columns=columns, frames=frames, bits=bits)
    assert fault(data[:-14] + head, RLE) is expected


def test_a_missing_description_is_a_fault() -> None:
    assert fault(encapsulated(PACKED), RLE) is Fault.DESCRIPTION


def test_a_fragment_larger_than_any_frame_is_a_fault() -> None:
    start = encapsulated([])[:-8] + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFF_FFF0)
    assert fault(described(b"")[:-14] + start, RLE) is Fault.TOO_LARGE


def test_an_endless_offset_table_is_a_fault() -> None:
    start = element(0x7FE0_0010, b"OB", b"", 0xFFFF_FFFF)
    start += struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFF_FFF0)
    assert fault(described(b"")[:-14] + start, RLE) is Fault.TOO_LARGE


def test_native_pixels_in_a_compressed_syntax_are_a_fault() -> None:
    data = described(element(0x7FE0_0010, b"OW", FRAMES[0].tobytes()))
    assert fault(data, RLE) is Fault.STRUCTURE


def test_what_is_held_back_is_bounded() -> None:
    length = rewriting.HELD_BYTES_MAX + 2
    head = element(0x0042_0011, b"OB", b"", length)
    with pytest.raises(Undecodable) as caught:
        rewrite([head, *[bytes(1 << 20)] * 65], RLE, IMPLICIT, LIMITS, lambda _: None)
    assert caught.value.fault is Fault.TOO_LARGE


def test_every_compressed_syntax_is_one_of_a_table() -> None:
    assert not ENCAPSULATED & set(NATIVE)
