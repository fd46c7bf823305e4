"""The Audit Record Repository: search, paging, read, and who may not."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest

from leadglass.audit.codes import EventID
from leadglass.audit.search import Search
from leadglass.servers.http.authentication import SESSION_COOKIE
from tests.unit.audit.test_fhir import AUDIT_EVENT, Shape, faults
from tests.unit.servers.api.conftest import House
from tests.unit.servers.conftest import Store
from tests.unit.servers.instances import STUDY

EVENTS = "/fhir/AuditEvent"
SINCE = "date=ge2020-01-01"

# ── the resources of R4 around it ────────────────────────────────────────────


def _text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is(*values: object) -> Any:
    return lambda value: value in values


BUNDLE: Shape = {
    "resourceType": (_is("Bundle"), 1, 1),
    "type": (_is("searchset"), 1, 1),
    "link": ({"relation": (_is("self", "next"), 1, 1), "url": (_text, 1, 1)}, 1, 0),
    "entry": (
        {
            "fullUrl": (_text, 1, 1),
            "resource": (AUDIT_EVENT, 1, 1),
            "search": ({"mode": (_is("match"), 1, 1)}, 1, 1),
        },
        0,
        0,
    ),
}
OUTCOME: Shape = {
    "resourceType": (_is("OperationOutcome"), 1, 1),
    "id": (_text, 0, 1),
    "issue": (
        {
            "severity": (_is("error"), 1, 1),
            # http://hl7.org/fhir/R4/valueset-issue-type.html
            "code": (
                _is("invalid", "not-found", "not-supported", "expired", "transient"),
                1,
                1,
            ),
            "diagnostics": (_text, 1, 1),
        },
        1,
        0,
    ),
}
_SEARCH_PARAM: Shape = {
    "name": (_text, 1, 1),
    "type": (_is("date", "token", "reference", "string"), 1, 1),
    "documentation": (_text, 0, 1),
}
_REST: Shape = {
    "mode": (_is("server"), 1, 1),
    "documentation": (_text, 0, 1),
    "security": ({"cors": (_is(False), 0, 1), "description": (_text, 0, 1)}, 0, 1),
    "resource": (
        {
            "type": (_is("AuditEvent"), 1, 1),
            "interaction": ({"code": (_is("read", "search-type"), 1, 1)}, 0, 0),
            "versioning": (_is("no-version"), 0, 1),
            "searchParam": (_SEARCH_PARAM, 0, 0),
        },
        0,
        0,
    ),
}
CAPABILITY: Shape = {
    "resourceType": (_is("CapabilityStatement"), 1, 1),
    "status": (_is("active"), 1, 1),
    "date": (_text, 1, 1),
    "kind": (_is("instance"), 1, 1),
    "software": ({"name": (_text, 1, 1), "version": (_text, 0, 1)}, 0, 1),
    "implementation": ({"description": (_text, 1, 1), "url": (_text, 0, 1)}, 0, 1),
    "fhirVersion": (_is("4.0.1"), 1, 1),
    "format": (_is("application/fhir+json"), 1, 0),
    "rest": (_REST, 0, 0),
}


def resource(response: httpx.Response, shape: Shape, status: int = 200) -> Any:
    """Return what an answer holds, which has a shape of R4."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/fhir+json"
    found = response.json()
    assert list(faults(found, shape, found["resourceType"])) == []
    return found


def found(house: House, query: str, who: str = "paul") -> list[Any]:
    bundle = resource(house.get(who, f"{EVENTS}?{query}"), BUNDLE)
    return [each["resource"] for each in bundle.get("entry", [])]


def links(bundle: Any) -> dict[str, str]:
    return {each["relation"]: each["url"] for each in bundle["link"]}


def parts(house: House, url: str, who: str = "paul") -> Iterator[Any]:
    """Yield each part of an answer."""
    while url:
        parsed = urlsplit(url)
        bundle = resource(house.get(who, f"{parsed.path}?{parsed.query}"), BUNDLE)
        yield bundle
        url = links(bundle).get("next", "")


def codes(resources: list[Any]) -> set[str]:
    return {each["type"]["code"] for each in resources}


@pytest.fixture
def stored(house: House, store: Store) -> House:
    store(1)
    house.node.parts.intake.catch_up()
    return house


