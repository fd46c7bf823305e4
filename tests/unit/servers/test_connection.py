"""The socket round an association: slow, silent, flooding and lost peers."""

import select
import socket
from collections.abc import Callable

import pytest

from leadglass.dicom.sop_classes import STUDY_ROOT_FIND, VERIFICATION
from leadglass.errors import PeerError
from leadglass.servers.dimse.connection import LINGER_S, Connection, Timeouts
from leadglass.wire.association import (
    Aborted,
    Association,
    Event,
    Limits,
    Released,
    ReleaseRequested,
    Requested,
)
from leadglass.wire.dimse import (
    CCancelRQ,
    CEchoRQ,
    CFindRQ,
    Command,
    CStoreRQ,
    DataSetBytes,
)
from leadglass.wire.pdus import AbortSource, ReleaseRP
from leadglass.wire.states import State
from tests.unit.servers.rig import (
    RELEASE,
    WAIT_S,
    Clock,
    Remote,
    Running,
    asked,
    connected,
    establish,
    established,
    tcp_pair,
)
from tests.unit.wire.rig import CT, CT_ID, ECHO_ID, FIND_ID, INSTANCE

SHORT = Timeouts(artim_s=0.05, idle_s=0.05)
ECHO_RQ = CEchoRQ(message_id=1, affected_sop_class=VERIFICATION)
STORE_RQ = CStoreRQ(message_id=2, affected_sop_class=CT, affected_sop_instance=INSTANCE)
FIND_RQ = CFindRQ(message_id=3, affected_sop_class=STUDY_ROOT_FIND)


def state(connection: Connection) -> State:
    return connection.association.state


# --- deadlines ---------------------------------------------------------------


def test_who_asks_for_nothing_is_let_go_after_artim() -> None:
    timeouts = Timeouts(artim_s=0.05, idle_s=WAIT_S)
    with connected(timeouts=timeouts) as (connection, remote):
        assert connection.event() is None
        assert state(connection) is State.CLOSED
        connection.close()
        assert remote.sock.recv(100) == b""


def test_who_is_silent_is_aborted_after_the_idle_time() -> None:
    timeouts = Timeouts(artim_s=WAIT_S, idle_s=0.05)
    with established(timeouts=timeouts) as (connection, remote):
        assert connection.message() is None
        connection.close()
        remote.hear_all()
        assert [each.source for each in aborts(remote)] == [AbortSource.SERVICE_USER]


def aborts(remote: Remote) -> list[Aborted]:
    return [each for each in remote.events if isinstance(each, Aborted)]


def test_a_dripped_request_is_no_life() -> None:
    """Bytes come, the clock goes on, and the PDU is never whole."""
    with connected(clock=Clock(step_s=WAIT_S + 1)) as (connection, remote):
        remote.send(asked().encode()[:20])
        assert connection.event() is None
        assert state(connection) is State.CLOSED


def test_a_dripped_pdu_of_an_association_is_no_life() -> None:
    clock = Clock(step_s=0)
    with connected(clock=clock) as (connection, remote):
        establish(connection, remote)
        clock.step_s = WAIT_S + 1
        remote.send(b"\4\0\0\0\x10\0dripped")
        assert connection.message() is None
        remote.leave()
        connection.close()
        remote.hear_all()
        assert aborts(remote)


def test_a_clock_that_stands_lets_a_dripped_request_through() -> None:
    with connected(clock=Clock(step_s=0)) as (connection, remote):
        request = asked().encode()
        running = Running(connection.event)
        for at in range(0, len(request), 97):
            remote.send(request[at : at + 97])
        running.result()
        assert state(connection) is State.DECIDING


def test_pdus_that_mean_nothing_do_not_prolong_the_end() -> None:
    """After the release ARTIM runs on, whatever else is sent (PS3.8 §9.1.5)."""
    clock = Clock(step_s=0)
    with connected(clock=clock) as (connection, remote):
        establish(connection, remote)
        remote.send(RELEASE)
        assert isinstance(connection.message(), ReleaseRequested)
        connection.association.release()
        flood = ReleaseRP().encode() * 1000
        clock.step_s = WAIT_S / 3
        stopped = Running(lambda: read_to_end(connection))
        try:
            while stopped.is_alive():
                remote.send(flood)
        except OSError:
            pass
        stopped.result()
        assert state(connection) is State.CLOSED


