"""Checks a folder of evidence from the audit record of a Leadglass node.

    python3 verify.py [FOLDER] [--key KEY] [--tsa FILE] [--show]

FOLDER is the one this file lies in, if it is left out. KEY is the public key of the
record, as a line (name+id+base64) or a PEM file, got from somewhere else than the
folder; without it only what the folder says of itself is checked. FILE is the
certificate (PEM or DER) of an authority for time stamps, got so, too. --show prints the
records that are opened. Exit code 0: everything holds; 1: something does not.

It needs Python 3.9 or newer and the package ``cryptography``, and nothing of
Leadglass. What it checks is written at each function; the format is described in
docs/explanation/formats/evidence.md of Leadglass.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import struct
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes as digests
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

FORMAT = "leadglass-evidence-1"
MANIFEST = "manifest.json"
STATEMENT = "manifest.sig"
STAMPS = "timestamps.jsonl"
# The first line of what the node signs of a manifest; no checkpoint begins like it.
STATEMENT_LINE = "leadglass-evidence/v1"

# version, number, wall clock, clock since boot, boot, event code, commitment
_LEAF = struct.Struct(">BQqqqI32s")
_DASH = "\u2014 "
_LOG_KEY = b"\x01"
_WITNESS_KEY = b"\x04"
_KEY_ID_BYTES = 4
_TIME_BYTES = 8
_EMPTY_ROOT = sha256(b"").digest()
# Disagreement of two clocks from one record to the next that is worth a remark.
_CLOCK_JUMP_US = 2_000_000
_JUMPS_TOLD_MAX = 20
_WRONG_TOLD_MAX = 20
_ERASED_TOLD_MAX = 20


class Wrong(Exception):
    """Something does not hold; the text says what."""


class Leaf(NamedTuple):
    """What the tree holds of a record."""

    is_open: bool
    erased_by: int | None
    n: int
    wall_us: int
    mono_us: int
    boot: int
    code: int
    commitment: bytes


class Check:
    """What was found so far."""

    def __init__(self) -> None:
        self.holds: list[str] = []
        self.wrong: list[str] = []
        self.remarks: list[str] = []

    def step(self, work: Callable[[], str]) -> None:
        """Do one check; whatever goes wrong in it is something that does not hold."""
        try:
            self.holds.append(work())
        except Wrong as error:
            self.wrong.append(str(error))
        except Exception as error:  # noqa: BLE001  # whatever was done to the folder
            what = (work.__doc__ or "").partition("\n")[0].rstrip(".").lower()
            self.wrong.append(f"{what}: cannot be read ({type(error).__name__})")


# -- keys and signed notes ------------------------------------------------------------


def key_id(name: str, kind: bytes, raw: bytes) -> bytes:
    """Return the four bytes by which a signature names its key (C2SP signed-note)."""
    return sha256(name.encode() + b"\n" + kind + raw).digest()[:_KEY_ID_BYTES]


def key_of(line: str, kind: bytes) -> tuple[str, Ed25519PublicKey]:
    """Return name and key of a line ``name+id+base64``."""
    name, identity, encoded = line.strip().split("+", 2)
    data = base64.b64decode(encoded, validate=True)
    if data[:1] != kind or key_id(name, kind, data[1:]).hex() != identity:
        raise Wrong(f"the key of {name} does not fit its id")
    return name, Ed25519PublicKey.from_public_bytes(data[1:])


def raw_of(key: Ed25519PublicKey) -> bytes:
    """Return the 32 bytes of a key."""
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def signatures_of(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """Return the text of a signed note, and name and signature of each line."""
    body, blank, lines = note.partition("\n\n")
    if not blank or not lines.endswith("\n"):
        raise Wrong("a signed note is not whole")
    found = []
    for line in lines[:-1].split("\n"):
        name, blank, encoded = line[len(_DASH) :].partition(" ")
        if not line.startswith(_DASH) or not blank:
            raise Wrong("a signature line is malformed")
        data = base64.b64decode(encoded, validate=True)
        if base64.b64encode(data).decode() != encoded:
            raise Wrong("a signature line is malformed")
        found.append((name, data))
    return body + "\n", found


def open_note(note: str, origin: str, keys: Sequence[Ed25519PublicKey]) -> str:
    """Return the text of a note that one of the keys of ``origin`` signed."""
    body, signatures = signatures_of(note)
    known = {key_id(origin, _LOG_KEY, raw_of(key)): key for key in keys}
    for name, data in signatures:
        key = known.get(data[:_KEY_ID_BYTES])
        if name != origin or key is None:
            continue
        try:
            key.verify(data[_KEY_ID_BYTES:], body.encode())
        except InvalidSignature:
            raise Wrong("a signature of the node is false") from None
        return body
    raise Wrong("a note is not signed by the key of the node")


def cosigned_at(note: str, name: str, key: Ed25519PublicKey) -> int | None:
    """Return when a witness cosigned a note, in seconds since 1970; None: it did not.

    C2SP tlog-cosignature, version 1.
    """
    body, signatures = signatures_of(note)
    for signer, data in signatures:
        if signer != name or data[:4] != key_id(name, _WITNESS_KEY, raw_of(key)):
            continue
        stamp = data[_KEY_ID_BYTES : _KEY_ID_BYTES + _TIME_BYTES]
        seconds = int.from_bytes(stamp, "big")
        signed = f"cosignature/v1\ntime {seconds}\n{body}".encode()
        try:
            key.verify(data[_KEY_ID_BYTES + _TIME_BYTES :], signed)
        except InvalidSignature:
            raise Wrong(f"a cosignature of {name} is false") from None
        return seconds
    return None


# -- the tree (RFC 6962, RFC 9162) ----------------------------------------------------


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an interior node."""
    return sha256(b"\x01" + left + right).digest()


