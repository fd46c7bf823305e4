"""All checks, in the order in which they are made.

What may get the scanner shut out (AE-05, WEB-16) comes last: it would spoil the rest.
"""

from typing import Final

from leadglass.assurance.exposure.checks.association import ASSOCIATION
from leadglass.assurance.exposure.checks.check import Check
from leadglass.assurance.exposure.checks.dimse import DIMSE
from leadglass.assurance.exposure.checks.exposed import EXPOSED
from leadglass.assurance.exposure.checks.network import NETWORK
from leadglass.assurance.exposure.checks.product import PRODUCT
from leadglass.assurance.exposure.checks.tls import TLS
from leadglass.assurance.exposure.checks.web import WEB

# The groups as the reference page shows them.
GROUPS: Final = (
    ("Network", NETWORK),
    ("TLS", TLS),
    ("Association", ASSOCIATION),
    ("DIMSE", DIMSE),
    ("Web", WEB),
    ("Product", PRODUCT),
    ("Exposed data", EXPOSED),
)
_LAST: Final = ("WEB-08", "WEB-09", "WEB-16", "AE-05")
CHECKS: Final[tuple[Check, ...]] = tuple(
    sorted(
        (check for _, checks in GROUPS for check in checks),
        key=lambda each: _LAST.index(each.id) + 1 if each.id in _LAST else 0,
    )
)
