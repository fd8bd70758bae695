"""The pretended Azure, and a desk before it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from simulators.azure_cloud import server
from simulators.azure_cloud.desk import Desk
from simulators.azure_cloud.server import Azure


@pytest.fixture
def azure() -> Iterator[Azure]:
    """Nothing that is asked of it may be wrong."""
    with server.running() as azure:
        yield azure
        assert azure.failures == []


@pytest.fixture
def desk(azure: Azure, tmp_path: Path) -> Desk:
    """By the route of a disk."""
    return Desk(azure, tmp_path)
