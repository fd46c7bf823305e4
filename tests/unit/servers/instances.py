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
    number: int = 1,
    *,
    study: str = STUDY,
    pixels: int = 64,
    is_image: bool = False,
    **values: str,
) -> Instance:
    """Return an instance in Explicit VR Little Endian.

    ``values`` are keywords; text is written in UTF-8. ``is_image`` says how its pixels,
    some multiple of 20 bytes, are to be read.
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
    if is_image:
        data_set.set(0x0028_0004, "CS", b"MONOCHROME2 ")
        for tag, number_of in (
            (0x0028_0002, 1),  # samples for each pixel
            (0x0028_0010, pixels // 20),  # rows
            (0x0028_0011, 10),  # columns
            (0x0028_0100, 16),  # bits allocated
            (0x0028_0101, 16),  # bits stored
            (0x0028_0102, 15),  # high bit
            (0x0028_0103, 0),  # unsigned
        ):
            data_set.set(tag, "US", number_of.to_bytes(2, "little"))
    ordered = DataSet()
    for tag in sorted(data_set.elements):
        ordered.elements[tag] = data_set.elements[tag]
    return Instance(uid, ordered.encode())
