"""The command line: one file per command, each loaded only when it is called.

``commands`` is the table of everything that can be typed; parser, help and the
reference page are made from it. A command's function takes a ``Session`` and gives
back an ``Answer``; ``main`` alone prints, and turns errors into exit codes.
"""

import gc
import importlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from leadglass.cli.failures import (
    INTERRUPTED,
    PIPE_CLOSED,
    UsageError,
    failure_of,
    tell,
)
from leadglass.cli.parser import parse

# Whatever a command writes (keys, exported images) is its owner's alone.
_UMASK = 0o077


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code (see docs/reference/exit-codes.md)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # What was asked for is needed before parsing: a usage error has a form too.
    as_json = "--json" in given
    os.umask(_UMASK)
    try:
        return _run(given)
    except SystemExit as ended:  # --help and --version
        return int(ended.code or 0)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read us has enough; Python must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except Exception as error:  # noqa: BLE001  # the last line of defence
        return tell(failure_of(error), as_json=as_json)


def _run(given: list[str]) -> int:
    command, arguments = parse(given)
    if command is None:
        raise UsageError("no command given", "leadglass --help lists them")
    # Only now what the command needs: `leadglass --help` must answer at once.
    module_name, _, function = command.handler.partition(":")
    with _ending_at_once(), _without_collections():
        session_module = importlib.import_module("leadglass.cli.session")
        module = importlib.import_module(f"leadglass.cli.{module_name}")
    session = session_module.Session.of_process(arguments)
    answer = getattr(module, function)(session)
    if answer is not None:
        session.say(answer)
    sys.stdout.flush()
    return 0 if answer is None else int(answer.exit_code)


@contextmanager
def _ending_at_once() -> Iterator[None]:
    """Let Ctrl-C end the process itself while modules are loaded.

    Nothing is open yet. An exception could be raised where nobody can catch it, as
    in a callback of the import system, which prints it and goes on.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:  # ignored, or the caller's affair
        yield
        return
    signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _without_collections() -> Iterator[None]:
    """Load modules without looking for garbage: there is none, and it takes a quarter.

    What is loaded stays to the end; the collector need not look at it again.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
