"""C-FIND end to end: matching after PS3.4 §C.2.2.2, character sets, statuses."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.data import get_charset_files
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from leadglass.dicom.sop_classes import PATIENT_ROOT_FIND, STUDY_ROOT_FIND
from leadglass.dicom.transfer_syntaxes import (
    DEFLATED_EXPLICIT_VR_LE,
    EXPLICIT_VR_LE,
    IMPLICIT_VR_LE,
)
from leadglass.dicom.uids import UID
from leadglass.wire.dimse import CCancelRQ, CFindRQ, CFindRSP
from leadglass.wire.pdus import ExtendedNegotiation
from tests.peers import samples
from tests.peers.client import Client, Told, associated, encoded, identifier
from tests.peers.nodes import is_told, made, serving
from tests.support.node import Credentials, RunningNode

pytestmark = pytest.mark.filterwarnings("ignore")

SUCCESS, PENDING, PENDING_WITHOUT_KEYS = 0x0000, 0xFF00, 0xFF01
NOT_AUTHORIZED, OUT_OF_RESOURCES = 0x0124, 0xA700
DOES_NOT_MATCH, CANCELLED, UNABLE = 0xA900, 0xFE00, 0xC000
RESULTS_MAX = 12


def item(**values: Any) -> Any:
    data_set = Dataset()
    for keyword, value in values.items():
        setattr(data_set, keyword, value)
    return data_set


def code(value: str) -> Any:
    return item(CodeValue=value, CodingSchemeDesignator="SCT", CodeMeaning="m")


# One study each, named by the key.
STUDIES: dict[str, list[Any]] = {
    "ct": samples.study(
        2,
        PatientID="1001",
        PatientName="Müller^Jürgen",
        PatientBirthDate="19700101",
        StudyDate="20240228",
        StudyTime="235900",
        AccessionNumber="ACC-1",
        StudyDescription="Thorax",
        ReferringPhysicianName="Bell^Joseph",
        SeriesDescription="lung",
        BodyPartExamined="CHEST",
        InstitutionName="North",
        ProcedureCodeSequence=Sequence([code("169069000")]),
        RequestAttributesSequence=Sequence(
            [item(RequestedProcedureID="RP1", ScheduledProcedureStepID="SPS1")]
        ),
    ),
    "mr": samples.study(
        3,
        PatientID="1002",
        PatientName="Yamada^Tarou=山田^太郎=やまだ^たろう",
        SpecificCharacterSet="ISO_IR 192",
        StudyDate="20240229",
        StudyTime="000100",
        AccessionNumber="ACC-2",
        Modality="MR",
        StudyDescription="Head [plain]",
        InstitutionName="South",
        ProcedureCodeSequence=Sequence([code("816077007")]),
    ),
    "us": samples.study(
        1,
        PatientID="1003",
        PatientName="O'Neil^Zoë",
        StudyDate="20240301",
        StudyTime="120000.5",
        AccessionNumber="acc-3",
        Modality="US",
        StudyDescription="100% *real*",
    ),
}
# Two more series of one study: what a study has of both.
STUDIES["ct"] += samples.study(
    1,
    **{
        each.keyword: each.value
        for each in STUDIES["ct"][0]
        if each.keyword in {"PatientID", "PatientName", "StudyInstanceUID"}
    },
    StudyDate="20240228",
    StudyTime="235900",
    Modality="SR",
    SeriesNumber=2,
)
ALL = set(STUDIES)
UIDS = {study[0].StudyInstanceUID: name for name, study in STUDIES.items()}
CT, MR = STUDIES["ct"], STUDIES["mr"]


@dataclass
class Site:
    """A node with these studies, and two workstations."""

    node: RunningNode
    station: Credentials
    many: Credentials

    def ask(self, question: Any, model: UID = STUDY_ROOT_FIND) -> Told:
        with associated(self.node, self.station) as client:
            return client.find(question, model)

    def studies(self, **keys: Any) -> set[str]:
        """Return the names of the studies that match."""
        keys = {"StudyInstanceUID": ""} | keys
        told = self.ask(identifier("STUDY", **keys))
        assert told.status == SUCCESS
        return {UIDS[each] for each in told.values("StudyInstanceUID")}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    node = made(
        tmp_path_factory.mktemp("queries") / "node",
        find__result_count_max=str(RESULTS_MAX),
    )
    sender = node.enrol("SENDER", may=["store"])
    everything = ",".join(sorted(["CT", "MR", "US", "SR"]))
    station = node.enrol("STATION", scope=f"modality={everything}")
    many = node.enrol("MANY")
    with serving(node):
        with associated(node, sender, [(UID(samples.CT), (EXPLICIT_VR_LE,))]) as client:
            for study in STUDIES.values():
                for each in study:
                    assert client.store_data_set(each).status == 0
            for each in samples.study(RESULTS_MAX + 5, Modality="OT", PatientID="MANY"):
                assert client.store_data_set(each).status == 0
        yield Site(node, station, many)


# --- matching -------------------------------------------------------------------------

MATCHING: dict[str, tuple[dict[str, Any], set[str]]] = {
    "universal": ({"PatientID": ""}, ALL),
    "a star is universal": ({"PatientName": "*"}, ALL),
    "single value": ({"PatientID": "1001"}, {"ct"}),
    "single value, no match": ({"PatientID": "100"}, set()),
    "single value, case": ({"AccessionNumber": "ACC-3"}, set()),
    "list of UID": (
        {"StudyInstanceUID": [CT[0].StudyInstanceUID, MR[0].StudyInstanceUID]},
        {"ct", "mr"},
    ),
    "wildcard star": ({"PatientID": "10*"}, ALL),
    "wildcard in the middle": ({"AccessionNumber": "A*-1"}, {"ct"}),
    "wildcard question mark": ({"PatientID": "100?"}, ALL),
    "wildcard, one sign each": ({"PatientID": "10?"}, set()),
    "brackets are no wildcard": ({"StudyDescription": "Head [plain]"}, {"mr"}),
    "brackets with a wildcard": ({"StudyDescription": "*[plain]"}, {"mr"}),
    "percent is no wildcard": ({"StudyDescription": "%"}, set()),
    "percent with a wildcard": ({"StudyDescription": "100%*"}, {"us"}),
    "underline is no wildcard": ({"PatientID": "100_"}, set()),
    "quotes end nothing": ({"PatientID": "' OR '1'='1"}, set()),
    "multiple values": ({"AccessionNumber": ["ACC-1", "acc-3"]}, {"ct", "us"}),
    "modalities of a study": ({"ModalitiesInStudy": "SR"}, {"ct"}),
    "several modalities": ({"ModalitiesInStudy": ["US", "MR"]}, {"us", "mr"}),
    "SOP classes of a study": ({"SOPClassesInStudy": samples.CT}, ALL),
    "date": ({"StudyDate": "20240229"}, {"mr"}),
    "range of dates": ({"StudyDate": "20240229-20240301"}, {"mr", "us"}),
    "dates from": ({"StudyDate": "20240229-"}, {"mr", "us"}),
    "dates until": ({"StudyDate": "-20240228"}, {"ct"}),
    "range of times": ({"StudyTime": "1200-1201"}, {"us"}),
    "times until": ({"StudyTime": "-0100"}, {"mr"}),
    "time of less precision": ({"StudyTime": "12"}, {"us"}),
    "date and time, each alone": (
        {"StudyDate": "20240228-20240229", "StudyTime": "2300-2359"},
        {"ct"},
    ),
    "sequence": (
        {"ProcedureCodeSequence": Sequence([item(CodeValue="169069000")])},
        {"ct"},
    ),
    "sequence, two keys of one item": (
        {
            "ProcedureCodeSequence": Sequence(
                [item(CodeValue="169069000", CodingSchemeDesignator="DCM")]
            )
        },
        set(),
    ),
    "name": ({"PatientName": "Müller^Jürgen"}, {"ct"}),
    "name without accents": ({"PatientName": "muller^jurgen"}, {"ct"}),
    "name in capitals": ({"PatientName": "MÜLLER^JÜRGEN"}, {"ct"}),
    "part of a name": ({"PatientName": "mull*"}, {"ct"}),
    "accents in the key alone": ({"PatientName": "Óneil*"}, set()),
    "name with an apostrophe": ({"PatientName": "o'neil^zoe"}, {"us"}),
    "alphabetic group": ({"PatientName": "yamada*"}, {"mr"}),
    "ideographic group": ({"PatientName": "=山田^太郎"}, {"mr"}),
    "phonetic group": ({"PatientName": "==やまだ*"}, {"mr"}),
    "physician": ({"ReferringPhysicianName": "BELL*"}, {"ct"}),
    "two keys": ({"PatientID": "100?", "ModalitiesInStudy": "MR"}, {"mr"}),
}


@pytest.mark.parametrize("case", MATCHING)
def test_matching(site: Site, case: str) -> None:
    keys, expected = MATCHING[case]
    assert site.studies(SpecificCharacterSet="ISO_IR 192", **keys) == expected


@pytest.mark.parametrize(
    ("date", "time", "expected"),
    [
        ("20240228-20240229", "2300-0030", {"ct", "mr"}),
        ("20240229-20240301", "0030-1130", set()),
        ("20240229-20240301", "0030-1230", {"us"}),
        ("20240228-", "2359-", {"ct", "mr", "us"}),
    ],
)
def test_date_and_time_combined(
    site: Site, date: str, time: str, expected: set[str]
) -> None:
    """Agreed on by extended negotiation (PS3.4 §C.2.2.2.5.3)."""
    wanted = ExtendedNegotiation(STUDY_ROOT_FIND, b"\x00\x01")
    with associated(site.node, site.station, extended=(wanted,)) as client:
        told = client.find(
            identifier("STUDY", StudyInstanceUID="", StudyDate=date, StudyTime=time)
        )
    assert {UIDS[each] for each in told.values("StudyInstanceUID")} == expected


# --- levels ---------------------------------------------------------------------------


def test_patient_level(site: Site) -> None:
    told = site.ask(
        identifier(
            "PATIENT",
            PatientID="1002",
            PatientName="",
            NumberOfPatientRelatedStudies=None,
            NumberOfPatientRelatedSeries=None,
            NumberOfPatientRelatedInstances=None,
        ),
        PATIENT_ROOT_FIND,
    )
    (answer,) = told.answers
    assert answer.QueryRetrieveLevel == "PATIENT"
    assert answer.PatientName == "Yamada^Tarou=山田^太郎=やまだ^たろう"
    assert (
        answer.NumberOfPatientRelatedStudies,
        answer.NumberOfPatientRelatedSeries,
        answer.NumberOfPatientRelatedInstances,
    ) == (1, 1, 3)


@pytest.mark.parametrize("model", [STUDY_ROOT_FIND, PATIENT_ROOT_FIND])
def test_study_level(site: Site, model: UID) -> None:
    told = site.ask(
        identifier(
            "STUDY",
            PatientID="1001",
            StudyInstanceUID="",
            StudyDate="",
            StudyDescription="",
            ModalitiesInStudy="",
            SOPClassesInStudy="",
            NumberOfStudyRelatedSeries=None,
            NumberOfStudyRelatedInstances=None,
        ),
        model,
    )
    (answer,) = told.answers
    assert answer.StudyInstanceUID == CT[0].StudyInstanceUID
    assert (answer.StudyDate, answer.StudyDescription) == ("20240228", "Thorax")
    assert set(answer.ModalitiesInStudy) == {"CT", "SR"}
    assert answer.SOPClassesInStudy == samples.CT
    assert answer.NumberOfStudyRelatedSeries == 2
    assert answer.NumberOfStudyRelatedInstances == 3
    assert answer.RetrieveAETitle == "LEADGLASS"


def above(model: UID, study: list[Any]) -> dict[str, Any]:
    keys = {"StudyInstanceUID": study[0].StudyInstanceUID}
    if model == PATIENT_ROOT_FIND:
        keys["PatientID"] = study[0].PatientID
    return keys


@pytest.mark.parametrize("model", [STUDY_ROOT_FIND, PATIENT_ROOT_FIND])
def test_series_level(site: Site, model: UID) -> None:
    question = identifier(
        "SERIES",
        SeriesInstanceUID="",
        Modality="CT",
        SeriesDescription="",
        BodyPartExamined="",
        InstitutionName="",
        NumberOfSeriesRelatedInstances=None,
        **above(model, CT),
    )
    question.RequestAttributesSequence = Sequence([item(RequestedProcedureID="RP*")])
    (answer,) = site.ask(question, model).answers
    assert answer.SeriesInstanceUID == CT[0].SeriesInstanceUID
    assert answer.BodyPartExamined == "CHEST"
    assert answer.InstitutionName == "North"
    assert answer.NumberOfSeriesRelatedInstances == 2
    assert answer.RequestAttributesSequence[0].RequestedProcedureID == "RP1"


@pytest.mark.parametrize("model", [STUDY_ROOT_FIND, PATIENT_ROOT_FIND])
def test_image_level(site: Site, model: UID) -> None:
    told = site.ask(
        identifier(
            "IMAGE",
            SeriesInstanceUID=MR[0].SeriesInstanceUID,
            SOPInstanceUID="",
            SOPClassUID="",
            InstanceNumber="",
            Rows=None,
            **above(model, MR),
        ),
        model,
    )
    assert told.values("InstanceNumber") == [1, 2, 3]
    assert set(told.values("SOPInstanceUID")) == {each.SOPInstanceUID for each in MR}
    assert told.values("Rows") == [4, 4, 4]


@pytest.mark.parametrize(
    "syntax", [IMPLICIT_VR_LE, EXPLICIT_VR_LE, DEFLATED_EXPLICIT_VR_LE]
)
def test_questions_in_every_transfer_syntax(site: Site, syntax: UID) -> None:
    wishes = [(STUDY_ROOT_FIND, (syntax,))]
    with associated(site.node, site.station, wishes) as client:
        told = client.find(identifier("STUDY", PatientID="1001", StudyInstanceUID=""))
    assert told.values("StudyInstanceUID") == [CT[0].StudyInstanceUID]


def test_unknown_keys_are_said_to_be_unknown(site: Site) -> None:
    question = identifier("STUDY", PatientID="1001", StudyInstanceUID="")
    known = site.ask(question)
    question.add_new(0x0011_0010, "LO", "PRIVATE")
    question.add_new(0x0011_1001, "LO", "whatever")
    unknown = site.ask(question)
    assert [each.status for each in known.pending] == [PENDING]
    assert [each.status for each in unknown.pending] == [PENDING_WITHOUT_KEYS]
    # It does not match, and comes back empty.
    assert unknown.answers[0][0x0011_1001].value in {"", None}


# --- character sets -------------------------------------------------------------------

# Files that pydicom ships for this, by the script that they are in.
CHARSETS = {
    "Arabic": "chrArab.dcm",
    "French": "chrFren.dcm",
    "German": "chrGerm.dcm",
    "Greek": "chrGreek.dcm",
    "Hebrew": "chrHbrw.dcm",
    "Russian": "chrRuss.dcm",
    "Japanese, ISO 2022": "chrH31.dcm",
    "Japanese, half width": "chrH32.dcm",
    "Korean, ISO 2022": "chrI2.dcm",
    "Chinese, UTF-8": "chrX1.dcm",
    "Chinese, GB 18030": "chrX2.dcm",
    "Korean, several": "chrKoreanMulti.dcm",
    "French, several": "chrFrenMulti.dcm",
}


@pytest.fixture(scope="module")
def lettered(site: Site) -> dict[str, Any]:
    """Store these files, each as a study of its own; return what pydicom reads."""
    read: dict[str, Any] = {}
    for script, name in CHARSETS.items():
        (path,) = get_charset_files(name)
        data_set = samples.fresh(dcmread(path))
        data_set.PatientID = script
        data_set.SeriesInstanceUID = samples.new_uid()
        sop_class, syntax = (
            UID(data_set.SOPClassUID),
            UID(data_set.file_meta.TransferSyntaxUID),
        )
        with associated(site.node, site.many, [(sop_class, (syntax,))]) as client:
            answer = client.store(
                encoded(data_set, syntax), sop_class, UID(data_set.SOPInstanceUID)
            )
        assert (answer.status, answer.error_comment) == (0, None)
        data_set.decode()
        read[script] = data_set
    return read


def ask_all(site: Site, question: Any) -> Told:
    with associated(site.node, site.many) as client:
        return client.find(question)


@pytest.mark.parametrize("script", CHARSETS)
def test_names_are_told_as_they_were_sent(
    site: Site, lettered: dict[str, Any], script: str
) -> None:
    """Whether asked in Unicode, in the file's own set, or in nothing at all."""
    file = lettered[script]
    for charset in ("ISO_IR 192", file.SpecificCharacterSet, None):
        question = identifier("STUDY", PatientID=script, PatientName="")
        if charset is not None:
            question.SpecificCharacterSet = charset
        (answer,) = ask_all(site, question).answers
        answer.decode()
        assert str(answer.PatientName).rstrip("=^ ") == str(file.PatientName).rstrip(
            "=^ "
        ), charset


