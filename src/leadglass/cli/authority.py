"""``leadglass authority``: root, issuing and node certificates."""

from pathlib import Path
from typing import Final

from leadglass.app import Node
from leadglass.archive.keeping import Keeper
from leadglass.cli.answers import Answer, Table, time_text
from leadglass.cli.certificates import end_of, read_certificates, root_sha256, sha256_of
from leadglass.cli.session import Session

# Longer than any certificate of ours lasts: whatever ends, is told.
_ALL_DAYS: Final = 36_500


def show(session: Session) -> Answer:
    """Show what there is and when it ends."""
    with Node.open(session.config) as node:
        authority = node.authority
        ends = authority.expiring(_ALL_DAYS)
        root = root_sha256(authority.ca_path)
        data = {
            "root_sha256": root,
            "root_is_online": authority.root_is_online,
            "node_names": list(authority.node_names()),
            "certificates": [
                {"what": each.what, "not_after": time_text(each.not_after)}
                for each in ends
            ],
            "revoked": len(authority.revoked_serials()),
            "ca_file": str(authority.ca_path),
            "crl_file": str(authority.crl_path),
        }
    return Answer(
        data=data,
        text=(
            f"root SHA-256: {root}",
            f"root key: {'on this machine' if data['root_is_online'] else 'offline'}",
            f"node names: {', '.join(authority.node_names())}",
            f"revoked certificates: {data['revoked']}",
            f"what peers trust: {authority.ca_path}",
            Table(
                ("ENDS", "WHAT", "THEN"),
                tuple(
                    (time_text(each.not_after), each.what, each.remedy) for each in ends
                ),
            ),
        ),
    )


def take_root_offline(session: Session) -> Answer:
    """Move the root's key away."""
    path = Path(session.arguments.file).absolute()
    with Node.open(session.config) as node:
        Keeper(node.parts, node.authority).take_root_offline(node.operator, path)
        is_online = node.authority.root_is_online
    return Answer(
        data={"root_is_online": is_online, "file": str(path)},
        text=(
            f"the root's key is in {path}, sealed with this node's keys",
            "keep it on a medium of its own, and the master key apart from it",
        ),
    )


def bring_root_online(session: Session) -> Answer:
    """Bring the root's key back."""
    path = Path(session.arguments.file).absolute()
    with Node.open(session.config) as node:
        Keeper(node.parts, node.authority).bring_root_online(node.operator, path)
        is_online = node.authority.root_is_online
    return Answer(
        data={"root_is_online": is_online, "file": str(path)},
        text=(
            "the root's key is on this machine again; take it offline when it is done",
        ),
    )


def renew_issuing(session: Session) -> Answer:
    """Prolong the issuing certificate."""
    with Node.open(session.config) as node:
        Keeper(node.parts, node.authority).renew_issuing(node.operator)
        issuing = read_certificates(node.authority.ca_path)[0]
    end = time_text(end_of(issuing))
    return Answer(
        data={"not_after": end},
        text=(
            f"the issuing certificate lasts until {end}; SHA-256 {sha256_of(issuing)}",
            "devices need the new ca.pem before the old one ends",
        ),
    )


def renew_node(session: Session) -> Answer:
    """Make a new node certificate."""
    config = session.config
    with Node.open(config) as node:
        Keeper(node.parts, node.authority).renew_node(
            node.operator, config.tls.node_names
        )
        names = node.authority.node_names()
        end = time_text(node.authority.node_certificate().not_after)
    return Answer(
        data={"not_after": end, "node_names": list(names)},
        text=(f"the node's certificate is for {', '.join(names)}, until {end}",),
    )
