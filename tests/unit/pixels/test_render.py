"""Rendering, against the formulas of the standard computed one value at a time."""

import math
import struct
import warnings
from collections.abc import Callable

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.pixels import (
    apply_color_lut,
    apply_modality_lut,
    apply_voi_lut,
    convert_color_space,
    pixel_array,
)

from leadglass.dicom.dataset import DataSet
from leadglass.errors import PeerError
from leadglass.pixels.faults import Fault, Undecodable
from leadglass.pixels.images import Image
from leadglass.pixels.luts import LUT_DATA, LUT_DESCRIPTOR, Lut
from leadglass.pixels.render import Stored, render
from leadglass.pixels.views import Function, Region, View, Window
from tests.unit.pixels.samples import Array, Sample, element, item, sample
from tests.unit.pixels.test_renderer import frames_of
from tests.unit.pixels.worker_rig import rendered

PLAIN = View()


def text(tag: int, value: str, vr: bytes = b"DS") -> bytes:
    raw = value.encode()
    return element(tag, vr, raw + b" " * (len(raw) % 2))


def short(tag: int, *values: int) -> bytes:
    return element(tag, b"US", struct.pack(f"<{len(values)}H", *values))


def sequence(tag: int, content: bytes) -> bytes:
    return element(tag, b"SQ", item(content))


def lut_item(first: int, entries: Array, bits: int, vr: bytes = b"US") -> bytes:
    layout = "<HhH" if vr == b"SS" else "<HHH"
    described = struct.pack(layout, len(entries) & 0xFFFF, first, bits)
    return element(LUT_DESCRIPTOR, vr, described) + element(
        LUT_DATA, b"OW", entries.astype("<u2").tobytes()
    )


def stored(
    samples: Array,
    head: bytes = b"",
    *,
    photometric: str = "MONOCHROME2",
    bits_stored: int | None = None,
    groups: bytes = b"",
    number: int = 1,
) -> Stored:
    """A frame of an array whose data set says these elements too."""
    bits = samples.dtype.itemsize * 8
    image = Image(
        rows=samples.shape[0],
        columns=samples.shape[1],
        samples=samples.shape[2] if samples.ndim == 3 else 1,
        frames=1,
        bits_allocated=bits,
        is_signed=samples.dtype.kind == "i",
        photometric=photometric,
        planar=0,
        lossy="",
    )
    if bits_stored is not None:
        head = (
            short(0x0028_0101, bits_stored) + short(0x0028_0102, bits_stored - 1) + head
        )
    return Stored(
        samples=samples,
        image=image,
        photometric=photometric,
        head=DataSet.decode(head),
        groups=DataSet.decode(groups),
        number=number,
    )


def one_by_one(values: Array, formula: Callable[[float], float]) -> Array:
    """Grey levels of a formula that gives 0…1."""
    flat = [math.floor(formula(float(x)) * 255 + 0.5) for x in values.ravel()]
    return np.array(flat, "u1").reshape(values.shape)


def linear(center: float, width: float) -> Callable[[float], float]:
    """PS3.3 C.11.2.1.2.1, as its pseudo code stands, for 0 to 1."""

    def formula(x: float) -> float:
        if x <= center - 0.5 - (width - 1) / 2:
            return 0.0
        if x > center - 0.5 + (width - 1) / 2:
            return 1.0
        return (x - (center - 0.5)) / (width - 1) + 0.5

    return formula


def linear_exact(center: float, width: float) -> Callable[[float], float]:
    """PS3.3 C.11.2.1.3.2."""

    def formula(x: float) -> float:
        if x <= center - width / 2:
            return 0.0
        if x > center + width / 2:
            return 1.0
        return (x - center) / width + 0.5

    return formula


def sigmoid(center: float, width: float) -> Callable[[float], float]:
    """PS3.3 C.11.2.1.3.1."""
    return lambda x: 1 / (1 + math.exp(min(700.0, -4 * (x - center) / width)))


