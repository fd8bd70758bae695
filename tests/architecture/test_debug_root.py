"""image/notary/debug/root.crt is the root that the debug flavour carries; people give it to `prove --roots`."""

from __future__ import annotations

import json
from pathlib import Path

DEBUG = Path(__file__).resolve().parents[2] / "image/notary/debug"


def test_the_file_is_what_the_image_carries() -> None:
    assert (
        json.loads((DEBUG / "debug-world.json").read_text())["roots"].strip()
        == (DEBUG / "root.crt").read_text().strip()
    )
