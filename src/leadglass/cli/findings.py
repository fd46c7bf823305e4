"""Everything that is wrong with a node or soon will be, each with its remedy.

``check`` tells all of it, ``status`` what ends soon. Checks go on as far as they can:
what needs a thing that is broken is not checked, and that is said.
"""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

from leadglass.app import Layout, Node, master_key_of
from leadglass.archive.forwarding import kind
from leadglass.archive.openings import exemptions, needing_hands, remedy_of_device
from leadglass.cli.answers import time_text
from leadglass.cli.outside import (
    check_feed_files,
    check_feed_receivers,
    check_ldap_directory,
    check_ldap_settings,
    check_mail_files,
    check_mail_server,
    check_oidc_provider,
    check_oidc_settings,
    check_password_list,
    check_syslog_files,
    check_syslog_receivers,
)
from leadglass.config import FILE_NAME, Config
from leadglass.errors import LeadglassError, Misconfigured
from leadglass.vault.keys import Keyring

T = TypeVar("T")

_OTHERS: Final = 0o077


@dataclass(slots=True)
class Findings:
    """What was found.

    Attributes:
        problems: What a node must not run with.
        warnings: What needs somebody soon.
        weaknesses: Settings and exceptions that weaken a protection.
        checked: Which checks were made.
    """

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    weaknesses: list[str] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)

    def attempt(self, name: str, check: Callable[[], T]) -> T | None:
        """Make a check; what it raises is a problem."""
        self.checked.append(name)
        try:
            return check()
        except Misconfigured as error:
            self.problems += [f"{name}: {problem}" for problem in error.problems]
        except LeadglassError as error:
            self.problems.append(f"{name}: {error}")
        except OSError as error:
            self.problems.append(f"{name}: {error.strerror}; see to its permissions")
        return None


def examine(home: Path, load: Callable[[], Config]) -> Findings:
    """Look at everything."""
    found = Findings()
    config = found.attempt("settings", load)
    if not home.exists():
        found.problems.append(f"home: {home} is not there; run `leadglass init`")
        return found
    found.attempt("permissions", lambda: _check_permissions(home))
    if config is None:
        found.problems.append(
            "the rest was not checked; correct the settings, then check again"
        )
        return found
    found.weaknesses += config.weaknesses()
    found.attempt("disk", lambda: _check_disk(config))
    found.attempt("master key", lambda: master_key_of(config).secret())
    found.attempt("password list", lambda: check_password_list(config))
    known = len(found.problems)
    found.attempt("mail files", lambda: check_mail_files(config))
    if len(found.problems) == known:
        found.attempt("mail server", lambda: check_mail_server(config))
    known = len(found.problems)
    found.attempt("syslog files", lambda: check_syslog_files(config))
    if len(found.problems) == known:
        found.attempt("syslog receivers", lambda: check_syslog_receivers(config))
    known = len(found.problems)
    found.attempt("feed files", lambda: check_feed_files(config))
    if len(found.problems) == known:
        found.attempt("feed receivers", lambda: check_feed_receivers(config))
    known = len(found.problems)
    found.attempt("single sign-on", lambda: check_oidc_settings(config))
    if len(found.problems) == known:
        found.attempt("OpenID provider", lambda: check_oidc_provider(config))
    known = len(found.problems)
    found.attempt("directory settings", lambda: check_ldap_settings(config))
    if len(found.problems) == known:
        found.attempt("directory", lambda: check_ldap_directory(config))
    if not Keyring.exists(Layout(home).keys):
        found.problems.append("keys: no keyring here; run `leadglass init`")
        return found
    _look_inside(config, found)
    return found


