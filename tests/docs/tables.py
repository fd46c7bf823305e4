"""The tables of the reference pages, made from the code that they describe.

``python -m tests.docs.tables`` writes them into the pages, between the lines
``<!-- table: NAME -->`` and ``<!-- end -->``; a test compares.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from inspect import signature
from pathlib import Path
from pkgutil import iter_modules
from types import MappingProxyType
from typing import Any

from leadglass import audit
from leadglass.archive.condition import MEASURED
from leadglass.archive.meters import COUNTED
from leadglass.assurance.exposure.checks.table import GROUPS as SCAN_GROUPS
from leadglass.assurance.review.alerts import DEADLINES
from leadglass.assurance.review.relations import TEMPLATES
from leadglass.assurance.review.rules.table import RULES
from leadglass.assurance.simulation.attacks.scripts import SCRIPTS
from leadglass.audit.accounts import AccountAct, AccountChange, AccountEvents
from leadglass.audit.builders import (
    INSTANCES_PER_EVENT_MAX,
    STUDIES_PER_EVENT_MAX,
    Actor,
    Association,
    DeviceChange,
    Events,
    Medium,
    Node,
    Question,
    Result,
    Study,
)
from leadglass.audit.codes import DCM_MEANINGS, Outcome
from leadglass.audit.emergency import BrokenGlass, EmergencyEvents
from leadglass.audit.events import Event
from leadglass.audit.lists import ListEvents
from leadglass.audit.orders import RetentionEvents
from leadglass.audit.programs import ProgramEvents
from leadglass.audit.retention import Hold, Subject
from leadglass.audit.reviewing import ReviewEvents
from leadglass.audit.runs import Runs
from leadglass.config import GiB, KiB, MiB, Setting, settings
from leadglass.dicom import dataset, header, matching, part10
from leadglass.dicom.attributes import ATTRIBUTES, Attribute, Level
from leadglass.dicom.sop_classes import (
    FIND,
    GET,
    MOVE,
    NON_PATIENT,
    STORAGE,
    VERIFICATION,
)
from leadglass.dicom.transfer_syntaxes import TRANSFER_SYNTAXES
from leadglass.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from leadglass.index.tables import SEVERAL, has_column
from leadglass.pixels.transcode import DECODABLE
from leadglass.servers.tls import MINIMUM_VERSIONS, TLS12_SUITES
from leadglass.wire import association, dimse, pdus, status
from tests.docs import dicomweb

DOCS = Path(__file__).parents[2] / "docs"
REFERENCE = DOCS / "reference"

Row = tuple[str, ...]
_BLOCK = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)

_QUERY_NAMES = MappingProxyType(
    {
        root: name
        for services in (FIND, MOVE, GET)
        for root, name in zip(
            services, ("Patient Root", "Study Root", "Patient/Study Only"), strict=True
        )
    }
)


def table(head: Row, rows: Iterable[Row]) -> str:
    """Return a table in Markdown."""
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


# ── conformance ──────────────────────────────────────────────────────────────


def sop_classes() -> str:
    rows: list[Row] = [("Verification", f"`{VERIFICATION}`", "SCP", "`echo`")]
    for verb, right, services in (
        ("FIND", "find", FIND),
        ("MOVE", "move", MOVE),
        ("GET", "get", GET),
    ):
        rows += [
            (f"{_QUERY_NAMES[uid]} Query/Retrieve – {verb}", f"`{uid}`", "SCP", right)
            for uid in services
        ]
    return table(
        ("SOP class", "UID", "role", "right"),
        [(*row[:3], f"`{row[3].strip('`')}`") for row in rows],
    )


def storage() -> str:
    return table(
        ("SOP class", "UID", "kept"),
        (
            (name, f"`{uid}`", "no: has no study" if uid in NON_PATIENT else "yes")
            for uid, name in STORAGE.items()
        ),
    )


def transfer_syntaxes() -> str:
    return table(
        ("transfer syntax", "UID", "made uncompressed if need be"),
        (
            (each.name, f"`{uid}`", "yes" if uid in DECODABLE else "no")
            for uid, each in TRANSFER_SYNTAXES.items()
        ),
    )


def matched(attribute: Attribute) -> str:
    """Say how the index matches an attribute."""
    if attribute.vr == "SQ":
        return "sequence"
    if attribute.tag in SEVERAL:
        return "any of its values"
    if has_column(attribute):
        return "yes"
    return "returned only"


def attributes(level: Level) -> str:
    return table(
        ("attribute", "tag", "VR", "matched", "comes from"),
        (
            (
                each.keyword,
                f"({each.hex[:4]},{each.hex[4:]})",
                each.vr,
                matched(each),
                "the index" if each.computed else "the image",
            )
            for each in ATTRIBUTES
            if each.level is level
        ),
    )


def statuses(service: str) -> str:
    def code(row: status.Status) -> str:
        first, last = f"{row.first:04X}", f"{row.last:04X}"
        return f"`{first}`" if first == last else f"`{first}`–`{last}`"

    return table(
        ("status", "category", "meaning"),
        ((code(row), str(row.category), row.meaning) for row in
         status.SERVICES[service]),
    )  # fmt: skip


def suites() -> str:
    return table(
        ("", "value"),
        (
            ("versions", ", ".join(f"TLS {each}" for each in MINIMUM_VERSIONS)),
            ("suites of TLS 1.2", ", ".join(f"`{each}`" for each in TLS12_SUITES)),
            ("suites of TLS 1.3", "OpenSSL's own: AES-GCM and ChaCha20-Poly1305"),
        ),
    )


def implementation() -> str:
    return table(
        ("", "value"),
        (
            ("Implementation Class UID", f"`{IMPLEMENTATION_CLASS_UID}`"),
            ("Implementation Version Name", f"`{IMPLEMENTATION_VERSION_NAME}`"),
            ("application context", f"`{pdus.APPLICATION_CONTEXT}`"),
        ),
    )


def size(number: int) -> str:
    """Return a number of bytes for eyes."""
    for unit, name in ((GiB, "GiB"), (MiB, "MiB"), (KiB, "KiB")):
        if number >= unit and not number % unit:
            return f"{number // unit} {name}"
    return f"{number} bytes"


def _setting(name: str) -> Setting:
    return next(each for each in settings() if each.name == name)


def limits() -> str:
    fixed: tuple[Row, ...] = (
        ("A-ASSOCIATE PDU", size(association.ASSOCIATE_LENGTH_BYTES_MAX), ""),
        ("presentation contexts", str(pdus.CONTEXTS_MAX), ""),
        ("transfer syntaxes of one context", str(pdus.TRANSFER_SYNTAXES_MAX), ""),
        ("command set", size(dimse.COMMAND_LENGTH_BYTES_MAX), ""),
        ("identifier of a query", size(dimse.IDENTIFIER_LENGTH_BYTES_MAX), ""),
        ("values of one matching key", str(matching.VALUES_MAX), ""),
        ("elements of one data set", f"{header.ELEMENTS_MAX:,}", ""),
        ("value of an attribute that is kept", size(header.VALUE_BYTES_MAX), ""),
        ("file meta information", size(part10.META_BYTES_MAX), ""),
        ("nesting of an identifier", str(dataset.DEPTH_MAX), ""),
    )
    chosen = (
        ("PDU that we receive", "dimse.pdu_length_bytes_max"),
        ("data set", "limits.object_bytes_max"),
        ("data set, inflated", "limits.inflated_bytes_max"),
        ("header before the Study Instance UID", "limits.header_bytes_max"),
        ("nesting of sequences", "limits.sequence_depth_max"),
        ("associations at once", "dimse.association_count_max"),
        ("associations of a device", "dimse.association_count_per_device_max"),
        ("connections from an address", "dimse.association_count_per_address_max"),
        ("answers to one C-FIND", "find.result_count_max"),
        ("TLS handshake", "dimse.tls_handshake_timeout_s"),
        ("ARTIM timer", "dimse.artim_timeout_s"),
        ("wait for the next whole PDU", "dimse.idle_timeout_s"),
        ("wait for a C-STORE response", "dimse.response_timeout_s"),
    )
    return table(
        ("what", "at most", "setting"),
        (*fixed, *((what, _value(name), f"`{name}`") for what, name in chosen)),
    )


def _value(name: str) -> str:
    setting = _setting(name)
    default = setting.default
    assert isinstance(default, int | float)
    if setting.unit == "bytes":
        return size(int(default))
    return f"{default:g} s" if setting.unit == "seconds" else f"{int(default):,}"


# ── audit events ─────────────────────────────────────────────────────────────

_STUDY = Study("1.2.3", "ID")
_WHO = Actor("WHO")
_CHANGE = DeviceChange("CT1")
_RESULT = Result(Outcome.SUCCESS)
# What each builder needs; whoever adds one adds it here, and so to the page.
_ABOUT_TO_LEAVE = (
    "instances are about to leave; recorded before the first byte. Images that a "
    "viewer asks for one by one: once for the series "
    "([why](../adr/0016-a-series-looked-at-is-one-record.md))"
)
_LEFT = (
    "what really left by C-GET, C-MOVE or HTTPS, with counts; when a viewing ends, "
    "what was shown of the series"
)
EXAMPLES: Mapping[str, tuple[str, Callable[[Events], Any]]] = MappingProxyType(
    {
        "application_started": (
            "the node begins to serve",
            lambda e: e.application_started("1"),
        ),
        "application_stopped": (
            "it stops in good order",
            lambda e: e.application_stopped("x"),
        ),
        "audit_log_used": (
            "records were listed, verified or proven",
            lambda e: e.audit_log_used(_WHO, "list", 1),
        ),
        "local_service": (
            "verification, rebuild, rotation begin; a second one when they end",
            lambda e: (
                e.local_service(_WHO, "verify"),
                e.local_service(_WHO, "verify", _RESULT),
            ),
        ),
        "association_accepted": (
            "a device was admitted",
            lambda e: e.association_accepted(_WHO, Association()),
        ),
        "association_refused": (
            "a peer was turned away; the reason is in it",
            lambda e: e.association_refused(_WHO, Association(), "why"),
        ),
        "knocks": (
            "refusals that are counted: address, reason, how many, since when",
            lambda e: e.knocks("10.0.0.1", 7, datetime(2026, 1, 1, tzinfo=UTC), "why"),
        ),
        "echo": ("C-ECHO", lambda e: e.echo(_WHO)),
        "access_refused": (
            "an admitted peer, or a person, asked for what no rule permits",
            lambda e: e.access_refused(_WHO, "find", "why"),
        ),
        "stored": (
            "instances came in (R: all were here already), or were not taken, and why",
            lambda e: (
                e.stored(_WHO, (_STUDY,)),
                e.stored(_WHO, (_STUDY,), is_new=False),
            ),
        ),
        "begin_transferring": (
            _ABOUT_TO_LEAVE,
            lambda e: e.begin_transferring(_WHO, (_STUDY,)),
        ),
        "transferred": (
            _LEFT,
            lambda e: e.transferred(_WHO, (_STUDY,), _RESULT),
        ),
        "instances_accessed": (
            "instances were looked at or changed in part; no door does that yet",
            lambda e: e.instances_accessed(_WHO, (_STUDY,)),
        ),
        "exported": (
            "what was written to a medium, or downloaded as a file",
            lambda e: e.exported(_WHO, (_STUDY,), Medium("folder")),
        ),
        "imported": (
            "an import; each instance has its own event besides",
            lambda e: e.imported(_WHO, (_STUDY,), Medium("folder")),
        ),
        "query": (
            "a question, with every study that the answer named",
            lambda e: e.query(_WHO, Question("1.2", b"", "1.2"), ()),
        ),
        "study_erased": (
            "a study was destroyed, and why",
            lambda e: e.study_erased(_WHO, _STUDY, "why"),
        ),
        "quarantined": (
            "other bytes came under a known SOP Instance UID and were kept aside",
            lambda e: e.quarantined(_WHO, _STUDY, {}),
        ),
        "damage_found": (
            "stored bytes do not verify",
            lambda e: e.damage_found(_WHO, _STUDY, {}),
        ),
        "device_enrolled": (
            "a device was enrolled",
            lambda e: e.device_enrolled(_WHO, _CHANGE),
        ),
        "device_changed": (
            "its titles, networks, rights, scope or destination changed",
            lambda e: e.device_changed(_WHO, _CHANGE),
        ),
        "device_renewed": (
            "it has a new certificate",
            lambda e: e.device_renewed(_WHO, _CHANGE),
        ),
        "device_revoked": (
            "it was shut out",
            lambda e: e.device_revoked(_WHO, _CHANGE),
        ),
        "rules_changed": (
            "a changed rule file was taken over, or could not be written",
            lambda e: e.rules_changed(_WHO, {}),
        ),
        "rules_asked": (
            "an administrator asked what the rules answer to somebody else",
            lambda e: e.rules_asked(_WHO, {}),
        ),
        "configuration_changed": (
            "root key moved, certificates of the authority renewed",
            lambda e: e.configuration_changed(_WHO, {}),
        ),
        "key_rotated": (
            "the master key was changed",
            lambda e: e.key_rotated(_WHO, "master key", {}),
        ),
        "audit_restarted": (
            "the log goes on from an older database; no command does that yet",
            lambda e: e.audit_restarted(_WHO, "why"),
        ),
    }
)


_GLASS = BrokenGlass(1, "alice", "ID", "why", "until")
_HOLD = Hold(
    id=1,
    subject=Subject(patient="ID"),
    reason="why",
    placed_by="alice",
    placed_at=datetime(2027, 1, 1, tzinfo=UTC),
)
# The same for the events of people, programs, lists and broken glass, by their class.
PEOPLE_EXAMPLES: Mapping[tuple[type, str], tuple[str, Callable[[Any], Any]]] = (
    MappingProxyType(
        {
            (AccountEvents, "logged_in"): (
                "a person, a program or a device at HTTPS has proven who it is",
                lambda e: e.logged_in(_WHO, "TOTP"),
            ),
            (AccountEvents, "login_failed"): (
                "somebody did not; the reason, which was not told, is in it",
                lambda e: e.login_failed(_WHO, "why"),
            ),
            (AccountEvents, "proven_anew"): (
                "a person has proven itself again, for a dangerous act",
                lambda e: e.proven_anew(_WHO, "TOTP"),
            ),
            (AccountEvents, "logged_out"): (
                "a person has ended its session",
                lambda e: e.logged_out(_WHO),
            ),
            (AccountEvents, "sessions_read"): (
                "somebody who administers was told who is logged in, from where",
                lambda e: e.sessions_read(_WHO, 3),
            ),
            (AccountEvents, "account_changed"): (
                "a user: " + "; ".join(act.removeprefix("user ") for act in AccountAct),
                lambda e: tuple(
                    e.account_changed(_WHO, AccountChange(act, "alice"))
                    for act in AccountAct
                ),
            ),
            (ProgramEvents, "token_added"): (
                "a program may come in, with role, scope, networks and end",
                lambda e: e.token_added(_WHO, "viewer", {}),
            ),
            (ProgramEvents, "token_revoked"): (
                "a program may come in no longer",
                lambda e: e.token_revoked(_WHO, "viewer", "why"),
            ),
            (ListEvents, "studies_changed"): (
                "studies were assigned to somebody, or taken back",
                lambda e: e.studies_changed(_WHO, "studies assigned", "x", ("1.2",)),
            ),
            (ListEvents, "patients_changed"): (
                "patients were put on a list, or taken off",
                lambda e: e.patients_changed(_WHO, "put on", "x", ("ID",)),
            ),
            (ListEvents, "patients_read"): (
                "somebody was told who is on a list of patients",
                lambda e: e.patients_read(_WHO, "read", "x", ("ID",)),
            ),
            (EmergencyEvents, "started"): (
                "a person broke the glass: patient, reason and end are in it",
                lambda e: e.started(_WHO, _GLASS),
            ),
            (EmergencyEvents, "stopped"): (
                "broken glass is over: by its time, or by whom",
                lambda e: e.stopped(_WHO, _GLASS, "its time"),
            ),
            (EmergencyEvents, "reviewed"): (
                "somebody else has signed its review: verdict and note",
                lambda e: e.reviewed(_WHO, _GLASS, "justified", "why"),
            ),
            (ReviewEvents, "raised"): (
                "the review of the record raised alerts: how many, and the worst",
                lambda e: e.raised(_WHO, (1,), ("R-01",), "high"),
            ),
            (ReviewEvents, "disposed"): (
                "a person judged an alert: its number, its rule, what it was, and why",
                lambda e: e.disposed(_WHO, 1, "R-01", "benign", "why"),
            ),
            (ReviewEvents, "escalated"): (
                "nobody judged alerts in time: how many",
                lambda e: e.escalated(_WHO, (1,)),
            ),
            (ReviewEvents, "signed"): (
                "a person answers for the review of a week",
                lambda e: e.signed(_WHO, "2026-W13", 1, "why"),
            ),
            (ReviewEvents, "decoy_changed"): (
                "a decoy was set or taken away; which one is on no record",
                lambda e: e.decoy_changed(_WHO, "patient", "set"),
            ),
            (RetentionEvents, "pruned"): (
                "old records were pruned: the numbers of all that are gone by now",
                lambda e: e.pruned(_WHO, Runs(((0, 256),)), "2027-01-01", ""),
            ),
            (RetentionEvents, "erased"): (
                (
                    "records lost their content, on which order: their numbers, and "
                    "those of the records that keep what concerns others"
                ),
                lambda e: e.erased(_WHO, 1, Runs(((5, 6),)), Runs()),
            ),
            (RetentionEvents, "erasure_done"): (
                "a person's data was erased to the end; a salted hash says whose",
                lambda e: e.erasure_done(_WHO, {"order": "1"}),
            ),
            (RetentionEvents, "order_asked"): (
                "somebody asked to erase a person's data, or to release a legal hold",
                lambda e: e.order_asked(_WHO, {"order": "1"}),
            ),
            (RetentionEvents, "order_decided"): (
                "somebody else confirmed or refused it",
                lambda e: e.order_decided(_WHO, {"order": "1"}, is_refused=False),
            ),
            (RetentionEvents, "hold_placed"): (
                "records must stay, whatever their age: which, and why",
                lambda e: e.hold_placed(_WHO, _HOLD),
            ),
            (RetentionEvents, "hold_released"): (
                "they need not stay any longer",
                lambda e: e.hold_released(_WHO, _HOLD),
            ),
        }
    )
)


def people_builders() -> set[tuple[type, str]]:
    """Return all builders that stand beside ``Events``, wherever in ``audit``."""
    modules = (
        import_module(f"{audit.__name__}.{each.name}")
        for each in iter_modules(audit.__path__)
    )
    makers = {
        each
        for module in modules
        for name, each in vars(module).items()
        if isinstance(each, type) and name.endswith("Events") and each is not Events
    }
    return {(maker, name) for maker in makers for name in builders(maker)}


def builders(maker: type = Events) -> set[str]:
    """Return the names of all builders of events."""
    return {
        name
        for name, each in vars(maker).items()
        if not name.startswith("_")
        and callable(each)
        and "Event" in str(signature(each).return_annotation)
    }


def flat(made: Any) -> Iterator[Event]:
    """Yield the events of one builder's example."""
    if isinstance(made, Event):
        yield made
        return
    for each in made:
        yield from flat(each)


