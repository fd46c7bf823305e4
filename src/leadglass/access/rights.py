"""What can be asked for, whichever door the question comes through."""

from enum import StrEnum


class Right(StrEnum):
    """One thing that a rule can allow."""

    ECHO = "echo"  # Verification, PS3.4 Annex A
    STORE = "store"  # Storage as sender to us, PS3.4 Annex B
    FIND = "find"  # Query, PS3.4 C.4.1
    MOVE = "move"  # Retrieve to a third party, PS3.4 C.4.2
    GET = "get"  # Retrieve to itself, PS3.4 C.4.3
    ERASE = "erase"  # destroy a study and its key
    EXPORT = "export"  # write instances to media
    IMPORT = "import"  # read instances from media
    ADMINISTER = "administer"  # devices, rules, keys
    AUDIT = "audit"  # read and prove the audit record
    VIEW = "view"  # look at images: metadata, frames, rendered (PS3.18 §10.4)
    BREAK_GLASS = "break_glass"  # reach one patient beyond one's scope, for a reason
    REVIEW = "review"  # judge what others did by breaking the glass
    MONITOR = "monitor"  # read the figures of the running node


# What a device may be given. The others are acts of people, whom a certificate in
# the hands of a machine does not name.
DEVICE_RIGHTS = frozenset({Right.ECHO, Right.STORE, Right.FIND, Right.MOVE, Right.GET})

# What a program with a token may be given: a device's, and what it reads unattended.
# Never what changes who may do what, destroys, or needs a person to answer for it.
PROGRAM_RIGHTS = DEVICE_RIGHTS | {Right.VIEW, Right.AUDIT, Right.MONITOR}
