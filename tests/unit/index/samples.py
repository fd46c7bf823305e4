"""Instances for the tests of the index, as few words as possible each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from leadglass.dicom.attributes import BY_KEYWORD, BY_LEVEL, Level
from leadglass.dicom.matching import Match, parse_key
from leadglass.dicom.uids import UID
from leadglass.index.conditions import vr_of
from leadglass.index.records import InstanceRecord

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
EXPLICIT_VR_LE = UID("1.2.840.10008.1.2.1")
NOON = datetime(2024, 5, 17, 12, tzinfo=UTC)
GROUPS = ("Alphabetic", "Ideographic", "Phonetic")

Said = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Attributes:
    """What an instance says: by keyword; a list for several values or items."""

    said: Said

    def text(self, keyword: str, /) -> str | None:
        value = self.said.get(keyword)
        return "\\".join(value) if isinstance(value, list) else value

    def json(self, level: Level, /) -> dict[str, Any]:
        return {
            each.hex: element(each.vr, self.said[each.keyword])
            for each in BY_LEVEL[level]
            if each.keyword in self.said
        }


def element(vr: str, said: Any) -> dict[str, Any]:
    values = said if isinstance(said, list) else [said]
    return {"vr": vr, "Value": [value_json(vr, value) for value in values]}


def value_json(vr: str, value: Any) -> Any:
    if vr == "SQ":
        return {
            f"{tag:08X}": element(vr_of(tag), said)
            for tag, said in (
                (tag_of(keyword), said) for keyword, said in value.items()
            )
        }
    if vr == "PN":
        return dict(zip(GROUPS, value.split("="), strict=False))
    if vr in {"IS", "US"}:
        return int(value) if value else None
    return value


# Keys inside of sequences, which are no attributes of their own.
NESTED = {
    "CodeValue": 0x00080100,
    "CodeMeaning": 0x00080104,
    "CodingSchemeDesignator": 0x00080102,
    "ScheduledProcedureStepID": 0x00400009,
    "RequestedProcedureID": 0x00401001,
    "ScheduledProtocolCodeSequence": 0x00400008,
}


def tag_of(keyword: str) -> int:
    return NESTED.get(keyword) or BY_KEYWORD[keyword].tag


def record(
    study: str, series: str, instance: str, bytes_: str = "", /, **said: Any
) -> InstanceRecord:
    """Return an instance of these UIDs; ``bytes_`` makes its digest another."""
    said = {
        "StudyInstanceUID": study,
        "SeriesInstanceUID": series,
        "SOPInstanceUID": instance,
        "SOPClassUID": CT,
        "Modality": "CT",
        "PatientID": "P1",
        "PatientName": "DOE^JANE",
    } | said
    name = sha256(f"{instance}{bytes_}".encode())
    return InstanceRecord(
        study_uid=UID(study),
        series_uid=UID(series),
        instance_uid=UID(instance),
        sop_class_uid=UID(said["SOPClassUID"]),
        transfer_syntax_uid=EXPLICIT_VR_LE,
        attributes=Attributes(said),
        blob=name.hexdigest()[:32],
        key_id=said.pop("key_id", f"key of {study}"),
        digest=name.digest(),
        blob_bytes=1_000,
        data_set_offset=300,
        data_set_bytes=700,
        source=said.pop("source", "CT1"),
        received_at=NOON,
    )


def keys(**asked: str | Sequence[str] | Match) -> dict[int, Match]:
    """Return keys as a client writes them: ``PatientName="DOE*"``."""
    return {tag_of(keyword): key(keyword, value) for keyword, value in asked.items()}


def key(keyword: str, value: str | Sequence[str] | Match) -> Match:
    if isinstance(value, str):
        return parse_key(vr_of(tag_of(keyword)), [value])
    if isinstance(value, Sequence):
        return parse_key(vr_of(tag_of(keyword)), list(value))
    return value
