"""The SOP classes that are stored, against the table of PS3.6."""

from pydicom._uid_dict import UID_dictionary

from leadglass.dicom import sop_classes
from leadglass.dicom.sop_classes import NON_PATIENT, STORAGE, is_storage
from leadglass.dicom.uids import UID

CLASSES = {
    uid: name for uid, (name, kind, *_) in UID_dictionary.items() if kind == "SOP Class"
}
# Classes with storage in their name that are another service.
OTHER_SERVICES = {
    "1.2.840.10008.1.3.10": "Media Storage Directory Storage",
    "1.2.840.10008.1.20.1": "Storage Commitment Push Model SOP Class",
    "1.2.840.10008.1.20.2": "Storage Commitment Pull Model SOP Class",
}


def test_every_class_of_storage_is_stored() -> None:
    named = {uid for uid, name in CLASSES.items() if "Storage" in name}
    assert named - OTHER_SERVICES.keys() == set(STORAGE)
    assert {uid: CLASSES[uid] for uid in OTHER_SERVICES} == OTHER_SERVICES


def test_constants_are_the_classes_that_they_name() -> None:
    named = {
        name: value
        for name, value in vars(sop_classes).items()
        if isinstance(value, UID)
    }
    assert named
    for name, uid in named.items():
        title = CLASSES[uid].replace("/", " ").upper()
        assert name.split("_")[0] in title, name
        assert name.split("_")[-1] in title, name
        assert not is_storage(uid)


def test_retired_and_private_ones() -> None:
    assert is_storage(UID("1.2.840.10008.5.1.4.1.1.5"))  # NM, retired
    assert not is_storage(UID("1.3.12.2.1107.5.9.1"))  # a maker's own


def test_classes_without_a_patient_are_told() -> None:
    """The table of PS3.4 Annex GG.3."""
    assert set(NON_PATIENT.values()) == {
        "CT Defined Procedure Protocol Storage",
        "Color Palette Storage",
        "Generic Implant Template Storage",
        "Hanging Protocol Storage",
        "Implant Assembly Template Storage",
        "Implant Template Group Storage",
        "Inventory Storage",
        "Protocol Approval Storage",
        "XA Defined Procedure Protocol Storage",
    }
