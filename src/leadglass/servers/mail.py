"""Giving mail to a server: SMTP (RFC 5321) over verified TLS, or not at all.

There is no way to send without TLS: either the connection begins with it (RFC 8314
§3.3) or STARTTLS (RFC 3207) must succeed before anything else is said. The server's
certificate and name are verified, against the CA file that the settings name or those
of the system.
"""

import logging
import os
import smtplib
import ssl
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Final, TypeVar

from leadglass.errors import LeadglassError, Misconfigured, Unavailable

_LOG = logging.getLogger(__name__)

# A password has some 20; a file that is longer is another one.
PASSWORD_BYTES_MAX: Final = 1024
_OTHERS: Final = 0o077
Said = TypeVar("Said")
_DONE: Final = 2  # the first digit of a reply (RFC 5321 §4.2.1)
# How long a stop waits for what is on its way; what is cut off is sent again.
_STOP_WAIT_S: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    """Gives mail to one server.

    Attributes:
        host: Its name, as its certificate says it, or its address.
        port: Its port.
        starts_plain: Whether TLS begins by STARTTLS; else with the connection.
        ca_file: Whom to trust; ``None``: the authorities of this system.
        timeout_s: How long it may take for each answer.
        own_name: What we call ourselves (EHLO).
        user: Whom to log in as; empty: nobody.
        password_file: Where the password is; read each time, so it may change.
    """

    host: str
    port: int
    starts_plain: bool
    ca_file: Path | None
    timeout_s: float
    own_name: str
    user: str = ""
    password_file: Path | None = None

    def __call__(self, mail: EmailMessage) -> None:
        """Return when the server has taken a mail.

        Raises:
            Unavailable: It has not, for now; what the server said is not repeated,
                only its code.
            Misconfigured: The CA file or the password file cannot be used.
        """
        refused = self._spoken(lambda server: server.send_message(mail))
        if refused:
            # Somebody has it; to send it again would be noise for who does.
            _LOG.warning("the mail server refused %d recipients", len(refused))

    def look(self) -> None:
        """Return when the server has let us in; it gets no mail.

        Raises:
            Unavailable: It has not.
            Misconfigured: The CA file or the password file cannot be used.
        """

        def knock(server: smtplib.SMTP) -> None:
            code, words = server.noop()
            if code // 100 != _DONE:
                raise smtplib.SMTPResponseException(code, words)

        self._spoken(knock)

    def file_problems(self) -> Iterator[str]:
        """Yield what is wrong with what the CA file and the password file hold."""
        for use in (self._context, self._password):
            try:
                use()
            except Misconfigured as error:
                yield from error.problems

    def _spoken(self, speak: Callable[[smtplib.SMTP], Said]) -> Said:
        """Speak to the server, over TLS and logged in."""
        password = self._password()
        context = self._context()
        try:
            with self._connect(context) as server:
                if self.starts_plain:
                    server.starttls(context=context)
                if self.user:
                    server.login(self.user, password)
                return speak(server)
        except (OSError, ValueError) as error:  # also SMTPException and SSLError
            raise Unavailable(f"the mail server: {_kind(error)}") from None

    def _connect(self, context: ssl.SSLContext) -> smtplib.SMTP:
        if self.starts_plain:
            return smtplib.SMTP(
                self.host, self.port, self.own_name, timeout=self.timeout_s
            )
        return smtplib.SMTP_SSL(
            self.host,
            self.port,
            self.own_name,
            timeout=self.timeout_s,
            context=context,
        )

    def _context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(
                cafile=None if self.ca_file is None else str(self.ca_file)
            )
        except OSError:
            raise Misconfigured(
                "notices.ca_file: cannot be read as PEM certificates; name such a file"
            ) from None
        context.minimum_version = ssl.TLSVersion.TLSv1_2  # BCP 195
        return context

    def _password(self) -> str:
        if self.password_file is None:
            return ""
        try:
            with self.password_file.open("rb") as file:
                if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & _OTHERS:
                    raise Misconfigured(
                        "notices.password_file: open to others; chmod go-rwx"
                    )
                content = file.read(PASSWORD_BYTES_MAX + 1)
            text = content.decode("utf-8").rstrip("\r\n")
        except OSError as error:
            raise Misconfigured(
                f"notices.password_file: cannot be read: {error.strerror}"
            ) from None
        except UnicodeDecodeError:
            raise Misconfigured(
                "notices.password_file: is not UTF-8; write the password as that"
            ) from None
        if not text or len(content) > PASSWORD_BYTES_MAX:
            raise Misconfigured(
                "notices.password_file: holds no password; write it there, alone"
            )
        return text


def _kind(error: Exception) -> str:
    """Say what went wrong without the words of the other side."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return "refused every recipient"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"refused with {error.smtp_code}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    return type(error).__name__


class Postman:
    """Does one thing again and again in a thread of its own, so that others need not
    wait for a mail server.

    Args:
        work: What is done; its errors are logged and it is done again.
        interval_s: How long to rest between.
    """

    def __init__(self, work: Callable[[], object], interval_s: float) -> None:
        self._work = work
        self._interval_s = interval_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notices", daemon=True)

    def start(self) -> None:
        """Begin, at once."""
        self._thread.start()

    def stop(self) -> None:
        """End, without waiting long for a server."""
        self._stopping.set()
        with suppress(RuntimeError):  # it was never started
            self._thread.join(_STOP_WAIT_S)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._work()
            except LeadglassError as error:
                _LOG.warning("notices: %s", error)
            except Exception as error:  # noqa: BLE001  # a bug must not end notices
                _LOG.error("notices failed: %s", type(error).__name__)
            self._stopping.wait(self._interval_s)
