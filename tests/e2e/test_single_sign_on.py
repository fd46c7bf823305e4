"""Single sign-on at a real provider, from the login page to images; and its attackers.

The provider is npm's ``oidc-provider`` over TLS, in a process of its own, and another
site than the node to every browser.
"""

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from playwright.sync_api import expect

from leadglass.app import provider_of
from leadglass.audit.codes import EventID, Outcome
from leadglass.audit.events import Event
from leadglass.audit.search import Search
from leadglass.config import FILE_NAME, Config
from leadglass.identity.people.user import NewUser
from leadglass.servers.http.authentication import SESSION_COOKIE
from leadglass.servers.pages.oidc import COOKIE
from tests.peers.nodes import comes_true, serving
from tests.support.browser import Seen, chromium
from tests.support.node import ROOT, RunningNode
from tests.support.openid import CLIENT, PASSWORD, SECRET, OpenIdProvider, provider_in

WAIT_S = 20.0
# How a browser comes that a provider sends back.
SENT_BACK = {
    "sec-fetch-site": "cross-site",
    "sec-fetch-mode": "navigate",
    "sec-fetch-dest": "document",
}
BLOCKED_AFTER = 21  # failures of one address; see ``lockout.PACES``


@dataclass
class Site:
    """A node and a provider that know each other."""

    node: RunningNode
    provider: OpenIdProvider

    @property
    def base(self) -> str:
        return f"https://localhost:{self.node.https_port}"

    @contextmanager
    def browser(self, source: str = "127.0.0.1") -> Iterator["Browser"]:
        with self.node.open() as opened:
            authorities = opened.authority.node_credentials().authorities
        context = ssl.create_default_context(cadata=authorities.decode())
        context.load_verify_locations(cafile=str(self.provider.authority.file))
        transport = httpx.HTTPTransport(verify=context, local_address=source)
        with httpx.Client(
            transport=transport, timeout=WAIT_S, trust_env=False
        ) as client:
            yield Browser(self, client)

    def logins(self) -> list[Event]:
        """Return all logins of the record, the newest last."""
        with self.node.open() as opened:
            found = opened.audit.list(Search(event=EventID.USER_AUTHENTICATION))
            return [each.event for each in found]


@dataclass
class Browser:
    """A client with a jar for cookies, at both."""

    site: Site
    client: httpx.Client

    def begin(self, query: str = "") -> httpx.Response:
        return self.client.get(f"{self.site.base}/oidc/begin{query}")

    def prove(self, begun: httpx.Response, login: str, password: str = PASSWORD) -> str:
        """Log in at the provider; return where it sends the browser back to."""
        assert begun.status_code == 303, begun.text
        page = self.client.get(begun.headers["location"])
        while not page.headers.get("location", "").startswith(self.site.base):
            if page.is_redirect:
                page = self.client.get(page.url.join(page.headers["location"]))
            else:
                form = {"login": login, "password": password}
                page = self.client.post(page.url, data=form)
            assert page.status_code < 400, page.text
        return page.headers["location"]

    def land(self, address: str, **headers: str) -> httpx.Response:
        return self.client.get(address, headers=SENT_BACK | headers)

    def log_in(self, login: str, query: str = "") -> httpx.Response:
        return self.land(self.prove(self.begin(query), login))

    def ask(self, path: str) -> httpx.Response:
        return self.client.get(f"{self.site.base}{path}")

    def post(self, path: str, **members: Any) -> httpx.Response:
        return self.client.post(
            f"{self.site.base}{path}",
            json=members or None,
            headers={"origin": self.site.base},
        )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("sso")
    with provider_in(folder / "provider") as provider:
        provider.start()  # for its port, which the node must know
        node = RunningNode(
            folder / "home", {"https.listen": "127.0.0.1:0", **provider.settings}
        )
        node.init()
        with serving(node):
            site = Site(node, provider)
            provider.stop()
            provider.register(f"{site.base}/oidc/callback")
            provider.know("alice", "radiology", "staff")
            provider.know("adam", "pacs")
            provider.know("single", "radiology", amr=("pwd",))
            provider.know("nobody", "staff")
            provider.start()
            yield site


