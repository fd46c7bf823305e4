"""Controls of a real node, and experiments that must fail where something is wrong."""

import json
import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from leadglass.assurance.compliance.controls import catalogue
from leadglass.assurance.compliance.experiments import EXPERIMENTS
from leadglass.assurance.compliance.experiments.doors import shakes_hands
from leadglass.assurance.compliance.probe import Verdict
from leadglass.assurance.compliance.twin import Login, Proof, Restored, Way
from leadglass.audit.findings import Report
from leadglass.audit.search import Record
from leadglass.cli.twin import NodeTwin, twin_of
from leadglass.config import Config
from tests.durability.instances import make_instance
from tests.peers.nodes import comes_true
from tests.support.forks import FORKS
from tests.support.node import RunningNode

RUN_WITHIN_S = 300
KEPT = ("PATH", "PYTHONPATH")


def leadglass(home: Path, *arguments: str) -> tuple[int, Any]:
    done = FORKS.run(
        ["--home", str(home), "--json", *arguments],
        env={name: os.environ[name] for name in KEPT if name in os.environ},
        timeout_s=RUN_WITHIN_S,
    )
    return done.returncode, json.loads(done.stdout)


# --- a whole run ------------------------------------------------------------------


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("comply")
    node = RunningNode(folder / "home")
    node.init()
    node.enrol("CT1")
    instance = make_instance(name="Quartermain^Allan", patient="QUARTERMAIN-1")
    (folder / "one.dcm").write_bytes(instance.file)
    assert leadglass(node.home, "import", str(folder / "one.dcm"))[0] == 0
    policy = folder / "policy.txt"
    policy.write_text("what is to be done", "utf-8")
    attested = leadglass(
        node.home,
        *("comply", "attest", "CC-26", "--document", str(policy), "--edition", "3"),
        *("--owner", "the security officer", "--until", "2099-12-31"),
    )
    assert attested[0] == 0
    agreed = leadglass(
        node.home, "comply", "baseline", "--accept", "--reason", "as agreed"
    )
    assert agreed[0] == 0
    return node.home


@dataclass(frozen=True)
class Done:
    code: int
    told: Mapping[str, Any]
    out: Path


@pytest.fixture(scope="module")
def done(home: Path) -> Done:
    out = home.parent / "report"
    return Done(*leadglass(home, "comply", "run", "--out", str(out)), out)


def test_all_experiments_pass_and_every_control_is_judged(done: Done) -> None:
    observations = {each["probe"]: each for each in done.told["observations"]}
    for each in EXPERIMENTS:
        found = observations[each.name]
        assert found["verdict"] == "pass", found["observed"]
        assert found["is_experiment"]
    verdicts = {each["id"]: each["verdict"] for each in done.told["controls"]}
    assert set(verdicts) == set(catalogue().controls)
    assert verdicts["CC-26"] == "attested"
    expected = dict.fromkeys(("CC-05", "CC-15", "CC-46"), "pass")
    assert {each: verdicts[each] for each in expected} == expected, observations
    # Nobody has looked at the record of this node yet.
    assert verdicts["CC-23"] == "fail"
    assert verdicts["CC-06"] == "not covered"


def test_what_fails_is_a_finding_and_an_exit_code(done: Done) -> None:
    assert done.code == 2
    (finding,) = done.told["findings"]
    assert finding["id"] == "reviews"
    assert finding["severity"] == "high"


def test_results_are_hashed_in_a_record_that_is_proven(home: Path, done: Done) -> None:
    code, told = leadglass(home, "audit", "verify-proof", str(done.out / "proof.json"))
    assert code == 0
    assert told["proven"]
    details = told["record"]["details"]
    for each in done.told["controls"]:
        assert details[each["id"]].split(" ")[0] == each["verdict"].split(" ")[0]


def test_no_name_of_a_patient_is_in_any_report(done: Done) -> None:
    for path in done.out.iterdir():
        assert b"QUARTERMAIN" not in path.read_bytes().upper()


