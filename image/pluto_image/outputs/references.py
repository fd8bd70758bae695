"""measurements.json of a build: a profile for each machine of platforms.toml. Pure.

Machines with a software TPM are left out: it proves nothing to others, so no release vouches for its values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pluto_measure.errors import FormatError
from pluto_measure.harvest.table import Table
from pluto_measure.launch import Launch
from pluto_measure.machine import platform_file
from pluto_measure.measurements import Measurements, profile_for

PLATFORMS: Final = "platforms.toml"
INPUTS: Final = "platform-inputs.json"
_SOFTWARE_TPM: Final = "qemu-vtpm"


def measurements(launch: Launch, files: Mapping[str, bytes], sources: Mapping[str, bytes]) -> Measurements:
    """Reference values of one build. `files`: of the DIST, by the names that platforms.toml uses (firmware.fd);
    `sources`: of the definition's folder. Without platforms.toml there is no profile, so no machine is accepted.

    FormatError for a platforms.toml that is none, or a machine whose boot cannot be predicted.
    """
    if PLATFORMS not in sources:
        return Measurements(launch.build_id, launch.flavour, ())
    table = Table.parse(sources[INPUTS]) if INPUTS in sources else Table({})
    named = platform_file.parse_profiles(sources[PLATFORMS], lambda name: _read(files, name))
    machines = {name: table.complete(one) for name, one in named.items() if one.kind != _SOFTWARE_TPM}
    profiles = tuple(profile_for(launch, machine, name) for name, machine in machines.items())
    return Measurements(launch.build_id, launch.flavour, profiles)


def _read(files: Mapping[str, bytes], name: str) -> bytes:
    if name not in files:
        raise FormatError(PLATFORMS, f"names {name}, which a build does not make")
    return files[name]
