"""Nodes that know their devices before they serve: nothing has to be waited for."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.node import RunningNode


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


def reasons(node: RunningNode, since: int = 0) -> list[str]:
    """Return why peers were turned away, as the record says it."""
    return [
        event.outcome_description
        for record in node.records()[since:]
        if (event := record.event).outcome_description
    ]
