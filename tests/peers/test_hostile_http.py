"""HTTPS under attack: told so or cut off, in bounded memory, while others are served.

Who attacks has a token and may store: strangers are stopped before all of this. Each
attack comes from an address of its own, since who is a nuisance is slowed down by his.
"""

import json
import re
import socket
import ssl
import subprocess
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from itertools import count, repeat
from pathlib import Path

import pytest

from leadglass.audit.codes import Outcome
from leadglass.audit.search import Search
from leadglass.dicom.part10 import FileMeta, encode_part10_header
from leadglass.dicom.uids import UID
from tests.peers import samples
from tests.peers.nodes import is_told, made, serving
from tests.peers.web import BOUNDARY, FILES, WAIT_S, Site, multipart, site_of, statuses
from tests.unit.dicom.corpus import IDENTITY, element

pytestmark = pytest.mark.filterwarnings("ignore")

MiB = 1024 * 1024
# What any attack below may cost beside what the node holds anyway. One body of
# metadata and bulk data may hold 80 MiB (``stow.Bounds``), and its parsed form more.
GROWTH_BYTES_MAX = 48 * MiB
GATHERED_GROWTH_BYTES_MAX = 256 * MiB
# Longest wait of somebody else; two cores are shared by many tests.
SERVED_WITHIN_S = 5.0
INFLATED_BYTES_MAX = 32 * MiB
PATIENT = "Hushed^Patient"
IMAGE = samples.instance(PatientName=PATIENT, PatientID="HUSHED-1", Rows=64)
PATH = (
    f"/dicom-web/studies/{IMAGE.StudyInstanceUID}/series/{IMAGE.SeriesInstanceUID}"
    f"/instances/{IMAGE.SOPInstanceUID}"
)
STUDIES = "/dicom-web/studies"
_NUMBERS = count(10)
# What no answer to an attack and no line of the log may hold.
TELLTALE = re.compile(
    rf"Hushed|HUSHED|Traceback|File \"|{re.escape(IMAGE.StudyInstanceUID)}"
)


def own_address() -> str:
    return f"127.0.4.{next(_NUMBERS)}"


@dataclass
class Witness:
    """Somebody else, who asks all the time."""

    site: Site
    waits_s: list[float] = field(default_factory=list)
    answers: set[int] = field(default_factory=set)

    def watch(self, over: threading.Event) -> None:
        with self.site.client(source="127.0.0.2") as client:
            while True:
                began_s = time.monotonic()
                response = client.get(f"{STUDIES}?limit=1")
                self.waits_s.append(time.monotonic() - began_s)
                self.answers.add(response.status_code)
                if over.wait(0.02):
                    return


@contextmanager
def attacked(site: Site, growth_bytes_max: int = GROWTH_BYTES_MAX) -> Iterator[None]:
    """Look at the node and at somebody else while it is attacked."""
    process = site.node.process
    assert process is not None
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # the peak begins anew
    before, over, witness = site.memory_bytes(), threading.Event(), Witness(site)
    with ThreadPoolExecutor(1) as executor:
        watching = executor.submit(witness.watch, over)
        try:
            yield
        finally:
            over.set()
        watching.result()
    assert witness.answers == {200}
    assert max(witness.waits_s) < SERVED_WITHIN_S
    assert site.peak_bytes() - before <= growth_bytes_max
    assert process.poll() is None


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "all"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, log: Path) -> Iterator[Site]:
    node = made(
        tmp_path_factory.mktemp("hostile") / "node",
        https__head_timeout_s="1",
        https__idle_timeout_s="2",
        https__transfer_timeout_s="2",
        https__connection_count_per_address_max="24",
        limits__inflated_bytes_max=str(INFLATED_BYTES_MAX),
    )
    node.environment = {"TESTS_LOG_FILE": str(log)}
    found = site_of(node)
    IMAGE.PixelData = bytes(2 * 4 * 64)
    IMAGE.file_meta = samples.explicit()
    with serving(node):
        with found.client() as client:
            assert found.store([samples.written(IMAGE)], client).status_code == 200
            for _ in range(20):  # what a node needs anyway is not what attacks cost
                assert client.get(STUDIES).status_code == 200
        yield found


