"""The wire to a receiver of FHIR: verified HTTPS, and an answer that counts."""

import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leadglass.archive.forwarding import TooSlow
from leadglass.errors import Misconfigured, Unavailable
from leadglass.servers import feed as module
from leadglass.servers.feed import FeedReceiver
from tests.support.feed import Scripted, read_request, scripted
from tests.support.openid import HOST, Authority

WAIT_S = 10.0
CREATED = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"

Behaviour = Callable[[ssl.SSLSocket, Scripted], None]


def receiver(made: Scripted, **more: Any) -> FeedReceiver:
    given: dict[str, Any] = {
        "address": f"https://{HOST}:{made.port}/fhir",
        "ca_file": made.authority.file,
        "certificate_file": None,
        "key_file": None,
        "token": None,
        "timeout_s": WAIT_S,
        **more,
    }
    return FeedReceiver(**given)


def send(to: FeedReceiver) -> None:
    line = to.connect()
    try:
        line.send(b"{}")
    finally:
        line.drop()


def saying(*answers: bytes) -> Behaviour:
    """Answer each request of a connection with the next of these, then end it."""

    def behave(sock: ssl.SSLSocket, made: Scripted) -> None:
        for answer in answers:
            if not read_request(sock, made):
                return
            sock.sendall(answer)

    return behave


def test_each_record_is_a_request_that_is_answered(tmp_path: Path) -> None:
    with scripted(tmp_path, saying(*[CREATED] * 3)) as made:
        line = receiver(made, token=lambda: "abc.DEF_~+/==").connect()
        for data in (b'{"a":1}', b"x" * 200_000, b"{}"):
            line.look()
            line.send(data)
        line.finish()
    first, second, third = made.requests
    head, _, body = first.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /fhir/AuditEvent HTTP/1.1"
    assert f"Host: {HOST}:{made.port}".encode() in lines
    assert b"Authorization: Bearer abc.DEF_~+/==" in lines
    assert b"Content-Type: application/fhir+json" in lines
    assert body == b'{"a":1}'
    assert second.endswith(b"x" * 200_000)
    assert third.endswith(b"\r\n\r\n{}")


ANSWERS_THAT_CREATE = [
    CREATED,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" + CREATED,
    b"HTTP/1.1 201 Created\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
]


@pytest.mark.parametrize("answer", ANSWERS_THAT_CREATE)
def test_success_is_success_however_it_is_written(
    answer: bytes, tmp_path: Path
) -> None:
    with scripted(tmp_path, saying(answer, answer)) as made:
        line = receiver(made).connect()
        line.send(b"1")
        line.send(b"2")
        line.finish()
    assert [each[-1:] for each in made.requests] == [b"1", b"2"]


ANSWERS_THAT_FAIL = [
    (b"HTTP/1.1 400 Bad SECRET\r\nContent-Length: 6\r\n\r\nSECRET", "record: 400"),
    (b"HTTP/1.1 401 X\r\nContent-Length: 0\r\n\r\n", "does not let us in: 401"),
    (b"HTTP/1.1 302 X\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", "take .*302"),
    (b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n", "is busy: 503"),
    (b"HTTP/1.1 599 X\r\nContent-Length: 0\r\n\r\n", "does not take a record: 599"),
    (b"SSH-2.0-SECRET\r\n", "no HTTP"),
    (b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n" + CREATED, "no HTTP"),
    (b"HTTP/1.1 201 Created\r\nContent-Length: 9\r\n\r\n{}", "no end"),
    (b"HTTP/1.1 201 ", "no end"),
    (b"", "left without an answer"),
]


@pytest.mark.parametrize(("answer", "told"), ANSWERS_THAT_FAIL)
def test_anything_else_is_a_failure_that_repeats_nothing(
    answer: bytes, told: str, tmp_path: Path
) -> None:
    with (
        scripted(tmp_path, saying(answer)) as made,
        pytest.raises(Unavailable, match=told) as caught,
    ):
        send(receiver(made))
    assert "SECRET" not in str(caught.value)


def test_who_ends_a_quiet_connection_gets_the_next_record_anew(tmp_path: Path) -> None:
    with scripted(tmp_path, saying(CREATED)) as made:
        line = receiver(made).connect()
        for data in (b"1", b"2", b"3"):
            line.look()
            line.send(data)
        line.finish()
    assert [each[-1:] for each in made.requests] == [b"1", b"2", b"3"]


def test_an_answer_without_an_end_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWER_BYTES_MAX", 100_000)

    def flood(sock: ssl.SSLSocket, made: Scripted) -> None:
        read_request(sock, made)
        sock.sendall(b"HTTP/1.1 201 Created\r\n\r\n")
        while True:
            sock.sendall(b"x" * 10_000)

    with scripted(tmp_path, flood) as made, pytest.raises(Unavailable, match="no end"):
        send(receiver(made))


def test_time_is_for_the_whole_of_an_answer(tmp_path: Path) -> None:
    gate = threading.Event()

    def drip(sock: ssl.SSLSocket, made: Scripted) -> None:
        read_request(sock, made)
        for byte in CREATED:
            sock.sendall(bytes([byte]))
            if gate.wait(0.1):
                return

    with scripted(tmp_path, drip) as made:
        with pytest.raises(TooSlow):
            send(receiver(made, timeout_s=0.5))
        gate.set()


def test_a_thread_that_waits_is_woken(tmp_path: Path) -> None:
    has_come, gate = threading.Event(), threading.Event()

    def wait(sock: ssl.SSLSocket, made: Scripted) -> None:
        read_request(sock, made)
        has_come.set()
        gate.wait(WAIT_S)

    with scripted(tmp_path, wait) as made:
        line = receiver(made).connect()

        def drop() -> None:
            has_come.wait(WAIT_S)
            line.drop()

        thread = threading.Thread(target=drop)
        thread.start()
        with pytest.raises(Unavailable):
            line.send(b"{}")
        thread.join()
        gate.set()


def test_another_one_gets_nothing(tmp_path: Path) -> None:
    with scripted(tmp_path, saying(CREATED)) as made:
        other = Authority(tmp_path / "other", name="another CA")
        with pytest.raises(Unavailable):
            receiver(made, ca_file=other.file).connect()
        name = f"https://localhost.localdomain:{made.port}"
        with pytest.raises(Unavailable):
            receiver(made, address=name).connect()
    assert made.requests == []


def test_a_look_gives_nothing(tmp_path: Path) -> None:
    with scripted(tmp_path, saying(CREATED)) as made:
        receiver(made).look()
    assert made.requests == []


@pytest.mark.parametrize("token", ["a b", "a\r\nX: y", "ä", "\x00"])
def test_a_token_that_would_be_more_than_one_is_refused(
    token: str, tmp_path: Path
) -> None:
    made = Scripted(1, Authority(tmp_path / "ca"))
    with pytest.raises(Misconfigured, match=r"feed\.token_file"):
        receiver(made, token=lambda: token).head()


def test_files_are_named_by_their_settings(tmp_path: Path) -> None:
    made = Scripted(1, Authority(tmp_path / "ca"))
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("")
    with pytest.raises(Misconfigured, match=r"feed\.ca_file"):
        receiver(made, ca_file=nothing).connect()


def test_plain_http_is_no_way(tmp_path: Path) -> None:
    made = Scripted(1, Authority(tmp_path / "ca"))
    with pytest.raises(ValueError, match="https"):
        receiver(made, address=f"http://{HOST}:1/fhir")
