"""What all answers with stored bytes share: what is wanted, and how it goes out."""

import hashlib
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Final, Self

from leadglass.access.rights import Right
from leadglass.archive.fetch import InstanceLocation, Retrieval, Selection
from leadglass.archive.viewing import Viewings
from leadglass.audit.builders import Service
from leadglass.dicom.attributes import Level
from leadglass.errors import BadData, NotFound
from leadglass.servers.dicomweb.multipart import MediaType, MultipartWriter, listed
from leadglass.servers.http.answers import Answer, Problem
from leadglass.servers.http.routes import About, Call, Parameter

MULTIPART: Final = "multipart/related"
ANYTHING: Final = "*/*"
# Ranges in one Accept: a viewer lists each transfer syntax that it decodes.
_WISHES_MAX: Final = 64
_UID = re.compile(r"[0-9.]{1,64}", re.ASCII)
_TAG_HEX_DIGITS: Final = 40  # of an ETag: enough that no two are alike
# An answer of so many bytes of content is made in one go: a frame of a CT, of an MR.
# Its length is then known, and it leaves in one write with its head.
AT_ONCE_BYTES_MAX: Final = 1 << 20


_ACCEPT: Final = Parameter("accept", "Media types, in place of the header")


def about(
    summary: str,
    media: Iterable[str],
    query: Iterable[Parameter] = (),
    statuses: Iterable[HTTPStatus] = (),
) -> About:
    """Return what programs are told of something that is retrieved."""
    return About(
        summary,
        query=(_ACCEPT, *query),
        gives_media=tuple(media),
        statuses=(HTTPStatus.OK, HTTPStatus.NOT_MODIFIED, *statuses),
    )


@dataclass(frozen=True, slots=True)
class Wish:
    """One media range of an Accept (PS3.18 §8.7.4).

    Attributes:
        kind: What parts, or the whole, may be; ``*/*`` for anything.
        is_multipart: Whether several parts may come.
        is_single: Whether the content may come without being a part.
        syntax: The transfer syntax; empty if none is said, ``*`` for any.
    """

    kind: str
    is_multipart: bool
    is_single: bool
    syntax: str
    quality: float

    @classmethod
    def parse(cls, text: str) -> "Wish":
        """Read one.

        Raises:
            Problem: 400, it is none.
        """
        try:
            media = MediaType.parse(text)
            quality = float(media.parameter("q") or "1")
        except (BadData, ValueError):
            raise Problem(
                HTTPStatus.BAD_REQUEST, "a media type that is none is accepted"
            ) from None
        whole = media.name in {MULTIPART, "multipart/*"}
        root = media.parameter("type").lower() or ANYTHING
        return cls(
            kind=root if whole else media.name,
            is_multipart=whole or media.name == ANYTHING,
            is_single=not whole,
            syntax=media.parameter("transfer-syntax"),
            quality=quality if 0 <= quality <= 1 else 0.0,
        )

    def takes(self, media_type: str) -> bool:
        """Tell whether it names a media type."""
        family = media_type.partition("/")[0]
        return self.kind in {media_type, f"{family}/*", ANYTHING}


def wishes(call: Call) -> Sequence[Wish]:
    """Return what is wanted, the most wanted first; anything, if nothing is said.

    Raises:
        Problem: 400, a wish is malformed, or there are too many.
    """
    values = [value for name, value in call.query if name == "accept"]
    texts = listed(values or call.headers.getlist("accept"))
    if len(texts) > _WISHES_MAX:
        raise Problem(HTTPStatus.BAD_REQUEST, "too many media types are accepted")
    found = [Wish.parse(text) for text in texts or [ANYTHING]]
    wanted = [each for each in found if each.quality]
    return sorted(wanted, key=lambda each: -each.quality)


def not_acceptable(detail: str) -> Problem:
    """Return that none of what is wanted can be given."""
    return Problem(HTTPStatus.NOT_ACCEPTABLE, detail)


def selection_of(path: Mapping[str, str]) -> Selection:
    """Return what a path names.

    Raises:
        NotFound: Something in it is no UID, so nothing has it.
    """
    uids = [path[name] for name in ("study", "series", "instance") if name in path]
    if not all(_UID.fullmatch(each) for each in uids):
        raise NotFound("no such resource")
    level = (Level.STUDY, Level.SERIES, Level.IMAGE)[len(uids) - 1]
    named = [(uid,) for uid in uids] + [()] * (3 - len(uids))
    return Selection(
        level=level,
        study_uids=named[0],
        series_uids=named[1],
        instance_uids=named[2],
    )


def begin(
    viewings: Viewings, call: Call, right: Right, service: Service = Service.WADO_RS
) -> Retrieval:
    """Find what a path names and record that it is about to leave.

    What does not exist and what is out of scope are one: nothing is found.

    Raises:
        NotFound: Nothing is there for this caller.
        Refused, Unavailable: From ``Viewings.begin``.
    """
    retrieval = viewings.begin(call.caller, right, selection_of(call.path), service)
    if not retrieval.locations:
        raise NotFound("no such resource")
    return retrieval


