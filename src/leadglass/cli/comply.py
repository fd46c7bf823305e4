"""``leadglass comply …``: which controls hold, by experiment, by looking, by word."""

import csv
import json
import tempfile
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any, Final

from leadglass import __version__
from leadglass.app import Layout, Node
from leadglass.assurance.compliance import (
    fingerprint,
    gathering,
    mds2,
    reporting,
    software,
)
from leadglass.assurance.compliance.controls import Profile, catalogue
from leadglass.assurance.compliance.judging import judge, observe
from leadglass.assurance.compliance.office import Kept, Office, agreed, attested
from leadglass.assurance.compliance.probe import Verdict
from leadglass.assurance.compliance.state import Human, NodeState
from leadglass.audit.retention import Policy
from leadglass.cli.answers import Answer, Table
from leadglass.cli.failures import UsageError
from leadglass.cli.progress import progress
from leadglass.cli.running import where
from leadglass.cli.session import Session
from leadglass.cli.twin import twin_of
from leadglass.config import Config
from leadglass.errors import Conflict, Misconfigured

# A control that fails, or a finding that needs somebody.
_FOUND: Final = Misconfigured.exit_code
# More people at work than any hospital has.
_SESSIONS_MAX: Final = 10_000
_EVER_DAYS: Final = 36_500


def run(session: Session) -> Answer:
    """Make every experiment and check, judge every control, record and keep it."""
    profile = Profile(session.arguments.profile)
    config = session.config
    with (
        Node.open(config) as node,
        progress("trying") as update,
        tempfile.TemporaryDirectory(prefix="leadglass-twin-") as folder,
    ):
        state = state_of(node, session.home)
        with twin_of(config, Path(folder)) as twin:
            observations = observe(
                state, twin, lambda done, total, _: update(done, total)
            )
        office = Office(node.parts)
        with node.database.read() as connection:
            vouched = attested(connection)
        results = judge(catalogue().controls.values(), observations, vouched, state.now)
        kept = office.keep(
            node.operator, reporting.report(state, observations, results, profile)
        )
        proof = json.loads(_proof(node, kept.record))
    if session.arguments.out:
        _write(Path(session.arguments.out), kept, proof)
    return _answer(kept, proof)


def report(session: Session) -> Answer:
    """Write the files of a run that was kept."""
    with Node.open(session.config) as node:
        kept = Office(node.parts).get(node.operator, session.arguments.run)
        proof = json.loads(_proof(node, kept.record))
    if session.arguments.out:
        _write(Path(session.arguments.out), kept, proof)
    return _answer(kept, proof)


def history(session: Session) -> Answer:
    """List the runs, and when the next is due."""
    with Node.open(session.config) as node:
        kept = Office(node.parts).history(node.operator)
    rows = tuple(
        (str(each.id), f"{each.at:%Y-%m-%d %H:%M}", each.profile, _counts(each))
        for each in kept
    )
    text: tuple[str | Table, ...] = (
        (Table(("RUN", "WHEN (UTC)", "PROFILE", "CONTROLS"), rows),)
        if rows
        else ("no run is on file; make one with: leadglass comply run",)
    )
    return Answer(
        data={
            "runs": [
                {
                    "id": each.id,
                    "at": each.at.isoformat(),
                    "profile": each.profile,
                    "record": each.record,
                    "counts": each.report["counts"],
                }
                for each in kept
            ]
        },
        text=text,
    )


def due(session: Session) -> Answer:
    """Tell what is to be done again, and when."""
    now = gathering.moment()
    with Node.open(session.config) as node:
        found = Office(node.parts).duties(node.operator)
    rows = tuple(
        (
            f"{each.due:%Y-%m-%d}" if each.due else "now",
            f"{each.last:%Y-%m-%d}" if each.last else "never",
            each.what,
            each.remedy if each.is_overdue(now) else "",
        )
        for each in found
    )
    overdue = any(each.is_overdue(now) for each in found)
    return Answer(
        data={"duties": [each.members(now) for each in found]},
        text=(Table(("DUE", "LAST", "WHAT", "OVERDUE: TYPE"), rows),),
        exit_code=_FOUND if overdue else 0,
    )


