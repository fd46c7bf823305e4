"""Nodes that know their devices before they serve: nothing has to be waited for."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from leadglass.audit.search import Search
from tests.support.node import RunningNode

# How long a change, or a count of refusals, may take to be seen.
SEEN_WITHIN_S = 2.0
# What is read from the record may take a moment more on a busy machine.
PATIENCE_S = 10.0


def made(home: Path, **settings: str) -> RunningNode:
    """Return a fresh node that does not serve yet; ``__`` in a name is a dot."""
    node = RunningNode(
        home, {name.replace("__", "."): value for name, value in settings.items()}
    )
    node.init()
    return node


@contextmanager
def serving(node: RunningNode) -> Iterator[RunningNode]:
    """Serve; end it afterwards, whatever happened."""
    node.start()
    try:
        yield node
    finally:
        if node.process is not None:
            node.kill()


def reasons(node: RunningNode, address: str) -> list[str]:
    """Return why an address was turned away, as the record says it."""
    with node.open() as opened:
        return [
            record.event.outcome_description
            for record in opened.audit.list(Search(address=address))
            if record.event.outcome_description
        ]


def is_told(node: RunningNode, address: str, reason: str) -> bool:
    """Wait until the record says that an address was turned away for a reason."""
    return comes_true(
        lambda: any(reason in each for each in reasons(node, address)), PATIENCE_S
    )


def comes_true(holds: Callable[[], bool], within_s: float) -> bool:
    """Tell whether something holds within a time."""
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