def events() -> str:
    return _events(
        (Events, name, what, make) for name, (what, make) in EXAMPLES.items()
    )


def people_events() -> str:
    return _events(
        (maker, name, what, make)
        for (maker, name), (what, make) in PEOPLE_EXAMPLES.items()
    )


def _events(examples: Iterable[tuple[Any, str, str, Callable[[Any], Any]]]) -> str:
    rows: list[Row] = []
    for maker, name, what, make in examples:
        made = list(flat(make(maker(Node("node")))))
        first = made[0]
        types = dict.fromkeys(each for event in made for each in event.types)
        rows.append(
            (
                what,
                f"{first.id} {DCM_MEANINGS[first.id]}",
                ", ".join(f"{each} {DCM_MEANINGS[each]}" for each in types),
                ", ".join(dict.fromkeys(str(event.action) for event in made)),
                f"`{name}`",
            )
        )
    return table(
        ("what happened", "EventID", "EventTypeCode", "action", "built by"), rows
    )


def bounds() -> str:
    return table(
        ("what", "in one event"),
        (
            ("studies of an answer", str(STUDIES_PER_EVENT_MAX)),
            ("instances of a transfer", str(INSTANCES_PER_EVENT_MAX)),
        ),
    )


def figures() -> str:
    return table(
        ("figure", "kind", "labels", "what it tells"),
        (
            (
                f"`{each.name}`",
                str(each.kind),
                ", ".join(f"`{label}`" for label in each.labels),
                each.help,
            )
            for each in (*COUNTED.values(), *MEASURED)
        ),
    )


