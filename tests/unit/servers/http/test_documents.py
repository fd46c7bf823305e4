"""Documents of our own interface: what is none is told so, without its content."""

import json
from contextlib import suppress
from http import HTTPMethod, HTTPStatus
from ipaddress import ip_address
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadglass.errors import Misconfigured
from leadglass.servers.http.answers import Problem
from leadglass.servers.http.documents import (
    DOCUMENT_BYTES_MAX,
    Document,
    read_document,
    taking,
)
from leadglass.servers.http.headers import Headers
from leadglass.servers.http.routes import Call, Door


class Wish(Document, frozen=True):
    name: str
    kind: Literal["small", "large"] = "small"
    parts: tuple[int, ...] = ()


def call(content_type: str = "application/json") -> Call:
    return Call(
        method="POST",
        path={},
        query=(),
        headers=Headers.of({"content-type": content_type}),
        base="https://localhost",
        target="/",
        address=ip_address("127.0.0.1"),
        channel="TLSv1.3",
        request_id="0",
        proven=None,
    )


def test_a_document_is_read_and_answered() -> None:
    route = taking(
        "/", Door.PUBLIC, "Wish", takes=Wish, gives=Wish, reader=lambda _, wish: wish
    )
    assert route.body_bytes_max == DOCUMENT_BYTES_MAX
    assert route.method is HTTPMethod.POST
    assert route.reader is not None
    given_back = route.reader(call(), b'{"name": "a", "kind": "large"}')
    assert isinstance(given_back.body, bytes)
    assert json.loads(given_back.body) == {"name": "a", "kind": "large", "parts": []}


def test_what_an_operator_would_be_told_is_a_bad_request() -> None:
    def read(_: Call, _wish: Wish) -> Wish:
        raise Misconfigured("role: there is no such", "name: too long")

    route = taking("/", Door.PUBLIC, "Wish", takes=Wish, gives=Wish, reader=read)
    assert route.reader is not None
    with pytest.raises(Problem) as caught:
        route.reader(call(), b'{"name": "a"}')
    assert caught.value.status is HTTPStatus.BAD_REQUEST
    assert caught.value.detail == "role: there is no such; name: too long"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"{}", "Object missing required field"),
        (b'{"name": 1}', "Expected `str`, got `int` - at `$.name`"),
        (b'{"name": "a", "kind": "SECRET"}', "Invalid enum value - at `$.kind`"),
        (b'{"name": "a", "SECRET": 1}', "Object contains unknown field"),
        (
            b'{"name": "a", "parts": [1, "SECRET"]}',
            "Expected `int`, got `str` - at `$.parts[1]`",
        ),
        (b'["SECRET"]', "Expected `object`, got `array`"),
        (b'{"name": "SECRET', "the body is no JSON"),
        (b'{"name": "\xff"}', "the body is no JSON"),
        (b'{"name":' + b"[" * DOCUMENT_BYTES_MAX, "Expected"),
        (b"", "the body is no JSON"),
    ],
)
def test_what_is_no_document_is_told_without_its_content(
    body: bytes, told: str
) -> None:
    with pytest.raises(Problem) as caught:
        read_document(call(), body, Wish)
    assert caught.value.status == HTTPStatus.BAD_REQUEST
    assert caught.value.detail.startswith(told)
    assert "SECRET" not in caught.value.detail


@pytest.mark.parametrize(
    "kind",
    ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"],
)
def test_what_a_form_of_another_site_can_send_is_not_read(kind: str) -> None:
    with pytest.raises(Problem) as caught:
        read_document(call(kind), b'{"name": "a"}', Wish)
    assert caught.value.status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE


@given(st.binary(max_size=200))
def test_whatever_comes_is_a_document_or_a_problem(body: bytes) -> None:
    with suppress(Problem):
        assert isinstance(read_document(call(), body, Wish).name, str)
