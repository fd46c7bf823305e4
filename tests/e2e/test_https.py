"""HTTPS of a real node in a process of its own: who is let in, and what is said."""

import json
import ssl
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from leadglass.access.scopes import EVERYTHING, Scope
from leadglass.app import Node
from leadglass.audit.codes import EventType
from leadglass.audit.search import Search
from leadglass.identity.people.secondfactor import Factor
from leadglass.identity.people.user import NewUser
from leadglass.identity.rows import to_us
from leadglass.identity.tokens.token import NewToken
from leadglass.servers.http.authentication import SESSION_COOKIE
from tests.peers.nodes import made, serving
from tests.peers.samples import instance as bare
from tests.peers.samples import new_uid
from tests.support.node import Credentials, RunningNode

WAIT_S = 30.0
HERE = (ip_network("127.0.0.0/8"),)
ELSEWHERE = (ip_network("10.9.0.0/16"),)
YEAR = timedelta(days=365)
TEXT = "application/dicom+json"


class World:
    """A serving node, its tokens and its devices."""

    def __init__(self, node: RunningNode) -> None:
        self.node = node
        self.tokens: dict[str, str] = {}
        self.devices: dict[str, Credentials] = {}
        self.cookie = ""
        with node.open() as opened:
            self._make_tokens(opened)
            self._make_session(opened)
        self.devices["CT1"] = node.enrol("CT1", may=["store", "find"])
        self.devices["FAR"] = node.enrol("FAR", networks=["10.9.0.0/16"])
        self.devices["OLD"] = node.enrol("OLD")

    def _make_tokens(self, opened: Node) -> None:
        def add(name: str, role: str = "service", **more: Any) -> str:
            new = NewToken(name=name, role=role, **{"networks": HERE, **more})
            return opened.accounts.add_token(opened.operator, new)[0]

        scope = Scope(patient_ids=frozenset({"P2"}))
        self.tokens = {
            "all": add("all"),
            "scoped": add("scoped", scope=scope),
            "foreign": add("foreign", networks=ELSEWHERE),
            "revoked": add("revoked"),
            "auditor": add("auditor", role="privacy"),
        }
        opened.accounts.revoke_token(opened.operator, "revoked")
        long_ago = datetime.now(UTC) - YEAR
        self.tokens["expired"], _ = opened.database.write(
            lambda tx: opened.accounts.tokens.add(
                tx, NewToken(name="expired", role="service", networks=HERE), long_ago
            )
        )

    def _make_session(self, opened: Node) -> None:
        """Log in a person who is called as the node's operator, too."""
        name, now = opened.operator.subject.name, datetime.now(UTC)
        new = NewUser(name, ("radiologist",))
        opened.accounts.add_user(opened.operator, new, EVERYTHING)

        def work(tx: Any) -> str:
            users = opened.accounts.users
            user = users.get(tx.connection, name)
            user = users.change(tx, user, {"enrolled_us": to_us(now)})
            return opened.sessions.create(tx, user, Factor.TOTP, None, now)[0]

        self.cookie = opened.database.write(work)

    @property
    def base(self) -> str:
        return f"https://127.0.0.1:{self.node.https_port}"

    @property
    def ca(self) -> str:
        return self.devices["CT1"].ca

    def client(
        self, token: str | None = None, device: str | None = None, **more: Any
    ) -> httpx.Client:
        context = ssl.create_default_context(cafile=self.ca)
        if device is not None:
            credentials = self.devices[device]
            context.load_cert_chain(credentials.cert, credentials.key)
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        return httpx.Client(
            base_url=self.base,
            verify=context,
            headers=headers,
            timeout=WAIT_S,
            trust_env=False,
            **more,
        )

    def get(self, path: str, *, who: str | None = None, **more: Any) -> httpx.Response:
        token = None if who is None else self.tokens[who]
        with self.client(token, **more) as client:
            return client.get(path)

    def store(self, data: bytes, **who: Any) -> httpx.Response:
        body = b"--cut\r\nContent-Type: application/dicom\r\n\r\n" + data
        kind = 'multipart/related; type="application/dicom"; boundary=cut'
        with self.client(**who) as client:
            return client.post(
                "/dicom-web/studies",
                content=body + b"\r\n--cut--\r\n",
                headers={"content-type": kind, "accept": TEXT},
            )

    def reasons(self) -> set[str]:
        """Return why somebody was nobody, as the record says it."""
        with self.node.open() as opened:
            found = opened.audit.list(Search())
            return {
                record.event.outcome_description
                for record in found
                if EventType.LOGIN in record.event.types
                and record.event.outcome_description
            }


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    node = made(tmp_path_factory.mktemp("https") / "home")
    world = World(node)
    with serving(node):
        yield world


