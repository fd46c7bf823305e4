"""WADO-RS frames (PS3.18 §10.4.1.1.6): decoded, or compressed as they are stored."""

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from http import HTTPMethod, HTTPStatus
from threading import Lock
from types import MappingProxyType
from typing import Final

from leadglass.access.rights import Right
from leadglass.archive.fetch import InstanceLocation, Stored
from leadglass.archive.viewing import Viewings
from leadglass.dicom.transfer_syntaxes import EXPLICIT_VR_LE, RLE_LOSSLESS
from leadglass.dicom.uids import UID
from leadglass.pixels.frames import Frames, Layout
from leadglass.pixels.renderer import Renderer
from leadglass.servers.dicomweb.outgoing import (
    AT_ONCE_BYTES_MAX,
    MULTIPART,
    Part,
    Wish,
    about,
    at_once,
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
from leadglass.servers.http.answers import Answer, Problem
from leadglass.servers.http.routes import Call, Route

# Layouts that are remembered, of some 10 KB each: a few series that are being read.
_LAYOUTS_MAX: Final = 1_000
# Frames of one answer: a viewer asks for tiles one by one, or for a cine loop.
FRAMES_MAX: Final = 10_000
_LIST = re.compile(r"\d{1,9}(-\d{1,9})?(,\d{1,9}(-\d{1,9})?)*", re.ASCII)
_LIST_CHARACTERS_MAX: Final = 4096

# What a frame is as it is stored (Table 8.7.3-5).
COMPRESSED: Final[Mapping[UID, str]] = MappingProxyType(
    {
        UID(f"1.2.840.10008.1.2.4.{last}"): media_type
        for media_type, lasts in (
            ("image/jpeg", (50, 51, 57, 70)),
            ("image/jls", (80, 81)),
            ("image/jp2", (90, 91)),
            ("image/jpx", (92, 93)),
            ("image/jxl", (110, 111, 112)),
            ("image/jphc", (201, 202, 203)),
        )
        for last in lasts
    }
    | {RLE_LOSSLESS: "image/dicom-rle"}
)


class Layouts:
    """Where the frames of the instances that were asked for last are."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._known: OrderedDict[str, Layout] = OrderedDict()

    def get(self, blob: str) -> Layout | None:
        """Return a layout, if it is known."""
        with self._lock:
            found = self._known.get(blob)
            if found is not None:
                self._known.move_to_end(blob)
            return found

    def put(self, blob: str, layout: Layout) -> None:
        """Remember one, and forget another if there are too many."""
        with self._lock:
            self._known[blob] = layout
            if len(self._known) > _LAYOUTS_MAX:
                self._known.popitem(last=False)


@dataclass(frozen=True, slots=True)
class RetrieveFrames:
    """Answers what asks for frames.

    Attributes:
        viewings: The use case.
        renderer: Decodes, in processes of its own.
        root: Path of the service.
        layouts: Where frames are.
    """

    viewings: Viewings
    renderer: Renderer
    root: str = "/dicom-web"
    layouts: Layouts = field(default_factory=Layouts)

    def routes(self) -> Iterator[Route]:
        """Yield the route."""
        yield Route(
            method=HTTPMethod.GET,
            template=f"{self.root}{INSTANCE}/frames/{{frames}}",
            access=Right.VIEW,
            handler=self.frames,
            about=about(
                "Retrieve frames, decoded or as they are stored",
                (MULTIPART, OCTETS, *sorted(set(COMPRESSED.values()))),
            ),
        )

    def frames(self, call: Call) -> Answer:
        """Answer with frames in the order that they are asked for."""
        numbers = frame_numbers(call.path["frames"])
        wanted = wishes(call)
        retrieval = begin(self.viewings, call, Right.VIEW)
        (location,) = retrieval.locations
        with ExitStack() as stack:
            with recorded(retrieval):
                wish, media_type, syntax = _form(
                    wanted, UID(location.transfer_syntax_uid)
                )
                stored = stack.enter_context(retrieval.open(location))
                found = self._frames_of(stored, location)
                # All are there, before the first leaves.
                length = sum(found.place(number).length for number in numbers)
            tag = entity_tag(retrieval.locations, numbers, syntax)
            known = unchanged(retrieval, call, tag)
            if known is not None:
                return known
            asked = _Asked(
                found,
                numbers,
                is_stored=media_type != OCTETS or syntax != EXPLICIT_VR_LE,
                close=stack.pop_all().close,
            )
        headers = {"etag": tag}
        typed = f"{media_type}; transfer-syntax={syntax}"
        if wish.is_single and not wish.is_multipart and len(numbers) == 1:
            content = self._content(asked)
            answer = single(retrieval, typed, content, headers=headers)
        else:
            parts = self._parts(asked, location, typed)
            answer = several(retrieval, media_type, parts, headers=headers)
        return at_once(answer) if length <= AT_ONCE_BYTES_MAX else answer

    def _parts(
        self, asked: "_Asked", location: InstanceLocation, typed: str
    ) -> Iterator[Part]:
        with closing(asked):
            for number in asked.numbers:
                yield location, {"Content-Type": typed}, self._frame(asked, number)

    def _content(self, asked: "_Asked") -> Iterator[bytes]:
        with closing(asked):
            yield from self._frame(asked, asked.numbers[0])

    def _frames_of(self, stored: Stored, location: InstanceLocation) -> Frames:
        """Return the frames of an instance; where they are is looked for once.

        A blob never changes, and its name is never given again.

        Raises:
            NotFound: It has no pixel data.
            BadData: It is broken.
        """
        known = self.layouts.get(location.blob)
        found = frames_of(stored, location, known)
        if known is None:
            self.layouts.put(location.blob, found.layout)
        return found

    def _frame(self, asked: "_Asked", number: int) -> Iterator[bytes]:
        frames = asked.frames
        layout, place = frames.layout, frames.place(number)
        is_plain = (
            not layout.is_encapsulated
            and not layout.is_in_big_endian_words
            and not place.bit
            and layout.image.bits_allocated > 1
        )
        if asked.is_stored or is_plain:
            yield from frames.chunks(place)
        else:
            yield self.renderer.decode(frames, number).samples


@dataclass(frozen=True, slots=True)
class _Asked:
    """Frames of one instance on their way out; closes what they are read from."""

    frames: Frames
    numbers: tuple[int, ...]
    is_stored: bool
    close: Callable[[], None]


def frame_numbers(text: str) -> tuple[int, ...]:
    """Read a list of frames and ranges of them, as ``1,4-6``.

    Raises:
        Problem: 400, it is none, or too long.
    """
    if len(text) > _LIST_CHARACTERS_MAX or not _LIST.fullmatch(text):
        raise Problem(HTTPStatus.BAD_REQUEST, "frames are numbers, as in 1,4-6")
    numbers: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        begins, ends = int(first), int(last or first)
        if not 1 <= begins <= ends:
            raise Problem(HTTPStatus.BAD_REQUEST, "frames begin at 1 and go up")
        if len(numbers) + ends - begins >= FRAMES_MAX:
            raise Problem(HTTPStatus.BAD_REQUEST, "too many frames for one answer")
        numbers.extend(range(begins, ends + 1))
    return tuple(numbers)


def frames_of(
    stored: Stored, location: InstanceLocation, layout: Layout | None = None
) -> Frames:
    """Return the frames of an instance; ``layout`` if they were looked for before.

    Raises:
        NotFound: It has no pixel data.
        BadData: It is broken.
    """
    return Frames(stored, UID(location.transfer_syntax_uid), layout=layout)


def _form(wanted: Sequence[Wish], stored: UID) -> tuple[Wish, str, UID]:
    """Return which wish is fulfilled, the media type and the transfer syntax.

    Who asks for bytes and says that any transfer syntax will do gets what is
    stored; who says nothing of it gets them decoded (§8.7.3.5.2).
    """
    compressed = COMPRESSED.get(stored)
    for wish in wanted:
        is_any = wish.kind in {"*/*", OCTETS}
        if compressed and (
            (wish.takes(compressed) and not is_any and wish.syntax in {"", "*", stored})
            or (is_any and wish.syntax in {"*", stored})
        ):
            return wish, compressed, stored
        if wish.takes(OCTETS) and wish.syntax in {"", "*", EXPLICIT_VR_LE}:
            return wish, OCTETS, EXPLICIT_VR_LE
    raise not_acceptable("there are decoded frames, and those that are stored")
