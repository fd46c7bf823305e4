"""Writing a folder of evidence (docs/explanation/formats/evidence.md).

The folder appears whole or not at all: it is made under another name, checked with
the very program that goes with it, and then given its own. What it is made of is
held against the hashes of the tree, so that no evidence leaves a log that was
tampered with.
"""

import json
import shutil
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import pairwise
from os import O_CREAT, O_DIRECTORY, O_EXCL, O_RDONLY, O_WRONLY, close, fsync
from os import open as open_descriptor
from pathlib import Path
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import Connection, select

from leadglass import __version__
from leadglass.audit import tables
from leadglass.audit.checkpoint import Checkpoint, Signer, parse, verifier_key
from leadglass.audit.codes import meaning
from leadglass.audit.cosigned_file import line_of
from leadglass.audit.events import Event
from leadglass.audit.evidence import verify
from leadglass.audit.evidence.multiproof import Run, multiproof
from leadglass.audit.evidence.page import page
from leadglass.audit.evidence.selection import Place, Selection
from leadglass.audit.leaf import Leaf, commit, hash_row
from leadglass.audit.merkle import consistency_proof
from leadglass.audit.nodes import StoredNodes
from leadglass.audit.withdrawn import (
    Pruned,
    check_provable,
    hash_erased,
    leaf_of,
    pruned_of,
)
from leadglass.audit.witness import WitnessKey
from leadglass.errors import BadData, Damaged, Misconfigured, Unavailable

_ROWS_READ = 256
_PART = ".part"


@dataclass(frozen=True, slots=True)
class Request:
    """Who wants what, where.

    Attributes:
        selection: Which records.
        folder: Where; it must not be there yet.
        made_at: When, ISO 8601.
        made_by: Who, as the record names them.
    """

    selection: Selection
    folder: Path
    made_at: str
    made_by: str


@dataclass(frozen=True, slots=True)
class Made:
    """What was written.

    Attributes:
        folder: Where.
        records: Records shown, opened or closed.
        opened: Records whose content is shown.
        others: Of these, how many name another patient than the one asked for.
        checkpoints: Signed checkpoints of the chain.
        size: Records that the newest of them signs.
        root: Root over them, hex.
        key: The public key, as a line.
        files: Name and SHA-256 of each file, the manifest's included.
    """

    folder: Path
    records: int
    opened: int
    others: int
    checkpoints: int
    size: int
    root: str
    key: str
    files: dict[str, str]


@dataclass(slots=True)
class _Shown:
    """What went into records.jsonl."""

    records: int = 0
    opened: int = 0
    others: int = 0
    erased: int = 0
    kinds: Counter[str] = field(default_factory=Counter)


class Stamped(Protocol):
    """A checkpoint with the token of an authority (``timestamps.Timestamp``)."""

    @property
    def note(self) -> str:
        """The checkpoint."""

    def line(self) -> str:
        """All of it in a line of JSON."""


@dataclass(frozen=True, slots=True)
class Source:
    """What evidence is made from.

    Attributes:
        connection: A snapshot that has at least the records of ``place``.
        place: Where they stand.
        notes: The signed checkpoints that are kept, oldest first.
        signer: Signs the manifest.
        public_keys: Keys of the log, the present one first.
        cosigned: The checkpoints that witnesses cosigned.
        witnesses: Their keys.
        timestamps: Tokens of authorities for time stamps, on checkpoints.
    """

    connection: Connection
    place: Place
    notes: Sequence[str]
    signer: Signer
    public_keys: Sequence[Ed25519PublicKey]
    cosigned: Sequence[str] = ()
    witnesses: Sequence[WitnessKey] = ()
    timestamps: Sequence["Stamped"] = ()


def make(source: Source, request: Request) -> Made:
    """Write the folder, durably.

    Raises:
        Misconfigured: There is something of its name.
        Damaged: The log was tampered with; nothing is written.
        Unavailable: It cannot be written.
    """
    part = request.folder.with_name(request.folder.name + _PART)
    if request.folder.exists():
        raise Misconfigured(
            "the folder of the evidence is there already; name a new one"
        )
    try:
        part.mkdir(mode=0o700)
    except FileExistsError:
        raise Misconfigured(
            f"there is an unfinished {_PART} of this folder; remove it first"
        ) from None
    except OSError as error:
        raise Unavailable(f"evidence: {error.strerror}") from error
    try:
        made = _Making(source, request, part).run()
        _sync(part)
        part.rename(request.folder)
        _sync(request.folder.parent)
    except OSError as error:
        raise Unavailable(f"evidence: {error.strerror}") from error
    finally:
        with suppress(FileNotFoundError):
            shutil.rmtree(part)
    return made