@pytest.fixture(scope="module", autouse=True)
def told_nothing(site: Site, log: Path) -> Iterator[None]:
    """After all of them: nothing of a patient, and no mistake of ours, in the log."""
    yield
    text = log.read_text()
    assert "GET" in text  # it is the log of all that there is
    assert TELLTALE.search(text) is None
    assert not [line for line in text.splitlines() if " ERROR " in line]


def is_turned_away(heard: bytes, *allowed: int) -> bool:
    """Whether an attack was told so, or cut off, and learned nothing."""
    found = set(statuses(heard))
    assert found <= set(allowed), found
    assert TELLTALE.search(heard.decode("latin-1")) is None
    return True


# --- heads and framing ----------------------------------------------------------------

HIDDEN = b"GET /dicom-web/studies HTTP/1.1\r\n"


def post(*lines: str) -> Callable[[Site], bytes]:
    return lambda site: site.head(
        f"Content-Type: {FILES}", *lines, method="POST", path=STUDIES
    )


def get(path: str, *lines: str) -> Callable[[Site], bytes]:
    return lambda site: site.head("Connection: close", *lines, path=path)


def wholly(data: bytes) -> Callable[[Site], bytes]:
    return lambda _site: data


def hidden(site: Site) -> bytes:
    """Return a request that must not be found within another one's body."""
    return site.head("Connection: close")


