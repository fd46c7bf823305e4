"""QIDO-RS over real TLS, asked by dicomweb-client and by hand."""

from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import pytest
import requests
from dicomweb_client.api import DICOMwebClient

from leadglass.app import Node
from leadglass.audit.codes import EventID
from leadglass.servers.dicomweb import qido as qido_module
from leadglass.servers.dicomweb.qido import Search
from leadglass.servers.http.authentication import Proof
from tests.unit.servers.conftest import Enrol, Store
from tests.unit.servers.http.rig import TOKEN, Running, listening

NAMES = ("Müller^Zoë Anna", "Mueller-Lüdenscheidt^Heinz")
SCOPED = "lgt_sees-one-patient"
BLIND = "lgt_sees-nothing"


@pytest.fixture
def archive(node: Node, enrol: Enrol, store: Store) -> Iterator[Running]:
    """Five studies of two series each; who sees all, one patient, nothing."""
    for number in range(1, 6):
        study = f"1.2.3.{number}"
        for image in (2, 1):
            store(
                image,
                study=study,
                PatientID=f"P{number}",
                PatientName=NAMES[number % 2],
                StudyDate=f"2024010{number}",
                AccessionNumber="" if number == 3 else f"A{number}",
            )
        store(
            7,
            study=study,
            SeriesInstanceUID=f"{study}.2",
            SeriesNumber="2",
            Modality="MR",
            PatientID=f"P{number}",
            StudyDate=f"2024010{number}",
        )
    node.parts.intake.catch_up()
    callers = {
        TOKEN: enrol("viewer", "find"),
        SCOPED: enrol("scoped", "find", scope="patient_id=P2"),
        BLIND: enrol("blind", "store"),
    }
    table = tuple(Search(node.find).routes())
    with listening(node.authority, table, door=node.parts.require) as running:
        for token, caller in callers.items():
            running.known[Proof.BEARER].add(token.encode(), caller.subject)
        yield running


def uids(response: httpx.Response, tag: str = "0020000D") -> list[str]:
    assert response.status_code == 200, response.text
    return [each[tag]["Value"][0] for each in response.json()]


def ask(archive: Running, path: str, token: str = TOKEN, **headers: str) -> Any:
    with archive.client(token) as client:
        return client.get(f"/dicom-web{path}", headers=headers)


@pytest.fixture
def foreign(archive: Running, tmp_path: Any) -> DICOMwebClient:
    (tmp_path / "ca.pem").write_text(archive.ca)
    session = requests.Session()
    session.trust_env = False
    session.verify = str(tmp_path / "ca.pem")
    session.headers["authorization"] = f"Bearer {TOKEN}"
    return DICOMwebClient(f"{archive.base}/dicom-web", session=session)


def test_a_foreign_client_finds_everything(foreign: DICOMwebClient) -> None:
    with foreign._session:
        studies = foreign.search_for_studies()
        assert len(studies) == 5
        assert len(foreign.search_for_series()) == 10
        assert len(foreign.search_for_instances()) == 15
        assert len(foreign.search_for_series("1.2.3.1")) == 2
        assert len(foreign.search_for_instances("1.2.3.1")) == 3
        assert len(foreign.search_for_instances("1.2.3.1", "1.2.3.1.1")) == 2
        found = foreign.search_for_studies(
            search_filters={"PatientName": "müller^*", "StudyDate": "20240101-20240103"}
        )
        assert [each["0020000D"]["Value"] for each in found] == [["1.2.3.2"]]
        paged = foreign.search_for_studies(limit=2, get_remaining=True)
        assert paged == studies


def test_attributes_of_a_study(archive: Running) -> None:
    (study,) = ask(archive, "/studies?StudyInstanceUID=1.2.3.2").json()
    assert study["00100010"]["Value"] == [{"Alphabetic": "Müller^Zoë Anna"}]
    assert study["00080005"]["Value"] == ["ISO_IR 192"]
    assert study["00080056"]["Value"] == ["ONLINE"]
    assert sorted(study["00080061"]["Value"]) == ["CT", "MR"]
    assert study["00201208"]["Value"] == [3]
    url = f"{archive.base}/dicom-web/studies/1.2.3.2"
    assert study["00081190"]["Value"] == [url]
    assert "00102180" not in study


