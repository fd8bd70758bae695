"""What Compute Engine refuses though its schema allows it, and what a machine of ours must have. For tests alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from pluto_notary.config import decode_config_text
from simulators.google.state import PROJECT, REGION, SPACE, RefusedError, State, Thing

ADDRESSES = f"{PROJECT}/regions/{REGION}/addresses"
_LABEL = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_VALUE = re.compile(r"[a-z0-9_-]{0,63}")


def check_machine(state: State, body: Any) -> None:
    """What the real one refuses, and what a confidential machine must have."""
    if body["confidentialInstanceConfig"] != {"confidentialInstanceType": "TDX"}:
        raise AssertionError("a machine without TDX")
    if not re.fullmatch(r"zones/[a-z0-9-]+/machineTypes/c3-standard-[0-9]+", body["machineType"]):
        raise RefusedError(400, "invalid", "TDX is not supported by this machine type")
    if body["scheduling"]["onHostMaintenance"] != "TERMINATE":
        raise RefusedError(400, "invalid", "a confidential machine cannot be moved")
    disk, card = body["disks"][0], body["networkInterfaces"][0]
    if card["nicType"] != "GVNIC" or disk["interface"] != "NVME" or not disk["boot"] or not disk["autoDelete"]:
        raise AssertionError("gVNIC and NVMe are what there is, and a disk goes with its machine")
    _, project, *_, name = disk["initializeParams"]["sourceImage"].split("/")
    image = state.get(f"{project}/global/images", name)
    if image["status"] != "READY":
        raise RefusedError(400, "resourceNotReady", f"The resource {name} is not ready")
    if "TDX_CAPABLE" not in [one["type"] for one in image["guestOsFeatures"]]:
        text = "'resource.confidentialInstanceConfig': can only be set when using a TDX compatible image"
        raise RefusedError(400, "invalid", f"Invalid value for field {text}")
    if int(disk["initializeParams"]["diskSizeGb"]) < max(10, int(image["diskSizeGb"])):
        raise RefusedError(400, "invalid", "the disk is smaller than its image")
    items = {one["key"]: one["value"] for one in body["metadata"]["items"]}
    if len(items) != len(body["metadata"]["items"]) or sum(len(k) + len(v) for k, v in items.items()) > 512 << 10:
        raise RefusedError(400, "invalid", "metadata is too large, or a key is there twice")
    space = project == SPACE
    if space != ("tee-image-reference" in items) or space != ("serviceAccounts" in body):
        raise AssertionError("a container is named for Google's image, and an account given, and for no other")
    if not space:
        decode_config_text(items["pluto-config"].encode())  # as the image will
    check_labels(body["labels"])


def check_labels(labels: dict[str, str]) -> None:
    for key, value in labels.items():
        if not _LABEL.fullmatch(key) or not _VALUE.fullmatch(value):
            raise RefusedError(400, "invalid", f"the label {key}={value} cannot be")


def check_rule(body: Any) -> None:
    if ("allowed" in body) == ("denied" in body):
        raise RefusedError(400, "invalid", "a rule allows or denies")
    if ("sourceRanges" in body) != (body["direction"] == "INGRESS"):
        raise RefusedError(400, "invalid", "ranges do not fit the direction")
    for one in body.get("allowed", ()) or body["denied"]:
        if one["IPProtocol"] == "all" and "ports" in one:
            raise RefusedError(400, "invalid", "all protocols have no ports")


def use_address(state: State, address: str, machine: Thing) -> None:
    found = next((one for one in state.collection(ADDRESSES).values() if one["address"] == address), None)
    if found is None or found["status"] != "RESERVED":
        raise RefusedError(400, "invalid", f"the address {address} is not there, or is in use")
    found |= {"status": "IN_USE", "users": [machine["selfLink"]]}


def filter_of(text: str) -> Callable[[Thing], bool]:
    """The part of the filter language that is used: a label, a name, names with OR."""
    if not text:
        return lambda _: True
    if found := re.fullmatch(r"labels\.([a-z-]+)=([a-z0-9-]+)", text):
        return lambda one: one.get("labels", {}).get(found[1]) == found[2]
    names = [re.fullmatch(r"\(?name = ([a-z0-9-]+)\)?", part) for part in text.split(" OR ")]
    if not all(names):
        raise AssertionError(f"the filter {text!r} is not known")
    return lambda one: one["name"] in {part[1] for part in names if part is not None}
