"""All experiments, by the names that the controls know."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from leadglass.assurance.compliance.experiments import (
    doors,
    images,
    people,
    record,
    running,
    strangers,
)
from leadglass.assurance.compliance.probe import Seen
from leadglass.assurance.compliance.twin import Twin


@dataclass(frozen=True, slots=True)
class Experiment:
    """One experiment.

    Attributes:
        name: ``E1`` to ``E12``, or a word.
        title: What is done, in a line.
        expected: What must come of it.
        run: Does it.
    """

    name: str
    title: str
    expected: str
    run: Callable[[Twin], Seen]


EXPERIMENTS: Final = tuple(
    Experiment(*row)
    for row in (
        (
            "E1",
            "Knock at every door from outside, with nothing",
            "every association, handshake and request is turned away",
            strangers.outside,
        ),
        (
            "E2",
            "Store a canary and look for it in the raw bytes of the data folder",
            "nothing of it is found in the clear",
            images.at_rest,
        ),
        (
            "E3",
            "Do acts of each kind and look for their records",
            "each is on the record, with who, what, when, where and whom",
            record.completeness,
        ),
        (
            "E4",
            "Change a copy of the record in every way there is",
            "verification finds each change",
            record.tampering,
        ),
        (
            "E5",
            "Send other bytes under a known SOP Instance UID",
            "the original stays, the other is kept aside, and it is on the record",
            images.overwriting,
        ),
        (
            "E6",
            "Come with wrong certificates, from wrong places, by wrong titles",
            "each is refused, and refusals are on the record",
            strangers.wrong_proofs,
        ),
        (
            "E7",
            "Leave a session alone, under a test clock",
            "it ends after the time that is set, an hour at most",
            people.logoff,
        ),
        (
            "E9",
            "Back up, restore elsewhere, verify everything",
            "the backup is noise, the restored archive is whole",
            images.restoring,
        ),
        (
            "E10",
            "Break the glass",
            "refused without a reason, granted with one, recorded, to be reviewed",
            people.broken_glass,
        ),
        (
            "E11",
            "Send files that harm careless programs",
            "refused or made harmless; the node goes on",
            images.bad_files,
        ),
        (
            "E12",
            "Change a rule behind the program's back",
            "the fingerprint of the settings shows it",
            running.drift,
        ),
        (
            "scan",
            "Scan both doors from outside, judged as if the Internet reached them",
            "nothing medium or worse is found",
            strangers.scanned,
        ),
        (
            "tls",
            "Offer each door old versions of TLS and weak suites",
            "TLS 1.2 and 1.3 with the suites of PS3.15 B.12, and nothing else",
            doors.tls,
        ),
        (
            "roles",
            "As each role, ask for everything that can be read",
            "what the role has no right to is refused",
            doors.roles,
        ),
        (
            "who-saw",
            "Let some look at a patient and others not, and ask who did",
            "exactly those are named",
            record.who_saw,
        ),
        (
            "breach",
            "Let a device fetch one of two patients, and bound what it got",
            "exactly that patient is concerned",
            record.bounding,
        ),
        (
            "termination",
            "Disable somebody who is at work",
            "the next request is refused",
            people.termination,
        ),
        (
            "researcher",
            "Ask for the account of a researcher",
            "there is none while nothing removes identities: nothing can be released",
            people.researcher,
        ),
        (
            "second-factor",
            "Log in with a right password alone, as each role",
            "a second proof is asked for, and no session begins",
            people.second_factor,
        ),
        (
            "crash",
            "End the node in the middle of its work",
            "what was acknowledged is there afterwards",
            running.crash,
        ),
        (
            "erasure",
            "Erase a study",
            "its key and files are gone, and nobody finds it",
            running.erasure,
        ),
        # The last: it may lock out the address that all come from.
        (
            "E8",
            "Guess a password",
            "guessing is slowed down, tells nothing, and is on the record",
            strangers.guessing,
        ),
    )
)
