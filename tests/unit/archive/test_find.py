"""Asking: who may, how much is told, and that it is on the record first."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from leadglass.access.policy import Rule
from leadglass.access.rights import Right
from leadglass.access.scopes import EVERYTHING, Scope
from leadglass.archive import find as find_module
from leadglass.archive.caller import Caller
from leadglass.archive.find import Find, Query, Row, TooManyAnswers
from leadglass.archive.ingest import Ingest
from leadglass.archive.parts import Parts
from leadglass.audit.builders import Question
from leadglass.audit.codes import EventID, Outcome
from leadglass.audit.events import Event
from leadglass.dicom.attributes import BY_KEYWORD, Level
from leadglass.dicom.matching import Single
from leadglass.errors import Refused, Unavailable
from tests.unit.archive.conftest import OPERATOR, Home, Rules, make_instance
from tests.unit.archive.rig import alerts, events, on, quiet_disk, send

QUESTION = Question("1.2.840.10008.5.1.4.1.2.2.1", b"asked", "1.2.840.10008.1.2")
STUDIES = Query(level=Level.STUDY, keys={}, scopes=(EVERYTHING,))
COUNT = 5


@pytest.fixture
def find(parts: Parts) -> Find:
    return Find(parts, result_count_max=COUNT)


@pytest.fixture(autouse=True)
def five(ingest: Ingest) -> None:
    for number in range(COUNT):
        modality = "MR" if number else "CT"
        send(
            ingest,
            make_instance(
                study=f"1.2.3.{number}", patient=f"P{number}", Modality=modality
            ),
        )


def told(rows: Iterator[Row]) -> set[str | None]:
    return {row.uids.study_uid for row in rows}


def queries(home: Home) -> list[Event]:
    return events(home, EventID.QUERY)


def test_everything_is_told_and_on_the_record(home: Home, find: Find) -> None:
    assert told(find(OPERATOR, STUDIES, QUESTION)) == {
        f"1.2.3.{number}" for number in range(COUNT)
    }
    (event,) = queries(home)
    assert event.outcome is Outcome.SUCCESS
    assert event.objects[0].query == b"asked"
    assert {(each.patient_id, *each.studies) for each in event.returned} == {
        (f"P{number}", f"1.2.3.{number}") for number in range(COUNT)
    }


def test_that_nothing_was_found_is_on_the_record(home: Home, find: Find) -> None:
    keys = {BY_KEYWORD["PatientID"].tag: Single("nobody")}
    assert told(find(OPERATOR, replace(STUDIES, keys=keys), QUESTION)) == set()
    (event,) = queries(home)
    assert (event.returned, event.details["answers"]) == ((), "0")


def test_an_answer_leaves_after_its_record(
    home: Home, find: Find, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find_module, "_ANSWERS_PER_RECORD", 2)
    answers = find(OPERATOR, STUDIES, QUESTION)
    recorded: set[str] = set()
    for row in answers:
        for event in queries(home):
            for each in event.returned:
                recorded.update(each.studies)
        assert row.uids.study_uid in recorded
    assert [event.details["answers"] for event in queries(home)] == ["2", "2", "1"]


def test_whoever_stops_listening_was_told_no_more_than_is_recorded(
    home: Home, find: Find, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find_module, "_ANSWERS_PER_RECORD", 2)
    answers = find(OPERATOR, STUDIES, QUESTION)
    next(answers)
    answers.close()  # type: ignore[attr-defined]
    (event,) = queries(home)
    assert event.details["answers"] == "2"


@pytest.mark.parametrize(
    ("limit", "count"), [(None, COUNT), (2, 2), (COUNT, COUNT), (COUNT + 9, COUNT)]
)
def test_a_limit_of_the_question(find: Find, limit: int | None, count: int) -> None:
    query = replace(STUDIES, limit=limit)
    assert len(told(find(OPERATOR, query, QUESTION))) == count


@pytest.mark.parametrize("per_record", [500, 2])
def test_too_many_answers(
    home: Home, parts: Parts, monkeypatch: pytest.MonkeyPatch, per_record: int
) -> None:
    monkeypatch.setattr(find_module, "_ANSWERS_PER_RECORD", per_record)
    few = Find(parts, result_count_max=COUNT - 1)
    heard: list[Row] = []
    with pytest.raises(TooManyAnswers) as caught:
        heard.extend(few(OPERATOR, STUDIES, QUESTION))
    assert caught.value.dimse_status == 0xA700
    last = queries(home)[-1]
    assert last.outcome is Outcome.MINOR_FAILURE
    assert last.details["told"] == str(len(heard))
    assert len(heard) == (0 if per_record == 500 else COUNT - 1)


def test_who_may_not(home: Home, find: Find, stranger: Caller) -> None:
    with pytest.raises(Refused, match=r"^not authorized$"):
        next(find(stranger, STUDIES, QUESTION))
    assert alerts(home)[-1][0] == "110132"
    assert not queries(home)


def test_scopes_are_the_callers_whatever_the_query_brings(
    rules: Rules, find: Find
) -> None:
    rules.rules = tuple(
        Rule(
            name=scope,
            subjects=frozenset({OPERATOR.subject}),
            rights=frozenset({Right.FIND}),
            networks=(),
            scope=Scope.parse(scope),
        )
        for scope in ("modality=CT", "patient_id=P3")
    )
    assert told(find(OPERATOR, STUDIES, QUESTION)) == {"1.2.3.0", "1.2.3.3"}


def test_what_cannot_be_recorded_is_not_told(home: Home) -> None:
    with on(home, quiet_disk()) as rig:
        rig.database.fail_before = 2
        with pytest.raises(Unavailable):
            next(Find(rig.parts, COUNT)(OPERATOR, STUDIES, QUESTION))
        assert rig.database.fail_before == 0  # that it failed could not be, either
    assert not queries(home)


def test_a_page_tells_and_records_no_more_than_itself(home: Home, find: Find) -> None:
    page = find.page(OPERATOR, replace(STUDIES, limit=2, offset=1), QUESTION)
    given = told(page.rows)
    assert (len(given), page.has_more) == (2, True)
    (event,) = queries(home)
    hidden = {f"1.2.3.{number}" for number in range(COUNT)} - given
    assert all(uid in repr(event) for uid in given if uid)
    assert not any(f"'{uid}'" in repr(event) for uid in hidden)


def test_the_last_page_has_no_more(home: Home, find: Find) -> None:
    page = find.page(OPERATOR, replace(STUDIES, limit=COUNT), QUESTION)
    assert (len(told(page.rows)), page.has_more) == (COUNT, False)
    behind = find.page(OPERATOR, replace(STUDIES, offset=COUNT), QUESTION)
    assert (told(behind.rows), behind.has_more) == (set(), False)
    assert len(queries(home)) == 2


def test_a_page_is_never_longer_than_this_node_tells(parts: Parts) -> None:
    find = Find(parts, result_count_max=3)
    page = find.page(OPERATOR, replace(STUDIES, limit=100), QUESTION)
    assert (len(told(page.rows)), page.has_more) == (3, True)
