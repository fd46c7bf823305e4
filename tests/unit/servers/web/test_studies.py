"""The study list: who sees what on it, and what strangers type into it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest

from leadglass.access.scopes import Scope
from leadglass.app import Node, web_routes
from leadglass.archive.doors import Knocks
from leadglass.archive.ingest import Announced
from leadglass.archive.visit import Visits
from leadglass.audit.codes import EventID
from leadglass.audit.search import Search
from leadglass.dicom.transfer_syntaxes import EXPLICIT_VR_LE, TRANSFER_SYNTAXES
from leadglass.dicom.uids import UID
from leadglass.pixels.transcode import Transcoder
from leadglass.servers.http.authentication import (
    SESSION_COOKIE,
    Proof,
    authenticators,
)
from leadglass.servers.http.limits import HttpLimits
from leadglass.servers.web.studies import OFFSET_MAX, ROWS
from tests.support.people import session_of
from tests.unit.servers.conftest import enroller, opened
from tests.unit.servers.http.rig import Running, listening
from tests.unit.servers.instances import make_instance
from tests.unit.wire.rig import CT

FORM = "application/x-www-form-urlencoded"
MARKUP = '<script>alert("1")</script>'
HOSTILE = "1.2.3.4000"
COUNT = ROWS + 2
PAGE = "/studies"
DOWNLOAD = "/studies/download"
Body = Mapping[str, str] | str | bytes


@dataclass
class Ward:
    node: Node
    running: Running
    client: httpx.Client
    cookies: dict[str, str]

    def get(self, who: str) -> str:
        told = self.client.get(PAGE, headers=self._headers(who))
        assert told.status_code == 200
        return told.text

    def post(self, who: str, body: Body, path: str = PAGE) -> httpx.Response:
        content = body if isinstance(body, bytes | str) else urlencode(body)
        headers = {"content-type": FORM} | self._headers(who)
        return self.client.post(path, content=content, headers=headers)

    def found(self, who: str = "reader", /, **form: str) -> list[str]:
        told = self.post(who, form)
        assert told.status_code == 200, told.text
        return [
            part.partition('"')[0] for part in told.text.split('<tr data-study="')[1:]
        ]

    def _headers(self, who: str) -> dict[str, str]:
        return {
            "cookie": f"{SESSION_COOKIE}={self.cookies[who]}",
            "origin": self.running.base,
            "hx-request": "true",
        }


@pytest.fixture(scope="module")
def ward(made_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    folder = tmp_path_factory.mktemp("ward")
    with opened(made_once, folder / "node") as node, Transcoder() as transcoder:
        fill(node, folder)
        alone = Scope(patient_ids=frozenset({"P7"}))
        cookies = {
            "reader": session_of(node, "reader", "radiologist"),
            "alone": session_of(node, "alone", "radiologist", alone),
            "acquirer": session_of(node, "acquirer", "technologist"),
        }
        routes = web_routes(node, transcoder, Knocks(node.parts))
        visits = Visits(node.parts, node.sessions, Knocks(node.parts))
        with listening(
            node.authority, routes, HttpLimits(), door=node.parts.require
        ) as running:
            known = authenticators({Proof.SESSION: visits})
            running.known.update(known)  # type: ignore[arg-type]
            with running.client(None) as client:
                yield Ward(node, running, client, cookies)


def fill(node: Node, folder: Path) -> None:
    caller = enroller(node, folder)("modality", "store")
    several = [
        make_instance(
            study=f"1.2.3.{number}",
            PatientID=f"P{number}",
            PatientName=f"Name{number}^Given",
            AccessionNumber=f"A{number}",
            StudyDate=f"2023{1 + number // 28:02}{1 + number % 28:02}",
            StudyDescription="CT THORAX" if number == 9 else "Knee",
            ReferringPhysicianName="House^Greg" if number == 9 else "",
        )
        for number in range(1, COUNT)
    ]
    hostile = make_instance(
        study=HOSTILE,
        PatientID='"><img src>',
        PatientName=f"{MARKUP}^'&amp;",
        StudyDescription=MARKUP,
        AccessionNumber="<b>",
        ReferringPhysicianName=MARKUP,
        StudyDate="20240101",
    )
    for each in (*several, hostile):
        announced = Announced(CT, each.uid, TRANSFER_SYNTAXES[UID(EXPLICIT_VR_LE)])
        arrival = node.ingest.begin(caller, announced)
        arrival.write(memoryview(each.data))
        arrival.finish()
    node.parts.intake.catch_up()


def test_what_others_wrote_is_text(ward: Ward) -> None:
    page = ward.get("reader")
    assert f'data-study="{HOSTILE}"' in page
    assert "&lt;script&gt;alert(" in page
    for markup in ("<script>alert", "<img src>", "<b>", "'&amp;<", '""><'):
        assert markup not in page


def test_the_page_offers_what_somebody_may_do(ward: Ward) -> None:
    offers = {
        "reader": ('id="glass"', DOWNLOAD, 'class="open"'),
        "acquirer": ('id="upload"', 'class="open"'),
    }
    every = {each for offered in offers.values() for each in offered}
    for who, offered in offers.items():
        page = ward.get(who)
        assert {each for each in every if each in page} == set(offered)


def test_each_field_finds_what_it_says(ward: Ward) -> None:
    for form in (
        {"words": "name9"},
        {"words": "a9 given"},
        {"name": "GIVEN name9"},
        {"patient": "P9"},
        {"accession": "A9"},
        {"from": "2023-01-10", "to": "2023-01-10"},
        {"description": "thorax"},
        {"referring": "house"},
        {"patient": "P9", "modality": "mr, ct"},
    ):
        assert ward.found(**form) == ["1.2.3.9"], form
    assert ward.found(patient="P9", modality="MR") == []
    assert ward.found("alone") == ["1.2.3.7"]
    assert ward.found("alone", words="name9") == []
    assert ward.found("alone", name="", offset="1") == []


def test_the_list_goes_on_where_it_ended(ward: Ward) -> None:
    first, rest = ward.found(), ward.found(offset=str(ROWS))
    assert len(first) == ROWS
    assert len(set(first + rest)) == COUNT
    assert "More" in ward.post("reader", {}).text
    assert "More" not in ward.post("reader", {"offset": str(ROWS)}).text
    assert ward.found(offset=str(OFFSET_MAX)) == []


@pytest.mark.parametrize(
    "body",
    [
        {"offset": "-1"},
        {"offset": "1e3"},
        {"offset": "٣"},
        {"offset": "9999999"},
        {"from": "tomorrow"},
        {"from": "2024-01-01-2024-01-02"},
        {"name": "x" * 65},
        {"words": "a b c d e f g h i"},
        {"unknown": "1"},
        "name=a&name=b",
        "words=%ff%fe",
        "&".join(f"words{number}=1" for number in range(100)),
        b"\x00\xff",
        "words=" + "a" * 5000,
    ],
)
def test_what_is_no_search_is_refused_without_its_text(ward: Ward, body: Body) -> None:
    told = ward.post("reader", body)
    assert told.status_code in {400, 413}
    assert "tomorrow" not in told.text
    assert "xxx" not in told.text


@pytest.mark.parametrize(
    "text",
    ["%", "_", "*", "?*?*?*", "'; DROP TABLE study", "\x00", "\\", '""', "^", "="],
)
def test_signs_that_mean_something_elsewhere_do_no_harm(ward: Ward, text: str) -> None:
    for name in ("words", "name", "patient", "description", "modality"):
        assert ward.post("reader", {name: text}).status_code == 200
    assert ward.found(words="name9") == ["1.2.3.9"]


def test_a_list_is_recorded_with_what_was_asked_and_told(ward: Ward) -> None:
    ward.found(words="name8")
    *_, last = ward.node.audit.list(Search())
    assert last.event.id is EventID.QUERY
    assert "1.2.3.8" in str(last.event)
    assert any(each.query == b"words=name8" for each in last.event.objects)


def test_a_study_is_downloaded_within_the_own_scope_only(ward: Ward) -> None:
    told = ward.post("reader", {"study": "1.2.3.7"}, DOWNLOAD)
    assert (told.status_code, told.content[:4]) == (200, b"PK\x03\x04")
    assert told.headers["content-disposition"] == 'attachment; filename="study.zip"'
    assert ward.post("alone", {"study": "1.2.3.7"}, DOWNLOAD).status_code == 200
    refused = [
        ward.post("alone", {"study": uid}, DOWNLOAD).status_code
        for uid in ("1.2.3.8", "1.2.3.999")
    ]
    assert refused == [404, 404]
    bodies: tuple[Body, ...]
    bodies = ({}, {"study": "../x"}, {"other": "1.2"}, "study=1.2&study=1.3", b"\xff")
    for body in bodies:
        assert ward.post("reader", body, DOWNLOAD).status_code == 400
    assert ward.post("acquirer", {"study": "1.2.3.7"}, DOWNLOAD).status_code == 403