CHUNKED = "Transfer-Encoding: chunked"
# Requests that are none, and the answers that they may have; none: cut off.
NONE: dict[str, tuple[Callable[[Site], bytes], tuple[int, ...]]] = {
    "a negative length": (post("Content-Length: -1"), (400,)),
    "a length in hexadecimal": (post("Content-Length: 0x10"), (400,)),
    "a length with a sign": (post("Content-Length: +5"), (400,)),
    "two lengths": (post("Content-Length: 5", "Content-Length: 6"), (400,)),
    "the same length twice": (post("Content-Length: 5", "Content-Length: 5"), (400,)),
    "a length of 10^30": (post(f"Content-Length: 1{'0' * 30}"), (400, 413)),
    "a length of a terabyte and more": (post("Content-Length: 9" + "9" * 14), (413,)),
    "length and chunks": (post("Content-Length: 5", CHUNKED), (400,)),
    "chunks and length": (post(CHUNKED, "Content-Length: 5"), (400,)),
    "chunks, but not last": (post("Transfer-Encoding: chunked, identity"), (400,)),
    "chunks twice": (post("Transfer-Encoding: chunked, chunked"), (400,)),
    "chunks by another name": (post("Transfer-Encoding: xchunked"), (400,)),
    "chunks behind a vertical tab": (post("Transfer-Encoding: \x0bchunked"), (400,)),
    "a header before a space": (post("Content-Length : 5"), (400,)),
    "a folded header": (post("X: a", " b"), (400,)),
    "a header with a NUL": (post("X: a\0b"), (400,)),
    "a bare carriage return": (post("X: a\rContent-Length: 5"), (400,)),
    "the preface of HTTP/2": (
        wholly(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(64)),
        (400,),
    ),
    "HTTP/0.9": (wholly(b"GET /\r\n\r\n"), (400, 421)),
    "HTTP/1.0 without a host": (wholly(b"GET / HTTP/1.0\r\n\r\n"), (421,)),
    "no host": (wholly(b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n"), (421,)),
    "a method of 10 KB": (wholly(b"G" * 10_000 + b" / HTTP/1.1\r\n\r\n"), (400,)),
    "a tunnel": (wholly(b"CONNECT evil.example:443 HTTP/1.1\r\n\r\n"), (400, 421)),
    "TLS in TLS": (wholly(b"\x16\x03\x01\x02\x00\x01" + bytes(600)), (400,)),
    "zeros": (wholly(bytes(200_000)), (400,)),
    "a path of 64 KB": (get("/" + "a" * 65_536), (414, 431)),
    "a query of 64 KB": (get(f"{STUDIES}?a={'a' * 65_536}"), (414, 431)),
    "10,000 parameters": (get(STUDIES + "?" + "a=1&" * 10_000), (414, 431)),
    "2,000 parameters": (get(STUDIES + "?" + "a&" * 2_000), (400,)),
    "a path with a NUL": (get("/dicom-web/\0"), (400,)),
    "a path with bytes": (get("/dicom-web/\xff\xfe"), (400,)),
    "1,000 headers": (get(STUDIES, *(f"X-{n}: 1" for n in range(1000))), (431,)),
    "a header of 1 MB": (get(STUDIES, f"X: {'x' * MiB}"), (431,)),
    "the path of another site": (get("//evil.example/"), (404,)),
    "two hosts": (get(STUDIES, "Host: evil.example"), (400, 421)),
    "a method that is none of ours": (
        lambda site: site.head("Connection: close", method="TRACE"),
        (405,),
    ),
}


@pytest.mark.parametrize("case", NONE)
def test_no_request(site: Site, case: str) -> None:
    make, allowed = NONE[case]
    with attacked(site):
        # Whatever follows it is no request: or who shares a connection with others
        # (a proxy's, say) could have theirs answered by his.
        heard = site.say(make(site) + hidden(site), source=own_address())
    assert is_turned_away(heard, *allowed)


CHUNKS = {
    "a size that is none": b"zz\r\n",
    "a negative size": b"-1\r\n",
    "a size of 2^68": b"1" + b"0" * 17 + b"\r\n",
    "a size that is longer than its chunk": b"2\r\nabc\r\n",
    "an extension without an end": b"1;" + b"x" * MiB,
    "a size without an end": b"0" * MiB,
    "trailers without an end": b"0\r\n" + b"X: y\r\n" * 100_000,
}


@pytest.mark.parametrize("case", CHUNKS)
def test_no_chunks(site: Site, case: str) -> None:
    head = post(CHUNKED)(site)
    with attacked(site):
        heard = site.say(head, CHUNKS[case], hidden(site), source=own_address())
    assert is_turned_away(heard, 400, 413, 431)


@pytest.mark.parametrize(
    "path",
    [
        "/dicom-web/../../etc/passwd",
        "/dicom-web/studies/..%2f..%2f..%2fetc%2fpasswd/metadata",
        "/dicom-web/studies/%2e%2e/metadata",
        "/dicom-web/studies/1.2%00/metadata",
        "/dicom-web/studies/1.2%2fseries%2f1/metadata",
        "/dicom-web/studies//metadata",
        f"{STUDIES}/{'1' * 65}/metadata",
        f"{STUDIES}/{'%C3%BC' * 30}/metadata",
        f"{STUDIES}/1' OR '1'='1/metadata".replace(" ", "%20"),
        "/./dicom-web/studies",
        "/dicom-web\\studies",
        "/wado?requestType=WADO&studyUID=..&seriesUID=..&objectUID=..",
    ],
)
def test_paths_that_lead_nowhere(site: Site, path: str) -> None:
    heard = site.say(get(path)(site), source=own_address())
    assert statuses(heard) == [404]
    assert is_turned_away(heard, 404)


def test_an_absolute_target_is_judged_by_the_host(site: Site) -> None:
    target = "https://evil.example/dicom-web/nothing"
    heard = site.say(get(target)(site), source=own_address())
    assert is_turned_away(heard, 400, 404, 421)


def test_lengths_that_lie(site: Site) -> None:
    """Shorter than the body: the rest is no request; longer: nobody waits for ever."""
    whole = multipart([samples.written(HALF)])
    with attacked(site):
        short = post("Content-Length: 20")(site) + whole
        # Twenty bytes hold no instance, and the rest is no request.
        assert is_turned_away(site.say(short, source=own_address()), 409, 400)
        long = post(f"Content-Length: {len(whole) + 10}", "Connection: close")(site)
        heard = site.say(long + whole, source=own_address())
    # All parts are whole, and only what comes behind them is not.
    assert is_turned_away(heard, 200, 202, 400, 408)


def test_a_thousand_requests_at_once(site: Site) -> None:
    small = site.head(path="/nothing")
    with attacked(site):
        heard = site.say(small * 1_000 + hidden(site), source=own_address())
    assert is_turned_away(heard, 404, 429)


# --- time and connections -------------------------------------------------------------


def drip(tls: ssl.SSLSocket, data: bytes, step_s: float) -> float:
    """Send byte by byte until nobody listens; return how long that was."""
    began_s = time.monotonic()
    with suppress(OSError):
        for at in range(len(data)):
            tls.sendall(data[at : at + 1])
            tls.settimeout(step_s)
            with suppress(TimeoutError):
                if not tls.recv(65_536):
                    break
    return time.monotonic() - began_s


def test_who_is_slow_is_cut_off(site: Site) -> None:
    head, body = site.head(), post("Content-Length: 100000")(site)

    def slowly(before: bytes, data: bytes) -> float:
        with site.raw(own_address()) as tls:
            tls.sendall(before)
            return drip(tls, data, 0.2)

    with attacked(site), ThreadPoolExecutor(12) as executor:
        heads = executor.map(slowly, repeat(b"", 6), repeat(head * 5))
        bodies = executor.map(slowly, repeat(body, 6), repeat(bytes(1000)))
        # Head and transfer timeouts are 1 and 2 s here.
        assert max(heads) < 10
        assert max(bodies) < 15


def test_who_does_not_listen_is_cut_off(site: Site) -> None:
    large = samples.instance(Rows=2048, Columns=4096, PixelData=bytes(16 * MiB))
    large.file_meta = samples.explicit()
    path = f"{STUDIES}/{large.StudyInstanceUID}"
    with site.client() as client:
        assert site.store([samples.written(large)], client).status_code == 200
    with attacked(site), site.raw(own_address()) as tls:
        tls.sendall(site.head(path=path))
        assert tls.recv(12) == b"HTTP/1.1 200"
        time.sleep(3)  # 2 s are the time for which nothing is taken
        taken = 0
        with suppress(OSError):
            while piece := tls.recv(MiB):
                taken += len(piece)
    assert taken < 16 * MiB


def test_many_that_say_nothing(site: Site) -> None:
    source = own_address()
    with attacked(site):
        held = [
            socket.create_connection(
                ("127.0.0.1", site.node.https_port or 0), WAIT_S, (source, 0)
            )
            for _ in range(200)
        ]
        assert is_told(site.node, source, "more connections than are allowed")
        assert is_told(site.node, source, "TLS: no handshake in time")
        for each in held:
            each.close()


def test_half_closed_connections(site: Site) -> None:
    source = own_address()

    def half(data: bytes) -> None:
        with site.raw(source) as tls, suppress(OSError):
            tls.sendall(data)
            socket.socket.shutdown(tls, socket.SHUT_WR)
            tls.recv(1)

    body = post("Content-Length: 1000")(site)
    with attacked(site), ThreadPoolExecutor(8) as executor:
        list(executor.map(half, [site.head()[:-2], site.head(), body] * 12))


def test_handshakes_that_are_none(site: Site) -> None:
    source = own_address()
    garbage = [
        b"\x16\x03\x01\xff\xff" + bytes(70_000),
        b"\0" * 1000,
        HIDDEN,
        b"\x80\x2e",
    ]
    with attacked(site):
        for each in garbage * 5:
            with (
                socket.create_connection(
                    ("127.0.0.1", site.node.https_port or 0), WAIT_S, (source, 0)
                ) as plain,
                suppress(OSError),
            ):
                plain.sendall(each)
                plain.shutdown(socket.SHUT_WR)
                while plain.recv(65_536):
                    pass
    assert is_told(site.node, source, "TLS: ")


def test_nobody_renegotiates(site: Site) -> None:
    done = subprocess.run(
        [
            *("openssl", "s_client", "-tls1_2", "-CAfile", site.ca),
            *("-connect", f"127.0.0.1:{site.node.https_port}"),
        ],
        check=False,  # it fails, as it should
        input=b"R\n",
        capture_output=True,
        timeout=WAIT_S,
    )
    assert b"RENEGOTIATING" in done.stdout + done.stderr
    assert b"no renegotiation" in done.stderr


# --- bodies ---------------------------------------------------------------------------


def endless(site: Site, pieces: Iterator[bytes], kind: str = FILES) -> bytes:
    """Send a body without an end until nobody takes it; return what was answered."""
    heard = bytearray()
    with site.raw(own_address()) as tls:
        head = site.head(f"Content-Type: {kind}", CHUNKED, method="POST", path=STUDIES)
        try:
            tls.sendall(head)
            for piece in pieces:
                tls.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
            tls.sendall(b"0\r\n\r\n")
            tls.settimeout(WAIT_S)
            while b"\r\n\r\n" not in heard and (piece := tls.recv(65_536)):
                heard += piece
        except (ConnectionError, ssl.SSLError):
            with suppress(OSError):
                heard += tls.recv(65_536)
    return bytes(heard)


PART = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
HALF = samples.instance()
HALF.file_meta = samples.explicit()
LONG_MIB = 64
BODIES: dict[str, Callable[[], Iterator[bytes]]] = {
    "no boundary ever": lambda: repeat(b"x" * MiB, LONG_MIB),
    "a part's header without an end": lambda: iter(
        [PART[:-4], *repeat(b"x" * MiB, LONG_MIB)]
    ),
    "a part's headers without an end": lambda: iter(
        [PART[:-2], *repeat(b"X: y\r\n" * 100_000, LONG_MIB)]
    ),
    "a part that is nothing and has no end": lambda: iter(
        [PART, *repeat(b"x" * MiB, LONG_MIB)]
    ),
    "a preamble that is all there is": lambda: iter(
        [PART, *repeat(bytes(MiB), LONG_MIB)]
    ),
    "an element of 4 GB that does not come": lambda: iter(
        [PART, samples.written(HALF)[:132], element(0x0002_0010, "OB", b"", 2**32 - 2)]
    ),
    "an epilogue without an end": lambda: iter(
        [PART + b"\r\n--" + BOUNDARY.encode() + b"--\r\n"] + [b"x" * MiB] * LONG_MIB
    ),
    "half a boundary, again and again": lambda: iter(
        [PART, *repeat((b"\r\n--" + BOUNDARY.encode()[:-1]) * 100_000, 20)]
    ),
    "100,001 parts of nothing": lambda: repeat((b"\r\n" + PART) * 10_001, 10),
}


@pytest.mark.parametrize("case", BODIES)
def test_no_body(site: Site, case: str) -> None:
    with attacked(site):
        heard = endless(site, BODIES[case]())
    assert is_turned_away(heard, 400, 409, 413)


@pytest.mark.parametrize(
    "kind",
    [
        "multipart/related",
        f"multipart/related; boundary={'x' * 20_000}",
        'multipart/related; boundary=""',
        f'multipart/related; boundary="{"=" * 71}"',
        'multipart/related; boundary="a\\\r\\\nb"',
        "multipart/related; type=multipart/related; boundary=a",
        "application/zip",
        "text/html",
        "",
        ";" * 10_000,
    ],
)
def test_no_kind_of_body(site: Site, kind: str) -> None:
    heard = site.say(
        site.head(
            f"Content-Type: {kind}",
            "Content-Length: 1",
            "Connection: close",
            method="POST",
            path=STUDIES,
        )
        + b"x",
        source=own_address(),
    )
    assert is_turned_away(heard, 400, 415, 431)


def test_a_boundary_of_a_megabyte(site: Site) -> None:
    kind = f"multipart/related; boundary={'x' * MiB}"
    with attacked(site):
        heard = endless(site, iter([b"x"]), kind)
    assert is_turned_away(heard, 431)


def test_packed_bodies_are_not_unpacked(site: Site) -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(MiB)) for _ in range(100)) + packer.flush()
    with attacked(site), site.client(source=own_address()) as client:
        for coding in ("gzip", "deflate", "x-gzip"):
            packed = {"content-type": FILES, "content-encoding": coding}
            response = client.post(STUDIES, content=bomb, headers=packed)
            assert response.status_code == 415


