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
from typing import cast

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


class Secure:
    """TLS over a socket, with the bytes in memory between them.

    OpenSSL itself would read each record in two system calls; here one brings many.
    """

    def __init__(self, raw: socket.socket, context: ssl.SSLContext) -> None:
        self._raw = raw
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=None)
        self._received = memoryview(bytearray(BUFFER_BYTES))
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                if not self.fill():
                    message = "the server ended the handshake"
                    raise ConnectionError(message) from None
            else:
                self._flush()
                return

    def _flush(self) -> None:
        if self._out.pending:
            self._raw.sendall(self._out.read())

    def fill(self) -> int:
        """Wait for bytes of the peer and take them in; 0 when it has ended."""
        count = self._raw.recv_into(self._received)
        self._in.write(self._received[:count])
        return count

    def read_into(self, view: memoryview) -> int:
        """Decrypt what has been taken in, as far as it makes whole records."""
        filled = 0
        try:
            while filled < len(view):
                # With a buffer it returns a count, whatever its declared type says.
                count = cast("int", self._tls.read(len(view) - filled, view[filled:]))
                if count == 0:
                    break
                filled += count
        except ssl.SSLWantReadError:
            pass
        return filled

    def write(self, data: memoryview) -> None:
        self._tls.write(data)
        self._flush()


def copy(plain: socket.socket, raw: socket.socket, secure: Secure) -> None:
    """Copy both ways until an end closes."""
    view = memoryview(bytearray(BUFFER_BYTES))
    while True:
        ready, _, _ = select.select((plain, raw), [], [])
        if raw in ready:
            if not secure.fill():
                return
            while count := secure.read_into(view):
                plain.sendall(view[:count])
        if plain in ready:
            count = plain.recv_into(view)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            if count == 0:
                return
            secure.write(view[:count])


def carry(plain: socket.socket, port: int, context: ssl.SSLContext) -> None:
    with plain, socket.create_connection((LOOPBACK, port)) as raw:
        for each in (plain, raw):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            copy(plain, raw, Secure(raw, context))
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
