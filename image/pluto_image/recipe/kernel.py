"""The kernel of the image and its modules: chosen by name, decompressed, indexed, their closure checked. Pure."""

from __future__ import annotations

import lzma
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from pluto_image.formats import depmod
from pluto_image.recipe.model import Kernel
from pluto_image.tree import Entry, Kind
from pluto_measure.errors import FormatError

_FOLDER: Final = "usr/lib/modules/"
_BUILTIN: Final = ("modules.builtin", "modules.builtin.modinfo", "modules.order")
_LARGEST_MODULE: Final = 64 * 1024 * 1024
SIGNATURE: Final = b"~Module signature appended~\n"


def module_name(path: str) -> str:
    """The name by which the kernel knows the module in this file."""
    return path.rsplit("/", 1)[-1].split(".ko", 1)[0].replace("-", "_")


def wants(kernel: Kernel, path: str) -> bool:
    """Whether the builder needs this file of the kernel package (besides the kernel image itself)."""
    if not path.startswith(_FOLDER):
        return False
    if path.rsplit("/", 1)[-1] in _BUILTIN:
        return True
    return ".ko" in path and module_name(path) in {name.replace("-", "_") for name in kernel.names}


def release_of(image_path: str) -> str:
    """The kernel's release (uname -r) from the name of its file, boot/vmlinuz-RELEASE."""
    name = image_path.rsplit("/", 1)[-1]
    if not name.startswith("vmlinuz-"):
        raise FormatError("kernel package", f"{image_path} is not named vmlinuz-RELEASE")
    return name.removeprefix("vmlinuz-")


def modules(kernel: Kernel, entries: Iterable[Entry], release: str) -> Iterator[Entry]:
    """The listed modules, decompressed, with the indexes that libkmod reads and the list of those to load at boot.

    Raises FormatError when a listed module is neither a file nor built in, or when a module that is needed by a
    listed one is not listed itself: the list in image.toml is the whole truth.
    """
    base = f"{_FOLDER}{release}/"
    found: dict[str, Entry] = {}
    builtin: dict[str, bytes] = {}
    for entry in entries:
        if not entry.path.startswith(base):
            raise FormatError("kernel package", f"{entry.path} does not belong to kernel {release}")
        if entry.path.rsplit("/", 1)[-1] in _BUILTIN:
            builtin[entry.path.removeprefix(base)] = entry.data
        else:
            found[module_name(entry.path)] = _decompressed(entry)
    if absent := sorted(set(_BUILTIN) - set(builtin)):
        raise FormatError("kernel package", f"{base}{absent[0]} is missing")
    _check_closure(kernel, found)
    yield from found.values()
    files = {entry.path.removeprefix(base): entry.data for entry in found.values()}
    indexes = depmod.indexes(
        files,
        builtin=builtin["modules.builtin"],
        builtin_modinfo=builtin["modules.builtin.modinfo"],
        order=builtin["modules.order"],
    )
    for name, data in sorted(indexes.items()):
        yield Entry(base + name, Kind.FILE, 0o644, data, "recipe:kernel.module")
    load = "".join(f"{name}\n" for group in kernel.modules if group.load for name in group.names)
    yield Entry("usr/lib/modules-load.d/pluto.conf", Kind.FILE, 0o644, load.encode(), "recipe:kernel.module")


def _decompressed(entry: Entry) -> Entry:
    if not entry.path.endswith(".ko.xz"):
        return entry
    unpacker = lzma.LZMADecompressor(memlimit=256 * 1024 * 1024)
    try:
        data = unpacker.decompress(entry.data, max_length=_LARGEST_MODULE)
    except lzma.LZMAError as error:
        raise FormatError(entry.path, f"not xz: {error}") from error
    if not unpacker.eof or unpacker.unused_data:
        raise FormatError(entry.path, "xz stream is cut, followed by other bytes, or larger than a module may be")
    return Entry(entry.path.removesuffix(".xz"), entry.kind, entry.mode, data, entry.origin)


def _check_closure(kernel: Kernel, found: Mapping[str, Entry]) -> None:
    listed = {name.replace("-", "_") for name in kernel.names}
    if missing := sorted(listed - set(found)):
        raise FormatError("image.toml [kernel]", f"module {missing[0]} is not in the kernel package")
    for name, entry in found.items():
        for needed in depmod.module_info(entry.data).depends:
            if needed.replace("-", "_") not in found:
                raise FormatError("image.toml [kernel]", f"module {name} needs {needed}, which is not listed")
