"""A registrar for whom the pretend Intel and Google are the real ones: no policy of his names an insecure root."""

from __future__ import annotations

import pytest

from pluto_measure.appraise import azure, confidential_space, platform_parts, tdx
from pluto_measure.commands import quote_inputs
from pluto_notary.registry import judge
from simulators import confidential_space as pretend
from simulators.trust_domains import ROOT


@pytest.fixture
def intel(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (platform_parts, tdx, azure, quote_inputs, judge):
        monkeypatch.setattr(module, "INTEL_ROOTS", frozenset({ROOT}))
    monkeypatch.setattr(confidential_space, "GOOGLE_ROOTS", pretend.ROOTS)
