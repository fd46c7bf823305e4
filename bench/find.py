"""Time C-FIND: one client, one association, request to final response."""

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

    def ask(self, patient_id: str) -> tuple[float, int]:
        """Return milliseconds to the final response, and the number of matches."""
        keys = Dataset()
        keys.QueryRetrieveLevel = "STUDY"
        keys.PatientID = patient_id
        for keyword in ("PatientName", "StudyDate", "StudyTime", "AccessionNumber"):
            setattr(keys, keyword, "")
        keys.StudyInstanceUID = keys.StudyDescription = keys.StudyID = ""
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
