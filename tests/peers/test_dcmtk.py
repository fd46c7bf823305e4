"""DCMTK's programs as they come with Debian, over mutual TLS.

Its dcmsend, getscu and movescu have no TLS there; they go through a relay that has.
"""

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from leadglass.dicom.sop_classes import STUDY_ROOT_GET
from leadglass.dicom.transfer_syntaxes import EXPLICIT_VR_LE
from leadglass.dicom.uids import UID
from tests.peers import programs, samples
from tests.peers.client import Sent, associated, decoded, identifier, receives
from tests.peers.nodes import made, serving
from tests.support.node import Credentials, RunningNode

CT = UID(samples.CT)
COUNT = 30
STUDY = samples.study(COUNT, PatientID="DCMTK", PatientName="Tool^Kit")
STUDY_UID = str(STUDY[0].StudyInstanceUID)

# Options of storescu, each with a file that has that transfer syntax.
FILES = {
    "-x=": "CT_small.dcm",
    "-xe": "CT_small.dcm",
    "-xb": "MR_small_bigendian.dcm",
    "-xi": "MR_small_implicit.dcm",
    "-xs": "JPEG-LL.dcm",
    "-xy": "SC_rgb_dcmtk_+eb+cr.dcm",
    "-xx": "JPEG-lossy.dcm",
    "-xv": "MR_small_jp2klossless.dcm",
    "-xw": "JPEG2000.dcm",
    "-xt": "MR_small_jpeg_ls_lossless.dcm",
    "-xr": "MR_small_RLE.dcm",
    "-xd": "image_dfl.dcm",
}
# pydicom ships none of these with the UIDs of a study; the pixels are not looked at.
MADE = {
    "-xu": "1.2.840.10008.1.2.4.81",
    "-xm": "1.2.840.10008.1.2.4.100",
    "-xh": "1.2.840.10008.1.2.4.101",
    "-xn": "1.2.840.10008.1.2.4.102",
    "-xl": "1.2.840.10008.1.2.4.103",
    "-x2": "1.2.840.10008.1.2.4.104",
    "-x3": "1.2.840.10008.1.2.4.105",
    "-xo": "1.2.840.10008.1.2.4.106",
    "-x4": "1.2.840.10008.1.2.4.107",
    "-x5": "1.2.840.10008.1.2.4.108",
}


@dataclass
class Site:
    """A node, a workstation, and a receiver that C-MOVE may send to."""

    node: RunningNode
    station: Credentials
    receiver: Credentials
    receiver_port: int


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("dcmtk") / "node"
    port = free_port()
    # The disk of a busy machine may stand still for longer than the default.
    node = made(home, dimse__connect_timeout_s=str(programs.TIMEOUT_S))
    station = node.enrol("STATION")
    receiver = node.enrol("RECEIVER", may=["echo"], destination=f"127.0.0.1:{port}")
    with serving(node):
        with associated(node, station, [(CT, (EXPLICIT_VR_LE,))]) as client:
            for each in STUDY:
                assert client.store_data_set(each).status == 0
        yield Site(node, station, receiver, port)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def only(folder: Path, version: str) -> dict[str, str]:
    """Return the environment that takes other versions of TLS from a program."""
    config = folder / "openssl.cnf"
    config.write_text(
        "openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n"
        f"[c]\nMinProtocol = {version}\nMaxProtocol = {version}\n",
        "ascii",
    )
    return {"OPENSSL_CONF": str(config)}


def fetch(site: Site, data_set: Any) -> list[Sent]:
    """Return what the node has of a study, if it has the data set's own syntax."""
    sop_class = UID(data_set.SOPClassUID)
    syntax = UID(data_set.file_meta.TransferSyntaxUID)
    wishes = [(STUDY_ROOT_GET, (EXPLICIT_VR_LE,)), (sop_class, (syntax,))]
    question = identifier("STUDY", StudyInstanceUID=data_set.StudyInstanceUID)
    roles = receives(sop_class)
    with associated(site.node, site.station, wishes, roles=roles) as client:
        return list(client.get(question).instances)


def written(folder: Path, data_sets: list[Any]) -> list[Path]:
    return [
        samples.save(each, folder / f"{number}.dcm")
        for number, each in enumerate(data_sets)
    ]


