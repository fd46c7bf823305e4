"""Writing the DICOM JSON model, piece by piece (PS3.18 Annex F)."""

import json
from collections.abc import Iterable, Iterator
from typing import Final

from leadglass.dicom.model.values import BulkUri, entry
from leadglass.dicom.model.walk import Event, Mark, Sequence

MEDIA_TYPE: Final = "application/dicom+json"
_PIECE_CHARACTERS: Final = 16 * 1024  # what one write to a socket is worth
_dumps = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":")
).encode


def json_pieces(events: Iterable[Event], bulk_uri: BulkUri) -> Iterator[bytes]:
    """Yield one data set's object as UTF-8, a bounded piece at a time.

    Attributes stand in the order of the data set, which is ascending unless a device
    got it wrong. Group lengths are left out (PS3.18 §F.2.2).

    Args:
        events: From ``walk.walk``.
        bulk_uri: Gives the URI of a value that is left out.

    Raises:
        BadData: From the events.
    """
    held: list[str] = []
    size = 0
    for text in _texts(events, bulk_uri):
        held.append(text)
        size += len(text)
        if size >= _PIECE_CHARACTERS:
            yield _encoded(held)
            held, size = [], 0
    yield _encoded(held)


def _encoded(texts: list[str]) -> bytes:
    # A lone surrogate cannot come out of a decoder; a question mark if it ever does.
    return "".join(texts).encode("utf-8", "replace")


def _texts(events: Iterable[Event], bulk_uri: BulkUri) -> Iterator[str]:
    comma = ""
    yield "{"
    for event in events:
        if event is Mark.ITEM:
            yield comma + "{"
            comma = ""
        elif event is Mark.ITEM_END:
            yield "}"
            comma = ","
        elif event is Mark.SEQUENCE_END:
            yield "]}"
            comma = ","
        elif isinstance(event, Sequence):
            yield f'{comma}"{event.tag:08X}":{{"vr":"SQ","Value":['
            comma = ""
        elif not isinstance(event, Mark) and event.tag & 0xFFFF:
            yield f'{comma}"{event.tag:08X}":{_dumps(entry(event, bulk_uri))}'
            comma = ","
    yield "}"