def review_rules() -> str:
    return table(
        ("rule", "finds", "severity", "threshold", "needs", "why, and what to do"),
        (
            (
                each.id,
                each.title,
                str(each.severity),
                f"{each.default:g} {each.unit}",
                ", ".join(sorted(map(str, each.needs))),
                f"{each.why} {each.remedy}",
            )
            for each in RULES
        ),
    )


def review_relations() -> str:
    return table(
        ("template", "explains an access, since"),
        ((str(template), text) for template, text, _ in TEMPLATES),
    )


def review_deadlines() -> str:
    return table(
        ("severity", "days until somebody has to judge"),
        ((str(each), str(time.days)) for each, time in DEADLINES.items()),
    )


def scan_checks() -> str:
    return table(
        ("id", "about", "level", "severity", "what is wrong", "what is sent", "needs"),
        (
            (
                each.id, group, str(each.level), str(each.severity), each.title,
                each.sends, f"`{each.needs}`" if each.needs else "",
            )
            for group, checks in SCAN_GROUPS
            for each in checks
        ),
    )  # fmt: skip


def scripts() -> str:
    return table(
        ("script", "what is done", "found by"),
        (
            (
                f"`{each.name}`" + (" (quiet)" if each.is_quiet else ""),
                each.title,
                ", ".join(each.rules),
            )
            for each in SCRIPTS
        ),
    )