@pytest.mark.parametrize("script", CHARSETS)
def test_names_are_found_in_any_character_set(
    site: Site, lettered: dict[str, Any], script: str
) -> None:
    file = lettered[script]
    for charset in ("ISO_IR 192", file.SpecificCharacterSet):
        question = identifier(
            "STUDY", SpecificCharacterSet=charset, PatientID=script, StudyInstanceUID=""
        )
        question.PatientName = file.PatientName
        told = ask_all(site, question)
        assert told.values("StudyInstanceUID") == [file.StudyInstanceUID], charset


# --- statuses -------------------------------------------------------------------------

BAD: dict[str, tuple[Any, UID, int]] = {
    "no level": (identifier(None, PatientID="1"), STUDY_ROOT_FIND, DOES_NOT_MATCH),
    "unknown level": (identifier("FRAME"), STUDY_ROOT_FIND, DOES_NOT_MATCH),
    "level in small letters": (identifier("study"), STUDY_ROOT_FIND, DOES_NOT_MATCH),
    "patient level of the study root": (
        identifier("PATIENT", PatientID=""),
        STUDY_ROOT_FIND,
        DOES_NOT_MATCH,
    ),
    "no unique key above": (
        identifier("SERIES", SeriesInstanceUID=""),
        STUDY_ROOT_FIND,
        DOES_NOT_MATCH,
    ),
    "no patient above a study": (
        identifier("STUDY", StudyInstanceUID=""),
        PATIENT_ROOT_FIND,
        DOES_NOT_MATCH,
    ),
    "wildcard in a unique key above": (
        identifier("STUDY", PatientID="100*"),
        PATIENT_ROOT_FIND,
        DOES_NOT_MATCH,
    ),
    "a range with three ends": (
        identifier("STUDY", StudyDate="20240101-20240102-20240103"),
        STUDY_ROOT_FIND,
        DOES_NOT_MATCH,
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_questions_that_do_not_match(site: Site, case: str) -> None:
    question, model, status = BAD[case]
    told = site.ask(question, model)
    assert (told.status, told.answers) == (status, ())
    assert told.last.error_comment


@pytest.mark.parametrize(
    "raw", [b"\xff" * 40, b"\x08\x00\x52\x00CS\x00\xff", bytes(7)], ids=str
)
def test_questions_that_are_no_data_set(site: Site, raw: bytes) -> None:
    with associated(site.node, site.station) as client:
        told = client.find(None, raw=raw)
        assert told.status in {UNABLE, DOES_NOT_MATCH}
        assert client.echo() == SUCCESS  # the association goes on


def test_more_answers_than_are_told(site: Site) -> None:
    """A part must not be taken for the whole: it ends as a failure."""
    with associated(site.node, site.many) as client:
        (series,) = client.find(
            identifier("STUDY", PatientID="MANY", StudyInstanceUID="")
        ).values("StudyInstanceUID")
        asked = client.find(
            identifier("SERIES", StudyInstanceUID=series, SeriesInstanceUID="")
        )
        (inside,) = asked.values("SeriesInstanceUID")
        told = client.find(
            identifier(
                "IMAGE",
                StudyInstanceUID=series,
                SeriesInstanceUID=inside,
                SOPInstanceUID="",
            )
        )
    assert told.status == OUT_OF_RESOURCES
    assert len(told.answers) <= RESULTS_MAX
    assert is_told(site.node, "127.0.0.1", f"more than {RESULTS_MAX} answers")


def test_cancelled_before_the_first_answer(site: Site) -> None:
    """Question and cancel come together, so it is known what comes of them."""
    with associated(site.node, site.station) as client:
        context = client.context(STUDY_ROOT_FIND)
        number = client.next_number()
        question = identifier("STUDY", StudyInstanceUID="")
        client.association.send(
            context.id,
            CFindRQ(message_id=number, affected_sop_class=STUDY_ROOT_FIND).encode(),
            encoded(question, context.transfer_syntax),
        )
        client.cancel(context, number)
        assert last_of(client).status == CANCELLED
        assert client.echo() == SUCCESS


def test_cancel_of_another_message_cancels_nothing(site: Site) -> None:
    with associated(site.node, site.station) as client:
        context = client.context(STUDY_ROOT_FIND)
        number = client.next_number()
        client.association.send(
            context.id,
            CFindRQ(message_id=number, affected_sop_class=STUDY_ROOT_FIND).encode(),
            encoded(identifier("STUDY", StudyInstanceUID=""), context.transfer_syntax),
        )
        client.cancel(context, number + 1)
        assert last_of(client).status == SUCCESS
        client.send(context, CCancelRQ(responds_to=number), None)  # too late
        assert client.echo() == SUCCESS


def last_of(client: Client) -> CFindRSP:
    while True:
        answer = client.receive()[0].message
        assert isinstance(answer, CFindRSP)
        if answer.status not in {PENDING, PENDING_WITHOUT_KEYS}:
            return answer
