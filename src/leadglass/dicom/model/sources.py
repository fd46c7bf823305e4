"""Where a data set is read from: in ranges, so that pixels may be left alone."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from leadglass.dicom.header import (
    INFLATE_RATIO_MAX,
    INFLATED_BYTES_FREE,
    INFLATED_BYTES_MAX,
)
from leadglass.errors import BadData

_INFLATE_PIECE_BYTES: Final = 64 * 1024


class Source(Protocol):
    """The bytes of one data set, not deflated."""

    def read(self, at: int, count: int) -> bytes:
        """Return the bytes from ``at`` on; fewer only where the data set ends.

        Raises:
            BadData: They do not inflate, or beyond a limit.
            Damaged, Unavailable: The store says so.
        """
        ...


@dataclass(frozen=True, slots=True)
class Bytes:
    """A data set in memory."""

    data: bytes = field(repr=False)

    def read(self, at: int, count: int) -> bytes:
        """Return a range."""
        return self.data[at : at + count]


class Inflated:
    """A deflated data set, read forwards alone (PS3.5 §A.5).

    Memory is bounded: what was passed is forgotten. A value further on is found by
    inflating what stands before it, since deflate has no index.
    """

    def __init__(
        self, source: Source, *, inflated_bytes_max: int = INFLATED_BYTES_MAX
    ) -> None:
        self._source = source
        self._max = inflated_bytes_max
        self._inflater: Any = zlib.decompressobj(wbits=-15)
        self._taken = 0  # deflated bytes that were read
        self._todo = b""
        self._held = bytearray()
        self._base = 0  # offset of the first held byte

    def read(self, at: int, count: int) -> bytes:
        """Return a range that begins no earlier than the one before.

        Raises:
            BadData: It does not inflate, or inflates beyond the limits.
        """
        if at < self._base:
            raise ValueError("a deflated data set is read forwards")
        while self._base + len(self._held) < at + count:
            piece = self._more()
            if not piece:
                break
            self._held += piece
            passed = min(at - self._base, len(self._held))
            del self._held[:passed]
            self._base += passed
        begin = at - self._base
        return bytes(self._held[begin : begin + count])

    def _more(self) -> bytes:
        """Return what comes next; nothing at the end."""
        while not self._inflater.eof:
            if not self._todo:
                self._todo = self._source.read(self._taken, _INFLATE_PIECE_BYTES)
                self._taken += len(self._todo)
            is_last = not self._todo
            try:
                piece: bytes = self._inflater.decompress(
                    self._todo, _INFLATE_PIECE_BYTES
                )
            except zlib.error:
                raise BadData("the deflated data set does not inflate") from None
            self._todo = self._inflater.unconsumed_tail
            total = self._base + len(self._held) + len(piece)
            if total > self._max or (
                total > INFLATED_BYTES_FREE and total > self._taken * INFLATE_RATIO_MAX
            ):
                raise BadData("the data set inflates beyond the limit")
            if piece:
                return piece
            if is_last:
                raise BadData("the deflated data set is cut short")
        return b""


def pieces(
    source: Source, at: int, count: int, piece_bytes: int = _INFLATE_PIECE_BYTES
) -> Iterator[bytes]:
    """Yield a range, a bounded piece at a time.

    Raises:
        BadData: The data set ends before the range does.
    """
    end = at + count
    while at < end:
        piece = source.read(at, min(piece_bytes, end - at))
        if not piece:
            raise BadData("a value is cut short")
        at += len(piece)
        yield piece
