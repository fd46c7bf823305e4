"""UIDs: what is one, and what is drawn."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadglass.dicom.uids import IMPLEMENTATION_CLASS_UID, LENGTH_MAX, UID, new_uid
from leadglass.errors import BadData


@pytest.mark.parametrize("text", ["1", "1.2.840.10008.1.1", "1.02.3", "2" * LENGTH_MAX])
def test_valid(text: str) -> None:
    assert UID(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "1.2.a",
        "1.2\n",
        "1 2",
        "1.2\\1.3",
        "1" * (LENGTH_MAX + 1),
        "\u0661.\u0662",
        "../1",
    ],
)
def test_invalid(text: str) -> None:
    with pytest.raises(BadData) as error:
        UID(text)
    assert text.strip() == "" or text not in str(error.value)


@pytest.mark.parametrize("field", [b"1.2\0", b"1.2 ", b"1.2", b" 1.2\0\0"])
def test_padding_is_no_part_of_it(field: bytes) -> None:
    assert UID.decode(field) == "1.2"


@given(st.binary(max_size=80))
def test_any_field_is_one_or_bad_data(field: bytes) -> None:
    try:
        uid = UID.decode(field)
    except BadData:
        return
    assert set(uid) <= set("0123456789.")
    assert 1 <= len(uid) <= LENGTH_MAX


def test_new_ones_differ_and_are_valid() -> None:
    drawn = {new_uid() for _ in range(100)}
    assert len(drawn) == 100
    assert all(UID(uid).startswith("2.25.") for uid in drawn)
    assert IMPLEMENTATION_CLASS_UID.startswith("2.25.")
