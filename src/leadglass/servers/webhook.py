"""Giving news to a webhook: one HTTPS POST, signed, to an address of the settings.

``Leadglass-Signature: t=SECONDS,v1=HEX`` holds HMAC-SHA256 (RFC 2104) over the time,
a full stop and the body, by a secret that both sides have: who receives it knows that
it is ours, whole and not of yesterday. Redirects are not followed: the body goes where
the settings say, and nowhere else.
"""

import hashlib
import hmac
import http.client
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from leadglass.errors import Misconfigured, Unavailable

HEADER: Final = "Leadglass-Signature"
# Shorter ones can be guessed from one message; a file that is longer is another one.
SECRET_BYTES_MIN: Final = 16
SECRET_BYTES_MAX: Final = 1_024
_OTHERS: Final = 0o077
# What is read of an answer; only its status is looked at.
_ANSWER_BYTES_MAX: Final = 4_096
_TAKEN: Final = range(200, 300)
_PORT: Final = 443


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """One receiver.

    Attributes:
        url: Where to: https alone.
        secret_file: What both sides know; read each time, so it may change.
        ca_file: Whom to trust; ``None``: the authorities of this system.
        timeout_s: How long it may take for each answer.
        clock: Gives the seconds of the epoch.
    """

    url: str
    secret_file: Path
    ca_file: Path | None = None
    timeout_s: float = 20.0
    clock: Callable[[], float] = time.time

    def __call__(self, body: bytes) -> None:
        """Return when the receiver has taken it.

        Raises:
            Unavailable: It has not, for now.
            Misconfigured: The URL, secret or CA file cannot be used.
        """
        parts = urlsplit(self.url)
        if parts.scheme != "https" or not parts.hostname:
            raise Misconfigured("webhook: an https URL with a host is needed")
        headers = {
            "Content-Type": "application/json",
            HEADER: signature(self._secret(), int(self.clock()), body),
        }
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection = http.client.HTTPSConnection(
            parts.hostname,
            parts.port or _PORT,
            timeout=self.timeout_s,
            context=self._context(),
        )
        try:
            connection.request("POST", target, body, headers)
            answer = connection.getresponse()
            answer.read(_ANSWER_BYTES_MAX)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Unavailable(f"the webhook: {type(error).__name__}") from None
        finally:
            connection.close()
        if answer.status not in _TAKEN:
            raise Unavailable(f"the webhook answered {answer.status}")

    def _secret(self) -> bytes:
        try:
            if self.secret_file.stat().st_mode & _OTHERS:
                raise Misconfigured("webhook secret: others may read it; chmod 600")
            with self.secret_file.open("rb") as file:
                secret = file.read(SECRET_BYTES_MAX + 1).strip()
        except OSError as error:
            raise Misconfigured(f"webhook secret: {error.strerror}") from error
        if not SECRET_BYTES_MIN <= len(secret) <= SECRET_BYTES_MAX:
            raise Misconfigured(
                f"webhook secret: {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes"
            )
        return secret

    def _context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(
                cafile=None if self.ca_file is None else str(self.ca_file)
            )
        except (OSError, ssl.SSLError) as error:
            raise Misconfigured("webhook CA file: cannot be used") from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context


def signature(secret: bytes, at_s: int, body: bytes) -> str:
    """Return what a receiver checks."""
    mac = hmac.new(secret, f"{at_s}.".encode() + body, hashlib.sha256)
    return f"t={at_s},v1={mac.hexdigest()}"
