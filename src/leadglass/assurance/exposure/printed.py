"""The result of a scan for people: one HTML file, and the same as PDF."""

from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from leadglass.assurance.exposure.difference import Difference
from leadglass.assurance.exposure.grading import MEANINGS
from leadglass.assurance.exposure.report import exposed
from leadglass.assurance.exposure.scan import Outcome, Result
from leadglass.assurance.printing import Block, Heading, Paragraph, Table, pdf

TITLE: Final = "Exposure of DICOM systems"
METHOD: Final = (
    "Looked at from outside, as a stranger would. An association that is accepted, a "
    "query that is answered, an image that can be downloaded and a write that is "
    "accepted are four things, and told apart. No data of patients were kept."
)
# What the report lists one by one; the JSON has all of it.
PRINTED_MAX: Final = 2_000


def _counts(result: Result) -> tuple[tuple[str, str], ...]:
    found = exposed(result)
    return (
        ("hosts that were tried", str(result.hosts)),
        ("hosts that answered", str(result.answering)),
        ("systems that show patients to anyone", str(found["systems"])),
        ("patients", str(found["patients"])),
        ("studies (records)", str(found["studies"])),
        ("images linked to them", str(found["images"])),
        ("systems from which an image was fetched", str(found["downloadable_systems"])),
        ("systems that took a written instance", str(found["writable_systems"])),
    )


def _reached(outcome: Outcome) -> str:
    found = outcome.exposure
    told = (
        (found.is_associated, "let in"),
        (found.is_answered, "answered"),
        (found.shows_patients, "patients shown"),
        (found.is_downloadable, "image downloaded"),
        (found.is_storage_offered, "storage offered"),
        (found.is_written, "write accepted"),
    )
    return ", ".join(text for is_so, text in told if is_so) or "nothing"


def _rows(result: Result) -> list[tuple[str, ...]]:
    return [
        (
            str(each.grade), each.address, str(each.port or "–"), str(each.kind),
            each.product or "–", _reached(each),
        )
        for each in result.targets[:PRINTED_MAX]
    ]  # fmt: skip


def _changes(difference: Difference) -> tuple[tuple[str, str], ...]:
    groups = (
        ("new", difference.new),
        ("fixed", difference.fixed),
        ("reopened", difference.reopened),
    )
    return tuple(
        (name, f"{check} {target}") for name, keys in groups for check, target in keys
    )


def html(result: Result, difference: Difference) -> str:
    """Return a page that needs nothing else; all of a target's text is escaped."""
    environment = Environment(
        loader=PackageLoader("leadglass.assurance.exposure"),
        autoescape=True,
        undefined=StrictUndefined,
    )
    return environment.get_template("scan.html").render(
        title=TITLE,
        method=METHOD,
        result=result,
        counts=_counts(result),
        rows=_rows(result),
        findings=result.findings[:PRINTED_MAX],
        changes=_changes(difference)[:PRINTED_MAX],
        meanings=MEANINGS,
    )


def as_pdf(result: Result, difference: Difference) -> bytes:
    """Return the same as PDF."""
    day = f"{result.finished:%Y-%m-%d %H:%M} UTC"
    blocks: list[Block] = [
        Paragraph(METHOD),
        Table(("what", "number"), _counts(result)),
    ]
    if result.authorisation:
        blocks.append(Paragraph(f"Authorisation: SHA-256 {result.authorisation}"))
    blocks += [
        Heading("Targets"),
        Table(
            ("grade", "address", "port", "service", "product", "a stranger was"),
            _rows(result),
            (1, 3, 1, 2, 3, 4),
        ),
        Paragraph(". ".join(f"{g}: {text}" for g, text in MEANINGS.items()),
        is_small=True),
        Heading("Findings"),
        Table(
            ("id", "severity", "where", "what was seen", "what to do"),
            [
                (
                    each.id, str(each.severity), each.target,
                    f"{each.title}: {each.evidence}", each.remedy,
                )
                for each in result.findings[:PRINTED_MAX]
            ],
            (1.2, 1.2, 2.6, 5, 5),
        ),
    ]  # fmt: skip
    if changes := _changes(difference)[:PRINTED_MAX]:
        blocks += [
            Heading("Since the last scan"),
            Table(("", "finding"), changes, (1, 5)),
        ]
    return pdf(TITLE, blocks, footer=f"{TITLE}, {day}")
