"""Logging in, enrolling, and what a person does with its own proofs, over HTTPS.

A browser holds the session's cookie; what it needs between two steps is a ticket, of
which its page keeps one half and another cookie the other (see ``halves``). Nothing
here tells who is a user: all failures have one answer.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from http import HTTPMethod, HTTPStatus
from io import BytesIO
from typing import Annotated, Concatenate, Final, ParamSpec, TypeVar

import msgspec
import segno
from msgspec import Meta

from leadglass.access.rights import Right
from leadglass.archive.caller import Caller
from leadglass.archive.logins import Logins, NotFresh, Peer
from leadglass.archive.parts import Parts
from leadglass.archive.visit import Visit, Visits
from leadglass.errors import NotFound, Refused
from leadglass.identity.people.enrolment import Offer
from leadglass.identity.people.login import LoggedIn, Pending
from leadglass.identity.people.sessions import Session
from leadglass.servers.api.halves import halved, whole
from leadglass.servers.http.answers import Answer, Problem
from leadglass.servers.http.authentication import (
    session_cookie,
    session_token,
    unproven,
)
from leadglass.servers.http.documents import Document, answer, giving, taking
from leadglass.servers.http.routes import About, Call, Door, Route

ROOT: Final = "/api"
# Longer ones are none; what is shorter is judged by the use case.
_NAME_MAX: Final = 256
_SECRET_MAX: Final = 1024
_LABEL_MAX: Final = 256
# A 64-bit number has 19 digits.
_DIGITS_MAX: Final = 19
# Light enough to scan from a screen, large enough for the oldest camera.
_QR_SCALE: Final = 5

Asked = ParamSpec("Asked")
Made = TypeVar("Made")
# The first step of a login, with a name and a password.
Begin = Callable[[str, str, Peer], Pending]
_Name = Annotated[str, Meta(max_length=_NAME_MAX)]
_Secret = Annotated[str, Meta(max_length=_SECRET_MAX)]
_Label = Annotated[str, Meta(min_length=1, max_length=_LABEL_MAX)]


class Nothing(Document, frozen=True):
    """No members."""


class NameAndPassword(Document, frozen=True):
    """The first step of a login."""

    name: _Name
    password: _Secret


class SecondStep(Document, frozen=True):
    """What the second step needs; the same whatever was right or wrong.

    ``passkey`` is for ``navigator.credentials.get`` (WebAuthn §5.5).
    """

    ticket: str
    passkey: msgspec.Raw
    ends_at: datetime


class TicketAndCode(Document, frozen=True):
    """A code of an authenticator app, or a recovery code."""

    ticket: _Secret
    code: _Secret


class TicketAndPasskey(Document, frozen=True):
    """The browser's answer for a passkey, as JSON (WebAuthn §5.1.8)."""

    ticket: _Secret
    response: msgspec.Raw


class Who(Document, frozen=True):
    """Who the caller is, and what its rules let it do somewhere."""

    name: str
    kind: str
    rights: tuple[str, ...]
    has_session: bool


class NameAndSecret(Document, frozen=True):
    """A one-time secret, as ``init`` or an administrator gave it."""

    name: _Name
    secret: _Secret


class Proofs(Document, frozen=True):
    """What is needed to choose proofs; ``qr`` is an SVG of ``app_uri``.

    ``passkey`` is for ``navigator.credentials.create`` (WebAuthn §5.4).
    """

    ticket: str
    name: str
    app_uri: str
    app_text: str
    qr: str
    passkey: msgspec.Raw
    ends_at: datetime


class PasswordAndApp(Document, frozen=True):
    """A password, and the first code of the app."""

    ticket: _Secret
    password: _Secret
    code: _Secret


class NewPasskey(Document, frozen=True):
    """The browser's answer for a new passkey, and what its owner calls it."""

    ticket: _Secret
    response: msgspec.Raw
    label: _Label


class RecoveryCodes(Document, frozen=True):
    """Good once each, in the app's place; shown here once."""

    name: str
    recovery_codes: tuple[str, ...]


class OneSession(Document, frozen=True):
    """A session; ``is_this`` if it is the one that asks."""

    number: int
    address: str
    factor: str
    created_at: datetime
    used_at: datetime
    ends_at: datetime
    is_this: bool


class OnePasskey(Document, frozen=True):
    """A passkey."""

    number: int
    label: str
    created_at: datetime
    used_at: datetime | None


class Mine(Document, frozen=True):
    """A person's own proofs and sessions; ``is_external``: somebody else proves it."""

    name: str
    sessions: tuple[OneSession, ...]
    passkeys: tuple[OnePasskey, ...]
    has_app: bool
    has_password: bool
    recovery_codes_left: int
    is_external: bool


class SessionList(Document, frozen=True):
    """The sessions of a user."""

    sessions: tuple[OneSession, ...]


