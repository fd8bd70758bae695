"""Releases and deployment files for machines in clouds, and the evidence that these machines give. For tests alone.

release(folder, "two", 2)                        a signed release with reference values of all three kinds
release(folder, "two", 2, mode="other-image")    whose machine boots something else
write(folder, kind, release)                     DEPLOYMENT.toml, with trust.toml, policy.toml, and what evidence needs
evidence(kind, seen, nonce, key)                 what a machine says of itself, by our own Intel, Microsoft and Google
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pluto_deploy.azure.wanted import KIND as AZURE_KIND
from pluto_deploy.google.wanted import SPACE_KIND, TDX_KIND
from pluto_measure.claims import Claims
from pluto_measure.digests import Digests
from pluto_measure.evidence import Envelope
from pluto_measure.formats.eventlog import LogEvent
from pluto_measure.launch import Container, Launch
from pluto_measure.machine.platform import Platform
from pluto_measure.measurements import Measurements, measure
from pluto_measure.policy import azure as azure_policy
from pluto_measure.policy import confidential_space as space_policy
from pluto_measure.policy.launch_endorsement import STRICT_ENDORSEMENT_TEXT
from pluto_measure.publish.platforms import described
from simulators import (
    azure_evidence,
    confidential_space,
    deployments,
    endorsements,
    intel,
    machines,
    policies,
    releases,
    trust_domains,
)
from simulators.azure_cloud import cloud as azure
from simulators.azure_cloud.login import CLIENT, TENANT
from simulators.google.state import PROJECT, ZONE
from simulators.google.worlds import REPOSITORY, layout
from simulators.launches import LAUNCH
from simulators.policies import changed

KINDS = (SPACE, TDX, AZURE) = (SPACE_KIND, TDX_KIND, AZURE_KIND)
NAME: Final = "notary"
MIB: Final = 1 << 20
ACCOUNT: Final = f"notary@{PROJECT}.iam.gserviceaccount.com"
_SIGNED: Final = {"allowUnsignedReference": "false"}
_GOOGLE: Final = f"""\
project = "{PROJECT}"
zone = "{ZONE}"
machineType = "c3-standard-4"
network = "default"
subnetwork = "default"
bucket = "our-bucket"
"""
PLATFORMS: Final[Mapping[str, str]] = {
    SPACE: f'{_GOOGLE}serviceAccount = "{ACCOUNT}"\nrepository = "{REPOSITORY}"\n',
    TDX: _GOOGLE,
    AZURE: f"""\
tenant = "{TENANT}"
subscription = "{azure.SUBSCRIPTION}"
resourceGroup = "{azure.GROUP}"
location = "{azure.LOCATION}"
vmSize = "Standard_DC4es_v6"
route = "disk"
login = "secret"
client = "{CLIENT}"
operators = ["198.51.100.0/24"]
""",
}
TOML: Final = """\
version = 1
name = "{name}"
release = "{release}"
trust = "trust.toml"
policy = "policy.toml"

[platform]
kind = "{kind}"
{platform}
[size]
cpus = 4
memory = "16G"

[network]
domain = "notary.example"
ports = [8443]
egress = ["tcp:443"]

[notary]
{notary}
[update]
strategy = "{strategy}"
timeout = 60
"""
CERTIFICATE: Final = """\
[certificate]
directory = "https://ca.example/directory"
roots = "roots.pem"