GREY16 = (np.arange(40 * 30) * 53 % 4096).astype("<u2").reshape(40, 30)
SIGNED = (GREY16.astype("<i2") - 2048).astype("<i2")


@given(
    center=st.floats(-3000, 3000),
    width=st.floats(1, 5000),
    function=st.sampled_from(list(Function)),
)
@settings(max_examples=40, deadline=None)
def test_a_window_is_the_formula(
    center: float, width: float, function: Function
) -> None:
    formulas = {
        Function.LINEAR: linear,
        Function.LINEAR_EXACT: linear_exact,
        Function.SIGMOID: sigmoid,
    }
    view = View(window=Window(center, width, function))
    found = render(stored(SIGNED), view).astype(int)
    expected = one_by_one(SIGNED, formulas[function](center, width))
    # A last bit of floating point may fall to either side of a half.
    assert np.abs(found - expected).max() <= 1
    assert (found != expected).mean() < 0.01


def test_the_table_and_the_long_way_give_the_same() -> None:
    view = View(window=Window(300, 900))
    wide = stored(SIGNED.astype("<i4"))
    assert np.array_equal(render(wide, view), render(stored(SIGNED), view))
    assert np.array_equal(render(wide, PLAIN), render(stored(SIGNED), PLAIN))


def test_rescale_comes_before_the_window() -> None:
    head = text(0x0028_1050, "40\\50") + text(0x0028_1051, "400\\80")
    head += text(0x0028_1052, "-1024") + text(0x0028_1053, "0.5")
    units = GREY16 * 0.5 - 1024
    for preset, window in enumerate((linear(40, 400), linear(50, 80))):
        found = render(stored(GREY16, head), View(preset=preset))
        assert np.array_equal(found, one_by_one(units, window))
    with pytest.raises(Undecodable, match="no such window"):
        render(stored(GREY16, head), View(preset=2))


def test_monochrome1_and_an_inverse_shape_turn_black_to_white_once() -> None:
    view = View(window=Window(2000, 3000))
    plain = render(stored(GREY16), view).astype(int)
    inverse = text(0x2050_0020, "INVERSE", b"CS")
    for turned in (
        stored(GREY16, photometric="MONOCHROME1"),
        stored(GREY16, inverse),
        stored(GREY16, inverse, photometric="MONOCHROME1"),
    ):
        assert np.abs(255 - plain - render(turned, view)).max() <= 1


def test_bits_beside_the_stored_ones_do_not_count() -> None:
    view = View(window=Window(2000, 3000))
    dirty = GREY16 | 0xA000
    assert np.array_equal(
        render(stored(dirty, bits_stored=12), view), render(stored(GREY16), view)
    )
    # Signed values of 12 bits whose sign does not reach to the 16th.
    cut = (SIGNED.view("<u2") & 0x0FFF).view("<i2")
    assert np.array_equal(
        render(stored(cut, bits_stored=12), view), render(stored(SIGNED), view)
    )


def test_without_a_window_all_that_is_there_is_shown_but_the_padding() -> None:
    samples = GREY16.copy()
    samples[0] = 60_000
    padding = short(0x0028_0120, 60_000)
    found = render(stored(samples, padding), PLAIN)
    low, high = int(samples[1:].min()), int(samples[1:].max())
    expected = one_by_one(samples[1:], lambda x: (x - low) / (high - low))
    assert np.array_equal(found[1:], expected)
    assert (found[0] == 255).all()


def test_eight_bits_without_a_window_are_shown_as_they_are() -> None:
    samples = np.arange(20, 120, dtype="u1").reshape(10, 10)
    assert np.array_equal(render(stored(samples), PLAIN), samples)


def test_an_image_of_one_value_renders() -> None:
    found = render(stored(np.full((4, 4), 7, "<u2")), PLAIN)
    assert len(np.unique(found)) == 1


