"""Every error that Leadglass raises on purpose.

    LeadglassError
    ├── Refused         access said no; the peer learns that, never why
    ├── PeerError       the peer broke the protocol or a limit; others go on
    │   └── BadData     a data set or file that cannot be taken as it is
    ├── NotFound        no such study, series or instance, or not for this caller
    ├── Conflict        other bytes under a known SOP Instance UID: kept in quarantine
    ├── Damaged         stored bytes fail their seal: never served, always audited
    ├── Unavailable     a dependency is down or full; trying again may help
    └── Misconfigured   settings, keys or rules that a node must not start with

Anything else that escapes is a bug: the association or request ends, the
process goes on.
"""

from typing import ClassVar


class LeadglassError(Exception):
    """Base of all deliberate errors; knows how each wire reports it.

    ``str(error)`` reaches operators' logs, so it holds no patient data.
    """

    dimse_status: ClassVar[int] = 0x0110  # Processing failure, PS3.7 Annex C
    http_status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1


class Refused(LeadglassError):
    """Access policy denied the request."""

    dimse_status = 0x0124  # Refused: not authorized, PS3.7 Annex C
    http_status = 403
    exit_code = 3


class PeerError(LeadglassError):
    """The peer sent something the standard or our limits forbid."""

    http_status = 400


class BadData(PeerError):
    """A data set or file cannot be understood, or is not what was announced."""

    dimse_status = 0xC000  # Error: cannot understand, PS3.4 Table B.2-1
    http_status = 400


class NotFound(LeadglassError):
    """The object does not exist, or this caller may not know that it does."""

    dimse_status = 0x0112  # No such SOP instance, PS3.7 Annex C
    http_status = 404
    exit_code = 4


class Conflict(LeadglassError):
    """Other bytes than the stored ones under the same SOP Instance UID."""

    dimse_status = 0x0111  # Duplicate SOP instance, PS3.7 Annex C
    http_status = 409


class Damaged(LeadglassError):
    """Stored bytes do not verify."""

    exit_code = 5


class Unavailable(LeadglassError):
    """A dependency cannot serve us now; the caller may retry."""

    dimse_status = 0xA700  # Refused: out of resources, PS3.4 Table B.2-1
    http_status = 503
    exit_code = 6


class Misconfigured(LeadglassError):
    """Settings, keys or rules with problems; all of them, each with its remedy."""

    exit_code = 2

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
