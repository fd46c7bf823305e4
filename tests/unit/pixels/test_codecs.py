"""Decoding frames: right samples, right color space, right sign."""

import subprocess
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.encaps import generate_frames

from leadglass.dicom.uids import UID
from leadglass.pixels.faults import Fault, Undecodable
from leadglass.pixels.rewrite import ENCAPSULATED
from tests.unit.pixels.samples import (
    EXPLICIT,
    HTJ2K,
    IMPLICIT,
    JPEG,
    JPEG_2000,
    JPEG_2000_LOSSLESS,
    JPEG_EXTENDED,
    JPEG_LOSSLESS,
    JPEG_LS,
    JPEG_XL,
    RLE,
    Array,
    Sample,
    array,
    described,
    encapsulated,
    encoded,
    read,
    rewritten,
    rle_frame,
    sample,
    samples,
)

SAMPLES = [each for each in samples() if each.syntax in ENCAPSULATED]
# What pydicom says of them: one fragment's content is broken on purpose, one file
# ends in the middle of a frame.
BROKEN = {
    "JPEG2000-embedded-sequence-delimiter",
    "emri_small_jpeg_2k_lossless_too_short",
}
WHOLE = [each for each in SAMPLES if str(each) not in BROKEN]
# What DCMTK decodes, and with what.
DCMTK = {
    JPEG: "dcmdjpeg",
    JPEG_EXTENDED: "dcmdjpeg",
    JPEG_LOSSLESS: "dcmdjpeg",
    JPEG_LS: "dcmdjpls",
    UID("1.2.840.10008.1.2.4.81"): "dcmdjpls",
    RLE: "dcmdrle",
}
LOSSY = {JPEG, JPEG_EXTENDED}
# DCMTK wants a file that ends where its last element does.
NOT_FOR_DCMTK = {"SC_rgb_jpeg", "UN_sequence"}

GREY8 = (np.arange(48 * 32) * 7 % 251).astype("u1").reshape(48, 32)
GREY12 = (np.arange(48 * 32) * 37 % 4096).astype("<u2").reshape(48, 32)
GREY16 = (np.arange(48 * 32) * 41 % 65521).astype("<u2").reshape(48, 32)
SIGNED12 = GREY12.astype("<i2") - 2048
COLOR = np.stack([GREY8, GREY8[::-1], GREY8[:, ::-1]], axis=2)


def decoded(frame: bytes, syntax: UID, like: Array, **said: object) -> pydicom.Dataset:
    """Transcode an image of one frame whose description fits an array."""
    rows, columns, *rest = like.shape
    description: dict[str, object] = {
        "rows": rows,
        "columns": columns,
        "samples": rest[0] if rest else 1,
        "bits": like.dtype.itemsize * 8,
        "is_signed": like.dtype.kind == "i",
        "photometric": b"RGB" if rest else b"MONOCHROME2",
        **said,
    }
    data = described(encapsulated([frame]), **description)  # type: ignore[arg-type]
    return read(rewritten(data, syntax), EXPLICIT)


def fault(frame: bytes, syntax: UID, like: Array, **said: object) -> Fault:
    with pytest.raises(Undecodable) as caught:
        decoded(frame, syntax, like, **said)
    return caught.value.fault


# ── every compressed file that pydicom ships ─────────────────────────────────


def test_there_is_something_to_test() -> None:
    assert len(WHOLE) > 55
    assert len({each.syntax for each in WHOLE}) == 8


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("given_file", WHOLE, ids=str)
def test_the_native_form_is_a_right_image(given_file: Sample) -> None:
    before = pydicom.dcmread(given_file.path)
    after = read(rewritten(given_file.data, given_file.syntax), EXPLICIT)
    assert {each.tag for each in before if each.tag.element} <= {
        each.tag for each in after
    }
    if "PixelData" not in before:
        return
    width = after.BitsAllocated // 8
    frames = int(after.get("NumberOfFrames") or 1)
    size = frames * after.Rows * after.Columns * after.SamplesPerPixel * width
    assert len(after.PixelData) == size + size % 2
    assert (width > 1) == (after["PixelData"].VR == "OW")
    if after.SamplesPerPixel == 3:
        assert after.PlanarConfiguration == 0
        assert after.PhotometricInterpretation == "RGB"
    else:
        assert after.PhotometricInterpretation == before.PhotometricInterpretation
    if given_file.syntax in LOSSY or before.get("LossyImageCompression") == "01":
        assert after.LossyImageCompression == "01"


