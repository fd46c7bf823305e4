"""Readers of what other programs write, one file each; pure, in constant memory."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from leadglass.assurance.trails.formats import atna, dcmtk, fhir, orthanc, table, tiny
from leadglass.assurance.trails.formats.source import Read


@dataclass(frozen=True, slots=True)
class Format:
    """One format.

    Attributes:
        text: What it is, in a line.
        read: Its reader.
    """

    text: str
    read: Read


FORMATS: Final[Mapping[str, Format]] = MappingProxyType(
    {
        "atna": Format("DICOM audit messages, as XML or as lines of syslog", atna.read),
        "fhir": Format("FHIR R4 AuditEvent, as NDJSON or Bundles", fhir.read),
        "orthanc": Format("Orthanc's log, of any verbosity", orthanc.read),
        "dcmtk": Format("what dcmqrscp and storescp write with -v or -d", dcmtk.read),
        "tiny-pacs": Format(
            "tiny-pacs-audit, as audit query --format json prints it", tiny.read
        ),
        "csv": Format("a table; --mapping says which column is what", table.read),
    }
)
