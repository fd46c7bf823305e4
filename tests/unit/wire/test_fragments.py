"""Cutting messages into PDUs."""

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom.pdu import P_DATA_TF

from leadglass.errors import PeerError
from leadglass.wire.fragments import (
    PEER_PDU_LENGTH_BYTES_MIN,
    SENT_PDU_LENGTH_BYTES_MAX,
    WRITE_BYTES,
    Fragmenter,
    encode_pdus,
    fragments,
    piece_bytes,
    sent_pdu_length,
)

LENGTH = 512


def read(wire: bytes) -> list[tuple[int, int, bytes]]:
    """Return (context ID, control header, data) of every PDV, read by pynetdicom."""
    found = []
    while wire:
        end = 6 + int.from_bytes(wire[2:6], "big")
        pdu = P_DATA_TF()
        pdu.decode(wire[:end])
        assert end - 6 <= LENGTH
        for item in pdu.presentation_data_value_items:
            value = item.presentation_data_value
            found.append((item.presentation_context_id, value[0], bytes(value[1:])))
        wire = wire[end:]
    return found


def join(buffers: Iterable[bytes | memoryview]) -> bytes:
    return b"".join(bytes(buffer) for buffer in buffers)


@given(
    command=st.binary(min_size=1, max_size=3000),
    data=st.binary(max_size=5000),
    cuts=st.sets(st.integers(0, 5000), max_size=8),
)
def test_what_goes_in_comes_out_in_order(
    command: bytes, data: bytes, cuts: set[int]
) -> None:
    edges = [0, *sorted(cuts), 5000]
    chunks = [data[a:b] for a, b in pairwise(edges)]
    pdvs = read(join(fragments(7, command, chunks, LENGTH)))
    assert {context_id for context_id, _, _ in pdvs} == {7}
    commands = [(c, d) for _, c, d in pdvs if c & 1]
    data_sets = [(c, d) for _, c, d in pdvs if not c & 1]
    assert pdvs == [(7, c, d) for c, d in commands + data_sets]  # command first
    for sent, parts in ((command, commands), (data, data_sets)):
        assert b"".join(d for _, d in parts) == sent
        assert [bool(c & 2) for c, _ in parts] == [False] * (len(parts) - 1) + [True]
        assert all(len(d) == piece_bytes(LENGTH) for _, d in parts[:-1])


def test_a_message_without_data_set_is_its_command() -> None:
    assert read(join(fragments(1, b"ab", None, LENGTH))) == [(1, 3, b"ab")]


def test_an_empty_data_set_is_one_empty_fragment() -> None:
    assert read(join(fragments(1, b"ab", [], LENGTH)))[1:] == [(1, 2, b"")]
    assert read(encode_pdus(1, b"", LENGTH, is_command=False)) == [(1, 2, b"")]


def test_one_buffer_serves_many_messages() -> None:
    fragmenter = Fragmenter(LENGTH)
    big = bytes(range(256)) * 2 * (WRITE_BYTES // 512) + b"end!"
    for context_id, data in ((1, big), (1, b"xy"), (3, big), (3, big[:506]), (1, b"")):
        wire = join(fragmenter.stream(context_id, b"command", [data]))
        pdvs = read(wire)
        assert {i for i, _, _ in pdvs} == {context_id}
        assert b"".join(d for _, c, d in pdvs if not c & 1) == data
        assert [c for _, c, _ in pdvs][-1] == 2


def test_a_message_that_was_given_up_leaves_no_trace() -> None:
    fragmenter = Fragmenter(LENGTH)
    next(iter(fragmenter.stream(1, b"command", [b"some data"])))
    wire = join(fragmenter.stream(1, b"command", [bytes(1200)]))
    assert b"".join(d for _, c, d in read(wire) if not c & 1) == bytes(1200)


def test_writes_are_large_and_few() -> None:
    sizes = [len(b) for b in fragments(1, b"command", [bytes(525_000)], 16 * 1024)]
    assert len(sizes) <= 525_000 // WRITE_BYTES + 2
    assert max(sizes) <= WRITE_BYTES + 2048


def test_what_a_peer_announces() -> None:
    assert sent_pdu_length(0) == SENT_PDU_LENGTH_BYTES_MAX
    assert sent_pdu_length(0xFFFF_FFFF) == SENT_PDU_LENGTH_BYTES_MAX
    assert sent_pdu_length(16384) == 16384
    assert piece_bytes(16383) == 16376
    with pytest.raises(PeerError, match="small"):
        sent_pdu_length(PEER_PDU_LENGTH_BYTES_MIN - 1)
