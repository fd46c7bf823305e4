"""``leadglass scan``: what strangers get from a PACS, before a stranger looks."""

import json
import ssl
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from leadglass.assurance.exposure.difference import (
    Difference,
    compare,
    load_previous,
)
from leadglass.assurance.exposure.options import PORTS, TIMEOUT_S, Options
from leadglass.assurance.exposure.printed import as_pdf, html
from leadglass.assurance.exposure.reach import Reach
from leadglass.assurance.exposure.report import exposed, members, sarif
from leadglass.assurance.exposure.scan import Result, scan
from leadglass.assurance.exposure.targets import (
    load_authorisation,
    parse,
)
from leadglass.assurance.exposure.tlsfacts import lenient
from leadglass.cli.answers import Answer, Table, counted
from leadglass.cli.failures import UsageError
from leadglass.cli.progress import progress
from leadglass.cli.session import Session
from leadglass.dicom.aetitle import AETitle
from leadglass.errors import PeerError

ALARMING: Final = 2  # exit code: somebody has to act


def run(session: Session) -> Answer:
    """Scan, print, write what was asked for."""
    asked = session.arguments
    given = (
        load_authorisation(Path(asked.authorisation)) if asked.authorisation else None
    )
    previous = load_previous(Path(asked.previous)) if asked.previous else None
    # Before anything is touched: what is written must not overwrite anything.
    paths = [Path(each) for each in asked.out]
    for path in paths:
        if path.suffix not in _FORMATS:
            raise UsageError(
                f"--out {path}: no known ending", f"end it in {', '.join(_FORMATS)}"
            )
        if path.exists():
            raise UsageError(f"--out {path}: is there already", "name another file")
    options = _options(asked)
    targets = parse(asked.targets)
    with progress("hosts") as update:
        found = scan(targets, options, given, update)
    result, difference = compare(found, previous)
    for path in paths:
        with path.open("xb") as file:
            file.write(_FORMATS[path.suffix](result, difference))
    return Answer(
        data=members(result, difference),
        text=_text(result, difference, [str(each) for each in paths]),
        exit_code=ALARMING if result.is_alarming else 0,
    )


def _json(result: Result, difference: Difference) -> bytes:
    return json.dumps(members(result, difference), indent=1).encode()


def _sarif(result: Result, _: Difference) -> bytes:
    return json.dumps(sarif(result), indent=1).encode()


def _html(result: Result, difference: Difference) -> bytes:
    return html(result, difference).encode()


_FORMATS: Final[Mapping[str, Callable[[Result, Difference], bytes]]] = MappingProxyType(
    {".json": _json, ".sarif": _sarif, ".html": _html, ".pdf": as_pdf}
)


def _options(asked: Namespace) -> Options:
    try:
        called = tuple(AETitle(each) for each in asked.called)
        peers = tuple(AETitle(each) for each in asked.peer)
    except PeerError as error:
        raise UsageError(
            f"--called, --peer: {error}", "write a title as the device has it"
        ) from None
    if bool(asked.client_cert) is not bool(asked.client_key):
        raise UsageError("--client-cert without --client-key", "name both")
    return Options(
        ports=tuple(dict.fromkeys((*PORTS, *asked.port))),
        called=called,
        peers=peers,
        reach=Reach(asked.judge_as) if asked.judge_as else None,
        rate_per_s=asked.rate,
        timeout_s=TIMEOUT_S if asked.timeout is None else asked.timeout,
        idle_s=asked.idle or 0.0,
        trust=_trusting(asked.ca),
        client=_client(asked.client_cert, asked.client_key),
        expects_identity=asked.expect_identity,
        may_download=asked.consent_download,
        may_write=asked.consent_write,
    )


def _trusting(path: str | None) -> ssl.SSLContext | None:
    if not path:
        return None
    try:
        return ssl.create_default_context(cafile=path)
    except (OSError, ssl.SSLError):
        raise UsageError(
            f"--ca {path}: cannot be read", "name certificates in PEM"
        ) from None


def _client(cert: str | None, key: str | None) -> ssl.SSLContext | None:
    if not cert or not key:
        return None
    context = lenient()
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError):
        raise UsageError(
            "--client-cert, --client-key: cannot be read", "name a pair in PEM"
        ) from None
    return context


def _text(
    result: Result, difference: Difference, written: list[str]
) -> tuple[str | Table, ...]:
    found = exposed(result)
    lines: list[str | Table] = [
        (
            f"{counted(result.hosts, 'host')} tried, {result.answering} answered, "
            f"{counted(result.connections, 'connection')}"
        )
    ]
    if found["systems"]:
        lines.append(
            f"patient data are exposed on {counted(found['systems'], 'system')}: "
            f"{found['patients']} patients, {found['studies']} studies, "
            f"{found['images']} images"
        )
    rows = tuple(
        (
            str(each.grade), each.address, str(each.port or "-"), str(each.kind),
            each.product,
        )
        for each in result.targets
    )  # fmt: skip
    if rows:
        lines.append(Table(("grade", "address", "port", "service", "product"), rows))
    told = tuple(
        (
            str(each.severity),
            each.id,
            each.target,
            each.title,
            each.evidence,
            each.remedy,
        )
        for each in result.findings
        if str(each.severity) != "info"
    )
    if told:
        lines.append(
            Table(("severity", "id", "where", "what", "seen", "what to do"), told)
        )
    else:
        lines.append("nothing that is worth more than knowing was found")
    changed = len(difference.new), len(difference.fixed), len(difference.reopened)
    if any(changed):
        new, fixed, again = changed
        lines.append(f"since the last scan: {new} new, {fixed} fixed, {again} reopened")
    lines += [f"written: {each}" for each in written]
    return tuple(lines)
