"""What can be known before anything is made: is the size there, has it TDX, is there room. IO.

That a size is listed does not say that a machine of it can be had: only making one does.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pluto_deploy.azure.answers import Json, find, need, objects
from pluto_deploy.azure.arm import COMPUTE, NETWORK, Arm
from pluto_deploy.azure.wanted import SIZES, Azure
from pluto_measure.errors import UsageError

_SIZES_VERSION: Final = "2021-07-01"
_USAGE_VERSION: Final = "2026-04-01"
_ALL: Final = "cores"  # the quota of a region's vCPUs, whatever their family


def check(arm: Arm, platform: Azure, machines: int) -> None:
    """UsageError, with what to do, where `machines` more machines of the size cannot be had. 0: nothing of quotas."""
    for namespace in (COMPUTE, NETWORK):
        state = need(arm.provider(namespace), "registrationState", str, namespace)
        if state != "Registered":
            problem = f"the subscription is not registered for {namespace} ({state})"
            raise UsageError(problem, hint=f"az provider register --namespace {namespace} --wait")
    where = f"location eq '{platform.location}'"
    sizes = arm.of_subscription(f"providers/{COMPUTE}/skus", _SIZES_VERSION, "listing sizes", filtered=where)
    family = fitting(sizes, platform)
    if machines:
        path = f"providers/{COMPUTE}/locations/{platform.location}/usages"
        usages = arm.of_subscription(path, _USAGE_VERSION, "listing quotas")
        refuse_small_quota(usages, family, machines * SIZES[platform.size][0])


def fitting(sizes: Iterable[Json], platform: Azure) -> str:
    """The family of the platform's size. UsageError where it is not to be had there. Pure."""
    size, what = platform.size, "a size"
    found = [
        one
        for one in sizes
        if find(one, "resourceType", str, what) == "virtualMachines" and find(one, "name", str, what) == size
    ]
    if not found:
        raise UsageError(f"{size} is not offered in {platform.location}", hint=_others(platform))
    only = found[0]
    kinds = {
        find(one, "value", str, size)
        for one in objects(only, "capabilities", size)
        if find(one, "name", str, size) == "ConfidentialComputingType"
    }
    if "TDX" not in kinds:
        told = ", ".join(sorted(one for one in kinds if one)) or "none"
        raise UsageError(f"{size} in {platform.location} has no TDX (confidential computing: {told})")
    for restriction in objects(only, "restrictions", size):
        _refuse(restriction, platform)
    if platform.zone is not None:
        places = [one for each in objects(only, "locationInfo", size) for one in find(each, "zones", list, size) or []]
        if platform.zone not in places:
            listed = ", ".join(sorted(map(str, places))) or "none"
            raise UsageError(f"{size} is not offered in zone {platform.zone} of {platform.location}; zones: {listed}")
    return need(only, "family", str, size)


def _refuse(restriction: Json, platform: Azure) -> None:
    size = platform.size
    kind, reason = find(restriction, "type", str, size), find(restriction, "reasonCode", str, size) or "no reason given"
    zones = find(restriction, "restrictionInfo.zones", list, size) or []
    if kind == "Zone" and platform.zone not in zones:
        return
    where = f"zone {platform.zone} of {platform.location}" if kind == "Zone" else platform.location
    hint = "ask for access: Azure portal, Help + support, Service and subscription limits"
    raise UsageError(f"{size} in {where} is not for this subscription ({reason})", hint=hint)


def refuse_small_quota(usages: Iterable[Json], family: str, cpus: int) -> None:
    """UsageError where `cpus` more vCPUs of a family are more than is allowed. Pure."""
    listed = list(usages)
    for wanted in (family, _ALL):
        for one in listed:
            if need(one, "name.value", str, "a quota").lower() != wanted.lower():
                continue
            used, limit = need(one, "currentValue", int, wanted), need(one, "limit", int, wanted)
            if used + cpus > limit:
                problem = f"the quota {wanted} has room for {max(0, limit - used)} vCPUs ({used} of {limit} are in use)"
                hint = "ask for more: Azure portal, Quotas, Compute"
                raise UsageError(f"{problem}, and {cpus} are needed", hint=hint)


def _others(platform: Azure) -> str:
    return f"az vm list-skus --location {platform.location} --size Standard_DC --output table"
