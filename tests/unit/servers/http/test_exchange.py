"""How an answer leaves: gathered, framed, and whole or not at all."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from leadglass.servers.http.answers import Answer
from leadglass.servers.http.exchange import Exchange
from leadglass.servers.http.incoming import Request
from leadglass.servers.http.limits import HttpLimits


@dataclass
class Wire:
    """Stands where the TLS connection does, and keeps what is written at once."""

    writes: list[bytes] = field(default_factory=list)

    def send(self, parts: Iterable[bytes], within_s: float) -> None:
        assert within_s > 0
        self.writes.append(b"".join(parts))


def exchange(request: Request, wire: Wire) -> Exchange:
    return Exchange(
        request=request,
        address="127.0.0.1",
        channel="TLSv1.3",
        certificate=None,
        limits=HttpLimits(),
        requests=cast("Any", None),  # nothing is read here
        secured=cast("Any", wire),
    )


def sent(
    answer: Answer, *, method: str = "GET", version: str = "1.1"
) -> tuple[Exchange, list[bytes]]:
    wire = Wire()
    made = exchange(Request(method=method, version=version), wire)
    made.answer(answer, {"content-type": "text/plain"})
    return made, wire.writes


def pieces(*lengths: int) -> Iterator[bytes]:
    for each in lengths:
        yield b"x" * each


def test_small_pieces_leave_in_large_writes() -> None:
    answer = Answer(200, "text/plain", pieces(*[16_384] * 96), length_bytes=96 * 16_384)
    made, writes = sent(answer)
    assert len(writes) == 3
    assert sum(map(len, writes[1:])) == 2 * 512 * 1024
    assert made.sent_bytes == 96 * 16_384
    assert made.keeps_alive


def test_the_first_piece_leaves_with_the_head() -> None:
    _, (only,) = sent(Answer(200, "text/plain", pieces(3, 0, 2), length_bytes=5))
    head, _, body = only.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"content-length: 5" in head
    assert body == b"xxxxx"


def test_an_unknown_length_is_chunked_for_who_knows_chunks() -> None:
    made, writes = sent(Answer(200, "text/plain", pieces(3, 0)))
    whole = b"".join(writes)
    assert b"transfer-encoding: chunked" in whole
    assert whole.endswith(b"\r\n\r\n3\r\nxxx\r\n0\r\n\r\n")
    assert made.keeps_alive


def test_an_unknown_length_ends_with_the_connection_of_an_old_client() -> None:
    made, writes = sent(Answer(200, "text/plain", pieces(3)), version="1.0")
    whole = b"".join(writes)
    assert b"chunked" not in whole
    assert b"connection: close" in whole
    assert whole.endswith(b"\r\n\r\nxxx")
    assert not made.keeps_alive


@pytest.mark.parametrize("length", [4, 6])
def test_a_body_of_another_length_is_not_taken_for_whole(length: int) -> None:
    wire = Wire()
    made = exchange(Request(method="GET"), wire)
    with pytest.raises(ValueError, match="than was said"):
        made.answer(Answer(200, "text/plain", pieces(5), length_bytes=length), {})
    assert not made.keeps_alive
    # What is too much is not sent: the client would take it for the next answer.
    assert len(b"".join(wire.writes).partition(b"\r\n\r\n")[2]) <= length


def test_what_has_no_body_says_so() -> None:
    _, (only,) = sent(Answer(304, "text/plain", b""))
    assert b"content-length" not in only
    _, (only,) = sent(Answer(200, "text/plain", b"12345"), method="HEAD")
    assert b"content-length: 5" in only
    assert only.endswith(b"\r\n\r\n")


def test_a_header_with_a_line_end_does_not_leave() -> None:
    wire = Wire()
    made = exchange(Request(method="GET"), wire)
    with pytest.raises(ValueError, match="line end"):
        made.answer(
            Answer(200, "text/plain", b""), {"location": "/\r\nset-cookie: a=b"}
        )
    assert not wire.writes
