"""Interfaces, public addresses, rules, networks: who holds whom, and who may be removed when."""

from __future__ import annotations

from collections.abc import Callable

from simulators.azure_cloud.cloud import LOCATION, Cloud, Json, Refused

_NIC = "Microsoft.Network/networkInterfaces"


def make_interface(cloud: Cloud, path: str, value: Json, old: Json | None) -> Callable[[], None]:
    _here(value)
    configuration = value["properties"]["ipConfigurations"][0]
    subnet = configuration["properties"]["subnet"]["id"]
    cloud.need(subnet.rpartition("/subnets/")[0], 400, "InvalidResourceReference")
    cloud.need(value["properties"]["networkSecurityGroup"]["id"], 400, "InvalidResourceReference")
    configuration["id"] = f"{path}/ipConfigurations/{configuration['name']}"
    address = configuration["properties"].get("publicIPAddress")
    if address is not None:
        public = cloud.need(address["id"], 400, "InvalidResourceReference")
        holder = public["properties"].get("ipConfiguration")
        if holder is not None and not holder["id"].lower().startswith(f"{path.lower()}/"):
            raise Refused(400, "PublicIPAddressInUse", "Resource is in use by another interface.")
        if public["properties"]["provisioningState"] != "Succeeded":
            raise Refused(429, "ReferencedResourceNotProvisioned", "not yet")
    if old is not None:
        value["properties"]["virtualMachine"] = old["properties"].get("virtualMachine")
        _free_addresses(cloud, old)
    if address is not None:
        public["properties"]["ipConfiguration"] = {"id": configuration["id"]}
    return lambda: None


def make_address(cloud: Cloud, path: str, value: Json, old: Json | None) -> Callable[[], None]:
    _here(value)
    if value["sku"]["name"] != "Standard" or value["properties"]["publicIPAllocationMethod"] != "Static":
        raise Refused(400, "StandardSkuPublicIPAddressesMustBeStatic")
    if old is not None:
        value["properties"] |= {
            k: old["properties"][k] for k in ("ipAddress", "ipConfiguration") if k in old["properties"]
        }
        return lambda: None
    number = 1 + sum(1 for _ in cloud.of_kind("Microsoft.Network/publicIPAddresses"))
    taken = {one["properties"].get("ipAddress") for one in cloud.of_kind("Microsoft.Network/publicIPAddresses")}

    def end() -> None:
        free = (f"203.0.113.{n}" for n in range(number, 255) if f"203.0.113.{n}" not in taken)
        value["properties"]["ipAddress"] = next(free)

    return end


def make_rules(cloud: Cloud, path: str, value: Json, old: Json | None) -> Callable[[], None]:
    _here(value)
    rules = value["properties"].get("securityRules", [])
    keys = [(rule["properties"]["direction"], rule["properties"]["priority"]) for rule in rules]
    if len(set(keys)) != len(keys) or any(not 100 <= priority <= 4096 for _, priority in keys):
        raise Refused(400, "SecurityRuleConflict", "priorities are 100 to 4096, each once in a direction")
    if len({rule["name"] for rule in rules}) != len(rules):
        raise Refused(400, "InvalidRequestFormat", "two rules have one name")
    for rule in rules:
        single, several = (rule["properties"].get(f"sourceAddressPrefix{end}") for end in ("", "es"))
        if (single is None) == (several is None):
            raise Refused(400, "SecurityRuleParameterContainsUnsupportedValue")
    return lambda: None


def make_network(cloud: Cloud, path: str, value: Json, old: Json | None) -> Callable[[], None]:
    _here(value)
    if not value["properties"]["addressSpace"]["addressPrefixes"] or not value["properties"]["subnets"]:
        raise Refused(400, "InvalidRequestFormat")
    return lambda: None


def refuse_interface(cloud: Cloud, nic: Json) -> None:
    if nic["properties"].get("virtualMachine"):
        raise Refused(400, "NicInUse", "Network Interface is used by existing resource.")
    if cloud.hidden[nic["id"].lower()].pop("reserved", None):
        raise Refused(400, "NicReservedForAnotherVm", "Nic is reserved for another virtual machine for 180 seconds.")


def refuse_address(cloud: Cloud, address: Json) -> None:
    if address["properties"].get("ipConfiguration"):
        raise Refused(400, "PublicIPAddressCannotBeDeleted", "Public IP address is still allocated.")


def refuse_rules(cloud: Cloud, rules: Json) -> None:
    for nic in cloud.of_kind(_NIC):
        if nic["properties"]["networkSecurityGroup"]["id"].lower() == rules["id"].lower():
            raise Refused(400, "InUseNetworkSecurityGroupCannotBeDeleted")


def refuse_network(cloud: Cloud, network: Json) -> None:
    for nic in cloud.of_kind(_NIC):
        subnet = nic["properties"]["ipConfigurations"][0]["properties"]["subnet"]["id"]
        if subnet.lower().startswith(f"{network['id'].lower()}/"):
            raise Refused(400, "InUseSubnetCannotBeDeleted")


def let_go(cloud: Cloud, nic: Json) -> None:
    _free_addresses(cloud, nic)


def _free_addresses(cloud: Cloud, nic: Json) -> None:
    for one in cloud.of_kind("Microsoft.Network/publicIPAddresses"):
        holder = one["properties"].get("ipConfiguration")
        if holder is not None and holder["id"].lower().startswith(f"{nic['id'].lower()}/"):
            del one["properties"]["ipConfiguration"]


def _here(value: Json) -> None:
    if value.get("location") != LOCATION:
        raise Refused(400, "LocationRequired" if "location" not in value else "InvalidLocation")
