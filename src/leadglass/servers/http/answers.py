"""Answers of the HTTP door, and errors as ``application/problem+json`` (RFC 9457)."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

from leadglass.errors import LeadglassError, PeerError

PROBLEM: Final = "application/problem+json"


class Problem(Exception):
    """A request that the door itself turns away.

    ``detail`` is ours and says nothing of the request's content.
    """

    def __init__(
        self,
        status: HTTPStatus,
        detail: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail or status.phrase)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})


@dataclass(frozen=True, slots=True)
class Answer:
    """A response before it is sent.

    Attributes:
        status: HTTP status code.
        media_type: Content-Type; empty without a body.
        body: All of it, or its pieces. Pieces are made in a thread, one after the
            other as the client takes them; an iterator with ``close`` is closed.
        headers: More headers; they may replace the default ones of the guard.
        length_bytes: Of a body in pieces, if it is known.
    """

    status: int = 200
    media_type: str = ""
    body: bytes | Iterator[bytes] = b""
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    length_bytes: int | None = None

    def __post_init__(self) -> None:
        if not 200 <= self.status <= 599:
            raise ValueError("a final HTTP status lies between 200 and 599")
        for name, value in (*self.headers.items(), ("content-type", self.media_type)):
            if not (name + value).isprintable() or not (name + value).isascii():
                raise ValueError("a header is one line of ASCII")


def problem(
    status: int, request_id: str, detail: str = "", headers: Mapping[str, str] = {}
) -> Answer:
    """Return an error as a client may see it.

    Args:
        status: HTTP status code.
        request_id: Stands in our log beside the reason.
        detail: A sentence of ours, without anything of the request.
        headers: More headers.
    """
    told = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "instance": f"urn:leadglass:request:{request_id}",
    }
    if detail:
        told["detail"] = detail
    return Answer(status, PROBLEM, json.dumps(told).encode(), headers)


def problem_of(error: Exception, request_id: str) -> Answer:
    """Return what a client is told of an error: that, and seldom why.

    A refusal and what does not exist have no detail. Errors that are no
    deliberate ones are ours to find in the log.
    """
    if isinstance(error, Problem):
        return problem(error.status, request_id, error.detail, error.headers)
    if not isinstance(error, LeadglassError):
        return problem(500, request_id)
    status = error.http_status
    detail = str(error) if isinstance(error, PeerError) else ""
    headers = {"retry-after": "5"} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    return problem(status, request_id, detail, headers)