def root_over(hashes: Sequence[bytes]) -> bytes:
    """Return the root over leaves of which none is missing."""
    level = list(hashes)
    while len(level) > 1:
        above = [
            node_hash(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)
        ]
        if len(level) % 2:
            above.append(level[-1])
        level = above
    return level[0]


def root_with(
    numbers: Sequence[int], leaves: Sequence[bytes], size: int, rest: Iterator[bytes]
) -> bytes:
    """Return the root of a tree of which some leaves are known.

    Args:
        numbers: Which, in order.
        leaves: Their hashes.
        size: How many leaves the tree has.
        rest: Hashes of the largest subtrees without any of them, from left to right.
    """

    def below(begin: int, end: int, low: int, high: int) -> bytes:
        if low == high:
            return next(rest)
        if high - low == end - begin:
            return root_over(leaves[low:high])
        split = begin + (1 << ((end - begin - 1).bit_length() - 1))
        middle = bisect_left(numbers, split, low, high)
        return node_hash(
            below(begin, split, low, middle), below(split, end, middle, high)
        )

    return below(0, size, 0, len(numbers))


def check_growth(
    old: tuple[int, bytes], new: tuple[int, bytes], path: Sequence[bytes]
) -> None:
    """Check that one tree (size, root) goes on from another (RFC 9162, 2.1.4.2)."""
    wrong = Wrong(f"the record of {new[0]} does not continue that of {old[0]}")
    if not 0 <= old[0] <= new[0]:
        raise wrong
    if old[0] in (0, new[0]):
        if path or old[1] != (new[1] if old[0] else _EMPTY_ROOT):
            raise wrong
        return
    hashes = [old[1], *path] if old[0] & (old[0] - 1) == 0 else list(path)
    if not hashes or climb(old[0], new[0], hashes) != (old[1], new[1]):
        raise wrong


def climb(old: int, new: int, hashes: Sequence[bytes]) -> tuple[bytes, bytes] | None:
    """Return the two roots that a proof leads to; None: it has another length."""
    node, last = old - 1, new - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    first = second = hashes[0]
    for each in hashes[1:]:
        if last == 0:
            return None
        if node & 1 or node == last:
            first, second = node_hash(each, first), node_hash(each, second)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            second = node_hash(second, each)
        node, last = node >> 1, last >> 1
    return (first, second) if last == 0 else None


# -- time stamps (RFC 3161, RFC 5652, RFC 5035) ----------------------------------------
#
# A token is DER. It is read strictly: definite lengths in their shortest form, and
# nothing behind anything. The signer is the one certificate that is trusted; there is
# no chain. Of what a token may hold besides (other certificates, lists, unsigned
# attributes) nothing is looked at.

_TOKEN_BYTES_MAX = 64 * 1024
_INTEGER, _OCTETS, _OID, _SEQUENCE, _SET, _TIME = 0x02, 0x04, 0x06, 0x30, 0x31, 0x18
_SIGNED_DATA = "2a864886f70d010702"
_TST_INFO = "2a864886f70d0109100104"
_CONTENT_TYPE = "2a864886f70d010903"
_MESSAGE_DIGEST = "2a864886f70d010904"
_SIGNING_CERTIFICATE = "2a864886f70d010910020c"
_SIGNING_CERTIFICATE_V2 = "2a864886f70d010910022f"
# Digest algorithms; SHA-1 is for naming a certificate alone (RFC 2634, 5.4).
_DIGESTS: Mapping[str, Callable[[], digests.HashAlgorithm]] = {
    "608648016503040201": digests.SHA256,
    "608648016503040202": digests.SHA384,
    "608648016503040203": digests.SHA512,
}
_SHA_256 = "608648016503040201"


