"""What a verification of the log finds."""

from dataclasses import dataclass

# More are not told one by one: whoever reads the report has seen enough.
FINDINGS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or worth knowing.

    Attributes:
        kind: A word of the table in ``verification``, or ``clock``.
        text: What, in a sentence without patient data.
        first: Number of the first record concerned, if it is about records.
        last: Number of the last one.
    """

    kind: str
    text: str
    first: int | None = None
    last: int | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What ``AuditLog.verify`` found.

    Attributes:
        records: Records in the database.
        size: Records that the head signs.
        root: Root of the tree that the head signs, hex.
        checkpoints: Signed checkpoints that were held against the records.
        findings: What is wrong, at most ``FINDINGS_MAX``.
        remarks: What is worth knowing, and no tampering.
    """

    records: int
    size: int
    root: str
    checkpoints: int
    findings: tuple[Finding, ...]
    remarks: tuple[Finding, ...]

    @property
    def is_intact(self) -> bool:
        """Whether every record is the one that was written, and none is missing."""
        return not self.findings


class Findings:
    """Gathers findings and remarks."""

    def __init__(self) -> None:
        self.found: list[Finding] = []
        self.remarks: list[Finding] = []

    def find(
        self, kind: str, text: str, first: int | None = None, last: int | None = None
    ) -> None:
        """Take note of something wrong."""
        if len(self.found) < FINDINGS_MAX:
            self.found.append(Finding(kind, text, first, last))

    def find_altered(self, n: int) -> None:
        """Take note of an altered record; neighbours become one finding."""
        first = n
        if self.found and (self.found[-1].kind, self.found[-1].last) == (
            "altered",
            n - 1,
        ):
            first = self.found.pop().first or 0
        what = (
            f"record {n} is not what its hash commits to: it was altered or moved"
            if first == n
            else f"records {first} to {n} are not what their hashes commit to: they "
            "were altered or moved"
        )
        self.find("altered", what, first, n)

    def remark(self, kind: str, text: str, first: int | None = None) -> None:
        """Take note of something that is no tampering."""
        if len(self.remarks) < FINDINGS_MAX:
            self.remarks.append(Finding(kind, text, first, first))
