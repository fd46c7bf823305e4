"""What rights, roles and kinds of subjects are called on the pages."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from leadglass.access.policy import Kind
from leadglass.access.rights import Right
from leadglass.servers.web.pages import N_

RIGHTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        Right.ECHO: N_("ask whether the node is there"),
        Right.STORE: N_("store images"),
        Right.FIND: N_("find studies"),
        Right.MOVE: N_("have images sent to a device"),
        Right.GET: N_("fetch images"),
        Right.ERASE: N_("destroy studies"),
        Right.EXPORT: N_("write images to media"),
        Right.IMPORT: N_("read images from media"),
        Right.ADMINISTER: N_("run the node: users, devices, rules"),
        Right.AUDIT: N_("read the audit record"),
        Right.VIEW: N_("look at images"),
        Right.BREAK_GLASS: N_("break the glass"),
        Right.REVIEW: N_("review broken glass"),
        "monitor": N_("read the figures of the running node"),
    }
)

# As the roles say it of themselves; a test keeps them equal.
ROLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "administrator": N_(
            "runs the node: users, devices, rules, keys; sees no images"
        ),
        "radiologist": N_("reads and reports studies"),
        "technologist": N_("acquires studies, and checks what was stored"),
        "referring": N_("sees the studies of the own patients"),
        "researcher": N_("sees studies without identities"),
        "privacy": N_(
            "reads the audit record and reviews broken glass; sees no images"
        ),
        "monitor": N_("a program that watches the node; sees figures, and no images"),
        "service": N_("a program that stores and reads studies"),
    }
)

KINDS: Final[Mapping[Kind, str]] = MappingProxyType(
    {
        Kind.OPERATOR: N_("person"),
        Kind.DEVICE: N_("device"),
        Kind.EXCEPTION: N_("device without TLS"),
        Kind.SERVICE: N_("program"),
    }
)
