"""Character sets: real files against pydicom, and every one there and back."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.charset import python_encoding

from leadglass.dicom.attributes import BY_TAG
from leadglass.dicom.charsets import (
    TEXT_VRS,
    UTF_8,
    choose_charset,
    codec_of,
    decode_text,
    encode_text,
    is_known,
)
from tests.unit.dicom import corpus

CHARSET_FILES = {
    path.name: path for path in corpus.FILES.values() if "charset_files" in path.parts
}

# What the names in pydicom's files are, as their authors wrote them (PS3.5 §H–K).
NAMES = {
    "chrArab.dcm": "قباني^لنزار",
    "chrFren.dcm": "Buc^Jérôme",
    "chrGerm.dcm": "Äneas^Rüdiger",
    "chrGreek.dcm": "Διονυσιος",
    "chrH31.dcm": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "chrH32.dcm": "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    "chrHbrw.dcm": "שרון^דבורה",
    "chrI2.dcm": "Hong^Gildong=洪^吉洞=홍^길동",
    "chrJapMulti.dcm": "やまだ^たろう",
    "chrKoreanMulti.dcm": "김희중",
    "chrRuss.dcm": "Люкceмбypг",  # noqa: RUF001
    "chrX1.dcm": "Wang^XiaoDong=王^小東=",
    "chrX2.dcm": "Wang^XiaoDong=王^小东=",
}

# Character sets, each with text that it can hold.
TEXTS: dict[tuple[str, ...], str] = {
    ("ISO_IR 100",): "Müller^Jérôme",
    ("ISO_IR 101",): "Łukasz^Dvořák",
    ("ISO_IR 109",): "Ċensu^Għarb",
    ("ISO_IR 110",): "Jānis^Bērziņš",
    ("ISO_IR 144",): "Толстой^Лев",
    ("ISO_IR 127",): "قباني^لنزار",
    ("ISO_IR 126",): "Διονυσιος^Ρήγας",
    ("ISO_IR 138",): "שרון^דבורה",
    ("ISO_IR 148",): "Çavuşoğlu^İpek",
    ("ISO_IR 203",): "Œuvre^Žižka €",
    ("ISO_IR 166",): "สมชาย^ใจดี",
    ("ISO_IR 13",): "ﾔﾏﾀﾞ^ﾀﾛｳ",
    ("ISO_IR 192",): "Ünïcode^山田^Толстой^😀",
    ("GB18030",): "王^小东^𠀀",
    ("GBK",): "王^小東",
    ("", "ISO 2022 IR 87"): "Yamada^Tarou=山田^太郎=やまだ^たろう",
    ("ISO 2022 IR 13", "ISO 2022 IR 87"): "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    ("", "ISO 2022 IR 149"): "Hong^Gildong=洪^吉洞=홍^길동",
    ("", "ISO 2022 IR 58"): "Zhang^XiaoDong=张^小东=",
    ("ISO 2022 IR 6", "ISO 2022 IR 100"): "Buc^Jérôme",
    ("ISO 2022 IR 100", "ISO 2022 IR 144"): "Jérôme^Люкceмбург",  # noqa: RUF001
    ("ISO 2022 IR 100", "ISO 2022 IR 126", "ISO 2022 IR 144"): "é=Διο=Лев",
    ("ISO 2022 IR 6", "ISO 2022 IR 166"): "Somchai=สมชาย",
    ("ISO 2022 IR 6", "ISO 2022 IR 127", "ISO 2022 IR 138"): "قباني=שרון",
}


def _texts(data_set: Any) -> dict[int, list[str]]:
    """Return the values of the text elements that both sides read."""
    return {
        element.tag: [str(value) for value in values]
        for element in data_set
        if element.VR in TEXT_VRS and element.tag in BY_TAG and element.value
        for values in [element.value if element.VM > 1 else [element.value]]
    }


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", CHARSET_FILES.values(), ids=list(CHARSET_FILES))
def test_text_is_the_one_that_pydicom_reads(path: Path) -> None:
    header = corpus.read(path).header()
    data_set = corpus.theirs(path)
    for tag, values in _texts(data_set).items():
        mine = [text.rstrip("=") for text in header.texts(tag)]
        assert mine == [value.rstrip("=") for value in values]


@pytest.mark.parametrize(("name", "text"), NAMES.items())
def test_names_are_those_of_the_standard(name: str, text: str) -> None:
    assert corpus.read(CHARSET_FILES[name]).header().text("PatientName") == text


@pytest.mark.parametrize(("charsets", "text"), TEXTS.items())
def test_there_and_back(charsets: tuple[str, ...], text: str) -> None:
    raw = encode_text(text, "PN", charsets)
    assert raw is not None
    assert decode_text(raw, "PN", charsets) == text
    assert is_known(charsets)


@pytest.mark.parametrize("term", ["ISO 2022 GBK", "GB18030", "ISO_IR 192"])
def test_what_has_no_escape_sequence_extends_nothing(term: str) -> None:
    assert encode_text("王^小東", "PN", ["", term]) is None
    assert choose_charset(["王^小東"], ("", term)) == (UTF_8,)


@pytest.mark.parametrize(("charsets", "text"), TEXTS.items())
def test_the_askers_character_set_is_kept_if_it_holds_the_answer(
    charsets: tuple[str, ...], text: str
) -> None:
    assert choose_charset([text, "ASCII"], charsets) == charsets
    assert choose_charset([text, "\u16a0 runes"], charsets) in {(UTF_8,), ("GB18030",)}


TERMS = st.sampled_from(sorted({*python_encoding, "ISO_IR 203", "nonsense"}))


@given(
    st.lists(st.text(max_size=20) | st.sampled_from(list(TEXTS.values())), max_size=4),
    st.lists(TERMS, max_size=4) | st.sampled_from(list(TEXTS)),
)
def test_what_is_chosen_holds_all_texts(
    texts: list[str], preferred: Sequence[str]
) -> None:
    texts = [text.encode(errors="ignore").decode() for text in texts]
    chosen = choose_charset(texts, preferred)
    for text in texts:
        raw = encode_text(text, "LO", chosen)
        assert raw is not None
        if "\x1b" not in text:
            assert decode_text(raw, "LO", chosen) == text


@given(
    st.binary(max_size=60),
    st.sampled_from(["PN", "LO", "UI", "CS"]),
    st.lists(st.sampled_from(["", "nonsense", "ISO 2022 IR 87", "GB18030", UTF_8])),
)
def test_decoding_never_raises(raw: bytes, vr: str, charsets: list[str]) -> None:
    assert isinstance(decode_text(raw, vr, charsets), str)


ESCAPES = [b"\x1b$B", b"\x1b(B", b"\x1b(J", b"\x1b$)C", b"\x1b-L", b"\x1b$(D", b"\x1b"]


@given(
    st.lists(st.sampled_from([*ESCAPES, b"^", b"=", b"\\", b"\xb0\xa1", b"A", b"\x80"]))
)
def test_escapes_in_any_order_never_raise(parts: list[bytes]) -> None:
    for charsets in TEXTS:
        decode_text(b"".join(parts), "PN", charsets)


def test_no_texts_and_ascii_need_no_character_set() -> None:
    assert choose_charset([]) == ()
    assert choose_charset(["Doe^Jane"], ("ISO_IR 100",)) == ()


def test_unknown_character_sets() -> None:
    assert not is_known(["ISO_IR 999"])
    assert codec_of("ISO_IR 999") is None
    assert decode_text(b"J\xe9r", "PN", ["ISO_IR 999"]) == "Jér"
    assert encode_text("Jér", "PN", ["ISO_IR 999"]) is None
    assert choose_charset(["Jér"], ("ISO_IR 999",)) == (UTF_8,)


@pytest.mark.parametrize(
    "term", ["iso_ir 100", "ISO-IR 100", "ISO IR 100", " ISO_IR 100"]
)
def test_spellings_of_devices(term: str) -> None:
    assert decode_text(b"\xe9", "LO", [term]) == "é"


def test_what_cannot_be_decoded_is_marked() -> None:
    assert decode_text(b"A\xff", "LO", [UTF_8]) == "A\ufffd"


def test_other_representations_have_no_character_set() -> None:
    assert decode_text("é".encode(), "CS", [UTF_8]) == "Ã©"
    assert encode_text("é", "CS", [UTF_8]) is None


def test_a_backslash_within_a_two_byte_character_ends_no_value() -> None:
    """The second byte of 能 is 0x5C in GBK and Shift JIS (PS3.5 §6.1.2.3)."""
    for charsets in (("GBK",), ("GB18030",)):
        raw = encode_text("誠", "LO", charsets)
        assert raw is not None
        assert decode_text(raw, "LO", charsets) == "誠"
