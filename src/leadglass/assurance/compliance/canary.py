"""A canary: an invented patient whose data can be recognised wherever it turns up.

Name, Patient ID and pixels are drawn for each run, so what is found of them was
written in this run, and a search that finds nothing searched for something.
"""

import secrets
from dataclasses import dataclass
from typing import Final, Self

from leadglass.dicom.dataset import DataSet
from leadglass.dicom.transfer_syntaxes import EXPLICIT_VR_LE
from leadglass.dicom.uids import UID, new_uid

# A hospital that meets it in a list knows what it is.
FAMILY: Final = "ZZ-CANARY"
SIDE: Final = 64  # pixels of an image, a byte each
# Secondary Capture Image Storage (PS3.4 §B.5): what has no modality of its own.
SOP_CLASS: Final = UID("1.2.840.10008.5.1.4.1.1.7")
_VRS: Final = {"PN": b" ", "LO": b" ", "UI": b"\0", "CS": b" ", "DA": b" "}


@dataclass(frozen=True, slots=True)
class Canary:
    """One invented patient with one image.

    Attributes:
        name: Patient's Name.
        patient: Patient ID.
        study: Study Instance UID.
        series: Series Instance UID.
        instance: SOP Instance UID.
        pixels: The image.
    """

    name: str
    patient: str
    study: UID
    series: UID
    instance: UID
    pixels: bytes

    @classmethod
    def draw(cls) -> Self:
        """Invent one."""
        mark = secrets.token_hex(6).upper()
        return cls(
            name=f"{FAMILY}^{mark}",
            patient=f"{FAMILY}-{mark}",
            study=new_uid(),
            series=new_uid(),
            instance=new_uid(),
            pixels=secrets.token_bytes(SIDE * SIDE),
        )

    def data_set(self, pixels: bytes | None = None) -> bytes:
        """Return the instance as a C-STORE carries it (Explicit VR Little Endian)."""
        made = DataSet()
        for tag, vr, text in (
            (0x0008_0016, "UI", SOP_CLASS),
            (0x0008_0018, "UI", self.instance),
            (0x0008_0020, "DA", "20200102"),
            (0x0008_0060, "CS", "OT"),
            (0x0008_0064, "CS", "WSD"),
            (0x0010_0010, "PN", self.name),
            (0x0010_0020, "LO", self.patient),
            (0x0020_000D, "UI", self.study),
            (0x0020_000E, "UI", self.series),
            (0x0028_0004, "CS", "MONOCHROME2"),
        ):
            value = text.encode("ascii")
            made.set(tag, vr, value + _VRS[vr] * (len(value) % 2))
        for tag, number in (
            (0x0028_0002, 1),
            (0x0028_0010, SIDE),
            (0x0028_0011, SIDE),
            (0x0028_0100, 8),
            (0x0028_0101, 8),
            (0x0028_0102, 7),
            (0x0028_0103, 0),
        ):
            made.set(tag, "US", number.to_bytes(2, "little"))
        made.set(0x7FE0_0010, "OB", self.pixels if pixels is None else pixels)
        return made.encode(EXPLICIT_VR_LE)

    def question(self) -> bytes:
        """Return the identifier that finds its study."""
        asked = DataSet()
        for tag, vr, text in (
            (0x0008_0052, "CS", "STUDY "),
            (0x0010_0010, "PN", ""),
            (0x0010_0020, "LO", self.patient),
            (0x0020_000D, "UI", ""),
        ):
            value = text.encode("ascii")
            asked.set(tag, vr, value + _VRS[vr] * (len(value) % 2))
        return asked.encode(EXPLICIT_VR_LE)

    def wanted(self) -> bytes:
        """Return the identifier that fetches its study."""
        asked = DataSet()
        asked.set(0x0008_0052, "CS", b"STUDY ")
        value = self.study.encode("ascii")
        asked.set(0x0020_000D, "UI", value + b"\0" * (len(value) % 2))
        return asked.encode(EXPLICIT_VR_LE)

    def traces(self) -> dict[str, bytes]:
        """Return what must be found nowhere in the clear, by what it is."""
        return {
            "the patient's name": self.name.encode(),
            "the patient's name in UTF-16": self.name.encode("utf-16-le"),
            "the Patient ID": self.patient.encode(),
            "the Study Instance UID": self.study.encode(),
            "pixels": self.pixels[:64],
        }
