"""Starts clients of other people's making, where the interpreter or library that they need is there."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from interop.peers import BUILD

HERE = Path(__file__).parent
STRANGER, BROWSER = HERE / "strangers_client.py", HERE / "browser_client.mjs"
PEERS = BUILD / "channel"


def python_with(*modules: str) -> dict[str, str]:
    """The environment in which these modules can be imported; skips where there is none."""
    places = [str(PEERS)] if PEERS.is_dir() else []
    for module in modules:
        if not (PEERS / module).is_dir() and importlib.util.find_spec(module) is None:
            pytest.skip(f"no peer: {module}")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*places, *filter(None, [os.environ.get("PYTHONPATH")])])}


def node() -> str:
    program = shutil.which("node")
    if program is None:
        pytest.skip("no peer: node")
    tried = subprocess.run([program, "--experimental-websocket", "-e", "WebSocket"], capture_output=True, check=False)
    if tried.returncode != 0:
        pytest.skip("no peer: a node that has WebSocket")
    return program


def run(argv: list[str], asked: dict[str, Any], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, input=json.dumps(asked), capture_output=True, text=True, timeout=60, check=False, env=environment
    )


def stranger(asked: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    return run([sys.executable, str(STRANGER)], asked, python_with("tlslite", "ecdsa"))
