"""``leadglass devices``: who may speak to this node."""

from argparse import Namespace
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Final

from leadglass.app import Node
from leadglass.cli.answers import Answer, Table, indented, time_text
from leadglass.cli.dcmtk import CREDENTIALS, Peers, command_lines
from leadglass.cli.failures import UsageError
from leadglass.cli.running import where
from leadglass.cli.session import Session
from leadglass.config import Address
from leadglass.errors import Misconfigured
from leadglass.identity.device import Device, PlaintextRequest, parse_device
from leadglass.identity.devices import Status

_REQUEST_BYTES_MAX: Final = 65_536  # a certificate request has some 1 KiB


# ── what is typed ────────────────────────────────────────────────────────────


def _parts(texts: Iterable[str]) -> tuple[str, ...]:
    """Return values that were given one by one, or with commas."""
    return tuple(part for text in texts for part in text.split(",") if part)


def _parse(arguments: Namespace, now: datetime) -> Device:
    """Read the device that is to be enrolled."""
    address = arguments.unsafe_plaintext
    has_certificate = bool(arguments.out or arguments.csr)
    if not address and not arguments.out:
        raise UsageError(
            "--out is missing", "name a folder for the device's key and certificate"
        )
    exception = None
    if address:
        if not arguments.reason or not arguments.until:
            raise UsageError(
                "--unsafe-plaintext needs --reason and --until",
                "say why the device must do without TLS, and for how long",
            )
        exception = PlaintextRequest(
            address=address,
            reason=arguments.reason,
            not_after=_end_of_day(arguments.until),
        )
    return parse_device(
        name=arguments.name,
        ae_titles=arguments.ae,
        networks=_parts(arguments.networks),
        rights=_parts(arguments.may),
        now=now,
        destination=arguments.to,
        unsafe_plaintext=exception,
        has_tls=has_certificate or not address,
        # What a script left empty is an error, not everything.
        **({} if arguments.scope is None else {"scope": arguments.scope}),
    )


def _end_of_day(text: str) -> datetime:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--until {text}: no date", "write YYYY-MM-DD") from None
    return datetime.combine(day + timedelta(days=1), time(0), UTC) - timedelta(
        seconds=1
    )


def _request(path: str | None) -> bytes | None:
    if path is None:
        return None
    try:
        with Path(path).open("rb") as file:
            content = file.read(_REQUEST_BYTES_MAX + 1)
    except OSError as error:
        raise Misconfigured(f"--csr {path}: {error.strerror}") from None
    if len(content) > _REQUEST_BYTES_MAX:
        raise Misconfigured(f"--csr {path}: too large for a certificate request")
    return content


# ── commands ─────────────────────────────────────────────────────────────────


def enrol(session: Session) -> Answer:
    """Enrol a device."""
    arguments = session.arguments
    device = _parse(arguments, datetime.now(UTC))
    request = _request(arguments.csr)
    with Node.open(session.config) as node:
        folder = Path(arguments.out or ".").absolute()
        device = node.registrar.enrol(node.operator, device, folder, request)
    return _given(session, device, folder, "enrolled")


def renew(session: Session) -> Answer:
    """Give a device a new certificate."""
    arguments = session.arguments
    request = _request(arguments.csr)
    folder = Path(arguments.out).absolute()
    with Node.open(session.config) as node:
        device = node.registrar.renew(node.operator, arguments.name, folder, request)
    return _given(session, device, folder, "renewed")


def change(session: Session) -> Answer:
    """Change what was named."""
    arguments = session.arguments
    with Node.open(session.config) as node:
        with node.database.read() as connection:
            old = node.devices.get(connection, arguments.name)
        # Read as when enrolling, so that the same is right and wrong.
        read = parse_device(
            name=old.name,
            ae_titles=arguments.ae or map(str, old.ae_titles),
            networks=_parts(arguments.networks) or map(str, old.networks),
            rights=_parts(arguments.may) or old.rights,
            now=old.enrolled_at,
            scope=str(old.scope) if arguments.scope is None else arguments.scope,
            destination=arguments.to
            or (str(old.destination) if old.destination else None),
            has_tls=True,
        )
        device = node.registrar.change(
            node.operator,
            replace(
                old,
                ae_titles=read.ae_titles,
                networks=read.networks,
                rights=read.rights,
                scope=read.scope,
                destination=read.destination,
            ),
        )
    return Answer(
        data={"device": data_of(device)},
        text=(f"changed: {device.name}; in force within two seconds", *_facts(device)),
    )


def revoke(session: Session) -> Answer:
    """Shut a device out."""
    arguments = session.arguments
    with Node.open(session.config) as node:
        device = node.registrar.revoke(node.operator, arguments.name, arguments.reason)
    return Answer(
        data={"device": data_of(device)},
        text=(f"revoked: {device.name}; refused from its next association on",),
    )


def show(session: Session) -> Answer:
    """Show one device."""
    with Node.open(session.config) as node, node.database.read() as connection:
        device = node.devices.get(connection, session.arguments.name)
    return Answer(data=data_of(device), text=(device.name, *_facts(device)))


