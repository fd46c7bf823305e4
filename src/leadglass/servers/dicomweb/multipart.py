"""Bodies of several parts (RFC 2046 §5.1, RFC 2387), read and written in pieces.

The reader is a core without I/O: bytes go in as they come, events come out. Its
memory is one boundary and one block of headers, whatever is sent. Where the bytes
are cut changes nothing but the size of the pieces of ``Data``.

Readers that differ in what they take for a boundary see different parts, so this one
takes what the RFC says and nothing else: lines end in CRLF, headers are not folded,
and after the boundary stand spaces alone.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Final

from leadglass.errors import BadData

BOUNDARY_CHARACTERS_MAX: Final = 70  # RFC 2046 §5.1.1
# A study of 10,000 instances is sent at once by some; ten times that is no study.
PARTS_MAX: Final = 100_000
HEADER_BYTES_MAX: Final = 8 * 1024  # of one part; honest ones have 200
HEADERS_MAX: Final = 32
PREAMBLE_BYTES_MAX: Final = 4 * 1024  # "This is a multipart message in MIME format."
EPILOGUE_BYTES_MAX: Final = 4 * 1024
_PADDING_BYTES_MAX: Final = 256  # spaces behind a boundary
_PART_BYTES_MAX: Final = 2**40  # the limit of an object is the archive's to judge

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}")  # RFC 9110 §5.6.2
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_PARAMETER = re.compile(
    r"\s*;\s*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)\s*=\s*"
    r'(?:"((?:[^"\\]|\\.)*)"|([!#$%&\'*+\-.^_`|~0-9A-Za-z/:]+))'
)
_MEDIA_TYPE = re.compile(
    r"\s*([!#$%&'*+\-.^_`|~0-9A-Za-z]+/[!#$%&'*+\-.^_`|~0-9A-Za-z]+)"
)


# What stands between commas; in quotation marks a comma is text. No character has two
# ways to be read, so that the time is as the length, whatever comes.
_LISTED = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*"?)+', re.DOTALL)


def listed(values: Iterable[str]) -> list[str]:
    """Return the elements of a header that is a list (RFC 9110 §5.6.1)."""
    found = (text.strip() for value in values for text in _LISTED.findall(value))
    return [text for text in found if text]


@dataclass(frozen=True, slots=True)
class MediaType:
    """A media type with its parameters, names in lower case (RFC 9110 §8.3.1)."""

    name: str
    parameters: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> "MediaType":
        """Read the value of a Content-Type.

        Raises:
            BadData: It is not one, or has a parameter twice.
        """
        begin = _MEDIA_TYPE.match(text) if len(text) <= HEADER_BYTES_MAX else None
        if begin is None:
            raise BadData("a content type that is none")
        at = begin.end()
        found: dict[str, str] = {}
        while text[at:].strip(" \t;"):
            parameter = _PARAMETER.match(text, at)
            if parameter is None or parameter[1].lower() in found:
                raise BadData("a content type whose parameters are none")
            quoted = parameter[2]
            value = parameter[3] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            found[parameter[1].lower()] = value
            at = parameter.end()
        return cls(begin[1].lower(), MappingProxyType(found))

    def parameter(self, name: str) -> str:
        """Return a parameter, or nothing."""
        return self.parameters.get(name, "")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a body may have at most."""

    parts_max: int = PARTS_MAX
    header_bytes_max: int = HEADER_BYTES_MAX
    part_bytes_max: int = _PART_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Begin:
    """A part begins.

    Attributes:
        headers: Names in lower case.
    """

    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Data:
    """More of the part's content."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class End:
    """The part is whole."""


Event = Begin | Data | End


class _State(Enum):
    PREAMBLE = "before the first boundary"
    AFTER_BOUNDARY = "behind a boundary"
    HEADERS = "within the headers of a part"
    CONTENT = "within the content of a part"
    EPILOGUE = "behind the last boundary"


class MultipartReader:
    """Takes a body in any pieces; gives its parts."""

    def __init__(self, boundary: str, limits: Limits | None = None) -> None:
        """Begin.

        Raises:
            BadData: The boundary is none (RFC 2046 §5.1.1).
        """
        if not _BOUNDARY.fullmatch(boundary):
            raise BadData("a multipart body without a valid boundary")
        self._delimiter = b"\r\n--" + boundary.encode("ascii")
        self._limits = limits or Limits()
        self._state = _State.PREAMBLE
        # The first boundary may stand at the very beginning, without its CRLF.
        self._inbox = bytearray(b"\r\n")
        self._preamble = 0
        self._epilogue = 0
        self._parts = 0
        self._content = 0  # bytes of the part so far
        self._length: int | None = None  # what its Content-Length says

    @property
    def parts(self) -> int:
        """How many parts have begun."""
        return self._parts

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[Event]:
        """Take the next bytes; yield what they complete. Exhaust it before the next.

        Raises:
            BadData: They are no such body, or pass a limit.
        """
        self._inbox += data
        steps = {
            _State.PREAMBLE: self._read_preamble,
            _State.AFTER_BOUNDARY: self._read_after_boundary,
            _State.HEADERS: self._read_headers,
            _State.CONTENT: self._read_content,
            _State.EPILOGUE: self._read_epilogue,
        }
        before = None
        while before is not self._state:
            before = self._state
            yield from steps[before]()

    def finish(self) -> None:
        """Say that the body has ended.

        Raises:
            BadData: It is cut short.
        """
        if self._state is not _State.EPILOGUE:
            raise BadData("a multipart body is cut short")

    def _read_preamble(self) -> Iterator[Event]:
        found = self._inbox.find(self._delimiter)
        passed = len(self._inbox) - len(self._delimiter) + 1 if found < 0 else found
        if passed > 0:
            self._preamble += passed
            del self._inbox[:passed]
        if self._preamble > PREAMBLE_BYTES_MAX:
            raise BadData("a multipart body that does not begin with its boundary")
        if found >= 0:
            del self._inbox[: len(self._delimiter)]
            self._state = _State.AFTER_BOUNDARY
        yield from ()

    def _read_after_boundary(self) -> Iterator[Event]:
        if self._inbox.startswith(b"--"):
            del self._inbox[:2]
            self._state = _State.EPILOGUE
            return
        end = self._inbox.find(b"\r\n")
        line = self._inbox if end < 0 else self._inbox[:end]
        # A hyphen may be the first half of the end, a CR the first of a line end.
        rest = bytes(line).strip(b" \t")
        if len(line) > _PADDING_BYTES_MAX or (
            rest if end >= 0 else rest.removesuffix(b"\r") and rest != b"-"
        ):
            raise BadData("something else behind a boundary")
        if end < 0:
            return
        del self._inbox[:end]  # the CRLF stays: headers may be none
        self._parts += 1
        if self._parts > self._limits.parts_max:
            raise BadData("a multipart body of too many parts")
        self._state = _State.HEADERS
        yield from ()

    def _read_headers(self) -> Iterator[Event]:
        end = self._inbox.find(b"\r\n\r\n")
        size = len(self._inbox) if end < 0 else end
        if size > self._limits.header_bytes_max:
            raise BadData("the headers of a part are too long")
        if end < 0:
            return
        headers = _headers(bytes(self._inbox[2:end]))
        # Its CRLF stays: an empty content ends in a boundary at once.
        del self._inbox[: end + 2]
        self._content = -2
        self._length = _length(headers)
        self._state = _State.CONTENT
        yield Begin(headers)

    def _read_content(self) -> Iterator[Event]:
        found = self._inbox.find(self._delimiter)
        ready = len(self._inbox) - len(self._delimiter) + 1 if found < 0 else found
        if self._content < 0 and ready > 0:
            # What stands first is the line end of the headers, not content.
            skipped = min(-self._content, ready)
            if skipped < -self._content:
                return  # only the first half of it could be told from a boundary
            del self._inbox[:skipped]
            ready -= skipped
            self._content = 0
        elif self._content < 0 <= found:
            self._content = 0  # no content at all
        if ready > 0:
            self._content += ready
            self._judge_length(is_end=False)
            data = bytes(memoryview(self._inbox)[:ready])
            del self._inbox[:ready]
            yield Data(data)
        if found >= 0:
            self._judge_length(is_end=True)
            del self._inbox[: len(self._delimiter)]
            self._state = _State.AFTER_BOUNDARY
            yield End()

    def _judge_length(self, *, is_end: bool) -> None:
        if self._content > self._limits.part_bytes_max:
            raise BadData("a part is too long")
        if self._length is not None and (
            self._content > self._length or (is_end and self._content < self._length)
        ):
            raise BadData("a part is not as long as it says")

    def _read_epilogue(self) -> Iterator[Event]:
        self._epilogue += len(self._inbox)
        self._inbox.clear()
        if self._epilogue > EPILOGUE_BYTES_MAX:
            raise BadData("something follows the multipart body")
        yield from ()


def _headers(block: bytes) -> Mapping[str, str]:
    """Return the headers of a part."""
    found: dict[str, str] = {}
    lines = block.split(b"\r\n") if block else []
    if len(lines) > HEADERS_MAX:
        raise BadData("a part of too many headers")
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise BadData("a part whose headers are none")
        key = name.decode("ascii").lower()
        if key in found:
            raise BadData("a header stands twice in a part")
        found[key] = value.decode("latin-1").strip(" \t")
    if found.get("content-transfer-encoding", "binary").lower() not in {
        "binary",
        "8bit",
        "7bit",
    }:
        raise BadData("a part with a transfer encoding")  # HTTP has none, RFC 9112
    return MappingProxyType(found)


def _length(headers: Mapping[str, str]) -> int | None:
    text = headers.get("content-length")
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,15}", text):
        raise BadData("a part whose length is no number")
    return int(text)


class MultipartWriter:
    """Makes the bytes between the contents of parts.

    The caller draws the boundary at random (``secrets.token_hex``): what is sent
    was stored by strangers, and must not be able to hold it.
    """

    def __init__(self, boundary: str) -> None:
        if not _BOUNDARY.fullmatch(boundary):
            raise ValueError("not a boundary (RFC 2046 §5.1.1)")
        self._boundary = boundary.encode("ascii")
        self._is_first = True

    def content_type(self, root: str) -> str:
        """Return the header of the whole; ``root`` is the type of its parts."""
        boundary = self._boundary.decode("ascii")
        return f'multipart/related; type="{root}"; boundary="{boundary}"'

    def head(self, headers: Mapping[str, str]) -> bytes:
        """Return what stands before the content of the next part.

        Raises:
            ValueError: A header holds a line end.
        """
        lines = b""
        for name, value in headers.items():
            raw = value.encode("latin-1")
            if not _NAME.fullmatch(name.encode("ascii")) or not _VALUE.fullmatch(raw):
                raise ValueError("a header that is none")
            lines += name.encode("ascii") + b": " + raw + b"\r\n"
        line_end = b"" if self._is_first else b"\r\n"
        self._is_first = False
        return line_end + b"--" + self._boundary + b"\r\n" + lines + b"\r\n"

    def length(self, parts: Iterable[tuple[Mapping[str, str], int]]) -> int | None:
        """Return the length in bytes of the whole; ``None`` without parts.

        Args:
            parts: Headers, and length of the content, of each.
        """
        total = sum(len(self.head(headers)) + count for headers, count in parts)
        return total + len(self.end()) if total else None

    def end(self) -> bytes:
        """Return what stands after the last part."""
        return (b"" if self._is_first else b"\r\n") + b"--" + self._boundary + b"--\r\n"
