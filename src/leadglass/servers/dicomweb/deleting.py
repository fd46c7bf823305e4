"""Deleting a study, by whom a rule gives that right, for a reason.

PS3.18 knows no deletion; ``DELETE`` on the resource is what RFC 9110 §9.3.5 makes of
it. It is the erasure of ``archive.erase``: the study's key is destroyed, and no backup
brings it back. Series and instances are not deleted: they have no key of their own, so
it would be hidden and not erased.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPMethod, HTTPStatus
from typing import Final
from urllib.parse import unquote_to_bytes

from leadglass.access.rights import Right
from leadglass.archive.caller import Caller
from leadglass.archive.visit import Visits
from leadglass.dicom.uids import UID
from leadglass.errors import BadData, Misconfigured, NotFound
from leadglass.servers.http.answers import Answer
from leadglass.servers.http.fresh import freshly
from leadglass.servers.http.routes import About, Call, Route

# Why, as UTF-8 with percent signs (RFC 8187 without its quotes): headers are ASCII,
# and a reason may name a patient, so it is in no URL.
REASON: Final = "leadglass-reason"
_REASON_CHARACTERS_MAX: Final = 6 * 500


@dataclass(frozen=True, slots=True)
class Delete:
    """Deletes studies.

    Attributes:
        erase: The use case: caller, study and reason.
        visits: Says whether a session is fresh.
        root: Path of the service.
    """

    erase: Callable[[Caller, UID, str], object]
    visits: Visits
    root: str = "/dicom-web"

    def routes(self) -> Iterator[Route]:
        """Yield the route."""
        yield Route(
            method=HTTPMethod.DELETE,
            template=f"{self.root}/studies/{{study}}",
            access=Right.ERASE,
            handler=self.delete,
            about=About(
                "Erase a study and its key; the header Leadglass-Reason says why",
                statuses=(HTTPStatus.NO_CONTENT, HTTPStatus.NOT_FOUND),
            ),
        )

    def delete(self, call: Call) -> Answer:
        """Erase it; the answer comes when nobody can read it again.

        Raises:
            Problem: 403, the person must prove itself anew.
            BadData: There is no reason, or it cannot be read.
            NotFound: No such study, or none for this caller.
        """
        caller = freshly(call, self.visits)
        reason = _reason(call.headers.get(REASON, ""))
        try:
            study = UID(call.path["study"])
        except ValueError:
            raise NotFound("no such study") from None
        try:
            self.erase(caller, study, reason)
        except Misconfigured as error:  # the reason: too long, or empty
            raise BadData(str(error)) from None
        return Answer(HTTPStatus.NO_CONTENT)


def _reason(header: str) -> str:
    if len(header) > _REASON_CHARACTERS_MAX:
        raise BadData("the reason is too long")
    try:
        reason = unquote_to_bytes(header).decode()
    except UnicodeDecodeError:
        raise BadData("the reason is not UTF-8 with percent signs") from None
    if not reason.isprintable():
        raise BadData("the reason has characters that do not print")
    return reason
