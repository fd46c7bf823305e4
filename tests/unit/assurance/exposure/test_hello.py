"""The first answer of a TLS server, read by hand."""

import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from leadglass.assurance.exposure.hello import (
    EVERY,
    TLS1_0,
    TLS1_2,
    client_hello,
    server_hello,
)


def message(kind: int, body: bytes) -> bytes:
    return bytes((kind,)) + len(body).to_bytes(3, "big") + body


def hello(version: int, suite: int) -> bytes:
    return message(2, struct.pack(">H32sBHB", version, b"r" * 32, 0, suite, 0))


def test_version_and_suite_are_read() -> None:
    found = server_hello(hello(TLS1_0, 0x002F) + message(14, b""))
    assert found is not None
    assert (found.version, found.suite, found.dh_bits) == (TLS1_0, 0x002F, 0)
    assert found.text == "TLS 1.0 RSA_WITH_AES_128_CBC_SHA"


def test_the_length_of_the_prime_is_read() -> None:
    prime = struct.pack(">H", 128) + b"p" * 128
    found = server_hello(hello(TLS1_2, 0x009E) + message(12, prime) + message(13, b""))
    assert found is not None
    assert (found.dh_bits, found.demands_certificate) == (1024, True)


def test_a_suite_that_nobody_knows_is_no_agreement() -> None:
    assert server_hello(hello(TLS1_2, 0x5A5A)) is None
    assert server_hello(hello(0x0304, 0x1301)) is None


@given(st.binary(max_size=300))
@settings(max_examples=50)
def test_any_bytes_are_read_or_not_understood(data: bytes) -> None:
    found = server_hello(data)
    assert found is None or found.suite in EVERY


@given(st.integers(0, 80))
@settings(max_examples=50)
def test_cut_anywhere_it_is_an_answer_or_none(cut: int) -> None:
    whole = hello(TLS1_2, 0xC02F) + message(14, b"")
    found = server_hello(whole[:cut])
    assert found is None or found == server_hello(whole)


def test_what_is_sent_is_one_record() -> None:
    for version in (0x0300, TLS1_0, TLS1_2):
        record = client_hello(version, tuple(EVERY), "pacs.example")
        kind, _, length = struct.unpack_from(">BHH", record)
        assert (kind, length) == (22, len(record) - 5)
        assert record[9:11] == version.to_bytes(2, "big")
