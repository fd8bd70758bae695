"""The same uploads to a service that is not ours: Azurite, behind a door that enforces what Azurite does not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop import peers
from pluto_deploy.azure import page_blob
from pluto_deploy.azure.page_blob import Grant, upload
from pluto_deploy.cloud.door import CloudError, Patience, Waiting
from simulators import containers
from simulators.cloud import azurite
from simulators.cloud.azurite import Azurite
from simulators.cloud.told import Kept
from simulators.cloud.wire import Loss

pytestmark = [pytest.mark.interop, pytest.mark.slow]

MAIN = peers.BUILD / "azurite/node_modules/azurite/dist/src/blob/main.js"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    try:
        peers.need("azurite")
        containers.tool("node")
    except (peers.AbsentError, LookupError) as error:
        pytest.skip(f"no peer: {error}")
    with azurite.running(MAIN, tmp_path_factory.mktemp("azurite")) as url:
        yield url


@pytest.fixture
def disk(base: str, sparse: Path) -> Iterator[Azurite]:
    with azurite.guarded(base, sparse.stat().st_size) as made:
        yield made


class Work:
    def __init__(self, path: Path, patience: Patience, waiting: Waiting, progress: Kept) -> None:
        self.path, self.progress = path, progress
        self.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        self.door = page_blob.door(patience=patience, waiting=waiting)

    def __call__(self, grant: Grant) -> None:
        upload(self.path, grant, sha256=self.sha256, progress=self.progress, using=self.door)


@pytest.fixture
def work(sparse: Path, patience: Patience, waiting: Waiting, progress: Kept) -> Work:
    return Work(sparse, patience, waiting, progress)


def test_the_blob_is_the_file_also_the_second_time(work: Work, disk: Azurite) -> None:
    work(disk.grant)
    assert disk.content() == work.path.read_bytes()
    work(disk.grant)
    assert disk.content() == work.path.read_bytes()
    assert disk.granted == 2


def test_what_another_upload_left_is_cleared(work: Work, disk: Azurite) -> None:
    work(disk.grant)
    first = work.path.read_bytes()
    with work.path.open("r+b") as file:
        file.seek(10 << 20)
        file.write(bytes(1 << 20))
        file.seek(5 << 20)
        file.write(b"elsewhere")
    changed = work.path.read_bytes()
    assert changed != first
    work.sha256 = hashlib.sha256(changed).hexdigest()
    work(disk.grant)
    assert disk.content() == changed


@pytest.mark.parametrize("loss", Loss)
def test_a_lost_connection_costs_nothing(work: Work, disk: Azurite, loss: Loss) -> None:
    disk.wire.fail(loss, lambda request: request.method == "PUT", times=2)
    work(disk.grant)
    assert disk.content() == work.path.read_bytes()


def test_a_key_that_expired_is_replaced(work: Work, disk: Azurite) -> None:
    work(lambda *, fresh=False: disk.grant(expired=not fresh))
    assert disk.granted == 2
    assert disk.content() == work.path.read_bytes()


def test_what_it_says_of_an_expired_key_is_told_without_the_key(work: Work, disk: Azurite) -> None:
    url = disk.grant(expired=True)
    with pytest.raises(CloudError) as caught:
        work(lambda *, fresh=False: url)
    assert (caught.value.status, caught.value.code) == (403, "AuthorizationFailure")
    assert url.rpartition("sig=")[2] not in str(caught.value) + str(caught.value.fields())
    assert "sig=" not in str(caught.value)


def test_a_key_that_is_revoked_meanwhile_is_replaced(work: Work, disk: Azurite) -> None:
    first = disk.grant()

    def revoke(request: object) -> bool:
        if sum(asked.method == "PUT" for asked in disk.wire.asked) == 3:
            disk.revoked.add(dict(disk.wire.asked[-1].query)["sig"])
        return False

    disk.wire.fail(Loss.BEFORE, revoke)
    work(lambda *, fresh=False: disk.grant() if fresh else first)
    assert disk.revoked
    assert disk.content() == work.path.read_bytes()
