"""Every request passes here, in this order.

Host, rate, turn, identity, route, origin, right, length; only then a handler. Who is
nobody learns neither which routes there are nor which methods they have.
"""

import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPMethod, HTTPStatus
from ipaddress import ip_address
from types import MappingProxyType
from typing import Final
from urllib.parse import parse_qsl, quote, urlsplit

from leadglass.access.networks import Address, plain
from leadglass.access.rights import Right
from leadglass.archive.caller import Caller
from leadglass.archive.meters import Meters
from leadglass.errors import LeadglassError, Refused
from leadglass.servers.http.answers import Answer, Problem, problem_of
from leadglass.servers.http.authentication import (
    Authenticators,
    Presented,
    Proof,
    authenticate,
    presented_by,
)
from leadglass.servers.http.exchange import Exchange
from leadglass.servers.http.headers import Headers
from leadglass.servers.http.incoming import Refused as NoRequest
from leadglass.servers.http.limits import Buckets, HttpLimits
from leadglass.servers.http.routes import UNSAFE_METHODS, Call, Door, Route, Routes
from leadglass.servers.http.secured import Ended, TooSlow
from leadglass.servers.http.turns import Turns

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
# What is counted by its name.
_METHODS: Final = frozenset(HTTPMethod)
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
    channel: str
    certificate: bytes | None


