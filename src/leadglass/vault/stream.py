"""Tink's AES-GCM-HKDF streaming AEAD: segment by segment, from anywhere.

Byte for byte what Tink writes with AES256_GCM_HKDF (SHA-256) and this ciphertext
segment size, so any Tink library opens it; Tink's own Python reader cannot seek::

    header   40 | salt 32 | nonce prefix 7
    segment  AES-256-GCM(up to the room of plaintext) + tag 16 …

    stream key = HKDF-SHA256(main key, salt, info = associated data)
    nonce      = nonce prefix | segment number, 4 bytes big-endian | is-last

The header counts as part of the first segment. There is always a last segment, and
only the last may be short, or empty when the whole stream is. Nothing can be
flipped, cut, swapped, repeated or appended without a segment failing.
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from leadglass.errors import BadData, Damaged
from leadglass.vault.blobs import Bytes

KEY_BYTES = 32
TAG_BYTES = 16
SALT_BYTES = 32
_PREFIX_BYTES = 7
HEADER_BYTES = 1 + SALT_BYTES + _PREFIX_BYTES
_HEADER = Struct(f"B{SALT_BYTES}s{_PREFIX_BYTES}s")
_NONCE = Struct(f">{_PREFIX_BYTES}sI?")
_NOTE = bytes((0, 0, 0, 0, 2))  # where a segment's nonce has number and is-last
_SEGMENTS_MAX = 1 << 32  # the nonce counts in four bytes


@dataclass(frozen=True, slots=True)
class Layout:
    """Where plaintext lies in a stream of this segment size; pure arithmetic."""

    segment_bytes: int

    def __post_init__(self) -> None:
        assert self.segment_bytes > HEADER_BYTES + TAG_BYTES

    @property
    def room(self) -> int:
        """Plaintext bytes in a full segment that is not the first."""
        return self.segment_bytes - TAG_BYTES

    @property
    def first_room(self) -> int:
        """Plaintext bytes in a full first segment."""
        return self.room - HEADER_BYTES

    def segments(self, stream_bytes: int) -> int:
        """Return how many segments a stream of that length has.

        Raises:
            Damaged: No stream has that length.
        """
        count = -(-stream_bytes // self.segment_bytes)
        tail = stream_bytes - (count - 1) * self.segment_bytes
        least = TAG_BYTES + (HEADER_BYTES if count == 1 else 1)
        if count < 1 or tail < least or count > _SEGMENTS_MAX:
            raise Damaged("the sealed blob is cut short")
        return count

    def plain_bytes(self, stream_bytes: int) -> int:
        """Return the length of the plaintext in a stream of that length."""
        tags = self.segments(stream_bytes) * TAG_BYTES
        return stream_bytes - HEADER_BYTES - tags

    def segment_of(self, offset: int) -> tuple[int, int]:
        """Return the segment that holds a plaintext offset, and where in it."""
        return divmod(offset + HEADER_BYTES, self.room)

    def span(self, number: int, stream_bytes: int) -> tuple[int, int]:
        """Return where a segment's ciphertext begins and ends in the stream."""
        begin = number * self.segment_bytes
        end = min(begin + self.segment_bytes, stream_bytes)
        return max(begin, HEADER_BYTES), end

    def numbers(self, offset: int, length: int) -> Iterator[tuple[int, int, int]]:
        """Yield number, begin and end (in its plaintext) of what covers a range."""
        while length > 0:
            number, at = self.segment_of(offset)
            if number == 0:
                at -= HEADER_BYTES
            room = self.first_room if number == 0 else self.room
            take = min(length, room - at)
            yield number, at, at + take
            offset += take
            length -= take


class Stream:
    """The key and nonces of one stream; without its bytes."""

    __slots__ = ("_aead", "_prefix", "header")

    def __init__(self, main_key: bytes, context: bytes, header: bytes) -> None:
        """Take up the stream that has this header.

        ``context`` is Tink's associated data: a stream opens only under the same.

        Raises:
            Damaged: This is no header.
        """
        length, salt, prefix = _HEADER.unpack(header)
        self._prefix: bytes = prefix
        if length != HEADER_BYTES:
            raise Damaged("the sealed blob has no stream")
        self.header = header
        self._aead = AESGCM(derive(main_key, salt=salt, info=context))

    @classmethod
    def new(cls, main_key: bytes, context: bytes) -> Self:
        """Begin a stream with a key that no other has."""
        random = secrets.token_bytes(SALT_BYTES + _PREFIX_BYTES)
        return cls(main_key, context, bytes([HEADER_BYTES]) + random)

    def seal_into(
        self, number: int, *, is_last: bool, data: Bytes, out: memoryview
    ) -> None:
        """Seal one segment; ``out`` is ``data`` and a tag long.

        Raises:
            BadData: The stream would be longer than its nonces can count.
        """
        if number >= _SEGMENTS_MAX:
            raise BadData("the blob is too long to be sealed")
        nonce = _NONCE.pack(self._prefix, number, is_last)
        self._aead.encrypt_into(nonce, data, None, out)

    def seal_note(self, note: bytes, binding: bytes) -> bytes:
        """Return a note that belongs to the stream and is not part of it, sealed.

        Its nonce ends in 2, which no segment's does; one stream has one note.
        """
        return self._aead.encrypt(self._note_nonce, note, binding)

    def open_note(self, sealed: bytes, binding: bytes) -> bytes:
        """Return the note.

        Raises:
            Damaged: It is not what was sealed with this stream.
        """
        try:
            return self._aead.decrypt(self._note_nonce, sealed, binding)
        except InvalidTag:
            raise Damaged("the sealed blob's note does not verify") from None

    @property
    def _note_nonce(self) -> bytes:
        return self._prefix + _NOTE

    def open(self, number: int, *, is_last: bool, sealed: Bytes) -> bytes:
        """Return the plaintext of one segment.

        Raises:
            Damaged: It is not what was sealed as this segment of this stream.
        """
        nonce = _NONCE.pack(self._prefix, number, is_last)
        try:
            return self._aead.decrypt(nonce, sealed, None)
        except InvalidTag:
            raise Damaged("the sealed blob does not verify") from None


def salt_of(header: bytes) -> bytes:
    """Return the salt in a stream header: 32 bytes that no other stream has."""
    return header[1 : 1 + SALT_BYTES]


def derive(key: bytes, *, salt: bytes | None = None, info: bytes) -> bytes:
    """Return 32 bytes of HKDF-SHA256 (RFC 5869)."""
    return HKDF(SHA256(), KEY_BYTES, salt, info).derive(key)
