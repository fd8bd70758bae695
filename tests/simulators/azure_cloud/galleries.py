"""Galleries, definitions and versions of images."""

from __future__ import annotations

import re
from collections.abc import Callable

from simulators.azure_cloud import disks
from simulators.azure_cloud.cloud import LOCATION, Cloud, Json, Refused


def make_gallery(cloud: Cloud, path: str, value: Json, old: Json | None) -> Callable[[], None]:
    del old
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._]{0,78}[A-Za-z0-9])?", value["name"]):
        raise Refused(400, "InvalidParameter", "the name of a gallery has letters, digits, periods and underscores")
    return lambda: None


def make_definition(cloud: Cloud, path: str, value: Json, old: Json | None) -> Callable[[], None]:
    cloud.need(path.rpartition("/images/")[0], code="ParentResourceNotFound")
    if old is not None:
        raise Refused(409, "PropertyChangeNotAllowed")
    return lambda: None


def make_version(cloud: Cloud, path: str, value: Json, old: Json | None) -> Callable[[], None]:
    definition = cloud.need(path.rpartition("/versions/")[0], code="ParentResourceNotFound")
    if (
        not re.fullmatch(r"\d{1,10}\.\d{1,10}\.\d{1,10}", value["name"])
        or max(map(int, value["name"].split("."))) >= 2**31
    ):
        raise Refused(400, "InvalidParameter", "a version is MAJOR.MINOR.PATCH")
    if definition["properties"]["osState"] != "Specialized":
        raise Refused(400, "InvalidParameter", "the disk is specialized")
    regions = [one["name"] for one in value["properties"]["publishingProfile"]["targetRegions"]]
    if LOCATION not in regions:
        raise Refused(400, "InvalidParameter", "the home region is missing")
    source = cloud.need(value["properties"]["storageProfile"]["osDiskImage"]["source"]["id"], 400, "SourceNotFound")
    if source["properties"]["diskState"] != "Unattached":
        raise Refused(409, "OperationNotAllowed", f"the source is {source['properties']['diskState']}")
    if source["properties"].get("securityProfile"):
        raise Refused(400, "InvalidParameter", "ConfidentialVmSupported takes a disk without a state of a guest")
    if old is not None and old["properties"]["provisioningState"] == "Succeeded":
        raise Refused(409, "PropertyChangeNotAllowed", "versions do not change")
    cloud.hidden[path.lower()] = {"content": disks.content(cloud, source)}
    return lambda: None


def refuse_removal(cloud: Cloud, one: Json) -> None:
    if any(name.startswith(f"{one['id'].lower()}/") for name in cloud.resources):
        raise Refused(409, "CannotDeleteResource", "Can not delete resource before nested resources are deleted.")
