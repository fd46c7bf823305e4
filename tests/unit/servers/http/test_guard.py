"""The guard over real TLS: who comes in, what is refused, and what is told of it."""

import json
import logging
import ssl
from http import HTTPMethod

import httpx
import pytest

from leadglass.access.rights import Right
from leadglass.identity.authority import Authority
from leadglass.servers.http.answers import Answer
from leadglass.servers.http.guard import DEFAULT_HEADERS
from leadglass.servers.http.limits import HttpLimits
from leadglass.servers.http.routes import Route
from tests.unit.servers.http.rig import (
    BODY_BYTES_MAX,
    COOKIE,
    POWERLESS,
    PUBLIC,
    TOKEN,
    WAIT_S,
    Pieces,
    Running,
    listening,
    routes,
)


def problem(response: httpx.Response) -> dict[str, object]:
    assert response.headers["content-type"] == "application/problem+json"
    told = json.loads(response.content)
    assert told["status"] == response.status_code
    assert str(told["instance"]).endswith(response.headers["x-request-id"])
    return dict(told)


# --- who ---


def test_a_known_token_is_somebody(running: Running) -> None:
    with running.client() as client:
        response = client.get("/whoami")
    assert response.status_code == 200
    assert response.text == "alice TLSv1.3 127.0.0.1"


def test_a_session_is_somebody(running: Running) -> None:
    with running.client(None) as client:
        assert client.get("/whoami", headers=COOKIE).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": "Bearer"},
        {"authorization": "Bearer " + "x" * 300},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": "Bearer wrong", **COOKIE},
        {"cookie": "__Host-leadglass=wrong"},
        {"cookie": f"{COOKIE['cookie']}; {COOKIE['cookie']}"},
    ],
)
@pytest.mark.parametrize("path", ["/whoami", "/there/is/no/such", "/take", "/"])
def test_nobody_learns_nothing(
    authority: Authority, headers: dict[str, str], path: str
) -> None:
    with listening(authority) as running, running.client(None) as client:
        response = client.get(path, headers=headers)
    assert response.status_code == 401
    assert "www-authenticate" in response.headers
    assert "allow" not in response.headers
    told = problem(response)
    assert set(told) == {"type", "title", "status", "instance"}


def test_two_authorizations_are_none(authority: Authority) -> None:
    with listening(authority) as running:
        again = f"Authorization: Bearer {TOKEN}"
        heard = running.say(running.head(again, "Connection: close"))
    assert heard.startswith(b"HTTP/1.1 401 ")


def test_a_right_that_is_missing_is_refused_before_the_handler(
    running: Running,
) -> None:
    with running.client(POWERLESS) as client:
        response = client.get("/whoami")
        assert client.get("/me").status_code == 200
    assert response.status_code == 403
    assert "detail" not in problem(response)


def test_who_guesses_is_slowed_down_and_others_are_not(authority: Authority) -> None:
    limits = HttpLimits(failures_burst=3, failures_per_s_max=0.001)
    with listening(authority, limits=limits) as running:
        with running.client("wrong") as client:
            answers = [client.get("/me").status_code for _ in range(5)]
        assert answers == [401, 401, 401, 429, 429]


def test_too_many_requests_are_told_so(authority: Authority) -> None:
    limits = HttpLimits(burst=2, requests_per_s_max=0.001)
    with listening(authority, limits=limits) as running, running.client() as client:
        answers = [client.get("/me") for _ in range(3)]
    assert [each.status_code for each in answers] == [200, 200, 429]
    assert answers[-1].headers["retry-after"]


# --- what ---


def test_known_callers_learn_what_there_is(running: Running) -> None:
    with running.client() as client:
        assert client.get("/there/is/no/such").status_code == 404
        response = client.get("/take")
        assert response.status_code == 405
        assert response.headers["allow"] == "POST"
        assert client.options("/take").status_code == 405


def test_public_routes_need_nobody(running: Running) -> None:
    with running.client(None) as client:
        assert client.get("/health").status_code == 200


