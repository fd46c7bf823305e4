"""What HTTPS says of itself holds: asked at random, by everybody, without end of ideas.

The description is asked of the node, so each route that is added is asked too. Others
answer as they are described: a status, a media type, a schema, and never a mistake.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from http import HTTPMethod
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from requests.adapters import HTTPAdapter
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.peers import samples
from tests.peers.nodes import made, serving
from tests.peers.web import WAIT_S, Site, site_of

pytestmark = pytest.mark.filterwarnings("ignore")

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
# For each operation, right and wrong ones; more are found with more patience.
EXAMPLES = {GenerationMode.POSITIVE: 2, GenerationMode.NEGATIVE: 1}
FIRST_PROBLEM = 400
SEED = 20191
# Each asks from an address of its own: who guesses badly is slowed down for it.
ROLES = {
    "service": "127.0.3.1",
    "privacy": "127.0.3.2",
    "radiologist": "127.0.3.3",
    "administrator": "127.0.3.4",
}
IMAGE = samples.instance()
KNOWN = {
    "study": IMAGE.StudyInstanceUID,
    "series": IMAGE.SeriesInstanceUID,
    "instance": IMAGE.SOPInstanceUID,
    "frames": "1",
    "bulk": "7FE00010",
}


class FromAddress(HTTPAdapter):
    """Connects from one address of this machine."""

    def __init__(self, source: str) -> None:
        self.source = source
        super().__init__()

    def init_poolmanager(self, *args: Any, **more: Any) -> None:
        super().init_poolmanager(*args, source_address=(self.source, 0), **more)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    node = made(tmp_path_factory.mktemp("schemathesis") / "node")
    found = site_of(node)
    IMAGE.file_meta = samples.explicit()
    with serving(node):
        with found.client() as client:
            assert found.store([samples.written(IMAGE)], client).status_code == 200
        yield found


@pytest.fixture(scope="module")
def described(site: Site) -> Any:
    with site.client() as client:
        return client.get("/api/openapi.json").raise_for_status().json()


def session(site: Site, who: str) -> requests.Session:
    found = requests.Session()
    found.trust_env = False
    found.verify = site.ca
    found.headers.update(site.proof(who))
    found.mount("https://", FromAddress(ROLES[who]))
    return found


def test_every_operation_answers_everybody_as_it_is_described(
    site: Site, described: Any
) -> None:
    schema = schemathesis.openapi.from_dict(described)
    asked: dict[str, Answered] = {}
    with ExitStack() as stack:
        sessions = {who: stack.enter_context(session(site, who)) for who in ROLES}
        for each in schema.get_all_operations():
            operation: Any = each.ok()  # type: ignore[union-attr]  # or it raises
            said = asked.setdefault(operation.label, Answered())
            for mode, count in EXAMPLES.items():
                cases = operation.as_strategy(generation_mode=mode)
                ask(cases, count, site, sessions, said)
    assert len(asked) == sum(len(path) for path in described["paths"].values())
    assert all(each.statuses for each in asked.values())
    # Each role reached something, or nothing would have been asked at all.
    assert {who for each in asked.values() for who in each.successful} == set(ROLES)


@dataclass
class Answered:
    """What one operation answered, and to whom not with a problem."""

    statuses: set[int] = field(default_factory=set)
    successful: set[str] = field(default_factory=set)


def ask(
    cases: st.SearchStrategy[Any],
    count: int,
    site: Site,
    sessions: dict[str, requests.Session],
    said: Answered,
) -> None:
    """Ask one operation some times; each time everybody asks."""

    @seed(SEED)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases, is_known=st.booleans())
    def run(case: Any, is_known: bool) -> None:
        if is_known and case.path_parameters:
            case.path_parameters.update(
                {k: v for k, v in KNOWN.items() if k in case.path_parameters}
            )

        def call(client: requests.Session) -> Any:
            return case.call(
                base_url=site.base,
                session=client,
                verify=site.ca,
                timeout=WAIT_S,
                allow_redirects=False,
            )

        with ThreadPoolExecutor(len(sessions)) as pool:
            responses = list(pool.map(call, sessions.values()))
        for who, response in zip(sessions, responses, strict=True):
            said.statuses.add(response.status_code)
            if response.status_code < FIRST_PROBLEM:
                said.successful.add(who)
            case.validate_response(response, checks=CHECKS)

    # What takes nothing can be given nothing wrong.
    with suppress(Unsatisfiable):
        run()


def test_who_proves_nothing_gets_nothing(site: Site, described: Any) -> None:
    """Whatever the description says of an operation, but that it is public."""
    with site.client(None, "127.0.3.9") as client:
        for template, path in described["paths"].items():
            for method, operation in path.items():
                is_public = operation.get("security") == []
                if is_public and method.upper() != HTTPMethod.GET:
                    continue  # those check what is said, as pages for logging in do
                said = client.request(method, template.format_map(_Anything()))
                assert (said.status_code != 401) is is_public, (method, template)


class _Anything(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return str(KNOWN.get(name, "1"))
