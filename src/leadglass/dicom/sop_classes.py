"""The SOP classes that this node takes part in (PS3.4, PS3.6 Annex A)."""

from collections.abc import Mapping
from types import MappingProxyType

from pydicom._uid_dict import UID_dictionary

from leadglass.dicom.uids import UID

VERIFICATION = UID("1.2.840.10008.1.1")
MEDIA_STORAGE_DIRECTORY = UID("1.2.840.10008.1.3.10")

PATIENT_ROOT_FIND = UID("1.2.840.10008.5.1.4.1.2.1.1")
PATIENT_ROOT_MOVE = UID("1.2.840.10008.5.1.4.1.2.1.2")
PATIENT_ROOT_GET = UID("1.2.840.10008.5.1.4.1.2.1.3")
STUDY_ROOT_FIND = UID("1.2.840.10008.5.1.4.1.2.2.1")
STUDY_ROOT_MOVE = UID("1.2.840.10008.5.1.4.1.2.2.2")
STUDY_ROOT_GET = UID("1.2.840.10008.5.1.4.1.2.2.3")
# Retired, still asked for by old workstations.
PATIENT_STUDY_ONLY_FIND = UID("1.2.840.10008.5.1.4.1.2.3.1")
PATIENT_STUDY_ONLY_MOVE = UID("1.2.840.10008.5.1.4.1.2.3.2")
PATIENT_STUDY_ONLY_GET = UID("1.2.840.10008.5.1.4.1.2.3.3")

FIND = (PATIENT_ROOT_FIND, STUDY_ROOT_FIND, PATIENT_STUDY_ONLY_FIND)
MOVE = (PATIENT_ROOT_MOVE, STUDY_ROOT_MOVE, PATIENT_STUDY_ONLY_MOVE)
GET = (PATIENT_ROOT_GET, STUDY_ROOT_GET, PATIENT_STUDY_ONLY_GET)

# Classes whose name says storage, but which are another service (commitment, media
# directory).
_NOT_STORED = {
    "1.2.840.10008.1.3.10",
    "1.2.840.10008.1.20.1",
    "1.2.840.10008.1.20.2",
}


def _storage() -> Mapping[UID, str]:
    return MappingProxyType(
        {
            UID(uid): name
            for uid, (name, kind, *_) in UID_dictionary.items()
            if kind == "SOP Class" and "Storage" in name and uid not in _NOT_STORED
        }
    )


# All that PS3.6 has, retired ones included. Those of ``NON_PATIENT`` are among them,
# since they may be negotiated, but none of their instances can be kept: the archive is
# made of studies, and what has no Study Instance UID is refused as it arrives.
STORAGE: Mapping[UID, str] = _storage()

# Storage of objects that belong to no patient, and so to no study (PS3.4 Annex GG).
NON_PATIENT: Mapping[UID, str] = MappingProxyType(
    {
        UID(uid): STORAGE[UID(uid)]
        for uid in (
            "1.2.840.10008.5.1.4.1.1.200.1",
            "1.2.840.10008.5.1.4.1.1.200.3",
            "1.2.840.10008.5.1.4.1.1.200.7",
            "1.2.840.10008.5.1.4.1.1.201.1",
            "1.2.840.10008.5.1.4.38.1",
            "1.2.840.10008.5.1.4.39.1",
            "1.2.840.10008.5.1.4.43.1",
            "1.2.840.10008.5.1.4.44.1",
            "1.2.840.10008.5.1.4.45.1",
        )
    }
)


def is_storage(uid: UID) -> bool:
    """Tell whether a SOP class is one of the standard's for storage."""
    return uid in STORAGE
