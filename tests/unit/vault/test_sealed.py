"""What the seal keeps: bytes, place, secrecy; and that Tink agrees."""

import io
import os
import tracemalloc
from itertools import pairwise

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tink import cleartext_keyset_handle, streaming_aead
from tink.proto import aes_gcm_hkdf_streaming_pb2 as gcm_pb2
from tink.proto import common_pb2, tink_pb2

from leadglass.errors import BadData, Conflict, Damaged, NotFound, Unavailable
from leadglass.vault.blobs import BlobName, BlobWriter, Bytes
from leadglass.vault.keys import KeyId, Keyring
from leadglass.vault.memory import MemoryBlobs
from leadglass.vault.sealed import HEAD_BYTES, NOTE_BYTES_MAX, SealedBlobs

A, B = BlobName("a" * 32), BlobName("b" * 32)
SMALL = 12  # 4 KiB segments: the same code, sooner across a boundary
ENVELOPE_BYTES = HEAD_BYTES - 40

fixtures_are_kept = settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def inner() -> MemoryBlobs:
    return MemoryBlobs()


@pytest.fixture
def sealed(inner: MemoryBlobs, keyring: Keyring) -> SealedBlobs:
    return SealedBlobs(inner, keyring, SMALL)


@pytest.fixture
def key_id(keyring: Keyring) -> KeyId:
    return keyring.new_study_key()


def put(sealed: SealedBlobs, key_id: KeyId, name: BlobName, data: bytes) -> None:
    sealed.under(key_id).put(name, [data])


def stored(inner: MemoryBlobs, name: BlobName = A) -> bytes:
    return b"".join(inner.get(name))


def replaced(inner: MemoryBlobs, data: Bytes, name: BlobName = A) -> None:
    inner.delete(name)
    inner.put(name, [data])


