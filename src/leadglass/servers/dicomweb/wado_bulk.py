"""WADO-RS bulk data (PS3.18 §10.4.1.1.5): what metadata names by a BulkDataURI."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http import HTTPMethod, HTTPStatus
from types import MappingProxyType
from typing import Final

from leadglass.access.rights import Right
from leadglass.archive.fetch import InstanceLocation, Retrieval
from leadglass.archive.metadata import length_of, plain
from leadglass.archive.viewing import Viewings
from leadglass.dicom.model.sources import Source, pieces
from leadglass.dicom.model.values import WORD_BYTES, swapped
from leadglass.dicom.model.walk import Value, locate
from leadglass.dicom.transfer_syntaxes import EXPLICIT_VR_LE
from leadglass.dicom.uids import UID
from leadglass.errors import NotFound
from leadglass.pixels.renderer import Renderer
from leadglass.pixels.rewrite import ENCAPSULATED
from leadglass.servers.dicomweb.outgoing import (
    ANYTHING,
    MULTIPART,
    Part,
    Wish,
    about,
    begin,
    entity_tag,
    not_acceptable,
    recorded,
    several,
    single,
    unchanged,
    wishes,
)
from leadglass.servers.dicomweb.wado import INSTANCE, OCTETS
from leadglass.servers.dicomweb.wado_frames import COMPRESSED, FRAMES_MAX, frames_of
from leadglass.servers.http.answers import Answer, Problem
from leadglass.servers.http.routes import Call, Route

# What a film is as it is stored (Table 8.7.3-5).
VIDEOS: Final = MappingProxyType(
    {
        UID(f"1.2.840.10008.1.2.4.{last}{fragmentable}"): media_type
        for media_type, lasts in (
            ("video/mpeg", range(100, 102)),
            ("video/mp4", range(102, 109)),
        )
        for last in lasts
        for fragmentable in ("", ".1")
    }
)
PIXEL_DATA: Final = "7FE00010"
_MEDIA: Final = (
    *(MULTIPART, OCTETS),
    *sorted({*COMPRESSED.values(), *VIDEOS.values()}),
)
_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})", re.ASCII)
_BULK_NAME = re.compile(r"[0-9A-F]{8}(\.[0-9]{1,9}\.[0-9A-F]{8}){0,32}", re.ASCII)
# Pieces of a bulk value are whole words of any size, so that each can be turned round.
_WORDS_BYTES: Final = 64 * 1024
_ITEM_HEAD_BYTES: Final = 8  # tag and length (PS3.5 §7.5)


@dataclass(frozen=True, slots=True)
class RetrieveBulk:
    """Answers what asks for one value.

    Attributes:
        viewings: The use case.
        renderer: Decodes, in processes of its own.
        root: Path of the service.
    """

    viewings: Viewings
    renderer: Renderer
    root: str = "/dicom-web"

    def routes(self) -> Iterator[Route]:
        """Yield the route."""
        yield Route(
            method=HTTPMethod.GET,
            template=f"{self.root}{INSTANCE}/bulkdata/{{bulk}}",
            access=Right.VIEW,
            handler=self.bulk_data,
            about=about(
                "Retrieve one value, or a range of its bytes",
                _MEDIA,
                statuses=(
                    HTTPStatus.PARTIAL_CONTENT,
                    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
                ),
            ),
        )

    def bulk_data(self, call: Call) -> Answer:
        """Answer with one value, or a range of it."""
        name = call.path["bulk"]
        if not _BULK_NAME.fullmatch(name):
            raise NotFound("no such resource")
        wanted = [each for each in wishes(call) if any(map(each.takes, _MEDIA))]
        if not wanted:
            raise not_acceptable(f"there is {OCTETS}")
        retrieval = begin(self.viewings, call, Right.VIEW)
        (location,) = retrieval.locations
        with recorded(retrieval):
            value = _located(retrieval, location, name.replace(".", "/"))
        if value.is_encapsulated:
            return self._encapsulated(call, retrieval, value, wanted)
        return _plain(call, retrieval, value, wanted)

    def _encapsulated(
        self, call: Call, retrieval: Retrieval, value: Value, wanted: Sequence[Wish]
    ) -> Answer:
        """Answer with frames as they are stored, or with all of them decoded."""
        (location,) = retrieval.locations
        with recorded(retrieval):
            count = _frame_count(retrieval, location, value)
            wish, media_type, syntax = _form(wanted, location, count)
        tag = entity_tag(retrieval.locations, value.path, syntax)
        known = unchanged(retrieval, call, tag)
        if known is not None:
            return known
        headers = {"etag": tag}
        typed = f"{media_type}; transfer-syntax={syntax}"
        is_stored = syntax == location.transfer_syntax_uid
        contents = self._contents(retrieval, value, count, is_stored=is_stored)
        if wish.is_single and (count <= 1 or not is_stored):
            return single(retrieval, typed, _joined(contents), headers=headers)
        parts = _parts(location, typed, contents)
        return several(retrieval, media_type, parts, headers=headers)

    def _contents(
        self, retrieval: Retrieval, value: Value, count: int, *, is_stored: bool
    ) -> Iterator[Iterator[bytes]]:
        """Yield what each part holds: a stored frame, or all that there is.

        A compressed frame is a part; decoded ones are one (§8.7.3.3.1).
        """
        (location,) = retrieval.locations
        with retrieval.open(location) as stored:
            if not count:
                source, _ = plain(stored, location)
                yield _fragments(source, value)
                return
            frames = frames_of(stored, location)
            numbers = range(1, count + 1)
            if is_stored:
                for number in numbers:
                    yield frames.chunks(frames.place(number))
            else:
                yield (self.renderer.decode(frames, each).samples for each in numbers)


def _frame_count(retrieval: Retrieval, location: InstanceLocation, value: Value) -> int:
    """Return how many frames encapsulated pixel data has; 0: they are not told apart.

    Films are one codestream; an icon is one frame of fragments (PS3.3 C.7.6.1.1.6).
    """
    if value.path != PIXEL_DATA or location.transfer_syntax_uid not in ENCAPSULATED:
        return 0
    with retrieval.open(location) as stored:
        frames = frames_of(stored, location)
        for number in {1, frames.count}:
            frames.place(number)  # found before anything leaves
        return frames.count


def _form(
    wanted: Sequence[Wish], location: InstanceLocation, count: int
) -> tuple[Wish, str, UID]:
    """Return which wish is fulfilled, the media type and the transfer syntax.

    As for frames: who asks for bytes and names no transfer syntax gets them decoded,
    unless they cannot be, and anything will do.
    """
    stored = UID(location.transfer_syntax_uid)
    media_type = COMPRESSED.get(stored) or VIDEOS.get(stored, OCTETS)
    is_decoded = 0 < count <= FRAMES_MAX
    for wish in wanted:
        is_any = wish.kind in {ANYTHING, OCTETS}
        if is_decoded and is_any and wish.syntax in {"", EXPLICIT_VR_LE}:
            return wish, OCTETS, EXPLICIT_VR_LE
        is_of_syntax = wish.syntax in {"*", stored} or (
            not wish.syntax and wish.kind != OCTETS
        )
        if is_of_syntax and (is_any or wish.takes(media_type)):
            return wish, media_type, stored
    raise not_acceptable("there is what is stored: ask for transfer-syntax=*")


def _fragments(source: Source, value: Value) -> Iterator[bytes]:
    """Yield what the fragments hold, behind the offset table (PS3.5 §A.4)."""
    at, end = value.offset, value.offset + value.length
    is_table = True
    while at < end:
        head = source.read(at, _ITEM_HEAD_BYTES)
        length = int.from_bytes(head[4:], "little")
        at += _ITEM_HEAD_BYTES
        if not is_table:
            yield from pieces(source, at, length)
        is_table = False
        at += length


def _joined(contents: Iterator[Iterator[bytes]]) -> Iterator[bytes]:
    for content in contents:
        yield from content


def _parts(
    location: InstanceLocation, typed: str, contents: Iterator[Iterator[bytes]]
) -> Iterator[Part]:
    for content in contents:
        yield location, {"Content-Type": typed}, content


# ── all other values ─────────────────────────────────────────────────────────────


def _plain(
    call: Call, retrieval: Retrieval, value: Value, wanted: Sequence[Wish]
) -> Answer:
    """Answer with a value, or a range of it."""
    (location,) = retrieval.locations
    tag = entity_tag(retrieval.locations, value.path)
    with recorded(retrieval):
        wishes_met = [each for each in wanted if each.takes(OCTETS)]
        if not wishes_met:
            raise not_acceptable(f"there is {OCTETS}")
        asked = _asked(call, value.length, tag)
    known = unchanged(retrieval, call, tag)
    if known is not None:
        return known
    headers = {"etag": tag, "accept-ranges": "bytes"}
    if not wishes_met[0].is_single:
        content = _bulk(retrieval, location, value, 0, value.length)
        part = (location, {"Content-Type": OCTETS}, content)
        return several(retrieval, OCTETS, iter((part,)), headers={"etag": tag})
    first, end = asked or (0, value.length)
    if asked is not None:
        headers["content-range"] = f"bytes {first}-{end - 1}/{value.length}"
    return single(
        retrieval,
        OCTETS,
        _bulk(retrieval, location, value, first, end),
        status=HTTPStatus.OK if asked is None else HTTPStatus.PARTIAL_CONTENT,
        headers=headers,
        length_bytes=end - first,
    )


def _located(retrieval: Retrieval, location: InstanceLocation, path: str) -> Value:
    with retrieval.open(location) as stored:
        source, syntax = plain(stored, location)
        value = locate(source, syntax, length_of(stored, syntax), path)
    if value is None or value.raw is not None:
        raise NotFound("no such resource")
    return value


def _bulk(
    retrieval: Retrieval, location: InstanceLocation, value: Value, first: int, end: int
) -> Iterator[bytes]:
    """Yield a range of a value, little endian whatever it is stored in."""
    with retrieval.open(location) as stored:
        source, _ = plain(stored, location)
        if value.is_little_endian:
            yield from pieces(source, value.offset + first, end - first)
        else:
            yield from _turned(source, value, first, end)


def _turned(source: Source, value: Value, first: int, end: int) -> Iterator[bytes]:
    """Yield a range of big-endian words, turned round."""
    word_bytes = WORD_BYTES.get(value.vr, 1)
    for at in range(first - first % _WORDS_BYTES, end, _WORDS_BYTES):
        count = min(_WORDS_BYTES, value.length - at)
        words = swapped(source.read(value.offset + at, count), word_bytes)
        yield words[max(first - at, 0) : end - at]


def _asked(call: Call, length: int, tag: str) -> tuple[int, int] | None:
    """Return the range that is asked for: its first byte and its end (RFC 9110 §14.2).

    ``None`` for all of it: also when several ranges are asked for, or a range of
    something that has changed since.

    Raises:
        Problem: 416, there is no such range.
    """
    found = _RANGE.fullmatch(call.headers.get("range", ""))
    if found is None or call.headers.get("if-range", tag) != tag:
        return None
    first, last = found.groups()
    if not first and not last:
        return None
    begins = int(first) if first else max(0, length - int(last))
    ends = min(int(last) + 1, length) if first and last else length
    if begins >= ends:
        raise Problem(
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
            "there is no such range",
            {"content-range": f"bytes */{length}"},
        )
    return begins, ends