VERSIONS = pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
# For TLS 1.2, where DCMTK's own list has suites for RSA certificates alone.
SUITE = ("+cs", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384")


@VERSIONS
def test_echo(site: Site, tmp_path: Path, version: str) -> None:
    before = len(site.node.records())
    text = programs.to_node(
        "echoscu",
        site.node,
        site.station,
        *SUITE,
        environment=only(tmp_path, version),
    )
    assert "Received Echo Response (Success)" in text
    channels = {
        each.event.details.get("channel") for each in site.node.records()[before:]
    }
    assert version in channels


@VERSIONS
def test_store(site: Site, tmp_path: Path, version: str) -> None:
    study = samples.study(3, PatientID=version)
    programs.to_node(
        "storescu",
        site.node,
        site.station,
        *SUITE,
        *written(tmp_path, study),
        environment=only(tmp_path, version),
    )
    assert len(fetch(site, study[0])) == 3


def test_send_through_a_relay(site: Site, tmp_path: Path) -> None:
    study = samples.study(3)
    port = free_port()
    with programs.relayed(site.node, site.station, port):
        programs.run(
            "dcmsend",
            *("-v", *programs.titles(site.station), "127.0.0.1", str(port)),
            *written(tmp_path, study),
        )
    assert len(fetch(site, study[0])) == 3


def test_find(site: Site, tmp_path: Path) -> None:
    programs.to_node(
        "findscu",
        site.node,
        site.station,
        *("-S", "-X", "-od", tmp_path),
        *("-k", "QueryRetrieveLevel=IMAGE"),
        *("-k", f"StudyInstanceUID={STUDY_UID}"),
        *("-k", f"SeriesInstanceUID={STUDY[0].SeriesInstanceUID}"),
        *("-k", "SOPInstanceUID"),
    )
    found = [dcmread(each, force=True) for each in tmp_path.glob("rsp*.dcm")]
    assert {each.SOPInstanceUID for each in found} == {
        each.SOPInstanceUID for each in STUDY
    }


def test_find_is_cancelled(site: Site) -> None:
    text = programs.to_node(
        "findscu",
        site.node,
        site.station,
        *("-S", "--cancel", "1"),
        *("-k", "QueryRetrieveLevel=IMAGE"),
        *("-k", f"StudyInstanceUID={STUDY_UID}"),
        *("-k", f"SeriesInstanceUID={STUDY[0].SeriesInstanceUID}"),
        *("-k", "SOPInstanceUID"),
    )
    # So few answers are all on their way by then: it is complete, not cancelled, and
    # the cancel comes too late. That one in time is heeded, test_queries.py shows.
    assert "Sending Cancel" in text
    assert "Received Final Find Response (Success)" in text
    assert "Releasing Association" in text


def test_get_through_a_relay(site: Site, tmp_path: Path) -> None:
    port = free_port()
    with programs.relayed(site.node, site.station, port):
        programs.run(
            "getscu",
            *programs.titles(site.station),
            *("-v", "-S", "-od", tmp_path, "--bit-preserving"),
            *("127.0.0.1", str(port)),
            *("-k", "QueryRetrieveLevel=STUDY"),
            *("-k", f"StudyInstanceUID={STUDY_UID}"),
        )
    got = [dcmread(each) for each in tmp_path.iterdir()]
    assert {each.SOPInstanceUID: each.PixelData for each in got} == {
        each.SOPInstanceUID: each.PixelData for each in STUDY
    }


def test_move_through_a_relay_to_a_receiver_with_tls(
    site: Site, tmp_path: Path
) -> None:
    relay = free_port()
    receiver: list[str | Path] = [
        programs.FOLDER / "storescp",
        *site.receiver.dcmtk,
        *("-aet", "RECEIVER", "-od", tmp_path, "--accept-all", "--bit-preserving"),
        str(site.receiver_port),
    ]
    with (
        programs.spawned(receiver, site.receiver_port),
        programs.relayed(site.node, site.station, relay),
    ):
        programs.run(
            "movescu",
            *programs.titles(site.station),
            *("-v", "-S", "-aem", "RECEIVER"),
            *("127.0.0.1", str(relay)),
            *("-k", "QueryRetrieveLevel=STUDY"),
            *("-k", f"StudyInstanceUID={STUDY_UID}"),
        )
    assert {dcmread(each).SOPInstanceUID for each in tmp_path.iterdir()} == {
        each.SOPInstanceUID for each in STUDY
    }


def test_get_is_cancelled_in_the_middle(site: Site) -> None:
    wishes = [(STUDY_ROOT_GET, (EXPLICIT_VR_LE,)), (CT, (EXPLICIT_VR_LE,))]
    question = identifier("STUDY", StudyInstanceUID=STUDY_UID)
    with associated(site.node, site.station, wishes, roles=receives(CT)) as client:
        got = client.get(question, cancel_after=3)
        assert got.status == 0xFE00
        assert len(got.instances) == 3
        assert got.last.completed == 3
        assert got.last.remaining == COUNT - 3
        assert client.get(question).status == 0  # the association goes on


def test_profile_of_many_contexts(site: Site, tmp_path: Path) -> None:
    """storescu's own profile: every storage class, as many contexts as there can be."""
    study = samples.study(2)
    text = programs.to_node(
        "storescu",
        site.node,
        site.station,
        *("-d", "-xf", "/etc/dcmtk/storescu.cfg", "Default"),
        *written(tmp_path, study),
    )
    assert text.count("(Accepted)") > 100
    assert len(fetch(site, study[0])) == 2


@pytest.mark.parametrize("option", FILES)
def test_transfer_syntax(site: Site, tmp_path: Path, option: str) -> None:
    # One picture is in several of these files, under one SOP Instance UID.
    data_set = samples.fresh(dcmread(get_testdata_file(FILES[option])))
    path = samples.save(data_set, tmp_path / "image.dcm")
    programs.to_node("storescu", site.node, site.station, option, path)
    (found,) = fetch(site, data_set)
    syntax = data_set.file_meta.TransferSyntaxUID
    assert decoded(found.data, syntax).PixelData == data_set.PixelData


@pytest.mark.parametrize("option", MADE)
def test_transfer_syntax_of_films(site: Site, tmp_path: Path, option: str) -> None:
    data_set = samples.packed(MADE[option])
    path = samples.save(data_set, tmp_path / "film.dcm")
    programs.to_node("storescu", site.node, site.station, option, path)
    (found,) = fetch(site, data_set)
    assert decoded(found.data, MADE[option]).PixelData == data_set.PixelData
