"""What only a person may ask for who has just proven itself."""

from datetime import UTC, datetime
from http import HTTPStatus

from leadglass.archive.caller import Caller
from leadglass.archive.visit import Visits
from leadglass.errors import Refused
from leadglass.servers.http.answers import Problem
from leadglass.servers.http.authentication import session_token, unproven
from leadglass.servers.http.routes import Call


def freshly(call: Call, visits: Visits) -> Caller:
    """Return who asks, if it is a person who has just proven itself.

    Raises:
        Problem: 403, prove yourself anew, and ask again; or it is no person.
    """
    token = session_token(call.headers)
    if token is None:
        raise Problem(HTTPStatus.FORBIDDEN, "only for who has logged in")
    try:
        visit = visits.visit(token, call.address, call.channel)
    except Refused:
        raise unproven() from None
    if not visit.session.is_fresh(datetime.now(UTC)):
        raise Problem(
            HTTPStatus.FORBIDDEN,
            "prove yourself anew: this was asked for too long ago",
        )
    return call.caller
