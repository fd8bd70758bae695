"""Makes schemas.json: what the fakes check requests and answers against. Run by hand, after Google changed something.

    python tests/simulators/google/excerpt.py FOLDER tests/simulators/google/schemas.json

FOLDER holds discovery documents (compute.v1.json, …) as the package google-api-python-client ships them. Kept are
names, types, enums, patterns, what is required and what a client must not send; no words.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

METHODS = {
    "compute.v1": (
        *(f"instances.{one}" for one in ("insert", "get", "list", "aggregatedList", "delete", "start", "stop")),
        *(f"instances.{one}" for one in ("setLabels", "addAccessConfig", "deleteAccessConfig", "getSerialPortOutput")),
        *(f"images.{one}" for one in ("insert", "get", "getFromFamily", "list", "delete")),
        *(f"firewalls.{one}" for one in ("insert", "get", "list", "patch", "delete")),
        *(f"addresses.{one}" for one in ("insert", "get", "aggregatedList", "setLabels", "delete")),
        *(f"disks.{one}" for one in ("get", "aggregatedList", "delete")),
        *("machineTypes.get", "zones.get", "zoneOperations.get", "regionOperations.get", "globalOperations.get"),
    ),
    "storage.v1": tuple(f"objects.{one}" for one in ("get", "list", "insert", "delete")),
    "iamcredentials.v1": ("projects.serviceAccounts.generateAccessToken",),
    "sts.v1": ("v1.token",),
}


def main(folder: Path, out: Path) -> None:
    """Write the excerpt."""
    made: dict[str, Any] = {}
    for name, methods in METHODS.items():
        document = json.loads((folder / f"{name}.json").read_bytes())
        found = {one: _method(_found(document, one)) for one in methods}
        schemas: dict[str, Any] = {}
        for method in found.values():
            for role in ("request", "response"):
                _gather(document["schemas"], method.get(role), schemas)
        base, common = document["servicePath"], sorted(document["parameters"])
        made[name] = {
            "revision": document["revision"], "base": base, "common": common, "methods": found, "schemas": schemas
        }  # fmt: skip
    lines = [f'"{name}": {json.dumps(value, sort_keys=True, separators=(",", ":"))}' for name, value in made.items()]
    out.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def _found(document: dict[str, Any], path: str) -> dict[str, Any]:
    *resources, method = path.split(".")
    place = document
    for one in resources:
        place = place["resources"][one]
    found: dict[str, Any] = place["methods"][method]
    return found


def _method(found: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"verb": found["httpMethod"], "path": found["path"], "id": found["id"]}
    made["parameters"] = {
        name: {key: one[key] for key in ("location", "required", "type", "enum", "pattern", "format") if key in one}
        for name, one in found.get("parameters", {}).items()
    }
    for role in ("request", "response"):
        if role in found:
            made[role] = found[role]["$ref"]
    return made


def _gather(schemas: dict[str, Any], name: str | None, into: dict[str, Any]) -> None:
    if name is None or name in into:
        return
    into[name] = {}
    into[name] = _type(schemas[name], schemas, into)


def _type(found: dict[str, Any], schemas: dict[str, Any], into: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {key: found[key] for key in ("type", "enum", "pattern", "format", "$ref") if key in found}
    if found.get("readOnly") or "[Output Only]" in found.get("description", ""):
        made["output"] = True
    if required := found.get("annotations", {}).get("required"):
        made["required"] = required
    if "properties" in found:
        made["properties"] = {name: _type(one, schemas, into) for name, one in found["properties"].items()}
    if "items" in found:
        made["items"] = _type(found["items"], schemas, into)
    if isinstance(more := found.get("additionalProperties"), dict):
        made["more"] = _type(more, schemas, into)
    if "$ref" in found:
        _gather(schemas, found["$ref"], into)
    return made


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
