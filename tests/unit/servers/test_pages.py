"""Pages for logging in: the same for everybody, and nothing in them can be injected."""

import re
from collections.abc import Mapping
from html.parser import HTMLParser
from ipaddress import ip_address

import pytest

from leadglass.servers.http.answers import Answer
from leadglass.servers.http.headers import Headers
from leadglass.servers.http.routes import Call, Door, Routes
from leadglass.servers.pages import pages
from leadglass.servers.web.texts import Texts

PATHS = ("/login", "/enrol", "/me")


def ask(path: str, headers: Mapping[str, str] = {}, single_sign_on: str = "") -> Answer:
    routes = Routes(pages.routes(Texts(), single_sign_on))
    [(route, parameters)] = routes.find(path).values()
    assert route.access is Door.PUBLIC
    assert route.handler is not None
    return route.handler(
        Call(
            method="GET",
            path=parameters,
            query=(),
            headers=Headers.of(dict(headers)),
            base="https://localhost",
            target=path,
            address=ip_address("127.0.0.1"),
            channel="TLSv1.3",
            request_id="0",
            proven=None,
        )
    )


class Seen(HTMLParser):
    """What a page is made of."""

    def __init__(self, path: str) -> None:
        super().__init__()
        body = ask(path).body
        assert isinstance(body, bytes)
        self.ids: set[str] = set()
        self.labelled: set[str] = set()
        self.inputs: set[str] = set()
        self.places: set[str] = set()
        self.inline: list[str] = []
        self.feed(body.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids.add(given.get("id", ""))
        if tag == "label":
            self.labelled.add(given["for"])
        if tag == "input":
            self.inputs.add(given["id"])
        self.places |= {given[name] for name in ("src", "href") if name in given}
        self.inline += [name for name in given if name.startswith("on")]
        self.inline += ["style"] * ("style" in given or tag == "style")
        self.inline += ["script"] * (tag == "script" and "src" not in given)


@pytest.mark.parametrize("path", PATHS)
def test_a_page_has_nothing_inline_and_asks_nothing_elsewhere(path: str) -> None:
    seen = Seen(path)
    assert seen.inline == []
    assert all(re.fullmatch(r"/[a-z/.]*|data:,|", place) for place in seen.places), (
        seen.places
    )
    policy = ask(path).headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize("path", PATHS)
def test_every_field_has_its_label(path: str) -> None:
    seen = Seen(path)
    assert seen.inputs
    assert seen.inputs <= seen.labelled


def test_the_script_finds_what_it_looks_for() -> None:
    script = ask("/pages/pages.js").body
    assert isinstance(script, bytes)
    wanted = set(re.findall(r"find\('([a-z-]+)'\)", script.decode()))
    there = set().union(*(Seen(path).ids for path in PATHS))
    assert wanted
    assert wanted <= there
    assert b"innerHTML" not in script


def test_the_bare_address_leads_to_the_login() -> None:
    answer = ask("/")
    assert (answer.status, answer.headers["location"]) == (303, "/login")


def page_with(single_sign_on: str, path: str = "/login") -> str:
    body = ask(path, single_sign_on=single_sign_on).body
    assert isinstance(body, bytes)
    return body.decode()


def test_another_way_to_log_in_is_offered_only_where_there_is_one() -> None:
    for path in PATHS:
        assert "/oidc/" not in page_with("", path)
    assert page_with("the hospital").count('href="/oidc/begin"') == 1
    assert "Continue with the hospital</a>" in page_with("the hospital")


def test_the_name_of_that_way_is_text() -> None:
    page = page_with('<script>"&')
    assert "Continue with &lt;script&gt;&#34;&amp;</a>" in page


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("headers", "language"),
    [
        ({}, "en"),
        ({"accept-language": "de-CH,de;q=0.9,en;q=0.8"}, "de"),
        ({"accept-language": "fr"}, "en"),
        ({"accept-language": "en", "cookie": "__Host-language=de"}, "de"),
        ({"accept-language": "de", "cookie": "__Host-language=../x"}, "de"),
    ],
)
def test_a_page_speaks_its_readers_language(
    path: str, headers: dict[str, str], language: str
) -> None:
    answer = ask(path, headers)
    assert isinstance(answer.body, bytes)
    assert f'<html lang="{language}">'.encode() in answer.body
    assert (b"Weiter" in answer.body) == (language == "de")
    assert answer.headers["vary"] == "accept-language, cookie"
