"""Evidence for development cannot be in a release, and no verifier takes it."""

from __future__ import annotations

import ast
import asyncio
import json
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

import jsonschema
import pytest

from pluto_image import definition, source_tree
from pluto_image.recipe import root, tables
from pluto_measure.appraise import NodeExpected, parse_evidence, verify_evidence, verify_expected
from pluto_measure.errors import FormatError
from pluto_notary.evidence.provider import Issue
from pluto_notary.evidence.requests import ChannelRequest, EvidenceRequest, KeyRequest, NodeRequest, SessionRequest
from pluto_notary.insecure import InsecureProvider
from simulators.notary.evidence import CHANNEL_KEY, EKM, NONCE, STATEMENT_KEY

ROOT = Path(__file__).resolve().parents[3]
NOW = datetime(2026, 11, 20, tzinfo=UTC)
REQUESTS: list[EvidenceRequest] = [
    NodeRequest(NONCE, bytes(32)),
    ChannelRequest(CHANNEL_KEY, 7, bytes(32)),
    SessionRequest(EKM, NONCE, CHANNEL_KEY),
    KeyRequest(STATEMENT_KEY),
]


def carried() -> dict[str, bytes]:
    """The modules of ours that the image's recipe takes, and so the container's, which are some of them."""
    folder = ROOT / "image/notary"
    recipe = tables.parse(definition.load(folder).recipe)
    entries = root.source_entries(recipe.files, source_tree.read(folder).files, "image/notary/rootfs")
    return {entry.path: entry.data for entry in entries if entry.path.endswith(".py")}


def imported(source: bytes) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update({node.module, *(f"{node.module}.{alias.name}" for alias in node.names)})
    return names


def test_weakness_05_no_image_carries_a_provider_that_proves_nothing() -> None:
    modules = carried()
    assert any(path.endswith("pluto_notary/evidence/epochs.py") for path in modules), "the list is the recipe's"
    for path, source in modules.items():
        assert "insecure" not in path
        assert not any(name.startswith("pluto_notary.insecure") for name in imported(source)), path
        assert b"InsecureProvider" not in source, path


def test_the_image_has_no_option_that_would_choose_one() -> None:
    for path, source in carried().items():
        if "/pluto_notary/" in path:
            assert b"argparse" not in source, path
            assert b"--insecure" not in source, path


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: request.purpose)
def test_weakness_05_every_verifier_refuses_its_envelopes(request_: EvidenceRequest) -> None:
    provider = InsecureProvider(bytes(32))
    envelope = asyncio.run(provider.evidence(request_, Issue(7, NOW, bytes(32))))
    text = json.dumps(envelope)
    for refuse in (
        lambda: parse_evidence(text),
        lambda: verify_evidence(text, (), None, NOW, NONCE, bytes(32)),
        lambda: verify_expected(text, NodeExpected(NONCE, bytes(32)), (), None, NOW),
    ):
        with pytest.raises(FormatError, match="type 'insecure' is not known"):
            refuse()
    schema = json.loads(resources.files("pluto_measure").joinpath("schemas/evidence.json").read_text())
    assert not jsonschema.Draft202012Validator(schema).is_valid(envelope)
    assert asyncio.run(provider.node(NodeRequest(NONCE, bytes(32)), Issue(0, NOW, bytes(32))))["type"] == "insecure"
