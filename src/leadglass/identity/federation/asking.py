"""Asking a provider over HTTP/1.1: bounded in bytes, and in time as a whole.

The time limits of sockets are for one wait each, so that a peer which sends a byte
now and then is waited for without end. Here each wait gets what is left of the whole.
No redirect is followed, no proxy is asked, nothing of the environment counts.
"""

import io
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from json import loads
from pathlib import Path
from time import monotonic
from typing import Final, cast
from urllib.parse import SplitResult, urlencode, urlsplit

from leadglass.errors import Misconfigured, Refused, Unavailable

# A page of metadata has some 5 kB, a set of keys with certificates some 20 kB.
ANSWER_BYTES_MAX: Final = 262_144
# What an answer has beside its body: headers, and the framing of chunks.
_FRAME_BYTES_MAX: Final = 65_536
# Somebody waits in front of a browser.
TIME_S: Final = 10.0
# Questions at the same time. A provider that hangs must not take the threads of those
# who log in otherwise, or look at images.
QUESTIONS_MAX: Final = 8
_PORTS: Final = {"https": 443, "http": 80}


def tls_context(ca_file: Path | None, setting: str = "oidc.ca_file") -> ssl.SSLContext:
    """Return what verifies a provider's certificate and name (BCP 195).

    Args:
        ca_file: Whom to trust; ``None``: the authorities of this system.
        setting: Which names the file, for the remedy.

    Raises:
        Misconfigured: The file cannot be used.
    """
    try:
        context = ssl.create_default_context(
            cafile=None if ca_file is None else str(ca_file)
        )
    except OSError:
        raise Misconfigured(
            f"{setting}: cannot be read as PEM certificates; name such a file"
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _turns() -> threading.BoundedSemaphore:
    return threading.BoundedSemaphore(QUESTIONS_MAX)


@dataclass(frozen=True, slots=True)
class Asker:
    """Asks; for any thread.

    Attributes:
        context: Verifies who answers.
        time_s: How long one question may take, from its name's address to the last
            byte of the answer.
    """

    context: ssl.SSLContext = field(repr=False)
    time_s: float = TIME_S
    _turns: threading.BoundedSemaphore = field(default_factory=_turns, repr=False)

    def get(self, address: str) -> object:
        """Return the JSON that an address answers with.

        Raises:
            Unavailable: No answer, a redirect, too long, too slow, or no JSON.
        """
        status, body = self._ask("GET", address, None, {})
        return _json(status, body)

    def post(
        self, address: str, form: Mapping[str, str], headers: Mapping[str, str]
    ) -> object:
        """Return the JSON that a form is answered with.

        Raises:
            Refused: 400 or 401: what was sent is not accepted.
            Unavailable: As ``get``.
        """
        status, body = self._ask("POST", address, urlencode(form).encode(), headers)
        if status in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED}:
            raise Refused("the provider does not accept the code, or us")
        return _json(status, body)

    def _ask(
        self, method: str, address: str, body: bytes | None, more: Mapping[str, str]
    ) -> tuple[int, bytes]:
        # Nothing compressed: the limit is one of bytes that were sent, too.
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Connection": "close",
            "User-Agent": "leadglass",
            **more,
        }
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        parts = urlsplit(address)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if not self._turns.acquire(blocking=False):
            raise Unavailable("oidc: too many logins wait for the provider")
        connection = _Connection(parts, self.context, monotonic() + self.time_s)
        try:
            connection.request(method, target, body, headers)
            answer = connection.getresponse()
            got = answer.read(ANSWER_BYTES_MAX + 1)
        except ssl.SSLCertVerificationError as error:
            raise Unavailable(
                f"oidc: the provider's certificate is not trusted: "
                f"{error.verify_message}"
            ) from None
        except (OSError, HTTPException, ValueError):
            # Without their words: those of the other side may be in them.
            raise Unavailable(
                "oidc: the provider does not answer, or not in time"
            ) from None
        finally:
            connection.end()
            self._turns.release()
        if len(got) > ANSWER_BYTES_MAX:
            raise Unavailable("oidc: the provider's answer has no end")
        return answer.status, got


def _json(status: int, body: bytes) -> object:
    if status != HTTPStatus.OK:
        raise Unavailable(f"oidc: the provider answers {status}")
    try:
        return loads(body)
    except (ValueError, RecursionError):
        raise Unavailable("oidc: the provider's answer is no JSON") from None


class _Connection(HTTPConnection):
    """One connection for one question, with one end of time for all it does."""

    def __init__(
        self, parts: SplitResult, context: ssl.SSLContext, ends_at: float
    ) -> None:
        host = parts.hostname or ""
        super().__init__(host, parts.port or _PORTS.get(parts.scheme, 0))
        self._context = context if parts.scheme == "https" else None
        self._ends_at = ends_at
        self._line: socket.socket | None = None

    def connect(self) -> None:
        """Connect to the first address of the name that takes us."""
        line = _connected(self.host, self.port, self._ends_at)
        self._line = line
        if self._context is not None:
            line.settimeout(_left_s(self._ends_at))
            # Python's handshake takes the limit for all of its steps together.
            self._line = self._context.wrap_socket(line, server_hostname=self.host)
        # What the library needs of a socket, and no more.
        self.sock = cast("socket.socket", _Line(self._line, self._ends_at))

    def end(self) -> None:
        """Let go of it, wherever it is."""
        self.close()
        if self._line is not None:
            self._line.close()


class _Line:
    """A socket whose every wait ends at the same moment."""

    def __init__(self, line: socket.socket, ends_at: float) -> None:
        self._line = line
        self._ends_at = ends_at

    def sendall(self, data: bytes) -> None:
        self._line.settimeout(_left_s(self._ends_at))
        self._line.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Answer(self._line, self._ends_at))

    def close(self) -> None:
        """Do nothing: the answer is still read; ``end`` closes."""


class _Answer(io.RawIOBase):
    """The bytes of an answer, as many as there may be."""

    def __init__(self, line: socket.socket, ends_at: float) -> None:
        self._line = line
        self._ends_at = ends_at
        self._left = ANSWER_BYTES_MAX + _FRAME_BYTES_MAX

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        self._line.settimeout(_left_s(self._ends_at))
        count = self._line.recv_into(buffer)
        self._left -= count
        if self._left < 0:
            raise OSError("an answer without an end")
        return count


def _connected(host: str, port: int, ends_at: float) -> socket.socket:
    """Return a connection to the first address that takes one.

    Raises:
        OSError: None does, in time.
    """
    failed: OSError | None = None
    for family, kind, protocol, _, place in socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM
    ):
        line = socket.socket(family, kind, protocol)
        try:
            line.settimeout(_left_s(ends_at))
            line.connect(place)
        except OSError as error:
            line.close()
            failed = error
        else:
            return line
    raise failed or OSError("the name has no address")


def _left_s(ends_at: float) -> float:
    """Return the time that is left.

    Raises:
        TimeoutError: None.
    """
    left_s = ends_at - monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s
