"""Bytes that arrive in chunks, taken as the reader wants them."""

import zlib
from collections.abc import Iterable, Iterator

from leadglass.pixels.faults import Fault, Undecodable

INFLATE_CHUNK_BYTES = 1 << 20


class Source:
    """Reads exactly what is asked for; the end in the middle is an error."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._view = memoryview(b"")
        self.position = 0

    def read(self, length: int) -> bytes:
        """Take bytes whose number the caller has judged.

        Raises:
            Undecodable: There are fewer.
        """
        view = self._view
        if length <= len(view):
            self._view = view[length:]
            self.position += length
            return bytes(view[:length])
        return b"".join(self.pieces(length))

    def pieces(self, length: int) -> Iterator[memoryview]:
        """Take many bytes piece by piece, without gathering them.

        Raises:
            Undecodable: There are fewer.
        """
        while length:
            if not len(self._view) and not self._refill():
                raise Undecodable(Fault.TRUNCATED)
            piece = self._view[:length]
            self._view = self._view[len(piece) :]
            self.position += len(piece)
            length -= len(piece)
            yield piece

    def at_end(self) -> bool:
        """Whether nothing follows."""
        return not len(self._view) and not self._refill()

    def _refill(self) -> bool:
        for chunk in self._chunks:
            if chunk:
                self._view = memoryview(chunk)
                return True
        return False


def inflated(chunks: Iterable[bytes], inflated_bytes_max: int) -> Iterator[bytes]:
    """Inflate a deflated data set (PS3.5 §A.5), never further than allowed.

    Raises:
        Undecodable: It is too large, broken or cut off.
    """
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    left = inflated_bytes_max
    for chunk in chunks:
        data = chunk
        while data and not inflate.eof:
            try:
                plain = inflate.decompress(data, min(INFLATE_CHUNK_BYTES, left + 1))
            except zlib.error as error:
                raise Undecodable(Fault.CODESTREAM) from error
            left -= len(plain)
            if left < 0:
                raise Undecodable(Fault.TOO_LARGE)
            data = inflate.unconsumed_tail
            if plain:
                yield plain
    while not inflate.eof:
        # What the last chunk still holds back; nothing more means a cut.
        try:
            plain = inflate.decompress(b"", min(INFLATE_CHUNK_BYTES, left + 1))
        except zlib.error as error:
            raise Undecodable(Fault.CODESTREAM) from error
        left -= len(plain)
        if left < 0:
            raise Undecodable(Fault.TOO_LARGE)
        if not plain:
            raise Undecodable(Fault.TRUNCATED)
        yield plain