def zipped() -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(50 * MiB))
    return file.getvalue()


def deflated(size: int) -> bytes:
    """Return a file whose data set becomes zeros without an end."""
    meta = FileMeta(UID(samples.CT), UID("1.2.3.4"), UID("1.2.840.10008.1.2.1.99"))
    packer = zlib.compressobj(9, wbits=-15)
    pixels = element(0x7FE0_0010, "OW", b"", size)
    packed = packer.compress(IDENTITY + pixels)
    packed += b"".join(packer.compress(bytes(MiB)) for _ in range(size // MiB))
    return encode_part10_header(meta) + packed + packer.flush()


FILES_THAT_ARE_NONE: dict[str, Callable[[], bytes]] = {
    "a zip file": zipped,
    "a deflated bomb": lambda: deflated(4 * INFLATED_BYTES_MAX),
    "a page": lambda: b"<script>alert(1)</script>" * 1000,
    "sequences without an end": lambda: (
        samples.written(HALF)
        + (
            element(0x0040_0275, "SQ", b"", 2**32 - 1)
            + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
        )
        * 100_000
    ),
}


@pytest.mark.parametrize("case", FILES_THAT_ARE_NONE)
def test_no_file(site: Site, case: str) -> None:
    with attacked(site), site.client(source=own_address()) as client:
        response = site.store([FILES_THAT_ARE_NONE[case]()], client)
    assert response.status_code == 409
    assert TELLTALE.search(response.text) is None


def test_a_thousand_refusals_are_one_record(site: Site) -> None:
    source = own_address()
    with attacked(site), site.client(source=source) as client:
        assert site.store([b"no file"] * 1_000, client).status_code == 409
    with site.node.open() as opened:
        told = [
            each.event.outcome_description
            for each in opened.audit.list(Search(address=source))
            if each.event.outcome is Outcome.SERIOUS_FAILURE
        ]
    assert len(told) == 1
    assert str(told[0]).endswith("(and 999 more)")


# --- metadata -------------------------------------------------------------------------


def described(entries: str) -> str:
    """Return JSON of an instance that would be stored, with more in it."""
    uids = {
        "00080016": samples.CT,
        "00080018": samples.new_uid(),
        "0020000D": samples.new_uid(),
        "0020000E": samples.new_uid(),
    }
    known = ",".join(
        f'"{tag}":{{"vr":"UI","Value":["{uid}"]}}' for tag, uid in uids.items()
    )
    return f"[{{{known},{entries}}}]"


def nested(depth: int) -> str:
    opened = '{"00400275":{"vr":"SQ","Value":[' * depth
    return described(f'"00400275":{{"vr":"SQ","Value":[{opened}{"]}}" * depth}]}}')


XML = "application/dicom+xml"
JSON = "application/dicom+json"
MODEL = 'xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM"'
LAUGHS = "".join(f'<!ENTITY a{n + 1} "{f"&a{n};" * 10}">' for n in range(10))
DOCUMENTS: dict[str, tuple[str, Callable[[], str]]] = {
    "JSON in JSON": (JSON, lambda: nested(100_000)),
    "sequences in sequences": (JSON, lambda: nested(100)),
    "brackets": (JSON, lambda: "[" * 1_000_000),
    "empty objects": (JSON, lambda: "[" + "{}," * 400_000 + "{}]"),
    "a number of a million digits": (
        JSON,
        lambda: described(f'"00280010":{{"vr":"US","Value":[{"9" * 1_000_000}]}}'),
    ),
    "a number with an exponent": (
        JSON,
        lambda: described('"00101030":{"vr":"FD","Value":[1e999999999]}'),
    ),
    "no number": (JSON, lambda: described('"00101030":{"vr":"FD","Value":[NaN]}')),
    "an attribute twice": (JSON, lambda: described('"00080016":{"vr":"UI"}')),
    "half of a pair": (
        JSON,
        lambda: described('"00100010":{"vr":"LO","Value":["\\ud800"]}'),
    ),
    "a billion laughs": (
        XML,
        lambda: f'<!DOCTYPE x [<!ENTITY a0 "ha">{LAUGHS}]><x>&a10;</x>',
    ),
    "an external entity": (
        XML,
        lambda: '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>',
    ),
    "an external document type": (
        XML,
        lambda: '<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd"><x/>',
    ),
    "elements in elements": (
        XML,
        lambda: f"<NativeDicomModel {MODEL}>" + "<DicomAttribute>" * 100_000,
    ),
    "an attribute of a megabyte": (
        XML,
        lambda: f'<NativeDicomModel {MODEL} x="{"y" * MiB}"/>',
    ),
}


@pytest.mark.parametrize("case", DOCUMENTS)
def test_no_metadata(site: Site, case: str) -> None:
    kind, make = DOCUMENTS[case]
    with (
        attacked(site, GATHERED_GROWTH_BYTES_MAX),
        site.client(source=own_address()) as client,
    ):
        response = client.post(
            STUDIES, content=make().encode(), headers={"content-type": kind}
        )
    assert response.status_code in {400, 409, 413}, response.text
    assert "root:" not in response.text
    assert TELLTALE.search(response.text) is None


@pytest.mark.parametrize("kind", [JSON, XML, "application/octet-stream"])
def test_metadata_and_bulk_data_without_an_end(site: Site, kind: str) -> None:
    root = JSON if kind == "application/octet-stream" else kind
    part = (
        f"--{BOUNDARY}\r\nContent-Type: {kind}\r\nContent-Location: x\r\n\r\n".encode()
    )
    whole = f'multipart/related; type="{root}"; boundary={BOUNDARY}'
    with attacked(site, GATHERED_GROWTH_BYTES_MAX):
        heard = endless(site, iter([part, *repeat(b"x" * MiB, 100)]), whole)
    assert is_turned_away(heard, 400, 413)


class Bait:
    """A server that nobody may be made to visit."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(0.2)
        self.port = self._socket.getsockname()[1]

    def was_visited(self) -> bool:
        with self._socket:
            try:
                self._socket.accept()[0].close()
            except TimeoutError:
                return False
            return True


def test_nobody_is_visited_and_no_file_is_read_for_a_uri(site: Site) -> None:
    """Server-side request forgery: bulk data is what came along, or there is none."""
    bait = Bait()
    uris = (
        "file:///etc/passwd",
        "/etc/passwd",
        "../../../etc/passwd",
        f"http://127.0.0.1:{bait.port}/x",
        f"//127.0.0.1:{bait.port}/x",
        f"ftp://127.0.0.1:{bait.port}/x",
        f"https://127.0.0.1:{site.node.https_port}{PATH}/bulkdata/7FE00010",
    )
    with site.client(source=own_address()) as client:
        for uri in uris:
            text = described(
                f'"7FE00010":{{"vr":"OW","BulkDataURI":{json.dumps(uri)}}}'
            )
            response = client.post(
                STUDIES, content=text, headers={"content-type": JSON}
            )
            assert response.status_code == 409, uri
    assert not bait.was_visited()


# --- what is asked for ----------------------------------------------------------------

ASKED: dict[str, tuple[str, dict[str, str], tuple[int, ...]]] = {
    "1,000 ranges": (
        f"{PATH}/bulkdata/7FE00010",
        {"range": "bytes=" + ",".join(["0-"] * 1000)},
        (200, 404),
    ),
    "a range beyond the end": (
        f"{PATH}/bulkdata/7FE00010",
        {"range": "bytes=99999999-"},
        (404, 416),
    ),
    "a range of 10^15": (
        f"{PATH}/bulkdata/7FE00010",
        {"range": f"bytes={'9' * 30}-"},
        (200, 404),
    ),
    "a million frames": (f"{PATH}/frames/1-1000000", {}, (400,)),
    "frame 10^9": (f"{PATH}/frames/999999999", {}, (404,)),
    "one frame 2,000 times": (f"{PATH}/frames/{'1,' * 1999}1", {}, (200, 400)),
    "frames backwards": (f"{PATH}/frames/2-1", {}, (400,)),
    "a viewport of 10^9": (
        f"{PATH}/rendered?viewport=999999999,999999999",
        {},
        (400,),
    ),
    "a viewport of nothing": (f"{PATH}/rendered?viewport=0,0", {}, (400,)),
    "a viewport of -1": (f"{PATH}/rendered?viewport=-1,-1", {}, (400,)),
    "a region outside": (
        f"{PATH}/rendered?viewport=64,64,0,0,999999999,999999999",
        {},
        (400,),
    ),
    "the largest viewport": (f"{PATH}/rendered?viewport=4096,4096", {}, (200,)),
    "a window of 10^400": (f"{PATH}/rendered?window=1e400,1,linear", {}, (400,)),
    "no window": (f"{PATH}/rendered?window=nan,nan,linear", {}, (400,)),
    "a window of nothing": (f"{PATH}/rendered?window=0,0,sigmoid", {}, (400,)),
    "quality 10^9": (f"{PATH}/rendered?quality=999999999", {}, (400,)),
    "16,000 commas": (STUDIES, {"accept": "," * 16_000 + '"'}, (200, 400)),
    "1,000 media types": (PATH, {"accept": ",".join(["a/b"] * 1000)}, (400, 406)),
    "a search below zero": (f"{STUDIES}?limit=-1", {}, (400,)),
    "an offset of 10^30": (f"{STUDIES}?offset=1{'0' * 30}", {}, (400,)),
    "stars": (f"{STUDIES}?PatientName={'*a' * 1000}*b", {}, (200, 400)),
    "1,000 UIDs": (
        f"{STUDIES}?StudyInstanceUID={','.join(['1.2'] * 1000)}",
        {},
        (200, 400),
    ),
    "an attribute that lies too deep": (
        f"{STUDIES}?{'.'.join(['00400275'] * 100)}=1",
        {},
        (400,),
    ),
    "an expression": (f"{STUDIES}?PatientID=' OR 1=1 --", {}, (200,)),
    "known already": (PATH, {"if-none-match": '"x",' * 5_000}, (200,)),
}


@pytest.mark.parametrize("case", ASKED)
def test_what_is_asked_for_is_bounded(site: Site, case: str) -> None:
    path, headers, allowed = ASKED[case]
    with attacked(site), site.client(source=own_address()) as client:
        began_s = time.monotonic()
        response = client.get(path, headers=headers)
        took_s = time.monotonic() - began_s
    assert response.status_code in allowed
    assert took_s < SERVED_WITHIN_S
    if response.status_code >= 400:
        assert TELLTALE.search(response.text) is None
    if case == "an expression":
        assert response.json() == []
