"""A node behind HTTPS for foreign clients: who may ask, and how it fares."""

import socket
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx

from leadglass.access.scopes import EVERYTHING
from leadglass.app import Node
from leadglass.database.engine import Transaction
from leadglass.identity.people.secondfactor import Factor
from leadglass.identity.people.user import NewUser
from leadglass.identity.rows import to_us
from leadglass.identity.tokens.token import NewToken
from leadglass.servers.http.authentication import SESSION_COOKIE
from tests.support.node import RunningNode

WAIT_S = 30.0
HERE = (ip_network("127.0.0.0/8"),)
BOUNDARY = "cut-here"
FILES = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
JSON = "application/dicom+json"
_STATUS = "HTTP/1.1 "


@dataclass
class Site:
    """A serving node, and the proofs of those who may ask it.

    Attributes:
        tokens: Bearer tokens by role.
        sessions: Sessions of people by role.
    """

    node: RunningNode
    ca: str
    tokens: dict[str, str] = field(default_factory=dict)
    sessions: dict[str, str] = field(default_factory=dict)

    @property
    def base(self) -> str:
        return f"https://127.0.0.1:{self.node.https_port}"

    def proof(self, who: str) -> dict[str, str]:
        """Return the headers that prove a role; those of a browser for people."""
        if who in self.tokens:
            return {"authorization": f"Bearer {self.tokens[who]}"}
        cookie = f"{SESSION_COOKIE}={self.sessions[who]}"
        return {"cookie": cookie, "origin": self.base}

    def client(
        self, who: str | None = "service", source: str = "127.0.0.1"
    ) -> httpx.Client:
        context = ssl.create_default_context(cafile=self.ca)
        return httpx.Client(
            base_url=self.base,
            headers={} if who is None else self.proof(who),
            timeout=WAIT_S,
            transport=httpx.HTTPTransport(verify=context, local_address=source),
        )

    @contextmanager
    def raw(self, source: str = "127.0.0.1") -> Iterator[ssl.SSLSocket]:
        """Give a TLS connection that says what a test wants."""
        context = ssl.create_default_context(cafile=self.ca)
        with (
            socket.create_connection(
                ("127.0.0.1", self.node.https_port or 0), WAIT_S, (source, 0)
            ) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as tls,
        ):
            yield tls

    def head(
        self,
        *lines: str,
        method: str = "GET",
        path: str = "/dicom-web/studies",
        who: str = "service",
    ) -> bytes:
        """Return the head of a request that is right but for what is given."""
        host = f"Host: 127.0.0.1:{self.node.https_port}"
        proof = [f"{name}: {value}" for name, value in self.proof(who).items()]
        text = "\r\n".join((f"{method} {path} HTTP/1.1", host, *proof, *lines, "", ""))
        return text.encode("latin-1")

    def say(self, *pieces: bytes, source: str = "127.0.0.1") -> bytes:
        """Return all that is answered to some bytes, until the connection ends."""
        heard = bytearray()
        with self.raw(source) as tls:
            try:
                for piece in pieces:
                    tls.sendall(piece)
                while piece := tls.recv(65_536):
                    heard += piece
            except (ConnectionError, ssl.SSLError):
                pass  # it was cut off: what was heard before counts
        return bytes(heard)

    def store(self, files: Iterable[bytes], client: httpx.Client) -> httpx.Response:
        return client.post(
            "/dicom-web/studies",
            content=multipart(files),
            headers={"content-type": FILES, "accept": JSON},
        )

    def memory_bytes(self) -> int:
        """Return what the serving process holds now, without its children."""
        return self._status("VmRSS")

    def peak_bytes(self) -> int:
        """Return the most that it ever held."""
        return self._status("VmHWM")

    def _status(self, name: str) -> int:
        assert self.node.process is not None
        text = Path(f"/proc/{self.node.process.pid}/status").read_text()
        (line,) = (each for each in text.splitlines() if each.startswith(name))
        return int(line.split()[1]) * 1024


def multipart(files: Iterable[bytes]) -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    return (
        b"".join(head + each + b"\r\n" for each in files) + f"--{BOUNDARY}--".encode()
    )


def statuses(heard: bytes) -> list[int]:
    """Return the statuses of all answers in what was heard."""
    return [
        int(line[len(_STATUS) : len(_STATUS) + 3])
        for line in heard.decode("latin-1").split("\r\n")
        if line.startswith(_STATUS)
    ]


def site_of(node: RunningNode) -> Site:
    """Give everybody a proof, before the node serves.

    ``service`` and ``privacy`` are programs; the rest are people in front of browsers.
    """
    made = Site(node, "")
    with node.open() as opened:
        made.ca = str(opened.authority.ca_path)
        for role in ("service", "privacy"):
            new = NewToken(name=role, role=role, networks=HERE)
            made.tokens[role], _ = opened.accounts.add_token(opened.operator, new)
        for role in ("administrator", "radiologist"):
            made.sessions[role] = _session(opened, role)
    return made


def _session(opened: Node, role: str) -> str:
    """Log a person in, without the pages for it."""
    name, now = f"a-{role}", datetime.now(UTC)
    opened.accounts.add_user(opened.operator, NewUser(name, (role,)), EVERYTHING)

    def work(tx: Transaction) -> str:
        users = opened.accounts.users
        user = users.get(tx.connection, name)
        user = users.change(tx, user, {"enrolled_us": to_us(now)})
        return opened.sessions.create(tx, user, Factor.TOTP, None, now)[0]

    token: Any = opened.database.write(work)
    return str(token)
