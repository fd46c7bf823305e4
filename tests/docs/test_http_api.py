"""The limits that the page of HTTPS names are those of the code."""

import re
from pathlib import Path

import pytest

from leadglass.config import GiB, Https, Limits, MiB
from leadglass.pixels.views import VIEWPORT_SIDE_MAX
from leadglass.servers.dicomweb.multipart import PARTS_MAX
from leadglass.servers.dicomweb.qido import RESULTS_MAX
from leadglass.servers.dicomweb.stow import (
    BULK_BYTES_MAX,
    GATHERED_BYTES_MAX,
    INSTANCES_MAX,
    METADATA_BYTES_MAX,
)
from leadglass.servers.dicomweb.wado_frames import FRAMES_MAX
from leadglass.servers.http.documents import DOCUMENT_BYTES_MAX
from leadglass.servers.http.limits import HttpLimits

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "http-api.md"
HTTP, HTTPS, LIMITS = HttpLimits(), Https(), Limits()
WANTED: dict[str, tuple[float, ...]] = {
    "request line": (HTTP.url_bytes_max,),
    "headers, with the request line": (HTTP.headers_max, HTTP.head_bytes_max),
    "parameters of a query": (HTTP.parameters_max,),
    "time for a handshake, and for a head": (HTTPS.head_timeout_s,),
    "rest between two requests": (HTTPS.idle_timeout_s,),
    "pause within a body, either way": (HTTPS.transfer_timeout_s,),
    "slowness of a body": (HTTP.body_bytes_per_s_min,),
    "connections": (
        HTTPS.connection_count_max,
        HTTPS.connection_count_per_address_max,
    ),
    "requests waiting behind another on one connection": (HTTP.pipelined_max,),
    "requests at work": (HTTPS.request_count_max,),
    "bodies under way": (HTTPS.stream_count_max,),
    "requests of one address": (HTTPS.request_count_per_s_max,),
    "wrong proofs of one address": (HTTP.failures_burst, 1 / HTTP.failures_per_s_max),
    "a document of `/api`": (DOCUMENT_BYTES_MAX,),
    "a body that is stored": (HTTPS.stored_bytes_max / GiB,),
    "an instance": (LIMITS.object_bytes_max / GiB,),
    "parts of a body": (PARTS_MAX,),
    "metadata and bulk data, in memory": (
        METADATA_BYTES_MAX / MiB,
        BULK_BYTES_MAX / MiB,
        INSTANCES_MAX,
        GATHERED_BYTES_MAX / GiB,
    ),
    "results of a search": (RESULTS_MAX,),
    "frames of one answer": (FRAMES_MAX,),
    "sides of a picture": (VIEWPORT_SIDE_MAX,),
}


def rows() -> dict[str, list[float]]:
    section = PAGE.read_text("utf-8").partition("## Limits")[2]
    found = (
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in section.splitlines()
        if line.startswith("| ")
    )
    return {
        what: [float(number) for number in re.findall(r"\d+", most)]
        for what, most, _ in found
        if what != "of"
    }


@pytest.mark.parametrize("what", WANTED)
def test_a_limit_is_as_it_is_told(what: str) -> None:
    assert rows()[what] == list(WANTED[what])


def test_no_other_limit_is_told() -> None:
    assert rows().keys() == WANTED.keys()
