"""`pluto-notary` called in a verifier's folder, and what its `prove` asks for. For tests."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pluto_notary.cli import main
from simulators.notary.today import Folder

HOST = "shop.example"
SECRET = "abcd-secret-1234"
BODY = json.dumps({"price": "12.50", "odd": "a\u009b2J\u202e\u0007"}).encode()
MANIFEST: dict[str, Any] = {
    "manifestVersion": "2",
    "id": "price",
    "request": {
        "method": "GET",
        "url": f"https://{HOST}/item/7",
        "headers": {"authorization": "Bearer <% token %>"},
        "vars": {"token": {"description": "the shop's", "pattern": "^[a-z0-9-]{16}$"}},
    },
    "response": {
        "status": "200",
        "headers": {"content-type": "application/json"},
        "body": {
            "format": "json",
            "extractors": [
                {"id": "price", "selector": ["price"], "type": "string"},
                {"id": "odd", "selector": ["odd"], "type": "string"},
            ],
        },
    },
}


class Call:
    """The commands in a verifier's folder. `prove` checks that a failure wrote nothing."""

    def __init__(self, folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys = folder, capsys
        self.out = folder.folder / "proof.json"
        self.manifest(MANIFEST)
        folder.write("variables.json", json.dumps({"token": SECRET}))

    def manifest(self, document: dict[str, Any]) -> None:
        self.folder.write("manifest.json", json.dumps(document))

    def __call__(self, *words: str) -> tuple[int, str, str]:
        code = main(list(words))
        out, err = self.capsys.readouterr()
        assert "Traceback" not in err, err
        assert SECRET not in out + err
        return code, out, err

    def prove(self, *more: str, port: int | None = None) -> tuple[int, str, str]:
        place = self.folder.folder
        url = f"https://127.0.0.1:{port or self.folder.notary.port}"
        words = ["--notary", url, "--manifest", str(place / "manifest.json"), "--out", str(self.out)]
        before = sorted(place.iterdir())
        said = self("prove", *words, "--variables", str(place / "variables.json"), *more)
        assert said[0] == 0 or sorted(place.iterdir()) == before
        return said

    def accepted(self, *more: str, port: int | None = None) -> tuple[int, str, str]:
        return self.prove(*self.folder.accepting, *more, port=port)
