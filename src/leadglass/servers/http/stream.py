"""Between a thread that makes bytes and the event loop that sends them."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from concurrent.futures import Executor
from typing import Final, TypeVar

Result = TypeVar("Result")

# What is sent at once: a few records of TLS, and no burden for a hundred streams.
_GATHERED_BYTES: Final = 512 * 1024


class Turns:
    """How many may do something at once.

    Args:
        count: So many.
        wait_s: How long one more waits.
    """

    def __init__(self, count: int, wait_s: float) -> None:
        self._free = asyncio.Semaphore(count)
        self._wait_s = wait_s

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncGenerator[None]:
        """Wait for a turn, and have it.

        Raises:
            TimeoutError: There was none in time.
        """
        await in_time(self._free.acquire(), self._wait_s)
        try:
            yield
        finally:
            self._free.release()


class Threads:
    """A bounded number of threads for work that waits.

    Args:
        executor: The threads.
        turns: Who of the requests may have one now. Pieces of an answer need no
            turn: each is short, and their number is bounded elsewhere.
    """

    def __init__(self, executor: Executor, turns: Turns) -> None:
        self._executor = executor
        self._turns = turns

    async def in_turn(self, work: Callable[[], Result]) -> Result:
        """Do work in a thread once it is its turn.

        Raises:
            TimeoutError: It was not in time.
        """
        async with self._turns.turn():
            return await self._run(work)

    async def _run(self, work: Callable[[], Result]) -> Result:
        """Do work in a thread, and see it through.

        A client that leaves does not free the turn while the thread is still at
        work: else each one that leaves would leave a busy thread behind.
        """
        future = asyncio.get_running_loop().run_in_executor(self._executor, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            with contextlib.suppress(Exception):
                await future
            raise

    async def pieces(self, source: Iterator[bytes]) -> AsyncGenerator[bytes]:
        """Yield what an iterator makes, gathered, the next made while one is sent.

        Each way into a thread and back costs some 0.3 ms: so small pieces share one.
        A stream holds two gathered pieces at most, and one piece more.
        """

        def gathered() -> bytes | None:
            pieces: list[bytes] = []
            length = 0
            for piece in source:
                pieces.append(piece)
                length += len(piece)
                if length >= _GATHERED_BYTES:
                    break
            if not pieces:
                return None
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)

        following = asyncio.ensure_future(self._run(gathered))
        try:
            while (piece := await following) is not None:
                following = asyncio.ensure_future(self._run(gathered))
                yield piece
        finally:
            with contextlib.suppress(Exception):
                await following  # the iterator is at work, and cannot be closed
            await self.close(source)

    async def close(self, source: object) -> None:
        """Close what has something to close."""
        close = getattr(source, "close", None)
        if close is not None:
            await self._run(close)


async def in_time(work: Awaitable[Result], seconds: float) -> Result:
    """Wait for something, but not for ever.

    Raises:
        TimeoutError: It took longer.
    """
    async with asyncio.timeout(seconds):
        return await work