def _of_rows(rows: Callable[[], Iterator[Row]]) -> str:
    head, *rest = rows()
    return table(head, rest)


# ── the pages ────────────────────────────────────────────────────────────────

TABLES: Mapping[str, Callable[[], str]] = MappingProxyType(
    {
        "sop-classes": sop_classes,
        "storage": storage,
        "transfer-syntaxes": transfer_syntaxes,
        **{
            f"attributes-{level.lower()}": partial(attributes, level) for level in Level
        },
        **{
            f"statuses-{name.lower()}": partial(statuses, name)
            for name in ("C-STORE", "C-FIND", "C-MOVE", "C-GET")
        },
        "tls": suites,
        "implementation": implementation,
        "limits": limits,
        "events": events,
        "people-events": people_events,
        "event-bounds": bounds,
        "figures": figures,
        "scripts": scripts,
        "scan-checks": scan_checks,
        "review-rules": review_rules,
        "review-relations": review_relations,
        "review-deadlines": review_deadlines,
        **{name: partial(_of_rows, rows) for name, rows in dicomweb.TABLES.items()},
    }
)
PAGES = (
    REFERENCE / "conformance.md",
    REFERENCE / "dicomweb.md",
    REFERENCE / "audit-events.md",
    REFERENCE / "metrics.md",
    REFERENCE / "simulation.md",
    REFERENCE / "review-rules.md",
    REFERENCE / "scan-checks.md",
)


def filled(text: str) -> str:
    """Return a page with its tables as they must be."""
    return _BLOCK.sub(
        lambda found: f"{found[1]}\n{TABLES[found[2]]()}\n{found[3]}", text
    )


def names_in(text: str) -> list[str]:
    """Return which tables a page has."""
    return [found[2] for found in _BLOCK.finditer(text)]


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(filled(page.read_text("utf-8")), "utf-8")
