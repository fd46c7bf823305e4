"""Codes of an app and recovery codes: right, once, and in time."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadglass.database.engine import Transaction
from leadglass.identity.people.secondfactor import (
    RECOVERY_CODES,
    STEP_S,
    Factor,
    matching_step,
    new_recovery_codes,
    totp_code,
    totp_step,
    totp_text,
    totp_uri,
)
from tests.unit.identity.people.surroundings import START, People

# RFC 6238 Appendix B, SHA-1: the last six of its eight digits.
RFC_SECRET = b"12345678901234567890"
RFC_CODES = [
    (59, "287082"),
    (1_111_111_109, "081804"),
    (1_111_111_111, "050471"),
    (1_234_567_890, "005924"),
    (2_000_000_000, "279037"),
    (20_000_000_000, "353130"),
]


@pytest.mark.parametrize(("seconds", "code"), RFC_CODES)
def test_the_codes_of_the_rfc(seconds: int, code: str) -> None:
    step = totp_step(datetime.fromtimestamp(seconds, UTC))
    assert totp_code(RFC_SECRET, step) == code


@given(st.integers(-4, 4))
@settings(max_examples=20)
def test_a_code_counts_one_step_either_way(steps: int) -> None:
    code = totp_code(RFC_SECRET, totp_step(START) + steps)
    found = matching_step(RFC_SECRET, code, None, START)
    assert (found is not None) == (abs(steps) <= 1)


def test_a_step_is_used_once() -> None:
    here = totp_step(START)
    code = totp_code(RFC_SECRET, here)
    assert matching_step(RFC_SECRET, code, here - 1, START) == here
    assert matching_step(RFC_SECRET, code, here, START) is None
    assert matching_step(RFC_SECRET, code, here + 1, START) is None


@pytest.mark.parametrize(
    "code", ["", "0", "\ud800", "\u0660" * 6, "1" * 10_000, "-" * 70]
)
def test_what_is_no_code_is_wrong(code: str) -> None:
    assert matching_step(RFC_SECRET, code, None, START) is None


def test_without_an_app_the_code_of_the_decoy_is_wrong() -> None:
    code = totp_code(bytes(20), totp_step(START))
    assert matching_step(None, code, None, START) is None


def test_an_app_reads_the_uri() -> None:
    uri = urlsplit(totp_uri("alice@north", RFC_SECRET))
    assert (uri.scheme, uri.netloc) == ("otpauth", "totp")
    assert uri.path == "/Leadglass:alice%40north"
    assert parse_qs(uri.query) == {
        "secret": [totp_text(RFC_SECRET)],
        "issuer": ["Leadglass"],
        "algorithm": ["SHA1"],
        "digits": ["6"],
        "period": [str(STEP_S)],
    }


def prove(people: People, code: str, name: str = "alice") -> Factor | None:
    def work(tx: Transaction) -> Factor | None:
        known = people.stores.users.credentials(tx.connection, name)
        return people.stores.factors.prove(tx, known, code, people.now)

    return people.database.write(work)


def test_recovery_codes_are_good_once_each_and_for_their_owner(people: People) -> None:
    codes = people.member().recovery_codes
    people.member("bob")
    assert len(set(codes)) == RECOVERY_CODES
    assert prove(people, codes[0], "bob") is None
    assert prove(people, codes[0], "nobody") is None
    for code in codes:
        assert prove(people, code.lower().replace("-", " ")) is Factor.RECOVERY
        assert prove(people, code) is None
    with people.database.read() as connection:
        assert people.stores.factors.recovery_codes_left(connection, people.user()) == 0


def test_new_recovery_codes_end_the_old_ones(people: People) -> None:
    old = people.member().recovery_codes
    new = people.database.write(
        lambda tx: people.enrolment.renew_recovery_codes(tx, people.user())
    )
    assert prove(people, old[0]) is None
    assert prove(people, new[0]) is Factor.RECOVERY
    assert new_recovery_codes() != new


def test_no_code_is_kept_as_it_is(people: People) -> None:
    codes = people.member().recovery_codes
    with people.database.read() as connection:
        kept = str(connection.exec_driver_sql("SELECT * FROM person_recovery").all())
    assert not any(code in kept or code.replace("-", "") in kept for code in codes)


def test_a_used_step_stays_used(people: People) -> None:
    people.member()
    code = people.code()
    assert prove(people, code) is Factor.TOTP
    assert prove(people, code) is None
    people.wait(timedelta(seconds=30))
    assert prove(people, code) is None
