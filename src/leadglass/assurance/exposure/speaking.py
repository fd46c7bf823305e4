"""DICOM as a stranger speaks it: our own ``wire``, under a name that says who we are.

Nothing of what is answered is kept: matches are counted, attributes are noted as
present, bytes are hashed and dropped.
"""

import ssl
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Self

from leadglass.assurance.exposure.contact import Line, Wire
from leadglass.assurance.exposure.safety import clean
from leadglass.dicom.aetitle import AETitle
from leadglass.dicom.dataset import DataSet, pad
from leadglass.dicom.sop_classes import VERIFICATION, is_storage
from leadglass.dicom.transfer_syntaxes import IMPLICIT_VR_LE
from leadglass.dicom.uids import UID
from leadglass.errors import LeadglassError, PeerError, Refused, Unavailable
from leadglass.wire.association import (
    Aborted,
    Accepted,
    Association,
    Event,
    Fragment,
    Limits,
    Rejected,
    Released,
)
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
    Messages,
)
from leadglass.wire.negotiation import propose
from leadglass.wire.pdus import (
    AssociateRQ,
    IdentityType,
    RejectReason,
    RoleSelection,
    UserIdentity,
)
from leadglass.wire.states import State
from leadglass.wire.status import SUCCESS, Category, category

# Whoever finds this in a log knows what it was (rules of conduct).
IMPLEMENTATION_CLASS: Final = UID("2.25.118347391120571834466285170913364120754")
IMPLEMENTATION_VERSION: Final = "LG_EXPOSCAN_1"
CALLING: Final = AETitle("EXPOSCAN")
ANY: Final = AETitle("ANY-SCP")
NOWHERE: Final = AETitle("NOSUCHAE")

_LIMITS: Final = Limits()
# Every SCP takes the default transfer syntax (PS3.5 §10.1), so it alone is offered.
SYNTAX: Final = IMPLICIT_VR_LE
# After the proof nothing more is wanted; a peer that ignores C-CANCEL is aborted.
AFTER_CANCEL_MAX: Final = 200
_STATUS: Final = struct.Struct("<HHIH")


