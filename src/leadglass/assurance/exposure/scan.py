"""A scan: hosts side by side, each at its own pace, each check once per port."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

from leadglass.assurance.exposure.checks.check import Check, Sighting
from leadglass.assurance.exposure.checks.exposed import (
    NOTHING,
    Exposure,
    exposure_of,
)
from leadglass.assurance.exposure.checks.product import all_products_of
from leadglass.assurance.exposure.checks.table import CHECKS
from leadglass.assurance.exposure.contact import Line, open_ports
from leadglass.assurance.exposure.grading import SCORES, Grade, grade
from leadglass.assurance.exposure.options import HOSTS_AT_ONCE, Options
from leadglass.assurance.exposure.pace import Pace
from leadglass.assurance.exposure.products import Product, remedy_for
from leadglass.assurance.exposure.reach import Reach
from leadglass.assurance.exposure.service import Host, Kind, Service, place_of, survey
from leadglass.assurance.exposure.targets import (
    Authorisation,
    Target,
    check_allowed,
)
from leadglass.assurance.finding import Finding, Severity, worst_first
from leadglass.errors import LeadglassError, Refused

# (done, total) hosts.
Progress = Callable[[int, int], None]


def _silent(_done: int, _total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One port as it is reported.

    Attributes:
        address: Of the host.
        name: As it was named, if not by its address.
        port: None for a host that was named and has no open port.
        kind: What speaks there.
        reach: From where it is reached, or was judged to be.
        grade: From A to F.
        product: What it says it is; "".
        exposure: What a stranger gets.
    """

    address: str
    name: str
    port: int | None
    kind: Kind
    reach: Reach
    grade: Grade
    product: str = ""
    exposure: Exposure = NOTHING

    def members(self) -> dict[str, Any]:
        """Return what ``--json`` prints of it."""
        return {
            "address": self.address,
            "name": self.name,
            "port": self.port,
            "service": str(self.kind),
            "reach": str(self.reach),
            "grade": str(self.grade),
            "score": SCORES[self.grade],
            "product": self.product,
            **self.exposure.members(),
        }


@dataclass(frozen=True, slots=True)
class Result:
    """What a scan found.

    Attributes:
        started, finished: UTC.
        hosts: How many were tried.
        answering: How many had an open port.
        connections: How many were made.
        targets: Each port.
        findings: Worst first.
        authorisation: SHA-256 of the owner's file; "".
        looked_at: ``address:port`` of all that was tried.
        left_out: Checks that need a word of the user, with that word.
    """

    started: datetime
    finished: datetime
    hosts: int
    answering: int
    connections: int
    targets: tuple[Outcome, ...]
    findings: tuple[Finding, ...]
    authorisation: str = ""
    looked_at: frozenset[str] = frozenset()
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def is_alarming(self) -> bool:
        """Whether somebody has to act."""
        return any(each.is_alarming for each in self.findings)


def scan(
    targets: Iterable[Target],
    options: Options = Options(),  # noqa: B008  # frozen
    authorisation: Authorisation | None = None,
    progress: Progress = _silent,
) -> Result:
    """Look at hosts from outside.

    Raises:
        Refused: A target may not be scanned without its owner's file, or not with
            what was asked for.
    """
    wanted = tuple(targets)
    check_allowed(wanted, authorisation)
    _check_writing(wanted, options, authorisation)
    started = datetime.now(UTC)
    hosts: list[_Found] = []
    with ThreadPoolExecutor(HOSTS_AT_ONCE, "scan") as pool:
        running = [pool.submit(_scan_host, each, options) for each in wanted]
        for done, future in enumerate(as_completed(running), 1):
            hosts.append(future.result())
            progress(done, len(running))
    outcomes = [each for host in hosts for each in host.outcomes]
    return Result(
        started, datetime.now(UTC), len(wanted),
        sum(each.is_answering for each in hosts),
        sum(each.connections for each in hosts),
        tuple(sorted(outcomes, key=_place)),
        tuple(worst_first(each for host in hosts for each in host.findings)),
        authorisation.sha256 if authorisation is not None else "",
        frozenset(
            place_of(each.host, port)
            for each in wanted
            for port in each.ports or options.ports
        ),
        tuple((each.id, each.needs) for each in CHECKS if not _is_made(each, options)),
    )  # fmt: skip