class TestDamage:
    @fixtures_are_kept
    @given(
        size=st.sampled_from([0, 1, 4039, 4040, 4041, 10_000]),
        flip=st.integers(0, 160_000),
    )
    def test_any_flipped_bit(
        self,
        inner: MemoryBlobs,
        sealed: SealedBlobs,
        key_id: KeyId,
        size: int,
        flip: int,
    ) -> None:
        sealed.delete(A)
        put(sealed, key_id, A, bytes(size))
        rotten = bytearray(stored(inner))
        rotten[flip // 8 % len(rotten)] ^= 1 << flip % 8
        replaced(inner, rotten)
        with pytest.raises(Damaged):
            list(sealed.get(A))

    def test_any_bit_of_the_head(
        self, inner: MemoryBlobs, sealed: SealedBlobs, key_id: KeyId
    ) -> None:
        put(sealed, key_id, A, b"x")
        whole = stored(inner)
        for at in range(HEAD_BYTES * 8):
            rotten = bytearray(whole)
            rotten[at // 8] ^= 1 << at % 8
            replaced(inner, rotten)
            with pytest.raises(Damaged):
                list(sealed.get(A))

    def test_any_bit_of_a_note(
        self, inner: MemoryBlobs, sealed: SealedBlobs, key_id: KeyId
    ) -> None:
        with sealed.writer(A, key_id, b"from whom") as writer:
            writer.write(b"x")
            writer.commit()
        with sealed.reader(A) as reader:
            assert reader.note == b"from whom"
            assert reader.read(0, 1) == b"x"
        whole = stored(inner)
        assert b"from whom" not in whole
        for at in range((HEAD_BYTES + len(b"from whom") + 16) * 8):
            rotten = bytearray(whole)
            rotten[at // 8] ^= 1 << at % 8
            replaced(inner, rotten)
            with pytest.raises(Damaged):
                list(sealed.get(A))

    def test_a_note_of_any_length(self, sealed: SealedBlobs, key_id: KeyId) -> None:
        for length in (0, 1, 255, 256, NOTE_BYTES_MAX):
            name = BlobName.new()
            with sealed.writer(name, key_id, bytes(length)) as writer:
                writer.write(bytes(10_000))
                writer.commit()
            with sealed.reader(name) as reader:
                assert reader.note == bytes(length)
                assert reader.read(5_000, 5_000) == bytes(5_000)
        with pytest.raises(BadData):
            sealed.writer(BlobName.new(), key_id, bytes(NOTE_BYTES_MAX + 1))

    @fixtures_are_kept
    @given(size=st.sampled_from([0, 1, 4040, 4041, 10_000]), data=st.data())
    def test_any_cut_tail(
        self,
        inner: MemoryBlobs,
        sealed: SealedBlobs,
        key_id: KeyId,
        size: int,
        data: st.DataObject,
    ) -> None:
        sealed.delete(A)
        put(sealed, key_id, A, bytes(size))
        whole = stored(inner)
        replaced(inner, whole[: data.draw(st.integers(0, len(whole) - 1))])
        with pytest.raises(Damaged):
            list(sealed.get(A))
        with pytest.raises(Damaged):
            sealed.size(A)

    def test_cut_between_segments(
        self, inner: MemoryBlobs, sealed: SealedBlobs, key_id: KeyId
    ) -> None:
        put(sealed, key_id, A, bytes(10_000))
        replaced(inner, stored(inner)[: ENVELOPE_BYTES + 2 * 4096])
        with pytest.raises(Damaged):
            sealed.size(A)
        assert sealed.read(A, 0, 100) == bytes(100)  # these bytes are true

    def test_cut_to_nothing_is_not_an_empty_blob(
        self, inner: MemoryBlobs, sealed: SealedBlobs, key_id: KeyId
    ) -> None:
        put(sealed, key_id, A, bytes(100))
        replaced(inner, stored(inner)[: HEAD_BYTES + 16])
        with pytest.raises(Damaged):
            list(sealed.get(A))

    @pytest.mark.parametrize("more", [b"\0", bytes(16), bytes(5000)])
    def test_an_appended_tail(
        self, inner: MemoryBlobs, sealed: SealedBlobs, key_id: KeyId, more: bytes
    ) -> None:
        put(sealed, key_id, A, bytes(4040))
        replaced(inner, stored(inner) + more)
        with pytest.raises(Damaged):
            list(sealed.get(A))

    def test_swapped_segments(
        self, inner: MemoryBlobs, sealed: SealedBlobs, key_id: KeyId
    ) -> None:
        put(sealed, key_id, A, bytes(20_000))
        whole, at = stored(inner), ENVELOPE_BYTES + 4096
        one, two = whole[at : at + 4096], whole[at + 4096 : at + 8192]
        replaced(inner, whole[:at] + two + one + whole[at + 8192 :])
        with pytest.raises(Damaged):
            list(sealed.get(A))

    def test_nothing_leaves_before_it_is_verified(
        self, inner: MemoryBlobs, sealed: SealedBlobs, key_id: KeyId
    ) -> None:
        put(sealed, key_id, A, bytes(10_000))
        rotten = bytearray(stored(inner))
        rotten[ENVELOPE_BYTES + 4096] ^= 1
        replaced(inner, rotten)
        pieces = sealed.get(A)
        assert next(pieces) == bytes(4040)
        with pytest.raises(Damaged):
            next(pieces)

    def test_a_blob_cannot_take_the_place_of_another(
        self, inner: MemoryBlobs, sealed: SealedBlobs, key_id: KeyId
    ) -> None:
        put(sealed, key_id, A, b"patient A")
        inner.put(B, [stored(inner)])
        with pytest.raises(Damaged):
            list(sealed.get(B))

    def test_nor_lend_another_its_locator(
        self, inner: MemoryBlobs, sealed: SealedBlobs, key_id: KeyId
    ) -> None:
        put(sealed, key_id, A, b"one")
        put(sealed, key_id, B, b"two")
        mixed = stored(inner, A)[:ENVELOPE_BYTES] + stored(inner, B)[ENVELOPE_BYTES:]
        for name in (A, B):
            replaced(inner, mixed, name)
            with pytest.raises(Damaged):
                list(sealed.get(name))


class TestSecrecy:
    def test_blobs_of_one_study_have_nothing_in_common(
        self, inner: MemoryBlobs, sealed: SealedBlobs, key_id: KeyId
    ) -> None:
        names = [BlobName.new() for _ in range(40)]
        for name in names:
            put(sealed, key_id, name, b"PATIENT^UNIQUE" * 10)
        heads = [stored(inner, name)[8:HEAD_BYTES] for name in names]
        for at in range(0, HEAD_BYTES - 12, 4):
            if at // 4 == 8:
                continue  # the stream's length byte is the same in each
            assert len({head[at : at + 4] for head in heads}) > 35
        for name in names:
            assert b"UNIQUE" not in stored(inner, name)
            assert key_id.raw not in stored(inner, name)
            assert sealed.key_id(name) == key_id

    def test_without_its_study_key_a_blob_is_noise(
        self, inner: MemoryBlobs, sealed: SealedBlobs, keyring: Keyring, key_id: KeyId
    ) -> None:
        other = keyring.new_study_key()
        put(sealed, key_id, A, b"erased")
        put(sealed, other, B, b"kept")
        keyring.destroy(key_id)
        with pytest.raises(NotFound):
            list(sealed.get(A))
        with pytest.raises(NotFound):
            sealed.writer(BlobName.new(), key_id)
        assert b"".join(sealed.get(B)) == b"kept"
        assert sealed.key_id(A) == key_id  # which study it was is still known


class TestWriter:
    def test_other_segment_sizes_are_read_as_well(
        self, inner: MemoryBlobs, sealed: SealedBlobs, keyring: Keyring, key_id: KeyId
    ) -> None:
        data = os.urandom(500_000)
        put(sealed, key_id, A, data)
        assert b"".join(SealedBlobs(inner, keyring).get(A)) == data

    def test_an_error_below_ends_the_blob(
        self, keyring: Keyring, key_id: KeyId
    ) -> None:
        class Full(MemoryBlobs):
            abandoned = 0

            def writer(self, name: BlobName) -> BlobWriter:
                assert name
                return FullWriter()

        class FullWriter(BlobWriter):
            def write(self, data: Bytes) -> None:
                raise Unavailable("disk: no space left")

            def commit(self) -> None:
                raise AssertionError

            def abandon(self) -> None:
                Full.abandoned += 1

        sealed = SealedBlobs(Full(), keyring, SMALL)
        writer = sealed.writer(A, key_id)
        with pytest.raises(Unavailable):
            writer.write(bytes(10_000))
        assert Full.abandoned == 1
        with pytest.raises(Unavailable):
            writer.write(b"x")
        with pytest.raises(Unavailable):
            writer.commit()

    def test_a_name_is_used_once(self, sealed: SealedBlobs, key_id: KeyId) -> None:
        put(sealed, key_id, A, b"x")
        with pytest.raises(Conflict):
            sealed.writer(A, key_id)

    @fixtures_are_kept
    @given(cuts=st.lists(st.integers(0, 30_000), max_size=8))
    def test_how_the_bytes_were_cut_makes_no_difference(
        self, sealed: SealedBlobs, key_id: KeyId, cuts: list[int]
    ) -> None:
        data = bytes(range(250)) * 120
        edges = [0, *sorted(cuts), len(data)]
        name = BlobName.new()
        with sealed.writer(name, key_id) as writer:
            for begin, end in pairwise(edges):
                writer.write(memoryview(data)[begin:end])
            writer.commit()
        assert b"".join(sealed.get(name)) == data
        assert sealed.size(name) == len(data)

    def test_memory_does_not_grow_with_the_blob(
        self, keyring: Keyring, key_id: KeyId
    ) -> None:
        class Sink(MemoryBlobs):
            def writer(self, name: BlobName) -> BlobWriter:
                assert name
                return SinkWriter()

        class SinkWriter(BlobWriter):
            def write(self, data: Bytes) -> None:
                pass

            def commit(self) -> None:
                pass

            def abandon(self) -> None:
                pass

        sealed = SealedBlobs(Sink(), keyring)
        piece = bytes(100_000)
        tracemalloc.start()
        try:
            with sealed.writer(A, key_id) as writer:
                for _ in range(1000):
                    writer.write(piece)
                writer.commit()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 1024 * 1024


class TestTink:
    """The layout is Tink's: each opens what the other sealed."""

    def primitive(self, key: bytes, log2: int) -> streaming_aead.StreamingAead:
        streaming_aead.register()
        value = gcm_pb2.AesGcmHkdfStreamingKey(
            version=0,
            key_value=key,
            params=gcm_pb2.AesGcmHkdfStreamingParams(
                ciphertext_segment_size=1 << log2,
                derived_key_size=32,
                hkdf_hash_type=common_pb2.SHA256,
            ),
        )
        keyset = tink_pb2.Keyset(
            primary_key_id=1,
            key=[
                tink_pb2.Keyset.Key(
                    key_data=tink_pb2.KeyData(
                        type_url="type.googleapis.com/"
                        "google.crypto.tink.AesGcmHkdfStreamingKey",
                        value=value.SerializeToString(),
                        key_material_type=tink_pb2.KeyData.SYMMETRIC,
                    ),
                    status=tink_pb2.ENABLED,
                    key_id=1,
                    output_prefix_type=tink_pb2.RAW,
                )
            ],
        )
        handle = cleartext_keyset_handle.from_keyset(keyset)
        return handle.primitive(streaming_aead.StreamingAead)

    # Around the ends of the first and of later segments of 4 KiB.
    SIZES = (0, 1, 4023, 4039, 4040, 4041, 8103, 8104, 8105, 8119, 8120, 8121, 50_000)

    @pytest.mark.parametrize("size", SIZES)
    def test_tink_opens_ours(
        self,
        inner: MemoryBlobs,
        sealed: SealedBlobs,
        keyring: Keyring,
        key_id: KeyId,
        size: int,
    ) -> None:
        data = os.urandom(size)
        put(sealed, key_id, A, data)
        tink = self.primitive(keyring.study_key(key_id), SMALL)
        stream = io.BytesIO(stored(inner)[ENVELOPE_BYTES:])
        with tink.new_decrypting_stream(stream, A.encode()) as opened:
            assert opened.read() == data

    @pytest.mark.parametrize("size", SIZES)
    def test_we_open_tinks(
        self,
        inner: MemoryBlobs,
        sealed: SealedBlobs,
        keyring: Keyring,
        key_id: KeyId,
        size: int,
    ) -> None:
        data = os.urandom(size)
        tink = self.primitive(keyring.study_key(key_id), SMALL)
        kept = io.BytesIO()
        kept.close = lambda: None  # type: ignore[method-assign]
        with tink.new_encrypting_stream(kept, A.encode()) as sealing:
            sealing.write(data)
        header = kept.getvalue()[:40]
        # The envelope around Tink's stream, as the format document describes it.
        envelope = envelope_for(keyring, key_id, header)
        inner.put(A, [envelope + kept.getvalue()])
        assert b"".join(sealed.get(A)) == data
        assert sealed.size(A) == size


def envelope_for(keyring: Keyring, key_id: KeyId, header: bytes) -> bytes:
    """Build an envelope from the document alone."""

    prefix = b"LGLS" + bytes([1, SMALL, 0, 0])
    secret = keyring.derive("blob locator 1")
    key = HKDF(SHA256(), 32, header[1:33], A.encode()).derive(secret)
    return prefix + AESGCM(key).encrypt(bytes(12), bytes.fromhex(key_id), prefix)
