"""WADO-RS over real TLS: instances, metadata and bulk data."""

import io
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from pydicom import dcmread
from sqlalchemy import func, select

from leadglass.access.policy import Kind, Subject
from leadglass.access.scopes import Scope
from leadglass.app import Node
from leadglass.archive.accounts import Accounts
from leadglass.archive.erase import Erase
from leadglass.audit.codes import EventID
from leadglass.dicom.uids import UID
from leadglass.identity.tokens.token import NewToken
from leadglass.index.tables import prepared
from leadglass.pixels.renderer import Renderer
from leadglass.pixels.transcode import Transcoder
from leadglass.servers.dicomweb.multipart import (
    Begin,
    Data,
    MediaType,
    MultipartReader,
)
from leadglass.servers.dicomweb.wado import Retrieve
from leadglass.servers.dicomweb.wado_bulk import RetrieveBulk
from leadglass.servers.http.authentication import Proof
from tests.unit.servers.conftest import Enrol, Store
from tests.unit.servers.http.rig import TOKEN, Running, listening
from tests.unit.servers.instances import make_instance

SCOPED = "lgt_sees-one-patient"
BLIND = "lgt_sees-nothing"
PIXELS = 3000
STUDY = "/studies/1.2.3.1"
SERIES = f"{STUDY}/series/1.2.3.1.1"
INSTANCE = f"{SERIES}/instances/1.2.3.1.1.1"
BULK = f"{INSTANCE}/bulkdata/7FE00010"


@pytest.fixture
def archive(node: Node, enrol: Enrol, store: Store) -> Iterator[Running]:
    """Two studies of two instances; who sees both, one, none."""
    for number in (1, 2):
        for image in (1, 2):
            store(
                image,
                study=f"1.2.3.{number}",
                PatientID=f"P{number}",
                pixels=PIXELS,
            )
    node.parts.intake.catch_up()
    accounts = Accounts.of(node.parts)
    programs = {TOKEN: ("viewer", "everything"), SCOPED: ("scoped", "patient_id=P2")}
    for name, scope in programs.values():
        new = NewToken(name=name, role="service", scope=Scope.parse(scope))
        accounts.add_token(node.operator, new)
    subjects = {
        secret: Subject(Kind.SERVICE, name) for secret, (name, _) in programs.items()
    }
    subjects[BLIND] = enrol("blind", "store").subject
    with Transcoder() as transcoder:
        table = (
            *Retrieve(node.viewings, transcoder).routes(),
            *RetrieveBulk(node.viewings, Renderer(transcoder)).routes(),
        )
        with listening(node.authority, table, door=node.parts.require) as running:
            for token, subject in subjects.items():
                running.known[Proof.BEARER].add(token.encode(), subject)
            yield running


def ask(archive: Running, path: str, token: str = TOKEN, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with archive.client(token) as client:
        return client.get(f"/dicom-web{path}", headers=named)


def parts_of(response: httpx.Response) -> list[tuple[str, bytes]]:
    """Return type and content of each part."""
    media = MediaType.parse(response.headers["content-type"])
    assert media.name == "multipart/related"
    reader = MultipartReader(media.parameter("boundary"))
    found: list[tuple[str, bytearray]] = []
    for event in reader.feed(response.content):
        if isinstance(event, Begin):
            found.append((event.headers["content-type"], bytearray()))
        elif isinstance(event, Data):
            found[-1][1].extend(event.data)
    reader.finish()
    return [(kind, bytes(content)) for kind, content in found]


@pytest.mark.parametrize(
    ("path", "count"), [(STUDY, 2), (SERIES, 2), (INSTANCE, 1)], ids=str
)
def test_instances_leave_as_they_are_stored(
    archive: Running, path: str, count: int
) -> None:
    response = ask(archive, path)
    assert response.status_code == 200
    found = parts_of(response)
    assert len(found) == count
    kind, file = found[0]
    assert kind == "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"
    data = make_instance(1, study="1.2.3.1", PatientID="P1", pixels=PIXELS).data
    assert file.endswith(data)
    assert dcmread(io.BytesIO(file)).SOPInstanceUID == "1.2.3.1.1.1"


def test_one_instance_without_parts(archive: Running) -> None:
    response = ask(archive, INSTANCE, accept="application/dicom")
    assert response.headers["content-type"].startswith("application/dicom;")
    assert dcmread(io.BytesIO(response.content)).PatientID == "P1"


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("image/jpeg", 406),
        ('multipart/related; type="application/dicom"; transfer-syntax=1.2.3', 406),
        ('multipart/related; type="application/dicom"; transfer-syntax=*', 200),
        ("application/dicom; q=0", 406),
        ("application/dicom", 406),  # two are no single one
        ("no type", 400),
        (", ".join(["a/b"] * 100), 400),
    ],
)
def test_what_is_accepted(archive: Running, accept: str, status: int) -> None:
    assert ask(archive, STUDY, accept=accept).status_code == status


@pytest.mark.parametrize(
    "path", ["", "/metadata", "/bulkdata/7FE00010"], ids=["whole", "metadata", "bulk"]
)
def test_foreign_unknown_and_malformed_are_one(archive: Running, path: str) -> None:
    answers = {
        (response.status_code, response.json()["title"], "detail" in response.json())
        for where in (
            INSTANCE,
            INSTANCE.replace("1.2.3.1", "1.2.3.9"),
            INSTANCE.replace("/studies/1.2.3.1/", "/studies/1.2.3.2/"),
            INSTANCE.replace("/instances/1", "/instances/x%27--"),
        )
        for response in (ask(archive, where + path, SCOPED),)
    }
    assert answers == {(404, "Not Found", False)}
    assert ask(archive, INSTANCE + path, BLIND).status_code == 403


