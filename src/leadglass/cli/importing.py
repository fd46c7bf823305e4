"""``leadglass import``: files, folders, ZIP files and DICOMDIR media."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from leadglass.app import Node
from leadglass.archive.importing import ImportReport, Outcome
from leadglass.cli.answers import Answer, Table, counted, size_text
from leadglass.cli.progress import progress
from leadglass.cli.session import Session

# The contract's word for each outcome, and the one for people.
_WORDS: Final = {
    Outcome.STORED: ("stored", "stored"),
    Outcome.SAME: ("already_here", "there already"),
    Outcome.SEEN: ("unchanged", "unchanged since they were imported"),
    Outcome.CONFLICT: ("set_aside", "kept aside: other bytes under a known UID"),
    Outcome.REFUSED: ("failed", "refused"),
    Outcome.MISSING: ("missing", "named by a DICOMDIR, but missing"),
    Outcome.NOT_DICOM: ("not_dicom", "no DICOM instances"),
}
_INCOMPLETE: Final = 1


def run(session: Session) -> Answer:
    """Import what was named, one after the other."""
    arguments = session.arguments
    with Node.open(session.config) as node:
        reports = [
            bring_in(node, Path(path).absolute(), fresh=arguments.fresh)
            for path in arguments.path
        ]
    return answer_of(reports, list_skipped=arguments.list_skipped)


def bring_in(node: Node, path: Path, *, fresh: bool = False) -> ImportReport:
    """Import one source, with a progress bar."""
    with progress("importing") as update:

        def told(report: ImportReport) -> None:
            update(report.files, report.total or 0)

        return node.importer.run(node.operator, path, told, fresh=fresh)


def answer_of(reports: Iterable[ImportReport], *, list_skipped: bool) -> Answer:
    """Return what is told of imports."""
    reports = tuple(reports)
    counts: Counter[Outcome] = sum((each.counts for each in reports), Counter())
    files = sum(each.files for each in reports)
    is_whole = all(each.is_whole for each in reports)
    data: dict[str, Any] = {
        "files": files,
        **{word: counts[outcome] for outcome, (word, _) in _WORDS.items()},
        "bytes": sum(each.bytes for each in reports),
        "preambles_cleared": sum(each.preambles_cleared for each in reports),
        "is_whole": is_whole,
        "skipped": None,
    }
    text: list[str | Table] = [
        f"{counted(files, 'file')}, {size_text(data['bytes'])}",
        *(
            f"  {counts[outcome]} {words}"
            for outcome, (_, words) in _WORDS.items()
            if counts[outcome]
        ),
    ]
    named = [each for report in reports for each in report.named]
    if list_skipped:
        # Names of files often are names of patients: only when asked for.
        data["skipped"] = [
            {"name": each.name, "outcome": _WORDS[each.outcome][0], "why": each.reason}
            for each in named
        ]
        rows = tuple((each.name, each.outcome, each.reason) for each in named)
        text.append(Table(("FILE", "OUTCOME", "WHY"), rows))
    elif named:
        reasons = Counter(each.reason or each.outcome for each in named)
        text += [
            *(f"  {count} × {reason}" for reason, count in reasons.most_common()),
            "--list-skipped names the files; their names may tell of patients",
        ]
    return Answer(data=data, text=tuple(text), exit_code=0 if is_whole else _INCOMPLETE)
