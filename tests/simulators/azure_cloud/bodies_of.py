"""Reads back what a machine was given: the image on its disk, the configuration in its userData."""

from __future__ import annotations

import base64
import re


def image(content: bytes) -> tuple[int, str] | None:
    """Number and behaviour; None for a disk with nothing on it."""
    found = re.search(rb"release (\d+) pretend=([a-z-]+) ", content)
    return None if found is None else (int(found[1]), found[2].decode())


def config(user_data: str | None) -> bytes:
    """The run-time configuration."""
    data = base64.b64decode(user_data or "", validate=True)
    assert int.from_bytes(data[:4], "big") == len(data) - 4
    return data[4:]
