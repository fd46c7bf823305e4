"""People of a real node over TLS: from the one-time secret to a session that is dead.

What a browser would do is done by a client that keeps cookies; the passkey is a real
one of P-256, in software.
"""

import json
import ssl
from base64 import b32decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from sqlalchemy import select, update

from leadglass.app import Initialised
from leadglass.audit.codes import EventID, EventType, Outcome
from leadglass.audit.events import Event
from leadglass.audit.search import Search
from leadglass.identity.people import tables
from leadglass.identity.people.secondfactor import totp_code, totp_step
from leadglass.identity.people.user import NewUser
from leadglass.identity.tokens.token import NewToken
from leadglass.servers.http.authentication import SESSION_COOKIE
from tests.durability.acts import store
from tests.durability.instances import Instance, make_instance
from tests.peers.nodes import comes_true, serving
from tests.support.node import RunningNode
from tests.unit.identity.people.surroundings import Authenticator

WAIT_S = 30.0
HERE = ip_network("127.0.0.0/8")
PASSWORD = "correct horse battery staple"
OTHER = "seven wild geese went south"


@dataclass
class Site:
    """A serving node, and what its first start said."""

    node: RunningNode
    first: Initialised

    @property
    def base(self) -> str:
        return f"https://localhost:{self.node.https_port}"

    @contextmanager
    def browser(self, source: str = "127.0.0.1") -> Iterator["Browser"]:
        with self.node.open() as opened:
            authorities = opened.authority.node_credentials().authorities
        context = ssl.create_default_context(cadata=authorities.decode())
        with httpx.Client(
            base_url=self.base,
            transport=httpx.HTTPTransport(verify=context, local_address=source),
            timeout=WAIT_S,
            trust_env=False,
            headers={"origin": self.base},
        ) as client:
            yield Browser(client)

    def events(self, id_: EventID) -> list[Event]:
        with self.node.open() as opened:
            return [each.event for each in opened.audit.list(Search(event=id_))]


@dataclass
class Browser:
    """A client with a jar for cookies."""

    client: httpx.Client

    def post(self, path: str, **members: Any) -> httpx.Response:
        return self.client.post(path, json=members)

    def told(self, path: str, **members: Any) -> Any:
        answer = self.post(path, **members)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def enrol(self, name: str, secret: str, password: str = PASSWORD) -> "Person":
        offer = self.told("/api/enrolment", name=name, secret=secret)
        person = Person(name, password, offer["app_uri"])
        enrolled = self.told(
            "/api/enrolment/app",
            ticket=offer["ticket"],
            password=password,
            code=person.code(-1),
        )
        assert len(enrolled["recovery_codes"]) == 10
        person.recovery = enrolled["recovery_codes"]
        assert offer["qr"].startswith("<svg")
        return person

    def log_in(self, person: "Person", code: str | None = None) -> httpx.Response:
        step = self.told("/api/login", name=person.name, password=person.password)
        return self.post(
            "/api/login/code", ticket=step["ticket"], code=code or person.code()
        )

    def me(self) -> int:
        return self.client.get("/api/me").status_code


class Person:
    """Somebody with a password and an authenticator app."""

    def __init__(self, name: str, password: str, app_uri: str) -> None:
        from_uri = httpx.URL(app_uri).params["secret"]
        self.name, self.password = name, password
        self._secret = _base32(from_uri)
        self.recovery: list[str] = []

    def code(self, steps: int = 0) -> str:
        return totp_code(self._secret, totp_step(datetime.now(UTC)) + steps)


def _base32(text: str) -> bytes:
    return b32decode(text + "=" * (-len(text) % 8))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("people") / "home"
    node = RunningNode(home, {"https.listen": "127.0.0.1:0"})
    first = node.init()
    with serving(node):
        yield Site(node, first)


@pytest.fixture(scope="module")
def administrator(site: Site) -> Person:
    """The first administrator, enrolled with the secret of the first start."""
    assert site.first.one_time_secret is not None
    with site.browser() as browser:
        return browser.enrol(site.first.administrator, site.first.one_time_secret)


def logged_in(site: Site, browser: Browser, person: Person) -> None:
    """Log in with a recovery code: each is good once, whatever the time is."""
    answer = browser.log_in(person, person.recovery.pop())
    assert answer.status_code == 200, answer.text


def reader(site: Site, administrator: Person, name: str) -> Person:
    """Add a radiologist, as an administrator does, and enrol it."""
    with site.browser() as desk:
        logged_in(site, desk, administrator)
        added = desk.post("/api/users", name=name, roles=["radiologist"])
        assert added.status_code == 201, added.text
        secret = added.json()["one_time_secret"]
    with site.browser() as browser:
        return browser.enrol(name, secret)


