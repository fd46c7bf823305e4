"""By which keys a query selected, as one short text."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Final
from urllib.parse import parse_qsl

from leadglass.audit.events import ParticipantObject
from leadglass.dicom.attributes import BY_TAG
from leadglass.dicom.dataset import DataSet
from leadglass.dicom.transfer_syntaxes import TRANSFER_SYNTAXES
from leadglass.dicom.uids import UID
from leadglass.errors import LeadglassError

# Of a query's key; whole identifiers are shorter.
_KEY_CHARACTERS_MAX: Final = 64
_KEYS_MAX: Final = 64
_WILDCARDS: Final = frozenset("*?")
# These say at which level and in which words, and select nobody.
_NO_KEYS: Final = frozenset(
    {"QueryRetrieveLevel", "SpecificCharacterSet", "TimezoneOffsetFromUTC"}
)
_NO_PARAMETERS: Final = frozenset(
    {"limit", "offset", "includefield", "fuzzymatching", "page", "sort", "order"}
)


def keys_of(objects: tuple[ParticipantObject, ...]) -> str:
    """Return what a query selected by: ``PatientID=…``, ``PatientName~`` of a part.

    A ``=`` stands only behind keys with a whole value, so that a question for one
    patient is told from one for everybody.
    """
    asked = next((each for each in objects if each.query), None)
    if asked is None:
        return ""
    found = [
        f"{name}{'~' if _WILDCARDS & set(value) else '='}{value[:_KEY_CHARACTERS_MAX]}"
        for name, value in _pairs(asked)
        if value.strip("*")
    ]
    return " ".join(found[:_KEYS_MAX])


def _pairs(asked: ParticipantObject) -> Iterator[tuple[str, str]]:
    syntax = dict(asked.details).get("TransferSyntax", "")
    if syntax not in TRANSFER_SYNTAXES:
        text = asked.query.decode("utf-8", "replace")
        for name, value in parse_qsl(text.rpartition("?")[2]):
            if name not in _NO_PARAMETERS:
                yield name, value
        return
    # Whoever asked chose these bytes: what cannot be read has no keys.
    with suppress(LeadglassError, ValueError, LookupError):
        yield from _read(DataSet.decode(asked.query, UID(syntax)))


def _read(query: DataSet) -> Iterator[tuple[str, str]]:
    for tag in query:
        attribute = BY_TAG.get(tag)
        if attribute is None or attribute.keyword in _NO_KEYS:
            continue
        if values := query.texts(tag):
            yield attribute.keyword, "\\".join(values)
