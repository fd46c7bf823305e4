"""A node behind HTTPS in this process, and people of several roles with sessions."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from leadglass.access.scopes import EVERYTHING, Scope
from leadglass.app import Node, web_routes
from leadglass.archive.bearer import Bearer
from leadglass.archive.doors import Knocks
from leadglass.archive.visit import Visits
from leadglass.identity.people.secondfactor import Factor
from leadglass.identity.people.user import NewUser
from leadglass.identity.rows import to_us
from leadglass.pixels.transcode import Transcoder
from leadglass.servers.http.authentication import (
    SESSION_COOKIE,
    Judge,
    Proof,
    authenticators,
)
from leadglass.servers.http.limits import HttpLimits
from tests.unit.servers.conftest import config_of
from tests.unit.servers.http.rig import Running, listening

ELSEWHERE = Scope(patient_ids=frozenset({"SOMEBODY-ELSE"}))
ROLES = {
    "ada": ("administrator", EVERYTHING),
    "alice": ("radiologist", ELSEWHERE),
    "bob": ("radiologist", EVERYTHING),
    "tim": ("technologist", EVERYTHING),
    "paul": ("privacy", EVERYTHING),
    "pia": ("privacy", EVERYTHING),
}


@dataclass
class House:
    """What is asked, and by whom."""

    node: Node
    running: Running
    client: httpx.Client
    cookies: dict[str, str]

    def ask(self, who: str, method: str, path: str, body: Any = None) -> httpx.Response:
        headers = {
            "cookie": f"{SESSION_COOKIE}={self.cookies[who]}",
            "origin": self.running.base,
        }
        more = {} if body is None else {"json": body}
        return self.client.request(method, path, headers=headers, **more)

    def get(self, who: str, path: str) -> httpx.Response:
        return self.ask(who, "GET", path)

    def post(self, who: str, path: str, body: Any = None) -> httpx.Response:
        return self.ask(who, "POST", path, body)


def come_in(node: Node, name: str) -> str:
    """Enrol a user and open a session; return its secret."""
    now = datetime.now(UTC)

    def work(tx: Any) -> str:
        users = node.accounts.users
        user = users.get(tx.connection, name)
        user = users.change(tx, user, {"enrolled_us": to_us(now)})
        return node.sessions.create(tx, user, Factor.TOTP, None, now)[0]

    return node.database.write(work)


@dataclass(frozen=True)
class Made:
    """A node that was made once, and the sessions in it."""

    folder: Path
    cookies: dict[str, str]


@pytest.fixture(scope="session")
def peopled(made_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("peopled") / "made"
    shutil.copytree(made_once, folder)
    cookies = {}
    with Node.open(config_of(folder / "home")) as node:
        for name, (role, scope) in ROLES.items():
            node.accounts.add_user(node.operator, NewUser(name, (role,)), scope)
            cookies[name] = come_in(node, name)
    return Made(folder, cookies)


@pytest.fixture
def node(peopled: Made, tmp_path: Path) -> Iterator[Node]:
    folder = tmp_path / "node"
    shutil.copytree(peopled.folder, folder)
    with Node.open(config_of(folder / "home")) as node:
        yield node


@pytest.fixture
def house(node: Node, peopled: Made) -> Iterator[House]:
    knocks = Knocks(node.parts)
    judges: dict[Proof, Judge] = {
        Proof.BEARER: Bearer(node.parts, node.accounts.tokens, knocks),
        Proof.SESSION: Visits(node.parts, node.sessions, knocks),
    }
    with Transcoder() as transcoder:
        routes = web_routes(node, transcoder, Knocks(node.parts))
        limits = HttpLimits(failures_burst=10_000.0)
        with listening(
            node.authority, routes, limits, door=node.parts.require
        ) as running:
            running.known.update(authenticators(judges))  # type: ignore[arg-type]
            with running.client(None) as client:
                yield House(node, running, client, peopled.cookies)


def likeness(response: httpx.Response) -> tuple[Any, ...]:
    """Return all that an answer says but when, and by which number."""
    told = response.json()
    told.pop("instance", None)
    unlike = {"date", "x-request-id"}
    headers = {k: v for k, v in response.headers.items() if k not in unlike}
    return response.status_code, told, headers