def attest(session: Session) -> Answer:
    """Enter what somebody vouches for."""
    arguments = session.arguments
    try:
        ends = datetime.combine(
            date.fromisoformat(arguments.until), time(23, 59, 59), UTC
        )
    except ValueError as error:
        raise UsageError("--until is no date", "write it as 2027-11-30") from error
    with Node.open(session.config) as node:
        made = Office(node.parts).attest(
            node.operator,
            arguments.control,
            document=Path(arguments.document),
            version=arguments.edition,
            owner=arguments.owner,
            ends=ends,
        )
    return Answer(
        data=made.members(),
        text=(
            f"{made.control}: {made.owner} vouches for {made.document} {made.version}",
            f"until {made.ends:%Y-%m-%d}; SHA-256 {made.sha256}",
        ),
    )


def baseline(session: Session) -> Answer:
    """Show whether settings and rules are what was agreed on, or agree on them."""
    config = session.config
    now = fingerprint.of(config, Layout(config.home).rules)
    with Node.open(config) as node:
        if session.arguments.accept:
            if not session.arguments.reason:
                raise UsageError("no reason", "say why with --reason TEXT")
            Office(node.parts).agree(node.operator, now, session.arguments.reason)
        with node.database.read() as connection:
            found = agreed(connection)
    was, by = found or ("", "")
    holds = was == now
    told = (
        f"settings and rules are those that {by} agreed on"
        if holds
        else "settings or rules are not those that were agreed on"
        if found
        else "no baseline is agreed on yet"
    )
    return Answer(
        data={"fingerprint": now, "agreed": was, "by": by, "holds": holds},
        text=(
            f"{told} ({now[:16]}…)",
            *(
                ()
                if holds
                else ("agree with: leadglass comply baseline --accept --reason TEXT",)
            ),
        ),
        exit_code=0 if holds or not found else _FOUND,
    )


def controls(session: Session) -> Answer:
    """List the controls, and what answers each."""
    profile = Profile(session.arguments.profile)
    known = catalogue().controls.values()
    return Answer(
        data={
            "controls": [
                {
                    "id": each.id,
                    "title": each.title,
                    "kind": str(each.kind),
                    "references": list(each.clauses(profile)),
                    "csf": list(each.csf),
                    "sp800_53": list(each.sp800_53),
                    "probes": list(each.probes),
                    "document": each.document,
                }
                for each in known
            ]
        },
        text=(
            Table(
                ("ID", "CONTROL", "KIND", "RESTS ON"),
                tuple(
                    (
                        each.id,
                        each.title,
                        str(each.kind),
                        ", ".join((*each.probes, each.document)).strip(", "),
                    )
                    for each in known
                ),
            ),
        ),
    )


