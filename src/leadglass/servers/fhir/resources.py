"""Resources of FHIR R4 that are answers: a searchset, an outcome, what is offered."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final

from leadglass.servers.http.answers import Answer

ROOT: Final = "/fhir"
METADATA: Final = f"{ROOT}/metadata"
EVENTS: Final = f"{ROOT}/AuditEvent"
FHIR_JSON: Final = "application/fhir+json"
# The release of FHIR whose resources these are.
VERSION: Final = "4.0.1"
# When what is offered changed last: an element that a CapabilityStatement must have.
_OFFERED_SINCE: Final = "2026-11-23"
# The search parameters, with their types (R4 AuditEvent §6.4.8, ITI-81 §3.81.4.1.2).
SEARCHED: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "date": ("date", "When it was recorded; ge, gt, le, lt and eq; needed"),
        "patient": ("reference", "Patient ID, as what a reference would end in"),
        "patient.identifier": ("token", "Patient ID, which has no system here"),
        "entity": ("reference", "ImagingStudy/ with a UID, or Patient/ with an ID"),
        "entity.identifier": ("token", "Patient ID, or urn:dicom:uid| with a UID"),
        "agent": ("reference", "Name of a device, person or program"),
        "agent.identifier": ("token", "Name of a device, person or program"),
        "address": ("string", "Network address of an agent, exactly"),
        "type": ("token", "Kind of event, of DCM; several are alternatives"),
        "subtype": ("token", "Variety of it, of DCM; several are alternatives"),
        "outcome": ("token", "0, 4, 8 or 12; several are alternatives"),
    }
)
# Codes of issues (R4 value set issue-type) by status.
_ISSUES: Final[Mapping[int, str]] = MappingProxyType(
    {
        HTTPStatus.BAD_REQUEST: "invalid",
        HTTPStatus.FORBIDDEN: "forbidden",
        HTTPStatus.NOT_FOUND: "not-found",
        HTTPStatus.NOT_ACCEPTABLE: "not-supported",
        HTTPStatus.GONE: "expired",
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "not-supported",
        HTTPStatus.SERVICE_UNAVAILABLE: "transient",
    }
)

Json = dict[str, Any]


def answer(resource: Json, status: int = HTTPStatus.OK) -> Answer:
    """Return a resource as an answer."""
    text = json.dumps(resource, ensure_ascii=False, separators=(",", ":"))
    return Answer(status, FHIR_JSON, text.encode())


def outcome(
    status: int, request_id: str, diagnostics: str = "", code: str = ""
) -> Answer:
    """Return an error as an OperationOutcome.

    Args:
        status: HTTP status code.
        request_id: Stands in our log beside the reason.
        diagnostics: A sentence of ours, without anything of the request.
        code: Of the value set issue-type; empty: the usual one of the status.
    """
    issue: Json = {
        "severity": "error",
        "code": code or _ISSUES.get(status, "exception"),
        "diagnostics": diagnostics or HTTPStatus(status).phrase,
    }
    told = {"resourceType": "OperationOutcome", "id": request_id, "issue": [issue]}
    return answer(told, status)


@dataclass(frozen=True, slots=True)
class Found:
    """A part of what was searched for.

    Attributes:
        resources: AuditEvents, the newest first.
        self_url: What was asked, as it was understood.
        next_url: Where more is; empty: this is the end.
    """

    resources: tuple[Json, ...]
    self_url: str
    next_url: str


def searchset(found: Found, base: str) -> Json:
    """Return a Bundle; ``total`` is unsaid, it would cost a search of the whole log."""
    links = [{"relation": "self", "url": found.self_url}]
    if found.next_url:
        links.append({"relation": "next", "url": found.next_url})
    bundle: Json = {"resourceType": "Bundle", "type": "searchset", "link": links}
    if found.resources:  # FHIR has no empty lists
        bundle["entry"] = [
            {
                "fullUrl": f"{base}{EVENTS}/{each['id']}",
                "resource": each,
                "search": {"mode": "match"},
            }
            for each in found.resources
        ]
    return bundle


def capability(base: str, version: str) -> Json:
    """Return what is offered, as a CapabilityStatement.

    Args:
        base: Scheme and host by which the client knows us.
        version: Of this program.
    """
    parameters: Iterable[Json] = (
        {"name": name, "type": kind, "documentation": told}
        for name, (kind, told) in SEARCHED.items()
    )
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": _OFFERED_SINCE,
        "kind": "instance",
        "software": {"name": "Leadglass", "version": version},
        "implementation": {
            "description": "Audit Record Repository of a picture archive",
            "url": f"{base}{ROOT}",
        },
        "fhirVersion": VERSION,
        "format": [FHIR_JSON],
        "rest": [
            {
                "mode": "server",
                "documentation": "Retrieve ATNA Audit Event (IHE ITI-81)",
                "security": {
                    "cors": False,
                    "description": (
                        "TLS; the token of a program, the session of a person or the "
                        "certificate of a device, with the right to read the audit log"
                    ),
                },
                "resource": [
                    {
                        "type": "AuditEvent",
                        "interaction": [{"code": "read"}, {"code": "search-type"}],
                        "versioning": "no-version",
                        "searchParam": [*parameters],
                    }
                ],
            }
        ],
    }
