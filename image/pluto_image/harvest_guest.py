"""The guest of `pluto-measure acpi harvest`: a UKI with the image's kernel and Python, and one program in it.

Like the image itself it is made of locked bytes alone, and the same ones everywhere. It is never measured against
anything, never published and has no network; it reads what QEMU made for its machine, says it, and powers off. Pure
but for the store that it reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Final

from pluto_image.debian import deb
from pluto_image.definition import Definition
from pluto_image.formats import compress, cpio, uki
from pluto_image.inputs.store import Store
from pluto_image.lock.lockfile import Lock, Package
from pluto_image.recipe import kernel, packages, tables
from pluto_image.recipe.patterns import Selection, matches
from pluto_image.recipe.root import Root, merged
from pluto_image.tree import Entry, Kind
from pluto_measure.errors import FormatError, SourceError

_LIBRARIES: Final = "usr/lib/x86_64-linux-gnu"
_PYTHON: Final = "usr/lib/python3.*"
_PROGRAM: Final = "guest.py"
_MODULE: Final = "efivarfs.ko.xz"  # stays packed: the kernel unpacks it
_ORIGIN: Final = "recipe:harvest"

# Package, and what is taken of it; packages are patterns, because some have a version in their name.
_TAKEN: Final = (
    (
        "libc6",
        ("usr/lib64/ld-linux-*", f"{_LIBRARIES}/ld-linux-*", f"{_LIBRARIES}/libc.so.6", f"{_LIBRARIES}/libm.so.6"),
    ),
    ("zlib1g", (f"{_LIBRARIES}/libz.so.*",)),
    ("libexpat1", (f"{_LIBRARIES}/libexpat.so.*",)),
    ("libffi8", (f"{_LIBRARIES}/libffi.so.*",)),
    ("python3.*-minimal", ("usr/bin/python3.*",)),
    ("libpython3.*-minimal", (f"{_PYTHON}/*.py", f"{_PYTHON}/encodings/*.py")),
    ("libpython3.*-stdlib", (f"{_PYTHON}/ctypes/*.py", f"{_PYTHON}/lib-dynload/_ctypes.*")),
)


@dataclass(frozen=True, slots=True)
class Guest:
    """The UKI, the firmware that the definition names, and the versions of what is in them."""

    uki: bytes
    firmware: bytes
    versions: dict[str, str]


def build(definition: Definition, lock: Lock, store: Store) -> Guest:
    """Make the guest. FormatError; SourceError where an input is not in the store."""
    recipe = tables.parse(definition.recipe)
    kernel_package = _only(lock.image, recipe.kernel.package)
    found = list(_entries(kernel_package, (recipe.kernel.image, f"usr/lib/modules/*/**/{_MODULE}"), store))
    image = [entry for entry in found if matches(recipe.kernel.image, entry.path)]
    module = [entry for entry in found if entry.path.endswith(f"/{_MODULE}")]
    if len(image) != 1 or len(module) != 1:
        raise FormatError("harvest", f"{kernel_package.name} has no one kernel, or no {_MODULE}")
    tree = Root()
    interpreter = ""
    for name, patterns in _TAKEN:
        taken = list(_entries(_only(lock.image, name), patterns, store))
        tree.add(taken)
        interpreter = next((entry.path for entry in taken if entry.path.startswith("usr/bin/")), interpreter)
    tree.add([Entry(_MODULE, Kind.FILE, 0o644, module[0].data, module[0].origin)])
    tree.add([Entry(_PROGRAM, Kind.FILE, 0o644, program(), _ORIGIN)])
    tree.add([Entry("lib64", Kind.SYMLINK, 0o777, b"usr/lib64", _ORIGIN)])
    tree.add([Entry("dev", Kind.DIRECTORY, 0o755, b"", _ORIGIN)])
    sections = (
        (".osrel", b'ID=pluto-harvest\nNAME="Guest of acpi harvest"\n'),
        (".cmdline", command_line(interpreter).encode()),
        (".uname", kernel.release_of(image[0].path).encode()),
        (".initrd", compress.zstd(cpio.newc(tree.complete(), definition.epoch))),
        (".linux", image[0].data),
    )
    stub = packages.one_file(_stored(_only(lock.image, recipe.stub.package), store), recipe.stub)
    firmware = _only(lock.tools, recipe.firmware.package)
    versions = {
        "firmware": f"{firmware.name} {firmware.version}",
        "kernel": f"{kernel_package.name} {kernel_package.version}",
    }
    return Guest(uki.build(stub, sections), packages.one_file(_stored(firmware, store), recipe.firmware), versions)


def program() -> bytes:
    """The program that runs in the guest, as it lies in `pluto_measure`."""
    return resources.files("pluto_measure.harvest").joinpath(_PROGRAM).read_bytes()


def command_line(interpreter: str) -> str:
    """The kernel's: the program is process 1, one processor is enough, and a panic ends the machine."""
    return f"rdinit=/{interpreter} panic=-1 nr_cpus=1 mitigations=off quiet -- -I -S -B /{_PROGRAM}"


def _only(locked: Sequence[Package], pattern: str) -> Package:
    found = [package for package in locked if matches(pattern, package.name)]
    if len(found) != 1:
        raise FormatError("lock.json", f"{pattern} names {len(found)} packages, and a harvest's guest needs one")
    return found[0]


def _entries(package: Package, patterns: Sequence[str], store: Store) -> Iterator[Entry]:
    selection = Selection(patterns)
    for member in deb.read(_stored(package, store), want=lambda path: selection.wants(merged(path))).members:
        path = merged(member.path)
        if member.kind is Kind.FILE:
            yield Entry(path, Kind.FILE, member.mode & 0o755, member.data, f"package:{package.name}")
        elif member.kind is Kind.SYMLINK:
            yield Entry(path, Kind.SYMLINK, 0o777, member.link.encode(), f"package:{package.name}")
    if unused := selection.unused():
        raise FormatError("harvest", f"package {package.name} has no {unused[0]}")


def _stored(package: Package, store: Store) -> bytes:
    data = store.get(package.sha256)
    if data is None:
        raise SourceError(f"{package.name} {package.version} is not in the store", hint="run 'pluto-image fetch DIR'")
    return data
