"""The table of transfer syntaxes, against the one of PS3.6."""

import pytest
from pydicom._uid_dict import UID_dictionary

from leadglass.dicom.transfer_syntaxes import (
    DEFLATED_EXPLICIT_VR_LE,
    EXPLICIT_VR_BE,
    IMPLICIT_VR_LE,
    TRANSFER_SYNTAXES,
    UNCOMPRESSED,
)
from leadglass.dicom.uids import UID

_LINK = "pixel data is a link to elsewhere, which nobody can keep or prove"
_HIERARCHICAL = "hierarchical JPEG: retired in 2004, no decoder, never met"
_STREAM = "real-time video over RTP: there is no data set to store"
_TEXT = "retired: not the encoding of a data set"

LEFT_OUT = {
    "1.2.840.10008.1.2.4.59": _HIERARCHICAL,
    "1.2.840.10008.1.2.4.60": _HIERARCHICAL,
    "1.2.840.10008.1.2.4.61": _HIERARCHICAL,
    "1.2.840.10008.1.2.4.62": _HIERARCHICAL,
    "1.2.840.10008.1.2.4.63": _HIERARCHICAL,
    "1.2.840.10008.1.2.4.64": _HIERARCHICAL,
    "1.2.840.10008.1.2.4.65": _HIERARCHICAL,
    "1.2.840.10008.1.2.4.66": _HIERARCHICAL,
    "1.2.840.10008.1.2.4.94": _LINK,
    "1.2.840.10008.1.2.4.95": _LINK,
    "1.2.840.10008.1.2.4.204": _LINK,
    "1.2.840.10008.1.2.4.205": _LINK,
    "1.2.840.10008.1.2.6.1": _TEXT,
    "1.2.840.10008.1.2.6.2": _TEXT,
    "1.2.840.10008.1.2.7.1": _STREAM,
    "1.2.840.10008.1.2.7.2": _STREAM,
    "1.2.840.10008.1.2.7.3": _STREAM,
    "1.2.840.10008.1.20": "retired: Papyrus 3, a file format of its own",
}
# Of later editions of the standard than pydicom's table, unless another test has
# taught it (``pydicom.uid.register_transfer_syntax``).
NEWER = {
    "1.2.840.10008.1.2.4.110",
    "1.2.840.10008.1.2.4.111",
    "1.2.840.10008.1.2.4.112",
    "1.2.840.10008.1.2.8.1",
}
STANDARD = {
    uid for uid, (_, kind, *_) in UID_dictionary.items() if kind == "Transfer Syntax"
}


def test_every_one_of_the_standard_is_in_the_table_or_left_out_for_a_reason() -> None:
    assert set(TRANSFER_SYNTAXES) - NEWER == STANDARD - NEWER - LEFT_OUT.keys()
    assert LEFT_OUT.keys() <= STANDARD


@pytest.mark.parametrize("uid", TRANSFER_SYNTAXES)
def test_rows_are_consistent(uid: UID) -> None:
    row = TRANSFER_SYNTAXES[uid]
    assert row.uid == uid
    assert row.implicit_vr == (uid == IMPLICIT_VR_LE)
    assert row.little_endian == (uid != EXPLICIT_VR_BE)
    assert row.deflated == (uid == DEFLATED_EXPLICIT_VR_LE)
    native = {*UNCOMPRESSED, DEFLATED_EXPLICIT_VR_LE}
    assert row.encapsulated == (uid not in native)


def test_names_are_distinct() -> None:
    names = [row.name for row in TRANSFER_SYNTAXES.values()]
    assert len(set(names)) == len(names)
