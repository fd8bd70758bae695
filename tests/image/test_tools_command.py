"""`pluto-image tools`: how the locked tools are started, and the kit of a harvest, from locked bytes alone."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pluto_image import cli, harvest_guest
from pluto_image import definition as definitions
from pluto_image.commands.tools import qemu_version
from pluto_image.inputs.store import Store
from pluto_image.lock.lockfile import Lock
from pluto_measure.errors import FormatError, SourceError
from pluto_measure.formats import pe
from pluto_measure.harvest import guest
from pluto_measure.harvest.kit import Kit
from simulators import tiny_definition

LIBRARIES = "usr/lib/x86_64-linux-gnu"
PYTHON = "usr/lib/python3.13"
TOOLS = ("ovmf", "qemu-system-x86", "swtpm")


def files(*paths: str) -> dict[str, tuple[int, bytes]]:
    return {path: (0o755, path.encode()) for path in paths}


C_LIBRARIES = ("ld-linux-x86-64.so.2", "libc.so.6", "libm.so.6")
MINIMAL = (f"{PYTHON}/os.py", f"{PYTHON}/encodings/utf_8.py", f"{PYTHON}/email/left_out.py")
MORE = {
    "libc6": ("2", files("lib64/ld-linux-x86-64.so.2", *(f"{LIBRARIES}/{name}" for name in C_LIBRARIES))),
    "zlib1g": ("1", files(f"{LIBRARIES}/libz.so.1")),
    "libexpat1": ("2", files(f"{LIBRARIES}/libexpat.so.1")),
    "libffi8": ("3", files(f"{LIBRARIES}/libffi.so.8")),
    "python3.13-minimal": ("3.13", files("usr/bin/python3.13")),
    "libpython3.13-minimal": ("3.13", files(*MINIMAL)),
    "libpython3.13-stdlib": ("3", files(f"{PYTHON}/ctypes/__init__.py", f"{PYTHON}/lib-dynload/_ctypes.cpython.so")),
    "qemu-system-x86": ("1:11.1.3+ds-1~bpo13+1", files("usr/bin/qemu-system-x86_64")),
    "swtpm": ("0.7.1-1", files("usr/bin/swtpm")),
}
MODULE = f"usr/lib/modules/{tiny_definition.KERNEL}/kernel/fs/efivarfs/efivarfs.ko.xz"


@pytest.fixture
def folder(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny definition with a Python, an efivarfs module and tools."""
    kernel = f"linux-image-{tiny_definition.KERNEL}"
    version, content = tiny_definition.PACKAGES[kernel]
    packages: dict[str, Any] = {**tiny_definition.PACKAGES, **MORE, kernel: (version, {**content, **files(MODULE)})}
    monkeypatch.setattr(tiny_definition, "PACKAGES", packages)
    place = tiny_definition.make(tmp_path / "project", store)
    lock = Lock.parse((place / "lock.json").read_bytes())
    everything = [*lock.image, *lock.tools]
    split = replace(
        lock,
        image=tuple(one for one in everything if one.name not in TOOLS),
        tools=tuple(sorted((one for one in everything if one.name in TOOLS), key=lambda one: one.name)),
    )
    (place / "lock.json").write_text(split.to_text())
    return place


def tools(folder: Path, store: Store, *more: str) -> int:
    return cli.main(["tools", str(folder), "--store", str(store.root), "--offline", *more])


def lock_of(folder: Path) -> Lock:
    return Lock.parse((folder / "lock.json").read_bytes())


linux_only = pytest.mark.skipif(sys.platform != "linux", reason="no peer: the tools run on Linux on x86-64")


