"""Part 10 files: preamble and file meta information (PS3.10 §7.1).

The preamble is where a file can be a program as well (CVE-2019-11687): it is never
kept. What it was is told, so that it can be recorded.
"""

from dataclasses import dataclass
from functools import lru_cache
from struct import Struct
from typing import Final

from leadglass.dicom.dataset import LONG_VRS, SHORT_VRS, UNDEFINED, DataSet
from leadglass.dicom.transfer_syntaxes import (
    EXPLICIT_VR_BE,
    EXPLICIT_VR_LE,
    IMPLICIT_VR_LE,
)
from leadglass.dicom.uids import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    UID,
)
from leadglass.errors import BadData

PREAMBLE_BYTES: Final = 128
PREFIX: Final = b"DICM"
# File meta information is some 200 bytes; private information may come on top.
META_BYTES_MAX: Final = 64 * 1024

_HEAD_BYTES: Final = PREAMBLE_BYTES + len(PREFIX)
_GROUP_LENGTH: Final = 0x0002_0000
_VERSION: Final = 0x0002_0001
_SOP_CLASS: Final = 0x0002_0002
_SOP_INSTANCE: Final = 0x0002_0003
_TRANSFER_SYNTAX: Final = 0x0002_0010
_IMPLEMENTATION: Final = 0x0002_0012
_IMPLEMENTATION_NAME: Final = 0x0002_0013
_SOURCE_AE: Final = 0x0002_0016

_FIRST_GROUP: Final = 0x0008  # of the data sets that have a SOP class
_FIRST_GROUP_MAX: Final = 0x00FF

_ELEMENT = Struct("<HH2sH")
_LONG = Struct("<I")
# Up to the value of the group length.
_BEFORE_LENGTH: Final = (
    bytes(PREAMBLE_BYTES) + PREFIX + _ELEMENT.pack(2, _GROUP_LENGTH & 0xFFFF, b"UL", 4)
)
_TIFF: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # dual personality, PS3.10


@dataclass(frozen=True, slots=True)
class FileMeta:
    """What the file meta information says of the data set that follows."""

    sop_class: UID
    sop_instance: UID
    transfer_syntax: UID
    source_ae: str | None = None


def encode_part10_header(meta: FileMeta) -> bytes:
    """Return preamble, prefix and group 0002 of a file that we write. HOT."""
    before, after = _around_instance(
        meta.sop_class, meta.transfer_syntax, meta.source_ae
    )
    instance = DataSet()
    instance.set(_SOP_INSTANCE, "UI", meta.sop_instance.encode("ascii"))
    group = before + instance.encode(EXPLICIT_VR_LE) + after
    return _BEFORE_LENGTH + _LONG.pack(len(group)) + group


@lru_cache(maxsize=256)  # what a node receives: some classes from some devices
def _around_instance(
    sop_class: UID, transfer_syntax: UID, source_ae: str | None
) -> tuple[bytes, bytes]:
    """Return what stands before and after the SOP Instance UID."""
    before, after = DataSet(), DataSet()
    before.set(_VERSION, "OB", b"\0\1")
    before.set(_SOP_CLASS, "UI", sop_class.encode("ascii"))
    after.set(_TRANSFER_SYNTAX, "UI", transfer_syntax.encode("ascii"))
    after.set(_IMPLEMENTATION, "UI", IMPLEMENTATION_CLASS_UID.encode("ascii"))
    after.set(_IMPLEMENTATION_NAME, "SH", IMPLEMENTATION_VERSION_NAME.encode("ascii"))
    if source_ae:
        after.set(_SOURCE_AE, "AE", source_ae.encode("ascii"))
    return before.encode(EXPLICIT_VR_LE), after.encode(EXPLICIT_VR_LE)


