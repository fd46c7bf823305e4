"""Verification as SCP (PS3.4 Annex A)."""

from dataclasses import dataclass

from leadglass.archive.echo import Echo
from leadglass.servers.dimse.session import Failure, Session
from leadglass.wire.dimse import CEchoRQ, Message
from leadglass.wire.negotiation import Context
from leadglass.wire.status import SUCCESS


@dataclass(frozen=True, slots=True)
class EchoService:
    """Answers C-ECHO."""

    echo: Echo

    def __call__(self, session: Session, context: Context, request: Message) -> None:
        """Say that we are there."""
        assert isinstance(request, CEchoRQ)  # by the table of services
        status = SUCCESS
        try:
            self.echo(session.caller)
        except Exception as error:  # noqa: BLE001  # Failure.of logs what is ours
            status = Failure.of(error).status
        response = request.response(status)
        session.connection.association.send(context.id, response.encode())
