"""The table of states, against the table of another implementation."""

from pynetdicom.fsm import TRANSITION_TABLE

from leadglass.wire.states import (
    NEXT,
    TIMERS,
    TRANSITIONS,
    Action,
    State,
    Timer,
    Trigger,
)


def test_the_table_is_the_one_that_pynetdicom_reads_in_the_standard() -> None:
    ours = {
        (f"Evt{trigger.value}", f"Sta{state.value}"): action.name.replace("_", "-")
        for (trigger, state), action in TRANSITIONS.items()
    }
    assert ours == TRANSITION_TABLE


def test_every_pdu_has_an_action_in_every_state_with_a_connection() -> None:
    received = [
        trigger
        for trigger in Trigger
        if trigger.name.endswith("RECEIVED") or trigger is Trigger.CONNECTION_LOST
    ]
    states = set(State) - {State.CLOSED, State.CONNECTING}
    assert {(t, s) for t in received for s in states} <= TRANSITIONS.keys()


def test_every_action_leads_somewhere() -> None:
    assert NEXT.keys() == set(Action)
    assert set(TRANSITIONS.values()) == set(Action)


def test_artim_runs_where_the_standard_says() -> None:
    artim = {state for state, timer in TIMERS.items() if timer is Timer.ARTIM}
    assert artim == {State.AWAITING_REQUEST, State.AWAITING_CLOSE}
    assert TIMERS.keys() == set(State)