class _Making:
    """One run."""

    def __init__(self, source: Source, request: Request, part: Path) -> None:
        self._source = source
        self._request = request
        self._part = part
        self._files: dict[str, dict[str, Any]] = {}

    def run(self) -> Made:
        source, place = self._source, self._source.place
        nodes = StoredNodes(source.connection)
        shown = _Shown()
        self._write("records.jsonl", self._lines(shown))
        proof = multiproof(place.runs, place.size, nodes) if place.runs else []
        self._write("proof.json", [_json([_text(each) for each in proof])])
        pruned = pruned_of(source.connection, source.signer.origin)
        stamped = [each.note for each in source.timestamps]
        kept = [*source.cosigned, *source.notes, *stamped]
        notes = _chain(kept, place.note, pruned)
        self._write("checkpoints", (each.encode() for each in notes))
        sizes = [parse(each).size for each in notes]
        self._write(
            "consistency.jsonl",
            (
                _json([_text(each) for each in consistency_proof(old, new, nodes)])
                for old, new in pairwise(sizes)
            ),
        )
        self._write("public_keys.json", [_json(self._keys(notes))])
        bodies = {each.partition("\n\n")[0] for each in notes}
        stamps = [
            each.line().encode()
            for each in source.timestamps
            if each.note.partition("\n\n")[0] in bodies
        ]
        if stamps:
            self._write(verify.STAMPS, stamps)
        self._write("verify.py", [Path(verify.__file__).read_bytes()])
        head = parse(place.note)
        manifest = self._manifest(shown, head, len(notes))
        self._write("README.txt", [page(manifest, shown.kinds).encode()])
        return self._finish(manifest, shown)

    def _finish(self, manifest: dict[str, Any], shown: _Shown) -> Made:
        """Sign the list of the files, and look at all of it as its reader will."""
        signer = self._source.signer
        written = dict(self._files)
        data = _json(manifest | {"files": written}, indent=2)
        self._write(verify.MANIFEST, [data])
        digest = sha256(data).hexdigest()
        text = f"{verify.STATEMENT_LINE}\n{signer.origin}\n{digest}\n"
        self._write(verify.STATEMENT, [signer.sign_text(text).encode()])
        found = verify.check(self._part, self._source.public_keys)
        if found.wrong:
            raise Damaged(
                f"no evidence is made of an audit log that is not intact: "
                f"{found.wrong[0]}; see: leadglass audit verify"
            )
        counts = manifest["counts"]
        return Made(
            folder=self._request.folder,
            records=shown.records,
            opened=shown.opened,
            others=shown.others,
            checkpoints=counts["checkpoints"],
            size=manifest["checkpoint"]["size"],
            root=manifest["checkpoint"]["root"],
            key=verifier_key(signer.origin, signer.public_key),
            files={name: each["sha256"] for name, each in self._files.items()},
        )

    def _keys(self, notes: Sequence[str]) -> dict[str, Any]:
        source = self._source
        seen = [
            each.line()
            for each in source.witnesses
            if any(line_of(note, each) for note in notes)
        ]
        return {
            "log": [
                verifier_key(source.signer.origin, each) for each in source.public_keys
            ],
            "origin": source.signer.origin,
            "witnesses": seen,
        }

    def _manifest(
        self, shown: _Shown, head: Checkpoint, checkpoints: int
    ) -> dict[str, Any]:
        return {
            "checkpoint": {"root": head.root.hex(), "size": head.size},
            "counts": {
                "checkpoints": checkpoints,
                "erased": shown.erased,
                "kinds": dict(sorted(shown.kinds.items())),
                "opened": shown.opened,
                "others": shown.others,
                "records": shown.records,
            },
            "format": verify.FORMAT,
            "made_at": self._request.made_at,
            "made_by": self._request.made_by,
            "origin": self._source.signer.origin,
            "selection": self._request.selection.members(),
            "software": f"Leadglass {__version__}",
        }

    def _lines(self, shown: _Shown) -> Iterator[bytes]:
        for run in self._source.place.runs:
            for row in _rows(self._source.connection, run):
                yield self._erased(row, shown) or self._line(row, shown)

    def _erased(self, row: Any, shown: _Shown) -> bytes | None:
        """Return a record whose content was erased on order; None: it was not."""
        if row.record is not None:
            return None
        column = tables.erased.c
        found = self._source.connection.execute(
            select(column.commitment, column.order_n).where(column.n == row.n)
        ).one_or_none()
        if found is None or hash_erased(tuple(row), found.commitment) != row.leaf:
            return None
        shown.records += 1
        shown.erased += 1
        leaf = leaf_of(tuple(row), found.commitment)
        return _json(
            {"erased_by": found.order_n, "leaf": _text(leaf.encode()), "n": row.n}
        )

    def _line(self, row: Any, shown: _Shown) -> bytes:
        """Return a record, opened or closed, once it is found to be as it was."""
        values = tuple(row)
        if None in values or hash_row(*values[:8]) != row.leaf:
            raise Damaged(
                f"audit record {row.n} is not as it was written; see: leadglass audit "
                "verify"
            )
        commitment = commit(row.salt, row.search_keys, row.record)
        leaf = Leaf(row.n, row.wall_us, row.mono_us, row.boot, row.code, commitment)
        members: dict[str, Any] = {"leaf": _text(leaf.encode()), "n": row.n}
        shown.records += 1
        if row.n in self._source.place.opened:
            has_others = self._names_others(row.record)
            if not has_others or not self._request.selection.without_others:
                members["keys"] = _text(row.search_keys)
                members["record"] = row.record.decode()
                members["salt"] = _text(row.salt)
                shown.opened += 1
                shown.others += has_others
                shown.kinds[meaning(str(row.code))[1]] += 1
        return _json(members)

    def _names_others(self, record: bytes) -> bool:
        """Tell whether a record names another patient than the one asked for."""
        patient = self._request.selection.members()["patient"]
        if patient is None and not self._request.selection.without_others:
            return False
        try:
            event = Event.decode(record)[0]
        except BadData:
            return True
        own = self._source.signer.origin
        named = {value for kind, value in event.mentions(own) if kind == "patient"}
        return bool(named - {patient}) if patient else len(named) > 1

    def _write(self, name: str, parts: Iterator[bytes] | Sequence[bytes]) -> None:
        """Write a file, durably, and take note of its hash."""
        digest, count = sha256(), 0
        flags = O_WRONLY | O_CREAT | O_EXCL
        with open(  # noqa: PTH123  # a mode of its own, from the beginning
            open_descriptor(self._part / name, flags, 0o600), "wb"
        ) as file:
            for each in parts:
                digest.update(each)
                count += file.write(each)
            file.flush()
            fsync(file.fileno())
        self._files[name] = {"bytes": count, "sha256": digest.hexdigest()}


