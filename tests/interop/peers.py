"""Other people's programs, as `make peers` (prepare.py) lays them into build/peers: what they say of the same bytes.

Each runs as a process of its own: their code is none of ours, some of it under other licences.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).resolve().parent
BUILD: Final = HERE.parents[1] / "build/peers"
TIMEOUT: Final = 120.0
# What each is prepared from.
INPUTS: Final[Mapping[str, tuple[str, ...]]] = {
    "go": ("go.mod", "go.sum", "main.go", "verdicts.go"),
    "rust": ("Cargo.toml", "crates.lock", "mosaik.sha256", "src/main.rs"),
    "python": ("requirements.txt",),
    "go-sigstore": ("go.mod", "go.sum", "main.go"),
    "go-actionlint": ("go.mod", "go.sum", "main.go"),
    "zizmor": ("requirements.txt",),
    "channel": ("requirements.txt",),
    "python-eth": ("requirements.txt",),
    "openapi": ("requirements.txt",),
    "python-gcs": ("requirements.txt",),
    "go-pebble": ("go.mod", "go.sum"),
    "go-tls": ("go.mod", "main.go"),
    "azurite": ("package.json", "package-lock.json"),
    "solc": ("package.json", "package-lock.json"),
    "python-evm": ("requirements.txt",),
}


class AbsentError(Exception):
    """The peer is not prepared; says which."""


@cache
def stamp(name: str) -> str:
    """What the peer is made from, as one digest."""
    parts = [(HERE / name / path).read_bytes() for path in INPUTS[name]]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def need(name: str) -> None:
    """AbsentError unless the peer is prepared, and from what lies here now."""
    mark = BUILD / f"{name}.stamp"
    if not mark.is_file():
        raise AbsentError(f"{name} is not prepared (make peers)")
    if mark.read_text() != stamp(name):
        raise AbsentError(f"{name} was prepared from other files (make peers)")


@dataclass(frozen=True, slots=True)
class Log:
    """A log for the peer in Go: file, kind (tpm, cc), bank, registers by number, and the table CCEL."""

    path: Path
    kind: str
    bank: str
    registers: Mapping[int, bytes] = field(default_factory=dict)
    table: bytes = b""

    def to_json(self) -> dict[str, object]:
        registers = {str(number): value.hex() for number, value in self.registers.items()}
        shown = {"path": str(self.path), "kind": self.kind, "bank": self.bank, "table": self.table.hex()}
        return {**shown, "registers": registers}


@dataclass(frozen=True, slots=True)
class Case:
    """A quote and its collateral (the common JSON), both in files, to be judged at a time (seconds).

    `root`: the DER of a root to trust in place of Intel's.
    """

    quote: Path
    collateral: Path
    at: int
    root: bytes = b""

    def to_json(self) -> dict[str, object]:
        return {
            "path": str(self.quote), "collateral": str(self.collateral), "at": self.at, "root": self.root.hex(),
        }  # fmt: skip


def go(command: str, cases: Iterable[Log | Case], runs: int = 0) -> list[dict[str, Any]]:
    """go-eventlog and go-tdx-guest: events, replay, state, quote, time; verdict and time-verdict of a Case.

    An answer for each case, perhaps an "error".
    """
    need("go")
    request = {"command": command, "cases": [case.to_json() for case in cases], "runs": runs}
    answers: list[dict[str, Any]] = json.loads(_run([BUILD / "bin/peer-go"], text=json.dumps(request)))
    return answers


@dataclass(frozen=True, slots=True)
class Bundle:
    """A Sigstore bundle to be verified under a trusted root, both in files. `artifact`: what a message signature is of.

    Any signer will do.
    """

    bundle: Path
    root: Path
    artifact: Path | None = None

    def to_json(self) -> dict[str, str]:
        return {"bundle": str(self.bundle), "root": str(self.root), "artifact": str(self.artifact or "")}


def sigstore(cases: Iterable[Bundle]) -> list[dict[str, Any]]:
    """sigstore-go: what it verified of each (go-sigstore/main.go says what), or "step" and "error"."""
    need("go-sigstore")
    request = {"cases": [case.to_json() for case in cases]}
    answers: list[dict[str, Any]] = json.loads(_run([BUILD / "bin/peer-sigstore"], text=json.dumps(request)))
    return answers


def rust(*words: str | Path | int) -> list[list[str]]:
    """eventlog-rs, tdx, td-shim-interface and mosaik: lines of words (rust/src/main.rs says which)."""
    need("rust")
    return [line.split() for line in _run([BUILD / "bin/peer-rust", *words]).splitlines()]


def python(*words: str | Path | int) -> Any:
    """virt-firmware, cctrusted-base and dcap-qvl: one JSON value (python/peer.py says which)."""
    need("python")
    environment = {**os.environ, "PYTHONPATH": str(BUILD / "python")}
    program = [sys.executable, "-B", HERE / "python/peer.py", *words]
    return json.loads(_run(program, environment=environment))


def openapi(program: str, *words: str | Path | int, folder: Path) -> subprocess.CompletedProcess[str]:
    """schemathesis or openapi-spec-validator, which writes into `folder`; exit code 0 if it finds nothing."""
    need("openapi")
    mains = {
        "schemathesis": "from schemathesis.cli import schemathesis; schemathesis()",
        "openapi-spec-validator": "from openapi_spec_validator.__main__ import main; main()",
    }
    environment = {**os.environ, "PYTHONPATH": str(BUILD / "openapi")}
    argv = [sys.executable, "-B", "-c", mains[program], *(str(word) for word in words)]
    return subprocess.run(
        argv, capture_output=True, text=True, timeout=2 * TIMEOUT, env=environment, cwd=folder, check=False
    )


def _run(
    argv: Iterable[str | Path | int], *, text: str | None = None, environment: Mapping[str, str] | None = None
) -> str:
    words = [str(word) for word in argv]
    done = subprocess.run(
        words, input=text, capture_output=True, text=True, timeout=TIMEOUT, env=environment, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{Path(words[0]).name} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout
