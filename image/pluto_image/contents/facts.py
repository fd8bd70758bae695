"""Everything about one build that `pluto-image inspect` says, gathered from the files of its DIST. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pluto_image.contents import boot, files, machines, modules, packages, recipe, services, users
from pluto_image.contents.command_line import Token, tokens
from pluto_image.contents.opened import OpenedUki
from pluto_image.contents.packages import Part
from pluto_image.lint import unit_files
from pluto_image.lock.lockfile import Lock
from pluto_measure.errors import VerificationError
from pluto_measure.launch import Launch
from pluto_measure.measurements import Measurements

KERNEL: Final = Part("Linux kernel", "kernel", 0, 0, 1)


@dataclass(frozen=True, slots=True)
class Inputs:
    """The files of a DIST that are read. `config`: the container's configuration, parsed; None where there is none."""

    launch: Launch
    uki: OpenedUki
    lock: Lock
    measurements: Measurements
    files: tuple[files.File, ...]
    source_tar: bytes
    firmware_size: int
    digest: str  # of the digest list, in hex
    config: object = None


@dataclass(frozen=True, slots=True)
class Contents:
    """All facts. Sizes in bytes. `origins`: bytes by origin as files.json spells it, the most first."""

    name: str
    launch: Launch
    digest: str
    root_size: int
    root_paths: int
    origins: Mapping[str, int]
    parts: tuple[Part, ...]
    packages: tuple[packages.PackageFacts, ...]
    chain: tuple[boot.Step, ...]
    machines: tuple[machines.Machine, ...]
    units: tuple[services.UnitFacts, ...]
    masked: tuple[tuple[str, str], ...]  # name and the recipe's reason
    modules: tuple[modules.ModuleFacts, ...]
    listeners: tuple[services.Listener, ...]
    container_ports: tuple[str, ...]
    tokens: tuple[Token, ...]
    users: tuple[users.User, ...]


def gather(inputs: Inputs) -> Contents:
    """The facts of one build. FormatError for what is malformed, VerificationError where its files contradict."""
    launch, entries = inputs.launch, inputs.uki.entries
    boot.check(launch, inputs.uki.sections)
    files.check(inputs.files, entries)
    if inputs.measurements.build_id != launch.build_id:
        raise VerificationError("measurements.json and launch.json are of different builds")
    why = recipe.reasons(inputs.source_tar)
    origins: Counter[str] = Counter()
    for file in inputs.files:
        origins[file.origin] += file.size
    units, listeners = services.services(entries, why)
    kernel = Part(KERNEL.name, KERNEL.kind, launch.kernel_size, 0, 1)
    shares = sorted((*packages.parts(inputs.files), kernel), key=lambda one: (-one.size, one.kind, one.name))
    return Contents(
        name=why.name,
        launch=launch,
        digest=inputs.digest,
        root_size=sum(origins.values()),
        root_paths=len(inputs.files),
        origins=dict(origins.most_common()),
        parts=tuple(shares),
        packages=packages.packages(inputs.lock, inputs.files, why),
        chain=boot.chain(launch, inputs.firmware_size),
        machines=machines.machines(inputs.measurements),
        units=units,
        masked=tuple((name, why.masks.get(name, "")) for name in unit_files.masked(entries)),
        modules=modules.modules(entries, why),
        listeners=listeners,
        container_ports=() if inputs.config is None else services.container_ports(inputs.config),
        tokens=tokens(launch.command_line),
        users=users.users(entries, [(unit.user, unit.name) for unit in units if unit.user]),
    )
