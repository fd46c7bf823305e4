"""Passwords that everybody knows: the list that *Have I Been Pwned* publishes.

One file, sorted, a line for each password: the SHA-1 in 40 capital hex digits, a
colon, how often it was seen. It has some 40 GB, so it is looked at in place, in
about 35 reads. Nothing leaves the node.
"""

import os
import re
from hashlib import sha1
from pathlib import Path
from typing import Protocol

from leadglass.errors import Misconfigured, Unavailable

_DIGITS = 40
# The longest line there can be: digits, colon, a count of 19 digits, CR LF.
_LINE_BYTES_MAX = _DIGITS + 1 + 19 + 2
_LINE = re.compile(rb"([0-9A-Fa-f]{40})(?::[0-9]{1,19})?\r?(?:\n|\Z)")
# Twice a line: wherever it begins, there is a whole line in it.
_WINDOW_BYTES = 2 * _LINE_BYTES_MAX


class KnownPasswords(Protocol):
    """A list of passwords that nobody may choose."""

    def knows(self, password: str) -> bool:
        """Whether a password is on the list.

        Raises:
            Unavailable: The list cannot be read; the password must not be taken.
        """


class NoList:
    """The list of a node that has none."""

    def knows(self, password: str) -> bool:  # noqa: ARG002 - there is none
        """Say no."""
        return False


class Sha1List:
    """A file of SHA-1 hashes in order."""

    def __init__(self, path: Path) -> None:
        """Open the list.

        Raises:
            Misconfigured: It cannot be read, or is not such a list.
        """
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise Misconfigured(
                f"password list: cannot be read: {error.strerror}"
            ) from None
        self._bytes = os.fstat(self._file).st_size
        try:
            self._line_at(0)
        except Unavailable:
            self.close()
            raise Misconfigured(
                "password list: not lines of SHA-1 hashes, sorted; give the file "
                "ordered by hash"
            ) from None

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def knows(self, password: str) -> bool:
        """Whether a password is on the list (see ``KnownPasswords``)."""
        # SHA-1 is what the list is made with; nothing is protected by it.
        wanted = sha1(password.encode(), usedforsecurity=False).hexdigest().upper()
        low, high = 0, self._bytes  # the wanted line begins in [low, high)
        while low < high:
            middle = (low + high) // 2
            begins, ends, digest = self._line_at(middle)
            if begins >= high:  # the last line before `high` begins at or before it
                high = middle
            elif digest == wanted:
                return True
            elif digest < wanted:
                low = ends
            else:
                high = middle
        return False

    def _line_at(self, offset: int) -> tuple[int, int, str]:
        """Return the first line that begins at or after ``offset``: where, digest.

        Past the last line it is an empty one at the end of the file.

        Raises:
            Unavailable: The disk refused, or that is no line of such a list.
        """
        start = max(offset - 1, 0)  # the byte before tells whether a line begins here
        try:
            window = os.pread(self._file, _WINDOW_BYTES + 1, start)
        except OSError as error:
            raise Unavailable(f"password list: {error.strerror}") from None
        at = 0 if offset == 0 else window.find(b"\n") + 1
        if offset and not at:
            if start + len(window) < self._bytes:
                raise Unavailable("password list: damaged")
            return self._bytes, self._bytes, ""
        if start + at >= self._bytes and offset:
            return self._bytes, self._bytes, ""
        line = _LINE.match(window, at)
        if line is None:
            raise Unavailable("password list: damaged")
        return start + at, start + line.end(), line[1].decode().upper()