@linux_only
def test_it_says_how_the_tools_are_started(folder: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert tools(folder, store, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["kit"] is None
    assert document["qemu"][0].startswith(document["root"])
    assert document["swtpm"][-1].endswith("usr/bin/swtpm")
    assert document["environment"]["TZ"] == "UTC"
    assert tools(folder, store) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("env -i ")
    assert "--argv0 qemu-system-x86_64" in first
    assert "--argv0 swtpm" in second


@linux_only
def test_the_kit_is_whole_and_the_same_again(folder: Path, store: Store, tmp_path: Path) -> None:
    assert tools(folder, store, "--out", str(tmp_path / "kit")) == 0
    kit = Kit.parse((tmp_path / "kit/kit.json").read_bytes())
    assert kit.qemu_version == "11.1.3"
    assert kit.packages == {
        "package": "qemu-system-x86 1:11.1.3+ds-1~bpo13+1",
        "firmware": "ovmf 2025.01-1",
        "kernel": f"linux-image-{tiny_definition.KERNEL} 6.1.0-1",
    }
    assert (tmp_path / "kit/firmware.fd").read_bytes() == b"firmware" * 64
    uki = (tmp_path / "kit/guest.efi").read_bytes()
    assert uki in (tmp_path / "kit/guest.raw").read_bytes()
    assert tools(folder, store, "--out", str(tmp_path / "again")) == 0
    assert (tmp_path / "again/guest.efi").read_bytes() == uki


def test_the_guest_is_made_of_locked_files_and_the_program(folder: Path, store: Store) -> None:
    made = harvest_guest.build(definitions.load(folder), lock_of(folder), store)
    sections = {one.name: pe.section_data(made.uki, one) for one in pe.parse(made.uki).sections}
    assert sections[".cmdline"] == (
        b"rdinit=/usr/bin/python3.13 panic=-1 nr_cpus=1 mitigations=off quiet -- -I -S -B /guest.py"
    )
    assert sections[".uname"] == tiny_definition.KERNEL.encode()
    root = unpacked(sections[".initrd"])
    assert root["guest.py"] == Path(guest.__file__).read_bytes()
    assert root["efivarfs.ko.xz"] == MODULE.encode()
    assert root["usr/bin/python3.13"] == b"usr/bin/python3.13"
    assert f"{PYTHON}/encodings/utf_8.py" in root
    assert f"{PYTHON}/email/left_out.py" not in root
    assert {"lib64", "dev"} <= set(root)


@pytest.mark.parametrize("name", ["libffi8", "python3.13-minimal", "systemd-boot-efi"])
def test_a_lock_without_what_the_guest_needs_is_refused(name: str, folder: Path, store: Store) -> None:
    lock = lock_of(folder)
    less = replace(lock, image=tuple(one for one in lock.image if one.name != name))
    with pytest.raises(FormatError, match="names 0 packages"):
        harvest_guest.build(definitions.load(folder), less, store)


def test_an_input_that_is_not_in_the_store_is_named(folder: Path, store: Store) -> None:
    lock = lock_of(folder)
    store.discard(lock.package("libffi8").sha256)
    with pytest.raises(SourceError, match="libffi8 3 is not in the store"):
        harvest_guest.build(definitions.load(folder), lock, store)


def test_a_package_without_the_file_that_is_needed_is_named(
    folder: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = lock_of(folder)
    monkeypatch.setattr(harvest_guest, "_TAKEN", (*harvest_guest._TAKEN, ("zlib1g", ("usr/lib/none",))))
    with pytest.raises(FormatError, match="package zlib1g has no usr/lib/none"):
        harvest_guest.build(definitions.load(folder), lock, store)


def test_a_kernel_package_without_the_module_is_refused(tmp_path: Path, store: Store, folder: Path) -> None:
    lock = lock_of(folder)
    bare = tiny_definition.PACKAGES[f"linux-image-{tiny_definition.KERNEL}"][1]
    del bare[MODULE]
    locked = tiny_definition.lock(definitions.load(folder), store)
    image = tuple(locked.package(one.name) if one.name.startswith("linux") else one for one in lock.image)
    with pytest.raises(FormatError, match=r"has no usr/lib/modules/\*/\*\*/efivarfs.ko.xz"):
        harvest_guest.build(definitions.load(folder), replace(lock, image=image), store)


def test_a_kernel_package_with_two_such_modules_is_refused(store: Store, folder: Path) -> None:
    lock = lock_of(folder)
    two = tiny_definition.PACKAGES[f"linux-image-{tiny_definition.KERNEL}"][1]
    two[MODULE.replace("/fs/", "/drivers/")] = (0o644, b"another")
    locked = tiny_definition.lock(definitions.load(folder), store)
    image = tuple(locked.package(one.name) if one.name.startswith("linux") else one for one in lock.image)
    with pytest.raises(FormatError, match="has no one kernel"):
        harvest_guest.build(definitions.load(folder), replace(lock, image=image), store)


def test_the_version_of_qemu_is_what_it_calls_itself(folder: Path) -> None:
    lock = lock_of(folder)
    assert qemu_version(lock) == "11.1.3"
    one = lock.package("qemu-system-x86")
    for version, found in (("10.1-2", "10.1"), ("1:12", "12")):
        assert qemu_version(replace(lock, tools=(replace(one, version=version),))) == found
    with pytest.raises(FormatError, match="does not begin with a number"):
        qemu_version(replace(lock, tools=(replace(one, version="x"),)))


@linux_only
def test_a_place_that_cannot_be_written_is_somebody_elses(
    folder: Path, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert tools(folder, store, "--out", str(tmp_path / "file")) == 6
    assert "cannot write" in capsys.readouterr().err


def unpacked(initrd: bytes) -> dict[str, bytes]:
    """The entries of a zstd-packed newc archive, by path."""
    import zstandard

    data = zstandard.ZstdDecompressor().decompressobj().decompress(initrd)
    found: dict[str, bytes] = {}
    at = 0
    while True:
        assert data[at : at + 6] == b"070701"
        fields = [int(data[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        size, name_size = fields[6], fields[11]
        name = data[at + 110 : at + 110 + name_size - 1].decode()
        start = at + (110 + name_size + 3) // 4 * 4
        if name == "TRAILER!!!":
            return found
        found[name] = data[start : start + size]
        at = start + (size + 3) // 4 * 4
