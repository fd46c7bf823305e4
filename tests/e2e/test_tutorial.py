"""The tutorials' commands are run as they stand, in a shell, with DCMTK and curl.

A block of ``sh`` is run; ``<!-- refused -->`` before it says that its last command
must fail, ``<!-- in the background -->`` that it serves until the end. Blocks of
``console`` install software and are not run. Only the ports are others.
"""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TUTORIALS = ROOT / "docs" / "tutorial"
SCANNER, QUERY = TUTORIALS / "first-scanner.md", TUTORIALS / "first-query.md"
DIMSE, HTTPS = "2762", "8443"  # as the pages have them
COMMAND_TIMEOUT_S = 120
STOP_TIMEOUT_S = 60

_BLOCK = re.compile(r"(?:<!-- ([a-z ]+) -->\n)?```sh\n(.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Block:
    mark: str
    text: str


def blocks(page: Path) -> list[Block]:
    return [Block(*found.groups("")) for found in _BLOCK.finditer(page.read_text())]


def free_port() -> str:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return str(sock.getsockname()[1])


def programs(folder: Path) -> Path:
    """Make a folder with what the page calls; Debian's DCMTK is behind it.

    The environment of the tests has programs of pynetdicom by the same names.
    """
    folder.mkdir()
    for name, call in {
        "leadglass": f"{sys.executable} -m leadglass",
        "python3": sys.executable,
    }.items():
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec {call} "$@"\n')
        script.chmod(0o755)
    return folder


class Reader:
    """Two terminals in one folder."""

    def __init__(self, folder: Path) -> None:
        self.ports = {DIMSE: free_port(), HTTPS: free_port()}
        self.folder = folder / "reader"
        self.folder.mkdir()
        self.environment = {
            "PATH": f"{programs(folder / 'bin')}:/usr/bin:/bin",
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(ROOT / "src"),
            "LEADGLASS_DIMSE_LISTEN": f"127.0.0.1:{self.ports[DIMSE]}",
            "LEADGLASS_HTTPS_LISTEN": f"127.0.0.1:{self.ports[HTTPS]}",
        }
        self.serving: subprocess.Popen[str] | None = None
        self.said: list[str] = []

    def run(self, block: Block) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", self._typed(block)],
            check=False,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
        )

    def begin(self, block: Block) -> None:
        """Start what serves; return once it says what to type next."""
        self.serving = subprocess.Popen(
            ["bash", "-euc", f"exec {self._typed(block).strip()}"],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.serving.stdout is not None
        for line in self.serving.stdout:
            self.said.append(line)
            if line.startswith("Next:"):
                return
        pytest.fail(f"it ended: {self.said}")

    def stop(self) -> int:
        """Press Ctrl-C."""
        assert self.serving is not None
        self.serving.send_signal(signal.SIGINT)
        code = self.serving.wait(STOP_TIMEOUT_S)
        assert self.serving.stdout is not None
        self.serving.stdout.close()
        self.serving = None
        return code

    def remember(self, block: Block) -> None:
        """Take over what the reader is told to export in each terminal."""
        for name, value in re.findall(
            r'^export (\w+)="(.*)"$', self._typed(block), re.MULTILINE
        ):
            self.environment[name] = value.replace("$PWD", str(self.folder))

    def _typed(self, block: Block) -> str:
        text = block.text
        for written, used in self.ports.items():
            text = re.sub(rf"\b{written}\b", used, text)
        return text

    def follow(self, page: Path) -> str:
        """Type all of a page; return what was said."""
        output = ""
        for block in blocks(page):
            self.remember(block)
            if block.mark == "in the background":
                self.begin(block)
                continue
            ended = self.run(block)
            was_refused = ended.returncode != 0
            assert was_refused == (block.mark == "refused"), (
                f"{block.text}\n{ended.stdout}"
            )
            output += ended.stdout
        return output


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    found = Reader(tmp_path)
    yield found
    if found.serving is not None:
        found.serving.kill()
        found.serving.wait()
        if found.serving.stdout is not None:
            found.serving.stdout.close()


def test_every_command_of_the_tutorial(reader: Reader) -> None:
    output = reader.follow(SCANNER)
    # What the page says of it.
    assert len(reader.said) == 5
    assert output.count("CompressedSamples^CT1") >= 1  # the name, once asked for
    assert (reader.folder / "ct-study" / "DICOMDIR").is_file()
    assert reader.stop() == 0


def test_every_command_of_the_tutorial_of_dicomweb(reader: Reader) -> None:
    output = reader.follow(QUERY)
    # What the page says of it: one study of two, as stored, and a picture.
    assert output.count('"0020000D"') == 1
    study = (reader.folder / "study.multipart").read_bytes()
    assert study.count(b"DICM") == 1
    assert (reader.folder / "study.png").read_bytes().startswith(b"\x89PNG")
    token = (reader.folder / "reporting.curl").read_text()
    assert "lgt_" in token
    assert token not in output
    assert reader.stop() == 0


@pytest.mark.parametrize(("page", "refused"), [(SCANNER, 4), (QUERY, 5)])
def test_a_tutorial_has_blocks_of_each_kind(page: Path, refused: int) -> None:
    marks = [block.mark for block in blocks(page)]
    assert marks.count("in the background") == 1
    assert marks.count("refused") == refused
    assert marks.count("") >= 7


def test_dcmtk_is_that_of_the_system(reader: Reader) -> None:
    ended = reader.run(Block("", "command -v storescu findscu echoscu"))
    assert set(ended.stdout.split()) == {
        f"/usr/bin/{name}" for name in ("storescu", "findscu", "echoscu")
    }
    assert os.access("/usr/bin/storescu", os.X_OK)
