"""The build: locked bytes, a definition and a source tree in, the files of a DIST out. No clock, no host tool, no root.

1. Unpack what the recipe keeps of each package (two at a time; xz runs without the interpreter's lock).
2. Lay modules, identity, unit links, certificates and the source tree beside it; replace sources by byte code.
3. Lint. A finding ends the build.
4. cpio, zstd, UKI, disk; the container, which is a part of the same root.
5. Digests of what a boot measures (launch.json) and of every file of the root (files.json).

`build_image` is pure but for the store that it reads; `pluto_image.artifact` writes the result.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

from pluto_image import bytecode, lint, source_tree
from pluto_image.definition import Definition
from pluto_image.formats import compress, cpio, disk, uki
from pluto_image.inputs.store import Store
from pluto_image.lock.lockfile import Derived, Lock, Package, Wheel
from pluto_image.outputs import oci
from pluto_image.recipe import identity, kernel, model, packages, root, tables, wheels
from pluto_image.recipe.packages import Taken
from pluto_image.recipe.patterns import matches
from pluto_image.source_tree import SourceTree
from pluto_image.tree import Entry
from pluto_measure import describe as measured
from pluto_measure.errors import FormatError, RefusedError, SourceError
from pluto_measure.launch import FLAVOURS, Launch
from pluto_measure.predict.stub import check_built

_WORKERS: Final = 2
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Assembled:
    """The root and what stands beside it in the UKI."""

    entries: tuple[Entry, ...]
    kernel: bytes
    release: str
    stub: bytes
    stub_version: str
    firmware: bytes
    command_line: str
    os_release: bytes


@dataclass(frozen=True, slots=True)
class Image:
    """The result of a build in memory; the disk is made from the UKI while it is written.

    `container`: the files of an OCI layout of the notary, by their path in it.
    """

    build_id: str
    uki: bytes
    firmware: bytes
    launch: Launch
    entries: tuple[Entry, ...]
    container: Mapping[str, bytes]

    def disk(self) -> Iterator[tuple[int, bytes]]:
        return disk.disk(self.uki, disk.SIZE)


def build_image(
    definition: Definition, lock: Lock, store: Store, source: SourceTree, flavour: str, say: Say = lambda _: None
) -> Image:
    """Build one flavour. Raises FormatError, RefusedError (dirty tree, lint), SourceError (an input is not there)."""
    recipe = tables.parse(definition.recipe)
    check_inputs(definition, lock, source, flavour)
    identifier = source_tree.build_id(
        definition=definition.digest,
        lock=lock.digest,
        source=source_tree.digest(image_sources(recipe, source)),
    )
    say("unpacking packages")
    parts = assemble(recipe, lock, store, source, flavour, identifier)
    say("checking the root")
    lint.check(
        recipe,
        parts.entries,
        parts.command_line,
        flavour=flavour,
        packages={package.name for package in lock.image},
        wheels={wheel.name for wheel in lock.wheels},
    )
    say("compressing")
    image = _uki(parts, definition.epoch)
    say("computing what a boot measures")
    container = oci.layout(
        recipe.container,
        parts.entries,
        epoch=definition.epoch,
        version=definition.version,
        build_id=identifier,
        flavour=flavour,
    )
    launch = describe(image, parts, build_id=identifier, flavour=flavour)
    launch = replace(launch, container=container.container)
    return Image(identifier, image, parts.firmware, launch, parts.entries, container.files)


def _uki(parts: Assembled, epoch: int) -> bytes:
    sections = (
        (".osrel", parts.os_release),
        (".cmdline", parts.command_line.encode()),
        (".uname", parts.release.encode()),
        (".initrd", compress.zstd(cpio.newc(parts.entries, epoch))),
        (".linux", parts.kernel),
    )
    return uki.build(parts.stub, sections)


def check_inputs(definition: Definition, lock: Lock, source: SourceTree, flavour: str) -> None:
    """The lock belongs to the definition, and a release is made of committed files only."""
    if flavour not in FLAVOURS:
        raise FormatError("flavour", f"{flavour!r} is not one of {', '.join(FLAVOURS)}")
    if lock.definition_digest != definition.lock_digest.hex():
        raise FormatError(
            "lock.json", "was made for another definition", hint=f"run 'pluto-image lock {source.definition}'"
        )
    if source.dirty and flavour == "release":
        others = len(source.dirty) - 1
        what = f"{source.dirty[0]} and {others} more are" if others else f"{source.dirty[0]} is"
        raise RefusedError(
            f"a release is built from committed files only, and {what} not committed",
            hint="run 'git commit', or 'pluto-image build' with --flavour debug",
        )


def image_sources(recipe: model.Recipe, source: SourceTree) -> dict[str, bytes]:
    """The files of the source tree that reach an image, by the path they have there.

    Those of every flavour, so that both flavours have one build id. FormatError if two have one path.
    """
    entries = root.Root()
    entries.add(root.source_entries(recipe.files, source.files, f"{source.definition}/{recipe.files.rootfs}"))
    return {path: entries[path].data for path in entries.paths()}


def assemble(
    recipe: model.Recipe, lock: Lock, store: Store, source: SourceTree, flavour: str, build_id: str
) -> Assembled:
    """Everything that the UKI holds, from locked bytes."""
    packages.check_packages(recipe, (package.name for package in lock.image))
    wheels.check_wheels(recipe.files.wheels, (wheel.name for wheel in lock.wheels))
    taken, firmware = _unpack(recipe, lock, store)
    everything = [entry for item in taken.values() for entry in item.kernel]
    image = [entry for entry in everything if matches(recipe.kernel.image, entry.path)]
    if len(image) != 1:
        raise FormatError("image.toml [kernel]", f"{recipe.kernel.image} names {len(image)} files")
    release = kernel.release_of(image[0].path)
    tree = root.Root()
    for item in taken.values():
        tree.add(item.root)
    tree.add(kernel.modules(recipe.kernel, (entry for entry in everything if entry is not image[0]), release))
    tree.add(identity.identity(recipe.files, build_id=build_id, flavour=flavour, dirty=bool(source.dirty)))
    tree.add(root.recipe_entries(recipe))
    if recipe.files.certificates is not None:
        found = [entry for item in taken.values() for entry in item.certificates]
        tree.add([root.certificate_bundle(recipe.files.certificates, found)])
    tree.add(root.source_entries(recipe.files, source.files, f"{source.definition}/{recipe.files.rootfs}", flavour))
    for wheel in lock.wheels:
        tree.add(wheels.take(recipe.files.wheels, wheel.name, _stored(wheel, store)))
    if recipe.files.byte_code is not None:
        _lay_byte_code(recipe.files.byte_code, tree, lock, store)
    stub = [entry for item in taken.values() for entry in item.stub]
    return Assembled(
        entries=tree.complete(),
        kernel=image[0].data,
        release=release,
        stub=stub[0].data,
        stub_version=_version(lock.image, recipe.stub),
        firmware=firmware,
        command_line=_command_line(recipe, flavour, bool(source.dirty)),
        os_release=tree["usr/lib/os-release"].data,
    )


def describe(image: bytes, parts: Assembled, *, build_id: str, flavour: str) -> Launch:
    """launch.json of a UKI: every digest that `pluto-measure predict` needs."""
    check_built(parts.stub_version)
    head = bytearray()
    for offset, chunk in disk.disk(image, disk.SIZE):
        if offset != len(head):
            break
        head += chunk[: 64 * 1024]
    event = measured.gpt_event_of(bytes(head))
    return measured.of_uki(
        image, event, stub=parts.stub_version, disk_size=disk.SIZE, build_id=build_id, flavour=flavour
    )


def locked_byte_code(definition: Definition, lock: Lock, store: Store) -> Derived | None:
    """Make the byte code of this lock, put it into the store, and return its entry for lock.json; None if unwanted."""
    recipe = tables.parse(definition.recipe)
    if recipe.files.byte_code is None:
        return None
    packages.check_packages(recipe, (package.name for package in lock.image))
    taken, _ = _unpack(recipe, lock, store)
    entries = [entry for item in taken.values() for entry in item.root]
    pack = bytecode.derive(recipe.files.byte_code, entries)
    store.put(pack)
    return bytecode.describe(recipe.files.byte_code, entries, pack)


def further_inputs(definition: Definition, lock: Lock) -> tuple[Package | Derived, ...]:
    """What a build takes besides the image's packages: the firmware's, and byte code that cannot be made here."""
    recipe = tables.parse(definition.recipe)
    derived = () if bytecode.can_derive() or recipe.files.byte_code is None else lock.derived
    return (_only(lock.tools, recipe.firmware), *derived)


def _unpack(recipe: model.Recipe, lock: Lock, store: Store) -> tuple[Mapping[str, Taken], bytes]:
    """What is taken of each image package, and the firmware from the tools tree."""
    firmware = _only(lock.tools, recipe.firmware)

    def one(package: Package) -> Taken | bytes:
        data = _stored(package, store)
        if package is firmware:
            return packages.one_file(data, recipe.firmware)
        return packages.take(recipe, package.name, data)

    # Largest first, so that no long one is left over at the end.
    ordered = sorted((*lock.image, firmware), key=lambda package: package.size, reverse=True)
    with ThreadPoolExecutor(_WORKERS) as pool:
        results = dict(zip((p.name for p in ordered), pool.map(one, ordered), strict=True))
    blob = results.pop(firmware.name)
    _version(lock.tools, recipe.firmware)
    taken = {name: item for name, item in sorted(results.items()) if isinstance(item, Taken)}
    return taken, blob if isinstance(blob, bytes) else b""


def _stored(item: Package | Wheel, store: Store) -> bytes:
    data = store.get(item.sha256)
    if data is None:
        raise SourceError(f"{item.name} {item.version} is not in the store")
    return data


def _only(locked: Sequence[Package], blob: model.Blob) -> Package:
    found = [package for package in locked if package.name == blob.package]
    if len(found) != 1:
        raise FormatError("image.toml", f"package {blob.package} is not in the lock")
    return found[0]


def _version(locked: Sequence[Package], blob: model.Blob) -> str:
    version = _only(locked, blob).version
    if not version.startswith(blob.version):
        raise FormatError("image.toml", f"{blob.package} is locked as {version}, the recipe wants {blob.version}")
    return version


def _command_line(recipe: model.Recipe, flavour: str, dirty: bool) -> str:
    return recipe.command_line.text(flavour) + (" pluto.source=dirty" if dirty else "")


def _lay_byte_code(byte_code: model.ByteCode, tree: root.Root, lock: Lock, store: Store) -> None:
    entries = [tree[path] for path in tree.paths()]
    pinned = next((item for item in lock.derived if item.name == bytecode.NAME), None)
    if pinned is None:
        raise FormatError(
            "lock.json", f"pins no {bytecode.NAME}", hint="run 'pluto-image derive DIR' (on Linux on x86-64)"
        )
    bytecode.check(pinned, byte_code, entries)
    pack = store.get(pinned.sha256)
    if pack is None:
        pack = bytecode.derive(byte_code, entries)
        bytecode.check_derived(pinned, pack)
        store.put(pack)
    remove, add = bytecode.replaced(byte_code, entries, pack)
    tree.replace(remove, add)


def files_document(image: Image) -> list[dict[str, object]]:
    """files.json: every path of the root with what accounts for it."""
    return [_file(entry) for entry in image.entries]


def _file(entry: Entry) -> dict[str, object]:
    document: dict[str, object] = {"path": entry.path, "kind": entry.kind.value, "mode": f"{entry.mode:04o}"}
    document |= {"uid": entry.uid, "gid": entry.gid, "origin": entry.origin}
    match entry.kind.value:
        case "file":
            document |= {"size": len(entry.data), "sha256": hashlib.sha256(entry.data).hexdigest()}
        case "symlink":
            document["target"] = entry.data.decode()
    return document
