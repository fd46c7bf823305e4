"""People who have logged in, for tests that are not about that."""

from datetime import UTC, datetime
from typing import Any

from leadglass.access.scopes import EVERYTHING, Scope
from leadglass.app import Node
from leadglass.identity.people.secondfactor import Factor
from leadglass.identity.people.user import NewUser
from leadglass.identity.rows import to_us


def session_of(opened: Node, name: str, role: str, reach: Scope = EVERYTHING) -> str:
    """Add a person of a role, and return the cookie of a session of theirs."""
    now = datetime.now(UTC)
    new = NewUser(name, (role,))
    opened.accounts.add_user(opened.operator, new, reach)

    def work(tx: Any) -> str:
        users = opened.accounts.users
        user = users.get(tx.connection, name)
        user = users.change(tx, user, {"enrolled_us": to_us(now)})
        return opened.sessions.create(tx, user, Factor.TOTP, None, now)[0]

    return opened.database.write(work)
