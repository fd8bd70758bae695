"""What would never work is said before anything is made. Only looks.

No interface tells which zones have TDX. That a zone has not even the machine type is certain; all else a machine's
making tells, and `errors.no_room` says what then is known.
"""

from __future__ import annotations

from pluto_deploy.google.compute import Compute
from pluto_deploy.google.machines import is_tdx
from pluto_deploy.google.wanted import MACHINE_TYPES, Place
from pluto_measure.errors import SourceError, UsageError


def refuse(compute: Compute, place: Place) -> None:
    """UsageError for a zone, or a type in it, that is not there; SourceError for a zone that is down."""
    zone = compute.zone_itself()
    if zone is None:
        hint = f"see the zones: gcloud compute zones list --project {place.project}"
        raise UsageError(f"there is no zone {place.zone}", hint=hint)
    if (status := zone.text("status")) != "UP":
        raise SourceError(f"zone {place.zone} is {status[:40]}")
    found = compute.get("machineTypes", place.machine_type)
    if found is None:
        kinds = '--filter="name ~ c3-standard"'
        raise UsageError(
            f"zone {place.zone} has no {place.machine_type}, and so no TDX of that size",
            hint=f"see where there is one: gcloud compute machine-types list --project {place.project} {kinds}",
        )
    cpus, memory = MACHINE_TYPES[place.machine_type]
    if (found.number("guestCpus"), found.number("memoryMb") << 20) != (cpus, memory):
        raise SourceError(f"{place.machine_type} in {place.zone} has another size than it should")


def has_tdx(compute: Compute) -> bool:
    """Whether a TDX machine of the project runs in the zone, which proves that the zone has TDX."""
    return any(is_tdx(one) and one.text("status") == "RUNNING" for one in compute.in_zone("instances"))