def with_query(address: str, **changes: str) -> str:
    """Return an address with other parameters; an empty one is left out."""
    parts = urlsplit(address)
    query = {name: each[0] for name, each in parse_qs(parts.query).items()} | changes
    kept = urlencode({name: each for name, each in query.items() if each})
    return parts._replace(query=kept).geturl()


# ── as it should be ──────────────────────────────────────────────────────────


def test_from_the_beginning_to_a_query(site: Site) -> None:
    with site.browser() as browser:
        begun = browser.begin()
        assert begun.headers["location"].startswith(f"{site.provider.issuer}/auth?")
        kept = begun.headers["set-cookie"]
        assert kept.startswith(f"{COOKIE}=")
        assert kept.endswith("Path=/; Secure; HttpOnly; SameSite=Lax")
        landed = browser.land(browser.prove(begun, "alice"))
        assert landed.status_code == 200
        assert '<meta http-equiv="refresh" content="0;url=/start">' in landed.text
        assert landed.headers["set-cookie"].endswith("SameSite=Strict")
        assert landed.headers["cache-control"] == "no-store"
        assert browser.ask("/dicom-web/studies").status_code in {200, 204}
        me = browser.ask("/api/me").json()
        assert (me["name"], me["has_session"]) == ("sso:alice", True)
        assert "view" in me["rights"]
        assert "administer" not in me["rights"]
    event = site.logins()[-1]
    details = dict(event.details)
    assert event.outcome is Outcome.SUCCESS
    assert event.participants[0].user_id == "sso:alice"
    assert details["issuer"] == site.provider.issuer
    assert details["subject"] == "subject-of-alice"
    assert details["factor"] == "provider"


def test_a_group_gives_its_role_and_takes_it_again(site: Site) -> None:
    provider = site.provider
    provider.know("carla", "radiology")
    with site.browser() as old, site.browser() as new:
        assert old.log_in("carla").status_code == 200
        provider.know("carla", "pacs")
        assert new.log_in("carla").status_code == 200
        assert new.ask("/api/me").json()["rights"] == ["administer"]
        assert old.ask("/api/me").status_code == 401  # it was for the old role
        provider.know("carla", "staff")
        with site.browser() as last:
            refused = last.log_in("carla")
        assert refused.status_code == 403
        assert "have no access here" in refused.text
        assert SESSION_COOKIE not in refused.headers.get("set-cookie", "")
        assert new.ask("/api/me").status_code == 401
    event = site.logins()[-1]
    assert event.outcome is Outcome.MINOR_FAILURE
    assert event.participants[0].user_id == "sso:carla"
    assert "no group" in event.outcome_description


def test_the_button_in_a_real_browser(site: Site) -> None:
    with chromium() as running:
        context = running.new_context(ignore_https_errors=True)
        seen = Seen(context.new_page(), site.base)
        page = seen.page
        page.goto(f"{site.base}/login")
        page.get_by_text("Continue with the hospital <login>").click()
        page.wait_for_url(f"{site.provider.issuer}/**")
        page.fill("[name=login]", "alice")
        page.fill("[name=password]", PASSWORD)
        page.click("button")
        # The list answers: the session's cookie came along. A 401 is a fault.
        page.wait_for_url(f"{site.base}/studies", wait_until="commit")
        page.goto(f"{site.base}/me")
        expect(page.locator("#name")).to_have_text("sso:alice")
        expect(page.locator("#password-form")).to_be_hidden()
        page.get_by_text("Prove it at").click()
        page.wait_for_url(f"{site.provider.issuer}/**")
        page.fill("[name=login]", "alice")
        page.fill("[name=password]", PASSWORD)
        page.click("button")
        page.wait_for_url(f"{site.base}/me")
        faults = [each for each in seen.faults if site.provider.issuer not in each]
        assert faults == []


def test_the_provider_changes_its_keys(site: Site) -> None:
    provider = site.provider
    with site.browser() as browser:
        assert browser.log_in("alice").status_code == 200
    provider.stop()
    provider.rotate()
    provider.start()

    def logs_in() -> bool:
        with site.browser("127.0.0.2") as browser:
            return browser.log_in("alice").status_code == 200

    # The new keys are asked for at once, or some seconds after the last time.
    assert comes_true(logs_in, WAIT_S)


