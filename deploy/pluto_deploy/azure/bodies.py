"""What is sent to Resource Manager: one function per resource. Pure: from the deployment file and names to JSON.

Of a disk and its machine two words have to fit together: the disk's securityType and the machine's
securityEncryptionType. Nothing here has osProfile or an agent: the image is specialized.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Final

from pluto_deploy.azure.answers import Json
from pluto_deploy.azure.wanted import GUEST_PORT, Azure
from pluto_measure.errors import UsageError

# How the guest's state is kept, as a machine names it, and as a disk does.
SECURITY_TYPES: Final[Mapping[str, str]] = {
    "NonPersistedTPM": "ConfidentialVM_NonPersistedTPM",
    "VMGuestStateOnly": "ConfidentialVM_VMGuestStateOnlyEncryptedWithPlatformKey",
    "DiskWithVMGuestState": "ConfidentialVM_DiskEncryptedWithPlatformKey",
}
NETWORK: Final = "10.88.0.0/24"
ADDRESSES: Final = "10.88.0.0/28"
SUBNET: Final = "machines"
PUBLISHER, OFFER = "pluto", "trust-domain"
_USER_DATA: Final = 64 * 1024  # bytes
_MIB: Final = 1 << 20
_FOOTER: Final = 512  # bytes, at the end of a fixed VHD
_FIRST_RULE, _LAST_RULE = 100, 4096
_ANYWHERE: Final = "Internet"


def disk(platform: Azure, tags: Mapping[str, str], size: int, *, secured: bool) -> Json:
    """A disk that waits for `size` bytes, VHD footer included. `secured`: a machine starts from it as it is."""
    if size <= _FOOTER or size % _MIB != _FOOTER:
        raise UsageError(f"a VHD has whole MiB and a footer of {_FOOTER} bytes, not {size} bytes")
    properties: Json = {
        "osType": "Linux",
        "hyperVGeneration": "V2",
        "creationData": {"createOption": "Upload", "uploadSizeBytes": size},
        "supportedCapabilities": {"architecture": "x64"},
        "networkAccessPolicy": "AllowAll",
        "publicNetworkAccess": "Enabled",
    }
    if secured:
        properties["securityProfile"] = {"securityType": SECURITY_TYPES[platform.guest_state]}
    return {**_resource(platform, tags, zonal=True), "sku": {"name": "StandardSSD_LRS"}, "properties": properties}


def machine(
    platform: Azure,
    tags: Mapping[str, str],
    nic: str,
    *,
    disk: str | None,
    image: str | None,
    disk_name: str,
    config: bytes,
) -> Json:
    """The machine: from `disk` as it is, or from `image` with a disk of its own, called `disk_name`. Ids."""
    profile = {"securityEncryptionType": platform.guest_state}
    os_disk: Json = {"osType": "Linux", "caching": "ReadOnly", "deleteOption": "Detach"}
    storage: Json = {"osDisk": os_disk}
    if image is None:
        os_disk |= {"createOption": "Attach", "managedDisk": {"id": disk, "securityProfile": profile}}
    else:
        managed = {"storageAccountType": "StandardSSD_LRS", "securityProfile": profile}
        os_disk |= {"createOption": "FromImage", "name": disk_name, "managedDisk": managed}
        storage["imageReference"] = {"id": image}
    properties: Json = {
        "hardwareProfile": {"vmSize": platform.size},
        "securityProfile": {
            "securityType": "ConfidentialVM",
            # Our kernel image is signed by nobody that Azure's firmware knows: it is measured, and that is appraised.
            "uefiSettings": {"secureBootEnabled": False, "vTpmEnabled": True},
        },
        "storageProfile": storage,
        "networkProfile": {
            "networkInterfaces": [{"id": nic, "properties": {"primary": True, "deleteOption": "Detach"}}]
        },
        "diagnosticsProfile": {"bootDiagnostics": {"enabled": True}},
        "userData": user_data(config),
    }
    return {**_resource(platform, tags, zonal=True), "properties": properties}


def user_data(config: bytes) -> str:
    """The run-time configuration as userData: u32 length (big-endian) ‖ payload, in base64. UsageError if too long."""
    data = len(config).to_bytes(4, "big") + config
    if len(data) > _USER_DATA:
        raise UsageError(f"the run-time configuration has {len(config)} bytes, userData has room for {_USER_DATA - 4}")
    return base64.b64encode(data).decode()


def interface(platform: Azure, tags: Mapping[str, str], *, subnet: str, rules: str, address: str | None) -> Json:
    """A network interface: in a subnet, behind a set of rules, with a public address or none. Ids of resources."""
    here: Json = {"subnet": {"id": subnet}, "privateIPAllocationMethod": "Dynamic", "primary": True}
    if address is not None:
        here["publicIPAddress"] = {"id": address, "properties": {"deleteOption": "Detach"}}
    properties = {
        "ipConfigurations": [{"name": "only", "properties": here}],
        "networkSecurityGroup": {"id": rules},
        "enableAcceleratedNetworking": False,
        "enableIPForwarding": False,
    }
    return {**_resource(platform, tags), "properties": properties}


def address(platform: Azure, tags: Mapping[str, str]) -> Json:
    """A public address that stays what it is while machines come and go."""
    properties = {"publicIPAllocationMethod": "Static", "publicIPAddressVersion": "IPv4", "idleTimeoutInMinutes": 4}
    return {
        **_resource(platform, tags, zonal=True),
        "sku": {"name": "Standard", "tier": "Regional"},
        "properties": properties,
    }


def network(platform: Azure, tags: Mapping[str, str]) -> Json:
    """A network of the deployment's own, out of which nothing leads but a machine's public address."""
    subnet = {"name": SUBNET, "properties": {"addressPrefix": ADDRESSES, "defaultOutboundAccess": False}}
    properties = {"addressSpace": {"addressPrefixes": [NETWORK]}, "subnets": [subnet]}
    return {**_resource(platform, tags), "properties": properties}


def rules(
    platform: Azure,
    tags: Mapping[str, str],
    *,
    clients: bool,
    egress: tuple[tuple[str, int], ...],
    ports: tuple[int, ...] = (GUEST_PORT,),
) -> Json:
    """Who reaches the machine: clients, at `ports`, or the operators alone; and where it may go. Nothing else passes.

    Operators come to GUEST_PORT in any case. What a machine needs of its host (addresses, names, metadata) is not
    filtered by these.
    """
    operators = list(platform.operators) or [_ANYWHERE]
    inbound = [_rule("in", "Inbound", _FIRST_RULE, "Tcp", GUEST_PORT, sources=[_ANYWHERE] if clients else operators)]
    if clients and ports != (GUEST_PORT,):
        inbound = [
            _rule(f"in-{port}", "Inbound", _FIRST_RULE + number, "Tcp", port, sources=[_ANYWHERE])
            for number, port in enumerate(sorted(ports))
        ]
        if GUEST_PORT not in ports:
            inbound.append(
                _rule("in-operators", "Inbound", _FIRST_RULE + len(ports), "Tcp", GUEST_PORT, sources=operators)
            )
    outbound = [
        _rule(f"out-{protocol}-{port}", "Outbound", _FIRST_RULE + number, protocol.capitalize(), port, sources=["*"])
        for number, (protocol, port) in enumerate(egress)
    ]
    nothing = [_refusal("Inbound"), _refusal("Outbound")]
    return {**_resource(platform, tags), "properties": {"securityRules": [*inbound, *outbound, *nothing]}}


def gallery(platform: Azure, tags: Mapping[str, str]) -> Json:
    """A gallery of the deployment's own, which nobody else sees."""
    return {**_resource(platform, tags), "properties": {}}


