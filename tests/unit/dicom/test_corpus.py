"""Real files: all that pydicom ships, against what pydicom reads in them."""

import random
import warnings
from pathlib import Path
from typing import Any

import pydicom
import pytest

from leadglass.dicom.attributes import ATTRIBUTES, Attribute, Level
from leadglass.dicom.header import Header, HeaderReader
from leadglass.errors import BadData
from tests.unit.dicom import corpus

TAKEN = corpus.accepted()
IDENTIFIED = [each for each in ATTRIBUTES if not each.computed and each.vr != "SQ"]

# pydicom's own findings about its files are not ours.
pytestmark = pytest.mark.filterwarnings("ignore")


def by_name(files: dict[str, Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", files.values(), ids=list(files))


def texts_of(data_set: Any, attribute: Attribute) -> list[str]:
    """Return pydicom's values, written as they stand in the file."""
    try:
        found = data_set.get(attribute.tag)
    except Exception:  # noqa: BLE001  # it refuses values that are none
        pytest.fail("pydicom cannot read a value that is compared")
    if found is None or found.value in (None, ""):
        return []
    many = isinstance(found.value, list | pydicom.multival.MultiValue)
    values = list(found.value) if many else [found.value]
    if attribute.vr == "PN":
        return [str(value).strip() for value in values]
    return [str(getattr(value, "original_string", value)).strip() for value in values]


def test_there_is_a_corpus() -> None:
    assert len(TAKEN) > 240


@by_name(TAKEN)
def test_values_are_those_that_pydicom_reads(path: Path) -> None:
    header = corpus.read(path).header()
    data_set = corpus.theirs(path)
    for attribute in IDENTIFIED:
        mine = [text.strip() for text in header.texts(attribute.tag)]
        if attribute.vr == "PN":  # it drops empty component groups at the end
            mine = [text.rstrip("=") for text in mine]
        other = texts_of(data_set, attribute)
        assert mine == other or not any(mine + other), attribute.keyword


@by_name(TAKEN)
def test_pixels_lie_where_pydicom_finds_them(path: Path) -> None:
    instance = corpus.read(path)
    header = instance.header()
    data_set = corpus.theirs(path)
    if header.pixel_data_offset is None:
        assert "PixelData" not in data_set
        assert "FloatPixelData" not in data_set
    elif header.pixel_data_length is not None and not instance.syntax.deflated:
        begin = header.pixel_data_offset
        pixels = instance.data[begin : begin + header.pixel_data_length]
        assert pixels == data_set[_pixel_keyword(data_set)].value


def _pixel_keyword(data_set: Any) -> str:
    names = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
    return next(name for name in names if name in data_set)


@by_name(corpus.accepted(2 * 1024 * 1024))
def test_any_cuts_give_the_same_header(path: Path) -> None:
    instance = corpus.read(path)
    whole = instance.header()
    chance = random.Random(path.name)
    sizes = (1, 2, 3, 7, 20, 500, 5_000)
    reader, at = HeaderReader(instance.syntax), 0
    while at < len(instance.data):
        size = chance.choice(sizes) if at < 20_000 else 100_000
        reader.feed(memoryview(instance.data)[at : at + size])
        at += size
    assert reader.finish() == whole


@by_name(corpus.accepted(corpus.SMALL_BYTES_MAX))
def test_a_file_that_is_cut_short_is_refused_or_read(path: Path) -> None:
    instance = corpus.read(path)
    chance = random.Random(path.name)
    for _ in range(10):
        end = chance.randrange(len(instance.data))
        _no_worse_than_bad_data(corpus.Instance(instance.syntax, instance.data[:end]))


@by_name(corpus.accepted(corpus.SMALL_BYTES_MAX))
def test_a_file_with_wrong_bytes_is_refused_or_read(path: Path) -> None:
    instance = corpus.read(path)
    chance = random.Random(path.name)
    for _ in range(20):
        data = bytearray(instance.data)
        for _ in range(chance.choice((1, 1, 3, 20))):
            at = chance.randrange(min(len(data), 8_192))
            data[at] = chance.choice(
                (0, 0xFF, 0xFE, data[at] ^ 1, chance.randrange(256))
            )
        _no_worse_than_bad_data(corpus.Instance(instance.syntax, bytes(data)))


def _no_worse_than_bad_data(instance: corpus.Instance) -> None:
    try:
        header = instance.header()
    except BadData:
        return
    for level in Level:
        header.json(level)


@pytest.mark.parametrize("name", corpus.REFUSED)
def test_refusals_have_a_reason(name: str) -> None:
    paths = [path for path in corpus.FILES.values() if path.name == name]
    assert paths, "the table names a file that is not there"
    for path in paths:
        with pytest.raises(BadData):
            corpus.read(path).header()


@by_name(TAKEN)
def test_json_is_the_one_of_pydicom(path: Path) -> None:
    header = corpus.read(path).header()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data_set = corpus.theirs(path)
    for level in Level:
        for key, entry in header.json(level).items():
            other = _their_json(data_set, key)
            if other is not None:
                assert entry == other, key


def _their_json(data_set: Any, key: str) -> Any:
    try:
        return _normal(data_set[int(key, 16)].to_json_dict(None, 0))
    except Exception:  # noqa: BLE001  # it refuses values that are none
        return None


def _normal(entry: Any) -> Any:
    """Return pydicom's entry as PS3.18 §F.2 has it.

    It keeps padding within values, writes empty ones as ``""`` instead of null
    (§F.2.5), and an empty sequence as an empty list.
    """
    if isinstance(entry, list):
        return [_normal(each) for each in entry]
    if isinstance(entry, dict):
        return {
            key: _normal(value)
            for key, value in entry.items()
            if not (key == "Value" and value == [])
        }
    return entry.strip(" \0") or None if isinstance(entry, str) else entry


def test_header_says_how_it_is_encoded() -> None:
    path = next(p for p in corpus.FILES.values() if p.name == "SC_rgb_jpeg.dcm")
    instance = corpus.read(path)
    header: Header = instance.header()
    assert not instance.syntax.implicit_vr
    assert header.transfer_syntax.implicit_vr
    assert header.text("Modality") == "OT"
