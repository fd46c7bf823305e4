"""The state machine of the upper layer: PS3.8 Table 9-10 as data (§9.2).

A pair of trigger and state that is missing from ``TRANSITIONS`` cannot be
caused by a peer, only by a mistake of ours. Where to look for what is allowed
is this table, not the code around it.
"""

from collections.abc import Iterable, Mapping
from enum import Enum, IntEnum, auto
from types import MappingProxyType
from typing import Final


class State(IntEnum):
    """Where an association stands; the numbers are those of PS3.8 §9.2.1."""

    CLOSED = 1  # Sta1: idle; the connection is to be closed, or is gone
    AWAITING_REQUEST = 2  # Sta2
    DECIDING = 3  # Sta3: accept() or reject() must follow
    CONNECTING = 4  # Sta4
    AWAITING_ANSWER = 5  # Sta5
    ESTABLISHED = 6  # Sta6
    AWAITING_RELEASE = 7  # Sta7
    RELEASING = 8  # Sta8: release() must follow
    COLLISION_REQUESTOR_RELEASING = 9  # Sta9: both asked; release() must follow
    COLLISION_ACCEPTOR_AWAITING = 10  # Sta10: both asked; the peer answers first
    COLLISION_REQUESTOR_AWAITING = 11  # Sta11
    COLLISION_ACCEPTOR_RELEASING = 12  # Sta12
    AWAITING_CLOSE = 13  # Sta13: all is said; the peer should close


class Trigger(IntEnum):
    """What moves it: the event numbers of PS3.8 Table 9-10."""

    REQUEST = 1
    CONNECTED = 2
    AC_RECEIVED = 3
    RJ_RECEIVED = 4
    INCOMING_CONNECTION = 5
    RQ_RECEIVED = 6
    ACCEPT = 7
    REJECT = 8
    SEND_DATA = 9
    DATA_RECEIVED = 10
    RELEASE = 11
    RELEASE_RQ_RECEIVED = 12
    RELEASE_RP_RECEIVED = 13
    RELEASE_RESPONSE = 14
    ABORT = 15
    ABORT_RECEIVED = 16
    CONNECTION_LOST = 17
    ARTIM_EXPIRED = 18
    INVALID_RECEIVED = 19


class Action(Enum):
    """What is done on the way: PS3.8 Tables 9-6 to 9-9."""

    AE_1 = auto()  # connect
    AE_2 = auto()  # send A-ASSOCIATE-RQ
    AE_3 = auto()  # tell that it is accepted
    AE_4 = auto()  # tell that it is rejected, close
    AE_5 = auto()  # start ARTIM
    AE_6 = auto()  # tell of the request, or reject it
    AE_7 = auto()  # send A-ASSOCIATE-AC
    AE_8 = auto()  # send A-ASSOCIATE-RJ, start ARTIM
    DT_1 = auto()  # send P-DATA-TF
    DT_2 = auto()  # tell the fragments
    AR_1 = auto()  # send A-RELEASE-RQ
    AR_2 = auto()  # tell that the peer asks for release
    AR_3 = auto()  # tell that it is released, close
    AR_4 = auto()  # send A-RELEASE-RP, start ARTIM
    AR_5 = auto()  # stop ARTIM
    AR_6 = auto()  # tell the fragments
    AR_7 = auto()  # send P-DATA-TF
    AR_8 = auto()  # tell that the peer asks for release (collision)
    AR_9 = auto()  # send A-RELEASE-RP
    AR_10 = auto()  # tell that it is released
    AA_1 = auto()  # send A-ABORT (service user), start ARTIM
    AA_2 = auto()  # stop ARTIM, close
    AA_3 = auto()  # tell that the peer aborted, close
    AA_4 = auto()  # tell that the connection broke
    AA_5 = auto()  # stop ARTIM
    AA_6 = auto()  # ignore
    AA_7 = auto()  # send A-ABORT
    AA_8 = auto()  # send A-ABORT (service provider), start ARTIM


# Where each action leads. Two depend on more than the table can say: AE_6 on
# whether the request is acceptable (else Sta13), AR_8 on the role (the
# requestor goes to Sta9).
NEXT: Final[Mapping[Action, State]] = MappingProxyType(
    {
        Action.AE_1: State.CONNECTING,
        Action.AE_2: State.AWAITING_ANSWER,
        Action.AE_3: State.ESTABLISHED,
        Action.AE_4: State.CLOSED,
        Action.AE_5: State.AWAITING_REQUEST,
        Action.AE_6: State.DECIDING,
        Action.AE_7: State.ESTABLISHED,
        Action.AE_8: State.AWAITING_CLOSE,
        Action.DT_1: State.ESTABLISHED,
        Action.DT_2: State.ESTABLISHED,
        Action.AR_1: State.AWAITING_RELEASE,
        Action.AR_2: State.RELEASING,
        Action.AR_3: State.CLOSED,
        Action.AR_4: State.AWAITING_CLOSE,
        Action.AR_5: State.CLOSED,
        Action.AR_6: State.AWAITING_RELEASE,
        Action.AR_7: State.RELEASING,
        Action.AR_8: State.COLLISION_ACCEPTOR_AWAITING,
        Action.AR_9: State.COLLISION_REQUESTOR_AWAITING,
        Action.AR_10: State.COLLISION_ACCEPTOR_RELEASING,
        Action.AA_1: State.AWAITING_CLOSE,
        Action.AA_2: State.CLOSED,
        Action.AA_3: State.CLOSED,
        Action.AA_4: State.CLOSED,
        Action.AA_5: State.CLOSED,
        Action.AA_6: State.AWAITING_CLOSE,
        Action.AA_7: State.AWAITING_CLOSE,
        Action.AA_8: State.AWAITING_CLOSE,
    }
)

