"""What a run is shown as: JSON, OSCAL assessment results, HTML and PDF.

The JSON is what the record holds the hash of; everything else is made from it.
"""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from jinja2 import Environment, PackageLoader, select_autoescape

from leadglass.assurance.compliance import inventory, software
from leadglass.assurance.compliance.controls import Profile, catalogue
from leadglass.assurance.compliance.judging import Result, counted, members
from leadglass.assurance.compliance.probe import Observation, Verdict, findings_of
from leadglass.assurance.compliance.state import NodeState
from leadglass.assurance.printing import Block, Heading, Paragraph, Table, pdf

_TITLE: Final = "Controls of this node"
# Said on every report: there is no certificate of it (45 CFR 164 knows none).
CAUTION: Final = (
    "Automatic results were seen on the day of the run, by looking at this node and by "
    "experiments on a twin of it: same program, same settings, other keys and data. "
    "Attested results rest on somebody's word. Nobody is certified by this report."
)
_NAMESPACE: Final = uuid.UUID("6f0dbb42-70f5-4d4c-8b71-6d0f3ad2a6f1")
OSCAL_VERSION: Final = "1.1.2"


def report(
    state: NodeState,
    observations: Mapping[str, Observation],
    results: Sequence[Result],
    profile: Profile,
) -> dict[str, Any]:
    """Return what is kept of a run."""
    questions = catalogue().questions
    return {
        "at": state.now.isoformat(),
        "version": state.version,
        "profile": str(profile),
        "fingerprint": state.fingerprint,
        "caution": CAUTION,
        "counts": counted(results),
        "controls": [members(each, profile) for each in results],
        "observations": [each.members() for each in observations.values()],
        "findings": [each.members() for each in findings_of(observations.values())],
        "questions": [
            {
                "id": id_,
                "question": text,
                "controls": [
                    {"id": each.control.id, "verdict": str(each.verdict)}
                    for each in results
                    if id_ in each.control.answers
                ],
            }
            for id_, text in questions.items()
        ],
        "weaknesses": list(state.weaknesses),
        "assets": [
            {"kind": each.kind, "name": each.name, "detail": each.detail}
            for each in inventory.assets(state)
        ],
        "flows": [
            {
                "peer": each.peer,
                "direction": "out" if each.is_outgoing else "in",
                "service": each.service,
                "channel": each.channel,
                "count": each.count,
            }
            for each in inventory.flows(state)
        ],
        "risks": inventory.risks(),
        "map": inventory.picture(state),
        "components": [list(each) for each in state.components],
    }


def oscal(kept: Mapping[str, Any], run: int) -> dict[str, Any]:
    """Return OSCAL assessment results (NIST, ``oscal_assessment-results_schema``)."""

    def named(what: str) -> str:
        return str(uuid.uuid5(_NAMESPACE, f"{kept['at']} {run} {what}"))

    observations = [
        {
            "uuid": named(f"observation {each['probe']}"),
            "title": each["title"],
            "description": each["observed"] or each["expected"],
            "methods": ["TEST" if each["is_experiment"] else "EXAMINE"],
            "collected": kept["at"],
            "relevant-evidence": [
                {"description": f"SHA-256 {each['evidence_sha256']}"}
            ],
        }
        for each in kept["observations"]
    ]
    findings = [
        {
            "uuid": named(f"finding {each['id']}"),
            "title": each["title"],
            "description": each["note"] or each["title"],
            "target": {
                "type": "objective-id",
                "target-id": each["id"],
                "status": {
                    "state": "satisfied"
                    if each["verdict"] in {Verdict.PASS, Verdict.ATTESTED}
                    else "not-satisfied",
                    "reason": each["verdict"].replace(" ", "-"),
                },
            },
            "related-observations": [
                {"observation-uuid": named(f"observation {name}")}
                for name in each["probes"]
            ],
        }
        for each in kept["controls"]
    ]
    return {
        "assessment-results": {
            "uuid": named("results"),
            "metadata": {
                "title": _TITLE,
                "last-modified": kept["at"],
                "version": kept["version"],
                "oscal-version": OSCAL_VERSION,
            },
            "import-ap": {"href": "#controls"},
            "results": [
                {
                    "uuid": named("result"),
                    "title": f"{_TITLE}, {kept['profile']}",
                    "description": kept["caution"],
                    "start": kept["at"],
                    "reviewed-controls": {
                        "control-selections": [
                            {
                                "include-controls": [
                                    {"control-id": each["id"].lower()}
                                    for each in kept["controls"]
                                ]
                            }
                        ]
                    },
                    "observations": observations,
                    "findings": [
                        {key: value for key, value in each.items() if value}
                        for each in findings
                    ],
                }
            ],
        }
    }


def html(kept: Mapping[str, Any], run: int, record: int) -> str:
    """Return a page that stands alone, for reading and printing."""
    environment = Environment(
        loader=PackageLoader("leadglass.assurance.compliance"),
        autoescape=select_autoescape(),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html")
    return page.render(
        kept=kept,
        run=run,
        record=record,
        title=_TITLE,
        verdicts=list(map(str, Verdict)),
    )


def printed(kept: Mapping[str, Any], run: int, record: int) -> bytes:
    """Return the same as PDF."""
    when = datetime.fromisoformat(kept["at"])
    blocks: list[Block] = [
        Paragraph(f"Run {run} of {when:%Y-%m-%d %H:%M} UTC, record {record}"),
        Paragraph(kept["caution"], is_small=True),
        Table(
            ("Verdict", "Controls"),
            [(str(each), str(kept["counts"][each])) for each in Verdict],
        ),
        Heading("Controls"),
        Table(
            ("Id", "Control", "Verdict", "Clauses", "Rests on"),
            [
                (
                    each["id"],
                    each["title"],
                    each["verdict"],
                    ", ".join(each["references"]),
                    each["note"] or ", ".join(each["probes"]),
                )
                for each in kept["controls"]
            ],
            (1, 3, 1.2, 2.5, 3),
        ),
        Heading("What was seen"),
        Table(
            ("Probe", "What was done", "Verdict", "Observed", "Evidence, SHA-256"),
            [
                (
                    each["probe"],
                    each["title"],
                    each["verdict"],
                    each["observed"],
                    each["evidence_sha256"][:16],
                )
                for each in kept["observations"]
            ],
            (1.2, 3, 1, 4, 1.6),
        ),
        Heading("Assets"),
        Table(
            ("Kind", "Name", "Detail"),
            [(each["kind"], each["name"], each["detail"]) for each in kept["assets"]],
            (1, 2, 3),
        ),
    ]
    return pdf(_TITLE, blocks, footer=f"run {run}, {when:%Y-%m-%d}")


def bill_of_materials(kept: Mapping[str, Any]) -> dict[str, Any]:
    """Return the CycloneDX document of the run."""
    return software.bill_of_materials(
        (name, version) for name, version in kept["components"]
    )
