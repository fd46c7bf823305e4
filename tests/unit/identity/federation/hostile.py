"""A provider on loopback that turns hostile, one that rotates its keys, and one that
drips.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

from joserfc import jwt
from joserfc.jwk import ECKey, Key, KeySet

from leadglass.identity.federation.flow import Client, challenge
from leadglass.identity.federation.provider import basic

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CLIENT = Client("lead:glass")
HERE = "https://pacs.example.org/oidc/callback"
CODE, SECRET = "code-1", "not a secret: +/%"


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
        self.claims: dict[str, object] = {}
        self.now = NOW
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
        at = int(self.now.timestamp())
        claims: dict[str, object] = {
            "iss": self.issuer,
            "aud": CLIENT.client_id,
            "sub": "s-1",
        }
        claims |= {"iat": at, "exp": at + 60, "nonce": self.nonce, "amr": ["mfa"]}
        claims |= self.claims
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


@contextmanager
def hostile_provider() -> Iterator[Hostile]:
    with Hostile() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()
