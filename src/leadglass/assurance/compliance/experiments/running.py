"""Running: a crash in the middle, settings that drift, and what is erased."""

from leadglass.assurance.compliance.canary import SOP_CLASS, Canary
from leadglass.assurance.compliance.experiments.images import CLASSES, stored
from leadglass.assurance.compliance.probe import Seen, Witnessed
from leadglass.assurance.compliance.twin import Twin, calling
from leadglass.assurance.peer import associate
from leadglass.wire.status import SUCCESS

_RULE = """
[[rule]]
name = "drift-drill"
subjects = ["device:DRIFT"]
rights = ["find"]
networks = ["127.0.0.0/8"]
"""


def drift(twin: Twin) -> Seen:
    """E12: change what may be done behind the program's back; it must show."""
    seen = Witnessed()
    before = twin.fingerprint()
    seen.expect(twin.fingerprint() == before, "unchanged, the fingerprint stays")
    with twin.other_rules(_RULE):
        seen.expect(twin.fingerprint() != before, "one rule more, and it differs")
    seen.expect(twin.fingerprint() == before, "without it, it is what it was")
    return seen.seen()


def crash(twin: Twin) -> Seen:
    """Store, end the node as a power switch does, start it: what was said is there."""
    seen = Witnessed()
    canary = Canary.draw()
    proof = twin.enrol("CRASHING")
    with associate(calling(twin, "CRASHING", proof.context()), CLASSES) as peer:
        status = peer.store(SOP_CLASS, canary.instance, canary.data_set())
    seen.expect(status == SUCCESS, "an image is acknowledged")
    twin.kill()
    with associate(calling(twin, "CRASHING", proof.context()), CLASSES) as peer:
        _, found = peer.get(canary.wanted())
    seen.expect(
        [canary.pixels in each for each in found] == [True],
        "after the crash it is there, byte for byte",
    )
    return seen.seen()


def erasure(twin: Twin) -> Seen:
    """Erase a study, and look for its key and its files."""
    seen = Witnessed()
    canary = Canary.draw()
    stored(twin, "ERASED", canary)
    left = twin.erase(canary.study)
    seen.expect(left == 0, f"{left} files of the study are left, its key among them")
    with associate(
        calling(twin, "LOOKING", twin.enrol("LOOKING").context()), CLASSES
    ) as peer:
        _, found = peer.find(canary.question())
    seen.expect(not found, "nobody finds it any more")
    return seen.seen()
