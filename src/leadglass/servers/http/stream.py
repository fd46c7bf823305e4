"""Between a thread that makes bytes and the event loop that sends them."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from concurrent.futures import Executor
from typing import Final, TypeVar

Result = TypeVar("Result")

_END: Final = object()


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
        """Yield what an iterator makes, each piece made when it is asked for."""

        def following() -> object:
            return next(source, _END)

        try:
            while isinstance(piece := await self._run(following), bytes):
                yield piece
        finally:
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
