"""A provider on loopback that turns hostile, and one that rotates its keys."""

import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from time import monotonic
from urllib.parse import parse_qs

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, Key, KeySet

from leadglass.errors import Misconfigured, Refused, Unavailable
from leadglass.identity.federation.asking import (
    ANSWER_BYTES_MAX,
    QUESTIONS_MAX,
    Asker,
    tls_context,
)
from leadglass.identity.federation.flow import Begun, Client, begin, challenge
from leadglass.identity.federation.provider import (
    KEYS_INTERVAL,
    KEYS_MAX,
    SILENCE,
    Provider,
    Trust,
    basic,
    parse_keys,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CLIENT = Client("lead:glass")
HERE = "https://pacs.example.org/oidc/callback"
CODE, SECRET = "code-1", "not a secret: +/%"
# How long a provider is waited for in these tests.
TIME_S = 0.3
CONTEXT = tls_context(None)


class Hostile(ThreadingHTTPServer):
    """Answers what the test put there; counts what it was asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self.server_port}"
        self.key = ECKey.generate_key("P-256", {"kid": "first"})
        self.published: list[Key] = [self.key]
        self.challenge = ""
        self.codes = {CODE}
        self.nonce = ""
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.is_silent = False
        self.drips = ""
        self.more: dict[str, object] = {}
        self.released = threading.Event()
        self.asked: list[str] = []

    def answer(
        self, path: str, form: dict[str, list[str]], authorization: str
    ) -> tuple[int, bytes]:
        self.asked.append(path)
        if path in self.answers:
            return self.answers[path]
        if path == "/.well-known/openid-configuration":
            names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
            ends = {name: f"{self.issuer}/{name}" for name in names}
            return 200, json.dumps(
                {"issuer": self.issuer, **ends, **self.more}
            ).encode()
        if path == "/jwks_uri":
            keys = KeySet(self.published).as_dict(private=False)
            return 200, json.dumps(keys).encode()
        redeemed = {name: values[0] for name, values in form.items()}
        return self.redeem(redeemed, authorization)

    def redeem(self, form: dict[str, str], authorization: str) -> tuple[int, bytes]:
        is_proven = authorization == basic(CLIENT.client_id, SECRET)
        if self.more.get("token_endpoint_auth_methods_supported"):
            is_proven = (form["client_id"], form["client_secret"]) == (
                CLIENT.client_id,
                SECRET,
            ) and not authorization
        is_right = (
            form["code"] in self.codes
            and is_proven
            and form["redirect_uri"] == HERE
            and challenge(form["code_verifier"]) == self.challenge
        )
        self.codes.discard(form["code"])
        if not is_right:
            return 400, b'{"error":"invalid_grant"}'
        at = int(NOW.timestamp())
        claims: dict[str, object] = {
            "iss": self.issuer,
            "aud": CLIENT.client_id,
            "sub": "s-1",
        }
        claims |= {"iat": at, "exp": at + 60, "nonce": self.nonce, "amr": ["mfa"]}
        header = {"alg": "ES256", "kid": self.key.kid}
        return 200, json.dumps(
            {"id_token": jwt.encode(header, claims, self.key)}
        ).encode()


class Handler(BaseHTTPRequestHandler):
    server: Hostile

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        form = parse_qs(self.rfile.read(length).decode())
        if self.server.is_silent:
            self.server.released.wait(10)
            return
        if self.server.drips:
            self.drip()
            return
        said = self.headers.get("Authorization", "")
        status, body = self.server.answer(self.path, form, said)
        self.send_response(status)
        if status == 302:
            self.send_header("Location", self.server.issuer + "/jwks_uri")
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            self.server.asked.append("hung up")

    def drip(self) -> None:
        """Send a byte now and then, each well within any time for one wait."""
        head = b"HTTP/1.1 200 OK\r\n"
        kinds = {
            "headers": (head, b"X-A: y\r\n"),
            "continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
            "body": (head + b"Content-Length: 100000\r\n\r\n", b" "),
            "chunks": (head + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        }
        first, more = kinds[self.server.drips]
        try:
            self.wfile.write(first)
            while not self.server.released.wait(0.02):
                self.wfile.write(more)
        except OSError:
            self.server.asked.append("hung up")

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def hostile() -> Iterator[Hostile]:
    with Hostile() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()


def provider_of(hostile: Hostile, time_s: float = TIME_S) -> Provider:
    trust = Trust(hostile.issuer, unsafe_loopback_http=True)
    return Provider(trust, CLIENT, lambda: SECRET, Asker(CONTEXT, time_s))


@pytest.fixture
def provider(hostile: Hostile) -> Provider:
    return provider_of(hostile)


def begun_with(hostile: Hostile) -> Begun:
    begun = begin(hostile.issuer, HERE)
    hostile.challenge, hostile.nonce = challenge(begun.verifier), begun.nonce
    hostile.codes.add(CODE)
    return begun


def log_in(hostile: Hostile, provider: Provider, now: datetime = NOW) -> str:
    return provider.redeem(begun_with(hostile), CODE, lambda: now).subject


def test_a_code_gives_somebody_once(hostile: Hostile, provider: Provider) -> None:
    begun = begun_with(hostile)
    assert provider.redeem(begun, CODE, lambda: NOW).subject == "s-1"
    with pytest.raises(Refused):
        provider.redeem(begun, CODE, lambda: NOW)
    assert hostile.asked.count("/jwks_uri") == 1


def test_a_code_of_another_browser_is_refused(
    hostile: Hostile, provider: Provider
) -> None:
    begun_with(hostile)
    with pytest.raises(Refused):
        provider.redeem(begin(hostile.issuer, HERE), CODE, lambda: NOW)


def test_keys_rotate_but_are_not_fetched_at_will(
    hostile: Hostile, provider: Provider
) -> None:
    log_in(hostile, provider)
    hostile.key = ECKey.generate_key("P-256", {"kid": "second"})
    hostile.published = [hostile.key]
    for _ in range(3):
        with pytest.raises(Refused):
            log_in(hostile, provider)
    assert hostile.asked.count("/jwks_uri") == 1
    assert log_in(hostile, provider, NOW + KEYS_INTERVAL) == "s-1"
    assert hostile.asked.count("/jwks_uri") == 2


def test_a_key_that_is_not_published_is_refused(
    hostile: Hostile, provider: Provider
) -> None:
    hostile.published = [ECKey.generate_key("P-256", {"kid": "another"})]
    with pytest.raises(Refused):
        log_in(hostile, provider)


def test_a_failed_fetch_of_keys_counts_too(
    hostile: Hostile, provider: Provider
) -> None:
    hostile.answers["/jwks_uri"] = (500, b"")
    with pytest.raises(Unavailable):
        log_in(hostile, provider)
    with pytest.raises(Refused):
        log_in(hostile, provider, NOW + timedelta(seconds=1))
    assert hostile.asked.count("/jwks_uri") == 1


@pytest.mark.parametrize(
    "path", ["/.well-known/openid-configuration", "/token_endpoint", "/jwks_uri"]
)
@pytest.mark.parametrize(
    "answer",
    [
        (302, b"{}"),
        (500, b"{}"),
        (204, b""),
        (200, b"<html>"),
        (200, b"\xff"),
        (200, b"[" * 100_000),
        (200, b" " * (ANSWER_BYTES_MAX + 1)),
    ],
    ids=["redirect", "error", "nothing", "page", "bytes", "deep", "endless"],
)
def test_a_hostile_answer_ends_the_login(
    hostile: Hostile, provider: Provider, path: str, answer: tuple[int, bytes]
) -> None:
    hostile.answers[path] = answer
    with pytest.raises(Unavailable):
        log_in(hostile, provider)


def test_a_provider_that_is_silent_is_not_waited_for(
    hostile: Hostile, provider: Provider
) -> None:
    hostile.is_silent = True
    with pytest.raises(Unavailable):
        log_in(hostile, provider)


def test_a_document_of_another_issuer_is_refused(
    hostile: Hostile, provider: Provider
) -> None:
    forged = json.dumps({"issuer": hostile.issuer + "/"}).encode()
    hostile.answers["/.well-known/openid-configuration"] = (200, forged)
    with pytest.raises(Unavailable):
        log_in(hostile, provider)


@pytest.mark.parametrize("token", [b"{}", b"[]", b'{"id_token": 7}'])
def test_no_token_is_nobody(hostile: Hostile, provider: Provider, token: bytes) -> None:
    hostile.answers["/token_endpoint"] = (200, token)
    with pytest.raises(Refused):
        log_in(hostile, provider)


@pytest.mark.parametrize(
    "keys", [None, {}, [], [{}] * (KEYS_MAX + 1), ["x"], [{"kty": "EC", "crv": "x"}]]
)
def test_what_are_no_keys_are_refused(keys: object) -> None:
    with pytest.raises(Unavailable):
        parse_keys({"keys": keys})


def test_plain_http_is_refused() -> None:
    for issuer in ("http://127.0.0.1", "https://login.example.org?x"):
        with pytest.raises(Misconfigured):
            Trust(issuer)


def test_a_provider_is_proven_to_as_it_asks(
    hostile: Hostile, provider: Provider
) -> None:
    hostile.more = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    assert log_in(hostile, provider) == "s-1"


@pytest.mark.parametrize("kind", ["headers", "continue", "body", "chunks"])
def test_a_provider_that_drips_is_cut_off_in_time(hostile: Hostile, kind: str) -> None:
    hostile.drips = kind
    provider = provider_of(hostile)
    began_s = monotonic()
    with pytest.raises(Unavailable):
        provider.look(NOW)
    assert monotonic() - began_s < 5 * TIME_S


def test_headers_without_end_are_bounded_in_bytes() -> None:
    # As fast as they can: the time would allow some hundred megabytes.
    line = b"X-A: " + b"y" * 60_000 + b"\r\n"
    sent = 0
    with socket.create_server(("127.0.0.1", 0)) as server:

        def flood() -> None:
            nonlocal sent
            taken, _ = server.accept()
            with taken, suppress(OSError):
                taken.sendall(b"HTTP/1.1 200 OK\r\n")
                for _ in range(90):  # below the number of headers that there may be
                    taken.sendall(line)
                    sent += len(line)

        thread = threading.Thread(target=flood)
        thread.start()
        with pytest.raises(Unavailable):
            Asker(CONTEXT, 10.0).get(f"http://127.0.0.1:{server.getsockname()[1]}/")
        thread.join()
    assert sent < 90 * len(line)


def test_a_provider_that_hangs_takes_few_threads(hostile: Hostile) -> None:
    hostile.is_silent = True
    ask = Asker(CONTEXT, 5.0)

    def question() -> str:
        try:
            ask.get(hostile.issuer)
        except Unavailable as error:
            return str(error)
        return "answered"

    with ThreadPoolExecutor(QUESTIONS_MAX + 4) as threads:
        asked = [threads.submit(question) for _ in range(QUESTIONS_MAX + 4)]
        first = [each.result() for each in islice(as_completed(asked), 4)]
        hostile.released.set()
    assert all("too many" in each for each in first)


def test_who_did_not_answer_is_not_asked_again_at_once(
    hostile: Hostile, provider: Provider
) -> None:
    path = "/.well-known/openid-configuration"
    hostile.answers[path] = (500, b"")
    for _ in range(3):
        with pytest.raises(Unavailable):
            provider.metadata(NOW)
    assert hostile.asked.count(path) == 1
    del hostile.answers[path]
    assert provider.metadata(NOW + SILENCE).issuer == hostile.issuer


def test_a_certificate_of_nobody_is_not_trusted(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured):
        tls_context(tmp_path / "none.pem")