def list_all(session: Session) -> Answer:
    """List all devices."""
    with Node.open(session.config) as node, node.database.read() as connection:
        found = node.devices.list(connection)
    active = sum(each.status is Status.ACTIVE for each in found)
    rows = tuple(
        (
            each.name,
            each.status,
            " ".join(map(str, each.ae_titles)),
            " ".join(map(str, each.networks)),
            " ".join(sorted(each.rights)),
            "TLS" if each.has_tls else "PLAINTEXT",
            time_text(each.not_after),
        )
        for each in found
    )
    columns = ("NAME", "STATUS", "AE TITLES", "FROM", "MAY", "BY", "UNTIL")
    return Answer(
        data={
            "devices": len(found),
            "active": active,
            "revoked": len(found) - active,
            "items": [data_of(each) for each in found],
        },
        text=(Table(columns, rows),)
        if rows
        else ("no devices: nobody can speak to this node; leadglass devices enrol",),
    )


# ── what is told ─────────────────────────────────────────────────────────────


def data_of(device: Device) -> dict[str, Any]:
    """Return a device as scripts see it."""
    certificate, exception = device.certificate, device.unsafe_plaintext
    return {
        "name": device.name,
        "status": str(device.status),
        "ae_titles": [str(each) for each in device.ae_titles],
        "networks": [str(each) for each in device.networks],
        "rights": sorted(device.rights),
        "scope": str(device.scope),
        "destination": str(device.destination) if device.destination else None,
        "has_tls": device.has_tls,
        "enrolled_at": time_text(device.enrolled_at),
        "renewed_at": time_text(device.renewed_at) or None,
        "not_after": time_text(device.not_after) or None,
        "certificate": certificate
        and {
            "sha256": certificate.fingerprint_sha256,
            "serial": f"{certificate.serial:x}",
            "not_after": time_text(certificate.not_after),
        },
        "unsafe_plaintext": exception
        and {
            "address": str(exception.address),
            "reason": exception.reason,
            "not_after": time_text(exception.not_after),
        },
        "revocation": device.revocation
        and {
            "at": time_text(device.revocation.at),
            "reason": device.revocation.reason,
        },
    }


def _facts(device: Device) -> tuple[str, ...]:
    """Return what a person wants to know of a device."""
    data = data_of(device)
    words = {
        "status": data["status"],
        "AE titles": " ".join(data["ae_titles"]),
        "from": " ".join(data["networks"]),
        "may": " ".join(data["rights"]),
        "scope": data["scope"],
        "sent to at": data["destination"],
        "certificate": device.certificate and device.certificate.fingerprint_sha256,
        "until": data["not_after"],
    }
    if device.unsafe_plaintext is not None:
        exception = device.unsafe_plaintext
        words["PLAINTEXT"] = f"{exception.address}: {exception.reason}"
    if device.revocation is not None:
        words["revoked"] = (
            f"{time_text(device.revocation.at)}: {data['revocation']['reason']}"
        )
    return indented(f"{name}: {value}" for name, value in words.items() if value)


def _given(session: Session, device: Device, folder: Path, what: str) -> Answer:
    """Tell what to set on the device, and commands that work as they stand."""
    config = session.config
    files = [
        str(folder / name) for name in CREDENTIALS if device.has_tls
        if (folder / name).exists()
    ]  # fmt: skip
    facts = where(session.home) or {}
    key = "dimse" if device.has_tls else "unsafe_plaintext"
    configured = config.listen if device.has_tls else config.unsafe_plaintext_listen
    listen = facts.get(key) or (str(configured) if configured else None)
    host, _, port = (listen or ":").rpartition(":")
    node = {
        "ae_title": config.node.ae_title,
        "host": host.strip("[]") or None,
        "port": int(port) if port else None,
        "serving": bool(facts),
    }
    lines = [
        f"{what}: {device.name}; in force within two seconds",
        *_facts(device),
        "",
        "Set on the device:",
        (
            f"  called AE title {node['ae_title']}, calling AE title "
            f"{device.ae_titles[0]}, host {node['host']}, port {node['port']}"
        ),
    ]
    if device.has_tls:
        lines += indented(
            (
                f"its key and certificate, and whom it trusts: {', '.join(files)}",
                "TLS 1.2 or 1.3, BCP 195 profile, client certificate",
            )
        )
    lines += _warnings(device, listen)
    if listen:
        peers = Peers(
            str(device.ae_titles[0]),
            str(node["ae_title"]),
            str(node["host"]),
            int(port),
            folder if device.has_tls else None,
        )
        lines += ["", *command_lines(peers, device.rights)]
    return Answer(
        data={"device": data_of(device), "files": files, "node": node},
        text=tuple(lines),
    )


def _warnings(device: Device, listen: str | None) -> list[str]:
    """Say what would keep the device from coming."""
    if listen is None:
        return [
            (
                "This node hears no plaintext yet: set dimse.unsafe_plaintext_listen, "
                "start it again."
            )
        ]
    node = Address.parse(listen).host
    if node.is_loopback and not all(each.is_loopback for each in device.networks):
        return [
            (
                "This node listens on loopback only: set dimse.listen to an address "
                "that the device reaches, and tls.node_names to its names."
            )
        ]
    return []
