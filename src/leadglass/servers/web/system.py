"""How the node is: health, growth, what ends when, and long work."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from http import HTTPMethod
from types import MappingProxyType
from typing import Any, Final

from leadglass.access.rights import Right
from leadglass.archive.condition import DAYS_OF_TREND, Condition, Organ
from leadglass.archive.jobs import State, Work
from leadglass.archive.verifying import Verifications
from leadglass.servers.http.answers import Answer
from leadglass.servers.http.routes import About, Call, Route
from leadglass.servers.web.doors import OWN
from leadglass.servers.web.pages import HTML, N_, Pages

PATH: Final = "/system"
# Days that are drawn; a table of a year is read by nobody.
_DAYS_DRAWN: Final = 90
ORGANS: Final[Mapping[Organ, str]] = MappingProxyType(
    {
        Organ.DATABASE: N_("Database"),
        Organ.INTAKE: N_("Taking in"),
        Organ.DISK: N_("Disk"),
        Organ.RECORD: N_("Record"),
    }
)
REMEDIES: Final[Mapping[Organ, str]] = MappingProxyType(
    {
        Organ.DATABASE: N_("See what the log of the program says; is the disk there?"),
        Organ.INTAKE: N_("What was stored is safe; the node goes on trying."),
        Organ.DISK: N_("Make room, or move the data folder to a larger disk."),
        Organ.RECORD: N_("Verify the record, and see to the folder of checkpoints."),
    }
)
WORK: Final[Mapping[Work, str]] = MappingProxyType(
    {Work.IMPORT: N_("Import"), Work.VERIFY: N_("Verification of all bytes")}
)
STATES: Final[Mapping[State, str]] = MappingProxyType(
    {
        State.RUNNING: N_("runs"),
        State.ENDED: N_("ended"),
        State.FAILED: N_("ended early"),
        State.CUT_OFF: N_("cut off: begin it again"),
    }
)


class SystemRoutes:
    """The page of the system."""

    def __init__(
        self, pages: Pages, condition: Condition, verifications: Verifications
    ) -> None:
        self._pages = pages
        self._condition = condition
        self._verifications = verifications

    def routes(self) -> Iterator[Route]:
        """Yield the routes."""
        yield Route(
            method=HTTPMethod.GET,
            template=PATH,
            access=Right.ADMINISTER,
            handler=self.show,
            about=About("The page that tells how the node is", gives_media=(HTML,)),
        )
        yield Route(
            method=HTTPMethod.GET,
            template=f"{PATH}/jobs",
            access=Right.ADMINISTER,
            handler=self.jobs,
            about=About("How far long work is", gives_media=(HTML,)),
        )
        yield Route(
            method=HTTPMethod.POST,
            template=f"{PATH}/verify",
            access=Right.ADMINISTER,
            handler=self.verify,
            about=About("Begin to verify all stored bytes", gives_media=(HTML,)),
        )
        yield Route(
            method=HTTPMethod.POST,
            template=f"{PATH}/verify/stop",
            access=Right.ADMINISTER,
            handler=self.stop,
            about=About("End the verification of stored bytes", gives_media=(HTML,)),
        )

    def show(self, call: Call) -> Answer:
        """Show it."""
        values = {
            **self._jobs(call),
            "found": (found := self._condition.portrait(call.caller)),
            "version": self._condition.version,
            "days": found.days[-_DAYS_DRAWN:],
            "organs": ORGANS,
            "remedies": REMEDIES,
            "own": OWN,
            "trend_days": DAYS_OF_TREND,
        }
        return self._pages.page(call, "system.html", values)

    def jobs(self, call: Call) -> Answer:
        """Show what is done."""
        return self._pages.page(call, "system.html", self._jobs(call), block="jobs")

    def verify(self, call: Call) -> Answer:
        """Begin, unless one runs, and show what is done."""
        self._verifications.start(call.caller)
        return self.jobs(call)

    def stop(self, call: Call) -> Answer:
        """End it, and show what is done."""
        self._verifications.stop(call.caller)
        return self.jobs(call)

    def _jobs(self, call: Call) -> dict[str, Any]:
        now = datetime.now(UTC)
        found = [(each, each.state(now)) for each in self._condition.jobs(call.caller)]
        running = [each.kind for each, state in found if state is State.RUNNING]
        is_verifying = self._verifications.is_running
        return {
            "jobs_found": found,
            "is_busy": bool(running) or is_verifying,
            "is_verifying": Work.VERIFY in running or is_verifying,
            "work": WORK,
            "states": STATES,
        }
