"""STOW-RS into a whole node: what is taken, what is refused, what breaks off."""

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from pydicom.uid import ExplicitVRLittleEndian

from leadglass.access.policy import Kind, Subject
from leadglass.access.rights import Right
from leadglass.archive.ingest import Ingest, TooLarge
from leadglass.archive.parts import Room
from leadglass.audit.codes import Outcome
from leadglass.dicom.header import HeaderReader
from leadglass.dicom.model.json import json_pieces
from leadglass.dicom.model.sources import Bytes
from leadglass.dicom.model.values import Json
from leadglass.dicom.model.walk import walk
from leadglass.dicom.model.xml import xml_pieces
from leadglass.dicom.part10 import Part10Reader
from leadglass.dicom.transfer_syntaxes import EXPLICIT_VR_LE, TRANSFER_SYNTAXES
from leadglass.dicom.uids import UID
from leadglass.errors import BadData, Refused
from leadglass.servers.dicomweb.multipart import MultipartWriter
from leadglass.servers.dicomweb.stow import (
    INSTANCES_MAX,
    Bounds,
    Failed,
    Gathering,
    Request,
    Result,
    Stored,
    Storing,
    UnsupportedMediaType,
    store,
)
from tests.unit.archive import conftest as archive
from tests.unit.archive.conftest import (
    CT,
    OPERATOR,
    STUDY,
    Home,
    data_set_of,
    make_instance,
)
from tests.unit.dicom import corpus

BOUNDARY = "0123456789abcdef"
FILE = {"Content-Type": "application/dicom"}
BASE = "https://node.example/dicom-web"


# The node of the archive's tests; its fixtures are not to be had by importing names.
home = archive.home
limits = archive.limits
parts = archive.parts
ingest = archive.ingest


def request(root: str = "application/dicom", **fields: Any) -> Request:
    kind = f'multipart/related; type="{root}"; boundary={BOUNDARY}'
    return replace(Request(OPERATOR, kind), **fields)


def body(*parts: tuple[dict[str, str], bytes]) -> bytes:
    writer = MultipartWriter(BOUNDARY)
    return b"".join(writer.head(h) + content for h, content in parts) + writer.end()


def files(*each: bytes) -> bytes:
    return body(*((FILE, file) for file in each))


def run(
    ingest: Ingest,
    data: bytes | Iterable[bytes],
    asked: Request | None = None,
    bounds: Bounds | None = None,
) -> Result:
    storing = Storing(ingest, asked or request(), bounds)
    pieces = [data] if isinstance(data, bytes) else data
    try:
        for piece in pieces:
            storing.feed(piece)
        return storing.finish()
    finally:
        storing.abandon()


def stored_bytes(home: Home) -> list[bytes]:
    """Return all that is stored, as files; rows may be entered later."""
    blobs = home.parts.blobs
    return [b"".join(map(bytes, blobs.get(name))) for name in blobs.names()]


def test_files_are_stored_bit_exact_and_the_answer_says_where(
    home: Home, ingest: Ingest
) -> None:
    one, two = make_instance(1), make_instance(2)
    result = run(ingest, files(one, two))
    assert result.status == 200
    series = UID(f"{STUDY}.1")
    assert result.stored == (
        Stored(UID(CT), UID(f"{STUDY}.1.1"), UID(STUDY), series),
        Stored(UID(CT), UID(f"{STUDY}.1.2"), UID(STUDY), series),
    )
    assert sorted(stored_bytes(home)) == sorted([one, two])
    entries = result.entries(BASE)
    assert entries["00081190"]["Value"] == [f"{BASE}/studies/{STUDY}"]
    [first, _] = entries["00081199"]["Value"]
    assert first["00081190"]["Value"] == [
        f"{BASE}/studies/{STUDY}/series/{series}/instances/{STUDY}.1.1"
    ]
    assert "00081198" not in entries


def test_cut_anywhere_it_is_the_same(home: Home, ingest: Ingest) -> None:
    one = make_instance(1)
    data = files(one)
    assert (
        run(ingest, (data[at : at + 7] for at in range(0, len(data), 7))).status == 200
    )
    assert stored_bytes(home) == [one]