def test_what_is_offered_is_told_to_who_is_somebody(house: House) -> None:
    offered = resource(house.get("alice", "/fhir/metadata"), CAPABILITY)
    (told,) = offered["rest"][0]["resource"]
    names = {each["name"] for each in told["searchParam"]}
    assert {"date", "patient.identifier", "entity.identifier", "outcome"} <= names
    assert house.client.get("/fhir/metadata").status_code == 401


def test_a_patient_is_found_by_every_way_to_say_it(stored: House) -> None:
    asked = {
        query: [each["id"] for each in found(stored, f"{SINCE}&type=110104&{query}")]
        for query in (
            "patient=PAT-1",
            "patient=Patient/PAT-1",
            "patient.identifier=%7CPAT-1",
            "entity.identifier=PAT-1",
            f"entity=ImagingStudy/{STUDY}",
            f"entity.identifier=urn:dicom:uid%7Curn:oid:{STUDY}",
        )
    }
    numbers = set(map(tuple, asked.values()))
    assert len(numbers) == 1, asked
    assert all(map(len, numbers))


def test_each_condition_narrows(stored: House) -> None:
    everything = found(stored, f"{SINCE}&_count=100")
    assert {"110104", "110113"} <= codes(everything)
    assert codes(found(stored, f"{SINCE}&type=110104")) == {"110104"}
    assert codes(found(stored, f"{SINCE}&type=110104,110113")) == {"110104", "110113"}
    assert found(stored, f"{SINCE}&type=110104&agent=modality")
    assert not found(stored, f"{SINCE}&type=110104&agent=nobody")
    assert found(stored, f"{SINCE}&type=110104&address=127.0.0.1")
    assert not found(stored, f"{SINCE}&type=110104&address=127.0.0")
    kinds = {kind["code"] for each in everything for kind in each.get("subtype", [])}
    assert kinds
    for kind in kinds:
        narrowed = found(stored, f"{SINCE}&subtype={kind}&_count=100")
        assert narrowed
        for each in narrowed:
            assert kind in {told["code"] for told in each["subtype"]}
    assert not found(stored, f"{SINCE}&outcome=12")
    assert not found(stored, f"{SINCE}&type=rest")
    assert not found(stored, "date=lt2020-01-01")


def test_times_are_those_that_it_was_recorded_at(stored: House) -> None:
    newest = found(stored, f"{SINCE}&type=110104")[0]["recorded"]
    moment = newest.replace("+", "%2B")
    assert newest in {
        each["recorded"] for each in found(stored, f"date=ge{moment}&date=le{moment}")
    }
    assert newest not in {
        each["recorded"] for each in found(stored, f"date=gt{moment}&type=110104")
    }


def test_parts_follow_each_other_and_none_is_left_out(stored: House) -> None:
    whole = [each["id"] for each in found(stored, f"{SINCE}&_count=100")]
    top = int(whole[0])
    divided = [
        each["resource"]
        for bundle in parts(stored, f"{EVENTS}?{SINCE}&_count=3")
        for each in bundle.get("entry", [])
    ]
    numbers = [int(each["id"]) for each in divided]
    assert numbers == sorted(numbers, reverse=True)
    assert [n for n in numbers if n <= top] == [int(each) for each in whole]


def test_the_url_of_the_next_part_names_nobody_and_is_for_who_asked(
    stored: House,
) -> None:
    asked = f"{EVENTS}?{SINCE}&_count=1&patient=PAT-1"
    stored.get("paul", asked)  # which is a record of its own
    bundle = resource(stored.get("paul", asked), BUNDLE)
    told = links(bundle)
    assert dict(parse_qsl(urlsplit(told["self"]).query))["patient"] == "PAT-1"
    follows = urlsplit(told["next"])
    assert "PAT-1" not in told["next"]
    again = f"{follows.path}?{follows.query}"
    assert resource(stored.get("paul", again), BUNDLE)["entry"]
    resource(stored.get("pia", again), OUTCOME, 410)
    (_, sealed), *_ = parse_qsl(follows.query)
    for wrong in (sealed[:-4], "A" * 200, "", "ä", "AAAA=", "[0, []]"):
        url = f"{EVENTS}?{urlencode({'_page': wrong})}"
        resource(stored.get("paul", url), OUTCOME, 410)
    resource(stored.get("paul", f"{again}&patient=PAT-2"), OUTCOME, 400)


