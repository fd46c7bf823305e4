"""The result of a scan for programs: JSON as the contract has it, and SARIF 2.1.0."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from leadglass import __version__
from leadglass.assurance.exposure.checks.table import CHECKS
from leadglass.assurance.exposure.difference import Difference
from leadglass.assurance.exposure.scan import Result
from leadglass.assurance.finding import Finding, Severity

# SARIF has three levels; GitHub reads the number beside them.
_LEVELS: Final[Mapping[Severity, tuple[str, str]]] = MappingProxyType(
    {
        Severity.INFO: ("note", "0.0"),
        Severity.LOW: ("note", "3.0"),
        Severity.MEDIUM: ("warning", "5.5"),
        Severity.HIGH: ("error", "8.0"),
        Severity.CRITICAL: ("error", "9.5"),
    }
)
_SARIF: Final = "https://json.schemastore.org/sarif-2.1.0.json"


def members(result: Result, difference: Difference) -> dict[str, Any]:
    """Return what ``leadglass scan --json`` prints."""
    return {
        "targets": [each.members() for each in result.targets],
        "findings": [each.members() for each in result.findings],
        "started": result.started.isoformat(timespec="seconds"),
        "finished": result.finished.isoformat(timespec="seconds"),
        "hosts": result.hosts,
        "answering": result.answering,
        "connections": result.connections,
        "exposed": exposed(result),
        "authorisation_sha256": result.authorisation,
        "left_out": dict(result.left_out),
        "difference": difference.members(),
    }


def exposed(result: Result) -> dict[str, int]:
    """Return the counts as the exposure studies print them.

    One archive may be reached through several ports, so a host counts its largest.
    """
    hosts: dict[str, dict[str, int]] = {}
    for target in result.targets:
        found = target.exposure
        known = hosts.setdefault(target.address, dict.fromkeys(_COUNTED, 0))
        # Only what was shown to a stranger; an archive that counts itself is not.
        told = {
            "systems": int(found.shows_patients),
            "patients": found.patients or 0,
            "studies": found.studies or 0,
            "images": found.images or 0,
            "downloadable_systems": int(found.is_downloadable),
            "writable_systems": int(found.is_written),
        }
        for key, value in told.items():
            known[key] = max(known[key], value)
    return {key: sum(each[key] for each in hosts.values()) for key in _COUNTED}


_COUNTED: Final = (
    "systems", "patients", "studies", "images", "downloadable_systems",
    "writable_systems",
)  # fmt: skip


def sarif(result: Result) -> dict[str, Any]:
    """Return the findings as SARIF 2.1.0 (OASIS)."""
    order = {each.id: number for number, each in enumerate(CHECKS)}
    return {
        "$schema": _SARIF,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "leadglass scan",
                        "version": __version__,
                        "rules": [
                            {
                                "id": each.id,
                                "shortDescription": {"text": each.title},
                                "help": {"text": each.remedy},
                                "properties": {
                                    "security-severity": _LEVELS[each.severity][1],
                                    "tags": list(each.references),
                                },
                            }
                            for each in CHECKS
                        ],
                    }
                },
                "results": [_result(each, order[each.id]) for each in result.findings],
            }
        ],
    }


def _result(finding: Finding, index: int) -> dict[str, Any]:
    return {
        "ruleId": finding.id,
        "ruleIndex": index,
        "level": _LEVELS[finding.severity][0],
        "message": {"text": f"{finding.title}: {finding.evidence}. {finding.remedy}"},
        "locations": [
            {
                "logicalLocations": [
                    {"fullyQualifiedName": finding.target, "kind": "resource"}
                ]
            }
        ],
        "partialFingerprints": {"checkAndTarget/v1": f"{finding.id} {finding.target}"},
        "properties": {"severity": str(finding.severity), **finding.details},
    }
