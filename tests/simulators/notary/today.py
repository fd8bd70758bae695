"""A notary whose evidence, collateral and clock are of this very day, as commands without `--at` need it. For tests.

with running(authority, {"shop.example": site}) as notary:
    folder = Folder(tmp_path, notary)
    main(["prove", *folder.accepting, ...])
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from simulators.intel import Authority as Intel
from simulators.intel import world
from simulators.notary import whole
from simulators.notary.certificates import Authority
from simulators.notary.sites import Site
from simulators.policies import ROOT, TDX_TEXT
from simulators.trust_domains import REFERENCE, TrustDomain


class Clock(whole.SetClock):
    """Says the time as this computer has it, or raises `error`."""

    def interval(self, now: float) -> tuple[float, float]:
        if self.error is not None:
            raise self.error
        at = time.time() - time.monotonic() + now
        return at - 0.2, at + 0.2


def domain(**lies: Any) -> TrustDomain:
    """A trust domain of today. `lies`: as of `TrustDomain`."""
    now = datetime.now(UTC).replace(microsecond=0)
    return TrustDomain(world=world(authority=Intel.make(now=now)), issued_at=now, **lies)


@contextmanager
def running(
    authority: Authority, site_at: Mapping[str, Site | int], *, provider: whole.TdProvider | None = None, **how: Any
) -> Iterator[whole.Running]:
    """As `whole.running`, today."""
    provider = provider or whole.TdProvider(domain())
    with whole.running(authority, site_at, provider=provider, clock=Clock(), **how) as notary:
        yield notary


class Folder:
    """A verifier's folder: policy, reference values and collateral that accept that notary."""

    def __init__(self, folder: Path, notary: whole.Running) -> None:
        of = notary.provider.domain.world
        root = hashlib.sha256(of.authority.root_der).hexdigest()
        policy = TDX_TEXT.replace(ROOT.hex(), root).replace('outerKeyDigest = "any"', 'outerKeyDigest = "required"')
        self.folder, self.notary = folder, notary
        self.policy = self.write("policy.toml", policy)
        self.reference = self.write("measurements.json", REFERENCE.to_text())
        self.collateral = self.write("collateral.json", json.dumps(of.collateral))

    @property
    def accepting(self) -> list[str]:
        """The options that accept it."""
        options = {"--policy": self.policy, "--reference": self.reference, "--collateral": self.collateral}
        return [str(word) for pair in options.items() for word in pair]

    def write(self, name: str, content: str) -> Path:
        path = self.folder / name
        path.write_text(content)
        return path