def test_a_person_of_here_and_one_of_there_are_two(site: Site) -> None:
    site.provider.know("otto", "radiology")
    with site.node.open() as opened:
        opened.accounts.add_user(opened.operator, NewUser("otto", ("administrator",)))
    with site.browser() as browser:
        assert browser.log_in("otto").status_code == 200
        me = browser.ask("/api/me").json()
        assert me["name"] == "sso:otto"
        assert "administer" not in me["rights"]


def test_what_is_dangerous_asks_for_a_proof_of_now(site: Site) -> None:
    with site.browser() as browser:
        landed = browser.log_in("adam", "?anew=yes")
        assert 'content="0;url=/me"' in landed.text
        added = browser.post("/api/users", name="added", roles=["radiologist"])
        assert added.status_code == 201
        # Nobody gets a proof of ours who is proven by another.
        for path, members in (
            ("/api/me/proofs/offer", {}),
            ("/api/me/password", {"password": "correct horse battery staple"}),
            ("/api/me/recovery-codes", {}),
        ):
            assert browser.post(path, **members).status_code == 400
        assert browser.ask("/api/me/proofs").json()["is_external"] is True


def test_an_administrator_shuts_out_whom_the_provider_lets_in(site: Site) -> None:
    site.provider.know("dora", "radiology")
    with site.browser() as browser:
        assert browser.log_in("dora").status_code == 200
        with site.node.open() as opened:
            opened.accounts.disable_user(opened.operator, "sso:dora")
        assert browser.ask("/api/me").status_code == 401
        assert browser.log_in("dora").status_code == 403
        assert browser.ask("/api/me").status_code == 401


# ── as it should not ─────────────────────────────────────────────────────────


def test_one_proof_is_not_enough(site: Site) -> None:
    with site.browser("127.0.0.3") as browser:
        refused = browser.log_in("single")
        assert refused.status_code == 403
        assert "second factor" in refused.text
        assert browser.ask("/api/me").status_code == 401


def test_who_is_in_no_group_of_the_table_gets_nothing(site: Site) -> None:
    with site.browser("127.0.0.3") as browser:
        assert browser.log_in("nobody").status_code == 403
    with site.node.open() as opened:
        users = opened.accounts.list_users(opened.operator)
    assert "sso:nobody" not in {each.user.name for each in users}
    assert dict(site.logins()[-1].details)["subject"] == "subject-of-nobody"


def test_what_the_provider_says_is_shown_to_nobody(site: Site) -> None:
    with site.browser("127.0.0.3") as browser:
        refused = browser.land(browser.prove(browser.begin(), "alice", "wrong"))
    assert refused.status_code == 403
    for said in ("forged", "access_denied", site.provider.issuer):
        assert said not in refused.text


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "another"},
        {"state": ""},
        {"iss": "https://evil.example"},
        {"iss": ""},
        {"code": "forged"},
        {"code": ""},
    ],
)
def test_an_answer_that_was_changed_on_the_way(
    site: Site, changes: dict[str, str]
) -> None:
    with site.browser("127.0.0.4") as browser:
        address = browser.prove(browser.begin(), "alice")
        refused = browser.land(with_query(address, **changes))
        assert refused.status_code == 403
        assert browser.ask("/api/me").status_code == 401
        # It was given up at the first try, so that nobody has a second.
        assert browser.land(address).status_code == 403 or "state" in changes


def test_a_code_is_good_once(site: Site) -> None:
    with site.browser("127.0.0.5") as browser:
        address = browser.prove(browser.begin(), "alice")
        assert browser.land(address).status_code == 200
        assert browser.land(address).status_code == 403


def test_another_browser_cannot_be_made_to_log_in_as_somebody(site: Site) -> None:
    with site.browser("127.0.0.5") as thief, site.browser("127.0.0.5") as victim:
        address = thief.prove(thief.begin(), "alice")
        victim.begin()
        assert victim.land(address).status_code == 403
        assert victim.ask("/api/me").status_code == 401


def test_a_stolen_code_is_worth_nothing_in_another_login(site: Site) -> None:
    with site.browser("127.0.0.5") as thief, site.browser("127.0.0.5") as victim:
        stolen = parse_qs(urlsplit(victim.prove(victim.begin(), "alice")).query)
        own = thief.prove(thief.begin(), "nobody")
        refused = thief.land(with_query(own, code=stolen["code"][0]))
        assert refused.status_code == 403
        assert thief.ask("/api/me").status_code == 401


