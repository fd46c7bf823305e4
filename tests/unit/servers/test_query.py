"""C-FIND: what an identifier means, and that answers hold what was asked."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

import pytest

from leadglass.app import Node
from leadglass.archive.caller import Caller
from leadglass.archive.find import Query, Root
from leadglass.audit.builders import Question
from leadglass.audit.codes import EventID, Outcome
from leadglass.audit.search import Search as SearchRecords
from leadglass.dicom.aetitle import AETitle
from leadglass.dicom.attributes import BY_KEYWORD, Level
from leadglass.dicom.dataset import DataSet
from leadglass.dicom.matching import (
    UNIVERSAL,
    Multiple,
    Range,
    Sequence,
    Single,
    UIDList,
    Wildcard,
)
from leadglass.dicom.sop_classes import STUDY_ROOT_FIND
from leadglass.errors import BadData, Unavailable
from leadglass.servers.dimse.query import Asked, BadIdentifier, QueryService
from leadglass.servers.dimse.session import Gone
from leadglass.wire.dimse import CCancelRQ, CEchoRQ, CFindRQ, CFindRSP
from leadglass.wire.negotiation import QueryOptions
from leadglass.wire.status import CANCEL, PENDING, PENDING_WITHOUT_OPTIONAL_KEYS
from tests.unit.servers.conftest import Enrol, Store
from tests.unit.servers.rig import CALLER, Remote, Running, established, session
from tests.unit.wire.rig import FIND_ID

CHARSET, LEVEL, RETRIEVE, AVAILABILITY = 0x00080005, 0x00080052, 0x00080054, 0x00080056
SAID = {LEVEL, RETRIEVE, AVAILABILITY}
REQUEST = CFindRQ(message_id=5, affected_sop_class=STUDY_ROOT_FIND)
TITLE = AETitle("LEADGLASS")


def identifier(level: str | None = "STUDY", **keys: bytes) -> DataSet:
    made = DataSet()
    if level is not None:
        made.set(LEVEL, "CS", level.encode())
    for keyword, value in keys.items():
        attribute = BY_KEYWORD[keyword]
        vr = attribute.vr
        made.set(attribute.tag, vr, () if vr == "SQ" and not value else value)
    return made


def tag(keyword: str) -> int:
    return BY_KEYWORD[keyword].tag


# --- reading -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keyword", "value", "expected"),
    [
        ("PatientID", b"", UNIVERSAL),
        ("PatientID", b"*", UNIVERSAL),
        ("PatientID", b"PAT-1 ", Single("PAT-1")),
        ("PatientID", b"PAT*", Wildcard("PAT*")),
        ("PatientID", b"PAT-?", Wildcard("PAT-?")),
        ("StudyInstanceUID", b"1.2.3\0", UIDList(("1.2.3",))),
        ("StudyInstanceUID", b"1.2.3\\1.2.4", UIDList(("1.2.3", "1.2.4"))),
        ("StudyDate", b"20240131", Range("20240131", "20240131")),
        ("StudyDate", b"20240101-20240131", Range("20240101", "20240131")),
        ("StudyDate", b"20240101-", Range("20240101", None)),
        ("ModalitiesInStudy", b"CT\\MR", Multiple((Single("CT"), Single("MR")))),
    ],
)
def test_every_kind_of_key(keyword: str, value: bytes, expected: object) -> None:
    asked = Asked.read(identifier("STUDY", **{keyword: value}))
    assert asked.keys == {tag(keyword): expected}
    assert set(asked.returned) == {tag(keyword)}
    assert asked.level is Level.STUDY
    assert not asked.has_unknown


def nested(*items: DataSet) -> DataSet:
    made = identifier()
    made.set(tag("RequestAttributesSequence"), "SQ", items)
    return made


def item(value: bytes) -> DataSet:
    made = DataSet()
    made.set(0x0040_0009, "SH", value)
    return made


def test_a_sequence_is_matched_by_its_item() -> None:
    sequence = tag("RequestAttributesSequence")
    asked = Asked.read(nested(item(b"SPS-7 ")))
    assert asked.keys == {sequence: Sequence({0x0040_0009: Single("SPS-7")})}
    for universal in (nested(), nested(item(b"")), nested(DataSet())):
        assert Asked.read(universal).keys == {sequence: UNIVERSAL}


def test_an_unknown_key_is_said_to_be_so() -> None:
    made = identifier(PatientID=b"")
    made.set(0x0009_0010, "LO", b"MAKER ")
    asked = Asked.read(made)
    assert asked.has_unknown
    assert set(asked.returned) == {tag("PatientID"), 0x0009_0010}


def test_what_is_said_of_the_query_is_no_key() -> None:
    made = identifier(PatientID=b"")
    made.set(CHARSET, "CS", b"ISO_IR 100")
    made.set(RETRIEVE, "AE", b"X ")
    made.set(AVAILABILITY, "CS", b"ONLINE")
    made.set(0x0010_0000, "UL", bytes(4))  # group length, of old devices
    asked = Asked.read(made)
    assert set(asked.keys) == set(asked.returned) == {tag("PatientID")}
    assert asked.charsets == ("ISO_IR 100",)
    assert not asked.has_unknown


@pytest.mark.parametrize(
    ("charset", "raw"),
    [
        (b"ISO_IR 100", "Müller".encode("latin-1")),
        (b"ISO_IR 192", "Müller".encode()),
        (b"ISO_IR 144", "Иванов".encode("iso8859-5")),
        (b"\\ISO 2022 IR 87", b"\x1b$B;3ED\x1b(B"),
    ],
)
def test_keys_are_read_in_their_character_set(charset: bytes, raw: bytes) -> None:
    made = identifier(PatientName=raw)
    made.set(CHARSET, "CS", charset)
    match = Asked.read(made).keys[tag("PatientName")]
    assert isinstance(match, Single)
    assert match.value in {"Müller", "Иванов", "山田"}


@pytest.mark.parametrize("level", [None, "", "study", "WORKLIST", "STUDY\\SERIES"])
def test_a_level_that_is_none(level: str | None) -> None:
    made = identifier(level, PatientID=b"")
    if level == "STUDY\\SERIES":
        assert Asked.read(made).level is Level.STUDY  # the first value counts
        return
    with pytest.raises(BadIdentifier) as caught:
        Asked.read(made)
    assert caught.value.dimse_status == 0xA900


@pytest.mark.parametrize("value", [b"31.01.2024-", b"yesterday-today", b"-"])
def test_a_malformed_range_is_no_crash(value: bytes) -> None:
    try:
        asked = Asked.read(identifier(StudyDate=value))
    except BadData:
        return
    assert set(asked.keys) == {tag("StudyDate")}


# --- answering -----------------------------------------------------------------


def ask(
    service: QueryService, made: DataSet | bytes, caller: Caller
) -> tuple[list[tuple[CFindRSP, DataSet]], CFindRSP]:
    """Return the pending answers, and the last."""
    raw = made if isinstance(made, bytes) else made.encode()
    with established() as (connection, remote):
        served = Running(session(connection, {CFindRQ: service}, caller=caller).run)
        remote.say(FIND_ID, REQUEST, raw)
        answers = []
        while True:
            message, data = remote.hear()
            assert isinstance(message, CFindRSP)
            if not message.has_data_set:
                break
            answers.append((message, DataSet.decode(data)))
        remote.release()
        served.result()
    return answers, message


@pytest.fixture
def service(node: Node) -> QueryService:
    return QueryService(node.find, TITLE)


@pytest.fixture
def asker(enrol: Enrol) -> Caller:
    return enrol("ws1", "find")


def test_an_answer_holds_what_was_asked_and_no_more(
    service: QueryService, asker: Caller, store: Store
) -> None:
    store(1)
    store(2, study="1.2.3.2", PatientID="PAT-2", PatientName="Doe^Jane")
    made = identifier(
        PatientID=b"PAT-1 ",
        PatientName=b"",
        StudyInstanceUID=b"",
        ReferringPhysicianName=b"",
        NumberOfStudyRelatedInstances=b"",
        ProcedureCodeSequence=b"",
    )
    [(response, answer)], last = ask(service, made, asker)
    assert response.status == PENDING
    assert last.status == 0
    assert set(answer.elements) == set(made.elements) | SAID | {CHARSET}
    assert answer.text(tag("PatientName")) == "Müller^Zoë"
    assert answer.text(tag("StudyInstanceUID")) == "1.2.3.1"
    assert answer.text(tag("NumberOfStudyRelatedInstances")) == "1"
    assert answer.text(tag("ReferringPhysicianName")) is None
    assert answer.elements[tag("ProcedureCodeSequence")].value == ()
    assert answer.text(LEVEL) == "STUDY"
    assert answer.text(RETRIEVE) == "LEADGLASS"
    assert answer.text(AVAILABILITY) == "ONLINE"


@pytest.mark.parametrize(
    ("asked_in", "answered_in"),
    [(b"ISO_IR 100", "ISO_IR 100"), (b"ISO_IR 144", "ISO_IR 192")],
)
def test_answers_are_in_the_character_set_of_the_asker_if_it_can_hold_them(
    service: QueryService,
    asker: Caller,
    store: Store,
    asked_in: bytes,
    answered_in: str,
) -> None:
    store(1)
    made = identifier(PatientName=b"")
    made.set(CHARSET, "CS", asked_in)
    [(_, answer)], _ = ask(service, made, asker)
    assert answer.text(CHARSET) == answered_in
    assert answer.text(tag("PatientName")) == "Müller^Zoë"


def test_plain_answers_need_no_character_set(
    service: QueryService, asker: Caller, store: Store
) -> None:
    store(1, PatientName="Doe^Jane")
    [(_, answer)], _ = ask(service, identifier(PatientName=b""), asker)
    assert CHARSET not in answer.elements


def test_unknown_keys_come_back_empty_and_do_not_restrict(
    service: QueryService, asker: Caller, store: Store
) -> None:
    store(1)
    made = identifier(PatientID=b"")
    made.set(0x0009_1001, "LO", b"NOTHING HAS THIS")
    [(response, answer)], last = ask(service, made, asker)
    assert response.status == PENDING_WITHOUT_OPTIONAL_KEYS
    assert answer.elements[0x0009_1001].value == b""
    assert last.status == 0


def test_a_sequence_restricts_and_comes_back(
    service: QueryService, asker: Caller, store: Store
) -> None:
    store(1)
    for value, expected in ((b"SPS-7 ", 1), (b"SPS-8 ", 0)):
        made = nested(item(value))
        made.set(LEVEL, "CS", b"SERIES")
        made.set(tag("StudyInstanceUID"), "UI", b"1.2.3.1\0")
        answers, _ = ask(service, made, asker)
        assert len(answers) == expected
        for _, answer in answers:
            [found] = answer.items(tag("RequestAttributesSequence"))
            assert found.text(0x0040_0009) == "SPS-7"


@pytest.mark.parametrize(
    "element",
    [
        (0x0010_0020, "SQ", (item(b"x"),)),  # text that is sent as a sequence
        (0x0040_0275, "LO", b"x"),  # a sequence that is sent as text
        (0x0028_0010, "US", b"\x08\x00"),
        (0x0028_0010, "US", b"\x08"),
        (0x7FE0_0010, "OW", bytes(4)),
        (0x0020_000D, "UI", b"not a uid"),
        (0x0010_0010, "PN", b"*" * 1000),
        (0x0008_0020, "DA", b"\xff\xfe-\xff"),
    ],
)
def test_elements_that_are_not_what_they_should_be_end_no_association(
    service: QueryService,
    asker: Caller,
    store: Store,
    element: tuple[int, str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    store(1)
    made = identifier()
    made.set(*element)
    ask(service, made, asker)
    assert "internal" not in caplog.text
    assert not [each for each in caplog.records if each.exc_info]


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"\x10\x00\x20", 0xC000),
        (identifier(None, PatientID=b"").encode(), 0xA900),
        (b"", 0xA900),
        (identifier("PATIENT", PatientID=b"").encode(), 0xA900),
        (identifier("IMAGE", SOPInstanceUID=b"").encode(), 0xA900),
    ],
)
def test_what_is_no_question_is_told_and_recorded(
    service: QueryService, asker: Caller, node: Node, raw: bytes, status: int
) -> None:
    answers, last = ask(service, raw or DataSet().encode(), asker)
    assert answers == []
    assert last.status == status
    [recorded] = node.audit.list(SearchRecords(event=EventID.QUERY))
    assert recorded.event.outcome is Outcome.MINOR_FAILURE
    assert recorded.event.participants[0].user_id == asker.subject.name
    assert recorded.event.objects[0].query == raw
    assert recorded.event.returned == ()


def test_who_may_not_ask_learns_nothing_of_its_question(
    service: QueryService, enrol: Enrol, node: Node
) -> None:
    _, last = ask(service, b"\x10\x00\x20", enrol("ct1", "store"))
    assert (last.status, last.error_comment) == (0x0124, "not authorized")
    assert not list(node.audit.list(SearchRecords(event=EventID.QUERY)))


def test_who_may_not_ask_is_told_so(service: QueryService, enrol: Enrol) -> None:
    answers, last = ask(service, identifier(PatientID=b""), enrol("ct1", "store"))
    assert answers == []
    assert (last.status, last.error_comment) == (0x0124, "not authorized")


# --- in the middle ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    json: dict[str, Any]


@dataclass
class EndlessFind:
    """Answers for ever, or until it fails."""

    fail_after: int | None = None
    queries: list[Query] = field(default_factory=list)

    def __call__(
        self, caller: Caller, query: Query, question: Question
    ) -> Iterator[Row]:
        self.queries.append(query)
        row = Row({"00100020": {"vr": "LO", "Value": ["PAT-1" * 10]}})
        if self.fail_after is None:
            yield from repeat(row)
        yield from repeat(row, self.fail_after or 0)
        raise Unavailable("too many answers")


def endless(find: EndlessFind) -> QueryService:
    return QueryService(find, TITLE)  # type: ignore[arg-type]


def test_a_query_that_fails_late_says_so_after_its_answers() -> None:
    made = identifier(PatientID=b"")
    answers, last = ask(endless(EndlessFind(fail_after=33)), made, CALLER)
    assert len(answers) == 33
    assert last.status == 0xA700


def test_a_cancel_ends_the_answers() -> None:
    with established() as (connection, remote):
        service = endless(EndlessFind())
        served = Running(session(connection, {CFindRQ: service}).run)
        remote.say(FIND_ID, REQUEST, identifier(PatientID=b"").encode())
        remote.hear()
        remote.say(FIND_ID, CCancelRQ(responds_to=REQUEST.message_id))
        while (message := remote.hear()[0]) == pending():
            pass
        assert message == REQUEST.response(CANCEL)
        remote.release()
        served.result()


def pending() -> CFindRSP:
    return REQUEST.response(PENDING, has_data_set=True)


@pytest.mark.parametrize("kind", ["second operation", "garbage", "left"])
def test_a_broken_protocol_in_the_middle_is_nobody_to_answer(kind: str) -> None:
    with established() as (connection, remote):
        service = endless(EndlessFind())
        served = Running(session(connection, {CFindRQ: service}).run)
        remote.say(FIND_ID, REQUEST, identifier(PatientID=b"").encode())
        remote.hear()
        if kind == "second operation":
            echo = CEchoRQ(message_id=6, affected_sop_class=STUDY_ROOT_FIND)
            remote.say(FIND_ID, echo)
        elif kind == "garbage":
            remote.send(b"\x99garbage")
        remote.leave()
        drain(remote, served)
        with pytest.raises(Gone):
            served.result()


def drain(remote: Remote, served: Running) -> None:
    """Read on, or it waits for room to write."""
    while served.is_alive():
        remote.sock.settimeout(0.05)
        try:
            while remote.sock.recv(1 << 20):
                pass
        except TimeoutError:
            pass


@pytest.mark.parametrize("relational", [True, False])
def test_what_was_negotiated_is_what_is_asked(relational: bool) -> None:
    agreed = QueryOptions(relational=relational, combined_datetime=not relational)
    find = EndlessFind(fail_after=0)
    with established() as (connection, remote):
        extended = {STUDY_ROOT_FIND: agreed.encode_find()}
        remote.say(FIND_ID, REQUEST, identifier(PatientID=b"").encode())
        remote.release()
        session(connection, {CFindRQ: endless(find)}, extended).run()
    [query] = find.queries
    assert query.root is Root.STUDY
    assert (query.relational, query.combined_datetime) == (relational, not relational)
    assert query.scopes == ()  # the use case puts in the caller's