def test_attributes_of_what_lies_below(archive: Running) -> None:
    (series, _) = ask(archive, "/studies/1.2.3.2/series").json()
    assert series["0020000D"]["Value"] == ["1.2.3.2"]
    assert "00100010" not in series  # the path has said the study
    (series, *_) = ask(archive, "/series?StudyInstanceUID=1.2.3.2").json()
    assert series["00100010"]["Value"]
    path = "/studies/1.2.3.2/series/1.2.3.2.1/instances"
    images = ask(archive, f"{path}?includefield=PatientID,00080060").json()
    assert [each["00200013"]["Value"] for each in images] == [[1], [2]]
    assert images[0]["00100020"]["Value"] == ["P2"]
    assert images[0]["00080060"]["Value"] == ["CT"]
    assert images[0]["00081190"]["Value"][0].endswith(f"{path}/1.2.3.2.1.1")
    (everything, _) = ask(archive, f"{path}?includefield=all").json()
    assert set(images[0]) < set(everything)


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("PatientID=P1", "1"),
        ("00100020=P1", "1"),
        ("PatientID=P?", "54321"),
        ("StudyInstanceUID=1.2.3.1,1.2.3.4", "41"),
        ("StudyInstanceUID=1.2.3.1%5C1.2.3.4", "41"),
        ("StudyDate=20240104-", "54"),
        ("ModalitiesInStudy=CT,US", "54321"),
        ("Modality=US", ""),
        ("PatientID=P1%5CP2", ""),
        ("PatientID=P1%5CP2&multiplevaluematching=true", "21"),
        ("AccessionNumber=%22%22", ""),
        ("AccessionNumber=%22%22&emptyvaluematching=true", "3"),
        ("AccessionNumber=", "54321"),
        ("PatientName=zoe%20mul", ""),
        ("PatientName=zoe%20mul&fuzzymatching=true", "42"),
        ("PatientName=lud&fuzzymatching=true", "531"),
        ("PatientName=eller&fuzzymatching=true", ""),
        ("RequestAttributesSequence.ScheduledProcedureStepID=SPS-7&limit=1", "5"),
        ("00400275.00400009=SPS-8", ""),
        ("SliceThickness=3", "54321"),  # no key of ours: as universal
        ("limit=2", "54"),
        ("limit=2&offset=2", "32"),
        ("offset=4", "1"),
        ("offset=99999999999999999999", None),
        ("limit=0", ""),
        ("PatientID=P1&PatientID=P2", None),
        ("PatientID=P1&00100020=P1", None),
        ("Nonsense=1", None),
        ("limit=-1", None),
        ("limit=1&limit=2", None),
        ("limit=%D9%A1", None),
        ("fuzzymatching=maybe", None),
        ("includefield=Nonsense", None),
        ("StudyDate=yesterday", None),
        ("PatientName=" + "+".join("abcdefghijklm") + "&fuzzymatching=true", None),
        ("0040A730.0040A730.0040A730.0040A730.0040A730=1", None),
    ],
)
def test_matching(archive: Running, query: str, numbers: str | None) -> None:
    response = ask(archive, f"/studies?{query}")
    if numbers is None:
        assert response.status_code == 400
        assert query.partition("=")[2][:8] not in response.json().get("detail", "")
        return
    assert "".join(uid[-1] for uid in uids(response)) == numbers


def test_a_path_is_a_uid_and_given_once(archive: Running) -> None:
    assert ask(archive, "/studies/x'--/series").status_code == 400
    again = "/studies/1.2.3.1/series?StudyInstanceUID=1.2.3.2"
    assert ask(archive, again).status_code == 400


