"""Namespaced hosts for tests: see tests/simulators/metal."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from pluto_deploy.metal.connection import Connection, opened
from simulators import ssh_server
from simulators.metal import desk, releases, rootfs
from simulators.metal.desk import Desk
from simulators.metal.host import Host
from simulators.metal.keys import SshKey
from simulators.metal.tdx import Tdx
from simulators.ssh_server import SshServer

TOOLS = ("ip", "nft", "nsenter", "setpriv", "ssh", "unshare")


@pytest.fixture(scope="session")
def metal_rootfs() -> Path:
    """The Debian tree; skips where it cannot be."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        pytest.skip(f"{rootfs.ABSENT}: {missing[0]} is not installed")
    try:
        return rootfs.tree()
    except rootfs.AbsentError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def metal_login() -> SshKey:
    """The operator's key, the same for every host of the session."""
    return SshKey.new()


@pytest.fixture
def make_metal_host(metal_rootfs: Path, metal_login: SshKey) -> Iterator[Callable[..., Host]]:
    """Makes and starts hosts that end with the test; takes what Host takes by name."""
    with ExitStack() as stack:
        yield lambda **wanted: stack.enter_context(_host(metal_rootfs, metal_login, **wanted))


@pytest.fixture
def metal_host(make_metal_host: Callable[..., Host]) -> Host:
    """A fresh host for one test."""
    return make_metal_host()


@pytest.fixture(scope="module")
def shared_metal_host(metal_rootfs: Path, metal_login: SshKey) -> Iterator[Host]:
    """One host for the tests of a module; they leave it as they found it."""
    with _host(metal_rootfs, metal_login) as host:
        yield host


@pytest.fixture(scope="module")
def shared(shared_metal_host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """The desk of an operator before it."""
    with desk.at(shared_metal_host, tmp_path_factory.mktemp("desk")) as shared:
        yield shared


def _host(tree: Path, login: SshKey, **wanted: Any) -> Host:
    return Host(tree, login, **{"tdx": Tdx.healthy(), "release": releases.UBUNTU_26_04, **wanted})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    """OpenSSH's own server for this very user."""
    with ssh_server.running(tmp_path_factory.mktemp("ssh")) as server:
        yield server


@pytest.fixture
def connection(server: SshServer) -> Iterator[Connection]:
    """A connection to it."""
    with opened(server.login) as connection:
        connection.sudo = False  # the server runs as this user, who may not become root
        yield connection
