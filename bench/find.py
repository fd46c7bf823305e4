"""Time C-FIND: one client, one association, request to final response."""

import socket
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from bench import dcmtk
from bench.nodes import Node
from bench.process import LOOPBACK, BenchError
from bench.relay import client_context

# Several turns of pynetdicom's reactor, which sleeps for one millisecond in each.
REACTOR_TURN_S = 0.005
PENDING = {0xFF00, 0xFF01}


class Questioner:
    """A persistent association that asks for the studies of one patient."""

    def __init__(self, node: Node) -> None:
        ae = AE(ae_title=dcmtk.OWN_AE_TITLE)
        ae.add_requested_context(StudyRootQueryRetrieveInformationModelFind)
        # Idle while the other server is asked, or filled.
        ae.network_timeout = None
        tls = None
        if node.identity is not None:
            tls = (client_context(node.identity), None)
        self._name = node.name
        self._association = ae.associate(
            LOOPBACK, node.port, ae_title=node.ae_title, tls_args=tls
        )
        if not self._association.is_established:
            message = f"{node.name} takes no association for queries"
            raise BenchError(message)
        # Command and identifier are two writes: with Nagle's algorithm the second
        # waits for the server's delayed acknowledgement, and 40 ms are all we see.
        self._association.dul.socket.socket.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        )

    def ask(self, patient_id: str) -> tuple[float, int]:
        """Return milliseconds to the final response, and the number of matches."""
        keys = Dataset()
        keys.QueryRetrieveLevel = "STUDY"
        keys.PatientID = patient_id
        for keyword in ("PatientName", "StudyDate", "StudyTime", "AccessionNumber"):
            setattr(keys, keyword, "")
        keys.StudyInstanceUID = keys.StudyDescription = keys.StudyID = ""
        self._pause()
        start = time.perf_counter()
        statuses = [
            status.get("Status")
            for status, _ in self._association.send_c_find(
                keys, StudyRootQueryRetrieveInformationModelFind
            )
        ]
        elapsed_ms = 1_000 * (time.perf_counter() - start)
        if statuses[-1] != 0 or not set(statuses[:-1]) <= PENDING:
            message = f"{self._name} answered a query with {statuses[-1]!r}"
            raise BenchError(message)
        return elapsed_ms, len(statuses) - 1

    def _pause(self) -> None:
        """Stop pynetdicom's reactor thread before a question.

        It looks for messages every millisecond, and one that is past its checkpoint
        when a question is sent takes the first response and drops it: seen about
        once in 500 questions on a busy machine.
        """
        self._association._reactor_checkpoint.clear()  # noqa: SLF001  # no public way
        while True:
            time.sleep(REACTOR_TURN_S)
            if self._association._is_paused:  # noqa: SLF001
                return

    def close(self) -> None:
        self._association.release()


@contextmanager
def questioners(nodes: Sequence[Node]) -> Iterator[list[Questioner]]:
    """Give an association to each node."""
    opened: list[Questioner] = []
    try:
        with warnings.catch_warnings():
            # pynetdicom's own use of what newer Pythons advise against.
            warnings.simplefilter("ignore")
            opened.extend(Questioner(node) for node in nodes)
            yield opened
    finally:
        for each in opened:
            each.close()
