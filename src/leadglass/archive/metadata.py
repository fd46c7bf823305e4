"""Metadata of stored instances: read from a file once, and kept (PS3.18 §10.4.1.1.2).

Kept in the encrypted database, beside the rows that hold the same patient's data and
that go in the same transaction; see ``index.prepared``.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from leadglass.archive.fetch import Retrieval, Stored
from leadglass.archive.parts import Parts
from leadglass.database.engine import Transaction
from leadglass.dicom.header import INFLATED_BYTES_MAX
from leadglass.dicom.model.json import json_pieces
from leadglass.dicom.model.sources import Inflated, Source
from leadglass.dicom.model.values import BulkUri
from leadglass.dicom.model.walk import Event, Value, walk
from leadglass.dicom.transfer_syntaxes import TRANSFER_SYNTAXES, TransferSyntax
from leadglass.dicom.uids import UID
from leadglass.errors import BadData, LeadglassError
from leadglass.index import prepared
from leadglass.index.records import InstanceLocation

_LOG = logging.getLogger(__name__)

# Looked up, and written, together: at some 3 KB each no more than a megabyte.
_BATCH: Final = 200
# The longest metadata that is prepared. What is longer, as a slide's, is read from
# its file as it is sent, so that one answer holds one of these at most.
PREPARED_BYTES_MAX: Final = 4 << 20
# What stands in front of each URI. Within a string of JSON a quotation mark follows
# a backslash, so no stranger's text can hold this.
_MARK: Final = b'"BulkDataURI":"'

# Gives the URL of an instance, that of its bulk data is made of.
Address = Callable[[InstanceLocation], str]


@dataclass(frozen=True, slots=True)
class Metadata:
    """Gives the JSON model of instances that are on their way out."""

    parts: Parts

    def json(
        self, retrieval: Retrieval, address: Address
    ) -> Iterator[tuple[InstanceLocation, Iterator[bytes]]]:
        """Yield each instance with its object, in pieces.

        Raises:
            BadData, Damaged, NotFound, Unavailable: Of a file that must be read.
        """
        locations = retrieval.locations
        for start in range(0, len(locations), _BATCH):
            batch = locations[start : start + _BATCH]
            with self.parts.database.read() as connection:
                known = prepared.known(connection, batch)
            made: list[tuple[InstanceLocation, bytes]] = []
            try:
                for location in batch:
                    body = known.get(location.instance_uid)
                    if body is None:
                        body = self.made(retrieval, location)
                        if body is not None:
                            made.append((location, body))
                    url = address(location)
                    if body is None:
                        yield location, _streamed(retrieval, location, url)
                    else:
                        yield location, iter((_addressed(body, url),))
            finally:
                self.keep(made)

    def made(self, retrieval: Retrieval, location: InstanceLocation) -> bytes | None:
        """Read an instance's file; ``None``: its metadata is too long to keep."""
        body = bytearray()
        with retrieval.open(location) as stored:
            for piece in json_pieces(events(stored, location), bulk_name):
                body += piece
                if len(body) > PREPARED_BYTES_MAX:
                    return None
        return bytes(body)

    def keep(self, made: list[tuple[InstanceLocation, bytes]]) -> None:
        """Keep what was read, if that can be; the next one reads it again if not."""

        def work(tx: Transaction) -> None:
            prepared.keep(tx, made)

        if not made:
            return
        try:
            self.parts.database.write(work)
        except LeadglassError as error:
            _LOG.warning("prepared metadata could not be kept: %s", error)


def _streamed(
    retrieval: Retrieval, location: InstanceLocation, url: str
) -> Iterator[bytes]:
    with retrieval.open(location) as stored:
        yield from json_pieces(events(stored, location), bulk_url(url))


def _addressed(body: bytes, url: str) -> bytes:
    return body.replace(_MARK, _MARK + f"{url}/bulkdata/".encode())


def bulk_name(value: Value) -> str:
    """Return the name of a bulk value within its instance: one segment of a path."""
    return value.path.replace("/", ".")


def bulk_url(url: str) -> BulkUri:
    """Return what gives the URL of bulk data, for an instance's URL."""

    def uri(value: Value) -> str:
        return f"{url}/bulkdata/{bulk_name(value)}"

    return uri


def plain(stored: Stored, location: InstanceLocation) -> tuple[Source, TransferSyntax]:
    """Return a data set as it can be walked over, and how it is encoded.

    Raises:
        BadData: Its transfer syntax is none that we know.
    """
    syntax = TRANSFER_SYNTAXES.get(UID(location.transfer_syntax_uid))
    if syntax is None:
        raise BadData("a transfer syntax that is unknown")
    return (Inflated(stored) if syntax.deflated else stored), syntax


def events(stored: Stored, location: InstanceLocation) -> Iterator[Event]:
    """Yield what a stored data set holds; see ``walk``."""
    source, syntax = plain(stored, location)
    return walk(source, syntax, length_of(stored, syntax))


def length_of(stored: Stored, syntax: TransferSyntax) -> int:
    """Return a length that the data set does not pass, inflated."""
    return INFLATED_BYTES_MAX if syntax.deflated else stored.size
