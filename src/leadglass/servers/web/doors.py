"""What is open to whom right now, in plain words."""

from collections.abc import Iterator, Mapping
from http import HTTPMethod
from types import MappingProxyType
from typing import Final

from leadglass.access.rights import Right
from leadglass.archive.openings import Door, LookAround, Reach
from leadglass.identity.people.secondfactor import Factor
from leadglass.servers.http.answers import Answer
from leadglass.servers.http.routes import About, Call, Route
from leadglass.servers.web.pages import HTML, N_, Pages

PATH: Final = "/doors"

DOORS: Final[Mapping[Door, str]] = MappingProxyType(
    {
        Door.DIMSE: N_("DICOM over TLS"),
        Door.PLAINTEXT: N_("DICOM without TLS"),
        Door.HTTPS: N_("HTTPS: pages and DICOMweb"),
    }
)
REACHES: Final[Mapping[Reach, str]] = MappingProxyType(
    {
        Reach.LOOPBACK: N_("this machine only"),
        Reach.HOUSE: N_("the house: a private network"),
        Reach.WIDER: N_("wider than the house"),
    }
)
# Who gets in at each door, when all else is as it should be.
GUESTS: Final[Mapping[Door, str]] = MappingProxyType(
    {
        Door.DIMSE: N_(
            "enrolled devices, by client certificate, address and title: no handshake "
            "for anybody else"
        ),
        Door.PLAINTEXT: N_(
            "only the devices with an exception below, known by nothing but their "
            "address and title"
        ),
        Door.HTTPS: N_(
            "people who log in with a second factor, programs with a token, devices "
            "with a certificate"
        ),
    }
)
FACTORS: Final[Mapping[Factor, str]] = MappingProxyType(
    {
        Factor.TOTP: N_("authenticator app"),
        Factor.RECOVERY: N_("recovery code"),
        Factor.PASSKEY: N_("passkey"),
        Factor.PROVIDER: N_("single sign-on"),
        Factor.NONE: N_("password alone"),
    }
)
OWN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "root": N_("Root of the authority"),
        "issuing": N_("Issuing authority"),
        "node": N_("This node"),
        "revocation list": N_("Revocation list"),
    }
)


class DoorRoutes:
    """The page of what is open."""

    def __init__(self, pages: Pages, look: LookAround) -> None:
        self._pages = pages
        self._look = look

    def routes(self) -> Iterator[Route]:
        """Yield the route."""
        yield Route(
            method=HTTPMethod.GET,
            template=PATH,
            access=Right.ADMINISTER,
            handler=self.show,
            about=About(
                "The page that tells what is open to whom", gives_media=(HTML,)
            ),
        )

    def show(self, call: Call) -> Answer:
        """Show it; that it was looked at is recorded."""
        values = {
            "found": self._look(call.caller),
            "doors": DOORS,
            "reaches": REACHES,
            "guests": GUESTS,
            "factors": FACTORS,
            "own": OWN,
        }
        return self._pages.page(call, "doors.html", values)