def url_of(base: str, location: InstanceLocation) -> str:
    """Return the URL of an instance; ``base`` is that of the service."""
    return (
        f"{base}/studies/{location.study_uid}/series/{location.series_uid}"
        f"/instances/{location.instance_uid}"
    )


@contextmanager
def recorded(retrieval: Retrieval) -> Iterator[None]:
    """Record that nothing has left, if it comes to nothing before the answer."""
    try:
        yield
    except Exception:
        retrieval.failed()
        retrieval.finish()
        raise


class Begun(Iterator[bytes]):
    """Pieces whose first one is made at once, so that its error has a status."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._rest = pieces
        self._first: bytes | None = next(pieces, None)

    def __next__(self) -> bytes:
        first, self._first = self._first, None
        return next(self._rest) if first is None else first

    def close(self) -> None:
        """End what makes them."""
        close = getattr(self._rest, "close", None)
        if close is not None:
            close()


# A part of an answer: which instance, the headers, and the content.
Part = tuple[InstanceLocation, Mapping[str, str], Iterator[bytes]]


def several(  # noqa: PLR0913  # what leaves, and how it is told
    retrieval: Retrieval,
    root: str,
    parts: Iterator[Part],
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    lengths: Iterable[tuple[Mapping[str, str], int]] = (),
) -> Answer:
    """Answer with parts, each made as the client takes them.

    Headers and length in bytes of each part, if all are known, tell the client how
    much there is to come, and save a copy of every byte.

    A part that fails in the middle breaks the answer off: an answer that ended well
    without it would show a study that is whole and is not.
    """
    boundary = secrets.token_hex(16)
    length = MultipartWriter(boundary).length(lengths)
    writer = MultipartWriter(boundary)
    body = Begun(_written(retrieval, parts, writer))
    return Answer(status, writer.content_type(root), body, headers or {}, length)


def _written(
    retrieval: Retrieval, parts: Iterator[Part], writer: MultipartWriter
) -> Iterator[bytes]:
    with _accounted(retrieval) as account:
        for location, headers, content in parts:
            account.about(location)
            first = next(content, b"")
            yield writer.head(headers)
            yield first
            yield from content
        account.about(None)
        yield writer.end()


def single(  # noqa: PLR0913  # what leaves, and how it is told
    retrieval: Retrieval,
    media_type: str,
    content: Iterator[bytes],
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    length_bytes: int | None = None,
    about: InstanceLocation | None = None,
) -> Answer:
    """Answer with one content of one instance: ``about``, or the only one."""
    body = Begun(_content(retrieval, content, about or retrieval.locations[0]))
    return Answer(status, media_type, body, headers or {}, length_bytes)


def at_once(answer: Answer) -> Answer:
    """Make an answer whole now; for such as are known to be short."""
    assert not isinstance(answer.body, bytes)  # it would be whole already
    return replace(answer, body=b"".join(answer.body))


def _content(
    retrieval: Retrieval, content: Iterator[bytes], location: InstanceLocation
) -> Iterator[bytes]:
    with _accounted(retrieval) as account:
        account.about(location)
        yield from content
        account.about(None)


class _Account:
    """Notes what has left, and records it in the end, however that comes."""

    def __init__(self, retrieval: Retrieval) -> None:
        self._retrieval = retrieval
        self._current: InstanceLocation | None = None

    def about(self, location: InstanceLocation | None) -> None:
        """Say which instance follows; the one before it is out."""
        if self._current is not None and self._current is not location:
            self._retrieval.sent(self._current)
        self._current = location

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._current is not None:
            self._retrieval.failed()
        self._retrieval.finish()


def _accounted(retrieval: Retrieval) -> _Account:
    return _Account(retrieval)


def entity_tag(locations: Iterable[InstanceLocation], *form: object) -> str:
    """Return a strong validator: what is stored, and the form that it is given in.

    Answers are ``no-store``, so no cache keeps what it would be for. Programs that
    keep images on purpose ask with it whether theirs is still right, and go on with a
    value that broke off (``If-Range``).
    """
    digest = hashlib.sha256(repr(form).encode())
    for each in locations:
        digest.update(each.instance_uid.encode() + b"\0" + each.digest)
    return f'"{digest.hexdigest()[:_TAG_HEX_DIGITS]}"'


def unchanged(retrieval: Retrieval, call: Call, tag: str) -> Answer | None:
    """Return that the client has it already, if it has (RFC 9110 §13.1.2)."""
    known = ",".join(call.headers.getlist("if-none-match")).split(",")
    if tag not in {each.strip().removeprefix("W/") for each in known}:
        return None
    retrieval.finish()
    return Answer(HTTPStatus.NOT_MODIFIED, headers={"etag": tag})
