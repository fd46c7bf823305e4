"""Bodies of several parts: cut anywhere they are the same; what is none is refused."""

import time
from collections.abc import Iterable, Mapping
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadglass.errors import BadData
from leadglass.servers.dicomweb.multipart import (
    EPILOGUE_BYTES_MAX,
    HEADER_BYTES_MAX,
    PREAMBLE_BYTES_MAX,
    Begin,
    Data,
    End,
    Limits,
    MediaType,
    MultipartReader,
    MultipartWriter,
    listed,
)

BOUNDARY = "--b"
DICOM = {"Content-Type": "application/dicom"}
Part = tuple[Mapping[str, str], bytes]


def write(parts: Iterable[Part], boundary: str = BOUNDARY) -> bytes:
    writer = MultipartWriter(boundary)
    return b"".join(writer.head(h) + content for h, content in parts) + writer.end()


def read(
    pieces: Iterable[bytes], boundary: str = BOUNDARY, limits: Limits | None = None
) -> list[Part]:
    """Return the parts of a body; its events must be in order."""
    reader = MultipartReader(boundary, limits)
    found: list[tuple[Mapping[str, str], bytearray]] = []
    is_open = False
    for piece in pieces:
        for event in reader.feed(piece):
            if isinstance(event, Begin):
                assert not is_open
                is_open = True
                found.append((event.headers, bytearray()))
            elif isinstance(event, Data):
                assert is_open
                assert event.data
                found[-1][1].extend(event.data)
            else:
                assert event == End()
                is_open = False
    reader.finish()
    assert not is_open
    return [(dict(headers), bytes(content)) for headers, content in found]


# Contents that are nearly boundaries, which is where readers go wrong.
TRICKY = st.lists(
    st.sampled_from(
        [b"\r\n", b"\r", b"\n", b"-", b"--", b"----", b"b", b"\r\n--", b"x"]
    ),
    max_size=12,
).map(b"".join)


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.sampled_from([DICOM, {}]), TRICKY), max_size=4),
    st.lists(st.integers(0, 300), max_size=20),
)
def test_cut_anywhere_the_parts_are_the_same(
    parts: list[Part], cuts: list[int]
) -> None:
    if any(b"\r\n----b" in b"\r\n" + content for _, content in parts):
        return  # that is a boundary
    body = write(parts)
    places = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    pieces = [body[begin:end] for begin, end in pairwise(places)]
    expected = [({k.lower(): v for k, v in h.items()}, content) for h, content in parts]
    assert read(pieces) == expected
    assert read(bytes([each]) for each in body) == expected


def test_memory_is_one_boundary_whatever_is_sent() -> None:
    reader = MultipartReader(BOUNDARY)
    list(reader.feed(b"----b\r\n\r\n"))
    for _ in range(100):
        list(reader.feed(b"\r\n--" * 10_000))
        assert len(reader._inbox) < 16


def test_preamble_epilogue_padding_and_header_case_are_taken() -> None:
    body = (
        b"This is MIME.\r\n----b \t\r\nCONTENT-type:application/dicom \r\nX-a: \r\n\r\n"
        b"one\r\n----b--\r\nbye"
    )
    assert read([body]) == [({"content-type": "application/dicom", "x-a": ""}, b"one")]


