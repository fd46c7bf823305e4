"""Whether a node serves this data folder just now, and where it listens.

``HOME/serving`` is locked while somebody serves; the kernel lets go of it when the
process ends, however it ends.
"""

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from leadglass.errors import Unavailable

_NAME: Final = "serving"
_MODE: Final = 0o600
_BYTES_MAX: Final = 65_536


@contextmanager
def _opened(home: Path) -> Iterator[int]:
    file = os.open(home / _NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
    try:
        yield file
    finally:
        os.close(file)


@contextmanager
def serving(home: Path) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Say that we serve; what is yielded tells where, once that is known.

    Raises:
        Unavailable: Somebody works on the data folder alone.
    """
    with _opened(home) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unavailable(
                "the index is being rebuilt; start when that has ended"
            ) from None

        def tell(facts: Mapping[str, Any]) -> None:
            os.ftruncate(file, 0)
            os.pwrite(file, json.dumps({**facts, "pid": os.getpid()}).encode(), 0)

        yield tell


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Keep others from serving meanwhile.

    Raises:
        Unavailable: Somebody serves.
    """
    with _opened(home) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unavailable("the node serves; stop it first") from None
        yield


def where(home: Path) -> Mapping[str, Any] | None:
    """Return what the serving node told; ``None`` if none serves."""
    if not (home / _NAME).exists():
        return None
    with _opened(home) as file:
        with suppress(BlockingIOError):
            # A shared look would not tell: servers share it too.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return None
        try:
            facts = json.loads(os.pread(file, _BYTES_MAX, 0) or b"{}")
            os.kill(int(facts.get("pid", 0)) or os.getpid(), 0)
        except (ValueError, ProcessLookupError):
            return None  # its end is a moment ago
        except PermissionError:
            pass  # alive, and another user's
        return dict(facts)
