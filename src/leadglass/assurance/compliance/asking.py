"""HTTPS as experiments speak it: one request, one bounded answer."""

import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

from leadglass.assurance.compliance.twin import (
    LOOPBACK,
    Login,
    Twin,
    trusting,
)
from leadglass.errors import Unavailable
from leadglass.identity.people.secondfactor import totp_code, totp_step

TIMEOUT_S: Final = 20.0
ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024
JSON: Final = "application/dicom+json, application/json;q=0.9, */*;q=0.1"
_COOKIE: Final = "__Host-leadglass"


@dataclass(frozen=True, slots=True)
class Said:
    """An answer."""

    status: int
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(
        repr=False, default_factory=lambda: MappingProxyType({})
    )


def ask(  # noqa: PLR0913  # the parts of a request
    twin: Twin,
    method: str,
    path: str,
    *,
    cookie: str = "",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
) -> Said:
    """Ask the twin over HTTPS.

    Raises:
        Unavailable: There was no answer.
    """
    base = f"https://{LOOPBACK}:{twin.https_port}"
    sent = {"Accept": JSON, "Origin": base} | dict(headers or {})
    if cookie:
        sent["Cookie"] = f"{_COOKIE}={cookie}"
    connection = http.client.HTTPSConnection(
        LOOPBACK,
        twin.https_port,
        timeout=TIMEOUT_S,
        context=tls or trusting(twin.authorities),
    )
    try:
        connection.request(method, path, body, sent)
        answer = connection.getresponse()
        told = answer.read(ANSWER_BYTES_MAX)
        return Said(answer.status, told, dict(answer.getheaders()))
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable("HTTPS gave no answer") from error
    finally:
        connection.close()


def log_in(twin: Twin, login: Login, *, password: str = "", code: str = "") -> Said:
    """Log in over HTTPS, both steps; what is not given is the right one."""
    kind = {"Content-Type": "application/json"}
    asked = {"name": login.name, "password": password or login.password}
    begun = ask(
        twin, "POST", "/api/login", body=json.dumps(asked).encode(), headers=kind
    )
    if begun.status != HTTPStatus.OK:
        return begun
    ticket = json.loads(begun.body).get("ticket", "")
    half = begun.headers.get("set-cookie", "").partition(";")[0]
    now = totp_code(login.app, totp_step(datetime.now(UTC)))
    asked = {"ticket": ticket, "code": code or now}
    return ask(
        twin,
        "POST",
        "/api/login/code",
        body=json.dumps(asked).encode(),
        headers=kind | {"Cookie": half},
    )