def form(house: House, who: str, text: str, kind: str = "") -> httpx.Response:
    headers = {
        "cookie": f"{SESSION_COOKIE}={house.cookies[who]}",
        "origin": house.running.base,
        "content-type": kind or "application/x-www-form-urlencoded; charset=utf-8",
    }
    return house.client.post(f"{EVENTS}/_search", headers=headers, content=text)


def test_who_posts_has_no_patient_in_a_url(stored: House) -> None:
    asked = "date=ge2020&patient=PAT-1&type=110104&_count=1"
    bundle = resource(form(stored, "paul", asked), BUNDLE)
    assert [each["resource"]["type"]["code"] for each in bundle["entry"]] == ["110104"]
    resource(form(stored, "paul", asked, "text/plain"), OUTCOME, 415)
    resource(form(stored, "paul", "date=%FF"), OUTCOME, 400)
    resource(form(stored, "paul", "&".join(["date=ge2020"] * 40)), OUTCOME, 400)
    assert (
        form(stored, "paul", f"date=ge2020&patient={'x' * 17_000}").status_code == 413
    )
    assert form(stored, "alice", asked).status_code == 403


def test_one_is_read_by_its_number(stored: House) -> None:
    one = found(stored, f"{SINCE}&type=110104")[0]
    read = resource(stored.get("paul", f"{EVENTS}/{one['id']}"), AUDIT_EVENT)
    assert read == one
    for wrong in ("999999", "-1", "1.5", "x", "%C2%B2", "9" * 30, "0x1", " 1"):
        resource(stored.get("paul", f"{EVENTS}/{wrong}"), OUTCOME, 404)


def test_what_is_wrong_is_told_without_what_it_was(house: House) -> None:
    for query, status in (
        ("", 400),
        ("patient=SECRET", 400),
        (f"{SINCE}&SECRET=1", 400),
        (f"{SINCE}&patient.identifier=SECRET%7CSECRET", 400),
        (f"{SINCE}&_format=xml", 406),
    ):
        told = house.get("paul", f"{EVENTS}?{query}")
        resource(told, OUTCOME, status)
        assert "SECRET" not in told.text
    told = house.client.get(
        f"{EVENTS}?{SINCE}",
        headers={
            "cookie": f"{SESSION_COOKIE}={house.cookies['paul']}",
            "accept": "application/fhir+xml",
        },
    )
    resource(told, OUTCOME, 406)


def test_what_is_not_known_is_left_out_for_who_prefers_it(house: House) -> None:
    told = house.client.get(
        f"{EVENTS}?{SINCE}&color=red",
        headers={
            "cookie": f"{SESSION_COOKIE}={house.cookies['paul']}",
            "prefer": "handling=lenient",
        },
    )
    assert "color" not in links(resource(told, BUNDLE))["self"]


def test_a_search_is_on_the_record_with_whom_it_was_about(stored: House) -> None:
    found(stored, f"{SINCE}&patient=PAT-1")
    about = Search(event=EventID.AUDIT_LOG_USED, patient="PAT-1")
    (record,) = stored.node.audit.list(about)
    (who,) = record.event.participants
    assert who.user_id == "paul"


def test_who_may_not_read_the_log_learns_nothing(stored: House) -> None:
    for who in ("alice", "tim"):
        for path in (f"{EVENTS}?{SINCE}", f"{EVENTS}/0"):
            told = stored.get(who, path)
            assert told.status_code == 403
            assert "110104" not in told.text
    assert stored.client.get(f"{EVENTS}/0").status_code == 401


def test_a_hostile_name_is_json_and_nothing_more(house: House) -> None:
    name = "<script>\x1b[2J\u202e\"'}"
    house.get("paul", f"{EVENTS}?{urlencode({'date': 'ge2020', 'patient': name})}")
    told = house.get("paul", f"{EVENTS}?{SINCE}&type=110101")
    assert "\x1b" not in told.text
    named = json.dumps(told.json())
    assert "<script>" in named
