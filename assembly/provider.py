"""Get the OpenID provider of the tests: ``python assembly/provider.py FOLDER``.

It is npm's ``oidc-provider`` (MIT), with what it needs, all by the hashes of
``tests/peers/openid/package-lock.json``. It is no part of Leadglass and of no wheel:
the tests start it as a foreign peer to log in with. No script of a package is run
while it is installed.
"""

import shutil
import sys
from pathlib import Path

from viewer import npm

SOURCE = Path(__file__).parent.parent / "tests/peers/openid"


def main() -> None:
    """Install it where the command line says."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(SOURCE / name, folder / name)
    npm("ci", "--ignore-scripts", "--no-audit", "--no-fund", folder=folder)


if __name__ == "__main__":
    main()
