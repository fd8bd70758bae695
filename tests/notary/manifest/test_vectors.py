"""Our vectors: exchanges with their values or the member that they violate, and manifests that are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pluto_measure.errors import FormatError
from pluto_notary.manifest import Manifest, Violation
from pluto_notary.manifest.response import COMPARISONS
from simulators.notary.manifests import SCHEMA, answered, parsed

VECTORS = Path(__file__).parents[2] / "vectors/notary/manifest"


def cases(folder: str) -> list[Any]:
    return [
        pytest.param(json.loads(path.read_text()), id=path.stem) for path in sorted((VECTORS / folder).glob("*.json"))
    ]


@pytest.mark.parametrize("case", cases("exchanges"))
def test_an_exchange_gives_its_values_or_names_what_it_violates(case: dict[str, Any]) -> None:
    manifest = parsed(case["manifest"])
    request = manifest.request(case["variables"] if manifest.asked.variables else {})
    answer = case["response"]
    exchange = answered(
        request,
        answer["body"].encode(),
        tuple((name, value) for name, value in answer["headers"]),
        status=answer["status"],
        reason=answer["reason"],
        version=answer["version"],
    )
    if case["violation"] is None:
        assert {value.id: value.json.decode() for value in manifest.values(request, exchange)} == case["values"]
        return
    with pytest.raises(Violation) as raised:
        manifest.values(request, exchange)
    assert raised.value.path == case["violation"]
    assert raised.value.exit_code == 5
    assert raised.value.code == "violation"


@pytest.mark.parametrize("case", cases("refused"))
def test_a_manifest_that_is_refused_names_the_member(case: dict[str, Any]) -> None:
    with pytest.raises(FormatError) as raised:
        Manifest.parse(json.dumps(case["manifest"]).encode())
    assert raised.value.what == case["path"]


@pytest.mark.parametrize(
    "case", [case for case in cases("exchanges") if case.values[0]["manifest"]["manifestVersion"] == "2"]
)
def test_what_is_read_follows_the_published_schema(case: dict[str, Any]) -> None:
    jsonschema.validate(case["manifest"], SCHEMA)


def test_the_schema_refuses_most_of_what_the_reader_refuses() -> None:
    validator = jsonschema.Draft202012Validator(SCHEMA)
    version2 = [case.values[0] for case in cases("refused") if case.values[0]["manifest"].get("manifestVersion") != "1"]
    refused = [case for case in version2 if not validator.is_valid(case["manifest"])]
    assert len(refused) > len(version2) // 2


def test_the_example_of_the_documentation_is_a_manifest() -> None:
    text = (Path(__file__).parents[3] / "docs/formats/manifest.md").read_text()
    example = text.split("```json\n", 1)[1].split("```", 1)[0]
    jsonschema.validate(json.loads(example), SCHEMA)
    assert Manifest.parse(example.encode()).title == "A balance at the example bank"


def test_the_documentation_names_every_member_and_comparison() -> None:
    text = (Path(__file__).parents[3] / "docs/formats/manifest.md").read_text()
    members = {name for part in SCHEMA["$defs"].values() for name in part.get("properties", {})} | set(
        SCHEMA["properties"]
    )
    for name in members | {comparison for all_ in COMPARISONS.values() for comparison in all_}:
        assert f"`{name}`" in text or f"{name}`" in text or name in ("extractors", "format", "lessThanOrEqual"), name
