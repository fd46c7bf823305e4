"""Every route, for every role, in and out of scope: made from the table of routes.

What a role may is what ``access.roles`` says. A route whose parameters are not known
here fails, and one without a right cannot be made at all.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPMethod
from pathlib import Path

import httpx
import pytest

from leadglass.access.rights import PROGRAM_RIGHTS, Right
from leadglass.access.roles import CLINICAL_RIGHTS, HOUSE_NETWORKS, ROLES
from leadglass.access.scopes import EVERYTHING, Scope
from leadglass.app import Node, web_routes
from leadglass.archive.bearer import Bearer
from leadglass.archive.caller import Caller
from leadglass.archive.doors import Knocks
from leadglass.archive.ingest import Announced
from leadglass.archive.visit import Visits
from leadglass.config import Config
from leadglass.database.engine import Transaction
from leadglass.dicom.transfer_syntaxes import EXPLICIT_VR_LE, TRANSFER_SYNTAXES
from leadglass.dicom.uids import UID
from leadglass.identity.people.secondfactor import Factor
from leadglass.identity.people.user import NewUser
from leadglass.identity.rows import to_us
from leadglass.identity.tokens.token import NewToken
from leadglass.pixels.transcode import Transcoder
from leadglass.servers.api.openapi import document
from leadglass.servers.http.authentication import (
    SESSION_COOKIE,
    Judge,
    Proof,
    authenticators,
)
from leadglass.servers.http.limits import HttpLimits
from leadglass.servers.http.routes import Door, Route
from tests.unit.servers.conftest import enroller, opened
from tests.unit.servers.http.rig import Running, listening
from tests.unit.servers.instances import STUDY, make_instance
from tests.unit.wire.rig import CT

PATIENT = "PAT-1"  # whose study is stored
INSIDE = Scope(patient_ids=frozenset({PATIENT}))
OUTSIDE = Scope(patient_ids=frozenset({"SOMEBODY-ELSE"}))
SCOPES = {"in": INSIDE, "out": OUTSIDE}
NAMES = {
    "study": STUDY,
    "series": f"{STUDY}.1",
    "instance": f"{STUDY}.1.1",
    "frames": "1",
    "bulk": "7FE00010",
    "file": "viewer",
    "folder": "assets",
    "within": "images",
    "number": "999999",
    "list": "nobody's",
    "week": "2024-W01",
    "kind": "users",
    "assignee": "nobody",
    "user": "nobody",
    "token": "nobody",
    "device": "nobody",
}
# What a route needs besides its path.
QUERIES = {
    "/wado": (
        f"?requestType=WADO&studyUID={NAMES['study']}"
        f"&seriesUID={NAMES['series']}&objectUID={NAMES['instance']}"
    )
}


def is_something(response: httpx.Response) -> bool:
    """Whether an answer of a search holds anything; a page names the study."""
    if response.headers.get("content-type", "").startswith("text/html"):
        return response.is_success and NAMES["study"] in response.text
    return response.status_code == 200 and response.json() != []


def is_success(response: httpx.Response) -> bool:
    """Whether there is an answer at all, as of what is there and may be seen."""
    return response.is_success


# What reads or writes no images, so that no scope narrows it.
SCOPELESS_RIGHTS = frozenset(Right) - CLINICAL_RIGHTS

# What an answer that reached the study looks like, by the right of the route; with
# the wrong scope it must not. Storing is judged by what comes, so by its own tests.
REACHED: dict[Right, Callable[[httpx.Response], bool]] = {Right.FIND: is_something}


@dataclass(frozen=True)
class Person:
    """Who asks: role, scope and the headers that prove it."""

    rights: frozenset[Right]
    headers: dict[str, str]


NOBODY = Person(frozenset(), {})


def table(node: Node) -> tuple[Route, ...]:
    with Transcoder() as transcoder:
        return web_routes(node, transcoder, Knocks(node.parts))


@dataclass
class Matrix:
    """A node behind HTTPS, and somebody of every role and scope."""

    running: Running
    routes: tuple[Route, ...]
    people: dict[tuple[str, str], Person]
    everybody: ThreadPoolExecutor

    def answers(
        self, client: httpx.Client, route: Route
    ) -> Iterator[tuple[tuple[str, str], Person, httpx.Response]]:
        """Ask for everybody at once: what is recorded of it is then one write."""
        asked = [
            (who, person, self.everybody.submit(ask, self, client, route, person))
            for who, person in self.people.items()
            # The same question twice, where no scope narrows anything.
            if who[1] == "in" or route.access not in SCOPELESS_RIGHTS
        ]
        for who, person, answer in asked:
            yield who, person, answer.result()


@pytest.fixture(scope="module")
def site(made_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node with a study and people; no test of these changes either."""
    folder = tmp_path_factory.mktemp("matrix")
    with opened(made_once, folder / "node") as node:
        stored(node, enroller(node, folder)("modality", "store"))
        for role in ROLES:
            for where in SCOPES:
                add(node, role, where)
        yield node


