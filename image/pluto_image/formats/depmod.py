"""Module indexes for libkmod, as kmod's depmod writes them, and what a module says about itself. Pure.

libkmod (in udev and systemd-modules-load) reads the binary indexes only. Dependencies come from the `depends=` field
that the kernel's own build wrote into each module, so no symbol has to be resolved.

Format: kmod, libkmod/libkmod-index.h; numbers are big-endian:

    u32 magic, version, root; then nodes, children before parents
    node: [prefix NUL] [u8 first, last; u32 children[last - first + 1]] [u32 count; {u32 priority; value NUL}[count]]

A reference to a node is its file offset with flags in the upper bits for the three optional parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from struct import pack
from typing import Final

from pluto_image.formats.elf import Elf
from pluto_measure.errors import FormatError

_MAGIC, _VERSION = 0xB007F457, 0x0002_0001
_PREFIX, _VALUES, _CHILDREN = 0x8000_0000, 0x4000_0000, 0x2000_0000
_LONGEST_KEY: Final = 500  # characters; real aliases stay below 256, and the index is written by recursion
_EXPORT: Final = "__ksymtab_"

_Values = dict[str, list[tuple[int, str]]]  # key to (priority, value), in the order of insertion


@dataclass(frozen=True, slots=True)
class ModuleInfo:
    """What a module declares in .modinfo and exports. Names have underscores for dashes, as in the kernel."""

    name: str
    depends: tuple[str, ...]
    aliases: tuple[str, ...]
    softdeps: tuple[str, ...]  # each such as "pre: crc32c post: x"
    weakdeps: tuple[str, ...]
    exports: tuple[str, ...]


def module_info(module: bytes) -> ModuleInfo:
    """Read a decompressed kernel module. Raises FormatError."""
    elf = Elf(module)
    pairs = [item.partition("=") for item in _strings(elf.section(".modinfo")) if item]
    names = [value for key, _, value in pairs if key == "name"]
    if len(names) != 1:
        raise FormatError("module", f"has {len(names)} names in .modinfo")

    def values(wanted: str) -> tuple[str, ...]:
        return tuple(value for key, _, value in pairs if key == wanted)

    depends = [_plain(name) for value in values("depends") for name in value.split(",") if name]
    exports = (name.removeprefix(_EXPORT) for name in elf.defined_symbols() if name.startswith(_EXPORT))
    return ModuleInfo(
        _plain(names[0]), tuple(depends), values("alias"), values("softdep"), values("weakdep"), tuple(exports)
    )


def indexes(
    modules: Mapping[str, bytes], *, builtin: bytes, builtin_modinfo: bytes, order: bytes = b""
) -> dict[str, bytes]:
    """The index files by name, to be put into the kernel's folder below /usr/lib/modules.

    `modules` maps paths relative to that folder ("kernel/fs/fuse/fuse.ko") to decompressed modules; `builtin`,
    `builtin_modinfo` and `order` are the kernel package's modules.builtin, modules.builtin.modinfo and modules.order,
    which decides between modules of equal alias. Raises FormatError, also if a module needs one that is not given.
    """
    paths = _in_order(modules, order)
    infos = [module_info(modules[path]) for path in paths]
    for path, info in zip(paths, infos, strict=True):
        if info.name != _name_of(path):
            raise FormatError("module", f"{path} calls itself {info.name}")
    lines = _dependency_lines(paths, infos)
    dependencies: _Values = {info.name: [(n, lines[n])] for n, info in enumerate(infos)}
    aliases: _Values = {}
    symbols: _Values = {}
    for number, info in enumerate(infos):
        for alias in info.aliases:
            aliases.setdefault(_normal_alias(alias), []).append((number, info.name))
        for export in info.exports:
            symbols.setdefault(f"symbol:{export}", []).append((number, info.name))
    built_in: _Values = {_name_of(line): [(0, "")] for line in builtin.decode("ascii").split("\n") if line}
    return {
        "modules.dep.bin": _index(dependencies),
        "modules.alias.bin": _index(aliases),
        "modules.symbols.bin": _index(symbols),
        "modules.builtin.bin": _index(built_in),
        "modules.builtin.alias.bin": _index(_builtin_aliases(builtin_modinfo)),
        "modules.softdep": _text("Soft", "softdep", ((i.name, value) for i in infos for value in i.softdeps)),
        "modules.weakdep": _text("Weak", "weakdep", ((i.name, value) for i in infos for value in i.weakdeps)),
    }


def _in_order(modules: Iterable[str], order: bytes) -> list[str]:
    """Paths as modules.order lists them (it names .o or .ko by kernel version), the others behind."""
    places = {_stem(line): n for n, line in enumerate(order.decode("ascii").split("\n")) if line}
    return sorted(modules, key=lambda path: (places.get(_stem(path), len(places)), path))


def _dependency_lines(paths: Sequence[str], infos: Sequence[ModuleInfo]) -> list[str]:
    """ "path: dependency..." per module, all levels, each before what it needs itself: libkmod loads from the back."""
    number = {info.name: n for n, info in enumerate(infos)}
    if len(number) != len(infos):
        raise FormatError("modules", "two modules have the same name")
    direct = [[_required(number, info, name) for name in info.depends] for info in infos]
    place = _places(direct)
    lines = []
    for own, path in enumerate(paths):
        found: set[int] = set()
        waiting = list(direct[own])
        while waiting:
            if (n := waiting.pop()) not in found:
                found.add(n)
                waiting += direct[n]
        names = [paths[n] for n in sorted(found, key=lambda n: place[n])]
        lines.append(" ".join([f"{path}:", *names]))
    return lines


def _required(number: Mapping[str, int], info: ModuleInfo, name: str) -> int:
    if name not in number:
        raise FormatError("modules", f"{info.name} needs {name}, which is not among them")
    return number[name]


def _places(direct: Sequence[Sequence[int]]) -> list[int]:
    """A topological order, users first (Kahn's algorithm with a stack, as depmod has it)."""
    users = [0] * len(direct)
    for needs in direct:
        for n in needs:
            users[n] += 1
    ready = [n for n, count in enumerate(users) if count == 0]
    place = [-1] * len(direct)
    done = 0
    while ready:
        own = ready.pop()
        place[own], done = done, done + 1
        for n in direct[own]:
            users[n] -= 1
            if users[n] == 0:
                ready.append(n)
    if done != len(direct):
        raise FormatError("modules", "need each other in a circle")
    return place


def _builtin_aliases(modinfo: bytes) -> _Values:
    aliases: _Values = {}
    for item in _strings(modinfo):
        key, _, value = item.partition("=")
        module, _, kind = key.partition(".")
        if kind == "alias":
            aliases.setdefault(_normal_alias(value), []).append((0, _plain(module)))
    return aliases


def _index(entries: _Values) -> bytes:
    for key in entries:
        if not key.isascii() or not 0 < len(key) <= _LONGEST_KEY or "\0" in key:
            raise FormatError("module index", f"key {key[:80]!r} is empty, too long or not ASCII")
    out = bytearray(12)
    root = _node(out, sorted(entries), 0, entries)
    out[:12] = pack(">III", _MAGIC, _VERSION, root)
    return bytes(out)


def _node(out: bytearray, keys: Sequence[str], start: int, entries: _Values) -> int:
    """Append the node for `keys`, which agree in their first `start` characters; returns the reference to it."""
    # depmod starts with an empty root, which never gets a prefix.
    end = _agree(keys[0], keys[-1], start) if start else 0
    groups: dict[str, list[str]] = {}
    values: list[tuple[int, str]] = []
    for key in keys:
        if len(key) == end:
            values = entries[key][::-1]  # among equals, what depmod inserts later comes first
            values.sort(key=lambda item: item[0])
        else:
            groups.setdefault(key[end], []).append(key)
    children = {char: _node(out, group, end + 1, entries) for char, group in groups.items()}
    reference = len(out)
    if prefix := keys[0][start:end] if keys else "":
        out += prefix.encode() + b"\0"
        reference |= _PREFIX
    if children:
        first, last = ord(min(children)), ord(max(children))
        offsets = [children.get(chr(code), 0) for code in range(first, last + 1)]
        out += pack(f">BB{len(offsets)}I", first, last, *offsets)
        reference |= _CHILDREN
    if values:
        out += pack(">I", len(values))
        for priority, value in values:
            out += pack(">I", priority) + value.encode() + b"\0"
        reference |= _VALUES
    return reference


def _agree(first: str, last: str, start: int) -> int:
    """How many characters two keys have in common, from `start` on; being sorted, those between agree as well."""
    end = start
    while end < min(len(first), len(last)) and first[end] == last[end]:
        end += 1
    return end


def _text(kind: str, word: str, lines: Iterable[tuple[str, str]]) -> bytes:
    head = f"# {kind} dependencies extracted from modules themselves.\n"
    return (head + "".join(f"{word} {name} {value}\n" for name, value in lines)).encode()


def _strings(data: bytes) -> Iterator[str]:
    return (item.decode("utf-8", "replace") for item in data.split(b"\0"))


def _stem(path: str) -> str:
    return path.rpartition(".")[0]


def _name_of(path: str) -> str:
    return _plain(path.rpartition("/")[2].partition(".")[0])


def _plain(name: str) -> str:
    return name.replace("-", "_")


def _normal_alias(alias: str) -> str:
    """Underscores for dashes, except in character ranges such as [0-9]."""
    parts = alias.split("[")
    out = [_plain(parts[0])]
    for part in parts[1:]:
        inside, bracket, outside = part.partition("]")
        if not bracket or "]" in outside:
            raise FormatError("module", f"alias {alias!r} has an unmatched bracket")
        out.append(f"[{inside}]{_plain(outside)}")
    return "".join(out)
