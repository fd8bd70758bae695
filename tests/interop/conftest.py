"""The peers as fixtures: a test that needs one that is not prepared skips with "no peer"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from interop import peers, samples


@pytest.fixture(scope="session")
def go() -> Callable[..., list[dict[str, Any]]]:
    _need("go")
    return peers.go


@pytest.fixture(scope="session")
def rust() -> Callable[..., list[list[str]]]:
    _need("rust")
    return peers.rust


@pytest.fixture(scope="session")
def python() -> Callable[..., Any]:
    _need("python")
    return peers.python


@pytest.fixture(scope="session")
def locked() -> Callable[[str, str], bytes]:
    """A file of our locked packages: the first whose name begins so, and its member whose path begins so."""

    def found(package: str, path: str) -> bytes:
        try:
            return samples.locked(package, path)
        except LookupError:
            pytest.skip("the locked inputs are not in the store")

    return found


def _need(name: str) -> None:
    try:
        peers.need(name)
    except peers.AbsentError as error:
        pytest.skip(f"no peer: {error}")