def stored(node: Node, sender: Caller) -> None:
    """Store a study as a device does."""
    instance = make_instance(1, pixels=3000, is_image=True)  # enough to be bulk data
    announced = Announced(CT, instance.uid, TRANSFER_SYNTAXES[UID(EXPLICIT_VR_LE)])
    arrival = node.ingest.begin(sender, announced)
    arrival.write(memoryview(instance.data))
    arrival.finish()
    node.parts.intake.catch_up()


@pytest.fixture
def matrix(site: Node) -> Iterator[Matrix]:
    node = site
    people = {
        (role, where): person
        for role in ROLES
        for where in SCOPES
        if (person := proven(node, role, where)) is not None
    }
    knocks = Knocks(node.parts)
    judges: dict[Proof, Judge] = {
        Proof.BEARER: Bearer(node.parts, node.accounts.tokens, knocks),
        Proof.SESSION: Visits(node.parts, node.sessions, knocks),
    }
    with (
        Transcoder() as transcoder,
        ThreadPoolExecutor(len(people)) as everybody,
    ):
        routes = web_routes(node, transcoder, Knocks(node.parts))
        generous = HttpLimits(failures_burst=10_000.0)
        with listening(
            node.authority, routes, generous, door=node.parts.require
        ) as running:
            running.known.update(authenticators(judges))  # type: ignore[arg-type]
            yield Matrix(running, routes, people, everybody)


def add(node: Node, role: str, where: str) -> None:
    """Add a person with a role, enrolled, if people can have it."""
    known = ROLES[role]
    if known.not_yet or not known.is_for_people:
        return
    name = f"{role}-{where}"
    reaches_studies = bool(known.rights & {Right.FIND, Right.VIEW})
    reach = SCOPES[where] if reaches_studies else EVERYTHING

    def work(tx: Transaction) -> None:
        users, now = node.accounts.users, datetime.now(UTC)
        # A secret that nobody has costs no scrypt: nobody enrols with one here.
        user = users.add(tx, NewUser(name, (role,)), "none", now)
        node.accounts.scopes.set(tx, user, reach)
        users.change(tx, user, {"enrolled_us": to_us(now)})

    node.database.write(work)


def proven(node: Node, role: str, where: str) -> Person | None:
    """Return somebody with a role: a person if it can be, else a program."""
    known = ROLES[role]
    if known.not_yet:
        return None
    scope, name = SCOPES[where], f"{role}-{where}"
    if not known.is_for_people:
        name = f"{name}-{time.monotonic_ns()}"  # a token's name is never given again
        new = NewToken(name=name, role=role, scope=scope, networks=HOUSE_NETWORKS)
        text, _ = node.accounts.add_token(node.operator, new)
        return Person(
            known.rights & PROGRAM_RIGHTS, {"authorization": f"Bearer {text}"}
        )

    def work(tx: Transaction) -> str:
        user = node.accounts.users.get(tx.connection, name)
        return node.sessions.create(tx, user, Factor.TOTP, None, datetime.now(UTC))[0]

    return Person(
        known.rights, {"cookie": f"{SESSION_COOKIE}={node.database.write(work)}"}
    )


def ask(
    matrix: Matrix, client: httpx.Client, route: Route, person: Person
) -> httpx.Response:
    path = route.template.format_map(NAMES) + QUERIES.get(route.template, "")
    more = dict(person.headers)
    if route.method is not HTTPMethod.GET:
        more["origin"] = matrix.running.base
    return client.request(route.method, path, headers=more)