def test_a_single_file_may_be_the_whole_body(home: Home, ingest: Ingest) -> None:
    asked = request(content_type="application/dicom")
    assert run(ingest, make_instance(1), asked).status == 200
    assert len(stored_bytes(home)) == 1


def test_sending_again_is_harmless(home: Home, ingest: Ingest) -> None:
    assert run(ingest, files(make_instance(1))).status == 200
    assert run(ingest, files(make_instance(1))).status == 200
    assert len(stored_bytes(home)) == 1


def test_other_bytes_under_the_same_uid_are_a_conflict(ingest: Ingest) -> None:
    run(ingest, files(make_instance(1)))
    result = run(ingest, files(make_instance(1, pixels=bytes(64))))
    assert result.status == 409
    assert [each.reason for each in result.failed] == [0x0111]


def test_one_that_fails_does_not_take_the_others_along(
    home: Home, ingest: Ingest
) -> None:
    cut_short = make_instance(2)[:-10]
    result = run(
        ingest, files(make_instance(1), cut_short, b"not DICOM" * 100, make_instance(3))
    )
    assert result.status == 202
    assert len(result.stored) == 2
    assert result.failed == (
        Failed(0xC000, UID(CT), UID(f"{STUDY}.1.2")),
        Failed(0xC000),
    )
    entries = result.entries(BASE)
    [failed] = entries["00081198"]["Value"]
    assert failed["00081197"]["Value"] == [0xC000]
    assert len(entries["0008119A"]["Value"]) == 1
    assert len(stored_bytes(home)) == 2


def test_the_refusal_of_an_instance_is_recorded(home: Home, ingest: Ingest) -> None:
    run(ingest, files(make_instance(1)[:-10]))
    outcomes = [each.event.outcome for each in home.records()]
    assert Outcome.SERIOUS_FAILURE in outcomes
    assert "STOW-RS" in str([each.event for each in home.records()])


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (files(b"not DICOM" * 100), 1),
        (files(b"not DICOM" * 100, make_instance(1), b"", b"DICM"), 3),
        (b"x" * 10_000, 1),
        (files(b"not DICOM" * 100)[:-4] + b"garbage", 2),
    ],
)
def test_what_is_no_instance_is_recorded_once_for_all(
    home: Home, ingest: Ingest, data: bytes, count: int
) -> None:
    with suppress(BadData):
        run(ingest, data)
    told = [
        each.event.outcome_description
        for each in home.records()
        if each.event.outcome is Outcome.SERIOUS_FAILURE
    ]
    assert len(told) == 1
    assert told[0] is not None
    assert told[0].endswith(f"(and {count - 1} more)") is (count > 1)


def test_the_resource_names_the_study(home: Home, ingest: Ingest) -> None:
    asked = request(study_uid=UID("1.2.3.9"))
    result = run(
        ingest, files(make_instance(1), make_instance(1, study="1.2.3.9")), asked
    )
    assert result.status == 202
    assert result.failed[0].reason == 0xA900
    assert [each.study_uid for each in result.stored] == ["1.2.3.9"]
    assert len(stored_bytes(home)) == 1


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (make_instance(1, sop_class="1.2.840.10008.1.1"), 0xC000),
        (make_instance(1, sop_class="1.2.3.4"), 0xC000),
        (
            make_instance(1).replace(
                ExplicitVRLittleEndian.encode() + b"\0", b"1.2.840.10008.9.9\0\0\0"
            ),
            0xC122,
        ),
    ],
)
def test_what_is_not_stored_here(ingest: Ingest, file: bytes, reason: int) -> None:
    result = run(ingest, files(file))
    assert result.status == 409
    assert result.failed[0].reason == reason


def test_a_program_in_the_preamble_is_not_kept(home: Home, ingest: Ingest) -> None:
    run(ingest, files(make_instance(1, preamble=b"MZ" + bytes(126))))
    [kept] = stored_bytes(home)
    assert kept[:132] == bytes(128) + b"DICM"


