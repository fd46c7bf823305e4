"""The composition root: made once or again, opened or refused, served and stopped."""

import gc
import shutil
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from leadglass.app import Jobs, Layout, Node, Ready, origins, serve
from leadglass.archive.doors import Doorkeeper
from leadglass.audit.codes import EventType
from leadglass.audit.search import Search
from leadglass.config import Config
from leadglass.errors import LeadglassError, Misconfigured, Unavailable
from leadglass.vault.keys import KeyFile

WAIT_S = 60.0


def config_of(home: Path, **settings: str) -> Config:
    anywhere = {"dimse.listen": "127.0.0.1:0", "https.listen": "127.0.0.1:0"}
    overrides = anywhere | {
        name.replace("__", "."): value for name, value in settings.items()
    }
    return Config.load(home, {}, overrides)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    Node.init(config_of(folder / "home"))
    return folder


@pytest.fixture
def home(made_once: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "node"
    shutil.copytree(made_once, folder)
    return folder / "home"


# --- init ------------------------------------------------------------------------


def test_init_makes_a_node_and_tells_the_secret_once(tmp_path: Path) -> None:
    config = config_of(tmp_path / "home")
    first = Node.init(config)
    assert first.created
    assert first.one_time_secret
    assert first.one_time_secret not in repr(Node.init(config))
    again = Node.init(config)
    assert (again.created, again.one_time_secret) == (False, None)
    assert again.administrator == first.administrator
    assert (config.home.stat().st_mode & 0o777) == 0o700
    assert not config.master_key_file.is_relative_to(config.home)


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


# What each step makes, from the last to the first: a crash leaves those before it.
STEPS: list[Callable[[Layout], list[Path]]] = [
    lambda layout: list(layout.home.glob("database*")),
    lambda layout: [layout.authority],
    lambda layout: [layout.vault],
    lambda layout: [layout.keys],
    lambda layout: [layout.checkpoints, layout.imports],
    lambda layout: [layout.home],
]


@pytest.mark.parametrize("count", range(1, len(STEPS) + 1))
def test_init_goes_on_after_a_crash_at_each_step(home: Path, count: int) -> None:
    config, layout = config_of(home), Layout(home)
    for step in STEPS[:count]:
        for path in step(layout):
            remove(path)
    made = Node.init(config)
    assert made.one_time_secret  # the administrator was not made before
    assert made.created is (count >= 4)
    with Node.open(config) as node:
        assert node.verify is not None
        assert node.recover() is not None


@pytest.mark.parametrize("left", ["keys/keyring.new", "authority.new/root.pem"])
def test_init_throws_half_made_things_away(home: Path, left: str) -> None:
    layout = Layout(home)
    for step in STEPS[:4]:
        for path in step(layout):
            remove(path)
    half = home / left
    half.parent.mkdir(mode=0o700)
    half.write_bytes(b"half")
    config = config_of(home)
    assert Node.init(config).created
    Node.open(config).close()


def test_init_does_not_take_a_lost_vault_for_a_new_one(home: Path) -> None:
    """A disk that is not mounted must not look like an empty archive."""
    shutil.rmtree(Layout(home).vault)
    with pytest.raises(Misconfigured):
        Node.init(config_of(home))


def test_init_does_not_take_a_lost_keyring_for_a_new_one(home: Path) -> None:
    (Layout(home).keys / "keyring").unlink()
    config = config_of(home)
    with pytest.raises(LeadglassError):
        Node.init(config)


def test_init_where_no_folder_can_be() -> None:
    with pytest.raises(Unavailable, match="cannot be made"):
        Node.init(config_of(Path("/proc/leadglass")))


# --- open ------------------------------------------------------------------------


def test_open_refuses_what_was_not_initialised(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="leadglass init"):
        Node.open(config_of(tmp_path))


def test_open_refuses_another_master_key(home: Path) -> None:
    config = config_of(home)
    config.master_key_file.unlink()
    KeyFile(config.master_key_file, outside=config.home).create()
    with pytest.raises(Misconfigured):
        Node.open(config)


def test_open_refuses_without_a_master_key(home: Path) -> None:
    config = config_of(home)
    config.master_key_file.unlink()
    with pytest.raises(Misconfigured):
        Node.open(config)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o666])
