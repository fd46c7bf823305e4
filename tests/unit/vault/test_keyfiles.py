"""The files of keys: any change is told, and told apart from a wrong key."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadglass.errors import Damaged, Misconfigured
from leadglass.vault.keyfiles import (
    Argon2Cost,
    Ring,
    open_ring,
    seal_ring,
    unwrap_study_key,
    wrap_study_key,
    wrapping_number,
)
from leadglass.vault.masters import MasterKind

CHEAP = Argon2Cost(memory_kib=64, passes=1, lanes=1)
KEY_ID = bytes(range(16))
STUDY_KEY = bytes(range(32))


@dataclass(frozen=True, slots=True)
class Master:
    kind: MasterKind
    value: bytes

    def secret(self) -> bytes:
        return self.value


KEY = Master(MasterKind.KEY, bytes(32))
PHRASE = Master(MasterKind.PASSPHRASE, b"correct horse battery")
RING = Ring.new().with_new_wrapping_key()
FILE = seal_ring(RING, [(m.kind, m.value) for m in (KEY, PHRASE)], CHEAP)


class TestRing:
    @pytest.mark.parametrize("master", [KEY, PHRASE])
    def test_each_master_key_opens_it(self, master: Master) -> None:
        assert open_ring(FILE, master) == (RING, 2)

    @pytest.mark.parametrize(
        "master",
        [
            Master(MasterKind.KEY, b"\1" + bytes(31)),
            Master(MasterKind.PASSPHRASE, b"correct horse batterie"),
            Master(MasterKind.PASSPHRASE, bytes(32)),
        ],
    )
    def test_no_other_does(self, master: Master) -> None:
        with pytest.raises(Misconfigured):
            open_ring(FILE, master)

    def test_any_flipped_bit_is_damage_not_a_wrong_key(self) -> None:
        for at in range(len(FILE) * 8):
            rotten = bytearray(FILE)
            rotten[at // 8] ^= 1 << at % 8
            with pytest.raises(Damaged):
                open_ring(bytes(rotten), KEY)

    @given(st.integers(0, len(FILE) - 1))
    def test_any_cut_is_damage(self, length: int) -> None:
        with pytest.raises(Damaged):
            open_ring(FILE[:length], KEY)

    def test_no_two_files_share_secrets_in_sight(self) -> None:
        masters = [(KEY.kind, KEY.value)]
        one, two = (seal_ring(RING, masters) for _ in range(2))
        assert not {one[n : n + 8] for n in range(20, len(one) - 8)} & {
            two[n : n + 8] for n in range(20, len(two) - 8)
        }

    def test_secrets_are_not_in_its_repr(self) -> None:
        assert repr(RING) == "Ring(generation=2)"

    @pytest.mark.parametrize(
        "cost", [(4 << 20, 1, 1), (64, 0, 1), (64, 99, 1), (8, 1, 4)]
    )
    def test_an_unreasonable_derivation_is_not_begun(
        self, cost: tuple[int, int, int]
    ) -> None:
        with pytest.raises(Damaged):
            Argon2Cost(*cost)

    def test_dropping_wrapping_keys(self) -> None:
        later = RING.without({1})
        assert (later.current, later.generation) == (2, 3)
        assert set(later.wrapping_keys) == {2}
        with pytest.raises(Damaged):
            later.without({2})


class TestStudyKeyFile:
    FILE = wrap_study_key(RING, KEY_ID, STUDY_KEY)

    def test_what_was_wrapped_is_unwrapped(self) -> None:
        assert unwrap_study_key(RING, KEY_ID, self.FILE) == STUDY_KEY
        assert wrapping_number(self.FILE) == 2
        assert STUDY_KEY[:8] not in self.FILE

    def test_any_flipped_bit_is_damage(self) -> None:
        for at in range(len(self.FILE) * 8):
            rotten = bytearray(self.FILE)
            rotten[at // 8] ^= 1 << at % 8
            with pytest.raises(Damaged):
                unwrap_study_key(RING, KEY_ID, bytes(rotten))

    @pytest.mark.parametrize("length", [0, 11, 71])
    def test_a_cut_is_damage(self, length: int) -> None:
        with pytest.raises(Damaged):
            unwrap_study_key(RING, KEY_ID, self.FILE[:length])

    def test_it_opens_under_its_own_name_and_ring_alone(self) -> None:
        with pytest.raises(Damaged):
            unwrap_study_key(RING, bytes(16), self.FILE)
        with pytest.raises(Damaged):
            unwrap_study_key(Ring.new(), KEY_ID, self.FILE)
