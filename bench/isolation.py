"""A network of our own: loopback and nothing else.

Orthanc and storescp listen on all addresses and cannot be told otherwise. In a
network namespace without any other interface nobody can reach them, and nobody
can disturb the measurement.
"""

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys

from bench.process import BenchError

MARK = "LEADGLASS_BENCH_ISOLATED"
# From netdevice(7), numbers from <linux/sockios.h>.
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1


def raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        asked = struct.pack("16sH14x", b"lo", 0)
        answer = fcntl.ioctl(any_socket, SIOCGIFFLAGS, asked)
        (flags,) = struct.unpack("16xH14x", answer)
        wanted = struct.pack("16sH14x", b"lo", flags | IFF_UP)
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, wanted)


def enter() -> None:
    """Go on in an isolated network, by running this command again inside one.

    Raises:
        BenchError: this user may not make one.
    """
    if MARK in os.environ:
        raise_loopback()
        return
    unshare = shutil.which("unshare") or "unshare"
    ways = (["--net"], ["--user", "--map-root-user", "--net"])
    for way in ways:
        try:
            tried = subprocess.run(
                [unshare, *way, "true"], capture_output=True, check=False
            )
        except FileNotFoundError:
            break
        if tried.returncode == 0:
            os.environ[MARK] = "1"
            command = [sys.executable, "-m", "bench", *sys.argv[1:]]
            os.execv(unshare, [unshare, *way, "--", *command])  # does not return
    message = (
        "the peers listen on all addresses, so they are measured in a network namespace"
        " only: run this as root, or allow user namespaces"
    )
    raise BenchError(message)