class Guard:
    """Answers requests, each in the thread of its connection.

    Args:
        routes: What is served; nothing else is.
        authenticators: Who judges which proof; a kind without one proves nobody.
        doorman: Judges the right that a route names.
        origins: By which names clients know us: ``https://pacs.example:8443``.
        limits: All of them.
        stranger: Hears of who proves nothing; must not wait.
        meters: Count what is asked.
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
        stranger: Stranger = unheard,
        meters: Meters | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._meters = meters or Meters()
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
        self._requests = Turns(limits.requests_max, limits.wait_s)
        self._streams = Turns(limits.streams_max, limits.wait_s)
        self._rate = Buckets(limits.requests_per_s_max, limits.burst, clock)
        self._failures = Buckets(
            limits.failures_per_s_max, limits.failures_burst, clock
        )

    def __call__(self, exchange: Exchange) -> None:
        """Answer one request.

        Raises:
            Ended, TooSlow: There is nobody to answer any more.
        """
        began_s = self._clock()
        request_id = secrets.token_hex(8)
        log = _Line(request_id, exchange)
        try:
            try:
                asked = self._read(exchange, request_id)
                answer = self._answer(asked, exchange, log)
                self._send(exchange, answer, request_id)
            except TimeoutError:
                raise Problem(
                    HTTPStatus.SERVICE_UNAVAILABLE, "busy", {"retry-after": "5"}
                ) from None
        except (Ended, TooSlow, NoRequest):
            raise
        except Exception as error:  # noqa: BLE001  # the last place where one is caught
            self._fail(error, exchange, request_id)
        finally:
            took_s = self._clock() - began_s
            log.write(took_s)
            method = exchange.request.method
            self._meters.request(
                method if method in _METHODS else "-",
                log.template,
                exchange.status,
                exchange.sent_bytes,
                took_s,
            )

    def _send(self, exchange: Exchange, answer: Answer, request_id: str) -> None:
        """Send an answer; one in pieces waits for its turn."""
        headers = _headers(answer, request_id)
        if isinstance(answer.body, bytes):
            exchange.answer(answer, headers)
            return
        try:
            with self._streams.turn():
                exchange.answer(answer, headers)
        finally:
            close = getattr(answer.body, "close", None)
            if close is not None:
                close()

    def _fail(self, error: Exception, exchange: Exchange, request_id: str) -> None:
        """Tell an error, or end the connection if an answer has begun.

        Raises:
            Ended: It has.
        """
        if not isinstance(error, Problem | LeadglassError | TimeoutError):
            # Its text may hold what the request held; its kind and place do not.
            _LOG.error("%s failed: %s", request_id, _place(error))
        elif not isinstance(error, Problem | Refused):
            _LOG.warning("%s: %s", request_id, error)
        if exchange.status:
            raise Ended from None
        answer = problem_of(error, request_id)
        exchange.answer(answer, _headers(answer, request_id))

    def _read(self, exchange: Exchange, request_id: str) -> _Asked:
        """Understand the head of a request.

        Raises:
            Problem: 421, it is not for us; 429, it is one too many.
        """
        request, headers = exchange.request, exchange.request.headers
        hosts = headers.getlist("host")
        origin = self._origins.get(hosts[0].lower()) if len(hosts) == 1 else None
        if origin is None:
            # A page of another name that now resolves to us must get nothing.
            raise Problem(HTTPStatus.MISDIRECTED_REQUEST)
        address = plain(ip_address(exchange.address.partition("%")[0]))
        if not self._rate.take(address) or not self._failures.has(address):
            raise Problem(HTTPStatus.TOO_MANY_REQUESTS, "", {"retry-after": "5"})
        try:
            url = request.url.decode("ascii")
        except UnicodeDecodeError:
            raise Problem(HTTPStatus.BAD_REQUEST) from None
        path, _, query = url.partition("#")[0].partition("?")
        return _Asked(
            id=request_id,
            method=request.method,
            raw_path=path,
            query=query,
            headers=headers,
            origin=origin,
            address=address,
            channel=exchange.channel,
            certificate=exchange.certificate,
        )

    def _answer(self, asked: _Asked, exchange: Exchange, log: "_Line") -> Answer:
        """Return the answer."""
        method = "GET" if asked.method == "HEAD" else asked.method
        found = self.routes.find(asked.raw_path)
        known = {each.value: pair for each, pair in found.items()}
        route, path = known.get(method, (None, {}))
        if route is not None:
            log.template = route.template
        if route is not None and route.access is Door.PUBLIC:
            self._check_origin(asked, None)
            return self._serve(asked, route, path, None, exchange)
        presented = self._presented(asked)
        if route is None:
            with self._requests.turn():
                self._prove(asked, presented)
            if not found:
                raise Problem(HTTPStatus.NOT_FOUND)
            allowed = ", ".join(sorted(known))
            raise Problem(HTTPStatus.METHOD_NOT_ALLOWED, "", {"allow": allowed})
        self._check_origin(asked, presented)
        return self._serve(asked, route, path, presented, exchange)

    def _serve(
        self,
        asked: _Asked,
        route: Route,
        path: Mapping[str, str],
        presented: Presented | None,
        exchange: Exchange,
    ) -> Answer:
        """Prove, decide and handle; a body comes at its client's pace, out of turn."""

        def proven() -> Call:
            caller = None
            if route.access is not Door.PUBLIC:
                caller = self._prove(asked, presented)
            if caller is not None and isinstance(route.access, Right):
                self._doorman(caller, route.access, route.template)
            return self._call(asked, path, caller)

        exchange.check(route.body_bytes_max)
        _check_coding(asked.headers)
        with self._requests.turn():
            call = proven()
            if route.handler is not None:
                return route.handler(call)
        body = exchange.pieces(route.body_bytes_max)
        if route.reader is not None:
            whole = b"".join(body)
            with self._requests.turn():
                return route.reader(call, whole)
        assert route.receiver is not None  # a route has one of them
        with self._streams.turn():
            return route.receiver(call, body)

    def _presented(self, asked: _Asked) -> Presented | None:
        try:
            return presented_by(
                asked.headers, asked.certificate, asked.address, asked.channel
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
            channel=asked.channel,
            request_id=asked.id,
            proven=caller,
        )


class _Line:
    """What the log says of a request: nothing that it said itself but its method."""

    def __init__(self, request_id: str, exchange: Exchange) -> None:
        self._id = request_id
        self._exchange = exchange
        self.template = "-"  # of the route, once it is found

    def write(self, took_s: float) -> None:
        exchange = self._exchange
        _LOG.info(
            "%s %s %s %d %d bytes %.1f ms",
            self._id,
            exchange.request.method,
            self.template,
            exchange.status,
            exchange.sent_bytes,
            took_s * 1000,
        )


def _headers(answer: Answer, request_id: str) -> dict[str, str]:
    headers = {**DEFAULT_HEADERS, **answer.headers}
    headers["date"] = formatdate(usegmt=True)
    headers["x-request-id"] = request_id
    if answer.media_type:
        headers["content-type"] = answer.media_type
    return headers


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
