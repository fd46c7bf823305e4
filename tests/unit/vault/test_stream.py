"""The arithmetic of segments."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadglass.errors import BadData, Damaged
from leadglass.vault.stream import HEADER_BYTES, TAG_BYTES, Layout, Stream

layouts = st.integers(HEADER_BYTES + TAG_BYTES + 1, 300).map(Layout)


def stream_bytes(layout: Layout, plain: int) -> int:
    """The length of a stream, found the slow way."""
    first = min(plain, layout.first_room)
    total, plain = HEADER_BYTES + first + TAG_BYTES, plain - first
    while plain:
        take = min(plain, layout.room)
        total, plain = total + take + TAG_BYTES, plain - take
    return total


class TestLayout:
    @given(layouts, st.integers(0, 3000))
    def test_lengths_agree(self, layout: Layout, plain: int) -> None:
        assert layout.plain_bytes(stream_bytes(layout, plain)) == plain

    @given(layouts, st.integers(0, 3000), st.data())
    def test_a_range_is_covered_once_and_in_order(
        self, layout: Layout, plain: int, data: st.DataObject
    ) -> None:
        offset = data.draw(st.integers(0, plain))
        length = data.draw(st.integers(0, plain - offset))
        total = stream_bytes(layout, plain)
        covered: list[int] = []
        for number, begin, end in layout.numbers(offset, length):
            assert number < layout.segments(total)
            first = 0 if not number else layout.first_room + (number - 1) * layout.room
            low, high = layout.span(number, total)
            assert 0 <= begin < end <= high - low - TAG_BYTES
            covered += range(first + begin, first + end)
        assert covered == list(range(offset, offset + length))

    @given(layouts)
    def test_no_stream_has_an_impossible_length(self, layout: Layout) -> None:
        size = layout.segment_bytes
        for length in (-1, 0, HEADER_BYTES + TAG_BYTES - 1, size + 1, 2 * size + 16):
            with pytest.raises(Damaged):
                layout.segments(length)


class TestStream:
    def test_a_header_says_its_own_length(self) -> None:
        with pytest.raises(Damaged):
            Stream(bytes(32), b"", bytes(HEADER_BYTES))

    def test_no_two_streams_share_a_header(self) -> None:
        headers = {Stream.new(bytes(32), b"").header for _ in range(50)}
        assert len(headers) == 50

    def test_the_nonce_does_not_wrap_around(self) -> None:
        stream = Stream.new(bytes(32), b"")
        with pytest.raises(BadData):
            stream.seal_into(
                1 << 32, is_last=True, data=b"x", out=memoryview(bytearray(17))
            )
