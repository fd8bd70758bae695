"""kit.json: it comes back, and nothing else is read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pluto_measure.errors import FormatError
from pluto_measure.harvest.kit import Kit

KIT = Kit(("ld.so", "qemu"), ("swtpm",), {"LC_ALL": "C"}, "11.1.3", {"kernel": "linux 1"})


def test_it_comes_back() -> None:
    assert Kit.parse(KIT.to_text()) == KIT


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"version": 2}, "version 2"),
        ({"qemu": []}, "words of a command"),
        ({"swtpm": ["a", 1]}, "words of a command"),
        ({"qemu": "qemu"}, "must be list"),
        ({"environment": {"A": 1}}, "environment must hold texts"),
        ({"packages": {"A": None}}, "packages must hold texts"),
        ({"qemuVersion": 11}, "must be str"),
        ({"more": 1}, "unknown member"),
    ],
)
def test_other_texts_are_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        Kit.parse(json.dumps({**json.loads(KIT.to_text()), **changes}))
