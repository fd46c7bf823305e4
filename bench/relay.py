"""Carry a plaintext client to a TLS server: ``python -m bench.relay``.

DCMTK's getscu and movescu have no TLS in the release that Debian 12 ships. They
stay as they come; this stands before them, does nothing but TLS 1.3, and
acknowledges at once, so that it adds no stall of its own.
"""

import argparse
import select
import socket
import ssl
import threading
from pathlib import Path

from bench.certificates import Identity
from bench.process import LOOPBACK

BUFFER_BYTES = 256 * 1024


def client_context(identity: Identity) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(identity.authority))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # Loopback has no name worth checking; the certificate's issuer is checked.
    context.check_hostname = False
    context.load_cert_chain(identity.certificate, identity.key)
    return context


def send_secure(secure: ssl.SSLSocket, data: memoryview) -> None:
    """Send everything through a socket that does not block."""
    while data:
        try:
            data = data[secure.send(data) :]
        except ssl.SSLWantWriteError:
            select.select([], [secure], [])
        except ssl.SSLWantReadError:
            select.select([secure], [], [])


def receive_secure(secure: ssl.SSLSocket, view: memoryview) -> tuple[int, bool]:
    """Fill the buffer with what is there; say whether more may come."""
    filled = 0
    try:
        while filled < len(view):
            count = secure.recv_into(view[filled:])
            if count == 0:
                return filled, False
            filled += count
    except ssl.SSLWantReadError:
        pass
    return filled, True


def copy(plain: socket.socket, secure: ssl.SSLSocket) -> None:
    """Copy both ways until an end closes.

    One thread, because OpenSSL's connections are not for two at a time.
    """
    view = memoryview(bytearray(BUFFER_BYTES))
    while True:
        waiting = () if secure.pending() else (plain, secure)
        ready, _, _ = select.select(waiting, [], [], None if waiting else 0)
        if secure in ready or not waiting:
            count, is_open = receive_secure(secure, view)
            plain.sendall(view[:count])
            if not is_open:
                return
        if plain in ready:
            count = plain.recv_into(view)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            if count == 0:
                return
            send_secure(secure, view[:count])


def carry(plain: socket.socket, port: int, context: ssl.SSLContext) -> None:
    with plain, socket.create_connection((LOOPBACK, port)) as raw:
        for each in (plain, raw):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with context.wrap_socket(raw) as secure:
            secure.setblocking(False)
            try:
                copy(plain, secure)
            except OSError as error:
                # The client sees its association end and says so itself.
                print(f"relay: {error}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.relay", description=__doc__)
    parser.add_argument("listen", type=int)
    parser.add_argument("target", type=int)
    parser.add_argument("folder", type=Path, help="key.pem, cert.pem, ca.pem")
    asked = parser.parse_args()
    context = client_context(Identity.in_folder(asked.folder))
    with socket.create_server((LOOPBACK, asked.listen)) as listener:
        while True:
            plain, _ = listener.accept()
            threading.Thread(
                target=carry, args=(plain, asked.target, context), daemon=True
            ).start()


if __name__ == "__main__":
    main()