def _place(outcome: Outcome) -> tuple[int, bytes, int]:
    address = ip_address(outcome.address)
    return address.version, address.packed, outcome.port or 0


def scan_own(
    listeners: Iterable[tuple[str, int]], options: Options | None = None
) -> list[Finding]:
    """Look at a node's own listeners as a stranger would; for its self-scan.

    Every finding is judged as if the node stood on the Internet.
    """
    targets = [
        Target(ip_address(host.strip("[]")), ports=(port,)) for host, port in listeners
    ]
    chosen = options or Options(reach=Reach.INTERNET)
    return list(scan(targets, chosen).findings)


@dataclass(slots=True)
class _Found:
    outcomes: list[Outcome]
    findings: list[Finding]
    connections: int
    is_answering: bool


def _scan_host(target: Target, options: Options) -> _Found:
    pace = Pace(options.rate(target.reach))
    line = Line(target.host, target.name, target.reach, pace, options.timeout_s)
    host = Host(target, line, options, options.reach or target.reach)
    host.ports = tuple(open_ports(line, target.ports or options.ports))
    for port in host.ports:
        # On a trap every port would be waited for, and none of it would mean much.
        found = Service(host, port) if host.is_trap else survey(host, port)
        host.services.append(found)
    outcomes, findings = [], []
    for service in host.services:
        seen = _look(service, options)
        outcomes.append(_outcome(service, [base for base, _ in seen]))
        findings += [finding for _, finding in seen]
        if service.web is not None:
            service.web.browser.close()
    if not host.services and target.is_named:
        asked = target.ports[0] if target.ports else None
        outcomes.append(
            Outcome(target.host, target.name, asked, Kind.OTHER, host.reach, Grade.A)
        )
    return _Found(outcomes, findings, pace.count, bool(host.services))


def _look(service: Service, options: Options) -> list[tuple[Severity, Finding]]:
    """Make all checks; what a hostile target breaks ends one check, not the scan."""
    found = []
    for check in CHECKS:
        if not _is_made(check, options):
            continue
        try:
            sightings = list(check.run(service))
        except (LeadglassError, OSError, RecursionError):
            continue
        for each in sightings:
            base = each.severity or check.severity
            found.append((base, _finding(service, check, each, base)))
    return found


def _finding(service: Service, check: Check, seen: Sighting, base: Severity) -> Finding:
    products = all_products_of(service)
    return Finding(
        check.id,
        base.milder(service.host.reach.steps),
        service.where,
        seen.title or check.title,
        seen.evidence,
        remedy_for(products, check.id, check.remedy),
        check.references,
        {**seen.details, "base_severity": str(base)},
    )


def _outcome(service: Service, severities: list[Severity]) -> Outcome:
    exposure = exposure_of(service)
    products: tuple[Product, ...] = all_products_of(service)
    return Outcome(
        service.host.target.host,
        service.host.target.name,
        service.port,
        service.kind,
        service.host.reach,
        grade(exposure, severities),
        ", ".join(each.text for each in products),
        exposure,
    )


def _is_made(check: Check, options: Options) -> bool:
    needed: dict[str, Any] = {
        "AE-06": options.peers, "AE-08": options.expects_identity,
        "AE-11": options.idle_s, "TLS-11": options.client,
        "DM-08": options.may_download, "WEB-03": options.may_download,
        "DM-09": options.may_write,
    }  # fmt: skip
    return bool(needed.get(check.id, True))


def _check_writing(
    targets: Iterable[Target], options: Options, given: Authorisation | None
) -> None:
    if not options.may_write:
        return
    for target in targets:
        if given is None or not given.intrusive or not given.covers(target.address):
            raise Refused(
                "storing an invented instance needs a file of --authorisation that "
                "names each target and says intrusive = true"
            )
