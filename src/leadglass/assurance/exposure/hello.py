"""TLS as far as its first answer, by hand: what a server would still agree to.

OpenSSL of today no longer offers SSL 3.0, export or anonymous suites, so it cannot
find out who takes them. A ClientHello and a look at the ServerHello can (RFC 5246
§7.4, RFC 6101); no key is ever agreed.
"""

import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from leadglass.assurance.exposure.contact import Line, Wire
from leadglass.errors import LeadglassError

SSL3: Final = 0x0300
TLS1_0: Final = 0x0301
TLS1_1: Final = 0x0302
TLS1_2: Final = 0x0303
VERSIONS: Final = MappingProxyType(
    {SSL3: "SSL 3.0", TLS1_0: "TLS 1.0", TLS1_1: "TLS 1.1", TLS1_2: "TLS 1.2"}
)

# No secret at all: nobody is authenticated, nothing or next to nothing is encrypted.
NO_SECRET: Final = MappingProxyType(
    {
        0x0001: "RSA_WITH_NULL_MD5", 0x0002: "RSA_WITH_NULL_SHA",
        0x003B: "RSA_WITH_NULL_SHA256", 0x0003: "RSA_EXPORT_WITH_RC4_40_MD5",
        0x0006: "RSA_EXPORT_WITH_RC2_CBC_40_MD5",
        0x0008: "RSA_EXPORT_WITH_DES40_CBC_SHA",
        0x0014: "DHE_RSA_EXPORT_WITH_DES40_CBC_SHA", 0x0018: "DH_anon_WITH_RC4_128_MD5",
        0x001B: "DH_anon_WITH_3DES_EDE_CBC_SHA", 0x0034: "DH_anon_WITH_AES_128_CBC_SHA",
        0x003A: "DH_anon_WITH_AES_256_CBC_SHA",
        0x006C: "DH_anon_WITH_AES_128_CBC_SHA256",
        0x00A6: "DH_anon_WITH_AES_128_GCM_SHA256",
        0x00A7: "DH_anon_WITH_AES_256_GCM_SHA384", 0xC006: "ECDHE_ECDSA_WITH_NULL_SHA",
        0xC010: "ECDHE_RSA_WITH_NULL_SHA", 0xC015: "ECDH_anon_WITH_NULL_SHA",
        0xC018: "ECDH_anon_WITH_AES_128_CBC_SHA",
        0xC019: "ECDH_anon_WITH_AES_256_CBC_SHA",
    }
)  # fmt: skip
# RFC 9325 §4.1 and §4.2: no forward secrecy, no authenticated encryption, or broken.
WEAK: Final = MappingProxyType(
    {
        0x0004: "RSA_WITH_RC4_128_MD5", 0x0005: "RSA_WITH_RC4_128_SHA",
        0x0009: "RSA_WITH_DES_CBC_SHA", 0x000A: "RSA_WITH_3DES_EDE_CBC_SHA",
        0x0016: "DHE_RSA_WITH_3DES_EDE_CBC_SHA", 0x002F: "RSA_WITH_AES_128_CBC_SHA",
        0x0035: "RSA_WITH_AES_256_CBC_SHA", 0x003C: "RSA_WITH_AES_128_CBC_SHA256",
        0x003D: "RSA_WITH_AES_256_CBC_SHA256", 0x009C: "RSA_WITH_AES_128_GCM_SHA256",
        0x009D: "RSA_WITH_AES_256_GCM_SHA384", 0x0033: "DHE_RSA_WITH_AES_128_CBC_SHA",
        0x0039: "DHE_RSA_WITH_AES_256_CBC_SHA",
        0x0067: "DHE_RSA_WITH_AES_128_CBC_SHA256",
        0x006B: "DHE_RSA_WITH_AES_256_CBC_SHA256",
        0xC007: "ECDHE_ECDSA_WITH_RC4_128_SHA",
        0xC009: "ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
        0xC00A: "ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
        0xC011: "ECDHE_RSA_WITH_RC4_128_SHA",
        0xC012: "ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
        0xC013: "ECDHE_RSA_WITH_AES_128_CBC_SHA",
        0xC014: "ECDHE_RSA_WITH_AES_256_CBC_SHA",
        0xC023: "ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
        0xC027: "ECDHE_RSA_WITH_AES_128_CBC_SHA256",
        0xC028: "ECDHE_RSA_WITH_AES_256_CBC_SHA384",
    }
)  # fmt: skip
# What PS3.15 §B.12 asks for beside TLS 1.3, and the finite-field kin of it.
DHE: Final = MappingProxyType(
    {
        0x009E: "DHE_RSA_WITH_AES_128_GCM_SHA256",
        0x009F: "DHE_RSA_WITH_AES_256_GCM_SHA384",
    }
)
GOOD: Final = MappingProxyType(
    {
        0xC02B: "ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        0xC02C: "ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        0xC02F: "ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        0xC030: "ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        0xCCA8: "ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        0xCCA9: "ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    }
)
EVERY: Final = MappingProxyType({**GOOD, **DHE, **WEAK, **NO_SECRET})

