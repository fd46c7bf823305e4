"""The devices: who they are, when they were here; enrolled, renewed, revoked."""

import io
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from http import HTTPMethod, HTTPStatus
from typing import Final

from leadglass.access.rights import DEVICE_RIGHTS, Right
from leadglass.access.scopes import EVERYTHING_TEXT
from leadglass.archive.contacts import Neighbourhood
from leadglass.archive.register import Registrar
from leadglass.archive.visit import Visits
from leadglass.errors import Misconfigured
from leadglass.identity.authority import Issued
from leadglass.identity.device import (
    NAME_CHARACTERS_MAX,
    REASON_CHARACTERS_MAX,
    Device,
    Status,
    parse_device,
)
from leadglass.servers.http.answers import Answer, Problem
from leadglass.servers.http.fresh import freshly
from leadglass.servers.http.routes import About, Call, Route
from leadglass.servers.web.forms import FORM, Form, form_of, one
from leadglass.servers.web.pages import HTML, Pages, is_part

PATH: Final = "/devices"
ZIP: Final = "application/zip"
# A scope that lists patients is the longest; more is for the command line.
_FORM_BYTES_MAX: Final = 16 * 1024
# What a ZIP says of the time of its files: none that tells anything.
_ZIP_TIME: Final = (1980, 1, 1, 0, 0, 0)
_PRIVATE: Final = 0o100600 << 16


class DeviceRoutes:
    """The page of devices, and what it changes."""

    def __init__(
        self,
        pages: Pages,
        neighbourhood: Neighbourhood,
        registrar: Registrar,
        visits: Visits,
    ) -> None:
        self._pages = pages
        self._neighbourhood = neighbourhood
        self._registrar = registrar
        self._visits = visits

    def routes(self) -> Iterator[Route]:
        """Yield the routes; all need the right ``administer``."""
        yield Route(
            method=HTTPMethod.GET,
            template=PATH,
            access=Right.ADMINISTER,
            handler=self.show,
            about=About("The page of devices", gives_media=(HTML,)),
        )
        yield Route(
            method=HTTPMethod.POST,
            template=f"{PATH}/enrol",
            access=Right.ADMINISTER,
            reader=self.enrol,
            body_bytes_max=_FORM_BYTES_MAX,
            about=About(
                "Enrol a device with TLS: name, titles, networks, rights, scope, "
                "destination as a form; its key is in the answer, and nowhere else",
                takes_media=(FORM,),
                gives_media=(ZIP,),
            ),
        )
        yield Route(
            method=HTTPMethod.POST,
            template=f"{PATH}/{{device}}/renew",
            access=Right.ADMINISTER,
            handler=self.renew,
            about=About(
                "Give a device a new key and certificate; they are in the answer, and "
                "nowhere else",
                gives_media=(ZIP,),
            ),
        )
        yield Route(
            method=HTTPMethod.POST,
            template=f"{PATH}/{{device}}/revoke",
            access=Right.ADMINISTER,
            reader=self.revoke,
            body_bytes_max=_FORM_BYTES_MAX,
            about=About(
                "Shut a device out, from its next association on: reason as a form",
                takes_media=(FORM,),
                statuses=(HTTPStatus.NO_CONTENT,),
            ),
        )

    def show(self, call: Call) -> Answer:
        """Show all devices, and who was turned away."""
        found = self._neighbourhood.look(call.caller)
        values = {
            "devices": [each for each in found.devices if _is_active(each[0])],
            "revoked": [each for each in found.devices if not _is_active(each[0])],
            "strangers": found.strangers,
            "rights_there_are": sorted(DEVICE_RIGHTS),
            "everything": EVERYTHING_TEXT,
            "name_characters_max": NAME_CHARACTERS_MAX,
            "reason_characters_max": REASON_CHARACTERS_MAX,
            "now": datetime.now(UTC),
        }
        block = "list" if is_part(call) else ""
        return self._pages.page(call, "devices.html", values, block=block)

    def enrol(self, call: Call, body: bytes) -> Answer:
        """Enrol a device; answer with its key, certificate and whom it trusts.

        Raises:
            BadData: It is no form.
            Problem: 400 with all that is wrong; 403, prove yourself anew.
        """
        caller, form = freshly(call, self._visits), form_of(body)
        try:
            device = parse_device(
                name=one(form, "name"),
                ae_titles=_words(form, "titles"),
                networks=_words(form, "networks"),
                rights=form.get("rights", []),
                now=datetime.now(UTC),
                scope=one(form, "scope") or EVERYTHING_TEXT,
                destination=one(form, "destination") or None,
            )
            device, issued = self._registrar.hand_out(caller, device)
        except Misconfigured as error:
            raise Problem(HTTPStatus.BAD_REQUEST, str(error)) from None
        return _credentials(device, issued)

    def renew(self, call: Call) -> Answer:
        """Give a device a new key and certificate.

        Raises:
            NotFound: There is no such device.
            Problem: 400, it cannot be renewed; 403, prove yourself anew.
        """
        caller = freshly(call, self._visits)
        try:
            device, issued = self._registrar.hand_out_anew(caller, call.path["device"])
        except Misconfigured as error:
            raise Problem(HTTPStatus.BAD_REQUEST, str(error)) from None
        return _credentials(device, issued)

    def revoke(self, call: Call, body: bytes) -> Answer:
        """Shut a device out.

        Raises:
            BadData: It is no form.
            NotFound: There is no such device.
            Problem: 400, there is no reason, or it is out; 403, prove yourself anew.
        """
        caller, form = freshly(call, self._visits), form_of(body)
        try:
            self._registrar.revoke(caller, call.path["device"], one(form, "reason"))
        except Misconfigured as error:
            raise Problem(HTTPStatus.BAD_REQUEST, str(error)) from None
        return Answer(HTTPStatus.NO_CONTENT)


def _is_active(device: Device) -> bool:
    return device.status is Status.ACTIVE


def _words(form: Form, name: str) -> tuple[str, ...]:
    """Return what stands between commas; AE titles may hold spaces (PS3.5 §6.2)."""
    parts = (each.strip() for each in one(form, name).split(","))
    return tuple(each for each in parts if each)


def _credentials(device: Device, issued: Issued) -> Answer:
    """Return a ZIP with what goes to the device; a name is safe in a file name."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in (
            ("key.pem", issued.key),
            ("cert.pem", issued.chain),
            ("ca.pem", issued.authorities),
        ):
            if content is not None:
                entry = zipfile.ZipInfo(f"{device.name}/{name}", _ZIP_TIME)
                entry.external_attr = _PRIVATE
                archive.writestr(entry, content)
    told = {
        "content-disposition": f'attachment; filename="{device.name}.zip"',
        "cache-control": "no-store",
    }
    return Answer(HTTPStatus.OK, ZIP, out.getvalue(), told)
