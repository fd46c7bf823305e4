"""What the service says of itself: WADL as the standard has it, JSON for people."""

import json
from collections.abc import Iterator
from http import HTTPMethod
from ipaddress import ip_address
from xml.etree import ElementTree as ET

import pytest

from leadglass.access.rights import Right
from leadglass.servers.dicomweb.table import table
from leadglass.servers.dicomweb.wadl import MEDIA_TYPE
from leadglass.servers.http.answers import Answer, Problem
from leadglass.servers.http.headers import Headers
from leadglass.servers.http.routes import About, Call, Parameter, Route

WADL = "{http://wadl.dev.java.net/2009/02}"
JSON = "application/json"
SERVICES = tuple(
    Route(
        method=HTTPMethod.GET,
        template=template,
        access=Right.FIND,
        handler=lambda _: Answer(),
        about=About(
            f"Search {template.count('/')}",
            query=(Parameter("limit", "How many <at most>"),),
            attributes=("PatientID",),
            gives_media=('multipart/related; type="application/dicom+xml"', JSON),
        ),
    )
    for template in ("/dicom-web/studies", "/dicom-web/studies/{study}/series", "/wado")
)
ROUTES = {
    (route.method, route.template): route for route in table(SERVICES, lambda: None)
}


def ask(accept: str | None, method: HTTPMethod = HTTPMethod.OPTIONS) -> Answer:
    handler = ROUTES[method, "/dicom-web/"].handler
    assert handler is not None
    return handler(
        Call(
            method=method,
            path={},
            query=(),
            headers=Headers.of({} if accept is None else {"accept": accept}),
            base="https://pacs.example",
            target="/dicom-web/",
            address=ip_address("127.0.0.1"),
            channel="TLSv1.3",
            request_id="0",
            proven=None,
        )
    )


def body(answer: Answer) -> bytes:
    assert isinstance(answer.body, bytes)
    return answer.body


def resources(element: ET.Element, path: str = "") -> Iterator[tuple[str, str]]:
    for below in element.findall(f"{WADL}resource"):
        here = f"{path}/{below.attrib['path']}"
        for method in below.findall(f"{WADL}method"):
            yield method.attrib["name"], here
        yield from resources(below, here)


def test_options_gives_the_tree_of_resources() -> None:
    answer = ask(None)
    assert answer.media_type == MEDIA_TYPE
    document = ET.fromstring(body(answer))
    (top,) = document.findall(f"{WADL}resources")
    assert top.attrib["base"] == "https://pacs.example/dicom-web"
    assert list(resources(top)) == [
        ("GET", "/studies"),
        ("GET", "/studies/{study}/series"),
    ]
    names = {each.attrib["name"] for each in document.iter(f"{WADL}param")}
    assert names == {"limit", "PatientID", "Accept", "study"}


@pytest.mark.parametrize(
    ("method", "accept", "media_type"),
    [
        (HTTPMethod.GET, None, JSON),
        (HTTPMethod.GET, "*/*", JSON),
        (HTTPMethod.GET, MEDIA_TYPE, MEDIA_TYPE),
        (HTTPMethod.GET, f"{JSON};q=0.1, {MEDIA_TYPE};q=0.9", MEDIA_TYPE),
        (HTTPMethod.OPTIONS, "*/*", MEDIA_TYPE),
        (HTTPMethod.OPTIONS, JSON, JSON),
    ],
)
def test_the_form_is_negotiated(
    method: HTTPMethod, accept: str | None, media_type: str
) -> None:
    assert ask(accept, method).media_type == media_type


def test_a_form_that_there_is_not() -> None:
    with pytest.raises(Problem) as caught:
        ask("text/html")
    assert caught.value.status == 406


def test_json_names_the_right_of_each() -> None:
    told = json.loads(body(ask(JSON)))
    wanted = {"method": "GET", "path": "/dicom-web/studies", "right": "find"}
    assert wanted in told["resources"]
