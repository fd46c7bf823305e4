"""One association of a peer that asks us: who it is, what it may, what it wants."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol

from leadglass.archive.caller import Caller
from leadglass.archive.meters import OPERATIONS, Meters
from leadglass.dicom.sop_classes import FIND, GET, MOVE, VERIFICATION
from leadglass.dicom.uids import UID
from leadglass.errors import Damaged, LeadglassError, PeerError, Unavailable
from leadglass.servers.dimse.connection import Connection
from leadglass.wire.association import ReleaseRequested
from leadglass.wire.dimse import (
    CCancelRQ,
    CEchoRQ,
    CFindRQ,
    CGetRQ,
    CMoveRQ,
    Command,
    CStoreRQ,
    DataSetBytes,
    Message,
    OtherRQ,
)
from leadglass.wire.negotiation import Context
from leadglass.wire.status import PROCESSING_FAILURE

_LOG = logging.getLogger(__name__)


# Which kind of request each SOP class that is no storage class takes.
KINDS: Final[Mapping[UID, type[Message]]] = MappingProxyType(
    {
        VERIFICATION: CEchoRQ,
        **dict.fromkeys(FIND, CFindRQ),
        **dict.fromkeys(MOVE, CMoveRQ),
        **dict.fromkeys(GET, CGetRQ),
    }
)


# What operations are called.
NAMES: Final[Mapping[type[Message], str]] = MappingProxyType(
    {
        CEchoRQ: "C-ECHO",
        CStoreRQ: "C-STORE",
        CFindRQ: "C-FIND",
        CMoveRQ: "C-MOVE",
        CGetRQ: "C-GET",
    }
)


class Gone(PeerError):
    """The association ended in the middle of an operation: nobody can be answered."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong with one operation, as the peer is told it."""

    status: int
    comment: str

    @classmethod
    def of(cls, error: BaseException) -> "Failure":
        """Return what a peer may know of an error; a bug of ours is logged."""
        if isinstance(error, LeadglassError):
            if isinstance(error, Unavailable | Damaged):
                _LOG.warning("operation failed: %s", error)
            return cls(error.dimse_status, str(error))
        _LOG.error("operation failed: %s", type(error).__name__, exc_info=error)
        return cls(PROCESSING_FAILURE, "internal error")


class Service(Protocol):
    """Answers one kind of request."""

    def __call__(self, session: "Session", context: Context, request: Message) -> None:
        """Take the request's data set, act, and send the responses."""


class Session:
    """The established association of one caller; for one thread.

    Attributes:
        caller: Who is on the other side.
        connection: The way to it.
    """

    def __init__(
        self,
        connection: Connection,
        caller: Caller,
        services: Mapping[type[Message], Service],
        extended: Mapping[UID, bytes],
        meters: Meters | None = None,
    ) -> None:
        self.caller = caller
        self._meters = meters or Meters()
        self.connection = connection
        self._services = services
        self._extended = extended

    def run(self) -> None:
        """Serve the association to its end.

        Raises:
            PeerError: The peer broke the protocol; it was told.
        """
        association = self.connection.association
        while (part := self.connection.message()) is not None:
            if isinstance(part, Command):
                self.connection.is_busy = True
                self._serve(part)
                self.connection.flush()
                self.connection.is_busy = False
            elif isinstance(part, ReleaseRequested):
                association.release()
            elif isinstance(part, DataSetBytes):
                raise PeerError("data set without a command that has one")
            # An abort ends the events, and so this loop, by itself.

    def _serve(self, command: Command) -> None:
        context = self.connection.association.contexts[command.context_id]
        request = command.message
        service = self._services.get(type(request))
        if service is not None and context.is_scp and _fits(request, context):
            self._meters.count(OPERATIONS, NAMES[type(request)])
            service(self, context, request)
        elif isinstance(request, OtherRQ):
            if request.has_data_set:
                for _ in self.data_set():
                    pass
            response = request.response()
            self.connection.association.send(context.id, response.encode())
        elif not isinstance(request, CCancelRQ):  # one that came too late is no error
            self.connection.association.abort()
            raise PeerError("a message that this role does not take")

    def application_information(self, sop_class: UID) -> bytes:
        """Return what extended negotiation agreed on for a SOP class, or nothing."""
        return self._extended.get(sop_class, b"")

    # --- what services use ------------------------------------------------------

    def data_set(self) -> Iterator[memoryview]:
        """Yield the data set of the current request, to its end.

        A view is valid until the next one is asked for.

        Raises:
            Gone: The association ended before the data set did.
        """
        while True:
            part = self._next()
            if not isinstance(part, DataSetBytes):
                raise Gone("the association ended in the middle of a message")
            yield part.data
            if part.is_last:
                return

    def identifier(self) -> bytes:
        """Return the whole data set of a query; the wire bounds its length."""
        return b"".join(self.data_set())

    def is_cancelled(self, message_id: int) -> bool:
        """Tell, without waiting, whether the peer has cancelled its request.

        Raises:
            Gone: The association has ended; also since the peer sent something else
                than a cancel: it has one operation outstanding, as was negotiated.
        """
        if not self.connection.has_news():
            return False
        return self.take_cancel(self._next(), message_id)

    def take_cancel(self, part: object, message_id: int) -> bool:
        """Judge what came in the middle of an operation; see ``is_cancelled``."""
        if isinstance(part, Command) and isinstance(part.message, CCancelRQ):
            return part.message.responds_to == message_id
        if isinstance(part, Command):
            self.connection.association.abort()
            self.connection.flush()
            raise Gone("a second operation, though one was negotiated")
        raise Gone("the association ended in the middle of an operation")

    def _next(self) -> object:
        """Wait for what belongs to the operation that is under way.

        Raises:
            Gone: The peer broke the protocol, so there is nobody to answer; a
                service must not take this for something wrong with the request.
        """
        try:
            return self.connection.message()
        except PeerError as error:
            raise Gone(str(error)) from error


def _fits(request: Message, context: Context) -> bool:
    """Tell whether a kind of request belongs to the context that it came over."""
    kinds = KINDS.get(context.abstract_syntax, CStoreRQ)
    return isinstance(request, kinds)