_COLUMNS = select(
    *(
        tables.record.c[name]
        for name in (
            *("n", "wall_us", "mono_us", "boot", "code"),
            *("search_keys", "salt", "record", "leaf"),
        )
    )
)


def _rows(connection: Connection, run: Run) -> Iterator[Any]:
    """Yield the rows of a run; one that is missing is not passed over."""
    c = tables.record.c
    query = _COLUMNS.where(c.n >= run[0], c.n < run[1]).order_by(c.n)
    expected = run[0]
    rows = connection.execution_options(yield_per=_ROWS_READ).execute(query)
    for row in rows:
        if row.n != expected:
            break
        expected += 1
        yield row
    if expected != run[1]:
        raise Damaged(
            f"audit record {expected} is missing; see: leadglass audit verify"
        )


def _chain(notes: Sequence[str], head: str, pruned: Pruned) -> list[str]:
    """Return the checkpoints up to the head; of those of one body the first.

    What a power cut left of one is passed over, and what was signed within a tile
    that was pruned: that the log continues it cannot be shown any more.
    """
    found: dict[str, str] = {}
    size = parse(head).size
    for note in [*notes, head]:
        with suppress(BadData, Unavailable):
            check_provable(parse(note).size, pruned)
            if parse(note).size <= size:
                found.setdefault(note.partition("\n\n")[0], note)
    return sorted(found.values(), key=lambda note: parse(note).size)


def _json(value: Any, indent: int | None = None) -> bytes:
    separators = (",", ":") if indent is None else (",", ": ")
    text = json.dumps(
        value, ensure_ascii=False, sort_keys=True, separators=separators, indent=indent
    )
    # A lone surrogate has no UTF-8; as an escape it is valid JSON and not lost.
    return (text + "\n").encode("utf-8", "backslashreplace")


def _text(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def _sync(folder: Path) -> None:
    descriptor = open_descriptor(folder, O_RDONLY | O_DIRECTORY)
    try:
        fsync(descriptor)
    finally:
        close(descriptor)
