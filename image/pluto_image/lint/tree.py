"""Checks the root file system: nothing that must not be there, and somebody accounts for everything. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from pluto_image.formats import dynamic
from pluto_image.recipe.kernel import SIGNATURE, module_name
from pluto_image.tree import Entry, Kind
from pluto_measure.errors import FormatError

_ORIGINS: Final = ("package:", "recipe:", "source:", "derived:", "wheel:")

# Programs that give a human, or a host over serial, a place to type, or that load code the recipe did not choose.
FORBIDDEN_PROGRAMS: Final = frozenset(
    {
        "sh",
        "ash",
        "bash",
        "dash",
        "zsh",
        "ksh",
        "fish",
        "rbash",
        "busybox",
        "toybox",
        "nologin-shell",
        "sshd",
        "dropbear",
        "agetty",
        "getty",
        "login",
        "su",
        "sudo",
        "sulogin",
        "kmod",
        "modprobe",
        "insmod",
        "rmmod",
        "kexec",
        "gdb",
        "strace",
        "socat",
        "nc",
        "dbus-daemon",
        "dbus-broker",
        "systemd-run",
        "systemd-nspawn",
        "systemd-debug-generator",
        "systemd-getty-generator",
        "systemd-sulogin-shell",
        "systemd-ssh-generator",
        "perl",
        "awk",
        "mawk",
    }
)
# Exact paths: files whose mere presence changes what the machine is.
FORBIDDEN_PATHS: Final = frozenset(
    {
        "etc/initrd-release",  # systemd would act as an initrd and look for another root
        "etc/ld.so.preload",
        "etc/ld.so.cache",
        "etc/nologin",
        "var/lib/systemd/random-seed",
        "var/lib/dbus/machine-id",
        "usr/lib/systemd/system-generators/systemd-debug-generator",
    }
)
FORBIDDEN_MODULES: Final = frozenset({"efivarfs", "virtio_rng", "kvm", "vfio", "fuse", "9p", "vboxguest"})
# Words in names of files for development; hyphens count as underscores.
DEBUG_ONLY: Final = ("insecure", "debug_world")
# Links into these are made at run time.
_RUN_TIME: Final = ("/dev/", "/proc/", "/run/", "/sys/")


def check(
    entries: Sequence[Entry],
    *,
    modules: Collection[str],
    packages: Collection[str],
    world_writable: Collection[str],
    wheels: Collection[str] = (),
) -> Iterator[str]:
    """One sentence for each mistake in a complete tree (parents included, sorted)."""
    locked = {"package": packages, "wheel": wheels}
    by_path = {entry.path: entry for entry in entries}
    for entry in entries:
        yield from _entry(entry, locked, world_writable)
        yield from _module(entry, modules)
        if entry.kind is Kind.SYMLINK and (target := dangling(entry, by_path)):
            yield f"{entry.path} links to {target}, which does not exist"
    if (machine_id := by_path.get("etc/machine-id")) is None or machine_id.data:
        yield "etc/machine-id must be present and empty"
    if "init" not in by_path:
        yield "init is missing"
    yield from _owners(entries, by_path)
    yield from libraries(by_path)


def check_flavour(entries: Sequence[Entry], flavour: str) -> Iterator[str]:
    """What gives something up for development says so in its name, and no release holds such a file."""
    for entry in entries if flavour != "debug" else ():
        name = posixpath.basename(entry.path).replace("-", "_")
        if any(word in name for word in DEBUG_ONLY):
            yield f"{entry.path} is for debug images alone"


def dangling(link: Entry, by_path: Mapping[str, Entry]) -> str:
    """What the link leads to if that does not exist in the tree; "" if all is well."""
    path, seen = link.path, 0
    while (entry := by_path.get(path)) is not None and entry.kind is Kind.SYMLINK:
        target = entry.data.decode(errors="replace")
        absolute = target if target.startswith("/") else "/" + posixpath.join(posixpath.dirname(path), target)
        if target.startswith(_RUN_TIME) or (seen := seen + 1) > 20:
            return "" if seen <= 20 else target
        path = resolve(posixpath.normpath(absolute).lstrip("/"), by_path)
    return "" if entry is not None or path == "" else path


def resolve(path: str, by_path: Mapping[str, Entry]) -> str:
    """The path with links among its directories followed (merged /usr, mostly)."""
    parts = path.split("/")
    for index in range(1, len(parts)):
        head = by_path.get("/".join(parts[:index]))
        if head is not None and head.kind is Kind.SYMLINK:
            target = head.data.decode().lstrip("/") if head.data.startswith(b"/") else head.data.decode()
            base = "" if head.data.startswith(b"/") else posixpath.dirname(head.path)
            return resolve(posixpath.normpath(posixpath.join(base, target, *parts[index:])), by_path)
    return path


def libraries(by_path: Mapping[str, Entry]) -> Iterator[str]:
    """Programs and libraries whose needed libraries or interpreter are not in the tree."""
    shipped = {path.rsplit("/", 1)[-1] for path, entry in by_path.items() if ".so" in path}
    for path, entry in by_path.items():
        if entry.kind is not Kind.FILE or not entry.data.startswith(dynamic.MAGIC) or path.endswith(".ko"):
            continue
        try:
            facts = dynamic.parse(entry.data)
        except FormatError as error:
            yield f"{path}: {error}"
            continue
        for name in facts.needed:
            if name not in shipped:
                yield f"{path} needs {name}, which is not in the image"
        if facts.interpreter and resolve(facts.interpreter.lstrip("/"), by_path) not in by_path:
            yield f"{path} needs interpreter {facts.interpreter}, which is not in the image"


def _entry(entry: Entry, locked: Mapping[str, Collection[str]], world_writable: Collection[str]) -> Iterator[str]:
    origin, _, name = entry.origin.partition(":")
    if f"{origin}:" not in _ORIGINS or not name or name not in locked.get(origin, (name,)):
        yield f"{entry.path} is accounted for by no locked package or wheel and no recipe line ({entry.origin!r})"
    if entry.kind is Kind.FILE and entry.mode & 0o6000:
        yield f"{entry.path} is set-uid or set-gid"
    if entry.kind is not Kind.SYMLINK and entry.mode & 0o002 and entry.path not in world_writable:
        yield f"{entry.path} is writable by everybody"
    if entry.path in world_writable and entry.mode != 0o1777:
        yield f"{entry.path} must have mode 1777"
    base = entry.path.rsplit("/", 1)[-1]
    if entry.path in FORBIDDEN_PATHS:
        yield f"{entry.path} must not be in the image"
    if entry.kind is not Kind.DIRECTORY and base in FORBIDDEN_PROGRAMS and _is_program(entry):
        yield f"{entry.path} is a shell, a login or a loader of foreign code"
    if entry.kind is Kind.FILE and entry.mode & 0o111 and entry.data.startswith(b"#!"):
        yield f"{entry.path} is a script"


def _is_program(entry: Entry) -> bool:
    return "bin/" in entry.path or entry.mode & 0o111 != 0 or entry.path.startswith("usr/lib/systemd/")


def _module(entry: Entry, modules: Collection[str]) -> Iterator[str]:
    if ".ko" not in entry.path.rsplit("/", 1)[-1] or not entry.path.startswith("usr/lib/modules/"):
        return
    name = module_name(entry.path)
    if name in FORBIDDEN_MODULES or name not in {listed.replace("-", "_") for listed in modules}:
        yield f"module {name} is not in the list of modules"
    if not entry.data.endswith(SIGNATURE):
        yield f"module {name} is not signed"


def _owners(entries: Sequence[Entry], by_path: Mapping[str, Entry]) -> Iterator[str]:
    def numbers(path: str) -> set[int]:
        lines = by_path[path].data.decode().splitlines() if path in by_path else []
        return {int(line.split(":")[2]) for line in lines}

    users, groups = numbers("etc/passwd"), numbers("etc/group")
    for entry in entries:
        if entry.uid not in users or entry.gid not in groups:
            yield f"{entry.path} belongs to {entry.uid}:{entry.gid}, which passwd or group does not list"
