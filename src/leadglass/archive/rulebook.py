"""The rules that stand now: those of the register, of the rule file, of the node.

An expectation of the rule file must hold. Who decides that it does not matters:

- The rule file itself, or a device: the file is not taken over, the node not opened.
- A change of a user, a token or a device: it is refused (`RuleBook.keep`).
- It happened anyway (a file put in place while no node looked, a database restored):
  the node opens, so that it can be mended, and the right that the expectation names is
  withheld from the one it is about. What is allowed too much is not allowed; everybody
  else goes on working. What is allowed too little, a user was disabled or a token
  ended, shuts out nobody more. ``leadglass check`` tells both.

A file that is put in place by the node itself (`RuleBook.put`) is checked, recorded,
written beside the old one, synced, renamed over it, and the folder synced; then it is
in force. Whenever the node is killed, one of the two files stands, whole: before the
rename the old one (the record tells of a change that did not come about, and what was
written beside is removed by the next `put`), after it the new one, which the next start
reads. No rules are in force that are not on the record. Somebody who edits the file by
hand in the very moment between the comparison and the rename loses that edit; the
digest that the record keeps of the old file tells.
"""

import hashlib
import logging
import stat
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from leadglass.access.policy import SENDERS, Expectation, Rule, Subject, broken
from leadglass.access.rights import Right
from leadglass.access.rulefile import RuleFile
from leadglass.archive.people import PeopleRules
from leadglass.errors import Misconfigured
from leadglass.identity.devices import Devices
from leadglass.identity.files import PRIVATE_MODE, disk_errors, write_whole

_LOG = logging.getLogger(__name__)

# A rule takes a line or ten; this is some ten thousand of them.
RULE_FILE_BYTES_MAX: Final = 4 * 1024 * 1024

_NOTHING: Final = RuleFile.parse("")


def digest_of(text: str) -> str:
    """Return SHA-256 of a rule file, hex; one that is not there is empty."""
    return hashlib.sha256(text.encode()).hexdigest()


