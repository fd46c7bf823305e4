"""The review of the record: alerts that wait for a person, what they were, weeks."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from http import HTTPMethod
from types import MappingProxyType
from typing import Final

from leadglass.access.rights import Right
from leadglass.assurance.finding import Severity
from leadglass.assurance.review.alerts import (
    REASON_CHARACTERS_MAX,
    REASON_CHARACTERS_MIN,
    Disposition,
    week_of,
)
from leadglass.assurance.review.desk import ReviewDesk
from leadglass.assurance.review.rules.table import BY_ID
from leadglass.servers.api.review import number_of
from leadglass.servers.http.answers import Answer
from leadglass.servers.http.routes import About, Call, Route
from leadglass.servers.web.pages import HTML, N_, Pages

PATH: Final = "/review"
# Weeks that are offered for a signature; older ones are signed by command.
WEEKS_OFFERED: Final = 5
DISPOSITIONS: Final[Mapping[Disposition, str]] = MappingProxyType(
    {
        Disposition.BENIGN: N_("Benign"),
        Disposition.BREACH: N_("Breach of a policy"),
        Disposition.INCIDENT: N_("Incident"),
    }
)
SEVERITIES: Final[Mapping[Severity, str]] = MappingProxyType(
    {
        Severity.INFO: N_("worth knowing"),
        Severity.LOW: N_("low"),
        Severity.MEDIUM: N_("medium"),
        Severity.HIGH: N_("high"),
        Severity.CRITICAL: N_("critical"),
    }
)
# Titles of the rules, as they are written in ``assurance.review.rules``.
TITLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "R-01": N_("Access that nothing explains"),
        "R-02": N_("Own record opened"),
        "R-03": N_("Relative opened"),
        "R-04": N_("Colleague opened"),
        "R-05": N_("Patient of public interest opened"),
        "R-06": N_("Neighbour opened"),
        "R-07": N_("Patient of long ago opened"),
        "R-08": N_("Access at odd hours"),
        "R-09": N_("Far more studies than usual"),
        "R-10": N_("Bulk query"),
        "R-11": N_("Numbers tried one after the other"),
        "R-12": N_("Many listed, few opened"),
        "R-13": N_("Images to a new destination"),
        "R-14": N_("Known device, new marks"),
        "R-15": N_("In two places at once"),
        "R-16": N_("Log-ins that failed"),
        "R-17": N_("AE titles guessed"),
        "R-18": N_("Scanner at the port"),
        "R-19": N_("Other images left than were said to"),
        "R-20": N_("Sleeping account or device woke up"),
        "R-21": N_("Somebody who has left"),
        "R-22": N_("Changed outside of the hours for changes"),
        "R-23": N_("Record read or silenced"),
        "R-24": N_("Stored study tampered with"),
        "R-25": N_("Images of another patient"),
        "R-26": N_("Many studies deleted, or one after a look"),
        "R-27": N_("Broken glass not reviewed, or often"),
        "R-28": N_("Export without habit"),
        "R-29": N_("Left with names"),
        "R-30": N_("Weaker channel than before"),
        "R-31": N_("Certificate ends or has another issuer"),
        "R-32": N_("Decoy touched"),
        "R-33": N_("Dangerous object sent"),
        "R-34": N_("One patient opened by many"),
        "R-35": N_("Wide, narrow, images, export"),
        "R-36": N_("Account of a program used by hand"),
        "R-37": N_("Clock set back"),
    }
)


class AlertPages:
    """The pages of the review. What they change, ``/api`` does."""

    def __init__(self, pages: Pages, desk: ReviewDesk) -> None:
        self._pages = pages
        self._desk = desk

    def routes(self) -> Iterator[Route]:
        """Yield the routes."""
        yield Route(
            method=HTTPMethod.GET,
            template=PATH,
            access=Right.AUDIT,
            handler=self.show,
            about=About("The page of the review", gives_media=(HTML,)),
        )
        yield Route(
            method=HTTPMethod.GET,
            template=f"{PATH}/{{number}}",
            access=Right.AUDIT,
            handler=self.one,
            about=About("The page of one alert", gives_media=(HTML,)),
        )

    def show(self, call: Call) -> Answer:
        """Show what waits, what was judged, and which weeks are signed."""
        now = self._desk.clock()
        latest = self._desk.latest(call.caller)
        signed = self._desk.signatures(call.caller)
        done = {each.week for each in signed}
        over = (
            week_of((now - timedelta(weeks=each)).date())
            for each in range(1, WEEKS_OFFERED + 1)
        )
        values = {
            "waiting": self._desk.waiting(call.caller),
            "judged": [each for each in latest if each.disposition is not None],
            "signed": signed,
            "weeks": [each for each in over if each not in done],
            "now": now,
            "note_characters_min": REASON_CHARACTERS_MIN,
            "note_characters_max": REASON_CHARACTERS_MAX,
        }
        return self._pages.page(call, "alerts.html", values | _WORDS)

    def one(self, call: Call) -> Answer:
        """Show one, with the records that prove it.

        Raises:
            NotFound: There is none of that number.
        """
        found = self._desk.get(call.caller, number_of(call.path["number"]))
        name = call.caller.subject.name
        values = {
            "raised": found,
            "rule": BY_ID[found.alert.rule],
            "is_own": found.alert.subject.casefold() == name.casefold(),
            "note_characters_min": REASON_CHARACTERS_MIN,
            "note_characters_max": REASON_CHARACTERS_MAX,
        }
        return self._pages.page(call, "alert.html", values | _WORDS)


_WORDS: Final[dict[str, object]] = {
    "dispositions": DISPOSITIONS,
    "severities": SEVERITIES,
    "titles": TITLES,
}
