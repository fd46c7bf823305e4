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


STORAGE: Mapping[UID, str] = _storage()


def is_storage(uid: UID) -> bool:
    """Tell whether instances of a standard SOP class are stored."""
    return uid in STORAGE