def test_a_kept_run_is_reported_again(home: Path, done: Done) -> None:
    again = home.parent / "again"
    code, told = leadglass(home, "comply", "report", "--run", "1", "--out", str(again))
    assert code == 2
    assert told["controls"] == done.told["controls"]
    names = sorted(each.name for each in done.out.iterdir())
    assert sorted(each.name for each in again.iterdir()) == names
    for name in ("report.html", "oscal.json", "sbom.cdx.json", "report.pdf"):
        assert (again / name).read_bytes() == (done.out / name).read_bytes()
    code, told = leadglass(home, "comply", "history")
    assert [each["id"] for each in told["runs"]] == [1]
    code, told = leadglass(home, "comply", "due")
    overdue = {each["what"] for each in told["duties"] if each["is_overdue"]}
    assert code == 2
    assert overdue == {"verification of all images"}


def test_a_drifted_baseline_is_told(home: Path, done: Done) -> None:
    assert leadglass(home, "comply", "baseline")[0] == 0
    settings = home / "leadglass.toml"
    with settings.open("a", encoding="utf-8") as file:
        file.write("\n[find]\nresult_count_max = 123\n")
    code, told = leadglass(home, "comply", "baseline")
    assert (code, told["holds"]) == (2, False)


@pytest.mark.parametrize(
    "arguments",
    [
        ("attest", "CC-01", "--until", "2099-01-01"),  # shown by the node
        ("attest", "CC-99", "--until", "2099-01-01"),
        ("attest", "CC-26", "--until", "2001-01-01"),
        ("attest", "CC-26", "--until", "tomorrow"),
    ],
)
def test_nobody_vouches_for_what_is_shown_or_over(
    home: Path, arguments: tuple[str, ...]
) -> None:
    code, _ = leadglass(
        home,
        *("comply", *arguments, "--document", __file__, "--edition", "1"),
        *("--owner", "nobody"),
    )
    assert code in {2, 4}


# --- experiments that must fail ---------------------------------------------------


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeTwin]:
    folder = tmp_path_factory.mktemp("twin")
    with twin_of(Config.load(folder / "none", {}), folder) as made:
        yield made


class Sabotaged:
    """A twin of which something is not as it should be."""

    def __init__(self, twin: NodeTwin) -> None:
        self._twin = twin

    def __getattr__(self, name: str) -> Any:
        return getattr(self._twin, name)


class OpenWay(Sabotaged):
    def ways(self) -> Sequence[Way]:
        # Everybody is given this one, though it should be for nobody.
        return [Way("GET", "/login", is_public=False)]


class Beside(Sabotaged):
    """A plaintext DICOM listener is where HTTPS should be."""

    @property
    def https_port(self) -> int:
        return PLAIN[0]


PLAIN: list[int] = []


class InTheClear(Sabotaged):
    def settle(self) -> None:
        self._twin.settle()
        found = [
            name
            for each in self._twin.node.parts.audit.list()
            for kind, name in each.event.mentions("")
            if kind == "patient"
        ]
        (self.home / "notes.txt").write_text("\n".join(found), "utf-8")


class NoRecord(Sabotaged):
    def records(self) -> Sequence[Record]:
        return []


class Blind(Sabotaged):
    """Its verification finds nothing, whatever was done."""

    @contextmanager
    def copy_of_log(self) -> Iterator[Any]:
        with self._twin.copy_of_log() as copy:
            yield BlindCopy(copy)


class BlindCopy:
    def __init__(self, copy: Any) -> None:
        self.copy = copy
        self.execute = copy.execute

    def verify(self) -> Report:
        found: Report = self.copy.verify()
        return replace(found, findings=())


class NothingAside(Sabotaged):
    def kept_aside(self) -> int:
        return 0


class NotRevoked(Sabotaged):
    def revoke(self, name: str) -> None:
        """Forget to."""


class Endless(Sabotaged):
    def session_stands(self, cookie: str, at: datetime) -> bool:
        return True


class Rotten(Sabotaged):
    @contextmanager
    def restored(self) -> Iterator[Restored]:
        with self._twin.restored() as found:
            yield replace(found, faults=("a blob is damaged",))


class Unreviewed(Sabotaged):
    def open_reviews(self) -> int:
        return 0


class WrongRole(Sabotaged):
    def person(self, name: str, role: str, *, reaches_nothing: bool = False) -> str:
        return self._twin.person(f"wrong-{name}", "privacy")


class Steady(Sabotaged):
    def fingerprint(self) -> str:
        return "0" * 64


class StillIn(Sabotaged):
    def disable(self, name: str) -> None:
        """Forget to."""


