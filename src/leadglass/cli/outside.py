"""What settings name outside of the data folder: files, and the mail server.

A node starts without them being right, since a mail server may come back; so they are
looked at here, each with its remedy.
"""

import os
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from leadglass.app import (
    directory_of,
    feed_receivers_of,
    mail_server_of,
    provider_of,
    syslog_receivers_of,
)
from leadglass.config import Config
from leadglass.errors import Misconfigured, Unavailable
from leadglass.identity.federation.secretfile import SecretFile
from leadglass.identity.people.known import Sha1List

# Read by others, a password is theirs; written by others, a list of whom to trust, or
# of what may not be chosen, is what they say it is.
_OTHERS_READ: Final = 0o077
_OTHERS_WRITE: Final = 0o022


def check_password_list(config: Config) -> None:
    """Look at the list of known passwords, if there is one.

    Raises:
        Misconfigured: All that is wrong with it.
    """
    path = config.password_list
    if path is None:
        return
    _raise(file_problems(path, "https.password_list", _OTHERS_WRITE))
    Sha1List(path).close()


def check_mail_files(config: Config) -> None:
    """Look at the files of the notices.

    Raises:
        Misconfigured: All that is wrong with all of them.
    """
    problems: list[str] = []
    for path, setting, others in (
        (config.mail_ca_file, "notices.ca_file", _OTHERS_WRITE),
        (config.mail_password_file, "notices.password_file", _OTHERS_READ),
    ):
        if path is not None:
            problems += file_problems(path, setting, others)
    server = mail_server_of(config)
    if server is not None and not problems:
        problems += server.file_problems()
    _raise(iter(problems))


def check_mail_server(config: Config) -> None:
    """Speak to the mail server, without a mail.

    Raises:
        Unavailable: It does not answer, is not the one it should be, or refuses.
        Misconfigured: The files cannot be used.
    """
    server = mail_server_of(config)
    if server is None:
        return
    try:
        server.look()
    except Unavailable as error:
        raise Unavailable(
            f"{error}; see to notices.smtp_server, tls, ca_file, user and "
            "password_file; until then no mail leaves, and reviews wait"
        ) from None


def check_syslog_files(config: Config) -> None:
    """Look at the files by which receivers of audit records are reached.

    Raises:
        Misconfigured: All that is wrong with all of them.
    """
    problems: list[str] = []
    for path, setting, others in (
        (config.syslog_ca_file, "syslog.ca_file", _OTHERS_WRITE),
        (config.syslog_certificate_file, "syslog.certificate_file", _OTHERS_WRITE),
        (config.syslog_key_file, "syslog.key_file", _OTHERS_READ),
    ):
        if path is not None:
            problems += file_problems(path, setting, others)
    if not problems:
        for each in syslog_receivers_of(config).values():
            problems += _problems_of(each.context)
    _raise(iter(dict.fromkeys(problems)))


def check_syslog_receivers(config: Config) -> None:
    """Connect to each receiver of audit records; it gets none.

    Raises:
        Misconfigured: All that do not answer, or are not those they should be.
    """
    problems = []
    for name, each in syslog_receivers_of(config).items():
        try:
            each.look()
        except Unavailable as error:
            problems.append(
                f"{name}: {error}; see to syslog.receivers, ca_file and "
                "certificate_file; until then audit records wait, and none is lost"
            )
    _raise(iter(problems))


def check_feed_files(config: Config) -> None:
    """Look at the files by which receivers of FHIR are reached.

    Raises:
        Misconfigured: All that is wrong with all of them.
    """
    problems: list[str] = []
    for path, setting, others in (
        (config.feed_ca_file, "feed.ca_file", _OTHERS_WRITE),
        (config.feed_certificate_file, "feed.certificate_file", _OTHERS_WRITE),
        (config.feed_key_file, "feed.key_file", _OTHERS_READ),
        (config.feed_token_file, "feed.token_file", _OTHERS_READ),
    ):
        if path is not None:
            problems += file_problems(path, setting, others)
    if not problems:
        for each in feed_receivers_of(config).values():
            problems += _problems_of(each.place.context)
            problems += _problems_of(each.head)
    _raise(iter(dict.fromkeys(problems)))


