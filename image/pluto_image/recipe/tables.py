"""The recipe tables of image.toml as frozen values. Pure; every unknown, missing or doubtful member is a FormatError.

Tables: [kernel] with [[kernel.module]], [stub], [firmware], [command_line], [prune], [units], [files], [lint],
[container].
What each means: docs/formats/definition-recipe.md. Every choice carries a `reason`, which is required and not empty.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from pluto_image.recipe.model import (
    Blob,
    ByteCode,
    Certificates,
    CommandLine,
    Container,
    Directory,
    Enable,
    Files,
    Group,
    Keep,
    Kept,
    Kernel,
    Link,
    LintTable,
    Mask,
    Modules,
    Recipe,
    Source,
    Text,
    Units,
    User,
    WheelFiles,
)
from pluto_image.recipe.patterns import compiled
from pluto_measure.errors import FormatError
from pluto_measure.formats.strict_json import Fields

TABLES: Final = ("kernel", "stub", "firmware", "command_line", "prune", "units", "files", "lint", "container")
_T = TypeVar("_T")

_CONTAINER: Final = "image.toml [container]"
# A repository name without a registry (OCI distribution specification, "Pulling manifests"), in one component.
_REPOSITORY: Final = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*", re.ASCII)
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
# Labels by which Confidential Space's launcher is told what the operator may do: google/go-tpm-tools,
# launcher/spec/launch_policy.go. It ignores a label that it does not know, so a misspelt one would be no policy at all.
# Those of input (allow_*) are missing on purpose: this workload takes none.
_POLICY: Final = "tee.launch_policy."
_LAUNCH_POLICY: Final[Mapping[str, tuple[str, ...]]] = {
    "log_redirect": ("always", "debugonly", "never"),
    "hardened_monitoring": ("none", "memoryonly", "all"),
    "debug_monitoring": ("none", "memoryonly", "all"),
}
_BUILDERS_LABELS: Final = ("pluto-tee.", "org.opencontainers.image.version")


def parse(tables: Mapping[str, Any]) -> Recipe:
    """Parse the recipe tables. FormatError names table and member."""
    top = Fields(dict(tables), what="image.toml")
    files = _one(top.take("files", dict), "files", _files)
    recipe = Recipe(
        kernel=_one(top.take("kernel", dict), "kernel", _kernel),
        stub=_one(top.take("stub", dict), "stub", _blob),
        firmware=_one(top.take("firmware", dict), "firmware", _blob),
        command_line=_one(top.take("command_line", dict), "command_line", _command_line),
        keep=_one(top.take("prune", dict), "prune", lambda f: _many(f, "keep", "prune.keep", _keep)),
        units=_one(top.take("units", dict), "units", _units),
        files=files,
        lint=_one(top.take("lint", dict), "lint", _lint),
        container=_one(top.take("container", dict), "container", lambda f: _container(f, files.users)),
    )
    top.end()
    return recipe


def _one(value: object, what: str, read: Callable[[Fields], _T]) -> _T:
    fields = Fields(value, what=f"image.toml [{what}]")
    result = read(fields)
    fields.end()
    return result


def _many(fields: Fields, name: str, what: str, read: Callable[[Fields], _T]) -> tuple[_T, ...]:
    return tuple(_one(item, what, read) for item in fields.get(name, [], list))


def _texts(fields: Fields, name: str) -> tuple[str, ...]:
    values = fields.take(name, list)
    if not all(isinstance(value, str) and value for value in values) or len(set(values)) != len(values):
        raise FormatError("image.toml", f"{name} must be a list of different texts, not {values!r}")
    return tuple(values)


def _patterns(fields: Fields, name: str) -> tuple[str, ...]:
    values = _texts(fields, name)
    for value in values:
        compiled(value)
    return values


def _reason(fields: Fields) -> str:
    reason: str = fields.take("reason", str)
    if not reason.strip():
        raise FormatError("image.toml", "reason is empty")
    return reason


def _path(fields: Fields, name: str = "path") -> str:
    path: str = fields.take(name, str)
    if not path or path.startswith("/") or path.endswith("/") or {"", ".", ".."} & set(path.split("/")):
        raise FormatError("image.toml", f"{name} {path!r} is not a normal relative path")
    return path


def _mode(fields: Fields, default: str) -> int:
    text: str = fields.get("mode", default, str)
    if len(text) != 4 or not set(text) <= set("01234567"):
        raise FormatError("image.toml", f"mode {text!r} is not four octal digits")
    return int(text, 8)


def _kernel(f: Fields) -> Kernel:
    kernel = Kernel(f.take("package", str), f.take("image", str), _many(f, "module", "kernel.module", _modules))
    compiled(kernel.package), compiled(kernel.image)
    if len(set(kernel.names)) != len(kernel.names):
        raise FormatError("image.toml [kernel]", "a module is listed twice")
    return kernel


def _modules(f: Fields) -> Modules:
    return Modules(_texts(f, "names"), f.get("load", False, bool), _reason(f))


def _blob(f: Fields) -> Blob:
    return Blob(f.take("package", str), _path(f), f.take("version", str))


def _command_line(f: Fields) -> CommandLine:
    return CommandLine(_texts(f, "common"), _texts(f, "release"), _texts(f, "debug"))


def _keep(f: Fields) -> Keep:
    return Keep(_texts(f, "packages"), _patterns(f, "paths"), _reason(f))


def _units(f: Fields) -> Units:
    enable = _many(f, "enable", "units.enable", lambda e: Enable(e.take("target", str), _texts(e, "units"), _reason(e)))
    mask = _many(f, "mask", "units.mask", lambda m: Mask(_texts(m, "units"), _reason(m)))
    return Units(f.take("default", str), enable, mask)


def _files(f: Fields) -> Files:
    os_release = f.take("os_release", dict)
    for key, value in os_release.items():
        if not (isinstance(value, str) and key.replace("_", "").isalnum() and key.isupper() and '"' not in value):
            raise FormatError("image.toml [files.os_release]", f"{key} = {value!r} does not fit os-release")
    code, certificates = f.get("byte_code", None, dict), f.get("certificates", None, dict)
    return Files(
        rootfs=_path(f, "rootfs"),
        os_release=dict(os_release),
        directories=_many(f, "directory", "files.directory", _directory),
        links=_many(f, "link", "files.link", lambda x: Link(_path(x), x.take("target", str))),
        texts=_many(f, "text", "files.text", lambda x: Text(_path(x), x.take("text", str), _mode(x, "0644"))),
        sources=_many(f, "source", "files.source", _source),
        users=_many(f, "user", "files.user", _user),
        groups=_many(f, "group", "files.group", _group),
        byte_code=None if code is None else _one(code, "files.byte_code", _byte_code),
        certificates=None if certificates is None else _one(certificates, "files.certificates", _certificates),
        wheels=_many(f, "wheel", "files.wheel", _wheel),
    )


def _directory(f: Fields) -> Directory:
    return Directory(_path(f), _mode(f, "0755"), f.get("uid", 0, int), f.get("gid", 0, int))


def _source(f: Fields) -> Source:
    # There is no "release": a debug image holds all that a release holds, so that what was tried is what is released.
    if (flavour := f.get("flavour", "", str)) not in ("", "debug"):
        raise FormatError("image.toml [files.source]", f"flavour {flavour!r} is not 'debug'")
    return Source(_path(f, "base"), _patterns(f, "paths"), _path(f, "to"), _reason(f), debug=flavour == "debug")


def _wheel(f: Fields) -> WheelFiles:
    paths = _patterns(f, "paths")
    if not paths:
        raise FormatError("image.toml [files.wheel]", "paths is empty")
    return WheelFiles(f.take("name", str), paths, _path(f, "to"), _reason(f))


def _user(f: Fields) -> User:
    return User(f.take("name", str), f.take("uid", int), f.take("gid", int), f.get("gecos", "", str))


def _group(f: Fields) -> Group:
    members = f.get("members", [], list)
    if not all(isinstance(member, str) for member in members):
        raise FormatError("image.toml [files.group]", f"members {members!r} are not names")
    return Group(f.take("name", str), f.take("gid", int), tuple(members))


def _byte_code(f: Fields) -> ByteCode:
    return ByteCode(_path(f, "interpreter"), _patterns(f, "paths"), f.take("keep_sources", bool), _reason(f))


def _certificates(f: Fields) -> Certificates:
    return Certificates(f.take("sources", str), _path(f, "bundle"))


def _lint(f: Fields) -> LintTable:
    return LintTable(_texts(f, "listen"), _texts(f, "world_writable"), _texts(f, "units"))


def _container(f: Fields, users: Sequence[User]) -> Container:
    name, entrypoint, ports = f.take("name", str), f.take("entrypoint", list), f.take("ports", list)
    if _REPOSITORY.fullmatch(name) is None:
        raise FormatError(_CONTAINER, f"name {name!r} is not one component of a repository name")
    if not (entrypoint and all(_is_word(word) for word in entrypoint) and entrypoint[0].startswith("/")):
        raise FormatError(_CONTAINER, f"entrypoint {entrypoint!r} is not an absolute path and its arguments")
    if not all(type(port) is int and 0 < port < 65536 for port in ports) or len(set(ports)) != len(ports):
        raise FormatError(_CONTAINER, f"ports {ports!r} are not different port numbers")
    user = f.take("user", str)
    found = next((known for known in users if known.name == user), None)
    if found is None:
        raise FormatError(_CONTAINER, f"user {user} is not in [files.user]")
    return Container(
        name=name,
        entrypoint=tuple(entrypoint),
        user=found,
        ports=tuple(ports),
        env=_environment(f.take("env", dict)),
        labels=_labels(f.take("labels", dict)),
        keep=_many(f, "keep", "container.keep", lambda k: Kept(_patterns(k, "paths"), _reason(k))),
    )


def _is_word(value: object) -> bool:
    return isinstance(value, str) and bool(value) and value.isprintable()


def _environment(values: Mapping[str, object]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in values.items():
        if _VARIABLE.fullmatch(name) is None or not (isinstance(value, str) and value.isprintable()):
            raise FormatError(_CONTAINER, f"env {name} = {value!r} does not fit an environment")
        found[name] = value
    if "PATH" not in found or "HOSTNAME" in found:
        # The environment is attested. Engines set a PATH of their own where an image has none, and HOSTNAME always.
        raise FormatError(_CONTAINER, "env must set PATH and must not set HOSTNAME, or engines decide what it is")
    return found


def _labels(values: Mapping[str, object]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in values.items():
        if not (_is_word(name) and isinstance(value, str) and value.isprintable()):
            raise FormatError(_CONTAINER, f"label {name!r} = {value!r} is not printable text")
        if name.startswith(_BUILDERS_LABELS):
            raise FormatError(_CONTAINER, f"label {name} is the builder's own")
        if name.startswith(_POLICY) and value not in _LAUNCH_POLICY.get(name.removeprefix(_POLICY), ()):
            raise FormatError(_CONTAINER, f"label {name} = {value!r} is not a launch policy that may be set here")
        found[name] = value
    return found
