"""Broken glass from end to end: a node of its own, TLS, sessions, mail, the record."""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from leadglass.access.scopes import EVERYTHING, Scope
from leadglass.archive.tables import emergency, notice
from leadglass.audit.search import Record
from leadglass.identity.people.secondfactor import Factor
from leadglass.identity.people.user import NewUser
from leadglass.identity.rows import to_us
from leadglass.identity.tokens.token import NewToken
from leadglass.servers.http.authentication import SESSION_COOKIE
from tests.e2e.test_https import HERE, file_of, instance
from tests.peers.nodes import PATIENCE_S, comes_true, made
from tests.support.mail import Mailbox, certificate, mail_server
from tests.support.node import RunningNode

WAIT_S = 30.0
REASON = "unconscious, needs the earlier CT"
STUDIES = "/dicom-web/studies"
ELSEWHERE = Scope(patient_ids=frozenset({"P9"}))
PEOPLE = {
    "alice": ("radiologist", ELSEWHERE),
    "bob": ("radiologist", ELSEWHERE),
    "tim": ("technologist", ELSEWHERE),
    "paul": ("privacy", EVERYTHING),
}


class Ward:
    """A serving node, its people, and what their mail server took."""

    def __init__(self, node: RunningNode, box: Mailbox) -> None:
        self.node = node
        self.box = box
        self.cookies: dict[str, str] = {}
        self.ca = node.enrol("CT1").ca
        with node.open() as opened:
            for name, (role, scope) in PEOPLE.items():
                opened.accounts.add_user(opened.operator, NewUser(name, (role,)), scope)
                self.cookies[name] = opened.database.write(self._enter(opened, name))
            new = NewToken(name="modality", role="service", networks=HERE)
            self.token, _ = opened.accounts.add_token(opened.operator, new)

    @staticmethod
    def _enter(opened: Any, name: str) -> Any:
        now = datetime.now(UTC)

        def work(tx: Any) -> str:
            users = opened.accounts.users
            user = users.get(tx.connection, name)
            user = users.change(tx, user, {"enrolled_us": to_us(now)})
            return str(opened.sessions.create(tx, user, Factor.TOTP, None, now)[0])

        return work

    @property
    def base(self) -> str:
        return f"https://127.0.0.1:{self.node.https_port}"

    def ask(
        self, who: str, path: str, body: Any = None, **headers: str
    ) -> httpx.Response:
        """Ask as a person with a session; with a body it is a POST."""
        proof = {
            "cookie": f"{SESSION_COOKIE}={self.cookies[who]}",
            "origin": self.base,
            "accept": "application/dicom+json, */*;q=0.5",
        }
        context = ssl.create_default_context(cafile=self.ca)
        with httpx.Client(verify=context, trust_env=False, timeout=WAIT_S) as client:
            if body is None:
                return client.get(self.base + path, headers=proof | headers)
            return client.post(self.base + path, headers=proof | headers, json=body)

    def store(self, data: bytes) -> None:
        kind = 'multipart/related; type="application/dicom"; boundary=cut'
        body = b"--cut\r\nContent-Type: application/dicom\r\n\r\n" + data
        context = ssl.create_default_context(cafile=self.ca)
        with httpx.Client(verify=context, trust_env=False, timeout=WAIT_S) as client:
            told = client.post(
                self.base + STUDIES,
                content=body + b"\r\n--cut--\r\n",
                headers={
                    "content-type": kind,
                    "accept": "application/dicom+json",
                    "authorization": f"Bearer {self.token}",
                },
            )
        assert told.status_code == 200, told.text

    def found(self, who: str = "alice") -> set[str]:
        answer = self.ask(who, STUDIES)
        assert answer.status_code == 200
        return {each["0020000D"]["Value"][0] for each in answer.json()}

    def breaks(self, patient: str, who: str = "alice") -> int:
        wish = {"patient_id": patient, "reason": REASON, "minutes": 30}
        given = self.ask(who, "/api/emergencies", wish)
        assert given.status_code == 201, given.text
        return int(given.json()["number"])

    def alerts(self, code: str) -> list[Record]:
        return [each for each in self.node.records() if code in each.event.types]

    def pretend(self, table: Any, **values: int) -> None:
        """Change the stored times of all rows, as if time had gone by."""
        with self.node.open() as opened:
            opened.database.write(
                lambda tx: (
                    tx.connection.execute(update(table).values(**values)) and None
                )
            )


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    tmp_path = tmp_path_factory.mktemp("ward")
    trusted = certificate(tmp_path / "mail")
    with mail_server(trusted) as box:
        node = made(
            tmp_path / "home",
            notices__smtp_server=f"127.0.0.1:{box.port}",
            notices__ca_file=str(trusted),
            notices__sender="pacs@hospital.example",
            notices__recipients="privacy@hospital.example",
            notices__look_interval_s="0.1",
            jobs__reload_interval_s="0.1",
        )
        ward = Ward(node, box)
        node.start()
        try:
            yield ward
        finally:
            if node.process is not None:
                node.kill()


