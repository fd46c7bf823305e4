"""Devices and certificates as rows of the register, and back."""

import json
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import Any

from sqlalchemy import RowMapping

from leadglass.access.rights import Right
from leadglass.access.scopes import Scope
from leadglass.dicom.aetitle import AETitle
from leadglass.errors import Damaged, LeadglassError
from leadglass.identity.device import (
    Certificate,
    Destination,
    Device,
    Revocation,
    UnsafePlaintext,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_us(time: datetime) -> int:
    """Return a time as the tables hold it."""
    return (time - _EPOCH) // _MICROSECOND


def from_us(time_us: int) -> datetime:
    """Return a time of the tables."""
    return _EPOCH + timedelta(microseconds=time_us)


def _maybe_us(time: datetime | None) -> int | None:
    return None if time is None else to_us(time)


def _maybe_time(time_us: int | None) -> datetime | None:
    return None if time_us is None else from_us(time_us)


def device_row(device: Device) -> dict[str, Any]:
    """Return the columns of a device, but for its id."""
    return {
        "name": device.name,
        "folded_name": device.name.casefold(),
        "ae_titles": json.dumps([title.text for title in device.ae_titles]),
        "networks": json.dumps([str(network) for network in device.networks]),
        "rights": json.dumps(sorted(device.rights)),
        "scope": str(device.scope),
        "has_tls": device.has_tls,
        "destination": None if device.destination is None else str(device.destination),
        "enrolled_us": to_us(device.enrolled_at),
        "renewed_us": _maybe_us(device.renewed_at),
        **_plaintext_row(device.unsafe_plaintext),
        **_revocation_row(device.revocation),
    }


def _plaintext_row(exception: UnsafePlaintext | None) -> dict[str, Any]:
    return {
        "plaintext_address": exception and str(exception.address),
        "plaintext_reason": exception and exception.reason,
        "plaintext_granted_us": exception and to_us(exception.granted_at),
        "plaintext_not_after_us": exception and to_us(exception.not_after),
    }


def _revocation_row(revocation: Revocation | None) -> dict[str, Any]:
    return {
        "revoked_us": revocation and to_us(revocation.at),
        "revocation_reason": revocation and revocation.reason,
    }


def certificate_row(device_id: int, certificate: Certificate) -> dict[str, Any]:
    """Return the columns of a device's certificate."""
    return {
        "device_id": device_id,
        "fingerprint": certificate.fingerprint_sha256,
        "serial": f"{certificate.serial:x}",
        "not_before_us": to_us(certificate.not_before),
        "not_after_us": to_us(certificate.not_after),
        "accepted_until_us": to_us(certificate.accepted_until),
        "revoked_us": _maybe_us(certificate.revoked_at),
    }


def certificate_of(row: RowMapping) -> Certificate:
    """Read a certificate."""
    return Certificate(
        fingerprint_sha256=row["fingerprint"],
        serial=int(row["serial"], 16),
        not_before=from_us(row["not_before_us"]),
        not_after=from_us(row["not_after_us"]),
        accepted_until=from_us(row["accepted_until_us"]),
        revoked_at=_maybe_time(row["revoked_us"]),
    )


def device_of(row: RowMapping, certificate: Certificate | None) -> Device:
    """Read a device; one that has given up TLS keeps its certificates as history.

    Raises:
        Damaged: The row is none that this program writes.
    """
    try:
        return Device(
            name=row["name"],
            ae_titles=tuple(AETitle(text) for text in json.loads(row["ae_titles"])),
            networks=tuple(ip_network(text) for text in json.loads(row["networks"])),
            rights=frozenset(Right(text) for text in json.loads(row["rights"])),
            scope=Scope.parse(row["scope"]),
            has_tls=bool(row["has_tls"]),
            certificate=certificate if row["has_tls"] else None,
            unsafe_plaintext=_plaintext_of(row),
            destination=Destination.parse(row["destination"])
            if row["destination"]
            else None,
            enrolled_at=from_us(row["enrolled_us"]),
            renewed_at=_maybe_time(row["renewed_us"]),
            revocation=None
            if row["revoked_us"] is None
            else Revocation(from_us(row["revoked_us"]), row["revocation_reason"] or ""),
        )
    except (LeadglassError, ValueError, TypeError) as error:
        raise Damaged("device register: an entry cannot be read") from error


def _plaintext_of(row: RowMapping) -> UnsafePlaintext | None:
    if row["plaintext_address"] is None:
        return None
    return UnsafePlaintext(
        address=ip_address(row["plaintext_address"]),
        reason=row["plaintext_reason"],
        granted_at=from_us(row["plaintext_granted_us"]),
        not_after=from_us(row["plaintext_not_after_us"]),
    )