def test_an_empty_part_may_share_its_line_end_with_the_boundary() -> None:
    assert read([b"----b\r\n\r\n----b--"]) == [({}, b"")]
    assert read([b"----b\r\nA: b\r\n\r\n\r\n----b--"]) == [({"a": "b"}, b"")]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "cut short"),
        (b"----b", "cut short"),
        (b"----b\r\n\r\nabc", "cut short"),
        (b"----b\r\n\r\nabc\r\n----b", "cut short"),
        (b"----b\r\n\r\nabc\r\n----b-", "cut short"),
        (b"x" * (PREAMBLE_BYTES_MAX + 100), "does not begin"),
        (b"----b\r\n\r\nabc\r\n----bX\r\n", "else behind"),
        (b"----b\r\n\r\nabc\r\n----b\n", "else behind"),
        (b"----b" + b" " * 300, "else behind"),
        (b"----b\r\nno colon\r\n\r\n", "headers are none"),
        (b"----b\r\nA : b\r\n\r\n", "headers are none"),
        (b"----b\r\nA: b\r\n folded\r\n\r\n", "headers are none"),
        (b"----b\r\nA: b\nB: c\r\n\r\n", "headers are none"),
        (b"----b\r\nA: b\0\r\n\r\n", "headers are none"),
        (b"----b\r\nA: b\r\na: c\r\n\r\n", "twice"),
        (b"----b\r\n" + b"A: " + b"x" * HEADER_BYTES_MAX, "too long"),
        (
            b"----b\r\n" + b"".join(b"A%d: b\r\n" % n for n in range(40)) + b"\r\n",
            "many",
        ),
        (b"----b\r\nContent-Length: 2\r\n\r\nabc\r\n----b--", "as long as"),
        (b"----b\r\nContent-Length: 4\r\n\r\nabc\r\n----b--", "as long as"),
        (b"----b\r\nContent-Length: -1\r\n\r\nabc\r\n----b--", "no number"),
        (b"----b\r\nContent-Transfer-Encoding: base64\r\n\r\n", "encoding"),
        (b"----b--\r\n" + b"x" * (EPILOGUE_BYTES_MAX + 10), "follows"),
    ],
)
def test_what_is_no_such_body_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(BadData, match=message):
        read([body])
    with pytest.raises(BadData, match=message):
        read(bytes([each]) for each in body)


def test_parts_and_their_lengths_have_limits() -> None:
    body = write([({}, b"abc")] * 3)
    with pytest.raises(BadData, match="too many parts"):
        read([body], limits=Limits(parts_max=2))
    with pytest.raises(BadData, match="too long"):
        read([body], limits=Limits(part_bytes_max=2))


@pytest.mark.parametrize("boundary", ["", " ", "a ", "a\r\nb", "x" * 71, "é", 'a"b'])
def test_what_is_no_boundary_is_refused(boundary: str) -> None:
    with pytest.raises(BadData):
        MultipartReader(boundary)
    with pytest.raises(ValueError, match="boundary"):
        MultipartWriter(boundary)


def test_the_writer_lets_no_header_be_injected() -> None:
    with pytest.raises(ValueError, match="header"):
        MultipartWriter(BOUNDARY).head({"A": "b\r\nC: d"})
    with pytest.raises(ValueError, match="header"):
        MultipartWriter(BOUNDARY).head({"A:": "b"})


def test_media_types() -> None:
    found = MediaType.parse(
        'Multipart/Related; TYPE="application/dicom"; boundary=a/b ;x="q\\"q"'
    )
    assert found.name == "multipart/related"
    assert found.parameter("type") == "application/dicom"
    assert found.parameter("boundary") == "a/b"
    assert found.parameter("x") == 'q"q'
    assert not found.parameter("start")
    writer = MultipartWriter("a b")
    ours = MediaType.parse(writer.content_type("application/dicom"))
    assert ours.parameter("boundary") == "a b"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "a/b; c",
        "a/b; c=",
        'a/b; c="',
        "a/b; c=1; C=2",
        "a/b c=1",
        "a/b" * 9999,
    ],
)
def test_what_is_no_media_type_is_refused(text: str) -> None:
    with pytest.raises(BadData):
        MediaType.parse(text)


# --- lists in headers ---


@pytest.mark.parametrize(
    ("value", "elements"),
    [
        ("a/b, c/d;q=0.5", ["a/b", "c/d;q=0.5"]),
        ('a/b; x="1,2", c/d', ['a/b; x="1,2"', "c/d"]),
        (r'a/b; x="\",", c/d', [r'a/b; x="\","', "c/d"]),
        (" , ,", []),
        ('"never, ended', ['"never, ended']),
    ],
)
def test_lists_are_cut_at_commas_that_are_no_text(
    value: str, elements: list[str]
) -> None:
    assert listed([value]) == elements


@pytest.mark.parametrize("text", [",", '",', '"', "a,", '\\"', '",' + "\\"])
def test_a_list_of_any_length_takes_no_longer_than_its_length(text: str) -> None:
    began_s = time.process_time()
    listed([text * 50_000, text * 50_000 + '"'])
    assert time.process_time() - began_s < 1.0  # backtracking would take minutes
