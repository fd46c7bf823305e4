"""One run of one command: its arguments, its settings, its terminal."""

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TextIO

from leadglass.cli.answers import Answer, show
from leadglass.cli.failures import UsageError
from leadglass.cli.logs import start_logging
from leadglass.config import HOME_VARIABLE, Config, home_folder


@dataclass
class Session:
    """What a command gets.

    Attributes:
        arguments: As the parser gives them.
        environ: The environment's variables.
        stdin: Where confirmations are read from.
        stdout: Where answers go.
    """

    arguments: argparse.Namespace
    environ: Mapping[str, str]
    stdin: TextIO
    stdout: TextIO

    @classmethod
    def of_process(cls, arguments: argparse.Namespace) -> "Session":
        """Return the session of this process."""
        return cls(arguments, dict(os.environ), sys.stdin, sys.stdout)

    @cached_property
    def home(self) -> Path:
        """The data folder: ``--home``, else ``LEADGLASS_HOME``, else the user's."""
        named = self.arguments.home
        return home_folder(
            {**self.environ, HOME_VARIABLE: named} if named else self.environ
        )

    @cached_property
    def config(self) -> Config:
        """The settings; short commands log warnings only."""
        return self.load()

    def load(
        self,
        overrides: Mapping[str, object] = MappingProxyType({}),
        *,
        is_serving: bool = False,
    ) -> Config:
        """Read the settings.

        Raises:
            Misconfigured: All that is wrong with them.
        """
        config = Config.load(self.home, self.environ, overrides)
        start_logging(config.log, least="" if is_serving else "warning")
        return config

    @property
    def as_json(self) -> bool:
        """Whether a script reads the answer."""
        return bool(self.arguments.json)

    def say(self, answer: Answer) -> None:
        """Print an answer."""
        show(answer, self.stdout, as_json=self.as_json)

    def confirm(self, question: str, expected: str) -> None:
        """Let a person type ``expected`` before something that cannot be undone.

        Raises:
            UsageError: Something else was typed, or nobody is there to type.
        """
        if self.as_json or not self.stdin.isatty():
            raise UsageError(
                "this cannot be undone, and nobody is here to be asked",
                "add --yes to say that it is meant",
            )
        sys.stderr.write(f"{question}\nType {expected} to go on: ")
        sys.stderr.flush()
        if self.stdin.readline().strip() != expected:
            raise UsageError("nothing was done", f"type {expected} when it is meant")
