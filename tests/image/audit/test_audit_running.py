"""Is what runs affected? What a file says that it runs, and whether that is what was audited."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from pluto_deploy.engine.scene import Generation, Machine, Scene
from pluto_image.audit import running
from pluto_image.audit.running import Names, Running, judge, parse
from pluto_measure.errors import FormatError
from simulators.notary import proofs

BUILD, OTHER, RELEASE = "ab" * 32, "cd" * 32, hashlib.sha256(b"release").hexdigest()
NAMES = Names(BUILD, frozenset({RELEASE}))


def verdict(document: Any) -> str:
    return judge(parse(json.dumps(document).encode()), NAMES).verdict


def deployment(*releases: str, serving: str | None = "a") -> dict[str, Any]:
    """What `pluto-deploy status --json` prints."""
    machines = tuple(
        Machine(slot, Generation(release, "0" * 64, "0" * 64, "qemu", 1, 1, "tdx", "local"), "running")
        for slot, release in zip("ab", releases, strict=False)
    )
    target = Scene(frozenset(releases), frozenset(), machines, serving).to_json()
    return {"deployment": "notary", "kind": "local", "target": target, "journal": None, "lastEvent": None}


def test_a_proof_names_its_build_twice_and_both_count() -> None:
    text = proofs.made(key_evidence=proofs.evidence()).to_bytes()
    found = parse(text)
    build = proofs.HONEST.build_id.hex()
    assert found == Running("proof", (build,))
    assert judge(found, Names(build, frozenset())).verdict == "pass"
    assert judge(found, NAMES).verdict == "fail"
    changed = json.loads(text)
    changed["statement"]["message"]["build"] = f"0x{BUILD}"
    finding = judge(parse(json.dumps(changed).encode()), NAMES)
    assert finding.verdict == "fail"
    assert "it cannot be both" in finding.text


def test_of_a_deployment_the_machine_that_serves_counts() -> None:
    assert verdict(deployment(RELEASE, OTHER)) == "pass"
    assert verdict(deployment(RELEASE, OTHER, serving="b")) == "fail"
    assert verdict(deployment(OTHER)) == "fail"


def test_a_deployment_where_nothing_serves_runs_nothing_that_was_audited() -> None:
    finding = judge(parse(json.dumps(deployment(RELEASE, serving=None)).encode()), NAMES)
    assert (finding.verdict, "nothing serves" in finding.text) == ("fail", True)


@pytest.mark.parametrize(
    "document",
    [
        {"buildId": BUILD},
        {"status": "ok", "version": "1", "buildId": BUILD},
        {"claims": [{"buildId": BUILD}, {"deep": {"buildId": BUILD}}]},
        [{"buildId": BUILD}, {"buildId": None}],
    ],
)
def test_any_document_that_names_the_build_will_do(document: Any) -> None:
    assert verdict(document) == "pass"


@pytest.mark.parametrize("document", [{"buildId": OTHER}, [{"buildId": BUILD}, {"buildId": OTHER}]])
def test_another_build_anywhere_is_no_match(document: Any) -> None:
    assert verdict(document) == "fail"


@pytest.mark.parametrize(
    "document",
    [
        {}, [], "text", None, {"buildId": None}, {"buildId": 7}, {"buildId": BUILD.upper()}, {"buildId": BUILD[:-1]},
        {"buildId": f"{BUILD}\n"}, {"statement": {}, "keyEvidence": None}, {"deployment": "x", "target": {}},
        {"deployment": "x", "target": {"serving": "a", "machines": {}}},
        {"deployment": "x", "target": {"serving": "a", "machines": []}},
        {"deployment": "x", "target": {"serving": "a", "machines": [{"slot": "a", "generation": None}]}},
    ],
)  # fmt: skip
def test_a_file_that_names_no_build_is_an_error(document: Any) -> None:
    with pytest.raises(FormatError):
        parse(json.dumps(document).encode())


def test_a_document_of_too_many_parts_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_MOST", 10)
    with pytest.raises(FormatError, match="more than 10 values"):
        parse(json.dumps([{"buildId": BUILD}] * 20).encode())
