"""What a deployment file and its release ask for of a TDX host: which profile, how much memory, which policy."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pluto_deploy.deployment import Deployment
from pluto_deploy.engine.policy import mr_config_id
from pluto_deploy.engine.wish import NotVerifiedError, ReleaseNotAuthenticError, Wish, for_old, rules, wish
from pluto_measure.errors import FormatError, PlutoError, UsageError
from pluto_measure.launch import Launch
from pluto_measure.measurements import Measurements, measure
from pluto_measure.publish import folder as folder_of_a_release
from pluto_measure.publish.memory import Memory
from pluto_measure.publish.platforms import described
from simulators import deployments, machines, policies, releases, tdvf_images
from simulators.policies import changed

PLATFORM = {
    "kind": '"bare-metal"',
    "host": '"tdx.example"',
    "knownHosts": '"openssh"',
    "tee": '"tdx"',
    "machine": '"policy"',
}
POLICY = changed(policies.TDX_TEXT, allowUnsignedReference="false")
PPID = "ppid:" + "00" * 16


def release(folder: Path, *, files: Mapping[str, bytes] | None = None, cpus: tuple[int, ...] = (2, 4)) -> Path:
    """A signed release whose reference values are of TDX hosts with so many vCPUs and 4 GiB."""
    made = deployments.files()
    launch = Launch.parse(made["launch.json"])
    profiles = [measure(launch, machines.bare_metal(cpus=n), f"bare-metal-{n}").profiles[0] for n in cpus]
    values = Measurements(launch.build_id, launch.flavour, tuple(profiles))
    made |= {"firmware.fd": tdvf_images.image(), "measurements.json": values.to_text().encode(), **(files or {})}
    releases.write(folder, made, build_id=launch.build_id, platforms=tuple(map(described, profiles)))
    return releases.sign(folder).parents[1]


def wished(
    folder: Path,
    *,
    policy: str = POLICY,
    platform: Mapping[str, str] | None = None,
    trust: str | None = None,
    seen: Memory | None = None,
    old: bool = False,
    **size: Any,
) -> Wish:
    """`old`: by the rules for a machine that is there already."""
    lines = "".join(f"{name} = {value}\n" for name, value in {**PLATFORM, **(platform or {})}.items())
    sizes = "".join(f"{name} = {value!r}\n" for name, value in {"cpus": 2, "memory": "4G", **size}.items())
    head = "version = 1\nname = 'n'\nrelease = 'release'\ntrust = 'trust.toml'\npolicy = 'policy.toml'\n"
    rest = "[network]\nports = [443]\negress = []\n[notary]\ndeployment = 'n'\n"
    text = f"{head}[platform]\n{lines}[size]\n{sizes}{rest}[update]\nstrategy = 'replace'\ntimeout = 60\n"
    (folder / "trust.toml").write_text(trust or releases.trust_text(releases.ED25519))
    (folder / "policy.toml").write_text(policy)
    deployment = Deployment.parse(text, folder)
    given = rules(deployment, at=releases.NOW, memory=seen, older=False)
    return wish(deployment, for_old(given) if old else given)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("wish")
    release(made / "release")
    return made


@pytest.mark.parametrize("cpus", [2, 4])
def test_the_profile_with_as_many_vcpus_is_what_the_machine_has_to_meet(folder: Path, cpus: int) -> None:
    asked = wished(folder, cpus=cpus)
    generation, expected = asked.generation, asked.expected
    assert (generation.profile, generation.tee, generation.network) == (f"bare-metal-{cpus}", "tdx", "routed")
    signed = Measurements.parse((folder / "release/measurements.json").read_bytes())
    by_id = {one.id: one for one in signed.profiles}
    assert expected.references.profiles[0].registers == by_id[generation.profile].registers
    assert expected.judgement is not None
    assert expected.judgement.organisations == ("one",)
    config = bytes.fromhex(generation.config)
    assert expected.platform.mr_config_id == mr_config_id(config)
    assert expected.policy.tdx is not None
    assert expected.policy.tdx.mr_config_id == (mr_config_id(config),)
    assert expected.policy.config_digest == config


def test_more_memory_is_another_rtmr0_alone(folder: Path) -> None:
    least, more = (wished(folder, memory=size).expected.references.profiles[0].registers for size in ("4G", "64G"))
    assert {name for name in least if least[name] != more[name]} == {"rtmr0"}


def test_the_machine_of_the_file_is_the_only_one(folder: Path) -> None:
    platform = {"machine": f'"{PPID}"'}
    assert wished(folder, platform=platform).expected.policy.machines == (PPID,)
    policy = changed(POLICY, machines=f'["{PPID}", "ppid:{"11" * 16}"]')
    assert wished(folder, platform=platform, policy=policy).expected.policy.machines == (PPID,)
    with pytest.raises(UsageError, match="does not name the machine"):
        wished(folder, platform=platform, policy=changed(POLICY, machines=f'["ppid:{"11" * 16}"]'))


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"cpus": 3}, r"no profile for 3 vCPUs; its profiles for TDX hosts: bare-metal-2 \(2 vCPUs\), bare-metal-4"),
        ({"platform": {"profile": '"bare-metal-4"'}}, "no profile for 'bare-metal-4' with 2 vCPUs"),
        ({"memory": "2G"}, "holds for at least 2816 MiB of memory, not 2048 MiB"),
        ({"policy": changed(POLICY, platforms='["azure-tdx"]')}, "does not accept the platform qemu-tdx"),
        ({"policy": changed(POLICY, mrConfigId='"zero"')}, "mrConfigId excludes"),
        ({"policy": changed(POLICY, configDigest=f'"{"0" * 64}"')}, "configDigest"),
    ],
)
def test_what_can_never_be_met_is_said(folder: Path, how: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        wished(folder, **how)


def test_a_software_tpm_has_to_be_accepted_by_the_policy(folder: Path) -> None:
    platform = {"tee": '"insecure_none"'}
    with pytest.raises(UsageError, match="does not accept the platform qemu-vtpm"):
        wished(folder, platform=platform)
    policy = changed(policies.TEXT, allowUnsignedReference="false")
    asked = wished(folder, platform=platform, policy=policy)
    assert (asked.generation.tee, asked.generation.profile) == ("insecure_none", "local-uki-kernel")
    assert asked.expected.platform.mr_config_id is None


def test_two_profiles_for_as_many_vcpus_have_to_be_told_apart(tmp_path: Path) -> None:
    made = deployments.files()
    launch = Launch.parse(made["launch.json"])
    profiles = [measure(launch, machines.bare_metal(acpi=(machines.acpi(n),)), n).profiles[0] for n in ("one", "two")]
    values = Measurements(launch.build_id, launch.flavour, tuple(profiles))
    made |= {"firmware.fd": tdvf_images.image(), "measurements.json": values.to_text().encode()}
    releases.write(tmp_path / "release", made, build_id=launch.build_id, platforms=tuple(map(described, profiles)))
    releases.sign(tmp_path / "release")
    with pytest.raises(UsageError, match="more than one profile for 2 vCPUs"):
        wished(tmp_path)
    assert wished(tmp_path, platform={"profile": '"two"'}).generation.profile == "two"


def test_a_firmware_that_the_values_are_not_about_is_malformed(tmp_path: Path) -> None:
    release(tmp_path / "release", files={"firmware.fd": b"another"})
    with pytest.raises(FormatError, match="about another firmware"):
        wished(tmp_path)


def damaged(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "release" / name).write_bytes((folder / "release" / name).read_bytes() + b" ")


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        (damaged("pluto.efi"), PlutoError),
        (damaged("firmware.fd"), ReleaseNotAuthenticError),
        (damaged("lock.json"), ReleaseNotAuthenticError),
        (damaged("measurements.json"), ReleaseNotAuthenticError),
        (damaged("launch.json"), PlutoError),
        (damaged("release.json"), PlutoError),
        (lambda folder: next((folder / "release/signatures").iterdir()).unlink(), NotVerifiedError),
        (lambda folder: (folder / "release/oci").joinpath("more").write_bytes(b"x"), PlutoError),
    ],
)
def test_a_release_that_is_not_what_was_signed_is_refused(
    damage: Callable[[Path], object], kind: type[PlutoError], tmp_path: Path
) -> None:
    release(tmp_path / "release")
    assert wished(tmp_path)
    damage(tmp_path)
    with pytest.raises(kind) as caught:
        wished(tmp_path)
    assert caught.value.exit_code in (3, 4, 5)


def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is used is what was judged, whoever writes to the folder in between."""
    release(tmp_path / "release")
    honest = folder_of_a_release.read

    def read(*given: Any, **how: Any) -> Any:
        found = honest(*given, **how)
        path = tmp_path / "release/launch.json"
        path.write_bytes(path.read_bytes().replace(b"console=ttyS0", b"console=ttyS1"))
        return found

    monkeypatch.setattr(folder_of_a_release, "read", read)
    with pytest.raises(ReleaseNotAuthenticError, match=r"launch\.json changed while it was read"):
        wished(tmp_path)


