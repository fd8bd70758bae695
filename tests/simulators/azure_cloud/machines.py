"""Machines: made running, started, deallocated; what is on their disk decides how they behave."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable

from pluto_deploy.azure.wanted import SIZES
from simulators.azure_cloud import disks
from simulators.azure_cloud.cloud import LOCATION, Answer, Cloud, Fault, Json, Refused

_AGREE = {
    "NonPersistedTPM": "ConfidentialVM_NonPersistedTPM",
    "VMGuestStateOnly": "ConfidentialVM_VMGuestStateOnlyEncryptedWithPlatformKey",
    "DiskWithVMGuestState": "ConfidentialVM_DiskEncryptedWithPlatformKey",
}
FAMILY = "standardDCEV6Family"


def make(cloud: Cloud, path: str, value: Json, old: Json | None) -> Callable[[], None]:
    properties = value["properties"]
    size = properties["hardwareProfile"]["vmSize"]
    if size not in SIZES or value["location"] != LOCATION:
        raise Refused(409, "SkuNotAvailable", f"The requested VM size {size} is currently not available.")
    security = properties["securityProfile"]
    if security["securityType"] != "ConfidentialVM" or not security["uefiSettings"]["vTpmEnabled"]:
        raise Refused(400, "InvalidParameter", "securityProfile")
    if "osProfile" in properties:
        raise Refused(400, "InvalidParameter", "osProfile is not allowed when a specialized disk is attached")
    if len(base64.b64decode(properties.get("userData", ""), validate=True)) > 64 * 1024:
        raise Refused(400, "InvalidParameter", "userData")
    nic = cloud.need(properties["networkProfile"]["networkInterfaces"][0]["id"], 400, "InvalidResourceReference")
    holder = nic["properties"].get("virtualMachine")
    if holder is not None and holder["id"].lower() != path.lower():
        raise Refused(400, "NicInUse")
    if old is None:
        _quota(cloud, SIZES[size][0])
    disk, data = _disk(cloud, path, value, old)
    nic["properties"]["virtualMachine"] = {"id": path}
    hidden = cloud.hidden.setdefault(path.lower(), {"log": b"", "power": "", "appraised": False})
    hidden |= {"userData": properties.pop("userData", None), "disk": disk["id"], "content": data, "size": size}

    def end() -> None:
        if hidden["power"] != "running":
            disk["properties"]["diskState"] = "Attached"
            boot(cloud, path)

    return end


def _quota(cloud: Cloud, cpus: int) -> None:
    for family, (used, limit) in cloud.quota.items():
        running = sum(
            SIZES[one["properties"]["hardwareProfile"]["vmSize"]][0]
            for one in cloud.of_kind("Microsoft.Compute/virtualMachines")
            if cloud.hidden[one["id"].lower()]["power"] not in ("deallocated", "")
        )
        if used + running + cpus > limit:
            told = f"Current Limit: {limit}, Current Usage: {used + running}, Additional Required: {cpus}"
            raise Refused(
                409,
                "OperationNotAllowed",
                f"Operation could not be completed as it results in exceeding approved {family} Cores quota. "
                f"Additional details - Deployment Model: Resource Manager, Location: {LOCATION}, {told}, more words.",
            )


def _disk(cloud: Cloud, path: str, value: Json, old: Json | None) -> tuple[Json, bytes]:
    if value["properties"]["storageProfile"]["osDisk"]["createOption"] == "Attach":
        return _attached(cloud, path, value["properties"]["storageProfile"]["osDisk"])
    return _made(cloud, path, value["properties"]["storageProfile"], old)


def _attached(cloud: Cloud, path: str, os_disk: Json) -> tuple[Json, bytes]:
    """A disk that is there, whose kind is the one that the machine says."""
    wanted = os_disk["managedDisk"]["securityProfile"]["securityEncryptionType"]
    disk = cloud.need(os_disk["managedDisk"]["id"], 400, "InvalidParameter")
    if disk["properties"].get("securityProfile", {}).get("securityType") != _AGREE[wanted]:
        raise Refused(400, "InvalidParameter", "securityEncryptionType does not fit the securityType of the disk")
    if disk.get("managedBy", path).lower() != path.lower() or disk["properties"]["diskState"] in (
        "ReadyToUpload",
        "ActiveUpload",
    ):
        raise Refused(409, "AttachDiskWhileBeingDetached" if disk.get("managedBy") else "OperationNotAllowed", "disk")
    disk["managedBy"] = path
    return disk, disks.content(cloud, disk)


def _made(cloud: Cloud, path: str, storage: Json, old: Json | None) -> tuple[Json, bytes]:
    """A disk of the machine's own, from a version of a gallery's image."""
    os_disk = storage["osDisk"]
    version = cloud.need(storage["imageReference"]["id"], 404, "GalleryImageNotFound")
    if version["properties"]["provisioningState"] != "Succeeded":
        raise Refused(409, "GalleryImageNotReady")
    place = cloud.id("Microsoft.Compute/disks", os_disk["name"])
    found = cloud.find(place)
    if found is not None and (old is None or found.get("managedBy", "").lower() != path.lower()):
        raise Refused(409, "ConflictingUserInput", f"Disk {os_disk['name']} already exists in resource group.")
    data = cloud.hidden[version["id"].lower()]["content"]
    made = {
        "id": place,
        "name": os_disk["name"],
        "type": "Microsoft.Compute/disks",
        "location": LOCATION,
        "managedBy": path,
        "properties": {
            "creationData": {"createOption": "FromImage"},
            "diskState": "Attached",
            "diskSizeBytes": len(data) - 512,
            "provisioningState": "Succeeded",
        },
    }
    os_disk["managedDisk"]["id"] = place
    cloud.resources[place.lower()] = made
    cloud.hidden[place.lower()] = {"pages": {0: data}, "size": len(data)}
    return made, data


def mode(cloud: Cloud, path: str) -> str:
    """How the image says that its machine behaves."""
    found = re.search(rb"pretend=([a-z-]+)", cloud.hidden[path.lower()]["content"])
    return found[1].decode() if found else "broken"


def boot(cloud: Cloud, path: str) -> None:
    hidden = cloud.hidden[path.lower()]
    hidden |= {"power": "running", "appraised": False}
    hidden["log"] += b"EFI stub: Loaded initrd\r\n[    0.0] Linux version 6\r\n"
    behaviour = mode(cloud, path)
    if behaviour == "dies":
        hidden["power"] = "stopped"
    elif behaviour not in ("silent", "broken"):
        hidden["log"] += b"[    1.000000] pluto: started component=notary version=0.1.0\r\n"
        hidden["log"] += b"[    1.100000] pluto: ready port=8443 buildid=" + b"ab" * 32 + b"\r\n"


def post(cloud: Cloud, path: str, action: str, body: Json | None, fault: Fault | None) -> Answer:
    machine = cloud.need(path)
    hidden = cloud.hidden[path.lower()]
    if action == "retrieveBootDiagnosticsData":
        if not hidden["log"]:
            raise Refused(404, "BootDiagnosticsNotFound", bare=True)
        cloud.keys[key := f"serial-{machine['name']}"] = machine["id"]
        return Answer(200, {"serialConsoleLogBlobUri": f"{cloud.base}/serial/{machine['name']}?sig={key}"})
    if machine["properties"]["provisioningState"] in ("Creating", "Updating", "Deleting"):
        raise Refused(409, "Conflict", "The request failed due to conflict with a concurrent request.")
    disk = cloud.need(hidden["disk"])
    machine["properties"]["provisioningState"] = "Updating"
    starting = action == "start"
    if starting and hidden["power"] != "running":
        hidden["power"] = "starting"
    elif not starting and hidden["power"] != "deallocated":
        hidden["power"] = "deallocating"

    def end() -> None:
        machine["properties"]["provisioningState"] = "Succeeded"
        if starting and hidden["power"] != "running":
            disk["properties"]["diskState"] = "Attached"
            boot(cloud, path)
        elif not starting:
            hidden.update({"power": "deallocated", "appraised": False})
            disk["properties"]["diskState"] = "Reserved"

    def ended() -> None:
        try:
            if fault is not None and fault.when == "later":
                raise fault.error
            end()
        except Refused:
            machine["properties"]["provisioningState"] = "Failed"
            hidden["power"] = "deallocated" if starting else "running"
            raise

    operation = cloud.begin(ended)
    return Answer(202, None, cloud.watch(operation) | cloud.watch(operation, location=True))


def instance_view(cloud: Cloud, machine: Json) -> Json:
    state = machine["properties"]["provisioningState"].lower()
    statuses = [{"code": f"ProvisioningState/{state}", "level": "Info", "time": "2026-11-26T12:00:00+00:00"}]
    if power := cloud.hidden[machine["id"].lower()]["power"]:
        statuses.append({"code": f"PowerState/{power}", "level": "Info", "displayStatus": f"VM {power}"})
    return {"statuses": statuses}


def let_go(cloud: Cloud, machine: Json) -> None:
    """Its disk and its interface are nobody's."""
    for one in cloud.resources.values():
        if one.get("managedBy", "").lower() == machine["id"].lower():
            del one["managedBy"]
            one["properties"]["diskState"] = "Unattached"
        if (one["properties"].get("virtualMachine") or {}).get("id", "").lower() == machine["id"].lower():
            one["properties"]["virtualMachine"] = None
            if (
                machine["properties"].get("provisioningState") == "Deleting"
                and not cloud.hidden[machine["id"].lower()]["power"]
            ):
                cloud.hidden[one["id"].lower()]["reserved"] = True


def subscription_list(cloud: Cloud, path: str, query: dict[str, str]) -> Answer:
    if path.endswith("/skus"):
        if query.get("$filter") != f"location eq '{LOCATION}'":
            cloud.failures.append(f"sizes are listed without a location: {query}")
        return Answer(200, {"value": cloud.sizes or [sku("Standard_D4s_v5", tdx=False), *map(sku, SIZES)]})
    value = [
        {"name": {"value": name, "localizedValue": name}, "currentValue": used, "limit": limit, "unit": "Count"}
        for name, (used, limit) in cloud.quota.items()
    ]
    return Answer(200, {"value": value})


def sku(size: str, *, tdx: bool = True, restrictions: tuple[Json, ...] = ()) -> Json:
    """A size as it is listed."""
    capabilities = [{"name": "vCPUs", "value": "4"}]
    if tdx:
        capabilities.append({"name": "ConfidentialComputingType", "value": "TDX"})
    return {
        "resourceType": "virtualMachines",
        "name": size,
        "family": FAMILY,
        "locations": [LOCATION],
        "locationInfo": [{"location": LOCATION, "zones": ["1", "2"]}],
        "capabilities": capabilities,
        "restrictions": list(restrictions),
    }