def read_to_end(connection: Connection) -> None:
    try:
        while connection.event() is not None:
            pass
    finally:
        connection.close()


def test_who_floods_a_closing_connection_does_not_keep_its_thread() -> None:
    with connected(clock=Clock(step_s=LINGER_S / 3)) as (connection, remote):
        closing = Running(connection.close)
        try:
            while closing.is_alive():
                remote.send(bytes(65536))
        except OSError:
            pass
        closing.result()


def test_each_event_gives_the_whole_time_again() -> None:
    clock = Clock(step_s=0)
    with connected(clock=clock) as (connection, remote):
        establish(connection, remote)
        for _ in range(5):
            clock.now_s += WAIT_S - 1
            remote.say(ECHO_ID, ECHO_RQ)
            assert isinstance(connection.message(), Command)


# --- lost peers ----------------------------------------------------------------


def in_deciding(connection: Connection, remote: Remote) -> None:
    remote.flush()
    assert isinstance(connection.event(), Requested)


def in_data(connection: Connection, remote: Remote) -> None:
    establish(connection, remote)
    remote.say(CT_ID, STORE_RQ)  # and not a byte of its data set
    assert isinstance(connection.message(), Command)


def in_half_a_pdu(connection: Connection, remote: Remote) -> None:
    establish(connection, remote)
    remote.send(b"\4\0\0\0\x10\0half")


def in_our_release(connection: Connection, remote: Remote) -> None:
    establish(connection, remote)
    connection.association.release()
    connection.flush()


def in_its_release(connection: Connection, remote: Remote) -> None:
    establish(connection, remote)
    remote.send(RELEASE)
    assert isinstance(connection.event(), ReleaseRequested)


Begin = Callable[[Connection, Remote], None]
LIVE: list[Begin] = [
    in_deciding,
    establish,
    in_data,
    in_half_a_pdu,
    in_our_release,
    in_its_release,
]


@pytest.mark.parametrize("begin", LIVE)
def test_a_peer_that_is_lost_is_an_abort(begin: Begin) -> None:
    with connected() as (connection, remote):
        begin(connection, remote)
        remote.sock.close()
        assert isinstance(connection.event(), Aborted)
        assert connection.event() is None
        assert state(connection) is State.CLOSED
        connection.close()


@pytest.mark.parametrize("begin", LIVE)
def test_a_peer_that_resets_is_an_abort(begin: Begin) -> None:
    with connected() as (connection, remote):
        begin(connection, remote)
        reset = b"\1\0\0\0\0\0\0\0"  # SO_LINGER of no time: RST
        remote.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        remote.sock.close()
        assert isinstance(connection.event(), Aborted)
        assert connection.event() is None
        connection.close()


@pytest.mark.parametrize("begin", LIVE)
def test_an_interrupt_ends_the_wait_of_another_thread(begin: Begin) -> None:
    with connected() as (connection, remote):
        begin(connection, remote)
        heard: list[Event | None] = []
        waiting = Running(lambda: heard.append(connection.event()))
        connection.interrupt()
        waiting.result()
        assert isinstance(heard[0], Aborted)
        connection.close()
        connection.interrupt()  # harmless afterwards


def test_a_peer_that_leaves_before_its_request_is_no_event() -> None:
    with connected() as (connection, remote):
        remote.sock.close()
        assert connection.event() is None
        assert state(connection) is State.CLOSED
        connection.close()


def test_a_peer_that_leaves_after_the_release_is_no_event() -> None:
    with connected() as (connection, remote):
        in_its_release(connection, remote)
        connection.association.release()
        remote.leave()
        assert connection.event() is None
        assert any(isinstance(each, Released) for each in heard_by(remote, connection))


def heard_by(remote: Remote, connection: Connection) -> list[Event]:
    connection.close()
    remote.association.release()  # the core expects the answer that it then hears
    remote.association.outbox()
    remote.hear_all()
    return remote.events


def test_close_aborts_what_is_not_over() -> None:
    with established() as (connection, remote):
        remote.leave()
        connection.close()
        remote.hear_all()
        assert aborts(remote)


def test_a_peer_that_is_gone_is_noticed_while_it_is_sent_to() -> None:
    with established() as (connection, remote):
        remote.sock.close()
        chunks = (bytes(1 << 20) for _ in range(64))
        with pytest.raises(PeerError, match="went away"):
            connection.stream(CT_ID, STORE_RQ.encode(), chunks)
        connection.close()


