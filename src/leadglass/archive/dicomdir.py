"""The directory of a medium, DICOMDIR: writing it, and reading what it names.

A File-set has one (PS3.10 §8.6); its records are a tree that is laid out as a list
in which each record says where the next one of its level, and the first one below
it, begin (PS3.3 §F.2.2). Ours are written depth first.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from struct import Struct
from types import MappingProxyType
from typing import Final, NamedTuple

from leadglass.dicom.dataset import ITEM, LONG_VRS, NUMBERS, DataSet, items_in
from leadglass.dicom.header import Header
from leadglass.dicom.part10 import FileMeta, Part10Reader, encode_part10_header
from leadglass.dicom.sop_classes import MEDIA_STORAGE_DIRECTORY
from leadglass.dicom.transfer_syntaxes import (
    EXPLICIT_VR_LE,
    TRANSFER_SYNTAXES,
    UNCOMPRESSED,
)
from leadglass.dicom.uids import new_uid
from leadglass.errors import BadData, Misconfigured

FILE_NAME: Final = "DICOMDIR"
# A record has some 400 bytes, so this is 300,000 of them; read whole into memory.
DICOMDIR_BYTES_MAX: Final = 128 * 1024 * 1024
# PS3.10 §8.2 allows 8 components of 8 characters; media in the field have more.
FILE_ID_COMPONENTS_MAX: Final = 32

_FILE_SET_ID: Final = 0x0004_1130
_FIRST_RECORD: Final = 0x0004_1200
_LAST_RECORD: Final = 0x0004_1202
_CONSISTENCY: Final = 0x0004_1212
_RECORDS: Final = 0x0004_1220
_IN_USE: Final = 0x0004_1410
_RECORD_TYPE: Final = 0x0004_1430
_FILE_ID: Final = 0x0004_1500
_FILE_SOP_CLASS: Final = 0x0004_1510
_FILE_SOP_INSTANCE: Final = 0x0004_1511
_FILE_TRANSFER_SYNTAX: Final = 0x0004_1512
_CHARSET: Final = 0x0008_0005
_RELATIONSHIP: Final = 0x0040_A010

_SHORT = Struct("<H")
_LONG = Struct("<I")
_OFFSET_MAX: Final = 0xFFFF_FFFF
# What every record begins with: the item, where the next record is, that it is in
# use, where the first one below it is.
_BEGINNING = Struct("<HHI HH2sHI HH2sHH HH2sHI")
_SEQUENCE = Struct("<HH2sHI")


# --- which record, with which keys (PS3.3 §F.5) ---------------------------------

# tag, keyword, value representation
_KEYS_TABLE = """
00080008 ImageType CS
00080012 InstanceCreationDate DA
00080013 InstanceCreationTime TM
00080020 StudyDate DA
00080023 ContentDate DA
00080030 StudyTime TM
00080033 ContentTime TM
00080050 AccessionNumber SH
00080060 Modality CS
00081030 StudyDescription LO
00081115 ReferencedSeriesSequence SQ
00100010 PatientName PN
00100020 PatientID LO
0020000D StudyInstanceUID UI
0020000E SeriesInstanceUID UI
00200010 StudyID SH
00200011 SeriesNumber IS
00200013 InstanceNumber IS
00280008 NumberOfFrames IS
00280010 Rows US
00280011 Columns US
00289001 DataPointRows UL
00289002 DataPointColumns UL
0040A030 VerificationDateTime DT
0040A043 ConceptNameCodeSequence SQ
0040A491 CompletionFlag CS
0040A493 VerificationFlag CS
0040A730 ContentSequence SQ
0040E001 HL7InstanceIdentifier ST
00420010 DocumentTitle ST
00420012 MIMETypeOfEncapsulatedDocument LO
00700080 ContentLabel CS
00700081 ContentDescription LO
00700082 PresentationCreationDate DA
00700083 PresentationCreationTime TM
00700084 ContentCreatorName PN
00700402 BlendingSequence SQ
30020002 RTImageLabel SH
30060002 StructureSetLabel SH
30060008 StructureSetDate DA
30060009 StructureSetTime TM
3004000A DoseSummationType CS
30080250 TreatmentDate DA
30080251 TreatmentTime TM
300A0002 RTPlanLabel SH
300A0006 RTPlanDate DA
300A0007 RTPlanTime TM
30100033 UserContentLabel SH
30100034 UserContentLongLabel LO
"""


class _Key(NamedTuple):
    tag: int
    vr: str
    is_optional: bool  # absent when the instance has none; the others are then empty


_TAGS: Final = {
    keyword: (int(tag, 16), vr)
    for tag, keyword, vr in (line.split() for line in _KEYS_TABLE.strip().splitlines())
}
_CONTENT = "InstanceNumber ContentDate ContentTime"
_LABELLED = f"{_CONTENT} ContentLabel ContentDescription ContentCreatorName"

# "?": only when the instance has it.
_RECORD_KEYS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "PATIENT": "PatientName PatientID",
        "STUDY": (
            "StudyDate StudyTime StudyDescription StudyInstanceUID StudyID "
            "AccessionNumber"
        ),
        "SERIES": "Modality SeriesInstanceUID SeriesNumber",
        "IMAGE": "InstanceNumber ImageType?",
        "RT DOSE": "InstanceNumber DoseSummationType",
        "RT STRUCTURE SET": (
            "InstanceNumber StructureSetLabel StructureSetDate StructureSetTime"
        ),
        "RT PLAN": "InstanceNumber RTPlanLabel RTPlanDate RTPlanTime",
        "RT TREAT RECORD": "InstanceNumber TreatmentDate TreatmentTime",
        "PRESENTATION": (
            "PresentationCreationDate PresentationCreationTime InstanceNumber "
            "ContentLabel ContentDescription ContentCreatorName "
            "ReferencedSeriesSequence? BlendingSequence?"
        ),
        "WAVEFORM": _CONTENT,
        "SR DOCUMENT": (
            f"{_CONTENT} CompletionFlag VerificationFlag VerificationDateTime? "
            "ConceptNameCodeSequence ContentSequence?"
        ),
        "KEY OBJECT DOC": f"{_CONTENT} ConceptNameCodeSequence ContentSequence?",
        "SPECTROSCOPY": (
            f"{_CONTENT} ImageType NumberOfFrames Rows Columns DataPointRows "
            "DataPointColumns"
        ),
        "RAW DATA": _CONTENT,
        "REGISTRATION": _LABELLED,
        "FIDUCIAL": _LABELLED,
        "VALUE MAP": _LABELLED,
        "MEASUREMENT": _LABELLED,
        "SURFACE": _LABELLED,
        "TRACT": _LABELLED,
        "ANNOTATION": _LABELLED,
        "SURFACE SCAN": _CONTENT,
        "STEREOMETRIC": "",
        "PLAN": "",
        "ENCAP DOC": (
            f"{_CONTENT} DocumentTitle HL7InstanceIdentifier? "
            "ConceptNameCodeSequence MIMETypeOfEncapsulatedDocument"
        ),
        "ASSESSMENT": "InstanceNumber InstanceCreationDate InstanceCreationTime",
        "RADIOTHERAPY": (
            "InstanceNumber UserContentLabel? UserContentLongLabel? "
            "ContentDescription ContentCreatorName"
        ),
    }
)
_KEYS: Final = {
    record: tuple(
        _Key(*_TAGS[name.rstrip("?")], is_optional=name.endswith("?"))
        for name in names.split()
    )
    for record, names in _RECORD_KEYS.items()
}

# SOP classes below 1.2.840.10008.5.1.4.1.1 (PS3.3 Table F.4-1), the longest match
# counts. What is not named is an image if it has pixels.
_ROOT: Final = "1.2.840.10008.5.1.4.1.1."
_CLASSES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "IMAGE": ("66.4", "66.7", "66.8"),
        "SPECTROSCOPY": ("4.2",),
        "WAVEFORM": tuple(f"9.{kind}" for kind in range(1, 9)),
        "PRESENTATION": ("11", "131"),
        "RAW DATA": ("66",),
        "REGISTRATION": ("66.1", "66.3"),
        "FIDUCIAL": ("66.2",),
        "SURFACE": ("66.5",),
        "TRACT": ("66.6",),
        "VALUE MAP": ("67",),
        "SURFACE SCAN": ("68",),
        "STEREOMETRIC": ("77.1.5.3",),
        "MEASUREMENT": ("78", "80"),
        "SR DOCUMENT": ("88", "78.6", "79"),
        "KEY OBJECT DOC": ("88.59",),
        "ASSESSMENT": ("90",),
        "ANNOTATION": ("91",),
        "ENCAP DOC": ("104",),
        "RT DOSE": ("481.2",),
        "RT STRUCTURE SET": ("481.3",),
        "RT PLAN": ("481.5", "481.8"),
        "RT TREAT RECORD": ("481.4", "481.6", "481.7", "481.9"),
        "RADIOTHERAPY": tuple(f"481.{kind}" for kind in range(10, 26)),
    }
)
_RECORD_OF: Final[Mapping[str, str]] = MappingProxyType(
    {_ROOT + part: record for record, parts in _CLASSES.items() for part in parts}
    | {f"1.2.840.10008.5.1.4.34.{part}": "PLAN" for part in ("7", "10")}
)

_ISSUER: Final = 0x0010_0021
_PATIENT_ID: Final = _TAGS["PatientID"][0]
_STUDY_UID: Final = _TAGS["StudyInstanceUID"][0]
_SERIES_UID: Final = _TAGS["SeriesInstanceUID"][0]

# What ``HeaderReader`` must look for, so that an instance can be put in.
WANTED: Final = frozenset(tag for tag, _ in _TAGS.values()) | {_CHARSET, _ISSUER}


def record_type(sop_class: str, *, has_pixels: bool) -> str:
    """Return the type of the directory record of an instance."""
    prefix = sop_class
    while prefix:
        known = _RECORD_OF.get(prefix)
        if known is not None:
            return known
        prefix = prefix.rpartition(".")[0]
    return "IMAGE" if has_pixels else "RAW DATA"


# --- writing ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Referenced:
    """A file that a record refers to.

    Attributes:
        file_id: Where it lies, by components (PS3.10 §8.2).
        sop_class: Its SOP Class UID.
        sop_instance: Its SOP Instance UID.
        transfer_syntax: UID of how it is encoded.
    """

    file_id: tuple[str, ...]
    sop_class: str
    sop_instance: str
    transfer_syntax: str


@dataclass(slots=True)
class _Record:
    """A directory record: its elements after the first three, and those below it."""

    elements: bytes
    below: "dict[tuple[str, str], _Record]" = field(default_factory=dict)
    offset: int = 0

    @property
    def length(self) -> int:
        return _BEGINNING.size + len(self.elements)


class Directory:
    """Gathers the records of a File-set; a few hundred bytes for each file."""

    def __init__(self) -> None:
        self._patients: dict[tuple[str, str], _Record] = {}
        self._length = 0

    def add(self, file: Referenced, header: Header) -> None:
        """Put a file in.

        Args:
            file: Which one.
            header: What was read of it, with ``WANTED`` looked for.

        Raises:
            Misconfigured: The directory would be larger than its offsets can say.
        """
        study_uid = header.text(_STUDY_UID)
        patient_id = header.text(_PATIENT_ID)
        # Patients without an ID are not one patient.
        patient = header.text(_ISSUER), patient_id or f"\0{study_uid}"
        level = self._patients
        for kind, key in (
            ("PATIENT", patient),
            ("STUDY", ("", study_uid)),
            ("SERIES", ("", header.text(_SERIES_UID))),
        ):
            found = level.get(key)
            if found is None:
                found = level[key] = self._made(kind, header, {})
            level = found.below
        reference = {
            _FILE_ID: ("CS", "\\".join(file.file_id)),
            _FILE_SOP_CLASS: ("UI", file.sop_class),
            _FILE_SOP_INSTANCE: ("UI", file.sop_instance),
            _FILE_TRANSFER_SYNTAX: ("UI", file.transfer_syntax),
        }
        has_pixels = header.pixel_data_offset is not None
        kind = record_type(file.sop_class, has_pixels=has_pixels)
        level["", file.sop_instance] = self._made(kind, header, reference)

    def _made(
        self, kind: str, header: Header, reference: Mapping[int, tuple[str, str]]
    ) -> _Record:
        values = DataSet()
        values.set(_RECORD_TYPE, "CS", kind.encode("ascii"))
        for tag, (vr, text) in reference.items():
            values.set(tag, vr, text.encode("ascii"))
        charset = header.elements.get(_CHARSET)
        if charset is not None and charset.value:
            values.set(_CHARSET, "CS", charset.value)
        for key in _KEYS[kind]:
            value = _value(header, key)
            if value or not key.is_optional:
                values.set(key.tag, key.vr, value)
        record = _Record(values.encode(EXPLICIT_VR_LE))
        self._length += record.length
        if self._length > _OFFSET_MAX // 2:
            raise Misconfigured("too many files for one DICOMDIR: export less at once")
        return record

    def encode(self) -> Iterator[bytes]:
        """Yield the file."""
        meta = FileMeta(MEDIA_STORAGE_DIRECTORY, new_uid(), EXPLICIT_VR_LE)
        head = encode_part10_header(meta)
        begin = len(head) + len(self._top(0, 0))
        _place(self._patients, begin)
        patients = tuple(self._patients.values())
        first = patients[0].offset if patients else 0
        last = patients[-1].offset if patients else 0
        yield head
        yield self._top(first, last)
        yield from _encoded(self._patients)

    def _top(self, first: int, last: int) -> bytes:
        """Return what comes before the first record (PS3.3 §F.3.2.2)."""
        values = DataSet()
        values.set(_FILE_SET_ID, "CS", b"")
        values.set(_FIRST_RECORD, "UL", _LONG.pack(first))
        values.set(_LAST_RECORD, "UL", _LONG.pack(last))
        values.set(_CONSISTENCY, "US", _SHORT.pack(0))
        head = _SEQUENCE.pack(_RECORDS >> 16, _RECORDS & 0xFFFF, b"SQ", 0, self._length)
        return values.encode(EXPLICIT_VR_LE) + head


def _value(header: Header, key: _Key) -> bytes | tuple[DataSet, ...]:
    """Return the value of a key as the directory holds it: little endian."""
    if key.vr == "SQ":
        return _items(header, key.tag)
    if key.vr in NUMBERS:
        layout = Struct("<" + NUMBERS[key.vr])
        return b"".join(layout.pack(int(text)) for text in header.texts(key.tag))
    element = header.elements.get(key.tag)
    if element is None or not isinstance(element.value, bytes):
        return b""
    raw = element.value
    is_long = key.vr.encode("ascii") in LONG_VRS
    return raw if is_long or len(raw) <= 0xFFFF else b""


def _items(header: Header, tag: int) -> tuple[DataSet, ...]:
    """Return the items of a sequence that a record has."""
    items = header.items(tag)
    if tag != _TAGS["ContentSequence"][0]:
        return items
    # Of a document's content, only what modifies its title (PS3.3 §F.5.27).
    return tuple(
        item for item in items if item.text(_RELATIONSHIP) == "HAS CONCEPT MOD"
    )


def _place(level: Mapping[tuple[str, str], _Record], at: int) -> int:
    """Say of each record where it begins; return where the last one ends."""
    for record in level.values():
        record.offset = at
        at = _place(record.below, at + record.length)
    return at


def _encoded(level: Mapping[tuple[str, str], _Record]) -> Iterator[bytes]:
    records = tuple(level.values())
    for number, record in enumerate(records):
        is_last = number + 1 == len(records)
        below = next(iter(record.below.values()), None)
        yield _BEGINNING.pack(
            *(ITEM >> 16, ITEM & 0xFFFF, record.length - 8),
            *(0x0004, 0x1400, b"UL", 4, 0 if is_last else records[number + 1].offset),
            *(0x0004, 0x1410, b"US", 2, 0xFFFF),
            *(0x0004, 0x1420, b"UL", 4, 0 if below is None else below.offset),
        )
        yield record.elements
        yield from _encoded(record.below)


# --- reading -------------------------------------------------------------------------


def referenced_files(data: bytes) -> Iterator[tuple[str, ...]]:
    """Yield the components of every file that a DICOMDIR names.

    Its offsets are not followed, so broken ones do no harm. A component may be
    anything; whoever opens the file must judge it.

    Raises:
        BadData: It is no DICOMDIR.
    """
    reader = Part10Reader()
    data_set = reader.feed(data)
    if data_set is None:
        data_set = reader.finish()
    if reader.sop_class != MEDIA_STORAGE_DIRECTORY:
        raise BadData("not a DICOMDIR")
    # PS3.10 §8.6 wants Explicit VR Little Endian; the other plain ones are found too.
    if reader.transfer_syntax not in UNCOMPRESSED:
        raise BadData("a compressed DICOMDIR")
    syntax = TRANSFER_SYNTAXES[reader.transfer_syntax]
    for record in items_in(data_set, syntax, _RECORDS):
        file_id = record.texts(_FILE_ID)
        if not file_id or record.text(_IN_USE) == "0":
            continue
        if len(file_id) > FILE_ID_COMPONENTS_MAX:
            raise BadData("a file ID of too many components")
        yield tuple(file_id)
