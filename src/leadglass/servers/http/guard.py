"""The ASGI application: every request passes here, in this order.

Host, rate, turn, identity, route, origin, right, length; only then a handler. Who is
nobody learns neither which routes there are nor which methods they have.
"""

import contextlib
import logging
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPMethod, HTTPStatus
from ipaddress import ip_address
from types import MappingProxyType
from typing import Final
from urllib.parse import parse_qsl, quote, urlsplit

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from leadglass.access.networks import Address, plain
from leadglass.access.rights import Right
from leadglass.archive.caller import Caller
from leadglass.errors import LeadglassError, Refused
from leadglass.servers.http.answers import Answer, Problem, problem_of
from leadglass.servers.http.authentication import (
    Authenticators,
    Presented,
    Proof,
    authenticate,
    presented_by,
)
from leadglass.servers.http.limits import Buckets, HttpLimits
from leadglass.servers.http.protocol import CONNECTION, Connection
from leadglass.servers.http.routes import UNSAFE_METHODS, Call, Door, Route, Routes
from leadglass.servers.http.stream import Threads, Turns, in_time

_LOG = logging.getLogger(__name__)

# Raises ``Refused``, on the record, if a caller has no such right at all now. The
# use case decides again, with its scope; this keeps a route honest that forgets to.
Doorman = Callable[[Caller, Right, str], object]

# Hears of everybody who is nobody, with the address and a reason of ours. Proofs that
# were judged are told by their judge.
Stranger = Callable[[Address, str], object]


def unheard(_address: Address, _reason: str) -> None:
    """Hear nothing."""


