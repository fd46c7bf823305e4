"""What this program is made of, and which versions advisories name."""

import platform
import re
import ssl
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from importlib import metadata
from typing import Any, Final

from leadglass import __version__

# When the list below was last gone through; older than this it says nothing.
AS_OF: Final = date(2026, 11, 23)
AGE_MAX: Final = timedelta(days=183)
# Component, first version that is not affected, advisory.
ADVISORIES: Final = (
    ("cryptography", "42.0.4", "CVE-2024-26130"),
    ("cryptography", "43.0.1", "GHSA-h4gh-qq45-vh27"),
    ("jinja2", "3.1.6", "CVE-2025-27516"),
    ("pydicom", "3.0.2", "CVE-2026-32711"),
    ("python", "3.11.0", "end of life"),
    ("openssl", "3.0.0", "end of life"),
)
_NUMBER: Final = re.compile(r"\d+")
_NAME: Final = re.compile(r"[-_.]+")


def components() -> tuple[tuple[str, str], ...]:
    """Return name and version of everything that is installed beside this program."""
    found = {
        _NAME.sub("-", each.metadata["Name"]).lower(): each.version
        for each in metadata.distributions()
        if each.metadata["Name"]
    }
    found |= {
        "leadglass": __version__,
        "openssl": ssl.OPENSSL_VERSION.split()[1],
        "python": platform.python_version(),
    }
    return tuple(sorted(found.items()))


def affected(listed: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield what of these components an advisory names."""
    for name, version in listed:
        for concerned, fixed, advisory in ADVISORIES:
            if name == concerned and _order(version) < _order(fixed):
                yield f"{name} {version}: {advisory}, fixed in {fixed}"


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(each) for each in _NUMBER.findall(version)[:4])


def bill_of_materials(listed: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return a CycloneDX 1.5 document (ECMA-424) of these components."""
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": "leadglass",
                "name": "leadglass",
                "version": __version__,
            }
        },
        "components": [
            {
                "type": "library",
                "bom-ref": f"pkg:{_KINDS.get(name, 'pypi')}/{name}@{version}",
                "name": name,
                "version": version,
                "purl": f"pkg:{_KINDS.get(name, 'pypi')}/{name}@{version}",
            }
            for name, version in listed
            if name != "leadglass"
        ],
    }


_KINDS: Final = {"python": "generic", "openssl": "generic"}
