"""Verifying offline loads no network library beyond what `cryptography` itself brings, and uses none."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from pluto_measure.policy import strict
from simulators import azure_evidence, confidential_space
from simulators.intel import healthy

ROOT = Path(__file__).resolve().parents[3]
# Without site (-S) nothing is loaded but by the command. What is done with sockets ends it.
PROBE = """
import sys
sys.path[:0] = {paths!r}
def heard(event, arguments):
    if event.startswith(("socket.", "urllib.", "http.")):
        raise SystemExit(f"{{event}} while offline")
sys.addaudithook(heard)
code = 0
{do}
print(*sorted(sys.modules), file=sys.stderr)
sys.exit(code)
"""
COMMAND = "from pluto_measure.cli import main; code = main({arguments!r})"
NETWORK = {"asyncio", "ftplib", "http.client", "requests", "select", "smtplib", "socket", "ssl", "urllib.request"}


def loaded(do: str, *exit_codes: int) -> set[str]:
    paths = [str(ROOT / "measure"), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    probe = PROBE.format(paths=paths, do=do)
    argv = [sys.executable, "-I", "-S", "-B", "-c", probe]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in exit_codes, done.stderr
    return set(done.stderr.split("\n")[-2].split())


def from_file(folder: Path) -> list[str]:
    return ["--collateral", str(folder / "collateral.json")]


def from_state(folder: Path) -> list[str]:
    return ["--state", str(folder / "state")]


def from_both(folder: Path) -> list[str]:
    return [*from_file(folder), *from_state(folder)]


@pytest.mark.parametrize("source", [from_file, from_state, from_both])
def test_verify_loads_no_network_library_of_its_own(source: Callable[[Path], list[str]], tmp_path: Path) -> None:
    intel = healthy()
    root = f'"{hashlib.sha256(intel.authority.root_der).hexdigest()}"'
    policy = strict.text().replace("insecure_roots = []", f"insecure_roots = [{root}]")
    (tmp_path / "quote").write_bytes(intel.quote)
    (tmp_path / "policy.toml").write_text(policy)
    (tmp_path / "collateral.json").write_text(json.dumps(intel.collateral))
    (tmp_path / "state").mkdir()
    arguments = ["verify", str(tmp_path / "quote"), "--policy", str(tmp_path / "policy.toml"), "--json"]
    arguments += ["--at", f"{intel.now:%Y-%m-%dT%H:%M:%SZ}", *source(tmp_path)]
    # Refused, since there are no reference values; with collateral authentic, and so verified to the end.
    found = loaded(COMMAND.format(arguments=arguments), *((4, 5) if source is from_state else (5,)))
    assert "pluto_measure.appraise.tdx" in found
    # `cryptography` reads mail addresses in certificates by `email.utils`, which needs `socket` for host names.
    assert found & NETWORK <= loaded("import cryptography.x509", 0) & {"socket", "select"}


@pytest.mark.parametrize("kind", ["azure", "token"])
def test_nor_does_evidence_of_clouds(kind: str, tmp_path: Path) -> None:
    made = {"azure": azure_evidence.AzureMachine().envelope(), "token": confidential_space.Space().envelope()}
    (tmp_path / "evidence").write_text(made[kind].to_text())
    (tmp_path / "keys.json").write_text(confidential_space.keys().to_text())
    (tmp_path / "collateral.json").write_text(json.dumps(azure_evidence.AzureMachine().world.collateral))
    arguments = ["verify", str(tmp_path / "evidence"), "--json", "--at", "2026-11-20T12:00:00Z"]
    arguments += {"azure": from_file(tmp_path), "token": ["--google-keys", str(tmp_path / "keys.json")]}[kind]
    found = loaded(COMMAND.format(arguments=arguments), 4)  # by the strict policy: no pretended root counts
    assert f"pluto_measure.verify.{'azure' if kind == 'azure' else 'confidential_space'}" in found
    assert found & NETWORK <= loaded("import cryptography.x509", 0) & {"socket", "select"}