def test_more_results_are_warned_of_without_their_number(
    archive: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "warning" not in ask(archive, "/studies?limit=5").headers
    warned = ask(archive, "/studies?limit=4").headers["warning"]
    assert warned.startswith(f"299 {archive.base}/dicom-web: There are additional")
    monkeypatch.setattr(qido_module, "RESULTS_MAX", 3)
    response = ask(archive, "/studies")
    assert len(response.json()) == 3
    assert "warning" in response.headers
    assert len(ask(archive, "/studies?limit=1000").json()) == 3


# --- who ---


def test_who_sees_one_patient_learns_of_no_other(archive: Running) -> None:
    assert uids(ask(archive, "/studies", SCOPED)) == ["1.2.3.2"]
    assert "warning" not in ask(archive, "/studies?limit=1", SCOPED).headers
    assert len(ask(archive, "/instances", SCOPED).json()) == 3
    hidden = ask(archive, "/studies/1.2.3.1/series", SCOPED)
    absent = ask(archive, "/studies/9.9.9/series", SCOPED)
    assert (hidden.status_code, hidden.text) == (absent.status_code, absent.text)
    assert uids(ask(archive, "/studies?offset=1", SCOPED)) == []


def test_who_may_not_find_finds_nothing(archive: Running, node: Node) -> None:
    for resource in qido_module.RESOURCES:
        path = resource.template.format(study="1.2.3.1", series="1.2.3.1.1")
        assert ask(archive, path, BLIND).status_code == 403
        assert ask(archive, path, "lgt_nobody").status_code == 401


def test_what_was_told_is_on_the_record(archive: Running, node: Node) -> None:
    ask(archive, "/studies?PatientID=P4")
    found = [each.event for each in node.audit.list()]
    (event,) = [each for each in found if each.id is EventID.QUERY]
    text = repr(event)
    assert "1.2.3.4" in text
    assert "1.2.3.5" not in text
    assert "/dicom-web/studies?PatientID=P4" in text
    assert "QIDO-RS" in text


# --- forms ---


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("application/dicom+json", "application/dicom+json"),
        ("application/json", "application/json"),
        ("*/*", "application/dicom+json"),
        ("text/html, */*;q=0.1", "application/dicom+json"),
        ('multipart/related; type="application/dicom+xml"', "multipart/related"),
        ("application/dicom+xml, application/json;q=0.5", "multipart/related"),
        ("application/json;q=0.5, application/dicom+json;q=0.4", "application/json"),
        ("application/dicom+json;q=0, */*", "application/json"),
    ],
)
def test_the_wished_form(archive: Running, accept: str, expected: str) -> None:
    response = ask(archive, "/studies?limit=1", accept=accept)
    assert response.headers["content-type"].partition(";")[0] == expected


@pytest.mark.parametrize(
    ("accept", "status"),
    [("text/html", 406), ("image/jpeg", 406), ("nonsense", 400), ("a/b;q=x", 400)],
)
def test_no_form_of_ours(archive: Running, accept: str, status: int) -> None:
    assert ask(archive, "/studies", accept=accept).status_code == status


def test_the_query_stands_for_the_header(archive: Running) -> None:
    response = ask(archive, "/studies?accept=application/json", accept="text/html")
    assert response.headers["content-type"] == "application/json"


def test_xml_has_a_part_for_each(archive: Running) -> None:
    wish = 'multipart/related; type="application/dicom+xml"'
    response = ask(archive, "/studies?includefield=all&limit=2", accept=wish)
    boundary = response.headers["content-type"].rpartition('boundary="')[2].strip('"')
    _, *parts, end = response.content.split(f"--{boundary}".encode())
    assert end == b"--\r\n"
    assert len(parts) == 2
    documents = [
        ET.fromstring(part.partition(b"\r\n\r\n")[2].strip()) for part in parts
    ]
    name = "{http://dicom.nema.org/PS3.19/models/NativeDICOM}"
    found = documents[1].find(
        f"{name}DicomAttribute[@tag='00100010']/{name}PersonName/{name}Alphabetic"
    )
    assert found is not None
    assert [(each.tag.removeprefix(name), each.text) for each in found] == [
        ("FamilyName", "Müller"),
        ("GivenName", "Zoë Anna"),
    ]
    assert ask(archive, "/studies?PatientID=none", accept=wish).status_code == 204
    assert ask(archive, "/studies?PatientID=none").json() == []