def test_a_path_is_cut_before_it_is_decoded(running: Running) -> None:
    with running.client() as client:
        response = client.get("/echo/a%2Fb/c%20d?x=1&x=%C3%A9&y")
    assert (
        response.text
        == "({'one': 'a/b', 'two': 'c d'}, (('x', '1'), ('x', 'é'), ('y', '')))"
    )


@pytest.mark.parametrize("query", ["x=%FF", "&".join(f"k{n}=1" for n in range(300))])
def test_a_query_that_is_none(running: Running, query: str) -> None:
    with running.client() as client:
        assert client.get(f"/echo/a/b?{query}").status_code == 400


def test_every_answer_has_the_headers(running: Running) -> None:
    with running.client() as client, running.client(None) as stranger:
        for response in (
            client.get("/me"),
            client.get("/none"),
            client.get("/fails"),
            stranger.get("/me"),
        ):
            for name, value in DEFAULT_HEADERS.items():
                assert response.headers[name] == value
            assert "server" not in response.headers
            assert response.headers["date"]


def test_head_has_no_body(running: Running) -> None:
    with running.client() as client:
        response = client.head("/me")
    assert response.status_code == 200
    assert response.content == b""


def test_an_error_tells_nothing_and_is_in_the_log(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("httpx").setLevel(logging.WARNING)  # the client tells all
    with caplog.at_level(logging.INFO), running.client() as client:
        response = client.get("/fails?PatientName=Doe")
    assert response.status_code == 500
    told = problem(response)
    assert "Doe" not in response.text
    assert "Doe" not in caplog.text
    assert "RuntimeError in failing:" in caplog.text
    assert str(told["instance"]).rsplit(":", 1)[1] in caplog.text


def test_the_log_names_the_route_not_the_path(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("httpx").setLevel(logging.WARNING)  # the client tells all
    with caplog.at_level(logging.INFO), running.client() as client:
        client.get("/echo/1.2.3.4/secret?PatientID=X")
        client.get("/there/is/no/1.2.3.4")
    assert "GET /echo/{one}/{two} 200" in caplog.text
    assert "1.2.3.4" not in caplog.text
    assert "PatientID" not in caplog.text


# --- where from ---


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "localhost:1", "127.0.0.1", ""]
)
def test_another_name_is_not_ours(running: Running, host: str) -> None:
    with running.client() as client:
        assert client.get("/me", headers={"host": host}).status_code == 421


def test_a_client_that_forgets_the_port_is_served(running: Running) -> None:
    with running.client() as client:
        assert client.get("/me", headers={"host": "localhost"}).status_code == 200


def test_two_hosts_are_none(running: Running) -> None:
    again = f"Host: localhost:{running.port}"
    heard = running.say(running.head(again, "Connection: close"))
    assert heard.startswith(b"HTTP/1.1 421 ")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),  # a session without an origin cannot be told from a forged form
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "OURS"}, 200),
        ({"origin": "OURS", "sec-fetch-site": "cross-site"}, 403),
        ({"origin": "OURS", "sec-fetch-site": "same-origin"}, 200),
    ],
)
def test_unsafe_methods_need_our_origin(
    running: Running, headers: dict[str, str], status: int
) -> None:
    ours = {k: v.replace("OURS", running.base) for k, v in headers.items()}
    with running.client(None) as client:
        response = client.post("/take", content=b"x", headers=COOKIE | ours)
    assert response.status_code == status


def test_a_forwarded_port_has_an_origin_of_its_own(running: Running) -> None:
    def status(host: str, origin: str) -> int:
        headers = {**COOKIE, "host": host, "origin": origin}
        with running.client(None) as client:
            return client.post("/take", content=b"x", headers=headers).status_code

    assert status("pacs.example", PUBLIC) == 200
    assert status("pacs.example", running.base) == 403
    assert status("pacs.example", "https://pacs.example:8443") == 403
    assert status(f"localhost:{running.port}", PUBLIC) == 403
    assert status("pacs.example:8443", PUBLIC) == 421


def test_a_page_elsewhere_reads_nothing(running: Running) -> None:
    with running.client(None) as client:
        for forged in (
            {"origin": "https://evil.example"},
            {"sec-fetch-site": "cross-site"},
        ):
            assert client.get("/me", headers=COOKIE | forged).status_code == 403


