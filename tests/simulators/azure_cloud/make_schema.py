"""Makes schema.json: what of Azure Resource Manager's requests the fake knows, from Microsoft's own Python packages.

    python make_schema.py SITE-PACKAGES > schema.json

    SITE-PACKAGES has azure-mgmt-compute 39.0.0 and azure-mgmt-network 33.1.0

Of the packages' models only names, types, what is required or read-only, and the values of enumerations are taken;
of the operations the method, the address, its version and its query. The packages are read as text, not run.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path
from typing import Any

ROOTS = {
    "compute": (
        *("VirtualMachine", "Disk", "DiskUpdate", "GrantAccessData", "AccessUri", "Gallery", "GalleryImage"),
        *("GalleryImageVersion", "RetrieveBootDiagnosticsDataResult", "ResourceSku", "Usage"),
    ),
    "network": ("NetworkInterface", "PublicIPAddress", "NetworkSecurityGroup", "VirtualNetwork", "TagsObject"),
}
OPERATIONS = {
    "compute": (
        *(
            "virtual_machines_create_or_update",
            "virtual_machines_get",
            "virtual_machines_list",
            "virtual_machines_delete",
        ),
        *("virtual_machines_start", "virtual_machines_deallocate", "virtual_machines_retrieve_boot_diagnostics_data"),
        *("disks_create_or_update", "disks_update", "disks_get", "disks_delete", "disks_list_by_resource_group"),
        *("disks_grant_access", "disks_revoke_access", "galleries_create_or_update", "galleries_get"),
        *("galleries_delete", "galleries_list_by_resource_group", "gallery_images_create_or_update"),
        *("gallery_images_get", "gallery_images_delete", "gallery_images_list_by_gallery"),
        *("gallery_image_versions_create_or_update", "gallery_image_versions_get", "gallery_image_versions_delete"),
        *("gallery_image_versions_list_by_gallery_image", "resource_skus_list", "usage_list"),
    ),
    "network": tuple(
        f"{what}_{verb}"
        for what in ("network_interfaces", "public_ip_addresses", "network_security_groups", "virtual_networks")
        for verb in ("create_or_update", "update_tags", "get", "delete", "list")
    ),
}
_PLAIN = {"str": "str", "int": "int", "bool": "bool", "float": "float", "Any": "any", "bytes": "str", "JSON": "any"}
_PLAIN["VirtualMachineSizeTypes"] = "str"  # lists few of the sizes that there are
_PLAIN |= {"datetime": "str", "datetime.datetime": "str", "datetime.timedelta": "str", "datetime.date": "str"}


def models(text: str) -> dict[str, dict[str, Any]]:
    """Class names to {"bases", "members": {wire name: [type, required, read-only]}}."""
    found: dict[str, dict[str, Any]] = {}
    for one in ast.parse(text).body:
        if not isinstance(one, ast.ClassDef):
            continue
        members = {}
        for line in one.body:
            call = line.value if isinstance(line, ast.AnnAssign) else None
            if not isinstance(call, ast.Call) or not ast.unparse(call.func).startswith("rest_"):
                continue
            assert isinstance(line, ast.AnnAssign)
            given = {
                each.arg: ast.literal_eval(each.value) for each in call.keywords if each.arg in ("name", "visibility")
            }
            wire = given.get("name", ast.unparse(line.target))
            kind, optional = kind_of(line.annotation)
            read_only = given.get("visibility") == ["read"]
            members[wire] = [kind, not optional and not read_only, read_only]
        found[one.name] = {"bases": [ast.unparse(base) for base in one.bases], "members": members}
    return found


def kind_of(annotation: ast.expr) -> tuple[str, bool]:
    """A type in our words, and whether it may be left out."""
    if isinstance(annotation, ast.Subscript):
        outer = ast.unparse(annotation.value)
        parts = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
        if outer == "Optional":
            return kind_of(parts[0])[0], True
        if outer == "Union":  # an enumeration, which is open in Python and closed here
            return kind_of(parts[-1])[0], False
        if outer in ("list", "List"):
            return f"list:{kind_of(parts[0])[0]}", False
        if outer in ("dict", "Dict"):
            return f"dict:{kind_of(parts[-1])[0]}", False
        if outer == "Literal":
            return f"={ast.literal_eval(parts[0])}" if isinstance(parts[0], ast.Constant) else "str", False
        raise ValueError(ast.unparse(annotation))
    text = annotation.value if isinstance(annotation, ast.Constant) else ast.unparse(annotation)
    name = str(text).removeprefix("_models.")
    return _PLAIN.get(name, name), False


def enums(text: str) -> dict[str, list[str]]:
    """Names to values."""
    found: dict[str, list[str]] = {}
    for one in ast.parse(text).body:
        if isinstance(one, ast.ClassDef):
            values = [line.value for line in one.body if isinstance(line, ast.Assign)]
            found[one.name] = [str(value.value) for value in values if isinstance(value, ast.Constant)]
    return found


def operations(text: str, wanted: tuple[str, ...]) -> list[list[Any]]:
    """[method, address, version, [names of the query]] of each."""
    found = []
    for one in ast.parse(text).body:
        if (
            not isinstance(one, ast.FunctionDef)
            or one.name.removeprefix("build_").removesuffix("_request") not in wanted
        ):
            continue
        source = ast.unparse(one)
        method, version = (re.search(form, source) for form in (r"method='(\w+)'", r"'api-version', '([\d-]+)'"))
        url = re.search(r"_url = '([^']+)'", source)
        assert method is not None, one.name
        assert version is not None, one.name
        assert url is not None, one.name
        found.append([method[1], url[1], version[1], sorted(set(re.findall(r"_params\['([^']+)'\]", source)))])
    assert len(found) == len(wanted), (len(found), len(wanted))
    return sorted(found)


def closure(known: dict[str, dict[str, Any]], roots: tuple[str, ...]) -> dict[str, dict[str, list[Any]]]:
    """The members, inherited ones included, of all types that are reached."""
    result: dict[str, dict[str, list[Any]]] = {}
    left = list(roots)
    while left:
        name = left.pop()
        if name in result or name not in known:
            continue
        result[name] = inherited(known, name)
        left += [kind.rpartition(":")[2] for kind, _, _ in result[name].values()]
    return result


def inherited(known: dict[str, dict[str, Any]], name: str) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for base in known[name]["bases"]:
        if base in known:
            found |= inherited(known, base)
    members: dict[str, list[Any]] = known[name]["members"]
    return found | members


def main(packages: Path) -> None:
    document: dict[str, Any] = {}
    for name in ROOTS:
        folder = packages / "azure" / "mgmt" / name
        version = re.search(r'VERSION = "([^"]+)"', (folder / "_version.py").read_text())
        types = closure(models((folder / "models" / "_models.py").read_text()), ROOTS[name])
        used = {kind.rpartition(":")[2] for members in types.values() for kind, _, _ in members.values()}
        values = {
            key: value for key, value in enums((folder / "models" / "_enums.py").read_text()).items() if key in used
        }
        unknown = used - set(types) - set(values) - set(_PLAIN.values())
        assert not [one for one in unknown if not one.startswith("=")], unknown
        routes = operations((folder / "operations" / "_operations.py").read_text(), OPERATIONS[name])
        assert version
        document[name] = {"version": version[1], "types": types, "enums": values, "operations": routes}
    sys.stdout.write(json.dumps(document, sort_keys=True, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
