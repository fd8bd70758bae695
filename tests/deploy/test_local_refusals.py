"""What a deployment on this computer refuses: releases, policies, and what the target says of earlier machines."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.local_worlds import World
from pluto_deploy.local import processes
from simulators import deployments, policies, releases

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("pretended")]


REFUSALS: dict[str, tuple[int, Callable[[World], object], str]] = {
    "a release that nobody signed": (5, lambda w: w.file(w.release("bad", 2, keys=())), "release.threshold"),
    "a release that somebody else signed": (
        5,
        lambda w: w.file(w.release("bad", 2, keys=(releases.OTHER,))),
        "release.threshold",
    ),
    "a debug build": (5, lambda w: w.file(w.release("bad", 2, flavour="debug")), "debug"),
    "a policy for other machines": (
        2,
        lambda w: w.file(w.root / "one", policy=policies.TDX_TEXT),
        "does not accept the platform qemu-vtpm",
    ),
    "a policy for another configuration": (
        2,
        lambda w: w.file(
            w.root / "one", label="x", policy=policies.changed(deployments.POLICY, configDigest=f'"{"0" * 64}"')
        ),
        "configDigest",
    ),
    "a policy that wants a real TPM": (
        2,
        lambda w: w.file(w.root / "one", policy=policies.changed(deployments.POLICY, insecure_software_tpm="false")),
        "software TPM",
    ),
    "a newer release was asked for": (
        5,
        lambda w: w.file(w.root / "one", policy=policies.changed(deployments.POLICY, minimumSequence="2")),
        "release.sequence",
    ),
    "a release that is not there": (2, lambda w: w.file(w.root / "none"), "there is no folder"),
    "a file that was changed": (4, lambda w: (w.root / "one/pluto.efi").write_bytes(b"MZ" + bytes(9)), ""),
    "a trust file that is none": (3, lambda w: w.file(w.root / "one", trust="version = 1"), "trust"),
    "a deployment file that is none": (3, lambda w: (w.root / "file/DEPLOYMENT.toml").write_text("a ="), "deployment"),
    "no deployment file": (2, lambda w: (w.root / "file/DEPLOYMENT.toml").unlink(), "DEPLOYMENT.toml"),
    "no policy": (2, lambda w: (w.root / "file/policy.toml").unlink(), "policy.toml"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_is_not_accepted_is_refused_before_anything_is_done(name: str, world: World) -> None:
    code, damage, words = REFUSALS[name]
    damage(world)
    before = world.everything()
    for command in ("plan", "apply", "render", "verify", "watch"):
        found, document = world.run(command)
        assert (found, list(document)) == (code, ["error"]), (command, document)
        assert words in document["error"]["message"]
    assert world.everything() == before, "nothing is written, also by apply"


def test_an_older_release_is_refused_once_a_newer_one_was_accepted(world: World) -> None:
    new = world.release("two", 2)
    world.file(new)
    assert world.run("apply")[0] == 0
    world.file(world.root / "one")
    code, document = world.run("plan")
    assert (code, "release.rollback" in document["error"]["message"]) == (5, True)
    code, document = world.run("apply", "--accept-older")
    assert (code, document["plan"]["target"]) == (0, "b")
    assert world.run("verify")[0] == 5
    assert world.run("verify", "--accept-older")[0] == 0

    # One that forbids older ones: then nobody goes back.
    world.file(world.release("three", 3, minimum_sequence=3))
    assert world.run("apply")[0] == 0
    code, document = world.run("rollback")
    assert (code, "only newer ones may run" in document["error"]["message"]) == (5, True)
    assert world.run("verify")[0] == 0


def test_a_release_that_was_seen_revoked_stays_refused_where_its_revocation_is_gone(world: World) -> None:
    new = world.release("two", 2)
    world.file(new)
    revocation = releases.revoke(new, "its kernel leaks")
    before = world.everything()
    for command in ("plan", "render"):
        code, document = world.run(command)
        assert (code, "its kernel leaks" in document["error"]["message"]) == (5, True)
    assert world.everything() == before, "these write nothing anywhere"
    hidden = revocation.read_bytes()
    revocation.unlink()
    assert world.run("plan")[0] == 0
    revocation.write_bytes(hidden)
    code, document = world.run("apply")
    assert (code, "its kernel leaks" in document["error"]["message"]) == (5, True)
    revocation.unlink()
    for command, options in (("plan", ()), ("apply", ()), ("verify", ()), ("plan", ("--accept-older",))):
        code, document = world.run(command, *options)
        assert (code, [one["id"] for one in document["error"]["findings"]]) == (5, ["release.rollback"]), command
    world.file(world.root / "one")
    assert world.run("apply")[0] == 0, "the one before it is none that was revoked"


def test_an_earlier_machine_whose_release_was_seen_revoked_is_not_gone_back_to(world: World) -> None:
    """The host keeps the earlier machine's signatures, and may hide one."""
    kept = with_an_earlier_machine(world)
    revocation = releases.revoke(kept, "its kernel leaks")
    code, document = world.run("rollback")
    assert (code, "its kernel leaks" in document["error"]["message"]) == (5, True)
    revocation.unlink()
    code, document = world.run("rollback")
    assert (code, [one["id"] for one in document["error"]["findings"]]) == (5, ["release.rollback"])
    assert world.run("verify")[0] == 0