# Two years, as browsers' lists ask; the HTTP port does not exist anyway.
_HSTS: Final = "max-age=63072000; includeSubDomains"
# What an answer has unless it says otherwise. Nothing of ours is a page here: the
# web app's pages say what they need.
DEFAULT_HEADERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "strict-transport-security": _HSTS,
        "content-security-policy": (
            "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; "
            "form-action 'none'"
        ),
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "no-referrer",
        "cross-origin-resource-policy": "same-origin",
        "cross-origin-opener-policy": "same-origin",
        "permissions-policy": "camera=(), geolocation=(), microphone=()",
        "cache-control": "no-store",
    }
)
# Where people begin who have not logged in.
LOGIN: Final = "/login"
# Where a provider that proves people sends their browsers back to.
LANDING: Final = "/oidc/callback"
_PORT = re.compile(r":\d+$", re.ASCII)
_CROSS_SITES: Final = frozenset({"cross-site", "same-site"})


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request whose head is understood."""

    id: str
    method: str
    raw_path: str
    query: str
    headers: Headers
    origin: str
    address: Address
    connection: Connection


class Guard:
    """The ASGI application.

    Args:
        routes: What is served; nothing else is.
        authenticators: Who judges which proof; a kind without one proves nobody.
        doorman: Judges the right that a route names.
        origins: By which names clients know us: ``https://pacs.example:8443``.
        limits: All of them.
        executor: ``limits.requests_max`` threads.
        stranger: Hears of who proves nothing; must not wait.
        clock: Seconds that only go forward.

    Raises:
        ValueError: An origin is none.
    """

    def __init__(  # noqa: PLR0913  # the collaborators
        self,
        routes: Iterable[Route],
        authenticators: Authenticators,
        doorman: Doorman,
        *,
        origins: Iterable[str],
        limits: HttpLimits,
        executor: Executor,
        stranger: Stranger = unheard,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.routes = Routes(routes)
        self._authenticators = authenticators
        self._doorman = doorman
        self._origins: dict[str, str] = {}
        for origin in origins:
            host = _host(origin)
            self._origins[host] = origin.lower()
            # dicomweb-client says the name alone, whatever the port. It is the name
            # that a page cannot choose.
            self._origins.setdefault(_PORT.sub("", host), origin.lower())
        self._limits = limits
        self._clock = clock
        self._stranger = stranger
        self._threads = Threads(executor, Turns(limits.requests_max, limits.wait_s))
        self._streams = Turns(limits.streams_max, limits.wait_s)
        self._rate = Buckets(limits.requests_per_s_max, limits.burst, clock)
        self._failures = Buckets(
            limits.failures_per_s_max, limits.failures_burst, clock
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return  # neither sockets nor life spans are spoken here
        began_s = self._clock()
        request_id = secrets.token_hex(8)
        connection = scope["extensions"][CONNECTION]
        sender = _Sender(scope, send, self._limits, request_id)
        body = _Body(scope, receive, self._limits, self._clock)
        try:
            asked = self._read(scope, request_id)
            try:
                answer = await self._answer(asked, body, sender)
                await self._send(sender, answer, close=not body.is_read)
            except TimeoutError:
                raise Problem(
                    HTTPStatus.SERVICE_UNAVAILABLE, "busy", {"retry-after": "5"}
                ) from None
        except Exception as error:  # noqa: BLE001  # the last place where one is caught
            await self._fail(error, sender, connection, close=not body.is_read)
        _LOG.info(
            "%s %s %s %d %d bytes %.1f ms",
            request_id,
            scope["method"],
            sender.template,
            sender.status,
            sender.sent_bytes,
            (self._clock() - began_s) * 1000,
        )

    async def _send(self, sender: "_Sender", answer: Answer, *, close: bool) -> None:
        """Send an answer; one in pieces waits for its turn."""
        if isinstance(answer.body, bytes):
            await sender.send(answer, self._threads, close=close)
            return
        try:
            async with self._streams.turn():
                await sender.send(answer, self._threads, close=close)
        finally:
            await self._threads.close(answer.body)

    async def _fail(
        self,
        error: Exception,
        sender: "_Sender",
        connection: Connection,
        *,
        close: bool,
    ) -> None:
        """Tell an error, or end the connection if an answer has begun."""
        if not isinstance(error, Problem | LeadglassError | TimeoutError):
            # Its text may hold what the request held; its kind and place do not.
            _LOG.error("%s failed: %s", sender.request_id, _place(error))
        elif not isinstance(error, Problem | Refused):
            _LOG.warning("%s: %s", sender.request_id, error)
        if sender.status:
            connection.abort()
            return
        try:
            await sender.send(
                problem_of(error, sender.request_id), self._threads, close=close
            )
        except TimeoutError:
            connection.abort()

    def _read(self, scope: Scope, request_id: str) -> _Asked:
        """Understand the head of a request.

        Raises:
            Problem: 421, it is not for us; 429, it is one too many.
        """
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        origin = self._origins.get(hosts[0].lower()) if len(hosts) == 1 else None
        if origin is None:
            # A page of another name that now resolves to us must get nothing.
            raise Problem(HTTPStatus.MISDIRECTED_REQUEST)
        address = plain(ip_address(scope["client"][0].partition("%")[0]))
        if not self._rate.take(address) or not self._failures.has(address):
            raise Problem(HTTPStatus.TOO_MANY_REQUESTS, "", {"retry-after": "5"})
        return _Asked(
            id=request_id,
            method=scope["method"],
            raw_path=scope["raw_path"].decode("ascii"),
            query=scope["query_string"].decode("ascii", "replace"),
            headers=headers,
            origin=origin,
            address=address,
            connection=scope["extensions"][CONNECTION],
        )

    async def _answer(self, asked: _Asked, body: "_Body", sender: "_Sender") -> Answer:
        """Return the answer; the sender learns of the route, for the log."""
        method = "GET" if asked.method == "HEAD" else asked.method
        found = self.routes.find(asked.raw_path)
        known = {each.value: pair for each, pair in found.items()}
        route, path = known.get(method, (None, {}))
        if route is not None:
            sender.template = route.template
        if route is not None and route.access is Door.PUBLIC:
            self._check_origin(asked, None)
            return await self._serve(asked, route, path, None, body)
        presented = self._presented(asked)
        if route is None:
            await self._threads.in_turn(lambda: self._prove(asked, presented))
            if not found:
                raise Problem(HTTPStatus.NOT_FOUND)
            allowed = ", ".join(sorted(known))
            raise Problem(HTTPStatus.METHOD_NOT_ALLOWED, "", {"allow": allowed})
        self._check_origin(asked, presented)
        return await self._serve(asked, route, path, presented, body)

    async def _serve(
        self,
        asked: _Asked,
        route: Route,
        path: Mapping[str, str],
        presented: Presented | None,
        body: "_Body",
    ) -> Answer:
        """Prove, decide and handle, in one thread where no body is read."""

        def proven() -> Call:
            caller = None
            if route.access is not Door.PUBLIC:
                caller = self._prove(asked, presented)
            if caller is not None and isinstance(route.access, Right):
                self._doorman(caller, route.access, route.template)
            return self._call(asked, path, caller)

        body.check(route.body_bytes_max)
        _check_coding(asked.headers)
        if route.handler is not None:
            handler = route.handler
            return await self._threads.in_turn(lambda: handler(proven()))
        call = await self._threads.in_turn(proven)
        reader = route.reader
        if reader is not None:
            whole = b"".join(
                [piece async for piece in body.pieces(route.body_bytes_max)]
            )
            return await self._threads.in_turn(lambda: reader(call, whole))
        assert route.receiver is not None  # a route has one of them
        async with self._streams.turn():
            return await route.receiver(call, body.pieces(route.body_bytes_max))

    def _presented(self, asked: _Asked) -> Presented | None:
        try:
            return presented_by(
                asked.headers,
                asked.connection.certificate,
                asked.address,
                asked.connection.channel,
            )
        except Problem:
            self._failures.take(asked.address)
            self._stranger(asked.address, "a proof of identity that is none")
            raise

    def _prove(self, asked: _Asked, presented: Presented | None) -> Caller:
        """Return who asks; guesses are counted, having none to offer is no guess."""
        try:
            return authenticate(self._authenticators, presented)
        except Problem as problem:
            if presented is None:
                self._stranger(asked.address, "no proof of identity")
            else:
                self._failures.take(asked.address)
            if asked.headers.get("sec-fetch-mode") == "navigate":
                # A person at a browser, not a script: whatever path it asked for.
                wanted = f"{asked.raw_path}?{asked.query}".rstrip("?")
                problem.headers["refresh"] = f"0;url={LOGIN}?next={quote(wanted)}"
            raise

    def _check_origin(self, asked: _Asked, presented: Presented | None) -> None:
        """Refuse what a page of another site makes a browser ask for.

        Raises:
            Problem: 403.
        """
        origins = asked.headers.getlist("origin")
        is_foreign = any(each.lower() != asked.origin for each in origins)
        by_browser = presented is None or presented.proof is not Proof.BEARER
        if by_browser and asked.headers.get("sec-fetch-site") in _CROSS_SITES:
            is_foreign = is_foreign or not _is_landing(asked)
        is_unsafe = asked.method in UNSAFE_METHODS
        is_session = presented is not None and presented.proof is Proof.SESSION
        if is_foreign or (is_unsafe and is_session and not origins):
            raise Problem(HTTPStatus.FORBIDDEN)

    def _call(
        self, asked: _Asked, path: Mapping[str, str], caller: Caller | None
    ) -> Call:
        try:
            query = parse_qsl(
                asked.query,
                keep_blank_values=True,
                errors="strict",
                max_num_fields=self._limits.parameters_max,
            )
        except ValueError:
            raise Problem(HTTPStatus.BAD_REQUEST, "the query is malformed") from None
        return Call(
            method=HTTPMethod(asked.method),
            path=path,
            query=tuple(query),
            headers=asked.headers,
            base=asked.origin,
            target=f"{asked.raw_path}?{asked.query}" if asked.query else asked.raw_path,
            address=asked.address,
            channel=asked.connection.channel,
            request_id=asked.id,
            proven=caller,
        )


class _Body:
    """The body of a request on its way in."""

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        limits: HttpLimits,
        clock: Callable[[], float],
    ) -> None:
        headers = Headers(scope=scope)
        self._receive = receive
        self._limits = limits
        self._clock = clock
        length = headers.get("content-length")
        self._length = int(length) if length is not None else None  # llhttp: digits
        self.is_read = not self._length and "transfer-encoding" not in headers

    def check(self, bytes_max: int) -> None:
        """Refuse a body by what it says of itself.

        Raises:
            Problem: 413, it is longer than the route takes, which may be nothing.
        """
        too_long = self._length is not None and self._length > bytes_max
        if too_long or (not bytes_max and not self.is_read):
            raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

    async def pieces(self, bytes_max: int) -> AsyncIterator[bytes]:
        """Yield it as it comes.

        Raises:
            Problem: 408, it is too slow; 413, it is too long; 400, it has no end.
        """
        came, began_s = 0, self._clock()
        while not self.is_read:
            try:
                message: Message = await in_time(
                    self._receive(), self._limits.receive_s
                )
            except TimeoutError:
                raise Problem(HTTPStatus.REQUEST_TIMEOUT) from None
            if message["type"] == "http.disconnect":
                raise Problem(HTTPStatus.BAD_REQUEST, "the body has no end")
            piece: bytes = message.get("body", b"")
            came += len(piece)
            if came > bytes_max:
                raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            self.is_read = not message.get("more_body", False)
            took_s = self._clock() - began_s - self._limits.receive_s
            if took_s > 0 and came < took_s * self._limits.body_bytes_per_s_min:
                raise Problem(HTTPStatus.REQUEST_TIMEOUT)
            if piece:
                yield piece


class _Sender:
    """An answer on its way out."""

    def __init__(
        self, scope: Scope, send: Send, limits: HttpLimits, request_id: str
    ) -> None:
        self._is_head = scope["method"] == "HEAD"
        self._send = send
        self._limits = limits
        self.request_id = request_id
        self.template = "-"  # of the route, once it is found
        self.status = 0  # until it has begun
        self.sent_bytes = 0

    async def send(self, answer: Answer, threads: Threads, *, close: bool) -> None:
        """Send it; ``close``: a body of the request was left unread.

        Raises:
            TimeoutError: The client does not take it.
        """
        await self._put(
            {
                "type": "http.response.start",
                "status": answer.status,
                "headers": self._headers(answer, close=close),
            }
        )
        self.status = answer.status
        if isinstance(answer.body, bytes):
            self.sent_bytes = len(answer.body)
            await self._put({"type": "http.response.body", "body": answer.body})
            return
        async with contextlib.aclosing(threads.pieces(answer.body)) as pieces:
            if not self._is_head:
                async for piece in pieces:
                    self.sent_bytes += len(piece)
                    await self._put(
                        {
                            "type": "http.response.body",
                            "body": piece,
                            "more_body": True,
                        }
                    )
        await self._put({"type": "http.response.body", "body": b""})

    def _headers(self, answer: Answer, *, close: bool) -> list[tuple[bytes, bytes]]:
        headers = {**DEFAULT_HEADERS, **answer.headers}
        headers["date"] = formatdate(usegmt=True)
        headers["x-request-id"] = self.request_id
        if answer.media_type:
            headers["content-type"] = answer.media_type
        if isinstance(answer.body, bytes):
            length: int | None = len(answer.body)
        else:
            length = answer.length_bytes
        if length is not None and answer.status not in {204, 304}:
            headers["content-length"] = str(length)
        if close:
            headers["connection"] = "close"
        return [(name.encode(), value.encode()) for name, value in headers.items()]

    async def _put(self, message: Message) -> None:
        await in_time(self._send(message), self._limits.send_s)


def _check_coding(headers: Headers) -> None:
    """Refuse a packed body: what it becomes is bounded by nothing that it says.

    Raises:
        Problem: 415, with what would be taken (RFC 9110 §12.5.3).
    """
    codings = {each.strip().lower() for each in headers.getlist("content-encoding")}
    if codings - {"", "identity"}:
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "send the body as it is",
            {"accept-encoding": "identity"},
        )


def _is_landing(asked: _Asked) -> bool:
    """Whether a whole page comes back from a provider; no frame, picture or script.

    It may: the handler believes nothing but what this browser was sent away with.
    """
    fetch = asked.headers.get("sec-fetch-mode"), asked.headers.get("sec-fetch-dest")
    return (
        asked.raw_path == LANDING
        and asked.method == HTTPMethod.GET
        and fetch == ("navigate", "document")
    )


def _host(origin: str) -> str:
    parts = urlsplit(origin)
    if parts.scheme != "https" or not parts.netloc or parts.path or parts.query:
        raise ValueError("an origin is written https://name or https://name:port")
    return parts.netloc.lower()


def _place(error: BaseException) -> str:
    """Say what failed and where, without its text."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    code = None if trace is None else trace.tb_frame.f_code
    where = "" if code is None or trace is None else f"{code.co_name}:{trace.tb_lineno}"
    return f"{type(error).__name__} in {where}"
