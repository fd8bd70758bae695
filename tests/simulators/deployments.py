"""A small release that `pluto-deploy` can deploy on this computer, and its deployment file. For tests alone.

release(folder, sequence=2)                   a whole RELEASE, signed; its machine is `pretend_machine`
release(folder, mode="other-image")           whose machine boots something else
deployment(folder, release)                   DEPLOYMENT.toml with trust.toml and policy.toml beside it
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pluto_image import artifact
from pluto_measure import describe
from pluto_measure.digests import Digests
from pluto_measure.launch import Launch
from pluto_measure.publish.keys import PrivateKey
from simulators import pe_images, policies, releases, small_dist
from simulators.trust_domains import REFERENCE

DISK_SIZE = 1 << 20
POLICY = policies.changed(policies.TEXT, allowUnsignedReference="false")
TOML = """\
version = 1
name = "notary"
release = "{release}"
trust = "trust.toml"
policy = "policy.toml"

[platform]
kind = "local"
accelerator = "tcg"

[size]
cpus = 2
memory = "1G"

[network]
ports = [{port}]
egress = []

[notary]
{notary}

[update]
strategy = "{strategy}"
timeout = 60
"""


def launch(*, mode: str = "honest", build: str = "one", flavour: str = "release") -> tuple[bytes, Launch]:
    """A UKI that nobody could boot, and what its boot measures. `mode` tells the pretended machine how to behave."""
    command_line = f"console=ttyS0 pretend={mode}"
    sections = [
        (".osrel", b"ID=test\nBUILD=" + build.encode() + b"\n"),
        (".cmdline", command_line.encode()),
        (".initrd", b"initrd"),
        (".linux", pe_images.KERNEL),
    ]
    uki = pe_images.image(sections)
    build_id = hashlib.sha256(f"{build} {mode}".encode()).hexdigest()
    made = describe.of_uki(
        uki, Digests.of(b"gpt"), stub="257.13-1~deb13u1", disk_size=DISK_SIZE, build_id=build_id, flavour=flavour
    )
    return uki, made


def files(*, mode: str = "honest", build: str = "one", flavour: str = "release") -> dict[str, bytes]:
    """Every file of the release but its statement: name to content."""
    uki, about = launch(mode=mode, build=build, flavour=flavour)
    reference = replace(REFERENCE, build_id=about.build_id, flavour=flavour)
    others = {name: name.encode() for name in artifact.NAMES if name not in ("release.json", "disk.raw")}
    return {
        **others,
        "disk.raw": b"disk".ljust(DISK_SIZE, b"\0"),
        "pluto.efi": uki,
        "firmware.fd": b"firmware",
        "launch.json": about.to_text().encode(),
        "lock.json": small_dist.files()["lock.json"],
        "measurements.json": reference.to_text().encode(),
    }


def release(
    folder: Path,
    *,
    mode: str = "honest",
    build: str = "one",
    flavour: str = "release",
    keys: tuple[PrivateKey, ...] = (releases.ED25519,),
    more: Mapping[str, bytes] | None = None,
    **changes: Any,
) -> Path:
    """Write it, signed by `keys`; `changes` of the statement as in `simulators.releases`. Returns the folder.

    `more`: other content of some files.
    """
    made = files(mode=mode, build=build, flavour=flavour) | dict(more or {})
    about = Launch.parse(made["launch.json"])
    releases.write(folder, made, build_id=about.build_id, flavour=flavour, **changes)
    for key in keys:
        releases.sign(folder, key)
    return folder


def deployment(
    folder: Path,
    release: Path,
    *,
    port: int,
    label: str | None = None,
    strategy: str = "blue-green",
    policy: str = POLICY,
    trust: str | None = None,
    changes: Mapping[str, str] | None = None,
) -> Path:
    """DEPLOYMENT.toml in `folder`, whose text has each of `changes` made; its trust file names `releases.ED25519`."""
    folder.mkdir(parents=True, exist_ok=True)
    notary = "" if label is None else f'deployment = "{label}"'
    text = TOML.format(release=release, port=port, notary=notary, strategy=strategy)
    for old, new in (changes or {}).items():
        assert old in text
        text = text.replace(old, new)
    (folder / "trust.toml").write_text(releases.trust_text(releases.ED25519) if trust is None else trust)
    (folder / "policy.toml").write_text(policy)
    path = folder / "DEPLOYMENT.toml"
    path.write_text(text)
    return path
