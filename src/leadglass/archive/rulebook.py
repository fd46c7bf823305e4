"""The rules that stand now: those of the register, of the rule file, of the node."""

import hashlib
import logging
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from leadglass.access.policy import SENDERS, Rule, Subject
from leadglass.access.rights import Right
from leadglass.access.rulefile import RuleFile
from leadglass.archive.people import PeopleRules
from leadglass.errors import Misconfigured
from leadglass.identity.devices import Devices

_LOG = logging.getLogger(__name__)

# A rule takes a line or ten; this is some ten thousand of them.
RULE_FILE_BYTES_MAX: Final = 4 * 1024 * 1024

_NOTHING: Final = RuleFile.parse("")


class RuleBook:
    """Answers ``Gate``; knows the rule file and notices when it changes."""

    def __init__(
        self,
        path: Path,
        devices: Devices,
        operator: Subject,
        people: PeopleRules | None = None,
    ) -> None:
        """Read the rule file, if there is one; without ``people`` nobody has a role.

        Raises:
            Misconfigured: It has problems, or an expectation does not hold: all
                of them, each with its remedy.
        """
        self._path = path
        self._devices = devices
        self._people = people
        # Who can read the master key can do all this without asking us; so the
        # rule is said, and everything that is done by it is on the record.
        self._own = Rule(
            name="the node's operator",
            subjects=frozenset({operator}),
            rights=frozenset(Right),
            networks=(),
            reason="has the master key and the data folder",
        )
        self._lock = threading.Lock()
        self._stamp = self._look()
        self._text = self._read()
        self._file = self._checked(self._text)

    def rules(self, subject: Subject) -> tuple[Rule, ...]:
        """Return the rules that may concern a subject now."""
        if subject.kind not in SENDERS:
            people = () if self._people is None else self._people(subject)
            return (self._own, *people, *self._file.rules)
        return (*self._devices.rules_for(subject), *self._file.rules)

    @property
    def digest(self) -> str:
        """SHA-256 of the rule file as it stands, hex, for the record."""
        return hashlib.sha256(self._text.encode()).hexdigest()

    def reload_if_changed(self) -> bool:
        """Take over a changed rule file; one with problems changes nothing.

        Raises:
            Misconfigured: It has problems; the rules stay as they were.
        """
        with self._lock:
            stamp = self._look()
            if stamp == self._stamp:
                return False
            self._stamp = stamp
            text = self._read()
            if text == self._text:
                return False
            self._file = self._checked(text)
            self._text = text
            return True

    def check(self) -> None:
        """Check the rule file as it stands on the disk.

        Raises:
            Misconfigured: It has problems, or an expectation does not hold.
        """
        self._checked(self._read())

    def _checked(self, text: str) -> RuleFile:
        file = RuleFile.parse(text, name=self._path.name) if text else _NOTHING
        file.check(self.registered(), datetime.now(UTC))
        return file

    def registered(self) -> tuple[Rule, ...]:
        """Return the rules of everybody who is registered: devices, users, tokens."""
        device_rules = self._devices.register().rules.values()
        people = () if self._people is None else self._people.all()
        return (*(rule for rules in device_rules for rule in rules), *people)

    def _look(self) -> object:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unreadable(error) from error
        # The last for a file that could not be read, and then is made readable.
        return found.st_mtime_ns, found.st_size, found.st_ino, found.st_ctime_ns

    def _unreadable(self, error: OSError) -> Misconfigured:
        return Misconfigured(
            f"rules: {self._path.name} cannot be read: {error.strerror}; "
            "let this user read it"
        )

    def _read(self) -> str:
        try:
            with self._path.open("rb") as file:
                raw = file.read(RULE_FILE_BYTES_MAX + 1)
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise self._unreadable(error) from error
        if len(raw) > RULE_FILE_BYTES_MAX:
            raise Misconfigured(f"rules: {self._path.name} is too large")
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise Misconfigured(f"rules: {self._path.name} is not UTF-8") from None