@pytest.fixture
def foreign(world: World) -> Iterator[Callable[[str], DICOMwebClient]]:
    """Return a function that gives the client of another project."""
    sessions = []

    def client(who: str) -> DICOMwebClient:
        session = requests.Session()
        session.trust_env = False
        session.verify = world.ca
        session.headers["authorization"] = f"Bearer {world.tokens[who]}"
        sessions.append(session)
        return DICOMwebClient(f"{world.base}/dicom-web", session=session)

    yield client
    for session in sessions:
        session.close()


def instance(**more: Any) -> Any:
    """Return a data set that can be written as a file."""
    data_set = bare(**more)
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return data_set


def file_of(data_set: Any) -> bytes:
    out = BytesIO()
    data_set.save_as(out, enforce_file_format=True)
    return out.getvalue()


def studies(response: httpx.Response) -> set[str]:
    assert response.status_code == 200, response.text
    return {each["0020000D"]["Value"][0] for each in response.json()}


def test_a_foreign_client_stores_and_searches(
    world: World, foreign: Callable[[str], DICOMwebClient]
) -> None:
    one, two = instance(PatientID="P1"), instance(PatientID="P2")
    answer = foreign("all").store_instances([one, two])
    assert len(answer.ReferencedSOPSequence) == 2
    found = foreign("all").search_for_studies()
    uids = {each["0020000D"]["Value"][0] for each in found}
    assert {one.StudyInstanceUID, two.StudyInstanceUID} <= uids
    scoped = foreign("scoped").search_for_studies()
    assert {each["00100020"]["Value"][0] for each in scoped} == {"P2"}


def test_what_is_out_of_scope_is_neither_found_nor_stored(world: World) -> None:
    other = instance(PatientID="P3")
    token = world.tokens["scoped"]
    assert world.store(file_of(other), token=token).status_code == 403
    assert world.store(file_of(instance(PatientID="P2")), token=token).is_success
    assert world.store(file_of(other), token=world.tokens["all"]).is_success
    uid = other.StudyInstanceUID
    path = f"/dicom-web/studies?StudyInstanceUID={uid}"
    assert studies(world.get(path, who="all")) == {uid}
    assert studies(world.get(path, who="scoped")) == set()
    below = f"/dicom-web/studies/{uid}/series"
    assert world.get(below, who="scoped").json() == []
    unknown = f"/dicom-web/studies/{new_uid()}/series"
    assert world.get(unknown, who="scoped").json() == []


@pytest.mark.parametrize("who", ["revoked", "expired", "foreign"])
def test_a_token_that_does_not_stand_is_a_stranger(world: World, who: str) -> None:
    stranger = world.get("/dicom-web/studies")
    refused = world.get("/dicom-web/studies", who=who)
    assert likeness(refused) == likeness(stranger)
    wanted = {
        "revoked": "token was revoked",
        "expired": "token has expired",
        "foreign": "token is not for use from this address",
    }
    assert wanted[who] in world.reasons()


def likeness(response: httpx.Response) -> tuple[Any, ...]:
    """Return all that an answer says but when, and by which number."""
    told = response.json()
    told.pop("instance")
    unlike = {"date", "x-request-id"}
    headers = {k: v for k, v in response.headers.items() if k not in unlike}
    return response.status_code, told, headers


