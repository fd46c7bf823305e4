"""HTTP/1.1 as a stranger speaks it: one question, one bounded answer."""

import http.client
import io
import json
import ssl
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from leadglass.assurance.exposure.contact import Line, Wire
from leadglass.errors import LeadglassError

USER_AGENT: Final = "Leadglass-exposure-scan/1 (calling itself EXPOSCAN)"
# A page that proves something does so at its beginning.
BODY_BYTES_MAX: Final = 256 * 1024
HEADER_CHARACTERS_MAX: Final = 2_000
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered.

    Attributes:
        status: 0 if nothing that is HTTP came.
        headers: By lower-case name; repeated ones are joined by a line end.
        body: At most ``BODY_BYTES_MAX``.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=lambda: _NOTHING, repr=False)
    body: bytes = field(default=b"", repr=False)

    @property
    def is_http(self) -> bool:
        """Whether HTTP was spoken."""
        return self.status > 0

    @property
    def is_ok(self) -> bool:
        """Whether it was given: 200 or 206 (QIDO's "more matches")."""
        return self.status in {200, 206}

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """Return the body as JSON, None if it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


NO_ANSWER: Final = Answer(0)


class Browser:
    """Asks one port; keeps the connection as long as the server does.

    Args:
        line: The way to the host.
        port: Where.
        tls: None speaks plain HTTP.
    """

    def __init__(self, line: Line, port: int, tls: ssl.SSLContext | None) -> None:
        self._line, self._port, self._tls = line, port, tls
        self._wire: Wire | None = None

    def get(self, path: str, **headers: str) -> Answer:
        """Ask for a path."""
        return self.ask(
            "GET", path, {k.replace("_", "-"): v for k, v in headers.items()}
        )

    def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] = _NOTHING,
        body: bytes = b"",
    ) -> Answer:
        """Ask anything; what is not HTTP is ``NO_ANSWER``."""
        held, self._wire = self._wire, None
        if held is not None:
            answer = self._once(held, method, path, headers, body)
            if answer is not None:
                return answer
        try:
            wire = self._line.dial(self._port, self._tls)
        except LeadglassError:
            return NO_ANSWER
        return self._once(wire, method, path, headers, body) or NO_ANSWER

    def _once(
        self,
        wire: Wire,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
    ) -> Answer | None:
        try:
            wire.send(self._request(method, path, headers, body))
            response = http.client.HTTPResponse(_Shim(wire), method=method)  # type: ignore[arg-type]
            response.begin()
            told: dict[str, str] = {}
            for name, value in response.getheaders():
                key = name.lower()
                kept = value[:HEADER_CHARACTERS_MAX]
                told[key] = f"{told[key]}\n{kept}" if key in told else kept
            content = response.read(BODY_BYTES_MAX)
        except (LeadglassError, OSError, http.client.HTTPException, ValueError):
            wire.close()
            return None
        if response.will_close or not response.isclosed():
            wire.close()
        else:
            self._wire = wire
        return Answer(response.status, MappingProxyType(told), content)

    def _request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> bytes:
        host = self._line.name or (
            f"[{self._line.host}]" if ":" in self._line.host else self._line.host
        )
        lines = {
            "Host": f"{host}:{self._port}",
            "User-Agent": USER_AGENT,
            "Accept": "application/dicom+json, application/json;q=0.9, */*;q=0.5",
            **headers,
        }
        if body or method in {"POST", "PUT"}:
            lines["Content-Length"] = str(len(body))
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body

    def close(self) -> None:
        """End the connection that is kept."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None


def basic(user: str, password: str) -> str:
    """Return the value of ``Authorization`` (RFC 7617)."""
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


class _Reader(io.RawIOBase):
    """Reads a wire for http.client, which knows neither deadlines nor budgets."""

    def __init__(self, wire: Wire) -> None:
        self._from = wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._from.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _Shim:
    """What http.client takes for a socket."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._wire), 16 * 1024)