def test_a_generation_is_its_content_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    """The same release in another folder is the same generation; policy and trust file are not of it."""
    one = wished(folder).generation
    release(tmp_path / "release")
    assert wished(tmp_path, policy=changed(POLICY, maxEvidenceAge="60")).generation == one
    assert {wished(folder, cpus=4).generation.id, wished(folder, memory="8G").generation.id, one.id} != {one.id}
    assert dataclasses.asdict(one)["config"] == one.config


STALE = releases.trust_text(releases.ED25519, age="86400")  # the release is of the first of the month


def test_a_stale_release_starts_no_machine(folder: Path) -> None:
    with pytest.raises(NotVerifiedError, match=r"release\.freshness: the release is stale") as raised:
        wished(folder, trust=STALE)
    assert raised.value.hint is None, "--accept-older is for something else"


def test_a_machine_that_is_there_is_not_refused_for_staleness_alone(folder: Path) -> None:
    assert wished(folder, trust=STALE, old=True).expected.judgement is not None
    newer = Memory({}).remembering(releases.release(sequence=6), "aa" * 32)
    assert wished(folder, trust=STALE, old=True, seen=newer).expected.judgement is not None


def test_a_machine_that_is_there_is_refused_where_its_release_was_revoked(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(NotVerifiedError, match=r"release\.rollback"):
        wished(folder, old=True, seen=Memory({}).revoking(releases.release()))
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    releases.revoke(tmp_path / "release", "its kernel leaks")
    for old in (False, True):
        with pytest.raises(NotVerifiedError, match="one revoked this release: its kernel leaks") as raised:
            wished(tmp_path, old=old)
        assert raised.value.revoked is not None
        assert "revoked" not in raised.value.fields(), "it is said by the findings"
