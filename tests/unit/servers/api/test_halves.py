"""Tickets in two halves: neither is worth anything without the other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadglass.identity.people.tickets import hash_token, new_token
from leadglass.servers.api.halves import TICKET_COOKIE, halved, whole
from leadglass.servers.http.headers import Headers

NOTHING = Headers()


def browser(cookie: str) -> Headers:
    """What the browser that was given a cookie sends."""
    return Headers.of({"cookie": f"other=x; {cookie.partition(';')[0]}"})


def test_both_halves_make_the_ticket_and_no_other_browser_has_the_other() -> None:
    ticket, _ = new_token()
    half, cookie = halved(ticket, NOTHING)
    _, elsewhere = halved(ticket, NOTHING)
    assert whole(half, browser(cookie)) == ticket
    assert whole(half, NOTHING) != ticket
    assert whole(half, browser(elsewhere)) != ticket
    # The cookie alone, sent as if it were the ticket.
    kept = cookie.partition("=")[2].partition(";")[0]
    assert whole(kept, NOTHING) != ticket
    assert whole(kept, browser(cookie)) != ticket


def test_the_other_half_is_for_no_script_no_other_host_and_no_other_page() -> None:
    _, cookie = halved(new_token()[0], NOTHING)
    name, *attributes = cookie.split("; ")
    assert name.startswith("__Host-")
    assert {"Secure", "HttpOnly", "SameSite=Strict", "Path=/"} <= set(attributes)
    assert not any(each.startswith("Domain") for each in attributes)


def test_what_another_window_began_goes_on() -> None:
    one, two = new_token()[0], new_token()[0]
    half, cookie = halved(one, NOTHING)
    other, renewed = halved(two, browser(cookie))
    assert (whole(half, browser(renewed)), whole(other, browser(renewed))) == (one, two)


def test_of_two_cookies_neither_counts() -> None:
    ticket, _ = new_token()
    half, cookie = halved(ticket, NOTHING)
    planted = f"{TICKET_COOKIE}={'A' * 43}"
    both = Headers.of({"cookie": f"{planted}; {cookie.partition(';')[0]}"})
    assert whole(half, both) != ticket
    _, fresh = halved(ticket, both)
    assert planted not in fresh


@pytest.mark.parametrize(
    "cookie", ["", "A" * 42, "A" * 44, "=" * 43, "é" * 43, "." * 43]
)
def test_a_cookie_that_is_none_is_replaced(cookie: str) -> None:
    sent = Headers(raw=[(b"cookie", f"{TICKET_COOKIE}={cookie}".encode("latin-1"))])
    ticket, _ = new_token()
    half, fresh = halved(ticket, sent)
    assert whole(half, browser(fresh)) == ticket


@given(st.text(max_size=60))
def test_whatever_comes_as_a_half_is_answered(half: str) -> None:
    _, cookie = halved(new_token()[0], NOTHING)
    for headers in (NOTHING, browser(cookie)):
        found = whole(half, headers)
        assert found == half or hash_token(found) is not None
