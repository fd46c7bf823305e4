"""``leadglass tokens``: programs that may come in by a bearer token."""

from argparse import Namespace
from datetime import UTC, datetime, timedelta
from typing import Any

from leadglass.access.networks import parse_network
from leadglass.access.roles import HOUSE_NETWORKS
from leadglass.access.scopes import EVERYTHING
from leadglass.app import Node
from leadglass.cli.answers import Answer, Table, indented, time_text
from leadglass.cli.failures import UsageError
from leadglass.cli.session import Session
from leadglass.cli.users import scope_of
from leadglass.identity.tokens.token import (
    VALIDITY_DEFAULT,
    VALIDITY_MAX,
    NewToken,
    Token,
)


def add(session: Session) -> Answer:
    """Make a token."""
    new = _parse(session.arguments)
    with Node.open(session.config) as node:
        text, token = node.accounts.add_token(node.operator, new)
    return Answer(
        data={"token": text, **data_of(token)},
        text=(
            f"added: {token.name}, {token.role}, until {time_text(token.ends_at)}",
            "shown here once:",
            *indented([text]),
        ),
    )


def revoke(session: Session) -> Answer:
    """Refuse a token from its next request on."""
    arguments = session.arguments
    with Node.open(session.config) as node:
        token = node.accounts.revoke_token(
            node.operator, arguments.name, arguments.reason
        )
    return Answer(
        data=data_of(token),
        text=(f"revoked: {token.name}; refused from its next request on",),
    )


def list_all(session: Session) -> Answer:
    """List all tokens."""
    with Node.open(session.config) as node:
        found = node.accounts.list_tokens(node.operator)
    now = datetime.now(UTC)
    rows = tuple(
        (
            each.name,
            _status(each, now),
            each.role,
            str(each.scope),
            " ".join(map(str, each.networks)),
            time_text(each.ends_at),
            time_text(each.used_at),
        )
        for each in found
    )
    columns = ("NAME", "STATUS", "ROLE", "SCOPE", "FROM", "UNTIL", "LAST USED")
    return Answer(
        data={
            "tokens": len(found),
            "standing": sum(each.is_standing(now) for each in found),
            "items": [data_of(each) for each in found],
        },
        text=(Table(columns, rows),)
        if rows
        else ("no tokens: leadglass tokens add NAME --role ROLE",),
    )


def _parse(arguments: Namespace) -> NewToken:
    """Read the token that is to be made."""
    days = arguments.days
    if days is not None and not 1 <= days <= VALIDITY_MAX.days:
        raise UsageError(f"--for {days}", f"name 1 to {VALIDITY_MAX.days} days")
    networks = tuple(
        parse_network(part)
        for text in arguments.networks
        for part in text.split(",")
        if part
    )
    if arguments.networks and not networks:
        raise UsageError("--from is empty", "name a network, as 10.4.0.0/24")
    return NewToken(
        name=arguments.name,
        role=arguments.role,
        scope=scope_of(arguments.scope) or EVERYTHING,
        networks=networks or HOUSE_NETWORKS,
        validity=VALIDITY_DEFAULT if days is None else timedelta(days=days),
    )


def data_of(token: Token) -> dict[str, Any]:
    """Return a token as scripts see one; the secret is nowhere in it."""
    return {
        "name": token.name,
        "status": _status(token, datetime.now(UTC)),
        "role": token.role,
        "scope": str(token.scope),
        "networks": list(map(str, token.networks)),
        "created_at": time_text(token.created_at),
        "not_after": time_text(token.ends_at),
        "used_at": time_text(token.used_at) or None,
        "revoked_at": time_text(token.revoked_at) or None,
    }


def _status(token: Token, now: datetime) -> str:
    if token.revoked_at is not None:
        return "revoked"
    return "standing" if token.is_standing(now) else "expired"