class Given(Sabotaged):
    def person(self, name: str, role: str, *, reaches_nothing: bool = False) -> str:
        return ""


class WrongPassword(Sabotaged):
    def login_of(self, name: str, role: str) -> Login:
        made = self._twin.login_of(f"wrong-{name}", role)
        return Login(made.name, made.password + "!", made.app)


class Lossy(Sabotaged):
    """What was acknowledged is gone after a crash."""

    def kill(self) -> None:
        self._twin.end()
        for path in (self.home / "vault").rglob("*"):
            if path.is_file() and path.stat().st_size:
                path.unlink()
        self._twin.start()


class Left(Sabotaged):
    def erase(self, study: str) -> int:
        return 1


class Talkative(Sabotaged):
    def seers(self, patient: str) -> frozenset[str]:
        return frozenset({"LOOKER", "onlooker", "BYSTANDER"})


class AnyRole(Sabotaged):
    def ways(self) -> Sequence[Way]:
        return [replace(each, right="find") for each in self._twin.ways() if each.right]


class Everybody(Sabotaged):
    """Its record says of everything that the thief did it."""

    def records(self) -> Sequence[Record]:
        return [
            replace(each, data=each.data.replace(b'"SENDER-2"', b'"THIEF"'))
            for each in self._twin.records()
        ]


SABOTAGED: dict[str, Callable[[NodeTwin], Sabotaged]] = {
    "E1": OpenWay,
    "E2": InTheClear,
    "E3": NoRecord,
    "E4": Blind,
    "E5": NothingAside,
    "E6": NotRevoked,
    "E7": Endless,
    "E9": Rotten,
    "E10": Unreviewed,
    "E11": WrongRole,
    "E12": Steady,
    "scan": Beside,
    "roles": AnyRole,
    "who-saw": Talkative,
    "breach": Everybody,
    "termination": StillIn,
    "researcher": Given,
    "second-factor": WrongPassword,
    "erasure": Left,
    "E8": NoRecord,  # may lock the address out
    "crash": Lossy,  # the last: it has no images any more
}


def test_every_experiment_can_fail() -> None:
    assert {*SABOTAGED, "tls"} == {each.name for each in EXPERIMENTS}


@pytest.fixture(scope="module")
def plain_listener(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Serve DICOM as it has been served since 1993: storescp of DCMTK."""
    folder = tmp_path_factory.mktemp("plain")
    with socket.create_server(("127.0.0.1", 0)) as free:
        PLAIN.append(free.getsockname()[1])
    process = subprocess.Popen(
        ["/usr/bin/storescp", "--output-directory", str(folder), str(PLAIN[0])]
    )
    assert comes_true(lambda: is_listening(PLAIN[0]), 30)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def is_listening(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@pytest.mark.usefixtures("plain_listener")
@pytest.mark.parametrize("name", SABOTAGED)
def test_an_experiment_fails_where_something_is_wrong(
    name: str, twin: NodeTwin
) -> None:
    experiment = next(each for each in EXPERIMENTS if each.name == name)
    seen = experiment.run(SABOTAGED[name](twin))
    assert seen.verdict is Verdict.FAIL
    assert seen.faults


@contextmanager
def weak_listener(proof: Proof) -> Iterator[int]:
    """Give the port of a listener that takes every version and suite there is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(proof.certificate, proof.key)
    context.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    sock = server.accept()[0]
                except OSError:
                    return
                with (
                    suppress(OSError),
                    sock,
                    context.wrap_socket(sock, server_side=True),
                ):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize(
    ("version", "suites"),
    [
        (ssl.TLSVersion.TLSv1, "ALL:COMPLEMENTOFALL"),
        (ssl.TLSVersion.TLSv1_1, "ALL:COMPLEMENTOFALL"),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-SHA"),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-NULL-SHA"),
    ],
)
def test_old_and_weak_tls_is_seen_where_it_is_taken(
    weakling: tuple[int, Proof], version: ssl.TLSVersion, suites: str
) -> None:
    port, proof = weakling
    assert shakes_hands(port, proof, version, suites)


@pytest.fixture(scope="module")
def weakling(twin: NodeTwin) -> Iterator[tuple[int, Proof]]:
    proof = twin.enrol("WEAK")
    with weak_listener(proof) as port:
        yield port, proof
