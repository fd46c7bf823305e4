"""What there is, who sends what to whom, and what could happen to it: from facts."""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from leadglass.assurance.compliance.state import RECORD_DAYS, NodeState
from leadglass.audit.codes import EventID, Role

DAYS: Final = RECORD_DAYS
# A picture of more peers than this is read by nobody; the rest is counted.
PEERS_DRAWN_MAX: Final = 40


@dataclass(frozen=True, slots=True)
class Asset:
    """Something that images pass through, or that decides over them."""

    kind: str
    name: str
    detail: str


@dataclass(frozen=True, slots=True)
class Flow:
    """Images or answers that went between the node and a peer.

    Attributes:
        peer: Name of the device, person or program.
        is_outgoing: From the node.
        service: By which service.
        channel: How it was protected.
        count: How many acts.
    """

    peer: str
    is_outgoing: bool
    service: str
    channel: str
    count: int


def assets(state: NodeState) -> list[Asset]:
    """List node, listeners, devices, people by role, and stores."""
    found = [
        Asset("node", "leadglass", f"version {state.version}"),
        Asset("store", "vault, index and record", "encrypted, in one data folder"),
    ]
    found += [Asset("listener", each, "declared") for each in state.declared]
    for each in state.devices:
        what = "plaintext exception" if each.unsafe_plaintext else "certificate"
        networks = ", ".join(map(str, each.networks))
        found.append(Asset("device", each.name, f"{what}; {networks}"))
    roles: dict[str, int] = {}
    for person in state.people:
        for role in person.roles:
            roles[role] = roles.get(role, 0) + 1
    found += [
        Asset("people", role, str(count)) for role, count in sorted(roles.items())
    ]
    found.append(Asset("software", "components", str(len(state.components))))
    return found


def flows(state: NodeState) -> list[Flow]:
    """Count what moved, by peer, direction, service and protection."""
    counted: dict[tuple[str, bool, str, str], int] = {}
    for key in _moves(state):
        counted[key] = counted.get(key, 0) + 1
    return [Flow(*key, count) for key, count in sorted(counted.items())]


def _moves(state: NodeState) -> Iterator[tuple[str, bool, str, str]]:
    for event in state.events:
        if event.id is EventID.INSTANCES_TRANSFERRED:
            # What came in has its requestor as source.
            sources = [each for each in event.participants if Role.SOURCE in each.roles]
            asking = next((e for e in event.participants if e.is_requestor), None)
            if asking is None:
                continue
            is_outgoing = asking not in sources
        elif event.id in {EventID.QUERY, EventID.EXPORT}:
            asking = next((e for e in event.participants if e.is_requestor), None)
            if asking is None:
                continue
            is_outgoing = True
        else:
            continue
        details = event.details
        yield (
            asking.user_id,
            is_outgoing,
            details.get("service", "") or event.id.name.lower(),
            details.get("channel", ""),
        )


def picture(state: NodeState) -> str:
    """Draw the flows as SVG: peers on both sides, the node between them."""
    found = flows(state)
    sides = {
        False: sorted({each.peer for each in found if not each.is_outgoing}),
        True: sorted({each.peer for each in found if each.is_outgoing}),
    }
    rows = max(1, *(min(len(each), PEERS_DRAWN_MAX) for each in sides.values()))
    height = 60 + 34 * rows
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 {height}" '
            'role="img" aria-label="Who sends what to whom" font-family="sans-serif" '
            'font-size="13">'
        ),
        (
            f'<rect x="370" y="20" width="160" height="{height - 40}" rx="8" '
            'fill="#123a5c"/>'
        ),
        (
            f'<text x="450" y="{height // 2}" fill="#fff" text-anchor="middle">'
            "Leadglass</text>"
        ),
    ]
    for is_outgoing, peers in sides.items():
        left = 640 if is_outgoing else 40
        for row, peer in enumerate(peers[:PEERS_DRAWN_MAX]):
            y = 36 + 34 * row
            own = [e for e in found if e.peer == peer and e.is_outgoing == is_outgoing]
            clear = any(each.channel == "plaintext" for each in own)
            colour = "#b00020" if clear else "#1b6e3a"
            services = ", ".join(sorted({each.service for each in own}))
            begin, end = (530, left) if is_outgoing else (left + 220, 370)
            parts += [
                (
                    f'<rect x="{left}" y="{y - 14}" width="220" height="28" rx="5" '
                    f'fill="#eef3f7" stroke="{colour}"/>'
                ),
                (
                    f'<text x="{left + 8}" y="{y + 4}">{escape(peer[:18])} '
                    f'<tspan fill="#445">{escape(services[:18])}</tspan></text>'
                ),
                (
                    f'<line x1="{begin}" y1="{y}" x2="{end}" y2="{y}" '
                    f'stroke="{colour}" stroke-width="2"/>'
                ),
            ]
    return "".join([*parts, "</svg>"])


@dataclass(frozen=True, slots=True)
class Threat:
    """What could happen, and what stands against it.

    Attributes:
        threat: In a line.
        hits: What it would hit.
        safeguards: Names of the probes that show them.
    """

    threat: str
    hits: str
    safeguards: tuple[str, ...]


# A draft: likelihood, impact and decision are for an officer to fill in.
THREATS: Final = (
    Threat("a stranger reaches a port", "patients' data", ("E1", "E6", "tls")),
    Threat("somebody guesses a password", "patients' data", ("E8", "second-factor")),
    Threat("somebody here is curious", "patients' data", ("E3", "roles", "who-saw")),
    Threat("the disk or a backup is stolen", "patients' data", ("E2", "keys", "E9")),
    Threat("images are forged", "images", ("E5", "integrity")),
    Threat("a device sends harmful files", "the node", ("E11",)),
    Threat("an administrator hides something", "the record", ("E4", "record")),
    Threat("the machine dies", "availability", ("E9", "crash")),
    Threat("somebody leaves and keeps access", "patients' data", ("termination",)),
    Threat("software has known faults", "the node", ("software",)),
    Threat(
        "images go where they should not", "patients' data", ("destinations", "map")
    ),
    Threat("settings are weakened unseen", "the node", ("E12", "baseline")),
)


def risks() -> list[dict[str, Any]]:
    """Return the draft of a risk analysis, to be filled in (45 CFR 164.308(a)(1))."""
    return [
        {
            "threat": each.threat,
            "hits": each.hits,
            "safeguards": list(each.safeguards),
            "likelihood": "",
            "impact": "",
            "decision": "",
        }
        for each in THREATS
    ]
