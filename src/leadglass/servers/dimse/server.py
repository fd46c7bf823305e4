"""The DIMSE listeners of a node: from an accepted socket to a served association."""

import logging
import re
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from leadglass.access.rights import Right
from leadglass.archive.doors import Admitted, Doorkeeper
from leadglass.archive.echo import Echo
from leadglass.archive.fetch import Fetch
from leadglass.archive.find import Find
from leadglass.archive.ingest import Ingest
from leadglass.archive.meters import ASSOCIATIONS, Meters
from leadglass.audit.builders import Association as Said
from leadglass.config import Dimse
from leadglass.dicom.sop_classes import (
    FIND,
    GET,
    MOVE,
    NON_PATIENT,
    STORAGE,
    VERIFICATION,
)
from leadglass.dicom.transfer_syntaxes import (
    DEFLATED_EXPLICIT_VR_LE,
    EXPLICIT_VR_LE,
    IMPLICIT_VR_LE,
    TRANSFER_SYNTAXES,
)
from leadglass.dicom.uids import UID
from leadglass.errors import LeadglassError, PeerError, Refused
from leadglass.pixels.transcode import Transcoder
from leadglass.servers.dimse.connection import Connection, Timeouts
from leadglass.servers.dimse.echo import EchoService
from leadglass.servers.dimse.listener import (
    Address,
    Ceilings,
    Listener,
    Presence,
    Visitor,
    secure,
)
from leadglass.servers.dimse.query import QueryService
from leadglass.servers.dimse.retrieve import GetService, MoveService, Outgoing
from leadglass.servers.dimse.session import Service as Handler
from leadglass.servers.dimse.session import Session
from leadglass.servers.dimse.storage import StorageService
from leadglass.servers.tls import handshake_fault
from leadglass.wire.association import Association, Limits, Requested
from leadglass.wire.dimse import CEchoRQ, CFindRQ, CGetRQ, CMoveRQ, CStoreRQ, Message
from leadglass.wire.negotiation import Offer, QueryOptions, Service, negotiate
from leadglass.wire.pdus import AssociateRQ, RejectReason, RejectResult

_LOG = logging.getLogger(__name__)

# How often a node that stops looks whether its associations have ended.
_STOP_LOOK_S: Final = 0.02
_ANY_SYNTAX: Final = frozenset(TRANSFER_SYNTAXES)
# Identifiers are small; big endian is for old images, nobody asks in it.
_ASKING: Final = frozenset({IMPLICIT_VR_LE, EXPLICIT_VR_LE, DEFLATED_EXPLICIT_VR_LE})
_FIND_INFORMATION: Final = QueryOptions(
    relational=True, combined_datetime=True, fuzzy=True
).encode_find()
_RETRIEVE_INFORMATION: Final = QueryOptions(relational=True).encode_retrieve()


@lru_cache(maxsize=64)  # there are few combinations of rights, and each is 200 classes
def offer_for(rights: frozenset[Right], private_roots: tuple[str, ...]) -> Offer:
    """Return what a device with these rights may have: deny is the absence of one.

    Of several transfer syntaxes in one storage context the proposer's first is taken
    (``negotiate``), also when it is we who will send over it (C-GET): one that is
    compressed then carries only what is stored so. Who wants everything proposes an
    uncompressed one first, or in a context of its own.
    """
    asking = Service(_ASKING)
    services: dict[UID, Service] = {}
    if Right.ECHO in rights:
        services[VERIFICATION] = asking
    if Right.FIND in rights:
        with_options = Service(_ASKING, application_information=_FIND_INFORMATION)
        services.update(dict.fromkeys(FIND, with_options))
    retrieve = Service(_ASKING, application_information=_RETRIEVE_INFORMATION)
    if Right.MOVE in rights:
        services.update(dict.fromkeys(MOVE, retrieve))
    if Right.GET in rights:
        services.update(dict.fromkeys(GET, retrieve))
    private: dict[str, Service] = {}
    if rights & {Right.STORE, Right.GET}:
        storage = Service(
            _ANY_SYNTAX, is_scp=Right.STORE in rights, is_scu=Right.GET in rights
        )
        # What belongs to no study has no place here; said now, not for each instance.
        services.update(dict.fromkeys(STORAGE.keys() - NON_PATIENT, storage))
        private = dict.fromkeys(private_roots, storage)
    return Offer(MappingProxyType(services), MappingProxyType(private))


