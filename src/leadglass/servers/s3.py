"""Keeping things in a bucket of S3 with Object Lock, so that nobody takes them back.

``PUT`` with a retention in mode COMPLIANCE: until it ends neither the owner of the
bucket nor its root can delete the version. A key that is there already is not put again
(``If-None-Match``); what stands there is compared. Requests are signed by Signature
Version 4; the secret is read anew for each.
"""

import hashlib
import hmac
import ssl
from base64 import b64encode
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

from leadglass.errors import Damaged, Misconfigured, Unavailable

TIME_S: Final = 30.0
# An error of S3 in XML; what we keep has 10 kB at most.
_ANSWER_BYTES_MAX: Final = 256 * 1024
_ALGORITHM: Final = "AWS4-HMAC-SHA256"


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A bucket, and who we are there.

    Attributes:
        address: ``https://host/bucket``, perhaps with a prefix behind.
        region: As its provider calls it.
        access_key: Our name there.
        secret: Gives our secret.
        retention: How long nothing can be deleted.
        ca_file: Whom to trust; ``None``: the authorities of this system.
        clock: Gives the time, with its zone.
    """

    address: str
    region: str
    access_key: str
    secret: Callable[[], str] = field(repr=False)
    retention: timedelta
    ca_file: Path | None = None
    clock: Callable[[], datetime] = _now

    def put(self, name: str, data: bytes) -> bool:
        """Keep something; tell whether it was not there yet.

        Raises:
            Unavailable: The bucket does not take it.
            Damaged: Something else stands there under its name.
            Misconfigured: Secret or CA file cannot be used.
        """
        until = (self.clock() + self.retention).strftime("%Y-%m-%dT%H:%M:%SZ")
        md5 = hashlib.md5(data, usedforsecurity=False).digest()
        headers = {
            "content-md5": b64encode(md5).decode("ascii"),  # Object Lock asks for it
            "if-none-match": "*",
            "x-amz-object-lock-mode": "COMPLIANCE",
            "x-amz-object-lock-retain-until-date": until,
        }
        status, _ = self.ask("PUT", name, data, headers)
        if status == HTTPStatus.OK:
            return True
        if status == HTTPStatus.PRECONDITION_FAILED:
            status, found = self.ask("GET", name, b"", {})
            if status == HTTPStatus.OK and found == data:
                return False
            if status == HTTPStatus.OK:
                raise Damaged(
                    "the bucket of copies has something else under the name of a "
                    "checkpoint; keep both, and run: leadglass audit verify --witnessed"
                )
        raise Unavailable(f"the bucket of copies answers {status}")

    def ask(
        self, method: str, name: str, data: bytes, more: Mapping[str, str]
    ) -> tuple[int, bytes]:
        """Return status and body of an answer; the body is not to be told.

        Raises:
            Unavailable: There is none.
            Misconfigured: Secret or CA file cannot be used.
        """
        parts = urlsplit(self.address)
        raw, _, query = name.partition("?")
        path = quote(f"{parts.path}/{raw}".rstrip("/"), safe="/-_.~")
        headers = self._signed(method, path, query, data, more)
        with closing(self._connection(parts.scheme, parts.netloc)) as connection:
            try:
                target = f"{path}?{query}" if query else path
                connection.request(method, target, data, headers)
                answer = connection.getresponse()
                body = answer.read(_ANSWER_BYTES_MAX + 1)
            except ssl.SSLCertVerificationError as error:
                raise Unavailable(
                    "the certificate of the bucket's server is not trusted: "
                    f"{error.verify_message}"
                ) from None
            except (OSError, HTTPException, ValueError):
                raise Unavailable("the bucket of copies does not answer") from None
        return answer.status, body

    def _connection(self, scheme: str, place: str) -> HTTPConnection:
        if scheme == "http":  # of this machine alone, the settings see to it
            return HTTPConnection(place, timeout=TIME_S)
        try:
            context = ssl.create_default_context(
                cafile=None if self.ca_file is None else str(self.ca_file)
            )
        except OSError:
            raise Misconfigured(
                "copies.s3_ca_file: cannot be read as PEM certificates"
            ) from None
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return HTTPSConnection(place, timeout=TIME_S, context=context)

    def _signed(
        self, method: str, path: str, query: str, data: bytes, more: Mapping[str, str]
    ) -> dict[str, str]:
        """Return the headers of a request, with its signature (Signature Version 4)."""
        now = self.clock().astimezone(UTC)
        stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        digest = hashlib.sha256(data).hexdigest()
        headers = {
            **more,
            "host": urlsplit(self.address).netloc,
            "x-amz-content-sha256": digest,
            "x-amz-date": stamp,
        }
        names = sorted(headers)
        told = "".join(f"{name}:{headers[name].strip()}\n" for name in names)
        signed = ";".join(names)
        canonical = f"{method}\n{path}\n{query}\n{told}\n{signed}\n{digest}"
        scope = f"{day}/{self.region}/s3/aws4_request"
        hashed = hashlib.sha256(canonical.encode()).hexdigest()
        text = f"{_ALGORITHM}\n{stamp}\n{scope}\n{hashed}"
        key = f"AWS4{self.secret()}".encode()
        for each in scope.split("/"):
            key = hmac.digest(key, each.encode(), "sha256")
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        headers["authorization"] = (
            f"{_ALGORITHM} Credential={self.access_key}/{scope}, "
            f"SignedHeaders={signed}, Signature={signature}"
        )
        return headers
