"""DIMSE statuses as data: what each code means and in which category it falls.

PS3.7 Annex C for all services, PS3.4 Table B.2-1 for storage and Tables C.4-1
to C.4-3 for query and retrieve.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

SUCCESS: Final = 0x0000
CANCEL: Final = 0xFE00
PENDING: Final = 0xFF00
PENDING_WITHOUT_OPTIONAL_KEYS: Final = 0xFF01
PROCESSING_FAILURE: Final = 0x0110
DUPLICATE_SOP_INSTANCE: Final = 0x0111
NO_SUCH_SOP_INSTANCE: Final = 0x0112
SOP_CLASS_NOT_SUPPORTED: Final = 0x0122
NOT_AUTHORIZED: Final = 0x0124
UNRECOGNIZED_OPERATION: Final = 0x0211
MISTYPED_ARGUMENT: Final = 0x0212
OUT_OF_RESOURCES: Final = 0xA700
UNABLE_TO_COUNT_MATCHES: Final = 0xA701
UNABLE_TO_PERFORM_SUB_OPERATIONS: Final = 0xA702
MOVE_DESTINATION_UNKNOWN: Final = 0xA801
DATA_SET_DOES_NOT_MATCH_SOP_CLASS: Final = 0xA900
SUB_OPERATIONS_WITH_FAILURES: Final = 0xB000
CANNOT_UNDERSTAND: Final = 0xC000
UNABLE_TO_PROCESS: Final = 0xC000  # the same code in C-FIND, C-GET and C-MOVE


class Category(StrEnum):
    """What a status says about the operation, PS3.7 §C.1 to C.5."""

    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"
    CANCEL = "cancel"
    PENDING = "pending"


@dataclass(frozen=True, slots=True)
class Status:
    """One row: the codes ``first`` to ``last``."""

    first: int
    last: int
    category: Category
    meaning: str

    def __post_init__(self) -> None:
        if not 0 <= self.first <= self.last <= 0xFFFF:
            raise ValueError("status codes must ascend within 16 bits")


def _one(code: int, category: Category, meaning: str) -> Status:
    return Status(code, code, category, meaning)


_SUCCESS = _one(SUCCESS, Category.SUCCESS, "Success")
_CANCEL = _one(CANCEL, Category.CANCEL, "Terminated due to Cancel request")

# PS3.7 Annex C; valid for every service.
GENERAL: Final = (
    _SUCCESS,
    _CANCEL,
    _one(PENDING, Category.PENDING, "Pending"),
    _one(0x0105, Category.FAILURE, "No such attribute"),
    _one(0x0106, Category.FAILURE, "Invalid attribute value"),
    _one(0x0107, Category.WARNING, "Attribute list error"),
    _one(PROCESSING_FAILURE, Category.FAILURE, "Processing failure"),
    _one(DUPLICATE_SOP_INSTANCE, Category.FAILURE, "Duplicate SOP Instance"),
    _one(NO_SUCH_SOP_INSTANCE, Category.FAILURE, "No such SOP Instance"),
    _one(0x0113, Category.FAILURE, "No such event type"),
    _one(0x0114, Category.FAILURE, "No such argument"),
    _one(0x0115, Category.FAILURE, "Invalid argument value"),
    _one(0x0116, Category.WARNING, "Attribute value out of range"),
    _one(0x0117, Category.FAILURE, "Invalid SOP Instance"),
    _one(0x0118, Category.FAILURE, "No such SOP Class"),
    _one(0x0119, Category.FAILURE, "Class-instance conflict"),
    _one(0x0120, Category.FAILURE, "Missing attribute"),
    _one(0x0121, Category.FAILURE, "Missing attribute value"),
    _one(SOP_CLASS_NOT_SUPPORTED, Category.FAILURE, "Refused: SOP Class not supported"),
    _one(0x0123, Category.FAILURE, "No such action type"),
    _one(NOT_AUTHORIZED, Category.FAILURE, "Refused: not authorized"),
    _one(0x0210, Category.FAILURE, "Duplicate invocation"),
    _one(UNRECOGNIZED_OPERATION, Category.FAILURE, "Unrecognized operation"),
    _one(MISTYPED_ARGUMENT, Category.FAILURE, "Mistyped argument"),
    _one(0x0213, Category.FAILURE, "Resource limitation"),
)
# PS3.4 Table B.2-1
STORAGE: Final = (
    _SUCCESS,
    Status(0xA700, 0xA7FF, Category.FAILURE, "Refused: out of resources"),
    Status(
        0xA900, 0xA9FF, Category.FAILURE, "Error: data set does not match SOP Class"
    ),
    Status(0xC000, 0xCFFF, Category.FAILURE, "Error: cannot understand"),
    _one(0xB000, Category.WARNING, "Coercion of data elements"),
    _one(0xB006, Category.WARNING, "Elements discarded"),
    _one(0xB007, Category.WARNING, "Data set does not match SOP Class"),
)
# PS3.4 Table C.4-1
FIND: Final = (
    _SUCCESS,
    _CANCEL,
    _one(OUT_OF_RESOURCES, Category.FAILURE, "Refused: out of resources"),
    _one(0xA900, Category.FAILURE, "Error: data set does not match SOP Class"),
    Status(0xC000, 0xCFFF, Category.FAILURE, "Failed: unable to process"),
    _one(PENDING, Category.PENDING, "Matches are continuing"),
    _one(
        PENDING_WITHOUT_OPTIONAL_KEYS,
        Category.PENDING,
        "Matches are continuing; one or more optional keys were not supported",
    ),
)
_RETRIEVE = (
    _SUCCESS,
    _CANCEL,
    _one(
        UNABLE_TO_COUNT_MATCHES,
        Category.FAILURE,
        "Refused: out of resources, unable to calculate number of matches",
    ),
    _one(
        UNABLE_TO_PERFORM_SUB_OPERATIONS,
        Category.FAILURE,
        "Refused: out of resources, unable to perform sub-operations",
    ),
    _one(0xA900, Category.FAILURE, "Error: data set does not match SOP Class"),
    Status(0xC000, 0xCFFF, Category.FAILURE, "Failed: unable to process"),
    _one(
        SUB_OPERATIONS_WITH_FAILURES,
        Category.WARNING,
        "Sub-operations complete, one or more failures or warnings",
    ),
    _one(PENDING, Category.PENDING, "Sub-operations are continuing"),
)
# PS3.4 Table C.4-2
MOVE: Final = (
    *_RETRIEVE,
    _one(
        MOVE_DESTINATION_UNKNOWN, Category.FAILURE, "Refused: move destination unknown"
    ),
)
# PS3.4 Table C.4-3
GET: Final = _RETRIEVE

SERVICES: Final[Mapping[str, tuple[Status, ...]]] = MappingProxyType(
    {"C-STORE": STORAGE, "C-FIND": FIND, "C-MOVE": MOVE, "C-GET": GET, "C-ECHO": ()}
)


def explain(service: str, code: int) -> Status | None:
    """Return the row for a code, the service's own meaning before the general."""
    for row in (*SERVICES[service], *GENERAL):
        if row.first <= code <= row.last:
            return row
    return None


def category(code: int) -> Category:
    """Return the category of any code (PS3.7 §C); an unknown one is a failure."""
    if code == SUCCESS:
        return Category.SUCCESS
    if code in {PENDING, PENDING_WITHOUT_OPTIONAL_KEYS}:
        return Category.PENDING
    if code == CANCEL:
        return Category.CANCEL
    if code in {0x0001, 0x0107, 0x0116} or 0xB000 <= code <= 0xBFFF:
        return Category.WARNING
    return Category.FAILURE
