"""``leadglass keys``: the master key and the keyring."""

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from leadglass.app import Node, master_key_of
from leadglass.archive.keeping import Keeper
from leadglass.cli.answers import Answer, counted
from leadglass.cli.failures import UsageError
from leadglass.cli.session import Session
from leadglass.config import Config
from leadglass.errors import Damaged, Unavailable
from leadglass.vault.keys import KeyFile, MasterKey, PassphraseFile

_SECRET_MODE = 0o600


def show(session: Session) -> Answer:
    """Show where keys are; never a key."""
    config = session.config
    with Node.open(config) as node:
        count = sum(1 for _ in node.keyring.key_ids())
        data = {
            "source": config.keys.source,
            "master_key": place_of(config),
            "generation": node.keyring.generation,
            "study_keys": count,
            "rotation_is_unfinished": node.keyring.rotation_is_unfinished,
        }
    return Answer(
        data=data,
        text=tuple(
            f"{name.replace('_', ' ')}: {_word(value)}" for name, value in data.items()
        ),
    )


def _word(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def place_of(config: Config) -> str:
    """Return where the master key comes from, as an operator would look for it."""
    match config.keys.source:
        case "file":
            return str(config.master_key_file)
        case "passphrase":
            return str(config.passphrase_file)
        case _:
            return f"systemd credential {config.keys.credential}"


def rotate(session: Session) -> Answer:
    """Change the master key."""
    config = session.config
    with Node.open(config) as node:
        new, install, todo = _successor(config, session.arguments.new_secret_file)
        rotation = Keeper(node.parts, node.authority).rotate(
            node.operator, new, install
        )
    damaged = len(rotation.damaged)
    lines = [
        (
            f"{counted(rotation.rewrapped, 'study key')} wrapped anew; generation "
            f"{rotation.generation}; a running node takes it within two seconds"
        ),
        (
            f"back up the new master key: {place_of(config)}; old backups still need "
            "the old one"
        ),
    ]
    if todo:
        lines.append(f"now: {todo}")
    if damaged:
        lines.append(f"{counted(damaged, 'study key')} cannot be read; restore them")
    return Answer(
        data={**asdict(rotation), "damaged": damaged, "todo": todo},
        text=tuple(lines),
        exit_code=Damaged.exit_code if damaged else 0,
    )


def _successor(
    config: Config, file: str | None
) -> tuple[MasterKey, Callable[[], None] | None, str | None]:
    """Return the new master key, what installs it, and what a person must do."""
    master = master_key_of(config)
    if isinstance(master, KeyFile):
        if file:
            raise UsageError(
                "--new-secret-file is not for key files",
                "leave it out: a new key is made",
            )
        return master.stage(), master.install, None
    if not file:
        raise UsageError(
            "--new-secret-file is missing",
            "name a file (mode 0600) with the new passphrase or key",
        )
    path = Path(file).absolute()
    if not isinstance(master, PassphraseFile):
        todo = f"put {path} in the place of the credential {config.keys.credential}"
        return KeyFile(path, outside=config.home), None, todo
    if not master.path.is_file():  # a descriptor, from something that has it
        return PassphraseFile(path), None, "give the new passphrase from now on"
    return PassphraseFile(path), lambda: _replace(path, master.path), None


def _replace(source: Path, target: Path) -> None:
    """Put a passphrase file in the place of another, durably."""
    draft = target.with_name(f"{target.name}.new")
    try:
        draft.unlink(missing_ok=True)
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _SECRET_MODE)
        try:
            os.write(file, source.read_bytes())
            os.fsync(file)
        finally:
            os.close(file)
        draft.replace(target)
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise Unavailable(f"the passphrase file: {error.strerror}") from error
