"""A listener over real TLS on loopback, with small stores of real proofs."""

import hashlib
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPMethod
from queue import SimpleQueue
from threading import Event
from typing import Final

import httpx

from leadglass.access.policy import Kind, Subject
from leadglass.access.rights import Right
from leadglass.archive.caller import Caller
from leadglass.errors import Refused
from leadglass.identity.authority import Authority
from leadglass.servers.http.answers import Answer
from leadglass.servers.http.authentication import SESSION_COOKIE, Presented, Proof
from leadglass.servers.http.guard import Guard
from leadglass.servers.http.limits import HttpLimits
from leadglass.servers.http.routes import Call, Door, Route
from leadglass.servers.http.server import HttpServer
from leadglass.servers.tls import Contexts, Credentials

WAIT_S: Final = 20.0
TOKEN: Final = "lgt_a-token-that-is-known"
POWERLESS: Final = "lgt_a-token-without-rights"
SESSION: Final = "a-session-that-is-known"
ALICE: Final = Subject(Kind.OPERATOR, "alice")
NOBODY_MUCH: Final = Subject(Kind.OPERATOR, "norights")
BODY_BYTES_MAX: Final = 100_000
# By which browsers know it where port 443 is forwarded to it.
PUBLIC: Final = "https://pacs.example"


@dataclass(slots=True)
class Known:
    """Secrets that prove somebody, kept by their hash."""

    subjects: dict[bytes, Subject] = field(default_factory=dict)

    def add(self, secret: bytes, subject: Subject) -> None:
        self.subjects[hashlib.sha256(secret).digest()] = subject

    def __call__(self, presented: Presented) -> Caller:
        subject = self.subjects.get(hashlib.sha256(presented.secret).digest())
        if subject is None:
            raise Refused("nobody has this secret")
        return Caller(subject, presented.address, channel=presented.channel)


def doorman(caller: Caller, right: Right, _function: str) -> None:
    if caller.subject == NOBODY_MUCH:
        raise Refused(f"no rule gives it the right {right}")


def whoami(call: Call) -> Answer:
    name = call.caller.subject.name
    return Answer(200, "text/plain", f"{name} {call.channel} {call.address}".encode())


def echo(call: Call) -> Answer:
    return Answer(200, "text/plain", repr((dict(call.path), call.query)).encode())


def failing(_: Call) -> Answer:
    raise RuntimeError("Doe^Jane was born on 19700101")


def taking(_: Call, body: Iterator[bytes]) -> Answer:
    count = sum(map(len, body))
    return Answer(200, "text/plain", str(count).encode())


@dataclass(slots=True)
class Pieces:
    """A body of pieces, and how many of them were made."""

    count: int
    fails_at: int = -1
    made: int = 0
    closed: Event = field(default_factory=Event)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self.made == self.fails_at:
            raise RuntimeError("Doe^Jane")
        if self.made == self.count:
            raise StopIteration
        self.made += 1
        return bytes(65_536)

    def close(self) -> None:
        self.closed.set()


def routes(*more: Route) -> tuple[Route, ...]:
    get, post = HTTPMethod.GET, HTTPMethod.POST
    return (
        Route(method=get, template="/whoami", access=Right.FIND, handler=whoami),
        Route(method=get, template="/me", access=Door.ANYBODY_PROVEN, handler=whoami),
        Route(method=get, template="/health", access=Door.PUBLIC, handler=echo),
        Route(
            method=get, template="/echo/{one}/{two}", access=Right.FIND, handler=echo
        ),
        Route(method=get, template="/fails", access=Right.FIND, handler=failing),
        Route(
            method=post,
            template="/take",
            access=Right.STORE,
            receiver=taking,
            body_bytes_max=BODY_BYTES_MAX,
        ),
        *more,
    )


@dataclass(slots=True)
class Running:
    """A listener, and clients for it."""

    server: HttpServer
    ca: str
    known: dict[Proof, Known]
    # Reasons for which somebody was turned away before any request.
    strangers: "SimpleQueue[str]" = field(default_factory=SimpleQueue)

    @property
    def port(self) -> int:
        return self.server.address[1]

    @property
    def base(self) -> str:
        return f"https://localhost:{self.port}"

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.ca)

    def client(self, token: str | None = TOKEN, **more: object) -> httpx.Client:
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        more.setdefault("verify", self.context())
        return httpx.Client(
            base_url=self.base,
            headers=headers,
            timeout=WAIT_S,
            trust_env=False,
            **more,  # type: ignore[arg-type]
        )

    @contextmanager
    def raw(self) -> Iterator[ssl.SSLSocket]:
        """Give a TLS connection that says what a test wants."""
        plain = socket.create_connection(("127.0.0.1", self.port), WAIT_S)
        context = self.context()
        with context.wrap_socket(plain, server_hostname="localhost") as tls:
            yield tls

    def say(self, data: bytes) -> bytes:
        """Return all that is answered to some bytes, until the connection ends."""
        heard = bytearray()
        with self.raw() as tls:
            try:
                tls.sendall(data)
                while piece := tls.recv(65_536):
                    heard += piece
            except (ConnectionError, ssl.SSLError):
                pass  # it was cut off: what was heard before counts
        return bytes(heard)

    def head(self, *lines: str, method: str = "GET", path: str = "/me") -> bytes:
        """Return the head of a request that is right but for what is given."""
        return "\r\n".join(
            (
                f"{method} {path} HTTP/1.1",
                f"Host: localhost:{self.port}",
                f"Authorization: Bearer {TOKEN}",
                *lines,
                "",
                "",
            )
        ).encode()


def credentials_of(authority: Authority) -> Credentials:
    read = authority.node_credentials()
    return Credentials(read.chain, read.key, read.authorities, read.revocations)


def stores() -> dict[Proof, Known]:
    known = {proof: Known() for proof in Proof}
    known[Proof.BEARER].add(TOKEN.encode(), ALICE)
    known[Proof.BEARER].add(POWERLESS.encode(), NOBODY_MUCH)
    known[Proof.SESSION].add(SESSION.encode(), ALICE)
    return known


COOKIE: Final = {"cookie": f"{SESSION_COOKIE}={SESSION}"}


@contextmanager
def listening(
    authority: Authority,
    table: Iterable[Route] | None = None,
    limits: HttpLimits | None = None,
    *,
    door: Callable[[Caller, Right, str], object] = doorman,
) -> Iterator[Running]:
    """Give a listener on loopback; the port is part of its name."""
    limits = limits or HttpLimits()
    contexts = Contexts(lambda: credentials_of(authority), authority.stamp, "1.2")
    known = stores()
    strangers: SimpleQueue[str] = SimpleQueue()

    def application(address: tuple[str, int]) -> Guard:
        return Guard(
            routes() if table is None else table,
            known,
            door,
            origins=[f"https://localhost:{address[1]}", PUBLIC],
            limits=limits,
        )

    server = HttpServer(
        application,
        contexts.https,
        ("127.0.0.1", 0),
        limits,
        grace_s=1.0,
        stranger=lambda _, reason: strangers.put(reason),
    )
    server.start()
    try:
        yield Running(server, authority.ca_path.read_text(), known, strangers)
    finally:
        server.close()
