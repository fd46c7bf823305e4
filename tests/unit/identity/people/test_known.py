"""The list of known passwords: found wherever they stand, and nothing else."""

from collections.abc import Callable
from hashlib import sha1
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leadglass.errors import Misconfigured, Unavailable
from leadglass.identity.people.known import Sha1List

Write = Callable[[list[str], str], Path]


def write_list(path: Path, passwords: list[str], ending: str = "\r\n") -> None:
    digests = sorted({sha1(each.encode()).hexdigest().upper() for each in passwords})
    lines = [f"{each}:{7 ** (n % 12)}{ending}" for n, each in enumerate(digests)]
    path.write_bytes("".join(lines).encode())


@given(
    st.lists(
        st.text(st.characters(codec="utf-8"), max_size=8), min_size=1, max_size=80
    ),
    st.lists(st.text(st.characters(codec="utf-8"), max_size=8), max_size=20),
    st.sampled_from(["\n", "\r\n"]),
)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_knows_those_and_no_others(
    tmp_path: Path, listed: list[str], others: list[str], ending: str
) -> None:
    path = tmp_path / "list.txt"
    write_list(path, listed, ending)
    known = Sha1List(path)
    assert all(known.knows(each) for each in listed)
    assert [each for each in others if known.knows(each)] == [
        each for each in others if each in listed
    ]
    known.close()


def test_the_last_line_needs_no_end(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    write_list(path, [str(n) for n in range(50)])
    path.write_bytes(path.read_bytes().rstrip())
    known = Sha1List(path)
    assert all(known.knows(str(n)) for n in range(50))
    assert not known.knows("50")
    known.close()


@pytest.mark.parametrize("content", [b"", b"password\n", b"\x00" * 500, b"A" * 500])
def test_what_is_no_list_is_said_at_the_start(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    with pytest.raises(Misconfigured, match="password list"):
        Sha1List(path)
    with pytest.raises(Misconfigured, match="cannot be read"):
        Sha1List(tmp_path / "none")


def test_damage_in_the_midst_takes_no_password(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    write_list(path, ["a"])
    path.write_bytes(path.read_bytes() + b"\x00" * 5_000)
    known = Sha1List(path)
    with pytest.raises(Unavailable):
        known.knows("b")
    known.close()
