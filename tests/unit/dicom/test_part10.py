"""Part 10 files: what is written can be read, and what is no file is refused."""

import io
from itertools import pairwise
from struct import pack

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadglass.dicom.part10 import (
    META_BYTES_MAX,
    PREAMBLE_BYTES,
    PREFIX,
    FileMeta,
    Part10Reader,
    encode_part10_header,
)
from leadglass.dicom.transfer_syntaxes import (
    EXPLICIT_VR_BE,
    EXPLICIT_VR_LE,
    IMPLICIT_VR_LE,
)
from leadglass.dicom.uids import IMPLEMENTATION_CLASS_UID, UID
from leadglass.errors import BadData
from tests.unit.dicom.corpus import IDENTITY, PIXELS, element, implicit

META = FileMeta(
    sop_class=UID("1.2.840.10008.5.1.4.1.1.7"),
    sop_instance=UID("1.2.3.4"),
    transfer_syntax=EXPLICIT_VR_LE,
    source_ae="MODALITY",
)
HEAD = encode_part10_header(META)
DATA = IDENTITY + PIXELS


def read(raw: bytes) -> tuple[Part10Reader, bytes]:
    reader = Part10Reader()
    data = reader.feed(raw)
    return reader, reader.finish() if data is None else data


def test_what_is_written_is_read() -> None:
    reader, data = read(HEAD + DATA)
    assert data == DATA
    assert reader.preamble_kind == "zero"
    assert reader.data_set_offset == len(HEAD)
    assert reader.transfer_syntax == META.transfer_syntax
    assert reader.sop_class == META.sop_class
    assert reader.uid(0x0002_0003) == META.sop_instance
    assert reader.meta.text(0x0002_0016) == META.source_ae
    assert reader.head() == HEAD


def test_pydicom_reads_what_is_written() -> None:
    data_set = pydicom.dcmread(io.BytesIO(HEAD + DATA))
    meta = data_set.file_meta
    assert meta.MediaStorageSOPClassUID == META.sop_class
    assert meta.MediaStorageSOPInstanceUID == META.sop_instance
    assert meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert meta.FileMetaInformationVersion == b"\0\1"
    assert meta.FileMetaInformationGroupLength == len(HEAD) - 144
    assert data_set.PatientID == "P1"


def test_the_source_may_be_unknown() -> None:
    meta = FileMeta(META.sop_class, META.sop_instance, META.transfer_syntax)
    reader, _ = read(encode_part10_header(meta) + DATA)
    assert reader.meta.text(0x0002_0016) is None


@given(st.lists(st.integers(0, len(HEAD + DATA)), max_size=8))
def test_cut_anywhere(places: list[int]) -> None:
    raw = HEAD + DATA
    ends = sorted({0, len(raw), *places})
    reader, found = Part10Reader(), bytearray()
    is_known = False
    for begin, end in pairwise(ends):
        if is_known:
            found += raw[begin:end]
        elif (data := reader.feed(raw[begin:end])) is not None:
            found += data
            is_known = True
    assert is_known
    assert bytes(found) == DATA
    assert reader.transfer_syntax == META.transfer_syntax


@pytest.mark.parametrize(
    ("preamble", "kind"),
    [
        (bytes(128), "zero"),
        (b"II*\0".ljust(128, b"\0"), "tiff"),
        (b"MM\0*".ljust(128, b"\0"), "tiff"),
        (b"II+\0".ljust(128, b"\0"), "tiff"),
        (b"MZ\x90\0".ljust(128, b"\1"), "other"),
        (b"#!/bin/sh\n".ljust(128), "other"),
        (bytes(127) + b"\1", "other"),
    ],
)
def test_a_preamble_is_told_and_never_kept(preamble: bytes, kind: str) -> None:
    reader, data = read(preamble + HEAD[PREAMBLE_BYTES:] + DATA)
    assert reader.preamble_kind == kind
    assert reader.head() == HEAD
    assert data == DATA


@pytest.mark.parametrize("prefix", [b"", PREFIX])
def test_no_preamble(prefix: bytes) -> None:
    reader, data = read(prefix + HEAD[PREAMBLE_BYTES + len(PREFIX) :] + DATA)
    assert reader.preamble_kind == "missing"
    assert reader.transfer_syntax == EXPLICIT_VR_LE
    assert data == DATA


BIG = pack(">HH2sH", 8, 0x16, b"UI", 2) + b"1\0"
NO_META = {
    "explicit": (DATA, EXPLICIT_VR_LE),
    "implicit": (implicit(0x0008_0016, b"1.2\0") + bytes(16), IMPLICIT_VR_LE),
    "big endian": (BIG + BIG, EXPLICIT_VR_BE),
}


@pytest.mark.parametrize(("raw", "syntax"), NO_META.values(), ids=list(NO_META))
def test_no_meta_information(raw: bytes, syntax: UID) -> None:
    for head in (b"", bytes(PREAMBLE_BYTES) + PREFIX):
        reader, data = read(head + raw)
        assert reader.transfer_syntax == syntax
        assert data == raw
        assert reader.head() == b""


def test_an_odd_first_group_is_taken_only_where_the_file_says_dicom() -> None:
    raw = implicit(0x0001_0001, b"", 0xFFFF_FFFF) + bytes(16)
    reader, _ = read(bytes(PREAMBLE_BYTES) + PREFIX + raw)
    assert reader.transfer_syntax == IMPLICIT_VR_LE
    with pytest.raises(BadData):
        read(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"DICM",
        bytes(PREAMBLE_BYTES) + PREFIX,
        bytes(1_000),
        b"\x7fELF" + bytes(200),
        b"%PDF-1.7\n" + bytes(200),
        b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(200),
        b"PK\x03\x04" + bytes(200),
        b"<!DOCTYPE html><html>" + bytes(200),
        b" " + DATA,
    ],
)
def test_not_dicom(raw: bytes) -> None:
    with pytest.raises(BadData):
        read(raw)


def test_meta_information_has_a_bound() -> None:
    endless = element(0x0002_0102, "OB", bytes(1_000))
    with pytest.raises(BadData, match="too long"):
        _feed_for_ever(Part10Reader(), endless)


def _feed_for_ever(reader: Part10Reader, piece: bytes) -> None:
    for _ in range(2 * META_BYTES_MAX // len(piece)):
        reader.feed(piece)


def test_a_declared_length_is_not_waited_for() -> None:
    with pytest.raises(BadData, match="too long"):
        Part10Reader().feed(HEAD[:132] + element(0x0002_0102, "OB", b"", 2**31) + HEAD)


def test_a_transfer_syntax_that_stands_twice_is_refused() -> None:
    twice = element(0x0002_0010, "UI", b"1.2.840.10008.1.2\0")
    with pytest.raises(BadData, match="twice"):
        read(HEAD + twice + DATA)


def test_a_transfer_syntax_that_is_no_uid_is_refused() -> None:
    with pytest.raises(BadData):
        read(HEAD[:132] + element(0x0002_0010, "UI", b"../../1\0") + DATA)


@given(st.binary(max_size=400), st.booleans(), st.booleans())
def test_noise_is_refused_or_read(noise: bytes, has_head: bool, has_meta: bool) -> None:
    head = HEAD if has_meta else HEAD[: PREAMBLE_BYTES + 4]
    try:
        read((head if has_head else b"") + noise)
    except BadData:
        return
