import pytest

from leadglass.access.scopes import EVERYTHING
from leadglass.dicom.attributes import Level
from leadglass.dicom.matching import UNIVERSAL, UIDList
from leadglass.errors import BadData
from leadglass.index.query import KEYS_MAX, VALUES_MAX, Query, Root, Selection
from tests.unit.index.samples import keys

ALL = (EVERYTHING,)


@pytest.mark.parametrize(
    ("root", "level", "asked"),
    [
        (Root.STUDY, Level.STUDY, {}),
        (Root.STUDY, Level.SERIES, {"StudyInstanceUID": "1"}),
        (Root.STUDY, Level.IMAGE, {"StudyInstanceUID": "1", "SeriesInstanceUID": "2"}),
        (Root.PATIENT, Level.PATIENT, {}),
        (Root.PATIENT, Level.STUDY, {"PatientID": "P1"}),
        (Root.PATIENT, Level.SERIES, {"PatientID": "P1", "StudyInstanceUID": "1"}),
    ],
)
def test_a_hierarchical_query_names_one_thing_of_each_level_above(
    root: Root, level: Level, asked: dict[str, str]
) -> None:
    whole = keys(**asked)
    Query(level=level, keys=whole, scopes=ALL, root=root)
    for tag in whole:
        for other in ({}, {tag: UNIVERSAL}, {tag: UIDList(("1", "2"))}):
            less = {each: match for each, match in whole.items() if each != tag} | other
            with pytest.raises(BadData, match="no single unique key"):
                Query(level=level, keys=less, scopes=ALL, root=root)
            Query(level=level, keys=less, scopes=ALL, root=root, relational=True)


def test_the_study_root_has_no_patient_level() -> None:
    with pytest.raises(BadData, match="no patient level"):
        Query(level=Level.PATIENT, keys={}, scopes=ALL, relational=True)


def test_keys_are_bounded() -> None:
    many = dict.fromkeys(range(KEYS_MAX + 1), UNIVERSAL)
    with pytest.raises(BadData, match="keys"):
        Query(level=Level.STUDY, keys=many, scopes=ALL)


def test_values_are_bounded() -> None:
    many = keys(
        StudyInstanceUID=UIDList(("1.2",) * VALUES_MAX),
        SeriesInstanceUID=UIDList(("1.2",)),
    )
    with pytest.raises(BadData, match="values"):
        Query(level=Level.STUDY, keys=many, scopes=ALL)


@pytest.mark.parametrize(("limit", "offset"), [(-1, 0), (None, -1)])
def test_less_than_no_rows_is_no_question(limit: int | None, offset: int) -> None:
    with pytest.raises(BadData):
        Query(level=Level.STUDY, keys={}, scopes=ALL, limit=limit, offset=offset)


@pytest.mark.parametrize(
    ("level", "given"),
    [
        (Level.PATIENT, {"study_uids": ("1",)}),
        (Level.STUDY, {"patient_ids": ("P1",)}),
        (Level.SERIES, {"study_uids": ("1",)}),
        (Level.IMAGE, {"study_uids": ("1",), "series_uids": ("2",)}),
        (Level.STUDY, {"study_uids": ("",)}),
    ],
)
def test_a_selection_names_something_of_its_level(
    level: Level, given: dict[str, tuple[str, ...]]
) -> None:
    with pytest.raises(BadData, match="no unique key"):
        Selection(level=level, **given)


def test_a_selection_is_bounded() -> None:
    with pytest.raises(BadData, match="more than"):
        Selection(level=Level.STUDY, study_uids=("1",) * (VALUES_MAX + 1))