def secret_of(site: Site, name: str) -> str:
    """Add a radiologist, as the node's operator does."""
    with site.node.open() as opened:
        new = NewUser(name, ("radiologist",))
        return opened.accounts.add_user(opened.operator, new)[0]


def test_from_the_first_secret_to_a_search_and_out(
    site: Site, administrator: Person
) -> None:
    person = reader(site, administrator, "mira")
    with site.browser() as browser:
        assert browser.me() == 401
        answer = browser.log_in(person)
        assert answer.status_code == 200
        cookie = answer.headers["set-cookie"]
        assert {"Secure", "HttpOnly", "SameSite=Strict", "Path=/"} <= set(
            cookie.split("; ")
        )
        assert cookie.startswith(f"{SESSION_COOKIE}=lgs_")
        assert "find" in answer.json()["rights"]
        assert browser.client.get("/dicom-web/studies").status_code in {200, 204}
        assert browser.client.get("/api/me").json()["name"] == "mira"
        kept = browser.client.cookies[SESSION_COOKIE]
        assert browser.post("/api/logout").status_code == 413  # it takes no body
        out = browser.client.post("/api/logout")
        assert out.status_code == 204
        assert "Max-Age=0" in out.headers["set-cookie"]
        # The cookie itself is dead, whoever kept it.
        browser.client.cookies.set(SESSION_COOKIE, kept)
        again = browser.client.get("/dicom-web/studies")
        assert again.status_code == 401
    types = [each.types for each in site.events(EventID.USER_AUTHENTICATION)]
    assert (EventType.LOGIN,) in types
    assert (EventType.LOGOUT,) in types


def test_an_administrator_sees_no_images(site: Site, administrator: Person) -> None:
    with site.browser() as desk:
        logged_in(site, desk, administrator)
        assert desk.client.get("/dicom-web/studies").status_code == 403
        assert desk.client.get("/api/users").status_code == 200


@pytest.mark.parametrize("wrong", ["name", "password", "code", "all"])
def test_whatever_is_wrong_there_is_one_answer(
    site: Site, administrator: Person, wrong: str
) -> None:
    person = administrator
    name = "nobody" if wrong in {"name", "all"} else person.name
    password = OTHER if wrong in {"password", "all"} else person.password
    code = "000000" if wrong in {"code", "all"} else person.recovery[0]
    with site.browser() as browser:
        first = browser.post("/api/login", name=name, password=password)
        assert first.status_code == 200
        assert set(first.json()) == {"ticket", "passkey", "ends_at"}
        second = browser.post(
            "/api/login/code", ticket=first.json()["ticket"], code=code
        )
        assert second.status_code == 403
        assert "set-cookie" not in second.headers
        told = second.json()
        assert "detail" not in told
        assert browser.me() == 401
    failed = [
        each
        for each in site.events(EventID.USER_AUTHENTICATION)
        if each.outcome is Outcome.MINOR_FAILURE
    ]
    assert failed
    assert not any("nobody" in each.participants[0].user_id for each in failed)


def test_a_code_is_good_once_and_a_ticket_for_three_tries(
    site: Site, administrator: Person
) -> None:
    person = reader(site, administrator, "nele")
    code = person.code()
    with site.browser() as browser:
        assert browser.log_in(person, code).status_code == 200
    with site.browser() as thief:
        assert thief.log_in(person, code).status_code == 403
        step = thief.told("/api/login", name=person.name, password=person.password)
        for _ in range(3):
            thief.post("/api/login/code", ticket=step["ticket"], code="000000")
        late = thief.post(
            "/api/login/code", ticket=step["ticket"], code=person.recovery[0]
        )
        assert late.status_code == 403


def test_who_is_disabled_is_out_at_once(site: Site, administrator: Person) -> None:
    person = reader(site, administrator, "olaf")
    with site.browser() as browser, site.browser() as desk:
        assert browser.log_in(person).status_code == 200
        assert browser.me() == 200
        logged_in(site, desk, administrator)
        seen = desk.client.get("/api/users/olaf/sessions").json()["sessions"]
        assert len(seen) == 1
        disabled = desk.post("/api/users/olaf/disable", reason="left the house")
        assert disabled.is_success, disabled.text
        assert browser.me() == 401
        assert browser.log_in(person, person.recovery[0]).status_code == 403


def test_a_page_of_another_site_cannot_log_anybody_in(
    site: Site, administrator: Person
) -> None:
    with site.browser() as browser:
        for headers in (
            {"origin": "https://elsewhere.example"},
            {"sec-fetch-site": "cross-site"},
        ):
            answer = browser.client.post(
                "/api/login",
                json={"name": administrator.name, "password": PASSWORD},
                headers=headers,
            )
            assert answer.status_code == 403
        form = browser.client.post("/api/login", data={"name": "x", "password": "y"})
        assert form.status_code == 415


