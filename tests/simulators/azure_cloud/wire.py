"""Checks a request against schema.json: the address, the query, the version, and every member of the body."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

BODIES: Final = {
    ("PUT", "virtualMachines"): "VirtualMachine",
    ("PUT", "disks"): "Disk",
    ("PATCH", "disks"): "DiskUpdate",
    ("POST", "beginGetAccess"): "GrantAccessData",
    ("PUT", "galleries"): "Gallery",
    ("PUT", "images"): "GalleryImage",
    ("PUT", "versions"): "GalleryImageVersion",
    ("PUT", "networkInterfaces"): "NetworkInterface",
    ("PUT", "publicIPAddresses"): "PublicIPAddress",
    ("PUT", "networkSecurityGroups"): "NetworkSecurityGroup",
    ("PUT", "virtualNetworks"): "VirtualNetwork",
    ("PATCH", "networkInterfaces"): "TagsObject",
    ("PATCH", "publicIPAddresses"): "TagsObject",
    ("PATCH", "networkSecurityGroups"): "TagsObject",
    ("PATCH", "virtualNetworks"): "TagsObject",
}
_PYTHON: Final = {"str": str, "int": int, "bool": bool, "float": (int, float)}


@dataclass(frozen=True)
class Route:
    """An operation that was asked for. `kind`: the last type in the address; `action`: behind the name, if any."""

    package: str
    method: str
    names: Mapping[str, str]
    kind: str
    action: str
    listing: bool


class Schema:
    """What is known of the two packages."""

    def __init__(self) -> None:
        self._document = json.loads((Path(__file__).parent / "schema.json").read_text())
        self._routes = [
            (package, method, re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(url))), url, version, query)
            for package, part in self._document.items()
            for method, url, version, query in part["operations"]
        ]

    def route(self, method: str, path: str) -> tuple[Route | None, str, list[str]]:
        """The operation, its version and its query's names; None where there is no such operation."""
        for package, verb, form, url, version, query in self._routes:
            found = form.fullmatch(path)
            if verb == method and found:
                levels = url.partition("/providers/")[2].split("/")[1:]
                action = levels[-1] if method == "POST" else ""
                listing = method == "GET" and not levels[-1].startswith("{")
                kinds = [one for one in levels if not one.startswith("{")]
                kind = kinds[-2] if action else kinds[-1]
                return Route(package, method, found.groupdict(), kind, action, listing), version, query
        return None, "", []

    def problems(self, route: Route, body: Any) -> list[str]:
        """What is wrong with a body."""
        name = BODIES.get((route.method, route.action or route.kind))
        if name is None:
            return [] if body is None else ["a body where none belongs"]
        return list(self._check(route.package, name, body, name))

    def _check(self, package: str, kind: str, value: Any, where: str) -> Iterator[str]:
        part = self._document[package]
        if kind == "any":
            return
        if kind.startswith("="):
            if value != kind[1:]:
                yield f"{where}: is not {kind[1:]}"
        elif kind in _PYTHON:
            if not isinstance(value, _PYTHON[kind]) or (isinstance(value, bool) and kind != "bool"):  # type: ignore[arg-type]
                yield f"{where}: {value!r} is not {kind}"
        elif kind in part["enums"]:
            if value not in part["enums"][kind]:
                yield f"{where}: {value!r} is not one of {kind}"
        elif kind.startswith("list:"):
            if not isinstance(value, list):
                yield f"{where}: is no list"
                return
            for number, one in enumerate(value):
                yield from self._check(package, kind[5:], one, f"{where}[{number}]")
        elif kind.startswith("dict:"):
            if not isinstance(value, dict):
                yield f"{where}: is no object"
                return
            for name, one in value.items():
                yield from self._check(package, kind[5:], one, f"{where}.{name}")
        else:
            yield from self._object(package, part["types"][kind], value, where)

    def _object(self, package: str, members: Mapping[str, list[Any]], value: Any, where: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{where}: is no object"
            return
        for name, one in value.items():
            if name not in members:
                yield f"{where}.{name}: unknown"
                continue
            kind, _, read_only = members[name]
            if read_only:
                yield f"{where}.{name}: only Azure writes it"
            yield from self._check(package, kind, one, f"{where}.{name}")
        for name, (_, required, _) in members.items():
            if required and name not in value:
                yield f"{where}.{name}: missing"
