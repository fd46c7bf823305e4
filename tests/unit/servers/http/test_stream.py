"""Bodies in pieces: whole and in order, made ahead by a little, and always closed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadglass.servers.http.stream import Threads, Turns

T = TypeVar("T")


class Source(Iterator[bytes]):
    """Makes pieces, and notes how many were made and whether it was closed."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self.made = 0
        self.is_closed = False

    def __next__(self) -> bytes:
        assert not self.is_closed
        piece = next(self._pieces)
        self.made += 1
        return piece

    def close(self) -> None:
        self.is_closed = True


def run(work: Callable[[Threads], Coroutine[Any, Any, T]]) -> T:
    async def with_threads() -> T:
        with ThreadPoolExecutor(2) as executor:
            return await work(Threads(executor, Turns(2, 1.0)))

    return asyncio.run(with_threads())


async def taken(pieces: AsyncIterator[bytes]) -> list[bytes]:
    return [piece async for piece in pieces]


@given(sizes=st.lists(st.integers(0, 400_000), max_size=8))
def test_all_of_it_comes_in_order(sizes: list[int]) -> None:
    made = [bytes([number % 256]) * size for number, size in enumerate(sizes)]
    source = Source(iter(made))
    got = run(lambda threads: taken(threads.pieces(source)))
    assert b"".join(got) == b"".join(made)
    assert source.is_closed


def test_small_pieces_come_together_and_large_ones_alone() -> None:
    small = run(lambda threads: taken(threads.pieces(iter([b"a"] * 1000))))
    assert small == [b"a" * 1000]
    large = run(lambda threads: taken(threads.pieces(iter([bytes(500_000)] * 3))))
    assert list(map(len, large)) == [500_000] * 3


def test_no_more_is_made_ahead_than_one_gathering() -> None:
    source = Source(bytes(100_000) for _ in range(1000))

    async def leave(threads: Threads) -> None:
        async with aclosing(threads.pieces(source)) as pieces:
            async for _ in pieces:
                break

    run(leave)
    assert source.is_closed
    assert source.made <= 6  # two gatherings of 256 KiB


def test_what_fails_in_the_middle_fails_there_and_is_closed() -> None:
    def failing() -> Iterator[bytes]:
        yield bytes(300_000)
        raise ValueError("in the middle")

    source = Source(failing())
    got: list[bytes] = []

    async def take(threads: Threads) -> None:
        async for piece in threads.pieces(source):
            got.append(piece)  # noqa: PERF401  # what came before is looked at

    with pytest.raises(ValueError, match="in the middle"):
        run(take)
    assert list(map(len, got)) == [300_000]
    assert source.is_closed
