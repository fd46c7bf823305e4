"""Serves a node in a process of its own: ``python -m tests.support.serve HOME``.

Prints one line, ``HOST:PORT``, once it listens; ends in good order on SIGTERM. All
that there is to log goes into the file that ``TESTS_LOG_FILE`` names, if it does.
"""

import logging
import os
import sys
from pathlib import Path

from leadglass.app import Node, Ready, serve
from leadglass.config import Config


def _ready(ready: Ready) -> None:
    host, port = ready.dimse
    plain = ready.unsafe_plaintext
    also = f"{plain[0]}:{plain[1]}" if plain else "-"
    web = f"{ready.https[0]}:{ready.https[1]}" if ready.https else "-"
    sys.stdout.write(f"{host}:{port} {also} {web}\n")
    sys.stdout.flush()


_LOG_FILE = "TESTS_LOG_FILE"


def main() -> None:
    if _LOG_FILE in os.environ:
        logging.basicConfig(
            filename=os.environ[_LOG_FILE],
            level=logging.DEBUG,
            format="%(asctime)s %(levelname)s %(name)s %(message)s",
        )
    home = Path(sys.argv[1])
    overrides = dict(pair.split("=", 1) for pair in sys.argv[2:])
    anywhere = {"dimse.listen": "127.0.0.1:0", "https.listen": "127.0.0.1:0"}
    config = Config.load(home, os.environ, anywhere | overrides)
    with Node.open(config) as node:
        serve(node, on_ready=_ready)


if __name__ == "__main__":
    main()
