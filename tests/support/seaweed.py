"""SeaweedFS: a real server of S3 with Object Lock, on loopback."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Final

from leadglass.errors import Unavailable
from leadglass.servers.s3 import Bucket

WEED: Final = Path(sys.prefix) / "bin/weed"
START_TIMEOUT_S: Final = 60
NAME, SECRET = "AKTEST", "a secret+/of the test"
_IDENTITIES: Final = """
{"identities": [{"name": "test", "actions": ["Admin", "Read", "Write", "List"],
  "credentials": [{"accessKey": "%s", "secretKey": "%s"}]}]}
"""


def ports(number: int) -> list[int]:
    """Return ports of which that one and the one 10,000 above are free."""
    found: list[int] = []
    for port in count(20_000 + os.getpid() % 20_000):
        with suppress(OSError):
            for each in (port, port + 10_000):
                socket.create_server(("127.0.0.1", each)).close()
            found.append(port)
        if len(found) == number:
            break
    return found


@contextmanager
def bucket(folder: Path, name: str = "worm") -> Iterator[Bucket]:
    """Give a bucket with Object Lock."""
    folder.mkdir()
    (folder / "s3.json").write_text(_IDENTITIES % (NAME, SECRET))
    master, volume, filer, s3 = ports(4)
    words = [
        *(WEED, f"-logdir={folder}", "server", "-ip=127.0.0.1"),
        *("-ip.bind=127.0.0.1", f"-dir={folder}", f"-master.port={master}"),
        *(f"-volume.port={volume}", "-volume.max=20", "-master.volumeSizeLimitMB=8"),
        *("-filer", f"-filer.port={filer}", "-s3", f"-s3.port={s3}"),
        f"-s3.config={folder}/s3.json",
    ]
    made = Bucket(
        address=f"http://127.0.0.1:{s3}/{name}",
        region="us-east-1",
        access_key=NAME,
        secret=lambda: SECRET,
        retention=timedelta(days=1),
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*map(str, words)], cwd=folder, stdout=log, stderr=log
        )
        try:
            _wait(made, process)
            yield made
        finally:
            process.kill()
            process.wait()


def _wait(made: Bucket, process: subprocess.Popen[bytes]) -> None:
    """Make the bucket as soon as the server can."""
    lock = {"x-amz-bucket-object-lock-enabled": "true"}
    ends_at = time.monotonic() + START_TIMEOUT_S
    while True:
        with suppress(Unavailable):
            status, _ = made.ask("PUT", "", b"", lock)
            if status == 200 and made.put("first", b"is it there"):
                return
            if status == 409:
                made.put("first", b"is it there")
                return
        assert process.poll() is None
        assert time.monotonic() < ends_at
        time.sleep(0.2)
