"""A scanned target is hostile: what it sends has an end, and leads nowhere."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadglass.assurance.exposure.browsing import BODY_BYTES_MAX, Answer, Browser
from leadglass.assurance.exposure.contact import Line, open_ports
from leadglass.assurance.exposure.dicomfacts import _seen
from leadglass.assurance.exposure.options import Options
from leadglass.assurance.exposure.pace import Pace
from leadglass.assurance.exposure.reach import Reach
from leadglass.assurance.exposure.speaking import (
    ANY,
    Asking,
    Door,
    Matches,
    encoded,
    knock,
)
from leadglass.assurance.exposure.webfacts import WebFacts, _local, shows_study
from leadglass.wire.pdus import Abort, AbortSource


@contextmanager
def answering(reply: bytes) -> Iterator[int]:
    """Answer each connection with the same bytes, once something was said."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    visitor, _ = server.accept()
                except OSError:
                    return
                with visitor:
                    try:
                        visitor.recv(4096)
                        visitor.sendall(reply)
                    except OSError:
                        continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def line() -> Line:
    return Line("127.0.0.1", "", Reach.OWN, Pace(1000), 1.0)


@pytest.mark.parametrize(
    ("reply", "door"),
    [
        (b"", Door.ENDED),
        (b"SSH-2.0-x\r\n", Door.OTHER),
        (b"\x02\0\xff\xff\xff\xff", Door.OTHER),
        (b"\x02\0\0\0\0\x04abcd", Door.OTHER),
        (b"\x03\0\0\0\0\x04\0\x01\x01\x07", Door.REJECTED),
        (Abort(AbortSource.SERVICE_USER).encode(), Door.ABORTED),
    ],
)
def test_only_a_well_formed_answer_is_dicom(reply: bytes, door: Door) -> None:
    with answering(reply) as port:
        found = knock(line(), port, Asking(ANY))
    assert found.door is door
    assert found.is_dicom is (door in {Door.REJECTED, Door.ABORTED})


@given(st.binary(max_size=200))
@settings(max_examples=40, deadline=None)
def test_no_answer_breaks_the_scanner(reply: bytes) -> None:
    with answering(reply) as port:
        assert isinstance(knock(line(), port, Asking(ANY)).door, Door)
        browser = Browser(line(), port, None)
        assert browser.get("/").status >= 0
        browser.close()


def test_a_body_has_an_end() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 4000000000\r\n\r\n"
    with answering(head + b"A" * (2 * BODY_BYTES_MAX)) as port:
        browser = Browser(line(), port, None)
        answer = browser.get("/")
        browser.close()
    assert len(answer.body) <= BODY_BYTES_MAX


def test_a_closed_port_is_not_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert open_ports(line(), [port]) == [port]
    assert open_ports(line(), [port]) == []


@pytest.mark.parametrize(
    "reference",
    ["//elsewhere/rs", "https://elsewhere/rs", "http:x", "javascript:x", "/a b",
     "/a\r\nX: y", "\x1b/x"],
)  # fmt: skip
def test_a_page_does_not_send_the_scanner_elsewhere(reference: str) -> None:
    assert _local(reference) == ""


def test_references_stay_on_the_host() -> None:
    assert _local("app.js") == _local("/app.js") == "/app.js"
    assert _local("../../rs?x=1") == "/rs"


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[{}]", b"[" * 100_000, b'[{"0020000D": {"Value": ["<b>"]}}]',
     b'[{"0020000D": {"Value": [7]}}]', b"<html>0020000D</html>"],
)  # fmt: skip
def test_only_a_study_is_a_study(body: bytes) -> None:
    assert not shows_study(Answer(200, body=body))
    real = b'[{"0020000D": {"Value": ["1.2.3"]}}]'
    assert shows_study(Answer(200, body=real))
    assert not shows_study(Answer(401, body=real))


def test_of_matches_only_flags_and_counts_remain() -> None:
    match = encoded((0x0010_0010, "PN", "Doe^Jane"), (0x0010_0020, "LO", "123-45-6789"))
    seen = _seen(Matches(0, 2, [match, match, b"\xff" * 30]))
    assert seen.attributes == {
        "patient name", "patient id", "number shaped like a US social security number",
    }  # fmt: skip
    assert (seen.patients, seen.matches.data_sets) == (1, [])
    assert "Doe" not in repr(seen)
    assert "123" not in repr(seen)


def test_a_server_that_answers_everything_proves_nothing() -> None:
    page = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    with answering(page) as port:
        browser = Browser(line(), port, None)
        web = WebFacts(browser, Options(), browser.get("/"), is_tls=False)
        assert web.is_catch_all
        assert web.given("/metrics") is None
        assert web.open_base is None
        assert web.stow is None
        browser.close()