[update]"""


@dataclass(frozen=True)
class Seen:
    """What a machine was given. `instance`: as Google names it; `reference`: of its container."""

    build_id: str
    mode: str
    config: bytes = b""
    instance: Mapping[str, str] = dataclasses.field(default_factory=dict)
    reference: str = ""


def build_of(name: str, mode: str) -> str:
    return hashlib.sha256(f"{name} {mode}".encode()).hexdigest()


def release(folder: Path, name: str, sequence: int, *, mode: str = "honest", **changes: Any) -> Path:
    """Write it, signed; returns its folder."""
    place = {"minimum_sequence": 1, "supersedes": sequence - 1 or None, **changes}
    digest = layout(folder / "oci", f"{name} {mode}")
    container = dataclasses.replace(confidential_space.CONTAINER, manifest_digest=digest)
    launch = _launch(build_of(name, mode), container)
    values = Measurements(
        launch.build_id,
        launch.flavour,
        (
            measure(launch, machines.google(), "google").profiles[0],
            measure(launch, Platform.default("azure-tdx"), "azure").profiles[0],
            measure(launch, Platform.default("gcp-confidential-space"), "space").profiles[0],
        ),
    )
    oci = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    made = {
        **deployments.files(),
        **oci,
        "pluto.efi": b"u",
        "disk.vhd": _vhd(sequence, mode),
        "gcp.tar.gz": f"archive of {name} {mode}".encode(),
        "launch.json": launch.to_text().encode(),
        "measurements.json": values.to_text().encode(),
    }
    platforms = tuple(map(described, values.profiles))
    releases.write(folder, made, build_id=launch.build_id, platforms=platforms, sequence=sequence, **place)
    releases.sign(folder)
    return folder


def _launch(build_id: str, container: Container) -> Launch:
    return dataclasses.replace(
        LAUNCH,
        build_id=build_id,
        container=container,
        uki_digests=Digests.of(b"u"),
        disk_size=deployments.DISK_SIZE,
    )


def _vhd(number: int, mode: str) -> bytes:
    """3 MiB and a footer, of which most is zero; the pretended Azure reads how it behaves."""
    data = bytearray(3 * MIB + 512)
    data[MIB : MIB + 64] = f"release {number} pretend={mode} ".encode().ljust(64, b".")
    data[-512:-504] = b"conectix"
    return bytes(data)


def policy(kind: str) -> str:
    """A policy that accepts what `evidence` makes, and nothing unsigned."""
    if kind == SPACE:
        text = changed(
            policies.TEXT,
            platforms='["gcp-confidential-space"]',
            evidenceTypes='["confidential-space"]',
            insecure_software_tpm="false",
            **_SIGNED,
        )
        return text + changed(space_policy.TEXT, insecure_roots=f'["{confidential_space.root_hash().hex()}"]')
    if kind == TDX:
        rules = changed(STRICT_ENDORSEMENT_TEXT, insecure_roots=f'["{endorsements.ROOT.hex()}"]')
        return changed(policies.TDX_TEXT, platforms='["gcp-tdx"]', **_SIGNED) + rules
    text = changed(
        policies.TDX_TEXT,
        platforms='["azure-tdx"]',
        evidenceTypes='["azure"]',
        akTrust=f'["{azure_evidence.AK_ROOT.hex()}"]',
        **_SIGNED,
    )
    return text + changed(azure_policy.TEXT, paravisors=f'["{azure_evidence.PARAVISOR.hex()}"]')


def write(
    folder: Path,
    kind: str,
    release: Path,
    *,
    strategy: str = "blue-green",
    label: str | None = None,
    changes: Mapping[str, str] | None = None,
    roots: str | None = None,
) -> Path:
    """DEPLOYMENT.toml, whose text has each of `changes` made, and beside it what its commands are given.

    `roots` in PEM: of a CA that is asked for a certificate.
    """
    folder.mkdir(parents=True, exist_ok=True)
    notary = "" if label is None else f'deployment = "{label}"\n'
    text = TOML.format(
        name=NAME, release=release, kind=kind, platform=PLATFORMS[kind], notary=notary, strategy=strategy
    )
    if roots is not None:
        (folder / "roots.pem").write_text(roots)
        text = text.replace("[8443]", "[443, 8443]").replace("[update]", CERTIFICATE)
    for old, new in (changes or {}).items():
        assert old in text
        text = text.replace(old, new)
    (folder / "trust.toml").write_text(releases.trust_text(releases.ED25519))
    (folder / "policy.toml").write_text(policy(kind))
    (folder / "collateral.json").write_text(json.dumps(intel.healthy().collateral))
    if kind == TDX:
        (folder / "endorsement.binarypb").write_bytes(_endorsement())
    ders = [x509.load_der_x509_certificate(der) for der in azure_evidence.ISSUERS]
    (folder / "issuers.pem").write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in ders))
    path = folder / "DEPLOYMENT.toml"
    path.write_text(text)
    return path


def _endorsement() -> bytes:
    """Of the firmware whose MRTD the pretended machine has."""
    mrtd = trust_domains.TrustDomain(kind="gcp-tdx").registers()["mrtd"]
    return endorsements.launch_endorsement(mrtds=((0, False, mrtd),))


def words(kind: str, folder: Path) -> tuple[str, ...]:
    """What commands that judge are given."""
    if kind == SPACE:
        return ()
    more = ("--ak-issuers", "issuers.pem") if kind == AZURE else ("--endorsement", "endorsement.binarypb")
    return "--collateral", str(folder / "collateral.json"), more[0], str(folder / more[1])


def evidence(kind: str, seen: Seen, nonce: bytes, key: bytes) -> Envelope:
    """For a nonce and a TLS key. What boots something else says so, whatever it is called."""
    honest, config = seen.mode != "other-image", hashlib.sha256(seen.config).digest()
    build = bytes.fromhex(seen.build_id)
    if kind == SPACE:
        return _token(seen, nonce, key, honest=honest)
    if kind == TDX:
        edits = () if honest else (trust_domains.other("initrd", kind="gcp-tdx"),)
        domain = trust_domains.TrustDomain(
            kind="gcp-tdx", edits=edits, config_digest=config, outer_key_digest=key, build_id=build
        )
        return domain.envelope(nonce)
    machine = azure_evidence.AzureMachine(edits=() if honest else (_more,))
    claims = Claims("node", nonce, config, key, build)
    return Envelope("azure-tdx", 0, machine.issued_at, machine.evidence(claims.binding()), claims)


def _more(events: list[LogEvent]) -> None:
    """Something more was measured where the image is."""
    events.append(LogEvent(11, 13, {"sha256": hashlib.sha256(b"more").digest()}, b"more"))


def _token(seen: Seen, nonce: bytes, key: bytes, *, honest: bool) -> Envelope:
    digest = seen.reference.rpartition("@")[2] if honest else "sha256:" + "0" * 64
    claims = {
        "submods/container/image_digest": digest,
        "submods/container/image_reference": seen.reference,
        "submods/container/restart_policy": "OnFailure",
        "submods/container/env": {**dict(confidential_space.CONTAINER.env), "HOSTNAME": seen.instance["instance_name"]},
        "submods/gce": {**seen.instance, "project_number": "1"},
        "google_service_accounts": [ACCOUNT],
    }
    machine = confidential_space.Space(claims=claims, outer_key_digest=key, build_id=bytes.fromhex(seen.build_id))
    return machine.envelope(machine.node(nonce))
