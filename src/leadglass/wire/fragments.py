"""Cutting messages into P-DATA-TF PDUs of the length a peer takes (PS3.8 §9.3.5).

HOT: a C-GET sends every byte of a study through here, so the headers of the
PDUs are laid down once in a buffer that is used again and again, and the data
is copied once, between them. What comes out are large writes of many PDUs:
each costs one system call and, under TLS, one entry into OpenSSL.
"""

from collections.abc import Iterable, Iterator
from struct import Struct
from typing import Final

from leadglass.errors import PeerError

# PDU type, reserved, PDU length, PDV length, context ID, control header.
_HEAD: Final = Struct(">BxIIBB")
_PDV_OVERHEAD_BYTES: Final = 6  # of that, what a peer's maximum length counts
_P_DATA: Final = 4
COMMAND: Final = 1  # control header, PS3.8 §E.2
LAST: Final = 2

# A peer that takes less than this makes us spend more on headers than on data:
# 525 KB at 512 bytes are 1,000 PDUs. The least that DCMTK can be set to is 4096.
PEER_PDU_LENGTH_BYTES_MIN: Final = 512
# What a peer without a limit (or with a silly one) gets from us; DCMTK's own most.
SENT_PDU_LENGTH_BYTES_MAX: Final = 128 * 1024
# How much goes into one write: large enough to be rare, small enough for the cache and
# for a receiver to begin while we go on.
WRITE_BYTES: Final = 132 * 1024
# Room before the first data PDU, so that a command shares a write with its data.
_COMMAND_ROOM_BYTES: Final = 2048


def sent_pdu_length(announced_bytes: int) -> int:
    """Return how long our PDUs may be for a peer that announced a maximum.

    0 announces that there is none (PS3.8 §D.1.1).

    Raises:
        PeerError: The peer takes so little that sending to it is a burden.
    """
    if announced_bytes == 0:
        return SENT_PDU_LENGTH_BYTES_MAX
    if announced_bytes < PEER_PDU_LENGTH_BYTES_MIN:
        raise PeerError("peer's maximum PDU length is unreasonably small")
    return min(announced_bytes, SENT_PDU_LENGTH_BYTES_MAX)


def piece_bytes(pdu_length_bytes_max: int) -> int:
    """Return how much of a message fits one PDU; even, as all DICOM lengths."""
    return (pdu_length_bytes_max - _PDV_OVERHEAD_BYTES) & ~1


def encode_pdus(
    context_id: int,
    data: bytes | memoryview,
    pdu_length_bytes_max: int,
    *,
    is_command: bool,
) -> bytes:
    """Return a whole command or small data set as P-DATA-TF PDUs."""
    piece = piece_bytes(pdu_length_bytes_max)
    parts: list[bytes | memoryview] = []
    for at in range(0, len(data) or 1, piece):
        part = data[at : at + piece]
        control = is_command * COMMAND | (at + piece >= len(data)) * LAST
        n = len(part)
        parts += (_HEAD.pack(_P_DATA, n + 6, n + 2, context_id, control), part)
    return b"".join(parts)


class Fragmenter:
    """Makes write buffers out of messages, for one association.

    A buffer that it yields is valid until the next one is asked for.
    """

    def __init__(self, pdu_length_bytes_max: int) -> None:
        self._pdu_length = pdu_length_bytes_max
        self._piece = piece_bytes(pdu_length_bytes_max)
        self._step = _HEAD.size + self._piece
        self._context_id = 0  # that the headers in the buffer name
        self._view = memoryview(b"")  # the buffer comes with the first data set
        self._patched: int | None = None  # where the last message left its last header

    def stream(
        self,
        context_id: int,
        command: bytes,
        chunks: Iterable[bytes | memoryview] | None,
    ) -> Iterator[bytes | memoryview]:
        """Yield what must be written for one message.

        Args:
            context_id: The accepted context it belongs to.
            command: The encoded command set.
            chunks: The data set in pieces of any length, or None without one.
        """
        head = encode_pdus(context_id, command, self._pdu_length, is_command=True)
        if chunks is None:
            yield head
            return
        self._lay_headers(context_id)
        view = self._view
        start = _COMMAND_ROOM_BYTES
        if len(head) > _COMMAND_ROOM_BYTES:
            yield head
        else:
            start -= len(head)
            view[start:_COMMAND_ROOM_BYTES] = head
        room = piece = self._piece
        at = _COMMAND_ROOM_BYTES + _HEAD.size
        for chunk in chunks:
            # A slice of ``bytes`` would copy; one of a view does not.
            source = memoryview(chunk)
            taken, length = 0, len(source)
            while taken < length:
                if room == 0:  # the PDU is full and is not the last
                    room = piece
                    if at == len(view):
                        yield view[start:at]
                        start = at = _COMMAND_ROOM_BYTES
                    at += _HEAD.size
                take = min(room, length - taken)
                view[at : at + take] = source[taken : taken + take]
                at += take
                taken += take
                room -= take
        used = piece - room
        self._patched = at - used - _HEAD.size
        self._head_at(self._patched, used, LAST)
        yield view[start:at]

    def _lay_headers(self, context_id: int) -> None:
        if not self._view:
            count = max(1, WRITE_BYTES // self._step)
            self._view = memoryview(bytearray(_COMMAND_ROOM_BYTES + count * self._step))
        if context_id != self._context_id:
            self._context_id = context_id
            for at in range(_COMMAND_ROOM_BYTES, len(self._view), self._step):
                self._head_at(at, self._piece, 0)
        elif self._patched is not None:
            self._head_at(self._patched, self._piece, 0)
        self._patched = None

    def _head_at(self, at: int, used: int, control: int) -> None:
        _HEAD.pack_into(
            self._view, at, _P_DATA, used + 6, used + 2, self._context_id, control
        )


def fragments(
    context_id: int,
    command: bytes,
    chunks: Iterable[bytes | memoryview] | None,
    pdu_length_bytes_max: int,
) -> Iterator[bytes | memoryview]:
    """Yield one message as write buffers; see ``Fragmenter`` for many messages."""
    return Fragmenter(pdu_length_bytes_max).stream(context_id, command, chunks)