class Door(StrEnum):
    """What became of a request for an association."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    ABORTED = "aborted"
    ENDED = "ended"
    SILENT = "silent"
    NO_TLS = "no handshake"
    OTHER = "not DICOM"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Knock:
    """One request for an association and its answer.

    Attributes:
        door: What became of it.
        called: Title that was called.
        calling: Title that was claimed.
        reason: Why it was rejected.
        taken: Abstract syntaxes that were accepted.
        implementation: Class UID of the peer.
        version: Version name of the peer.
        identity_answered: A positive response to the user identity came.
    """

    door: Door
    called: AETitle
    calling: AETitle
    reason: RejectReason | None = None
    taken: frozenset[UID] = frozenset()
    implementation: str = ""
    version: str = ""
    identity_answered: bool = False

    @property
    def is_dicom(self) -> bool:
        """Whether a well-formed PDU came: A-ASSOCIATE-AC, -RJ or A-ABORT (NET-03)."""
        return self.door in {Door.ACCEPTED, Door.REJECTED, Door.ABORTED}

    @property
    def is_open(self) -> bool:
        """Whether there was an association."""
        return self.door is Door.ACCEPTED


@dataclass(slots=True)
class Matches:
    """What a query was answered with: counts and flags.

    Attributes:
        status: Last status; None if none came.
        count: Matches that were delivered.
        data_sets: The first few, for the flags to be read from; dropped then.
        was_cancelled: We said that it is enough.
    """

    status: int | None = None
    count: int = 0
    data_sets: list[bytes] = field(default_factory=list, repr=False)
    was_cancelled: bool = False


@dataclass(frozen=True, slots=True)
class Asking:
    """What is asked for in a request.

    Attributes:
        called: Title to call.
        calling: Title to claim.
        classes: Abstract syntaxes, at most 128.
        identity: A user identity to claim.
    """

    called: AETitle
    calling: AETitle = CALLING
    classes: tuple[UID, ...] = (VERIFICATION,)
    identity: UserIdentity | None = None

    def request(self) -> AssociateRQ:
        """Return the request."""
        # Who fetches is sent to, so it offers to take it (PS3.4 §C.5.3).
        roles = [
            RoleSelection(each, is_scu=True, is_scp=True)
            for each in self.classes
            if is_storage(each)
        ]
        request = propose(
            self.called,
            self.calling,
            [(each, (SYNTAX,)) for each in self.classes],
            pdu_length_bytes_max=_LIMITS.pdu_length_bytes_max,
            roles=roles,
        )
        user = replace(
            request.user,
            implementation_class=IMPLEMENTATION_CLASS,
            implementation_version=IMPLEMENTATION_VERSION,
            identity=self.identity,
        )
        return replace(request, user=user)


def false_identity() -> UserIdentity:
    """Return a user that nobody has, with a wrong passcode (PS3.7 §D.3.3.7)."""
    return UserIdentity(
        type=IdentityType.USERNAME_AND_PASSCODE,
        wants_response=True,
        primary=b"exposcan-nobody",
        secondary=b"not-a-passcode",
    )


class Talk:
    """One association, or the answer why there is none.

    Use as a context manager: it is released in good order, always.
    """

    def __init__(self, wire: Wire, asking: Asking) -> None:
        self._wire = wire
        self._association = Association.requestor(asking.request(), _LIMITS)
        self._messages = Messages()
        self._pending: list[Event] = []
        self._id = 0
        self.knock = self._knock(asking)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def _knock(self, asking: Asking) -> Knock:
        told = Knock(Door.ENDED, asking.called, asking.calling)
        try:
            self._flush()
            event = self._event()
        except Unavailable:
            return replace(told, door=Door.SILENT)
        except PeerError:
            return replace(told, door=Door.OTHER if self._wire.taken else Door.ENDED)
        if isinstance(event, Rejected):
            return replace(told, door=Door.REJECTED, reason=event.reject.reason)
        if isinstance(event, Aborted):
            return replace(told, door=Door.ABORTED)
        if not isinstance(event, Accepted):
            return told
        user = event.accept.user
        contexts = self._association.contexts.values()
        return replace(
            told,
            door=Door.ACCEPTED,
            taken=frozenset(each.abstract_syntax for each in contexts),
            # There are servers that send back what they were sent.
            implementation=""
            if user.implementation_class == IMPLEMENTATION_CLASS
            else str(user.implementation_class or ""),
            version=""
            if user.implementation_version == IMPLEMENTATION_VERSION
            else clean(user.implementation_version, 16),
            identity_answered=user.identity_response is not None,
        )

    # --- what is asked --------------------------------------------------------

    def echo(self) -> int | None:
        """Return the status of a C-ECHO."""
        command = CEchoRQ(message_id=self._next(), affected_sop_class=VERIFICATION)
        return self._single(VERIFICATION, command)

    def store(self, sop_class: UID, instance: UID, data_set: bytes) -> int | None:
        """Send one instance of our own making; return the status."""
        command = CStoreRQ(
            message_id=self._next(),
            affected_sop_class=sop_class,
            affected_sop_instance=instance,
        )
        return self._single(sop_class, command, data_set)

    def move_nowhere(self, sop_class: UID, identifier: bytes) -> int | None:
        """Ask to send what does not exist to a title that does not exist."""
        command = CMoveRQ(
            message_id=self._next(),
            affected_sop_class=sop_class,
            move_destination=NOWHERE,
        )
        return self._single(sop_class, command, identifier)

    def find(self, sop_class: UID, identifier: bytes, enough: int) -> Matches:
        """Ask a question; say that it is enough after so many matches."""
        number = self._next()
        command = CFindRQ(message_id=number, affected_sop_class=sop_class)
        matches = Matches()
        try:
            self._send(sop_class, command, identifier)
            for part in self._parts():
                if isinstance(part, Command):
                    matches.status = getattr(part.message, "status", None)
                    if not _is_pending(matches.status):
                        break
                    continue
                matches.count += 1
                if len(matches.data_sets) < enough:
                    matches.data_sets.append(bytes(part.data))
                if matches.count == enough:
                    matches.was_cancelled = True
                    self._cancel(sop_class, number)
                elif matches.count > enough + AFTER_CANCEL_MAX:
                    break
        except LeadglassError:
            # Whatever came until then is the answer; the association is over.
            self._association.abort()
        return matches

    def get(self, sop_class: UID, identifier: bytes) -> Iterator[bytes]:
        """Ask for instances; yield the pieces of the first one, which is refused."""
        command = CGetRQ(message_id=self._next(), affected_sop_class=sop_class)
        self._send(sop_class, command, identifier)
        for part in self._parts():
            if isinstance(part, DataSetBytes):
                yield bytes(part.data)
                if part.is_last:
                    return
            elif not isinstance(part.message, CStoreRQ) and not _is_pending(
                getattr(part.message, "status", None)
            ):
                return

    def act(self, sop_class: UID, command: bytes, data_set: bytes) -> int | None:
        """Send a DIMSE-N request that was encoded outside; return its status."""
        try:
            self._association.send(self._context(sop_class), command, data_set)
            self._flush()
            answer = bytearray()
            while isinstance(event := self._event(), Fragment):
                answer += event.data
                if event.is_last or len(answer) > _LIMITS.pdu_length_bytes_max:
                    return _status_in(bytes(answer))
        except LeadglassError:
            self._association.abort()
        return None

    def _single(
        self, sop_class: UID, command: Message, data_set: bytes | None = None
    ) -> int | None:
        try:
            self._send(sop_class, command, data_set)
            for part in self._parts():
                if isinstance(part, Command):
                    status = getattr(part.message, "status", None)
                    if not _is_pending(status):
                        return status
        except LeadglassError:
            self._association.abort()
        return None

    def _cancel(self, sop_class: UID, number: int) -> None:
        cancel = CCancelRQ(responds_to=number)
        self._association.send(self._context(sop_class), cancel.encode())
        self._flush()

    # --- bytes ----------------------------------------------------------------

    def _next(self) -> int:
        self._id += 1
        return self._id

    def _context(self, sop_class: UID) -> int:
        for each in self._association.contexts.values():
            if each.abstract_syntax == sop_class:
                return each.id
        raise Refused("the peer takes no presentation context for that")

    def _send(self, sop_class: UID, command: Message, data_set: bytes | None) -> None:
        if self._association.state is not State.ESTABLISHED:
            raise Refused("there is no association")
        self._association.send(self._context(sop_class), command.encode(), data_set)
        self._flush()

    def _parts(self) -> Iterator[Command | DataSetBytes]:
        while isinstance(event := self._event(), Fragment):
            part = self._messages.take(event)
            if part is not None:
                yield part

    def _event(self) -> Event | None:
        while not self._pending:
            if self._association.state is State.CLOSED:
                return None
            data = self._wire.read()
            if not data:
                self._association.lost()
                return None
            self._association.receive(data)
            # A fragment's view ends with the next bytes, so it is copied.
            self._pending = [
                each._replace(data=memoryview(bytes(each.data)))
                if isinstance(each, Fragment)
                else each
                for each in self._association.events()
            ]
        return self._pending.pop(0)

    def _flush(self) -> None:
        self._wire.send(self._association.outbox())

    def end(self) -> None:
        """Release the association if there is one, and close the connection."""
        try:
            if self._association.state is State.ESTABLISHED:
                self._association.release()
                self._flush()
                while (event := self._event()) is not None:
                    if isinstance(event, Released):
                        break
            else:
                self._association.abort()
                self._flush()
        except (LeadglassError, RuntimeError):
            # It was going anyway; there is nothing more to be polite about.
            pass
        finally:
            self._wire.close()


def knock(
    line: Line, port: int, asking: Asking, tls: ssl.SSLContext | None = None
) -> Knock:
    """Ask for an association, release it, and tell what became of it."""
    talk = talk_to(line, port, asking, tls)
    if isinstance(talk, Knock):
        return talk
    with talk:
        return talk.knock


def talk_to(
    line: Line, port: int, asking: Asking, tls: ssl.SSLContext | None = None
) -> "Talk | Knock":
    """Return an association that may not be one; a ``Knock`` if nobody is there."""
    try:
        wire = line.dial(port, tls)
    except Unavailable:
        return Knock(Door.CLOSED, asking.called, asking.calling)
    except Refused:
        return Knock(Door.NO_TLS, asking.called, asking.calling)
    return Talk(wire, asking)


def _is_pending(status: int | None) -> bool:
    return status is not None and category(status) is Category.PENDING


def _status_in(command: bytes) -> int | None:
    """Return (0000,0900) of a command set that ``wire`` has no message for."""
    at = command.find(_TAG_STATUS)
    if at < 0 or at + _STATUS.size > len(command):
        return None
    status: int = _STATUS.unpack_from(command, at)[3]
    return status


_TAG_STATUS: Final = struct.pack("<HHI", 0x0000, 0x0900, 2)


Value = str | tuple[DataSet, ...]


def data_set(*values: tuple[int, str, Value]) -> DataSet:
    """Return a data set of (tag, VR, text or items)."""
    made = DataSet()
    for tag, vr, value in values:
        if isinstance(value, str):
            made.set(tag, vr, pad(vr, value.encode("ascii")))
        else:
            made.set(tag, vr, value)
    return made


def encoded(*values: tuple[int, str, Value]) -> bytes:
    """Return an identifier as it goes on the wire."""
    return data_set(*values).encode(SYNTAX)


REJECTED_FOR: Final = MappingProxyType(
    {
        RejectReason.CALLED_AE_TITLE_NOT_RECOGNIZED: "called title not known",
        RejectReason.CALLING_AE_TITLE_NOT_RECOGNIZED: "calling title not known",
    }
)
STORED: Final = SUCCESS
