"""The table of attributes, against the dictionary of PS3.6 and the keys of PS3.4."""

import pytest
from pydicom._dicom_dict import DicomDictionary

from leadglass.dicom.attributes import (
    ATTRIBUTES,
    BY_KEYWORD,
    BY_LEVEL,
    BY_TAG,
    Attribute,
    Level,
)

# Where the dictionary leaves a choice, ours.
CHOICES: dict[str, set[str]] = {"US or SS": {"US"}, "OB or OW": {"OW"}}

# Required and unique keys (PS3.4 §C.6.1.1.2–5, §C.6.2.1.2–4).
REQUIRED = {
    Level.PATIENT: {"PatientName", "PatientID"},
    Level.STUDY: {
        "StudyDate",
        "StudyTime",
        "AccessionNumber",
        "StudyID",
        "StudyInstanceUID",
    },
    Level.SERIES: {"Modality", "SeriesNumber", "SeriesInstanceUID"},
    Level.IMAGE: {"InstanceNumber", "SOPInstanceUID"},
}


@pytest.mark.parametrize("attribute", ATTRIBUTES, ids=lambda each: each.keyword)
def test_row_is_the_dictionarys(attribute: Attribute) -> None:
    vr, _, _, _, keyword = DicomDictionary[attribute.tag]
    assert attribute.keyword == keyword
    assert attribute.vr in CHOICES.get(vr, {vr})
    assert attribute.hex == f"{attribute.tag:08X}"


def test_views_hold_every_row_once() -> None:
    assert len(BY_TAG) == len(BY_KEYWORD) == len(ATTRIBUTES)
    assert sum(len(rows) for rows in BY_LEVEL.values()) == len(ATTRIBUTES)


@pytest.mark.parametrize("level", Level)
def test_required_keys_have_columns(level: Level) -> None:
    columns = {each.keyword for each in BY_LEVEL[level] if each.indexed}
    assert columns >= REQUIRED[level]


def test_what_is_computed_has_no_column_from_a_file() -> None:
    computed = {each.keyword for each in ATTRIBUTES if each.computed}
    assert computed >= {"ModalitiesInStudy", "NumberOfStudyRelatedInstances"}
    assert not any(each.indexed for each in ATTRIBUTES if each.computed)


@pytest.mark.parametrize(("tag", "vr"), [(0, "LO"), (2**32, "LO"), (1, "LONG")])
def test_rows_check_themselves(tag: int, vr: str) -> None:
    with pytest.raises(ValueError, match="an attribute has"):
        Attribute(tag, "Wrong", vr, Level.STUDY)