class Element(NamedTuple):
    """One element of DER: its tag, what is in it, and all of it."""

    tag: int
    content: bytes
    whole: bytes

    def inside(self, tag: int) -> list[Element]:
        """Return the elements in it, if it has this tag."""
        return elements(self.of(tag))

    def of(self, tag: int) -> bytes:
        """Return what is in it, if it has this tag."""
        if self.tag != tag:
            raise Wrong("a time stamp is not written as it must be")
        return self.content


def elements(data: bytes) -> list[Element]:
    """Return the elements that follow each other in DER (X.690, 10.1)."""
    found, at = [], 0
    malformed = Wrong("a time stamp is not DER")
    while at < len(data):
        if at + 2 > len(data) or data[at] & 0x1F == 0x1F:
            raise malformed
        length, begin = data[at + 1], at + 2
        if length & 0x80:
            count = length & 0x7F
            begin += count
            length = int.from_bytes(data[begin - count : begin], "big")
            if not 1 <= count <= 4 or length < 0x80 or length >> (8 * count - 8) == 0:
                raise malformed
        end = begin + length
        if end > len(data):
            raise malformed
        found.append(Element(data[at], data[begin:end], data[at:end]))
        at = end
    return found


def only(data: bytes) -> Element:
    """Return the one element that this is."""
    found = elements(data)
    if len(found) != 1:
        raise Wrong("a time stamp is not one element of DER")
    return found[0]


class Stamp(NamedTuple):
    """What an authority for time stamps has signed."""

    digest: bytes
    time_us: int
    serial: int
    nonce: int | None


def stamp_of(token: bytes, tsa: x509.Certificate) -> Stamp:
    """Return what a token says, once it is found to be signed by this certificate."""
    if len(token) > _TOKEN_BYTES_MAX:
        raise Wrong("a time stamp of this length is none")
    kind, wrapped = only(token).inside(_SEQUENCE)
    if kind.of(_OID).hex() != _SIGNED_DATA:
        raise Wrong("a time stamp is signed data")
    parts = only(wrapped.of(0xA0)).inside(_SEQUENCE)
    version, _, encapsulated = parts[:3]
    signers = parts[-1].inside(_SET)
    if version.of(_INTEGER) != b"\x03" or len(signers) != 1:
        raise Wrong("a time stamp has one signer")
    kind, wrapped = encapsulated.inside(_SEQUENCE)
    if kind.of(_OID).hex() != _TST_INFO:
        raise Wrong("what is signed is no time stamp")
    info = only(wrapped.of(0xA0)).of(_OCTETS)
    check_signer(signers[0], info, tsa)
    stamp = info_of(info)
    check_authority(tsa, stamp.time_us)
    return stamp


def check_signer(signer: Element, info: bytes, tsa: x509.Certificate) -> None:
    """Check that a SignerInfo (RFC 5652, 5.3) is of this certificate, over this."""
    parts = signer.inside(_SEQUENCE)
    version, _, algorithm, attributes, method, signature = parts[:6]
    if version.of(_INTEGER) not in (b"\x01", b"\x03"):
        raise Wrong("a time stamp has a signer of an unknown version")
    digest = digest_of(algorithm)
    said = signed_attributes(attributes)
    if said.get(_CONTENT_TYPE, b"").hex()[4:] != _TST_INFO:
        raise Wrong("a time stamp is signed as something else")
    if only(said[_MESSAGE_DIGEST]).of(_OCTETS) != hashed(digest, info):
        raise Wrong("a time stamp was changed after it was signed")
    check_named(said, tsa)
    # What is signed is the set, as a set (RFC 5652, 5.4).
    signed = bytes([_SET]) + attributes.whole[1:]
    check_signature(tsa, digest, method, signature.of(_OCTETS), signed)


def digest_of(algorithm: Element) -> digests.HashAlgorithm:
    """Return the algorithm of an AlgorithmIdentifier."""
    oid = algorithm.inside(_SEQUENCE)[0].of(_OID).hex()
    if oid not in _DIGESTS:
        raise Wrong("a time stamp uses an algorithm that is not known or too weak")
    return _DIGESTS[oid]()


def hashed(algorithm: digests.HashAlgorithm, data: bytes) -> bytes:
    """Return a digest."""
    digest = digests.Hash(algorithm)
    digest.update(data)
    return digest.finalize()


