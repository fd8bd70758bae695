"""What a plan warns of: a trust domain that nothing here could judge."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pluto_deploy.commands.plan import warned
from pluto_deploy.session import Given
from pluto_measure.collateral.store import Store
from pluto_measure.policy import Policy
from simulators import cloud_deployments, policies
from simulators.collateral_keeper import items
from simulators.verifier_files import bundle


def session(state: Path, **changes: Any) -> Any:
    generation = SimpleNamespace(tee=changes.pop("tee", "tdx"))
    files = Given(changes.pop("collateral", None), changes.pop("endorsements", ()), changes.pop("ak_issuers", ()))
    expected = SimpleNamespace(policy=Policy.parse(changes.pop("policy", policies.TDX_TEXT)))
    given = {"wish": SimpleNamespace(generation=generation, expected=expected), "given": files, "state": state}
    return SimpleNamespace(**{**given, **changes})


def test_a_trust_domain_without_any_collateral(tmp_path: Path) -> None:
    [note] = warned(session(tmp_path / "state"))
    assert f"there is no collateral of Intel's in {tmp_path}/state" in note
    command = f"pluto-measure collateral fetch --fmspc FMSPC --ca platform --state {tmp_path}/state"
    assert f"run '{command}'" in note
    assert not (tmp_path / "state").exists(), "a plan writes nothing"


@pytest.mark.parametrize(
    "change",
    [{"tee": "insecure_none"}, {"tee": "confidential-space"}, {"collateral": Path("given.json")}, {"wish": None}],
)
def test_nobody_is_warned_of_what_he_does_not_need_or_gave(change: dict[str, Any], tmp_path: Path) -> None:
    assert warned(session(tmp_path, **change)) == []


def test_collateral_that_is_kept_is_collateral(tmp_path: Path) -> None:
    Store(tmp_path).keep(items(bundle()))
    assert warned(session(tmp_path)) == []


@pytest.mark.parametrize(
    ("kind", "files", "words"),
    [
        (cloud_deployments.TDX, {"endorsements": (Path("e"),)}, "launch endorsement"),
        (cloud_deployments.AZURE, {"ak_issuers": (Path("i"),)}, "--ak-issuers"),
    ],
)
def test_what_a_clouds_evidence_needs_beside_it(tmp_path: Path, kind: str, files: dict[str, Any], words: str) -> None:
    known = {"policy": cloud_deployments.policy(kind), "collateral": Path("given.json")}
    [note] = warned(session(tmp_path, **known))
    assert words in note
    assert warned(session(tmp_path, **known, **files)) == []