def test_a_peer_that_does_not_read_is_let_go() -> None:
    with established(timeouts=SHORT) as (connection, remote):
        chunks = (bytes(1 << 20) for _ in range(64))
        with pytest.raises(PeerError, match="went away"):
            connection.stream(CT_ID, STORE_RQ.encode(), chunks)
        connection.interrupt()
        connection.close()
        assert remote.sock.recv(1)


# --- protocol ------------------------------------------------------------------


def test_a_peer_that_breaks_the_protocol_is_told() -> None:
    with connected() as (connection, remote):
        remote.send(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(PeerError):
            connection.event()
        assert connection.event() is None
        remote.leave()
        connection.close()
        assert remote.sock.recv(100)[0] == 7  # A-ABORT


def test_messages_that_make_no_sense_end_the_association() -> None:
    with established() as (connection, remote):
        remote.say(CT_ID, STORE_RQ)
        remote.say(CT_ID, STORE_RQ)
        assert isinstance(connection.message(), Command)
        with pytest.raises(PeerError):
            connection.message()
        remote.leave()
        connection.close()
        remote.hear_all()
        assert [each.source for each in aborts(remote)] == [AbortSource.SERVICE_USER]


@pytest.mark.parametrize("pdu_length", [4096, 16 * 1024, 256 * 1024])
def test_large_streams_come_through_whole(pdu_length: int) -> None:
    limits = Limits(pdu_length_bytes_max=pdu_length)
    data = bytes(range(256)) * 20_000  # 5 MB
    with established(limits=limits) as (connection, remote):

        def send() -> None:
            parts = (data[at : at + 99_991] for at in range(0, len(data), 99_991))
            buffers = remote.association.stream(CT_ID, STORE_RQ.encode(), parts)
            for buffer in buffers:
                remote.sock.sendall(buffer)

        sending = Running(send)
        command = connection.message()
        assert isinstance(command, Command)
        assert command.message == STORE_RQ
        received = bytearray()
        while isinstance(part := connection.message(), DataSetBytes):
            received += part.data
            if part.is_last:
                break
        sending.result()
        assert received == data

        answered = Running(
            lambda: connection.stream(CT_ID, STORE_RQ.encode(), iter([data]))
        )
        message, echoed = remote.hear()
        answered.result()
        assert (message, echoed) == (STORE_RQ, data)


# --- what the server asks -------------------------------------------------------


def test_idle_is_between_messages_only() -> None:
    with established() as (connection, remote):
        assert connection.is_idle
        remote.say(ECHO_ID, ECHO_RQ)
        connection.message()
        assert connection.is_idle
        connection.is_busy = True
        assert not connection.is_idle
        connection.is_busy = False
        remote.say(CT_ID, STORE_RQ, b"12")
        connection.message()
        assert not connection.is_idle  # its data set is still to come
        connection.message()
        assert connection.is_idle


def test_news_is_known_without_waiting() -> None:
    with established() as (connection, remote):
        assert not connection.has_news()
        remote.say(FIND_ID, CCancelRQ(responds_to=1))
        select.select([connection._socket], [], [], WAIT_S)
        assert connection.has_news()


def test_news_that_came_with_the_request_is_known() -> None:
    """A cancel may share a segment with what it cancels, and so be read already."""
    with established() as (connection, remote):
        remote.association.send(FIND_ID, FIND_RQ.encode(), b"")
        remote.association.send(FIND_ID, CCancelRQ(responds_to=3).encode())
        remote.flush()
        assert isinstance(connection.message(), Command)
        assert isinstance(connection.message(), DataSetBytes)
        assert connection.has_news()
        cancel = connection.message()
        assert isinstance(cancel, Command)
        assert cancel.message == CCancelRQ(responds_to=3)
        assert not connection.has_news()


def test_a_requestor_waits_in_the_same_way() -> None:
    one, other = tcp_pair()
    with one, other:
        connection = Connection(one, Association.requestor(asked(), limits()), SHORT)
        assert isinstance(connection.event(), Aborted | None)
        connection.close()
        assert other.recv(1) == b"\1"  # its request had left


def limits() -> Limits:
    return Limits(pdu_length_bytes_max=asked().user.pdu_length_bytes_max)
