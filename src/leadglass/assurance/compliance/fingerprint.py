"""One number for how a node is set: settings and rules, whoever wrote them."""

import hashlib
import json
from pathlib import Path
from typing import Any, Final

from leadglass.config import Config, settings

# Say where things are, not how the node behaves: a moved folder is no drift.
_PLACES: Final = frozenset({"log"})
_RULES_BYTES_MAX: Final = 16 * 1024 * 1024


def of(config: Config, rules: Path) -> str:
    """Return the fingerprint of the effective settings and the rule file, hex.

    Args:
        config: As the node reads it.
        rules: The rule file; there need be none.
    """
    effective: dict[str, Any] = {
        each.name: config.value(each)
        for each in settings()
        if each.section not in _PLACES
    }
    text = b""
    if rules.is_file():
        with rules.open("rb") as file:
            text = file.read(_RULES_BYTES_MAX)
    told = json.dumps(
        {"settings": effective, "rules": hashlib.sha256(text).hexdigest()},
        sort_keys=True,
        default=str,
    )
    return hashlib.sha256(told.encode()).hexdigest()
