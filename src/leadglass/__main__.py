"""``python -m leadglass`` is ``leadglass``."""

import sys

from leadglass.cli import main

if __name__ == "__main__":
    sys.exit(main())
