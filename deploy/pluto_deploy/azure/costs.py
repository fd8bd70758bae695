"""What of a deployment is billed, and why it is there. Pure. Prices depend on region and contract."""

from __future__ import annotations

from pluto_deploy.azure.seen import Seen
from pluto_deploy.cloud.costs import Cost

_GIB = 1 << 30


def costs(seen: Seen) -> list[Cost]:
    """Everything of it, the dearest first."""
    group = f"resource group {seen.names.group}"
    found = [_machine(seen, slot) for slot in seen.vms]
    found += [_disk(seen, number) for number in range(len(seen.disks))]
    for name in sorted(seen.addresses):
        clients = name == seen.public.rpartition("/")[2].lower()
        why = "clients come by it" if clients else "a machine is reached by it before clients reach it"
        found.append(Cost(f"public address {name}", group, why, "destroy" if clients else "its machine is stopped"))
    for one in seen.versions:
        found.append(
            Cost(
                f"image version {one.name}",
                f"{group}, {one.state}",
                f"release {one.release[:12] or '?'}, one replica",
                "tidy or destroy",
            )
        )
    return [one for one in found if one is not None]


def _machine(seen: Seen, slot: str) -> Cost | None:
    vm = seen.vms[slot]
    if vm.power == "deallocated":
        return None
    why = "it runs" if vm.power == "running" else f"it is {vm.power or vm.provisioning}, and not deallocated"
    return Cost(
        f"machine {slot} ({vm.size})",
        f"resource group {seen.names.group}, {vm.power or vm.provisioning}",
        why,
        "it is stopped by apply, or destroy",
    )


def _disk(seen: Seen, number: int) -> Cost:
    one = seen.disks[number]
    size = f"disk {one.name} ({max(1, -(-one.size // _GIB))} GiB)"
    where, next_ = f"resource group {seen.names.group}, {one.state}", "the next apply, or destroy"
    if one.slot:
        why = "a machine that is stopped, for a rollback" if seen.state(one.slot) == "stopped" else "a machine has it"
        return Cost(size, where, f"{why} (slot {one.slot})", "that machine is removed")
    if not one.whole:
        return Cost(size, where, f"an upload that did not end ({one.state}): no machine can start from it", next_)
    return Cost(size, where, "a release that no machine has yet", next_)
