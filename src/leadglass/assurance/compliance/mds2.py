"""A manufacturer's disclosure, filled in from the same facts (ANSI/NEMA HN 1-2019).

The form asks some 240 questions in 23 groups. These are the groups' gist in our words,
each with the probes that show it; what no probe shows is said to be left to the owner.
"""

from collections.abc import Mapping
from typing import Any, Final

# Group, what it is about, probes.
_GROUPS: Final = (
    ("MPII", "keeps, shows and sends identified images", ("E2", "who-saw")),
    ("ALOF", "logs off who has left", ("E7",)),
    ("AUDT", "records who did what", ("E3", "E4")),
    ("AUTH", "lets people do what their role allows", ("roles", "separation")),
    ("CSUP", "is updated, and known faults are looked up", ("software",)),
    ("DIDT", "removes identities", ("researcher",)),
    ("DTBK", "is backed up and restored", ("E9",)),
    ("EMRG", "gives access in emergencies", ("E10",)),
    ("IGAU", "notices changed images", ("E5", "integrity")),
    ("MLDP", "withstands malicious files", ("E11",)),
    ("NAUT", "knows the machines it speaks to", ("E6", "register")),
    ("CONN", "opens known ports only", ("listeners", "tls")),
    ("PAUT", "knows the people it serves", ("second-factor", "E8")),
    ("PLOK", "stands behind a lock", ()),
    ("RDMP", "has a plan for its parts", ("software",)),
    ("SBOM", "lists its components", ("inventory",)),
    ("SAHD", "is hardened", ("baseline", "E12")),
    ("SGUD", "comes with guidance", ()),
    ("STCF", "encrypts what it keeps", ("E2", "at-rest", "keys")),
    ("TXCF", "encrypts what it sends", ("tls", "channels")),
    ("TXIG", "protects what it sends from change", ("tls",)),
    ("RMOT", "is serviced from afar", ()),
    ("OTHR", "anything else", ()),
)
_ANSWERS: Final[Mapping[str, str]] = {
    "pass": "Yes",
    "fail": "No",
    "not covered": "See notes",
}


def sheet(kept: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of the sheet for a run."""
    verdicts = {each["probe"]: each["verdict"] for each in kept["observations"]}
    rows = []
    for group, about, probes in _GROUPS:
        found = {verdicts.get(each, "not covered") for each in probes}
        worst = next(
            (each for each in ("fail", "not covered", "pass") if each in found), ""
        )
        answer = _ANSWERS.get(worst, "for the owner to answer")
        if group == "DIDT":
            answer = "No" if worst == "pass" else "See notes"
        rows.append(
            {
                "group": group,
                "about": about,
                "answer": answer,
                "shown_by": list(probes),
            }
        )
    return rows