class Part10Reader:
    """Takes the beginning of a file in any pieces; tells where its data set begins.

    A file without preamble, or without meta information, is taken when it is
    plainly a data set: one of the three uncompressed syntaxes is then guessed.

    Attributes:
        preamble_kind: ``zero``, ``tiff``, ``other``; ``missing``; ``None`` before it
            is known.
        meta: The elements of group 0002; empty when there are none.
        transfer_syntax: As said, or as guessed.
        data_set_offset: Where in the file the data set begins; ``None`` before.
    """

    def __init__(self) -> None:
        self.preamble_kind: str | None = None
        self.meta = DataSet()
        self.transfer_syntax: UID | None = None
        self.data_set_offset: int | None = None
        self._inbox = bytearray()

    def feed(self, data: bytes | memoryview) -> bytes | None:
        """Take the next bytes; once it is known, return those of the data set.

        Raises:
            BadData: It is not DICOM.
        """
        self._inbox += data
        if not self._is_known(is_end=False):
            return None
        return self._rest()

    def finish(self) -> bytes:
        """Say that the file has ended, before the data set was found.

        Raises:
            BadData: It is not DICOM.
        """
        if not self._is_known(is_end=True):
            raise BadData("not a DICOM file")
        return self._rest()

    def head(self) -> bytes:
        """Return preamble and meta information as they are kept: zero preamble.

        Empty when the file has none of them: ``encode_part10_header`` makes them.
        """
        return self._head

    _head: bytes = b""

    def uid(self, tag: int) -> UID | None:
        """Return a UID of the meta information, if it is there.

        Raises:
            BadData: It is not a UID.
        """
        text = self.meta.text(tag)
        return UID(text) if text else None

    @property
    def sop_class(self) -> UID | None:
        """Media Storage SOP Class UID."""
        return self.uid(_SOP_CLASS)

    def _rest(self) -> bytes:
        assert self.data_set_offset is not None  # by _is_known
        rest = bytes(self._inbox[self.data_set_offset :])
        self._inbox.clear()
        return rest

    def _is_known(self, *, is_end: bool) -> bool:
        if len(self._inbox) < _HEAD_BYTES and not is_end:
            return False
        if self._inbox[PREAMBLE_BYTES:_HEAD_BYTES] == PREFIX:
            self.preamble_kind = _kind(bytes(self._inbox[:PREAMBLE_BYTES]))
            begin = _HEAD_BYTES
        elif self._inbox[:4] == PREFIX:
            self.preamble_kind, begin = "missing", 4
        else:
            self.preamble_kind, begin = "missing", 0
        end = self._end_of_meta(begin, is_end=is_end)
        if end is None:
            return False
        if end > begin:
            self.meta = DataSet.decode(
                bytes(self._inbox[begin:end]), length_bytes_max=META_BYTES_MAX
            )
            self._head = bytes(PREAMBLE_BYTES) + PREFIX + bytes(self._inbox[begin:end])
        self.transfer_syntax = self.uid(_TRANSFER_SYNTAX) or _guess(
            bytes(self._inbox[end : end + 8]), has_prefix=begin > 0
        )
        self.data_set_offset = end
        return True

    def _end_of_meta(self, begin: int, *, is_end: bool) -> int | None:
        """Return where group 0002 ends; ``None``: more bytes are needed.

        Its elements are walked: the group length is wrong too often.
        """
        at = begin
        inbox = self._inbox
        while True:
            if at - begin > META_BYTES_MAX:
                raise BadData("file meta information is too long")
            if len(inbox) - at < 12:
                return at if is_end and at <= len(inbox) else None
            group, _, vr, length = _ELEMENT.unpack_from(inbox, at)
            if group != 2:
                return at
            at += 8
            if vr in LONG_VRS:
                length = _LONG.unpack_from(inbox, at)[0]
                at += 4
            if length > META_BYTES_MAX:
                raise BadData("file meta information is too long")
            at += length


def _kind(preamble: bytes) -> str:
    if not any(preamble):
        return "zero"
    return "tiff" if preamble[:4] in _TIFF else "other"


def _guess(begin: bytes, *, has_prefix: bool) -> UID:
    """Guess the transfer syntax from the first element (PS3.5 §A.4 has no sign).

    Args:
        begin: Tag, and VR with length or length alone.
        has_prefix: It stands in a file that says it is DICOM; otherwise it must
            begin with the group that all instances begin with.

    Raises:
        BadData: It does not look like the beginning of a data set.
    """
    if len(begin) < 8:
        raise BadData("not a DICOM file")
    little = int.from_bytes(begin[:2], "little")
    big = int.from_bytes(begin[:2], "big")
    length = int.from_bytes(begin[4:8], "little")
    if begin[4:6] in SHORT_VRS or begin[4:6] in LONG_VRS:
        # Of the two readings of the group the right one is small.
        if 0 < little <= _FIRST_GROUP_MAX:
            return EXPLICIT_VR_LE
        if 0 < big <= _FIRST_GROUP_MAX:
            return EXPLICIT_VR_BE
    elif (little == _FIRST_GROUP and length <= META_BYTES_MAX) or (
        has_prefix
        and 0 < little <= _FIRST_GROUP
        and (length <= META_BYTES_MAX or length == UNDEFINED)
    ):
        return IMPLICIT_VR_LE
    raise BadData("not a DICOM file")