# What a browser needs of somebody who is nobody yet.
PAGES = ("/", "/login", "/enrol", "/me", "/pages/pages.js", "/pages/pages.css")
# What everybody who is somebody may ask for: of itself, or what tells of nobody.
OWN = (
    *("/dicom-web/", "/api/openapi.json", "/start", "/language", "/web/{file}"),
    "/fhir/metadata",
    *("/viewer/", "/viewer/{file}", "/viewer/{folder}/{file}"),
    "/viewer/{folder}/{within}/{file}",
    *("/api/me", "/api/logout", "/api/me/proofs", "/api/me/proofs/offer"),
    *("/api/me/prove", "/api/me/prove/passkey"),
    *("/api/me/sessions/end", "/api/me/sessions/{number}/end"),
    *("/api/me/password", "/api/me/app", "/api/me/recovery-codes"),
    *("/api/me/passkeys", "/api/me/passkeys/{number}"),
)
# Ends what proves who asks, so it comes last.
LOGOUT = "/api/logout"


def test_every_route_asks_for_its_right_from_every_role(matrix: Matrix) -> None:
    routes = sorted(matrix.routes, key=lambda route: route.template == LOGOUT)
    with matrix.running.client(None) as client:
        for route in routes:
            for who, person, response in matrix.answers(client, route):
                told = (route.method, route.template, *who)
                if isinstance(route.access, Right):
                    is_allowed = route.access in person.rights
                    assert (response.status_code != 403) is is_allowed, told
                else:  # whatever it says to such a request, it knows who asks
                    assert response.status_code not in {401, 405, 500}, told


def test_every_route_reaches_only_what_is_in_scope(matrix: Matrix) -> None:
    with matrix.running.client(None) as client:
        for route in matrix.routes:
            if not isinstance(route.access, Right) or route.method != HTTPMethod.GET:
                continue
            if route.access in SCOPELESS_RIGHTS:
                continue
            has_reached = REACHED.get(route.access, is_success)
            for who, person, response in matrix.answers(client, route):
                expected = route.access in person.rights and who[1] == "in"
                told = (route.template, *who, response.status_code)
                assert has_reached(response) is expected, told


def test_nobody_gets_nothing_from_every_route_but_the_public_ones(
    matrix: Matrix,
) -> None:
    with matrix.running.client(None) as client:
        for route in matrix.routes:
            response = ask(matrix, client, route, NOBODY)
            told = (response.status_code == 401, response.status_code < 500)
            assert told == (route.access is not Door.PUBLIC, True), route.template


def test_only_what_tells_nothing_is_without_a_right(site: Node) -> None:
    unguarded = {
        (route.template, route.access)
        for route in table(site)
        if not isinstance(route.access, Right)
    }
    assert unguarded == {
        ("/health", Door.PUBLIC),
        ("/ready", Door.PUBLIC),
        *((template, Door.PUBLIC) for template in PAGES),
        ("/api/login", Door.PUBLIC),
        ("/api/login/code", Door.PUBLIC),
        ("/api/login/passkey", Door.PUBLIC),
        ("/api/login/passkey/finish", Door.PUBLIC),
        ("/api/enrolment", Door.PUBLIC),
        ("/api/enrolment/app", Door.PUBLIC),
        ("/api/enrolment/passkey", Door.PUBLIC),
        *((template, Door.ANYBODY_PROVEN) for template in OWN),
    }


def test_every_parameter_of_a_route_is_known_here(site: Node) -> None:
    for route in table(site):
        path = route.template.format_map(NAMES)
        assert route.match(tuple(path.split("/")[1:])) is not None


def test_single_sign_on_adds_its_two_ways_and_no_other(
    made_once: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("not a secret")
    secret.chmod(0o600)
    shutil.copytree(made_once, tmp_path / "node")
    config = Config.load(
        tmp_path / "node" / "home",
        {},
        {
            "oidc.issuer": "https://login.example",
            "oidc.client_id": "leadglass",
            "oidc.client_secret_file": str(secret),
            "oidc.group_roles": "radiology=radiologist",
        },
    )
    with Node.open(config) as node:
        routes = table(node)
    assert "/oidc/callback" in document(routes, "0")["paths"]  # programs are told, too
    found = {(route.template, route.access) for route in routes}
    with opened(made_once, tmp_path / "without") as node:
        without = {(route.template, route.access) for route in table(node)}
    assert found - without == {
        ("/oidc/begin", Door.PUBLIC),
        ("/oidc/callback", Door.PUBLIC),
    }
