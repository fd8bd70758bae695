"""Any bytes are a manifest that reads itself again and has one digest, or a FormatError with the path of a member."""

from __future__ import annotations

import json

from pluto_measure.errors import FormatError
from pluto_notary.manifest import Manifest, Violation
from pluto_notary.manifest.explain import explain
from simulators.notary.manifests import BANK, SHOP, VARIABLES, changed


def seeds() -> list[bytes]:
    old = changed(BANK, manifestVersion="1", response__body={"json": ["a", 0]})
    form = changed(
        BANK, request__body="a=<% token %>", request__headers={"content-type": "application/x-www-form-urlencoded"}
    )
    return [json.dumps(document, separators=(",", ":")).encode() for document in (BANK, SHOP, old, form)]


def target(data: bytes) -> None:
    try:
        manifest = Manifest.parse(data)
    except FormatError as error:
        _check(error.what, error.problem)
        return
    assert Manifest.parse(manifest.canonical()) == manifest
    assert explain(manifest).asked
    names = {variable.name for variable in manifest.asked.variables}
    try:
        request = manifest.request({name: value for name, value in VARIABLES.items() if name in names})
    except Violation as error:
        _check(error.path, error.problem)
        return
    assert (request.host, request.port) == (manifest.host, manifest.port)


def _check(path: str, problem: str) -> None:
    """An error fits into an error frame, and a terminal obeys none of it."""
    assert path.startswith(("manifest", "variables"))
    assert (path + problem).isprintable()
    assert len(path + problem) < 900