def test_open_refuses_a_master_key_that_others_read(home: Path, mode: int) -> None:
    config = config_of(home)
    config.master_key_file.chmod(mode)
    with pytest.raises(Misconfigured):
        Node.open(config)


@pytest.mark.parametrize("folder", [".", "keys", "vault"])
@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_open_refuses_folders_that_others_write(
    home: Path, folder: str, mode: int
) -> None:
    (home / folder).chmod(mode)
    with pytest.raises(Misconfigured):
        Node.open(config_of(home))


@pytest.mark.parametrize("part", ["database", "vault", "authority"])
def test_open_refuses_when_a_part_is_missing(home: Path, part: str) -> None:
    remove(home / part)
    with pytest.raises(LeadglassError):
        Node.open(config_of(home))


def test_several_may_have_it_open(home: Path) -> None:
    config = config_of(home)
    with Node.open(config) as one, Node.open(config) as other:
        assert one.keyring.derive("x") == other.keyring.derive("x")
    one.close()  # may be repeated


# --- serve ------------------------------------------------------------------------


def served(node: Node) -> Ready:
    """Serve until it is ready, look at it, and stop."""
    stop = threading.Event()
    seen: list[Ready] = []

    def ready(found: Ready) -> None:
        seen.append(found)
        with socket.create_connection(found.dimse, WAIT_S) as sock:
            sock.settimeout(WAIT_S)
            assert sock.recv(1) == b""  # no device is enrolled: not a byte
        stop.set()

    try:
        serve(node, on_ready=ready, stop=stop)
    finally:
        gc.unfreeze()
    return seen[0]


def test_serve_starts_and_stops_and_is_on_the_record(home: Path) -> None:
    with Node.open(config_of(home)) as node:
        ready = served(node)
        assert ready.dimse[0] == "127.0.0.1"
        assert ready.unsafe_plaintext is None
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(ready.dimse, WAIT_S)
        actions = [record.event.types for record in node.audit.list(Search())]
        assert len(actions) >= 2
        assert not [each for each in threading.enumerate() if each.name == "jobs"]
        assert node.audit.verify().is_intact


def test_serve_listens_in_plaintext_only_when_told(home: Path) -> None:
    config = config_of(home, dimse__unsafe_plaintext_listen="127.0.0.1:0")
    with Node.open(config) as node:
        assert served(node).unsafe_plaintext is not None


def test_serve_says_that_an_address_is_taken(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = config_of(home, dimse__listen=f"127.0.0.1:{port}")
        with Node.open(config) as node:
            with pytest.raises(Unavailable):
                served(node)
            *_, started, stopped = node.audit.list(Search())
            assert started.event.types == (EventType.APPLICATION_START,)
            assert stopped.event.types == (EventType.APPLICATION_STOP,)
            assert "cannot listen" in dict(stopped.event.details)["reason"]


# --- jobs -------------------------------------------------------------------------


def test_a_job_that_fails_does_not_stop_the_others(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Node.open(config_of(home)) as node:
        jobs = Jobs(node, Doorkeeper(node.parts, node.devices, node.title))

        def bug() -> None:
            raise ZeroDivisionError

        def down() -> None:
            raise Unavailable("no disk")

        jobs._try(bug)
        jobs._try(down)
        jobs.stop()  # also when it never began
        assert "mistake of ours" in caplog.text
        assert "no disk" in caplog.text


def test_changed_rules_are_taken_and_recorded(home: Path) -> None:
    with Node.open(config_of(home)) as node:
        jobs = Jobs(node, Doorkeeper(node.parts, node.devices, node.title))
        before = len(list(node.audit.list(Search())))
        jobs._reload_rules()
        assert len(list(node.audit.list(Search()))) == before
        node.layout.rules.write_text("# nothing is allowed\n")
        node.layout.rules.chmod(0o600)
        jobs._reload_rules()
        assert len(list(node.audit.list(Search()))) == before + 1
        jobs._expire()
        jobs.stop()


def test_origins_are_our_names_and_those_that_lead_here(tmp_path: Path) -> None:
    settings = {
        "tls.node_names": ("PACS.example", "::1"),
        "https.public_origins": ("https://pacs.example",),
    }
    config = Config.load(tmp_path, {}, settings)
    public = "https://pacs.example"
    assert origins(config, 8443) == (
        "https://pacs.example:8443",
        "https://[::1]:8443",
        public,
    )
    assert origins(config, 443) == (public, "https://[::1]", public)
