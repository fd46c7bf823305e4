"""What an enrolled device may: its rights, its scope, and changes while it is there."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from leadglass.access.rights import Right
from leadglass.dicom.sop_classes import (
    PATIENT_ROOT_FIND,
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
    VERIFICATION,
)
from leadglass.dicom.transfer_syntaxes import EXPLICIT_VR_LE
from leadglass.dicom.uids import UID
from leadglass.wire.pdus import ContextResult
from tests.peers import samples
from tests.peers.client import Client, associated, identifier, receives
from tests.peers.nodes import SEEN_WITHIN_S, comes_true, is_told, made, serving
from tests.peers.receiver import Receiver, receivers, uids
from tests.support.node import Credentials, RunningNode

pytestmark = pytest.mark.filterwarnings("ignore")

CT = UID(samples.CT)
NOT_AUTHORIZED = 0x0124
WISHES = [
    (each, (EXPLICIT_VR_LE,))
    for each in (
        VERIFICATION,
        STUDY_ROOT_FIND,
        PATIENT_ROOT_FIND,
        STUDY_ROOT_MOVE,
        STUDY_ROOT_GET,
        CT,
    )
]
NAMES = {
    VERIFICATION: "echo",
    STUDY_ROOT_FIND: "find",
    STUDY_ROOT_MOVE: "move",
    STUDY_ROOT_GET: "get",
    CT: "store",
}
ALL = ("store", "find", "get", "move")

# One patient with a study of each modality; MINE is sent by who sees only his own.
SEEN = samples.study(2, PatientID="P", Modality="CT", StudyDescription="seen")
HIDDEN = samples.study(3, PatientID="P", Modality="MR", StudyDescription="hidden")
MINE = samples.study(1, PatientID="P", Modality="OT", StudyDescription="mine")


@dataclass
class Site:
    """A node with devices that may different things, and a receiver."""

    node: RunningNode
    devices: dict[str, Credentials]
    receiver: Receiver


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    node = made(tmp_path_factory.mktemp("rights") / "node")
    devices = {
        "ALL": node.enrol("ALL"),
        "SENDER": node.enrol("SENDER", may=["store"]),
        "ASKER": node.enrol("ASKER", may=["find"]),
        "TAKER": node.enrol("TAKER", may=["get"]),
        "MOVER": node.enrol("MOVER", may=["move"]),
        "ECHOER": node.enrol("ECHOER", may=["echo"]),
        "CT_ONLY": node.enrol("CT_ONLY", may=ALL, scope="modality=CT"),
        "OWNER": node.enrol("OWNER", may=ALL, scope="source=own"),
        "CHANGES": node.enrol("CHANGES", may=["find"]),
        "RULED": node.enrol("RULED", may=["echo"]),
    }
    with receivers(1) as (receiver,):
        receiver.serve(
            node.enrol("RECEIVER", may=["echo"], destination=receiver.destination)
        )
        with serving(node):
            for name, study in (("ALL", SEEN), ("ALL", HIDDEN), ("OWNER", MINE)):
                with associated(node, devices[name], WISHES) as client:
                    for each in study:
                        assert client.store_data_set(each).status == 0
            yield Site(node, devices, receiver)


def open_to(client: Client) -> set[str]:
    """Return what the contexts of an association are for."""
    return {
        NAMES[UID(context.abstract_syntax)]
        for context in client.association.contexts.values()
        if context.abstract_syntax in NAMES
    }


@pytest.mark.parametrize(
    ("name", "rights"),
    [
        ("ALL", {"echo", "store", "find", "move", "get"}),
        ("SENDER", {"store"}),
        ("ASKER", {"find"}),
        ("TAKER", {"get"}),
        ("MOVER", {"move"}),
        ("ECHOER", {"echo"}),
    ],
)
def test_contexts_are_the_rights(site: Site, name: str, rights: set[str]) -> None:
    with associated(site.node, site.devices[name], WISHES) as client:
        assert open_to(client) == rights
        refused = [each for each in client.accept.contexts if not each.transfer_syntax]
        assert {each.result for each in refused} <= {
            ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED
        }


def test_who_may_get_may_not_store(site: Site) -> None:
    """The role that a C-GET needs is no way to send."""
    taker = site.devices["TAKER"]
    with associated(site.node, taker, WISHES, roles=receives(CT)) as client:
        (context,) = (
            each
            for each in client.association.contexts.values()
            if each.abstract_syntax == CT
        )
        assert (context.is_scu, context.is_scp) == (False, True)


# --- scope ----------------------------------------------------------------------------

SCOPED = {"CT_ONLY": SEEN, "OWNER": MINE}


@pytest.mark.parametrize("name", SCOPED)
def test_scope_hides_studies_from_questions(site: Site, name: str) -> None:
    mine = SCOPED[name]
    others = [each for each in (SEEN, HIDDEN, MINE) if each is not mine]
    question = identifier(
        "STUDY",
        PatientID="P",
        StudyInstanceUID="",
        NumberOfPatientRelatedStudies=None,
        NumberOfPatientRelatedSeries=None,
        NumberOfPatientRelatedInstances=None,
    )
    with associated(site.node, site.devices[name], WISHES) as client:
        told = client.find(question)
        assert told.values("StudyInstanceUID") == [mine[0].StudyInstanceUID]
        assert told.values("NumberOfPatientRelatedStudies") == [1]
        assert told.values("NumberOfPatientRelatedSeries") == [1]
        assert told.values("NumberOfPatientRelatedInstances") == [len(mine)]
        patients = client.find(
            identifier("PATIENT", PatientID="P", NumberOfPatientRelatedStudies=None),
            PATIENT_ROOT_FIND,
        )
        assert patients.values("NumberOfPatientRelatedStudies") == [1]
        for other in others:
            uids_of = {"StudyInstanceUID": other[0].StudyInstanceUID}
            assert not client.find(identifier("STUDY", **uids_of)).answers
            assert not client.find(
                identifier("SERIES", SeriesInstanceUID="", **uids_of)
            ).answers
            uids_of["SeriesInstanceUID"] = other[0].SeriesInstanceUID
            assert not client.find(
                identifier("IMAGE", SOPInstanceUID="", **uids_of)
            ).answers


@pytest.mark.parametrize("name", SCOPED)
@pytest.mark.parametrize("level", ["STUDY", "SERIES", "IMAGE"])
def test_scope_hides_studies_from_retrieves(site: Site, name: str, level: str) -> None:
    """A hidden study is answered as one that does not exist."""
    for study in (SEEN, HIDDEN, MINE):
        first = study[0]
        keys = {"StudyInstanceUID": first.StudyInstanceUID}
        if level != "STUDY":
            keys["SeriesInstanceUID"] = first.SeriesInstanceUID
        if level == "IMAGE":
            keys["SOPInstanceUID"] = first.SOPInstanceUID
        count = 1 if level == "IMAGE" else len(study)
        expected = count if study is SCOPED[name] else 0
        site.receiver.takes()
        device = site.devices[name]
        with associated(site.node, device, WISHES, roles=receives(CT)) as client:
            got = client.get(identifier(level, **keys))
            moved = client.move(identifier(level, **keys), "RECEIVER")
            nothing = client.get(
                identifier(level, **dict.fromkeys(keys, samples.new_uid()))
            )
        assert (got.last.completed, moved.last.completed) == (expected, expected)
        assert (len(got.instances), len(site.receiver.instances)) == (
            expected,
            expected,
        )
        if not expected:
            assert (got.status, got.last.failed) == (
                nothing.status,
                nothing.last.failed,
            )


def test_a_patient_is_retrieved_as_far_as_the_scope_reaches(site: Site) -> None:
    device = site.devices["CT_ONLY"]
    patient_root = UID("1.2.840.10008.5.1.4.1.2.1.3")
    wishes = [(patient_root, (EXPLICIT_VR_LE,)), (CT, (EXPLICIT_VR_LE,))]
    with associated(site.node, device, wishes, roles=receives(CT)) as client:
        got = client.get(identifier("PATIENT", PatientID="P"), patient_root)
    assert uids(got.instances) == {each.SOPInstanceUID for each in SEEN}


def test_nothing_is_stored_outside_of_the_scope(site: Site) -> None:
    stray = samples.instance(Modality="MR")
    with associated(site.node, site.devices["CT_ONLY"], WISHES) as client:
        assert client.store_data_set(stray).status == NOT_AUTHORIZED
    with associated(site.node, site.devices["ALL"], WISHES) as client:
        question = identifier("STUDY", StudyInstanceUID=stray.StudyInstanceUID)
        assert not client.find(question).answers


# --- changes of a running node --------------------------------------------------------


def give(site: Site, name: str, *rights: Right) -> None:
    with site.node.open() as node:
        with node.database.read() as connection:
            device = node.devices.get(connection, name)
        node.registrar.change(node.operator, replace(device, rights=frozenset(rights)))


def rights_now(site: Site, name: str) -> set[str]:
    with associated(site.node, site.devices[name], WISHES) as client:
        return open_to(client)


def test_changed_rights_act_within_two_seconds(site: Site) -> None:
    question = identifier("STUDY", PatientID="P", StudyInstanceUID="")
    with associated(site.node, site.devices["CHANGES"], WISHES) as standing:
        assert standing.find(question).status == 0
        give(site, "CHANGES", Right.ECHO, Right.GET)
        # Also for what was negotiated before.
        assert comes_true(
            lambda: standing.find(question).status == NOT_AUTHORIZED, SEEN_WITHIN_S
        )
    assert comes_true(
        lambda: rights_now(site, "CHANGES") == {"echo", "get"}, SEEN_WITHIN_S
    )
    assert is_told(site.node, "127.0.0.1", "no rule")


def test_changed_rules_act_within_two_seconds(site: Site) -> None:
    rules = site.node.home / "rules.toml"
    rules.write_text(
        '[[rule]]\nname = "ward round"\ndevices = ["RULED"]\nrights = ["find"]\n'
        'from = ["127.0.0.0/8"]\nscope = "modality=CT"\nreason = "today"\n',
        "utf-8",
    )
    assert comes_true(
        lambda: rights_now(site, "RULED") == {"echo", "find"}, SEEN_WITHIN_S
    )
    question = identifier("STUDY", PatientID="P", StudyInstanceUID="")
    with associated(site.node, site.devices["RULED"], WISHES) as standing:
        told = standing.find(question)
        assert told.values("StudyInstanceUID") == [SEEN[0].StudyInstanceUID]
        rules.write_text("# nobody may more than he was enrolled for\n", "utf-8")
        assert comes_true(
            lambda: standing.find(question).status == NOT_AUTHORIZED, SEEN_WITHIN_S
        )
    assert comes_true(lambda: rights_now(site, "RULED") == {"echo"}, SEEN_WITHIN_S)


def test_rules_with_problems_change_nothing(site: Site) -> None:
    before = rights_now(site, "ASKER")
    (site.node.home / "rules.toml").write_text("[[rule]]\nnonsense = 1\n", "utf-8")
    assert not comes_true(lambda: rights_now(site, "ASKER") != before, SEEN_WITHIN_S)
    (site.node.home / "rules.toml").unlink()
