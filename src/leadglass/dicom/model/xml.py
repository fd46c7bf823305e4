"""Writing and reading the Native DICOM Model (PS3.19 §A.1).

Reading gives the entries of the JSON model, so that one encoder serves both. A
document type is refused: entities are how a small document becomes a large one, or
reads files of this node.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from pydicom.datadict import keyword_for_tag

from leadglass.dicom.model.encode import ATTRIBUTES_MAX, DEPTH_MAX
from leadglass.dicom.model.values import BulkUri, Json, entry
from leadglass.dicom.model.walk import Event, Mark, Sequence, Value
from leadglass.dicom.personname import GROUPS
from leadglass.errors import BadData

MEDIA_TYPE: Final = "application/dicom+xml"
NAMESPACE: Final = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
# Of a person name, in the order of its carets (PS3.5 §6.2.1.1).
COMPONENTS: Final = (
    "FamilyName",
    "GivenName",
    "MiddleName",
    "NamePrefix",
    "NameSuffix",
)
# What XML 1.0 §2.2 has no way to write; text of devices holds some.
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_PIECE_CHARACTERS: Final = 16 * 1024


def xml_pieces(events: Iterable[Event], bulk_uri: BulkUri) -> Iterator[bytes]:
    """Yield one data set's document as UTF-8, a bounded piece at a time.

    Control characters that XML cannot hold become U+FFFD, and empty components at
    the end of a name are lost. Group lengths are left out.

    Raises:
        BadData: From the events.
    """
    held: list[str] = []
    size = 0
    for text in _texts(events, bulk_uri):
        held.append(text)
        size += len(text)
        if size >= _PIECE_CHARACTERS:
            yield "".join(held).encode()
            held, size = [], 0
    yield "".join(held).encode()


def _texts(events: Iterable[Event], bulk_uri: BulkUri) -> Iterator[str]:
    counts: list[int] = []
    yield (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<NativeDicomModel xmlns="{NAMESPACE}" xml:space="preserve">'
    )
    for event in events:
        if event is Mark.ITEM:
            counts[-1] += 1
            yield f'<Item number="{counts[-1]}">'
        elif event is Mark.ITEM_END:
            yield "</Item>"
        elif event is Mark.SEQUENCE_END:
            counts.pop()
            yield "</DicomAttribute>"
        elif isinstance(event, Sequence):
            counts.append(0)
            yield _open(event.tag, "SQ", event.creator)
        elif isinstance(event, Value) and event.tag & 0xFFFF:
            yield _open(event.tag, event.vr, event.creator)
            yield from _content(entry(event, bulk_uri))
            yield "</DicomAttribute>"
    yield "</NativeDicomModel>"


def _text(text: str) -> str:
    # A carriage return would come back as a line feed (XML 1.0 §2.11).
    return escape(_UNWRITABLE.sub("\ufffd", text), {"\r": "&#13;"})


def _attribute(text: str) -> str:
    return quoteattr(_UNWRITABLE.sub("\ufffd", text))


def _open(tag: int, vr: str, creator: str) -> str:
    keyword = keyword_for_tag(tag)
    names = f' keyword="{keyword}"' if keyword else ""
    if creator:
        names += f" privateCreator={_attribute(creator)}"
    return f'<DicomAttribute tag="{tag:08X}" vr="{vr}"{names}>'


def _content(found: Json) -> Iterator[str]:
    if "InlineBinary" in found:
        yield f"<InlineBinary>{found['InlineBinary']}</InlineBinary>"
    elif "BulkDataURI" in found:
        yield f"<BulkData uri={_attribute(found['BulkDataURI'])}/>"
    values = found.get("Value", ())
    for number, value in enumerate(values, 1):
        if value is None:
            if number == len(values):  # nothing after it tells that it is there
                yield f'<Value number="{number}"/>'
        elif isinstance(value, dict):
            yield f'<PersonName number="{number}">{_name(value)}</PersonName>'
        else:
            yield f'<Value number="{number}">{_text(str(value))}</Value>'


def _name(name: Json) -> str:
    groups = []
    for group in GROUPS:
        if group in name:
            parts = zip(COMPONENTS, str(name[group]).split("^"), strict=False)
            inner = "".join(f"<{each}>{_text(v)}</{each}>" for each, v in parts if v)
            groups.append(f"<{group}>{inner}</{group}>")
    return "".join(groups)


# --- reading --------------------------------------------------------------------------

# Which element may stand in which; the rest is refused.
_WITHIN: Final = {
    "NativeDicomModel": {""},
    "DicomAttribute": {"NativeDicomModel", "Item"},
    "Item": {"DicomAttribute"},
    "Value": {"DicomAttribute"},
    "PersonName": {"DicomAttribute"},
    "InlineBinary": {"DicomAttribute"},
    "BulkData": {"DicomAttribute"},
    **{group: {"PersonName"} for group in GROUPS},
    **{part: set(GROUPS) for part in COMPONENTS},
}
# The number of a value is where it stands; none has as many.
_NUMBER_MAX: Final = 1_000_000
_TAG = re.compile(r"[0-9A-Fa-f]{8}", re.ASCII)
_VR = re.compile(r"[A-Z]{2}", re.ASCII)
_NUMBER = re.compile(r"[1-9][0-9]{0,6}", re.ASCII)


@dataclass(slots=True)
class _Open:
    """An element that is being read."""

    name: str
    number: int = 0
    entry: Json = field(default_factory=dict)  # of an attribute, item or name
    texts: list[str] = field(default_factory=list)


def entries_of_xml(data: bytes) -> Json:
    """Return the entries, as the JSON model has them, of a whole document.

    Raises:
        BadData: It is no such document, or passes a limit.
    """
    reader = _Reader()
    try:
        reader.parser.Parse(data, True)
    except (expat.ExpatError, ValueError, LookupError):
        raise BadData("metadata is not well-formed XML") from None
    return reader.root


class _Reader:
    def __init__(self) -> None:
        self.root: Json = {}
        self._open: list[_Open] = [_Open("")]
        self._count = 0
        self.parser = parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self._refuse
        parser.EntityDeclHandler = self._refuse
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text

    @staticmethod
    def _refuse(*_: object) -> None:
        raise BadData("metadata with a document type")

    def _start(self, full: str, attributes: dict[str, str]) -> None:
        namespace, _, name = full.rpartition(" ")
        parent = self._open[-1]
        allowed = _WITHIN.get(name)
        if namespace not in {"", NAMESPACE} or allowed is None:
            raise BadData("metadata with an element that the model does not have")
        if parent.name not in allowed:
            raise BadData("an element of the model where it may not be")
        self._count += 1
        if self._count > ATTRIBUTES_MAX or len(self._open) > 2 * DEPTH_MAX + 8:
            raise BadData("metadata with too many or too deep elements")
        opened = _Open(name)
        if name == "DicomAttribute":
            self._attribute(opened, attributes, parent)
        elif name in {"Item", "Value", "PersonName"}:
            opened.number = _number(attributes)
        elif name == "BulkData":
            uri = attributes.get("uri") or attributes.get("uuid")
            if not uri:
                raise BadData("bulk data without a URI")
            _put(parent.entry, "BulkDataURI", uri)
        self._open.append(opened)

    def _attribute(self, opened: _Open, said: dict[str, str], parent: _Open) -> None:
        tag, vr = said.get("tag", ""), said.get("vr", "")
        if not _TAG.fullmatch(tag) or not _VR.fullmatch(vr):
            raise BadData("an attribute without tag or value representation")
        target = self.root if parent.name == "NativeDicomModel" else parent.entry
        opened.entry["vr"] = vr
        _put(target, tag.upper(), opened.entry)

    def _text(self, text: str) -> None:
        self._open[-1].texts.append(text)

    def _end(self, _: str) -> None:
        closed = self._open.pop()
        parent = self._open[-1]
        text = "".join(closed.texts)
        if closed.name in {"Item", "PersonName"}:
            _place(parent.entry, closed.number, closed.entry)
        elif closed.name == "Value":
            _place(parent.entry, closed.number, text)
        elif closed.name == "InlineBinary":
            _put(parent.entry, "InlineBinary", text)
        elif closed.name in COMPONENTS:
            _put(parent.entry, closed.name, text)
        elif closed.name in GROUPS:
            parts = [str(closed.entry.get(each, "")) for each in COMPONENTS]
            _put(parent.entry, closed.name, "^".join(parts).rstrip("^"))


def _number(said: dict[str, str]) -> int:
    text = said.get("number", "")
    if not _NUMBER.fullmatch(text):
        raise BadData("a value without its number")
    return min(int(text), _NUMBER_MAX)


def _put(target: Json, key: str, value: Any) -> None:
    if key in target:
        raise BadData("an attribute stands twice in the metadata")
    target[key] = value


def _place(found: Json, number: int, value: Any) -> None:
    """Put a value at its number; what is skipped is empty, within reason."""
    values = found.setdefault("Value", [])
    # Numbers ascend; a gap is an empty value, of which few are honest.
    if number <= len(values) or number > len(values) + 256:
        raise BadData("values that are out of order")
    values.extend([None] * (number - 1 - len(values)))
    values.append(value)
