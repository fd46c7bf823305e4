"""Everything that can be typed, as one table.

Parser, help, ``docs/reference/commands.md`` and its test are made from it. Handlers
are named, not imported: a command loads what it needs, and nothing else.
"""

from argparse import SUPPRESS
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Argument:
    """One option or operand.

    Attributes:
        names: ``("--out",)`` or ``("study",)``.
        help: What it is for, in a line.
        keywords: What ``argparse`` needs to know beside.
    """

    names: tuple[str, ...]
    help: str
    keywords: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def usage(self) -> str:
        """How it is written."""
        name, words = self.names[0], self.keywords.get("metavar", "")
        metavar = " ".join(words) if isinstance(words, tuple) else str(words)
        if not name.startswith("-"):
            name, metavar = metavar or name.upper(), ""
        many = self.keywords.get("nargs") == "+"
        return f"{name} {metavar}".strip() + ("…" if many else "")

    @property
    def is_required(self) -> bool:
        """Whether the command does nothing without it."""
        if self.names[0].startswith("-"):
            return bool(self.keywords.get("required"))
        return self.keywords.get("nargs") != "?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command.

    Attributes:
        name: As typed, with its group: ``devices enrol``.
        help: What it does, in a line.
        handler: ``module:function`` in this package.
        arguments: What it takes beside ``COMMON``.
        details: What else one must know; shown by ``--help``.
        answer: The keys of the object that ``--json`` prints.
    """

    name: str
    help: str
    handler: str
    arguments: tuple[Argument, ...] = ()
    details: str = ""
    answer: tuple[str, ...] = ()


def _flag(name: str, text: str) -> Argument:
    return Argument((name,), text, MappingProxyType({"action": "store_true"}))


def _option(name: str, metavar: str, text: str, **keywords: Any) -> Argument:
    return Argument((name,), text, MappingProxyType({"metavar": metavar, **keywords}))


def _many(name: str, metavar: str, text: str, **keywords: Any) -> Argument:
    """Declare an option that may be given again, and takes several values."""
    return _option(
        name, metavar, text, nargs="+", action="extend", default=[], **keywords
    )


def _operand(name: str, text: str, **keywords: Any) -> Argument:
    return Argument(
        (name,), text, MappingProxyType({"metavar": name.upper(), **keywords})
    )


# Before or behind the command; left out they must not undo what stood before it.
COMMON: Final = (
    Argument(
        ("--json",),
        "print one JSON object instead of text",
        MappingProxyType({"action": "store_true", "default": SUPPRESS}),
    ),
    Argument(
        ("--home",),
        "the data folder (default: LEADGLASS_HOME, else ~/.local/share/leadglass)",
        MappingProxyType({"metavar": "FOLDER", "default": SUPPRESS}),
    ),
)

GROUPS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "devices": "the devices that may speak to this node",
        "users": "the people who may log in",
        "tokens": "the programs that come in by a bearer token",
        "assignments": "the studies that are somebody's to see",
        "lists": "lists of patients, which scopes name",
        "emergencies": "who reaches a patient by broken glass",
        "reviews": "judging what was done by breaking the glass",
        "rules": "who may do what",
        "studies": "what the archive holds",
        "quarantine": "instances that were kept aside",
        "audit": "the record of everything that happened",
        "witness": "cosigning the audit records of other nodes",
        "audit trails": "logs of other archives, taken in to be asked and reviewed",
        "audit forward": "the record on its way to receivers of syslog",
        "audit review": "what rules find in the record, and who judged it",
        "audit review decoys": "invented patients, studies and AE titles",
        "audit retention": "how long records stay, and pruning those that are old",
        "audit hold": "records that must stay, whatever their age",
        "audit order": "what one person asked for and another confirms",
        "keys": "the keys that open this node",
        "authority": "the certificate authority of this node",
        "comply": "which controls hold: by experiment, by looking, by somebody's word",
        "simulate": "an invented hospital, to judge the review by",
    }
)

_PROFILE = _option(
    "--profile",
    "NAME",
    "whose clauses to cite: in-force, or proposed-2025 (90 FR 898, not in force)",
    choices=("in-force", "proposed-2025"),
    default="in-force",
)
_REPORT_OUT = _option("--out", "FOLDER", "write the report there, in all its forms")
_RUN_FACTS: Final = (
    *("run", "record", "counts", "controls", "observations", "findings"),
    *("at", "version", "profile", "fingerprint", "caution", "questions", "weaknesses"),
    *("assets", "flows", "risks", "map", "components", "proof"),
)
_STUDY = _operand(
    "study", "Study Instance UID, or the short id that `studies list` shows"
)
_DECOY: Final = (
    _operand("kind", "patient, study or title"),
    _operand("value", "Patient ID, Study Instance UID or AE title; - reads it"),
)
_WITH_PATIENT = _flag("--with-patient", "print names and other data of patients too")
_YES = _flag("--yes", "do not ask; for scripts")
_DIMSE = _option(
    "--dimse", "HOST:PORT", "where to listen for DICOM over TLS (dimse.listen)"
)
_HTTPS = _option(
    "--https", "HOST:PORT", "where to listen for DICOMweb over HTTPS (https.listen)"
)
_REASON = _option("--reason", "TEXT", "why; it goes on the audit record")
_REASON_NEEDED = _option(
    "--reason", "TEXT", "why; it goes on the audit record", required=True
)
_AE = "AE title that the device calls itself; may be several"
_FROM = "network or address that the device comes from, as 10.4.0.0/24; may be several"
_MAY = "right to give: echo, store, find, move, get; may be several"
_SCOPE = _option("--scope", "TEXT", "which studies it reaches, as modality=CT,MR")
_TO = _option("--to", "HOST:PORT", "where it is sent to (C-MOVE destination)")
_CSR = _option(
    "--csr", "FILE", "certificate request (PEM) of a device that keeps its own key"
)
_DEVICE = _operand("name", "name of the device")
_DEVICE_KEYS = (
    "name", "status", "ae_titles", "networks", "rights", "scope", "destination",
    "has_tls", "enrolled_at", "renewed_at", "not_after", "certificate",
    "unsafe_plaintext", "revocation",
)  # fmt: skip
_USER = _operand("name", "name to log in with")
_ROLE = (
    "role: administrator, radiologist, technologist, referring, privacy; may be several"
)
_USER_SCOPE = _option("--scope", "TEXT", "which studies the roles reach")
_TOKEN = _operand("name", "name of the program")
_TOKEN_KEYS = (
    "name", "status", "role", "scope", "networks", "created_at", "not_after",
    "used_at", "revoked_at",
)  # fmt: skip
_PROGRAM = _flag("--program", "it is a program with a token, not a person")
_ASSIGNEE = _operand("name", "name of the user, or of the program")
_STUDIES = _operand(
    "studies",
    "Study Instance UIDs, or short ids that `studies list` shows",
    nargs="+",
)
_LIST = _operand("name", "name of the list, as in patient_list=NAME of a scope")
_PATIENTS = _operand(
    "patients",
    "Patient IDs; - reads them from standard input, one a line, so that no list of "
    "processes shows them",
    nargs="+",
)
_EMERGENCY = _operand("number", "number of the emergency", type=int)
_STUDY_KEYS = ("studies", "series", "instances", "archive", "items")
_READY_KEYS = (
    "event",
    "dimse",
    "unsafe_plaintext",
    "https",
    "ae_title",
    "home",
    "pid",
    "version",
    "created",
    "administrator",
    "one_time_secret",
    "recovered",
)

_NODE: Final = (
    Command(
        name="init",
        help="make the data folder, its keys and its certificate authority",
        details="May be repeated: what is there stays as it is. `serve` does it too.",
        handler="init:run",
        answer=(
            "created",
            "home",
            "master_key",
            "administrator",
            "one_time_secret",
            "ae_title",
            "root_sha256",
            "ca_file",
        ),
    ),
    Command(
        name="serve",
        help="serve until SIGTERM or Ctrl-C; the first start initialises",
        details="With --json it prints one line when it listens, with the event "
        "`ready`. On SIGTERM it finishes what is in flight and exits with 0.",
        handler="serve:run",
        arguments=(_DIMSE, _HTTPS),
        answer=_READY_KEYS,
    ),
    Command(
        name="demo",
        help="serve an archive that is filled with example studies first",
        details="The studies come from the package pydicom-data. Without --home the "
        "archive is one of its own, beside yours.",
        handler="demo:run",
        arguments=(_DIMSE, _HTTPS),
        answer=(*_READY_KEYS, "imported"),
    ),
    Command(
        name="status",
        help="show how this node is",
        handler="status:run",
        answer=(
            "version",
            "home",
            "ae_title",
            "serving",
            "listen",
            "patients",
            "studies",
            "series",
            "instances",
            "bytes",
            "quarantined",
            "devices",
            "audit_records",
            "open_reviews",
            "unsent_notices",
            "unsent_audit_records",
            "free_bytes",
            "expiring",
            "weaknesses",
        ),
    ),
    Command(
        name="check",
        help="look for everything that is wrong with settings, keys, rules and dates",
        details="Tells all problems at once, each with its remedy, and every setting "
        "that weakens a protection. Exit code 2 if there is a problem.",
        handler="check:run",
        answer=("problems", "warnings", "weaknesses", "checked"),
    ),
    Command(
        name="api",
        help="print what HTTPS offers, as OpenAPI 3.1",
        details="The same as GET /api/openapi.json of a running node.",
        handler="api:run",
        answer=("openapi", "info", "servers", "security", "paths", "components"),
    ),
    Command(
        name="settings",
        help="show every setting: value, default, what it means",
        handler="settings:run",
        arguments=(
            _flag("--file", "print the commented settings file with all defaults"),
        ),
        answer=("settings",),
    ),
)

_DEVICES: Final = (
    Command(
        name="devices enrol",
        help="let a device in: make its certificate, say what to set on it",
        details="Works with and without a running node. Writes key.pem, cert.pem and "
        "ca.pem; the node keeps no copy of the key.",
        handler="devices:enrol",
        arguments=(
            _DEVICE,
            _many("--ae", "TITLE", _AE, required=True),
            _many("--from", "CIDR", _FROM, dest="networks"),
            _many("--may", "RIGHT", _MAY, required=True),
            _TO,
            _SCOPE,
            _CSR,
            _option("--out", "FOLDER", "where the device's files go"),
            _option(
                "--unsafe-plaintext",
                "ADDRESS",
                "the one address from which, or to which, it speaks without TLS; "
                "needs --reason and --until",
            ),
            _option("--reason", "TEXT", "why it must do without TLS"),
            _option("--until", "DATE", "last day without TLS, at most a year from now"),
        ),
        answer=("device", "files", "node"),
    ),
    Command(
        name="devices list",
        help="list the devices",
        handler="devices:list_all",
        answer=("devices", "active", "revoked", "items"),
    ),
    Command(
        name="devices show",
        help="show one device",
        handler="devices:show",
        arguments=(_DEVICE,),
        answer=_DEVICE_KEYS,
    ),
    Command(
        name="devices change",
        help="give a device other titles, networks, rights, scope or destination",
        details="What is not named stays. A list that is named replaces the old one.",
        handler="devices:change",
        arguments=(
            _DEVICE,
            _many("--ae", "TITLE", _AE),
            _many("--from", "CIDR", _FROM, dest="networks"),
            _many("--may", "RIGHT", _MAY),
            _TO,
            _SCOPE,
        ),
        answer=("device",),
    ),
    Command(
        name="devices renew",
        help="give a device a new certificate; the old one works for 14 days yet",
        handler="devices:renew",
        arguments=(
            _DEVICE,
            _option("--out", "FOLDER", "where the device's files go", required=True),
            _CSR,
        ),
        answer=("device", "files", "node"),
    ),
    Command(
        name="devices revoke",
        help="shut a device out, from its next association on",
        handler="devices:revoke",
        arguments=(_DEVICE, _REASON_NEEDED),
        answer=("device",),
    ),
)

_PEOPLE: Final = (
    Command(
        name="users add",
        help="add a person, who enrols with the one-time secret that is printed",
        details="Administrators see no images; referring physicians see what is "
        "assigned to them, and what --scope names.",
        handler="users:add",
        arguments=(
            _USER,
            _many("--role", "ROLE", _ROLE, required=True),
            _USER_SCOPE,
            _option("--display-name", "TEXT", "how people call the person"),
        ),
        answer=("user", "one_time_secret"),
    ),
    Command(
        name="users list",
        help="list the users",
        handler="users:list_all",
        answer=("users", "active", "items"),
    ),
    Command(
        name="users change",
        help="give a user other roles or another scope; open sessions end",
        details="What is not named stays. Roles that are named replace the old ones.",
        handler="users:change",
        arguments=(_USER, _many("--role", "ROLE", _ROLE), _USER_SCOPE, _REASON),
        answer=("user",),
    ),
    Command(
        name="users disable",
        help="shut a user out at once, with sessions and break-glass access",
        handler="users:disable",
        arguments=(_USER, _REASON_NEEDED),
        answer=("user",),
    ),
    Command(
        name="users enable",
        help="let a disabled user come again",
        handler="users:enable",
        arguments=(_USER, _REASON),
        answer=("user",),
    ),
    Command(
        name="users reset",
        help="take password and second factor from a user, who enrols anew",
        handler="users:reset",
        arguments=(_USER, _REASON),
        answer=("user", "one_time_secret"),
    ),
    Command(
        name="users unlock",
        help="let a user try again who was locked after failures",
        handler="users:unlock",
        arguments=(_USER,),
        answer=("user",),
    ),
    Command(
        name="tokens add",
        help="let a program in by a bearer token, which is printed once",
        details="Without --from it works from private networks only. A name is "
        "never given again.",
        handler="tokens:add",
        arguments=(
            _TOKEN,
            _option(
                "--role",
                "ROLE",
                "role: service, radiologist, technologist, referring, privacy",
                required=True,
            ),
            _option("--scope", "TEXT", "which studies the role reaches"),
            _many(
                "--from",
                "CIDR",
                "network or address that it comes from; may be several",
                dest="networks",
            ),
            _option(
                "--for",
                "DAYS",
                "how long it works: 1 to 366 days, 90 unless said",
                dest="days",
                type=int,
            ),
        ),
        answer=("token", *_TOKEN_KEYS),
    ),
    Command(
        name="tokens list",
        help="list the tokens: who has one, what it is good for, when it was used",
        handler="tokens:list_all",
        answer=("tokens", "standing", "items"),
    ),
    Command(
        name="tokens revoke",
        help="refuse a token from its next request on",
        handler="tokens:revoke",
        arguments=(_TOKEN, _REASON_NEEDED),
        answer=_TOKEN_KEYS,
    ),
    Command(
        name="rules test",
        help="put the expectations of the rule file to all rules",
        details="Those of devices, users and tokens too. Exit code 2 if one does not "
        "hold.",
        handler="rules:test",
        arguments=(
            _option("--file", "FILE", "another rule file, before it is put in place"),
        ),
        answer=("rules", "expectations", "failed", "items"),
    ),
)

_REACH: Final = (
    Command(
        name="assignments add",
        help="assign studies to a user or a program",
        details="Whose role or scope reaches what is assigned sees them at once. A "
        "study may be named before it has come.",
        handler="assignments:add",
        arguments=(_ASSIGNEE, _STUDIES, _PROGRAM),
        answer=("assignee", "added"),
    ),
    Command(
        name="assignments remove",
        help="take studies back",
        handler="assignments:remove",
        arguments=(_ASSIGNEE, _STUDIES, _PROGRAM),
        answer=("assignee", "removed"),
    ),
    Command(
        name="assignments show",
        help="show what is assigned to one",
        handler="assignments:show",
        arguments=(_ASSIGNEE, _PROGRAM),
        answer=("assignee", "studies", "items"),
    ),
    Command(
        name="assignments list",
        help="list who has how many",
        handler="assignments:list_all",
        answer=("assignees", "items"),
    ),
    Command(
        name="lists add",
        help="put patients on a list; a list is there when somebody is on it",
        handler="lists:add",
        arguments=(_LIST, _PATIENTS),
        answer=("list", "added"),
    ),
    Command(
        name="lists remove",
        help="take patients off a list",
        handler="lists:remove",
        arguments=(_LIST, _PATIENTS),
        answer=("list", "removed"),
    ),
    Command(
        name="lists show",
        help="show how many are on a list, and with --with-patient who",
        handler="lists:show",
        arguments=(_LIST, _WITH_PATIENT),
        answer=("list", "patients"),
    ),
    Command(
        name="lists list",
        help="list the lists of patients",
        handler="lists:list_all",
        answer=("lists", "items"),
    ),
    Command(
        name="emergencies list",
        help="list the break-glass access that stands",
        details="That it was read goes on the audit record.",
        handler="emergencies:list_all",
        arguments=(
            _flag("--all", "the last 500, over and signed ones too"),
            _WITH_PATIENT,
        ),
        answer=("emergencies", "standing", "items"),
    ),
    Command(
        name="emergencies end",
        help="end break-glass access before its time; its review stays open",
        handler="emergencies:end",
        arguments=(_EMERGENCY, _WITH_PATIENT),
        answer=("emergency",),
    ),
    Command(
        name="reviews list",
        help="list the reviews that wait for a signature",
        details="That they were read goes on the audit record.",
        handler="reviews:list_open",
        arguments=(_WITH_PATIENT,),
        answer=("open", "items"),
    ),
    Command(
        name="reviews show",
        help="show one; with --with-patient whom it reached, and the reason",
        handler="reviews:show",
        arguments=(_EMERGENCY, _WITH_PATIENT),
        answer=("review",),
    ),
    Command(
        name="reviews sign",
        help="close a review: of somebody else's, once it is over",
        handler="reviews:sign",
        arguments=(
            _EMERGENCY,
            _option(
                "--verdict",
                "VERDICT",
                "justified or not-justified",
                required=True,
            ),
            _option(
                "--note", "TEXT", "why; it goes on the audit record", required=True
            ),
            _WITH_PATIENT,
        ),
        answer=("review",),
    ),
)

_ARCHIVE: Final = (
    Command(
        name="import",
        help="take in files, folders, ZIP files and DICOMDIR media",
        details="Goes on where it was interrupted. What is no DICOM is counted. "
        "Exit code 1 if something could not be taken.",
        handler="importing:run",
        arguments=(
            _operand("path", "file, folder, ZIP file or DICOMDIR", nargs="+"),
            _flag("--fresh", "look at everything again, also what was finished"),
            _flag("--list-skipped", "name what was not taken, and why"),
        ),
        answer=(
            "files",
            "stored",
            "already_here",
            "unchanged",
            "set_aside",
            "failed",
            "missing",
            "not_dicom",
            "bytes",
            "preambles_cleared",
            "is_whole",
            "skipped",
        ),
    ),
    Command(
        name="export",
        help="write a study to a folder or a ZIP file, as DICOM files with DICOMDIR",
        handler="export:run",
        arguments=(
            _STUDY,
            _option("--out", "PATH", "folder or file to make", required=True),
            _flag("--zip", "one ZIP file instead of a folder"),
            _flag("--no-dicomdir", "leave out the DICOMDIR"),
        ),
        answer=("study_uid", "out", "instances", "bytes", "left_out", "is_whole"),
    ),
    Command(
        name="studies list",
        help="list the studies: dates, modalities and counts",
        details="Counts are of what is listed; `archive` has those of everything. "
        "The questions and the studies in the answer go on the audit record.",
        handler="studies:list_all",
        arguments=(
            _option("--since", "DATE", "study date from this day on, YYYY-MM-DD"),
            _option("--until", "DATE", "study date up to this day"),
            _option("--modality", "CODE", "with series of this modality"),
            _option("--limit", "N", "at most so many, the newest first", type=int),
            _WITH_PATIENT,
        ),
        answer=_STUDY_KEYS,
    ),
    Command(
        name="studies show",
        help="show one study and its series",
        handler="studies:show",
        arguments=(_STUDY, _WITH_PATIENT),
        answer=("study", "series"),
    ),
    Command(
        name="erase",
        help="destroy a study and its key, so that backups of it cannot be read either",
        handler="erase:run",
        arguments=(_STUDY, _REASON_NEEDED, _YES),
        answer=("study_uid", "blobs", "keys"),
    ),
    Command(
        name="quarantine list",
        help="list what was kept aside: other bytes under a known SOP Instance UID",
        handler="quarantine:list_all",
        answer=("quarantined", "items"),
    ),
    Command(
        name="verify",
        help="check every stored byte against its seal and its hash",
        details="Repairs nothing. Exit code 5 if something is damaged.",
        handler="verify:run",
        answer=("instances", "total", "bytes", "damaged", "orphans", "damages"),
    ),
    Command(
        name="rebuild",
        help="make the index anew from the vault alone; the node must not serve",
        handler="rebuild:run",
        answer=("blobs", "instances", "set_aside", "damaged"),
    ),
)

_AUDIT: Final = (
    Command(
        name="audit list",
        help="list records; that it was read goes on the record too",
        details="Patients are left out unless --with-patient is given.",
        handler="audit:list_records",
        arguments=(
            _option("--since", "TIME", "from then on; YYYY-MM-DD or with THH:MM:SS"),
            _option("--until", "TIME", "before then"),
            _option("--event", "CODE", "code or name, as 110112 or query"),
            _option("--user", "NAME", "device or person"),
            _option("--address", "ADDRESS", "network address"),
            _option("--study", "UID", "Study Instance UID"),
            _option(
                "--patient",
                "ID",
                "Patient ID; - reads it from standard input, so that no list of "
                "processes shows it",
            ),
            _option("--limit", "N", "at most so many (default 100)", type=int),
            _flag("--oldest-first", "in the order of the record"),
            _WITH_PATIENT,
        ),
        answer=("records", "size", "more", "items"),
    ),
    Command(
        name="audit import",
        help="take in the log of another archive, as a trail that can be asked",
        details=(
            "Formats are listed in docs/reference/trail-formats.md. The same file "
            "again is the same trail. Lines that cannot be read are counted and shown."
        ),
        handler="trails:take",
        arguments=(
            _operand("file", "the log"),
            _option("--from", "FORMAT", "its format", dest="format", required=True),
            _option("--name", "NAME", "what the trail is called (default: the file)"),
            _option("--zone", "ZONE", "of times without one, as Europe/Berlin, +01:00"),
            _option(
                "--year", "YYYY", "of the first line, if times have none", type=int
            ),
            _option("--at", "TIME", "when the log began, if it has no times at all"),
            _option("--mapping", "FILE", "for tables: TOML, which column is what"),
        ),
        answer=(
            *("trail", "name", "format", "events", "unparsed"),
            *("samples", "was_there"),
        ),
    ),
    Command(
        name="audit trails list",
        help="list the trails there are: our own record, and logs that were taken in",
        handler="trails:list_trails",
        answer=("trails", "items"),
    ),
    Command(
        name="audit trails remove",
        help="remove a foreign trail with all its events; our own stays",
        handler="trails:remove",
        arguments=(_operand("number", "number of the trail", type=int),),
        answer=("trail", "name", "events"),
    ),
    Command(
        name="audit patient",
        help="tell who saw a patient: when, from where, by which right, what",
        handler="breach:patient",
        arguments=(
            _operand(
                "patient",
                "Patient ID; - reads it from standard input, so that no list of "
                "processes shows it",
            ),
            _option("--since", "TIME", "from then on (default: six years ago)"),
            _option("--until", "TIME", "before then"),
            _option("--csv", "FILE", "write it as a new file, too"),
        ),
        answer=("accesses", "is_whole", "since"),
    ),
    Command(
        name="audit breach",
        help="bound a breach: whose images left, who was listed, who was not reached",
        handler="breach:breach",
        arguments=(
            _option("--from", "TIME", "when it began", required=True, dest="from_"),
            _option("--to", "TIME", "when it was over", required=True),
            _many(
                "--source",
                "KIND=VALUE",
                "address=, person=, device=, certificate= or title=; any of them",
                required=True,
            ),
            _option(
                "--out", "FOLDER", "write numbers, letters and the worksheet there, too"
            ),
        ),
        details="The whole record is verified first; else nothing is bounded by it.",
        answer=(
            *("from", "to", "sources", "acts", "failed", "counts", "images_begun"),
            *("images_left", "patients", "deadlines", "proof"),
        ),
    ),
    Command(
        name="audit verify",
        help="recompute the whole record and name every change",
        details="Exit code 5 if something is not as it was signed.",
        handler="audit:verify",
        arguments=(
            _many(
                "--witnessed",
                "FILE",
                "checkpoint of this record that was kept elsewhere",
            ),
        ),
        answer=(
            "intact",
            "records",
            "size",
            "root",
            "checkpoints",
            "findings",
            "remarks",
        ),
    ),
    Command(
        name="audit prove",
        help="write the proof that one record is in the log",
        handler="audit:prove",
        arguments=(
            _operand("number", "number of the record", type=int),
            _flag("--disclose", "put the record itself in, with whom it names"),
            _option("--out", "FILE", "where to write it (default: standard output)"),
        ),
        answer=("number", "proof", "out"),
    ),
    Command(
        name="audit evidence",
        help="write a folder of records that anybody can check without this node",
        details="By number, by patient, by window of time, or patient and window. The "
        "folder brings its own program: python3 FOLDER/verify.py.",
        handler="audit_evidence:write",
        arguments=(
            _option(
                "--patient",
                "ID",
                "records that name this Patient ID; - reads it from standard input, so "
                "that no list of processes and no history of a shell shows it",
            ),
            Argument(
                ("--window",),
                "everything recorded from one time until before another, without a "
                "gap; YYYY-MM-DD or with THH:MM:SS",
                MappingProxyType({"metavar": ("FROM", "TO"), "nargs": 2}),
            ),
            _many("--event", "N", "records by number", type=int),
            _flag("--without-others", "keep records closed that name other patients"),
            _option("--out", "FOLDER", "where to write it; a new one", required=True),
        ),
        answer=(
            *("out", "records", "opened", "others", "checkpoints", "size", "root"),
            *("key", "files"),
        ),
    ),
    Command(
        name="audit offer",
        help="print the newest checkpoint and its proof, for a witness to cosign",
        handler="witness:offer",
        arguments=(
            _option("--to", "KEY", "public key of the witness", required=True),
            _option(
                "--old",
                "N",
                "records that it has cosigned (default: as many as is known here)",
                type=int,
            ),
        ),
        answer=("origin", "old", "size", "offer"),
    ),
    Command(
        name="audit cosigned",
        help="keep a checkpoint that a witness cosigned; from standard input",
        handler="witness:take",
        arguments=(_option("--by", "KEY", "public key of the witness", required=True),),
        answer=("origin", "witness", "size"),
    ),
    Command(
        name="audit timestamp",
        help="have the newest checkpoint stamped by an authority (RFC 3161)",
        details="Asks the authority at --tsa, or writes the request and takes the "
        "reply as files, for a node that reaches nobody. A reply is kept only if it "
        "holds under the authority's certificate.",
        handler="timestamps:stamp",
        arguments=(
            _option("--tsa", "URL", "address of the authority, https:// or http://"),
            _option("--request-out", "FILE", "where to write the request; a new one"),
            _option("--response-in", "FILE", "the reply to a request"),
            _option(
                "--certificate",
                "FILE",
                "certificate (PEM or DER) with which the authority signs time stamps",
            ),
            _option(
                "--ca",
                "FILE",
                "whom to trust for https:// (PEM; default: whom this system trusts)",
            ),
        ),
        answer=("size", "time", "authority", "request"),
    ),
    Command(
        name="audit copy",
        help="copy checkpoints to the places of the settings, now",
        details="To copies.folder and copies.s3_bucket; leadglass serve does so every "
        "copies.interval_s. A file that is there is compared and never written again.",
        handler="copies:run",
        answer=("places",),
    ),
    Command(
        name="audit timestamps",
        help="list the time stamps that are kept, each verified again",
        handler="timestamps:show",
        answer=("items",),
    ),
    Command(
        name="audit verify-proof",
        help="check a proof; with --key it needs no data folder",
        details="Exit code 5 if it proves nothing.",
        handler="audit:verify_proof",
        arguments=(
            _operand("file", "the proof; - for standard input"),
            _option(
                "--key", "FILE", "public key (PEM) of the log; default: this node's"
            ),
        ),
        answer=("proven", "number", "time", "event", "size", "origin", "record"),
    ),
    Command(
        name="audit key",
        help="print the public key that verifies proofs and checkpoints",
        handler="audit:key",
        answer=("origin", "pem", "verifier_key"),
    ),
    Command(
        name="audit forward status",
        help="show how far each receiver of audit records is",
        details="A record waits until it need not be sent again, whatever happens.",
        handler="forwarding:status",
        answer=("records", "receivers"),
    ),
)

_ID_FILE = _option("--id-file", "FILE", "file with the Patient ID in its first line")
_RETENTION: Final = (
    Command(
        name="audit review run",
        help="review what is new in the record; list all that waits for a person",
        details="Exit code 2 if an alert of medium severity or worse waits. That it "
        "was read goes on the audit record. The node does the same by itself.",
        handler="audit_review:run",
        answer=("records", "new", "open", "findings"),
    ),
    Command(
        name="audit review list",
        help="list the alerts that wait for a person, what is due first first",
        details="That they were read goes on the audit record.",
        handler="audit_review:list_alerts",
        arguments=(_flag("--all", "the last 500, judged ones too"), _WITH_PATIENT),
        answer=("alerts", "items"),
    ),
    Command(
        name="audit review show",
        help="show one alert; with --with-patient whom it concerns",
        handler="audit_review:show",
        arguments=(
            _operand("number", "number of the alert", type=int),
            _WITH_PATIENT,
        ),
        answer=("alert",),
    ),
    Command(
        name="audit review dispose",
        help="say what an alert was, once, and why",
        handler="audit_review:dispose",
        arguments=(
            _operand("number", "number of the alert", type=int),
            Argument(
                ("--as",),
                "benign, breach (of a policy) or incident",
                MappingProxyType(
                    {"metavar": "WHAT", "required": True, "dest": "disposition"}
                ),
            ),
            _REASON_NEEDED,
            _WITH_PATIENT,
        ),
        answer=("alert",),
    ),
    Command(
        name="audit review sign",
        help="answer for a week that is over, of which no alert is open",
        handler="audit_review:sign",
        arguments=(
            _operand("week", "week of ISO 8601, as 2026-W13"),
            _option(
                "--note", "TEXT", "what was done; it goes on the record", required=True
            ),
        ),
        answer=("signature",),
    ),
    Command(
        name="audit review weeks",
        help="list the weeks that were signed, the newest first",
        handler="audit_review:weeks",
        answer=("weeks", "items"),
    ),
    Command(
        name="audit review rules",
        help="list the rules, their thresholds, and which are blind here and why",
        handler="audit_review:rules",
        answer=("rules", "blind", "items"),
    ),
    Command(
        name="audit review decoys list",
        help="list the decoys; that they were read goes on the audit record",
        handler="audit_review:list_decoys",
        answer=("decoys", "items"),
    ),
    Command(
        name="audit review decoys set",
        help="name an invented patient or study, or an AE title that nobody was told",
        handler="audit_review:set_decoy",
        arguments=_DECOY,
        answer=("decoy",),
    ),
    Command(
        name="audit review decoys remove",
        help="take a decoy away",
        handler="audit_review:take_decoy",
        arguments=_DECOY,
        answer=("decoy",),
    ),
    Command(
        name="audit retention show",
        help="show how long records stay, what was pruned, and who must get them first",
        handler="retention:show",
        answer=(
            *("years", "unsafe_years", "days", "cutoff", "records", "oldest"),
            *("pruned", "pruned_numbers", "pruned_by", "holds", "positions"),
        ),
    ),
    Command(
        name="audit retention run",
        help="prune records that are older than retention.years; for a timer",
        details="What a legal hold keeps stays, and what a receiver has not got yet. "
        "Goes on with erasures that were cut off. May be killed at any moment and "
        "called again.",
        handler="retention:run",
        arguments=(_flag("--dry-run", "only tell what would go"), _YES),
        answer=(
            *("dry_run", "cutoff", "pruned", "portions", "held", "needed", "waiting"),
            "erasures_finished",
        ),
    ),
    Command(
        name="audit hold add",
        help="keep the records that fit all that is named, until two people release "
        "them",
        handler="retention:add_hold",
        arguments=(
            _REASON_NEEDED,
            _option("--since", "TIME", "recorded from then on"),
            _option("--until", "TIME", "recorded before then"),
            _option(
                "--patient",
                "ID",
                "that name this Patient ID; - reads it from standard input",
            ),
            _ID_FILE,
            _option("--study", "UID", "that name this Study Instance UID"),
            _option("--person", "NAME", "that name this person, device or program"),
        ),
        answer=("hold",),
    ),
    Command(
        name="audit hold list",
        help="list the legal holds that stand",
        handler="retention:list_holds",
        arguments=(_flag("--all", "the released ones, too"), _WITH_PATIENT),
        answer=("holds", "items"),
    ),
    Command(
        name="audit hold release",
        help="ask that a legal hold be released; somebody else confirms it",
        handler="retention:release_hold",
        arguments=(
            _operand("number", "number of the hold", type=int),
            _REASON_NEEDED,
        ),
        answer=("order",),
    ),
    Command(
        name="audit erase-person",
        help="ask that a patient's data be erased from the record; somebody else "
        "confirms it",
        details="The record stays provable. What concerns other patients is recorded "
        "anew. The answer has a salt that shows later whom the order was about; it is "
        "kept nowhere else.",
        handler="retention:erase_person",
        arguments=(
            _operand(
                "patient",
                "Patient ID; - reads it from standard input, so that no list of "
                "processes and no history of a shell shows it",
                nargs="?",
            ),
            _ID_FILE,
            _REASON_NEEDED,
        ),
        answer=("order", "records", "salt"),
    ),
    Command(
        name="audit order list",
        help="list the orders to erase or release, the newest first",
        handler="retention:list_orders",
        answer=("orders", "items"),
    ),
    Command(
        name="audit order confirm",
        help="confirm an order that a person who logged in asked for; it is carried "
        "out",
        handler="retention:confirm",
        arguments=(_operand("number", "number of the order", type=int), _YES),
        answer=("order",),
    ),
    Command(
        name="audit order refuse",
        help="refuse an order, or take back one's own",
        handler="retention:refuse",
        arguments=(_operand("number", "number of the order", type=int),),
        answer=("order",),
    ),
)

_WITNESS: Final = (
    Command(
        name="witness init",
        help="make a witness: a folder with a key of its own, and no node",
        handler="witness:init",
        arguments=(
            _operand("name", "its name, best a host name; no blanks and no +"),
            _option("--state", "FOLDER", "where to keep it; a new one", required=True),
        ),
        answer=("name", "key"),
    ),
    Command(
        name="witness key",
        help="print the public key of a witness",
        handler="witness:key",
        arguments=(_option("--state", "FOLDER", "its folder", required=True),),
        answer=("name", "key"),
    ),
    Command(
        name="witness cosign",
        help="cosign what continues all that was seen; from standard input",
        details="Takes what `audit offer` prints. A log that goes back, or another "
        "history of it, is refused with exit code 5.",
        handler="witness:cosign",
        arguments=(
            _option("--state", "FOLDER", "the folder of the witness", required=True),
            _many(
                "--log-key",
                "KEY",
                "public key of a log that it is for, as a line or a PEM file",
                required=True,
            ),
        ),
        answer=("origin", "old", "size", "root", "cosigned"),
    ),
)

_KEYS: Final = (
    Command(
        name="keys show",
        help="show where the master key is and what the keyring holds",
        handler="keys:show",
        answer=(
            "source",
            "master_key",
            "generation",
            "study_keys",
            "rotation_is_unfinished",
        ),
    ),
    Command(
        name="keys rotate",
        help="change the master key and wrap every study key anew; blobs stay",
        handler="keys:rotate",
        arguments=(
            _option(
                "--new-secret-file",
                "FILE",
                "the new passphrase, or the new key of a systemd credential; a key "
                "file is made anew without it",
            ),
        ),
        answer=("generation", "rewrapped", "dropped_wrapping_keys", "damaged", "todo"),
    ),
    Command(
        name="authority show",
        help="show root, issuing and node certificates and when they end",
        handler="authority:show",
        answer=(
            "root_sha256",
            "root_is_online",
            "node_names",
            "certificates",
            "revoked",
            "ca_file",
            "crl_file",
        ),
    ),
    Command(
        name="authority take-root-offline",
        help="move the root's private key, sealed, to a file on another medium",
        handler="authority:take_root_offline",
        arguments=(_operand("file", "file to make"),),
        answer=("root_is_online", "file"),
    ),
    Command(
        name="authority bring-root-online",
        help="copy the root's private key back",
        handler="authority:bring_root_online",
        arguments=(_operand("file", "the file that holds it"),),
        answer=("root_is_online", "file"),
    ),
    Command(
        name="authority renew-issuing",
        help="prolong the issuing certificate; the root must be online",
        handler="authority:renew_issuing",
        answer=("not_after",),
    ),
    Command(
        name="authority renew-node",
        help="make a new certificate for this node, with tls.node_names",
        handler="authority:renew_node",
        answer=("not_after", "node_names"),
    ),
)

_SIMULATION: Final = (
    Command(
        name="comply run",
        help="try and look at everything that controls ask for, and keep the result",
        handler="comply:run",
        arguments=(_PROFILE, _REPORT_OUT),
        details=(
            "Experiments are made on a twin: same program, same settings, other keys "
            "and data, on loopback, for half a minute. The result is hashed in the "
            "audit record. Exit code 2 if a control fails."
        ),
        answer=_RUN_FACTS,
    ),
    Command(
        name="comply report",
        help="write the report of a run: HTML, PDF, JSON, OSCAL, CycloneDX, CSV",
        handler="comply:report",
        arguments=(
            _option("--run", "N", "number of the run (default: the newest)", type=int),
            _REPORT_OUT,
        ),
        answer=_RUN_FACTS,
    ),
    Command(
        name="comply history",
        help="list the runs that were kept",
        handler="comply:history",
        answer=("runs",),
    ),
    Command(
        name="comply due",
        help="tell what is to be done again, when it was done last, and when it is due",
        handler="comply:due",
        details="Exit code 2 if something is overdue.",
        answer=("duties",),
    ),
    Command(
        name="comply controls",
        help="list the controls, their clauses, and what answers each",
        handler="comply:controls",
        arguments=(_PROFILE,),
        answer=("controls",),
    ),
    Command(
        name="comply attest",
        help="enter what somebody vouches for, until a date",
        handler="comply:attest",
        arguments=(
            _operand("control", "id of the control, as CC-26"),
            _option(
                "--document", "FILE", "what it says; its hash is kept", required=True
            ),
            _option("--edition", "TEXT", "which version of it that is", required=True),
            _option("--owner", "NAME", "who answers for it", required=True),
            _option("--until", "DATE", "its last day, as 2027-11-30", required=True),
        ),
        answer=(
            "control",
            "document",
            "version",
            "sha256",
            "owner",
            "by",
            "at",
            "ends",
        ),
    ),
    Command(
        name="comply baseline",
        help="hold settings and rules against what was agreed on",
        handler="comply:baseline",
        arguments=(
            _flag("--accept", "agree on settings and rules as they are now"),
            _REASON,
        ),
        answer=("fingerprint", "agreed", "by", "holds"),
    ),
    Command(
        name="simulate hospital",
        help="write what happened in an invented hospital: facts, and the truth",
        details="Needs no node. The same seed gives the same file.",
        handler="simulate:hospital",
        arguments=(
            _option("--seed", "N", "where chance begins (default: anywhere)", type=int),
            _option("--beds", "N", "size of the hospital", type=int, default=200),
            _option("--days", "N", "how long", type=int, default=28),
            _flag("--light", "many ordinary facts quickly, without any attack"),
            _option(
                "--as",
                "FORMAT",
                "jsonl, with the truth; or the trail alone as atna, fhir or csv",
                dest="dialect",
                choices=("jsonl", "atna", "fhir", "csv"),
                default="jsonl",
            ),
            _option(
                "--feeds",
                "FOLDER",
                "make this folder, with what is known as feeds of `audit review`",
            ),
            _option("--out", "FILE", "where to write it; a new file", required=True),
        ),
        answer=("seed", "beds", "days", "facts", "attacks", "lines", "as", "out"),
    ),
    Command(
        name="simulate judge",
        help="show such a file to the rules of the review, and tell how well they did",
        details="Needs no node. Precision and recall rule by rule, alerts for each "
        "1,000 accesses, and the share of ordinary looks that a relation explains.",
        handler="simulate:judge",
        arguments=(
            _operand("file", "a file of `simulate hospital`, as jsonl"),
            _many("--threshold", "RULE=N", "thresholds to try, as R-01=3"),
            _many("--off", "RULE", "rules to leave out"),
        ),
        answer=(
            *("facts", "accesses", "alerts", "alerts_per_1000", "false_per_1000"),
            *("scripts", "found", "recall", "missed", "quiet", "quiet_found"),
            *("looks", "explained", "rules"),
        ),
    ),
)

_SCAN: Final = (
    Command(
        name="scan",
        help="look at DICOM systems from outside, as a stranger would",
        details="Only what you own or are asked to test. A target that is reachable "
        "from the Internet needs --authorisation. No data of patients are kept. Exit "
        "code 2 if a finding is medium or worse.",
        handler="scan:run",
        arguments=(
            Argument(
                ("targets",),
                "HOST, HOST:PORT, NETWORK as 10.4.0.0/24, or @FILE with one a line",
                MappingProxyType({"metavar": "TARGET", "nargs": "+"}),
            ),
            _many("--port", "PORT", "look here too; may be several", type=int),
            _many("--called", "TITLE", "AE title of the targets; may be several"),
            _many("--peer", "TITLE", "AE title that targets know (AE-06)"),
            _option("--authorisation", "FILE", "what the owner allows (TOML)"),
            _option("--previous", "FILE", "result of the last scan (JSON), to compare"),
            _many("--out", "FILE", "write a report: .json, .sarif, .html or .pdf"),
            _option(
                "--judge-as",
                "REACH",
                "judge as if reachable from: internet, private, own",
                choices=("internet", "private", "own"),
            ),
            _option(
                "--rate",
                "NUMBER",
                "connections per second and host (2; on loopback as fast as it goes)",
                type=float,
            ),
            _option("--timeout", "SECONDS", "for each answer (2)", type=float),
            _option(
                "--idle",
                "SECONDS",
                "wait so long for idle connections (AE-11)",
                type=float,
            ),
            _option("--ca", "FILE", "whom certificates must chain to (PEM)"),
            _option("--client-cert", "FILE", "certificate of another device (TLS-11)"),
            _option("--client-key", "FILE", "its key"),
            _flag("--expect-identity", "the policy demands user identities (AE-08)"),
            _flag("--consent-download", "fetch one image, and drop it (DM-08, WEB-03)"),
            _flag(
                "--consent-write",
                "store one invented instance (DM-09); needs an authorisation for it",
            ),
        ),
        answer=(
            "targets",
            "findings",
            "started",
            "finished",
            "hosts",
            "answering",
            "connections",
            "exposed",
            "authorisation_sha256",
            "left_out",
            "difference",
        ),
    ),
)

COMMANDS: Final = (
    *_SCAN,
    *(
        *_NODE,
        *_DEVICES,
        *_PEOPLE,
        *_REACH,
        *_ARCHIVE,
        *_AUDIT,
        *_RETENTION,
        *_WITNESS,
        *_KEYS,
    ),
    *_SIMULATION,
)
