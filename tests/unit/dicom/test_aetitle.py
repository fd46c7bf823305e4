"""Application entity titles."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadglass.dicom.aetitle import FIELD_BYTES, AETitle
from leadglass.errors import PeerError


@pytest.mark.parametrize("text", ["A", "STORE SCP", "x" * FIELD_BYTES, "a=b/c.d"])
def test_round_trip(text: str) -> None:
    field = AETitle(text).encode()
    assert len(field) == FIELD_BYTES
    assert AETitle.decode(field) == AETitle(text)
    assert str(AETitle(text)) == text


@pytest.mark.parametrize(
    "text", ["", " ", " A", "A ", "A\\B", "A\nB", "Ä", "A\x7f", "x" * (FIELD_BYTES + 1)]
)
def test_invalid(text: str) -> None:
    with pytest.raises(PeerError):
        AETitle(text)


@given(st.binary(min_size=FIELD_BYTES, max_size=FIELD_BYTES))
def test_any_field_is_one_or_the_peers_error(field: bytes) -> None:
    try:
        title = AETitle.decode(field)
    except PeerError:
        return
    assert AETitle.decode(title.encode()) == title