class Outdated(Misconfigured):
    """The rule file is not the one that was seen."""

    def __init__(self) -> None:
        super().__init__("the rule file was changed meanwhile; look at it again")


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
        self._file = self._opened(self._text)

    def rules(self, subject: Subject) -> tuple[Rule, ...]:
        """Return the rules that may concern a subject now."""
        file = self._file
        if subject.kind in SENDERS:
            return (*self._devices.rules_for(subject), *file.rules)
        if self._people is None:
            return (self._own, *file.rules)
        roles, glass = self._people.apart(subject)
        return (self._own, *_kept(file, subject, roles), *glass, *file.rules)

    def keep(
        self, subject: Subject, before: Iterable[Rule], after: Iterable[Rule]
    ) -> None:
        """Make sure that a change of somebody's roles or rights breaks no expectation.

        What was broken already does not forbid a change that leaves it so, unless it
        allows too much: that is withheld anyway, and is to be mended.

        Args:
            subject: Whose roles or rights change.
            before: What they allow now.
            after: What they would allow.

        Raises:
            Misconfigured: The expectations, each by its name.
        """
        file, now = self._file, datetime.now(UTC)
        old, new = (*file.rules, *before), (*file.rules, *after)
        problems = [
            f"{each}; give other roles, rights or scope, or change the expectation"
            for each in _about(file, subject)
            if each.is_exceeded(new, now)
            or (each.holds(old, now) and not each.holds(new, now))
        ]
        if problems:
            raise Misconfigured(*problems)

    def broken(self) -> tuple[Expectation, ...]:
        """Return the expectations that do not hold now."""
        file = self._file
        rules = (*file.rules, *self.registered())
        return tuple(broken(rules, file.expectations, datetime.now(UTC)))

    @property
    def digest(self) -> str:
        """SHA-256 of the rule file as it stands, hex, for the record."""
        return digest_of(self._text)

    @property
    def file(self) -> RuleFile:
        """What the rule file says that is in force."""
        return self._file

    @property
    def name(self) -> str:
        """What the rule file is called."""
        return self._path.name

    def rules_of_file(self, subject: Subject) -> tuple[Rule, ...]:
        """Return the rules of the rule file that name a subject."""
        return tuple(each for each in self._file.rules if subject in each.subjects)

    def on_disk(self) -> str:
        """Return the rule file as it stands on the disk, in force or not.

        Raises:
            Misconfigured: It cannot be read.
        """
        return self._read()

    def parsed(self, text: str) -> RuleFile:
        """Read what would be the rule file.

        Raises:
            Misconfigured: All that is wrong with it, but for expectations.
        """
        return self._parsed(text)

    def put(
        self, text: str, digest: str, record: Callable[[Mapping[str, str]], None]
    ) -> bool:
        """Put another rule file in the place of the one that somebody has seen.

        Args:
            text: The new one.
            digest: ``digest_of`` the one that was seen.
            record: Puts the change on the record, before it is made.

        Returns:
            Whether it is another one at all; else nothing is recorded or written.

        Raises:
            Outdated: The file on the disk is not the one that was seen.
            Misconfigured: The text has problems, an expectation would not hold, or
                the file is a link; the old one stands.
            Unavailable: It cannot be recorded or written; the old one stands, unless
                the disk failed after the rename.
        """
        with self._lock:
            old = self._read()
            if digest_of(old) != digest:
                raise Outdated
            file = self._checked(text)
            if text == old == self._text:
                return False
            if self._path.is_symlink():
                raise Misconfigured(
                    f"rules: {self._path.name} is a link; change what it leads to"
                )
            with disk_errors(self._path.name):
                mode = self._mode()
                for left in self._path.parent.glob(f".{self._path.name}.*"):
                    left.unlink(missing_ok=True)  # of a node that was killed in here
            facts = {"sha256": digest_of(text), "sha256_before": digest_of(old)}
            record(facts | {"file": self._path.name})
            write_whole(self._path, text.encode(), mode=mode)
            self._stamp, self._text, self._file = self._look(), text, file
            return True

    def _mode(self) -> int:
        try:
            return stat.S_IMODE(self._path.stat().st_mode)
        except FileNotFoundError:
            return PRIVATE_MODE

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
        file = self._parsed(text)
        file.check(self.registered(), datetime.now(UTC))
        return file

    def _opened(self, text: str) -> RuleFile:
        """Read the file that a node opens with: what people broke, they can mend."""
        file, now = self._parsed(text), datetime.now(UTC)
        replace(
            file,
            expectations=tuple(
                each for each in file.expectations if not _is_of_people(file, each, now)
            ),
        ).check(self.registered(), now)
        return file

    def _parsed(self, text: str) -> RuleFile:
        return RuleFile.parse(text, name=self._path.name) if text else _NOTHING

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


def _is_of_people(file: RuleFile, each: Expectation, now: datetime) -> bool:
    """Whether roles alone can decide it: they speak for no device, nor at the node."""
    if each.subject.kind in SENDERS or each.address is None:
        return False
    return not each.is_exceeded(file.rules, now)


def _about(file: RuleFile, subject: Subject) -> tuple[Expectation, ...]:
    return tuple(each for each in file.expectations if each.subject == subject)


def _kept(
    file: RuleFile, subject: Subject, roles: tuple[Rule, ...]
) -> tuple[Rule, ...]:
    """Return what roles allow, without the rights that must not be allowed so."""
    about = _about(file, subject)
    if not about:
        return roles  # nearly everybody
    now = datetime.now(UTC)
    rules = (*file.rules, *roles)
    withheld = frozenset(each.right for each in about if each.is_exceeded(rules, now))
    return tuple(
        replace(rule, rights=rule.rights - withheld)
        for rule in roles
        if rule.rights - withheld
    )
