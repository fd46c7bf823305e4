"""The first administrator: one secret, shown once, used once."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadglass.database.engine import Database
from leadglass.errors import Damaged, Refused
from leadglass.identity.administrators import (
    FIRST_NAME,
    Administrators,
    hash_secret,
    matches,
    new_secret,
)


def test_there_is_one_first_administrator(database: Database) -> None:
    administrators = Administrators()
    with database.read() as connection:
        assert not administrators.has_any(connection)
    secret = database.write(administrators.create_first)
    assert secret is not None
    assert re.fullmatch(r"([A-Z2-7]{5}-){5}[A-Z2-7]", secret)
    with database.read() as connection:
        assert administrators.has_any(connection)
        kept = connection.exec_driver_sql("SELECT * FROM administrator").one()
    assert secret not in str(kept)
    assert database.write(administrators.create_first) is None


def test_the_secret_is_good_once(database: Database) -> None:
    administrators = Administrators()
    secret = database.write(administrators.create_first)
    assert secret is not None
    for name, wrong in ((FIRST_NAME, new_secret()), (FIRST_NAME, ""), ("x", secret)):
        with pytest.raises(Refused, match="wrong name or secret"):
            database.write(
                lambda tx, n=name, w=wrong: administrators.consume(tx, n, w)  # type: ignore[misc]
            )
    database.write(lambda tx: administrators.consume(tx, FIRST_NAME, secret.lower()))
    with pytest.raises(Refused):
        database.write(lambda tx: administrators.consume(tx, FIRST_NAME, secret))
    assert database.write(administrators.create_first) is None


def test_secrets_differ_and_so_do_hashes_of_one() -> None:
    secret = new_secret()
    assert secret != new_secret()
    one, two = hash_secret(secret), hash_secret(secret)
    assert one != two
    assert matches(secret, one)
    assert matches(secret.replace("-", " ").lower(), two)
    assert not matches(secret[:-1], one)


@given(st.text(max_size=60))
@settings(max_examples=30)
def test_what_is_no_hash_is_damage(text: str) -> None:
    for stored in (text, f"scrypt$32768$8$3${text}", f"scrypt$32768$8$3$!${text}"):
        with pytest.raises(Damaged):
            matches("SECRET", stored)
