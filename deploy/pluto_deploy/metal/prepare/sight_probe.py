"""Runs on a host before it is prepared: says what prepare must know and `host check` does not ask. Changes nothing.

Standard library alone, Python 3.10 or later. Sent over the connection; answers with one line of JSON.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any


def main() -> int:
    """Look."""
    answer = {
        "uplink": _uplink("/proc/net/route"),
        "interfaces": _interfaces("/sys/class/net"),
        "networks": _networks(),
        "grub": shutil.which("update-grub") is not None,
        "tools": _names(sys.argv[1]),
        "prepared": _text(sys.argv[2]),
        "ufw": _first_line(["ufw", "status"]) == "Status: active",
        "drops": _drops(),
    }
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


def _uplink(path: str) -> str | None:
    """The interface of the default route with the lowest metric: /proc/net/route."""
    found = []
    for line in Path(path).read_text(encoding="ascii").splitlines()[1:]:
        words = line.split()
        if words[1] == "00000000" and words[7] == "00000000":
            found.append((int(words[6]), words[0]))
    return min(found)[1] if found else None


def _interfaces(folder: str) -> dict[str, bool]:
    """Every interface, and whether it is a bridge."""
    return {link.name: (link / "bridge").is_dir() for link in sorted(Path(folder).iterdir())}


def _networks() -> list[list[str]]:
    """Interface and network of every IPv4 address that is not this machine's alone."""
    try:
        told = json.loads(_output(["ip", "-j", "-4", "address"]) or "[]")
    except ValueError:
        told = []
    return [
        [link["ifname"], f"{one['local']}/{one['prefixlen']}"]
        for link in told
        for one in link.get("addr_info", [])
        if one.get("prefixlen", 32) < 32
    ]


def _names(folder: str) -> list[str]:
    try:
        return sorted(path.name for path in Path(folder).iterdir() if "." not in path.name)
    except FileNotFoundError:
        return []


def _text(path: str) -> str | None:
    try:
        return Path(path).read_text()
    except FileNotFoundError:
        return None


def _drops() -> list[str]:
    """Chains of others that drop by default what is forwarded: an accept of ours does not overrule them."""
    try:
        told = json.loads(_output(["nft", "-j", "list", "chains"]) or "{}").get("nftables", [])
    except ValueError:
        told = []
    return [_drop(one["chain"]) for one in told if _is_drop(one.get("chain", {}))]


def _is_drop(chain: dict[str, Any]) -> bool:
    ours = chain.get("table") == "pluto"
    return chain.get("hook") == "forward" and chain.get("policy") == "drop" and not ours


def _drop(chain: dict[str, Any]) -> str:
    return f"{chain.get('family')} {chain.get('table')} {chain.get('name')}"


def _first_line(argv: list[str]) -> str:
    lines = _output(argv).splitlines()
    return lines[0].strip() if lines else ""


def _output(argv: list[str]) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
