"""One DICOM association as a value: bytes in, events out (PS3.8 §9).

No socket, thread or clock lives here. The shell that owns the socket does::

    n = socket.recv_into(association.space())
    if association.filled(n):                   # or receive(data)
        for event in association.events():
            ...                                 # decide, then accept(), send() ...
        socket.sendall(association.outbox())

HOT: data set bytes are written once, by ``recv_into``, and are handed on as
views of the inbox. A PDU is handed on whole, so the inbox holds one PDU of the
length we announced and some read-ahead; a longer one is refused at its sixth
byte.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from struct import Struct
from types import MappingProxyType
from typing import Final, NamedTuple

from leadglass.dicom.uids import UID
from leadglass.errors import PeerError
from leadglass.wire.fragments import Fragmenter, encode_pdus, sent_pdu_length
from leadglass.wire.negotiation import Context, agreed
from leadglass.wire.pdus import (
    APPLICATION_CONTEXT,
    HEADER,
    PROTOCOL_VERSION,
    Abort,
    AbortReason,
    AbortSource,
    AssociateAC,
    AssociateRJ,
    AssociateRQ,
    PDUType,
    RejectReason,
    RejectResult,
    ReleaseRP,
    ReleaseRQ,
)
from leadglass.wire.states import (
    NEXT,
    TIMERS,
    TRANSITIONS,
    Action,
    State,
    Timer,
    Trigger,
)

# Announced by default: what DCMTK can send at most, and 5 PDUs for a CT slice.
PDU_LENGTH_BYTES_MAX: Final = 128 * 1024
# 128 contexts with eight transfer syntaxes each are 32 KiB; a SAML assertion or
# a token may come on top of that.
ASSOCIATE_LENGTH_BYTES_MAX: Final = 256 * 1024
# Read at once when no PDU is begun. One that it leaves incomplete is completed by
# a read of its own, so that no byte is ever moved to make room.
READ_AHEAD_BYTES: Final = 256 * 1024
# Before a peer is accepted, it has this much of our memory, unless its request
# is longer and within limits.
INBOX_BYTES_MIN: Final = 16 * 1024
CONTROL_LENGTH_BYTES: Final = 4  # A-ASSOCIATE-RJ, A-RELEASE-*, A-ABORT

_PDV = Struct(">IBB")  # length, context ID, control header: PS3.8 §9.3.5.1
# A PDU and its one PDV: type, length, length of the PDV, context ID, control header.
_ONE_PDV = Struct(">BxIIBB")
_P_DATA: Final = int(PDUType.P_DATA_TF)

_RECEIVED: Final = {
    PDUType.ASSOCIATE_RQ: Trigger.RQ_RECEIVED,
    PDUType.ASSOCIATE_AC: Trigger.AC_RECEIVED,
    PDUType.ASSOCIATE_RJ: Trigger.RJ_RECEIVED,
    PDUType.P_DATA_TF: Trigger.DATA_RECEIVED,
    PDUType.RELEASE_RQ: Trigger.RELEASE_RQ_RECEIVED,
    PDUType.RELEASE_RP: Trigger.RELEASE_RP_RECEIVED,
    PDUType.ABORT: Trigger.ABORT_RECEIVED,
}
_BAD_VALUE: Final = AbortReason.INVALID_PARAMETER_VALUE
_ABORTING: Final = frozenset({Action.AA_1, Action.AA_7, Action.AA_8})


@dataclass(frozen=True, slots=True)
class Limits:
    """What one association may take from us.

    ``pdu_length_bytes_max`` must be what is announced to the peer. A peer that
    announces 0 or more than we send gets ``fragments.SENT_PDU_LENGTH_BYTES_MAX``.
    """

    pdu_length_bytes_max: int = PDU_LENGTH_BYTES_MAX
    associate_length_bytes_max: int = ASSOCIATE_LENGTH_BYTES_MAX
    read_ahead_bytes: int = READ_AHEAD_BYTES

    def __post_init__(self) -> None:
        # 4 KiB is the least that DCMTK sends; 4 MiB keeps the inbox a buffer.
        if not 4096 <= self.pdu_length_bytes_max <= 4 * 1024 * 1024:
            raise ValueError("PDU length must be 4 KiB to 4 MiB")
        if self.associate_length_bytes_max < 4096 or self.read_ahead_bytes < 4096:
            raise ValueError("limit below 4 KiB leaves nothing to work with")


@dataclass(frozen=True, slots=True)
class Requested:
    """The peer asks for an association; ``accept()`` or ``reject()`` must follow."""

    request: AssociateRQ


@dataclass(frozen=True, slots=True)
class Accepted:
    """Our request was accepted; see ``Association.contexts`` for what came of it."""

    accept: AssociateAC


@dataclass(frozen=True, slots=True)
class Rejected:
    """Our request was rejected; the connection is to be closed."""

    reject: AssociateRJ


class Fragment(NamedTuple):
    """Part of a command or data set, in the order sent (PS3.8 Annex E).

    ``data`` is valid until the next ``space()`` or ``receive()``. A tuple, since
    a frozen dataclass takes three times as long to make, for every PDU.
    """

    context_id: int
    is_command: bool
    is_last: bool
    data: memoryview


@dataclass(frozen=True, slots=True)
class ReleaseRequested:
    """The peer is done; answer with ``release()`` when we are."""


@dataclass(frozen=True, slots=True)
class Released:
    """The peer agreed to the release."""


@dataclass(frozen=True, slots=True)
class Aborted:
    """There is no association any more, without farewell."""

    source: AbortSource
    reason: AbortReason


Event = (
    Requested | Accepted | Rejected | Fragment | ReleaseRequested | Released | Aborted
)


class _Invalid(PeerError):
    """What PS3.8 calls an unrecognized, unexpected or invalid PDU."""

    def __init__(self, text: str, reason: AbortReason) -> None:
        super().__init__(text)
        self.reason = reason


class _Unacceptable(PeerError):
    """A request that the service provider itself rejects (AE-6)."""

    def __init__(self, text: str, reason: RejectReason) -> None:
        super().__init__(text)
        self.reason = reason


class Association:
    """One association, either side of it.

    Attributes:
        state: Where it stands; when ``State.CLOSED`` the shell sends the outbox
            and closes the connection.
        contexts: What was agreed, by ID; empty before.
        request: What was asked for, once known.
    """

    def __init__(self, limits: Limits, *, is_requestor: bool) -> None:
        self.state = State.CLOSED
        self.contexts: Mapping[int, Context] = MappingProxyType({})
        self.request: AssociateRQ | None = None
        self._is_requestor = is_requestor
        self._limits = limits
        self._data_length_max = limits.pdu_length_bytes_max
        self._length_max: dict[int, int] = {
            PDUType.ASSOCIATE_RQ: limits.associate_length_bytes_max,
            PDUType.ASSOCIATE_AC: limits.associate_length_bytes_max,
            PDUType.ASSOCIATE_RJ: CONTROL_LENGTH_BYTES,
            PDUType.P_DATA_TF: limits.pdu_length_bytes_max,
            PDUType.RELEASE_RQ: CONTROL_LENGTH_BYTES,
            PDUType.RELEASE_RP: CONTROL_LENGTH_BYTES,
            PDUType.ABORT: CONTROL_LENGTH_BYTES,
        }
        self._view = memoryview(bytearray(INBOX_BYTES_MIN))
        self._read_bytes = INBOX_BYTES_MIN
        self._start = self._end = 0  # what of it is not read yet
        self._need = HEADER.size  # of the PDU that begins at _start
        self._outbox = bytearray()
        self._takes_data = False  # Sta6 and Sta7, where P-DATA-TF is welcome
        self._is_deaf = False  # nothing more can, or need, be understood
        self._is_release_agreed = False  # release() was called in Sta10
        self._sent_pdu_length = 0
        self._fragmenter: Fragmenter | None = None

    @classmethod
    def acceptor(cls, limits: Limits = Limits()) -> "Association":
        """Return the side that was connected to."""
        association = cls(limits, is_requestor=False)
        association._apply(Trigger.INCOMING_CONNECTION)
        return association

    @classmethod
    def requestor(
        cls,
        request: AssociateRQ,
        limits: Limits = Limits(),
    ) -> "Association":
        """Return the side that has connected; its request is in the outbox.

        Raises:
            ValueError: The request announces another PDU length than the limits.
        """
        if request.user.pdu_length_bytes_max != limits.pdu_length_bytes_max:
            raise ValueError("request must announce the PDU length of the limits")
        association = cls(limits, is_requestor=True)
        association.request = request
        association._apply(Trigger.REQUEST)
        association._apply(Trigger.CONNECTED)
        association._outbox += request.encode()
        return association

    # --- bytes in -------------------------------------------------------------

    def space(self) -> memoryview:
        """Return where the peer's next bytes go; never empty. Then ``filled()``.

        Views that earlier fragments hold are invalid from here on.
        """
        start, held = self._start, self._end - self._start
        if held < HEADER.size:  # at most five bytes to move
            self._need = HEADER.size
            if held:
                self._make_room(len(self._view))
            else:
                self._start = self._end = 0
            return self._view[self._end : self._read_bytes]
        need = HEADER.size + HEADER.unpack_from(self._view, start)[1]
        if need != self._need or need <= held:
            raise RuntimeError("events() were not read to their end")
        if start + need > len(self._view):
            self._make_room(max(need, len(self._view)))
        return self._view[self._end : self._start + need]

    def filled(self, count: int) -> bool:
        """Take the first bytes of the last ``space()`` as received.

        Returns:
            Whether ``events()`` is worth a look: not while a PDU is incomplete
            (under TLS, a PDU of 128 KiB arrives in eight pieces).
        """
        self._end += count
        return self._end - self._start >= self._need

    def receive(self, data: bytes | memoryview) -> None:
        """Take bytes by copying them; ``space()`` and ``filled()`` do without."""
        if len(data) > len(self._view) - self._end:
            self._make_room(max(self._end - self._start + len(data), len(self._view)))
        self._view[self._end : self._end + len(data)] = data
        self._end += len(data)

    def _make_room(self, capacity: int) -> None:
        """Bring what is not read to the front of an inbox of that many bytes."""
        held = self._end - self._start
        source, target = self._view, self._view
        capacity = max(capacity, held)
        if capacity != len(source):
            target = memoryview(bytearray(capacity))
        target[:held] = source[self._start : self._end]
        self._view = target
        self._start, self._end = 0, held

    # --- events out -----------------------------------------------------------

    def events(self) -> Iterator[Event]:
        """Yield what the bytes so far mean; stop when more are needed.

        Read it to its end before the next ``space()`` or ``receive()``.

        Raises:
            PeerError: The peer broke the protocol or a limit. What it must be told
                is in the outbox: send that and close the connection.
        """
        try:
            while True:
                start = self._start
                if self._takes_data and self._end - start >= _ONE_PDV.size:
                    kind, length, pdv_length, context_id, control = (
                        _ONE_PDV.unpack_from(self._view, start)
                    )
                    stop = start + HEADER.size + length
                    # HOT: nearly every PDU is data, all there, and one PDV fills it.
                    # Whatever is not exactly that is judged below.
                    if (
                        kind == _P_DATA
                        and pdv_length == length - 4 >= 2
                        and length <= self._data_length_max
                        and stop <= self._end
                        and context_id in self.contexts
                    ):
                        self._start = stop
                        data = self._view[start + _ONE_PDV.size : stop]
                        yield Fragment(
                            context_id, control & 1 == 1, control & 2 == 2, data
                        )
                        continue
                header = self._next_header()
                if header is None:
                    return
                kind, at, stop = header
                if kind == _P_DATA and self._takes_data:
                    yield from self._fragments(at, stop)
                elif (event := self._read(PDUType(kind), at, stop)) is not None:
                    yield event
        except PeerError as error:
            self._fail(error)

    def _fragments(self, at: int, stop: int) -> Iterator[Fragment]:
        while at < stop and self._takes_data:  # until we abort
            if stop - at < _PDV.size:
                raise _Invalid("PDV is cut short", _BAD_VALUE)
            length, context_id, control = _PDV.unpack_from(self._view, at)
            end = at + 4 + length
            if length < 2 or end > stop:
                raise _Invalid("PDV overruns its PDU", _BAD_VALUE)
            if context_id not in self.contexts:
                raise _Invalid("PDV of a context not accepted", _BAD_VALUE)
            data = self._view[at + _PDV.size : end]
            at = end
            # PS3.8 §E.2: the other bits "shall not be tested".
            yield Fragment(context_id, control & 1 == 1, control & 2 == 2, data)

    def _next_header(self) -> tuple[int, int, int] | None:
        """Return type, begin and end of the next PDU's body; None: not all there.

        Raises:
            _Invalid: It is judged by its header alone; no byte more is awaited.
        """
        if self._is_deaf or self.state is State.CLOSED:
            self._stop_listening()
            return None
        start = self._start
        held = self._end - start
        self._need = HEADER.size
        if held < HEADER.size:
            return None
        kind, length = HEADER.unpack_from(self._view, start)
        if kind == _P_DATA and self._takes_data:
            if not 0 < length <= self._data_length_max:
                raise _Invalid(f"P-DATA-TF of {length} bytes", _BAD_VALUE)
        else:
            self._judge(kind, length)
        need = self._need = HEADER.size + length
        if held < need:
            return None
        self._start = stop = start + need
        return kind, start + HEADER.size, stop

    def _judge(self, kind: int, length: int) -> None:
        length_max = self._length_max.get(kind)
        if length_max is None:
            raise _Invalid("unknown PDU type", AbortReason.UNRECOGNIZED_PDU)
        received = PDUType(kind)
        action = TRANSITIONS[_RECEIVED[received], self.state]
        if action in _ABORTING:
            raise _Invalid(
                f"{received.name} when {self.state.name}", AbortReason.UNEXPECTED_PDU
            )
        if length > length_max:
            raise _Invalid(
                f"{received.name} of {length} bytes, at most {length_max}", _BAD_VALUE
            )

    def _read(self, kind: PDUType, at: int, stop: int) -> Event | None:
        """Do what the table says for a PDU other than welcome data."""
        action = TRANSITIONS[_RECEIVED[kind], self.state]
        body = self._view[at:stop]
        event: Event | None = None
        if action is Action.AE_6:
            event = self._requested(AssociateRQ.decode(body))
        elif action is Action.AE_3:
            event = self._accepted(AssociateAC.decode(body))
        elif action is Action.AE_4:
            event = Rejected(AssociateRJ.decode(body))
        elif action in {Action.AR_2, Action.AR_8}:
            event = ReleaseRequested()
        elif action in {Action.AR_3, Action.AR_10}:
            event = Released()
        elif action is Action.AA_3:
            abort = Abort.decode(body)
            event = Aborted(abort.source, abort.reason)
        self._apply(_RECEIVED[kind])
        if action is Action.AR_10 and self._is_release_agreed:
            self.release()
        return event

    def _requested(self, request: AssociateRQ) -> Requested:
        if not request.protocol_version & PROTOCOL_VERSION:
            raise _Unacceptable(
                "no common protocol version",
                RejectReason.PROTOCOL_VERSION_NOT_SUPPORTED,
            )
        if request.application_context != APPLICATION_CONTEXT:
            raise _Unacceptable(
                "application context is not DICOM's",
                RejectReason.APPLICATION_CONTEXT_NOT_SUPPORTED,
            )
        self._sent_pdu_length = sent_pdu_length(request.user.pdu_length_bytes_max)
        self.request = request
        return Requested(request)

    def _accepted(self, accept: AssociateAC) -> Accepted:
        assert self.request is not None  # a requestor is born with it
        self._sent_pdu_length = sent_pdu_length(accept.user.pdu_length_bytes_max)
        self._establish(accept)
        return Accepted(accept)

    def _fail(self, error: PeerError) -> None:
        """Tell the peer what it did (AE-6's rejection, AA-1, AA-7, AA-8)."""
        if isinstance(error, _Unacceptable):
            self._enter(State.AWAITING_CLOSE)
            self._outbox += AssociateRJ(RejectResult.PERMANENT, error.reason).encode()
            raise PeerError(str(error)) from None
        reason = error.reason if isinstance(error, _Invalid) else _BAD_VALUE
        action = self._apply(Trigger.INVALID_RECEIVED)
        self._stop_listening()  # where the next PDU would begin is not known any more
        if action is Action.AA_1:
            self._outbox += Abort(AbortSource.SERVICE_USER).encode()
        else:
            self._outbox += Abort(AbortSource.SERVICE_PROVIDER, reason).encode()
        if action is not Action.AA_7:  # after the end, nobody needs to hear of it
            raise PeerError(str(error)) from None

    # --- what we do -----------------------------------------------------------

    def accept(self, accept: AssociateAC) -> None:
        """Accept the request; usually with what ``negotiate`` returned.

        Raises:
            ValueError: It announces another PDU length than the limits.
        """
        if accept.user.pdu_length_bytes_max != self._limits.pdu_length_bytes_max:
            raise ValueError("answer must announce the PDU length of the limits")
        self._apply(Trigger.ACCEPT)
        self._establish(accept)
        self._outbox += accept.encode()

    def reject(
        self,
        reason: RejectReason = RejectReason.NO_REASON,
        result: RejectResult = RejectResult.PERMANENT,
    ) -> None:
        """Refuse the request; by default without telling why."""
        self._apply(Trigger.REJECT)
        self._outbox += AssociateRJ(result, reason).encode()

    def send(
        self,
        context_id: int,
        command: bytes,
        data_set: bytes | memoryview | None = None,
    ) -> None:
        """Put a message into the outbox; for what is small (responses, queries)."""
        self._check_sending(context_id)
        length = self._sent_pdu_length
        self._outbox += encode_pdus(context_id, command, length, is_command=True)
        if data_set is not None:
            self._outbox += encode_pdus(context_id, data_set, length, is_command=False)

    def stream(
        self, context_id: int, command: bytes, chunks: Iterable[bytes | memoryview]
    ) -> Iterator[bytes | memoryview]:
        """Yield, after what the outbox holds, the write buffers of a large message.

        HOT. Each buffer is valid until the next; write them all, and nothing in
        between: messages do not interleave (PS3.7 §6.3.1).
        """
        self._check_sending(context_id)
        if self._fragmenter is None:
            self._fragmenter = Fragmenter(self._sent_pdu_length)
        return self._stream(self._fragmenter.stream(context_id, command, chunks))

    def _stream(
        self, buffers: Iterator[bytes | memoryview]
    ) -> Iterator[bytes | memoryview]:
        if self._outbox:
            yield self.outbox()
        yield from buffers

    def release(self) -> None:
        """Ask to end the association, or agree when the peer asked (A-RELEASE)."""
        if self.state is State.ESTABLISHED:
            self._apply(Trigger.RELEASE)
            self._outbox += ReleaseRQ().encode()
        elif self.state is State.COLLISION_ACCEPTOR_AWAITING:
            # Both asked: the requestor answers first (PS3.8 §9.2.2), we then.
            self._is_release_agreed = True
        else:
            self._apply(Trigger.RELEASE_RESPONSE)
            self._outbox += ReleaseRP().encode()

    def abort(self) -> None:
        """End the association at once (A-ABORT, service user); harmless when ended.

        A user's reason has no meaning (PS3.8 Table 9-26), so there is none.
        """
        if self.state is State.AWAITING_REQUEST:
            self._enter(State.CLOSED)  # there is nothing to abort yet
        elif (Trigger.ABORT, self.state) in TRANSITIONS:
            self._apply(Trigger.ABORT)
            self._stop_listening()  # also to what the inbox holds
            self._outbox += Abort(AbortSource.SERVICE_USER).encode()

    def timed_out(self) -> None:
        """The timer that ``timer()`` named has run out."""
        if self.timer() is Timer.ARTIM:
            self._apply(Trigger.ARTIM_EXPIRED)
        else:
            self.abort()

    def lost(self) -> Aborted | None:
        """The connection was closed or broke; say whether that was an abort."""
        if self.state is State.CLOSED:
            return None
        if self._apply(Trigger.CONNECTION_LOST) is Action.AA_4:
            return Aborted(AbortSource.SERVICE_PROVIDER, AbortReason.NOT_SPECIFIED)
        return None

    # --- what the shell asks ----------------------------------------------------

    def outbox(self) -> bytes:
        """Return, once, the bytes that must go to the peer."""
        data = bytes(self._outbox)
        self._outbox.clear()
        return data

    @property
    def outbox_bytes(self) -> int:
        """How much waits in the outbox: many small responses share one write."""
        return len(self._outbox)

    @property
    def has_unread(self) -> bool:
        """Whether a whole PDU is here that ``events()`` has not come to yet."""
        start = self._start
        held = self._end - start
        if held < HEADER.size:
            return False
        length: int = HEADER.unpack_from(self._view, start)[1]
        return held >= HEADER.size + length

    def timer(self) -> Timer | None:
        """Return the timer that should run now, restarted at each received byte.

        ARTIM, though, runs on from when the state was entered (PS3.8 §9.1.5).
        """
        return TIMERS[self.state]

    def find(
        self, abstract_syntax: UID, transfer_syntax: UID | None = None
    ) -> Context | None:
        """Return a context over which we may send such requests, or None."""
        for context in self.contexts.values():
            if (
                context.abstract_syntax == abstract_syntax
                and context.is_scu
                and transfer_syntax in {None, context.transfer_syntax}
            ):
                return context
        return None

    # --- the table ----------------------------------------------------------------

    def _apply(self, trigger: Trigger) -> Action:
        action = TRANSITIONS.get((trigger, self.state))
        if action is None:
            raise RuntimeError(f"{trigger.name} when {self.state.name}")
        if action is Action.AR_8 and self._is_requestor:
            self._enter(State.COLLISION_REQUESTOR_RELEASING)
        else:
            self._enter(NEXT[action])
        return action

    def _enter(self, state: State) -> None:
        self.state = state
        self._takes_data = state in {State.ESTABLISHED, State.AWAITING_RELEASE}

    def _stop_listening(self) -> None:
        """Drop what the inbox holds and whatever still comes."""
        self._is_deaf = True
        self._start = self._end

    def _establish(self, accept: AssociateAC) -> None:
        assert self.request is not None  # Sta3 and Sta5 come after it
        self.contexts = agreed(self.request, accept, is_requestor=self._is_requestor)
        limits = self._limits
        # Whatever the read-ahead leaves incomplete begins within it and so fits.
        self._read_bytes = limits.read_ahead_bytes
        self._make_room(
            limits.read_ahead_bytes + HEADER.size + limits.pdu_length_bytes_max
        )

    def _check_sending(self, context_id: int) -> None:
        if context_id not in self.contexts:
            raise RuntimeError("context was not accepted")
        if self.state is not State.ESTABLISHED:
            self._apply(Trigger.SEND_DATA)
