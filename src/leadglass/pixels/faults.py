"""What can be wrong with an image, as numbers.

A worker that met hostile input may be in the hands of its sender. It tells a
number, never a text: the texts, which reach logs, are ours.
"""

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType

from leadglass.errors import BadData, LeadglassError, Unavailable


class Fault(IntEnum):
    """Why an image cannot be given in another form."""

    TRUNCATED = 1
    STRUCTURE = 2
    DEPTH = 3
    TOO_LARGE = 4
    DESCRIPTION = 5
    FRAMES = 6
    MISMATCH = 7
    CODESTREAM = 8
    UNSUPPORTED = 9
    TIME = 10
    CRASH = 11
    MEMORY = 12
    WORKER = 13
    PRESET = 14


TEXTS: Mapping[Fault, str] = MappingProxyType(
    {
        Fault.TRUNCATED: "the data set ends in the middle of an element",
        Fault.STRUCTURE: "the data set is not built as PS3.5 §7 says",
        Fault.DEPTH: "sequences are nested deeper than limits.sequence_depth_max",
        Fault.TOO_LARGE: "the decoded image would be larger than the limits allow",
        Fault.DESCRIPTION: "the image pixel description is missing or impossible",
        Fault.FRAMES: "the pixel data has not the number of frames it should have",
        Fault.MISMATCH: "a compressed frame is not as the data set describes it",
        Fault.CODESTREAM: "a compressed frame cannot be decoded",
        Fault.UNSUPPORTED: "this kind of image cannot be decoded",
        Fault.TIME: "decoding took longer than the limits allow",
        Fault.CRASH: "decoding crashed",
        Fault.MEMORY: "decoding needs more memory than pixels.memory_bytes_max",
        Fault.WORKER: "the worker process ended; trying again may help",
        Fault.PRESET: "the image has no such window or VOI LUT",
    }
)

# Not the image's fault, or not for certain: the caller may try again.
_MAY_HELP_TO_RETRY = frozenset({Fault.MEMORY, Fault.WORKER})


class Undecodable(Exception):
    """Ends the work on one image; never leaves the worker."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(TEXTS[fault])
        self.fault = fault


def error_of(fault: Fault) -> LeadglassError:
    """Make the error that the caller of the node's side gets."""
    kind = Unavailable if fault in _MAY_HELP_TO_RETRY else BadData
    return kind(TEXTS[fault])