def test_a_program_needs_no_origin(running: Running) -> None:
    with running.client() as client:
        assert client.post("/take", content=b"x").status_code == 200


# --- bodies ---


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "identity, gzip", "x"])
def test_a_packed_body_is_not_unpacked(running: Running, coding: str) -> None:
    with running.client() as client:
        packed = {"content-encoding": coding}
        response = client.post("/take", content=b"x", headers=packed)
        assert response.status_code == 415
        assert response.headers["accept-encoding"] == "identity"
        plain = {"content-encoding": "Identity"}
        assert client.post("/take", content=b"x", headers=plain).status_code == 200


def test_a_body_is_taken(running: Running) -> None:
    with running.client() as client:
        response = client.post("/take", content=bytes(BODY_BYTES_MAX))
    assert response.text == str(BODY_BYTES_MAX)


def test_too_long_a_body_is_not_taken(running: Running) -> None:
    with running.client() as client:
        response = client.post("/take", content=bytes(BODY_BYTES_MAX + 1))
        assert response.status_code == 413
    # Not a byte more than shows it: who goes on sending may find the connection reset
    # before it has read the answer.
    chunk = b"%x\r\n" % BODY_BYTES_MAX + bytes(BODY_BYTES_MAX) + b"\r\n"
    head = running.head("Transfer-Encoding: chunked", method="POST", path="/take")
    assert running.say(head + chunk + b"1\r\nx").startswith(b"HTTP/1.1 413 ")


def test_a_body_where_none_is_wanted(running: Running) -> None:
    with running.client() as client:
        response = client.request("GET", "/me", content=b"x")
        assert response.status_code == 413
        assert response.headers["connection"] == "close"


def test_a_slow_body_is_ended(authority: Authority) -> None:
    limits = HttpLimits(receive_s=0.2)
    with listening(authority, limits=limits) as running:
        head = running.head("Content-Length: 10", method="POST", path="/take")
        assert running.say(head + b"x").startswith(b"HTTP/1.1 408 ")


# --- answers in pieces ---


def with_pieces(pieces: Pieces) -> tuple[Route, ...]:
    return routes(
        Route(
            method=HTTPMethod.GET,
            template="/pieces",
            access=Right.FIND,
            handler=lambda _: Answer(200, "application/octet-stream", pieces),
        )
    )


def test_pieces_come_whole_and_are_closed(authority: Authority) -> None:
    pieces = Pieces(20)
    with (
        listening(authority, with_pieces(pieces)) as running,
        running.client() as client,
    ):
        assert len(client.get("/pieces").content) == 20 * 65_536
    assert pieces.closed.is_set()


def test_pieces_of_a_head_are_not_made(authority: Authority) -> None:
    pieces = Pieces(20)
    with (
        listening(authority, with_pieces(pieces)) as running,
        running.client() as client,
    ):
        assert client.head("/pieces").status_code == 200
    assert (pieces.made, pieces.closed.is_set()) == (0, True)


def test_a_failure_midway_cannot_be_taken_for_the_end(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    pieces = Pieces(20, fails_at=3)
    with listening(authority, with_pieces(pieces)) as running:
        ended = pytest.raises(httpx.TransportError)
        with running.client() as client, ended:
            client.get("/pieces")
    assert pieces.closed.is_set()
    assert "Doe" not in caplog.text


def test_pieces_are_made_as_the_client_takes_them(authority: Authority) -> None:
    """A client that does not read holds some pieces, not the whole, and not long."""
    pieces = Pieces(100_000)
    limits = HttpLimits(send_s=0.3)
    with (
        listening(authority, with_pieces(pieces), limits) as running,
        running.raw() as tls,
    ):
        tls.sendall(running.head(path="/pieces"))
        with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
            drain_after_abort(tls, pieces)
    assert pieces.made < 1_000
    assert pieces.closed.is_set()


def drain_after_abort(tls: ssl.SSLSocket, pieces: Pieces) -> None:
    """Read nothing until the server has given up; then all there is."""
    assert pieces.closed.wait(WAIT_S)
    while tls.recv(1 << 20):
        pass
    raise EOFError
