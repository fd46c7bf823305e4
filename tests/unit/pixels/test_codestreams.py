"""What compressed frames claim, read without a codec."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadglass.pixels.codestreams import (
    Codestream,
    begins_frame,
    read_jpeg,
    read_jpeg2k,
    read_jpegxl,
)
from leadglass.pixels.faults import Undecodable
from tests.unit.pixels.samples import encoded

Reader = Callable[[bytes], Codestream]

GREY8 = np.arange(40 * 30, dtype="u1").reshape(40, 30)
GREY16 = np.arange(40 * 30, dtype="u2").reshape(40, 30)
COLOR = np.stack([GREY8, GREY8.T.reshape(40, 30), GREY8[::-1]], axis=2)

CASES: list[tuple[str, Reader, bytes, Codestream]] = [
    (
        "JPEG grey",
        read_jpeg,
        encoded("jpeg8", GREY8),
        Codestream(40, 30, 1, 8, is_lossy=True),
    ),
    (
        "JPEG color",
        read_jpeg,
        encoded("jpeg8", COLOR),
        Codestream(40, 30, 3, 8, is_lossy=True),
    ),
    (
        "JPEG lossless",
        read_jpeg,
        encoded("ljpeg", GREY16, bitspersample=16),
        Codestream(40, 30, 1, 16),
    ),
    (
        "JPEG-LS",
        read_jpeg,
        encoded("jpegls", GREY16),
        # CharLS states the precision that the values need.
        Codestream(40, 30, 1, 16),
    ),
    (
        "JPEG-LS near",
        read_jpeg,
        encoded("jpegls", GREY8, level=2),
        Codestream(40, 30, 1, 8, is_lossy=True),
    ),
    (
        "JPEG 2000",
        read_jpeg2k,
        encoded("jpeg2k", GREY16, level=0, codecformat="j2k"),
        Codestream(40, 30, 1, 16),
    ),
    (
        "JPEG 2000 signed",
        read_jpeg2k,
        encoded("jpeg2k", GREY16.astype("i2"), level=0, codecformat="j2k"),
        Codestream(40, 30, 1, 16, is_signed=True),
    ),
    (
        "JPEG 2000 file",
        read_jpeg2k,
        encoded("jpeg2k", COLOR, level=0, codecformat="jp2"),
        Codestream(40, 30, 3, 8),
    ),
    (
        "JPEG 2000 irreversible",
        read_jpeg2k,
        encoded("jpeg2k", COLOR, level=40, reversible=False, codecformat="j2k"),
        Codestream(40, 30, 3, 8, is_lossy=True),
    ),
    (
        "HTJ2K",
        read_jpeg2k,
        encoded("htj2k", COLOR),
        Codestream(40, 30, 3, 8),
    ),
    (
        "JPEG XL",
        read_jpegxl,
        encoded("jpegxl", GREY16, lossless=True),
        Codestream(40, 30),
    ),
    (
        "JPEG XL container",
        read_jpegxl,
        encoded("jpegxl", GREY16, lossless=True, usecontainer=True),
        Codestream(40, 30),
    ),
]


@pytest.mark.parametrize(
    ("reader", "data", "claim"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_claims(reader: Reader, data: bytes, claim: Codestream) -> None:
    assert reader(data) == claim
    assert begins_frame(data)


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        *[(1, 1), (8, 8), (256, 256), (512, 512), (300, 200), (200, 300), (40, 4000)],
        *[(1200, 1000), (1000, 1200), (90, 160), (160, 90), (600, 300), (4000, 40)],
    ],
)
def test_sizes_of_jpeg_xl(rows: int, columns: int) -> None:
    """ISO/IEC 18181-1: three ways to write a size."""
    data = encoded("jpegxl", np.zeros((rows, columns), "u1"), lossless=True)
    assert read_jpegxl(data) == Codestream(rows, columns)


@pytest.mark.parametrize(
    ("marker", "is_ycc"), [(b"\x00", False), (b"\x01", True), (None, None)]
)
def test_adobe_s_marker_says_the_color_space(
    marker: bytes | None, *, is_ycc: bool | None
) -> None:
    data = encoded("jpeg8", COLOR)
    if marker is not None:
        adobe = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0" + marker
        data = data[:2] + adobe + data[2:]
    assert read_jpeg(data).is_ycc is is_ycc


@given(st.sampled_from(CASES), st.data())
def test_no_bytes_are_worse_than_a_fault(
    case: tuple[str, Reader, bytes, Codestream], data: st.DataObject
) -> None:
    _, reader, frame, _ = case
    changed = bytearray(frame[: data.draw(st.integers(0, len(frame)))])
    for _ in range(data.draw(st.integers(0, 4)) if changed else 0):
        at = data.draw(st.integers(0, min(len(changed), 200) - 1))
        changed[at] = data.draw(st.integers(0, 255))
    try:
        found = reader(bytes(changed))
    except Undecodable:
        return
    assert isinstance(found, Codestream)


@pytest.mark.parametrize("reader", [read_jpeg, read_jpeg2k, read_jpegxl])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8",
        b"\xff\xd8" + b"\xff\xe0\0\x02" * 100_000,  # segments without end
        b"\xff\xd8" + b"\xff" * 10_000,
        b"\xff\x4f\xff\x51" + bytes(100),
        b"\xff\x0a",
        b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0\0\0\x08free" * 100_000,
        b"\0\0\0\x0cJXL \r\n\x87\n" + b"\0\0\0\x01free" + bytes(8),
    ],
    ids=range(8),
)
def test_what_is_no_codestream_is_a_fault(reader: Reader, data: bytes) -> None:
    with pytest.raises(Undecodable):
        reader(data)


def test_subsampled_components_have_no_native_form() -> None:
    data = bytearray(encoded("jpeg2k", COLOR, level=0, codecformat="j2k"))
    data[43 + 3] = 2  # XRsiz of the second component
    with pytest.raises(Undecodable):
        read_jpeg2k(bytes(data))