# Sta3 and Sta5 to Sta12: an association exists or is being made.
_LIVE: Final = (3, *range(5, 13))


def _row(
    trigger: Trigger, *cells: tuple[Action, Iterable[int]]
) -> dict[tuple[Trigger, State], Action]:
    return {
        (trigger, State(state)): action for action, states in cells for state in states
    }


def _received(
    trigger: Trigger, expected: Mapping[int, Action], when_closing: Action
) -> dict[tuple[Trigger, State], Action]:
    """Return the row of a PDU: an error wherever it is not expected."""
    return _row(
        trigger,
        (Action.AA_1, (2,)),
        (Action.AA_8, _LIVE),
        (when_closing, (13,)),
    ) | _row(trigger, *((action, (state,)) for state, action in expected.items()))


TRANSITIONS: Final[Mapping[tuple[Trigger, State], Action]] = MappingProxyType(
    _row(Trigger.REQUEST, (Action.AE_1, (1,)))
    | _row(Trigger.CONNECTED, (Action.AE_2, (4,)))
    | _received(Trigger.AC_RECEIVED, {5: Action.AE_3}, Action.AA_6)
    | _received(Trigger.RJ_RECEIVED, {5: Action.AE_4}, Action.AA_6)
    | _row(Trigger.INCOMING_CONNECTION, (Action.AE_5, (1,)))
    | _received(Trigger.RQ_RECEIVED, {2: Action.AE_6}, Action.AA_7)
    | _row(Trigger.ACCEPT, (Action.AE_7, (3,)))
    | _row(Trigger.REJECT, (Action.AE_8, (3,)))
    | _row(Trigger.SEND_DATA, (Action.DT_1, (6,)), (Action.AR_7, (8,)))
    | _received(Trigger.DATA_RECEIVED, {6: Action.DT_2, 7: Action.AR_6}, Action.AA_6)
    | _row(Trigger.RELEASE, (Action.AR_1, (6,)))
    | _received(
        Trigger.RELEASE_RQ_RECEIVED, {6: Action.AR_2, 7: Action.AR_8}, Action.AA_6
    )
    | _received(
        Trigger.RELEASE_RP_RECEIVED,
        {7: Action.AR_3, 10: Action.AR_10, 11: Action.AR_3},
        Action.AA_6,
    )
    | _row(Trigger.RELEASE_RESPONSE, (Action.AR_4, (8, 12)), (Action.AR_9, (9,)))
    | _row(Trigger.ABORT, (Action.AA_1, _LIVE), (Action.AA_2, (4,)))
    | _row(Trigger.ABORT_RECEIVED, (Action.AA_2, (2, 13)), (Action.AA_3, _LIVE))
    | _row(
        Trigger.CONNECTION_LOST,
        (Action.AA_5, (2,)),
        (Action.AA_4, (4, *_LIVE)),
        (Action.AR_5, (13,)),
    )
    | _row(Trigger.ARTIM_EXPIRED, (Action.AA_2, (2, 13)))
    | _received(Trigger.INVALID_RECEIVED, {}, Action.AA_7)
)


class Timer(Enum):
    """Which clock the shell should run; the core has none."""

    ARTIM = auto()  # association request/reject/release timer, PS3.8 §9.1.5
    IDLE = auto()  # the peer owes us something, or might ask for something


# In Sta3, Sta8, Sta9 and Sta12 it is we who must act; no clock runs for the peer.
TIMERS: Final[Mapping[State, Timer | None]] = MappingProxyType(
    dict.fromkeys(State)
    | dict.fromkeys((State.AWAITING_REQUEST, State.AWAITING_CLOSE), Timer.ARTIM)
    | dict.fromkeys(
        (
            State.AWAITING_ANSWER,
            State.ESTABLISHED,
            State.AWAITING_RELEASE,
            State.COLLISION_ACCEPTOR_AWAITING,
            State.COLLISION_REQUESTOR_AWAITING,
        ),
        Timer.IDLE,
    )
)