class Ended(Document, frozen=True):
    """How many sessions were ended."""

    ended: int


class Code(Document, frozen=True):
    """A code of the app, or a recovery code."""

    code: _Secret


class NewPassword(Document, frozen=True):
    """What the password shall be."""

    password: _Secret


@dataclass(frozen=True, slots=True)
class LoginRoutes:
    """The routes of people.

    Attributes:
        parts: The collaborators.
        logins: The use cases.
        visits: Judges sessions.
        session_s: How long a session lasts at most, in seconds.
        begin: Judges a name and a password.
    """

    parts: Parts
    logins: Logins
    visits: Visits
    session_s: int
    begin: Begin

    def routes(self) -> Iterator[Route]:
        """Yield the routes."""
        yield from self._of_strangers()
        yield from self._of_the_enrolling()
        yield from self._of_everybody()
        yield from self._of_proofs()
        yield from self._of_administrators()

    # ── logging in ───────────────────────────────────────────────────────────

    def _of_strangers(self) -> Iterator[Route]:
        login = f"{ROOT}/login"
        yield taking(
            login,
            Door.PUBLIC,
            "First step: name and password",
            takes=NameAndPassword,
            gives=SecondStep,
            reader=lambda call, said: _second_step(
                call, self.begin(said.name, said.password, _peer(call))
            ),
        )
        yield taking(
            f"{login}/code",
            Door.PUBLIC,
            "Second step: a code; begins a session",
            takes=TicketAndCode,
            gives=Who,
            reader=lambda call, said: self._let_in(
                call,
                self.logins.finish(
                    whole(said.ticket, call.headers), said.code, _peer(call)
                ),
            ),
        )
        yield taking(
            f"{login}/passkey",
            Door.PUBLIC,
            "Begin to log in with a passkey alone",
            takes=Nothing,
            gives=SecondStep,
            reader=lambda call, _said: _second_step(call, self.logins.begin_passkey()),
        )
        yield taking(
            f"{login}/passkey/finish",
            Door.PUBLIC,
            "Second step, or the only one: a passkey; begins a session",
            takes=TicketAndPasskey,
            gives=Who,
            reader=lambda call, said: self._let_in(
                call,
                self.logins.finish_with_passkey(
                    whole(said.ticket, call.headers),
                    _text(said.response),
                    _peer(call),
                ),
            ),
        )

    def _let_in(self, call: Call, logged_in: LoggedIn) -> Answer:
        session = logged_in.session
        caller = Caller(
            subject=session.user.subject, address=call.address, channel=call.channel
        )
        who = self._who(caller, has_session=True)
        cookie = session_cookie(logged_in.token, self.session_s)
        return replace(answer(who), headers={"set-cookie": cookie})

    def _who(self, caller: Caller, *, has_session: bool) -> Who:
        return Who(
            name=caller.subject.name,
            kind=caller.subject.kind,
            rights=tuple(right for right in Right if self._may(caller, right)),
            has_session=has_session,
        )

    def _may(self, caller: Caller, right: Right) -> bool:
        """Tell whether a rule gives a right at all; to ask is no attempt."""
        try:
            self.parts.gate.scopes(caller, right)
        except Refused:
            return False
        return True

    # ── enrolling ────────────────────────────────────────────────────────────

    def _of_the_enrolling(self) -> Iterator[Route]:
        enrolment = f"{ROOT}/enrolment"
        yield taking(
            enrolment,
            Door.PUBLIC,
            "Begin to enrol with a one-time secret",
            takes=NameAndSecret,
            gives=Proofs,
            reader=lambda call, said: _begun(
                call,
                _proofs(
                    self.logins.begin_enrolment(said.name, said.secret, _peer(call))
                ),
            ),
        )
        yield taking(
            f"{enrolment}/app",
            Door.PUBLIC,
            "Enrol with a password and an authenticator app",
            takes=PasswordAndApp,
            gives=RecoveryCodes,
            reader=self._enrol_with_app,
        )
        yield taking(
            f"{enrolment}/passkey",
            Door.PUBLIC,
            "Enrol with a passkey",
            takes=NewPasskey,
            gives=RecoveryCodes,
            reader=self._enrol_with_passkey,
        )

    def _enrol_with_app(self, call: Call, said: PasswordAndApp) -> RecoveryCodes:
        enrolled = self.logins.finish_enrolment(
            whole(said.ticket, call.headers), said.password, said.code, _peer(call)
        )
        return RecoveryCodes(
            name=enrolled.user.name, recovery_codes=enrolled.recovery_codes
        )

    def _enrol_with_passkey(self, call: Call, said: NewPasskey) -> RecoveryCodes:
        enrolled = self.logins.finish_enrolment_with_passkey(
            whole(said.ticket, call.headers),
            _text(said.response),
            said.label,
            _peer(call),
        )
        return RecoveryCodes(
            name=enrolled.user.name, recovery_codes=enrolled.recovery_codes
        )

    # ── with a session ───────────────────────────────────────────────────────

    def _of_everybody(self) -> Iterator[Route]:
        me = f"{ROOT}/me"
        yield giving(
            me,
            Door.ANYBODY_PROVEN,
            "Who the caller is",
            gives=Who,
            handler=lambda call: self._who(
                call.caller, has_session=session_token(call.headers) is not None
            ),
        )
        yield Route(
            method=HTTPMethod.POST,
            template=f"{ROOT}/logout",
            access=Door.ANYBODY_PROVEN,
            handler=self._log_out,
            about=About("End the session", statuses=(HTTPStatus.FORBIDDEN,)),
        )
        yield giving(
            f"{me}/proofs",
            Door.ANYBODY_PROVEN,
            "The caller's own proofs and sessions",
            gives=Mine,
            handler=self._mine,
        )
        yield taking(
            f"{me}/prove",
            Door.ANYBODY_PROVEN,
            "Prove oneself anew with a code, before what is dangerous",
            takes=Code,
            gives=None,
            reader=lambda call, said: _done(
                lambda: self.logins.prove(self._visit(call), said.code)
            ),
        )
        yield taking(
            f"{me}/prove/passkey",
            Door.ANYBODY_PROVEN,
            "Prove oneself anew with a passkey; the ticket is of login/passkey",
            takes=TicketAndPasskey,
            gives=None,
            reader=lambda call, said: _done(
                lambda: self.logins.prove_with_passkey(
                    self._visit(call),
                    whole(said.ticket, call.headers),
                    _text(said.response),
                )
            ),
        )
        yield giving(
            f"{me}/sessions/end",
            Door.ANYBODY_PROVEN,
            "End all sessions of the caller but this one",
            gives=Ended,
            handler=lambda call: Ended(
                ended=self.logins.end_own_other_sessions(self._visit(call))
            ),
            method=HTTPMethod.POST,
        )
        yield Route(
            method=HTTPMethod.POST,
            template=f"{me}/sessions/{{number}}/end",
            access=Door.ANYBODY_PROVEN,
            handler=lambda call: _done(
                lambda: self.logins.end_own_session(self._visit(call), _number(call))
            ),
            about=About("End one session of the caller"),
        )

    def _log_out(self, call: Call) -> Answer:
        self.logins.log_out(self._visit(call))
        return Answer(
            HTTPStatus.NO_CONTENT, headers={"set-cookie": session_cookie("", 0)}
        )

    def _mine(self, call: Call) -> Mine:
        visit = self._visit(call)
        own = self.logins.own(visit)
        return Mine(
            name=visit.session.user.name,
            sessions=_sessions(own.sessions, visit.session),
            passkeys=tuple(
                OnePasskey(
                    number=each.id,
                    label=each.label,
                    created_at=each.created_at,
                    used_at=each.used_at,
                )
                for each in own.passkeys
            ),
            has_app=own.has_app,
            has_password=own.has_password,
            recovery_codes_left=own.recovery_codes_left,
            is_external=visit.session.user.is_external,
        )

    # ── one's own proofs, with a fresh session ───────────────────────────────

    def _of_proofs(self) -> Iterator[Route]:
        me = f"{ROOT}/me"
        yield giving(
            f"{me}/proofs/offer",
            Door.ANYBODY_PROVEN,
            "What is needed for another app or passkey",
            gives=Proofs,
            handler=lambda call: _proofs(_fresh(self.logins.offer, self._visit(call))),
            method=HTTPMethod.POST,
        )
        yield taking(
            f"{me}/password",
            Door.ANYBODY_PROVEN,
            "Take another password; all sessions end",
            takes=NewPassword,
            gives=None,
            reader=lambda call, said: _done(
                lambda: _fresh(
                    self.logins.change_password, self._visit(call), said.password
                )
            ),
        )
        yield taking(
            f"{me}/app",
            Door.ANYBODY_PROVEN,
            "Take another authenticator app; all sessions end",
            takes=TicketAndCode,
            gives=None,
            reader=lambda call, said: _done(
                lambda: _fresh(
                    self.logins.replace_app, self._visit(call), said.ticket, said.code
                )
            ),
        )
        yield taking(
            f"{me}/passkeys",
            Door.ANYBODY_PROVEN,
            "Add a passkey",
            takes=NewPasskey,
            gives=OnePasskey,
            reader=self._add_passkey,
        )
        yield Route(
            method=HTTPMethod.DELETE,
            template=f"{me}/passkeys/{{number}}",
            access=Door.ANYBODY_PROVEN,
            handler=lambda call: _done(
                lambda: _fresh(
                    self.logins.remove_passkey, self._visit(call), _number(call)
                )
            ),
            about=About("Remove a passkey; all sessions end"),
        )
        yield giving(
            f"{me}/recovery-codes",
            Door.ANYBODY_PROVEN,
            "New recovery codes; the old ones end",
            gives=RecoveryCodes,
            handler=self._renew_codes,
            method=HTTPMethod.POST,
        )

    def _add_passkey(self, call: Call, said: NewPasskey) -> OnePasskey:
        made = _fresh(
            self.logins.add_passkey,
            self._visit(call),
            said.ticket,
            _text(said.response),
            said.label,
        )
        return OnePasskey(
            number=made.id,
            label=made.label,
            created_at=made.created_at,
            used_at=made.used_at,
        )

    def _renew_codes(self, call: Call) -> RecoveryCodes:
        visit = self._visit(call)
        codes = _fresh(self.logins.renew_recovery_codes, visit)
        return RecoveryCodes(name=visit.session.user.name, recovery_codes=codes)

    # ── for administrators ───────────────────────────────────────────────────

    def _of_administrators(self) -> Iterator[Route]:
        sessions = f"{ROOT}/users/{{user}}/sessions"
        yield giving(
            sessions,
            Right.ADMINISTER,
            "The sessions of a user",
            gives=SessionList,
            handler=lambda call: SessionList(
                sessions=_sessions(
                    self.logins.sessions_of(call.caller, call.path["user"])
                )
            ),
        )
        yield giving(
            sessions,
            Right.ADMINISTER,
            "End all sessions of a user",
            gives=Ended,
            handler=lambda call: Ended(
                ended=self.logins.end_sessions_of(call.caller, call.path["user"])
            ),
            method=HTTPMethod.DELETE,
        )

    def _visit(self, call: Call) -> Visit:
        """Return the session that asks.

        Raises:
            Problem: 403, the caller has proven itself otherwise: a program has no
                sessions and no proofs of a person.
        """
        token = session_token(call.headers)
        if token is None:
            raise Problem(HTTPStatus.FORBIDDEN, "only for who has logged in")
        try:
            return self.visits.visit(token, call.address, call.channel)
        except Refused:
            raise unproven() from None


