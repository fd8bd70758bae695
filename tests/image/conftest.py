"""What the tests of `pluto_image` share: a key that signs Release files."""

from __future__ import annotations

import pytest

from simulators.debian_mirror import Signer


@pytest.fixture(scope="session")
def signer() -> Signer:
    return Signer()
