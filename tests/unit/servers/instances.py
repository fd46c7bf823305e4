"""Small instances, as a modality sends them."""

from dataclasses import dataclass

from leadglass.dicom.attributes import BY_KEYWORD
from leadglass.dicom.dataset import DataSet
from leadglass.dicom.uids import UID
from tests.unit.wire.rig import CT

STUDY = "1.2.3.1"


@dataclass(frozen=True, slots=True)
class Instance:
    """A data set and its SOP Instance UID."""

    uid: UID
    data: bytes


def make_instance(
    number: int = 1, *, study: str = STUDY, pixels: int = 64, **values: str
) -> Instance:
    """Return an instance in Explicit VR Little Endian.

    ``values`` are keywords; text is written in UTF-8.
    """
    uid = UID(f"{study}.1.{number}")
    texts = {
        "SpecificCharacterSet": "ISO_IR 192",
        "SOPClassUID": CT,
        "SOPInstanceUID": uid,
        "StudyDate": "20240131",
        "StudyTime": "101530",
        "AccessionNumber": f"ACC{study[-4:]}",
        "Modality": "CT",
        "StudyDescription": "Thorax",
        "PatientName": "Müller^Zoë",
        "PatientID": "PAT-1",
        "PatientBirthDate": "19700101",
        "PatientSex": "F",
        "StudyInstanceUID": study,
        "SeriesInstanceUID": f"{study}.1",
        "SeriesNumber": "1",
        "InstanceNumber": str(number),
    } | values
    data_set = DataSet()
    for keyword, text in texts.items():
        attribute = BY_KEYWORD[keyword]
        pad = "\0" if attribute.vr == "UI" else " "
        raw = text.encode()
        data_set.set(attribute.tag, attribute.vr, raw + pad.encode() * (len(raw) % 2))
    request = DataSet()
    request.set(0x0040_0009, "SH", b"SPS-7 ")
    request.set(0x0040_1001, "SH", b"RP-7")
    data_set.set(0x0040_0275, "SQ", (request,))
    data_set.set(0x7FE0_0010, "OW", bytes(pixels))
    ordered = DataSet()
    for tag in sorted(data_set.elements):
        ordered.elements[tag] = data_set.elements[tag]
    return Instance(uid, ordered.encode())
