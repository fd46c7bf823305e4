"""A session proves its person until it ends, and says nothing about why it does not."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

import pytest
from sqlalchemy import update

from leadglass.access.policy import Kind, Subject
from leadglass.archive.accounts import Accounts
from leadglass.archive.doors import Knocks
from leadglass.archive.parts import Parts
from leadglass.archive.visit import Visits
from leadglass.errors import Refused
from leadglass.identity.people import tables
from leadglass.identity.people.secondfactor import Factor
from leadglass.identity.people.sessions import Sessions
from leadglass.identity.people.user import NewUser
from leadglass.identity.rows import to_us
from tests.unit.archive.conftest import OPERATOR

HERE = ip_address("10.4.0.7")


@pytest.fixture
def accounts(parts: Parts) -> Accounts:
    accounts = Accounts.of(parts)
    accounts.add_user(OPERATOR, NewUser("Alice", ("radiologist",)))
    return accounts


@pytest.fixture
def visits(parts: Parts) -> Visits:
    return Visits(parts, Sessions(), Knocks(parts))


@pytest.fixture
def cookie(parts: Parts, accounts: Accounts, visits: Visits) -> bytes:
    now = datetime.now(UTC)

    def work(tx: Any) -> str:
        user = accounts.users.get(tx.connection, "alice")
        enrolled = accounts.users.change(tx, user, {"enrolled_us": to_us(now)})
        return visits.sessions.create(tx, enrolled, Factor.TOTP, HERE, now)[0]

    return parts.database.write(work).encode()


def test_a_session_proves_its_person(visits: Visits, cookie: bytes) -> None:
    visit = visits.visit(cookie, HERE, "TLSv1.3")
    assert visit.caller.subject == Subject(Kind.OPERATOR, "alice")
    assert (visit.caller.address, visit.caller.channel) == (HERE, "TLSv1.3")
    assert visit.session.is_fresh(datetime.now(UTC))
    assert visits(cookie, HERE, "TLSv1.3") == visit.caller


@pytest.mark.parametrize("wrong", [b"", b"lgs_", b"\xff\xfe", b"lgt_" + b"A" * 43])
def test_what_is_no_session_is_nobody_and_counted(
    visits: Visits, cookie: bytes, wrong: bytes
) -> None:
    with pytest.raises(Refused, match=r"^not proven$"):
        visits(wrong, HERE, "TLSv1.3")
    assert visits.knocks.count(HERE, "no such session") == 2


def test_a_disabled_users_session_is_over_at_once(
    visits: Visits, accounts: Accounts, cookie: bytes
) -> None:
    accounts.disable_user(OPERATOR, "alice")
    with pytest.raises(Refused, match=r"^not proven$"):
        visits(cookie, HERE, "TLSv1.3")


def test_a_use_is_written_down_when_it_is_due(
    parts: Parts, visits: Visits, cookie: bytes
) -> None:
    first = visits.visit(cookie, HERE, "TLSv1.3").session
    before = parts.database.version()
    visits(cookie, HERE, "TLSv1.3")
    assert parts.database.version() == before
    earlier = to_us(datetime.now(UTC) - timedelta(minutes=10))
    statement = update(tables.session).values(used_us=earlier)
    parts.database.write(lambda tx: tx.connection.execute(statement) and None)
    visits(cookie, HERE, "TLSv1.3")
    assert visits.visit(cookie, HERE, "TLSv1.3").session.used_at >= first.used_at