@dataclass(frozen=True, slots=True)
class UseCases:
    """What the services stand in front of."""

    echo: Echo
    ingest: Ingest
    find: Find
    fetch: Fetch


class DimseServer:
    """Serves DICOM over TLS, and over plaintext for named exceptions.

    Args:
        settings: Addresses, ceilings and timeouts.
        use_cases: What is done for a peer.
        doorkeeper: Who comes in.
        outgoing: What associations to C-MOVE destinations need.
        transcoder: For receivers that take only uncompressed images.
        tls: Returns the context of the TLS listener now; it changes with the CRL.
        private_roots: Beginnings of UIDs of private storage SOP classes.
        meters: Count what is asked.
    """

    def __init__(  # noqa: PLR0913  # collaborators, each named
        self,
        *,
        settings: Dimse,
        use_cases: UseCases,
        doorkeeper: Doorkeeper,
        outgoing: Outgoing,
        transcoder: Transcoder,
        tls: Callable[[], ssl.SSLContext],
        private_roots: tuple[str, ...],
        meters: Meters | None = None,
    ) -> None:
        self._settings = settings
        self._meters = meters or Meters()
        self._doorkeeper = doorkeeper
        self._tls = tls
        self._private_roots = private_roots
        self._timeouts = Timeouts(settings.artim_timeout_s, settings.idle_timeout_s)
        self._limits = Limits(pdu_length_bytes_max=settings.pdu_length_bytes_max)
        self._per_device: Counter[str] = Counter()
        self._presence = Presence(
            Ceilings(
                settings.association_count_max,
                settings.association_count_per_address_max,
            )
        )
        self._lock = threading.Lock()
        self._listeners: list[Listener] = []
        self._connections: set[Connection] = set()
        fetch = use_cases.fetch
        self._services: Mapping[type[Message], Handler] = MappingProxyType(
            {
                CEchoRQ: EchoService(use_cases.echo),
                CStoreRQ: StorageService(use_cases.ingest),
                CFindRQ: QueryService(use_cases.find, outgoing.title),
                CGetRQ: GetService(fetch, transcoder),
                CMoveRQ: MoveService(fetch, transcoder, doorkeeper, outgoing),
            }
        )

    # --- listening --------------------------------------------------------------

    def listen_tls(self, address: tuple[str, int]) -> tuple[str, int]:
        """Begin to accept TLS; return where.

        Raises:
            Unavailable: The address cannot be had.
        """
        return self._listen(
            address,
            lambda peer: self._doorkeeper.welcomes(peer, with_tls=True),
            self._serve_tls,
        )

    def listen_unsafe_plaintext(self, address: tuple[str, int]) -> tuple[str, int]:
        """Begin to accept plaintext from named exceptions; return where.

        Raises:
            Unavailable: The address cannot be had.
        """
        return self._listen(
            address,
            lambda peer: self._doorkeeper.welcomes(peer, with_tls=False),
            self._serve_plaintext,
        )

    def _listen(
        self,
        address: tuple[str, int],
        is_welcome: Callable[[Address], bool],
        serve: Callable[[Visitor], None],
    ) -> tuple[str, int]:
        listener = Listener(address, self._presence, is_welcome, serve)
        self._listeners.append(listener)
        listener.start()
        return listener.address

    @property
    def association_count(self) -> int:
        """How many connections there are now."""
        return self._presence.count

    def stop(self) -> None:
        """Accept no more; give what is in flight its time, then end it."""
        for listener in self._listeners:
            listener.stop()
        deadline = time.monotonic() + self._settings.stop_timeout_s
        while self.association_count:
            is_late = time.monotonic() >= deadline
            with self._lock:
                for connection in self._connections:
                    if is_late or connection.is_idle:
                        connection.interrupt()
            if is_late:
                break
            time.sleep(_STOP_LOOK_S)

    # --- one connection ---------------------------------------------------------

    def _serve_tls(self, visitor: Visitor) -> None:
        try:
            context = self._tls()
        except LeadglassError as error:
            # Who cannot be judged by today's revocation list is not let in.
            _LOG.error("no TLS: %s", error)
            return
        try:
            sock = secure(visitor, context, self._settings.tls_handshake_timeout_s)
        except (ssl.SSLError, OSError) as error:
            self._doorkeeper.knocks.count(visitor.address, handshake_fault(error))
            return
        certificate = sock.getpeercert(binary_form=True)
        if certificate is None:  # cannot be: the context demands one
            sock.close()
            return
        connection = Connection(
            sock, Association.acceptor(self._limits), self._timeouts
        )
        self._serve(connection, visitor, certificate, sock.version() or "TLS")

    def _serve_plaintext(self, visitor: Visitor) -> None:
        association = Association.acceptor(self._limits)
        connection = Connection(visitor.sock, association, self._timeouts)
        self._serve(connection, visitor, None, "plaintext")

    def _serve(
        self,
        connection: Connection,
        visitor: Visitor,
        certificate: bytes | None,
        channel: str,
    ) -> None:
        with self._lock:
            self._connections.add(connection)
        try:
            event = connection.event()
            if not isinstance(event, Requested):
                self._doorkeeper.knocks.count(
                    visitor.address, "no association was asked for"
                )
                return
            admitted = self._admit(
                connection, visitor, certificate, channel, event.request
            )
            if admitted is None:
                self._meters.count(ASSOCIATIONS, "refused")
                return
            with self._place(admitted.device.name) as has_place:
                is_accepted = "accepted" if has_place else "put off"
                self._meters.count(ASSOCIATIONS, is_accepted)
                if has_place:
                    self._converse(connection, admitted, event.request)
                else:
                    _reject_for_now(connection)
        except PeerError as error:
            _LOG.info("association ended: %s", error)
            self._doorkeeper.knocks.count(visitor.address, _abort_reason(error))
        except LeadglassError as error:
            # It cannot be recorded what was done, so nothing is said to be done.
            _LOG.warning("association ended: %s", error)
        finally:
            with self._lock:
                self._connections.discard(connection)
            connection.close()

    def _admit(
        self,
        connection: Connection,
        visitor: Visitor,
        certificate: bytes | None,
        channel: str,
        request: AssociateRQ,
    ) -> Admitted | None:
        """Admit the peer, or answer as every refusal is answered."""
        said = Said(
            called=request.called.text,
            calling=request.calling.text,
            implementation_uid=request.user.implementation_class or "",
            implementation_version=request.user.implementation_version or "",
        )
        try:
            return self._doorkeeper.admit(
                visitor.address,
                certificate,
                request.called,
                request.calling,
                channel=channel,
                said=said,
            )
        except Refused:
            # Permanent, service user, no reason: the same for whatever is wrong.
            connection.association.reject(RejectReason.NO_REASON)
        except LeadglassError:
            _reject_for_now(connection)
        connection.flush()
        return None

    @contextmanager
    def _place(self, name: str) -> Iterator[bool]:
        """Take one of the places of a device, if one is free."""
        with self._lock:
            places = self._settings.association_count_per_device_max
            has_place = self._per_device[name] < places
            self._per_device[name] += has_place
        try:
            yield has_place
        finally:
            with self._lock:
                self._per_device[name] -= has_place
                self._per_device += Counter()

    def _converse(
        self, connection: Connection, admitted: Admitted, request: AssociateRQ
    ) -> None:
        accept = negotiate(
            request,
            offer_for(admitted.rights, self._private_roots),
            pdu_length_bytes_max=self._limits.pdu_length_bytes_max,
        )
        connection.association.accept(accept)
        connection.flush()
        extended = {
            each.sop_class: each.application_information
            for each in accept.user.extended
        }
        Session(
            connection, admitted.caller, self._services, extended, self._meters
        ).run()


def _reject_for_now(connection: Connection) -> None:
    connection.association.reject(
        RejectReason.LOCAL_LIMIT_EXCEEDED, RejectResult.TRANSIENT
    )
    connection.flush()


def _abort_reason(error: PeerError) -> str:
    """Return why we ended it, without what a peer chooses.

    Reasons are counted, each kind for itself: with its lengths in them there would be
    as many kinds, and records, as it likes.
    """
    return f"aborted: {re.sub('[0-9]+', '#', str(error))}"
