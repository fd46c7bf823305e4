"""The coded words of an audit message: PS3.15 §A.5 and PS3.16 CID 400 to 405.

A code is written in a record as its code value alone when it belongs to the DICOM
controlled terminology (``DCM``); the meaning is looked up here.
"""

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from types import MappingProxyType


class EventID(StrEnum):
    """What kind of thing happened (PS3.16 CID 400)."""

    APPLICATION_ACTIVITY = "110100"
    AUDIT_LOG_USED = "110101"
    BEGIN_TRANSFERRING = "110102"
    INSTANCES_ACCESSED = "110103"
    INSTANCES_TRANSFERRED = "110104"
    STUDY_DELETED = "110105"
    EXPORT = "110106"
    IMPORT = "110107"
    NETWORK_ENTRY = "110108"
    QUERY = "110112"
    SECURITY_ALERT = "110113"
    USER_AUTHENTICATION = "110114"


class EventType(StrEnum):
    """Which variety of it (PS3.16 CID 401 and 403)."""

    APPLICATION_START = "110120"
    APPLICATION_STOP = "110121"
    LOGIN = "110122"
    LOGOUT = "110123"
    ATTACH = "110124"
    DETACH = "110125"
    NODE_AUTHENTICATION = "110126"
    EMERGENCY_OVERRIDE_STARTED = "110127"
    NETWORK_CONFIGURATION = "110128"
    SECURITY_CONFIGURATION = "110129"
    HARDWARE_CONFIGURATION = "110130"
    SOFTWARE_CONFIGURATION = "110131"
    USE_OF_RESTRICTED_FUNCTION = "110132"
    AUDIT_RECORDING_STOPPED = "110133"
    AUDIT_RECORDING_STARTED = "110134"
    OBJECT_SECURITY_ATTRIBUTES_CHANGED = "110135"
    SECURITY_ROLES_CHANGED = "110136"
    USER_SECURITY_ATTRIBUTES_CHANGED = "110137"
    EMERGENCY_OVERRIDE_STOPPED = "110138"
    LOCAL_SERVICE_STARTED = "110141"
    LOCAL_SERVICE_STOPPED = "110142"


class Role(StrEnum):
    """What part a participant had (PS3.16 CID 402)."""

    APPLICATION = "110150"
    APPLICATION_LAUNCHER = "110151"
    DESTINATION = "110152"
    SOURCE = "110153"
    DESTINATION_MEDIA = "110154"
    SOURCE_MEDIA = "110155"


class Action(StrEnum):
    """EventActionCode: what was done to the objects (PS3.15 §A.5.1.1)."""

    CREATE = "C"
    READ = "R"
    UPDATE = "U"
    DELETE = "D"
    EXECUTE = "E"


class Outcome(IntEnum):
    """EventOutcomeIndicator (PS3.15 §A.5.1.1)."""

    SUCCESS = 0
    MINOR_FAILURE = 4
    SERIOUS_FAILURE = 8
    MAJOR_FAILURE = 12


class AccessPoint(IntEnum):
    """NetworkAccessPointTypeCode: how an access point is named."""

    MACHINE_NAME = 1
    IP_ADDRESS = 2
    TELEPHONE = 3
    EMAIL = 4
    URI = 5


class SourceType(IntEnum):
    """AuditSourceTypeCode (PS3.15 §A.5.1.2.1)."""

    END_USER_INTERFACE = 1
    DEVICE = 2
    WEB_SERVER = 3
    APPLICATION_SERVER = 4
    DATABASE_SERVER = 5
    SECURITY_SERVER = 6
    NETWORK_COMPONENT = 7
    OPERATING_SOFTWARE = 8
    OTHER = 9


class ObjectType(IntEnum):
    """ParticipantObjectTypeCode."""

    PERSON = 1
    SYSTEM = 2
    ORGANISATION = 3
    OTHER = 4


class ObjectRole(IntEnum):
    """ParticipantObjectTypeCodeRole (PS3.15 §A.5.1.2.2); those that occur here."""

    PATIENT = 1
    REPORT = 3
    RESOURCE = 4
    MASTER_FILE = 5
    USER = 6
    SECURITY_RESOURCE = 13
    JOB = 20
    DATA_REPOSITORY = 17
    QUERY = 24


# ParticipantObjectIDTypeCode: the RFC 3881 codes 1 to 12, PS3.16 CID 404, and the
# SOP class UID that PS3.15 §A.5.3.10 uses for a query.
ID_PATIENT = "2"
ID_URI = "12"
ID_STUDY_UID = "110180"
ID_SOP_CLASS_UID = "110181"
ID_NODE = "110182"

# Media of PS3.16 CID 405, for export and import.
MEDIA_FILM = "110010"
MEDIA_USB = "110030"
MEDIA_EMAIL = "110031"
MEDIA_CD = "110032"
MEDIA_DVD = "110033"
MEDIA_URI = "110037"

DCM_MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "110010": "Film",
        "110030": "USB Disk Emulation",
        "110031": "Email",
        "110032": "CD",
        "110033": "DVD",
        "110037": "URI",
        "110100": "Application Activity",
        "110101": "Audit Log Used",
        "110102": "Begin Transferring DICOM Instances",
        "110103": "DICOM Instances Accessed",
        "110104": "DICOM Instances Transferred",
        "110105": "DICOM Study Deleted",
        "110106": "Export",
        "110107": "Import",
        "110108": "Network Entry",
        "110112": "Query",
        "110113": "Security Alert",
        "110114": "User Authentication",
        "110120": "Application Start",
        "110121": "Application Stop",
        "110122": "Login",
        "110123": "Logout",
        "110124": "Attach",
        "110125": "Detach",
        "110126": "Node Authentication",
        "110127": "Emergency Override Started",
        "110128": "Network Configuration",
        "110129": "Security Configuration",
        "110130": "Hardware Configuration",
        "110131": "Software Configuration",
        "110132": "Use of Restricted Function",
        "110133": "Audit Recording Stopped",
        "110134": "Audit Recording Started",
        "110135": "Object Security Attributes Changed",
        "110136": "Security Roles Changed",
        "110137": "User Security Attributes Changed",
        "110138": "Emergency Override Stopped",
        "110141": "Local Service Operation Started",
        "110142": "Local Service Operation Stopped",
        "110150": "Application",
        "110151": "Application Launcher",
        "110152": "Destination Role ID",
        "110153": "Source Role ID",
        "110154": "Destination Media",
        "110155": "Source Media",
        "110180": "Study Instance UID",
        "110181": "SOP Class UID",
        "110182": "Node ID",
    }
)

# Not of DCM: RFC 3881 codes for ParticipantObjectIDTypeCode.
RFC_3881_MEANINGS: Mapping[str, str] = MappingProxyType(
    {ID_PATIENT: "Patient Number", ID_URI: "URI"}
)


def meaning(code: str) -> tuple[str, str]:
    """Return (coding scheme, meaning) of a code as a record holds it.

    Raises:
        KeyError: The code is not one that Leadglass writes.
    """
    if code in RFC_3881_MEANINGS:
        return "RFC-3881", RFC_3881_MEANINGS[code]
    return "DCM", DCM_MEANINGS[code]
