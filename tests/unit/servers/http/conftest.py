"""One authority and one listener for all tests that leave it as it was."""

from collections.abc import Iterator

import pytest

from leadglass.identity.authority import Authority
from tests.unit.servers.http.rig import Running, listening


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder = tmp_path_factory.mktemp("https") / "authority"
    return Authority.create(folder, bytes(32), ["localhost"])


@pytest.fixture(scope="module")
def running(authority: Authority) -> Iterator[Running]:
    with listening(authority) as running:
        yield running