def state_of(node: Node, home: Path) -> NodeState:
    """Gather what is known of a node."""
    config, layout = node.config, node.layout
    looker = gathering.Looker(node.parts, home, node.verify)
    now = gathering.moment()
    facts = where(home)
    with node.database.read() as connection:
        devices = tuple(node.devices.list(connection))
        users = node.accounts.users.list(connection)
        standing = node.sessions.standing(connection, now, _SESSIONS_MAX)
        tokens = tuple(each.name for each in node.accounts.tokens.list(connection))
    at: dict[str, list[str]] = {}
    for each in standing:
        at.setdefault(each.user.name, []).append(each.address)
    master = config.master_key_file if config.keys.source == "file" else None
    declared = [str((facts or {}).get(each) or "") for each in _DOORS]
    return NodeState(
        now=now,
        version=__version__,
        home=home,
        fingerprint=fingerprint.of(config, layout.rules),
        weaknesses=tuple(config.weaknesses()),
        declared=tuple(filter(None, declared)) or _settings_say(config),
        sockets=gathering.sockets(int(facts["pid"])) if facts else None,
        devices=devices,
        people=tuple(
            Human(
                each.name,
                tuple(each.roles),
                each.disabled_at is None,
                tuple(at.get(each.name, ())),
            )
            for each in users
        ),
        programs=(*tokens, node.operator.subject.name),
        broken=tuple(str(each) for each in node.rulebook.broken()),
        open_reviews=tuple(
            each.started_at for each in node.emergencies.open_reviews(node.operator)
        ),
        events=looker.events(now),
        record=looker.record(),
        modes=gathering.modes(
            (home, layout.keys, layout.authority, layout.database),
            home,
            secret=master,
        ),
        images=looker.images(),
        raw=looker.raw(),
        ends=tuple(
            (each.what, each.not_after)
            for each in node.authority.expiring(_EVER_DAYS)
            if each.what != "revocation list"
        ),
        revocations_due=node.authority.revocations_are_due(),
        retention_days=Policy(
            config.retention.years, config.retention.unsafe_years
        ).days,
        components=software.components(),
        past=Office(node.parts).past(),
    )


_DOORS: Final = ("dimse", "https", "unsafe_plaintext")


def _settings_say(config: Config) -> tuple[str, ...]:
    listens = (config.listen, config.https_listen, config.unsafe_plaintext_listen)
    return tuple(str(each) for each in listens if each is not None)


def _proof(node: Node, record: int) -> str:
    return node.trail.prove(node.operator, record, disclose=True).json()


def _counts(kept: Kept) -> str:
    return ", ".join(
        f"{count} {name}" for name, count in kept.report["counts"].items() if count
    )


def _answer(kept: Kept, proof: dict[str, Any]) -> Answer:
    told = kept.report
    failed = [each for each in told["controls"] if each["verdict"] == Verdict.FAIL]
    rows = tuple(
        (each["id"], each["verdict"], each["title"], each["note"])
        for each in told["controls"]
    )
    return Answer(
        data={"run": kept.id, "record": kept.record, **told, "proof": proof},
        text=(
            Table(("ID", "VERDICT", "CONTROL", "NOTE"), rows),
            f"run {kept.id}: {_counts(kept)}; hashed in record {kept.record}",
            told["caution"],
        ),
        exit_code=_FOUND if failed else 0,
    )


def _write(folder: Path, kept: Kept, proof: dict[str, Any]) -> None:
    """Write all forms of a run into a new folder."""
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError as error:
        raise Conflict(
            "the folder of the report is there already; name a new one"
        ) from error
    told, run_ = kept.report, kept.id
    texts: dict[str, Callable[[], str]] = {
        "report.json": lambda: _json(told),
        "report.html": lambda: reporting.html(told, run_, kept.record),
        "oscal.json": lambda: _json(reporting.oscal(told, run_)),
        "sbom.cdx.json": lambda: _json(reporting.bill_of_materials(told)),
        "map.svg": lambda: str(told["map"]),
        "proof.json": lambda: _json(proof),
    }
    for name, make in texts.items():
        (folder / name).write_text(make(), "utf-8")
    (folder / "report.pdf").write_bytes(reporting.printed(told, run_, kept.record))
    _table(folder / "risk-analysis.csv", told["risks"])
    _table(folder / "mds2.csv", mds2.sheet(told))
    _table(folder / "assets.csv", told["assets"])
    _table(folder / "flows.csv", told["flows"])


def _json(members: Any) -> str:
    return json.dumps(members, indent=1, sort_keys=True)


def _table(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        if not rows:
            return
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        for row in rows:
            writer.writerow({name: _cell(value) for name, value in row.items()})


def _cell(value: Any) -> str:
    """Return a cell that no spreadsheet takes for a formula."""
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text
