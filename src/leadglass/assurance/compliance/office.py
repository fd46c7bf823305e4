"""Runs, attestations and baselines: kept, recorded, and asked for by right.

Crash story: a run is one transaction: the record that holds the hash of each result,
and the row with the report. A run that is cut off leaves neither; its twin's folder is
a temporary one of the process.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, desc, insert, select

from leadglass.access.rights import Right
from leadglass.archive.caller import Caller
from leadglass.archive.jobs import Job, Jobs, Work
from leadglass.archive.parts import Parts
from leadglass.assurance.compliance import tables
from leadglass.assurance.compliance.controls import Kind, catalogue
from leadglass.assurance.compliance.judging import Attestation
from leadglass.assurance.compliance.schedule import Duty, duties
from leadglass.assurance.compliance.state import Past
from leadglass.audit.builders import Result as Ended
from leadglass.database.engine import Transaction
from leadglass.errors import BadData, Misconfigured, NotFound, Unavailable
from leadglass.identity.rows import from_us, to_us

# Documents are policies and reports; what is longer is no document.
DOCUMENT_BYTES_MAX: Final = 256 * 1024 * 1024
TEXT_CHARACTERS_MAX: Final = 200
# Runs that a list shows; they are monthly, and kept for ever.
LISTED_MAX: Final = 500
_JOBS_LOOKED_AT: Final = 100


@dataclass(frozen=True, slots=True)
class Kept:
    """A run as it was kept.

    Attributes:
        id: Its number.
        at: When.
        profile: Which text it cites.
        record: Number of the record that holds the hashes of its results.
        report: What it found.
    """

    id: int
    at: datetime
    profile: str
    record: int
    report: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Office:
    """The use cases; each needs the right ``audit``."""

    parts: Parts

    def keep(self, caller: Caller, report: Mapping[str, Any]) -> Kept:
        """Record a run and keep its report.

        Raises:
            Refused: ``caller`` may not.
            Unavailable: It cannot be recorded, so it is not kept.
        """
        self.parts.require(caller, Right.AUDIT, "comply run")
        now = datetime.now(UTC)
        text = _canonical(report)
        event = self.parts.events.local_service(
            self.parts.actor(caller), "controls", Ended(counts=report["counts"])
        )
        facts = {
            each["id"]: f"{each['verdict']} {_sha256(_canonical(each))}"
            for each in report["controls"]
        }
        event = replace(
            event, details={**event.details, **facts, "report": _sha256(text)}
        )

        def work(tx: Transaction) -> tuple[int, int]:
            number = self.parts.audit.append(tx, event)
            found = tx.connection.execute(
                insert(tables.run).values(
                    at_us=to_us(now),
                    profile=report["profile"],
                    record=number,
                    report=text,
                )
            )
            key = found.inserted_primary_key
            assert key is not None  # one row was inserted
            return number, int(key[0])

        number, id_ = self.parts.database.write(work)
        # As it will be read again: what is written of it is the same each time.
        return Kept(id_, now, report["profile"], number, json.loads(text))

    def history(self, caller: Caller) -> list[Kept]:
        """Return the runs, the newest first.

        Raises:
            Refused: ``caller`` may not.
        """
        self.parts.require(caller, Right.AUDIT, "comply history")
        query = select(tables.run).order_by(desc(tables.run.c.id)).limit(LISTED_MAX)
        with self.parts.database.read() as connection:
            return [_kept(row) for row in connection.execute(query).mappings()]

    def get(self, caller: Caller, number: int | None = None) -> Kept:
        """Return a run; the newest if none is named.

        Raises:
            Refused: ``caller`` may not.
            NotFound: There is none.
        """
        self.parts.require(caller, Right.AUDIT, "comply report")
        query = select(tables.run).order_by(desc(tables.run.c.id)).limit(1)
        if number is not None:
            query = query.where(tables.run.c.id == number)
        with self.parts.database.read() as connection:
            row = connection.execute(query).mappings().one_or_none()
        if row is None:
            raise NotFound("no such run; make one with: leadglass comply run")
        return _kept(row)

    def attest(  # noqa: PLR0913  # what is vouched for, by whom, until when
        self,
        caller: Caller,
        control: str,
        *,
        document: Path,
        version: str,
        owner: str,
        ends: datetime,
    ) -> Attestation:
        """Enter what somebody vouches for; the file stays where it is.

        Raises:
            Refused: ``caller`` may not.
            Misconfigured: All that is wrong with it.
            NotFound: There is no such control.
        """
        self.parts.require(caller, Right.AUDIT, "comply attest")
        known = catalogue().controls.get(control)
        if known is None:
            raise NotFound(f"no control {control[:20]!r}")
        now = datetime.now(UTC)
        problems = [
            f"{name}: 1 to {TEXT_CHARACTERS_MAX} printable characters"
            for name, text in (("version", version), ("owner", owner))
            if not 0 < len(text) <= TEXT_CHARACTERS_MAX or not text.isprintable()
        ]
        if known.kind is Kind.AUTOMATIC:
            problems.append(f"{control}: is shown by the node; nobody vouches for it")
        if ends <= now:
            problems.append("until: has passed; name a date to come")
        if problems:
            raise Misconfigured(*problems)
        actor = self.parts.actor(caller)
        made = Attestation(
            control=control,
            document=document.name,
            version=version,
            sha256=_sha256_of(document),
            owner=owner,
            by=actor.name,
            at=now,
            ends=ends,
        )
        event = self.parts.events.configuration_changed(
            actor,
            {"what": "attestation", **{k: str(v) for k, v in made.members().items()}},
        )

        def work(tx: Transaction) -> None:
            self.parts.audit.append(tx, event)
            tx.connection.execute(
                insert(tables.attestation).values(
                    control=made.control,
                    document=made.document,
                    version=made.version,
                    sha256=made.sha256,
                    owner=made.owner,
                    by=made.by,
                    at_us=to_us(made.at),
                    ends_us=to_us(made.ends),
                )
            )

        self.parts.database.write(work)
        return made

    def attestations(self, caller: Caller) -> dict[str, Attestation]:
        """Return the newest attestation of each control.

        Raises:
            Refused: ``caller`` may not.
        """
        self.parts.require(caller, Right.AUDIT, "comply attest")
        with self.parts.database.read() as connection:
            return attested(connection)

    def past(self) -> Past:
        """Return what was done before, as far as it is kept here."""
        with self.parts.database.read() as connection:
            return Past(
                runs=ran(connection),
                verified=_verified(Jobs(self.parts).lately(_JOBS_LOOKED_AT)),
                baseline=agreed(connection),
            )

    def duties(self, caller: Caller) -> list[Duty]:
        """Return what is to be done again, what is due first in front.

        Raises:
            Refused: ``caller`` may not.
        """
        vouched = self.attestations(caller)
        return duties(self.past(), vouched)

    def agree(self, caller: Caller, fingerprint: str, reason: str) -> None:
        """Take settings and rules as they are as what was agreed on.

        Raises:
            Refused: ``caller`` may not.
            Misconfigured: No reason was given.
        """
        self.parts.require(caller, Right.AUDIT, "comply baseline")
        if not 0 < len(reason) <= TEXT_CHARACTERS_MAX or not reason.isprintable():
            raise Misconfigured(f"reason: 1 to {TEXT_CHARACTERS_MAX} characters")
        actor = self.parts.actor(caller)
        event = self.parts.events.configuration_changed(
            actor, {"what": "baseline", "fingerprint": fingerprint, "reason": reason}
        )

        def work(tx: Transaction) -> None:
            self.parts.audit.append(tx, event)
            tx.connection.execute(
                insert(tables.baseline).values(
                    fingerprint=fingerprint,
                    by=actor.name,
                    reason=reason,
                    at_us=to_us(datetime.now(UTC)),
                )
            )

        self.parts.database.write(work)


def _verified(jobs: Iterable[Job]) -> tuple[datetime, int] | None:
    """Return when all images were last verified, and how many were damaged."""
    found = [
        each
        for each in jobs
        if each.kind is Work.VERIFY and each.ended_at is not None and not each.why
    ]
    newest = max(found, key=lambda each: each.began_at, default=None)
    return None if newest is None else (newest.began_at, newest.faults)


def attested(connection: Connection) -> dict[str, Attestation]:
    """Return the newest attestation of each control."""
    rows = connection.execute(select(tables.attestation).order_by("id")).mappings()
    return {
        row["control"]: Attestation(
            control=row["control"],
            document=row["document"],
            version=row["version"],
            sha256=row["sha256"],
            owner=row["owner"],
            by=row["by"],
            at=from_us(row["at_us"]),
            ends=from_us(row["ends_us"]),
        )
        for row in rows
    }


def agreed(connection: Connection) -> tuple[str, str] | None:
    """Return the fingerprint that was agreed on last, and by whom."""
    newest = select(tables.baseline).order_by(desc(tables.baseline.c.id)).limit(1)
    row = connection.execute(newest).mappings().one_or_none()
    return None if row is None else (row["fingerprint"], row["by"])


def ran(connection: Connection) -> tuple[datetime, ...]:
    """Return when controls were gone through, the newest first."""
    times = select(tables.run.c.at_us).order_by(desc(tables.run.c.id))
    found = connection.execute(times.limit(LISTED_MAX)).scalars()
    return tuple(from_us(each) for each in found)


def _kept(row: Any) -> Kept:
    return Kept(
        row["id"],
        from_us(row["at_us"]),
        row["profile"],
        row["record"],
        json.loads(row["report"]),
    )


def _canonical(members: Mapping[str, Any]) -> str:
    return json.dumps(members, sort_keys=True, separators=(",", ":"))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _sha256_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            if path.stat().st_size > DOCUMENT_BYTES_MAX:
                raise BadData("the document is longer than a document is")
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise Unavailable(f"the document cannot be read: {error.strerror}") from error