def _fresh(
    work: Callable[Concatenate[Visit, Asked], Made],
    visit: Visit,
    *asked: Asked.args,
    **named: Asked.kwargs,
) -> Made:
    """Do what needs a fresh session.

    Raises:
        Problem: 403, it is not: prove yourself anew, and ask again.
    """
    try:
        return work(visit, *asked, **named)
    except NotFresh as error:
        raise Problem(HTTPStatus.FORBIDDEN, str(error)) from None


def _peer(call: Call) -> Peer:
    return Peer(call.address, call.channel)


def _text(response: msgspec.Raw) -> str:
    return bytes(response).decode("utf-8", "replace")


def _done(act: Callable[[], object]) -> Answer:
    act()
    return Answer(HTTPStatus.NO_CONTENT)


def _second_step(call: Call, pending: Pending) -> Answer:
    return _begun(
        call,
        SecondStep(
            ticket=pending.ticket,
            passkey=msgspec.Raw(pending.passkey_options.encode()),
            ends_at=pending.ends_at,
        ),
    )


def _begun(call: Call, step: SecondStep | Proofs) -> Answer:
    """Answer with a ticket's half; the other one goes into a cookie."""
    half, cookie = halved(step.ticket, call.headers)
    told = msgspec.structs.replace(step, ticket=half)
    return replace(answer(told), headers={"set-cookie": cookie})