@pytest.mark.parametrize(
    "given_file", [each for each in WHOLE if each.syntax == RLE], ids=str
)
def test_rle_is_as_pydicom_decodes_it(given_file: Sample) -> None:
    after = read(rewritten(given_file.data, given_file.syntax), EXPLICIT)
    assert np.array_equal(array(after), array(pydicom.dcmread(given_file.path)))


@pytest.mark.parametrize(
    "given_file",
    [each for each in WHOLE if each.syntax in DCMTK and str(each) not in NOT_FOR_DCMTK],
    ids=str,
)
def test_pixels_are_as_dcmtk_decodes_them(given_file: Sample, tmp_path: Path) -> None:
    """Exactly when lossless; lossy may differ by one step of rounding."""
    native = tmp_path / "native.dcm"
    tool = DCMTK[given_file.syntax]
    subprocess.run([tool, "+te", given_file.path, native], check=True, timeout=60)
    expected = pydicom.dcmread(native)
    after = read(rewritten(given_file.data, given_file.syntax), EXPLICIT)
    assert after.PhotometricInterpretation == expected.PhotometricInterpretation
    if given_file.syntax not in LOSSY:
        assert after.PixelData == expected.PixelData
    elif after.PixelData != expected.PixelData:
        difference = array(after).astype("i4") - array(expected).astype("i4")
        assert np.abs(difference).max() <= 1


@pytest.mark.parametrize(
    "given_file",
    [each for each in WHOLE if each.syntax in (JPEG_2000, JPEG_2000_LOSSLESS)],
    ids=str,
)
def test_jpeg_2000_is_as_openjpeg_decodes_it(given_file: Sample) -> None:
    """Where the codestream and the data set agree on the sign, bit by bit."""
    before = pydicom.dcmread(given_file.path)
    if given_file.path.name == "J2K_pixelrep_mismatch.dcm":
        return  # has a test of its own
    count = int(before.get("NumberOfFrames") or 1)
    frames = generate_frames(before.PixelData, number_of_frames=count)
    expected = np.stack([imagecodecs.jpeg2k_decode(each) for each in frames])
    after = read(rewritten(given_file.data, given_file.syntax), EXPLICIT)
    assert np.array_equal(array(after).reshape(expected.shape), expected)


def test_j2k_without_a_sign_gets_the_one_that_the_data_set_says() -> None:
    """13 bits unsigned in the codestream, signed in the data set."""
    given_file = sample("J2K_pixelrep_mismatch.dcm")
    before = pydicom.dcmread(given_file.path)
    (frame,) = generate_frames(before.PixelData, number_of_frames=1)
    raw = imagecodecs.jpeg2k_decode(frame).astype(int)
    after = array(read(rewritten(given_file.data, given_file.syntax), EXPLICIT))
    assert np.array_equal(after, np.where(raw >= 1 << 12, raw - (1 << 13), raw))
    assert after.min() < 0


def test_the_same_pictures_in_several_syntaxes_are_the_same() -> None:
    plain = array(read(sample("emri_small.dcm").data, EXPLICIT))
    for name in ("jpeg_ls_lossless", "jpeg_2k_lossless", "RLE"):
        given_file = sample(f"emri_small_{name}.dcm")
        after = read(rewritten(given_file.data, given_file.syntax), EXPLICIT)
        assert np.array_equal(array(after), plain)


@pytest.mark.parametrize("name", ["SC_rgb_rle.dcm", "examples_ybr_color.dcm"])
def test_implicit_vr_has_the_same_pixels(name: str) -> None:
    given_file = sample(name)
    after = read(rewritten(given_file.data, given_file.syntax), EXPLICIT)
    implicit = read(rewritten(given_file.data, given_file.syntax, IMPLICIT), IMPLICIT)
    assert implicit.PixelData == after.PixelData
    assert implicit.PhotometricInterpretation == after.PhotometricInterpretation


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_a_broken_file_is_a_fault(name: str) -> None:
    given_file = sample(f"{name}.dcm")
    with pytest.raises(Undecodable):
        rewritten(given_file.data, given_file.syntax)


# ── every codec: there and back ──────────────────────────────────────────────

