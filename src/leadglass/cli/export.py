"""``leadglass export``: a study as DICOM files, in a folder or a ZIP file."""

from pathlib import Path

from leadglass.app import Node
from leadglass.archive.catalogue import Catalogue
from leadglass.archive.exporting import ExportReport, Selection
from leadglass.cli.answers import Answer, Table, counted, size_text
from leadglass.cli.progress import progress
from leadglass.cli.session import Session
from leadglass.dicom.attributes import Level
from leadglass.errors import Damaged


def run(session: Session) -> Answer:
    """Export a study."""
    arguments = session.arguments
    out = Path(arguments.out).absolute()
    with Node.open(session.config) as node, progress("exporting") as update:

        def told(report: ExportReport) -> None:
            update(report.instances + report.left_out, report.total)

        uid = Catalogue(node.parts).resolve(node.operator, arguments.study)
        report = node.exporter.run(
            node.operator,
            Selection(level=Level.STUDY, study_uids=(uid,)),
            out,
            as_zip=arguments.zip,
            with_dicomdir=not arguments.no_dicomdir,
            progress=told,
        )
    text: list[str | Table] = [
        f"{counted(report.instances, 'instance')}, {size_text(report.bytes)}: {out}",
        "Leadglass no longer protects this copy: whoever has it can read it",
    ]
    if not report.is_whole:
        rows = tuple((each.instance_uid, each.reason) for each in report.named)
        text += [
            f"{report.left_out} of {report.total} left out:",
            Table(("SOP INSTANCE UID", "WHY"), rows),
        ]
    return Answer(
        data={
            "study_uid": uid,
            "out": str(out),
            "instances": report.instances,
            "bytes": report.bytes,
            "left_out": report.left_out,
            "is_whole": report.is_whole,
        },
        text=tuple(text),
        exit_code=0 if report.is_whole else Damaged.exit_code,
    )