def check_feed_receivers(config: Config) -> None:
    """Connect to each receiver of FHIR; it gets nothing.

    Raises:
        Misconfigured: All that do not answer, or are not those they should be.
    """
    problems = []
    for name, each in feed_receivers_of(config).items():
        try:
            each.look()
        except Unavailable as error:
            problems.append(
                f"{name}: {error}; see to feed.receivers, ca_file and "
                "certificate_file; until then audit records wait, and none is lost"
            )
    _raise(iter(problems))


def check_oidc_settings(config: Config) -> None:
    """Look at the files of single sign-on, and at the roles that it gives.

    Raises:
        Misconfigured: All that is wrong with all of them.
    """
    secret = config.oidc_secret_file
    problems: list[str] = []
    for path, setting, others in (
        (config.oidc_ca_file, "oidc.ca_file", _OTHERS_WRITE),
        (secret, "oidc.client_secret_file", _OTHERS_READ),
    ):
        if path is not None:
            problems += file_problems(path, setting, others)
    if secret is not None and not problems:
        problems += _problems_of(SecretFile(secret, "oidc.client_secret_file").read)
    problems += _problems_of(lambda: provider_of(config))
    # A file that is not there is told by both.
    _raise(iter(dict.fromkeys(problems)))


def check_oidc_provider(config: Config) -> None:
    """Ask the provider what it is, and for its keys; nobody logs in.

    Raises:
        Unavailable: It does not answer, or not as it must.
        Misconfigured: The settings cannot be used.
    """
    provider = provider_of(config)
    if provider is None:
        return
    try:
        provider.look(datetime.now(UTC))
    except Unavailable as error:
        raise Unavailable(
            f"{error}; see to oidc.issuer, ca_file and the way there; until then "
            "people log in with names and passwords of this node alone"
        ) from None


def check_ldap_settings(config: Config) -> None:
    """Look at the files of the directory, at its driver, and at the roles.

    Raises:
        Misconfigured: All that is wrong with all of them.
    """
    secret = config.ldap_password_file
    problems: list[str] = []
    for path, setting, others in (
        (config.ldap_ca_file, "ldap.ca_file", _OTHERS_WRITE),
        (secret, "ldap.bind_password_file", _OTHERS_READ),
    ):
        if path is not None:
            problems += file_problems(path, setting, others)
    if secret is not None and not problems:
        problems += _problems_of(SecretFile(secret, "ldap.bind_password_file").read)
    problems += _problems_of(lambda: directory_of(config))
    _raise(iter(dict.fromkeys(problems)))


def check_ldap_directory(config: Config) -> None:
    """Ask the directory as the node does; nobody logs in.

    Raises:
        Unavailable: It does not answer, or does not let the node look.
        Misconfigured: The settings cannot be used.
    """
    directory = directory_of(config)
    if directory is None:
        return
    try:
        directory.look()
    except Unavailable as error:
        raise Unavailable(
            f"{error}; see to ldap.url, ca_file, bind_dn and bind_password_file; until "
            "then people log in with names and passwords of this node alone"
        ) from None


def _problems_of(use: Callable[[], object]) -> tuple[str, ...]:
    """Return what is wrong with what cannot be used."""
    try:
        use()
    except Misconfigured as error:
        return error.problems
    return ()


def file_problems(path: Path, setting: str, others: int) -> Iterator[str]:
    """Yield what is wrong with a file that a setting names.

    Args:
        path: Where it is.
        setting: Which names it.
        others: What others must not do with it, as bits of a mode.
    """
    try:
        status = path.stat()
    except OSError as error:
        yield f"{setting}: {path}: {error.strerror}; put it there, or name another"
        return
    if not stat.S_ISREG(status.st_mode):
        yield f"{setting}: {path} is no file; name one"
        return
    if status.st_mode & others:
        right = "w" if others == _OTHERS_WRITE else "rwx"
        yield f"{setting}: open to others; run `chmod go-{right} {path}`"
    if status.st_uid not in {os.geteuid(), 0}:
        yield f"{setting}: {path} is another user's; chown it to this one or to root"
    if not os.access(path, os.R_OK):
        yield f"{setting}: {path} cannot be read by this user; let it, by chown"


def _raise(problems: Iterator[str]) -> None:
    found = tuple(problems)
    if found:
        raise Misconfigured(*found)