def test_a_scope_reaches_its_own(archive: Running) -> None:
    own = STUDY.replace("1.2.3.1", "1.2.3.2")
    assert len(parts_of(ask(archive, own, SCOPED))) == 2


def test_what_leaves_is_on_the_record(archive: Running, node: Node) -> None:
    ask(archive, STUDY)
    told = [each.event for each in node.audit.list()]
    found = [each for each in told if each.details.get("service") == "WADO-RS"]
    found.sort(key=lambda each: each.id is EventID.INSTANCES_TRANSFERRED)
    assert [each.id for each in found] == [
        EventID.BEGIN_TRANSFERRING,
        EventID.INSTANCES_TRANSFERRED,
    ]
    assert all("1.2.3.1.1.2" in repr(each) for each in found)


def test_metadata_is_prepared_once_and_goes_with_the_study(
    archive: Running, node: Node
) -> None:
    def kept() -> int:
        with node.parts.database.read() as connection:
            return connection.scalar(select(func.count()).select_from(prepared)) or 0

    assert kept() == 0
    first = ask(archive, f"{SERIES}/metadata")
    assert first.headers["content-type"] == "application/dicom+json"
    assert kept() == 2
    again = ask(archive, f"{SERIES}/metadata")
    assert again.json() == first.json()
    assert [each["00080018"]["Value"] for each in first.json()] == [
        ["1.2.3.1.1.1"],
        ["1.2.3.1.1.2"],
    ]
    pixels = first.json()[0]["7FE00010"]
    assert pixels == {
        "vr": "OW",
        "BulkDataURI": f"{archive.base}/dicom-web{BULK}",
    }
    Erase(node.parts)(node.operator, UID("1.2.3.1"), "asked for by the patient")
    assert kept() == 0
    assert ask(archive, f"{SERIES}/metadata").status_code == 404


def test_long_metadata_is_streamed_and_not_kept(
    archive: Running, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared_answer = ask(archive, f"{STUDY}/metadata").json()
    monkeypatch.setattr("leadglass.archive.metadata.PREPARED_BYTES_MAX", 10)
    other = ask(archive, f"{STUDY.replace('3.1', '3.2')}/metadata").json()
    assert other[0].keys() == prepared_answer[0].keys()
    with node.parts.database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(prepared)) == 2


def test_metadata_as_xml(archive: Running) -> None:
    accept = 'multipart/related; type="application/dicom+xml"'
    found = parts_of(ask(archive, f"{STUDY}/metadata", accept=accept))
    assert len(found) == 2
    root = ET.fromstring(found[0][1])
    (uri,) = (each.get("uri") for each in root.iter() if each.tag.endswith("BulkData"))
    assert uri == f"{archive.base}/dicom-web{BULK}"


@pytest.mark.parametrize(
    ("asked", "status", "told", "length"),
    [
        (None, 200, None, PIXELS),
        ("bytes=0-9", 206, "bytes 0-9/3000", 10),
        ("bytes=2990-", 206, "bytes 2990-2999/3000", 10),
        ("bytes=-5", 206, "bytes 2995-2999/3000", 5),
        ("bytes=-9999", 206, "bytes 0-2999/3000", PIXELS),
        ("bytes=2000-99999999", 206, "bytes 2000-2999/3000", 1000),
        ("bytes=0-1,4-5", 200, None, PIXELS),
        ("lines=0-1", 200, None, PIXELS),
        ("bytes=3000-", 416, "bytes */3000", None),
        ("bytes=9-3", 416, "bytes */3000", None),
        ("bytes=-0", 416, "bytes */3000", None),
    ],
)
def test_ranges_of_bulk_data(
    archive: Running, asked: str | None, status: int, told: str | None, length: int
) -> None:
    headers = {} if asked is None else {"range": asked}
    response = ask(archive, BULK, **headers)
    assert response.status_code == status
    assert response.headers.get("content-range") == told
    if length is not None:
        assert response.content == bytes(length)


@pytest.mark.parametrize("name", ["00100010", "7FE00010.1", "x", "00080008.1.00090010"])
def test_no_other_value_is_bulk_data(archive: Running, name: str) -> None:
    assert ask(archive, f"{INSTANCE}/bulkdata/{name}").status_code == 404


@pytest.mark.parametrize("path", [STUDY, f"{SERIES}/metadata", BULK])
def test_what_the_client_has_is_not_sent_again(archive: Running, path: str) -> None:
    tag = ask(archive, path).headers["etag"]
    again = ask(archive, path, if_none_match=f'"x", {tag}')
    assert (again.status_code, again.content) == (304, b"")
    assert ask(archive, path, if_none_match='"x"').status_code == 200
    # Who may not see it learns nothing by a guess of the tag.
    assert ask(archive, path, SCOPED, if_none_match=tag).status_code == 404


def test_a_foreign_client_retrieves(archive: Running, tmp_path: Any) -> None:
    (tmp_path / "ca.pem").write_text(archive.ca)
    session = requests.Session()
    session.trust_env = False
    session.verify = str(tmp_path / "ca.pem")
    session.headers["authorization"] = f"Bearer {TOKEN}"
    with session:
        client = DICOMwebClient(f"{archive.base}/dicom-web", session=session)
        assert len(client.retrieve_study("1.2.3.1")) == 2
        one = client.retrieve_instance("1.2.3.1", "1.2.3.1.1", "1.2.3.1.1.1")
        assert one.PatientID == "P1"
        assert len(client.retrieve_series_metadata("1.2.3.1", "1.2.3.1.1")) == 2
        bulk = client.retrieve_bulkdata(f"{archive.base}/dicom-web{BULK}")
        assert bulk == [bytes(PIXELS)]