def test_a_refusal_is_told_also_where_it_cannot_be_remembered(world: World) -> None:
    assert world.run("apply")[0] == 0
    new = world.release("two", 2)
    world.file(new)
    releases.revoke(new, "its kernel leaks")
    (world.state / "releases/.releases.json.new").mkdir()  # the place of what is going to be the memory
    code, document = world.run("verify")
    assert (code, "its kernel leaks" in document["error"]["message"]) == (5, True)
    assert document["error"]["hint"].startswith("this could not be remembered: ")


def rewritten(path: Path, text: str) -> None:
    """With the time that it had: of two machines the one that was made later is the newer one."""
    times = path.stat()
    path.write_text(text)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def with_an_earlier_machine(world: World) -> Path:
    """Release two serves in b; returns what is kept of release one, which is in a."""
    assert world.run("apply")[0] == 0
    generation = json.loads((world.slots / "a/generation.json").read_text())
    world.file(world.release("two", 2))
    assert world.run("apply")[0] == 0
    kept: Path = world.slots / "releases" / generation["release"]
    return kept


def test_what_a_target_says_of_an_earlier_machine_is_not_believed(world: World) -> None:
    kept = with_an_earlier_machine(world)
    path = world.slots / "a/generation.json"
    generation = json.loads(path.read_text())

    def refused(code: int, words: str, *options: str) -> None:
        found, document = world.run("rollback", *options)
        assert (found, words in document["error"]["message"]) == (code, True), document
        assert world.run("verify")[0] == 0

    # Another protection than the deployment asks for, and a release that is said to be another.
    rewritten(path, json.dumps({**generation, "tee": "tdx"}))
    refused(5, "machine a was never accepted from this computer")
    refused(5, "machine a is said to be tdx, not insecure_none", "--accept-unknown")
    other = world.release("three", 3, minimum_sequence=3)
    rewritten(path, json.dumps(generation))
    honest = (kept / "release.json").read_bytes()
    (kept / "release.json").write_bytes((other / "release.json").read_bytes())
    refused(4, "release.json beside machine a is not that of its generation")

    # Reference values that nobody signed, no signature, and a file that is gone.
    (kept / "release.json").write_bytes(honest)
    launch = (kept / "launch.json").read_bytes()
    (kept / "launch.json").write_bytes((other / "launch.json").read_bytes())
    refused(4, "release.artifact")
    (kept / "launch.json").write_bytes(launch)
    [signature] = (kept / "signatures").iterdir()
    signed = signature.read_bytes()
    signature.unlink()
    refused(5, "release.threshold")
    signature.write_bytes(signed)
    (kept / "firmware.fd").unlink()
    refused(6, "firmware.fd")
    assert not processes.alive(world.process("a"))


def test_an_earlier_machine_whose_image_was_changed_is_refused_by_its_evidence(world: World) -> None:
    """The pretended machine boots by launch.json; so what it boots is changed by its mode."""
    kept = with_an_earlier_machine(world)
    launch = kept / "launch.json"
    honest = launch.read_bytes()
    assert world.run("rollback")[0] == 0
    assert world.run("apply")[0] == 0
    launch.unlink()  # it is another name of the release's own file
    launch.write_bytes(honest.replace(b"pretend=honest", b"pretend=other-image"))
    code, document = world.run("rollback")
    assert (code, document["error"]["kind"]) == (4, "ReleaseNotAuthenticError")
    assert world.run("verify")[0] == 0
