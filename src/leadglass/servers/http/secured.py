"""One TLS connection with deadlines, for the thread that it belongs to.

OpenSSL works on memory, and the socket moves what it made in large pieces: a record
holds 16 KB at most, and a system call for each would cost more than its encryption.
"""

import contextlib
import socket
import ssl
import time
from collections.abc import Iterable
from typing import Final, cast

# Read from the socket at once; several records of TLS.
_READ_BYTES: Final = 128 * 1024
# Encrypted at once: what is on its way twice, as plaintext and as records.
_WRITE_BYTES: Final = 512 * 1024
# What a peer still sends and nobody reads, until it is cut off.
_LINGER_BYTES: Final = 1024 * 1024


class Ended(Exception):
    """The peer has left, or speaks no TLS any more: there is nobody to answer."""


class TooSlow(Exception):
    """A deadline has passed."""


class Secured:
    """A connection to one client; ``abort`` alone may be called by other threads."""

    def __init__(self, plain: socket.socket, context: ssl.SSLContext) -> None:
        """Take a socket over; ``handshake`` comes next."""
        self._socket = plain
        self._came, self._goes = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._came, self._goes, server_side=True)
        self._buffer = memoryview(bytearray(_READ_BYTES))
        self._plain = memoryview(bytearray(_READ_BYTES))

    def handshake(self, within_s: float) -> None:
        """Shake hands.

        Raises:
            OSError: It failed (``ssl.SSLError`` says how), or there was no time.
        """
        until_s = time.monotonic() + within_s
        try:
            while True:
                try:
                    self._tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    self._flush(until_s)
                    self._fill(until_s)
            self._flush(until_s)
        except ssl.SSLError:
            with contextlib.suppress(OSError, Ended, TooSlow):
                self._flush(until_s)  # an alert that says why
            raise
        except TooSlow:
            raise TimeoutError from None
        except Ended:
            raise ConnectionResetError from None

    @property
    def channel(self) -> str:
        """TLS version, as ``TLSv1.3``."""
        return self._tls.version() or ""

    @property
    def certificate(self) -> bytes | None:
        """DER of the client's certificate; the handshake has verified it."""
        return self._tls.getpeercert(True)

    def receive(self, within_s: float) -> memoryview:
        """Return some bytes, none once the peer has ended; they stand until the next.

        As many records as have come are given together: what follows costs as much
        for one as for all of them.

        Raises:
            TooSlow: Nothing came in time.
            Ended: The connection broke.
        """
        until_s = time.monotonic() + within_s
        filled = 0
        while filled < _READ_BYTES:
            try:
                # With a buffer it returns how many (its types say what without does).
                count = cast("int", self._tls.read(_READ_BYTES, self._plain[filled:]))
            except ssl.SSLWantReadError:
                if filled:
                    break
                self._flush(until_s)  # an answer to a change of keys, say
                self._fill(until_s)
            except ssl.SSLZeroReturnError:
                break
            except ssl.SSLError:
                raise Ended from None
            else:
                if not count:
                    break
                filled += count
        return self._plain[:filled]

    def send(self, parts: Iterable[bytes], within_s: float) -> None:
        """Send all of it, one part after the other; each half megabyte has its time.

        Raises:
            TooSlow: The peer did not take a piece in time.
            Ended: The connection broke.
        """
        for part in parts:
            view = memoryview(part)
            for start in range(0, len(view), _WRITE_BYTES):
                self._encrypt(view[start : start + _WRITE_BYTES])
                if self._goes.pending >= _WRITE_BYTES:
                    self._flush(time.monotonic() + within_s)
        self._flush(time.monotonic() + within_s)

    def _encrypt(self, piece: memoryview) -> None:
        while piece:
            try:
                piece = piece[self._tls.write(piece) :]
            except ssl.SSLError:
                raise Ended from None

    def close(self, linger_s: float) -> None:
        """Say good-bye, and give the peer time to read what was sent.

        What it still sends is thrown away, for a while: a socket that is closed with
        bytes unread resets the connection, and takes the answer from its reader.
        """
        until_s = time.monotonic() + linger_s
        with contextlib.suppress(OSError, Ended, TooSlow):
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()
            self._flush(until_s)
            self._socket.shutdown(socket.SHUT_WR)
            left_bytes = _LINGER_BYTES
            while left_bytes > 0 and (count := self._read(until_s)):
                left_bytes -= count
        self._socket.close()

    def abort(self) -> None:
        """End it at once, without a word; whoever waits for it is woken."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def drop(self) -> None:
        """Let go of it without a word."""
        self.abort()
        self._socket.close()

    # ── the socket ───────────────────────────────────────────────────────────

    def _fill(self, until_s: float) -> None:
        count = self._read(until_s)
        if not count:
            # Without a good-bye of TLS: what came before may have been cut.
            raise Ended
        self._came.write(self._buffer[:count])

    def _read(self, until_s: float) -> int:
        try:
            self._socket.settimeout(_left_s(until_s))
            return self._socket.recv_into(self._buffer)
        except TimeoutError:
            raise TooSlow from None
        except OSError:
            raise Ended from None

    def _flush(self, until_s: float) -> None:
        """Send the records that were made."""
        if not self._goes.pending:
            return
        data = memoryview(self._goes.read())
        try:
            while data:
                self._socket.settimeout(_left_s(until_s))
                data = data[self._socket.send(data) :]
        except TimeoutError:
            raise TooSlow from None
        except OSError:
            raise Ended from None


def _left_s(until_s: float) -> float:
    """Return the seconds that are left.

    Raises:
        TooSlow: None.
    """
    left_s = until_s - time.monotonic()
    if left_s <= 0:
        raise TooSlow
    return left_s
