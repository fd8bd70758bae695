"""The machines of platforms.toml as a host starts them: without the firmware's image, which no word of theirs needs."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

from pluto_measure.machine import platform_file
from pluto_measure.machine.platform import Platform

_FILE = Path(__file__).parents[3] / "image/notary/platforms.toml"
_TABLES: dict[str, dict[str, Any]] = tomllib.loads(_FILE.read_text())

BARE_METAL = [name for name, table in _TABLES.items() if table["platform"] == "qemu-tdx"]
EMULATED = [name for name, table in _TABLES.items() if table["platform"] == "qemu-vtpm" and table["boot"] != "disk"]


def profile(name: str, **changes: Any) -> Platform:
    """One machine of platforms.toml."""
    members = {key: value for key, value in _TABLES[name].items() if key != "firmware"}
    return replace(platform_file.from_json(members, lambda _: b""), **changes)
