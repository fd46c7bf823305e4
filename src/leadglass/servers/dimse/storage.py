"""Storage as SCP (PS3.4 Annex B): from fragments to a durable instance."""

from contextlib import ExitStack
from dataclasses import dataclass

from leadglass.archive.ingest import Announced, Arrival, Ingest
from leadglass.dicom.transfer_syntaxes import TRANSFER_SYNTAXES
from leadglass.servers.dimse.session import Failure, Session
from leadglass.wire.dimse import CStoreRQ, Message
from leadglass.wire.negotiation import Context
from leadglass.wire.status import SUCCESS


@dataclass(frozen=True, slots=True)
class StorageService:
    """Answers C-STORE; success is said when the instance is durable."""

    ingest: Ingest

    def __call__(self, session: Session, context: Context, request: Message) -> None:
        """Store one instance; whatever is wrong with it, its data set is read."""
        assert isinstance(request, CStoreRQ)  # by the table of services
        failure = self._store(session, context, request)
        response = (
            request.response(SUCCESS)
            if failure is None
            else request.response(failure.status, error_comment=failure.comment)
        )
        session.connection.association.send(context.id, response.encode())

    def _store(
        self, session: Session, context: Context, request: CStoreRQ
    ) -> Failure | None:
        failure: Failure | None = None
        with ExitStack() as cleanup:
            arrival: Arrival | None = None
            try:
                arrival = self.ingest.begin(
                    session.caller,
                    Announced(
                        sop_class=request.affected_sop_class,
                        sop_instance=request.affected_sop_instance,
                        transfer_syntax=TRANSFER_SYNTAXES[context.transfer_syntax],
                        abstract_syntax=context.abstract_syntax,
                    ),
                )
                cleanup.callback(arrival.abandon)
            except Exception as error:  # noqa: BLE001  # Failure.of logs what is ours
                failure = Failure.of(error)
            for data in session.data_set():
                if failure is not None or arrival is None:
                    continue  # the rest must be read, or the association is lost
                try:
                    arrival.write(data)
                except Exception as error:  # noqa: BLE001
                    failure = Failure.of(error)
                    arrival.refuse(error)
            if failure is None and arrival is not None:
                try:
                    arrival.finish()
                except Exception as error:  # noqa: BLE001
                    failure = Failure.of(error)
                    arrival.refuse(error)
        return failure
