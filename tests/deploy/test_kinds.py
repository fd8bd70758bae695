"""What a kind of deployment is to the engine: its generation, its profile, and a policy that is never widened."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluto_deploy.deployment import Deployment
from pluto_deploy.engine.kinds import images_of, made_by, network_of, space_of, tee_of
from pluto_deploy.engine.policy import Space, narrowed
from pluto_deploy.engine.profiles import of_cloud
from pluto_deploy.engine.scene import Generation
from pluto_deploy.targets import key_of
from pluto_measure.errors import FormatError, UsageError
from pluto_measure.launch import Launch
from pluto_measure.measurements import Measurements
from pluto_measure.policy import Policy
from simulators import cloud_deployments
from simulators.cloud_deployments import AZURE, KINDS, SPACE, TDX
from simulators.google.worlds import REPOSITORY

PLATFORMS = {SPACE: "gcp-confidential-space", TDX: "gcp-tdx", AZURE: "azure-tdx"}
CONFIG = bytes(32)
GENERATION = Generation("0" * 64, "1" * 64, "", "google", 4, 16 << 30, "tdx", "address", "2" * 64)


def deployment(kind: str, changes: Mapping[str, str] | None = None) -> Deployment:
    text = cloud_deployments.TOML.format(
        name="notary", release="one", kind=kind, platform=cloud_deployments.PLATFORMS[kind], notary="",
        strategy="blue-green",
    )  # fmt: skip
    for old, new in (changes or {}).items():
        assert old in text
        text = text.replace(old, new)
    return Deployment.parse(text, Path("/d"))


def with_(kind: str, old: str, new: str) -> Deployment:
    return deployment(kind, {old: new})


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> tuple[Measurements, Launch]:
    folder = cloud_deployments.release(tmp_path_factory.mktemp("kinds") / "one", "one", 1)
    launch = Launch.parse((folder / "launch.json").read_bytes())
    return Measurements.parse((folder / "measurements.json").read_bytes()), launch


def test_a_generation_says_what_the_cloud_makes_and_no_more_elsewhere() -> None:
    assert Generation.parse(GENERATION.to_text()) == GENERATION
    plain = dataclasses.replace(GENERATION, platform="")
    assert "platform" not in plain.to_json(), "what was made before has the name that it had"
    assert Generation.parse(plain.to_text()) == plain
    for wrong in ("", "2" * 63, "G" * 64, 1, None):
        with pytest.raises(FormatError):
            Generation.parse(json.dumps({**GENERATION.to_json(), "platform": wrong}))


def test_each_kind_starts_from_its_own_file_and_is_protected_by_its_own_word() -> None:
    found = {kind: (tee_of(one), images_of(one), network_of(one)) for kind in KINDS if (one := deployment(kind))}
    assert found == {
        SPACE: ("confidential-space", (), "address"),
        TDX: ("tdx", ("gcp.tar.gz",), "address"),
        AZURE: ("tdx", ("disk.vhd",), "address"),
    }
    assert len({made_by(deployment(kind)) for kind in KINDS}) == len(KINDS)
    assert len({key_of(deployment(kind)) for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize(
    ("kind", "old", "new", "is_another"),
    [
        (SPACE, 'bucket = "our-bucket"', 'bucket = "other-bucket"', False),
        (SPACE, 'serviceAccount = "notary@', 'serviceAccount = "other@', True),
        (SPACE, 'bucket = "our-bucket"', 'bucket = "our-bucket"\nrestart = "Never"', True),
        (SPACE, 'bucket = "our-bucket"', 'bucket = "our-bucket"\nimage = "confidential-space-260800"', True),
        (TDX, 'subnetwork = "default"', 'subnetwork = "other"', True),
        (TDX, "timeout = 60", "timeout = 61", False),
        (AZURE, "Standard_DC4es_v6", "Standard_DC4eds_v6", True),
        (AZURE, 'route = "disk"', 'route = "gallery"', False),
        (AZURE, 'route = "disk"', 'route = "disk"\nguestState = "VMGuestStateOnly"', True),
        (AZURE, 'operators = ["198.51.100.0/24"]', 'operators = "any"', False),
    ],
)
def test_what_decides_a_machine_is_of_its_generation(kind: str, old: str, new: str, *, is_another: bool) -> None:
    assert (made_by(with_(kind, old, new)) != made_by(deployment(kind))) == is_another


def test_the_same_name_in_another_place_is_another_deployment() -> None:
    assert key_of(with_(TDX, 'zone = "europe-west4-a"', 'zone = "europe-west4-b"')) != key_of(deployment(TDX))
    assert key_of(with_(AZURE, 'resourceGroup = "notaries"', 'resourceGroup = "others"')) != key_of(deployment(AZURE))


@pytest.mark.parametrize("kind", KINDS)
def test_the_profile_is_the_one_that_was_signed(kind: str, values: tuple[Measurements, Launch]) -> None:
    made = dataclasses.replace(GENERATION, profile="")
    name, platform, references = of_cloud(deployment(kind), made, *values)
    assert (platform.kind, platform.cpus, platform.memory) == (PLATFORMS[kind], 4, 16 << 30)
    assert references.profiles == values[0].profile(PLATFORMS[kind])
    again = dataclasses.replace(made, profile=name)
    assert of_cloud(deployment(kind), again, *values)[0] == name
    with pytest.raises(UsageError, match="no profile"):
        of_cloud(deployment(kind), dataclasses.replace(made, profile="other"), *values)
    with pytest.raises(FormatError, match="another build"):
        of_cloud(deployment(kind), made, values[0], dataclasses.replace(values[1], build_id="00" * 32))


def test_google_measures_the_size_and_azure_does_not(values: tuple[Measurements, Launch]) -> None:
    larger = dataclasses.replace(GENERATION, profile="", cpus=8, memory=32 << 30)
    assert of_cloud(deployment(AZURE), larger, *values)[1].cpus == 8
    with pytest.raises(UsageError, match=r"no profile for this machine; .* google \(c3-standard-4\)"):
        of_cloud(deployment(TDX), larger, *values)


def test_of_a_machine_that_was_made_for_another_file_less_is_known(values: tuple[Measurements, Launch]) -> None:
    """A service account that changes since must not keep an old machine from serving again."""
    one = deployment(SPACE)
    ours = space_of(one, dataclasses.replace(GENERATION, platform=made_by(one)), values[1])
    other = space_of(one, GENERATION, values[1])
    assert ours is not None
    assert other is not None
    assert ours.reference == f"{REPOSITORY}/notary@{values[1].container.manifest_digest}"  # type: ignore[union-attr]
    assert (other.project, other.zone) == (ours.project, ours.zone)
    assert (other.account, other.restart, other.reference, other.debug) == (None, None, None, False)
    assert space_of(deployment(TDX), GENERATION, values[1]) is None


SPACE_OF = Space(
    project="our-project", zone="europe-west4-a", account="a@b.example", restart="Never", reference="r@sha256:1",
    debug=False,
)  # fmt: skip
LISTS = {
    "projects": SPACE_OF.project,
    "zones": SPACE_OF.zone,
    "service_accounts": SPACE_OF.account,
    "restart_policies": SPACE_OF.restart,
    "image_references": SPACE_OF.reference,
}


def policy(kind: str) -> Policy:
    return Policy.parse(cloud_deployments.policy(kind))


@given(st.fixed_dictionaries({name: st.sampled_from(("any", "own", "both", "other")) for name in LISTS}), st.booleans())
def test_rules_for_tokens_are_only_narrowed(how: dict[str, str], known: bool) -> None:
    plain, space = policy(SPACE), SPACE_OF
    if not known:
        space = dataclasses.replace(SPACE_OF, account=None, restart=None, reference=None)
    lists: dict[str, Any] = {
        name: {"any": "any", "own": (own,), "both": (own, "x"), "other": ("x",)}[how[name]]
        for name, own in LISTS.items()
    }
    rules = dataclasses.replace(plain.confidential_space, **lists)  # type: ignore[type-var]
    given_ = dataclasses.replace(plain, confidential_space=rules)
    asked = ("projects", "zones", *(("service_accounts", "restart_policies", "image_references") if known else ()))
    if any(how[name] == "other" for name in asked):
        with pytest.raises(UsageError, match="does not name"):
            narrowed(given_, platform=PLATFORMS[SPACE], config_digest=CONFIG, machine=None, space=space)
        return
    found = narrowed(given_, platform=PLATFORMS[SPACE], config_digest=CONFIG, machine=None, space=space)
    assert found.confidential_space is not None
    for name, own in LISTS.items():
        assert getattr(found.confidential_space, name) == ((own,) if name in asked else lists[name])
    back = {name: lists[name] for name in LISTS}
    assert dataclasses.replace(found.confidential_space, **back) == rules
    assert (found.tdx, found.azure, found.endorsement) == (None, None, None)


@pytest.mark.parametrize("kind", [TDX, AZURE])
def test_a_clouds_trust_domain_has_the_policys_own_rules(kind: str) -> None:
    """MRCONFIGID is the cloud's there, so it is not demanded."""
    plain = policy(kind)
    found = narrowed(plain, platform=PLATFORMS[kind], config_digest=CONFIG, machine=None)
    assert (found.tdx, found.azure, found.endorsement) == (plain.tdx, plain.azure, plain.endorsement)
    assert (found.config_digest, found.outer_key_digest, found.platforms) == (CONFIG, "required", (PLATFORMS[kind],))
    changed = {"config_digest", "outer_key_digest"}
    kept = {name.name for name in dataclasses.fields(Policy)} - changed
    assert all(getattr(found, name) == getattr(plain, name) for name in kept)


@pytest.mark.parametrize("kind", KINDS)
def test_a_policy_of_another_kind_is_refused(kind: str) -> None:
    for other in set(KINDS) - {kind}:
        with pytest.raises(UsageError, match="does not accept the platform"):
            narrowed(policy(other), platform=PLATFORMS[kind], config_digest=CONFIG, machine=None)


def test_a_debug_image_needs_a_policy_that_allows_it() -> None:
    debug = dataclasses.replace(SPACE_OF, debug=True)
    how: dict[str, Any] = {"platform": PLATFORMS[SPACE], "config_digest": CONFIG, "machine": None, "space": debug}
    with pytest.raises(UsageError, match="debug image"):
        narrowed(policy(SPACE), **how)
    assert narrowed(dataclasses.replace(policy(SPACE), allow_debug=True), **how).allow_debug
    image = '\nimage = "confidential-space-debug-260800"\ninsecure_debugImage = true'
    assert with_(SPACE, 'bucket = "our-bucket"', 'bucket = "our-bucket"' + image).platform.is_debug  # type: ignore[union-attr]