@pytest.mark.parametrize("vr", [b"US", b"SS"])
def test_modality_and_voi_tables(vr: bytes) -> None:
    first = -2000 if vr == b"SS" else 100
    samples = SIGNED if vr == b"SS" else GREY16
    modality = (np.arange(4000) // 4).astype("u2")
    voi = (np.arange(900) * 5 % 1024).astype("u2")
    head = sequence(0x0028_3000, lut_item(first, modality, 10, vr))
    head += sequence(0x0028_3010, lut_item(50, voi, 10))

    def expected(x: float) -> float:
        units = int(modality[min(max(int(x) - first, 0), 3999)])
        return int(voi[min(max(units - 50, 0), 899)]) / 1023

    assert np.array_equal(
        render(stored(samples, head), PLAIN), one_by_one(samples, expected)
    )


def test_a_presentation_table_is_applied_last() -> None:
    table = (1023 - np.arange(256) * 4).astype("u2")
    head = sequence(0x2050_0010, lut_item(0, table, 10))
    samples = np.arange(256, dtype="u1").reshape(16, 16)
    expected = one_by_one(samples, lambda x: (1023 - 4 * x) / 1023)
    assert np.array_equal(render(stored(samples, head), PLAIN), expected)


def test_a_frame_has_its_own_window_and_rescale() -> None:
    window = text(0x0028_1050, "500") + text(0x0028_1051, "100")
    rescale = text(0x0028_1052, "10") + text(0x0028_1053, "2")
    shared = sequence(0x5200_9229, sequence(0x0028_9132, text(0x0028_1050, "1")))
    groups = sequence(0x0028_9132, window) + sequence(0x0028_9145, rescale)
    found = render(stored(GREY16, shared, groups=groups), PLAIN)
    assert np.array_equal(found, one_by_one(GREY16 * 2.0 + 10, linear(500, 100)))
    in_all = sequence(0x5200_9229, groups)
    assert np.array_equal(render(stored(GREY16, in_all), PLAIN), found)


# ── color ────────────────────────────────────────────────────────────────────

COLOR = np.stack([np.arange(256, dtype="u1").reshape(16, 16)] * 3, axis=2)
COLOR = np.ascontiguousarray(COLOR * np.array([1, 3, 7], "u1"))


def test_rgb_stays_and_wide_rgb_keeps_its_highest_bits() -> None:
    assert np.array_equal(render(stored(COLOR, photometric="RGB"), PLAIN), COLOR)
    wide = COLOR.astype("<u2") << 8 | 0x7F
    assert np.array_equal(render(stored(wide, photometric="RGB"), PLAIN), COLOR)


def test_ybr_full_is_undone_as_pydicom_does() -> None:
    found = render(stored(COLOR, photometric="YBR_FULL"), PLAIN)
    expected = convert_color_space(COLOR, "YBR_FULL", "RGB")
    assert np.abs(found.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("photometric", ["HSV", "CMYK", "YBR_PARTIAL_420", "Doe"])
def test_an_unknown_color_space_is_refused(photometric: str) -> None:
    with pytest.raises(Undecodable) as caught:
        render(stored(COLOR, photometric=photometric), PLAIN)
    assert caught.value.fault is Fault.UNSUPPORTED


def segmented(*words: int) -> bytes:
    """The same segmented table for three colors, of 8 entries."""
    data = struct.pack(f"<{len(words)}H", *words)
    described = b"".join(short(0x0028_1101 + n, 8, 0, 16) for n in range(3))
    return described + b"".join(element(0x0028_1221 + n, b"OW", data) for n in range(3))


def test_a_segmented_palette_is_expanded() -> None:
    # Two entries as they are, four on a line, and the first segment once more.
    head = segmented(0, 2, 0x1000, 0x2000, 1, 4, 0x6000, 2, 1, 0, 0)
    samples = np.arange(8, dtype="u1").reshape(2, 4)
    found = render(stored(samples, head, photometric="PALETTE COLOR"), PLAIN)
    expected = [0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x10, 0x20]
    assert found[..., 0].ravel().tolist() == expected


@pytest.mark.parametrize(
    "words",
    [
        (0, 9, 1, 2),  # more entries than there are
        (0, 60_000, 1, 2),
        (1, 8, 5),  # a line from nowhere
        (0, 1, 5, 2, 60_000, 3, 0),  # copies itself
        (0, 1, 5, 2, 1, 50, 0),  # copies what comes later
        (7, 7, 7),
        (0,),
        (),
        (0, 2, 1, 1),  # ends too early
    ],
)
def test_a_segmented_palette_that_lies_is_refused(words: tuple[int, ...]) -> None:
    samples = np.zeros((2, 4), "u1")
    with pytest.raises(Undecodable):
        render(stored(samples, segmented(*words), photometric="PALETTE COLOR"), PLAIN)


def test_a_table_shorter_than_it_says_is_refused() -> None:
    for count, bits in ((100, 16), (11, 8), (0, 16)):
        described = element(LUT_DESCRIPTOR, b"US", struct.pack("<3H", count, 0, bits))
        data = element(LUT_DATA, b"OW", bytes(10))
        with pytest.raises(Undecodable):
            Lut.of(DataSet.decode(described + data), LUT_DESCRIPTOR, LUT_DATA)


def test_entries_of_eight_bits_may_be_packed() -> None:
    described = element(LUT_DESCRIPTOR, b"US", struct.pack("<3H", 4, 0, 8))
    data = element(LUT_DATA, b"OW", bytes([1, 2, 3, 250]))
    lut = Lut.of(DataSet.decode(described + data), LUT_DESCRIPTOR, LUT_DATA)
    assert lut(np.array([-5, 0, 1, 2, 3, 900])).tolist() == [1, 1, 2, 3, 250, 250]


# ── overlays ─────────────────────────────────────────────────────────────────


def overlay(bits: Array, top: int, left: int, frames: int = 1, first: int = 1) -> bytes:
    data = np.packbits(bits.ravel(), bitorder="little").tobytes()
    return b"".join(
        (
            short(0x6000_0010, bits.shape[-2]),
            short(0x6000_0011, bits.shape[-1]),
            text(0x6000_0015, str(frames), b"IS"),
            element(0x6000_0050, b"SS", struct.pack("<2h", top, left)),
            short(0x6000_0051, first),
            short(0x6000_0100, 1),
            element(0x6000_3000, b"OW", data + b"\0" * (len(data) % 2)),
        )
    )


@given(top=st.integers(-40, 40), left=st.integers(-40, 40))
@settings(max_examples=40, deadline=None)
def test_an_overlay_lies_where_it_says_and_never_outside(top: int, left: int) -> None:
    bits = (np.arange(9 * 7) % 3 == 0).astype("u1").reshape(9, 7)
    samples = np.zeros((20, 25), "u1")
    view = View(has_overlays=True)
    found = render(stored(samples, overlay(bits, top, left)), view)
    for row in range(20):
        for column in range(25):
            y, x = row - (top - 1), column - (left - 1)
            is_set = 0 <= y < 9 and 0 <= x < 7 and bits[y, x] == 1
            assert found[row, column] == (255 if is_set else 0)
    assert not render(stored(samples, overlay(bits, top, left)), PLAIN).any()


def test_an_overlay_of_frames_belongs_to_some() -> None:
    bits = np.zeros((2, 3, 5), "u1")
    bits[0, 0, 0] = bits[1, 2, 4] = 1
    head = overlay(bits, 1, 1, frames=2, first=4)
    samples = np.zeros((3, 5), "u1")
    for number, places in ((3, []), (4, [[0, 0]]), (5, [[2, 4]]), (6, [])):
        found = render(stored(samples, head, number=number), View(has_overlays=True))
        assert np.argwhere(found == 255).tolist() == places


def test_an_overlay_shorter_than_it_says_is_refused() -> None:
    bits = np.ones((4, 4), "u1")
    head = overlay(bits, 1, 1).replace(
        short(0x6000_0010, 4), short(0x6000_0010, 60_000)
    )
    with pytest.raises(Undecodable):
        render(stored(np.zeros((4, 4), "u1"), head), View(has_overlays=True))


# ── size and region ──────────────────────────────────────────────────────────


def test_a_region_is_cut_out_and_mirrored() -> None:
    samples = np.arange(100, dtype="u1").reshape(10, 10)
    found = render(stored(samples), View(region=Region(2, 3, -4, 5)))
    assert np.array_equal(found, samples[3:8, 2:6][:, ::-1])
    found = render(stored(samples), View(region=Region(2, 3, 4, -5)))
    assert np.array_equal(found, samples[3:8, 2:6][::-1])


@given(
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    viewport=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    value=st.integers(0, 255),
)
@settings(max_examples=50, deadline=None)
def test_any_image_fits_any_viewport_in_its_proportions(
    size: tuple[int, int], viewport: tuple[int, int], value: int
) -> None:
    view = View(viewport=viewport)
    found = render(stored(np.full(size, value, "u1")), view)
    assert found.shape == view.size(*size)
    assert (found == value).all()
    assert found.shape[1] <= viewport[0]
    assert found.shape[0] <= viewport[1]
    assert found.shape[1] == viewport[0] or found.shape[0] == viewport[1]


def test_a_reduced_image_is_the_mean_of_what_it_covers() -> None:
    samples = np.zeros((64, 64), "u1")
    samples[33, 41] = 255
    found = render(stored(samples), View(viewport=(32, 32))).astype(float)
    assert found.sum() * 4 == pytest.approx(255, abs=12)
    assert np.argwhere(found == found.max()).tolist() == [[16, 20]]


# ── views ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "make",
    [
        lambda: Window(math.nan, 1),
        lambda: Window(1, math.inf),
        lambda: Window(1e30, 5),
        lambda: Window(0, 0.5),
        lambda: Window(0, 0, Function.SIGMOID),
        lambda: Region(0, 0, 0, 5),
        lambda: Region(-1, 0, 5, 5),
        lambda: View(quality=0),
        lambda: View(quality=101),
        lambda: View(preset=-1),
        lambda: View(viewport=(0, 5)),
        lambda: View(viewport=(5, 100_000)),
    ],
)
def test_a_view_that_makes_no_sense_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(PeerError):
        make()


# ── real files, against pydicom's own pipelines ──────────────────────────────


def by_pydicom(given_file: Sample) -> tuple[Array, pydicom.Dataset]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data_set = pydicom.dcmread(given_file.path)
        found: Array = pixel_array(data_set, index=0)
    return found, data_set


@pytest.mark.parametrize(
    "name",
    [
        "693_UNCR.dcm",
        "MR2_UNCR.dcm",
        "RG1_UNCR.dcm",
        "RG3_UNCR.dcm",
        "MR_small.dcm",
        "6154",
        "MR_small_RLE.dcm",
        "MR_small_bigendian.dcm",
    ],
)
def test_windows_of_real_files(name: str) -> None:
    array, data_set = by_pydicom(sample(name))
    units = apply_voi_lut(apply_modality_lut(array, data_set), data_set)
    # pydicom's window reaches over all values that can be stored.
    bits = data_set.BitsStored
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    if data_set.PixelRepresentation == 0:
        low, high = 0, 2**bits - 1
    if "RescaleSlope" in data_set:
        slope, intercept = data_set.RescaleSlope, data_set.RescaleIntercept
        low, high = low * slope + intercept, high * slope + intercept
    expected = (units - float(low)) / float(high - low) * 255
    if data_set.PhotometricInterpretation == "MONOCHROME1":
        expected = 255 - expected
    found = rendered(frames_of(sample(name)), PLAIN)
    assert np.abs(found - expected).max() <= 0.51


def test_tables_of_real_files() -> None:
    array, data_set = by_pydicom(sample("vlut_04.dcm"))
    bits = data_set.VOILUTSequence[0].LUTDescriptor[2]
    expected = apply_voi_lut(array, data_set) / (2**bits - 1) * 255
    found = rendered(frames_of(sample("vlut_04.dcm")), PLAIN)
    assert np.abs(found - expected).max() <= 0.51
    array, data_set = by_pydicom(sample("mlut_18.dcm"))
    units = apply_modality_lut(array, data_set).astype(float)
    expected = (units - units.min()) / (units.max() - units.min()) * 255
    found = rendered(frames_of(sample("mlut_18.dcm")), PLAIN)
    assert np.abs(found - expected).max() <= 0.51


@pytest.mark.parametrize(
    "name",
    [
        "OBXXXX1A.dcm",
        "OBXXXX1A_rle_2frame.dcm",
        "gdcm-US-ALOKA-16.dcm",
        "gdcm-US-ALOKA-16_big.dcm",
        "examples_palette.dcm",
    ],
)
def test_palettes_of_real_files(name: str) -> None:
    array, data_set = by_pydicom(sample(name))
    expected = apply_color_lut(array, data_set)
    if expected.dtype.itemsize == 2:
        expected = expected >> 8
    assert np.array_equal(rendered(frames_of(sample(name)), PLAIN), expected)


@pytest.mark.parametrize(
    "name",
    [
        "SC_rgb.dcm",
        "SC_rgb_small_odd_big_endian.dcm",
        "color-pl.dcm",
        "SC_rgb_rle.dcm",
        "ExplVR_BigEnd.dcm",
        "SC_ybr_full_uncompressed.dcm",
        "US1_J2KR.dcm",
        "SC_rgb_16bit.dcm",
        "SC_ybr_full_422_uncompressed.dcm",
        "SC_rgb_expb_32bit.dcm",
    ],
)
def test_colors_of_real_files(name: str) -> None:
    expected, _ = by_pydicom(sample(name))
    shift = expected.dtype.itemsize * 8 - 8
    found = rendered(frames_of(sample(name)), PLAIN).astype(int)
    assert np.abs(found - (expected >> shift)).max() <= 1


def test_a_big_endian_palette_is_the_same_one() -> None:
    """Whose words pydicom 3 takes for little-endian ones."""
    found, expected = (
        rendered(frames_of(sample(name)), PLAIN)
        for name in ("OBXXXX1A_expb.dcm", "OBXXXX1A.dcm")
    )
    assert np.array_equal(found, expected)


def test_overlays_of_a_real_file() -> None:
    _, data_set = by_pydicom(sample("examples_overlay.dcm"))
    plane = data_set.overlay_array(0x6000) == 1
    frames = frames_of(sample("examples_overlay.dcm"))
    plain, burnt = (rendered(frames, View(has_overlays=each)) for each in (False, True))
    origin = [each - 1 for each in data_set[0x6000, 0x0050].value]
    assert origin == [0, 0]
    assert (burnt[: plane.shape[0], : plane.shape[1]][plane] == 255).all()
    assert np.array_equal(burnt[~plane], plain[~plane])


# ── anything at all ──────────────────────────────────────────────────────────


@given(
    name=st.sampled_from(["vlut_04.dcm", "OBXXXX1A.dcm", "examples_overlay.dcm"]),
    changes=st.lists(
        st.tuples(st.integers(0, 1 << 30), st.integers(0, 255)), max_size=4
    ),
)
@settings(max_examples=40, deadline=None)
def test_a_damaged_head_gives_a_picture_or_a_fault(
    name: str, changes: list[tuple[int, int]]
) -> None:
    frames = frames_of(sample(name))
    head = bytearray(frames.head(1 << 24))
    for at, value in changes:
        head[at % len(head)] = value
    try:
        found = rendered(frames, View(has_overlays=True), bytes(head))
    except Undecodable:
        return
    assert found.dtype == np.uint8
    assert found.shape[:2] == (frames.layout.image.rows, frames.layout.image.columns)