def test_a_stranger_gets_one_answer_for_every_path(world: World) -> None:
    paths = [
        *("/dicom-web", "/dicom-web/", "/dicom-web/studies", "/nothing", "/health/x"),
        *("/dicom-web/studies/1.2/series", "/dicom-web/series?limit=0"),
    ]
    answers = [likeness(world.get(path)) for path in paths]
    with world.client() as client:
        answers += [likeness(client.request(m, "/dicom-web/studies")) for m in METHODS]
    assert answers[0][0] == 401
    assert all(each == answers[0] for each in answers)


METHODS = ("POST", "DELETE", "PUT", "PATCH")


def test_who_has_no_right_is_refused_and_recorded(world: World) -> None:
    assert world.get("/dicom-web/studies", who="auditor").status_code == 403
    assert world.store(b"", token=world.tokens["auditor"]).status_code == 403


def test_a_device_proves_itself_by_its_certificate(world: World) -> None:
    data_set = instance(PatientID="P7")
    assert world.store(file_of(data_set), device="CT1").status_code == 200
    found = world.get("/dicom-web/studies?PatientID=P7", device="CT1")
    assert studies(found) == {data_set.StudyInstanceUID}


def test_a_device_elsewhere_is_a_stranger(world: World) -> None:
    refused = world.get("/dicom-web/studies", device="FAR")
    assert likeness(refused) == likeness(world.get("/dicom-web/studies"))
    assert any("in none of its networks" in each for each in world.reasons())


def test_a_revoked_device_is_not_even_heard(world: World) -> None:
    assert world.get("/dicom-web/", device="OLD").status_code == 200
    with world.node.open() as opened:
        opened.registrar.revoke(opened.operator, "OLD", "sold")
    with pytest.raises(httpx.TransportError):
        world.get("/dicom-web/studies", device="OLD")


def test_a_person_with_the_operators_name_is_not_the_operator(world: World) -> None:
    cookie = {"cookie": f"{SESSION_COOKIE}={world.cookie}"}
    with world.client() as client:
        assert client.get("/dicom-web/studies", headers=cookie).status_code == 200
        # The operator may store; a radiologist may not, whatever its name.
        assert (
            client.post(
                "/dicom-web/studies",
                headers={**cookie, "origin": world.base, "content-type": TEXT},
                content=b"[]",
            ).status_code
            == 403
        )
        foreign = {**cookie, "origin": "https://evil.example"}
        assert client.get("/dicom-web/studies", headers=foreign).status_code == 403


def test_capabilities_and_health_tell_no_facts(world: World) -> None:
    told = world.get("/dicom-web/", who="all").json()
    assert {
        "method": "GET",
        "path": "/dicom-web/studies",
        "right": "find",
    } in told["resources"]
    health = world.get("/health")
    assert (health.status_code, health.json()) == (200, {"status": "ok"})
    assert "server" not in health.headers


def test_curl_as_the_manual_says(world: World) -> None:
    done = subprocess.run(
        [
            *("curl", "--silent", "--show-error", "--noproxy", "*"),
            *("--cacert", world.ca, "--config", "-"),
            f"{world.base}/dicom-web/studies?limit=1",
        ],
        # The token stays out of the list of processes.
        input=f'header = "Authorization: Bearer {world.tokens["all"]}"\n',
        capture_output=True,
        text=True,
        check=True,
        timeout=WAIT_S,
    )
    assert isinstance(json.loads(done.stdout), list)


def test_it_ends_in_good_order_with_a_client_connected(tmp_path: Path) -> None:
    node = made(tmp_path / "home")
    world = World(node)
    with serving(node), world.client(world.tokens["all"]) as client:
        assert client.get("/dicom-web/studies").json() == []
        assert node.stop() == 0
    with node.open() as opened:
        last = [each.event.types for each in opened.audit.list(Search())][-1]
    assert last == (EventType.APPLICATION_STOP,)
