"""``leadglass serve``: what is open, to whom, and what to type next; then wait."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from leadglass import __version__
from leadglass.app import Initialised, Node, Ready, serve
from leadglass.cli.answers import Answer, counted
from leadglass.cli.init import initialise
from leadglass.cli.running import serving
from leadglass.cli.session import Session
from leadglass.cli.status import reviews_text
from leadglass.config import Config
from leadglass.identity.devices import Status

Prepare = Callable[[Node], Mapping[str, Any]]


def run(session: Session) -> None:
    """Serve until asked to stop."""
    serve_after(session, lambda _: {})


def serve_after(session: Session, prepare: Prepare) -> None:
    """Initialise if need be, ``prepare``, serve."""
    named = {
        "dimse.listen": session.arguments.dimse,
        "https.listen": session.arguments.https,
    }
    # None: not said; "" says something, and for HTTPS that there is to be none.
    said = {name: value for name, value in named.items() if value is not None}
    config = session.load(said, is_serving=True)
    made = initialise(config)
    with serving(config.home) as tell, Node.open(config) as node:
        facts = prepare(node)

        def on_ready(ready: Ready) -> None:
            addresses = _addresses(ready)
            tell({**addresses, "ae_title": config.node.ae_title})
            session.say(_answer(session, node, made, ready, facts))

        serve(node, on_ready=on_ready)


def _addresses(ready: Ready) -> dict[str, str | None]:
    return {
        "dimse": _text(ready.dimse),
        "unsafe_plaintext": (
            _text(ready.unsafe_plaintext) if ready.unsafe_plaintext else None
        ),
        "https": _text(ready.https) if ready.https else None,
    }


def _text(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _answer(
    session: Session,
    node: Node,
    made: Initialised,
    ready: Ready,
    facts: Mapping[str, Any],
) -> Answer:
    config = node.config
    addresses = _addresses(ready)
    recovered = ready.recovered
    data = {
        "event": "ready",
        **addresses,
        "ae_title": config.node.ae_title,
        "home": str(config.home),
        "pid": os.getpid(),
        "version": __version__,
        "created": made.created,
        "administrator": made.administrator,
        "one_time_secret": made.one_time_secret,
        "recovered": {
            "settled": recovered.settled,
            "entered": recovered.entered,
            "removed": recovered.removed,
            "damaged": recovered.damaged,
            "held": recovered.held,
            "erased": recovered.erased,
        },
        **facts,
    }
    return Answer(data=data, text=_lines(session, node, made, addresses))


def _lines(
    session: Session,
    node: Node,
    made: Initialised,
    addresses: Mapping[str, str | None],
) -> tuple[str, ...]:
    config = node.config
    with node.database.read() as connection:
        devices = node.devices.list(connection)
    active = sum(each.status is Status.ACTIVE for each in devices)
    plaintext, https = addresses["unsafe_plaintext"], addresses["https"]
    return (
        f"Leadglass {__version__}: {config.node.ae_title} listens on "
        f"{addresses['dimse']} (DICOM over TLS"
        + (f"), {plaintext} (PLAINTEXT, for named exceptions" if plaintext else "")
        + (f") and {https} (DICOMweb over HTTPS)" if https else ")")
        + "; nothing else is open.",
        (
            f"Who may come: {counted(active, 'enrolled device')}, by certificate and "
            "network, and programs by token; everybody else is refused, and that is "
            "recorded."
        ),
        (
            f"Data: {config.home}, encrypted; its master key: {made.master_key}. "
            "Back up both, apart from each other."
        ),
        f"Administrator: {made.administrator}, "
        + (
            f"one-time secret {made.one_time_secret} (shown this once)."
            if made.one_time_secret
            else "whose secret was shown at the first start."
        ),
        *reviews_text(node.emergencies.count_open()),
        f"Next: {_next(session, config)}",
        *(f"Weakened: {each}" for each in config.weaknesses()),
    )


def _next(session: Session, config: Config) -> str:
    """Return what to type next, so that it works as it is typed."""
    home = f"--home {config.home} " if session.arguments.home else ""
    return (
        f"leadglass {home}devices enrol CT1 --ae CT1 --from 127.0.0.1/32 "
        "--may echo store --out ct1"
    )
