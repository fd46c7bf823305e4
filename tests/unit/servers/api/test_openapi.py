"""The description of the interface: all that is served, and nothing else."""

import json
from http import HTTPMethod, HTTPStatus
from typing import Any

import jsonschema_rs
import pytest

from leadglass.access.rights import Right
from leadglass.app import Node, web_routes
from leadglass.archive.doors import Knocks
from leadglass.pixels.transcode import Transcoder
from leadglass.servers.api.openapi import PATH, described, document
from leadglass.servers.http.answers import Answer, problem
from leadglass.servers.http.documents import Document, giving, taking
from leadglass.servers.http.routes import About, Call, Door, Parameter, Route


class Wish(Document, frozen=True):
    name: str


class Granted(Document, frozen=True):
    wish: Wish
    count: int = 0


def nothing(_: Call) -> Answer:
    return Answer()


def route(template: str, access: Right | Door = Right.FIND, **about: Any) -> Route:
    return Route(
        method=HTTPMethod.GET,
        template=template,
        access=access,
        handler=nothing,
        about=About("Something", **about),
    )


def told(*routes: Route) -> Any:
    return document(routes, "1.2.3")


def test_every_route_of_a_node_is_described_and_nothing_else(node: Node) -> None:
    with Transcoder() as transcoder:
        routes = web_routes(node, transcoder, Knocks(node.parts))
    found = document(routes, "1")
    operations = {
        (template, method)
        for template, path in found["paths"].items()
        for method in path
    }
    assert operations == {(each.template, each.method.lower()) for each in routes}
    names = [
        operation["operationId"]
        for path in found["paths"].values()
        for operation in path.values()
    ]
    assert len(names) == len(set(names)) == len(routes)
    for each in routes:
        assert each.about is not None
        assert each.about.summary
        assert not each.about.summary.endswith(".")


def test_the_description_describes_itself() -> None:
    served = described([route("/a")], "1.2.3")
    own = served[-1]
    assert (own.template, own.access) == (PATH, Door.ANYBODY_PROVEN)
    assert own.handler is not None
    body = own.handler(None).body  # type: ignore[arg-type]  # it asks nothing of it
    assert isinstance(body, bytes)
    found = json.loads(body)
    assert set(found["paths"]) == {"/a", PATH}
    assert found["info"]["version"] == "1.2.3"


def test_parameters_come_from_the_template_and_from_what_the_route_says() -> None:
    asked = (Parameter("limit", "How many", pattern="^[0-9]+$", is_needed=True),)
    found = told(route("/s/{study}/{other}", query=asked, attributes=("PatientID",)))
    parameters = found["paths"]["/s/{study}/{other}"]["get"]["parameters"]
    assert [
        (each["name"], each["in"], each.get("required")) for each in parameters
    ] == [
        ("study", "path", True),
        ("other", "path", True),
        ("limit", "query", True),
        ("attributes", "query", None),
    ]
    assert parameters[0]["schema"]["pattern"] == "^[0-9.]{1,64}$"
    assert parameters[3]["schema"]["properties"] == {"PatientID": {"type": "string"}}


def test_documents_become_schemas() -> None:
    routes = (
        giving(
            "/a", Right.FIND, "A", gives=Granted, handler=lambda _: Granted(wish=WISH)
        ),
        taking("/a", Right.FIND, "B", takes=Wish, gives=None, reader=lambda *_: WISH),
    )
    found = told(*routes)
    schemas = found["components"]["schemas"]
    assert schemas.keys() == {"Problem", "Wish", "Granted"}
    assert schemas["Wish"]["additionalProperties"] is False
    path = found["paths"]["/a"]
    given = path["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert given == {"$ref": "#/components/schemas/Granted"}
    taken = path["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert taken == {"$ref": "#/components/schemas/Wish"}
    assert "204" in path["post"]["responses"]
    assert {"408", "409", "415"} <= path["post"]["responses"].keys()


WISH = Wish(name="a")


def test_who_is_public_needs_no_proof() -> None:
    found = told(route("/a", Door.PUBLIC), route("/b"))
    public, other = (found["paths"][each]["get"] for each in ("/a", "/b"))
    assert public["security"] == []
    assert "401" not in public["responses"]
    assert "security" not in other  # that of the whole: token, session, certificate
    assert "401" in other["responses"]
    assert len(found["security"]) == 3
    assert other["x-right"] == "find"


def test_a_failure_may_look_like_a_success() -> None:
    media = ("application/dicom+json",)
    found = told(
        route(
            "/a",
            gives_media=media,
            statuses=(HTTPStatus.ACCEPTED, HTTPStatus.PRECONDITION_FAILED),
            failing=(HTTPStatus.CONFLICT,),
        )
    )
    responses = found["paths"]["/a"]["get"]["responses"]
    assert "200" not in responses
    assert responses["202"]["content"] == {media[0]: {}}
    kinds = {"application/problem+json", media[0]}
    assert responses["409"]["content"].keys() == kinds
    assert responses["412"] == {"$ref": "#/components/responses/412"}
    assert "412" in found["components"]["responses"]


def test_problems_are_what_the_schema_says() -> None:
    found = told(route("/a"))
    schema = found["components"]["schemas"]["Problem"]
    answer = problem(404, "0123", "no such resource")
    assert isinstance(answer.body, bytes)
    jsonschema_rs.validate(schema, json.loads(answer.body))


def test_a_route_that_says_nothing_of_itself_is_no_part_of_an_interface() -> None:
    silent = Route(
        method=HTTPMethod.GET, template="/a", access=Right.FIND, handler=nothing
    )
    with pytest.raises(ValueError, match="says nothing"):
        told(silent)