def signed_attributes(attributes: Element) -> dict[str, bytes]:
    """Return the one value of each attribute, by its type in hex."""
    found: dict[str, bytes] = {}
    for each in attributes.inside(0xA0):
        kind, values = each.inside(_SEQUENCE)
        name = kind.of(_OID).hex()
        if name in found:
            raise Wrong("a time stamp says something twice")
        found[name] = values.of(_SET)
    return found


def check_named(said: Mapping[str, bytes], tsa: x509.Certificate) -> None:
    """Check that the certificate is the one that the signer named (RFC 5035)."""
    der = tsa.public_bytes(Encoding.DER)
    if _SIGNING_CERTIFICATE_V2 in said:
        names = only(said[_SIGNING_CERTIFICATE_V2]).inside(_SEQUENCE)
        parts = names[0].inside(_SEQUENCE)[0].inside(_SEQUENCE)
        has_algorithm = parts[0].tag == _SEQUENCE
        algorithm = digest_of(parts[0]) if has_algorithm else digests.SHA256()
        is_it = parts[has_algorithm].of(_OCTETS) == hashed(algorithm, der)
    elif _SIGNING_CERTIFICATE in said:
        names = only(said[_SIGNING_CERTIFICATE]).inside(_SEQUENCE)
        parts = names[0].inside(_SEQUENCE)[0].inside(_SEQUENCE)
        is_it = parts[0].of(_OCTETS) == hashed(digests.SHA1(), der)  # noqa: S303
    else:
        raise Wrong("a time stamp does not name its certificate")
    if not is_it:
        raise Wrong("a time stamp is of another authority than the one that is given")


def check_signature(
    tsa: x509.Certificate,
    digest: digests.HashAlgorithm,
    method: Element,
    signature: bytes,
    signed: bytes,
) -> None:
    """Check a signature by RSA (PKCS #1 v1.5) or ECDSA, over the digest that is named.

    ``method`` may name a digest besides; the signature holds under one alone.
    """
    method.inside(_SEQUENCE)[0].of(_OID)
    key = tsa.public_key()
    try:
        if isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048:
            key.verify(signature, signed, padding.PKCS1v15(), digest)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, signed, ec.ECDSA(digest))
        else:
            raise Wrong("an authority for time stamps has a key that is not supported")
    except InvalidSignature:
        raise Wrong("the signature of a time stamp is false") from None


def info_of(info: bytes) -> Stamp:
    """Return what is read of a TSTInfo (RFC 3161, 2.4.2)."""
    parts = only(info).inside(_SEQUENCE)
    version, _, imprint, serial, time = parts[:5]
    algorithm, digest = imprint.inside(_SEQUENCE)
    if version.of(_INTEGER) != b"\x01":
        raise Wrong("a time stamp is of an unknown version")
    if algorithm.inside(_SEQUENCE)[0].of(_OID).hex() != _SHA_256:
        raise Wrong("a time stamp is over another digest than SHA-256")
    nonces = [each.content for each in parts[5:] if each.tag == _INTEGER]
    return Stamp(
        digest.of(_OCTETS),
        stamped_at(time.of(_TIME).decode("ascii")),
        int.from_bytes(serial.of(_INTEGER), "big", signed=True),
        int.from_bytes(nonces[0], "big", signed=True) if nonces else None,
    )


def stamped_at(text: str) -> int:
    """Return a GeneralizedTime as microseconds since 1970."""
    whole, _, part = text[:-1].partition(".")
    if text[-1:] != "Z" or len(whole) != 14 or not (whole + (part or "0")).isdigit():
        raise Wrong("the time of a time stamp is none")
    numbers = (int(whole[at : at + 2]) for at in range(4, 14, 2))
    month, day, hour, minute, second = numbers
    year = int(whole[:4])
    zone = timezone.utc  # noqa: UP017  # Python 3.9
    moment = datetime(year, month, day, hour, minute, second, tzinfo=zone)
    began = datetime(1970, 1, 1, tzinfo=zone)
    us = (moment - began) // timedelta(microseconds=1)
    return us + int(part[:6].ljust(6, "0"))


def check_authority(tsa: x509.Certificate, time_us: int) -> None:
    """Check that a certificate is for time stamps alone, and was valid at a time."""
    purposes = tsa.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    wanted = [ExtendedKeyUsageOID.TIME_STAMPING]
    if list(purposes.value) != wanted or not purposes.critical:
        raise Wrong("a certificate is not for time stamps alone (RFC 3161, 2.3)")
    zone = timezone.utc  # noqa: UP017  # Python 3.9
    moment = datetime(1970, 1, 1, tzinfo=zone) + timedelta(microseconds=time_us)
    begins, ends = tsa.not_valid_before_utc, tsa.not_valid_after_utc
    if not begins <= moment <= ends:
        raise Wrong("a certificate was not valid at the time of its time stamp")


