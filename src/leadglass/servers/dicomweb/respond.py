"""Answers of DICOMweb: which representation is wanted, and rows in it (PS3.18 §8.7)."""

import json
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import Any, Final
from xml.sax.saxutils import escape

from pydicom.datadict import keyword_for_tag

from leadglass.dicom.model.xml import COMPONENTS, NAMESPACE
from leadglass.dicom.personname import GROUPS
from leadglass.errors import BadData
from leadglass.servers.dicomweb.multipart import MediaType, MultipartWriter, listed
from leadglass.servers.http.answers import Answer, Problem

JSON: Final = "application/dicom+json"
XML: Final = "application/dicom+xml"
# Ranges in one Accept; browsers send about eight.
_RANGES_MAX: Final = 32
# What XML 1.0 §2.2 has no way to write; text of devices holds some.
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")

Json = Mapping[str, Any]


class Form(Enum):
    """A representation of data sets, by its media type."""

    JSON = JSON
    PLAIN_JSON = "application/json"
    XML = XML  # as parts of multipart/related


# How the answers of a search are called: XML comes in parts, as it has no list.
FORMS: Final = (Form.JSON.value, Form.PLAIN_JSON.value, "multipart/related")


@dataclass(frozen=True, slots=True)
class _Range:
    """One range of an Accept (RFC 9110 §12.5.1), with ``type`` of a multipart."""

    name: str
    root: str
    quality: float

    def takes(self, form: Form) -> int:
        """Return how exactly it names a form; 0: not at all."""
        if form is Form.XML:
            if self.name == "multipart/related" and self.root in {XML, "", "*/*"}:
                return 3
            return {XML: 3, "multipart/*": 2}.get(self.name, 0)
        kind = f"{form.value.partition('/')[0]}/*"
        return {form.value: 3, kind: 2, "*/*": 1}.get(self.name, 0)


def choose(accepts: Sequence[str]) -> Form:
    """Return the form that is wanted most; without any wish, DICOM JSON (§8.7.5).

    Args:
        accepts: ``accept`` parameters of the query if there are any, which then stand
            for the header (§8.3.3.1), else the values of the header.

    Raises:
        Problem: 406, none of ours is wanted; 400, the wish is malformed.
    """
    texts = listed(accepts)
    if not texts:
        return Form.JSON
    if len(texts) > _RANGES_MAX:
        raise Problem(HTTPStatus.BAD_REQUEST, "too many media types are accepted")
    ranges = [_range(text) for text in texts]
    wishes = [
        (wish, -place, form)
        for place, form in enumerate(Form)
        if (wish := _wish(form, ranges)) > (0.0, 0)
    ]
    if not wishes:
        raise Problem(HTTPStatus.NOT_ACCEPTABLE, f"there are {JSON} and {XML}")
    return max(wishes, key=lambda each: each[:2])[2]


def _wish(form: Form, ranges: Iterable[_Range]) -> tuple[float, int]:
    """Return quality and exactness of the range that names a form best."""
    exactness, quality = max(
        ((each.takes(form), each.quality) for each in ranges), default=(0, 0.0)
    )
    return (quality, exactness) if exactness and quality else (0.0, 0)


def _range(text: str) -> _Range:
    try:
        media = MediaType.parse(text)
        quality = float(media.parameter("q") or "1")
    except (BadData, ValueError):
        raise Problem(
            HTTPStatus.BAD_REQUEST, "a media type that is none is accepted"
        ) from None
    return _Range(media.name, media.parameter("type").lower(), min(quality, 1.0))


def respond(
    form: Form, rows: Iterable[Json], headers: Mapping[str, str] | None = None
) -> Answer:
    """Return data sets in a form; none at all is no content in XML, which has no list.

    They are encoded as they come, so that rows are not held beside their text.
    """
    if form is Form.XML:
        return _multipart(rows, headers or {})
    body = bytearray(b"[")
    for row in rows:
        if len(body) > 1:
            body += b","
        body += json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode(
            "utf-8", "replace"
        )
    body += b"]"
    return Answer(200, form.value, bytes(body), headers or {})


def _multipart(rows: Iterable[Json], headers: Mapping[str, str]) -> Answer:
    writer = MultipartWriter(secrets.token_hex(16))
    body = bytearray()
    for row in rows:
        body += writer.head({"Content-Type": XML})
        body += native_xml(row).encode("utf-8", "replace")
    if not body:
        return Answer(HTTPStatus.NO_CONTENT, headers=headers)
    body += writer.end()
    return Answer(200, writer.content_type(XML), bytes(body), headers)


def native_xml(entries: Json) -> str:
    """Return entries of the JSON model as a Native DICOM Model (PS3.19 §A.1)."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<NativeDicomModel xmlns="{NAMESPACE}" xml:space="preserve">'
        f"{''.join(_attributes(entries))}</NativeDicomModel>"
    )


def _attributes(entries: Json) -> Iterator[str]:
    for tag, entry in sorted(entries.items()):
        keyword = keyword_for_tag(int(tag, 16))
        named = f' keyword="{keyword}"' if keyword else ""
        yield f'<DicomAttribute tag="{tag}" vr="{entry["vr"]}"{named}>'
        for number, value in enumerate(entry.get("Value", ()), 1):
            yield _value(entry["vr"], number, value)
        yield "</DicomAttribute>"


def _value(vr: str, number: int, value: Any) -> str:
    if vr == "SQ":
        return f'<Item number="{number}">{"".join(_attributes(value))}</Item>'
    if value is None:
        return f'<Value number="{number}"/>'
    if isinstance(value, Mapping):
        groups = "".join(
            f"<{group}>{_components(str(value[group]))}</{group}>"
            for group in GROUPS
            if value.get(group)
        )
        return f'<PersonName number="{number}">{groups}</PersonName>'
    return f'<Value number="{number}">{_text(str(value))}</Value>'


def _components(name: str) -> str:
    return "".join(
        f"<{component}>{_text(part)}</{component}>"
        for component, part in zip(COMPONENTS, name.split("^"), strict=False)
        if part
    )


def _text(text: str) -> str:
    return escape(_UNWRITABLE.sub("\ufffd", text), {"\r": "&#13;"})
