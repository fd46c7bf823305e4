"""Asking an authority for a time stamp over HTTP (RFC 3161 §3.4).

A digest goes out and a signed token comes back, so plain http reveals nothing and
proves nothing: what counts is that the token holds. No redirect is followed, and no
proxy is asked.
"""

import ssl
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from leadglass.audit.timestamps import REPLY_BYTES_MAX
from leadglass.errors import Misconfigured, Unavailable

QUERY: Final = "application/timestamp-query"
REPLY: Final = "application/timestamp-reply"
# Somebody waits for it.
TIME_S: Final = 20.0


def ask(address: str, request: bytes, ca_file: Path | None = None) -> bytes:
    """Return what an authority replies to a request, unread.

    Args:
        address: ``https://…`` or ``http://…``.
        request: TimeStampReq, DER.
        ca_file: Whom to trust for https; ``None``: the authorities of this system.

    Raises:
        Misconfigured: The address or the file cannot be used.
        Unavailable: There is no reply; what the other side said is not repeated.
    """
    connection, path = _to(address, ca_file)
    headers = {"Content-Type": QUERY, "Accept": REPLY, "User-Agent": "leadglass"}
    with closing(connection):
        try:
            connection.request("POST", path, request, headers)
            answer = connection.getresponse()
            kind = answer.getheader("content-type", "").partition(";")[0].strip()
            reply = answer.read(REPLY_BYTES_MAX + 1)
        except ssl.SSLCertVerificationError as error:
            raise Unavailable(
                "the certificate of the authority's server is not trusted: "
                f"{error.verify_message}"
            ) from None
        except (OSError, HTTPException, ValueError):
            raise Unavailable(
                "the authority for time stamps does not answer, or not in time"
            ) from None
    if answer.status != HTTPStatus.OK or kind.lower() != REPLY:
        raise Unavailable(
            f"the authority for time stamps answers {answer.status}, and no reply"
        )
    if len(reply) > REPLY_BYTES_MAX:
        raise Unavailable("the authority's reply has no end")
    return reply


def _to(address: str, ca_file: Path | None) -> tuple[HTTPConnection, str]:
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        parts, host, port = urlsplit(""), "", None
    if not host or parts.scheme not in {"http", "https"} or "@" in parts.netloc:
        raise Misconfigured("--tsa: write an address with https:// or http://")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if parts.scheme == "http":
        return HTTPConnection(host, port, timeout=TIME_S), path
    try:
        context = ssl.create_default_context(
            cafile=None if ca_file is None else str(ca_file)
        )
    except OSError:
        raise Misconfigured("--ca: cannot be read as PEM certificates") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return HTTPSConnection(host, port, timeout=TIME_S, context=context), path
