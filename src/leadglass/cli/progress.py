"""Progress on stderr, for people at a terminal and nobody else."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# (done, total); a total of 0 means that nobody knows yet.
Update = Callable[[int, int], None]


def _nothing(_done: int, _total: int) -> None:
    """Draw nothing."""


@contextmanager
def progress(label: str) -> Iterator[Update]:
    """Draw a bar while the block runs; silent where there is no terminal."""
    if not sys.stderr.isatty():
        yield _nothing
        return
    # Only a terminal is worth the time that rich takes to load.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task(label, total=None)

        def update(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total or None)

        yield update
