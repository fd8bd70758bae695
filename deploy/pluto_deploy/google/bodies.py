"""Bodies of requests to Compute Engine. Pure.

What makes a machine confidential stands here in one place: the type TDX, no live migration, no debug device. A machine
of our own image has no service account, so nothing in it can act for its project.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pluto_deploy.google.names import ACCESS, RULES, Names
from pluto_deploy.google.wanted import GUEST_PORT, Place

SPACE_DISK: Final = 20  # GiB; Confidential Space needs 11 at least
OWN_DISK: Final = 10  # GiB: the smallest that a balanced disk can be; the release's own is smaller
FEATURES: Final = ("UEFI_COMPATIBLE", "TDX_CAPABLE", "GVNIC")
_CLOUD: Final = "https://www.googleapis.com/auth/cloud-platform"
_EVERYBODY: Final = "0.0.0.0/0"
_WANTED, _OTHERS = 1000, 1001  # priorities: the lower one is looked at first; a network's defaults have 65534


@dataclass(frozen=True, slots=True)
class Boot:
    """What a machine boots from: an image as projects/P/global/images/NAME, and GiB of its disk."""

    image: str
    size: int


def instance(
    name: str,
    place: Place,
    boot: Boot,
    *,
    labels: Mapping[str, str],
    metadata: Mapping[str, str],
    tag: str,
    account: str | None,
    secure_boot: bool,
) -> dict[str, Any]:
    """A TDX machine, which starts as it is made. `account` None: without a service account."""
    zone = f"zones/{place.zone}"
    body: dict[str, Any] = {
        "name": name,
        "machineType": f"{zone}/machineTypes/{place.machine_type}",
        "confidentialInstanceConfig": {"confidentialInstanceType": "TDX"},
        # A host's fault ends the machine, and it is started again elsewhere, with keys of its own.
        "scheduling": {"onHostMaintenance": "TERMINATE", "automaticRestart": True},
        "shieldedInstanceConfig": {
            "enableSecureBoot": secure_boot,
            "enableVtpm": True,
            "enableIntegrityMonitoring": True,
        },
        "disks": [_disk(name, zone, boot, labels)],
        "networkInterfaces": [_interface(place)],
        "metadata": {"items": [{"key": key, "value": value} for key, value in metadata.items()]},
        "labels": dict(labels),
        "tags": {"items": [tag]},
    }
    if account is not None:
        body["serviceAccounts"] = [{"email": account, "scopes": [_CLOUD]}]
    return body


def access(address: str | None) -> dict[str, str]:
    """An external address of a machine: this static one, or any."""
    given = {} if address is None else {"natIP": address}
    return {"name": ACCESS, "type": "ONE_TO_ONE_NAT", "networkTier": "PREMIUM", **given}


def image(
    name: str, source: str, *, labels: Mapping[str, str], initial_state: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """An image from an archive in a bucket. `initial_state`: keys of secure boot; without them there are Google's.

    If any key is given, no default one is used.
    """
    body: dict[str, Any] = {
        "name": name,
        "architecture": "X86_64",
        "rawDisk": {"source": source},
        "guestOsFeatures": [{"type": one} for one in FEATURES],
        "labels": dict(labels),
    }
    if initial_state is not None:
        body["shieldedInstanceInitialState"] = dict(initial_state)
    return body


def address(name: str) -> dict[str, Any]:
    """A static external IPv4 address. Labels are set afterwards: the address is not given them as it is made."""
    return {"name": name, "addressType": "EXTERNAL", "networkTier": "PREMIUM", "ipVersion": "IPV4"}


def firewall(
    names: Names, place: Place, which: str, egress: Sequence[tuple[str, int]], ports: Sequence[int] = (GUEST_PORT,)
) -> dict[str, Any]:
    """One of the rules of a deployment: clients come to `ports`, and machines go to what `egress` lists.

    What is not listed is denied by a rule of ours, as networks have defaults that allow more. GUEST_PORT is open in any
    case: a machine is asked for evidence by it before clients are led there, and rules are of all machines alike.
    """
    assert which in RULES
    inwards, denies = which.startswith("in"), which.endswith("none")
    body: dict[str, Any] = {
        "name": names.rule(which),
        "network": f"projects/{place.project}/global/networks/{place.network}",
        "direction": "INGRESS" if inwards else "EGRESS",
        "priority": _OTHERS if denies else _WANTED,
        "disabled": False,
        "targetTags": [names.tag],
        ("sourceRanges" if inwards else "destinationRanges"): [_EVERYBODY],
    }
    if denies:
        return {**body, "denied": [{"IPProtocol": "all"}]}
    allowed = [("tcp", port) for port in sorted({GUEST_PORT, *ports})] if inwards else egress
    return {**body, "allowed": [{"IPProtocol": kind, "ports": [str(port)]} for kind, port in allowed]}


def firewalls(
    names: Names, place: Place, egress: Sequence[tuple[str, int]], ports: Sequence[int] = (GUEST_PORT,)
) -> list[dict[str, Any]]:
    """All of them. A rule cannot allow nothing, so where nothing may go out there is none that allows."""
    return [firewall(names, place, which, egress, ports) for which in RULES if egress or which != "out"]


def _disk(name: str, zone: str, boot: Boot, labels: Mapping[str, str]) -> dict[str, Any]:
    made = {
        "diskName": name,
        "sourceImage": boot.image,
        "diskSizeGb": str(boot.size),
        "diskType": f"{zone}/diskTypes/pd-balanced",
        "labels": dict(labels),
    }
    return {"boot": True, "autoDelete": True, "interface": "NVME", "initializeParams": made}


def _interface(place: Place) -> dict[str, Any]:
    return {
        "network": f"projects/{place.project}/global/networks/{place.network}",
        "subnetwork": f"projects/{place.project}/regions/{place.region}/subnetworks/{place.subnetwork}",
        "nicType": "GVNIC",
        "stackType": "IPV4_ONLY",
        "accessConfigs": [access(None)],
    }