def definition(platform: Azure, tags: Mapping[str, str], name: str) -> Json:
    """What all versions of the image have in common: specialized, for confidential machines."""
    properties = {
        "osType": "Linux",
        "osState": "Specialized",
        "hyperVGeneration": "V2",
        "architecture": "x64",
        "identifier": {"publisher": PUBLISHER, "offer": OFFER, "sku": name},
        "features": [{"name": "SecurityType", "value": "ConfidentialVmSupported"}],
    }
    return {**_resource(platform, tags), "properties": properties}


def version(platform: Azure, tags: Mapping[str, str], disk: str) -> Json:
    """A version of the image, from a disk's id. It is never the latest one: versions are always named."""
    region = {"name": platform.location, "regionalReplicaCount": 1, "storageAccountType": "Standard_LRS"}
    properties = {
        "publishingProfile": {"targetRegions": [region], "replicationMode": "Full", "excludeFromLatest": True},
        "storageProfile": {"osDiskImage": {"source": {"id": disk}}},
    }
    return {**_resource(platform, tags), "properties": properties}


def _resource(platform: Azure, tags: Mapping[str, str], *, zonal: bool = False) -> Json:
    made: Json = {"location": platform.location, "tags": dict(tags)}
    return {**made, "zones": [platform.zone]} if zonal and platform.zone is not None else made


def _rule(name: str, direction: str, priority: int, protocol: str, port: int | str, *, sources: list[str]) -> Json:
    several = len(sources) > 1
    properties: Json = {
        "access": "Allow",
        "direction": direction,
        "priority": priority,
        "protocol": protocol,
        "sourcePortRange": "*",
        "destinationPortRange": str(port),
        "destinationAddressPrefix": "*" if direction == "Inbound" else _ANYWHERE,
        "sourceAddressPrefixes" if several else "sourceAddressPrefix": sources if several else sources[0],
    }
    return {"name": name, "properties": properties}


def _refusal(direction: str) -> Json:
    rule = _rule(f"nothing-{direction.lower()}", direction, _LAST_RULE, "*", "*", sources=["*"])
    rule["properties"] |= {"access": "Deny", "destinationAddressPrefix": "*"}
    return rule