LOSSLESS: list[tuple[str, UID, Array, bytes]] = [
    ("ljpeg 8", JPEG_LOSSLESS, GREY8, encoded("ljpeg", GREY8, bitspersample=8)),
    (
        "ljpeg 12",
        JPEG_LOSSLESS,
        GREY12,
        encoded("ljpeg", GREY12, bitspersample=12),
    ),
    (
        "ljpeg 16",
        JPEG_LOSSLESS,
        GREY16,
        encoded("ljpeg", GREY16, bitspersample=16),
    ),
    ("jpegls 8", JPEG_LS, GREY8, encoded("jpegls", GREY8)),
    ("jpegls 16", JPEG_LS, GREY16, encoded("jpegls", GREY16)),
    ("jpegls color", JPEG_LS, COLOR, encoded("jpegls", COLOR)),
    (
        "j2k 16",
        JPEG_2000_LOSSLESS,
        GREY16,
        encoded("jpeg2k", GREY16, level=0, codecformat="j2k"),
    ),
    (
        "j2k signed",
        JPEG_2000_LOSSLESS,
        SIGNED12,
        encoded("jpeg2k", SIGNED12, level=0, codecformat="j2k"),
    ),
    (
        "j2k color",
        JPEG_2000_LOSSLESS,
        COLOR,
        encoded("jpeg2k", COLOR, level=0, codecformat="j2k"),
    ),
    ("htj2k 8", HTJ2K, GREY8, encoded("htj2k", GREY8)),
    ("htj2k 16", HTJ2K, GREY16, encoded("htj2k", GREY16)),
    ("htj2k signed", HTJ2K, SIGNED12, encoded("htj2k", SIGNED12)),
    ("htj2k color", HTJ2K, COLOR, encoded("htj2k", COLOR)),
    ("jxl 8", JPEG_XL, GREY8, encoded("jpegxl", GREY8, lossless=True)),
    (
        "jxl 12",
        JPEG_XL,
        GREY12,
        encoded("jpegxl", GREY12, lossless=True, bitspersample=12),
    ),
    ("jxl 16", JPEG_XL, GREY16, encoded("jpegxl", GREY16, lossless=True)),
    ("jxl color", JPEG_XL, COLOR, encoded("jpegxl", COLOR, lossless=True)),
    ("rle 8", RLE, GREY8, rle_frame(GREY8)),
    ("rle 16", RLE, SIGNED12, rle_frame(SIGNED12)),
]


@pytest.mark.parametrize(
    ("syntax", "pixels", "frame"),
    [case[1:] for case in LOSSLESS],
    ids=[case[0] for case in LOSSLESS],
)
def test_lossless_is_lossless(syntax: UID, pixels: Array, frame: bytes) -> None:
    after = decoded(frame, syntax, pixels)
    assert after.PixelData == pixels.tobytes()
    assert "LossyImageCompression" not in after


