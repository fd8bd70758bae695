"""Every fuzz target for a short while: any bytes, and its seeds with bytes changed, cut, added."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("PLUTO_FUZZ_EXAMPLES", "150"))
TARGETS = sorted(Path(__file__).parent.glob("fuzz_*.py"))


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@st.composite
def mutated(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A seed with up to four edits: bytes replaced, a piece cut out, a piece doubled, the end cut off."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        length = draw(st.integers(0, 16))
        kind = draw(st.sampled_from(["replace", "cut", "double", "end"]))
        if kind == "replace":
            data[at : at + length] = draw(st.binary(min_size=length, max_size=length))
        elif kind == "cut":
            del data[at : at + length]
        elif kind == "double":
            data[at:at] = data[at : at + length]
        else:
            del data[at:]
    return bytes(data)


@pytest.mark.parametrize("path", TARGETS, ids=lambda path: path.stem)
def test_target_holds_its_invariant(path: Path) -> None:
    module = load(path)
    target: Callable[[bytes], None] = module.target
    seeds: list[bytes] = module.seeds()
    for seed in seeds:
        target(seed)

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.binary(max_size=512) | mutated(seeds))
    def run(data: bytes) -> None:
        target(data)

    run()


def test_there_is_a_target_for_each_hostile_format() -> None:
    names = {path.stem.removeprefix("fuzz_") for path in TARGETS}
    assert {"deb", "pe", "gpt", "tpm", "eventlog", "quote", "pck", "tcb_info", "collateral"} <= names
    assert {"statement", "envelope_dsse", "release", "trust"} <= names
    assert {"sigstore_bundle", "certificate_claims", "opened", "esp", "gcp_archive"} <= names