# A chain of certificates and a key exchange are some 8 KiB.
_ANSWER_BYTES_MAX: Final = 96 * 1024
_HANDSHAKE, _ALERT = 22, 21
_SERVER_HELLO, _KEY_EXCHANGE, _CERTIFICATE_REQUEST, _DONE = 2, 12, 13, 14


@dataclass(frozen=True, slots=True)
class Hello:
    """What a server agreed to.

    Attributes:
        version: Of the protocol, such as ``TLS1_2``.
        suite: Number of the cipher suite.
        dh_bits: Length of the prime, with a DHE suite; 0 without.
        demands_certificate: It asks the client for one (it may not insist).
    """

    version: int
    suite: int
    dh_bits: int = 0
    demands_certificate: bool = False

    @property
    def text(self) -> str:
        """As people read it."""
        return f"{VERSIONS[self.version]} {EVERY[self.suite]}"


def greet(line: Line, port: int, version: int, suites: Iterable[int]) -> Hello | None:
    """Offer one version and some suites; None: the server does not agree."""
    offered = tuple(suites)
    try:
        wire = line.dial(port)
    except LeadglassError:
        return None
    try:
        wire.send(client_hello(version, offered, line.name))
        answer = _read(wire)
    except LeadglassError:
        return None
    finally:
        wire.close()
    hello = server_hello(answer)
    # Whatever else is answered is no agreement with what was offered.
    if hello is None or hello.version != version or hello.suite not in offered:
        return None
    return hello


def is_spoken(line: Line, port: int) -> bool:
    """Return whether a ClientHello gets a record of TLS back, be it an alert."""
    try:
        wire = line.dial(port)
    except LeadglassError:
        return False
    try:
        wire.send(client_hello(TLS1_2, tuple(EVERY), line.name))
        begun = wire.read(5)
    except LeadglassError:
        return False
    finally:
        wire.close()
    return len(begun) >= 2 and begun[0] in {_HANDSHAKE, _ALERT} and begun[1] == 3


def client_hello(version: int, suites: tuple[int, ...], name: str = "") -> bytes:
    """Return a ClientHello record (RFC 5246 §7.4.1.2)."""
    body = struct.pack(">H", version) + os.urandom(32) + b"\0"
    body += struct.pack(">H", 2 * len(suites))
    body += b"".join(struct.pack(">H", each) for each in suites) + b"\x01\x00"
    if version != SSL3:
        extensions = (
            _extension(10, _listed((29, 23, 24, 25)))
            + _extension(11, b"\x01\x00")
            + _extension(
                13, _listed((0x403, 0x503, 0x804, 0x805, 0x401, 0x501, 0x203, 0x201))
            )
        )
        if name:
            raw = name.encode("ascii", "ignore")
            entry = b"\0" + struct.pack(">H", len(raw)) + raw
            extensions += _extension(0, struct.pack(">H", len(entry)) + entry)
        body += struct.pack(">H", len(extensions)) + extensions
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    record = min(version, TLS1_0)
    return struct.pack(">BHH", _HANDSHAKE, record, len(message)) + message


def _extension(number: int, data: bytes) -> bytes:
    return struct.pack(">HH", number, len(data)) + data


def _listed(numbers: tuple[int, ...]) -> bytes:
    return struct.pack(">H", 2 * len(numbers)) + b"".join(
        struct.pack(">H", each) for each in numbers
    )


def _read(wire: Wire) -> bytes:
    """Return the handshake messages up to ServerHelloDone, an alert or the end."""
    raw, messages = bytearray(), bytearray()
    while len(raw) <= _ANSWER_BYTES_MAX:
        data = wire.read()
        if not data:
            break
        raw += data
        messages.clear()
        at = 0
        while len(raw) - at >= 5:
            kind, _, length = struct.unpack_from(">BHH", raw, at)
            if kind != _HANDSHAKE:
                return bytes(messages)
            if len(raw) - at - 5 < length:
                break
            messages += raw[at + 5 : at + 5 + length]
            at += 5 + length
        if any(kind == _DONE for kind, _ in _messages(bytes(messages))):
            break
    return bytes(messages)


def _messages(data: bytes) -> list[tuple[int, bytes]]:
    found, at = [], 0
    while len(data) - at >= 4:
        length = int.from_bytes(data[at + 1 : at + 4], "big")
        if len(data) - at - 4 < length:
            break
        found.append((data[at], data[at + 4 : at + 4 + length]))
        at += 4 + length
    return found


def server_hello(data: bytes) -> Hello | None:
    """Read handshake messages; None if there is no ServerHello of a known kind."""
    version = suite = bits = 0
    demands = False
    for kind, body in _messages(data):
        if kind == _SERVER_HELLO and len(body) >= 38:
            version = int.from_bytes(body[:2], "big")
            at = 35 + body[34]
            suite = int.from_bytes(body[at : at + 2], "big")
        elif kind == _KEY_EXCHANGE and "DHE_RSA" in EVERY.get(suite, ""):
            if not EVERY[suite].startswith("EC") and len(body) > 2:
                bits = 8 * int.from_bytes(body[:2], "big")
        elif kind == _CERTIFICATE_REQUEST:
            demands = True
    if version not in VERSIONS or suite not in EVERY:
        return None
    return Hello(version, suite, bits, demands)