def _proofs(offer: Offer) -> Proofs:
    return Proofs(
        ticket=offer.ticket,
        name=offer.user.name,
        app_uri=offer.totp_uri,
        app_text=offer.totp_text,
        qr=_qr(offer.totp_uri),
        passkey=msgspec.Raw(offer.passkey_options.encode()),
        ends_at=offer.ends_at,
    )


def _qr(text: str) -> str:
    """Return a QR code as SVG, made here: the secret in it goes nowhere else."""
    drawn = BytesIO()
    segno.make(text, error="m").save(
        drawn, kind="svg", scale=_QR_SCALE, xmldecl=False, light="#fff"
    )
    return drawn.getvalue().decode()


def _sessions(
    found: tuple[Session, ...], this: Session | None = None
) -> tuple[OneSession, ...]:
    return tuple(
        OneSession(
            number=each.id,
            address=each.address,
            factor=each.factor,
            created_at=each.created_at,
            used_at=each.used_at,
            ends_at=each.ends_at,
            is_this=this is not None and each.id == this.id,
        )
        for each in found
    )


def _number(call: Call) -> int:
    """Return the number in the path.

    Raises:
        NotFound: It is none, so there is nothing of that number.
    """
    text = call.path["number"]
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX):
        raise NotFound("no such number")
    return int(text)
