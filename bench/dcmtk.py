"""DCMTK's programs: the clients of all measurements, and storescp beside us."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from bench.certificates import Identity
from bench.process import LOOPBACK, BenchError

OWN_AE_TITLE = "BENCH"
DESTINATION_AE_TITLE = "BENCHDEST"


@cache
def program(name: str) -> str:
    """Return the path of a DCMTK program.

    Python packages bring programs of the same names, in the folder of the
    interpreter: those are passed over.
    """
    own = Path(sys.executable).parent
    folders = [
        folder
        for folder in ("/usr/local/bin", "/usr/bin", "/bin")
        if Path(folder).resolve() != own.resolve()
    ]
    found = shutil.which(name, path=":".join(folders))
    if found is None:
        message = f"DCMTK's {name} is missing: make bench installs it"
        raise BenchError(message)
    return found


@cache
def version() -> str:
    out = subprocess.run(
        [program("storescu"), "--version"], capture_output=True, text=True, check=True
    ).stdout
    return out.split()[2].removeprefix("v")


def tls(identity: Identity | None) -> list[str]:
    """Return the options that make a program speak mutual TLS, or none."""
    if identity is None:
        return []
    return [
        *("+tls", str(identity.key), str(identity.certificate)),
        *("+cf", str(identity.authority)),
    ]


def _call(name: str, called: str, port: int, identity: Identity | None) -> list[str]:
    titles = ["-aet", OWN_AE_TITLE, "-aec", called]
    return [program(name), *titles, *tls(identity), LOOPBACK, str(port)]


def storescu(
    called: str, port: int, identity: Identity | None, sources: Sequence[Path]
) -> list[str]:
    """Return the command that sends files, or all files of folders."""
    command = _call("storescu", called, port, identity)
    scan = ["+sd", "+r"] if sources[0].is_dir() else []
    return [*command[:1], *scan, *command[1:], *map(str, sources)]


def _retrieve(name: str, called: str, port: int, study: str) -> list[str]:
    command = _call(name, called, port, None)
    keys = ["-S", "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}"]
    return [*command[:1], *keys, *command[1:]]


def getscu(called: str, port: int, study: str, into: Path | None) -> list[str]:
    """Return the command that gets a study, to a folder or to nowhere."""
    command = _retrieve("getscu", called, port, study)
    where = ["--ignore"] if into is None else ["+B", "-od", str(into)]
    return [*command[:1], *where, *command[1:]]


def movescu(called: str, port: int, study: str) -> list[str]:
    command = _retrieve("movescu", called, port, study)
    return [*command[:1], "-aem", DESTINATION_AE_TITLE, *command[1:]]


def echoscu(called: str, port: int, identity: Identity | None) -> list[str]:
    return _call("echoscu", called, port, identity)


def storescp(
    port: int, identity: Identity | None, into: Path | None, *, is_forking: bool = False
) -> list[str]:
    """Return the command of a receiver that keeps files as received, or nothing."""
    where = ["--ignore"] if into is None else ["+B", "-od", str(into)]
    fork = ["--fork"] if is_forking else []
    return [program("storescp"), *where, *fork, *tls(identity), str(port)]