def long_ago() -> int:
    return to_us(datetime.now(UTC) - timedelta(minutes=1))


def test_glass_is_broken_looked_through_over_and_signed(ward: Ward) -> None:
    wanted, other = instance(PatientID="P1"), instance(PatientID="P2")
    for each in (wanted, other):
        ward.store(file_of(each))
    uid = wanted.StudyInstanceUID
    metadata = f"{STUDIES}/{uid}/metadata"
    retrieve = {"accept": 'multipart/related; type="application/dicom"'}
    assert ward.found() == set()
    assert ward.ask("alice", metadata).status_code == 404
    wish = {"patient_id": "P1", "reason": REASON}
    assert ward.ask("tim", "/api/emergencies", wish).status_code == 403

    number = ward.breaks("P1")
    assert ward.found() == {uid}
    assert ward.ask("alice", metadata).status_code == 200
    # To look, not to take away: the right to retrieve stays within the own scope.
    assert ward.ask("alice", f"{STUDIES}/{uid}", **retrieve).status_code == 404
    foreign = f"{STUDIES}/{other.StudyInstanceUID}/metadata"
    assert ward.ask("alice", foreign).status_code == 404
    assert ward.ask("tim", metadata).status_code == 404
    (began,) = ward.alerts("110127")
    assert dict(began.event.objects[0].details)["reason"] == REASON
    assert began.event.objects[1].id == "P1"
    assert comes_true(lambda: len(ward.box.mails) == 1, PATIENCE_S)
    assert f"leadglass reviews show {number}" in ward.box.mails[0]
    assert "alice" in ward.box.mails[0]
    for word in ("P1", REASON, uid):
        assert word not in ward.box.mails[0]

    sign = f"/api/reviews/{number}/sign"
    verdict = {"verdict": "justified", "note": "was in the shock room"}
    assert ward.ask("paul", sign, verdict).status_code == 400  # it still stands
    ward.pretend(emergency, ends_us=long_ago())
    assert ward.found() == set()
    assert ward.ask("alice", metadata).status_code == 404
    assert comes_true(lambda: len(ward.alerts("110138")) == 1, PATIENCE_S)
    (ended,) = ward.alerts("110138")
    assert dict(ended.event.objects[0].details)["stopped_by"] == "its time"

    assert ward.ask("alice", sign, verdict).status_code == 403
    (waiting,) = ward.ask("paul", "/api/reviews").json()["items"]
    assert (waiting["number"], waiting["reason"]) == (number, REASON)
    assert ward.ask("paul", sign, verdict).json()["reviewer"] == "paul"
    assert ward.ask("paul", sign, verdict).status_code == 404
    assert ward.ask("paul", "/api/reviews").json()["items"] == []


def test_who_is_disabled_has_lost_it_at_once(ward: Ward) -> None:
    wanted = instance(PatientID="P5")
    ward.store(file_of(wanted))
    number = ward.breaks("P5", "bob")
    assert ward.found("bob") == {wanted.StudyInstanceUID}
    with ward.node.open() as opened:
        opened.accounts.disable_user(opened.operator, "bob", "has left")
    assert ward.ask("bob", STUDIES).status_code == 401
    ended = ward.alerts("110138")[-1].event
    assert ended.objects[1].id == "P5"
    waiting = ward.ask("paul", "/api/reviews").json()["items"]
    assert number in {each["number"] for each in waiting}


def test_a_notice_outlives_the_node_that_was_to_send_it(ward: Ward) -> None:
    assert comes_true(lambda: not waiting(ward), PATIENCE_S)  # those before it
    ward.box.answer = "451 later"
    number = ward.breaks("P1")
    assert waiting(ward) == 1
    ward.node.kill()
    ward.box.answer = "250 taken"
    ward.pretend(notice, due_us=long_ago())
    ward.node.start()
    assert comes_true(lambda: not waiting(ward), PATIENCE_S)
    assert f"break-glass.{number}@" in ward.box.mails[-1]


def waiting(ward: Ward) -> int:
    with ward.node.open() as opened:
        return opened.notices.count_waiting()
