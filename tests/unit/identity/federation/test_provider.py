"""A provider on loopback that turns hostile, and one that rotates its keys."""

import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from time import monotonic

import pytest
from joserfc.jwk import ECKey

from leadglass.errors import Misconfigured, Refused, Unavailable
from leadglass.identity.federation.asking import (
    ANSWER_BYTES_MAX,
    QUESTIONS_MAX,
    Asker,
    tls_context,
)
from leadglass.identity.federation.flow import Begun, begin, challenge
from leadglass.identity.federation.provider import (
    KEYS_INTERVAL,
    KEYS_MAX,
    SILENCE,
    Provider,
    Trust,
    parse_keys,
)
from tests.unit.identity.federation.hostile import (
    CLIENT,
    CODE,
    HERE,
    NOW,
    SECRET,
    Hostile,
    hostile_provider,
)

# How long a provider is waited for in these tests.
TIME_S = 0.3
CONTEXT = tls_context(None)


@pytest.fixture
def hostile() -> Iterator[Hostile]:
    with hostile_provider() as server:
        yield server


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
    # As fast as they can; the time alone would allow some hundred megabytes.
    line = b"X-A: " + b"y" * 60_000 + b"\r\n"
    time_s = 20.0
    released = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def flood() -> None:
            taken, _ = server.accept()
            with taken, suppress(OSError):
                taken.sendall(b"HTTP/1.1 200 OK\r\n")
                for _ in range(90):  # below the number of headers that there may be
                    taken.sendall(line)
                released.wait(time_s)  # and no end

        thread = threading.Thread(target=flood)
        thread.start()
        began_s = monotonic()
        with pytest.raises(Unavailable):
            Asker(CONTEXT, time_s).get(f"http://127.0.0.1:{server.getsockname()[1]}/")
        assert monotonic() - began_s < time_s / 2
        released.set()
        thread.join()


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