def test_only_a_whole_page_comes_back_from_another_site(site: Site) -> None:
    with site.browser("127.0.0.5") as browser:
        address = browser.prove(browser.begin(), "alice")
        for headers in (
            {"sec-fetch-dest": "iframe"},
            {"sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
            {"origin": site.provider.issuer},
        ):
            assert browser.land(address, **headers).status_code == 403
        sent = f"{site.base}/oidc/begin"
        assert browser.client.get(sent, headers=SENT_BACK).status_code == 403
        assert browser.land(address).status_code == 200


def test_no_address_is_taken_from_a_request(site: Site) -> None:
    with site.browser("127.0.0.5") as browser:
        for query in ("?next=https://evil.example", "?anew=//evil.example"):
            begun = browser.begin(query)
            assert "evil" not in begun.headers["location"]
        elsewhere = browser.client.get(
            f"{site.base}/oidc/begin", headers={"host": "evil.example"}
        )
        assert elsewhere.status_code == 421


def test_guesses_from_one_address_are_counted(site: Site) -> None:
    with site.browser("127.0.0.6") as guesser:
        for _ in range(BLOCKED_AFTER):
            guesser.land(f"{site.base}/oidc/callback?state=x&code=y")
        assert guesser.begin().status_code == 403
    with site.browser("127.0.0.7") as other:
        assert other.begin().status_code == 303


def test_without_the_provider_people_of_here_log_in(site: Site) -> None:
    site.provider.stop()
    try:
        with site.browser("127.0.0.8") as browser:
            begun = browser.begin()  # what it said of itself is known still
            assert begun.status_code == 303
            state = parse_qs(urlsplit(begun.headers["location"]).query)["state"][0]
            query = urlencode(
                {"state": state, "code": "c", "iss": site.provider.issuer}
            )
            failed = browser.land(f"{site.base}/oidc/callback?{query}")
            assert failed.status_code == 503
            assert "does not answer" in failed.text
            step = browser.post("/api/login", name="otto", password="anything at all")
            assert step.status_code == 200
    finally:
        site.provider.start()


def test_nothing_secret_is_in_the_log(site: Site, tmp_path: Path) -> None:
    log = tmp_path / "log"
    node = RunningNode(
        site.node.home.parent / "second",
        {"https.listen": "127.0.0.1:0", **site.provider.settings},
        environment={"TESTS_LOG_FILE": str(log)},
    )
    node.init()
    with serving(node), Site(node, site.provider).browser() as browser:
        begun = browser.begin()
        state = parse_qs(urlsplit(begun.headers["location"]).query)["state"][0]
        address = f"https://localhost:{node.https_port}/oidc/callback"
        browser.land(
            f"{address}?state={state}&code=the-code&iss={site.provider.issuer}"
        )
        # The line is written once the answer is on its way.
        ending = "GET /oidc/callback 403"
        assert comes_true(lambda: ending in log.read_text(), WAIT_S)
    said = log.read_text()
    for secret in (state, "the-code", SECRET, begun.cookies[COOKIE]):
        assert secret not in said
    assert CLIENT not in said.replace("leadglass.", "")


# ── what the page says ───────────────────────────────────────────────────────


def test_the_settings_of_the_page_are_taken(tmp_path: Path) -> None:
    page = (ROOT / "docs/how-to/single-sign-on.md").read_text("utf-8")
    first, weaker = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (tmp_path / FILE_NAME).write_text(first)
    config = Config.load(tmp_path, {})
    assert provider_named(config) == "https://login.example/realms/hospital"
    assert config.weaknesses() == []
    (tmp_path / FILE_NAME).write_text(first + weaker.removeprefix("[oidc]\n"))
    assert len(Config.load(tmp_path, {}).weaknesses()) == 1


def provider_named(config: Config) -> str:
    """Return the provider that a node with these settings asks."""
    # Its CA file is on no machine of a test.
    here = replace(config, oidc=replace(config.oidc, ca_file=""))
    provider = provider_of(here)
    assert provider is not None
    return provider.issuer