def test_a_session_that_was_planted_is_not_taken_up(
    site: Site, administrator: Person
) -> None:
    person = reader(site, administrator, "pia")
    with site.browser() as browser:
        browser.client.cookies.set(SESSION_COOKIE, "lgs_" + "A" * 43)
        answer = browser.log_in(person)
        assert answer.status_code == 200
        assert "lgs_AAAA" not in answer.headers["set-cookie"]


@pytest.mark.usefixtures("administrator")
def test_what_one_browser_began_no_other_goes_on_with(site: Site) -> None:
    with site.browser() as browser, site.browser("127.0.0.9") as thief:
        person = browser.enrol("ruth", secret_of(site, "ruth"))
        begun = browser.told("/api/login", name=person.name, password=person.password)
        code = person.code()
        # The thief has begun a login, too: a cookie, but not this one.
        thief.told("/api/login", name="nobody", password="whatever it is")
        for _ in range(4):  # more often than a ticket may be tried
            stolen = thief.post("/api/login/code", ticket=begun["ticket"], code=code)
            assert stolen.status_code == 403
        assert thief.me() == 401
        own = browser.post("/api/login/code", ticket=begun["ticket"], code=code)
        assert own.status_code == 200
    tried = [
        each
        for each in site.events(EventID.USER_AUTHENTICATION)
        if each.participants[0].access_point == "127.0.0.9"
    ]
    told = [each.outcome_description for each in tried]
    assert told.count("no such ticket, or it has ended") == 4


@pytest.mark.usefixtures("administrator")
def test_an_enrolment_is_not_finished_elsewhere_and_trying_it_is_on_the_record(
    site: Site,
) -> None:
    secret = secret_of(site, "umut")
    with site.browser() as browser, site.browser("127.0.0.10") as thief:
        offer = browser.told("/api/enrolment", name="umut", secret=secret)
        person = Person("umut", PASSWORD, offer["app_uri"])
        said = {"ticket": offer["ticket"], "password": PASSWORD, "code": person.code()}
        assert thief.post("/api/enrolment/app", **said).status_code == 403
        wrong = browser.post("/api/enrolment/app", **said | {"code": "000000"})
        assert wrong.status_code == 400
        assert browser.post("/api/enrolment/app", **said).status_code == 200
    told = [
        (each.participants[0].access_point, each.participants[0].user_id)
        for each in site.events(EventID.USER_AUTHENTICATION)
        if each.outcome_description
        in {"no such ticket, or it has ended", "wrong second factor"}
    ]
    assert ("127.0.0.10", "unknown") in told
    assert ("127.0.0.1", "umut") in told


def test_the_secret_is_spent(site: Site, administrator: Person) -> None:
    with site.browser() as browser:
        for secret in (site.first.one_time_secret, "wrong", ""):
            answer = browser.post(
                "/api/enrolment", name=administrator.name, secret=secret
            )
            assert answer.status_code == 403


def test_what_is_dangerous_asks_for_a_fresh_proof(
    site: Site, administrator: Person
) -> None:
    person = reader(site, administrator, "quirin")
    with site.browser() as browser:
        assert browser.log_in(person).status_code == 200
        weak = browser.post("/api/me/password", password="quirin-quirin")
        assert weak.status_code == 400
        assert "guessed" in weak.json()["detail"]
        make_stale(site, person)
        stale = browser.post("/api/me/password", password=OTHER)
        assert stale.status_code == 403
        assert "anew" in stale.json()["detail"]
        assert browser.post("/api/me/prove", code="000000").status_code == 403
        proven = browser.post("/api/me/prove", code=person.recovery.pop())
        assert proven.status_code == 204
        assert browser.post("/api/me/password", password=OTHER).status_code == 204
        assert browser.me() == 401  # with the old password all sessions end
        person.password = OTHER
        logged_in(site, browser, person)
        codes = browser.client.post("/api/me/recovery-codes").json()["recovery_codes"]
        assert len(codes) == 10
        mine = browser.client.get("/api/me/proofs").json()
        assert (mine["has_app"], mine["recovery_codes_left"]) == (True, 10)


def make_stale(site: Site, person: Person) -> None:
    """Let the proof be too long ago, as an hour at the screen does."""
    people, sessions = tables.person.c, tables.session
    whose = select(people.id).where(people.name == person.name).scalar_subquery()
    stale = (
        update(sessions).where(sessions.c.person_id == whose).values(fresh_until_us=0)
    )
    with site.node.open() as opened:
        opened.database.write(lambda tx: tx.connection.execute(stale))