def certificate_of(data: bytes) -> x509.Certificate:
    """Return a certificate of PEM or DER."""
    if data.lstrip().startswith(b"-----"):
        return x509.load_pem_x509_certificate(data)
    return x509.load_der_x509_certificate(data)


def stamped(note: str) -> bytes:
    """Return the digest of a checkpoint that is stamped: that of what the node signs.

    Its signatures are not in it: a witness may add one later.
    """
    return sha256((note.partition("\n\n")[0] + "\n").encode()).digest()


# -- the folder -----------------------------------------------------------------------


class Folder:
    """The evidence, as far as it was read."""

    def __init__(
        self,
        path: Path,
        trusted: Sequence[Ed25519PublicKey],
        authorities: Sequence[x509.Certificate] = (),
    ) -> None:
        self.path = path
        self.trusted = trusted
        self.authorities = authorities
        self.origin = ""
        self.manifest: dict[str, Any] = {}
        self.keys: list[Ed25519PublicKey] = []
        self.witnesses: list[tuple[str, Ed25519PublicKey]] = []
        self.notes: list[str] = []
        self.checkpoints: list[tuple[int, bytes]] = []
        self.leaves: list[Leaf] = []
        self.hashes: list[bytes] = []
        self.remarks: list[str] = []

    def read(self, name: str) -> bytes:
        """Return a file."""
        return (self.path / name).read_bytes()

    def text(self, name: str) -> str:
        """Return a file of text, line ends as they are."""
        return self.read(name).decode("utf-8")

    # Each of the following is one check. It returns what holds, in a sentence.

    def check_keys(self) -> str:
        """Keys."""
        found = json.loads(self.text("public_keys.json"))
        self.origin = str(found["origin"])
        for line in found["log"]:
            name, key = key_of(line, _LOG_KEY)
            if name != self.origin:
                raise Wrong("a key is of another node")
            self.keys.append(key)
        for line in found["witnesses"]:
            self.witnesses.append(key_of(line, _WITNESS_KEY))
        raw = {raw_of(key) for key in self.keys}
        if self.trusted and not any(raw_of(key) in raw for key in self.trusted):
            raise Wrong("the key that you gave is not the one of this evidence")
        return f"the keys fit their names: {self.origin}"

    def check_statement(self) -> str:
        """Signature of the manifest."""
        data = self.read(MANIFEST)
        body = open_note(self.text(STATEMENT), self.origin, self.trusted or self.keys)
        said = f"{STATEMENT_LINE}\n{self.origin}\n{sha256(data).hexdigest()}\n"
        if body != said:
            raise Wrong("the manifest is not the one that the node signed")
        self.manifest = json.loads(data)
        if self.manifest["format"] != FORMAT:
            raise Wrong("the manifest is of another format than this program knows")
        if self.manifest["origin"] != self.origin:
            raise Wrong("the manifest is of another node")
        return (
            f"the node signed the list of what belongs to this evidence, made "
            f"{self.manifest['made_at']}"
        )

    def check_files(self) -> str:
        """Files."""
        # Even if the signature is false: which file differs is worth knowing.
        listed: Mapping[str, Any] = json.loads(self.text(MANIFEST))["files"]
        present = {each.name for each in self.path.iterdir()}
        there = present - {MANIFEST, STATEMENT}
        wrong = [f"{name} is missing" for name in sorted(set(listed) - there)]
        wrong += [
            f"{name} does not belong here" for name in sorted(there - set(listed))
        ]
        for name in sorted(there & set(listed)):
            data = self.read(name)
            if sha256(data).hexdigest() != listed[name]["sha256"]:
                wrong.append(f"{name} was changed")
            elif len(data) != listed[name]["bytes"]:
                wrong.append(f"{name} has another length")
        if wrong:
            raise Wrong("; ".join(wrong))
        return f"all {len(listed)} files are as they were written, and no other is here"

    def check_chain(self) -> str:
        """Checkpoints."""
        for note in notes_in(self.text("checkpoints")):
            body = open_note(note, self.origin, self.keys)
            origin, size, root = body.split("\n")[:3]
            if origin != self.origin:
                raise Wrong("a checkpoint is of another record")
            self.notes.append(note)
            self.checkpoints.append((int(size), base64.b64decode(root, validate=True)))
        paths = [
            [base64.b64decode(each, validate=True) for each in json.loads(line)]
            for line in self.text("consistency.jsonl").splitlines()
        ]
        if not self.checkpoints or len(paths) != len(self.checkpoints) - 1:
            raise Wrong("checkpoints and the proofs between them are not as many")
        sizes = [size for size, _ in self.checkpoints]
        if sizes != sorted(set(sizes)):
            raise Wrong("checkpoints are not in their order")
        for at, path in enumerate(paths):
            old, new = self.checkpoints[at], self.checkpoints[at + 1]
            check_growth(old, new, path)
        first, last = self.checkpoints[0][0], self.checkpoints[-1][0]
        return (
            f"{len(self.checkpoints)} signed checkpoints, of {first} to {last} records:"
            f" each continues the one before, nothing was taken back between them"
        )

    def check_records(self) -> str:
        """Records."""
        with (self.path / "records.jsonl").open("rb") as file:
            for line in file:
                self._take(json.loads(line))
        opened = sum(each.is_open for each in self.leaves)
        erased = [each for each in self.leaves if each.erased_by is not None]
        for each in erased[:_ERASED_TOLD_MAX]:
            self.remarks.append(
                f"the content of record {each.n} was erased on order, as record "
                f"{each.erased_by} says; when and which kind of event it was, the "
                "tree still proves"
            )
        if len(erased) > _ERASED_TOLD_MAX:
            self.remarks.append(f"{len(erased)} records were erased so")
        return (
            f"{opened} records are what the record committed to when they were "
            f"written; {len(self.leaves) - opened} are shown closed"
        )

    def _take(self, members: Mapping[str, Any]) -> None:
        data = base64.b64decode(members["leaf"], validate=True)
        if len(data) != _LEAF.size or data[0] != 1:
            raise Wrong("a line of records.jsonl holds no leaf")
        erased_by = members.get("erased_by")
        leaf = Leaf("record" in members, erased_by, *_LEAF.unpack(data)[1:])
        if erased_by is not None and (leaf.is_open or not erased_by > leaf.n):
            raise Wrong(f"record {leaf.n} cannot have been erased like this")
        if self.leaves and leaf.n <= self.leaves[-1].n:
            raise Wrong(f"record {leaf.n} is not in its place")
        if leaf.is_open:
            record, keys = opened_of(members)
            salt = base64.b64decode(members["salt"], validate=True)
            length = struct.pack(">I", len(keys))
            if sha256(salt + length + keys + record).digest() != leaf.commitment:
                raise Wrong(f"record {leaf.n} is not the one that was committed to")
            if json.loads(record)["id"] != str(leaf.code):
                raise Wrong(f"record {leaf.n} is of another kind than its leaf says")
        self.leaves.append(leaf)
        self.hashes.append(sha256(b"\x00" + data).digest())

    def check_tree(self) -> str:
        """Place of the records in the tree."""
        size, root = self.checkpoints[-1]
        encoded = json.loads(self.text("proof.json"))
        rest = iter([base64.b64decode(each, validate=True) for each in encoded])
        numbers = [each.n for each in self.leaves]
        if numbers and numbers[-1] >= size:
            raise Wrong("a record lies behind the newest checkpoint")
        if not numbers:
            return "no record is shown, so none has to be proven"
        try:
            found = root_with(numbers, self.hashes, size, rest)
        except StopIteration:
            raise Wrong("the proof is too short") from None
        if next(rest, None) is not None:
            raise Wrong("the proof is too long")
        if found != root:
            raise Wrong("the records do not stand under the newest checkpoint")
        return (
            f"every record stands at its number in the record of {size} that the "
            "newest checkpoint signs"
        )

    def check_selection(self) -> str:
        """Selection."""
        asked = self.manifest["selection"]
        opened = [each.n for each in self.leaves if each.is_open]
        if [len(opened), len(self.leaves)] != [
            self.manifest["counts"]["opened"],
            self.manifest["counts"]["records"],
        ]:
            raise Wrong("there are not as many records as the manifest says")
        size, root = self.checkpoints[-1]
        if self.manifest["checkpoint"] != {"size": size, "root": root.hex()}:
            raise Wrong("the newest checkpoint is not the one of the manifest")
        said = ["there are as many records as the node signed"]
        if asked["numbers"] is not None:
            self._check_numbers(asked["numbers"])
            said.append("they are those that were asked for by number")
        if asked["window"] is not None:
            said.append(self._check_window(*asked["window"], has_all=is_whole(asked)))
        if asked["patient"] is not None:
            said.append(self._check_patient(asked["patient"]))
        return "; ".join(said)

    def _check_numbers(self, numbers: Sequence[int]) -> None:
        if [each.n for each in self.leaves] != sorted(set(numbers)):
            raise Wrong("the records are not those that were asked for")

    def _check_window(self, since_us: int, until_us: int, *, has_all: bool) -> str:
        """Check that no number is left out, from before the window to after it."""
        numbers = [each.n for each in self.leaves]
        size = self.checkpoints[-1][0]
        if not numbers:
            if size:
                raise Wrong("what lies around the window is not shown")
            return "the record was empty"
        if numbers != list(range(numbers[0], numbers[-1] + 1)):
            raise Wrong("numbers of the window are left out")
        if numbers[0] != 0 and self.leaves[0].wall_us >= since_us:
            raise Wrong("what lies before the window is not shown")
        if numbers[-1] != size - 1 and self.leaves[-1].wall_us < until_us:
            raise Wrong("what lies after the window is not shown")
        within = [since_us <= each.wall_us < until_us for each in self.leaves]
        closed = [
            each.n
            for each, is_within in zip(self.leaves, within)  # noqa: B905  # as many
            if is_within and not each.is_open and each.erased_by is None
        ]
        if has_all and closed:
            raise Wrong(f"record {closed[0]} of the window is not opened")
        self._note_clocks()
        return (
            f"the {sum(within)} records of the window ({time_of(since_us)} to "
            f"{time_of(until_us)}) have numbers without a gap from the record before "
            "it to the one after it, so none is left out"
        )

    def _note_clocks(self) -> None:
        for before, after in zip(self.leaves, self.leaves[1:]):  # noqa: B905
            passed = after.wall_us - before.wall_us
            if before.boot == after.boot:
                passed -= after.mono_us - before.mono_us
            elif passed > 0:
                continue
            if abs(passed) >= _CLOCK_JUMP_US and len(self.remarks) < _JUMPS_TOLD_MAX:
                way = "back" if passed < 0 else "forward"
                self.remarks.append(
                    f"the clock was set {way} by {abs(passed) // 1_000_000} s before "
                    f"record {after.n}: another part of the record may have times of "
                    "the window, too"
                )

    def _check_patient(self, patient: str) -> str:
        data = f"patient\0{patient}".encode("utf-8", "backslashreplace")
        wanted = sha256(data).digest()[:8]
        with (self.path / "records.jsonl").open("rb") as file:
            for line in file:
                members = json.loads(line)
                if "record" in members:
                    _, keys = opened_of(members)
                    found = {keys[at : at + 8] for at in range(0, len(keys), 8)}
                    if wanted not in found:
                        raise Wrong("a record that is opened is not of this patient")
        return (
            "every record that is opened names the patient; that no other record does "
            "is what the node says and signed (README.txt)"
        )

    def check_witnesses(self) -> str:
        """Witnesses."""
        said = []
        for name, key in self.witnesses:
            newest = None
            for note, (size, _) in zip(self.notes, self.checkpoints):  # noqa: B905
                seconds = cosigned_at(note, name, key)
                if seconds is not None:
                    newest = f"{name} saw {size} records at {time_of(seconds * 10**6)}"
            if newest is None:
                raise Wrong(f"the witness {name} cosigned no checkpoint")
            said.append(newest)
        if not said:
            return "no witness is named: nobody but the node vouches for the time"
        return "cosigned by a witness: " + "; ".join(said)

    def check_stamps(self) -> str:
        """Time stamps."""
        if STAMPS not in self.manifest["files"]:
            if self.authorities:
                raise Wrong("no authority for time stamps has stamped this")
            return "no time stamp of an authority is here"
        known = {stamped(note): size for note, (size, _) in self._pairs()}
        said = []
        for line in self.text(STAMPS).splitlines():
            members = json.loads(line)
            der = base64.b64decode(members["tsa"], validate=True)
            tsa = x509.load_der_x509_certificate(der)
            if self.authorities and tsa not in self.authorities:
                raise Wrong("a time stamp is of an authority that you did not give")
            token = base64.b64decode(members["token"], validate=True)
            stamp = stamp_of(token, tsa)
            if stamp.digest not in known:
                raise Wrong("a time stamp is of no checkpoint that is here")
            name = tsa.subject.rfc4514_string()
            shown = "".join(each if each.isprintable() else "?" for each in name)
            said.append(
                f"{known[stamp.digest]} records were signed by "
                f"{time_of(stamp.time_us)}, says {shown} (certificate "
                f"{sha256(der).hexdigest()})"
            )
        return "stamped by an authority: " + "; ".join(said)

    def _pairs(self) -> Iterator[tuple[str, tuple[int, bytes]]]:
        return zip(self.notes, self.checkpoints)  # noqa: B905  # as many


