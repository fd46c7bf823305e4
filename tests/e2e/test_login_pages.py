"""The pages in a real browser: enrol, log in, see studies, add a passkey, log out."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page, expect

from leadglass.app import Initialised
from leadglass.identity.people.user import NewUser
from tests.e2e.test_people import Person
from tests.peers.nodes import serving
from tests.support.app import barriers, overflow_px
from tests.support.browser import Seen, chromium
from tests.support.node import RunningNode

PASSWORD = "correct horse battery staple"


@dataclass
class Site:
    node: RunningNode
    first: Initialised
    browser: Browser

    @property
    def base(self) -> str:
        return f"https://localhost:{self.node.https_port}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("pages") / "home"
    node = RunningNode(home, {"https.listen": "127.0.0.1:0"})
    first = node.init()
    with serving(node), chromium() as browser:
        yield Site(node, first, browser)


def page_of(site: Site, *expected: int, narrow: bool = False) -> Seen:
    context = site.browser.new_context(
        ignore_https_errors=True,
        viewport={"width": 360 if narrow else 1280, "height": 800},
    )
    return Seen(context.new_page(), site.base, expected=frozenset(expected))


def with_virtual_key(page: Page) -> None:
    """Give the browser an authenticator, as if one were plugged in and touched."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    session.send(
        "WebAuthn.addVirtualAuthenticator",
        {
            "options": {
                "protocol": "ctap2",
                "transport": "internal",
                "hasResidentKey": True,
                "hasUserVerification": True,
                "isUserVerified": True,
                "automaticPresenceSimulation": True,
            }
        },
    )


def enrol(seen: Seen, name: str, secret: str) -> Person:
    page = seen.page
    page.goto(f"{seen.base}/enrol")
    page.fill("#name", name)
    page.fill("#secret", secret)
    page.click("#secret-form button")
    expect(page.locator("#qr")).to_be_visible()
    text = page.inner_text("#app-text").replace(" ", "")
    person = Person(name, PASSWORD, f"otpauth://totp/x?secret={text}")
    page.fill("#new-password", PASSWORD)
    page.fill("#repeated", PASSWORD)
    page.fill("#code", person.code(-1))
    page.click("#app-form button")
    expect(page.locator("#codes li")).to_have_count(10)
    person.recovery = page.locator("#codes li").all_inner_texts()
    return person


@pytest.fixture(scope="module")
def reader(site: Site) -> Person:
    """A radiologist, enrolled on the page."""
    with site.node.open() as opened:
        new = NewUser("rhea", ("radiologist",))
        secret, _ = opened.accounts.add_user(opened.operator, new)
    seen = page_of(site, narrow=True)
    person = enrol(seen, "rhea", secret)
    assert seen.faults == []
    return person


def test_the_bare_address_leads_to_studies_by_the_login(
    site: Site, reader: Person
) -> None:
    seen = page_of(site, 401, 403)
    page = seen.page
    page.goto(f"{site.base}/viewer/")
    page.wait_for_url(re.compile(r"/login\?next="))
    page.fill("#name", reader.name)
    page.fill("#password", "not the password at all")
    page.click("#first-form button")
    page.fill("#code", reader.code())
    page.click("#second-form button")
    expect(page.locator("#alert")).to_contain_text("did not work")
    page.click("#again")
    page.fill("#password", reader.password)
    page.click("#first-form button")
    page.fill("#code", reader.recovery.pop())
    page.click("#second-form button")
    page.wait_for_url(f"{site.base}/viewer/")
    expect(page.get_by_text("Study List")).to_be_visible(timeout=60_000)
    assert seen.faults == []


def test_one_adds_a_passkey_and_logs_in_with_it_alone(
    site: Site, reader: Person
) -> None:
    seen = page_of(site, 401)
    page = seen.page
    with_virtual_key(page)
    page.goto(f"{site.base}/me")
    page.wait_for_url(re.compile(r"/login\?next=/me"))
    page.fill("#name", reader.name)
    page.fill("#password", reader.password)
    page.click("#first-form button")
    page.fill("#code", reader.recovery.pop())
    page.click("#second-form button")
    page.wait_for_url(f"{site.base}/me")
    page.fill("#label", "virtual key")
    page.click("#passkey-form button")
    expect(page.locator("#passkeys")).to_contain_text("virtual key")
    page.click("#log-out")
    page.wait_for_url(f"{site.base}/login")
    page.click("#first-passkey")
    page.wait_for_url(f"{site.base}/studies")
    assert seen.faults == []


def test_no_address_elsewhere_is_gone_to_after_a_login(
    site: Site, reader: Person
) -> None:
    seen = page_of(site, 401)
    for wanted in ("https://elsewhere.example/", "//elsewhere.example", "/\\elsewhere"):
        page = seen.page
        page.context.clear_cookies()
        page.goto(f"{site.base}/login?next={wanted}")
        page.fill("#name", reader.name)
        page.fill("#password", reader.password)
        page.click("#first-form button")
        page.fill("#code", reader.recovery.pop())
        page.click("#second-form button")
        page.wait_for_url(f"{site.base}/studies")
    assert [each for each in seen.faults if "elsewhere" in each] == []


@pytest.mark.parametrize("path", ["/login", "/enrol", "/me"])
@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_the_pages_are_for_everybody_and_in_the_readers_language(
    site: Site, path: str, scheme: str
) -> None:
    context = site.browser.new_context(
        ignore_https_errors=True,
        locale="de-DE",
        color_scheme=scheme,  # type: ignore[arg-type]
        viewport={"width": 360, "height": 800},
    )
    seen = Seen(context.new_page(), site.base, expected=frozenset({401}))
    seen.page.goto(f"{site.base}{path}")
    if path == "/me":  # nobody is logged in
        seen.page.wait_for_url(re.compile(r"/login\?next=/me"))
    expect(seen.page.locator("html")).to_have_attribute("lang", "de")
    expect(seen.page.get_by_role("button", name="Weiter").first).to_be_visible()
    assert barriers(seen.page) == []
    assert overflow_px(seen.page) == 0
    assert seen.faults == []
    context.close()


def test_what_goes_wrong_is_said_in_the_readers_language(site: Site) -> None:
    context = site.browser.new_context(ignore_https_errors=True, locale="de-DE")
    seen = Seen(context.new_page(), site.base, expected=frozenset({403}))
    seen.page.goto(f"{site.base}/login")
    seen.page.fill("#name", "nobody")
    seen.page.fill("#password", "nothing that anybody has")
    seen.page.click("#first-form button")
    seen.page.fill("#code", "000000")
    seen.page.click("#second-form button")
    expect(seen.page.locator("#alert")).to_contain_text("Das ging nicht.")
    assert seen.faults == []
    context.close()
