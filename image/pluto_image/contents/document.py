"""The facts of a build as the JSON document of `pluto-image inspect --json`. Pure. Members: docs/inspect.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from pluto_image.contents.facts import Contents
from pluto_image.contents.packages import PackageFacts
from pluto_image.lint.hardening import Score
from pluto_measure.digests import Digests


def document(contents: Contents) -> dict[str, object]:
    """All facts. Sizes in bytes, digests in hex; an exposure is a text such as "0.5", because JSON has no decimals."""
    launch = contents.launch
    return {
        "buildId": launch.build_id,
        "flavour": launch.flavour,
        "digest": contents.digest,
        "stub": launch.stub,
        "ukiSize": launch.uki_size,
        "commandLine": launch.command_line,
        "sections": {section.name: section.size for section in launch.sections},
        "packages": sum(one.kind == "package" for one in contents.packages),
        "paths": contents.root_paths,
        "rootSize": contents.root_size,
        "origins": dict(contents.origins),
        "name": contents.name,
        "parts": plain(contents.parts),
        "packageList": [_package(one) for one in contents.packages],
        "bootChain": plain(contents.chain),
        "machines": plain(contents.machines),
        "units": plain(contents.units),
        "maskedUnits": [{"name": name, "why": why} for name, why in contents.masked],
        "modules": plain(contents.modules),
        "listeners": plain(contents.listeners),
        "container": None if launch.container is None else launch.container.to_json(),
        "containerPorts": list(contents.container_ports),
        "commandLineTokens": plain(contents.tokens),
        "users": plain(contents.users),
    }


def _package(one: PackageFacts) -> dict[str, object]:
    members: dict[str, object] = plain(one)
    members["scriptsNotRun"] = members.pop("scripts")
    return members


def plain(value: object) -> Any:
    """Values of dataclasses as JSON values, their names in camel case."""
    if isinstance(value, Score):
        costs = [{"setting": cost.check.setting, "exposure": cost.text} for cost in value.costs]
        return {"exposure": value.text, "level": value.level, "applying": value.applying, "costs": costs}
    if isinstance(value, Digests):
        return value.to_json()
    if is_dataclass(value):
        return {_camel(one.name): plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
