"""News leave by verified HTTPS, signed, to where the settings say, or not at all."""

import hashlib
import hmac
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from leadglass.errors import Misconfigured, Unavailable
from leadglass.servers.webhook import HEADER, Webhook, signature
from tests.support.mail import certificate

SECRET = b"a secret of both sides"
BODY = b'{"alerts":[]}'
WAIT_S = 10.0


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("hook"))


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_bytes(SECRET + b"\n")
    file.chmod(0o600)
    return file


class Receiver(HTTPServer):
    status = 204
    location = ""

    def __init__(self, pem: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.got: list[tuple[str, str, bytes]] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem, pem.with_name("key.pem"))
        self.socket = context.wrap_socket(self.socket, server_side=True)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that do not trust us hang up; that is what is tested."""


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        receiver = self.server
        assert isinstance(receiver, Receiver)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        receiver.got.append((self.path, self.headers[HEADER], body))
        self.send_response(receiver.status)
        if receiver.location:
            self.send_header("Location", receiver.location)
        self.end_headers()

    def log_request(self, *_about: Any) -> None:
        """Nobody reads it."""


@contextmanager
def receiving(pem: Path) -> Iterator[Receiver]:
    receiver = Receiver(pem)
    thread = threading.Thread(target=receiver.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.shutdown()
        receiver.server_close()
        thread.join(WAIT_S)


def hook(port: int, secret: Path, ca_file: Path | None, **more: Any) -> Webhook:
    given: dict[str, Any] = {
        "url": f"https://127.0.0.1:{port}/in?from=pacs",
        "secret_file": secret,
        "ca_file": ca_file,
        "timeout_s": WAIT_S,
        "clock": lambda: 1_790_000_000.5,
        **more,
    }
    return Webhook(**given)


def test_what_is_sent_is_signed(trusted: Path, secret: Path) -> None:
    with receiving(trusted) as receiver:
        hook(receiver.server_port, secret, trusted)(BODY)
        ((path, signed, body),) = receiver.got
    mac = hmac.new(SECRET, b"1790000000." + BODY, hashlib.sha256).hexdigest()
    assert (path, body) == ("/in?from=pacs", BODY)
    assert signed == f"t=1790000000,v1={mac}"


def test_another_body_time_or_secret_has_another_signature() -> None:
    first = signature(SECRET, 1, BODY)
    others = {
        signature(SECRET, 1, BODY + b" "),
        signature(SECRET, 2, BODY),
        signature(SECRET + b"x", 1, BODY),
    }
    assert first not in others


def test_a_stranger_gets_nothing(trusted: Path, secret: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with receiving(certificate(other)) as receiver:
        with pytest.raises(Unavailable):
            hook(receiver.server_port, secret, trusted)(BODY)
        with pytest.raises(Unavailable):
            hook(receiver.server_port, secret, None)(BODY)
        assert receiver.got == []


@pytest.mark.parametrize("status", [301, 307, 400, 500])
def test_what_was_not_taken_is_unavailable(
    trusted: Path, secret: Path, status: int
) -> None:
    with receiving(trusted) as receiver, receiving(trusted) as elsewhere:
        receiver.status = status
        receiver.location = f"https://127.0.0.1:{elsewhere.server_port}/"
        with pytest.raises(Unavailable, match=str(status)):
            hook(receiver.server_port, secret, trusted)(BODY)
        assert elsewhere.got == []


def test_a_secret_that_is_none_is_refused(trusted: Path, secret: Path) -> None:
    url = {"url": "http://127.0.0.1/"}
    with pytest.raises(Misconfigured):
        hook(1, secret, trusted, **url)(BODY)
    secret.chmod(0o644)
    with pytest.raises(Misconfigured, match="others"):
        hook(1, secret, trusted)(BODY)
    secret.chmod(0o600)
    for wrong in (b"short", b"x" * 2_000):
        secret.write_bytes(wrong)
        with pytest.raises(Misconfigured, match="bytes"):
            hook(1, secret, trusted)(BODY)
    secret.unlink()
    with pytest.raises(Misconfigured):
        hook(1, secret, trusted)(BODY)
