"""A deployment in each cloud goes through its whole life by the commands; its machines' evidence is appraised."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from simulators import endorsements
from simulators.cloud_deployments import AZURE, KINDS, SPACE, TDX
from simulators.cloud_stories import Story, told


@pytest.fixture(params=KINDS)
def story(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Story]:
    with told(tmp_path, request.param, monkeypatch, capsys.readouterr) as one:
        yield one


def states(document: Any) -> dict[str, tuple[str, bool]]:
    return {one["slot"]: (one["state"], one["refused"]) for one in document["target"]["machines"]}


@pytest.mark.slow
def test_plan_apply_verify_a_failed_upgrade_rollback_an_upgrade_and_destroy(story: Story) -> None:
    a_plan_makes_nothing(story)
    address = a_first_machine_serves(story)
    clients = address.partition(":")[0]
    another_build_than_was_released_is_refused(story, clients)
    a_rollback_clears_it_away(story, clients)
    an_upgrade_serves(story, address)
    a_rollback_leads_back(story)
    a_destroy_leaves_nothing(story, clients)
    refuse_secrets(story)


def a_plan_makes_nothing(story: Story) -> None:
    code, document = story.run("plan")
    assert (code, document["plan"]["kind"], document["costs"]) == (0, "create", []), document
    assert story.cloud.left() == [], "a plan makes nothing"


def a_first_machine_serves(story: Story) -> str:
    code, applied = story.run("apply")
    assert (code, applied["plan"]["target"]) == (0, "a"), applied
    assert applied["appraisal"]["accepted"]
    assert applied["appraisal"]["claims"]["configDigest"] == applied["generation"]["config"]
    address: str = applied["address"]
    clients = address.partition(":")[0]
    assert story.asked[-1] == address, "the last word is that of what clients reach"
    code, document = story.run("plan")
    assert (code, document["plan"]["kind"]) == (0, "nothing")
    assert document["costs"]
    assert any(clients in note and "notary.example" in note for note in document["notes"])
    assert story.run("verify")[1]["accepted"]
    return address


def another_build_than_was_released_is_refused(story: Story, clients: str) -> None:
    story.release("two", 2, mode="other-image")
    code, document = story.run("apply")
    assert (code, document["error"]["kind"], document["error"]["serving"]) == (5, "NotAttestedError", "a"), document
    assert document["error"]["step"]["action"] == "appraise"
    assert document["error"]["message"].startswith("the machine is not what was released: ")
    code, document = story.run("status")
    assert states(document) == {"a": ("running", False), "b": ("stopped", True)}
    assert story.cloud.serving(clients)
    assert story.run("verify")[0] == 5, "another machine serves than the file asks for"


def a_rollback_clears_it_away(story: Story, clients: str) -> None:
    code, document = story.run("rollback")
    assert (code, document["plan"]["target"]) == (0, "a"), document
    assert story.cloud.serving(clients)
    assert states(story.run("status")[1]) == {"a": ("running", False)}


def an_upgrade_serves(story: Story, address: str) -> None:
    story.release("three", 3)
    code, document = story.run("apply")
    assert (code, document["plan"]["kind"], document["plan"]["target"]) == (0, "upgrade", "b"), document
    assert document["address"] == address, "clients come where they came"
    assert story.run("verify")[1]["machine"]["slot"] == "b"
    assert story.run("watch")[1]["accepted"]
    assert story.run("logs")[1]["events"][-1]["event"] == "ready"


def a_rollback_leads_back(story: Story) -> None:
    code, document = story.run("rollback")
    assert (code, document["plan"]["target"]) == (0, "a"), document
    code, document = story.run("verify", "--accept-older")
    assert (code, document["accepted"]) == (0, True), document


def a_destroy_leaves_nothing(story: Story, clients: str) -> None:
    code, out = story.text("destroy", "--dry-run")
    assert code == 0
    assert "destroyed   machine" in out
    assert story.cloud.serving(clients)
    code, out = story.text("destroy")
    assert code == 0
    assert "removed; listing found nothing left" in out
    assert story.cloud.left() == []
    assert "nothing of it was there; listing found nothing left" in story.text("destroy")[1]
    assert story.run("verify")[1]["error"]["kind"] == "NothingServesError"


@pytest.mark.slow
def test_with_room_for_one_machine_the_old_one_serves_again(story: Story) -> None:
    story.file("one", strategy="replace")
    code, document = story.run("apply")
    assert code == 0, document
    clients = document["address"].partition(":")[0]
    story.release("two", 2, mode="other-image", strategy="replace")
    code, document = story.run("apply")
    assert (code, document["error"]["serving"]) == (5, "a"), document
    assert story.cloud.serving(clients)
    assert states(story.run("status")[1]) == {"a": ("running", False), "b": ("stopped", True)}
    assert story.run("destroy")[0] == 0
    assert story.cloud.left() == []


@pytest.mark.slow
@pytest.mark.parametrize("story", [AZURE], indirect=True)
def test_machines_from_a_gallery_are_the_same_machines(story: Story) -> None:
    gallery = {'route = "disk"': 'route = "gallery"'}
    story.file("one", changes=gallery)
    assert "galleries" in str(sorted(story.run("render")[1]["files"]))
    assert story.run("apply")[0] == 0
    story.release("two", 2, changes=gallery)
    code, document = story.run("apply")
    assert (code, document["plan"]["target"]) == (0, "b"), document
    assert any(cost["what"].startswith("image version") for cost in story.run("status")[1]["costs"])
    assert story.run("destroy")[0] == 0
    assert story.cloud.left() == []


def test_render_shows_what_would_be_sent_and_no_secret(story: Story) -> None:
    code, document = story.run("render")
    assert code == 0, document
    assert story.cloud.left() == []
    assert not story.asked
    names, text = set(document["files"]), "".join(document["files"].values())
    assert {"generation.json", "reference/measurements.json"} < names
    assert ('"confidentialInstanceType": "TDX"' if story.kind != AZURE else '"securityType": "ConfidentialVM"') in text
    assert document["files"]["generation.json"].count('"platform"') == 1
    refuse_secrets(story)


def test_people_read_what_is_billed(story: Story) -> None:
    code, out = story.text("plan")
    assert code == 0
    assert "billed      " not in out
    assert "is billed   machine a, its disk and an address" in out
    assert "notary.example has to lead to the address of the deployment" in out
    assert story.text("apply")[0] == 0
    out = story.text("status")[1]
    assert "address     203.0.113." in out
    assert "billed      machine" in out
    story.release("two", 2)
    out = story.text("plan")[1]
    assert "stays       the disk of machine a" in out
    assert "(changed: release)" in out


@pytest.mark.parametrize("story", [SPACE], indirect=True)
def test_a_token_of_somebody_elses_machine_is_refused(story: Story) -> None:
    """It runs the same container, in the same project and zone."""
    story.lie = lambda seen: dataclasses.replace(seen, instance={**seen.instance, "instance_id": "1"})
    code, document = story.run("apply")
    assert (code, document["error"]["serving"]) == (5, None), document
    assert [one["id"] for one in document["error"]["findings"]] == ["space.instance"]


@pytest.mark.parametrize("story", [SPACE], indirect=True)
def test_another_setting_of_the_platform_is_another_machine(story: Story) -> None:
    assert story.run("apply")[0] == 0
    changes = {'bucket = "our-bucket"\n': 'bucket = "our-bucket"\nrestart = "Never"\n'}
    story.file("one", changes=changes)
    code, document = story.run("plan")
    assert (code, document["plan"]["kind"]) == (0, "upgrade"), document
    assert "changed: platform" in {step["why"] for step in document["plan"]["steps"]}
    code, document = story.run("apply")
    assert code == 5, "the pretended machine still says OnFailure"
    assert [one["id"] for one in document["error"]["findings"]] == ["container.restart_policy"]


def refuse_secrets(story: Story) -> None:
    from simulators.azure_cloud.login import SECRET

    everything = "".join(story.texts)
    for path in (story.root / "state").rglob("*"):
        everything += path.read_bytes().decode("latin-1") if path.is_file() else ""
    assert SECRET not in everything
    assert "Bearer " not in everything


def test_a_configuration_reaches_the_machine_and_its_evidence(story: Story) -> None:
    """A container has none: the file says so before anything is made."""
    story.file("one", label="shop")
    code, document = story.run("apply")
    if story.kind == SPACE:
        assert (code, document["error"]["kind"]) == (3, "FormatError"), document
        return
    assert code == 0, document
    assert document["appraisal"]["claims"]["configDigest"] == document["generation"]["config"]
    assert document["generation"]["config"] != hashlib.sha256(b"").hexdigest()
    story.lie = lambda seen: dataclasses.replace(seen, config=b"")
    code, document = story.run("verify")
    assert code == 5
    assert [one["id"] for one in document["appraisal"]["findings"] if one["verdict"] == "fail"] == [
        "policy.config_digest"
    ]


@pytest.mark.parametrize("story", [TDX], indirect=True)
def test_a_firmware_that_google_does_not_endorse_is_refused_with_the_way_to_its_endorsement(story: Story) -> None:
    (story.root / "file/endorsement.binarypb").write_bytes(endorsements.launch_endorsement())
    code, document = story.run("apply")
    assert (code, document["error"]["serving"]) == (5, None), document
    assert {one["id"] for one in document["error"]["findings"]} >= {"endorsement.given"}
    assert "pluto-measure endorsement fetch" in document["error"]["hint"]


@pytest.mark.parametrize("story", [AZURE], indirect=True)
def test_a_tpm_that_nobody_vouches_for_is_refused(story: Story) -> None:
    path = story.root / "file/issuers.pem"
    path.write_bytes(path.read_bytes().rpartition(b"-----BEGIN")[0])  # what its root signed, without the root
    code, document = story.run("apply")
    assert (code, document["error"]["serving"]) == (5, None), document
    assert [one["id"] for one in document["error"]["findings"]] == ["policy.ak_trust"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("maxEvidenceAge = 600", "maxEvidenceAge = 600\nextra = 1"), "extra"),
        (('projects = "any"', 'projects = ["other-project"]'), "projects does not name our-project"),
        (('zones = "any"', 'zones = ["europe-west4-b"]'), "zones does not name europe-west4-a"),
        (('serviceAccounts = "any"', "serviceAccounts = []"), "serviceAccounts does not name notary@"),
        (('restartPolicies = "any"', 'restartPolicies = ["Never"]'), "restartPolicies does not name OnFailure"),
        (('imageReferences = "any"', 'imageReferences = ["elsewhere"]'), "imageReferences does not name"),
    ],
)
@pytest.mark.parametrize("story", [SPACE], indirect=True)
def test_a_policy_that_excludes_the_deployment_is_said_before_anything_is_made(
    story: Story, change: tuple[str, str], words: str
) -> None:
    path = story.root / "file/policy.toml"
    assert change[0] in path.read_text()
    path.write_text(path.read_text().replace(*change))
    code, document = story.run("plan")
    assert code in (2, 3)
    assert words in document["error"]["message"]
    assert story.cloud.left() == []