def test_who_may_not_store_is_refused_before_the_first_byte(
    home: Home, ingest: Ingest
) -> None:
    stranger = replace(OPERATOR, subject=Subject(Kind.OPERATOR, "stranger"))
    with pytest.raises(Refused):
        Storing(ingest, request(caller=stranger))
    assert len(home.records()) == 1
    home.rules.allow(OPERATOR.subject, Right.FIND)
    with pytest.raises(Refused):
        Storing(ingest, request())


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/json",
        "multipart/form-data; boundary=x",
        f"multipart/related; type=text/html; boundary={BOUNDARY}",
    ],
)
def test_other_payloads_are_not_taken(ingest: Ingest, content_type: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        Storing(ingest, request(content_type=content_type))


@pytest.mark.parametrize(
    "data",
    [b"", b"x" * 10_000, b"--other\r\n", body(), f"--{BOUNDARY}".encode()],
)
def test_a_body_without_a_part_is_a_bad_request(ingest: Ingest, data: bytes) -> None:
    with pytest.raises(BadData):
        run(ingest, data)


def test_a_body_that_is_cut_short_keeps_what_was_whole(
    home: Home, ingest: Ingest
) -> None:
    whole = files(make_instance(1), make_instance(2))
    result = run(ingest, whole[:-200])
    assert result.status == 202
    assert [each.sop_instance for each in result.stored] == [f"{STUDY}.1.1"]
    assert [each.sop_instance for each in result.failed] == [f"{STUDY}.1.2"]
    assert len(stored_bytes(home)) == 1


def test_a_body_that_breaks_off_after_a_refused_part_counts_it_once(
    ingest: Ingest,
) -> None:
    broken = files(b"not DICOM" * 100)[:-4] + b"garbage"
    result = run(ingest, [broken, b"more"])
    assert [each.sop_instance for each in result.failed] == [None, None]
    assert result.status == 409


def test_a_full_node_says_so(home: Home) -> None:
    home.parts = replace(home.parts, room=Room(home.folder, free_bytes_min=2**62))
    result = run(Ingest(home.parts), files(make_instance(1)))
    assert result.status == 503


# --- metadata and bulk data -----------------------------------------------------------


def described(file: bytes, kind: str) -> tuple[bytes, bytes]:
    """Return an instance's metadata, and its pixels as bulk data."""
    data = data_set_of(file)
    syntax = TRANSFER_SYNTAXES[EXPLICIT_VR_LE]
    events = list(walk(Bytes(data), syntax, len(data)))
    write = json_pieces if kind == "json" else xml_pieces
    metadata = b"".join(write(events, lambda value: f"bulk/{value.path}"))
    last: Any = events[-1]
    return metadata, data[last.offset : last.offset + last.length]


def described_body(
    metadata: bytes, pixels: bytes, kind: str, media: str = "application/octet-stream"
) -> bytes:
    return body(
        ({"Content-Type": f"application/dicom+{kind}"}, metadata),
        ({"Content-Type": media, "Content-Location": "bulk/7FE00010"}, pixels),
    )


PIXELS = bytes(range(256)) * 16


@pytest.mark.parametrize("kind", ["json", "xml"])
def test_metadata_and_bulk_data_become_an_instance(
    home: Home, ingest: Ingest, kind: str
) -> None:
    file = make_instance(1, pixels=PIXELS)
    metadata, pixels = described(file, kind)
    assert pixels == PIXELS
    data = described_body(metadata, pixels, kind)
    result = run(ingest, data, request(f"application/dicom+{kind}"))
    assert result.failed == ()
    assert result.status == 200
    [kept] = stored_bytes(home)
    assert data_set_of(kept) == data_set_of(file)


def test_compressed_frames_become_fragments(home: Home, ingest: Ingest) -> None:
    metadata, _ = described(make_instance(1, pixels=PIXELS), "json")
    frame = b"\xff\xd8\xff\xd9 "
    data = described_body(metadata, frame, "json", "image/jpeg")
    assert run(ingest, data, request("application/dicom+json")).status == 200
    [kept] = stored_bytes(home)
    reader = Part10Reader()
    rest = reader.feed(kept)
    assert reader.transfer_syntax == "1.2.840.10008.1.2.4.50"
    assert rest is not None
    header = HeaderReader(TRANSFER_SYNTAXES[reader.transfer_syntax])
    header.feed(rest)
    assert header.finish().pixel_data_length is None
    assert frame + b"\0" in rest


@pytest.mark.parametrize(
    "change",
    [
        lambda entries: entries | {"7FE00010": {"vr": "OB", "BulkDataURI": "other"}},
        lambda entries: (
            entries
            | {"7FE00010": {"vr": "OB", "BulkDataURI": "http://169.254.169.254/"}}
        ),
        lambda entries: entries | {"00080018": {"vr": "UI"}},
        lambda entries: entries | {"0020000D": {"vr": "UI", "Value": ["x"]}},
        lambda entries: entries | {"00280010": {"vr": "US", "Value": [99999]}},
    ],
)
def test_metadata_that_makes_no_instance_is_refused(
    home: Home, ingest: Ingest, change: Any
) -> None:
    metadata, pixels = described(make_instance(1, pixels=PIXELS), "json")
    changed: Json = change(json.loads(metadata))
    data = described_body(json.dumps([changed]).encode(), pixels, "json")
    result = run(ingest, data, request("application/dicom+json"))
    assert result.status == 409
    assert not stored_bytes(home)


def test_metadata_that_is_cut_short_stores_nothing(home: Home, ingest: Ingest) -> None:
    metadata, pixels = described(make_instance(1, pixels=PIXELS), "json")
    data = described_body(metadata, pixels, "json")[:-30]
    assert run(ingest, data, request("application/dicom+json")).status == 409
    assert not stored_bytes(home)


def test_what_is_gathered_has_limits(ingest: Ingest) -> None:
    asked = request("application/dicom+json")
    bounds = Bounds(metadata_bytes_max=1000, bulk_bytes_max=1000)
    for data in (
        described_body(b"[" + b" " * 2000, b"", "json"),
        described_body(b"[]", bytes(2000), "json"),
        body(({"Content-Type": "application/octet-stream"}, b"nameless")),
    ):
        result = run(ingest, data, asked, bounds)
        assert result.status in {409, 413}
        assert not result.stored


# --- the shell ------------------------------------------------------------------------


def _body(data: bytes, size: int = 100) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def test_a_body_is_stored_as_it_comes(home: Home, ingest: Ingest) -> None:
    data = files(make_instance(1), make_instance(2))
    result = store(ingest, request(), _body(data))
    assert result.status == 200
    assert len(stored_bytes(home)) == 2


class Gone(Exception):
    """The client is."""


def test_a_client_that_goes_away_leaves_nothing_half(
    home: Home, ingest: Ingest
) -> None:
    def leaving() -> Iterator[bytes]:
        yield files(make_instance(1))[:-300]
        raise Gone

    with pytest.raises(Gone):
        store(ingest, request(), leaving())
    assert not stored_bytes(home)
    assert not list(home.parts.blobs.names())


def test_metadata_of_too_many_instances_is_too_large(ingest: Ingest) -> None:
    asked = request(content_type="application/dicom+json")
    document = b"[" + b"{}," * INSTANCES_MAX + b"{}]"
    with pytest.raises(TooLarge, match="instances"):
        run(ingest, document, asked)


def test_requests_share_the_memory_for_what_they_gather(
    home: Home, ingest: Ingest
) -> None:
    metadata, pixels = described(make_instance(1, pixels=PIXELS), "json")
    whole = described_body(metadata, pixels, "json")
    gathering = Gathering(8 * len(metadata) + len(pixels))
    asked = request("application/dicom+json")
    first = Storing(ingest, asked, gathering=gathering)
    first.feed(whole[:-100])  # and it is not at its end

    second = Storing(ingest, asked, gathering=gathering)
    second.feed(whole)
    assert second.finish().status == 503
    second.abandon()

    first.abandon()
    third = Storing(ingest, asked, gathering=gathering)
    third.feed(whole)
    assert third.finish().status == 200
    third.abandon()
    assert len(stored_bytes(home)) == 1


SMALL = corpus.accepted(corpus.SMALL_BYTES_MAX)


def test_real_files_are_stored_bit_exact(home: Home, ingest: Ingest) -> None:
    """All small ones in one body; those that are no instances are told."""
    given = {name: path.read_bytes() for name, path in SMALL.items()}
    result = run(ingest, files(*given.values()))
    assert len(result.stored) + len(result.failed) == len(given)
    assert {each.reason for each in result.failed} <= {0xC000, 0xA900, 0x0111}
    assert len(result.stored) > len(given) // 3
    wanted = {data_set_of(each) for each in given.values()}
    assert all(data_set_of(each) in wanted for each in stored_bytes(home))
