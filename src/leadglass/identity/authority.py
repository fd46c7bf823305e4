"""The built-in certificate authority: root, issuing, node, devices, revocations.

Its folder::

    root.pem      certificate of the root, P-384
    root.key      its private key, sealed; may be taken away (``take_root_offline``)
    issuing.pem   certificate of the issuing authority, P-256, signed by the root
    issuing.key   its private key, sealed
    node.pem      certificate of this node and its private key, sealed: one file, so
                  that a renewal replaces both or neither
    crl.pem       revocation list of the issuing authority
    ca.pem        issuing and root: what peers trust
    lock          held while one of these is remade

Each file is replaced whole, so a reader sees the old or the new one. What is revoked
is said by the register of devices; ``crl.pem`` is made from it and can be made again
(``publish_revocations``), so a crash between the two leaves nothing to repair: the
register refuses at once, the list follows.

Nothing is kept between calls but the sealing key: a renewal by another process is
seen at the next call (``stamp`` says cheaply whether there was one).
"""

import base64
import binascii
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import (
    CertificatePublicKeyTypes,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

from leadglass.errors import Damaged, Misconfigured
from leadglass.identity.certificates import (
    CN_CHARACTERS_MAX,
    CRL_REFRESH,
    DeviceKey,
    Issuer,
    Key,
    Revoked,
    crl_number,
    hosts_of,
    is_for,
    key_of_request,
    make_crl,
    make_issuing,
    make_leaf,
    make_root,
    new_key,
    subject,
)
from leadglass.identity.device import Certificate, check_name
from leadglass.identity.files import (
    FOLDER_MODE,
    PRIVATE_MODE,
    SEAL_KEY_BYTES,
    disk_errors,
    locked,
    read_whole,
    seal,
    sync_folder,
    unseal,
    write_whole,
)

ORGANISATION = "Leadglass"

Clock = Callable[[], datetime]

# What changes while a node runs: a renewal of its certificate, a revocation.
_STAMPED = ("node.pem", "crl.pem", "ca.pem")
_BEGIN = b"-----BEGIN LEADGLASS SEALED KEY-----"
_END = b"-----END LEADGLASS SEALED KEY-----"

_CREDENTIAL_FILES = ("key.pem", "cert.pem", "ca.pem")
_PUBLIC_MODE = 0o644

_RESTORE = "restore the authority's folder from a backup"


class Expiry(NamedTuple):
    """Something of the authority that ends."""

    what: str  # root, issuing, node, revocation list
    not_after: datetime
    remedy: str


@dataclass(frozen=True, slots=True)
class NodeCredentials:
    """What a TLS listener or sender of this node needs, as PEM.

    Attributes:
        chain: The node's certificate and the issuing authority's.
        key: The private key, PKCS #8, in the clear: for memory only.
        authorities: Issuing and root certificates that peers must chain to.
        revocations: The current revocation list.
    """

    chain: bytes
    key: bytes = field(repr=False)
    authorities: bytes
    revocations: bytes


@dataclass(frozen=True, slots=True)
class Issued:
    """A fresh certificate of a device, as PEM, and how the register knows it.

    Attributes:
        certificate: What the register keeps.
        chain: The device's certificate and the issuing authority's.
        authorities: What the device trusts.
        key: The device's private key, PKCS #8, in the clear; ``None`` when the
            device made it and asked with a signing request.
    """

    certificate: Certificate
    chain: bytes
    authorities: bytes
    key: bytes | None = field(repr=False)


def now_utc() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


class Authority:
    """The authority whose files lie in ``folder``."""

    def __init__(self, folder: Path, key: bytes, clock: Clock = now_utc) -> None:
        """Prepare; ``create`` and ``open`` are the ways to have one."""
        if len(key) != SEAL_KEY_BYTES:
            raise Misconfigured(f"authority key: must be {SEAL_KEY_BYTES} bytes")
        self._folder = folder
        self._key = key
        self._clock = clock

    # ── beginning ────────────────────────────────────────────────────────────

    @classmethod
    def create(
        cls,
        folder: Path,
        key: bytes,
        names: Sequence[str],
        *,
        organisation: str = ORGANISATION,
        clock: Clock = now_utc,
    ) -> "Authority":
        """Make root, issuing and node certificates and an empty revocation list.

        ``names`` are the host names and addresses by which devices reach the node.
        The folder appears whole: what a crash left of an earlier try is thrown
        away.

        Raises:
            Misconfigured: There is one already.
            Unavailable: The disk did not take it.
        """
        if folder.exists():
            raise Misconfigured("authority: there is one already; open it")
        draft = folder.with_name(f"{folder.name}.new")
        with disk_errors("authority"):
            if draft.exists():
                shutil.rmtree(draft)
            draft.mkdir(mode=FOLDER_MODE, parents=True)
        authority = cls(draft, key, clock)
        authority._make_all(names, organisation)
        with disk_errors("authority"):
            draft.rename(folder)
            sync_folder(folder.parent)
        return cls(folder, key, clock)

    def _make_all(self, names: Sequence[str], organisation: str) -> None:
        now = self._clock()
        # Two nodes' authorities must not be taken for each other in a trust store.
        tag = secrets.token_hex(4)
        root_key, issuing_key = new_key(ec.SECP384R1()), new_key()
        root = Issuer(
            make_root(root_key, subject(f"Leadglass root {tag}", organisation), now),
            root_key,
        )
        issuing = make_issuing(
            root,
            issuing_key.public_key(),
            subject(f"Leadglass issuing {tag}", organisation),
            now,
        )
        self._write_key("root", root_key)
        self._write_key("issuing", issuing_key)
        self._write("root.pem", _pem(root.certificate))
        self._write("issuing.pem", _pem(issuing))
        self._write("ca.pem", _pem(issuing) + _pem(root.certificate))
        self._write_node(Issuer(issuing, issuing_key), names)
        crl = make_crl(Issuer(issuing, issuing_key), (), 1, now)
        self._write("crl.pem", crl.public_bytes(Encoding.PEM))

    @classmethod
    def open(cls, folder: Path, key: bytes, clock: Clock = now_utc) -> "Authority":
        """Open the authority in ``folder`` and prove that its keys are there.

        Raises:
            Misconfigured: There is none, or a file of it is missing.
            Damaged: A file does not verify with this key.
        """
        if not folder.is_dir():
            raise Misconfigured("authority: none here; run `leadglass init`")
        authority = cls(folder, key, clock)
        authority._prove()
        return authority

    def _prove(self) -> None:
        self.node_credentials()
        issuing, root = self._issuing().certificate, self._certificate("root")
        try:
            root.verify_directly_issued_by(root)
            issuing.verify_directly_issued_by(root)
            self._certificate("node").verify_directly_issued_by(issuing)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            raise Damaged(
                "authority: its certificates do not form a chain; " + _RESTORE
            ) from None
        # A renewal of the issuing certificate that was cut short ends here.
        if self._read("ca.pem") != self._authorities():
            self._write("ca.pem", self._authorities())

    # ── the node ─────────────────────────────────────────────────────────────

    @property
    def ca_path(self) -> Path:
        """The file that peers trust."""
        return self._folder / "ca.pem"

    @property
    def crl_path(self) -> Path:
        """The revocation list."""
        return self._folder / "crl.pem"

    def stamp(self) -> tuple[tuple[int, int, int], ...]:
        """Return a value that changes when ``node_credentials`` does.

        Raises:
            Unavailable: A file of the authority cannot be seen.
        """
        with disk_errors("authority"):
            stats = [os.stat(self._folder / name) for name in _STAMPED]  # noqa: PTH116 - each second
        return tuple((each.st_ino, each.st_mtime_ns, each.st_size) for each in stats)

    def node_credentials(self) -> NodeCredentials:
        """Return what the node's TLS needs now.

        Raises:
            Misconfigured: A file of it is missing.
            Damaged: A file does not verify.
        """
        pem = self._read("node.pem")
        certificate = self._certificate("node", pem)
        key = self._open_key(_unarmour(pem), "node", certificate)
        self._crl()  # a list that does not parse would be found by the handshakes
        return NodeCredentials(
            chain=_pem(certificate) + self._read("issuing.pem"),
            key=_key_pem(key),
            authorities=self._authorities(),
            revocations=self._read("crl.pem"),
        )

    def node_certificate(self) -> Certificate:
        """Return the node's certificate as a register would keep it."""
        return Certificate.of(self._certificate("node"))

    def node_names(self) -> tuple[str, ...]:
        """Return the host names and addresses of the node's certificate."""
        return hosts_of(self._certificate("node"))

    def renew_node(
        self, names: Sequence[str], *, within_days: int | None = None
    ) -> bool:
        """Make a new node certificate; tell whether one was made.

        With ``within_days`` only if it is due: it ends within them, or is for other
        ``names``.

        Raises:
            Misconfigured: No names, or the issuing certificate ends too soon.
        """
        with locked(self._folder):
            if within_days is not None:
                certificate = self._certificate("node")
                left = certificate.not_valid_after_utc - self._clock()
                if left.days >= within_days and is_for(certificate, names):
                    return False
            self._write_node(self._issuing(), names)
        return True

    def _write_node(self, issuing: Issuer, names: Sequence[str]) -> None:
        if not names:
            raise Misconfigured("node certificate: no names; say how devices reach it")
        key = new_key()
        name = subject(
            f"Leadglass node {names[0]}"[:CN_CHARACTERS_MAX], _organisation(issuing)
        )
        certificate = make_leaf(issuing, key.public_key(), name, names, self._clock())
        sealed = _armour(seal(key, "node", self._key))
        self._write("node.pem", _pem(certificate) + sealed)

    # ── devices ──────────────────────────────────────────────────────────────

    def issue(self, name: str, hosts: Sequence[str] = ()) -> Issued:
        """Make a key pair and certificate for a device; the key is not kept.

        ``hosts`` are the names and addresses at which the device is sent to.

        Raises:
            Misconfigured: The issuing certificate ends too soon.
        """
        key = new_key()
        return self._issue(name, key.public_key(), hosts, _key_pem(key))

    def sign(self, name: str, request: bytes, hosts: Sequence[str] = ()) -> Issued:
        """Make a certificate for the key of a signing request (PEM or DER).

        Raises:
            Misconfigured: The request is none, or its key is weak; or the issuing
                certificate ends too soon.
        """
        return self._issue(name, key_of_request(request), hosts, None)

    def _issue(
        self, name: str, key: DeviceKey, hosts: Sequence[str], key_pem: bytes | None
    ) -> Issued:
        check_name(name)
        issuing = self._issuing()
        who = subject(name, _organisation(issuing))
        certificate = make_leaf(issuing, key, who, hosts, self._clock())
        return Issued(
            certificate=Certificate.of(certificate),
            chain=_pem(certificate) + _pem(issuing.certificate),
            authorities=self._authorities(),
            key=key_pem,
        )

    def publish_revocations(self, revoked: Callable[[], Iterable[Revoked]]) -> None:
        """Make the revocation list anew from what the register says.

        The register is asked while other processes wait, so that the last list
        written is made from the last answer.

        Raises:
            Unavailable: The disk did not take it; the old list stands.
        """
        issuing = self._issuing()
        with locked(self._folder):
            crl = make_crl(issuing, revoked(), self._next_number(), self._clock())
            self._write("crl.pem", crl.public_bytes(Encoding.PEM))

    def _next_number(self) -> int:
        try:
            return crl_number(self._crl()) + 1
        except (Misconfigured, Damaged):
            # Whatever was there is replaced; its number is passed by the clock's.
            return int(self._clock().timestamp())

    def revocations_are_due(self) -> bool:
        """Whether the list is a day old, missing or damaged: publish it again."""
        try:
            updated = self._crl().last_update_utc
        except (Misconfigured, Damaged):
            return True
        return self._clock() - updated >= CRL_REFRESH

    def revoked_serials(self) -> frozenset[int]:
        """Return the serial numbers on the list."""
        return frozenset(each.serial_number for each in self._crl())

    # ── root and issuing ─────────────────────────────────────────────────────

    @property
    def root_is_online(self) -> bool:
        """Whether the root's private key lies on this machine."""
        return (self._folder / "root.key").exists()

    def take_root_offline(self, out: Path) -> None:
        """Move the root's private key to a new file, for instance on a medium.

        It stays sealed: without this node's master key the file opens nothing. It
        is read back before the original goes.

        Raises:
            Misconfigured: It is offline already, or ``out`` exists.
            Unavailable: A disk did not do it; the key is where it was.
        """
        with locked(self._folder):
            sealed = self._read("root.key", "the root is offline already")
            certificate = self._certificate("root")
            self._open_key(sealed, "root", certificate)
            if out.exists():
                raise Misconfigured("root key: the file exists; name a new one")
            write_whole(out, sealed)
            written = read_whole(out, remedy="try again")
            self._open_key(written, "root", certificate)
            with disk_errors("root.key"):
                (self._folder / "root.key").unlink()
                sync_folder(self._folder)

    def bring_root_online(self, source: Path) -> None:
        """Copy the root's private key back from a file.

        Raises:
            Misconfigured: There is no such file.
            Damaged: It is not this root's key, or was changed.
        """
        sealed = read_whole(source, remedy="name the file that holds the root key")
        self._open_key(sealed, "root", self._certificate("root"))
        self._write("root.key", sealed)

    def renew_issuing(self) -> None:
        """Prolong the issuing certificate; needs the root online.

        Its key stays, so certificates of devices stay valid; devices that are sent
        to, or check us, should get the new ``ca.pem`` before the old one ends.

        Raises:
            Misconfigured: The root is offline.
        """
        with locked(self._folder):
            root_certificate = self._certificate("root")
            sealed = self._read("root.key", "bring the root online first")
            root = Issuer(
                root_certificate, self._open_key(sealed, "root", root_certificate)
            )
            old = self._issuing()
            renewed = make_issuing(
                root, old.key.public_key(), old.certificate.subject, self._clock()
            )
            self._write("issuing.pem", _pem(renewed))
            self._write("ca.pem", self._authorities())

    def expiring(self, within_days: int) -> list[Expiry]:
        """Return what of the authority ends within so many days, soonest first."""
        bound = self._clock() + timedelta(days=within_days)
        renewal = "bring the root online and renew the issuing certificate"
        ends = [
            Expiry("root", self._end("root"), "make a new authority, enrol again"),
            Expiry("issuing", self._end("issuing"), renewal),
            Expiry("node", self._end("node"), "renew the node certificate"),
        ]
        next_update = self._crl().next_update_utc
        if next_update is not None:
            remedy = "publish the revocation list"
            ends.append(Expiry("revocation list", next_update, remedy))
        found = [each for each in ends if each.not_after <= bound]
        return sorted(found, key=lambda each: each.not_after)

    def _end(self, name: str) -> datetime:
        return self._certificate(name).not_valid_after_utc

    # ── files ────────────────────────────────────────────────────────────────

    def _issuing(self) -> Issuer:
        certificate = self._certificate("issuing")
        sealed = self._read("issuing.key")
        return Issuer(certificate, self._open_key(sealed, "issuing", certificate))

    def _authorities(self) -> bytes:
        return self._read("issuing.pem") + self._read("root.pem")

    def _certificate(self, name: str, pem: bytes | None = None) -> x509.Certificate:
        try:
            return x509.load_pem_x509_certificate(pem or self._read(f"{name}.pem"))
        except ValueError:
            raise Damaged(f"{name}.pem: not a certificate") from None

    def _crl(self) -> x509.CertificateRevocationList:
        try:
            return x509.load_pem_x509_crl(self._read("crl.pem"))
        except ValueError:
            raise Damaged("crl.pem: not a revocation list") from None

    def _open_key(self, sealed: bytes, name: str, certificate: x509.Certificate) -> Key:
        """Open a sealed key and prove that it is the certificate's."""
        key = unseal(sealed, name, self._key)
        try:
            certified = _public(certificate.public_key())
        except (ValueError, UnsupportedAlgorithm):
            raise Damaged(f"{name}.pem: its key cannot be read") from None
        if _public(key.public_key()) != certified:
            raise Damaged(f"{name} key: not the key of {name}.pem")
        return key

    def _read(self, name: str, remedy: str = _RESTORE) -> bytes:
        return read_whole(self._folder / name, remedy=remedy)

    def _write(self, name: str, data: bytes) -> None:
        write_whole(self._folder / name, data)

    def _write_key(self, name: str, key: Key) -> None:
        self._write(f"{name}.key", seal(key, name, self._key))


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def _key_pem(key: Key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _public(key: CertificatePublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _organisation(issuing: Issuer) -> str:
    found = issuing.certificate.subject.get_attributes_for_oid(
        NameOID.ORGANIZATION_NAME
    )
    return str(found[0].value) if found else ORGANISATION


def _armour(sealed: bytes) -> bytes:
    """Write a sealed key so that it can stand beside a certificate in PEM."""
    return _BEGIN + b"\n" + base64.b64encode(sealed) + b"\n" + _END + b"\n"


def _unarmour(pem: bytes) -> bytes:
    """Find the sealed key in a PEM file.

    Raises:
        Damaged: There is none.
    """
    _, begin, rest = pem.partition(_BEGIN)
    text, end, _ = rest.partition(_END)
    try:
        if begin and end:
            return base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        pass
    raise Damaged("node.pem: no sealed key in it")


# ── what a device is given ───────────────────────────────────────────────────


def check_credentials_folder(folder: Path, *, replace: bool = False) -> None:
    """Refuse a folder whose files would be overwritten, before anything is issued.

    Raises:
        Misconfigured: It holds credentials already, or is no folder.
    """
    if folder.exists() and not folder.is_dir():
        raise Misconfigured("out: is a file; name a folder")
    there = [name for name in _CREDENTIAL_FILES if (folder / name).exists()]
    if there and not replace:
        raise Misconfigured(
            f"out: holds {', '.join(there)} already; name another folder"
        )


def write_credentials(
    folder: Path, issued: Issued, *, replace: bool = False
) -> tuple[Path, ...]:
    """Write what goes to the device: key.pem (0600), cert.pem, ca.pem.

    There is no key.pem when the device has its own key. This is the only copy of
    the private key; the node forgets it.

    Raises:
        Misconfigured: See ``check_credentials_folder``.
        Unavailable: The disk did not take it.
    """
    check_credentials_folder(folder, replace=replace)
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    with disk_errors("out"):
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        # The only copy of a key is as durable as the names of its folders.
        for made in missing:
            sync_folder(made.parent)
    written = []
    for name, content in zip(
        _CREDENTIAL_FILES, (issued.key, issued.chain, issued.authorities), strict=True
    ):
        if content is not None:
            is_private = content is issued.key
            mode = PRIVATE_MODE if is_private else _PUBLIC_MODE
            write_whole(folder / name, content, mode=mode)
            written.append(folder / name)
    return tuple(written)
