"""A route names its right or is public by name; the table is searched by path."""

from http import HTTPMethod

import pytest

from leadglass.access.rights import Right
from leadglass.servers.http.routes import Door, Route, Routes
from tests.unit.servers.http.rig import echo, taking

GET = HTTPMethod.GET


def route(template: str, method: HTTPMethod = GET) -> Route:
    return Route(method=method, template=template, access=Right.FIND, handler=echo)


@pytest.mark.parametrize("access", [None, "", "find", True])
def test_a_route_without_a_right_is_none(access: object) -> None:
    with pytest.raises(TypeError, match="names its right"):
        Route(method=GET, template="/", access=access, handler=echo)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"handler": echo, "receiver": taking, "body_bytes_max": 1},
        {"receiver": taking},
        {"handler": echo, "body_bytes_max": 1},
        {"handler": echo, "template": "here"},
    ],
)
def test_a_route_that_is_none(fields: dict[str, object]) -> None:
    given = {"method": GET, "template": "/", "access": Door.PUBLIC} | fields
    with pytest.raises(
        ValueError, match=r"a route has|who takes|a template|of that length"
    ):
        Route(**given)  # type: ignore[arg-type]


def test_two_routes_cannot_be_the_same() -> None:
    with pytest.raises(ValueError, match="two routes"):
        Routes([route("/a/{one}"), route("/a/{other}")])


def test_fixed_segments_are_nearer_than_parameters() -> None:
    table = Routes([route("/{any}"), route("/a"), route("/a", HTTPMethod.DELETE)])
    assert table.find("/a")[GET][0].template == "/a"
    assert set(table.find("/a")) == {GET, HTTPMethod.DELETE}
    assert table.find("/b")[GET][1] == {"any": "b"}


@pytest.mark.parametrize("path", ["/", "", "/a/b", "//", "/a/", "a"])
def test_other_paths_are_not_found(path: str) -> None:
    assert Routes([route("/{any}")]).find(path) == {}
