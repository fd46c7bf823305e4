"""What was read a moment ago of people and programs, and still stands.

For what each request asks anew: who this is, and what it may do. A viewer asks a
hundred times a second, and the answers change once a day. A change counts at once, in
every process: it ends all that is remembered.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Final, Generic, TypeVar

from leadglass.database.engine import Database
from leadglass.identity.revision import revision_of_people

Value = TypeVar("Value")

# What also depends on the time (ends of tokens, of sessions, of broken glass) is read
# again this often.
AGE_S: Final = 1.0
# Answers that are kept; one more forgets that which was asked for the longest ago.
_KEPT_MAX: Final = 1_000


class Remembered(Generic[Value]):
    """Answers of one kind, by what they were asked with; for any thread."""

    def __init__(
        self, database: Database, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Prepare; ``clock`` gives seconds that only go forward."""
        self._database = database
        self._clock = clock
        self._lock = Lock()
        self._known: OrderedDict[Hashable, tuple[int, float, Value]] = OrderedDict()

    def get(self, key: Hashable, read: Callable[[], Value]) -> Value:
        """Return what ``read`` returned, or returns now; its errors are not kept.

        Raises:
            Unavailable: The database cannot answer now.
        """
        # Before what is read: a change meanwhile makes it old, not wrong.
        version, now_s = revision_of_people(self._database), self._clock()
        with self._lock:
            found = self._known.get(key)
        if found is not None and found[0] == version and now_s - found[1] < AGE_S:
            return found[2]
        value = read()
        with self._lock:
            self._known[key] = version, now_s, value
            self._known.move_to_end(key)
            if len(self._known) > _KEPT_MAX:
                self._known.popitem(last=False)
        return value
