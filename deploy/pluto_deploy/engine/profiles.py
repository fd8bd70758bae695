"""Which profile of a release's reference values a deployment's machine has to meet. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from pluto_deploy.azure.wanted import Azure
from pluto_deploy.deployment import BareMetal, Deployment, Local
from pluto_deploy.engine.kinds import TDX
from pluto_deploy.engine.scene import Generation
from pluto_deploy.google.wanted import GoogleSpace, GoogleTdx
from pluto_deploy.local.machine import Machine as LocalMachine
from pluto_image.lock.lockfile import Lock
from pluto_measure.digests import Digests
from pluto_measure.errors import FormatError, UsageError
from pluto_measure.launch import Launch
from pluto_measure.machine import platform_file
from pluto_measure.machine.platform import Platform
from pluto_measure.measurements import Measurements

_QEMU_PACKAGE: Final = "qemu-system-x86"
# What a cloud's machine is in the reference values.
_KINDS: Final[Mapping[str, str]] = {
    GoogleSpace.kind: "gcp-confidential-space",
    GoogleTdx.kind: "gcp-tdx",
    Azure.kind: "azure-tdx",
}
# QEMU's q35 with as much memory or more has 2 GiB below 4 GiB: ACPI, and so RTMR[0], is the same from there on.
_SPLIT: Final = 2816 << 20


def of_host(
    deployment: Deployment, generation: Generation, values: Measurements, firmware: Digests
) -> tuple[str, Platform]:
    """The machine and its name: of a trust domain as the release's reference values describe it."""
    if generation.tee != TDX:
        boot = deployment.platform.boot if isinstance(deployment.platform, Local) else "uki-kernel"
        boot = generation.profile.removeprefix("local-") or boot
        shape = LocalMachine(boot, generation.cpus, generation.memory, "tcg")
        return f"local-{boot}", shape.platform(firmware)
    wanted = deployment.platform.profile if isinstance(deployment.platform, BareMetal) else None
    known = {one.id: one for one in values.profile("qemu-tdx")}
    fitting = [one for one in known.values() if one.inputs.get("cpus") == generation.cpus]
    if name := generation.profile or wanted:
        fitting = [one for one in fitting if one.id == name]
    if len(fitting) != 1:
        shapes = ", ".join(f"{one.id} ({one.inputs.get('cpus')} vCPUs)" for one in known.values()) or "none"
        what = f"{name!r} with {generation.cpus} vCPUs" if name else f"{generation.cpus} vCPUs"
        problem = f"the release has {'more than one profile' if fitting else 'no profile'} for {what}"
        raise UsageError(f"{problem}; its profiles for TDX hosts: {shapes}")
    inputs = {key: value for key, value in fitting[0].inputs.items() if key not in ("stub", "commandLine")}
    platform = platform_file.from_json(inputs, _no_files)
    if platform.memory >= _SPLIT > generation.memory or (
        platform.memory < _SPLIT and platform.memory != generation.memory
    ):
        least = f"at least {_SPLIT >> 20} MiB" if platform.memory >= _SPLIT else f"{platform.memory >> 20} MiB"
        raise UsageError(f"the profile {fitting[0].id} holds for {least} of memory, not {generation.memory >> 20} MiB")
    if platform.firmware is None or platform.firmware.digests != firmware:
        raise FormatError("measurements.json", f"{fitting[0].id} is about another firmware than the release has")
    return fitting[0].id, replace(platform, memory=generation.memory)


def of_cloud(
    deployment: Deployment, generation: Generation, values: Measurements, launch: Launch
) -> tuple[str, Platform, Measurements]:
    """The profile of a cloud's machine as it was signed: nothing of it depends on what the file could say, but that

    Google's firmware measures how many vCPUs and how much memory there are.
    """
    kind = _KINDS[deployment.kind]
    if (values.build_id, values.flavour) != (launch.build_id, launch.flavour):
        raise FormatError("measurements.json", "is about another build than launch.json")
    known = values.profile(kind)
    fitting = [one for one in known if generation.profile in ("", one.id)]
    if kind == "gcp-tdx":
        size = (generation.cpus, generation.memory)
        fitting = [one for one in fitting if (one.inputs.get("cpus"), one.inputs.get("memory")) == size]
    if len(fitting) != 1:
        what = "more than one profile" if fitting else "no profile"
        shapes = ", ".join(f"{one.id} ({one.inputs.get('machineType')})" for one in known) or "none"
        raise UsageError(f"the release has {what} for this machine; its profiles of kind {kind}: {shapes}")
    chosen = fitting[0]
    platform = replace(Platform.default(kind), cpus=generation.cpus, memory=generation.memory)
    return chosen.id, platform, Measurements(values.build_id, values.flavour, (chosen,))


def refuse_other_vmm(lock: Lock, platform: Platform) -> None:
    """What QEMU makes of a command line depends on its version, which no word of it carries. FormatError."""
    versions = [package.version for package in lock.tools if package.name == _QEMU_PACKAGE]
    if platform.kind != "qemu-tdx" or not versions:
        return
    found = versions[0].partition(":")[2] or versions[0]
    wanted = ".".join(map(str, platform.version))
    if not re.match(rf"{re.escape(wanted)}(?![0-9])", found):
        raise FormatError("lock.json", f"has QEMU {found}, and the reference values are for {wanted}")


def _no_files(name: str) -> bytes:
    raise FormatError("measurements.json", f"names the file {name[:80]}, where digests have to stand")