def opened_of(members: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """Return record and search keys of a line."""
    return members["record"].encode(), base64.b64decode(members["keys"], validate=True)


def is_whole(asked: Mapping[str, Any]) -> bool:
    """Tell whether all records of the window were to be opened."""
    return asked["patient"] is None and not asked["without_others"]


def notes_in(text: str) -> Iterator[str]:
    """Yield the notes of a file, one after the other."""
    note: list[str] = []
    for line in text.split("\n")[:-1]:
        if note and note[-1].startswith(_DASH) and not line.startswith(_DASH):
            yield "\n".join(note) + "\n"
            note = []
        note.append(line)
    if note:
        yield "\n".join(note) + "\n"


def time_of(time_us: int) -> str:
    """Return a time as people write it, UTC."""
    began = datetime(1970, 1, 1, tzinfo=timezone.utc)  # noqa: UP017  # Python 3.9
    return (began + timedelta(microseconds=time_us)).strftime("%Y-%m-%d %H:%M:%S UTC")


def check(
    path: Path,
    trusted: Sequence[Ed25519PublicKey] = (),
    authorities: Sequence[x509.Certificate] = (),
) -> Check:
    """Check everything in a folder; never raises for what is wrong with it."""
    found, folder = Check(), Folder(path, trusted, authorities)
    found.step(folder.check_keys)
    found.step(folder.check_statement)
    found.step(folder.check_files)
    found.step(folder.check_chain)
    found.step(folder.check_records)
    found.step(folder.check_tree)
    found.step(folder.check_selection)
    found.step(folder.check_witnesses)
    found.step(folder.check_stamps)
    found.remarks += folder.remarks
    return found


# -- the program ----------------------------------------------------------------------


def trusted_key(text: str) -> Ed25519PublicKey:
    """Return a key that the caller brought: a line, or a PEM file."""
    if text.count("+") >= 2 and not Path(text).exists():
        return key_of(text, _LOG_KEY)[1]
    key = load_pem_public_key(Path(text).read_bytes())
    if not isinstance(key, Ed25519PublicKey):
        raise Wrong("that is no key of an audit record")
    return key


def show(path: Path) -> None:
    """Print the records that are opened, one in a line."""
    with (path / "records.jsonl").open(encoding="utf-8", newline="") as file:
        for line in file:
            members = json.loads(line)
            if "record" in members:
                # What a peer sent must not steer a terminal.
                shown = "".join(
                    each if each.isprintable() else f"\\u{ord(each):04x}"
                    for each in members["record"]
                )
                sys.stdout.write(f"{members['n']} {shown}\n")


def tell(found: Check, keys: Sequence[str], *, is_key_given: bool) -> None:
    """Print what was found."""
    lines = [f"holds   {each}" for each in found.holds]
    lines += [f"remark  {each}" for each in found.remarks]
    lines += [f"WRONG   {each}" for each in found.wrong[:_WRONG_TOLD_MAX]]
    lines.append("")
    if found.wrong:
        lines.append("NOT GOOD: this evidence is not as the node made it.")
    elif is_key_given:
        lines.append("GOOD: everything holds, under the key that you gave.")
    else:
        lines.append("GOOD: everything holds, if the key is the node's. Compare it:")
        lines += [f"  {each}" for each in keys]
        lines.append("with one that you got from elsewhere, or give that by --key.")
    sys.stdout.write("\n".join(lines) + "\n")


def main() -> int:
    """Check the folder that is named, or the one that this file lies in."""
    parser = argparse.ArgumentParser(description="Checks a folder of evidence.")
    parser.add_argument("folder", nargs="?", default=Path(__file__).parent, type=Path)
    parser.add_argument("--key", action="append", default=[], help="the node's key")
    parser.add_argument("--tsa", action="append", default=[], help="a certificate")
    parser.add_argument("--show", action="store_true", help="print the records")
    asked = parser.parse_args()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Whatever a terminal cannot show must not end the program.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        trusted = [trusted_key(each) for each in asked.key]
        authorities = [certificate_of(Path(each).read_bytes()) for each in asked.tsa]
    except (OSError, ValueError, Wrong) as error:
        sys.stderr.write(f"--key, --tsa: {error}\n")
        return 1
    found = check(asked.folder, trusted, authorities)
    keys: list[str] = []
    if not found.wrong:
        keys = json.loads((asked.folder / "public_keys.json").read_bytes())["log"]
        if asked.show:
            show(asked.folder)
    tell(found, keys, is_key_given=bool(trusted))
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
