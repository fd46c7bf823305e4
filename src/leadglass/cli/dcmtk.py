"""Command lines of DCMTK that work with a device's files as they stand.

Debian 12 has DCMTK 3.6.7: echoscu, storescu and findscu speak TLS; dcmsend, getscu
and movescu do not, and go through stunnel.
"""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from leadglass.access.rights import Right
from leadglass.cli.answers import indented

CREDENTIALS: Final = ("key.pem", "cert.pem", "ca.pem")
_TUNNEL: Final = ("127.0.0.1", 11112)


@dataclass(frozen=True, slots=True)
class _Tool:
    """One program: what right it needs, what stands before and behind the address."""

    name: str
    right: Right
    options: str = ""
    operands: str = ""
    has_tls: bool = False


_STUDY: Final = "-k QueryRetrieveLevel=STUDY -k StudyInstanceUID"
_TOOLS: Final = (
    _Tool("echoscu", Right.ECHO, has_tls=True),
    _Tool("storescu", Right.STORE, "-R -nh +sd +r", "FOLDER", has_tls=True),
    _Tool("findscu", Right.FIND, f"-S {_STUDY} -k StudyDate", has_tls=True),
    _Tool("dcmsend", Right.STORE, "+sd +r", "FOLDER"),
    _Tool("getscu", Right.GET, f"-S {_STUDY}=UID"),
    _Tool("movescu", Right.MOVE, f"-S -aem DESTINATION {_STUDY}=UID"),
)


@dataclass(frozen=True, slots=True)
class Peers:
    """Who calls whom.

    Attributes:
        calling: AE title of the device.
        called: AE title of the node.
        host: Where the node listens.
        port: Its port.
        folder: Where the device's files are; ``None``: it has no TLS.
    """

    calling: str
    called: str
    host: str
    port: int
    folder: Path | None


def command_lines(peers: Peers, rights: frozenset[Right]) -> Iterator[str]:
    """Yield what to type for each thing that the device may."""
    tools = [each for each in _TOOLS if each.right in rights]
    direct = [each for each in tools if each.has_tls or peers.folder is None]
    tunnelled = [each for each in tools if each not in direct]
    if direct:
        yield "With DCMTK:"
        yield from indented(
            _line(each, peers, (peers.host, peers.port)) for each in direct
        )
    if tunnelled and peers.folder is not None:
        names = ", ".join(each.name for each in tunnelled)
        yield f"Debian's {names}: built without TLS; stunnel gives it to them:"
        yield f"  {_stunnel(peers, peers.folder)}"
        yield from indented(_line(each, peers, _TUNNEL) for each in tunnelled)


def _line(tool: _Tool, peers: Peers, address: tuple[str, int]) -> str:
    words = [tool.name]
    if tool.has_tls and peers.folder is not None:
        key, certificate, authority = _quoted(peers.folder)
        words += ["+tls", key, certificate, "+cf", authority]
    words += ["-aet", shlex.quote(peers.calling), "-aec", shlex.quote(peers.called)]
    words += [tool.options, address[0], str(address[1]), tool.operands]
    return " ".join(word for word in words if word)


def _stunnel(peers: Peers, folder: Path) -> str:
    """Return what starts a tunnel that only this machine can enter."""
    host = f"[{peers.host}]" if ":" in peers.host else peers.host
    files = (str(folder / name) for name in CREDENTIALS)
    lines = [
        "foreground=yes",
        "pid=",
        "[dicom]",
        "client=yes",
        "accept={}:{}".format(*_TUNNEL),
        f"connect={host}:{peers.port}",
        *map("{}={}".format, ("key", "cert", "CAfile"), files),
        "verifyChain=yes",
    ]
    config = shlex.quote(str(folder / "stunnel.conf"))
    return f"printf '%s\\n' {shlex.join(lines)} > {config} && stunnel {config}"


def _quoted(folder: Path) -> Iterator[str]:
    return (shlex.quote(str(folder / name)) for name in CREDENTIALS)
