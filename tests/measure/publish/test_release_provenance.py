"""SLSA provenance: of this build type and this release only, and nobody's word on more than one build."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import jsonschema
import pytest

from pluto_measure.errors import FormatError
from pluto_measure.publish.provenance import BUILD_TYPE, PREDICATE_TYPE, Provenance
from pluto_measure.publish.statement import Statement
from simulators.releases import FACTS, TOLD, failed, judged, one_change_each, provenance, schema, statement

SHA256_COMMIT = replace(TOLD, commit="ab" * 32)


def judge_of(told: Statement | bytes) -> tuple[list[str], str]:
    """What refuses a release with this provenance, and the text of the finding on it."""
    data = told if isinstance(told, bytes) else told.to_text().encode()
    found = judged(provenance=data)
    (text,) = (one.text for one in found.findings if one.id == "release.provenance")
    return failed(found), text


def without(document: Any, *path: str) -> Any:
    head, *rest = path
    if not rest:
        return {name: value for name, value in document.items() if name != head}
    return {**document, head: without(document[head], *rest)}


@pytest.mark.parametrize("told", [TOLD, SHA256_COMMIT, replace(TOLD, invocation="", ref="")])
def test_what_is_written_is_read(told: Provenance) -> None:
    made = told.statement(judged().release, statement().subjects)
    assert Provenance.parse(Statement.parse(made.to_text())) == told
    jsonschema.Draft202012Validator.check_schema(schema("provenance").schema)
    schema("provenance").validate(made.to_json())


def test_its_members_are_those_of_slsa() -> None:
    made = provenance()
    assert made.predicate_type == "https://slsa.dev/provenance/v1"
    definition, details = made.predicate["buildDefinition"], made.predicate["runDetails"]
    assert definition["buildType"] == BUILD_TYPE
    assert definition["resolvedDependencies"] == [
        {"uri": "git+https://git.example/notary@refs/tags/v1.2.0", "digest": {"gitCommit": "12" * 20}},
        {"name": "lock.json", "digest": {"sha256": "22" * 32}},
    ]
    assert details["builder"] == {"id": "https://ci.example/build"}
    assert details["metadata"]["startedOn"] == "2026-11-20T12:00:00Z"


def test_it_is_accepted_and_said_to_be_unsigned() -> None:
    refused, text = judge_of(provenance())
    assert refused == []
    assert text == f"says, unsigned, that https://ci.example/build built commit {'12' * 20} (refs/tags/v1.2.0)"


@pytest.mark.parametrize(
    "kind",
    [
        "https://slsa.dev/provenance/v0.2",
        f"{PREDICATE_TYPE}/",
        PREDICATE_TYPE.upper(),
        "",
        "https://pluto-tee.org/release/v1",
    ],
)
def test_another_predicate(kind: str) -> None:
    with pytest.raises(FormatError, match=r"provenance\.json: predicateType .* is not https://slsa"):
        Provenance.parse(replace(provenance(), predicate_type=kind))


@pytest.mark.parametrize("commit", ["", "12" * 19, "12" * 21, "12" * 31, "AB" * 20, "zz" * 20, None, 7, ["12"]])
def test_a_commit_is_one_of_gits(commit: object) -> None:
    document = json.loads(provenance().to_text())
    document["predicate"]["buildDefinition"]["resolvedDependencies"][0]["digest"]["gitCommit"] = commit
    with pytest.raises(FormatError):
        Provenance.parse(Statement.parse(json.dumps(document)))


def test_any_change_of_a_member_is_refused_or_is_another_provenance() -> None:
    """And the schema lets nothing pass that would be refused, but for what only a comparison can tell."""
    document, count, passed = json.loads(provenance().to_text()), 0, set()
    for where, predicate in one_change_each(document["predicate"]):
        count += 1
        text = json.dumps({**document, "predicate": predicate}).encode()
        refused, _ = judge_of(text)
        if not refused:
            passed.add(where)
            assert Provenance.parse(Statement.parse(text)) != TOLD, where
            schema("provenance").validate(json.loads(text))
    assert count > 200
    # Texts, of which another one is as good: nobody signed them.
    free = {"/runDetails/builder/id", "/runDetails/metadata/invocationId", "/buildDefinition/externalParameters/ref"}
    assert {where.partition(" is ")[0] for where in passed} <= free
    assert "/runDetails/builder/id is 'odd'" in passed


@pytest.mark.parametrize(
    ("told", "problem"),
    [
        (provenance(files={"disk.raw": b"other"}), "is about other files than the release: disk.raw"),
        (
            replace(provenance(), subjects=provenance().subjects[1:]),
            "is about other files than the release: disk.raw",
        ),
        (provenance(flavour="debug"), "does not fit it: /predicate/buildDefinition/externalParameters/flavour differs"),
        (
            provenance(facts=replace(FACTS, repository="https://git.example/other")),
            "does not fit it: /predicate/buildDefinition/externalParameters/repository differs",
        ),
        (
            provenance(build={**judged().release.build, "lock": {"sha256": "ff" * 32}}),
            "does not fit it: /predicate/buildDefinition/resolvedDependencies/lock.json/digest/sha256 differs",
        ),
    ],
    ids=["other digest", "one file less", "flavour", "repository", "lock"],
)
def test_of_another_release(told: Statement, problem: str) -> None:
    refused, text = judge_of(told)
    assert (refused, text) == (["release.provenance"], f"provenance.json {problem}")
    assert judged(provenance=told.to_text().encode()).exit_code == 4


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff", b"[" * 100_000, statement().to_text().encode()], ids=range(5))
def test_bytes_that_are_none(data: bytes) -> None:
    refused, text = judge_of(data)
    assert refused == ["release.provenance"]
    assert text.startswith("provenance.json")


def test_a_builder_cannot_write_on_the_terminal() -> None:
    told = replace(TOLD, builder="https://ci.example/\x1b[2J").statement(judged().release, statement().subjects)
    refused, text = judge_of(told)
    assert refused == ["release.provenance"]
    assert text.isprintable()


def test_times_are_kept() -> None:
    told = replace(TOLD, started_at=datetime(2026, 11, 20, 11, 59, 59, tzinfo=UTC))
    made = told.statement(judged().release, statement().subjects)
    assert Provenance.parse(made).started_at == told.started_at
    document = json.loads(made.to_text())
    cut = without(document, "predicate", "runDetails", "metadata", "finishedOn")
    with pytest.raises(FormatError, match="finishedOn is missing"):
        Provenance.parse(Statement.parse(json.dumps(cut)))