def _look_inside(config: Config, found: Findings) -> None:
    """Check what needs the node's keys; opening it checks keys, rules, authority."""
    try:
        node = Node.open(config)
    except LeadglassError as error:
        problems = error.problems if isinstance(error, Misconfigured) else (str(error),)
        # The same thing may have been told by a check of its own.
        found.problems += [
            each
            for each in problems
            if not any(known.endswith(each) for known in found.problems)
        ]
        found.checked.append("node")
        return
    with node:
        found.checked += ["keyring", "database", "authority"]
        # Opening withholds what people were given against an expectation; here it is
        # told, and what is allowed too little, too.
        found.attempt("rules", node.rulebook.check)
        if node.keyring.rotation_is_unfinished:
            found.warnings.append(
                "keys: a rotation was cut off; run `leadglass keys rotate` again"
            )
        found.attempt("certificates", lambda: found.warnings.extend(ending(node)))
        found.attempt("devices", lambda: _look_at_devices(node, found))
        found.attempt("audit forwarding", lambda: found.warnings.extend(late(node)))


def late(node: Node) -> Iterator[str]:
    """Yield which receivers of audit records are late, with what to do."""
    now = datetime.now(UTC)
    for each in node.forwarding.backlog(node.config.record_receivers):
        if each.is_late(now):
            why = f" ({each.error})" if each.error else ""
            yield (
                f"{kind(each.receiver)} {each.receiver}: {each.waiting} audit records "
                f"wait, the oldest since {_day(each.waiting_since)}{why}; see to the "
                "receiver, and that the node serves; nothing is lost"
            )


def ending(node: Node) -> Iterator[str]:
    """Yield what of authority and register ends soon, with what to do."""
    days = node.config.tls.certificate_warning_days
    for each in needing_hands(node.authority, days):
        if each.what not in {"node", "revocation list"}:
            yield f"certificate {each.what}: ends {_day(each.not_after)}; {each.remedy}"
        else:
            yield f"{each.what}: ended; `leadglass serve` makes it anew"
    with node.database.read() as connection:
        devices = node.devices.expiring(connection, days, datetime.now(UTC))
    for device in devices:
        end = _day(device.not_after)
        yield f"device {device.name}: silent from {end}; {remedy_of_device(device)}"


def _day(moment: datetime | None) -> str:
    return "now" if moment is None else time_text(moment)


def _look_at_devices(node: Node, found: Findings) -> None:
    with node.database.read() as connection:
        devices = node.devices.list(connection)
    by_name = {each.name: each for each in devices}
    for each in exemptions(devices, datetime.now(UTC)):
        exception = each.exception
        found.weaknesses.append(
            f"unsafe_plaintext of device {each.device}, {exception.address}, until "
            f"{_day(exception.not_after)}: {exception.reason}"
        )
        is_plain = not by_name[each.device].has_tls
        if is_plain and node.config.unsafe_plaintext_listen is None:
            found.warnings.append(
                f"device {each.device}: comes in plaintext, but nothing listens for "
                "it; set dimse.unsafe_plaintext_listen, or revoke it"
            )


def _check_permissions(home: Path) -> None:
    """Raise with every path that others may reach.

    Raises:
        Misconfigured: Each of them, with what to type.
    """
    layout = Layout(home)
    problems = []
    for path in (
        home, home / FILE_NAME, layout.keys, layout.vault, layout.database,
        layout.authority, layout.checkpoints, layout.imports, layout.rules,
    ):  # fmt: skip
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        mode = stat.S_IMODE(status.st_mode)
        # In a closed folder a file's own mode shuts out nobody more; what matters
        # there is that nobody else may write.
        forbidden = _OTHERS if path == home else 0o022
        if mode & forbidden:
            problems.append(f"{path}: open to others; run `chmod go-rwx {path}`")
        if status.st_uid != os.geteuid():
            problems.append(
                f"{path}: another user's; run leadglass as its owner, or chown it"
            )
    if problems:
        raise Misconfigured(*problems)


def _check_disk(config: Config) -> None:
    free = free_bytes(config.home)
    if free < config.storage.free_bytes_min:
        raise Misconfigured(
            f"{free} bytes free, below storage.free_bytes_min: nothing is taken in; "
            "make room"
        )


def free_bytes(folder: Path) -> int:
    """Return how much space the disk of a folder has for us."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
