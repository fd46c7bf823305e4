"""Checkpoints in a bucket with Object Lock, and in a folder: nobody takes them back."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from leadglass import cli
from leadglass.app import Node, copiers_of
from leadglass.config import Config
from leadglass.errors import Damaged, Misconfigured, Unavailable
from leadglass.servers.s3 import Bucket
from tests.support import seaweed


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    with seaweed.bucket(tmp_path_factory.mktemp("s3") / "weed") as made:
        yield made


def test_what_is_kept_stays_whoever_wants_it_gone(bucket: Bucket) -> None:
    assert bucket.put("one.note", b"a checkpoint")
    assert not bucket.put("one.note", b"a checkpoint")
    with pytest.raises(Damaged):
        bucket.put("one.note", b"another")
    _, listed = bucket.ask("GET", "?versions=", b"", {})
    found = re.search(rb"<Key>one.note</Key><VersionId>(\w+)<", listed)
    assert found is not None
    version = f"one.note?versionId={found[1].decode()}"
    bypass = {"x-amz-bypass-governance-retention": "true"}
    for more in ({}, bypass):
        assert bucket.ask("DELETE", version, b"", more)[0] == 403
    assert bucket.ask("GET", version, b"", {}) == (200, b"a checkpoint")


def test_a_bucket_without_a_lock_is_refused(bucket: Bucket) -> None:
    base = bucket.address.rpartition("/")[0]
    plain = seaweed_like(bucket, f"{base}/plain")
    assert plain.ask("PUT", "", b"", {})[0] == 200
    with pytest.raises(Unavailable, match="answers 400"):
        plain.put("one.note", b"a checkpoint")


def seaweed_like(bucket: Bucket, address: str, secret: str = seaweed.SECRET) -> Bucket:
    return Bucket(
        address=address,
        region=bucket.region,
        access_key=bucket.access_key,
        secret=lambda: secret,
        retention=bucket.retention,
    )


def test_who_does_not_know_the_secret_keeps_nothing(bucket: Bucket) -> None:
    other = seaweed_like(bucket, bucket.address, "another secret")
    with pytest.raises(Unavailable, match="answers 403"):
        other.put("two.note", b"a checkpoint")


def test_checkpoints_are_copied_to_folder_and_bucket(
    bucket: Bucket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, secret = tmp_path / "mount", tmp_path / "secret"
    folder.mkdir()
    secret.write_text(seaweed.SECRET + "\n")
    secret.chmod(0o600)
    settings = {
        "copies.folder": str(folder),
        "copies.s3_bucket": bucket.address,
        "copies.s3_access_key": bucket.access_key,
        "copies.s3_secret_file": str(secret),
    }
    home = tmp_path / "home"
    config = Config.load(home, {}, settings)
    Node.init(config)
    with Node.open(config) as node:
        copiers = copiers_of(node)
        for _ in range(2):
            node.parts.record(node.parts.events.application_stopped("x"))
            assert [each.run().new for each in copiers] == [1, 1]
            assert [each.run().new for each in copiers] == [0, 0]
        assert [each.step() for each in copiers] == [900.0, 900.0]
    names = sorted(each.name for each in folder.iterdir())
    assert [name[:12] for name in names] == ["000000000001", "000000000002"]
    for name in names:
        status, kept = bucket.ask("GET", name, b"", {})
        assert (status, kept) == (200, (folder / name).read_bytes())
    for key, value in settings.items():
        monkeypatch.setenv(f"LEADGLASS_{key.upper().replace('.', '_')}", value)
    assert cli.main(["--home", str(home), "audit", "copy", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["places"]
    assert [each["place"] for each in told] == ["folder", "bucket"]
    copied = [str(folder / name) for name in names]
    words = ["audit", "verify", "--witnessed", *copied, "--json"]
    assert cli.main(["--home", str(home), *words]) == 0
    folder.rename(tmp_path / "away")
    with Node.open(config) as node:
        one, _ = copiers_of(node)
        assert one.step() == 60.0


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"copies.folder": "{home}/copies"}, "inside the data folder"),
        ({"copies.s3_bucket": "https://s3.example/b"}, "copies.s3_access_key"),
        ({"copies.s3_bucket": "http://s3.example/b"}, "https://"),
        ({"copies.s3_bucket": "https://a:b@s3.example/b"}, "copies.s3_bucket"),
        ({"copies.s3_secret_file": "{home}/secret"}, "inside the data folder"),
        ({"copies.s3_region": "a\nb"}, "letters"),
    ],
)
def test_settings_that_cannot_be(
    tmp_path: Path, settings: dict[str, str], problem: str
) -> None:
    given = {key: each.format(home=tmp_path) for key, each in settings.items()}
    with pytest.raises(Misconfigured, match=problem):
        Config.load(tmp_path, {}, given)
