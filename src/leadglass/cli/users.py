"""``leadglass users``: people who may log in."""

from collections.abc import Iterable
from typing import Any

from leadglass.access.scopes import EVERYTHING, Scope
from leadglass.app import Node
from leadglass.archive.accounts import Account
from leadglass.cli.answers import Answer, Table, indented, time_text
from leadglass.cli.failures import UsageError
from leadglass.cli.session import Session
from leadglass.identity.people.user import NewUser


def add(session: Session) -> Answer:
    """Add a user."""
    arguments = session.arguments
    new = NewUser(arguments.name, _roles(arguments.role), arguments.display_name or "")
    scope = scope_of(arguments.scope) or EVERYTHING
    with Node.open(session.config) as node:
        secret, account = node.accounts.add_user(node.operator, new, scope)
    return _with_secret("added", secret, account)


def reset(session: Session) -> Answer:
    """Take all proofs from a user, who enrols anew."""
    arguments = session.arguments
    with Node.open(session.config) as node:
        secret, account = node.accounts.reset_user(
            node.operator, arguments.name, arguments.reason or ""
        )
    return _with_secret("reset", secret, account)


def change(session: Session) -> Answer:
    """Give a user other roles or another scope."""
    arguments = session.arguments
    if not arguments.role and arguments.scope is None:
        raise UsageError("nothing to change", "name --role, --scope, or both")
    with Node.open(session.config) as node:
        account = node.accounts.change_user(
            node.operator,
            arguments.name,
            _roles(arguments.role) or None,
            scope_of(arguments.scope),
            arguments.reason or "",
        )
    return _changed(account, "changed", "open sessions have ended")


def disable(session: Session) -> Answer:
    """Shut a user out."""
    arguments = session.arguments
    with Node.open(session.config) as node:
        account = node.accounts.disable_user(
            node.operator, arguments.name, arguments.reason
        )
    return _changed(account, "disabled", "refused from the next request on")


def enable(session: Session) -> Answer:
    """Let a disabled user come again."""
    arguments = session.arguments
    with Node.open(session.config) as node:
        account = node.accounts.enable_user(
            node.operator, arguments.name, arguments.reason or ""
        )
    return _changed(account, "enabled", "with the proofs and roles of before")


def unlock(session: Session) -> Answer:
    """Forget the failures that keep a user out."""
    with Node.open(session.config) as node:
        account = node.accounts.unlock_user(node.operator, session.arguments.name)
    return _changed(account, "unlocked", "may try again at once")


def list_all(session: Session) -> Answer:
    """List all users."""
    with Node.open(session.config) as node:
        found = node.accounts.list_users(node.operator)
    rows = tuple(
        (
            each.user.name,
            _status(each),
            " ".join(each.user.roles),
            str(each.scope),
            each.user.display_name,
            time_text(each.user.created_at),
        )
        for each in found
    )
    columns = ("NAME", "STATUS", "ROLES", "SCOPE", "DISPLAY NAME", "SINCE")
    return Answer(
        data={
            "users": len(found),
            "active": sum(each.user.is_active for each in found),
            "items": [data_of(each) for each in found],
        },
        text=(Table(columns, rows),)
        if rows
        else ("no users: leadglass users add NAME --role ROLE",),
    )


def scope_of(text: str | None) -> Scope | None:
    """Read ``--scope``; what a script left empty is an error, not everything.

    Raises:
        Misconfigured: It is no scope.
    """
    return None if text is None else Scope.parse(text)


# ── what is told ─────────────────────────────────────────────────────────────


def data_of(account: Account) -> dict[str, Any]:
    """Return a user as scripts see one."""
    user = account.user
    return {
        "name": user.name,
        "display_name": user.display_name,
        "status": _status(account),
        "roles": list(user.roles),
        "scope": str(account.scope),
        "created_at": time_text(user.created_at),
        "enrolled_at": time_text(user.enrolled_at) or None,
        "disabled_at": time_text(user.disabled_at) or None,
        "locked_until": time_text(account.locked_until) or None,
    }


def _status(account: Account) -> str:
    if account.user.disabled_at is not None:
        return "disabled"
    if account.user.enrolled_at is None:
        return "not enrolled"
    return "active" if account.locked_until is None else "locked"


def _with_secret(verb: str, secret: str, account: Account) -> Answer:
    return Answer(
        data={"user": data_of(account), "one_time_secret": secret},
        text=(
            f"{verb}: {account.user.name}; enrols within a week with this secret",
            "shown here once:",
            *indented([secret]),
        ),
    )


def _changed(account: Account, verb: str, what: str) -> Answer:
    return Answer(
        data={"user": data_of(account)},
        text=(f"{verb}: {account.user.name}; {what}",),
    )


def _roles(texts: Iterable[str]) -> tuple[str, ...]:
    """Return roles that were given one by one, or with commas."""
    return tuple(part for text in texts for part in text.split(",") if part)