def test_a_program_has_no_proofs_of_a_person(site: Site) -> None:
    with site.node.open() as opened:
        new = NewToken(name="robot", role="service", networks=(HERE,))
        token, _ = opened.accounts.add_token(opened.operator, new)
    with site.browser() as browser:
        browser.client.headers["authorization"] = f"Bearer {token}"
        assert browser.client.get("/api/me").json()["has_session"] is False
        for path in ("/api/me/proofs", "/api/users/mira/sessions"):
            assert browser.client.get(path).status_code == 403
        assert browser.client.post("/api/me/recovery-codes").status_code == 403


def test_guessing_is_slowed_down_and_on_the_record(
    site: Site, administrator: Person
) -> None:
    person = reader(site, administrator, "rosa")
    # From an address of its own: whoever else is there would be slowed down too.
    with site.browser("127.0.0.2") as browser:
        for _ in range(25):
            step = browser.post("/api/login", name="rosa", password="a wrong password")
            if step.status_code == 429:
                break
        # The right password is of no use while it lasts, and says nothing else.
        answer = browser.post("/api/login", name="rosa", password=person.password)
        if answer.status_code == 200:
            late = browser.post(
                "/api/login/code",
                ticket=answer.json()["ticket"],
                code=person.recovery[0],
            )
            assert late.status_code == 403
    reasons = [
        each.outcome_description for each in site.events(EventID.USER_AUTHENTICATION)
    ]
    assert "wrong password" in reasons
    assert "too many failures before" in reasons


def test_a_passkey_enrols_logs_in_alone_and_is_no_use_twice(
    site: Site, administrator: Person
) -> None:
    with site.browser() as desk:
        logged_in(site, desk, administrator)
        added = desk.post("/api/users", name="sven", roles=["radiologist"]).json()
    key = Authenticator(host="localhost", origin=site.base)
    with site.browser() as browser:
        offer = browser.told(
            "/api/enrolment", name="sven", secret=added["one_time_secret"]
        )
        browser.told(
            "/api/enrolment/passkey",
            ticket=offer["ticket"],
            response=json.loads(key.create(json.dumps(offer["passkey"]))),
            label="key ring",
        )
        step = browser.told("/api/login/passkey")
        answer = json.loads(key.get(json.dumps(step["passkey"])))
        proof = {"ticket": step["ticket"], "response": answer}
        assert browser.told("/api/login/passkey/finish", **proof)["name"] == "sven"
        assert browser.me() == 200
        mine = browser.client.get("/api/me/proofs").json()
        [passkey] = mine["passkeys"]
        assert passkey["label"] == "key ring"
        # The last proof stays: nobody locks himself out.
        removed = browser.client.delete(f"/api/me/passkeys/{passkey['number']}")
        assert removed.status_code == 400
    with site.browser() as thief:
        again = thief.post("/api/login/passkey/finish", **proof)
        assert again.status_code == 403
        # Signed for another site, as a page that looks like ours would have it.
        step = thief.told("/api/login/passkey")
        key.origin = "https://leadglass.example"
        phished = json.loads(key.get(json.dumps(step["passkey"])))
        refused = thief.post(
            "/api/login/passkey/finish", ticket=step["ticket"], response=phished
        )
        assert refused.status_code == 403


RULE = """
[[rule]]
name = "who erases"
operators = ["tove"]
rights = ["erase"]
from = ["127.0.0.0/8"]
scope = "patient_id=P1"
reason = "wrong patient"
"""


def test_a_study_is_deleted_by_whom_a_rule_lets_for_a_reason(
    site: Site, administrator: Person
) -> None:
    person = reader(site, administrator, "tove")
    within, outside = make_instance(patient="P1"), make_instance(patient="P2")
    with site.node.open() as opened:
        for each in (within, outside):
            store(opened, each)
    why = {"leadglass-reason": quote("falscher Patient: Zoë")}

    def delete(instance: Instance, headers: dict[str, str]) -> int:
        path = f"/dicom-web/studies/{instance.study}"
        return browser.client.delete(path, headers=headers).status_code

    with site.browser() as browser:
        assert browser.log_in(person).status_code == 200
        assert delete(within, why) == 403  # a radiologist does not
        (site.node.home / "rules.toml").write_text(RULE)
        assert comes_true(lambda: delete(outside, why) == 404, 10)  # out of scope
        assert delete(within, {}) == 400
        assert delete(within, {"leadglass-reason": "%ff"}) == 400
        assert delete(within, {"leadglass-reason": "x" * 5000}) == 400
        make_stale(site, person)
        assert delete(within, why) == 403
        browser.post("/api/me/prove", code=person.recovery.pop())
        assert delete(within, why) == 204
        assert delete(within, why) == 404
        series = f"/dicom-web/studies/{outside.study}/series/{outside.series}"
        assert browser.client.delete(series).status_code == 405
    [erased] = site.events(EventID.STUDY_DELETED)
    assert "falscher Patient: Zoë" in str(erased)
    assert erased.participants[0].user_id == "tove"