@pytest.mark.parametrize(
    ("syntax", "pixels", "frame"),
    [case[1:] for case in LOSSLESS],
    ids=[case[0] for case in LOSSLESS],
)
def test_a_cut_off_frame_is_a_fault(syntax: UID, pixels: Array, frame: bytes) -> None:
    """Never a picture whose lower half is grey."""
    for length in (len(frame) - 4, len(frame) // 2, 70, 3):
        cut = frame[:length]
        assert fault(cut, syntax, pixels) in (Fault.CODESTREAM, Fault.MISMATCH)


@pytest.mark.parametrize(
    ("syntax", "pixels", "frame"),
    [case[1:] for case in LOSSLESS if case[1] != RLE],
    ids=[case[0] for case in LOSSLESS if case[1] != RLE],
)
def test_another_size_than_the_data_set_s_is_a_fault(
    syntax: UID, pixels: Array, frame: bytes
) -> None:
    assert fault(frame, syntax, pixels, rows=47) is Fault.MISMATCH
    assert fault(frame, syntax, pixels, columns=64) is Fault.MISMATCH
    if pixels.dtype.itemsize == 2:
        assert fault(frame, syntax, pixels, bits=8) is Fault.MISMATCH
    other = 1 if pixels.ndim == 3 else 3
    assert fault(frame, syntax, pixels, samples=other) is Fault.MISMATCH


def test_narrow_samples_are_widened_to_the_bits_allocated() -> None:
    after = decoded(encoded("jpegls", GREY8), JPEG_LS, GREY8, bits=16)
    assert np.array_equal(array(after), GREY8)


def test_signed_samples_in_unsigned_codestreams_get_their_sign_back() -> None:
    unsigned = (SIGNED12 & 0xFFF).astype("<u2")
    frame = encoded("ljpeg", unsigned, bitspersample=12)
    after = decoded(frame, JPEG_LOSSLESS, SIGNED12)
    assert np.array_equal(array(after), SIGNED12)


# ── color ────────────────────────────────────────────────────────────────────


def smooth() -> Array:
    """A picture that JPEG keeps within a few steps."""
    y, x = np.mgrid[0:64, 0:64]
    return np.stack([x * 4, y * 4, 255 - x * 2 - y * 2], axis=2).astype("u1")


@pytest.mark.parametrize(
    ("stored", "photometric", "adobe"),
    [
        ("YCBCR", b"YBR_FULL_422", None),
        ("YCBCR", b"YBR_FULL", None),
        ("RGB", b"RGB", None),
        ("RGB", b"RGB", 0),
        ("YCBCR", b"RGB", 1),  # the data set is wrong, the marker right
    ],
)
def test_jpeg_becomes_rgb(stored: str, photometric: bytes, adobe: int | None) -> None:
    picture = smooth()
    frame = encoded("jpeg8", picture, level=95, colorspace="RGB", outcolorspace=stored)
    frame = without_segments(frame)
    if adobe is not None:
        marker = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0" + bytes([adobe])
        frame = frame[:2] + marker + frame[2:]
    after = decoded(frame, JPEG, picture, photometric=photometric)
    assert after.PhotometricInterpretation == "RGB"
    assert after.LossyImageCompression == "01"
    assert np.abs(array(after).astype(int) - picture).max() <= 12


def without_segments(frame: bytes) -> bytes:
    """Drop the APP segments in which a JPEG says its color space."""
    at = 2
    while frame[at + 1] & 0xF0 == 0xE0:
        at += 2 + int.from_bytes(frame[at + 2 : at + 4])
    return frame[:2] + frame[at:]


@pytest.mark.parametrize(
    ("syntax", "photometric", "becomes"),
    [
        (JPEG_LS, b"YBR_FULL", "YBR_FULL"),
        (JPEG_LS, b"YBR_FULL_422", "YBR_FULL"),  # all samples are there now
        (HTJ2K, b"YBR_RCT", "RGB"),
        (HTJ2K, b"RGB", "RGB"),
    ],
)
def test_other_codecs_keep_the_space_that_they_do_not_undo(
    syntax: UID, photometric: bytes, becomes: str
) -> None:
    codec = {JPEG_LS: "jpegls", HTJ2K: "htj2k"}[syntax]
    after = decoded(encoded(codec, COLOR), syntax, COLOR, photometric=photometric)
    assert after.PhotometricInterpretation == becomes
    assert after.PixelData == COLOR.tobytes()


def test_a_lossy_wavelet_is_said_once_the_syntax_is_gone() -> None:
    frame = encoded("jpeg2k", smooth(), level=60, reversible=False, codecformat="j2k")
    after = decoded(frame, JPEG_2000, smooth(), photometric=b"YBR_ICT")
    assert after.LossyImageCompression == "01"
    assert after.PhotometricInterpretation == "RGB"
    assert np.abs(array(after).astype(int) - smooth()).max() <= 12


@pytest.mark.parametrize("photometric", [b"YBR_PARTIAL_422", b"YBR_PARTIAL_420"])
def test_what_has_no_native_form_is_unsupported(photometric: bytes) -> None:
    frame = encoded("jpeg8", COLOR)
    said = {"photometric": photometric}
    assert fault(frame, JPEG, COLOR, **said) is Fault.UNSUPPORTED


def test_single_bits_are_unsupported_in_codecs() -> None:
    frame = encoded("jpeg8", GREY8)
    assert fault(frame, JPEG, GREY8, bits=1) is Fault.UNSUPPORTED


# ── RLE ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "header",
    [
        bytes(64),
        b"\x10\0\0\0" + bytes(60),  # sixteen segments
        b"\x02\0\0\0" + b"\xff" * 60,  # outside
        b"\x02\0\0\0" + b"\x40\0\0\0\x40\0\0\0" + bytes(52),  # empty
        b"\x02\0\0\0" + b"\x00\0\0\0\x40\0\0\0" + bytes(52),  # over the header
    ],
)
def test_a_wrong_rle_header_is_a_fault(header: bytes) -> None:
    frame = header + rle_frame(GREY16)[64:]
    assert fault(frame, RLE, GREY16) in (Fault.CODESTREAM, Fault.MISMATCH)


def test_an_rle_segment_that_holds_more_than_a_plane_is_a_fault() -> None:
    long = np.vstack([GREY16] * 3)
    assert fault(rle_frame(long), RLE, GREY16) is Fault.CODESTREAM
